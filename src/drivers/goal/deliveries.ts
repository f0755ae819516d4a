import type { Json } from "../../json.ts"
import { heldUntil } from "../../machine/context.ts"
import type { TurnPosition } from "../../machine/turn.ts"
import type { CheckpointKind } from "../../wire/event.ts"
import type { GoalCommand, GoalInput } from "../../wire/goal.ts"
import type { TokenUsage } from "../../wire/llm.ts"
import type { CheckpointDelivery, DeliveredMessage, HistoryRecord } from "../../wire/message.ts"
import { asJson, GoalWriter, protocolRecord, type RecordList, readGoal, turnRecord } from "./history.ts"
import { asMessage } from "./messages.ts"
import { type FullGoalPolicy, fullPolicy, type GoalPolicy, isDurable } from "./policy.ts"

/** How long a turn has waited for nothing but people, and until when that is known: `machine.turn.position`. */
export type TurnWaits = Pick<TurnPosition, "at" | "heldSince" | "heldMs">

/** Options of {@link goalDeliveries}. */
export interface GoalDeliveryOptions {
  readonly threadId: string
  readonly policy?: GoalPolicy
  /**
   * Commands not yet delivered to the driver, in order. `at` (milliseconds) identifies the record of a command in the history.
   * A command that is refused is recorded too, so that it does not take effect later.
   */
  readonly commands?: readonly { readonly at: number; readonly command: GoalCommand }[]
  /** Continues the goal within the turn when the turn would end, with the same brakes as between turns. With `endedBy: "judge"` it does not. Default false. */
  readonly continueInTurn?: boolean
  /** Whether the host delivers input of its own, which takes precedence over a continuation. Default false. */
  readonly queuedInput?: boolean
}

/**
 * Returns the goal's messages for a checkpoint: a budget is reached, the objective changed, and, with `continueInTurn`, a
 * continuation. They are durable `userMessages` with the origin plugin `goal`; under `compat: "reference"` they are transient. `history`
 * is `machine.history`; `at` is in milliseconds since the epoch. Pure. Give the complete delivery to the machine, so that no message is
 * sent twice. At `before_completion`, a reached budget alone does not continue the turn.
 */
export function goalDeliveries(history: RecordList, checkpoint: CheckpointKind, at: number, options: GoalDeliveryOptions): CheckpointDelivery {
  const { threadId, policy = {}, commands = [] } = options
  const found = readGoal(history, threadId)
  const goal = new GoalWriter(found, policy)
  const messages: DeliveredMessage[] = []
  const events: Json[] = []

  for (const { at: commandedAt, command } of commands) {
    const turnId = goal.state.turn?.turnId
    const input: GoalInput = { type: "command", at: commandedAt, ...(turnId !== undefined && { turnId }), command }
    for (const output of goal.apply(input)) if (output.type === "steer") messages.push(output.message)
    events.push(asJson({ type: "goal_input", threadId, input, told: true }))
  }
  const ending = checkpoint === "before_completion"
  // The budget may have been raised after the message was created.
  const isLimited = goal.state.goal?.status === "budget_limited"
  const pending = found.undelivered.filter(({ kind }) => kind !== "budget_limit" || isLimited)
  const due = ending && !pending.some(({ kind }) => kind === "objective_updated") ? [] : pending
  if (due.length > 0 || pending.length < found.undelivered.length) {
    messages.unshift(...due.map(({ message }) => message))
    events.unshift(asJson({ type: "goal_delivered", threadId, count: found.undelivered.length }))
  }
  // A judge that ends the goal is asked when the turn has ended.
  const mayContinue = options.continueInTurn === true && options.queuedInput !== true && policy.endedBy !== "judge"
  if (messages.length === 0 && ending && mayContinue) {
    const continuation = continueInTurn(goal, history, at)
    if (continuation !== undefined) {
      messages.push(continuation.message)
      for (const input of continuation.inputs) events.push(goalInputEvent(threadId, input))
    }
  }
  return { ...messagesOf(messages, history.length, goal, fullPolicy(policy)), ...(events.length > 0 && { events }) }
}

