import type { TurnEvent } from "../../wire/event.ts"
import type { LlmFailure, LlmResponse, OutputPart, ReasoningBlock, TerminalReason, TextOutput } from "../../wire/llm.ts"
import { diagnosticOf } from "../wires/diagnostic.ts"
import { brokenOff, malformed } from "../wires/failure.ts"
import { meaningOf } from "../wires/finish-reason.ts"
import { responseOf } from "../wires/response.ts"
import { readUsage } from "../wires/usage.ts"
import { isRecord, stringOf, textOf } from "../wires/values.ts"
import type { DecodeOptions, LlmResult } from "../wires/wire.ts"
import { CallCollector } from "./calls.ts"
import { addMetadata, type Metadata, ReasoningBlocks } from "./metadata.ts"
import type { OpenAiChatWireOptions } from "./request.ts"

/** How an answer is read: what its endpoint does, and what the host knows. */
export type OpenAiAnswerOptions = Pick<OpenAiChatWireOptions, "doneWithoutReason"> & DecodeOptions

/**
 * Keys of a message that the provider wants back: signed or encrypted reasoning of OpenRouter, LiteLLM and Copilot.
 * @see https://openrouter.ai/docs/use-cases/reasoning-tokens#preserving-reasoning (2026-11)
 * @see https://github.com/anomalyco/opencode/pull/8900 (2026-11): Copilot's `reasoning_opaque`
 */
const REASONING_LISTS = ["reasoning_details", "thinking_blocks"] as const
const REASONING_KEYS = ["reasoning_opaque"] as const
/** Keys whose text is reasoning. Servers that send several send the same text in each. */
const REASONING_TEXTS = ["reasoning_content", "reasoning", "reasoning_text"] as const
/** Google's signature of a text. @see https://ai.google.dev/gemini-api/docs/thought-signatures (2026-11) */
const TEXT_KEYS = ["extra_content"] as const

/** A text of the answer. Adjacent pieces of one kind are one part. */
interface Piece {
  readonly type: "text" | "refusal" | "reasoning"
  text: string
  metadata: Metadata | undefined
}

/** A list of signed or encrypted reasoning. */
interface ReasoningList {
  readonly blocks: ReasoningBlocks
  /** The reasoning that it belongs to. */
  readonly piece: Piece
  /** How much text has come in it, in UTF-16 code units. */
  length: number
}

/** Collects an answer, whole or in pieces, with the same result. Accepts any value and never throws. */
export class Answer {
  usage: unknown
  /** The provider's id of the answer. */
  id = ""
  /** The provider's name of the model that answers. */
  model = ""
  failure: LlmFailure | undefined
  /** The stream ended with `[DONE]`. */
  done = false
  readonly #options: OpenAiAnswerOptions
  readonly #redact: (text: string) => string
  readonly #calls = new CallCollector()
  /** Further choices, by their index. */
  readonly #others = new Map<number, Answer>()
  #finishReason: string | undefined
  readonly #pieces: Piece[] = []
  readonly #lists = new Map<string, ReasoningList>()
  /** How much reasoning was shown, in UTF-16 code units. */
  #shownReasoning = 0
  /** How much text has come, in UTF-16 code units. */
  #textLength = 0
  /** How much text there was when the last encrypted reasoning outside a list came. */
  #textBeforeOpaque = 0
  #lastReasoning: Piece | undefined
  #lastText: Piece | undefined
  #textKeys: Metadata | undefined

  constructor(options: OpenAiAnswerOptions) {
    this.#options = options
    this.#redact = options.redact ?? ((text) => text)
  }

  /** The last finish reason of the first choice. A content filter may still act after a `stop` (Azure's asynchronous filter). */
  get ownFinishReason(): string | undefined {
    return this.#finishReason
  }

