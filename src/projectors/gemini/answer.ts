import type { TurnEvent } from "../../wire/event.ts"
import type { LlmFailure, LlmResponse, OutputPart, TerminalReason } from "../../wire/llm.ts"
import { diagnosticOf } from "../wires/diagnostic.ts"
import { brokenOff, malformed } from "../wires/failure.ts"
import { meaningOf } from "../wires/finish-reason.ts"
import { responseOf } from "../wires/response.ts"
import { isRecord, jsonOf, stringOf, textOf } from "../wires/values.ts"
import type { DecodeOptions, LlmResult } from "../wires/wire.ts"
import { type CallSoFar, Calls, callOf } from "./calls.ts"
import { GOOGLE } from "./options.ts"
import { ANSWER_KEYS, CONTINUATION_TOKEN, type Extras, extrasOf, kindOf, textFor } from "./parts.ts"
import { readGeminiUsage } from "./usage.ts"

/** A text or a thought. Adjacent unsigned pieces of one kind are one part; a signed one is a part of its own. */
interface TextPiece {
  readonly type: "text" | "reasoning"
  text: string
  readonly signature: string | undefined
  readonly extras: Extras | undefined
}

/** A part without a block of its own here. */
interface OpaquePiece {
  readonly type: "opaque"
  readonly kind: string
  readonly data: Extras
}

type Piece = TextPiece | OpaquePiece | CallSoFar

/** Collects an answer, whole or in chunks, with the same result. Accepts any value and never throws. */
export class Answer {
  /** The provider's id of the answer. */
  id = ""
  /** The provider's name of the model that answers. */
  model = ""
  failure: LlmFailure | undefined
  /** Figures of the usage so far: each chunk has those of the whole answer until then. */
  usage: Readonly<Record<string, unknown>> | undefined
  readonly #options: DecodeOptions
  readonly #redact: (text: string) => string
  readonly #pieces: Piece[] = []
  readonly #calls = new Calls()
  #finishReason: string | undefined
  #finishMessage = ""
  #blockReason: string | undefined
  #continuationToken: string | undefined
  /** Grounding and citations of the answer. */
  #about: Extras = {}

  constructor(options: DecodeOptions) {
    this.#options = options
    this.#redact = options.redact ?? ((text) => text)
  }

  get finishReason(): string | undefined {
    return this.#finishReason
  }

  /** Whether the answer has ended, or will not begin because its prompt was blocked. */
  get hasEnded(): boolean {
    return this.#finishReason !== undefined || this.#blockReason !== undefined
  }

  get hasContent(): boolean {
    return this.#pieces.length > 0
  }

  /** Reads a usage. A figure that a later chunk leaves out stays. */
  addUsage(usage: unknown): void {
    if (!isRecord(usage)) return
    this.usage = { ...this.usage, ...Object.fromEntries(Object.entries(usage).filter(([, figure]) => figure !== null)) }
  }

  addPromptFeedback(feedback: unknown): void {
    const reason = isRecord(feedback) ? stringOf(feedback["blockReason"]) : ""
    if (reason !== "" && reason !== "BLOCK_REASON_UNSPECIFIED" && reason !== "BLOCKED_REASON_UNSPECIFIED") this.#blockReason ??= reason
  }

