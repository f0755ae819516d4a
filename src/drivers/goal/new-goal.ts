import type { Goal, GoalCause, GoalCheck, GoalContract, GoalMemory, GoalStatus } from "../../wire/goal.ts"
import { startCharging } from "./accounting.ts"
import { continuationsOf } from "./continuation.ts"
import { budgetReached, budgetReason, NEW_MEMORY, withStatus } from "./goal.ts"
import { type GoalStep, stopCharging, write } from "./step.ts"
import { nextStatus } from "./transitions.ts"

/** The fields of a new goal. */
export interface NewGoal {
  readonly objective: string
  readonly status?: GoalStatus
  readonly tokenBudget?: number | null
  readonly secondsBudget?: number | null
  readonly costBudgetMicros?: number | null
  readonly contract?: GoalContract
  readonly checks?: readonly GoalCheck[]
}

/** Creates a goal with the next id and no usage. `charge`: usage from now on is charged to it, if it is active. */
export function createGoal(step: GoalStep, given: NewGoal, cause: GoalCause, charge = true): void {
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
    ...(given.contract !== undefined && { contract: given.contract }),
    ...(given.checks !== undefined && { checks: given.checks }),
  }
  const status = nextStatus("none", `set_${requested}`, budgetReached(fresh, policy))
  const goal = status === requested || status === "refused" ? fresh : withStatus(fresh, status, budgetReason(fresh, policy))
  resetForNewGoal(step, { ...(cause === "create_goal" && inheritedBrakes(step)), goalsMade, limitTold: requested === "budget_limited" })
  write(step, goal, cause)
  if (charge && goal.status === "active") startCharging(step)
}

/** Brake counters that a goal created by a continuation inherits. Otherwise a model could escape the brakes by creating new goals. */
function inheritedBrakes({ turn, goal, memory }: GoalStep): Partial<GoalMemory> {
  if (turn?.origin !== "continuation") return {}
  const { repeatedAnswers, lastAnswer } = memory
  return { earlierContinuations: continuationsOf(goal, memory), repeatedAnswers, ...(lastAnswer !== undefined && { lastAnswer }) }
}

/** Drops the old goal, if any, with the memory that belongs to it. */
export function resetForNewGoal(step: GoalStep, changes: Partial<GoalMemory>): void {
  stopCharging(step)
  const { turn, memory } = step
  const { children } = memory
  if (turn !== null) step.turn = { ...turn, ofGoal: false, claimed: false }
  step.memory = {
    ...NEW_MEMORY,
    goalsMade: memory.goalsMade,
    costMicros: turn?.reportedCostMicros ?? memory.costMicros,
    ...(children !== undefined && { children }),
    ...changes,
  }
}
