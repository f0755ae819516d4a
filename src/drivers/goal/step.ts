import type { Goal, GoalCause, GoalEvent, GoalInput, GoalMemory, GoalOutput, GoalState, GoalTurn } from "../../schemas/goal.ts"
import { isCharged } from "./goal.ts"
import { metricsOf } from "./metrics.ts"
import { type FullGoalPolicy, fullPolicy, type GoalPolicy } from "./policy.ts"
import { budgetLimitMessage } from "./prompts.ts"

/** One input at work on a state. The values in it are never changed, only replaced. */
export interface Step {
  readonly threadId: string
  readonly policy: FullGoalPolicy
  /** The input's time, or the latest seen where that is later. */
  readonly at: number
  /** The turn that the input names. */
  readonly turnId: string | undefined
  readonly outputs: GoalOutput[]
  goal: Goal | null
  memory: GoalMemory
  turn: GoalTurn | null
  markedAt: number | null
  /** The answer to the input; it comes out last. */
  answer: GoalOutput | undefined
  /** What the history has been told. */
  recorded: Pick<GoalState, "goal" | "memory">
}

export function beginStep({ threadId, goal, memory, turn, clock }: GoalState, input: GoalInput, policy: GoalPolicy): Step {
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

export function endStep(step: Step): { readonly state: GoalState; readonly outputs: readonly GoalOutput[] } {
  const { threadId, at, goal, memory, turn, markedAt, outputs, answer, recorded } = step
  if (recorded.goal !== goal || recorded.memory !== memory) record(step, "noted")
  if (answer !== undefined) outputs.push(answer)
  return { state: { threadId, goal, memory, turn, clock: { seenAt: at, markedAt } }, outputs }
}

/** What a write may bring besides the goal itself. */
export interface WriteOptions {
  /** Whether the running turn may be told that a budget is reached. */
  readonly steer?: boolean
  /** A goal of another thread: its times are its own, and it counts as nothing new. */
  readonly copied?: boolean
}

/** Writes the goal, tells of it, and stops charging where it has stopped. */
export function write(step: Step, goal: Goal, cause: GoalCause, { steer = false, copied = false }: WriteOptions = {}): void {
  const from = step.goal !== null && step.goal.goalId === goal.goalId ? step.goal.status : "none"
  const written = copied ? goal : { ...goal, updatedAt: step.at }
  const limited = written.status === "budget_limited"
  const tell = steer && limited && !step.memory.limitTold
  step.goal = written
  if (tell) remember(step, { limitTold: true })
  else if (!limited) remember(step, { limitTold: false })
  if (!isCharged(written.status)) stopCharging(step)
  else if (limited && step.turn === null) step.markedAt = null

  record(step, cause)
  step.outputs.push({ type: "goal_updated", goal: written, ...(step.turnId !== undefined && { turnId: step.turnId }), cause })
  if (!copied) step.outputs.push(...metricsOf(from, written))
  if (tell) step.outputs.push({ type: "steer", kind: "budget_limit", message: budgetLimitMessage(written, step.policy) })
}

/** From here on neither the turn nor the time is charged. */
export function stopCharging(step: Step): void {
  if (step.turn?.marked) step.turn = { ...step.turn, marked: false, childTokens: 0 }
  step.markedAt = null
}

/** Puts into the history what it does not know yet. */
export function record(step: Step, cause: GoalEvent["cause"]): void {
  const { threadId, at, turnId, goal, memory } = step
  const event: GoalEvent = { type: "goal", at, threadId, ...(turnId !== undefined && { turnId }), cause, goal, memory }
  step.outputs.push({ type: "event", event })
  step.recorded = { goal, memory }
}

/** Changes what is remembered; `undefined` forgets. Nothing new leaves it the same object, so that nothing is recorded. */
export function remember(step: Step, changes: { readonly [Key in keyof GoalMemory]?: GoalMemory[Key] | undefined }): void {
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

/** The running turn, if it is the one that the input names. */
export function namedTurn(step: Step): GoalTurn | null {
  return step.turn !== null && step.turn.turnId === step.turnId ? step.turn : null
}
