import { nextTurn } from "../../drivers/goal/thread.ts"
import type { Outcome } from "../../wire/event.ts"
import type { GoalWait } from "../../wire/goal.ts"
import type { Host, Suspended } from "../host.ts"
import { missingRunner, runChecks } from "./checks.ts"
import { chargeLeftChildren } from "./left-children.ts"
import type { SuspendedTurn, ThreadLoopOptions, ThreadRest } from "./loop-options.ts"
import { beginTurn, reportRecords, runOpenTurn } from "./open-turn.ts"
import type { ThreadState } from "./thread-state.ts"
import { isAtLimit } from "./turn-inputs.ts"
import { childrenWait, DEFAULT_MAX_WAIT_MS, delay, goalWait, Waits, waitUntil } from "./waits.ts"

/** Runs turns until the thread rests. Of several runs, each begins when those before it have ended. */
export function runTurns(thread: ThreadState, host: Host, options: ThreadLoopOptions): Promise<ThreadRest> {
  return thread.runAlone(async () => {
    const rest = await runUntilRest(thread, host, options)
    await reportRecords(thread, host)
    return rest
  })
}

async function runUntilRest(thread: ThreadState, host: Host, options: ThreadLoopOptions): Promise<ThreadRest> {
  const { log } = thread
  const { signal, pause, attend, between, children } = options
  const waits = new Waits(thread, options)
  thread.onGoal = options.onGoal
  await thread.followChildren(children)
  await chargeLeftChildren(thread)
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
      const { turnId } = log.turn
      const ended = await runOpenTurn(thread, log.turn, host, options)
      if (ended.type === "suspended") {
        const { held, pending, children } = ended
        const suspended: SuspendedTurn = { type: "suspended", turnId, held, pending, ...(children !== undefined && { children }) }
        if (await mayContinue(thread, suspended, options)) continue
        return { ...rest(reasonOf(ended, pause)), ...suspended }
      }
      outcome = ended.outcome
      if (signal?.aborted === true) return rest("The run was stopped.")
      continue
    }
    if (signal?.aborted === true) return rest("The run was stopped.")
    if (isAborted(pause)) return rest("The run was paused.")
    if (!thread.hasGoals) {
      await between?.()
      if (isAborted(signal)) continue
      if (log.queue.isEmpty && thread.children?.isRunning === true && (await waits.hold(childrenWait(thread.now())))) continue
      if (log.queue.isEmpty) return rest("No input waits.")
      await beginTurn(thread)
      continue
    }
    await thread.reportReload()
    await thread.settleCommands()
    await thread.settleChildren()

    const due = nextTurn(thread.goalThread, thread.now())
    if (due.type === "run_checks") {
      // The turn that the user's message begins makes the checks due again. No judgement comes before them.
      if (!log.queue.isEmpty) {
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
    const next = nextTurn({ ...thread.goalThread, queuedInput: !log.queue.isEmpty }, now)
    switch (next.type) {
      case "run_checks":
        continue
      case "user_input":
        await beginTurn(thread)
        continue
      case "rest":
        if (next.wait !== undefined && (await waits.hold(goalWait(next.wait)))) continue
        if (thread.children?.isRunning === true && (await waits.hold(childrenWait(now)))) continue
        return rest(next.reason, next.notBefore, next.wait)
      case "continue": {
        const until = Math.max(next.notBefore ?? 0, notBefore)
        if (until <= now) await beginTurn(thread, next.reminder ?? next.message, say)
        else if (!(await waits.hold(delay(now, until)))) return rest("The goal waits before it continues.", until)
      }
    }
  }
}

/** Waits until a suspended turn may continue, or has to end. Returns false if the run should rest instead. */
async function mayContinue(thread: ThreadState, suspended: SuspendedTurn, options: ThreadLoopOptions): Promise<boolean> {
  const { signal, pause, suspend, maxWaitMs = DEFAULT_MAX_WAIT_MS, wait = waitUntil, onSuspended, attend } = options
  await onSuspended?.(suspended)
  if (isAborted(pause)) return false
  const until = thread.now() + maxWaitMs
  while (!thread.mayContinue && !isAborted(signal)) {
    if (suspend === true || isAborted(pause) || thread.now() >= until) return false
    await thread.waitUntil(
      () => thread.mayContinue,
      [signal, pause],
      (woken) => wait(until, woken),
    )
    await attend?.()
  }
  // The calls are cancelled, none of them has run, and the command takes effect with the end of the turn.
  if (!isAborted(signal) && (thread.stopsGoal || isRedirectedAtLimit(thread))) thread.interrupt(undefined)
  return true
}

/** Whether a turn that cannot continue was redirected: it ends, and the input begins the next one. */
function isRedirectedAtLimit(thread: ThreadState): boolean {
  const { running } = thread
  return running !== undefined && thread.isRedirected(running) && isAtLimit(thread, running, "before_completion")
}

function reasonOf({ held: own, pending, children = [] }: Suspended, pause: AbortSignal | undefined): string {
  if (isAborted(pause)) return "The run was paused."
  const held = [...own, ...children.flatMap((child) => child.held)]
  const [call] = held
  if (call === undefined) return `The turn waits for the result of ${pending.length === 1 ? "a call that continues" : "calls that continue"} outside.`
  return held.length === 1 ? `The turn waits for a decision about ${call.toolName}.` : `The turn waits for decisions about ${held.length} calls.`
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
