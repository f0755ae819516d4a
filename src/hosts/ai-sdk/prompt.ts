import { parseJson } from "../../json.ts"
import { ChatCallIds } from "../../projectors/openai-chat/call-ids.ts"
import {
  attachmentOf,
  describeAttachment,
  isImage,
  missingAttachment,
  NOTHING_SHOWN,
  resultText,
  type Shown,
  shownBy,
} from "../../projectors/wires/attachments.ts"
import { joinTexts } from "../../projectors/wires/join-texts.ts"
import { type Origin, originOf } from "../../projectors/wires/origin.ts"
import type { ToolNames } from "../../projectors/wires/tool-names.ts"
import { isRecord } from "../../projectors/wires/values.ts"
import { sentArguments, wellFormed, wellFormedText } from "../../projectors/wires/well-formed.ts"
import { isBlank, strayResultText } from "../../text.ts"
import type { Block, LlmMessage, LlmRequest } from "../../wire/llm.ts"
import type { AttachmentRef, Producer } from "../../wire/message.ts"
import type { FileForm } from "./files.ts"
import type { Dialect, ProviderOptions } from "./language-model.ts"
import { promptPart } from "./other-parts.ts"
import { PromptMessages } from "./prompt-messages.ts"
import type { CallPart, PromptMessage, ReasoningPart, ResultOutput, ResultPart, TextPart } from "./prompt-types.ts"

/** What a prompt depends on besides its request. */
export interface PromptSettings {
  /** The producer that answers of this model have. A message of another goes without what only its own producer understands. */
  readonly producer: Producer
  readonly dialect: Dialect
  readonly names: ToolNames
  readonly files: FileForm
  /** Bytes in base64, by the id of their attachment. */
  readonly loaded: ReadonlyMap<string, string>
  /** The media types of files that the model accepts, besides images. */
  readonly fileTypes: readonly string[]
  readonly filesInResults: boolean
  readonly laterSystem: "user" | "system"
}

type CallBlock = Extract<Block, { type: "tool_call" }>
type ResultBlock = Extract<Block, { type: "tool_result" }>
type AttachmentBlock = Extract<Block, { attachmentIndex: number }>
type Content = TextPart | unknown

/**
 * Projects the messages of a request to a prompt of the AI SDK.
 *
 * Whatever a transcript contains, the prompt is valid: every call has one result, directly after it; arguments are objects; names and ids fit
 * every provider; no text has half a surrogate pair. Provider metadata goes back to the same producer as provider options, part by part.
 */
export function promptOf(request: LlmRequest, settings: PromptSettings): readonly PromptMessage[] {
  return new Projection(request, settings).messages()
}

class Projection {
  readonly #request: LlmRequest
  readonly #settings: PromptSettings
  readonly #ids = new ChatCallIds("openai")
  readonly #prompt = new PromptMessages()

  constructor(request: LlmRequest, settings: PromptSettings) {
    this.#request = request
    this.#settings = settings
  }