  /** The finish reason of the first choice or, without one, of the next choice that has one. */
  get finishReason(): string | undefined {
    if (this.#finishReason !== undefined) return this.#finishReason
    return this.#sortedOthers().flatMap((other) => other.#finishReason ?? [])[0]
  }

  /** Why the answer ended: its finish reason, or `[DONE]` where the options say so. `undefined`: it has not ended. */
  get endReason(): string | undefined {
    return this.finishReason ?? (this.done && this.#options.doneWithoutReason === "complete" ? "stop" : undefined)
  }

  /** Whether text or calls have come. */
  get hasContent(): boolean {
    return this.#textLength > 0 || !this.#calls.isEmpty
  }

  /** Reads a finish reason. Some servers send `""` or `"null"` instead of null. */
  addFinishReason(reason: unknown): void {
    if (typeof reason === "string" && reason !== "" && reason !== "null") this.#finishReason = reason
  }

  /** Reads a usage. Some servers send a running count in every chunk; the last one counts, unless it has only zeros. */
  addUsage(usage: unknown): void {
    if (!isRecord(usage)) return
    const { cachedInputTokens, inputTokens, outputTokens } = readUsage(usage)
    if (!isRecord(this.usage) || inputTokens + cachedInputTokens + outputTokens > 0) this.usage = usage
  }

  /** Adds a whole message. */
  addMessage(message: Readonly<Record<string, unknown>>): void {
    this.#addTexts(message, false)
    this.#check(this.#calls.addWhole(message), message)
  }

  /** Adds what is new in a whole message after pieces of it, and returns the events to show. */
  addRest(message: Readonly<Record<string, unknown>>): readonly TurnEvent[] {
    const known: readonly (readonly string[])[] = [
      this.#textLength > 0 ? ["content", "refusal"] : [],
      this.#calls.isEmpty ? [] : ["tool_calls", "function_call"],
      this.#lastReasoning === undefined ? [] : REASONING_TEXTS,
      REASONING_LISTS.filter((key) => this.#lists.has(key)),
    ]
    const keys = new Set(known.flat())
    return this.addDelta(Object.fromEntries(Object.entries(message).filter(([key]) => !keys.has(key))))
  }

  /** Adds a piece of a message and returns the events to show. */
  addDelta(delta: Readonly<Record<string, unknown>>): readonly TurnEvent[] {
    const events = this.#addTexts(delta, true)
    this.#check(this.#calls.addDelta(delta), delta)
    return events
  }

  /**
   * Returns a further choice. Its text, calls and finish reason count if the first choice has none: Copilot puts the text into the first
   * choice and the calls into the next. What is malformed in it is ignored.
   * @see https://github.com/HKUDS/nanobot/pull/1555 (2026-11)
   */
  otherChoice(index: number): Answer {
    const other = this.#others.get(index) ?? new Answer(this.#options)
    this.#others.set(index, other)
    return other
  }

  /** Records what makes the answer unusable; the first reason wins. */
  refuse(what: string, raw: unknown): void {
    this.failure ??= malformed(what, textOf(raw), this.#redact)
  }

  result(): LlmResult {
    if (this.failure !== undefined) return this.failed(this.failure)
    const calls = this.#mergedCalls()
    const finishReason = this.endReason
    const refused = this.#speakers().some((answer) => answer.#pieces.some(({ type }) => type === "refusal"))
    const terminalReason = reasonOf(finishReason, calls.any, refused)
    // An answer that was cut off may end inside a call.
    if (calls.hasNameless && !CUT_OFF.has(terminalReason)) this.refuse("a tool call does not name a function", undefined)
    if (terminalReason === "provider_error") this.failure ??= brokenOff(finishReason ?? "", this.#redact)
    if (this.failure !== undefined) return this.failed(this.failure)

    const { firstCallNumber = 1, toolNames } = this.#options
    const diagnostic = diagnosticOf(terminalReason, finishReason === undefined ? undefined : this.#redact(finishReason))
    const isCutOff = CUT_OFF.has(terminalReason) || terminalReason === "refusal"
    const response = this.#response([...this.#allParts(isCutOff), ...calls.parts(firstCallNumber, toolNames)], terminalReason)
    return { ok: true, response: { ...response, ...(diagnostic !== undefined && { terminalDiagnostic: diagnostic }) } }
  }

  /** Returns a failure, with what was said before it. Tool calls are left out: they may be incomplete, and they do not run. */
  failed(failure: LlmFailure): LlmResult {
    const parts = this.#allParts(true)
    if (parts.some(({ text }) => text !== "")) {
      return { ok: false, error: failure, partial: this.#response(parts, failure.terminalReason) }
    }
    return { ok: false, error: isRecord(this.usage) ? { ...failure, usage: readUsage(this.usage) } : failure }
  }

  #response(parts: readonly OutputPart[], terminalReason: TerminalReason): LlmResponse {
    const { producer } = this.#options
    return responseOf(parts, {
      terminalReason,
      usage: readUsage(this.usage),
      providerUsage: this.usage,
      producer,
      responseId: this.#redact(this.id),
      responseModel: this.#redact(this.model),
    })
  }

  /** The first choice and, if it has no text, the next choice that has one. */
  #speakers(): readonly Answer[] {
    const other = this.#textLength > 0 ? undefined : this.#sortedOthers().find((one) => one.#textLength > 0)
    return other === undefined ? [this] : [this, other]
  }

  #sortedOthers(): readonly Answer[] {
    return [...this.#others].sort(([a], [b]) => a - b).map(([, other]) => other)
  }

  #allParts(isCutOff: boolean): readonly (TextOutput | ReasoningBlock)[] {
    const callIds = isCutOff ? this.#mergedCalls().ids : NO_IDS
    return this.#speakers().flatMap((answer) => answer.#parts(isCutOff, callIds))
  }

  /**
   * Texts and reasoning in the order in which they came. An answer that was cut off is stored without its calls and without reasoning that
   * its provider would refuse: one half block makes each later request of the thread fail.
   */
  #parts(isCutOff: boolean, callIds: ReadonlySet<string>): readonly (TextOutput | ReasoningBlock)[] {
    const metadata = new Map<Piece, Metadata>()
    const hasOpaque = !isCutOff || this.#textBeforeOpaque < this.#textLength
    for (const piece of this.#pieces) if (hasOpaque && piece.metadata !== undefined) metadata.set(piece, piece.metadata)
    for (const [key, { blocks, piece }] of this.#lists) {
      const list = isCutOff ? blocks.afterCutOff(this.#textLength, callIds) : blocks.list
      if (list.length > 0) metadata.set(piece, { ...metadata.get(piece), [key]: list })
    }
    // A signature of the answer belongs to its last text.
    const last = this.#lastText ?? this.#pieces.at(-1)
    if (last !== undefined && this.#textKeys !== undefined) metadata.set(last, { ...metadata.get(last), ...this.#textKeys })
    return this.#pieces.flatMap((piece) => {
      const providerMetadata = metadata.get(piece)
      if (piece.text === "" && providerMetadata === undefined) return []
      const type = piece.type === "reasoning" ? "reasoning" : "text"
      return [{ type, text: piece.text, ...(providerMetadata !== undefined && { providerMetadata }) }]
    })
  }

  #mergedCalls(): CallCollector {
    if (!this.#calls.isEmpty || this.#others.size === 0) return this.#calls
    const merged = new CallCollector()
    for (const other of this.#sortedOthers()) merged.addAll(other.#calls)
    return merged
  }

  #addTexts(message: Readonly<Record<string, unknown>>, inPieces: boolean): readonly TurnEvent[] {
    const content = readContent(message["content"])
    if (content === undefined) {
      this.refuse("its content is neither text nor a list of parts", message)
      return []
    }
    const listed = this.#addLists(message, inPieces)
    const reasoning = REASONING_TEXTS.map((key) => stringOf(message[key])).find((text) => text !== "") ?? listed
    this.#shownReasoning += reasoning.length
    const textBefore = this.#textLength
    const texts: readonly Pick<Piece, "type" | "text">[] = [
      { type: "reasoning", text: reasoning },
      ...content,
      { type: "refusal", text: stringOf(message["refusal"]) },
    ]
    for (const { type, text } of texts) {
      if (text === "") continue
      this.#pieceFor(type).text += text
      if (type !== "reasoning") this.#textLength += text.length
    }
    if (REASONING_KEYS.some((key) => stringOf(message[key]) !== "")) {
      const piece = this.#reasoningPiece()
      piece.metadata = addMetadata(piece.metadata, message, REASONING_KEYS)
      this.#textBeforeOpaque = textBefore
    }
    this.#textKeys = addMetadata(this.#textKeys, message, TEXT_KEYS)
    return texts
      .filter(({ text }) => text !== "")
      .map(({ type, text }) => ({ type: type === "reasoning" ? "reasoning_delta" : "text_delta", content: text }))
  }

  /** Adds the lists of reasoning. Returns the text in them that was not shown yet: LiteLLM repeats the text in its signed block. */
  #addLists(message: Readonly<Record<string, unknown>>, inPieces: boolean): string {
    let news = ""
    for (const key of REASONING_LISTS) {
      const { [key]: items } = message
      if (!Array.isArray(items) || items.length === 0) continue
      const list = this.#listOf(key)
      const added = list.blocks.add(items, inPieces, this.#textLength)
      list.length += added.length
      const missing = Math.min(list.length - this.#shownReasoning, added.length)
      if (missing > news.length) news = added.slice(-missing)
    }
    return news
  }

  #listOf(key: string): ReasoningList {
    const list = this.#lists.get(key) ?? { blocks: new ReasoningBlocks(), piece: this.#reasoningPiece(), length: 0 }
    this.#lists.set(key, list)
    return list
  }

  /** The last reasoning, to which signatures belong. Without any, an empty one. */
  #reasoningPiece(): Piece {
    return this.#lastReasoning ?? this.#pieceFor("reasoning")
  }

  #pieceFor(type: Piece["type"]): Piece {
    const last = this.#pieces.at(-1)
    if (last?.type === type) return last
    const piece: Piece = { type, text: "", metadata: undefined }
    this.#pieces.push(piece)
    if (type === "reasoning") this.#lastReasoning = piece
    if (type === "text") this.#lastText = piece
    return piece
  }

  #check(wrong: string | undefined, raw: unknown): void {
    if (wrong !== undefined) this.refuse(wrong, raw)
  }
}

const NO_IDS: ReadonlySet<string> = new Set()

const CUT_OFF: ReadonlySet<TerminalReason> = new Set(["output_limit", "content_filter", "context_overflow", "provider_error"])

/**
 * Returns why an answer ended. `stop` with calls is a tool use: llama.cpp and others send it, and so does OpenAI if the request
 * named the tool. A refusal is neither the requested answer nor worth a retry. Its text is shown.
 */
function reasonOf(finishReason: string | undefined, hasCalls: boolean, refused: boolean): TerminalReason {
  const reason = finishReason === undefined ? "unknown" : meaningOf(finishReason)
  if (refused && (reason === "stop" || reason === "tool_use" || reason === "unknown")) return "refusal"
  return reason === "stop" && hasCalls ? "tool_use" : reason
}

/** Reads a message's content: a text, a part, or a list of both. `undefined`: none of them. */
function readContent(content: unknown): readonly Pick<Piece, "type" | "text">[] | undefined {
  if (content === undefined || content === null) return []
  if (typeof content === "string") return [{ type: "text", text: content }]
  if (Array.isArray(content)) return (content as readonly unknown[]).flatMap((part) => readPart(part) ?? [])
  return readPart(content)
}

/**
 * Reads a part of a content. Mistral sends its reasoning as `thinking` parts, Databricks as `reasoning` parts.
 * @see https://docs.databricks.com/aws/en/machine-learning/model-serving/query-reason-models (2026-11)
 */
function readPart(part: unknown): readonly Pick<Piece, "type" | "text">[] | undefined {
  if (typeof part === "string") return [{ type: "text", text: part }]
  if (!isRecord(part)) return undefined
  switch (part["type"]) {
    case "text":
    case "output_text":
      return [{ type: "text", text: stringOf(part["text"]) }]
    case "refusal":
      return [{ type: "refusal", text: stringOf(part["refusal"]) }]
    case "thinking":
      return [{ type: "reasoning", text: thoughts(part["thinking"]) }]
    case "reasoning":
      return [{ type: "reasoning", text: thoughts(part["summary"]) || stringOf(part["text"]) }]
    case undefined:
      return typeof part["text"] === "string" ? [{ type: "text", text: part["text"] }] : undefined
    default:
      return undefined
  }
}

function thoughts(value: unknown): string {
  if (!Array.isArray(value)) return stringOf(value)
  return (value as readonly unknown[]).map((part) => (isRecord(part) ? stringOf(part["text"]) : "")).join("")
}
