import type { TurnEvent } from "../../wire/event.ts"
import type { LlmFailure } from "../../wire/llm.ts"
import { answerFailure, brokenOff, truncated } from "../wires/failure.ts"
import { indexOf, isRecord, stringOf, textOf } from "../wires/values.ts"
import type { DecodeOptions, LlmResult, WireStream } from "../wires/wire.ts"
import { Answer } from "./answer.ts"
import { type PieceKind, placeOf, type Slot, Slots } from "./slots.ts"

type ApiEvent = Readonly<Record<string, unknown>>

/** Events with a piece of a text, and with the whole of it. Some servers send reasoning under older names. */
const TEXTS: ReadonlyMap<string, readonly [item: string, kind: PieceKind, index: string]> = new Map([
  ["response.output_text", ["message", "text", "content_index"]],
  ["response.refusal", ["message", "refusal", "content_index"]],
  ["response.reasoning_summary_text", ["reasoning", "summary", "summary_index"]],
  ["response.reasoning_summary", ["reasoning", "summary", "summary_index"]],
  ["response.reasoning_text", ["reasoning", "reasoning", "content_index"]],
  ["response.reasoning", ["reasoning", "reasoning", "content_index"]],
])

/** Events that end an answer, with its status where the response object has none. */
const ENDINGS: ReadonlyMap<string, string> = new Map([
  ["response.completed", "completed"],
  ["response.done", "completed"],
  ["response.incomplete", "incomplete"],
  ["response.failed", "failed"],
  ["response.cancelled", "cancelled"],
])

/**
 * Reads a streamed answer: `push` every parsed event, then call `finish`. Accepts any value and never throws; after a value that is not an
 * event, `finish` returns a failure, unless the answer was already complete. Unknown events are ignored, and so are repeated ones.
 *
 * An item counts as it ended (`response.output_item.done`): only then is its encrypted reasoning complete. What comes between the
 * beginning and the end of an item is shown.
 * @see https://platform.openai.com/docs/api-reference/responses-streaming (2026-11)
 */
export class OpenAiResponsesStream implements WireStream {
  readonly #answer: Answer
  readonly #options: DecodeOptions
  readonly #slots = new Slots()
  readonly #repetitions = new Repetitions()
  #pieces = 0
  #createdId = ""

  constructor(options: DecodeOptions = {}) {
    this.#options = options
    this.#answer = new Answer(options)
  }

  get failed(): boolean {
    return this.#answer.failure !== undefined
  }

  get complete(): boolean {
    return this.#answer.isComplete
  }

  /** The last event of an answer has its usage, so nothing is expected after it. */
  get ended(): boolean {
    return this.complete
  }

  get hasUsage(): boolean {
    return isRecord(this.#answer.usage)
  }

  /** How many events have added to the answer. */
  get pieces(): number {
    return this.#pieces
  }

  push(event: unknown): readonly TurnEvent[] {
    // Nothing may throw a complete answer away.
    if (this.failed || this.complete) return []
    if (!isRecord(event)) return this.#refuse("an event is not a JSON object", event)
    const { type } = event
    if (typeof type !== "string") return this.#untyped(event)
    if (this.#repetitions.includes(event)) return []
    if (type === "error") return this.#error(event)
    return this.#read(type, event)
  }

  /** Returns the answer after the last event. Without the event that ends it, it is the failure `stream_truncated`. */
  finish(): LlmResult {
    return this.failed || this.complete ? this.#answer.result(this.#slots.read()) : this.cutOff(truncated())
  }

  cutOff(failure: LlmFailure): LlmResult {
    return this.#answer.failed(failure, this.#slots.read())
  }

  #read(type: string, event: ApiEvent): readonly TurnEvent[] {
    const { item, response } = event
    const status = ENDINGS.get(type)
    if (status !== undefined) return this.#end(isRecord(response) ? response : {}, status)
    switch (type) {
      case "response.created":
        return this.#created(isRecord(response) ? response : {})
      case "response.output_item.added":
        if (isRecord(item)) this.#slots.start(stringOf(item["type"]), { ...placeOf(event), id: stringOf(item["id"]) }, item)
        return []
      case "response.output_item.done":
        if (!isRecord(item)) return []
        return this.#endItem(this.#slots.ending(stringOf(item["type"]), { ...placeOf(event), id: stringOf(item["id"]) }), item)
      case "response.function_call_arguments.delta":
      case "response.function_call_arguments.done":
        return this.#arguments(type, event)
      default:
        return this.#text(type, event)
    }
  }

  #text(type: string, event: ApiEvent): readonly TurnEvent[] {
    const isDelta = type.endsWith(".delta")
    const known = TEXTS.get(type.replace(/\.(?:delta|done)$/, ""))
    if (known === undefined || !(isDelta || type.endsWith(".done"))) return []
    const [item, kind, indexKey] = known
    const slot = this.#slots.open(item, placeOf(event))
    if (slot === undefined) return []
    const index = indexOf(event[indexKey]) ?? 0
    if (isDelta) return this.#show(kind, slot.append(kind, index, stringOf(event["delta"])))
    const whole = stringOf(event[kind === "refusal" ? "refusal" : "text"])
    return whole === "" ? [] : this.#show(kind, slot.complete(kind, index, whole))
  }

