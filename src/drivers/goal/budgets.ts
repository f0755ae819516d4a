import type { Goal } from "../../schemas/goal.ts"
import type { FullGoalPolicy } from "./policy.ts"

/** The tokens that count towards the token budget. */
export function tokensCounted(goal: Goal, policy: FullGoalPolicy): number {
  return policy.countChildren ? add(goal.tokensUsed, goal.childTokensUsed) : goal.tokensUsed
}

/** What is left of the token budget, never below 0; null without one. */
export function remainingTokens(goal: Goal | null, policy: FullGoalPolicy): number | null {
  return goal === null || goal.tokenBudget === null ? null : Math.max(0, goal.tokenBudget - tokensCounted(goal, policy))
}

interface Budget {
  readonly name: "token" | "time" | "cost"
  readonly unit: string
  readonly used: number
  readonly budget: number
}

/** The budgets that are set. */
export function budgetsOf(goal: Goal, policy: FullGoalPolicy): readonly Budget[] {
  const all = [
    { name: "token", unit: "Tokens", used: tokensCounted(goal, policy), budget: goal.tokenBudget },
    { name: "time", unit: "Seconds", used: goal.secondsUsed, budget: goal.secondsBudget },
    { name: "cost", unit: "Cost in micro-units", used: goal.costUsedMicros, budget: goal.costBudgetMicros },
  ] as const
  return all.filter((entry): entry is (typeof all)[number] & { readonly budget: number } => entry.budget !== null)
}

/** Whether any budget is used up. Using exactly what was given is using it up. */
export function budgetReached(goal: Goal, policy: FullGoalPolicy): boolean {
  return budgetsOf(goal, policy).some(({ used, budget }) => used >= budget)
}

/** Why a goal is budget_limited, for people. */
export function budgetReason(goal: Goal, policy: FullGoalPolicy): string {
  const reached = budgetsOf(goal, policy).filter(({ used, budget }) => used >= budget)
  const parts = reached.map(({ name, unit, used, budget }) => `the ${name} budget is used up (${unit.toLowerCase()}: ${used} of ${budget})`)
  return `Stopped: ${parts.join(", and ")}. Raise the budget and resume to go on.`
}

/** A sum that stays a safe integer. */
export function add(used: number, more: number): number {
  return Math.min(Number.MAX_SAFE_INTEGER, used + more)
}
