import type { Json } from "../../json.ts"
import { diagnosticOf } from "../../projectors/wires/diagnostic.ts"
import { brokenOff, malformed, truncated } from "../../projectors/wires/failure.ts"
import { responseOf } from "../../projectors/wires/response.ts"
import { isRecord, jsonOf, stringOf, textOf } from "../../projectors/wires/values.ts"
import type { LlmResult } from "../../projectors/wires/wire.ts"
import { isBlank } from "../../text.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { LlmFailure, LlmResponse, OutputPart, TerminalReason } from "../../wire/llm.ts"
import type { Producer } from "../../wire/message.ts"
import type { AttachmentStore } from "../attachments/store.ts"
import { inStore } from "./files.ts"
import { type FinishReason, isCutOff, readReason, reasonOf } from "./finish-reason.ts"
import { type Metadata, mergedMetadata, metadataOf } from "./metadata.ts"
import { type OtherKind, otherPart } from "./other-parts.ts"
import { readUsage } from "./usage.ts"

type Words = { readonly type: "text" | "reasoning"; text: string; metadata: Metadata | undefined }
type Call = { readonly type: "call"; readonly id: string; readonly name: string; input: string; metadata: Metadata | undefined }
type Other = {
  readonly type: "other"
  readonly kind: OtherKind
  data: Json
  readonly text: string | undefined
  readonly metadata: Metadata | undefined
}

/** What an answer depends on besides its parts. */
export interface AnswerOptions {
  readonly producer: Producer
  /** The own names of tools that the request sent in another form. */
  readonly toolNames: ReadonlyMap<string, string>
  /** Whether the answer is streamed: a stream without a finish reason was cut off. */
  readonly streamed: boolean
  readonly failureOf: (error: unknown) => LlmFailure
  /** Removes secrets from what the provider says of the answer. */
  readonly redact: (text: string) => string
}

/** Collects an answer from the parts of a stream, or from a whole result, in the same way. Accepts any value and never throws. */
export class Answer {
  readonly #options: AnswerOptions
  /** The pieces of the answer, in the order in which they began. */
  readonly #pieces: (Words | Call | Other)[] = []
  /** Texts and reasoning that may still grow, by their type and id. */
  readonly #open = new Map<string, Words>()
  /** The inputs of calls that come in pieces, by the id of the call, which follows them as a whole. */
  readonly #inputs = new Map<string, Call>()
  readonly #reported = new Set<string>()
  #usage: unknown
  #reason: FinishReason | undefined
  #failure: LlmFailure | undefined
  #id = ""
  #model = ""

  constructor(options: AnswerOptions) {
    this.#options = options
  }

  /** Whether an error has come. The usage may still come. */
  get failed(): boolean {
    return this.#failure !== undefined
  }

  /** Whether the last part has come. */
  get complete(): boolean {
    return this.#reason !== undefined
  }

