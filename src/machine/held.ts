/** Held calls: which of a batch wait for a person, what was decided, and what follows for the batch. */

import { DriverError } from "../errors.ts"
import { canonicalJson } from "../json.ts"
import { quoted } from "../text.ts"
import type { ReleaseCalls, SettleCalls } from "../wire/action.ts"
import type { ApprovalGrant, DecidedCall, Decision, HeldCall, HoldCall } from "../wire/approval.ts"
import type { SettledCall } from "../wire/checkpoint.ts"
import type { ToolCalls } from "../wire/effect.ts"
import type { TurnEvent } from "../wire/event.ts"
import type { CompletedToolCall, PendingToolCall } from "../wire/tool.ts"
import type { History } from "./history.ts"

/** The part of a waiting batch that is about held calls. */
export interface HeldState {
  readonly outstanding: ToolCalls
  /** The decisions, in the order in which they came. */
  readonly decided: History<DecidedCall>
}

/** A held call without what its host is asked. */
export function heldCall({ callId, toolName, args, replay }: HeldCall): PendingToolCall {
  return replay === undefined ? { callId, toolName, args } : { callId, toolName, args, replay }
}

/** The request of a held call, unique within the turn. */
export function requestIdOf(effectId: number, callId: string): string {
  return `${effectId}:${callId}`
}

/** The calls of a batch that are not settled: those that may run, and those that are held. */
export interface HeldBatch {
  readonly calls: readonly PendingToolCall[]
  readonly held: readonly HeldCall[]
}

/**
 * Takes the held calls out of a batch, by whose order places count. `settled`: the results that its driver gave; these calls are left out.
 * @throws {DriverError} `invalid_hold`
 */
export function holdCalls(id: number, all: readonly PendingToolCall[], settled: readonly SettledCall[], holds: readonly HoldCall[]): HeldBatch {
  const byCall = new Map<string, HoldCall>()
  for (const hold of holds) {
    if (byCall.has(hold.callId)) throw new DriverError("invalid_hold", `A batch holds the call ${quoted(hold.callId)} twice.`)
    byCall.set(hold.callId, hold)
  }
  const taken = new Set(settled.map(({ index }) => index))
  const calls: PendingToolCall[] = []
  const held: HeldCall[] = []
  const seen = new Set<string>()
  all.forEach((call, index) => {
    const { callId } = call
    const hold = byCall.get(callId)
    if (hold !== undefined && seen.has(callId))
      throw new DriverError("invalid_hold", `A batch holds the call ${quoted(callId)} and has another call with this id.`)
    seen.add(callId)
    if (taken.has(index)) return
    if (hold === undefined) calls.push(call)
    else held.push({ ...call, requestId: requestIdOf(id, callId), index, digest: hold.digest, ask: hold.ask })
  })
  const unknown = holds.find(({ callId }) => !seen.has(callId))
  if (unknown !== undefined) throw new DriverError("invalid_hold", `A batch holds the call ${quoted(unknown.callId)}, which it does not have.`)
  return { calls, held }
}

/** The held calls of a batch by their ids. */
interface HeldCalls {
  readonly byCall: ReadonlyMap<string, HeldCall>
  readonly byRequest: ReadonlyMap<string, HeldCall>
}

const NONE: HeldCalls = { byCall: new Map(), byRequest: new Map() }
const known = new WeakMap<ToolCalls, HeldCalls>()

function heldCalls(batch: ToolCalls): HeldCalls {
  if (batch.held === undefined) return NONE
  let calls = known.get(batch)
  if (calls === undefined) {
    calls = {
      byCall: new Map(batch.held.map((call) => [call.callId, call])),
      byRequest: new Map(batch.held.map((call) => [call.requestId, call])),
    }
    known.set(batch, calls)
  }
  return calls
}

/** The decisions by their request, as the first `read` of a storage left them. */
interface Index {
  readonly byRequest: Map<string, DecidedCall>
  read: number
}

const indexes = new WeakMap<readonly DecidedCall[], Index>()

/** Reads only the decisions that came since the last time. A turn that was resumed from an earlier point is read anew. */
function decisions({ decided: { storage, length } }: HeldState): ReadonlyMap<string, DecidedCall> {
  let index = indexes.get(storage)
  if (index === undefined || index.read > length) {
    index = { byRequest: new Map(), read: 0 }
    if (storage.length === length) indexes.set(storage, index)
  }
  for (; index.read < length; index.read += 1) {
    const call = storage[index.read] as DecidedCall
    index.byRequest.set(call.requestId, call)
  }
  return index.byRequest
}

