import type { Outcome } from "../../schemas/event.ts"
import type { GoalInput, GoalMode, GoalOutput, GoalState } from "../../schemas/goal.ts"
import type { TokenUsage } from "../../schemas/llm.ts"
import type { DeliveredMessage, HistoryRecord } from "../../schemas/message.ts"
import { GoalWriter, type RecordList, readGoal } from "./history.ts"
import type { GoalPolicy } from "./policy.ts"

/** A thread between two turns. */
export interface GoalThread {
  readonly threadId: string
  /** All records of the thread so far. */
  readonly history: RecordList
  readonly policy?: GoalPolicy
  /** Default `default`. */
  readonly mode?: GoalMode
  /** Whether the user, or anything else, has said something that waits for a turn. Default false. */
  readonly queuedInput?: boolean
}

/** What comes next: the waiting input; a continuation with its message; or nothing, why, and when to ask again if that is known. */
export type NextTurn =
  | { readonly type: "user_input" }
  | { readonly type: "continue"; readonly message: DeliveredMessage; readonly notBefore?: number }
  | { readonly type: "rest"; readonly reason: string; readonly notBefore?: number }

/** Decides whether a turn starts now, and with what. Pure, and the only place that decides it; `at` in milliseconds. */
export function nextTurn({ threadId, history, policy = {}, mode = "default", queuedInput = false }: GoalThread, at: number): NextTurn {
  if (queuedInput) return { type: "user_input" }
  const writer = new GoalWriter(readGoal(history, threadId), policy)
  const answer = writer.give({ type: "idle", at, mode, queuedInput, nextTurnId: "" }).at(-1)
  if (answer?.type === "continue") return answer
  if (answer?.type !== "rest") return { type: "rest", reason: "There is nothing to decide." }
  const { reason, notBefore } = answer
  return { type: "rest", reason, ...(notBefore !== undefined && notBefore > at && { notBefore }) }
}

/** What came of an input between turns: what to append to the history, and what to tell. */
export interface GoalChangeBetweenTurns {
  readonly state: GoalState
  readonly records: readonly HistoryRecord[]
  readonly outputs: readonly GoalOutput[]
}

/**
 * Applies an input between turns: a command, a thread that was loaded or copied, usage of children. Pure.
 * In mid-turn, deliver it instead: see `goalInputEvent`.
 */
export function changeGoal({ threadId, history, policy = {} }: GoalThread, ...inputs: readonly GoalInput[]): GoalChangeBetweenTurns {
  const writer = new GoalWriter(readGoal(history, threadId), policy)
  const outputs = inputs.flatMap((input) => writer.give(input))
  return { state: writer.state, records: writer.records(), outputs }
}

/** A turn that has ended, as its machine tells. */
export interface EndedTurn {
  readonly turnId: string
  readonly outcome: Outcome
  /** All tokens of the turn (`machine.usage`). */
  readonly usage: TokenUsage
  /** What all tokens of the turn cost beyond what its driver counted, in micro-units. Default 0. */
  readonly moreCostMicros?: number
  /** Why the turn failed, where the host knows better than its outcome: a usage limit, an error that will pass. */
  readonly error?: Extract<GoalInput, { type: "turn_failed" }>["error"]
}

/**
 * Tells the goal that a turn has ended, however it ended; a driver is not asked about most ends. Append the records to the
 * history before `nextTurn`. Pure. Nothing comes of a turn that the goal knows nothing of.
 */
export function endGoalTurn(thread: GoalThread, ended: EndedTurn, at: number): GoalChangeBetweenTurns {
  const { state, toolCalls } = readGoal(thread.history, thread.threadId)
  const { turnId, usage, moreCostMicros = 0 } = ended
  const { turn } = state
  if (turn === null || turn.turnId !== turnId) return { state, records: [], outputs: [] }
  const costMicros = turn.reportedCostMicros + moreCostMicros
  return changeGoal(thread, { type: "usage_reported", at, turnId, usage, costMicros }, endOf(ended, toolCalls, at))
}

/** A turn that used up its iterations or its output has worked: the goal may go on in the next. */
function endOf({ turnId, outcome, error }: EndedTurn, toolCalls: number, at: number): GoalInput {
  if (error !== undefined) return { type: "turn_failed", at, turnId, error }
  if (outcome.type !== "stopped") {
    const finalText = outcome.type === "finished" && outcome.finish.type === "assistant_message" ? outcome.finish.text : undefined
    return { type: "turn_finished", at, turnId, toolCalls, ...(finalText !== undefined && { finalText }) }
  }
  switch (outcome.stop.type) {
    case "cancelled":
      return { type: "turn_interrupted", at, turnId }
    case "max_iterations":
    case "incomplete":
      return { type: "turn_finished", at, turnId, toolCalls }
    default:
      return { type: "turn_failed", at, turnId, error: { kind: "other", message: `The turn stopped with ${outcome.stop.type}.` } }
  }
}
