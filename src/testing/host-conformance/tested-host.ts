import type { Host, Suspended } from "../../hosts/host.ts"
import type { TurnConfig } from "../../machine/config.ts"
import type { Decision } from "../../wire/approval.ts"
import type { TurnStart } from "../../wire/config.ts"
import type { Done } from "../../wire/effect.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { CompletedToolCall } from "../../wire/tool.ts"

/** A turn that a host under test is asked to run. */
export interface TestedTurn {
  readonly turnId: string
  readonly config: TurnConfig
  readonly start: TurnStart
}

/** The options of a run. They mean what they mean in `RunOptions`; a host passes on those that it supports. */
export interface TestedRunOptions {
  readonly signal: AbortSignal
  readonly onEvent: (event: TurnEvent) => void
  /** Returns true for the errors by which the harness suspends a run. */
  readonly isFatal: (error: unknown) => boolean
  readonly now: () => number
  readonly cancelGraceMs: number
  readonly toolConcurrency: number
  /** The run resolves with a {@link TestedSuspension} when it waits for people or for work outside. Only given with the promise `held`. */
  readonly suspend?: true
  /** How often the host delivers each answer to its turn. Always 1 without the promise `deliveries`. */
  readonly deliveries: 1 | 2
}

/** The end of a turn, as a host reports it. A `Done` is one. */
export type TestedEnd = Pick<Done, "outcome" | "messages"> & Partial<Pick<Done, "iteration" | "usage">>

/** A run that was suspended. A `Suspended` is one. */
export type TestedSuspension = Pick<Suspended, "type" | "held" | "pending">

/** The result of one decision. A `DecisionResult` is one. */
export interface TestedDecision {
  /** `accepted`: it is stored. `stale`: the same one was stored before. `refused`: nothing was stored. */
  readonly status: "accepted" | "stale" | "refused"
}

/** One instance of a host. */
export interface HostInstance {
  /**
   * Runs a turn to its end: begins it, resumes it where an earlier instance stopped, or returns the end of a turn that has ended.
   * `executors` are the host's model, tools, code, deliveries, `progress` and `decide`. Rejects if another instance runs the turn, if the
   * code of the turn changed, and with fatal errors.
   */
  run(turn: TestedTurn, executors: Host, options: TestedRunOptions): Promise<TestedEnd | TestedSuspension>
  /** Hands in the results of calls that continued outside, in a process of its own. Absent: no check has such calls. */
  answer?(turn: TestedTurn, results: readonly CompletedToolCall[]): Promise<void>
  /**
   * Hands in decisions about held calls, in a process of its own, with a result for each. `now`: the clock, in milliseconds. Absent: people decide
   * only in a process that runs the turn.
   */
  decide?(turn: TestedTurn, decisions: readonly Decision[], now: () => number): Promise<readonly TestedDecision[]>
  /** Called when the process of this instance was killed. From here on it must not write to the storage. */
  kill?(): Promise<void> | void
}

/** A process of the harness. It may be killed at every place that it reaches. */
export interface TestedProcess {
  /**
   * Whether this process may take the locks of earlier ones: they were killed, or a test fences off one that still runs. False if all
   * earlier runs returned or rejected, and for a second instance that must be refused or wait.
   */
  readonly takeOver: boolean
  /** Aborted when the process is killed. */
  readonly killed: AbortSignal
  /**
   * Marks a place at which the process may be killed: await it before and after each write to the storage. It never returns in a process
   * that was killed.
   */
  reached(place: string, details?: PlaceDetails): Promise<void>
}

/** What a process says about a place. */
export interface PlaceDetails {
  /** How many characters the last write added to the storage: shows whether the cost of a turn grows with its length. */
  readonly chars?: number
  /** Called if the process is killed here: what it still does, such as half of a write. */
  readonly dying?: () => Promise<void>
}

/** A host under test: a storage, and a way to start instances over it. */
export interface TestedHost {
  /** Starts an instance in a new process. All instances share the storage, and nothing else. */
  start(process: TestedProcess): HostInstance | Promise<HostInstance>
  /** Removes the storage. */
  remove?(): Promise<void> | void
}

/** What a host promises. A check of a promise that a host does not make is left out. */
export interface HostPromises {
  /** Runs calls with `effects: "once"`, at most once each. Default true. */
  readonly once?: boolean
  /** One instance at a time runs a turn: another one is refused, waits, or fences off the first. Default true. */
  readonly exclusive?: boolean
  /** Ends a turn in order when `signal` is aborted. Default true. */
  readonly cancel?: boolean
  /** Rejects with errors for which `isFatal` returns true, and stores nothing of them. Default true. */
  readonly fatal?: boolean
  /** Stores the result of each call of a batch while other calls of the batch still run. Default true. */
  readonly calls?: boolean
  /** What it stores grows with the number of effects, and not with its square. Default true. */
  readonly linear?: boolean
  /** Passes `decide` and `suspend` on, and continues a suspended turn in another process. Default false. */
  readonly held?: boolean
  /** Answers may arrive twice: the host delivers each as often as `deliveries` says. Default false. */
  readonly deliveries?: boolean
}

/** Options of {@link hostConformance}. */
export interface HostConformanceOptions {
  /** What the host promises. Absent members have their defaults. */
  readonly promises?: HostPromises
  /** How long one run may take, in milliseconds, before it counts as one that never ends. Default 10,000. */
  readonly timeoutMs?: number
  /** How long a process must reach no new place before it counts as waiting, in milliseconds. Default 30. */
  readonly idleMs?: number
  /** The largest number of places at which each turn is disturbed, spread evenly: for hosts whose storage is slow. Default: all. */
  readonly mostPlaces?: number
}