/** Whether a call is one that is held, and the decision about it. */
export function decisionOf(state: HeldState, callId: string): { readonly isHeld: boolean; readonly decided: DecidedCall | undefined } {
  const held = heldCalls(state.outstanding).byCall.get(callId)
  return { isHeld: held !== undefined, decided: held && decisions(state).get(held.requestId) }
}

/** How many held calls have no decision. */
export function undecidedCount({ outstanding: { held }, decided }: HeldState): number {
  return held === undefined ? 0 : held.length - decided.length
}

/** The held calls that have no decision, in call order. */
export function undecidedCalls(state: HeldState): readonly HeldCall[] {
  const decided = decisions(state)
  return (state.outstanding.held ?? []).filter(({ requestId }) => !decided.has(requestId))
}

type WideDecision = Extract<Decision, { readonly scope?: unknown }> & { readonly scope: ApprovalGrant["scope"] }

/** Whether a decision may reach other calls than its own. */
export function isWide(decision: Decision): decision is WideDecision {
  return "scope" in decision && decision.scope !== undefined && decision.scope !== "call"
}

/** Whether a grant reaches a held call: it lets run what a person may approve, and may grant that far. It denies every call. */
export function isReached({ ask: { allow, scopes } }: HeldCall, { effect, scope }: Pick<ApprovalGrant, "effect" | "scope">): boolean {
  return effect === "deny" || (allow.includes("approve") && scopes.includes(scope))
}

/** Why a decision is refused. */
export interface RefusedDecision {
  readonly requestId: string
  readonly why: "unknown_request" | "digest_mismatch" | "decision_not_allowed" | "call_already_decided"
  readonly message: string
}

/** Which decisions are new. */
export interface PlacedDecisions {
  /** Each about a call that had none. An approval that came too late is `expired`. */
  readonly decisions: readonly Decision[]
  /** The first decision that does not fit. No decision counts then. */
  readonly refused?: RefusedDecision
}

/**
 * Finds the held calls that some decisions are about, by request and digest. One that repeats what was decided is left out. `at`: the
 * latest time that the turn knows.
 */
export function placeDecisions(state: HeldState, given: readonly Decision[], at: number | undefined): PlacedDecisions {
  const { byRequest } = heldCalls(state.outstanding)
  const earlier = decisions(state)
  const added = new Map<string, DecidedCall>()
  const placed: Decision[] = []
  for (const decision of given) {
    const call = byRequest.get(decision.requestId)
    if (call === undefined) return refusing(decision, unknownRequest(decision))
    const fault = faultOf(decision, call)
    if (fault !== undefined) return refusing(decision, fault)
    const counted = inTime(decision, call, at)
    const first = earlier.get(decision.requestId) ?? added.get(decision.requestId)
    if (first === undefined) {
      placed.push(counted)
      added.set(decision.requestId, decidedBy(counted))
    } else if (!isSame(first, decision) && !isSame(first, counted)) {
      // An approval that is repeated after its time is the one that came in time.
      const message = `The call ${quoted(call.callId)} is decided already: ${wordsOf(first)}.`
      return refusing(decision, { why: "call_already_decided", message })
    }
  }
  return { decisions: placed }
}

type Fault = Pick<RefusedDecision, "why" | "message">

function refusing({ requestId }: Decision, fault: Fault): PlacedDecisions {
  return { decisions: [], refused: { requestId, ...fault } }
}

function unknownRequest({ requestId }: Decision): Fault {
  return { why: "unknown_request", message: `The turn holds no call with the request ${quoted(requestId)}.` }
}

function faultOf(decision: Decision, { callId, digest, ask }: HeldCall): Fault | undefined {
  if (decision.digest !== digest)
    return {
      why: "digest_mismatch",
      message: `The decision about ${quoted(callId)} was made for another call: its digest is not that of the request.`,
    }
  const kind = decision.decision
  const isOfHost = kind === "expired" || kind === "cancelled"
  if (!isOfHost && !ask.allow.includes(kind))
    return { why: "decision_not_allowed", message: `The call ${quoted(callId)} allows ${ask.allow.join(", ")}, not ${kind}.` }
  // Only a host without validation hands in such a decision. The call would run as the model wrote it.
  if (decision.decision === "edit" && decision.args === undefined)
    return { why: "decision_not_allowed", message: `The edit of ${quoted(callId)} has no arguments.` }
  const scope = ("scope" in decision ? decision.scope : undefined) ?? "call"
  if (scope !== "call" && !ask.scopes.includes(scope))
    return { why: "decision_not_allowed", message: `A decision about ${quoted(callId)} may not reach the ${scope}.` }
  return undefined
}

