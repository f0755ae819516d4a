import { canonicalJson, parseJson, whyNotJson } from "../../json.ts"
import { isBlank } from "../../text.ts"
import type { ToolCallBlock } from "../../wire/llm.ts"
import { isRecord, stringOf, textOf } from "../wires/values.ts"
import { PartialArguments } from "./partial-arguments.ts"
import { type Extras, extrasOf } from "./parts.ts"

/** A function call from the parts so far. */
export interface CallSoFar {
  readonly type: "call"
  id: string
  readonly name: string
  /** The arguments as text; blank if none have come. */
  text: string
  partial: PartialArguments | undefined
  /** More arguments are to come. */
  isOpen: boolean
  signature: string | undefined
  extras: Extras | undefined
  /** The number of the chunk in which it came. */
  readonly chunk: number
}

/**
 * The function calls of an answer. Gemini sends calls whole, except for arguments that it was asked to stream.
 *
 * A later chunk may repeat a call, without its signature: the call with the same id, or without ids the same name and arguments. The signature
 * of the first is not overwritten. One id for two calls gives the second an id of its own.
 * @see https://github.com/allenhutchison/obsidian-gemini/pull/230 (2026-11): the repeated call
 */
export class Calls {
  readonly #calls: CallSoFar[] = []

  get isEmpty(): boolean {
    return this.#calls.length === 0
  }

  /** Adds a part with a call. Returns the call if it is a new one, or what is malformed, or `undefined`. */
  add(part: Readonly<Record<string, unknown>>, call: Readonly<Record<string, unknown>>, chunk: number): CallSoFar | string | undefined {
    const { args, partialArgs } = call
    if (args !== undefined && args !== null && whyNotJson(args) !== undefined) return "the arguments of a function call are not JSON"
    const text = textOf(args) ?? ""
    const name = stringOf(call["name"])
    const id = stringOf(call["id"])
    const pieces = Array.isArray(partialArgs) ? (partialArgs as readonly unknown[]) : undefined
    const found = this.#openCall(id, name) ?? this.#repeated(id, name, text, chunk)
    if (found !== undefined) {
      complete(found, part, text, pieces)
      if (found.isOpen) found.isOpen = call["willContinue"] === true
      return undefined
    }
    if (isBlank(name)) return isBlank(text) && pieces === undefined ? undefined : "a function call does not name a function"
    const made: CallSoFar = {
      type: "call",
      id,
      name,
      text: "",
      partial: undefined,
      isOpen: call["willContinue"] === true,
      signature: undefined,
      extras: undefined,
      chunk,
    }
    complete(made, part, text, pieces)
    this.#calls.push(made)
    return made
  }

  /** Returns the calls as blocks with unique ids: a missing or repeated id is replaced by `call_<n>`. */
  blocks(firstNumber: number, toolNames: ReadonlyMap<string, string> | undefined): ReadonlyMap<CallSoFar, ToolCallBlock> {
    const given = new Set(this.#calls.map(({ id }) => id))
    const used = new Set<string>()
    const blocks = new Map<CallSoFar, ToolCallBlock>()
    let number = firstNumber
    for (const call of this.#calls) {
      let callId = call.id
      if (isBlank(callId) || used.has(callId)) {
        while (given.has(`call_${number}`)) number += 1
        callId = `call_${number}`
        number += 1
      }
      used.add(callId)
      blocks.set(call, {
        type: "tool_call",
        callId,
        toolName: toolNames?.get(call.name) ?? call.name,
        inputJson: inputOf(call),
        ...(call.signature !== undefined && { replay: { opaque: call.signature } }),
        ...(call.extras !== undefined && { providerMetadata: call.extras }),
      })
    }
    return blocks
  }

  /** The call whose arguments are still to come, if a piece belongs to it. */
  #openCall(id: string, name: string): CallSoFar | undefined {
    const last = this.#calls.at(-1)
    if (last?.isOpen !== true) return undefined
    const isOther = (name !== "" && name !== last.name) || (id !== "" && last.id !== "" && id !== last.id)
    return isOther ? undefined : last
  }

  #repeated(id: string, name: string, text: string, chunk: number): CallSoFar | undefined {
    return this.#calls.find((call) => {
      if (call.name !== name || call.id !== id) return false
      if (id !== "") return isBlank(text) || isEmpty(call) || isSame(call.text, text)
      return call.chunk !== chunk && isSame(call.text, text)
    })
  }
}

function complete(call: CallSoFar, part: Readonly<Record<string, unknown>>, text: string, pieces: readonly unknown[] | undefined): void {
  if (text !== "" && isEmpty(call)) call.text = text
  if (pieces !== undefined) {
    call.partial ??= new PartialArguments()
    for (const piece of pieces) call.partial.add(piece)
  }
  const signature = stringOf(part["thoughtSignature"])
  if (call.signature === undefined && signature !== "") call.signature = signature
  const extras = extrasOf(part)
  if (extras !== undefined) call.extras = { ...extras, ...call.extras }
}

function isEmpty({ partial, text }: CallSoFar): boolean {
  return partial === undefined && (isBlank(text) || /^\{\s*\}$/.test(text))
}

function isSame(one: string, other: string): boolean {
  if (one === other) return true
  const [first, second] = [parseJson(one), parseJson(other)]
  return first !== undefined && second !== undefined && canonicalJson(first) === canonicalJson(second)
}

/** The arguments as text. Half arguments stay half, so that the call does not run with them. */
function inputOf({ isOpen, partial, text }: CallSoFar): string {
  if (partial === undefined) return isBlank(text) ? (isOpen ? "{" : "{}") : text
  const whole = JSON.stringify(partial.value)
  return isOpen || partial.isBroken ? whole.slice(0, -1) : whole
}

/** Whether a part is a function call. */
export function callOf(part: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> | undefined {
  const { functionCall } = part
  return isRecord(functionCall) ? functionCall : undefined
}
