import { DriverError } from "../errors.ts"
import { quoted } from "../text.ts"
import type { DecidedCall, ExternalCall } from "../wire/approval.ts"
import type { SettledCall } from "../wire/checkpoint.ts"
import type { ToolCalls } from "../wire/effect.ts"
import type { CompletedToolCall, PendingToolCall } from "../wire/tool.ts"
import { decisionOf, heldCall, undecidedCalls, undecidedCount } from "./held.ts"
import { History } from "./history.ts"

/** What a batch has beyond its effect. */
export interface BatchParts {
  /** The calls that the driver answered itself, with their places in the whole batch. They are not in `outstanding`. */
  readonly settled?: readonly SettledCall[] | undefined
  /** The results so far, in the order in which they came, each with the place of its call among `calls`. */
  readonly arrived?: History<SettledCall>
  /** The decisions about held calls, in the order in which they came. */
  readonly decided?: History<DecidedCall>
  /** The calls that continue outside and have no result yet. */
  readonly pending?: readonly ExternalCall[]
}

/**
 * A turn that waits for a batch of tool calls: for the results of some, and for people's decisions about others. Results and decisions are
 * appended in the order in which they arrive, so that each costs the same in a batch of ten and of ten thousand calls.
 */
export class WaitingTools implements Required<BatchParts> {
  readonly type: "waiting_tools" = "waiting_tools"
  /** The batch as it was first emitted. */
  readonly outstanding: ToolCalls
  readonly settled: readonly SettledCall[] | undefined
  readonly arrived: History<SettledCall>
  readonly decided: History<DecidedCall>
  readonly pending: readonly ExternalCall[]
  #results: readonly (CompletedToolCall | null)[] | undefined

  constructor(outstanding: ToolCalls, parts: BatchParts = {}) {
    const { settled, arrived = History.of([]), decided = History.of([]), pending = [] } = parts
    this.outstanding = outstanding
    this.settled = settled
    this.arrived = arrived
    this.decided = decided
    this.pending = pending
  }

  /** The calls that the driver did not answer, in call order, as the model wrote them. */
  get calls(): readonly PendingToolCall[] {
    return callsOf(this.outstanding, this.settled)
  }

  /** In call order; null where a call has no result yet. The list is built when it is first read. */
  get results(): readonly (CompletedToolCall | null)[] {
    this.#results ??= inPlace(this.calls, this.arrived)
    return this.#results
  }

  /** Whether nothing is left to run: every call without a result waits for a decision, or continues outside. */
  get isHeld(): boolean {
    const open = this.calls.length - this.arrived.length
    return open > 0 && open === undecidedCount(this) + this.pending.length
  }

  with(parts: BatchParts): WaitingTools {
    const { settled, arrived, decided, pending } = this
    return new WaitingTools(this.outstanding, { settled, arrived, decided, pending, ...parts })
  }

  withResults(arrived: readonly SettledCall[]): WaitingTools {
    const answered = new Set(this.pending.length === 0 ? [] : arrived.map(({ result }) => result.callId))
    const pending = answered.size === 0 ? this.pending : this.pending.filter(({ callId }) => !answered.has(callId))
    return this.with({ arrived: this.arrived.append(arrived), pending })
  }
}

const merged = new WeakMap<ToolCalls, readonly PendingToolCall[]>()

