import { heldUntil } from "../../machine/context.ts"
import { addUsage } from "../../machine/limits.ts"
import type { Outcome, StoppedOutcome } from "../../wire/event.ts"
import type { Goal, GoalInput, GoalMode, GoalOutput, GoalState } from "../../wire/goal.ts"
import type { TokenUsage } from "../../wire/llm.ts"
import type { HistoryRecord } from "../../wire/message.ts"
import type { TurnWaits } from "./deliveries.ts"
import { costOf } from "./goal.ts"
import { type GoalInHistory, type GoalTurnError, GoalWriter, goalRecord, type RecordList, readGoal } from "./history.ts"
import type { GoalPolicy } from "./policy.ts"
import { metricsOf } from "./step.ts"

/** A thread between two turns. */
export interface GoalThread {
  readonly threadId: string
  /** All records of the thread. */
  readonly history: RecordList
  readonly policy?: GoalPolicy
  /** Default `default`. */
  readonly mode?: GoalMode
  /** Whether input from the user or another source waits for a turn. Default false. */
  readonly queuedInput?: boolean
}

/**
 * What comes next: a turn for the waiting input; the checks of the goal, whose results are the input `checks_reported`; a continuation with
 * its message, or a shorter `reminder` that is enough where the thread still holds the message in full; or none (`rest`), with the reason
 * and, if known, the time to ask again and what the goal waits for.
 */
export type NextTurn = { readonly type: "user_input" } | Extract<GoalOutput, { type: "run_checks" | "continue" | "rest" }>

/** Decides whether a turn starts now, and with which input. Pure. `at`: milliseconds since the epoch. */
export function nextTurn({ threadId, history, policy = {}, mode = "default", queuedInput = false }: GoalThread, at: number): NextTurn {
  if (queuedInput) return { type: "user_input" }
  const writer = new GoalWriter(readGoal(history, threadId), policy)
  const { goal, turn } = writer.state
  if (turn !== null && goal?.status === "active") {
    return { type: "rest", reason: `The turn "${turn.turnId}" is still open: report its end with endGoalTurn before the next turn starts.` }
  }
  const answer = writer.apply({ type: "idle", at, mode, queuedInput, nextTurnId: "" }).at(-1)
  if (answer?.type === "continue" || answer?.type === "run_checks") return answer
  if (answer?.type !== "rest") return { type: "rest", reason: "There is nothing to decide." }
  const { notBefore, ...rest } = answer
  return { ...rest, ...(notBefore !== undefined && notBefore > at && { notBefore }) }
}

/** The result of inputs between turns: `records` to append to the history, and `outputs` to report. */
export interface GoalChangeBetweenTurns {
  readonly state: GoalState
  readonly records: readonly HistoryRecord[]
  readonly outputs: readonly GoalOutput[]
}

/**
 * Applies inputs between turns: a command, a loaded or copied thread, usage of children. Pure.
 * During a turn, deliver the input with `goalDeliveries` instead; there, use `changeGoal` only to preview its effect.
 */
export function changeGoal({ threadId, history, policy = {} }: GoalThread, ...inputs: readonly GoalInput[]): GoalChangeBetweenTurns {
  return appliedInputs(new GoalWriter(readGoal(history, threadId), policy), inputs)
}

function appliedInputs(writer: GoalWriter, inputs: readonly GoalInput[]): GoalChangeBetweenTurns {
  const outputs = inputs.flatMap((input) => writer.apply(input))
  return { state: writer.state, records: writer.records(), outputs }
}

/** A turn that has ended, as its machine reports it. */
export interface EndedTurn {
  readonly turnId: string
  readonly outcome: Outcome
  /** All tokens of the turn (`machine.usage`). Absent if the machine is lost: the usage that its driver saw last counts. */
  readonly usage?: TokenUsage
  /** The cost of a usage, in micro-units: the function that the driver was given. */
  readonly costMicros?: (usage: TokenUsage) => number
  /** How long the turn waited for people (`machine.turn.position`), which is not charged. Absent: as far as its driver saw it. */
  readonly waits?: TurnWaits
  /** Why the turn failed, if the host knows more than the driver and the outcome. */
  readonly error?: GoalTurnError
}

