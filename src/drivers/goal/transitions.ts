/**
 * Rule: everything that decides a goal's next status is in this file.
 * A policy may skip a change (`onInterrupt: "keep"`); only this file decides the status that a change leads to.
 */
import type { GoalStatus } from "../../wire/goal.ts"

/** A status, or `none` without a goal. */
export type GoalStanding = GoalStatus | "none"

/** `in_budget`: `active`, or `budget_limited` if a budget is reached. `same`: unchanged. `refused`: the change is not allowed. */
export type GoalCell = GoalStatus | "in_budget" | "same" | "refused"

/** The columns of the table. */
export const GOAL_STANDINGS = ["none", "active", "paused", "blocked", "usage_limited", "budget_limited", "complete"] as const

type RowOf<Columns extends readonly string[]> = { readonly [Column in keyof Columns]: GoalCell }
type Row = RowOf<typeof GOAL_STANDINGS>

/** Every change in every status, in the columns of {@link GOAL_STANDINGS}. */
export const GOAL_TRANSITIONS = {
  // The model's tools. A complete goal can be replaced.
  create_goal: ["in_budget", "refused", "refused", "refused", "refused", "refused", "in_budget"],
  complete_goal: ["refused", "complete", "complete", "complete", "complete", "complete", "complete"],
  block_goal: ["refused", "blocked", "blocked", "blocked", "blocked", "same", "blocked"],
  // With checks, the model's word is a claim. The checks decide after the turn.
  claim_complete: ["refused", "same", "same", "same", "same", "same", "same"],

  // A client's commands; the first column is for commands with an objective. To lift budget_limited, raise the budget and set
  // the goal active. Pausing or blocking the goal, or raising the budget alone does not lift it.
  set_active: ["in_budget", "in_budget", "in_budget", "in_budget", "in_budget", "in_budget", "in_budget"],
  set_paused: ["paused", "paused", "paused", "paused", "paused", "same", "paused"],
  set_blocked: ["blocked", "blocked", "blocked", "blocked", "blocked", "same", "blocked"],
  set_usage_limited: ["usage_limited", "usage_limited", "usage_limited", "usage_limited", "usage_limited", "usage_limited", "usage_limited"],
  set_budget_limited: ["budget_limited", "budget_limited", "budget_limited", "budget_limited", "budget_limited", "budget_limited", "budget_limited"],
  set_complete: ["complete", "complete", "complete", "complete", "complete", "complete", "complete"],
  set_budget: ["refused", "in_budget", "same", "same", "same", "same", "same"],
  set_objective: ["refused", "same", "same", "same", "same", "same", "same"],
  pause: ["refused", "paused", "refused", "refused", "refused", "refused", "refused"],
  complete: ["refused", "complete", "complete", "complete", "complete", "complete", "same"],
  // The same command for a goal whose checks have not passed since its last turn. No checks run for a stopped goal.
  complete_with_checks: ["refused", "same", "refused", "refused", "refused", "same", "same"],
  wait: ["refused", "same", "refused", "refused", "refused", "refused", "refused"],

  // Events of turns and threads.
  usage: ["same", "in_budget", "same", "same", "same", "same", "same"],
  usage_limit: ["same", "usage_limited", "same", "same", "same", "usage_limited", "same"],
  error: ["same", "blocked", "same", "same", "same", "same", "same"],
  interrupt: ["same", "paused", "same", "same", "same", "same", "same"],
  // All checks passed after the turn in which the goal was claimed to be complete. A budget reached in that turn does not undo it.
  checks_passed: ["same", "complete", "complete", "complete", "complete", "complete", "same"],
  brake: ["same", "paused", "same", "same", "same", "same", "same"],
  reactivate: ["same", "same", "in_budget", "same", "same", "same", "same"],
} as const satisfies Record<string, Row>

/** A change of a goal's status: the rows of the table. */
export type GoalChange = keyof typeof GOAL_TRANSITIONS

/** The changes that no status of a goal refuses. */
export type AllowedGoalChange = {
  [Change in GoalChange]: (typeof GOAL_TRANSITIONS)[Change] extends readonly [GoalCell, ...Exclude<GoalCell, "refused">[]] ? Change : never
}[GoalChange]

/** Returns the status after a change, or `refused`. `budgetReached` refers to the budgets after the change. */
export function nextStatus(from: GoalStatus, change: AllowedGoalChange, budgetReached: boolean): GoalStatus
export function nextStatus(from: GoalStanding, change: GoalChange, budgetReached: boolean): GoalStatus | "refused"
export function nextStatus(from: GoalStanding, change: GoalChange, budgetReached: boolean): GoalStatus | "refused" {
  const cell: GoalCell | undefined = GOAL_TRANSITIONS[change][GOAL_STANDINGS.indexOf(from)]
  if (cell === "in_budget") return budgetReached ? "budget_limited" : "active"
  if (cell === "same" || cell === undefined) return from === "none" ? "refused" : from
  return cell
}
