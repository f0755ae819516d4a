import { lostUsageRecord } from "../../drivers/goal/deliveries.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import { type Change, wrapMembers } from "../../wrap.ts"
import type { TurnLog } from "../host.ts"
import { redirectRun } from "../run/wake-run.ts"
import { unreportedUsage } from "./thread-host.ts"
import type { ThreadState } from "./thread-state.ts"
import { isAtLimit } from "./turn-inputs.ts"

/**
 * Redirects a turn that runs if an input redirects it, with all inputs that are assigned to it. Without a run that has begun, it does nothing: call
 * it again. An input that a checkpoint delivers first has been received, and redirects nothing.
 */
export async function redirectTurn(thread: ThreadState, machine: TurnMachine): Promise<void> {
  const isDue = (): boolean => !isAtLimit(thread, machine, "before_completion") && thread.isRedirected(machine)
  if (thread.isRedirecting || !isDue()) return
  thread.isRedirecting = true
  try {
    let calling: ThreadState["calling"]
    const isRedirected = await redirectRun(machine, () => {
      // What a checkpoint delivers now must not be delivered twice. The next time that the journal settles, it is known what is left.
      if (!isDue() || thread.isDelivering(machine)) return []
      calling = thread.calling
      return thread.unreceived(machine).map(({ message }) => message)
    })
    if (isRedirected && calling !== undefined) await chargeCutOff(thread, machine, calling)
  } finally {
    thread.isRedirecting = false
  }
}

/** Wraps the journal of a turn: when it has settled, the run has begun, and can be redirected before it suspends. */
export function redirectingJournal(thread: ThreadState, machine: TurnMachine, journal: TurnLog): TurnLog {
  const settled: Change<TurnLog["settled"]> = async (next, given) => {
    await next(given)
    // If it rejects, so does the run.
    redirectTurn(thread, machine).catch(() => {})
  }
  return wrapMembers(journal, { settled })
}

/** Charges an estimate for a model call that the redirection cut off, if the turn stored no usage of it. */
async function chargeCutOff(thread: ThreadState, machine: TurnMachine, calling: NonNullable<ThreadState["calling"]>): Promise<void> {
  const { journal, threadId, log, hasGoals } = thread
  const usage = unreportedUsage(thread, machine, calling)
  if (usage === undefined) return
  if (thread.calling === calling) thread.calling = undefined
  if (!hasGoals || journal === undefined || log.turn === undefined || machine.done) return
  const events = [lostUsageRecord(threadId, log.turn.turnId, usage)]
  await journal.command(machine, { type: "apply", actions: [{ type: "append_events", events }] })
}