  /** Adds what a candidate, or the part of it in a chunk, says. Returns the events to show. */
  addCandidate(candidate: Readonly<Record<string, unknown>>, chunk: number): readonly TurnEvent[] {
    const { finishReason } = candidate
    if (typeof finishReason === "string" && finishReason !== "" && finishReason !== "FINISH_REASON_UNSPECIFIED") this.#finishReason = finishReason
    this.#finishMessage ||= stringOf(candidate["finishMessage"])
    const token = stringOf(candidate[CONTINUATION_TOKEN])
    if (token !== "") this.#continuationToken = token
    for (const key of ANSWER_KEYS) {
      const about = jsonOf(candidate[key])
      if (isRecord(about) && Object.keys(about).length > 0) this.#about = { ...this.#about, [key]: about }
    }
    const content = candidate["content"] ?? {}
    const parts = isRecord(content) ? (content["parts"] ?? []) : undefined
    if (!Array.isArray(parts)) {
      this.refuse("the parts of its content are not a list", candidate)
      return []
    }
    return (parts as readonly unknown[]).flatMap((part) => this.#addPart(part, chunk))
  }

  /** Records what makes the answer unusable; the first reason wins. */
  refuse(what: string, raw: unknown): void {
    this.failure ??= malformed(what, textOf(raw), this.#redact)
  }

  result(): LlmResult {
    if (this.failure !== undefined) return this.failed(this.failure)
    const reason = this.#finishReason
    if (reason === undefined && this.#blockReason !== undefined) return this.failed(blocked(this.#redact(this.#blockReason)))
    const terminalReason = this.#terminalReason()
    if (terminalReason === "provider_error") {
      const message = this.#redact(this.#finishMessage).slice(0, MESSAGE_LIMIT)
      return this.failed({ ...brokenOff(reason ?? "", this.#redact), ...(message !== "" && { raw: message }) })
    }
    const diagnostic = diagnosticOf(terminalReason, reason === undefined ? undefined : this.#redact(reason))
    const response = this.#response(this.#parts(true), terminalReason)
    return { ok: true, response: { ...response, ...(diagnostic !== undefined && { terminalDiagnostic: diagnostic }) } }
  }

  /** Returns a failure, with what was said before it. Calls are left out: they do not run. */
  failed(failure: LlmFailure): LlmResult {
    const parts = this.#parts(false)
    if (parts.some((part) => part.type !== "opaque" && part.type !== "tool_call" && part.text !== "")) {
      return { ok: false, error: failure, partial: this.#response(parts, failure.terminalReason) }
    }
    return { ok: false, error: this.usage === undefined ? failure : { ...failure, usage: readGeminiUsage(this.usage) } }
  }

  /** `STOP` with calls is a tool use. A `CONTINUATION` without its token cannot be continued. */
  #terminalReason(): TerminalReason {
    const reason = this.#finishReason
    if (reason === undefined) return "unknown"
    if (reason === "CONTINUATION") return this.#continuationToken === undefined ? "output_limit" : "paused"
    const meaning = meaningOf(reason)
    return meaning === "stop" && !this.#calls.isEmpty ? "tool_use" : meaning
  }

  #addPart(part: unknown, chunk: number): readonly TurnEvent[] {
    if (!isRecord(part)) return []
    const call = callOf(part)
    if (call !== undefined) {
      const made = this.#calls.add(part, call, chunk)
      if (typeof made === "string") this.refuse(made, part)
      else if (made !== undefined) this.#pieces.push(made)
      return []
    }
    const kind = typeof part["text"] === "string" ? undefined : kindOf(part)
    if (kind === undefined) return this.#addText(part)
    const data = jsonOf(part)
    if (data === undefined) this.refuse("a part is not JSON", undefined)
    else this.#pieces.push({ type: "opaque", kind, data: data as Extras })
    return []
  }

  #addText(part: Readonly<Record<string, unknown>>): readonly TurnEvent[] {
    const text = stringOf(part["text"])
    const signature = stringOf(part["thoughtSignature"]) || undefined
    const extras = extrasOf(part)
    const type = part["thought"] === true ? "reasoning" : "text"
    if (text === "" && signature === undefined) return []
    const last = this.#pieces.at(-1)
    const isMore = last?.type === type && [last.signature, last.extras, signature, extras].every((value) => value === undefined)
    if (isMore) last.text += text
    else this.#pieces.push({ type, text, signature, extras })
    return text === "" ? [] : [{ type: type === "text" ? "text_delta" : "reasoning_delta", content: text }]
  }

  #parts(withCalls: boolean): readonly OutputPart[] {
    const { firstCallNumber = 1, producer, toolNames } = this.#options
    const calls = this.#calls.blocks(firstCallNumber, toolNames)
    const parts: OutputPart[] = []
    for (const piece of this.#pieces) {
      if (piece.type === "call") {
        const block = withCalls ? calls.get(piece) : undefined
        if (block !== undefined) parts.push(block)
      } else if (piece.type === "opaque") {
        const text = textFor(piece.kind, piece.data)
        parts.push({
          type: "opaque",
          provider: producer?.provider ?? GOOGLE,
          kind: piece.kind,
          data: piece.data,
          ...(text !== undefined && { text }),
        })
      } else parts.push(textPart(piece))
    }
    return this.#withAbout(parts)
  }

  /** Adds what concerns the whole answer to its last part; a token to continue by, which also an empty answer may have. */
  #withAbout(parts: OutputPart[]): readonly OutputPart[] {
    const token = this.#finishReason === "CONTINUATION" ? this.#continuationToken : undefined
    const about: Extras = { ...this.#about, ...(token !== undefined && { [CONTINUATION_TOKEN]: token }) }
    if (Object.keys(about).length === 0 || (parts.length === 0 && token === undefined)) return parts
    const last = parts.pop() ?? ({ type: "text", text: "" } as const)
    parts.push({ ...last, providerMetadata: { ...(isRecord(last.providerMetadata) ? (last.providerMetadata as Extras) : {}), ...about } })
    return parts
  }

  #response(parts: readonly OutputPart[], terminalReason: TerminalReason): LlmResponse {
    const { producer } = this.#options
    const usage = readGeminiUsage(this.usage)
    return responseOf(parts, {
      terminalReason,
      usage,
      providerUsage: this.usage,
      producer,
      responseId: this.#redact(this.id),
      responseModel: this.#redact(this.model),
    })
  }
}

const MESSAGE_LIMIT = 8_000

function textPart({ extras, signature, text, type }: TextPiece): OutputPart {
  if (type === "text") {
    const metadata: Extras = { ...extras, ...(signature !== undefined && { thoughtSignature: signature }) }
    return { type, text, ...(Object.keys(metadata).length > 0 && { providerMetadata: metadata }) }
  }
  return { type, text, ...(signature !== undefined && { replay: { signature } }), ...(extras !== undefined && { providerMetadata: extras }) }
}

/** A failure for a prompt that the provider refused to answer. */
function blocked(reason: string): LlmFailure {
  return {
    message: `The provider blocked the prompt: ${reason.slice(0, 200)}.`,
    retryable: false,
    code: reason.slice(0, 200),
    kind: "other",
    terminalReason: "content_filter",
  }
}
