import { TurnError } from "../../errors.ts"
import type { Json } from "../../json.ts"
import type { Decision, HeldCall } from "../../wire/approval.ts"
import type { Message } from "../../wire/message.ts"
import type { AttachmentStore } from "../attachments/store.ts"

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

/** A result as a page sends it. */
export type ChatAnswer = { readonly callId: string; readonly toolName: string } & ({ readonly output: Json } | { readonly errorText: string })

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

/** Why a request is refused. */
export type ChatRequestErrorCode =
  | "method_not_allowed"
  | "content_type_not_json"
  | "body_too_large"
  | "body_not_json"
  | "invalid_chat_request"
  | "regenerate_not_supported"
  | "empty_message"
  | "text_too_long"
  | "files_not_accepted"
  | "too_many_files"
  | "file_type_not_accepted"
  | "file_url_not_accepted"
  | "nothing_decided"

/** A request that is not accepted. Nothing was said to the thread. */
export class ChatRequestError extends TurnError<ChatRequestErrorCode> {
  /** The HTTP status that it is answered with: 400, 405, 413 or 415. */
  readonly status: number

  constructor(code: ChatRequestErrorCode, message: string, status = 400) {
    super(code, message)
    this.status = status
  }

  /** The error as a response: JSON with `code` and `message`. */
  toResponse(): Response {
    throw new Error("not yet")
  }
}

/**
 * Reads what `useChat` posts: the last message of `messages`, or `message` if a transport sends only that. Earlier messages are ignored, because the
 * thread has them.
 * @throws {ChatRequestError}
 */
export async function readChatRequest(_request: Request, _options: ChatRequestOptions = {}): Promise<ChatRequest> {
  throw new Error("not yet")
}

/**
 * Returns the decisions for `thread.decide`, with the digests that the page showed. A decision without one has that of the held call. Those about calls that are
 * not held are left out, because they were decided before. `held`: from `thread.pendingApprovals()`.
 */
export function toDecisions(
  _decisions: readonly ChatDecision[],
  _held: readonly HeldCall[],
  _facts: { readonly by?: string } = {},
): readonly Decision[] {
  throw new Error("not yet")
}
