import { whyNotJson } from "../../json.ts"
import { isBlank } from "../../text.ts"
import type { ToolCallBlock } from "../../wire/llm.ts"
import { Arguments } from "../wires/arguments.ts"
import { indexOf, isRecord, stringOf, textOf } from "../wires/values.ts"
import { addMetadata, type Metadata } from "./metadata.ts"

/** A tool call in a message, or a piece of one in a delta. */
interface CallPiece {
  readonly id: string
  readonly index: number | undefined
  readonly name: string
  readonly arguments: string
  /** The tool call itself, for the provider's own keys in it. */
  readonly raw: Readonly<Record<string, unknown>>
}

/** A tool call from the pieces so far. */
interface CallSoFar {
  id: string
  /** Where the call started. */
  readonly index: number | undefined
  name: string
  readonly arguments: Arguments
  metadata: Metadata | undefined
}

/** The place of a piece among those of its delta. */
interface Order {
  /** The call at the same place in the delta before. */
  readonly before: CallSoFar | undefined
  /** The calls of the pieces before it. */
  readonly calls: readonly CallSoFar[]
}

/** The slot of the older `function_call` field, which holds one call without an index. */
const FUNCTION_CALL_INDEX = -1

/**
 * Keys that a provider adds to a call and wants back with it: Google's thought signature, also through LiteLLM.
 * @see https://ai.google.dev/gemini-api/docs/thought-signatures (2026-11)
 */
const KEPT_KEYS = ["extra_content", "provider_specific_fields"]

/**
 * Joins the pieces of tool calls. In a stream, a piece belongs to the call at its index, whatever its id; without an index, to the call
 * with its id, else to the last call. Another index is another call. At the same index a new call starts with a piece that has the name of
 * another function, or any name once the arguments are a whole JSON object, unless it only repeats them. This covers servers that leave
 * out the index or the id, that number all calls 0, that give all calls the same id, or that repeat id and name in each piece. Several
 * pieces in one delta with neither an index nor an id continue the calls of the delta before, in the same order.
 * @see https://github.com/openai/openai-python/issues/2806, https://github.com/mudler/LocalAI/issues/9722 (2026-11)
 * @see https://github.com/can1357/oh-my-pi/issues/2055 (2026-11): one id for two calls
 */
export class CallCollector {
  readonly #calls: CallSoFar[] = []
  /** The calls in the last delta that had several pieces, none of them with an index. */
  #inOrder: readonly CallSoFar[] = []
  readonly #byId = new Map<string, CallSoFar>()
  readonly #byIndex = new Map<number, CallSoFar>()

  /** Whether any call names a function. */
  get any(): boolean {
    return this.#calls.some((call) => !isBlank(call.name))
  }

  /** Whether nothing of a call has come. */
  get isEmpty(): boolean {
    return this.#calls.length === 0
  }

  /** Adds the calls of a whole message. Returns what is malformed, or `undefined`. */
  addWhole(message: Readonly<Record<string, unknown>>): string | undefined {
    const pieces = readPieces(message)
    if (typeof pieces === "string") return pieces
    for (const piece of pieces) this.#append(this.#start(undefined), piece)
    return undefined
  }

  /** Adds the pieces in a delta. Returns what is malformed, or `undefined`. */
  addDelta(delta: Readonly<Record<string, unknown>>): string | undefined {
    const pieces = this.#withoutOlder(readPieces(delta))
    if (typeof pieces === "string") return pieces
    const isOrdered = pieces.length > 1 && pieces.every(({ index }) => index === undefined)
    const calls: CallSoFar[] = []
    for (const [position, piece] of pieces.entries())
      calls.push(this.#addPiece(piece, isOrdered ? { before: this.#inOrder[position], calls } : undefined))
    if (isOrdered) this.#inOrder = calls
    return undefined
  }

  /** Leaves out what comes in the older `function_call` field if calls have come in the newer one: some servers send both. */
  #withoutOlder(pieces: readonly CallPiece[] | string): readonly CallPiece[] | string {
    const hasNewer = this.#calls.some(({ index }) => index !== FUNCTION_CALL_INDEX)
    return typeof pieces === "string" || !hasNewer ? pieces : pieces.filter(({ index }) => index !== FUNCTION_CALL_INDEX)
  }

  /** Adds the calls that another collector has. */
  addAll(other: CallCollector): void {
    this.#calls.push(...other.#calls)
  }

