import { whyNotJson } from "../../json.ts"
import { isBlank } from "../../text.ts"
import type { OutputPart } from "../../wire/llm.ts"
import { isRecord, stringOf, textOf } from "./values.ts"

/** A tool call in a message, or a piece of one in a delta. */
interface CallPiece {
  readonly id: string
  readonly index: number | undefined
  readonly name: string
  readonly arguments: string
}

/** A tool call from the pieces so far. */
interface CallSoFar {
  id: string
  name: string
  arguments: string
}

/** The slot of the older `function_call` field, which holds one call without an index. */
const FUNCTION_CALL_INDEX = -1

/**
 * Joins the pieces of tool calls. In a stream, a piece belongs to the call with its id, else to the call at its index, else to
 * the last call. A piece with the name of another function starts a new call. This covers servers that leave out the index or
 * the id, that number all calls 0, or that repeat id and name in each piece.
 * @see https://github.com/openai/openai-python/issues/2806, https://github.com/mudler/LocalAI/issues/9722 (2026-11)
 */
export class CallCollector {
  readonly #calls: CallSoFar[] = []
  readonly #byId = new Map<string, CallSoFar>()
  readonly #byIndex = new Map<number, CallSoFar>()

  /** Whether any call names a function. */
  get any(): boolean {
    return this.#calls.some((call) => !isBlank(call.name))
  }

  /** Adds the calls of a whole message. Returns what is malformed, or `undefined`. */
  addWhole(message: Readonly<Record<string, unknown>>): string | undefined {
    const pieces = readPieces(message)
    if (typeof pieces === "string") return pieces
    for (const { id, name, arguments: text } of pieces) this.#calls.push({ id, name, arguments: text })
    return undefined
  }

  /** Adds the pieces in a delta. Returns what is malformed, or `undefined`. */
  addDelta(delta: Readonly<Record<string, unknown>>): string | undefined {
    const pieces = readPieces(delta)
    if (typeof pieces === "string") return pieces
    for (const piece of pieces) this.#addPiece(piece)
    return undefined
  }

  /** Whether a call has arguments but does not name a function. Calls with neither are ignored: some servers send them. */
  get hasNameless(): boolean {
    return this.#calls.some((call) => isBlank(call.name) && !isBlank(call.arguments))
  }

  /** The calls that name a function, with unique ids: a missing or repeated id is replaced by `call_<n>`. */
  parts(firstNumber: number): readonly OutputPart[] {
    const named = this.#calls.filter((call) => !isBlank(call.name))
    const given = new Set(named.map((call) => call.id))
    const used = new Set<string>()
    let number = firstNumber
    return named.map(({ id, name, arguments: inputJson }) => {
      let callId = id
      if (isBlank(id) || used.has(id)) {
        while (given.has(`call_${number}`)) number += 1
        callId = `call_${number}`
        number += 1
      }
      used.add(callId)
      return { type: "tool_call", callId, toolName: name, inputJson }
    })
  }

  #addPiece(piece: CallPiece): void {
    const call = this.#callOf(piece) ?? this.#start()
    if (call.id === "" && piece.id !== "") call.id = piece.id
    if (piece.id !== "") this.#byId.set(piece.id, call)
    if (piece.index !== undefined) this.#byIndex.set(piece.index, call)
    if (piece.name !== call.name) call.name += piece.name
    call.arguments += piece.arguments
  }

  #callOf({ id, index, name }: CallPiece): CallSoFar | undefined {
    const known = id === "" ? undefined : this.#byId.get(id)
    const call = known ?? (index === undefined ? this.#calls.at(-1) : this.#byIndex.get(index))
    if (call === undefined) return undefined
    const otherId = known === undefined && id !== "" && call.id !== ""
    if (otherId && index === undefined) return undefined
    if (name === "" || call.name === "") return call
    if (known !== undefined) return name === call.name ? call : undefined
    if (otherId || index === undefined) return undefined
    // A name in pieces comes before the arguments; a different name after them belongs to another call.
    return name === call.name || call.arguments === "" ? call : undefined
  }

  #start(): CallSoFar {
    const call: CallSoFar = { id: "", name: "", arguments: "" }
    this.#calls.push(call)
    return call
  }
}

/** Returns the calls of a message or a delta, or what is malformed in them. */
function readPieces(message: Readonly<Record<string, unknown>>): readonly CallPiece[] | string {
  const list = message["tool_calls"] ?? []
  if (!Array.isArray(list)) return "its tool calls are not a list"
  const pieces: CallPiece[] = []
  for (const item of list as readonly unknown[]) {
    if (!isRecord(item)) return "a tool call is not a JSON object"
    const { id, index } = item
    const piece = readFunction(item["function"], stringOf(id), typeof index === "number" ? index : undefined)
    if (typeof piece === "string") return piece
    pieces.push(piece)
  }
  const older = message["function_call"] ?? undefined
  if (older === undefined || pieces.length > 0) return pieces
  const piece = readFunction(older, "", FUNCTION_CALL_INDEX)
  return typeof piece === "string" ? piece : [piece]
}

function readFunction(value: unknown, id: string, index: number | undefined): CallPiece | string {
  const called = value ?? {}
  if (!isRecord(called)) return "the function of a tool call is not a JSON object"
  // Ollama's own format and some proxies send the arguments as an object.
  const text = called["arguments"]
  if (text !== undefined && whyNotJson(text) !== undefined) return "the arguments of a tool call are not JSON"
  return { id, index, name: stringOf(called["name"]), arguments: textOf(text) ?? "" }
}
