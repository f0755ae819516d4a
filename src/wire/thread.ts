import type { Json } from "../json.ts"
import type { Outcome } from "./event.ts"
import type { GoalCommand, TurnOrigin } from "./goal.ts"
import type { HistoryRecord, Message } from "./message.ts"
import type { ToolSpec } from "./tool.ts"

/** The first record of a thread's log. */
export type ThreadHeader = {
  readonly type: "header"
  readonly format: "turn-machine/thread"
  readonly version: 1
  readonly threadId: string
  /** Milliseconds since the epoch. */
  readonly at: number
  /** The host's own data. */
  readonly meta?: Json
}

/** A message of the user. It waits for a new turn, or for the next checkpoint of the running one. */
export type ThreadSaid = {
  readonly type: "said"
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly message: Message
  /** Given by the sender. A message with a key is recorded once. */
  readonly key?: string
}

/** A command for the goal. It waits as a message does. Every command of a thread has a time of its own. */
export type ThreadCommanded = {
  readonly type: "commanded"
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly command: GoalCommand
  /** Given by the sender. A command with a key is recorded once. */
  readonly key?: string
}

/** Something happened that a goal may wait for. It counts between turns. Its time differs from those of all commands and other events. */
export type ThreadHappened = {
  readonly type: "happened"
  /** Milliseconds since the epoch. */
  readonly at: number
  /** The name of the event. */
  readonly event: string
  /** Given by the sender. An event with a key is recorded once. */
  readonly key?: string
}

/** What was added to the history between turns, and the times of the commands and events that it settles. */
export type ThreadNoted = {
  readonly type: "noted"
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly records: readonly HistoryRecord[]
  readonly commands: readonly number[]
}

/** A turn begins. Its journal is stored separately. */
export type ThreadTurnBegun = {
  readonly type: "turn_begun"
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly turnId: string
  readonly origin: TurnOrigin
  /** The ids of the waiting messages that the turn begins with. */
  readonly said: readonly string[]
  /** Other messages that the turn begins with. They belong to the history, except for those whose origin is transient. */
  readonly messages: readonly Message[]
}

/** A turn ended. */
export type ThreadTurnEnded = {
  readonly type: "turn_ended"
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly turnId: string
  readonly outcome: Outcome
  /** The turn's last iteration. */
  readonly iteration: number
  /** What the turn adds to the history. */
  readonly records: readonly HistoryRecord[]
  /** How many of them, from the first, the turn has reported as `progress`. The others are of its end. Absent: all. */
  readonly reported?: number
  /** A digest of the turn's last system prompt and tools. The next turn compares it with its own. */
  readonly surface?: string
  /** The prompt and tools of that digest, if they are not those that the log has last. The journals of later turns refer to them. */
  readonly newSurface?: { readonly systemPrompt: string; readonly tools: readonly ToolSpec[] }
  /** On its line, the text of the outcome is left out: it is that of the last message. In memory it is there. */
  readonly answered?: true
  /** On its line, the messages of these `records`, by index, have no parts: `said` records have them. In memory they are there. */
  readonly said?: readonly number[]
}

/** The deletion of the thread has begun. Nothing follows. */
export type ThreadDeleted = {
  readonly type: "deleted"
  /** When the record before it was written. Milliseconds since the epoch. */
  readonly at: number
}

/** One record of the log of a thread. */
export type ThreadRecord =
  | ThreadHeader
  | ThreadSaid
  | ThreadCommanded
  | ThreadHappened
  | ThreadNoted
  | ThreadTurnBegun
  | ThreadTurnEnded
  | ThreadDeleted
