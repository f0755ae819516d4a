import * as z from "zod"
import type * as wire from "../wire/thread.ts"
import { THREAD_FORMAT, THREAD_VERSION } from "../wire/thread.ts"
import { Outcome } from "./event.ts"
import { GoalCommand, TurnOrigin } from "./goal.ts"
import { Count, exact, Json, type Tagged, Timestamp } from "./json.ts"
import { TokenUsage } from "./llm.ts"
import { HistoryRecord, Message } from "./message.ts"
import { ToolSpec } from "./tool.ts"

const at = Timestamp

/** The first record of a thread's log. */
export type ThreadHeader = wire.ThreadHeader
export const ThreadHeader: Tagged<ThreadHeader> = exact(
  z.object({
    type: z.literal("header"),
    format: z.literal(THREAD_FORMAT),
    version: z.literal(THREAD_VERSION),
    threadId: z.string(),
    at,
    meta: Json.exactOptional(),
  }),
)

/** When a turn receives an input. */
export type InputTime = wire.InputTime

/** A message of the user. It waits for the turn that receives it. */
export type ThreadSaid = wire.ThreadSaid
export const ThreadSaid: Tagged<wire.ThreadSaid> = exact(
  z.object({
    type: z.literal("said"),
    at,
    message: Message,
    when: z.enum(["turn_end", "next_turn"]).exactOptional(),
    key: z.string().exactOptional(),
    redirects: z.literal(true).exactOptional(),
  }),
)

const inputs = z.array(z.string())

/** The open turn is about to receive inputs. */
export type ThreadAssigned = wire.ThreadAssigned
export const ThreadAssigned: Tagged<ThreadAssigned> = exact(z.object({ type: z.literal("assigned"), at, inputs }))

/** Inputs that no turn receives. */
export type ThreadRetracted = wire.ThreadRetracted
export const ThreadRetracted: Tagged<ThreadRetracted> = exact(
  z.object({ type: z.literal("retracted"), at, inputs, by: z.literal("interrupt").exactOptional() }),
)

/** An input has another place among those that wait for the same time. */
export type ThreadReordered = wire.ThreadReordered
export const ThreadReordered: Tagged<ThreadReordered> = exact(
  z.object({ type: z.literal("reordered"), at, input: z.string(), before: z.string().exactOptional() }),
)

/** A command for the goal. It waits as a message does. Every command of a thread has a time of its own. */
export type ThreadCommanded = wire.ThreadCommanded
export const ThreadCommanded: Tagged<ThreadCommanded> = exact(
  z.object({ type: z.literal("commanded"), at, command: GoalCommand, key: z.string().exactOptional() }),
)

/** Something happened that a goal may wait for. */
export type ThreadHappened = wire.ThreadHappened
export const ThreadHappened: Tagged<ThreadHappened> = exact(
  z.object({ type: z.literal("happened"), at, event: z.string(), key: z.string().exactOptional() }),
)

/** What was added to the history between turns, and the times of the commands and events that it settles. */
export const ThreadNoted: Tagged<wire.ThreadNoted> = exact(
  z.object({ type: z.literal("noted"), at, records: z.array(HistoryRecord), commands: z.array(at) }),
)

/** A turn begins. Its journal is stored separately. */
export type ThreadTurnBegun = wire.ThreadTurnBegun
export const ThreadTurnBegun: Tagged<ThreadTurnBegun> = exact(
  z.object({
    type: z.literal("turn_begun"),
    at,
    turnId: z.string(),
    origin: TurnOrigin,
    said: z.array(z.string()),
    messages: z.array(Message),
    goals: z.literal(false).exactOptional(),
  }),
)

/** A turn ended. */
export type ThreadTurnEnded = wire.ThreadTurnEnded
export const ThreadTurnEnded: Tagged<ThreadTurnEnded> = exact(
  z.object({
    type: z.literal("turn_ended"),
    at,
    turnId: z.string(),
    outcome: Outcome,
    iteration: Count,
    records: z.array(HistoryRecord),
    reported: Count.exactOptional(),
    usage: TokenUsage.exactOptional(),
    surface: z.string().exactOptional(),
    newSurface: z.object({ systemPrompt: z.string(), tools: z.array(ToolSpec) }).exactOptional(),
    answered: z.literal(true).exactOptional(),
    said: z.array(Count).exactOptional(),
  }),
)

/** The deletion of the thread has begun. Nothing follows. */
export const ThreadDeleted: Tagged<wire.ThreadDeleted> = exact(z.object({ type: z.literal("deleted"), at }))

/** One record of the log of a thread. */
export type ThreadRecord = wire.ThreadRecord
export const ThreadRecord: Tagged<ThreadRecord> = exact(
  z.discriminatedUnion("type", [
    ThreadHeader,
    ThreadSaid,
    ThreadAssigned,
    ThreadRetracted,
    ThreadReordered,
    ThreadCommanded,
    ThreadHappened,
    ThreadNoted,
    ThreadTurnBegun,
    ThreadTurnEnded,
    ThreadDeleted,
  ]),
)
