import type { Json } from "../../json.ts"
import type { CheckpointKind } from "../../schemas/event.ts"
import type { GoalCommand, GoalInput } from "../../schemas/goal.ts"
import type { TokenUsage } from "../../schemas/llm.ts"
import type { CheckpointDelivery, DeliveredMessage, HistoryRecord } from "../../schemas/message.ts"
import {
  type GoalDeliveredRecord,
  type GoalInputRecord,
  type GoalLostRecord,
  type GoalTurnRecord,
  GoalWriter,
  type RecordList,
  readGoal,
} from "./history.ts"
import type { GoalPolicy } from "./policy.ts"

/** Which goal is asked for what it wants delivered. */
export interface GoalDeliveryOptions {
  readonly threadId: string
  readonly policy?: GoalPolicy
  /**
   * What people want of the goal and the driver was not told yet, in order, each with its time, by which its record in the
   * history is known again. One that is refused by now is recorded as well, so that it does not take effect later.
   */
  readonly commands?: readonly { readonly at: number; readonly command: GoalCommand }[]
  /** Goes on with the goal inside the turn where the turn would end, with the same brakes as between turns. Default false. */
  readonly continueInTurn?: boolean
  /** Whether the host delivers something of its own that comes first, so that the goal need not go on. Default false. */
  readonly queuedInput?: boolean
}

/**
 * What the goal wants said at a checkpoint: that a budget is reached, that the objective is another, and where the host
 * wants one long turn, to go on. `history` is the turn's (`machine.history`), `at` in milliseconds. Pure; hand the delivery
 * to the machine, whole, and the same is not said again. Where the turn would end, a reached budget is no reason to go on.
 */
export function goalDeliveries(history: RecordList, checkpoint: CheckpointKind, at: number, options: GoalDeliveryOptions): CheckpointDelivery {
  const { threadId, policy = {}, commands = [] } = options
  const found = readGoal(history, threadId)
  const goal = new GoalWriter(found, policy)
  const messages: DeliveredMessage[] = []
  const events: Json[] = []

  for (const { at: given, command } of commands) {
    const turnId = goal.state.turn?.turnId
    const input: GoalInput = { type: "command", at: given, ...(turnId !== undefined && { turnId }), command }
    for (const output of goal.give(input)) if (output.type === "steer") messages.push(output.message)
    events.push(asJson({ type: "goal_input", threadId, input, told: true }))
  }
  const ending = checkpoint === "before_completion"
  // A budget that was raised meanwhile is no reason to stop.
  const isLimited = goal.state.goal?.status === "budget_limited"
  const standing = found.undelivered.filter(({ kind }) => kind !== "budget_limit" || isLimited)
  const due = ending && !standing.some(({ kind }) => kind === "objective_updated") ? [] : standing
  if (due.length > 0 || standing.length < found.undelivered.length) {
    messages.unshift(...due.map(({ message }) => message))
    events.unshift(asJson({ type: "goal_delivered", threadId, count: found.undelivered.length }))
  }
  if (messages.length === 0 && ending && options.continueInTurn === true && options.queuedInput !== true) {
    const further = goOn(goal, history, at)
    if (further !== undefined) {
      messages.push(further.message)
      for (const input of further.inputs) events.push(goalInputEvent(threadId, input))
    }
  }
  return { ...(messages.length > 0 && { transientMessages: messages }), ...(events.length > 0 && { events }) }
}

/** The goal's turn ends here and its next one begins, though it is one turn to the host. */
function goOn(
  goal: GoalWriter,
  history: RecordList,
  at: number,
): { readonly message: DeliveredMessage; readonly inputs: readonly GoalInput[] } | undefined {
  const { turn } = goal.state
  if (turn === null) return undefined
  const { turnId, mode, reported: usage } = turn
  const finished: GoalInput = { type: "turn_finished", at, turnId, toolCalls: goal.toolCalls, finalText: lastAnswer(history) }
  goal.give(finished)
  const answer = goal.give({ type: "idle", at, mode, queuedInput: false, nextTurnId: turnId }).at(-1)
  if (answer?.type !== "continue" || answer.notBefore !== undefined) return undefined
  return { message: answer.message, inputs: [finished, { type: "turn_started", at, turnId, mode, usage, origin: "continuation" }] }
}

function lastAnswer(history: RecordList): string {
  for (let index = history.length - 1; index >= 0; index -= 1) {
    const record = history.at(index)
    if (record?.type !== "conversation" || record.message.role !== "assistant") continue
    return record.message.parts.map((part) => (part.type === "text" ? part.text : "")).join("")
  }
  return ""
}

/** An input as an event of a delivery, for the driver to apply: tokens of children, or what a sandbox was asked of the goal. */
export function goalInputEvent(threadId: string, input: GoalInput): Json {
  return asJson({ type: "goal_input", threadId, input })
}

/**
 * Tells of tokens that no response will ever tell of: a model call was begun, its answer was lost with its process, and it is
 * made again. Append it before that (`machine.apply`), and both calls are charged. An estimate will do.
 */
export function lostUsageRecord(threadId: string, turnId: string, usage: TokenUsage): HistoryRecord {
  return { type: "protocol", event: asJson({ type: "goal_lost", threadId, turnId, usage }) }
}

/**
 * Lets the goal's clock pass over the time in which nobody ran the thread: from the last that the history knows of until `at`, in
 * milliseconds. Append it where a thread is taken up, between turns or in mid-turn. `undefined`: no clock runs.
 */
export function stopRecord(history: RecordList, threadId: string, at: number): HistoryRecord | undefined {
  const { state, toolCalls, calls, warned, error } = readGoal(history, threadId)
  const { turn, clock } = state
  const { markedAt, seenAt } = clock
  if (markedAt === null || seenAt === null || at <= seenAt) return undefined
  const event: GoalTurnRecord = {
    type: "goal_turn",
    threadId,
    turn,
    clock: { seenAt: at, markedAt: markedAt + (at - seenAt) },
    toolCalls,
    ...(calls !== undefined && { calls }),
    ...(warned !== undefined && { warned }),
    ...(error !== undefined && { error }),
  }
  return { type: "protocol", event: asJson(event) }
}

/** What stands in the history is plain JSON by type. */
function asJson(record: GoalInputRecord | GoalDeliveredRecord | GoalLostRecord | GoalTurnRecord): Json {
  return record as unknown as Json
}

/** Several deliveries as one, each list in the order given. */
export function mergeDeliveries(...deliveries: readonly CheckpointDelivery[]): CheckpointDelivery {
  const userMessages = deliveries.flatMap((delivery) => delivery.userMessages ?? [])
  const messages: readonly DeliveredMessage[] = deliveries.flatMap((delivery) => delivery.messages ?? [])
  const transientMessages: readonly DeliveredMessage[] = deliveries.flatMap((delivery) => delivery.transientMessages ?? [])
  const turnCauses = deliveries.flatMap((delivery) => delivery.turnCauses ?? [])
  const events = deliveries.flatMap((delivery) => delivery.events ?? [])
  return {
    ...(userMessages.length > 0 && { userMessages }),
    ...(messages.length > 0 && { messages }),
    ...(transientMessages.length > 0 && { transientMessages }),
    ...(turnCauses.length > 0 && { turnCauses }),
    ...(events.length > 0 && { events }),
  }
}
