import { DriverError } from "../errors.ts"
import { quoted } from "../text.ts"
import type { SettledCall } from "../wire/checkpoint.ts"
import type { ToolCalls } from "../wire/effect.ts"
import type { CompletedToolCall, PendingToolCall } from "../wire/tool.ts"
import { History } from "./history.ts"

/**
 * A turn that waits for the results of a batch of tool calls. Results are appended in the order in which they arrive, so that each
 * costs the same in a batch of ten and of ten thousand calls.
 */
export class WaitingTools {
  readonly type: "waiting_tools" = "waiting_tools"
  readonly outstanding: ToolCalls
  /** The results so far, each with the place of its call in `outstanding`. */
  readonly arrived: History<SettledCall>
  /** The calls that the driver answered itself, with their places in the whole batch. They are not in `outstanding`. */
  readonly settled: readonly SettledCall[] | undefined
  #results: readonly (CompletedToolCall | null)[] | undefined

  constructor(outstanding: ToolCalls, settled?: readonly SettledCall[], arrived: History<SettledCall> = History.of([])) {
    this.outstanding = outstanding
    this.settled = settled
    this.arrived = arrived
  }

  /** In call order; null where a call has no result yet. The list is built when it is first read. */
  get results(): readonly (CompletedToolCall | null)[] {
    this.#results ??= inPlace(this.outstanding.calls, this.arrived)
    return this.#results
  }

  with(arrived: readonly SettledCall[]): WaitingTools {
    return new WaitingTools(this.outstanding, this.settled, this.arrived.append(arrived))
  }
}

function inPlace(calls: readonly PendingToolCall[], arrived: Iterable<SettledCall>): (CompletedToolCall | null)[] {
  const results: (CompletedToolCall | null)[] = calls.map(() => null)
  for (const { index, result } of arrived) results[index] = result
  return results
}

/** The places of the calls with one id. Those before `next` have a result. */
interface Places {
  readonly all: number[]
  next: number
}

/** The calls of a batch by their id, as the first `read` arrivals of a storage left them. */
interface Index {
  readonly places: ReadonlyMap<string, Places>
  read: number
}

const indexes = new WeakMap<readonly SettledCall[], Index>()

/** Reads only the results that arrived since the last time. A turn that was resumed from an earlier point is read anew. */
function indexOf({ outstanding, arrived }: WaitingTools): Index["places"] {
  const { storage, length } = arrived
  let index = indexes.get(storage)
  if (index === undefined || index.read > length) {
    index = { places: placesOf(outstanding.calls), read: 0 }
    if (storage.length === length) indexes.set(storage, index)
  }
  for (; index.read < length; index.read += 1) {
    const { index: place, result } = storage[index.read] as SettledCall
    const places = index.places.get(result.callId) as Places
    // A saved batch may have been answered in another order.
    if (places.all[places.next] !== place) places.all.splice(places.next, 0, ...places.all.splice(places.all.indexOf(place), 1))
    places.next += 1
  }
  return index.places
}

function placesOf(calls: readonly PendingToolCall[]): ReadonlyMap<string, Places> {
  const places = new Map<string, Places>()
  calls.forEach(({ callId }, index) => {
    const known = places.get(callId)
    if (known === undefined) places.set(callId, { all: [index], next: 0 })
    else known.all.push(index)
  })
  return places
}

/** Where some results belong. */
export interface Placed {
  /** In call order. */
  readonly arrived: readonly SettledCall[]
  /** The first result that has no place, and whether its call has a result already. The others are not placed then. */
  readonly refused?: { readonly callId: string; readonly isKnown: boolean }
}

/** Finds the calls that some results belong to. A result belongs to the first call with its id that has none yet. */
export function placeResults(state: WaitingTools, results: readonly CompletedToolCall[]): Placed {
  const places = indexOf(state)
  const used = new Map<string, number>()
  const arrived: SettledCall[] = []
  for (const result of results) {
    const { callId } = result
    const known = places.get(callId)
    const ahead = used.get(callId) ?? 0
    const index = known?.all[known.next + ahead]
    if (index === undefined) return { arrived: [], refused: { callId, isKnown: known !== undefined } }
    used.set(callId, ahead + 1)
    arrived.push({ index, result })
  }
  return { arrived: arrived.sort((left, right) => left.index - right.index) }
}

/** All results of a batch in call order, if `arrived` are the last ones; otherwise `undefined`. */
export function completeBatch(state: WaitingTools, arrived: readonly SettledCall[]): readonly CompletedToolCall[] | undefined {
  const { outstanding, settled } = state
  if (state.arrived.length + arrived.length < outstanding.calls.length) return undefined
  const results = inPlace(outstanding.calls, state.arrived)
  for (const { index, result } of arrived) results[index] = result
  return joinBatch(results as readonly CompletedToolCall[], settled)
}

/** The batch as it is emitted again: only its calls without a result. The list is built when it is first read. */
export function openCalls(state: WaitingTools): ToolCalls {
  const { outstanding, arrived } = state
  if (arrived.length === 0) return outstanding
  let calls: readonly PendingToolCall[] | undefined
  return {
    type: outstanding.type,
    id: outstanding.id,
    get calls() {
      calls ??= outstanding.calls.filter((_, index) => state.results[index] === null)
      return calls
    },
  }
}

/** A batch of tool calls, divided into those that the host is asked for and those that the driver answered. */
export interface Batch {
  readonly open: readonly PendingToolCall[]
  /** In call order. */
  readonly settled: readonly SettledCall[]
}

/**
 * Divides a batch. A result belongs to the first call with its id that has none yet.
 * @throws {DriverError} `unknown_settled_call`
 */
export function divideBatch(calls: readonly PendingToolCall[], results: readonly CompletedToolCall[] | undefined): Batch {
  if (results === undefined || results.length === 0) return { open: calls, settled: [] }
  const given = resultsByCall(results)
  const open: PendingToolCall[] = []
  const settled: SettledCall[] = []
  calls.forEach((call, index) => {
    const result = given.get(call.callId)?.pop()
    if (result === undefined) open.push(call)
    else settled.push({ index, result })
  })
  const left = results.find(({ callId }) => given.get(callId)?.length)
  if (left === undefined) return { open, settled }
  throw new DriverError("unknown_settled_call", `A batch has a settled result for ${quoted(left.callId)}, which is none of its calls.`)
}

/** All results of a batch in call order. `results`: those of the calls that the driver did not answer. */
export function joinBatch(results: readonly CompletedToolCall[], settled: readonly SettledCall[] | undefined): readonly CompletedToolCall[] {
  if (settled === undefined) return results
  const joined: CompletedToolCall[] = []
  let next = 0
  for (const { index, result } of settled) {
    for (; joined.length < index; next += 1) joined.push(results[next] as CompletedToolCall)
    joined.push(result)
  }
  return joined.concat(results.slice(next))
}

/** The results of each call id, the first of them last in its list. */
export function resultsByCall(results: readonly CompletedToolCall[]): ReadonlyMap<string, CompletedToolCall[]> {
  const given = new Map<string, CompletedToolCall[]>()
  for (const result of results.slice().reverse()) {
    const others = given.get(result.callId)
    if (others === undefined) given.set(result.callId, [result])
    else others.push(result)
  }
  return given
}