  /** The ids of all calls. */
  get ids(): ReadonlySet<string> {
    return new Set(this.#calls.map(({ id }) => id))
  }

  /** Whether a call has arguments but does not name a function. Calls with neither are ignored: some servers send them. */
  get hasNameless(): boolean {
    return this.#calls.some((call) => isBlank(call.name) && !call.arguments.isBlank)
  }

  /**
   * The calls that name a function, with unique ids: a missing or repeated id is replaced by `call_<n>`.
   * @param toolNames own names by the names that were sent
   */
  parts(firstNumber: number, toolNames?: ReadonlyMap<string, string>): readonly ToolCallBlock[] {
    const named = this.#calls.filter((call) => !isBlank(call.name))
    const given = new Set(named.map((call) => call.id))
    const used = new Set<string>()
    let number = firstNumber
    return named.map(({ id, name, arguments: input, metadata }) => {
      let callId = id
      if (isBlank(id) || used.has(id)) {
        while (given.has(`call_${number}`)) number += 1
        callId = `call_${number}`
        number += 1
      }
      used.add(callId)
      const toolName = toolNames?.get(name) ?? name
      return { type: "tool_call", callId, toolName, inputJson: input.text(), ...(metadata !== undefined && { providerMetadata: metadata }) }
    })
  }

  #addPiece(piece: CallPiece, order: Order | undefined): CallSoFar {
    const { index } = piece
    const call = (order === undefined || piece.id !== "" ? this.#callOf(piece) : this.#callInOrder(piece, order)) ?? this.#start(index)
    if (piece.id !== "") this.#byId.set(piece.id, call)
    if (index !== undefined) this.#byIndex.set(index, call)
    const isRepeat = piece.name !== "" && call.arguments.repeats(piece.arguments)
    this.#append(call, isRepeat ? { ...piece, arguments: "" } : piece)
    return call
  }

  /** The call of a piece without id and index among several in a delta. Two pieces of one delta that name a function are two calls. */
  #callInOrder(piece: CallPiece, { before, calls }: Order): CallSoFar | undefined {
    if (before !== undefined && isMoreOf(before, piece, false, true)) return before
    const call = this.#callOf(piece)
    return call !== undefined && piece.name !== "" && calls.includes(call) ? undefined : call
  }

  #append(call: CallSoFar, piece: CallPiece): void {
    if (call.id === "") call.id = piece.id
    if (piece.name !== call.name) call.name += piece.name
    call.arguments.append(piece.arguments)
    call.metadata = addMetadata(call.metadata, piece.raw, KEPT_KEYS)
  }

  #callOf(piece: CallPiece): CallSoFar | undefined {
    const { id, index } = piece
    const known = id === "" ? undefined : this.#byId.get(id)
    if (index === undefined) {
      const call = known ?? this.#calls.at(-1)
      return call !== undefined && isMoreOf(call, piece, call === known, false) ? call : undefined
    }
    const here = this.#byIndex.get(index)
    if (here === undefined) {
      // LocalAI opens a call at one index and continues it at the next, with the same id and name.
      const isOpened = known?.arguments.isBlank === true && known.name === piece.name && !isBlank(piece.arguments)
      // A call needs a name: without one this is more of the call with the same id, or of the call whose first piece had no index.
      const lead = id === "" ? this.#calls.at(-1) : known
      if (piece.name === "" && lead?.arguments.isWhole === false && lead.index === undefined) return lead
      return isOpened || (piece.name === "" && known?.arguments.isOpen) ? known : undefined
    }
    // Calls that are all numbered 0 have ids of their own.
    const call = known?.index === index ? known : here
    return isMoreOf(call, piece, call === known, true) ? call : undefined
  }

  #start(index: number | undefined): CallSoFar {
    const call: CallSoFar = { id: "", index, name: "", arguments: new Arguments(), metadata: undefined }
    this.#calls.push(call)
    return call
  }
}

/** Whether a piece at a call's place belongs to it, or starts a new call there. `sameId`: its id is the call's. */
function isMoreOf(call: CallSoFar, piece: CallPiece, sameId: boolean, sameIndex: boolean): boolean {
  const otherId = !sameId && piece.id !== "" && call.id !== ""
  if (piece.name === "" || call.name === "") return !otherId || sameIndex
  // A name in pieces comes before the arguments; a different name after them belongs to another call.
  if (piece.name !== call.name) return !sameId && !otherId && sameIndex && call.arguments.isBlank
  if (call.arguments.isOpen) return sameId || sameIndex || !otherId
  if (otherId || !(sameId || sameIndex)) return false
  if (sameId && call.arguments.isPlaceholder) return true
  return !call.arguments.isWhole || isBlank(piece.arguments) || call.arguments.repeats(piece.arguments)
}

/** Returns the calls of a message or a delta, or what is malformed in them. */
function readPieces(message: Readonly<Record<string, unknown>>): readonly CallPiece[] | string {
  const list = message["tool_calls"] || []
  if (!Array.isArray(list)) return "its tool calls are not a list"
  const pieces: CallPiece[] = []
  for (const item of list as readonly unknown[]) {
    if (!isRecord(item)) return "a tool call is not a JSON object"
    const piece = readFunction(item, item["function"], indexOf(item["index"]))
    if (typeof piece === "string") return piece
    pieces.push(piece)
  }
  const older = message["function_call"] ?? undefined
  // A text is a choice such as `none`, repeated from the request.
  if (older === undefined || typeof older === "string" || pieces.length > 0) return pieces
  const piece = readFunction({}, older, FUNCTION_CALL_INDEX)
  return typeof piece === "string" ? piece : [piece]
}

function readFunction(raw: Readonly<Record<string, unknown>>, value: unknown, index: number | undefined): CallPiece | string {
  const called = value ?? {}
  if (!isRecord(called)) return "the function of a tool call is not a JSON object"
  // Ollama's own format and some proxies send the arguments as an object.
  const text = called["arguments"]
  if (text !== undefined && whyNotJson(text) !== undefined) return "the arguments of a tool call are not JSON"
  return { id: stringOf(raw["id"]), index, name: stringOf(called["name"]), arguments: textOf(text) ?? "", raw }
}
