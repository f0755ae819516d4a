import type { Json } from "../../json.ts"
import type { CheckpointKind } from "../../schemas/event.ts"
import type { GoalInput } from "../../schemas/goal.ts"
import type { CheckpointDelivery, DeliveredMessage } from "../../schemas/message.ts"
import { type GoalDeliveredRecord, type GoalInHistory, type GoalInputRecord, GoalWriter, type RecordList, readGoal } from "./history.ts"
import type { GoalPolicy } from "./policy.ts"

/** Which goal is asked for what it wants delivered. */
export interface GoalDeliveryOptions {
  readonly threadId: string
  readonly policy?: GoalPolicy
  /** Goes on with the goal inside the turn where the turn would end, with the same brakes as between turns. Default false. */
  readonly continueInTurn?: boolean
}

/**
 * What the goal wants said at a checkpoint: that a budget is reached, that the objective is another, and where the host
 * wants one long turn, to go on. `history` is the turn's (`machine.events`), `at` in milliseconds. Pure; hand the delivery
 * to the machine, whole, and the same is not said again.
 */
export function goalDeliveries(history: RecordList, checkpoint: CheckpointKind, at: number, options: GoalDeliveryOptions): CheckpointDelivery {
  const { threadId } = options
  const found = readGoal(history, threadId)
  const { undelivered } = found
  if (undelivered.length > 0) {
    const delivered: GoalDeliveredRecord = { type: "goal_delivered", threadId, count: undelivered.length }
    return { transientMessages: undelivered.map(({ message }) => message), events: [delivered as unknown as Json] }
  }
  if (checkpoint !== "before_completion" || options.continueInTurn !== true) return {}
  return continueHere(history, found, at, options)
}

/** The goal's turn ends here and its next one begins, though it is one turn to the host. */
function continueHere(history: RecordList, found: GoalInHistory, at: number, { threadId, policy = {} }: GoalDeliveryOptions): CheckpointDelivery {
  const { turn } = found.state
  if (turn === null) return {}
  const { turnId, mode, reported: usage } = turn
  const finished: GoalInput = { type: "turn_finished", at, turnId, toolCalls: found.toolCalls, finalText: lastAnswer(history) }
  const writer = new GoalWriter(found, policy)
  writer.give(finished)
  const answer = writer.give({ type: "idle", at, mode, queuedInput: false, nextTurnId: turnId }).at(-1)
  if (answer?.type !== "continue" || answer.notBefore !== undefined) return {}
  const events = [
    goalInputEvent(threadId, finished),
    goalInputEvent(threadId, { type: "turn_started", at, turnId, mode, usage, origin: "continuation" }),
  ]
  return { transientMessages: [answer.message], events }
}

function lastAnswer(history: RecordList): string {
  for (let index = history.length - 1; index >= 0; index -= 1) {
    const record = history.at(index)
    if (record?.type !== "conversation" || record.message.role !== "assistant") continue
    return record.message.parts.map((part) => (part.type === "text" ? part.text : "")).join("")
  }
  return ""
}

/** An input as an event of a delivery: what a person wants of the goal while the turn runs (`{ type: "command", … }`). */
export function goalInputEvent(threadId: string, input: GoalInput): Json {
  const record: GoalInputRecord = { type: "goal_input", threadId, input }
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
