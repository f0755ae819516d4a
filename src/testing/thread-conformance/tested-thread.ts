import type { Host } from "../../hosts/host.ts"
import type { TurnConfig } from "../../machine/config.ts"
import type { Decision, HeldCall } from "../../wire/approval.ts"
import type { Goal, GoalCommand, GoalOutput } from "../../wire/goal.ts"
import type { Message } from "../../wire/message.ts"
import type { InputTime } from "../../wire/thread.ts"
import type { TestedDecision, TestedProcess } from "../host-conformance/tested-host.ts"

/** The thread that a host under test is asked to open. It is the same in every process. */
export interface TestedThread {
  readonly threadId: string
  /** The configuration of its turns, without a driver for goals. Its driver may hold calls, and an approval of one may expire. */
  readonly config: TurnConfig
  /** Whether the thread has goals: the host adds the goal driver. Always false without the promise `goals`. */
  readonly goals: boolean
  /** The host's model and tools. They belong to the process, and so are given to each instance. */
  readonly executors: Host
  /** The clock, in milliseconds. */
  readonly now: () => number
  /** Waits until a time of that clock: for a host that waits before a goal continues. One that rests instead returns `notBefore`. */
  readonly sleep: (until: number) => Promise<void>
}

/** Why a thread rests. A `ThreadRest` is one. */
export interface TestedRest {
  /** When the goal may continue: the harness lets the clock reach it, and calls `run` again. Milliseconds since the epoch. Absent: no such time is known. */
  readonly notBefore?: number
}

/** What a host shows of a thread. */
export interface TestedStatus {
  /** The messages of the thread so far, in order. Those of an open turn may be left out. */
  readonly messages: readonly Message[]
  /** The ids of the inputs that wait, in the order in which they would be delivered. */
  readonly queue: readonly string[]
  /** The calls of the open turn that wait for a decision. */
  readonly held: readonly HeldCall[]
  /** The id of the open turn. Absent: no turn is open, or the host shows none. */
  readonly openTurn?: string | undefined
  /** The goal, or `null`. Absent: the host has no goals. */
  readonly goal?: Goal | null | undefined
}

/**
 * One process that serves a thread. Every promise of it resolves only when what it says is stored. Methods are also called while `run` runs, by
 * the executors: a person says something while the model answers.
 */
export interface ThreadInstance {
  /**
   * Runs turns until the thread rests: no input waits, and its goal does not continue now, or a call waits for a decision. A host that runs on its
   * own begins when it is started or given an input, and resolves when it rests.
   */
  run(): Promise<TestedRest>
  /** Accepts a user's text, and returns the id of its input. The same `key` again is the same input. Rejects a known key with another text. */
  say(text: string, options: TestedInput): Promise<string>
  /** What the thread shows now. */
  status(): Promise<TestedStatus>
  /** Stops what the turn does, and continues it with this text. Returns the id of its input. Needed for the promise `redirect`. */
  redirect?(text: string, options: Pick<TestedInput, "key">): Promise<string>
  /** Takes an input back. Needed for the promise `retract`. */
  retract?(inputId: string): Promise<"retracted" | "delivered" | "unknown">
  /** Ends the running turn, and returns the ids of the inputs that it will not receive. Needed for the promise `interrupt`. */
  interrupt?(): Promise<readonly string[]>
  /** Gives a command for the goal, and returns its outputs. The same `key` again is the same command. Needed for the promise `goals`. */
  command?(command: GoalCommand, options: Pick<TestedInput, "key">): Promise<readonly GoalOutput[]>
  /** Decides about held calls, with a result for each. `turnId`: the `openTurn` that had them. Needed for the promise `held`. */
  decide?(decisions: readonly Decision[], turnId: string | undefined): Promise<readonly TestedDecision[]>
  /** Ends the process in order: the next one opens the thread without `takeOver`. */
  close?(): Promise<void> | void
  /** Called when the process of this instance was killed. From here on it must not write to the storage. */
  kill?(): Promise<void> | void
}

/** How an input is said. */
export interface TestedInput {
  /** Identifies the input in the thread. */
  readonly key: string
  /** When a turn receives it. Always `now` without the promise `when`. */
  readonly when: InputTime
}

/** A host of threads under test: a storage, and a way to serve a thread in a new process. */
export interface TestedThreadHost {
  /** Starts a process that serves the thread. All of them share the storage, and nothing else. */
  start(process: TestedProcess, thread: TestedThread): ThreadInstance | Promise<ThreadInstance>
  /** Removes the storage. */
  remove?(): Promise<void> | void
}

/** What a host of threads promises. A check of a promise that a host does not make is left out. All are true by default. */
export interface ThreadPromises {
  /** An input is accepted while a turn runs, and reaches the turn at its next checkpoint. False: it begins a later turn. */
  readonly steer?: boolean
  /** Inputs may wait for the end of a turn, or for the next one. Needs `steer`. */
  readonly when?: boolean
  readonly retract?: boolean
  readonly interrupt?: boolean
  /** Needs `steer`. */
  readonly redirect?: boolean
  readonly goals?: boolean
  /** Calls wait for decisions, also over a restart. */
  readonly held?: boolean
  /** Runs calls with `effects: "once"`, at most once each. */
  readonly once?: boolean
  /** One process at a time runs a thread: another one is refused, waits, or fences off the first. */
  readonly exclusive?: boolean
  /** What it stores grows with the number of turns, and not with its square. */
  readonly linear?: boolean
}

/** Options of {@link threadConformance}. */
export interface ThreadConformanceOptions {
  /** What the host promises. Absent members are true. */
  readonly promises?: ThreadPromises
  /** How long a process may take to start, to run and to answer, in milliseconds, before it counts as one that never ends. Default 10,000. */
  readonly timeoutMs?: number
  /** How long a second process may run beside a first one that waits, in milliseconds, before the first one continues. Default 30. */
  readonly idleMs?: number
  /** The largest number of places at which each thread is disturbed, spread evenly: for hosts whose storage is slow. Default: all. */
  readonly mostPlaces?: number
}
