import type {
  Goal,
  GoalCause,
  GoalEvent,
  GoalInput,
  GoalMemory,
  GoalMetricName,
  GoalOutput,
  GoalState,
  GoalStatus,
  GoalTurn,
} from "../../wire/goal.ts"
import { isCharged, withStatus } from "./goal.ts"
import { type FullGoalPolicy, fullPolicy, type GoalPolicy } from "./policy.ts"
import { budgetLimitMessage } from "./prompts.ts"
import { nextStatus } from "./transitions.ts"

/** The working state of one input. Its values are replaced, never mutated. */
export interface GoalStep {
  readonly threadId: string
  readonly policy: FullGoalPolicy
  /** The input's time, or the latest time seen if that is later. */
  readonly at: number
  /** The turn that the input names; while an open turn is ended by the start of another, the one that ends. */
  turnId: string | undefined
  readonly outputs: GoalOutput[]
  goal: Goal | null
  memory: GoalMemory
  turn: GoalTurn | null
  markedAt: number | null
  /** The answer to the input. It becomes the last output. */
  answer: GoalOutput | undefined
  /** What the history already holds. */
  recorded: Pick<GoalState, "goal" | "memory">
}

export function beginStep({ threadId, goal, memory, turn, clock }: GoalState, input: GoalInput, policy: GoalPolicy): GoalStep {
  const at = clock.seenAt === null ? input.at : Math.max(clock.seenAt, input.at)
  const turnId = "turnId" in input ? input.turnId : undefined
  const { markedAt } = clock
  return {
    threadId,
    policy: fullPolicy(policy),
    at,
    turnId,
    outputs: [],
    goal,
    memory,
    turn,
    markedAt,
    answer: undefined,
    recorded: { goal, memory },
  }
}

export function endStep(step: GoalStep): { readonly state: GoalState; readonly outputs: readonly GoalOutput[] } {
  const { threadId, at, goal, memory, turn, markedAt, outputs, answer, recorded } = step
  if (recorded.goal !== goal || recorded.memory !== memory) record(step, "noted")
  if (answer !== undefined) outputs.push(answer)
  return { state: { threadId, goal, memory, turn, clock: { seenAt: at, markedAt } }, outputs }
}

/** Options of {@link write}. */
export interface WriteOptions {
  /** Whether a message about a reached budget may be sent to the running turn. */
  readonly steer?: boolean
  /** The goal comes from another thread: it keeps its timestamps and counts in no metric. */
  readonly copied?: boolean
}

/** Writes the goal, emits the change, and stops charging if the goal has stopped. */
export function write(step: GoalStep, goal: Goal, cause: GoalCause, { steer = false, copied = false }: WriteOptions = {}): void {
  const from = step.goal !== null && step.goal.goalId === goal.goalId ? step.goal.status : "none"
  const written = copied ? goal : { ...goal, updatedAt: step.at }
  const limited = written.status === "budget_limited"
  const steers = steer && limited && !step.memory.limitTold
  step.goal = written
  if (steers) updateMemory(step, { limitTold: true })
  else if (!limited) updateMemory(step, { limitTold: false })
  // A complete goal has nothing left to check. If it is activated again, its checks run again.
  if (written.status === "complete") updateMemory(step, { checks: undefined })
  if (!isCharged(written.status)) stopCharging(step)
  else if (limited && step.turn === null) step.markedAt = null

  record(step, cause)
  step.outputs.push({ type: "goal_updated", goal: written, ...(step.turnId !== undefined && { turnId: step.turnId }), cause })
  if (!copied) step.outputs.push(...metricsOf(from, written))
  if (steers) step.outputs.push({ type: "steer", kind: "budget_limit", message: budgetLimitMessage(written, step.policy) })
}