/** The calls of a batch that may run and those that are held, in call order. */
export function callsOf(batch: ToolCalls, settled: readonly SettledCall[] | undefined): readonly PendingToolCall[] {
  const { calls, held } = batch
  if (held === undefined) return calls
  const known = merged.get(batch)
  if (known !== undefined) return known
  const taken = new Map<number, PendingToolCall | undefined>(held.map((call) => [call.index, heldCall(call)]))
  for (const { index } of settled ?? []) taken.set(index, undefined)
  const all: PendingToolCall[] = []
  let next = 0
  for (let index = 0; index < calls.length + taken.size; index += 1) {
    const call = taken.has(index) ? taken.get(index) : calls[next++]
    if (call !== undefined) all.push(call)
  }
  merged.set(batch, all)
  return all
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
function indexOf({ calls, arrived }: WaitingTools): Index["places"] {
  const { storage, length } = arrived
  let index = indexes.get(storage)
  if (index === undefined || index.read > length) {
    index = { places: placesOf(calls), read: 0 }
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

/** Why a result or a report about a call is refused. */
export interface RefusedCall {
  readonly callId: string
  readonly why: "unknown_call" | "call_already_answered" | "call_is_held" | "call_is_pending" | "call_not_unique"
}

/** Where some results belong. */
export interface Placed {
  /** In call order. */
  readonly arrived: readonly SettledCall[]
  /** The first result that has no place. The others are not placed then. */
  readonly refused?: RefusedCall
}

/**
 * Finds the calls that some results belong to. A result belongs to the first call with its id that has none yet. The result of a call
 * whose arguments a person changed says so, whatever its host returned.
 */
export function placeResults(state: WaitingTools, results: readonly CompletedToolCall[]): Placed {
  const places = indexOf(state)
  const used = new Map<string, number>()
  const arrived: SettledCall[] = []
  for (const given of results) {
    const { callId } = given
    const known = places.get(callId)
    const ahead = used.get(callId) ?? 0
    const index = known?.all[known.next + ahead]
    if (index === undefined) return { arrived: [], refused: { callId, why: known === undefined ? "unknown_call" : "call_already_answered" } }
    const { isHeld, decided } = decisionOf(state, callId)
    if (isHeld && decided === undefined) return { arrived: [], refused: { callId, why: "call_is_held" } }
    used.set(callId, ahead + 1)
    arrived.push({ index, result: withArguments(given, decided) })
  }
  // Sorted only when needed: results mostly arrive in order.
  if (arrived.some(({ index }, place) => index < (arrived[place - 1]?.index ?? 0))) arrived.sort((left, right) => left.index - right.index)
  return { arrived }
}

/** Finds the held calls that some results of a driver belong to. These calls do not run, so their results have no mark of edited ones that did. */
export function placeSettled(state: WaitingTools, results: readonly CompletedToolCall[]): readonly SettledCall[] {
  if (results.length === 0) return []
  const places = indexOf(state)
  return results.map((given) => ({ index: places.get(given.callId)?.all[0] as number, result: withArguments(given, undefined) }))
}

/** Those of some results that a batch may still take when it is left: not those of held calls, which must not have run. */
export function lateResults(state: WaitingTools, results: readonly CompletedToolCall[]): readonly CompletedToolCall[] {
  return results.flatMap((given) => {
    const { isHeld, decided } = decisionOf(state, given.callId)
    return isHeld && decided === undefined ? [] : [withArguments(given, decided)]
  })
}

function withArguments(given: CompletedToolCall, decided: DecidedCall | undefined): CompletedToolCall {
  if (decided?.args !== undefined) return { ...given, args: decided.args, edited: true }
  if (given.edited === undefined) return given
  const { edited: _edited, ...result } = given
  return result
}

/** The call that continues outside, or why it does not. */
export function pendingCall(
  state: WaitingTools,
  { callId, token, note }: { readonly callId: string; readonly token: string; readonly note?: string },
): ExternalCall | RefusedCall | "known" {
  const places = indexOf(state).get(callId)
  if (places === undefined) return { callId, why: "unknown_call" }
  if (places.all.length > 1) return { callId, why: "call_not_unique" }
  if (places.next > 0) return { callId, why: "call_already_answered" }
  const { isHeld, decided } = decisionOf(state, callId)
  if (isHeld && decided === undefined) return { callId, why: "call_is_held" }
  const known = state.pending.find((call) => call.callId === callId)
  if (known !== undefined) return known.token === token ? "known" : { callId, why: "call_is_pending" }
  const call = toRun(state, state.calls[places.all[0] as number] as PendingToolCall)
  return { ...call, token, ...(note !== undefined && { note }) }
}

/** Those released calls that are still to be run. */
export function stillToRun(state: WaitingTools, calls: readonly PendingToolCall[]): readonly PendingToolCall[] {
  const places = indexOf(state)
  const outside = new Set(state.pending.map(({ callId }) => callId))
  return calls.filter(({ callId }) => places.get(callId)?.next === 0 && !outside.has(callId))
}

/** The call with the arguments that it runs with. */
export function toRun(state: WaitingTools, call: PendingToolCall): PendingToolCall {
  const { decided } = decisionOf(state, call.callId)
  return decided?.args === undefined ? call : { ...call, args: decided.args }
}

/** All results of a batch in call order, if `arrived` are the last ones; otherwise `undefined`. */
export function completeBatch(state: WaitingTools, arrived: readonly SettledCall[]): readonly CompletedToolCall[] | undefined {
  const { calls, settled } = state
  if (state.arrived.length + arrived.length < calls.length) return undefined
  const results = inPlace(calls, state.arrived)
  for (const { index, result } of arrived) results[index] = result
  return joinBatch(results as readonly CompletedToolCall[], settled)
}

/**
 * The batch as it is emitted again: the calls without a result that may run, those that wait for a decision, and those that continue outside.
 * The lists are built when they are first read.
 */
export function openCalls(state: WaitingTools): ToolCalls {
  const { outstanding, arrived, decided, pending } = state
  if (arrived.length === 0 && decided.length === 0 && pending.length === 0) return outstanding
  let calls: readonly PendingToolCall[] | undefined
  let held: ToolCalls["held"]
  const open: ToolCalls = {
    type: outstanding.type,
    id: outstanding.id,
    get calls() {
      calls ??= runnable(state)
      return calls
    },
    ...(pending.length > 0 && { pending }),
  }
  if (undecidedCount(state) === 0) return open
  // Not by a spread, which would read the list.
  return Object.defineProperty(open, "held", {
    enumerable: true,
    get: () => {
      held ??= undecidedCalls(state)
      return held
    },
  })
}

function runnable(state: WaitingTools): readonly PendingToolCall[] {
  const outside = new Set(state.pending.map(({ callId }) => callId))
  return state.calls.flatMap((call, index) => {
    if (state.results[index] !== null || outside.has(call.callId)) return []
    const { isHeld, decided } = decisionOf(state, call.callId)
    return isHeld && decided === undefined ? [] : [toRun(state, call)]
  })
}

/** The results of a batch that is left before its end, in call order. `resultOf` makes those that are missing. */
export function leftBatch(state: WaitingTools, resultOf: (call: PendingToolCall) => CompletedToolCall): readonly CompletedToolCall[] {
  const results = state.calls.map((call, index) => {
    const { decided } = decisionOf(state, call.callId)
    return state.results[index] ?? withArguments(resultOf(toRun(state, call)), decided)
  })
  return joinBatch(results, state.settled)
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
