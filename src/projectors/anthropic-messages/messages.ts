import { type Json, parseJson } from "../../json.ts"
import { isBlank, strayResultText } from "../../text.ts"
import type { Block, LlmMessage, LlmRequest, ReasoningBlock, TextBlock, ToolCallBlock, ToolResultBlock } from "../../wire/llm.ts"
import { attachmentOf, describeAttachment, missingAttachment, NOTHING_SHOWN, resultText, type Shown, shownBy } from "../wires/attachments.ts"
import { CallIds, readableId } from "../wires/call-ids.ts"
import { type Origin, originOf } from "../wires/origin.ts"
import type { ToolNames } from "../wires/tool-names.ts"
import { isRecord } from "../wires/values.ts"
import { sentArguments } from "../wires/well-formed.ts"
import type { EncodeOptions } from "../wires/wire.ts"
import { sentAttachment } from "./attachments.ts"
import type { AnthropicBlock, AnthropicMessage, AnthropicResultContent, AnthropicText, AnthropicToolResult, AnthropicToolUse } from "./body.ts"
import { Conversation } from "./conversation.ts"
import { rawBlock } from "./raw-block.ts"

/** The name of this wire in a producer. */
export const ANTHROPIC_MESSAGES = "anthropic-messages"

/** The provider refuses any other id of a call. */
const CALL_ID = /^[a-zA-Z0-9_-]{1,64}$/

/** How messages are projected: what the endpoint accepts, and what the host knows. */
export interface MessageOptions extends Pick<EncodeOptions, "producer" | "attachmentUrl"> {
  readonly unsignedThinking?: boolean
}

type AttachmentBlock = Extract<Block, { attachmentIndex: number }>

/** Projects the messages of one request, in order. */
export class MessageProjection {
  /** The blocks that a projector asks the provider to cache. */
  readonly breakpoints: Set<AnthropicBlock> = new Set()
  readonly #request: LlmRequest
  readonly #options: MessageOptions
  readonly #names: ToolNames
  readonly #ids = new CallIds(readableId(40))
  readonly #conversation = new Conversation()

  constructor(request: LlmRequest, options: MessageOptions, names: ToolNames) {
    this.#request = request
    this.#options = options
    this.#names = names
  }

  /** The system prompt: the system messages before any other. Later ones are sent as the user's, where they are. */
  system(): readonly AnthropicText[] {
    return this.#request.messages.slice(0, this.#systemLength()).flatMap(({ blocks }) => this.#texts(blocks))
  }

  messages(): readonly AnthropicMessage[] {
    for (const message of this.#request.messages.slice(this.#systemLength())) {
      if (message.role === "system") this.#conversation.addUser(this.#texts(message.blocks))
      this.#project(message)
    }
    return this.#conversation.end()
  }

