import type { Goal, GoalTurn } from "../../wire/goal.ts"
import { add, budgetReached, budgetReason, isBraked, isCharged, withStatus } from "./goal.ts"
import type { FullGoalPolicy } from "./policy.ts"
import { type GoalStep, updateMemory, write } from "./step.ts"
import { nextStatus } from "./transitions.ts"

/** What children used: tokens that count towards budgets, and cost. */
export interface ChildUsage {
  readonly tokens: number
  readonly costMicros: number
}

const NO_CHILD_USAGE: ChildUsage = { tokens: 0, costMicros: 0 }

/**
 * Writes the usage since the last write: whole seconds (the remainder carries over) and what the marked turn and its children used.
 * Without usage it writes nothing. `steer`: a message about a reached budget may be sent to the turn.
 */
export function flush(step: GoalStep, options: { readonly steer?: boolean; readonly children?: ChildUsage } = {}): void {
  const { goal, turn, markedAt, at } = step
  if (goal === null || !(isCharged(goal.status) || isBraked(goal, step.memory))) return
  const seconds = markedAt === null ? 0 : Math.floor((at - markedAt) / 1000)
  const marked = turn?.marked === true ? turn : null
  const tokens = marked === null ? 0 : tokensSince(marked)
  const { children = NO_CHILD_USAGE } = options
  const ownCost = marked === null ? 0 : Math.max(0, marked.reportedCostMicros - marked.chargedCostMicros)
  const costMicros = add(ownCost, add(marked?.childCostMicros ?? 0, children.costMicros))
  const childTokens = add(marked?.childTokens ?? 0, children.tokens)
  if (seconds === 0 && tokens === 0 && costMicros === 0 && childTokens === 0) return

  if (markedAt !== null) step.markedAt = markedAt + seconds * 1000
  if (marked !== null) {
    step.turn = settled(marked)
    updateMemory(step, { costMicros: marked.reportedCostMicros })
  }
  const spent: Goal = {
    ...goal,
    secondsUsed: add(goal.secondsUsed, seconds),
    tokensUsed: add(goal.tokensUsed, tokens),
    costUsedMicros: add(goal.costUsedMicros, costMicros),
    childTokensUsed: add(goal.childTokensUsed, childTokens),
    ...(tokens > 0 && marked?.reported.estimated === true && { usageEstimated: true }),
  }
  write(step, limitedByBudget(goal, spent, step.policy), "usage", { steer: options.steer === true })
}

/** Writes what a child of this goal used, whether or not the goal is charged for turns now. */
export function chargeChild(step: GoalStep, goal: Goal, { tokens, costMicros }: ChildUsage, isEstimated: boolean): void {
  const spent: Goal = {
    ...goal,
    childTokensUsed: add(goal.childTokensUsed, tokens),
    costUsedMicros: add(goal.costUsedMicros, costMicros),
    ...(isEstimated && tokens > 0 && { usageEstimated: true }),
  }
  write(step, isCharged(goal.status) ? limitedByBudget(goal, spent, step.policy) : spent, "usage", { steer: step.turn !== null })
}

/** Usage may reach a budget. After that, the reason follows the figures, so that it shows by how much the budget was crossed. */
function limitedByBudget(before: Goal, spent: Goal, policy: FullGoalPolicy): Goal {
  const status = nextStatus(spent.status, "usage", budgetReached(spent, policy))
  const showsFigures = before.reason === budgetReason(before, policy)
  return status === before.status && !showsFigures ? spent : withStatus(spent, status, budgetReason(spent, policy))
}

/** Charges the running turn and the time to the goal from now on; earlier usage is not charged. Plan turns are free. */
export function startCharging(step: GoalStep): void {
  const { turn } = step
  if (turn !== null) {
    if (turn.mode === "plan") return
    step.turn = settled({ ...turn, marked: true, ofGoal: true })
  }
  step.markedAt ??= step.at
}

/** Marks all usage reported so far as settled: it is charged already, or never will be. */
function settled({ childCostMicros: _, ...turn }: GoalTurn): GoalTurn {
  return { ...turn, charged: turn.reported, chargedCostMicros: turn.reportedCostMicros, childTokens: 0 }
}

/** Input tokens not read from a cache, plus all output tokens. A figure that shrank counts as unchanged. */
function tokensSince({ charged, reported }: GoalTurn): number {
  return Math.max(0, reported.inputTokens - charged.inputTokens) + Math.max(0, reported.outputTokens - charged.outputTokens)
}
