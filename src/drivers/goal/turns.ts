import { tokensOf } from "../../machine/limits.ts"
import { cutMiddle } from "../../text.ts"
import type { Goal, GoalInput, GoalTurn } from "../../wire/goal.ts"
import { chargeChild, flush, startCharging } from "./accounting.ts"
import { dropClaim, outdateChecks, requireChecks } from "./checks.ts"
import { capReached, countContinuation } from "./continuation.ts"
import { add, budgetReached, budgetReason, isCharged, withStatus } from "./goal.ts"
import { resetForNewGoal } from "./new-goal.ts"
import { isDurable } from "./policy.ts"
import { shownAs } from "./prompts.ts"
import { brake, GOAL_RESUMED, type GoalStep, namedTurn, resetBrakes, updateMemory, write } from "./step.ts"
import { nextStatus } from "./transitions.ts"
import { endWait } from "./waits.ts"

type InputOf<Type extends GoalInput["type"]> = Extract<GoalInput, { type: Type }>

/** Starts a turn. A turn that is still open ends first. */
export function turnStarted(step: GoalStep, { turnId, mode, usage, origin }: InputOf<"turn_started">): void {
  if (step.turn !== null) endReplacedTurn(step, step.turn)
  updateMemory(step, { deferred: false, interrupted: false })
  endWait(step)
  outdateChecks(step, { mode, origin })
  if (origin === "user") updateMemory(step, { idleContinuations: 0, repeatedAnswers: 0, lastAnswer: undefined, earlierContinuations: undefined })
  if (origin === "continuation" && step.goal !== null) {
    step.goal = { ...step.goal, continuations: step.goal.continuations + 1 }
    // Its message stays in the thread, so that a reminder is enough from now on.
    if (isDurable(step.policy)) updateMemory(step, { shown: shownAs(step.goal) })
  }
  step.turn = {
    turnId,
    mode,
    origin,
    marked: false,
    ofGoal: false,
    claimed: false,
    charged: usage,
    reported: usage,
    chargedCostMicros: step.memory.costMicros,
    reportedCostMicros: step.memory.costMicros,
    childTokens: 0,
  }
  if (step.goal !== null && isCharged(step.goal.status) && mode !== "plan") startCharging(step)
  else step.markedAt = null
}

/** Holds the reported usage until the next write. */
export function usageReported(step: GoalStep, { usage, costMicros }: InputOf<"usage_reported">): void {
  const turn = namedTurn(step)
  if (turn !== null) step.turn = { ...turn, reported: usage, reportedCostMicros: costMicros ?? turn.reportedCostMicros }
}

/** Holds child usage until the running goal turn's next write. Between turns it is written immediately. */
export function childUsageReported(step: GoalStep, input: InputOf<"child_usage_reported">): void {
  if (input.childId !== undefined) return void childTotalReported(step, input, input.childId)
  const { usage, costMicros = 0 } = input
  const { turn } = step
  const tokens = tokensOf(usage)
  const { goal } = step
  const isCounted = turn === null ? goal !== null && isCharged(goal.status) : turn.marked
  if (goal !== null && isCounted && tokens > 0 && usage.estimated === true && goal.usageEstimated !== true)
    step.goal = { ...goal, usageEstimated: true }
  if (turn === null) return void flush(step, { children: { tokens, costMicros } })
  if (!turn.marked) return
  const childCostMicros = add(turn.childCostMicros ?? 0, costMicros)
  step.turn = { ...turn, childTokens: add(turn.childTokens, tokens), ...(childCostMicros > 0 && { childCostMicros }) }
}

/** Children whose reports are remembered. Every record of a goal repeats them. */
const MOST_CHILDREN = 64

