import type { Json } from "../json.ts"
import type { Outcome } from "./event.ts"
import type { GoalCommand, TurnOrigin } from "./goal.ts"
import type { HistoryRecord, Message } from "./message.ts"
import type { ToolSpec } from "./tool.ts"
import type { TokenUsage } from "./usage.ts"

/** Identifies the log of a thread among other files. */
export const THREAD_FORMAT = "turn-machine/thread"
/** Raised when this version would misread an older log. */
export const THREAD_VERSION = 1

/** The first record of a thread's log. */
export type ThreadHeader = {
  readonly type: "header"
  readonly format: typeof THREAD_FORMAT
  readonly version: typeof THREAD_VERSION
  readonly threadId: string
  /** Milliseconds since the epoch. */
  readonly at: number
  /** The host's own data. */
  readonly meta?: Json
}

/**
 * When a turn receives an input. `now`: at the next checkpoint of the running turn. `turn_end`: when the running turn would end, one each time.
 * `next_turn`: it begins a turn of its own. Without a running turn, each begins one.
 */
export type InputTime = "now" | "turn_end" | "next_turn"

/** A message of the user. It waits for the turn that receives it. */
export type ThreadSaid = {
  readonly type: "said"
  /** Milliseconds since the epoch. */
  readonly at: number
  /** Its id is the id of the input. */
  readonly message: Message
  /** Absent: `now`. */
  readonly when?: Exclude<InputTime, "now">
  /** Given by the sender. A message with a key is recorded once. */
  readonly key?: string
  /** The open turn stops its work, and continues with this input. It is assigned to the turn, as is every input before it that waits for a checkpoint. */
  readonly redirects?: true
}

/**
 * The open turn is about to receive inputs, at a checkpoint. From now on they cannot be retracted. A turn that ends before it receives them leaves
 * them to the next one, which begins with them.
 */
export type ThreadAssigned = {
  readonly type: "assigned"
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly inputs: readonly string[]
}

/** Inputs that no turn receives: their sender took them back, or an interrupt returned them. */
export type ThreadRetracted = {
  readonly type: "retracted"
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly inputs: readonly string[]
  /** They were returned by an interrupt. Absent: by their sender. */
  readonly by?: "interrupt"
}

/** An input has another place among those that wait for the same time. */
export type ThreadReordered = {
  readonly type: "reordered"
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly input: string
  /** The input that follows it. Absent: none does. */
  readonly before?: string
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
  /** The turn has no goal driver. Absent: it has one. */
  readonly goals?: false
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
  /** The tokens of the turn. Absent: an earlier release wrote the record. */
  readonly usage?: TokenUsage
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
  | ThreadAssigned
  | ThreadRetracted
  | ThreadReordered
  | ThreadCommanded
  | ThreadHappened
  | ThreadNoted
  | ThreadTurnBegun
  | ThreadTurnEnded
  | ThreadDeleted
