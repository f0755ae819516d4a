import { type Json, parseJson } from "../../json.ts"
import type { OpaqueBlock, OutputPart, ReasoningBlock, TextOutput, ToolCallBlock } from "../../wire/llm.ts"
import { Arguments } from "../wires/arguments.ts"
import { isRecord, jsonOf, stringOf, textOf } from "../wires/values.ts"
import { opaqueText } from "./opaque-text.ts"

type Fields = Readonly<Record<string, unknown>>

/** What a block shows at once. */
export interface Shown {
  readonly type: "text_delta" | "reasoning_delta"
  readonly content: string
}

/**
 * One block of an answer, whole or in pieces. `start` gives its first form, `addDelta` a piece. Pieces that do not fit the block are
 * ignored.
 */
export class AnswerBlock {
  /** Whether the block has its start. A piece may come before it. */
  started = false
  /** Whether the block is complete. */
  stopped = false
  #first: Fields = {}
  #type = ""
  #text = ""
  #signature = ""
  readonly #input = new Arguments()
  readonly #citations: Json[] = []

  /** The provider's name for what the block is, such as `tool_use`. */
  get type(): string {
    return this.#type
  }

  /** The id of a call, or of a tool that runs at the provider. */
  get id(): string {
    return stringOf(this.#first["id"])
  }

  get name(): string {
    return stringOf(this.#first["name"])
  }

  /** The id of the provider's own call that the block is the result of. */
  get resultOf(): string | undefined {
    const id = this.#first["tool_use_id"]
    return typeof id === "string" && this.#type.endsWith("_tool_result") ? id : undefined
  }

  start(block: Fields): readonly Shown[] {
    this.started = true
    this.#first = block
    this.#type = stringOf(block["type"])
    const first = stringOf(block[this.#type === "thinking" ? "thinking" : "text"])
    this.#signature ||= stringOf(block["signature"])
    const { citations } = block
    if (Array.isArray(citations)) for (const citation of citations as readonly unknown[]) this.#addCitation(citation)
    this.#text = first + this.#text
    return this.#show(first)
  }

  addDelta(delta: Fields): readonly Shown[] {
    switch (delta["type"]) {
      case "text_delta":
        return this.#addText("text", stringOf(delta["text"]))
      case "thinking_delta":
        return this.#addText("thinking", stringOf(delta["thinking"]))
      case "signature_delta":
        this.#imply("thinking")
        // A signature comes whole, and its provider's SDK takes the last. Some servers send it twice.
        this.#signature = stringOf(delta["signature"]) || this.#signature
        return []
      case "input_json_delta":
        this.#input.append(stringOf(delta["partial_json"]))
        return []
      case "citations_delta":
        this.#imply("text")
        this.#addCitation(delta["citation"])
        return []
      case "compaction_delta":
        this.#text += stringOf(delta["content"])
        return []
      default:
        return []
    }
  }

  /** The arguments of a call as the model wrote them. Without pieces of them they are in the first form of the block. */
  inputJson(): string {
    return this.#input.isBlank ? (textOf(this.#first["input"]) ?? "{}") : this.#input.text()
  }

  /** Whether the block is a call of one of the request's tools. */
  get isCall(): boolean {
    return this.#type === "tool_use"
  }

  /** Returns the part for the block; `undefined` if there is nothing in it. `whole`: `false` leaves out what is only valid in a whole block. */
  part(provider: string, callId: string, toolName: string, whole = true): OutputPart | undefined {
    switch (this.#type) {
      case "":
        return undefined
      case "text":
        return this.#textPart()
      case "thinking":
        return this.#reasoning(whole)
      case "redacted_thinking":
        return whole ? { type: "reasoning", text: "", replay: { encryptedContent: stringOf(this.#first["data"]), redacted: true } } : undefined
      case "tool_use":
        return this.#call(callId, toolName)
      default:
        return whole ? this.#opaque(provider) : undefined
    }
  }

  #textPart(): TextOutput | undefined {
    const text = this.#text
    if (text === "" && this.#citations.length === 0) return undefined
    return { type: "text", text, ...(this.#citations.length > 0 && { providerMetadata: { citations: this.#citations } }) }
  }

  /** A block with an empty text is signed, too, if the provider does not show its reasoning. Half a signature is none. */
  #reasoning(whole: boolean): ReasoningBlock | undefined {
    const signature = whole ? this.#signature : ""
    if (this.#text === "" && signature === "") return undefined
    return { type: "reasoning", text: this.#text, ...(signature !== "" && { replay: { signature } }) }
  }

  #call(callId: string, toolName: string): ToolCallBlock {
    const extras = Object.entries(this.#first).filter(([key, value]) => CALL_EXTRAS.has(key) && value !== null && !isDirect(value))
    const providerMetadata = jsonOf(Object.fromEntries(extras))
    return {
      type: "tool_call",
      callId,
      toolName,
      inputJson: this.inputJson(),
      ...(extras.length > 0 && providerMetadata !== undefined && { providerMetadata }),
    }
  }

  #opaque(provider: string): OpaqueBlock | undefined {
    const raw: Record<string, unknown> = { ...this.#first }
    if (!this.#input.isBlank) {
      const input = parseJson(this.#input.text())
      // The provider would refuse half of it.
      if (input === undefined) return undefined
      raw["input"] = input
    }
    if (this.#type === "compaction" && this.#text !== "") raw["content"] = stringOf(raw["content"]) + this.#text
    const data = jsonOf(raw)
    if (data === undefined) return undefined
    const text = opaqueText(raw)
    return { type: "opaque", provider, kind: this.#type, data, ...(text !== undefined && { text }) }
  }

  #addText(type: "text" | "thinking", text: string): readonly Shown[] {
    this.#imply(type)
    if (this.#type !== type) return []
    this.#text += text
    return this.#show(text)
  }

  /** A piece that comes before the start of its block says what the block is. */
  #imply(type: "text" | "thinking"): void {
    if (this.#type === "") this.#type = type
  }

  #addCitation(citation: unknown): void {
    const json = jsonOf(citation)
    if (isRecord(json)) this.#citations.push(json)
  }

  #show(content: string): readonly Shown[] {
    if (content === "") return []
    if (this.#type === "text") return [{ type: "text_delta", content }]
    return this.#type === "thinking" ? [{ type: "reasoning_delta", content }] : []
  }
}

/** What a call has besides its name and arguments: which program of the provider made it. */
const CALL_EXTRAS: ReadonlySet<string> = new Set(["caller", "toolset_name"])

function isDirect(value: unknown): boolean {
  return isRecord(value) && value["type"] === "direct"
}
