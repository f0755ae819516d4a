import { addUsage } from "../../machine/limits.ts"
import type { Outcome } from "../../schemas/event.ts"
import type { GoalInput, GoalMode, GoalOutput, GoalState } from "../../schemas/goal.ts"
import type { TokenUsage } from "../../schemas/llm.ts"
import type { DeliveredMessage, HistoryRecord } from "../../schemas/message.ts"
import { type GoalInHistory, GoalWriter, type RecordList, readGoal, type TurnError } from "./history.ts"
import type { GoalPolicy } from "./policy.ts"
import { costOf } from "./usage.ts"

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
  const { goal, turn } = writer.state
  if (turn !== null && goal?.status === "active") {
    return { type: "rest", reason: `The turn "${turn.turnId}" is still open: tell its end (endGoalTurn) before the next one begins.` }
  }
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
 * In mid-turn, deliver it instead (`goalDeliveries`); here one can see
 * beforehand what would come of it.
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
  /** All tokens of the turn (`machine.usage`). Absent, where the machine is lost: what its driver saw last. */
  readonly usage?: TokenUsage
  /** What a usage costs, as the driver was told. */
  readonly costMicros?: (usage: TokenUsage) => number
  /** Why the turn failed, where the host knows better than the driver and the outcome. */
  readonly error?: TurnError
}

/**
 * Tells the goal that a turn has ended, however it ended; a driver is not asked about most ends, and of a turn that is given
 * up with its process there is none. Append the records to the history before `nextTurn`, which rests until then. Pure.
 * Nothing comes of a turn that the goal knows nothing of, so that telling an end twice does no harm. `at` in milliseconds.
 */
export function endGoalTurn(thread: GoalThread, ended: EndedTurn, at: number): GoalChangeBetweenTurns {
  const found = readGoal(thread.history, thread.threadId)
  const { state } = found
  const { turnId } = ended
  const { turn } = state
  if (turn === null || turn.turnId !== turnId) return { state, records: [], outputs: [] }
  const usage = ended.usage === undefined ? turn.reported : addUsage(ended.usage, found.lost)
  const costMicros = costOf(turn, usage, ended.costMicros)
  const reported: GoalInput = { type: "usage_reported", at, turnId, usage, ...(costMicros !== undefined && { costMicros }) }
  return changeGoal(thread, reported, endOf(ended, found, at))
}

/** A turn that used up its iterations or its output has worked: the goal may go on in the next. */
function endOf({ turnId, outcome, error }: EndedTurn, found: GoalInHistory, at: number): GoalInput {
  const { toolCalls } = found
  if (error !== undefined) return { type: "turn_failed", at, turnId, error }
  if (outcome.type !== "stopped") {
    const finalText = finalTextOf(outcome)
    return { type: "turn_finished", at, turnId, toolCalls, ...(finalText !== undefined && { finalText }) }
  }
  switch (outcome.stop.type) {
    case "cancelled":
      return { type: "turn_interrupted", at, turnId }
    case "max_iterations":
    case "incomplete":
      return { type: "turn_finished", at, turnId, toolCalls }
    default: {
      const unknown: TurnError = { kind: "other", message: `The turn stopped with ${outcome.stop.type}.` }
      return { type: "turn_failed", at, turnId, error: found.error ?? unknown }
    }
  }
}

/** What a turn ended with, as a text: that of a value shows a repetition just as well. */
function finalTextOf(outcome: Outcome): string | undefined {
  if (outcome.type !== "finished") return undefined
  return outcome.finish.type === "assistant_message" ? outcome.finish.text : JSON.stringify(outcome.finish.value)
}
