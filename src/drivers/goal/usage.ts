import type { GoalTurn } from "../../schemas/goal.ts"
import type { TokenUsage } from "../../schemas/llm.ts"

/** What was used between two cumulative figures. */
export function since(before: TokenUsage, now: TokenUsage): TokenUsage {
  return {
    inputTokens: now.inputTokens - before.inputTokens,
    cachedInputTokens: now.cachedInputTokens - before.cachedInputTokens,
    outputTokens: now.outputTokens - before.outputTokens,
    reasoningTokens: now.reasoningTokens - before.reasoningTokens,
  }
}

/**
 * The cumulative cost of a turn that has used so much by now; `undefined` where nobody knows a price.
 * @throws {TypeError} the price is no number: taken for nothing, it would be a budget that is never reached
 */
export function costOf(turn: GoalTurn | null, usage: TokenUsage, price: ((usage: TokenUsage) => number) | undefined): number | undefined {
  if (turn === null || price === undefined) return undefined
  const cost = Math.round(price(since(turn.reported, usage)))
  if (Number.isNaN(cost)) throw new TypeError("costMicros gave something that is no number.")
  return Math.min(Number.MAX_SAFE_INTEGER, turn.reportedCostMicros + Math.max(0, cost))
}
