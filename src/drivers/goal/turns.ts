import type { GoalInput, GoalTurn } from "../../schemas/goal.ts"
import { cutMiddle } from "../../text.ts"
import { flush, startCharging, tokensOf } from "./accounting.ts"
import { budgetReached, budgetReason } from "./budgets.ts"
import { capReached, countContinuation } from "./continuation.ts"
import { isCharged, withStatus } from "./goal.ts"
import { GOAL_RESUMED } from "./metrics.ts"
import { takeUp } from "./new-goal.ts"
import { namedTurn, remember, type Step, write } from "./step.ts"
import { nextStatus } from "./transitions.ts"

type InputOf<Type extends GoalInput["type"]> = Extract<GoalInput, { type: Type }>

/** A turn begins. One that still runs is over. */
export function turnStarted(step: Step, { turnId, mode, usage, origin }: InputOf<"turn_started">): void {
  if (step.turn !== null) endTurn(step, step.turn)
  remember(step, { deferred: false, interrupted: false })
  if (origin === "user") remember(step, { idleContinuations: 0, repeatedAnswers: 0, lastAnswer: undefined, earlierContinuations: undefined })
  if (origin === "continuation" && step.goal !== null) step.goal = { ...step.goal, continuations: step.goal.continuations + 1 }
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

/** Remembered until the next moment that writes. */
export function usageReported(step: Step, { usage, costMicros }: InputOf<"usage_reported">): void {
  const turn = namedTurn(step)
  if (turn !== null) step.turn = { ...turn, reported: usage, reportedCostMicros: costMicros ?? turn.reportedCostMicros }
}

/** Waits for the running goal turn's next write; between turns it is written at once. */
export function childUsageReported(step: Step, { usage }: InputOf<"child_usage_reported">): void {
  const { turn } = step
  if (turn === null) flush(step, { childTokens: tokensOf(usage) })
  else if (turn.marked) step.turn = { ...turn, childTokens: turn.childTokens + tokensOf(usage) }
}

export function toolFinished(step: Step): void {
  if (namedTurn(step) !== null) flush(step, { steer: true })
}

export function turnFinished(step: Step, { toolCalls, finalText }: InputOf<"turn_finished">): void {
  const turn = namedTurn(step)
  if (turn === null) return
  endTurn(step, turn)
  remember(step, { transientErrors: 0, retryAt: undefined })
  if (turn.mode === "plan" || step.goal?.status !== "active") return
  brake(step, countContinuation(step, turn, toolCalls, finalText))
}

function brake(step: Step, reason: string | undefined): void {
  const { goal } = step
  if (reason === undefined || goal?.status !== "active") return
  const status = nextStatus(goal.status, "brake", false)
  if (status !== "refused") write(step, withStatus(goal, status, reason), "brake")
}

export function turnInterrupted(step: Step): void {
  const turn = step.turnId === undefined ? step.turn : namedTurn(step)
  if (turn === null && step.turnId !== undefined) return
  const pauses = step.policy.onInterrupt === "pause"
  if (turn !== null) {
    endTurn(step, turn)
    breakAnswers(step, turn)
  } else if (pauses) flush(step)
  if (step.goal?.status !== "active") return
  if (!pauses) return void remember(step, { interrupted: true })
  const status = nextStatus("active", "interrupt", false)
  if (status !== "refused") write(step, withStatus(step.goal, status, "Paused by an interrupt. Resume to go on."), "interrupt")
}

/** Only the running turn's own errors count, and only where it is charged to the goal. */
export function turnFailed(step: Step, { error }: InputOf<"turn_failed">): void {
  const turn = namedTurn(step)
  if (turn === null) return
  const { marked } = turn
  endTurn(step, turn)
  breakAnswers(step, turn)
  if (!marked || step.goal === null) return
  if (error.kind === "usage_limit") return void usageLimit(step, error.message, error.retryAt)
  if (step.goal.status !== "active") return
  if (error.kind === "transient") transientError(step, error.message, error.retryAt)
  else if (step.policy.onTurnError === "block") block(step, `the turn failed with: ${short(error.message)}`)
  // Where failures leave a goal active, they must not be a way around the cap.
  brake(step, capReached(step))
}

function usageLimit(step: Step, message: string, retryAt: number | undefined): void {
  const { goal } = step
  if (goal === null) return
  const status = nextStatus(goal.status, "usage_limit", false)
  if (status === "refused" || status === goal.status) return
  remember(step, { limitEndsAt: retryAt })
  write(
    step,
    withStatus(goal, status, `The usage limit of the account is reached: ${short(message)}. Resume when there is room again.`),
    "usage_limit",
  )
}

/** Tried again after a wait that doubles each time, until there were too many in a row. */
function transientError(step: Step, message: string, retryAt: number | undefined): void {
  const { maxTransientErrors, onTurnError, backoffBaseMs, backoffMaxMs } = step.policy
  if (maxTransientErrors === 0 && onTurnError === "keep") return
  const errors = step.memory.transientErrors + 1
  if (maxTransientErrors > 0 && errors >= maxTransientErrors) {
    remember(step, { transientErrors: errors, retryAt: undefined })
    return void block(step, `${errors === 1 ? "a turn" : `${errors} turns in a row`} failed, the last with: ${short(message)}`)
  }
  // Doubled 52 times, any wait is longer than the longest, and still a finite number.
  const waitMs = Math.min(backoffBaseMs * 2 ** Math.min(errors - 1, 52), backoffMaxMs)
  remember(step, { transientErrors: errors, retryAt: Math.max(step.at + waitMs, retryAt ?? 0) })
}

function block(step: Step, trouble: string): void {
  if (step.goal === null) return
  const status = nextStatus(step.goal.status, "error", false)
  const reason = `Blocked: ${trouble}. Resume to try again.`
  if (status !== "refused") write(step, withStatus(step.goal, status, reason), "error")
}

/** Writes what the turn used, and whether it claimed to be blocked. A goal that waits is charged no time between turns. */
function endTurn(step: Step, turn: GoalTurn): void {
  flush(step)
  const { memory } = step
  const claimed = step.turn?.claimed === true
  remember(step, { costMicros: turn.reportedCostMicros, ...(turn.ofGoal && { blockedTurns: claimed ? memory.blockedTurns + 1 : 0 }) })
  step.turn = null
  if (step.goal?.status !== "active") step.markedAt = null
}

/** A continuation that ends without an answer breaks a run of equal ones. */
function breakAnswers(step: Step, turn: GoalTurn): void {
  if (turn.origin === "continuation") remember(step, { repeatedAnswers: 0, lastAnswer: undefined })
}

/** The thread was loaded anew: a turn that was open is gone, and time until now is not charged. */
export function threadResumed(step: Step, { mode }: InputOf<"thread_resumed">): void {
  if (step.turn !== null) remember(step, { costMicros: step.turn.reportedCostMicros })
  step.turn = null
  step.markedAt = step.goal?.status === "active" ? step.at : null
  remember(step, { interrupted: false })
  const { goal, policy } = step
  if (mode === "plan" || goal === null) return
  if (goal.status === "active") {
    step.outputs.push(GOAL_RESUMED)
    return
  }
  const status = policy.onResume === "reactivate" ? nextStatus(goal.status, "reactivate", budgetReached(goal, policy)) : goal.status
  if (status === "refused" || status === goal.status) return
  write(step, withStatus(goal, status, status === "budget_limited" ? budgetReason(goal, policy) : undefined), "thread_resumed")
  if (status === "active") step.markedAt = step.at
}

/** A goal that came with a copy of another thread. Its time runs from the next turn or command. */
export function goalCopied(step: Step, { goal, deferred }: InputOf<"goal_copied">): void {
  takeUp(step, { deferred, continuationsBefore: goal.continuations, goalsMade: Math.max(step.memory.goalsMade, countedId(goal.goalId)) })
  write(step, { ...goal, threadId: step.threadId }, "goal_copied", { copied: true })
}

/** The number in an id of our own making, so that a later goal does not get it again. */
function countedId(goalId: string): number {
  const digits = /^g(\d{1,15})$/.exec(goalId)?.[1]
  return digits === undefined ? 0 : Number(digits)
}

function short(message: string): string {
  return cutMiddle(message, 500).replace(/[.\s]+$/, "")
}
