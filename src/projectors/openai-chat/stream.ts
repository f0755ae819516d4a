import type { TurnEvent } from "../../wire/event.ts"
import { Answer, type LlmResult, type OpenAiAnswerOptions } from "./answer.ts"
import { answerFailure, malformed, truncated } from "./failure.ts"
import { isRecord, textOf } from "./values.ts"

/**
 * Reads a streamed answer: `push` every parsed chunk, then call `finish`. Accepts any value and never throws; after a value
 * that is not a chunk, `finish` returns a failure. Only the first of several choices is read.
 * @see https://platform.openai.com/docs/api-reference/chat-streaming/streaming (2026-11)
 */
export class OpenAiChatStream {
  readonly #answer: Answer = new Answer()
  readonly #options: OpenAiAnswerOptions

  constructor(options: OpenAiAnswerOptions = {}) {
    this.#options = options
  }

  /** Whether the answer has failed. Further chunks are then ignored. */
  get failed(): boolean {
    return this.#answer.failure !== undefined
  }

  /** Adds one chunk and returns the events to show. */
  push(chunk: unknown): readonly TurnEvent[] {
    const answer = this.#answer
    if (this.failed) return []
    answer.failure = answerFailure(chunk)
    if (this.failed) return []
    if (!isRecord(chunk)) return this.#refuse("a chunk is not a JSON object", chunk)
    // Some servers send a running count in every chunk; the last one counts.
    if (isRecord(chunk["usage"])) answer.usage = chunk["usage"]
    // The usage comes in a chunk without choices; vLLM has sent null for them.
    const choices = chunk["choices"] ?? []
    if (!Array.isArray(choices)) return this.#refuse("the choices of a chunk are not a list", chunk)
    return (choices as readonly unknown[]).flatMap((choice) => this.#pushChoice(choice))
  }

  /** Returns the answer after the last chunk. Without a finish reason it is the failure `stream_truncated`. */
  finish(): LlmResult {
    if (!this.failed && this.#answer.finishReason === undefined) return { ok: false, error: truncated() }
    return this.#answer.result(this.#options)
  }

  #pushChoice(choice: unknown): readonly TurnEvent[] {
    const answer = this.#answer
    if (!isRecord(choice)) return this.#refuse("a choice is not a JSON object", choice)
    if (typeof choice["index"] === "number" && choice["index"] !== 0) return []
    answer.failure ??= answerFailure(choice)
    if (isRecord(choice["usage"])) answer.usage = choice["usage"] // Moonshot
    const finishReason = choice["finish_reason"]
    if (typeof finishReason === "string" && finishReason !== "") answer.finishReason = finishReason
    // A server that cannot stream sends the whole message as one chunk.
    const delta = choice["delta"] ?? choice["message"] ?? {}
    if (!isRecord(delta)) return this.#refuse("the delta of a chunk is not a JSON object", choice)
    const { text, reasoning } = answer.addDelta(delta)
    const events: TurnEvent[] = []
    if (reasoning !== "") events.push({ type: "reasoning_delta", content: reasoning })
    if (text !== "") events.push({ type: "text_delta", content: text })
    return events
  }

  #refuse(what: string, raw: unknown): readonly TurnEvent[] {
    this.#answer.refuse(what, raw)
    return []
  }
}

/**
 * Reads a whole answer. Only the first of several choices is read.
 * @see https://platform.openai.com/docs/api-reference/chat/object (2026-11)
 */
export function openAiResponse(body: unknown, options: OpenAiAnswerOptions = {}): LlmResult {
  const failure = answerFailure(body)
  if (failure !== undefined) return { ok: false, error: failure }
  const choices = isRecord(body) ? body["choices"] : undefined
  if (!isRecord(body) || !Array.isArray(choices)) return unreadable("it has no list of choices", body)
  const choice: unknown = choices[0]
  if (choice === undefined) return unreadable("its list of choices is empty", body)
  const choiceFailure = answerFailure(choice)
  if (choiceFailure !== undefined) return { ok: false, error: choiceFailure }
  const message = isRecord(choice) ? choice["message"] : undefined
  if (!isRecord(choice) || !isRecord(message)) return unreadable("its choice has no message", body)

  const answer = new Answer()
  answer.usage = body["usage"]
  if (typeof choice["finish_reason"] === "string") answer.finishReason = choice["finish_reason"]
  answer.addMessage(message)
  return answer.result(options)
}

function unreadable(what: string, raw: unknown): LlmResult {
  return { ok: false, error: malformed(what, textOf(raw)) }
}