  #arguments(type: string, event: ApiEvent): readonly TurnEvent[] {
    const slot = this.#slots.open("function_call", placeOf(event))
    if (type.endsWith(".done")) slot?.setArguments(textOf(event["arguments"]) ?? "")
    else slot?.appendArguments(stringOf(event["delta"]))
    this.#pieces += 1
    return []
  }

  #created(response: ApiEvent): readonly TurnEvent[] {
    const id = stringOf(response["id"])
    if (this.#createdId !== "" && id !== "" && id !== this.#createdId && !this.#slots.isEmpty)
      return this.#refuse("a second answer begins in its stream", response)
    this.#createdId ||= id
    this.#answer.describe(response)
    return []
  }

  #endItem(slot: Slot | undefined, item: ApiEvent): readonly TurnEvent[] {
    if (slot === undefined) return []
    if (slot.whole === undefined) this.#pieces += 1
    return slot.end(item).flatMap(({ kind, text }) => this.#show(kind, text))
  }

  /** Ends the answer. Items that the stream did not have come from the response object. */
  #end(response: ApiEvent, status: string): readonly TurnEvent[] {
    this.#answer.end(response, status)
    const { output } = response
    if (!Array.isArray(output)) return []
    return (output as readonly unknown[]).flatMap((item, position) => {
      if (!isRecord(item)) return []
      const slot = this.#slots.final(stringOf(item["type"]), { index: position, id: stringOf(item["id"]) }, stringOf(item["call_id"]))
      if (slot.whole === undefined) return this.#endItem(slot, item)
      const encrypted = stringOf(item["encrypted_content"])
      if (encrypted !== "" && stringOf(slot.whole["encrypted_content"]) === "") slot.whole = item
      return []
    })
  }

  #error(event: ApiEvent): readonly TurnEvent[] {
    const { code, error, message, param } = event
    const given = isRecord(error) || typeof error === "string" ? error : { code, message, param }
    const saysNothing = isRecord(given) && [given["code"], given["message"], given["type"]].every((fact) => (fact ?? "") === "")
    this.#answer.failure = saysNothing ? brokenOff("error") : (answerFailure({ error: given }, this.#options) ?? brokenOff("error"))
    return []
  }

  /** A server that cannot stream sends the response object, or an error, as the only event. */
  #untyped(event: ApiEvent): readonly TurnEvent[] {
    if (event["object"] === "response" || Array.isArray(event["output"])) return this.#end(event, "completed")
    this.#answer.failure = answerFailure(event, this.#options)
    return this.failed ? [] : this.#refuse("an event has no type", event)
  }

  #show(kind: PieceKind, content: string): readonly TurnEvent[] {
    if (content === "") return []
    this.#pieces += 1
    return [{ type: kind === "summary" || kind === "reasoning" ? "reasoning_delta" : "text_delta", content }]
  }

  #refuse(what: string, raw: unknown): readonly TurnEvent[] {
    this.#answer.refuse(what, raw)
    return []
  }
}

/** Recognizes repeated events: those with the number and content of an earlier one. Some servers give all events one number. */
class Repetitions {
  readonly #seen = new Map<number, ApiEvent>()
  #last: number | undefined
  #isCounting = false

  includes(event: ApiEvent): boolean {
    const number = indexOf(event["sequence_number"])
    if (number === undefined) return false
    const before = this.#seen.get(number)
    if (this.#isCounting && before !== undefined && isSameJson(before, event)) return true
    this.#isCounting ||= this.#last !== undefined && number === this.#last + 1
    this.#seen.set(number, event)
    this.#last = number
    return false
  }
}

function isSameJson(one: ApiEvent, other: ApiEvent): boolean {
  return one === other || (one["type"] === other["type"] && textOf(one) === textOf(other))
}
