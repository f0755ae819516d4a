/**
 * Rule: whatever decides which status a goal may take next is in this file.
 * A policy may leave a change out (`onInterrupt: "keep"`); where a change leads is said here alone.
 */
import type { GoalStatus } from "../../schemas/goal.ts"

/** A status, or that there is no goal. */
export type GoalStanding = GoalStatus | "none"

/** `in_budget`: active, or budget_limited where a budget is reached. `same`: as it was. `refused`: cannot be done. */
export type GoalCell = GoalStatus | "in_budget" | "same" | "refused"

/** The columns of the table. */
export const GOAL_STANDINGS = ["none", "active", "paused", "blocked", "usage_limited", "budget_limited", "complete"] as const

type RowOf<Columns extends readonly string[]> = { readonly [Column in keyof Columns]: GoalCell }
type Row = RowOf<typeof GOAL_STANDINGS>

/** Every change in every status, in the columns of {@link GOAL_STANDINGS}. */
export const GOAL_TRANSITIONS = {
  // The model's tools. An objective that is done makes room for the next.
  create_goal: ["in_budget", "refused", "refused", "refused", "refused", "refused", "in_budget"],
  complete_goal: ["refused", "complete", "complete", "complete", "complete", "complete", "complete"],
  block_goal: ["refused", "blocked", "blocked", "blocked", "blocked", "same", "blocked"],

  // A client's commands; in the first column, those that come with an objective. A reached budget is lifted by making the goal
  // active with room to go on, not by stopping it in another way, nor by more room alone.
  set_active: ["in_budget", "in_budget", "in_budget", "in_budget", "in_budget", "in_budget", "in_budget"],
  set_paused: ["paused", "paused", "paused", "paused", "paused", "same", "paused"],
  set_blocked: ["blocked", "blocked", "blocked", "blocked", "blocked", "same", "blocked"],
  set_usage_limited: ["usage_limited", "usage_limited", "usage_limited", "usage_limited", "usage_limited", "usage_limited", "usage_limited"],
  set_budget_limited: ["budget_limited", "budget_limited", "budget_limited", "budget_limited", "budget_limited", "budget_limited", "budget_limited"],
  set_complete: ["complete", "complete", "complete", "complete", "complete", "complete", "complete"],
  set_budget: ["refused", "in_budget", "same", "same", "same", "same", "same"],
  set_objective: ["refused", "same", "same", "same", "same", "same", "same"],
  pause: ["refused", "paused", "refused", "refused", "refused", "refused", "refused"],

  // What happens to turns and threads.
  usage: ["same", "in_budget", "same", "same", "same", "same", "same"],
  usage_limit: ["same", "usage_limited", "same", "same", "same", "usage_limited", "same"],
  error: ["same", "blocked", "same", "same", "same", "same", "same"],
  interrupt: ["same", "paused", "same", "same", "same", "same", "same"],
  brake: ["same", "paused", "same", "same", "same", "same", "same"],
  reactivate: ["same", "same", "in_budget", "same", "same", "same", "same"],
} as const satisfies Record<string, Row>

/** What may change a goal's status: the rows of the table. */
export type GoalChange = keyof typeof GOAL_TRANSITIONS

/** The status that a change leads to, or that it is refused. `budgetReached`: as the budgets are after the change. */
export function nextStatus(from: GoalStanding, change: GoalChange, budgetReached: boolean): GoalStatus | "refused" {
  const cell: GoalCell | undefined = GOAL_TRANSITIONS[change][GOAL_STANDINGS.indexOf(from)]
  if (cell === "in_budget") return budgetReached ? "budget_limited" : "active"
  if (cell === "same" || cell === undefined) return from === "none" ? "refused" : from
  return cell
}
