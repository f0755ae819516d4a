import { trim } from "../../text.ts"
import type { Goal, GoalInput, GoalMemory, GoalOutput, GoalStatus, GoalTurn } from "../../wire/goal.ts"
import { fingerprint } from "../fingerprint.ts"
import { dueChecks } from "./checks.ts"
import { continuationMessage, reminderMessage, shownAs } from "./prompts.ts"
import { type GoalStep, updateMemory } from "./step.ts"
import { isOver, waitReason } from "./waits.ts"

/**
 * Counts a finished turn towards the brakes.
 * Returns the reason to pause the goal, for people, or `undefined` if it may continue.
 */
export function countContinuation(step: GoalStep, turn: GoalTurn, toolCalls: number, finalText = ""): string | undefined {
  const { maxRepeatedAnswers, endedBy } = step.policy
  // A judge reads the answers, so text alone is work.
  const maxIdleContinuations = endedBy === "judge" ? 0 : step.policy.maxIdleContinuations
  if (turn.origin === "continuation") {
    const { idleContinuations, repeatedAnswers, lastAnswer } = step.memory
    const answer = fingerprint(trim(finalText))
    updateMemory(step, { idleContinuations: toolCalls === 0 ? idleContinuations + 1 : 0 })
    if (answer === undefined) updateMemory(step, { repeatedAnswers: 0, lastAnswer: undefined })
    else updateMemory(step, { repeatedAnswers: answer === lastAnswer ? repeatedAnswers + 1 : 1, lastAnswer: answer })
  }
  const { memory } = step
  const problem = memory.lastFailure === undefined ? "" : ` The last one ended early: ${memory.lastFailure}.`
  if (reached(memory.idleContinuations, maxIdleContinuations)) {
    return `Paused: ${memory.idleContinuations} continuations in a row called no tool.${problem} Check whether anything is left to do, then resume or say how to continue.`
  }
  if (reached(memory.repeatedAnswers, maxRepeatedAnswers)) {
    return `Paused: ${memory.repeatedAnswers} continuations in a row ended with the same answer.${problem} Check where they are stuck, then resume or change the objective.`
  }
  return capReached(step)
}

/** The reason why no more continuations may run, for people; or `undefined`. Failed continuations count too. */
export function capReached({ goal, memory, policy }: GoalStep): string | undefined {
  const continuations = continuationsOf(goal, memory)
  return reached(continuations, policy.maxContinuations)
    ? `Paused: ${continuations === 1 ? "1 continuation has" : `${continuations} continuations have`} run, which is the limit. Resume to allow as many again.`
    : undefined
}

/** Continuations since a user or client last activated the goal, including those of earlier goals whose continuations created this one. */
export function continuationsOf(goal: Goal | null, { continuationsBefore, earlierContinuations = 0 }: GoalMemory): number {
  return (goal?.continuations ?? 0) - continuationsBefore + earlierContinuations
}

function reached(count: number, limit: number): boolean {
  return limit > 0 && count >= limit
}

/** Decides what follows: checks, a continuation with its message, or a rest with the reason. Changes nothing. */
export function answerIdle(step: GoalStep, { mode, queuedInput }: Extract<GoalInput, { type: "idle" }>): GoalOutput {
  const { goal, memory, turn, at, policy } = step
  if (goal === null) return rest("There is no goal.")
  const due = queuedInput || memory.interrupted ? undefined : dueChecks(step)
  if (due !== undefined) return due
  if (goal.status !== "active") {
    const { limitEndsAt } = memory
    return rest(goal.reason ?? STOPPED[goal.status], goal.status === "usage_limited" ? limitEndsAt : undefined)
  }
  if (turn !== null) return rest("A turn is running.")
  if (queuedInput) return rest("Input is waiting and comes first.")
  if (mode === "plan") return rest("The thread is in plan mode.")
  if (memory.deferred) return rest("The goal was copied from another thread and waits for the first turn of this one.")
  if (memory.interrupted) return rest("The last turn was interrupted; the goal continues after a turn or a command.")
  const { wait } = memory
  if (wait !== undefined && !isOver(wait, at))
    return { type: "rest", reason: waitReason(wait), ...(wait.until !== undefined && { notBefore: wait.until }), wait }
  const notBefore = Math.max(memory.retryAt ?? 0, memory.limitEndsAt ?? 0)
  return {
    type: "continue",
    message: continuationMessage(goal, policy, memory),
    ...(memory.shown === shownAs(goal) && { reminder: reminderMessage(goal, policy, memory) }),
    ...(notBefore > at && { notBefore }),
  }
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
