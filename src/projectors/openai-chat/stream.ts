import type { TurnEvent } from "../../wire/event.ts"
import type { LlmFailure } from "../../wire/llm.ts"
import { answerFailure, truncated } from "../wires/failure.ts"
import { meaningOf } from "../wires/finish-reason.ts"
import { indexOf, isRecord, stringOf } from "../wires/values.ts"
import type { LlmResult, WireStream } from "../wires/wire.ts"
import { Answer, type OpenAiAnswerOptions } from "./answer.ts"

/**
 * Reads a streamed answer: `push` every parsed chunk, then call `finish`. Accepts any value and never throws; after a value
 * that is not a chunk, `finish` returns a failure, unless the answer was already complete. Of several choices the first is read; text,
 * calls and finish reason of the others count if it has none.
 * @see https://platform.openai.com/docs/api-reference/chat-streaming/streaming (2026-11)
 */
export class OpenAiChatStream implements WireStream {
  readonly #answer: Answer
  readonly #options: OpenAiAnswerOptions
  #pieces = 0
  #ended = false
  #hasFirst = false
  #hasDelta = false
  /** Text or calls came after the finish reason: the endpoint sends one in each chunk. */
  #grew = false

  constructor(options: OpenAiAnswerOptions = {}) {
    this.#options = options
    this.#answer = new Answer(options)
  }

  /** Whether the answer has failed. Further chunks are then ignored. */
  get failed(): boolean {
    return this.#answer.failure !== undefined
  }

  /** Whether the answer has its finish reason. At most the usage is still to come, or a content filter. */
  get complete(): boolean {
    const { finishReason, ownFinishReason } = this.#answer
    return !this.failed && (this.#hasFirst ? ownFinishReason : finishReason) !== undefined
  }

  /**
   * Whether no more text or calls are expected. Endpoints that send a finish reason in each chunk begin with a chunk that has a finish
   * reason and no content.
   */
  get ended(): boolean {
    return this.complete && this.#ended
  }

  /** Whether the usage has come. */
  get hasUsage(): boolean {
    return isRecord(this.#answer.usage)
  }

  /** How many chunks have added text or calls. */
  get pieces(): number {
    return this.#pieces
  }

  /** Adds one chunk and returns the events to show. */
  push(chunk: unknown): readonly TurnEvent[] {
    const answer = this.#answer
    if (this.failed) return []
    const isWhole = this.#isWhole()
    const events = this.#read(chunk)
    if (isWhole && this.failed) {
      // Nothing may throw a complete answer away, but a filter may still act on it.
      if (answer.failure?.terminalReason === "content_filter") answer.addFinishReason("content_filter")
      answer.failure = undefined
    }
    return events
  }

  /** Whether the answer was complete before the chunk that is read. */
  #isWhole(): boolean {
    const { hasContent, ownFinishReason } = this.#answer
    return ownFinishReason !== undefined && hasContent && !this.#grew && meaningOf(ownFinishReason) !== "provider_error"
  }

  #read(chunk: unknown): readonly TurnEvent[] {
    const answer = this.#answer
    answer.failure = answerFailure(chunk, this.#options)
    if (this.failed) return []
    if (!isRecord(chunk)) return this.#refuse("a chunk is not a JSON object", chunk)
    answer.id ||= stringOf(chunk["id"])
    answer.model ||= stringOf(chunk["model"])
    answer.addUsage(chunk["usage"])
    if (isRecord(chunk["x_groq"])) answer.addUsage(chunk["x_groq"]["usage"])
    // The usage comes in a chunk without choices; vLLM has sent null for them.
    const choices = chunk["choices"] ?? []
    if (!Array.isArray(choices)) return this.#refuse("the choices of a chunk are not a list", chunk)
    return (choices as readonly unknown[]).flatMap((choice) => this.#pushChoice(choice))
  }

  /**
   * Returns the answer after the last chunk. Without a finish reason it is the failure `stream_truncated`.
   * @param done the stream ended with `[DONE]`: see `doneWithoutReason`
   */
  finish(done = false): LlmResult {
    const answer = this.#answer
    answer.done = done
    return this.failed || answer.endReason !== undefined ? answer.result() : this.cutOff(truncated())
  }

  /** Returns a failure that ended the stream, with what was said before it. */
  cutOff(failure: LlmFailure): LlmResult {
    return this.#answer.failed(failure)
  }

  #pushChoice(choice: unknown): readonly TurnEvent[] {
    const answer = this.#answer
    if (!isRecord(choice)) return this.#refuse("a choice is not a JSON object", choice)
    // A server that cannot stream sends the whole message as one chunk.
    const delta = choice["delta"] ?? choice["message"] ?? {}
    const index = indexOf(choice["index"]) ?? 0
    if (index !== 0) {
      const other = answer.otherChoice(index)
      other.addFinishReason(choice["finish_reason"])
      if (isRecord(delta)) other.addDelta(delta)
      return []
    }
    this.#hasFirst = true
    answer.failure ??= answerFailure(choice, this.#options)
    answer.addUsage(choice["usage"]) // Moonshot
    const wasComplete = answer.ownFinishReason !== undefined
    answer.addFinishReason(choice["finish_reason"])
    if (!isRecord(delta)) return this.#refuse("the delta of a chunk is not a JSON object", choice)
    const isDelta = isRecord(choice["delta"])
    // A whole message after pieces. Some servers send the pieces themselves as messages.
    const events = !isDelta && this.#hasDelta ? answer.addRest(delta) : answer.addDelta(delta)
    this.#hasDelta ||= isDelta
    const { tool_calls: calls } = delta
    const hasMore = events.length > 0 || (Array.isArray(calls) && calls.length > 0)
    if (hasMore) this.#pieces += 1
    if (hasMore && wasComplete) this.#grew = true
    if (answer.ownFinishReason !== undefined) this.#ended ||= answer.hasContent || (!hasMore && delta["role"] === undefined)
    return events
  }

  #refuse(what: string, raw: unknown): readonly TurnEvent[] {
    this.#answer.refuse(what, raw)
    return []
  }
}

/**
 * Reads a whole answer. Of several choices the first is read; text, calls and finish reason of the others count if it has none.
 * @see https://platform.openai.com/docs/api-reference/chat/object (2026-11)
 */
export function openAiResponse(body: unknown, options: OpenAiAnswerOptions = {}): LlmResult {
  const answer = new Answer(options)
  answer.failure = answerFailure(body, options)
  if (isRecord(body)) {
    answer.id = stringOf(body["id"])
    answer.model = stringOf(body["model"])
    answer.usage = body["usage"]
  }
  const choices = isRecord(body) ? body["choices"] : undefined
  if (!Array.isArray(choices)) answer.refuse("it has no list of choices", body)
  else if (choices.length === 0) answer.refuse("its list of choices is empty", body)
  else readChoices(answer, choices, body, options)
  return answer.result()
}

function readChoices(answer: Answer, [first, ...others]: readonly unknown[], body: unknown, options: OpenAiAnswerOptions): void {
  answer.failure ??= answerFailure(first, options)
  const message = isRecord(first) ? first["message"] : undefined
  if (!isRecord(first) || !isRecord(message)) {
    answer.refuse("its choice has no message", body)
    return
  }
  answer.addFinishReason(first["finish_reason"])
  answer.addMessage(message)
  for (const [position, choice] of others.entries()) {
    if (!isRecord(choice) || !isRecord(choice["message"])) continue
    const other = answer.otherChoice(position)
    other.addFinishReason(choice["finish_reason"])
    other.addMessage(choice["message"])
  }
}
