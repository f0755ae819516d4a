import type { TurnEvent } from "../../wire/event.ts"
import type { LlmFailure } from "../../wire/llm.ts"
import { truncated } from "./failure.ts"
import type { LlmResult, WireStream } from "./wire.ts"

/**
 * Returns the {@link WireStream} of a format that has no chunks: the first chunk is the whole answer, read by `decode`. Later chunks are ignored.
 *
 *     stream: (options) => wholeAnswerStream((body) => decode(body, options))
 */
export function wholeAnswerStream(decode: (body: unknown) => LlmResult): WireStream {
  return new WholeAnswerStream(decode)
}

class WholeAnswerStream implements WireStream {
  readonly #decode: (body: unknown) => LlmResult
  #result: LlmResult | undefined

  constructor(decode: (body: unknown) => LlmResult) {
    this.#decode = decode
  }

  get failed(): boolean {
    return this.#result?.ok === false
  }
  get complete(): boolean {
    return this.#result?.ok === true
  }
  get ended(): boolean {
    return this.complete
  }
  get hasUsage(): boolean {
    return this.complete
  }
  get pieces(): number {
    return this.complete ? 1 : 0
  }

  push(chunk: unknown): readonly TurnEvent[] {
    if (this.#result !== undefined) return []
    const result = this.#decode(chunk)
    this.#result = result
    return result.ok && result.response.text !== "" ? [{ type: "text_delta", content: result.response.text }] : []
  }

  finish(): LlmResult {
    return this.#result ?? { ok: false, error: truncated() }
  }

  cutOff(error: LlmFailure): LlmResult {
    if (this.#result?.ok !== true) return { ok: false, error }
    const { response } = this.#result
    // Words only: a call of an answer that was cut off does not run.
    const parts = response.parts.filter(({ type }) => type === "text")
    return { ok: false, error, partial: { ...response, parts, terminalReason: error.terminalReason } }
  }
}