/** The history grows with each delivered message, so its length makes an id that no other message of the thread has. */
function messagesOf(messages: readonly DeliveredMessage[], length: number, { state }: GoalWriter, policy: FullGoalPolicy): CheckpointDelivery {
  if (messages.length === 0) return {}
  if (!isDurable(policy)) return { transientMessages: messages }
  const turnId = state.turn?.turnId ?? state.threadId
  return { userMessages: messages.map((message, index) => asMessage(message, `${turnId}.goal${length + index}`)) }
}

/** Ends the goal's turn and starts its next one, within one turn of the host. */
function continueInTurn(
  goal: GoalWriter,
  history: RecordList,
  at: number,
): { readonly message: DeliveredMessage; readonly inputs: readonly GoalInput[] } | undefined {
  const { turn } = goal.state
  if (turn === null) return undefined
  const { turnId, mode, reported: usage } = turn
  const finished: GoalInput = { type: "turn_finished", at, turnId, toolCalls: goal.toolCalls, finalText: lastAssistantText(history) }
  goal.apply(finished)
  const answer = goal.apply({ type: "idle", at, mode, queuedInput: false, nextTurnId: turnId }).at(-1)
  if (answer?.type !== "continue" || answer.notBefore !== undefined) return undefined
  return { message: answer.reminder ?? answer.message, inputs: [finished, { type: "turn_started", at, turnId, mode, usage, origin: "continuation" }] }
}

/** The text of the last answer. Its parts include their separators (see `ReadResponse.texts`). */
function lastAssistantText(history: RecordList): string {
  for (let index = history.length - 1; index >= 0; index -= 1) {
    const record = history.at(index)
    if (record?.type !== "conversation" || record.message.role !== "assistant") continue
    return record.message.parts.map((part) => (part.type === "text" ? part.text : "")).join("")
  }
  return ""
}

/** Wraps an input as an event of a delivery, for the driver to apply: usage of children, or a goal input from a sandbox. */
export function goalInputEvent(threadId: string, input: GoalInput): Json {
  return asJson({ type: "goal_input", threadId, input })
}

/**
 * Records usage that no response reports: a model call whose answer was lost with its process and which is made again.
 * Append the record before the second call (`machine.apply`), so that both calls are charged. An estimate is enough.
 */
export function lostUsageRecord(threadId: string, turnId: string, usage: TokenUsage): HistoryRecord {
  return protocolRecord({ type: "goal_unreported_usage", threadId, turnId, usage })
}

/**
 * Excludes downtime from the goal's clock: the time from the last record to `at` (milliseconds since the epoch). Append the
 * record when a thread is resumed, between turns or during one. `undefined` if no clock runs.
 *
 * `waits`: that of the turn that is resumed. The downtime then begins with its last response. While the turn waits for people there is no
 * record, because that time is not charged.
 */
export function stopRecord(history: RecordList, threadId: string, at: number, waits?: TurnWaits): HistoryRecord | undefined {
  if (waits?.heldSince !== undefined) return undefined
  const goal = readGoal(history, threadId)
  const { markedAt, seenAt } = goal.state.clock
  if (markedAt === null || seenAt === null) return undefined
  const from = Math.max(seenAt, waits?.at ?? seenAt)
  if (at <= from) return undefined
  const clock = { seenAt: at, markedAt: markedAt + (at - from) }
  return protocolRecord(turnRecord({ ...goal, state: { ...goal.state, clock } }))
}

/**
 * Excludes from the goal's clock what an open turn waited for people until `at`, where its driver is not asked any more: the turn was
 * cancelled while it waited. `undefined` if there is nothing to exclude.
 */
export function heldRecord(history: RecordList, threadId: string, waits: TurnWaits, at: number): HistoryRecord | undefined {
  const goal = readGoal(history, threadId)
  const heldMs = heldUntil(waits, at)
  if (goal.state.turn === null || goal.state.clock.markedAt === null || heldMs <= goal.heldMs) return undefined
  const writer = new GoalWriter(goal, {})
  writer.excludeHeld(heldMs, at)
  return protocolRecord(turnRecord(writer))
}

/** Merges deliveries into one. Each list keeps the order of the arguments. */
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