/** Resets the brakes: user activity means that the goal does not run unattended. An activated goal starts all counts again. */
export function resetBrakes(step: GoalStep, before: Goal, goal: Goal): void {
  updateMemory(step, { idleContinuations: 0 })
  if (goal.status !== "active") return
  updateMemory(step, { interrupted: false })
  if (before.status === "active") return
  const { checks } = step.memory
  updateMemory(step, {
    repeatedAnswers: 0,
    brakedAfter: undefined,
    lastAnswer: undefined,
    transientErrors: 0,
    retryAt: undefined,
    blockedTurns: 0,
    continuationsBefore: goal.continuations,
    earlierContinuations: undefined,
    ...(checks !== undefined && { checks: { ...checks, alike: 0 } }),
  })
  if (step.turn !== null) step.turn = { ...step.turn, claimed: false }
}

/** Pauses an active goal for a reason that a brake gives; without a reason it changes nothing. */
export function brake(step: GoalStep, reason: string | undefined): void {
  const { goal } = step
  if (reason === undefined || goal?.status !== "active") return
  write(step, withStatus(goal, nextStatus(goal.status, "brake", false), reason), "brake")
}

/** Stops charging the turn and the time from now on. */
export function stopCharging(step: GoalStep): void {
  if (step.turn?.marked) {
    const { childCostMicros: _, ...turn } = step.turn
    step.turn = { ...turn, marked: false, childTokens: 0 }
  }
  step.markedAt = null
}

/** Emits the event that records the current goal and memory. */
export function record(step: GoalStep, cause: GoalEvent["cause"]): void {
  const { threadId, at, turnId, goal, memory } = step
  const event: GoalEvent = { type: "goal", at, threadId, ...(turnId !== undefined && { turnId }), cause, goal, memory }
  step.outputs.push({ type: "event", event })
  step.recorded = { goal, memory }
}

/** Changes the memory; `undefined` deletes a key. Without a difference the object stays the same, so no event is recorded. */
export function updateMemory(step: GoalStep, changes: { readonly [Key in keyof GoalMemory]?: GoalMemory[Key] | undefined }): void {
  const next: { -readonly [Key in keyof GoalMemory]?: GoalMemory[Key] } = { ...step.memory }
  let changed = false
  for (const key of Object.keys(changes) as (keyof GoalMemory)[]) {
    if (next[key] === changes[key]) continue
    changed = true
    if (changes[key] === undefined) delete next[key]
    else Object.assign(next, { [key]: changes[key] })
  }
  if (changed) step.memory = next as GoalMemory
}

/** The running turn, if the input names it. */
export function namedTurn(step: GoalStep): GoalTurn | null {
  return step.turn !== null && step.turn.turnId === step.turnId ? step.turn : null
}

type Metric = Extract<GoalOutput, { type: "metric" }>

/** The metrics of one write. `from` is the status before it, or `none` for a new goal. */
export function metricsOf(from: GoalStatus | "none", goal: Goal): readonly Metric[] {
  const metrics: Metric[] = []
  if (from === "none") metrics.push(metric("goal.created"))
  if (goal.status === from) return metrics
  if (goal.status === "active" && RESUMED_FROM.has(from)) metrics.push(GOAL_RESUMED)
  const counter = COUNTERS[goal.status]
  if (counter !== undefined) {
    const tags = { status: goal.status }
    metrics.push(metric(counter), metric("goal.token_count", goal.tokensUsed, tags), metric("goal.duration_s", goal.secondsUsed, tags))
  }
  return metrics
}

const RESUMED_FROM: ReadonlySet<string> = new Set<GoalStatus>(["paused", "blocked", "usage_limited"])

const COUNTERS: { readonly [Status in GoalStatus]?: GoalMetricName } = {
  blocked: "goal.blocked",
  usage_limited: "goal.usage_limited",
  budget_limited: "goal.budget_limited",
  complete: "goal.completed",
}

/** A goal continues: after a command, or because its thread was resumed. */
export const GOAL_RESUMED: Metric = metric("goal.resumed")

function metric(name: GoalMetricName, value = 1, tags: Metric["tags"] = {}): Metric {
  return { type: "metric", name, value, tags }
}
