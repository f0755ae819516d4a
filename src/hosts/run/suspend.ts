import type { TurnMachine } from "../../machine/turn-machine.ts"
import { quoted } from "../../text.ts"
import { RunError, type Suspended, type SuspendingRunOptions, type TurnLog } from "../host.ts"

/** Whether a run may stop before the end of its turn. */
export function maySuspend({ suspend, pause }: SuspendingRunOptions): boolean {
  return suspend === true || pause !== undefined
}

/** The end of a run that leaves its turn as it is. */
export function suspended({ outstanding, messages, usage }: TurnMachine): Suspended {
  const { held = [], pending = [] } = outstanding?.type === "tool_calls" ? outstanding : {}
  return Object.freeze({ type: "suspended", held, pending, messages, usage })
}

/** Adds the children that wait, where calls continue outside. */
export async function withChildren(end: Suspended, journal: TurnLog | undefined): Promise<Suspended> {
  const children = end.pending.length === 0 ? [] : ((await journal?.suspendedChildren?.()) ?? [])
  return children.length === 0 ? end : Object.freeze({ ...end, children })
}

/**
 * Refuses to wait for people, or for work that continues outside, in a run that may not suspend.
 * @throws {RunError} `held_without_decider`, `pending_without_suspend`. The turn is unchanged.
 */
export function refuseToWait(machine: TurnMachine, options: SuspendingRunOptions): void {
  if (maySuspend(options)) return
  const { held, pending } = suspended(machine)
  const [call] = held
  if (call !== undefined)
    throw new RunError(
      "held_without_decider",
      `The call ${quoted(call.callId)} of the tool ${quoted(call.toolName)} waits for a decision, and Host.decide made none. Run the turn with suspend: true; it continues when the call is decided.`,
    )
  const [outside] = pending
  throw new RunError(
    "pending_without_suspend",
    `The call ${quoted(outside?.callId ?? "")} continues outside, and this run may not suspend. Run the turn with suspend: true; it continues when the call has its result.`,
  )
}
