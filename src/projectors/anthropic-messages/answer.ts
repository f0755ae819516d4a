import type { TurnEvent } from "../../wire/event.ts"
import type { LlmFailure, LlmResponse, OutputPart, TerminalReason } from "../../wire/llm.ts"
import { diagnosticOf } from "../wires/diagnostic.ts"
import { answerFailure, brokenOff, malformed } from "../wires/failure.ts"
import { CUT_OFF, meaningOf } from "../wires/finish-reason.ts"
import { responseOf } from "../wires/response.ts"
import { isRecord, stringOf, textOf } from "../wires/values.ts"
import type { DecodeOptions, LlmResult } from "../wires/wire.ts"
import { AnswerBlock } from "./blocks.ts"
import { readContainer, withContainer } from "./container.ts"
import { anthropicUsage, compactionUsage, mergeUsage } from "./usage.ts"

type Fields = Readonly<Record<string, unknown>>

/** Collects an answer, whole or in pieces, with the same result. Accepts any value and never throws. */
export class Answer {
  usage: unknown
  failure: LlmFailure | undefined
  /** The answer has ended, with or without a stop reason. */
  ended = false
  readonly #options: DecodeOptions
  readonly #redact: (text: string) => string
  #id: string | undefined
  #model = ""
  #stopReason: string | undefined
  #explanation = ""
  #container = ""
  /** In the order of their coming. An index may come again for another block. */
  readonly #blocks: { readonly index: number; readonly block: AnswerBlock }[] = []
  readonly #latest = new Map<number, AnswerBlock>()

  constructor(options: DecodeOptions) {
    this.#options = options
    this.#redact = options.redact ?? ((text) => text)
  }

  get stopReason(): string | undefined {
    return this.#stopReason
  }

  /** Reads what the answer says of itself. Another id in the same answer is a second answer: two streams were mixed. */
  addMessage(message: Fields): void {
    const id = stringOf(message["id"])
    if (this.#id !== undefined && id !== this.#id) {
      this.refuse("a second message begins in it", message)
      return
    }
    this.#id = id
    this.#model = stringOf(message["model"])
    this.usage = mergeUsage(this.usage, message["usage"])
    this.addStop(message)
  }

  /** Reads why the answer ended, and in which container code ran for it. */
  addStop(delta: Fields): void {
    const { container, stop_details: details, stop_reason: reason } = delta
    this.#container = readContainer(container) || this.#container
    if (typeof reason === "string" && reason !== "") this.#stopReason = reason
    if (isRecord(details)) this.#explanation = stringOf(details["explanation"]) || stringOf(details["category"])
  }

  /** Adds a whole block. */
  addBlock(index: number, content: unknown): readonly TurnEvent[] {
    const events = this.startBlock(index, content)
    this.stopBlock(index)
    return events
  }

  startBlock(index: number, content: unknown): readonly TurnEvent[] {
    if (!isRecord(content) || typeof content["type"] !== "string") {
      this.refuse("a block of it has no type", content)
      return []
    }
    const latest = this.#latest.get(index)
    // A start that comes again, or after the first piece of its block.
    if (latest !== undefined && !latest.stopped && latest.started) return []
    const block = latest === undefined || latest.started ? this.#newBlock(index) : latest
    return block.start(content)
  }

