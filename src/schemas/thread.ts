import * as z from "zod"
import { Outcome } from "./event.ts"
import { GoalCommand, TurnOrigin } from "./goal.ts"
import { Count, Json, type Readonlys, Timestamp } from "./json.ts"
import { HistoryRecord, Message } from "./message.ts"

/** By this name the log of a thread is known among other files. */
export const THREAD_FORMAT = "turn-machine/thread"
/** Raised when a log of the version before would be misread. */
export const THREAD_VERSION = 1

const at = Timestamp

/** The first record. `meta` is the host's own, to find again. */
export const ThreadHeader = z.object({
  type: z.literal("header"),
  format: z.literal(THREAD_FORMAT),
  version: z.literal(THREAD_VERSION),
  threadId: z.string(),
  at,
  meta: Json.exactOptional(),
})
export type ThreadHeader = Readonlys<z.infer<typeof ThreadHeader>>

/** The user said something. It waits until a turn takes it: a new one, or the running one at its next checkpoint. */
export const ThreadSaid = z.object({ type: z.literal("said"), at, message: Message })

/** Somebody wants something of the goal. It waits likewise. Every command of a thread has a time of its own. */
export const ThreadCommanded = z.object({ type: z.literal("commanded"), at, command: GoalCommand })
export type ThreadCommanded = Readonlys<z.infer<typeof ThreadCommanded>>

/** What went into the history between turns, and the times of the commands that are settled by it. */
export const ThreadNoted = z.object({ type: z.literal("noted"), at, records: z.array(HistoryRecord), commands: z.array(at) })

/** A turn begins; its journal is kept apart. `said`: the ids of what it takes; `messages`: what it begins with besides. */
export const ThreadTurnBegun = z.object({
  type: z.literal("turn_begun"),
  at,
  turnId: z.string(),
  origin: TurnOrigin,
  said: z.array(z.string()),
  messages: z.array(Message),
})
export type ThreadTurnBegun = Readonlys<z.infer<typeof ThreadTurnBegun>>

/** The turn is over. `records`: what it adds to the history; `iteration`: its last. */
export const ThreadTurnEnded = z.object({
  type: z.literal("turn_ended"),
  at,
  turnId: z.string(),
  outcome: Outcome,
  iteration: Count,
  records: z.array(HistoryRecord),
})

/** One record of the log of a thread. */
export const ThreadRecord = z.discriminatedUnion("type", [ThreadHeader, ThreadSaid, ThreadCommanded, ThreadNoted, ThreadTurnBegun, ThreadTurnEnded])
export type ThreadRecord = Readonlys<z.infer<typeof ThreadRecord>>
