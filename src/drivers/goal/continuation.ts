import type { Goal, GoalInput, GoalMemory, GoalOutput, GoalStatus, GoalTurn } from "../../schemas/goal.ts"
import { trim } from "../../text.ts"
import { continuationMessage } from "./prompts.ts"
import { remember, type Step } from "./step.ts"

/**
 * Counts a turn that ended well towards the brakes.
 * Returns why the goal must be paused, for people, or `undefined` where it may go on.
 */
export function countContinuation(step: Step, turn: GoalTurn, toolCalls: number, finalText = ""): string | undefined {
  const { maxIdleContinuations, maxRepeatedAnswers } = step.policy
  if (turn.origin === "continuation") {
    const { idleContinuations, repeatedAnswers, lastAnswer } = step.memory
    const answer = fingerprint(trim(finalText))
    remember(step, { idleContinuations: toolCalls === 0 ? idleContinuations + 1 : 0 })
    if (answer === undefined) remember(step, { repeatedAnswers: 0, lastAnswer: undefined })
    else remember(step, { repeatedAnswers: answer === lastAnswer ? repeatedAnswers + 1 : 1, lastAnswer: answer })
  }
  const { memory } = step
  if (reached(memory.idleContinuations, maxIdleContinuations)) {
    return `Paused: ${memory.idleContinuations} continuations in a row called no tool. See whether there is anything left to do, then resume or say how to go on.`
  }
  if (reached(memory.repeatedAnswers, maxRepeatedAnswers)) {
    return `Paused: ${memory.repeatedAnswers} continuations in a row ended with the same answer. See what they are stuck on, then resume or change the objective.`
  }
  return capReached(step)
}

/** Why no more continuations may run, for people; or `undefined`. Those that failed count as well. */
export function capReached({ goal, memory, policy }: Step): string | undefined {
  const continuations = continuationsOf(goal, memory)
  return reached(continuations, policy.maxContinuations)
    ? `Paused: ${continuations} continuations have run, which is the limit. Resume to allow as many again.`
    : undefined
}

/** How many have run since somebody last set the goal going, those for earlier goals included that led to it unasked. */
export function continuationsOf(goal: Goal | null, { continuationsBefore, earlierContinuations = 0 }: GoalMemory): number {
  return (goal?.continuations ?? 0) - continuationsBefore + earlierContinuations
}

function reached(count: number, limit: number): boolean {
  return limit > 0 && count >= limit
}

/** Whether a continuation may start now, with the message that starts it; or why not. Changes nothing. */
export function answerIdle({ goal, memory, turn, at, policy }: Step, { mode, queuedInput }: Extract<GoalInput, { type: "idle" }>): GoalOutput {
  if (goal === null) return rest("There is no goal.")
  if (goal.status !== "active") {
    const { limitEndsAt } = memory
    return rest(goal.reason ?? WAITING[goal.status], goal.status === "usage_limited" ? limitEndsAt : undefined)
  }
  if (turn !== null) return rest("A turn is running.")
  if (queuedInput) return rest("Input is waiting, which comes first.")
  if (mode === "plan") return rest("The thread is in plan mode.")
  if (memory.deferred) return rest("The goal was copied from another thread and waits for the first turn of this one.")
  if (memory.interrupted) return rest("The last turn was interrupted; the goal goes on after a turn or a command.")
  const notBefore = Math.max(memory.retryAt ?? 0, memory.limitEndsAt ?? 0)
  return { type: "continue", message: continuationMessage(goal, policy), ...(notBefore > at && { notBefore }) }
}

/** Why a goal rests that nobody gave a reason for, and what gets it going. */
const WAITING: { readonly [Status in Exclude<GoalStatus, "active">]: string } = {
  paused: "The goal is paused. Resume to go on.",
  blocked: "The goal is blocked: the model sees no way on. Clear what stands in the way or change the objective, then resume.",
  usage_limited: "The usage limit of the account is reached. Resume when there is room again.",
  budget_limited: "The goal is budget_limited. Raise the budget and resume to go on.",
  complete: "The goal is complete.",
}

function rest(reason: string, notBefore?: number): GoalOutput {
  return { type: "rest", reason, ...(notBefore !== undefined && { notBefore }) }
}

/** Stands for an answer in the memory, so that the history does not hold it again with each event. `undefined`: no text. */
function fingerprint(text: string): string | undefined {
  if (text === "") return undefined
  let first = 0x811c9dc5
  let second = 0x1b873593
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index)
    first = Math.imul(first ^ unit, 0x01000193)
    second = Math.imul(second ^ unit, 0x5bd1e995) ^ (second >>> 15)
  }
  return `${text.length}-${(first >>> 0).toString(16)}-${(second >>> 0).toString(16)}`
}