/** Charges what a child used since its last report, also to a goal that has been stopped since: the work was done before. */
function childTotalReported(step: GoalStep, { usage, costMicros = 0, goalId }: InputOf<"child_usage_reported">, childId: string): void {
  const { goal } = step
  const total = { childId, tokens: tokensOf(usage), costMicros }
  const known = step.memory.children ?? []
  const before = known.find((child) => child.childId === childId)
  const tokens = Math.max(0, total.tokens - (before?.tokens ?? 0))
  const cost = Math.max(0, costMicros - (before?.costMicros ?? 0))
  if (tokens === 0 && cost === 0) return
  const grown = { childId, tokens: (before?.tokens ?? 0) + tokens, costMicros: (before?.costMicros ?? 0) + cost }
  // One that still reports is not forgotten for those that have ended.
  const children = [...known.filter((child) => child !== before), grown].slice(-MOST_CHILDREN)
  updateMemory(step, { children })
  if (goal === null || (goalId !== undefined && goalId !== goal.goalId)) return
  chargeChild(step, goal, { tokens, costMicros: cost }, usage.estimated === true)
}

/** The user may have asked for more, so an earlier claim does not count, as at the start of a user's turn. */
export function userSpoke(step: GoalStep): void {
  if (namedTurn(step) === null) return
  updateMemory(step, { idleContinuations: 0, repeatedAnswers: 0, lastAnswer: undefined, earlierContinuations: undefined })
  dropClaim(step)
}

/** Resets the brakes that watch for progress. */
export function progressNoted(step: GoalStep): void {
  updateMemory(step, { idleContinuations: 0, repeatedAnswers: 0, lastAnswer: undefined })
}

export function toolFinished(step: GoalStep): void {
  if (namedTurn(step) !== null) flush(step, { steer: true })
}

export function turnFinished(step: GoalStep, { toolCalls, finalText, problem }: InputOf<"turn_finished">): void {
  const turn = namedTurn(step)
  if (turn === null) return
  endTurn(step, turn)
  updateMemory(step, { transientErrors: 0, retryAt: undefined })
  if (turn.mode === "plan") return
  noteFailure(step, turn, problem)
  requireChecks(step, turn)
  if (step.goal?.status !== "active") return
  const reason = countContinuation(step, turn, toolCalls, finalText)
  if (reason !== undefined && isDurable(step.policy)) updateMemory(step, { brakedAfter: turn.turnId })
  brake(step, reason)
}

/** Remembers how a turn of the goal failed or was cut off, for the next continuation. */
function noteFailure(step: GoalStep, turn: GoalTurn, problem: string | undefined): void {
  if (turn.ofGoal && isDurable(step.policy)) updateMemory(step, { lastFailure: problem === undefined ? undefined : short(problem) })
}

export function turnInterrupted(step: GoalStep, { reason }: InputOf<"turn_interrupted">): void {
  const turn = step.turnId === undefined ? step.turn : namedTurn(step)
  if (turn === null && step.turnId !== undefined) return
  const pauses = step.policy.onInterrupt === "pause"
  if (turn !== null) {
    endTurn(step, turn)
    resetRepeatedAnswers(step)
  } else if (pauses) flush(step)
  if (step.goal?.status !== "active") return
  if (!pauses) return void updateMemory(step, { interrupted: true })
  const why = reason === undefined ? "Paused by an interrupt" : `Paused: ${short(reason)}`
  write(step, withStatus(step.goal, nextStatus("active", "interrupt", false), `${why}. Resume to continue.`), "interrupt")
}

/** Counts an error of the running turn, if the turn is charged to the goal. */
export function turnFailed(step: GoalStep, { error }: InputOf<"turn_failed">): void {
  const turn = namedTurn(step)
  if (turn === null) return
  const { marked } = turn
  endTurn(step, turn)
  resetRepeatedAnswers(step)
  noteFailure(step, turn, error.message)
  const { goal } = step
  if (!marked || goal === null) return
  if (error.kind === "usage_limit") return void usageLimit(step, goal, error)
  if (goal.status !== "active") return
  if (error.kind === "transient") transientError(step, goal, error)
  else if (step.policy.onTurnError === "block") block(step, goal, `the turn failed with: ${short(error.message)}`)
  // Failures that leave a goal active must not bypass the cap.
  brake(step, capReached(step))
}

type TurnProblem = InputOf<"turn_failed">["error"]

function usageLimit(step: GoalStep, goal: Goal, { message, retryAt }: TurnProblem): void {
  updateMemory(step, { limitEndsAt: retryAt })
  const status = nextStatus(goal.status, "usage_limit", false)
  write(
    step,
    withStatus(goal, status, `The usage limit of the account is reached: ${short(message)}. Resume when usage is available again.`),
    "usage_limit",
  )
}

