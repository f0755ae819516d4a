import { nextTurn } from "../../drivers/goal/thread.ts"
import type { Outcome } from "../../wire/event.ts"
import type { GoalWait } from "../../wire/goal.ts"
import type { Host } from "../host.ts"
import { missingRunner, runChecks } from "./checks.ts"
import type { ThreadLoopOptions, ThreadRest } from "./loop-options.ts"
import { beginTurn, reportRecords, runOpenTurn } from "./open-turn.ts"
import type { ThreadState } from "./thread-state.ts"
import { delay, goalWait, Waits } from "./waits.ts"

/** Runs turns until the thread rests. */
export async function runTurns(thread: ThreadState, host: Host, options: ThreadLoopOptions): Promise<ThreadRest> {
  const rest = await runUntilRest(thread, host, options)
  await reportRecords(thread, host)
  return rest
}

async function runUntilRest(thread: ThreadState, host: Host, options: ThreadLoopOptions): Promise<ThreadRest> {
  const { log } = thread
  const { signal, attend, between } = options
  const waits = new Waits(thread, options)
  thread.onGoal = options.onGoal
  let outcome: Outcome | undefined
  const rest = (reason: string, notBefore?: number, wait?: GoalWait): ThreadRest => ({
    reason,
    ...(notBefore !== undefined && { notBefore }),
    ...(wait !== undefined && { wait }),
    ...(outcome !== undefined && { outcome }),
  })
  for (;;) {
    await attend?.()
    if (log.turn !== undefined) {
      outcome = await runOpenTurn(thread, log.turn, host, options)
      if (signal?.aborted === true) return rest("The run was stopped.")
      continue
    }
    if (signal?.aborted === true) return rest("The run was stopped.")
    await thread.reportReload()
    await thread.settleCommands()

    const due = nextTurn(thread.goalThread, thread.now())
    if (due.type === "run_checks") {
      // The turn that the user's message begins makes the checks due again. No judgement comes before them.
      if (log.undelivered.length > 0) {
        await beginTurn(thread)
        continue
      }
      const lacking = missingRunner(due.checks, host, options)
      if (lacking !== undefined) return rest(lacking)
      const ended = await runChecks(thread, host, due, options)
      if (ended === "interrupted" && !isAborted(signal)) await interruptBetweenTurns(thread)
      continue
    }

    const { say, notBefore = 0 } = (await between?.()) ?? {}
    if (log.commands.length > 0 || isAborted(signal)) continue
    await thread.settleEvents()
    const now = thread.now()
    const next = nextTurn({ ...thread.goalThread, queuedInput: log.undelivered.length > 0 }, now)
    switch (next.type) {
      case "run_checks":
        continue
      case "user_input":
        await beginTurn(thread)
        continue
      case "rest":
        if (next.wait !== undefined && (await waits.hold(goalWait(next.wait)))) continue
        return rest(next.reason, next.notBefore, next.wait)
      case "continue": {
        const until = Math.max(next.notBefore ?? 0, notBefore)
        if (until <= now) await beginTurn(thread, next.reminder ?? next.message, say)
        else if (!(await waits.hold(delay(now, until)))) return rest("The goal waits before it continues.", until)
      }
    }
  }
}

/** Read again after an await: the signal may have been aborted since. */
function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true
}

/** Ends the work on the goal as an interrupted turn does: after the commands that came before it. */
async function interruptBetweenTurns(thread: ThreadState): Promise<void> {
  await thread.settleCommands()
  await thread.apply([{ type: "turn_interrupted", at: thread.now() }])
}
