import type { Goal, GoalCause, GoalMemory, GoalStatus } from "../../schemas/goal.ts"
import { startCharging } from "./accounting.ts"
import { budgetReached, budgetReason } from "./budgets.ts"
import { continuationsOf } from "./continuation.ts"
import { NEW_MEMORY, withStatus } from "./goal.ts"
import { type Step, stopCharging, write } from "./step.ts"
import { nextStatus } from "./transitions.ts"

/** What a new goal is given. */
export interface NewGoal {
  readonly objective: string
  readonly status?: GoalStatus
  readonly tokenBudget?: number | null
  readonly secondsBudget?: number | null
  readonly costBudgetMicros?: number | null
}

/** Makes a goal under the next id, with nothing used. `charge`: what happens from here on is charged to it if it is active. */
export function createGoal(step: Step, given: NewGoal, cause: GoalCause, charge = true): void {
  const { at, policy, threadId } = step
  const requested = given.status ?? "active"
  const goalsMade = step.memory.goalsMade + 1
  const fresh: Goal = {
    goalId: policy.newGoalId(goalsMade),
    threadId,
    objective: given.objective,
    status: requested,
    tokenBudget: given.tokenBudget ?? null,
    secondsBudget: given.secondsBudget ?? null,
    costBudgetMicros: given.costBudgetMicros ?? null,
    tokensUsed: 0,
    childTokensUsed: 0,
    secondsUsed: 0,
    costUsedMicros: 0,
    continuations: 0,
    createdAt: at,
    updatedAt: at,
  }
  const status = nextStatus("none", `set_${requested}`, budgetReached(fresh, policy))
  const goal = status === requested || status === "refused" ? fresh : withStatus(fresh, status, budgetReason(fresh, policy))
  takeUp(step, { ...(cause === "create_goal" && unasked(step)), goalsMade, limitTold: requested === "budget_limited" })
  write(step, goal, cause)
  if (charge && goal.status === "active") startCharging(step)
}

/** What goes on where a continuation makes a goal, which nobody asked for: or a model with ever new goals would have no brakes. */
function unasked({ turn, goal, memory }: Step): Partial<GoalMemory> {
  if (turn?.origin !== "continuation") return {}
  const { repeatedAnswers, lastAnswer } = memory
  return { earlierContinuations: continuationsOf(goal, memory), repeatedAnswers, ...(lastAnswer !== undefined && { lastAnswer }) }
}

/** Leaves the old goal behind, if there is one, with everything that was remembered for it. */
export function takeUp(step: Step, changes: Partial<GoalMemory>): void {
  stopCharging(step)
  const { turn, memory } = step
  if (turn !== null) step.turn = { ...turn, ofGoal: false, claimed: false }
  step.memory = { ...NEW_MEMORY, goalsMade: memory.goalsMade, costMicros: turn?.reportedCostMicros ?? memory.costMicros, ...changes }
}