  addDelta(index: number, delta: unknown): readonly TurnEvent[] {
    if (!isRecord(delta)) {
      this.refuse("a piece of it is not a JSON object", delta)
      return []
    }
    return (this.#latest.get(index) ?? this.#newBlock(index)).addDelta(delta)
  }

  stopBlock(index: number): void {
    const block = this.#latest.get(index)
    if (block !== undefined) block.stopped = true
  }

  /** Records what makes the answer unusable; the first reason wins. */
  refuse(what: string, raw: unknown): void {
    this.failure ??= malformed(what, textOf(raw), this.#redact)
  }

  /** Reads the error of a body or an event, if it has one. */
  checkError(value: unknown): void {
    this.failure ??= answerFailure(value, this.#options)
  }

  result(): LlmResult {
    if (this.failure !== undefined) return this.failed(this.failure)
    const blocks = this.#ordered()
    const terminalReason = this.#terminalReason(blocks)
    const isCutOff = CUT_OFF.has(terminalReason)
    if (!isCutOff && blocks.some((block) => block.isCall && block.name === "")) this.refuse("a tool call does not name a function", undefined)
    if (terminalReason === "provider_error") this.failure ??= brokenOff(this.#stopReason ?? "", this.#redact)
    if (this.failure !== undefined) return this.failed(this.failure)
    const diagnostic = this.#diagnostic(terminalReason)
    const response = this.#response(isCutOff ? this.#cutOffParts(blocks) : this.#parts(blocks), terminalReason)
    return { ok: true, response: { ...response, ...(diagnostic !== undefined && { terminalDiagnostic: diagnostic }) } }
  }

  /** Returns a failure, with what was said before it. Tool calls are left out: they may be incomplete, and they do not run. */
  failed(failure: LlmFailure): LlmResult {
    const parts = this.#cutOffParts(this.#ordered())
    if (parts.some((part) => part.type !== "opaque" && part.type !== "tool_call" && part.text !== "")) {
      return { ok: false, error: failure, partial: this.#response(parts, failure.terminalReason) }
    }
    return { ok: false, error: isRecord(this.usage) ? { ...failure, usage: anthropicUsage(this.usage), ...this.#compaction() } : failure }
  }

  #newBlock(index: number): AnswerBlock {
    const block = new AnswerBlock()
    this.#blocks.push({ index, block })
    this.#latest.set(index, block)
    return block
  }

  /** The blocks in the order of the message: that of their indices, unless an index names several blocks. */
  #ordered(): readonly AnswerBlock[] {
    const isClear = this.#latest.size === this.#blocks.length
    const blocks = isClear ? [...this.#blocks].sort((a, b) => a.index - b.index) : this.#blocks
    return blocks.map(({ block }) => block)
  }

  #terminalReason(blocks: readonly AnswerBlock[]): TerminalReason {
    const reason = this.#stopReason === undefined ? "unknown" : meaningOf(this.#stopReason)
    // Compatible servers end an answer with calls in other words.
    return reason === "stop" && blocks.some((block) => block.isCall) ? "tool_use" : reason
  }

  #parts(blocks: readonly AnswerBlock[]): readonly OutputPart[] {
    const { firstCallNumber = 1, producer, toolNames } = this.#options
    const provider = producer?.provider ?? "anthropic"
    let number = firstCallNumber
    return blocks.flatMap((block) => {
      const callId = block.isCall && block.id === "" ? `call_${number}` : block.id
      if (block.isCall) number += 1
      return block.part(provider, callId, toolNames?.get(block.name) ?? block.name) ?? []
    })
  }

  /**
   * What an answer that was cut off is stored as: without calls, because the last one may be half of one, without half a signature, and
   * without a tool of the provider that has no result. The provider would refuse each of them in every later request of the thread.
   */
  #cutOffParts(blocks: readonly AnswerBlock[]): readonly OutputPart[] {
    const provider = this.#options.producer?.provider ?? "anthropic"
    const whole = blocks.filter(({ stopped }) => stopped)
    const results = new Set(whole.flatMap(({ resultOf }) => resultOf ?? []))
    const calls = new Set(whole.filter(({ id }) => results.has(id)).map(({ id }) => id))
    return blocks.flatMap((block) => {
      if (block.isCall) return []
      const isPaired = block.resultOf === undefined ? block.id === "" || calls.has(block.id) : calls.has(block.resultOf)
      return block.part(provider, "", "", block.stopped && isPaired) ?? []
    })
  }

  #response(parts: readonly OutputPart[], terminalReason: TerminalReason): LlmResponse {
    const { producer } = this.#options
    const usage = anthropicUsage(this.usage)
    const response = responseOf(withContainer(parts, this.#container), {
      terminalReason,
      usage,
      providerUsage: this.usage,
      producer,
      responseId: this.#redact(this.#id ?? ""),
      responseModel: this.#redact(this.#model),
    })
    return { ...response, ...this.#compaction() }
  }

  #compaction(): Pick<LlmResponse, "retriedUsage"> {
    const retriedUsage = compactionUsage(this.usage)
    return retriedUsage === undefined ? {} : { retriedUsage }
  }

  /** As of every wire, but the provider calls the reason another name, and may say why the model refused. */
  #diagnostic(reason: TerminalReason): string | undefined {
    const why = this.#redact(this.#explanation).slice(0, 500)
    if (reason === "refusal" && why !== "") return `The model refused to answer: ${why}`
    if (reason === "unknown" && this.#stopReason !== undefined)
      return `The provider ended the answer with the stop reason "${this.#redact(this.#stopReason).slice(0, 100)}".`
    return diagnosticOf(reason, undefined)
  }
}
