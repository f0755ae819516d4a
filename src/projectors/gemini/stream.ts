import type { TurnEvent } from "../../wire/event.ts"
import type { LlmFailure } from "../../wire/llm.ts"
import { answerFailure, truncated } from "../wires/failure.ts"
import { meaningOf } from "../wires/finish-reason.ts"
import { indexOf, isRecord, stringOf } from "../wires/values.ts"
import type { DecodeOptions, LlmResult, WireStream } from "../wires/wire.ts"
import { Answer } from "./answer.ts"

/**
 * Reads a streamed answer: each chunk is a whole `GenerateContentResponse` with what is new, and the last one has the finish reason. The stream
 * has no end mark. Accepts any value and never throws; after a value that is not a chunk, `finish` returns a failure, unless the answer was
 * already complete. Only the first candidate is read.
 * @see https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent (2026-11)
 */
export class GeminiStream implements WireStream {
  readonly #answer: Answer
  readonly #options: DecodeOptions
  #chunks = 0
  #pieces = 0
  #index: number | undefined
  /** A chunk with content came before the finish reason. */
  #hadOpenChunk = false
  #hasFinalUsage = false

  constructor(options: DecodeOptions = {}) {
    this.#options = options
    this.#answer = new Answer(options)
  }

  get failed(): boolean {
    return this.#answer.failure !== undefined
  }

  get complete(): boolean {
    return !this.failed && this.#answer.hasEnded
  }

  /** Some endpoints send a finish reason in each chunk. So the first chunk alone does not show that the answer has ended. */
  get ended(): boolean {
    return this.complete && this.#hadOpenChunk
  }

  /** Each chunk has a usage. That of the whole answer comes with the finish reason, or after it. */
  get hasUsage(): boolean {
    return this.#hasFinalUsage
  }

  get pieces(): number {
    return this.#pieces
  }

  push(chunk: unknown): readonly TurnEvent[] {
    const answer = this.#answer
    if (this.failed) return []
    const { finishReason } = answer
    const isWhole = finishReason !== undefined && answer.hasContent && meaningOf(finishReason) !== "provider_error"
    const events = this.#read(chunk)
    // Nothing may throw a complete answer away.
    if (isWhole) answer.failure = undefined
    return events
  }

  /** Returns the answer after the last chunk. Without a finish reason it is the failure `stream_truncated`. */
  finish(): LlmResult {
    const answer = this.#answer
    return this.failed || answer.hasEnded ? answer.result() : this.cutOff(truncated())
  }

  cutOff(failure: LlmFailure): LlmResult {
    return this.#answer.failed(failure)
  }

  #read(chunk: unknown): readonly TurnEvent[] {
    const answer = this.#answer
    answer.failure = answerFailure(chunk, this.#options)
    if (this.failed) return []
    if (!isRecord(chunk)) {
      answer.refuse("a chunk is not a JSON object", chunk)
      return []
    }
    answer.id ||= stringOf(chunk["responseId"])
    answer.model ||= stringOf(chunk["modelVersion"])
    answer.addPromptFeedback(chunk["promptFeedback"])
    const { candidates = [], usageMetadata } = chunk
    answer.addUsage(usageMetadata)
    if (candidates !== null && !Array.isArray(candidates)) {
      answer.refuse("the candidates of a chunk are not a list", chunk)
      return []
    }
    const events = ((candidates ?? []) as readonly unknown[]).flatMap((candidate) => this.#readCandidate(candidate))
    if (answer.hasEnded) this.#hasFinalUsage ||= isRecord(usageMetadata)
    else this.#hadOpenChunk ||= answer.hasContent
    this.#chunks += 1
    return events
  }

  #readCandidate(candidate: unknown): readonly TurnEvent[] {
    const answer = this.#answer
    if (!isRecord(candidate)) {
      answer.refuse("a candidate is not a JSON object", candidate)
      return []
    }
    const index = indexOf(candidate["index"]) ?? 0
    this.#index ??= index
    if (index !== this.#index) return []
    const { content } = candidate
    if (isRecord(content) && Array.isArray(content["parts"]) && content["parts"].length > 0) this.#pieces += 1
    return answer.addCandidate(candidate, this.#chunks)
  }
}

/**
 * Reads a whole answer, or the list of chunks that `streamGenerateContent` sends without `alt=sse`. Only the first candidate is read.
 * @see https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse (2026-11)
 */
export function geminiResponse(body: unknown, options: DecodeOptions = {}): LlmResult {
  const answer = new Answer(options)
  answer.failure = answerFailure(body, options)
  if (answer.failure !== undefined) return answer.result()
  if (Array.isArray(body) && body.length > 0) {
    const stream = new GeminiStream(options)
    for (const chunk of body as readonly unknown[]) stream.push(chunk)
    return stream.finish()
  }
  if (!isRecord(body)) {
    answer.refuse("it is not a JSON object", body)
    return answer.result()
  }
  answer.id = stringOf(body["responseId"])
  answer.model = stringOf(body["modelVersion"])
  answer.addUsage(body["usageMetadata"])
  answer.addPromptFeedback(body["promptFeedback"])
  const { candidates } = body
  const first: unknown = Array.isArray(candidates) ? candidates[0] : undefined
  if (isRecord(first)) answer.addCandidate(first, 0)
  else if (!answer.hasEnded) answer.refuse("it has no candidates", body)
  return answer.result()
}
