import type { TurnConfig } from "../../machine/config.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { ResumeOptions } from "../../replay/replay.ts"
import type { ExternalCall, HeldCall } from "../../wire/approval.ts"
import type { TurnStart } from "../../wire/config.ts"
import type { Outcome } from "../../wire/event.ts"
import type { GoalCheckResult, GoalOutput, GoalWait } from "../../wire/goal.ts"
import type { DetachedChildren, RunLoop, RunOptions, SuspendedChild, SuspendOptions } from "../host.ts"
import type { CheckRequest, CheckRunner } from "./check-runner.ts"
import type { ThreadTurn } from "./config.ts"

/** Options of the loop, with callbacks that know their thread. */
export interface ThreadLoopOptions extends Omit<RunOptions, "journal" | "turnId">, Pick<SuspendOptions, "pause"> {
  /**
   * True: a turn that waits for a decision, or for work that continues outside, makes the run rest at once, so that another process can decide.
   * Default: the run waits for `decide` and `answer` of this thread, at most `maxWaitMs`. Its journal is closed while it waits, so that another
   * process can decide, too; that does not end the wait, and the next run continues with it.
   */
  readonly suspend?: true | undefined
  /** Called when the open turn suspends, before the run waits or rests. Awaited. */
  readonly onSuspended?: (suspended: SuspendedTurn) => unknown
  /** Called at each checkpoint and between turns, before the next decision. Pass new user input to `say` and `command` here. */
  readonly attend?: () => Promise<void> | void
  /** Receives changes and metrics of the goal when they are stored, each at least once, and commands that were refused later. Awaited. */
  readonly onGoal?: (output: GoalOutput) => unknown
  /** Called when a turn begins or is resumed. Awaited. If it throws, the run rejects. */
  readonly onTurn?: (turn: ThreadTurn & { readonly resumed: boolean; readonly machine: TurnMachine }) => unknown
  /**
   * The children of this thread's turns whose calls do not wait for them. Those that a crash left open are resumed, and the run waits for them, at
   * most `maxWaitMs`, before it rests. Each end is recorded as an input of the thread: the running turn receives it at its next checkpoint, otherwise
   * it begins a turn. Their tokens count in the goal. A turn that is cancelled cancels its children. Default: none.
   */
  readonly children?: DetachedChildren | undefined
  /** The loop that runs a turn. Default `runTurn` of `turn-machine/hosts`; the one of `openTelemetry` runs turns in spans. */
  readonly runTurn?: RunLoop
  /**
   * Begins the machine of the open turn, or restores it, where an engine records the turn instead of a journal in the store: `runTurn` then gets no
   * journal. Default: the turn has a `TurnJournal`.
   */
  readonly openTurn?: OpenTurn
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

/** The open turn of a thread, which an engine records. */
export interface OpenedTurn extends ThreadTurn {
  readonly config: TurnConfig
  /** What the turn begins with: the history of the thread, and its own messages. */
  readonly start: TurnStart
  /** How many of the messages and events of `start` are the history of the thread. */
  readonly history: { readonly messages: number; readonly events: number }
}

/** Begins the machine of an open turn, or restores it. */
export type OpenTurn = (turn: OpenedTurn) => Promise<{ readonly machine: TurnMachine; readonly resumed: boolean }>

/** Advice of the host about the next continuation. */
export interface Guidance {
  /** The earliest time to start it. Milliseconds since the epoch. */
  readonly notBefore?: number
  /** Text for the model, added to the goal's own prompt. */
  readonly say?: string
}

/** An open turn with calls that wait for a decision, or whose work continues outside. After `pause`, both lists may be empty. */
export interface SuspendedTurn {
  readonly type: "suspended"
  readonly turnId: string
  readonly held: readonly HeldCall[]
  readonly pending: readonly ExternalCall[]
  /** The children of those calls that wait, and their children. Decide about their calls with `thread.decide`, and their `turnId`. Absent: none. */
  readonly children?: readonly SuspendedChild[]
}

/** Why a thread stopped running turns. With `type: "suspended"`, the open turn waits; the next run continues it. */
export type ThreadRest = RestFacts & ({ readonly type?: undefined } | SuspendedTurn)

/** What every {@link ThreadRest} has. */
export interface RestFacts {
  readonly reason: string
  /** When to run the thread again, if known. Milliseconds since the epoch. */
  readonly notBefore?: number
  /** What the goal waits for. */
  readonly wait?: GoalWait
  /** The outcome of the last turn of this run; absent if no turn ran. */
  readonly outcome?: Outcome
}

/** What happens to the checks of a goal. `checked`: the results, when they are stored. */
export type ThreadChecks =
  | ({ readonly type: "checking" } & CheckRequest)
  | { readonly type: "checked"; readonly turnId: string; readonly results: readonly GoalCheckResult[] }

/** A goal waits. Reported when the wait begins, and at least every 30 minutes while the run waits for its end. */
export interface ThreadWaiting {
  readonly type: "waiting"
  readonly wait: GoalWait
}
