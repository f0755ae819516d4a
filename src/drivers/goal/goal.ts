import type { Goal, GoalEvent, GoalMemory, GoalState, GoalStatus, GoalTurn } from "../../wire/goal.ts"
import type { TokenUsage } from "../../wire/llm.ts"
import type { FullGoalPolicy } from "./policy.ts"

/** Returns the state of a new thread, without a goal. */
export function newGoalState(threadId: string): GoalState {
  return { threadId, goal: null, memory: NEW_MEMORY, turn: null, clock: { seenAt: null, markedAt: null } }
}

/**
 * Rebuilds the state from the goal events of a history. It equals the live state except for the open turn, usage not yet
 * recorded, and the running clock, which events do not hold. Events of other threads (in a copied history) are ignored.
 */
export function foldGoal(threadId: string, events: readonly GoalEvent[]): GoalState {
  let state = newGoalState(threadId)
  for (const event of events) if (event.threadId === threadId) state = foldEvent(state, event)
  return state
}

/** Each event holds the complete goal and memory, so the last event of a shortened history is enough. */
function foldEvent(state: GoalState, { at, goal, memory }: GoalEvent): GoalState {
  return { ...state, goal, memory, clock: { seenAt: at, markedAt: null } }
}

/** The memory of a thread without a goal. */
export const NEW_MEMORY: GoalMemory = {
  goalsMade: 0,
  costMicros: 0,
  deferred: false,
  interrupted: false,
  limitTold: false,
  idleContinuations: 0,
  repeatedAnswers: 0,
  continuationsBefore: 0,
  transientErrors: 0,
  blockedTurns: 0,
}

/** Whether usage is charged in this status: while the goal is active, and until the end of the turn that reached a budget. */
export function isCharged(status: GoalStatus): boolean {
  return status === "active" || status === "budget_limited"
}

/** Whether a brake paused the goal after its last turn, which is still checked and judged. What a judge uses is charged. */
export function isBraked({ status }: Goal, { brakedAfter }: GoalMemory): boolean {
  return status === "paused" && brakedAfter !== undefined
}

/** Returns the goal with another status. `reason` says why it stopped; without one, an earlier reason is removed. */
export function withStatus(goal: Goal, status: GoalStatus, reason?: string): Goal {
  const { reason: _, ...rest } = goal
  return reason === undefined ? { ...rest, status } : { ...rest, status, reason }
}

/** The tokens that count towards the token budget. */
export function tokensCounted(goal: Goal, policy: FullGoalPolicy): number {
  return policy.countChildren ? add(goal.tokensUsed, goal.childTokensUsed) : goal.tokensUsed
}

/** Tokens left of the token budget, at least 0. Null without a token budget. */
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

/** Whether any budget is reached. Usage equal to the budget reaches it. */
export function budgetReached(goal: Goal, policy: FullGoalPolicy): boolean {
  return budgetsOf(goal, policy).some(({ used, budget }) => used >= budget)
}

/** Explains to people why a goal is `budget_limited`. */
export function budgetReason(goal: Goal, policy: FullGoalPolicy): string {
  const reached = budgetsOf(goal, policy).filter(({ used, budget }) => used >= budget)
  const parts = reached.map(({ name, unit, used, budget }) => {
    const over = used > budget ? `, ${used - budget} over` : ""
    return `the ${name} budget is used up (${unit.toLowerCase()}: ${used} of ${budget}${over})`
  })
  return `Stopped: ${parts.join(", and ")}. Raise the budget and resume to continue.`
}

/** Adds, capped at the largest safe integer. */
export function add(used: number, more: number): number {
  return Math.min(Number.MAX_SAFE_INTEGER, used + more)
}

/** Usage between two cumulative figures. Estimated if the later figure contains an estimate. */
export function since(before: TokenUsage, now: TokenUsage): TokenUsage {
  const { cacheWriteTokens } = now
  return {
    inputTokens: now.inputTokens - before.inputTokens,
    cachedInputTokens: now.cachedInputTokens - before.cachedInputTokens,
    ...(cacheWriteTokens !== undefined && { cacheWriteTokens: cacheWriteTokens - (before.cacheWriteTokens ?? 0) }),
    outputTokens: now.outputTokens - before.outputTokens,
    reasoningTokens: now.reasoningTokens - before.reasoningTokens,
    ...(now.estimated === true && { estimated: true }),
  }
}

/**
 * The cumulative cost of a turn at a cumulative usage, in micro-units; `undefined` without a turn or a price function.
 * @throws {TypeError} The price function returned NaN. Counting NaN as 0 would mean a budget that is never reached.
 */
export function costOf(turn: GoalTurn | null, usage: TokenUsage, price: ((usage: TokenUsage) => number) | undefined): number | undefined {
  if (turn === null || price === undefined) return undefined
  const cost = Math.round(price(since(turn.reported, usage)))
  if (Number.isNaN(cost)) throw new TypeError("costMicros returned NaN. It must return a number of micro-units.")
  return Math.min(Number.MAX_SAFE_INTEGER, turn.reportedCostMicros + Math.max(0, cost))
}
