import { nextTurn } from "../../drivers/goal/thread.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { ResumeOptions } from "../../replay/replay.ts"
import type { Outcome } from "../../wire/event.ts"
import type { GoalOutput, GoalWait } from "../../wire/goal.ts"
import type { Host, RunOptions } from "../host.ts"
import type { runTurn } from "../run/run-turn.ts"
import type { CheckRunner } from "./check-runner.ts"
import { missingRunner, runChecks, type ThreadChecks } from "./checks.ts"
import type { ThreadTurn } from "./config.ts"
import { beginTurn, reportRecords, runOpenTurn } from "./open-turn.ts"
import type { ThreadState } from "./thread-state.ts"
import { delay, goalWait, type ThreadWaiting, Waits } from "./waits.ts"

/** Options of the loop, with callbacks that know their thread. */
export interface ThreadLoopOptions extends Omit<RunOptions, "journal" | "turnId"> {
  /** Called at each checkpoint and between turns, before the next decision. Pass new user input to `say` and `command` here. */
  readonly attend?: () => Promise<void> | void
  /** Receives changes and metrics of the goal when they are stored, each at least once, and commands that were refused later. Awaited. */
  readonly onGoal?: (output: GoalOutput) => unknown
  /** Called when a turn begins or is resumed. Awaited. If it throws, the run rejects. */
  readonly onTurn?: (turn: ThreadTurn & { readonly resumed: boolean; readonly machine: TurnMachine }) => unknown
  /** The loop that runs a turn. Default `runTurn` of `turn-machine/hosts`; the one of `openTelemetry` runs turns in spans. */
  readonly runTurn?: typeof runTurn
  /**
   * Waits until a time (milliseconds since the epoch) or until the signal is aborted, which happens when the run is stopped, and when a
   * message, a command or an event arrives. It may return earlier. Default: a timer.
   */
  readonly wait?: (until: number, signal: AbortSignal | undefined) => Promise<void>
  /** Runs the checks of a goal that are commands. Checks that are tools run with `host.tools`. Absent: a goal with such checks rests. */
  readonly checks?: CheckRunner
  /** Called before checks run, and with their results. Awaited. */
  readonly onChecks?: (checks: ThreadChecks) => unknown
  /** Called when the run begins to wait, and at least every 30 minutes while it waits. Awaited. */
  readonly onWaiting?: (waiting: ThreadWaiting) => unknown
  /**
   * Called between turns, when all commands are settled and the checks of the last turn have run, before the loop decides whether to
   * continue the goal. Judge the last turn here, and record the result with `note`.
   */
  readonly between?: () => Promise<Guidance | undefined> | Guidance | undefined
  /** How an open turn is resumed. Default: as in the options of the thread. */
  readonly resume?: ResumeOptions
  /**
   * The longest wait in milliseconds. If a continuation would take longer, or an event has not happened until then, the thread rests.
   * Default 600,000.
   */
  readonly maxWaitMs?: number
}

/** Advice of the host about the next continuation. */
export interface Guidance {
  /** The earliest time to start it. Milliseconds since the epoch. */
  readonly notBefore?: number
  /** Text for the model, added to the goal's own prompt. */
  readonly say?: string
}

/** Why a thread stopped running turns. */
export interface ThreadRest {
  readonly reason: string
  /** When to run the thread again, if known. Milliseconds since the epoch. */
  readonly notBefore?: number
  /** What the goal waits for. */
  readonly wait?: GoalWait
  /** The outcome of the last turn of this run; absent if no turn ran. */
  readonly outcome?: Outcome
}

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