  /** Adds the whole result of `doGenerate` and returns the events to show. Its text is not shown: the turn shows it. */
  addResult(result: unknown): readonly TurnEvent[] {
    const content = isRecord(result) ? result["content"] : undefined
    if (!isRecord(result) || !Array.isArray(content)) {
      this.#failure = malformed("it has no list of contents", textOf(result), this.#options.redact)
      return []
    }
    if (isRecord(result["response"])) {
      this.#id = stringOf(result["response"]["id"])
      this.#model = stringOf(result["response"]["modelId"])
    }
    this.#finish(result["finishReason"], result["usage"])
    return [...this.#warn(result["warnings"]), ...(content as readonly unknown[]).flatMap((part) => this.#addWhole(part))]
  }

  /** Adds one part of a stream and returns the events to show. */
  push(part: unknown): readonly TurnEvent[] {
    if (!isRecord(part)) return this.#report("that is not an object")
    const { delta, finishReason, id, providerMetadata, type, usage, warnings } = part
    switch (type) {
      case "stream-start":
        return this.#warn(warnings)
      case "response-metadata":
        this.#id ||= stringOf(id)
        this.#model ||= stringOf(part["modelId"])
        return []
      case "text-start":
        this.#begin("text", id, providerMetadata)
        return []
      case "reasoning-start":
        this.#begin("reasoning", id, providerMetadata)
        return []
      case "text-delta":
        return this.#grow("text", id, stringOf(delta), providerMetadata)
      case "reasoning-delta":
        return this.#grow("reasoning", id, stringOf(delta), providerMetadata)
      case "text-end":
        this.#end("text", id, providerMetadata)
        return this.#addCitations(part)
      case "reasoning-end":
        this.#end("reasoning", id, providerMetadata)
        return []
      case "tool-input-start":
        this.#beginInput(part)
        return []
      case "tool-input-delta":
      case "tool-input-end": {
        const call = this.#inputs.get(stringOf(id))
        if (call === undefined) return []
        call.input += stringOf(delta)
        call.metadata = mergedMetadata(call.metadata, providerMetadata)
        return []
      }
      case "finish":
        this.#finish(finishReason, usage)
        return []
      case "error":
        this.#failure ??= this.#options.failureOf(part["error"])
        return []
      case "raw":
      case "ping":
        return []
      default:
        return this.#addWhole(part)
    }
  }

  /** Moves the files of the answer into a store, so that the transcript has references to them. */
  async storeFiles(store: AttachmentStore): Promise<void> {
    for (const piece of this.#pieces) if (piece.type === "other") piece.data = await inStore(store, piece.data)
  }

  /** Returns the answer after its last part. */
  finish(): LlmResult {
    const reason = this.#reason
    if (this.#failure !== undefined) return this.cutOff(this.#failure)
    if (reason === undefined || this.#isTruncated(reason)) return this.cutOff(truncated())
    const calls = this.#addOpenInputs()
    const terminalReason = reasonOf(reason, calls.length > 0)
    if (terminalReason === "provider_error") return this.cutOff(brokenOff(reason.raw ?? reason.unified, this.#options.redact))
    const isCut = isCutOff(terminalReason)
    if (!isCut && calls.some(({ name }) => isBlank(name))) return this.cutOff(malformed("a tool call does not name a tool"))
    return { ok: true, response: this.#response(terminalReason, this.#parts(isCut)) }
  }

  /** Returns a failure, with what was said before it. */
  cutOff(failure: LlmFailure): LlmResult {
    const parts = this.#parts(true)
    if (parts.length > 0) return { ok: false, error: failure, partial: this.#response(failure.terminalReason, parts) }
    return { ok: false, error: this.#usage === undefined ? failure : { usage: readUsage(this.#usage), ...failure } }
  }

  /** Provider packages give a stream that ended early a reason that no model has given. */
  #isTruncated({ raw, unified }: FinishReason): boolean {
    return unified === "interrupted" || (this.#options.streamed && unified === "other" && raw === undefined)
  }

  #response(terminalReason: TerminalReason, parts: readonly OutputPart[]): LlmResponse {
    const diagnostic = this.failed ? undefined : diagnosticOf(terminalReason, this.#options.redact(this.#reason?.raw ?? this.#reason?.unified ?? ""))
    const response = responseOf(parts, {
      terminalReason,
      usage: readUsage(this.#usage),
      providerUsage: isRecord(this.#usage) ? this.#usage["raw"] : undefined,
      producer: this.#options.producer,
      responseId: this.#options.redact(this.#id),
      responseModel: this.#options.redact(this.#model),
    })
    return { ...response, ...(diagnostic !== undefined && { terminalDiagnostic: diagnostic }) }
  }

  /**
   * The parts in their order. An answer that was cut off is stored in words: without calls, and without metadata and the provider's own
   * items, because providers refuse references to what they have not stored, and signatures of half a block.
   */
  #parts(isCut: boolean): readonly OutputPart[] {
    return this.#pieces.flatMap((piece) => this.#part(piece, isCut) ?? [])
  }

  #part(piece: Words | Call | Other, isCut: boolean): OutputPart | undefined {
    const { producer, toolNames } = this.#options
    const metadata = isCut || piece.metadata === undefined ? {} : { providerMetadata: piece.metadata }
    if (piece.type === "call") {
      const { id: callId, input: inputJson, name } = piece
      return isCut ? undefined : { type: "tool_call", callId, toolName: toolNames.get(name) ?? name, inputJson, ...metadata }
    }
    if (piece.type === "other") {
      const { data, kind, text } = piece
      if (isCut && kind !== "file" && kind !== "source") return undefined
      return { type: "opaque", provider: producer.provider, kind, data, ...(text !== undefined && { text }), ...metadata }
    }
    return piece.text === "" && metadata.providerMetadata === undefined ? undefined : { type: piece.type, text: piece.text, ...metadata }
  }

  #begin(type: Words["type"], id: unknown, metadata: unknown): Words {
    const words: Words = { type, text: "", metadata: metadataOf(metadata) }
    this.#pieces.push(words)
    this.#open.set(`${type} ${stringOf(id)}`, words)
    return words
  }

  #grow(type: Words["type"], id: unknown, delta: string, metadata: unknown): readonly TurnEvent[] {
    const words = this.#open.get(`${type} ${stringOf(id)}`) ?? this.#begin(type, id, undefined)
    words.text += delta
    words.metadata = mergedMetadata(words.metadata, metadata)
    return delta === "" ? [] : [{ type: type === "text" ? "text_delta" : "reasoning_delta", content: delta }]
  }

  #end(type: Words["type"], id: unknown, metadata: unknown): void {
    const key = `${type} ${stringOf(id)}`
    const words = this.#open.get(key)
    if (words === undefined) return
    words.metadata = mergedMetadata(words.metadata, metadata)
    this.#open.delete(key)
  }

  /** The input of a tool that the provider runs, and one that is not JSON, come again in the call. */
  #beginInput({ id, inputEncoding, providerExecuted, providerMetadata, toolName }: Readonly<Record<string, unknown>>): void {
    if (inputEncoding === "text" || providerExecuted === true) return
    const call: Call = { type: "call", id: stringOf(id), name: stringOf(toolName), input: "", metadata: metadataOf(providerMetadata) }
    this.#inputs.set(call.id, call)
  }

  /** Adds a whole part: of a result, or of a stream between its pieces. */
  #addWhole(part: unknown): readonly TurnEvent[] {
    if (!isRecord(part)) return this.#report("that is not an object")
    const { providerMetadata, text, type } = part
    if (type === "text" || type === "reasoning") {
      this.#pieces.push({ type, text: stringOf(text), metadata: metadataOf(providerMetadata) })
      return this.#addCitations(part)
    }
    if (type === "tool-call" && part["providerExecuted"] !== true) {
      const { input, toolCallId, toolName } = part
      const id = stringOf(toolCallId)
      const metadata = mergedMetadata(this.#inputs.get(id)?.metadata, providerMetadata)
      this.#inputs.delete(id)
      this.#pieces.push({ type: "call", id, name: stringOf(toolName), input: textOf(input) ?? "", metadata })
      return []
    }
    if (type === "tool-result" && part["preliminary"] === true) return []
    // Not content: what is known when the answer begins.
    if (type === "custom" && stringOf(part["kind"]).endsWith(".message_start")) return []
    return this.#addOther(part)
  }

  #addOther(part: Readonly<Record<string, unknown>>): readonly TurnEvent[] {
    const other = otherPart(part)
    if (other === undefined)
      return this.#report(`of the type ${JSON.stringify(this.#options.redact(stringOf(part["type"])).slice(0, 60))}, which is not known or not valid`)
    const { data, kind, text } = other
    this.#pieces.push({ type: "other", kind, data, text, metadata: metadataOf(part["providerMetadata"]) })
    if (kind !== "tool-approval-request") return []
    return this.#note("approval", "The provider asks for approval of a tool that it runs itself. It cannot be given here, so the tool does not run.")
  }

  #addCitations({ citations }: Readonly<Record<string, unknown>>): readonly TurnEvent[] {
    const data = Array.isArray(citations) && citations.length > 0 ? jsonOf(citations) : undefined
    if (data !== undefined) this.#pieces.push({ type: "other", kind: "citations", data, text: undefined, metadata: undefined })
    return []
  }

  /** Calls whose pieces came but not the whole. Returns all calls. */
  #addOpenInputs(): readonly Call[] {
    this.#pieces.push(...this.#inputs.values())
    this.#inputs.clear()
    return this.#pieces.filter((piece) => piece.type === "call")
  }

  #finish(finishReason: unknown, usage: unknown): void {
    this.#reason = readReason(finishReason)
    this.#usage = usage
  }

  /** Shows what the AI SDK warns of, such as a setting that the model does not have. */
  #warn(warnings: unknown): readonly TurnEvent[] {
    if (!Array.isArray(warnings)) return []
    return (warnings as readonly unknown[]).flatMap((warning) => {
      if (!isRecord(warning)) return []
      const { details, feature, message, setting, type } = warning
      const what = [feature ?? setting, details ?? message].filter((text) => typeof text === "string" && text !== "").join(": ")
      const text = `The AI SDK warns (${stringOf(type) || "other"}): ${this.#options.redact(what).slice(0, 500)}`
      return this.#note(text, text)
    })
  }

  #report(what: string): readonly TurnEvent[] {
    return this.#note(what, `The answer has a part ${what}. It is left out.`)
  }

  #note(key: string, text: string): readonly TurnEvent[] {
    if (this.#reported.has(key)) return []
    this.#reported.add(key)
    return [{ type: "message", kind: "diagnostic", text }]
  }
}
