import type { TurnEvent } from "../../wire/event.ts"
import type { GoalOutput } from "../../wire/goal.ts"
import type { Host } from "../host.ts"
import type { CheckRunner } from "../thread/check-runner.ts"
import type { ThreadOptions, ThreadRest } from "../thread/thread.ts"
import type { InboxPlace } from "./thread-inbox.ts"
import type { RestateTurnOptions } from "./turn-options.ts"

/** How the turns of a thread in Restate run. */
export interface ThreadRunOptions
  extends Pick<ThreadOptions, "config" | "goals" | "policy" | "mode" | "goal" | "turnDeadlineMs" | "continueInTurn" | "lostUsage">,
    Pick<RestateTurnOptions, "retry" | "segment" | "maxResultBytes" | "toolConcurrency" | "cancelGraceMs" | "isFatal" | "now"> {
  /** The name of the virtual object. */
  readonly name: string
  /** The executors of all turns. `save` is not called. */
  readonly host: Host
  /** Runs the checks of a goal that are commands. Each run is a step of the journal. Absent: a goal with such checks rests. */
  readonly checks?: CheckRunner
  /**
   * How long an invocation waits for the time of a goal's next continuation, in milliseconds. For a longer wait, the invocation ends, and the thread
   * runs again at that time. Default 600,000.
   */
  readonly maxWaitMs?: number
  /** Receives changes and metrics of the goal, as a step of the journal: each at least once. */
  readonly onGoal?: (output: GoalOutput) => unknown
  /** Receives events of turns, as in `restateTurn`. */
  readonly onEvent?: (event: TurnEvent, thread: { readonly key: string; readonly turnId: string }) => unknown
}

/** What a run of the thread was asked for. */
export interface RunRequest {
  /** It runs for this item. If another run has recorded it and the thread rests, there is nothing to do. */
  readonly after?: InboxPlace
}

/** `continues`: the open turn continues in the next invocation. */
export type RunResult = { readonly type: "rested"; readonly rest: ThreadRest } | { readonly type: "continues" }

/** The id of the thread of an object. Its turns, and so their idempotency keys, differ from those of all other objects. */
export function threadIdOf(name: string, key: string): string {
  return `${name}/${key}`
}

/** The options of the thread itself, which are not those of its runs. */
export function approvalOptions(options: object): Pick<ThreadOptions, "approvals" | "approvalTtlMs"> {
  const { approvals } = options as { readonly approvals?: { readonly policy?: ThreadOptions["approvals"]; readonly ttlMs?: number } }
  const { policy, ttlMs } = approvals ?? {}
  return { ...(policy !== undefined && { approvals: policy }), ...(ttlMs !== undefined && { approvalTtlMs: ttlMs }) }
}

/** The members that are not `undefined`. */
export function definedOnly<Given extends object>(given: Given): { [Name in keyof Given]?: Exclude<Given[Name], undefined> } {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as never
}