function inTime(decision: Decision, { ask: { expiresAt } }: HeldCall, at: number | undefined): Decision {
  const runs = decision.decision === "approve" || decision.decision === "edit"
  if (!runs || expiresAt === undefined || at === undefined || at < expiresAt) return decision
  const { requestId, digest, by, note } = decision
  return { requestId, digest, decision: "expired", ...(by !== undefined && { by }), ...(note !== undefined && { note }) }
}

/** What a turn keeps of a decision. */
export function decidedBy(decision: Decision): DecidedCall {
  const { requestId, by } = decision
  const edited = decision.decision === "edit" ? { args: decision.args } : {}
  return { requestId, decision: decision.decision, ...edited, ...(by !== undefined && { by }) }
}

function isSame(first: DecidedCall, second: Decision): boolean {
  if (first.decision !== second.decision) return false
  return second.decision !== "edit" || canonicalJson(first.args ?? null) === canonicalJson(second.args)
}

function wordsOf({ decision, by }: DecidedCall): string {
  return by === undefined ? decision : `${decision} by ${quoted(by)}`
}

/** What some decisions lead to, and what to report of it. */
export interface ConcludedDecisions {
  /** All decisions of the batch. */
  readonly decided: History<DecidedCall>
  /** The calls that may run now, in the order in which they were released. */
  readonly released: readonly PendingToolCall[]
  /** The results of held calls that do not run. */
  readonly settled: readonly CompletedToolCall[]
  readonly events: readonly TurnEvent[]
}

/**
 * Applies what a driver made of some decisions. Each decided call is released or settled; others only if no decision names them, and
 * then count as approved or rejected. Nothing that was rejected is released, and nothing runs twice.
 * @throws {DriverError} `invalid_decision`
 */
export function concludeDecisions(
  before: HeldState,
  made: readonly Decision[],
  actions: readonly (ReleaseCalls | SettleCalls)[],
): ConcludedDecisions {
  const { byCall, byRequest } = heldCalls(before.outstanding)
  const decided = new Map(made.map((decision) => [decision.requestId, decidedBy(decision)]))
  const earlier = decisions(before)
  const done = new Set<string>()
  const released: PendingToolCall[] = []
  const settled: CompletedToolCall[] = []
  const events: TurnEvent[] = []

  const conclude = (call: HeldCall | undefined, name: string, otherwise: "approve" | "reject", by: string | undefined): DecidedCall => {
    if (call === undefined) throw new DriverError("invalid_decision", `A driver decided about ${quoted(name)}, which is not held.`)
    const { requestId, callId, toolName } = call
    if (earlier.has(requestId) || done.has(requestId))
      throw new DriverError("invalid_decision", `A driver decided about ${quoted(callId)}, which was decided before.`)
    done.add(requestId)
    const decision: DecidedCall = decided.get(requestId) ?? { requestId, decision: otherwise, ...(by !== undefined && { by }) }
    decided.set(requestId, decision)
    events.push({ type: "approval_decided", callId, name: toolName, ...decision })
    return decision
  }

  for (const action of actions) {
    if (action.type === "release_calls") {
      for (const requestId of action.requestIds) {
        const call = byRequest.get(requestId)
        const { decision, args } = conclude(call, requestId, "approve", action.by)
        if (decision !== "approve" && decision !== "edit")
          throw new DriverError("invalid_decision", `A driver released ${quoted(requestId)}, although the decision is ${decision}.`)
        const pending = heldCall(call as HeldCall)
        released.push(args === undefined ? pending : { ...pending, args })
      }
    } else {
      for (const result of action.results) {
        conclude(byCall.get(result.callId), result.callId, "reject", action.by)
        settled.push(result)
      }
    }
  }
  const open = made.find(({ requestId }) => !done.has(requestId))
  if (open !== undefined) throw new DriverError("invalid_decision", `A driver neither released nor settled ${quoted(open.requestId)}.`)

  return { decided: before.decided.append([...decided.values()]), released, settled, events }
}