/**
 * Reports the end of a turn to the goal. Call it for every turn: a driver is not called for most endings, and not at all for
 * a turn that was abandoned with its process. Append the records to the history before `nextTurn`, which rests until then.
 * Pure and idempotent: it returns no records for a turn that is not open. `at`: milliseconds since the epoch.
 */
export function endGoalTurn(thread: GoalThread, ended: EndedTurn, at: number): GoalChangeBetweenTurns {
  const found = readGoal(thread.history, thread.threadId)
  const { state } = found
  const { turnId, waits } = ended
  const { turn } = state
  if (turn === null || turn.turnId !== turnId) return { state, records: [], outputs: [] }
  const usage = ended.usage === undefined ? turn.reported : addUsage(ended.usage, found.unreported)
  const costMicros = costOf(turn, usage, ended.costMicros)
  const reported: GoalInput = { type: "usage_reported", at, turnId, usage, ...(costMicros !== undefined && { costMicros }) }
  const writer = new GoalWriter(found, thread.policy ?? {})
  if (waits !== undefined) writer.excludeHeld(heldUntil(waits, at), at)
  return appliedInputs(writer, [reported, endOf(ended, found, at)])
}

/** A turn that reached a limit of its own has finished its work: the goal may continue in the next turn. */
function endOf({ turnId, outcome, error }: EndedTurn, found: GoalInHistory, at: number): GoalInput {
  const { toolCalls } = found
  if (error !== undefined) return { type: "turn_failed", at, turnId, error }
  if (outcome.type !== "stopped") {
    const finalText = finalTextOf(outcome)
    return { type: "turn_finished", at, turnId, toolCalls, ...(finalText !== undefined && { finalText }) }
  }
  switch (outcome.stop.type) {
    case "cancelled": {
      const reason = outcome.stop.error?.userMessage
      return { type: "turn_interrupted", at, turnId, ...(reason !== undefined && { reason }) }
    }
    case "max_iterations":
    case "max_tokens":
    case "deadline":
    case "incomplete":
      return { type: "turn_finished", at, turnId, toolCalls, problem: problemOf(outcome.stop) }
    default:
      return { type: "turn_failed", at, turnId, error: found.error ?? { kind: "other", message: problemOf(outcome.stop) } }
  }
}

/** Why a turn stopped, in the words of its outcome. */
function problemOf(stop: StoppedOutcome["stop"]): string {
  if (stop.error !== undefined) return stop.error.userMessage
  const stopped = STOPPED[stop.type] ?? `The turn stopped with ${stop.type}.`
  if (!("value" in stop)) return stopped
  const { value } = stop
  const said = typeof value === "object" && value !== null && "message" in value ? value.message : value
  return `${stopped} ${typeof said === "string" ? said : JSON.stringify(said)}`
}

const STOPPED: { readonly [Type in StoppedOutcome["stop"]["type"]]?: string } = {
  max_iterations: "The turn reached its limit of iterations.",
  max_tokens: "The turn reached its limit of tokens.",
  deadline: "The turn reached its deadline.",
  incomplete: "The answer was cut off.",
}

/** The final text of a turn. A value is returned as JSON, which detects repeated answers equally well. */
function finalTextOf(outcome: Outcome): string | undefined {
  if (outcome.type !== "finished") return undefined
  return outcome.finish.type === "assistant_message" ? outcome.finish.text : JSON.stringify(outcome.finish.value)
}

/**
 * Derives the goal outputs from history records: each `goal_updated` and `goal_cleared` with its metrics, in order, as the
 * goal machine emitted them. A host receives each record of a turn once (`eventDelta`), so nothing is counted twice.
 * `before`: the goal before these records. Missing here: `goal.resumed` of a loaded thread, which leaves no record.
 */
export function goalChanges(records: readonly HistoryRecord[], threadId: string, before: Goal | null): readonly GoalOutput[] {
  const outputs: GoalOutput[] = []
  let last = before
  for (const record of records) {
    const event = goalRecord(record, threadId)
    if (event?.type !== "goal") continue
    const { cause, goal, turnId } = event
    if (cause !== "noted") {
      if (goal === null) outputs.push({ type: "goal_cleared", threadId })
      else {
        outputs.push({ type: "goal_updated", goal, ...(turnId !== undefined && { turnId }), cause })
        if (cause !== "goal_copied") outputs.push(...metricsOf(last?.goalId === goal.goalId ? last.status : "none", goal))
      }
    }
    last = goal
  }
  return outputs
}