  #systemLength(): number {
    const { messages } = this.#request
    const length = messages.findIndex(
      ({ role, blocks }) => role !== "system" || blocks.some(({ type }) => type === "tool_call" || type === "tool_result"),
    )
    return length === -1 ? messages.length : length
  }

  #originOf({ producer }: LlmMessage): Origin {
    return originOf(producer, this.#options.producer, ANTHROPIC_MESSAGES, this.#request)
  }

  #project(message: LlmMessage): void {
    const { blocks, role } = message
    const from = this.#originOf(message)
    const results: ToolResultBlock[] = []
    const said: AnthropicBlock[] = []
    const calls: { readonly callId: string; readonly sentId: string }[] = []
    const content: AnthropicBlock[] = []
    let shown: ShownByResult = NOTHING_SHOWN
    for (const block of blocks) {
      switch (block.type) {
        case "text":
          if (role !== "system") (role === "assistant" ? said : content).push(...this.#text(block, role === "assistant" ? from : "other"))
          break
        case "image":
        case "file":
          if (role !== "system") (role === "assistant" ? said : content).push(...this.#attachment(block, role, shown))
          break
        case "tool_call": {
          const call = this.#call(block, from)
          said.push(call)
          calls.push({ callId: block.callId, sentId: call.id })
          break
        }
        case "tool_result":
          results.push(block)
          shown = block.isError === true ? { ...shownBy(block), isApart: true } : shownBy(block)
          break
        case "reasoning":
          if (role === "assistant") said.push(...this.#reasoning(block, from))
          break
        case "opaque": {
          const raw = role === "assistant" ? rawBlock(block, from) : undefined
          // A copy, so that a block that comes twice is not taken for one.
          if (raw !== undefined) said.push({ ...raw } as unknown as AnthropicBlock)
          else if (role === "assistant") said.push(...textOf(block.text))
        }
      }
    }
    // A user's message mostly has the results of the calls before it. Those of calls of its own follow them.
    const own = role === "user" ? this.#addResults(results) : results
    if (said.length > 0) this.#conversation.addAnswer(said, calls)
    const strays = this.#addResults(own).flatMap((result) => textOf(strayResultText(resultText(result))))
    this.#conversation.addUser([...strays, ...content])
  }

  /** Adds results to the calls that they answer. Returns those that answer none. */
  #addResults(results: readonly ToolResultBlock[]): readonly ToolResultBlock[] {
    return results.filter((result) => !this.#conversation.addResult(result.callId, this.#result(result)))
  }

  /** A failed result has only text: the provider refuses anything else in it. Then its attachments follow it, as the user's. */
  #result(result: ToolResultBlock): Omit<AnthropicToolResult, "type" | "tool_use_id"> {
    if (result.isError === true) {
      const text = resultText(result)
      return { content: [{ type: "text", text: isBlank(text) ? "[The call failed without a message.]" : text }], is_error: true }
    }
    const content = (result.content ?? [{ type: "text", text: result.text } as const]).flatMap((part): readonly AnthropicResultContent[] => {
      if (part.type === "text") return textOf(part.text)
      return [sentAttachment(part.attachment, this.#options) ?? { type: "text", text: describeAttachment(part.attachment) }]
    })
    return content.length > 0 ? { content } : {}
  }

  #call({ callId, inputJson, providerMetadata, toolName }: ToolCallBlock, from: Origin): AnthropicToolUse {
    const { caller, toolset_name: toolset } = from !== "other" && isRecord(providerMetadata) ? providerMetadata : {}
    return {
      ...(isRecord(caller) && { caller }),
      ...(typeof toolset === "string" && { toolset_name: toolset }),
      type: "tool_use",
      id: this.#ids.next(callId, CALL_ID),
      name: this.#names.sent(toolName),
      input: parseJson(sentArguments(inputJson)) as { readonly [key: string]: Json },
    }
  }

  /** Reasoning goes back byte for byte to the model that signed it, and to no other. */
  #reasoning({ replay = {}, text }: ReasoningBlock, from: Origin): readonly AnthropicBlock[] {
    const { encryptedContent = "", redacted, signature = "" } = replay
    if (from === "other") return []
    if (redacted === true) return isBlank(encryptedContent) ? [] : [{ type: "redacted_thinking", data: encryptedContent }]
    if (!isBlank(signature)) return [{ type: "thinking", thinking: text, signature }]
    return this.#options.unsignedThinking === true && !isBlank(text) ? [{ type: "thinking", thinking: text, signature: "" }] : []
  }

  #texts(blocks: readonly Block[]): readonly AnthropicText[] {
    return blocks.flatMap((block) => (block.type === "text" ? this.#text(block, "other") : block.type === "opaque" ? textOf(block.text) : []))
  }

  #text({ cacheBreakpoint, providerMetadata, text }: TextBlock, from: Origin): readonly AnthropicText[] {
    const [plain] = textOf(text)
    if (plain === undefined) return []
    const citations = from === "other" ? [] : citationsOf(providerMetadata)
    const block: AnthropicText = citations.length > 0 ? { ...plain, citations } : plain
    if (cacheBreakpoint === true) this.breakpoints.add(block)
    return [block]
  }

  /** An attachment of a result is in the result. It follows only a failed one, after its name. */
  #attachment(block: AttachmentBlock, role: LlmMessage["role"], shown: ShownByResult): readonly AnthropicBlock[] {
    const attachment = attachmentOf(this.#request, block)
    if (attachment === undefined) return [{ type: "text", text: missingAttachment(block.type) }]
    const isOfResult = shown.ids.has(attachment.id)
    if (isOfResult && shown.isApart !== true) return []
    const sent = role === "user" ? sentAttachment(attachment, this.#options) : undefined
    if (sent === undefined) return isOfResult ? [] : [{ type: "text", text: describeAttachment(attachment) }]
    return isOfResult ? [{ type: "text", text: describeAttachment(attachment, shown.toolName) }, sent] : [sent]
  }
}

/** `isApart`: the attachments of the result are not in it. */
type ShownByResult = Shown & { readonly isApart?: true }

function without(record: Readonly<Record<string, unknown>>, keys: ReadonlySet<string>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(record).filter(([key]) => !keys.has(key)))
}

/** A text as a block. The provider refuses one that has nothing but white space. */
function textOf(text = ""): readonly AnthropicText[] {
  return isBlank(text) ? [] : [{ type: "text", text }]
}

/** The sources of a text. The provider sends the id of a file with them, but does not accept it back. */
function citationsOf(providerMetadata: unknown): readonly Json[] {
  const citations = isRecord(providerMetadata) ? providerMetadata["citations"] : undefined
  if (!Array.isArray(citations)) return []
  return (citations as readonly unknown[]).filter(isCitation).map((citation) => without(citation, FILE_ID) as Json)
}

function isCitation(value: unknown): value is Readonly<Record<string, unknown>> {
  return isRecord(value) && typeof value["type"] === "string"
}

const FILE_ID: ReadonlySet<string> = new Set(["file_id"])
