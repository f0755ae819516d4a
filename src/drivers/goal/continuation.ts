import { trim } from "../../text.ts"
import type { Goal, GoalInput, GoalMemory, GoalOutput, GoalStatus, GoalTurn } from "../../wire/goal.ts"
import { continuationMessage } from "./prompts.ts"
import { type GoalStep, updateMemory } from "./step.ts"

/**
 * Counts a finished turn towards the brakes.
 * Returns the reason to pause the goal, for people, or `undefined` if it may continue.
 */
export function countContinuation(step: GoalStep, turn: GoalTurn, toolCalls: number, finalText = ""): string | undefined {
  const { maxIdleContinuations, maxRepeatedAnswers } = step.policy
  if (turn.origin === "continuation") {
    const { idleContinuations, repeatedAnswers, lastAnswer } = step.memory
    const answer = fingerprint(trim(finalText))
    updateMemory(step, { idleContinuations: toolCalls === 0 ? idleContinuations + 1 : 0 })
    if (answer === undefined) updateMemory(step, { repeatedAnswers: 0, lastAnswer: undefined })
    else updateMemory(step, { repeatedAnswers: answer === lastAnswer ? repeatedAnswers + 1 : 1, lastAnswer: answer })
  }
  const { memory } = step
  if (reached(memory.idleContinuations, maxIdleContinuations)) {
    return `Paused: ${memory.idleContinuations} continuations in a row called no tool. Check whether anything is left to do, then resume or say how to continue.`
  }
  if (reached(memory.repeatedAnswers, maxRepeatedAnswers)) {
    return `Paused: ${memory.repeatedAnswers} continuations in a row ended with the same answer. Check where they are stuck, then resume or change the objective.`
  }
  return capReached(step)
}

/** The reason why no more continuations may run, for people; or `undefined`. Failed continuations count too. */
export function capReached({ goal, memory, policy }: GoalStep): string | undefined {
  const continuations = continuationsOf(goal, memory)
  return reached(continuations, policy.maxContinuations)
    ? `Paused: ${continuations} continuations have run, which is the limit. Resume to allow as many again.`
    : undefined
}

/** Continuations since a user or client last activated the goal, including those of earlier goals whose continuations created this one. */
export function continuationsOf(goal: Goal | null, { continuationsBefore, earlierContinuations = 0 }: GoalMemory): number {
  return (goal?.continuations ?? 0) - continuationsBefore + earlierContinuations
}

function reached(count: number, limit: number): boolean {
  return limit > 0 && count >= limit
}

/** Decides whether a continuation may start now: returns its message, or the reason to rest. Changes nothing. */
export function answerIdle({ goal, memory, turn, at, policy }: GoalStep, { mode, queuedInput }: Extract<GoalInput, { type: "idle" }>): GoalOutput {
  if (goal === null) return rest("There is no goal.")
  if (goal.status !== "active") {
    const { limitEndsAt } = memory
    return rest(goal.reason ?? STOPPED[goal.status], goal.status === "usage_limited" ? limitEndsAt : undefined)
  }
  if (turn !== null) return rest("A turn is running.")
  if (queuedInput) return rest("Input is waiting and comes first.")
  if (mode === "plan") return rest("The thread is in plan mode.")
  if (memory.deferred) return rest("The goal was copied from another thread and waits for the first turn of this one.")
  if (memory.interrupted) return rest("The last turn was interrupted; the goal continues after a turn or a command.")
  const notBefore = Math.max(memory.retryAt ?? 0, memory.limitEndsAt ?? 0)
  return { type: "continue", message: continuationMessage(goal, policy), ...(notBefore > at && { notBefore }) }
}

/** The default reason for each stopped status, and how to continue. */
const STOPPED: { readonly [Status in Exclude<GoalStatus, "active">]: string } = {
  paused: "The goal is paused. Resume to continue.",
  blocked: "The goal is blocked: the model cannot continue. Remove the obstacle or change the objective, then resume.",
  usage_limited: "The usage limit of the account is reached. Resume when usage is available again.",
  budget_limited: "The goal is budget_limited. Raise the budget and resume to continue.",
  complete: "The goal is complete.",
}

function rest(reason: string, notBefore?: number): GoalOutput {
  return { type: "rest", reason, ...(notBefore !== undefined && { notBefore }) }
}

/** A hash of an answer for the memory, so that events do not repeat the text. `undefined` for an empty text. */
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
