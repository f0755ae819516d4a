import type { Json } from "../../json.ts"
import { copyOf } from "../../json.ts"
import type { Decision, HeldCall } from "../../wire/approval.ts"
import type { Message, Part } from "../../wire/message.ts"
import type { AttachmentStore } from "../attachments/store.ts"
import type { ToolAnswer } from "../host.ts"
import { type ChatFile, fileOf, storeFiles } from "./chat-files.ts"
import { ChatRequestError } from "./chat-request-error.ts"
import { readJson } from "./request-body.ts"

/** What a page sent with `useChat`, for a thread. */
export type ChatRequest = ChatInput | ChatContinuation

/** The user said something: `thread.say(message, { key })`. */
export interface ChatInput {
  readonly type: "input"
  /** The `id` of the chat. Data of the client: check that its user may use that thread. */
  readonly chatId: string
  /** Has the id that the page gave it, so that a loaded page has the same. */
  readonly message: Message
  /** The id again: a request that is sent twice is one input. */
  readonly key: string
}

/** The user decided about held calls, or the page ran tools of its own. */
export interface ChatContinuation {
  readonly type: "continuation"
  readonly chatId: string
  /** The turn that waits. */
  readonly turnId: string
  readonly decisions: readonly ChatDecision[]
  /** Results of {@link ChatRequestOptions.clientTools}, for `thread.answer`. */
  readonly answers: readonly ChatAnswer[]
}

/** A decision as a page sends it. */
export interface ChatDecision {
  readonly requestId: string
  /** The digest of the call that the page showed. Absent: the client's version of the AI SDK does not return it. */
  readonly digest?: string
  readonly approved: boolean
  readonly reason?: string
}

/** The result of a tool that ran in the page: `thread.answer(callId, answer)`. */
export interface ChatAnswer {
  readonly callId: string
  readonly toolName: string
  readonly answer: ToolAnswer
}

/** Options of {@link readChatRequest}. */
export interface ChatRequestOptions {
  /** Stores the files of messages. Without it, a message with a file is refused (`files_not_accepted`). */
  readonly attachments?: Pick<AttachmentStore, "put">
  /** The media types that are accepted, such as `image/png` or `image/*`. Default: all. */
  readonly mediaTypes?: readonly string[]
  /** Default 10,000,000. Files are a third longer as base64. */
  readonly maxBodyBytes?: number
  /** Default 10. */
  readonly maxFiles?: number
  /** Default 100,000 characters. */
  readonly maxTextLength?: number
  /** The tools whose results a page may give. Default: none, and results in a request are ignored. */
  readonly clientTools?: readonly string[]
}

/** An id that a client may choose: visible ASCII, as all versions of `useChat` make them. */
const ID = /^[\w.:-]{1,200}$/

/**
 * Reads what `useChat` posts: the last message of `messages`, or `message` if a transport sends only that. Earlier messages are ignored, because the
 * thread has them. All of it is checked: it is data of a client.
 * @throws {ChatRequestError} the request is not accepted. Nothing was said to the thread; files may be in the store.
 */
export async function readChatRequest(request: Request, options: ChatRequestOptions = {}): Promise<ChatRequest> {
  const body = await readJson(request, options.maxBodyBytes ?? 10_000_000)
  if (!isObject(body)) throw invalid("the body is not an object")
  const { id: chatId, trigger, messages, message = Array.isArray(messages) ? messages.at(-1) : undefined } = body
  if (typeof chatId !== "string" || chatId === "" || chatId.length > 500) throw invalid("`id` is not the id of a chat")
  if (trigger === "regenerate-message")
    throw new ChatRequestError("regenerate_not_supported", "A thread does not answer a message twice. Send the message again.")
  if (trigger !== undefined && trigger !== "submit-message") throw invalid("`trigger` is not `submit-message`")
  if (!isObject(message)) throw invalid("there is no last message")
  const { id, role, parts } = message
  if (typeof id !== "string" || id === "" || id.length > 500) throw invalid("the message has no id")
  if (!Array.isArray(parts) || !parts.every(isObject)) throw invalid("the message has no list of parts")
  if (role === "user") return { type: "input", chatId, message: await userMessage(id, parts, options), key: id }
  if (role === "assistant") return continuation(chatId, id, parts, options)
  throw invalid("the last message is neither of the user nor of the assistant")
}

