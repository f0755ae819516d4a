import type { Json } from "../../json.ts"
import { isBlank, NO_RESULT, strayResultText } from "../../text.ts"
import type { Block, LlmMessage, LlmRequest, ToolResultBlock } from "../../wire/llm.ts"
import type { AttachmentRef } from "../../wire/message.ts"
import type { ToolSpec } from "../../wire/tool.ts"
import {
  attachmentOf,
  describeAttachment,
  fileName,
  isData,
  isImage,
  isSendable,
  missingAttachment,
  NOTHING_SHOWN,
  OPENAI_IMAGES,
  resultText,
  type Shown,
  shownBy,
} from "../wires/attachments.ts"
import { Conversation } from "../wires/conversation.ts"
import { joinTexts } from "../wires/join-texts.ts"
import { openAiModelRules } from "../wires/openai-models.ts"
import { type Origin, originOf } from "../wires/origin.ts"
import { ToolNames } from "../wires/tool-names.ts"
import { openAiParameters } from "../wires/tool-schema.ts"
import { isRecord } from "../wires/values.ts"
import { sentArguments, wellFormed } from "../wires/well-formed.ts"
import type { EncodeOptions } from "../wires/wire.ts"
import type { OpenAiChatBody, OpenAiContentPart, OpenAiMessage, OpenAiTool, OpenAiToolCall } from "./body.ts"
import { type CallIdForm, ChatCallIds } from "./call-ids.ts"
import { mergeExtras, type OpenAiRoleOptions, orderRoles } from "./roles.ts"

/** What an endpoint accepts. The defaults are those of the OpenAI reference. */
export interface OpenAiChatWireOptions extends OpenAiRoleOptions {
  /** In a stream: requests the usage in a last chunk. `false` for endpoints that refuse `stream_options`. Default `true`. */
  readonly includeUsage?: boolean
  /** The key for `generation.maxOutputTokens`. Many compatible servers accept only `max_tokens`. Default `max_completion_tokens`. */
  readonly maxTokensField?: "max_completion_tokens" | "max_tokens"
  /** Default `system`; newer OpenAI models read it as `developer`. */
  readonly systemRole?: "system" | "developer"
  /**
   * Sends `temperature`, `top_p` and stop sequences. Default: by the model's name. OpenAI's reasoning models refuse them; those of GPT-5.1 to 5.x
   * accept them with the effort `none`. What `generation.providerOptions` or `extraBody` has is always sent.
   * @see https://platform.openai.com/docs/guides/latest-model#gpt-5-1-parameter-compatibility (2026-11)
   */
  readonly sampling?: boolean
  /**
   * The media types of images that the endpoint accepts. A text replaces any other: one SVG would make it refuse every later request of the
   * thread. Default: JPEG, PNG, GIF and WebP.
   * @see https://github.com/open-webui/open-webui/issues/30100 (2026-11): the formats in OpenAI's refusal
   */
  readonly imageTypes?: readonly string[]
  /**
   * The media types of files that the endpoint accepts. A text replaces any other. Default: only `application/pdf`.
   * @see https://developers.openai.com/api/docs/guides/file-inputs (2026-11)
   */
  readonly fileTypes?: readonly string[]
  /**
   * The key under which the endpoint accepts reasoning back. Absent: its text is left out. With `reasoning_content` every message with
   * calls has the key, because DeepSeek requires it: an empty text if the model did not reason.
   * @see https://api-docs.deepseek.com/guides/thinking_mode (2026-11)
   */
  readonly reasoningField?: ReasoningField
  /**
   * The form of call ids. `openai`: at most 40 characters; `mistral`: exactly nine letters and digits. An id that does not fit, is empty,
   * or was used before is replaced, in the call and its result. Default `openai`.
   */
  readonly callIds?: CallIdForm
  /**
   * What `[DONE]` means in a stream without a finish reason. `truncated`: the answer was cut off, as without `[DONE]`. `complete`: it
   * ended, for endpoints that never send a finish reason. Default `truncated`.
   */
  readonly doneWithoutReason?: "truncated" | "complete"
  /** Further keys for the body. They override ours and those of `generation.providerOptions`. */
  readonly extraBody?: { readonly [key: string]: Json }
}

