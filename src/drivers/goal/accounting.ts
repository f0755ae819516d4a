import type { Goal, GoalTurn } from "../../schemas/goal.ts"
import type { TokenUsage } from "../../schemas/llm.ts"
import { add, budgetReached, budgetReason } from "./budgets.ts"
import { isCharged, withStatus } from "./goal.ts"
import type { FullGoalPolicy } from "./policy.ts"
import { remember, type Step, write } from "./step.ts"
import { nextStatus } from "./transitions.ts"

/**
 * Writes what was used since the last write: whole seconds, the rest carried over, and the marked turn's tokens, cost and
 * children's tokens. Where nothing was used, nothing is written. `steer`: the turn may be told if a budget is reached.
 */
export function flush(step: Step, options: { readonly steer?: boolean; readonly childTokens?: number } = {}): void {
  const { goal, turn, markedAt, at } = step
  if (goal === null || !isCharged(goal.status)) return
  const seconds = markedAt === null ? 0 : Math.floor((at - markedAt) / 1000)
  const marked = turn?.marked === true ? turn : null
  const tokens = marked === null ? 0 : tokensSince(marked)
  const costMicros = marked === null ? 0 : Math.max(0, marked.reportedCostMicros - marked.chargedCostMicros)
  const childTokens = (marked?.childTokens ?? 0) + (options.childTokens ?? 0)
  if (seconds === 0 && tokens === 0 && costMicros === 0 && childTokens === 0) return

  if (markedAt !== null) step.markedAt = markedAt + seconds * 1000
  if (marked !== null) {
    step.turn = { ...marked, ...settled(marked) }
    remember(step, { costMicros: marked.reportedCostMicros })
  }
  const spent: Goal = {
    ...goal,
    secondsUsed: add(goal.secondsUsed, seconds),
    tokensUsed: add(goal.tokensUsed, tokens),
    costUsedMicros: add(goal.costUsedMicros, costMicros),
    childTokensUsed: add(goal.childTokensUsed, childTokens),
  }
  write(step, limitedByBudget(goal, spent, step.policy), "usage", { steer: options.steer === true })
}

function limitedByBudget(before: Goal, spent: Goal, policy: FullGoalPolicy): Goal {
  const status = nextStatus(spent.status, "usage", budgetReached(spent, policy))
  return status === "refused" || status === before.status ? spent : withStatus(spent, status, budgetReason(spent, policy))
}

/** From here on the running turn and the time are charged to the goal; what was used before is not. Plan turns are free. */
export function startCharging(step: Step): void {
  const { turn } = step
  if (turn !== null) {
    if (turn.mode === "plan") return
    step.turn = { ...turn, marked: true, ofGoal: true, ...settled(turn) }
  }
  step.markedAt ??= step.at
}

/** Everything reported so far is charged, or never will be. */
function settled(turn: GoalTurn): Pick<GoalTurn, "charged" | "chargedCostMicros" | "childTokens"> {
  return { charged: turn.reported, chargedCostMicros: turn.reportedCostMicros, childTokens: 0 }
}

/** Prompt tokens that were not read from a cache, and every generated token. A figure that shrank counts as unchanged. */
function tokensSince({ charged, reported }: GoalTurn): number {
  return Math.max(0, reported.inputTokens - charged.inputTokens) + Math.max(0, reported.outputTokens - charged.outputTokens)
}

/** The tokens of one report, counted the same way. */
export function tokensOf(usage: TokenUsage): number {
  return usage.inputTokens + usage.outputTokens
}