async function userMessage(id: string, parts: readonly Posted[], options: ChatRequestOptions): Promise<Message> {
  if (!ID.test(id)) throw invalid("the message's id has other characters than letters, digits, `_`, `.`, `:` and `-`")
  const { maxTextLength = 100_000, maxFiles = 10 } = options
  const found: ({ readonly type: "text"; readonly text: string } | { readonly type: "file"; readonly file: ChatFile })[] = []
  let length = 0
  for (const part of parts) {
    if (part.type === "text") {
      if (typeof part.text !== "string") throw invalid("a text part has no text")
      length += part.text.length
      if (part.text.trim() !== "") found.push({ type: "text", text: part.text })
    } else if (part.type === "file") {
      found.push({ type: "file", file: fileOf(part, options.mediaTypes) })
    } else {
      throw invalid(`a user does not send a part of the type ${JSON.stringify(String(part.type)).slice(0, 60)}`)
    }
  }
  if (length > maxTextLength) throw new ChatRequestError("text_too_long", `The message has ${length} characters; ${maxTextLength} are accepted.`, 413)
  const files = found.flatMap((part) => (part.type === "file" ? [part.file] : []))
  if (found.length === 0) throw new ChatRequestError("empty_message", "The message has neither text nor files.")
  if (files.length > maxFiles) throw new ChatRequestError("too_many_files", `The message has ${files.length} files; ${maxFiles} are accepted.`, 413)
  const stored = await storeFiles(files, options.attachments)
  const message = found.map((part, index): Part => {
    const place = { id: `${id}.p${index}` }
    if (part.type === "text") return { ...place, ...part }
    const attachment = stored[files.indexOf(part.file)]
    if (attachment === undefined) throw new TypeError("An attachment store returned fewer references than it was given files.")
    return { ...place, type: attachment.mediaType.startsWith("image/") ? "image" : "file", attachment }
  })
  return { id, role: "user", parts: message }
}

function continuation(chatId: string, turnId: string, parts: readonly Posted[], { clientTools = [] }: ChatRequestOptions): ChatContinuation {
  const decisions: ChatDecision[] = []
  const answers: ChatAnswer[] = []
  for (const part of parts) {
    const { type, toolCallId, state } = part
    const toolName = type === "dynamic-tool" ? part.toolName : typeof type === "string" && type.startsWith("tool-") ? type.slice(5) : undefined
    if (toolName === undefined) continue
    if (typeof toolName !== "string" || typeof toolCallId !== "string") throw invalid("a part of a tool has no name or no call id")
    if (state === "approval-responded") decisions.push(decisionOf(part.approval))
    else if (clientTools.includes(toolName) && (state === "output-available" || state === "output-error"))
      answers.push(answerOf(toolCallId, toolName, part))
  }
  if (decisions.length === 0 && answers.length === 0)
    throw new ChatRequestError("nothing_decided", "The last message is the assistant's, and it has no decision and no result of a tool.")
  return { type: "continuation", chatId, turnId, decisions, answers }
}

function decisionOf(approval: Json | undefined): ChatDecision {
  if (!isObject(approval)) throw invalid("a decision has no `approval`")
  const { id: requestId, approved, reason, signature: digest } = approval
  if (typeof requestId !== "string" || typeof approved !== "boolean") throw invalid("a decision has no `id`, or no `approved`")
  if (reason !== undefined && typeof reason !== "string") throw invalid("the reason of a decision is not a text")
  if (digest !== undefined && typeof digest !== "string") throw invalid("the signature of a decision is not a text")
  return {
    requestId,
    approved,
    ...(digest !== undefined && { digest }),
    ...(reason !== undefined && reason !== "" && { reason: reason.slice(0, 10_000) }),
  }
}

function answerOf(callId: string, toolName: string, { state, output = null, errorText }: Posted): ChatAnswer {
  if (state === "output-available") return { callId, toolName, answer: { output: { status: "success", value: copyOf(output) } } }
  const message = typeof errorText === "string" && errorText !== "" ? errorText.slice(0, 10_000) : "The tool failed in the page."
  const failure = { class: "execution", code: "client_tool_failed", message, source: "tool", retry: { type: "never" } } as const
  return { callId, toolName, answer: { output: { status: "failure", failure } } }
}

/**
 * Returns the decisions for `thread.decide`, with the digests that the page showed. A decision without one has that of the held call. Those about calls that are
 * not held are left out, because they were decided before. `held`: from `thread.pendingApprovals()`.
 */
export function toDecisions(
  decisions: readonly ChatDecision[],
  held: readonly HeldCall[],
  { by }: { readonly by?: string } = {},
): readonly Decision[] {
  return decisions.flatMap(({ requestId, digest, approved, reason }): readonly Decision[] => {
    const call = held.find((known) => known.requestId === requestId)
    if (call === undefined) return []
    const facts = { requestId, digest: digest ?? call.digest, ...(by !== undefined && { by }) }
    if (!approved) return [{ ...facts, decision: "reject", ...(reason !== undefined && { message: reason }) }]
    return [{ ...facts, decision: "approve", ...(reason !== undefined && { note: reason }) }]
  })
}

/** An object of a client: nothing of it is known. */
type Posted = {
  readonly [Key in
    | "approval"
    | "approved"
    | "errorText"
    | "filename"
    | "id"
    | "mediaType"
    | "message"
    | "messages"
    | "output"
    | "parts"
    | "reason"
    | "role"
    | "signature"
    | "state"
    | "text"
    | "toolCallId"
    | "toolName"
    | "trigger"
    | "type"
    | "url"]?: Json
}

function isObject(value: unknown): value is Posted {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

function invalid(why: string): ChatRequestError {
  return new ChatRequestError("invalid_chat_request", `Not a request of useChat: ${why}.`)
}
