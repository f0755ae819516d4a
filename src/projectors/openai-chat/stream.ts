import type { TurnEvent } from "../../schemas/event.ts"
import { Answer, type LlmResult, type OpenAiAnswerOptions } from "./answer.ts"
import { answerFailure, malformed, truncated } from "./failure.ts"
import { isRecord, textOf } from "./values.ts"

/**
 * Reads a streamed answer chunk by chunk: `push` every parsed chunk, then `finish`. Takes anything, and never throws; what
 * is no chunk makes `finish` answer a failure. Of several choices the first is read.
 * @see https://platform.openai.com/docs/api-reference/chat-streaming/streaming (2026-11)
 */
export class OpenAiChatStream {
  readonly #answer: Answer = new Answer()
  readonly #options: OpenAiAnswerOptions

  constructor(options: OpenAiAnswerOptions = {}) {
    this.#options = options
  }

  /** Whether the answer has failed already, so that nothing that comes counts any more. */
  get failed(): boolean {
    return this.#answer.failure !== undefined
  }

  /** Takes one chunk and returns what it adds to what is shown. */
  push(chunk: unknown): readonly TurnEvent[] {
    const answer = this.#answer
    if (this.failed) return []
    answer.failure = answerFailure(chunk)
    if (this.failed) return []
    if (!isRecord(chunk)) return this.#refuse("a chunk is no JSON object", chunk)
    // Some servers count up in every chunk; the last figures hold.
    if (isRecord(chunk["usage"])) answer.usage = chunk["usage"]
    // The usage comes in a chunk with no choices; vLLM has sent null for them.
    const choices = chunk["choices"] ?? []
    if (!Array.isArray(choices)) return this.#refuse("the choices of a chunk are no list", chunk)
    return (choices as readonly unknown[]).flatMap((choice) => this.#pushChoice(choice))
  }

  /** The answer, when no more chunks come. Without a finish reason it is a failure, `stream_truncated`. */
  finish(): LlmResult {
    if (!this.failed && this.#answer.finishReason === undefined) return { ok: false, error: truncated() }
    return this.#answer.result(this.#options)
  }

  #pushChoice(choice: unknown): readonly TurnEvent[] {
    const answer = this.#answer
    if (!isRecord(choice)) return this.#refuse("a choice is no JSON object", choice)
    if (typeof choice["index"] === "number" && choice["index"] !== 0) return []
    answer.failure ??= answerFailure(choice)
    if (isRecord(choice["usage"])) answer.usage = choice["usage"] // Moonshot
    const finishReason = choice["finish_reason"]
    if (typeof finishReason === "string" && finishReason !== "") answer.finishReason = finishReason
    // A server that cannot stream sends the whole message as one chunk.
    const delta = choice["delta"] ?? choice["message"] ?? {}
    if (!isRecord(delta)) return this.#refuse("the delta of a chunk is no JSON object", choice)
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
 * Reads a whole answer; of several choices the first.
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