  messages(): readonly PromptMessage[] {
    for (const message of this.#request.messages) this.#project(message)
    const messages = this.#prompt.end()
    const { cache = "auto" } = this.#request
    return cache === "auto" && this.#settings.dialect.marksCache ? withMarks(messages, this.#settings.dialect.key) : messages
  }

  #project(message: LlmMessage): void {
    const { blocks, role } = message
    if (role === "assistant") this.#addAnswer(message)
    const results = blocks.filter((block) => block.type === "tool_result")
    const stray = results.filter((block) => !this.#addResult(block)).map((block) => textPart(strayResultText(resultText(block))))
    if (role === "assistant") {
      if (stray.length > 0) this.#prompt.add({ role: "user", content: stray })
      return
    }
    const content = [...stray, ...this.#content(blocks)]
    if (content.length === 0) return
    const isSystem = role === "system" && (this.#prompt.isEmptyButSystem || this.#settings.laterSystem === "system")
    this.#prompt.add(isSystem ? { role, content: textOf(content) } : { role: "user", content })
  }

  /** The parts of a message that is not the model's. An attachment that a result shows already is left out. */
  #content(blocks: readonly Block[]): readonly Content[] {
    let shown = NOTHING_SHOWN
    let isInResult = false
    return blocks.flatMap((block): readonly Content[] => {
      switch (block.type) {
        case "tool_result":
          shown = shownBy(block)
          isInResult = this.#hasFiles(block)
          return []
        case "text":
          return block.text === "" ? [] : [this.#marked(textPart(block.text), block)]
        case "image":
        case "file":
          return this.#attachment(block, shown, isInResult)
        case "opaque":
          return block.text === undefined || block.text === "" ? [] : [textPart(block.text)]
        default:
          return []
      }
    })
  }

  #addAnswer({ blocks, producer }: LlmMessage): void {
    const { producer: own } = this.#settings
    const from = originOf(producer, own, own.api, this.#request)
    const calls: { readonly callId: string; readonly sentId: string; readonly toolName: string }[] = []
    const content = blocks.flatMap((block): readonly Content[] => {
      const options = from === "other" ? undefined : optionsOf(block.providerMetadata)
      switch (block.type) {
        case "text":
          return block.text === "" && options === undefined ? [] : [this.#marked(textPart(block.text, options), block)]
        case "reasoning":
          return this.#reasoning(block, from, options)
        case "tool_call": {
          const part = this.#call(block, from, options)
          calls.push({ callId: block.callId, sentId: part.toolCallId, toolName: part.toolName })
          return [part]
        }
        case "opaque": {
          const isOwn = from === "same" && block.provider === this.#settings.producer.provider
          const part = isOwn ? promptPart(block, options, this.#settings) : undefined
          if (part !== undefined) return [part]
          return block.text === undefined || block.text === "" ? [] : [textPart(block.text)]
        }
        default:
          return []
      }
    })
    if (content.length > 0) this.#prompt.addAnswer({ role: "assistant", content }, calls)
  }

  /** Reasoning without anything by which its provider recognizes it goes back only where the same model wrote it. */
  #reasoning({ text }: Extract<Block, { type: "reasoning" }>, from: Origin, options: ProviderOptions | undefined): readonly ReasoningPart[] {
    if (from === "other" || (options === undefined && (from === "unknown" || isBlank(text)))) return []
    return [{ type: "reasoning", text: wellFormedText(text), ...(options !== undefined && { providerOptions: options }) }]
  }

  #call({ callId, inputJson, toolName }: CallBlock, from: Origin, options: ProviderOptions | undefined): CallPart {
    return {
      type: "tool-call",
      toolCallId: this.#ids.next(callId, from),
      toolName: this.#settings.names.sent(toolName),
      input: parseJson(sentArguments(inputJson)) ?? {},
      ...(options !== undefined && { providerOptions: options }),
    }
  }

  #addResult(block: ResultBlock): boolean {
    return this.#prompt.addResult(block.callId, (toolCallId, toolName): ResultPart => {
      return { type: "tool-result", toolCallId, toolName, output: this.#output(block) }
    })
  }

  #output(block: ResultBlock): ResultOutput {
    const { content = [], isError } = block
    if (!this.#hasFiles(block)) return { type: isError === true ? "error-text" : "text", value: wellFormedText(resultText(block)) }
    const value = content.map((part) => {
      if (part.type === "text") return { type: "text" as const, text: wellFormedText(part.text) }
      return this.#file(part.attachment, "inResult") ?? { type: "text" as const, text: wellFormedText(describeAttachment(part.attachment)) }
    })
    return { type: "content", value }
  }

  /** Whether the files of a result are sent in it. The interface has no mark for a failed result with files. */
  #hasFiles({ content = [], isError }: ResultBlock): boolean {
    if (isError === true || !this.#settings.filesInResults) return false
    return content.some((part) => part.type === "attachment" && this.#isSent(part.attachment))
  }

  #attachment(block: AttachmentBlock, shown: Shown, isInResult: boolean): readonly Content[] {
    const attachment = attachmentOf(this.#request, block)
    if (attachment === undefined) return [textPart(missingAttachment(block.type))]
    const isOfResult = shown.ids.has(attachment.id)
    if (isOfResult && isInResult) return []
    const file = this.#file(attachment, "part")
    if (file === undefined) return isOfResult ? [] : [textPart(describeAttachment(attachment))]
    return isOfResult ? [textPart(describeAttachment(attachment, shown.toolName)), file] : [file]
  }

  #isSent(attachment: AttachmentRef): boolean {
    const { id, mediaType } = attachment
    const isAccepted = isImage(attachment) || this.#settings.fileTypes.some((type) => matches(type, mediaType))
    return isAccepted && this.#settings.loaded.has(id)
  }

  #file(attachment: AttachmentRef, as: keyof FileForm): unknown {
    if (!this.#isSent(attachment)) return undefined
    const { id, label, mediaType } = attachment
    const base64 = this.#settings.loaded.get(id)
    return this.#settings.files[as]({
      mediaType,
      ...(base64 !== undefined && { base64 }),
      ...(label !== undefined && { filename: wellFormedText(label) }),
    })
  }

  /** A part at which a projector wants the provider to cache. */
  #marked(part: TextPart, { cacheBreakpoint }: Extract<Block, { type: "text" }>): TextPart {
    const { dialect } = this.#settings
    if (cacheBreakpoint !== true || this.#request.cache === "off" || !dialect.marksCache) return part
    return { ...part, providerOptions: withMark(part.providerOptions, dialect.key) }
  }
}

function textPart(text: string, providerOptions?: ProviderOptions): TextPart {
  return { type: "text", text: wellFormedText(text), ...(providerOptions !== undefined && { providerOptions }) }
}

/** Provider metadata that is an object for each provider. Any other is that of another kind of client. */
function optionsOf(metadata: unknown): ProviderOptions | undefined {
  if (!isRecord(metadata) || !Object.values(metadata).every(isRecord)) return undefined
  return wellFormed(metadata as ProviderOptions)
}

function withMark(options: ProviderOptions | undefined, key: string): ProviderOptions {
  return { ...options, [key]: { ...options?.[key], cacheControl: { type: "ephemeral" } } }
}

/** Marks the end of the system prompt, which includes the tools, and the end of the prompt. */
function withMarks(messages: readonly PromptMessage[], key: string): readonly PromptMessage[] {
  const lastSystem = messages.findLastIndex(({ role }) => role === "system")
  return messages.map((message, index) =>
    index === lastSystem || index === messages.length - 1 ? { ...message, providerOptions: withMark(message.providerOptions, key) } : message,
  )
}

/** Whether a media type matches a pattern such as `audio/*`. */
function matches(pattern: string, mediaType: string): boolean {
  const [type = ""] = mediaType.split(";")
  return pattern.endsWith("/*") ? type.startsWith(pattern.slice(0, -1)) : type === pattern
}

function textOf(content: readonly Content[]): string {
  let text = ""
  for (const part of content) if (isRecord(part) && typeof part["text"] === "string") text = joinTexts(text, part["text"])
  return text
}