/** What one request needs: what its endpoint accepts, and what its host knows. */
type OpenAiRequestOptions = OpenAiChatWireOptions & EncodeOptions

export type ReasoningField = "reasoning_content" | "reasoning"

/** The name of this wire in a producer. */
export const OPENAI_CHAT = "openai-chat"

/**
 * Projects a model request to a Chat Completions body.
 *
 * Our user messages contain tool results; the wire has messages of their own for them. The results of a message come first,
 * directly after the calls that they answer, then the rest of the message. A result is text on this wire: its text names each of its
 * attachments, such as `[Image: Sales, image/png]`, and those that can be sent follow in the user's message, each after its name and
 * that of its tool. The texts of a message are joined by an empty line; with images or files they stay parts. The reasoning effort is
 * that of `generation`, else `modelVariant`. Empty messages are left out.
 *
 * Whatever a transcript contains, the body is valid: arguments are the text of a JSON object, names match `[a-zA-Z0-9_-]{1,64}`
 * (see `toolNames` of the wire), every call has one result and every result a call, call ids fit and differ, and no text has half a
 * surrogate pair. What only another model understands is left out: its `providerMetadata`, and opaque blocks except for their text.
 *
 * The request's `cache` and the cache breakpoints are ignored: these endpoints cache automatically. The wire has no mark for a failed
 * result; the model reads it in the text.
 * @see https://platform.openai.com/docs/api-reference/chat/create (2026-11)
 */
export function openAiRequest(request: LlmRequest, options: OpenAiRequestOptions = {}): OpenAiChatBody {
  const { generation, model, modelVariant, outputSpec, parallelToolCalls, tools } = request
  const { includeUsage = true, maxTokensField = "max_completion_tokens", stream = false } = options
  const { maxOutputTokens, providerOptions, reasoningEffort = modelVariant, seed, stopSequences = [], temperature, topP } = generation
  const names = new ToolNames(tools)
  const further = { ...(isRecord(providerOptions) && providerOptions), ...options.extraBody }
  const { sampling = acceptsSampling(model, further["reasoning_effort"] ?? reasoningEffort) } = options
  return wellFormed({
    model,
    messages: orderRoles(new MessageProjection(request, options, names).messages(), options),
    // Endpoints refuse a `tool_choice`, and `parallel_tool_calls`, without tools.
    ...(tools.length > 0 && {
      tools: tools.map((tool) => projectTool(tool, names)),
      tool_choice: choiceOf(request, names),
      ...(parallelToolCalls === false && { parallel_tool_calls: false as const }),
    }),
    ...(maxOutputTokens !== undefined && { [maxTokensField]: maxOutputTokens }),
    ...(sampling && {
      ...(temperature !== undefined && { temperature }),
      ...(topP !== undefined && { top_p: topP }),
      ...(stopSequences.length > 0 && { stop: stopSequences }),
    }),
    ...(seed !== undefined && { seed }),
    ...(reasoningEffort !== undefined && { reasoning_effort: reasoningEffort }),
    ...(outputSpec !== undefined && { response_format: responseFormat(outputSpec) }),
    ...(stream && { stream: true as const, ...(includeUsage && { stream_options: { include_usage: true as const } }) }),
    ...further,
  })
}

function acceptsSampling(model: string, effort: unknown): boolean {
  const { reasons, samplesWithoutEffort } = openAiModelRules(model)
  return reasons !== true || (samplesWithoutEffort && effort === "none")
}

/** A name that is not among the tools makes the endpoint refuse the request; then the model has to call any of them. */
function choiceOf({ toolChoice, tools }: LlmRequest, names: ToolNames): NonNullable<OpenAiChatBody["tool_choice"]> {
  if (typeof toolChoice === "string") return toolChoice
  return tools.some(({ name }) => name === toolChoice.toolName)
    ? { type: "function", function: { name: names.sent(toolChoice.toolName) } }
    : "required"
}

