import type { LlmFailure, LlmResponse, TerminalReason } from "../../wire/llm.ts"
import { diagnosticOf } from "../wires/diagnostic.ts"
import { answerFailure, brokenOff, malformed } from "../wires/failure.ts"
import { CUT_OFF, meaningOf } from "../wires/finish-reason.ts"
import { responseOf } from "../wires/response.ts"
import { readUsage } from "../wires/usage.ts"
import { isRecord, stringOf, textOf } from "../wires/values.ts"
import type { DecodeOptions, LlmResult } from "../wires/wire.ts"
import { type ReadItem, type ReadOutput, readOutput } from "./output-parts.ts"

/** How an answer ended. `word`: the provider's, where its meaning is not plain success. */
interface Ending {
  readonly reason: TerminalReason
  readonly word?: string
}

/** Puts an answer together from its items and what its provider says of it. Accepts any value and never throws. */
export class Answer {
  failure: LlmFailure | undefined
  /** The provider's id of the answer. */
  id = ""
  /** The provider's name of the model that answers. */
  model = ""
  usage: unknown
  #ending: Ending | undefined
  readonly #options: DecodeOptions

  constructor(options: DecodeOptions) {
    this.#options = options
  }

  /** Whether it is known how the answer ended. */
  get isComplete(): boolean {
    return this.#ending !== undefined && this.failure === undefined
  }

  /** Records what makes the answer unusable; the first reason wins. */
  refuse(what: string, raw: unknown): void {
    this.failure ??= malformed(what, textOf(raw), this.#options.redact)
  }

  /** Reads what a response object says of the answer, apart from its items, before the end of it. */
  describe(response: Readonly<Record<string, unknown>>): void {
    this.id = stringOf(response["id"]) || this.id
    this.model = stringOf(response["model"]) || this.model
    if (isRecord(response["usage"])) this.usage = response["usage"]
  }

  /**
   * Reads the response object that ends an answer.
   * @param status where the object has none
   */
  end(response: Readonly<Record<string, unknown>>, status = "completed"): void {
    this.describe(response)
    const { error, incomplete_details: details } = response
    const word = stringOf(response["status"]) || status
    const isEnded = word === "completed" || word === "incomplete"
    if (!isEnded && isRecord(error)) this.failure ??= answerFailure({ error }, this.#options)
    if (word === "failed" || word === "cancelled") this.failure ??= brokenOff(word, this.#options.redact)
    else if (word === "queued" || word === "in_progress") this.refuse(`its status is ${word}`, response)
    else if (word === "completed") this.#ending ??= { reason: "stop" }
    else {
      const reason = (isRecord(details) && stringOf(details["reason"])) || word
      this.#ending ??= { reason: meaningOf(reason), word: reason }
    }
  }

  result(items: readonly ReadItem[]): LlmResult {
    const ending = this.#ending ?? { reason: "unknown" }
    if (ending.reason === "provider_error") this.failure ??= brokenOff(ending.word ?? "", this.#options.redact)
    if (this.failure !== undefined) return this.failed(this.failure, items)
    // Where an answer ended early, its last call may be half of one.
    const counted = ending.word === undefined ? items : items.filter(({ isWhole, item }) => isWhole || item["type"] !== "function_call")
    const whole = readOutput(counted, false, this.#options)
    const reason = reasonOf(ending.reason, whole)
    const isCutOff = CUT_OFF.has(reason)
    if (whole.hasNameless && !isCutOff) {
      this.refuse("a tool call does not name a function", undefined)
      return this.result(items)
    }
    const word = ending.word === undefined ? undefined : (this.#options.redact ?? String)(ending.word)
    const diagnostic = diagnosticOf(reason, word)
    const read = isCutOff ? readOutput(items, true, this.#options) : whole
    return { ok: true, response: { ...this.#response(read, reason), ...(diagnostic !== undefined && { terminalDiagnostic: diagnostic }) } }
  }

  /** Returns a failure, with what was said before it. Tool calls are left out: they may be incomplete, and they do not run. */
  failed(failure: LlmFailure, items: readonly ReadItem[]): LlmResult {
    const read = readOutput(items, true, this.#options)
    const saidSomething = read.parts.some((part) => part.type === "opaque" || (part.type !== "tool_call" && part.text !== ""))
    if (saidSomething) return { ok: false, error: failure, partial: this.#response(read, failure.terminalReason) }
    return { ok: false, error: isRecord(this.usage) ? { ...failure, usage: readUsage(this.usage) } : failure }
  }

  #response({ parts }: ReadOutput, terminalReason: TerminalReason): LlmResponse {
    const { producer, redact = String } = this.#options
    return responseOf(parts, {
      terminalReason,
      usage: readUsage(this.usage),
      providerUsage: this.usage,
      producer,
      responseId: redact(this.id),
      responseModel: redact(this.model),
    })
  }
}

/** A refusal is neither the requested answer nor worth a retry. Its text is shown. */
function reasonOf(reason: TerminalReason, { hasCalls, hasRefusal }: ReadOutput): TerminalReason {
  if (hasRefusal && (reason === "stop" || reason === "unknown")) return "refusal"
  return reason === "stop" && hasCalls ? "tool_use" : reason
}

/**
 * Reads a whole answer.
 * @see https://platform.openai.com/docs/api-reference/responses/object (2026-11)
 */
export function responsesResponse(body: unknown, options: DecodeOptions = {}): LlmResult {
  const answer = new Answer(options)
  const output = isRecord(body) ? body["output"] : undefined
  const isResponse = isRecord(body) && (Array.isArray(output) || body["object"] === "response")
  if (!isResponse) {
    answer.failure = answerFailure(body, options)
    answer.refuse("it has no list of output items", body)
    return answer.failed(answer.failure as LlmFailure, [])
  }
  answer.end(body)
  if (!Array.isArray(output)) answer.refuse("it has no list of output items", body)
  return answer.result(wholeItems(output))
}

/** The items of a response object that has ended. Those that are not objects are ignored. */
export function wholeItems(output: unknown): readonly ReadItem[] {
  if (!Array.isArray(output)) return []
  return (output as readonly unknown[]).filter(isRecord).map((item) => ({
    item,
    isWhole: item["status"] !== "incomplete",
  }))
}