/** Schedules a retry after a delay that doubles each time. Blocks the goal after too many errors in a row. */
function transientError(step: GoalStep, goal: Goal, { message, retryAt }: TurnProblem): void {
  const { maxTransientErrors, onTurnError, backoffBaseMs, backoffMaxMs } = step.policy
  if (maxTransientErrors === 0 && onTurnError === "keep") return
  const errors = step.memory.transientErrors + 1
  if (maxTransientErrors > 0 && errors >= maxTransientErrors) {
    updateMemory(step, { transientErrors: errors, retryAt: undefined })
    return void block(step, goal, `${errors === 1 ? "a turn" : `${errors} turns in a row`} failed, the last with: ${short(message)}`)
  }
  // After 52 doublings any delay exceeds the maximum and is still finite.
  const waitMs = Math.min(backoffBaseMs * 2 ** Math.min(errors - 1, 52), backoffMaxMs)
  updateMemory(step, { transientErrors: errors, retryAt: Math.max(step.at + waitMs, retryAt ?? 0) })
}

function block(step: GoalStep, goal: Goal, problem: string): void {
  write(step, withStatus(goal, nextStatus(goal.status, "error", false), `Blocked: ${problem}. Resume to try again.`), "error")
}

/** Writes the turn's usage and whether the model claimed to be blocked. A stopped goal is charged no time between turns. */
function endTurn(step: GoalStep, turn: GoalTurn): void {
  flush(step)
  const { memory } = step
  updateMemory(step, { costMicros: turn.reportedCostMicros, ...(turn.ofGoal && { blockedTurns: turn.claimed ? memory.blockedTurns + 1 : 0 }) })
  step.turn = null
  if (step.goal?.status !== "active") step.markedAt = null
}

/** Ends a turn that the start of another replaces. What this writes names the turn that ends. */
function endReplacedTurn(step: GoalStep, turn: GoalTurn): void {
  const { turnId } = step
  step.turnId = turn.turnId
  endTurn(step, turn)
  step.turnId = turnId
}

/** Resets the count of equal answers after a turn that ends without an answer. */
function resetRepeatedAnswers(step: GoalStep): void {
  updateMemory(step, { repeatedAnswers: 0, lastAnswer: undefined })
}

/** Handles a reloaded thread: drops the open turn, and does not charge the time until now. */
export function threadResumed(step: GoalStep, { mode }: InputOf<"thread_resumed">): void {
  if (step.turn !== null) updateMemory(step, { costMicros: step.turn.reportedCostMicros })
  step.turn = null
  step.markedAt = step.goal?.status === "active" ? step.at : null
  updateMemory(step, { interrupted: false })
  const { goal, policy } = step
  if (mode === "plan" || goal === null) return
  if (goal.status === "active") {
    step.outputs.push(GOAL_RESUMED)
    return
  }
  const status = policy.onResume === "reactivate" ? nextStatus(goal.status, "reactivate", budgetReached(goal, policy)) : goal.status
  if (status === goal.status) return
  const resumed = withStatus(goal, status, status === "budget_limited" ? budgetReason(goal, policy) : undefined)
  resetBrakes(step, goal, resumed)
  write(step, resumed, "thread_resumed")
  if (status === "active") step.markedAt = step.at
}

/** Adds a goal copied from another thread. Its clock starts at the next turn or command. */
export function goalCopied(step: GoalStep, { goal, deferred }: InputOf<"goal_copied">): void {
  resetForNewGoal(step, { deferred, continuationsBefore: goal.continuations, goalsMade: Math.max(step.memory.goalsMade, countedId(goal.goalId)) })
  write(step, { ...goal, threadId: step.threadId }, "goal_copied", { copied: true })
}

/** The number in a generated id, so that no later goal reuses it. 0 for other ids. */
function countedId(goalId: string): number {
  const digits = /^g(\d{1,15})$/.exec(goalId)?.[1]
  return digits === undefined ? 0 : Number(digits)
}

function short(message: string): string {
  return cutMiddle(message, 500).replace(/[.\s]+$/, "")
}