function projectTool({ name, description, inputSchema }: ToolSpec, names: ToolNames): OpenAiTool {
  return { type: "function", function: { name: names.sent(name), description, parameters: openAiParameters(inputSchema) } }
}

function responseFormat(outputSpec: NonNullable<LlmRequest["outputSpec"]>): NonNullable<OpenAiChatBody["response_format"]> {
  if (outputSpec.type === "json_object") return { type: "json_object" }
  const { name, schema, strict } = outputSpec
  return { type: "json_schema", json_schema: { name, schema, strict } }
}

type AttachmentBlock = Extract<Block, { attachmentIndex: number }>
type CallBlock = Extract<Block, { type: "tool_call" }>
type Extras = Readonly<Record<string, unknown>>

/** Projects the messages of one request, in order. */
class MessageProjection {
  readonly #request: LlmRequest
  readonly #options: OpenAiRequestOptions
  readonly #names: ToolNames
  readonly #ids: ChatCallIds
  readonly #conversation = new Conversation<OpenAiMessage, string>(toolMessage, NO_RESULT)

  constructor(request: LlmRequest, options: OpenAiRequestOptions, names: ToolNames) {
    this.#request = request
    this.#options = options
    this.#names = names
    this.#ids = new ChatCallIds(options.callIds ?? "openai")
  }

  messages(): readonly OpenAiMessage[] {
    for (const message of this.#request.messages) this.#project(message)
    return this.#conversation.end()
  }

  #project({ blocks, producer, role }: LlmMessage): void {
    const from = originOf(producer, this.#options.producer, OPENAI_CHAT, this.#request)
    const results: ToolResultBlock[] = []
    const calls: CallBlock[] = []
    const content: OpenAiContentPart[] = []
    let reasoning = ""
    let extras: Extras = {}
    let shown = NOTHING_SHOWN
    for (const block of blocks) {
      switch (block.type) {
        case "text":
          if (block.text !== "") content.push({ type: "text", text: block.text })
          break
        case "image":
        case "file":
          content.push(...this.#attachment(block, role, shown))
          break
        case "tool_call":
          calls.push(block)
          break
        case "tool_result":
          results.push(block)
          shown = shownBy(block)
          break
        case "reasoning":
          if (from !== "other" || block.replay?.redacted !== true) reasoning = joinTexts(reasoning, block.text)
          break
        case "opaque":
          if (block.text !== undefined && block.text !== "") content.push({ type: "text", text: block.text })
      }
      if (block.type !== "tool_call" && role === "assistant" && from !== "other" && isRecord(block.providerMetadata))
        extras = mergeExtras(extras, block.providerMetadata)
    }

    // A user's message mostly has the results of the calls before it. Those of calls of its own follow them.
    const own = role === "user" ? this.#addResults(results) : results
    this.#addAnswer({ content: role === "assistant" ? content : [], calls, reasoning, extras, from })
    const orphans = this.#addResults(own).map((result): OpenAiContentPart => ({ type: "text", text: strayResultText(resultText(result)) }))
    if (role === "user") this.#addContent(role, [...orphans, ...content])
    else {
      this.#addContent("user", orphans)
      if (role === "system") this.#addContent(role, content)
    }
  }

  /** Adds results directly after the calls that they answer. Returns those that answer none. */
  #addResults(results: readonly ToolResultBlock[]): readonly ToolResultBlock[] {
    return results.filter((result) => !this.#conversation.addResult(result.callId, resultText(result)))
  }

  /** Adds the text and calls of the model. Calls under another role still need an assistant message. */
  #addAnswer({ calls, content, extras, from, reasoning }: Answered): void {
    const { reasoningField } = this.#options
    const text = textOnly(content)
    const hasCalls = calls.length > 0
    const isReturned = reasoningField !== undefined && (!isBlank(reasoning) || (hasCalls && reasoningField === "reasoning_content"))
    if (text === "" && !hasCalls && !isReturned) return
    const sent = calls.map((call) => this.#call(call, from))
    const message: OpenAiMessage = {
      ...without(extras, MESSAGE_KEYS),
      role: "assistant",
      content: text === "" && hasCalls ? null : text,
      ...(hasCalls && { tool_calls: sent }),
      ...(isReturned && { [reasoningField]: isBlank(reasoning) ? "" : reasoning }),
    }
    this.#conversation.addAnswer(
      [message],
      calls.map(({ callId }, index) => ({ callId, sentId: (sent[index] as OpenAiToolCall).id })),
    )
  }

  #call({ callId, inputJson, providerMetadata, toolName }: CallBlock, from: Origin): OpenAiToolCall {
    return {
      ...(from !== "other" && isRecord(providerMetadata) && without(providerMetadata, CALL_KEYS)),
      id: this.#ids.next(callId, from),
      type: "function",
      function: { name: this.#names.sent(toolName), arguments: sentArguments(inputJson) },
    }
  }

  #addContent(role: "system" | "user", content: readonly OpenAiContentPart[]): void {
    if (role === "user" && content.some(({ type }) => type !== "text")) {
      this.#conversation.add({ role, content })
      return
    }
    const text = textOnly(content)
    if (text === "") return
    this.#conversation.add(role === "user" ? { role, content: text } : { role: this.#options.systemRole ?? role, content: text })
  }

