import { canonicalJson } from "../json.ts"
import type { DecidedCall } from "../wire/approval.ts"
import type { ToolCalls } from "../wire/effect.ts"
import type { PendingToolCall } from "../wire/tool.ts"
import { requireThat } from "./laws.ts"
import type { EffectTrace } from "./turn-trace.ts"

/** A batch, as far as its effects and answers show it. */
interface Batch {
  readonly held: ReadonlyMap<string, { readonly requestId: string; readonly args: string }>
  /** How often each call may still be handed out: once, and not after its result or while it continues outside. */
  readonly left: Map<string, number>
}

/**
 * Law 13: a held call is handed out only if a decision, or a driver that a decision led to, let it run; and then with the arguments that
 * were decided. No call is handed out twice, after its result, or while it continues outside.
 */
export function checkConsent({ machine, begin, steps }: EffectTrace): void {
  const granted = grantsOf({ machine, begin, steps })
  const batches = new Map<number, Batch>()
  if (begin.outstanding?.type === "tool_calls") {
    const batch = batchOf(begin.outstanding)
    // What was handed out before the trace began is not handed out again.
    if (begin.taken) for (const { callId } of begin.outstanding.calls) batch.left.set(callId, 0)
    batches.set(begin.outstanding.id, batch)
  }
  for (const { where, input, verdict, effect, before, after } of steps) {
    for (const { outstanding } of [before, after])
      if (outstanding?.type === "tool_calls" && !batches.has(outstanding.id)) batches.set(outstanding.id, batchOf(outstanding))
    if (input.type === "respond" && verdict === "accepted") {
      const { response } = input
      const left = batches.get(response.id)?.left
      if (response.type === "tool_results") for (const { callId } of response.results) answer(left, callId)
      if (response.type === "tool_pending") answer(left, response.callId)
    }
    if (effect?.type !== "tool_calls" && effect?.type !== "tool_calls_released") continue
    const batch = batches.get(effect.id)
    for (const call of effect.calls) {
      requireConsent(where, call, batch, granted)
      // A batch that was answered before it was polled is still returned, as it was.
      if (before.outstanding?.id !== effect.id) continue
      const left = batch?.left.get(call.callId) ?? 0
      requireThat("consent", where, left > 0, `the call ${JSON.stringify(call.callId)} of effect ${effect.id} was handed out again`)
      batch?.left.set(call.callId, left - 1)
    }
  }
}

function batchOf({ calls, held = [], pending = [] }: ToolCalls): Batch {
  const left = new Map<string, number>()
  for (const { callId } of [...calls, ...held]) left.set(callId, (left.get(callId) ?? 0) + 1)
  for (const { callId } of pending) left.set(callId, 0)
  return { held: new Map(held.map(({ callId, requestId, args }) => [callId, { requestId, args: canonicalJson(args) }])), left }
}

/** A call that is answered before it was handed out is not handed out any more. */
function answer(left: Batch["left"] | undefined, callId: string): void {
  const times = left?.get(callId) ?? 0
  if (times > 0) left?.set(callId, times - 1)
}

function requireConsent(where: string, { callId, args }: PendingToolCall, batch: Batch | undefined, granted: ReadonlyMap<string, string>): void {
  const held = batch?.held.get(callId)
  if (held === undefined) return
  const allowed = granted.get(held.requestId)
  requireThat("consent", where, allowed !== undefined, `the held call ${JSON.stringify(callId)} was let run without a decision`)
  const due = allowed === "" ? held.args : allowed
  requireThat(
    "consent",
    where,
    canonicalJson(args) === due,
    `the held call ${JSON.stringify(callId)} was let run with arguments that no decision has`,
  )
}

/** The requests that were approved, with "", and those that were edited, with their arguments as JSON text. */
function grantsOf({ machine, steps }: EffectTrace): ReadonlyMap<string, string> {
  const granted = new Map<string, string>()
  const add = ({ requestId, decision, args }: Pick<DecidedCall, "requestId" | "decision" | "args">): void => {
    if (decision === "approve") granted.set(requestId, "")
    if (decision === "edit") granted.set(requestId, canonicalJson(args ?? null))
  }
  for (const { input, verdict, effect } of steps) {
    if (input.type === "respond" && verdict === "accepted" && input.response.type === "tool_decisions") input.response.decisions.forEach(add)
    if (effect?.type === "emit" && effect.event.type === "approval_decided") add(effect.event)
  }
  // Calls that a decision about another one let run, in a trace that ends before the event that says so.
  const { state } = machine.turn.position
  if (state.type === "waiting_tools") for (const decided of state.decided) add(decided)
  return granted
}
