import type { TurnEvent } from "../../wire/event.ts"
import type { LlmFailure } from "../../wire/llm.ts"
import { truncated } from "../wires/failure.ts"
import { indexOf, isRecord } from "../wires/values.ts"
import type { DecodeOptions, LlmResult, WireStream } from "../wires/wire.ts"
import { Answer } from "./answer.ts"
import { mergeUsage } from "./usage.ts"

/**
 * Reads a streamed answer: `push` every parsed event, then call `finish`. Unknown events are ignored, as the provider asks for. A second
 * message in one stream makes it malformed, unless the first was complete.
 * @see https://platform.claude.com/docs/en/build-with-claude/streaming (2026-11)
 */
export class AnthropicStream implements WireStream {
  readonly #answer: Answer
  #pieces = 0
  #hasUsage = false

  constructor(options: DecodeOptions = {}) {
    this.#answer = new Answer(options)
  }

  get failed(): boolean {
    return this.#answer.failure !== undefined
  }

  get complete(): boolean {
    return !this.failed && (this.#answer.ended || this.#answer.stopReason !== undefined)
  }

  get ended(): boolean {
    return this.complete && this.#answer.ended
  }

  get hasUsage(): boolean {
    return this.#hasUsage
  }

  get pieces(): number {
    return this.#pieces
  }

  push(event: unknown): readonly TurnEvent[] {
    const answer = this.#answer
    if (this.failed) return []
    // What follows the end is not part of the answer, except for figures of its usage.
    if (answer.ended && !(isRecord(event) && event["type"] === "message_delta")) return []
    const wasComplete = this.complete
    answer.checkError(event)
    const events = this.failed ? [] : this.#read(event)
    if (wasComplete && this.failed) {
      // Nothing may throw a complete answer away.
      answer.failure = undefined
      answer.ended = true
    }
    if (events.length > 0) this.#pieces += 1
    return events
  }

  finish(): LlmResult {
    return this.failed || this.complete ? this.#answer.result() : this.cutOff(truncated())
  }

  cutOff(failure: LlmFailure): LlmResult {
    return this.#answer.failed(failure)
  }

  #read(event: unknown): readonly TurnEvent[] {
    const answer = this.#answer
    if (!isRecord(event)) {
      answer.refuse("an event is not a JSON object", event)
      return []
    }
    const index = indexOf(event["index"]) ?? 0
    switch (event["type"]) {
      case "message_start":
        return this.#start(event["message"])
      case "content_block_start": {
        const events = answer.startBlock(index, event["content_block"])
        if (events.length === 0) this.#pieces += 1
        return events
      }
      case "content_block_delta":
        return answer.addDelta(index, event["delta"])
      case "content_block_stop":
        answer.stopBlock(index)
        return []
      case "message_delta":
        if (isRecord(event["delta"])) answer.addStop(event["delta"])
        answer.usage = mergeUsage(answer.usage, event["usage"])
        this.#hasUsage ||= isRecord(event["usage"])
        return []
      case "message_stop":
        answer.ended = true
        return []
      case "message":
        // A server that cannot stream sends the whole message as one event.
        this.#hasUsage ||= isRecord(event["usage"])
        return readMessage(answer, event)
      default:
        return []
    }
  }

  #start(message: unknown): readonly TurnEvent[] {
    if (!isRecord(message)) {
      this.#answer.refuse("its beginning has no message", message)
      return []
    }
    this.#answer.addMessage(message)
    return []
  }
}

/**
 * Reads a whole answer.
 * @see https://platform.claude.com/docs/en/api/messages/create (2026-11)
 */
export function anthropicResponse(body: unknown, options: DecodeOptions = {}): LlmResult {
  const answer = new Answer(options)
  answer.checkError(body)
  if (isRecord(body)) readMessage(answer, body)
  else answer.refuse("it is not a JSON object", body)
  return answer.result()
}

function readMessage(answer: Answer, message: Readonly<Record<string, unknown>>): readonly TurnEvent[] {
  const { content } = message
  answer.addMessage(message)
  if (!Array.isArray(content)) {
    answer.refuse("it has no list of blocks", message)
    return []
  }
  answer.ended = true
  return (content as readonly unknown[]).flatMap((block, index) => answer.addBlock(index, block))
}