  /** Projects an attachment by its media type: a server that is sent a PDF as an image refuses the whole request. */
  #attachment(block: AttachmentBlock, role: LlmMessage["role"], shown: Shown): readonly OpenAiContentPart[] {
    const attachment = attachmentOf(this.#request, block)
    if (attachment === undefined) return [{ type: "text", text: missingAttachment(block.type) }]
    const isOfResult = shown.ids.has(attachment.id)
    const sent = role === "user" ? this.#sentAttachment(attachment) : undefined
    if (sent === undefined) return isOfResult ? [] : [{ type: "text", text: describeAttachment(attachment) }]
    return isOfResult ? [{ type: "text", text: describeAttachment(attachment, shown.toolName) }, sent] : [sent]
  }

  /** Returns undefined if the endpoint does not accept the attachment, or the host has no URL for it. */
  #sentAttachment(attachment: AttachmentRef): OpenAiContentPart | undefined {
    const { attachmentUrl, fileTypes = ["application/pdf"], imageTypes = OPENAI_IMAGES } = this.#options
    const accepted = isImage(attachment) ? imageTypes : fileTypes
    const url = accepted.includes(attachment.mediaType) ? attachmentUrl?.(attachment) : undefined
    if (url === undefined || !isSendable(url, accepted)) return undefined
    if (isImage(attachment)) return { type: "image_url", image_url: { url } }
    return isData(url) ? { type: "file", file: { filename: fileName(attachment), file_data: url } } : undefined
  }
}

/** What a message of the model is made of. */
interface Answered {
  readonly content: readonly OpenAiContentPart[]
  readonly calls: readonly CallBlock[]
  readonly reasoning: string
  /** Further keys that its provider wants back. */
  readonly extras: Extras
  readonly from: Origin
}

/** Keys that a provider's metadata does not override. */
const MESSAGE_KEYS: ReadonlySet<string> = new Set(["role", "content", "tool_calls", "function_call", "reasoning_content", "reasoning"])
const CALL_KEYS: ReadonlySet<string> = new Set(["id", "type", "function"])

function without(extras: Extras, keys: ReadonlySet<string>): Extras {
  return Object.fromEntries(Object.entries(extras).filter(([key]) => !keys.has(key)))
}

function toolMessage(sentId: string, content: string): OpenAiMessage {
  return { role: "tool", tool_call_id: sentId, content }
}

function textOnly(content: readonly OpenAiContentPart[]): string {
  let text = ""
  for (const part of content) if (part.type === "text") text = joinTexts(text, part.text)
  return text
}
