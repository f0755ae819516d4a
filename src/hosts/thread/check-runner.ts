import type { GoalCheck, GoalCheckResult } from "../../wire/goal.ts"

/** Checks that a host runs after a turn. */
export interface CheckRequest {
  /** The turn that has ended. */
  readonly turnId: string
  readonly checks: readonly GoalCheck[]
}

/**
 * Runs checks of a goal and returns a result for each, by name. A missing result counts as failed. If it throws, all of its checks have
 * failed with the error's message. When the signal is aborted, it ends what it has started; its results are ignored.
 */
export type CheckRunner = (request: CheckRequest, context: { readonly signal: AbortSignal }) => Promise<readonly GoalCheckResult[]>
