import type { Json } from "../json.ts"
import type { DriverAction } from "./action.ts"
import type { TurnCheckpoint } from "./checkpoint.ts"
import type { TurnStart } from "./config.ts"
import type { AnswerableEffect } from "./effect.ts"
import type { Outcome, TurnEvent } from "./event.ts"
import type { LlmResponse } from "./llm.ts"
import type { Message } from "./message.ts"
import type { Response } from "./response.ts"
import type { ToolSpec } from "./tool.ts"

/** The tool call of another turn that a turn runs for, as its child. */
export type JournalParent = {
  readonly turnId: string
  readonly effectId: number
  readonly callId: string
  /** Distinguishes several children of one call. */
  readonly name?: string
  /** 1 for the child of a turn that has no parent. */
  readonly depth: number
  /** The tokens that the child may use, reserved until it ends. Absent: no limit. */
  readonly lease?: number
  /** The call has its result, and does not wait for the child. The tool that continues the child after a crash, and its arguments. Absent: the call waits. */
  readonly detached?: { readonly toolName: string; readonly args: Json }
  /** The W3C `traceparent` of the span in which the child began. */
  readonly trace?: string
}

/**
 * The history that a turn of a thread begins with: what the thread's log says up to one of its records. The journal does not repeat it. The log is
 * beside the journal, in the same store or folder.
 */
export type JournalBase = {
  /** The name of the log. A journal whose name has a folder, up to its last `/`, has the log in that folder. */
  readonly log: string
  /** How many records of the log, the header included. */
  readonly records: number
  /** The checksum of the last of them, which covers all records before it. */
  readonly checksum: string
  /** How many messages of the transcript are from the log. They precede those of `start`, and those of each snapshot. */
  readonly messages: number
  /** How many records of the history are from the log. They precede those of `start`, and those of each snapshot. */
  readonly events: number
  /** The system prompt and tools are those that the log has last; the `surface` of the header is empty. */
  readonly surface?: true
}

/** The first record: what the turn began with, and a digest of each key of its configuration. */
export type JournalHeader = {
  readonly type: "header"
  readonly format: "turn-machine/journal"
  readonly version: 2
  /** Makes effect ids unique among turns. */
  readonly turnId: string
  readonly driver: { readonly name: string; readonly version: number }
  /** A digest for each key, so that a replay under another configuration can name what changed. */
  readonly config: Readonly<Record<string, string>>
  /** With a `base`, its messages and events are those after the ones of the log. */
  readonly start: TurnStart
  /** Absent: the journal has the whole history. */
  readonly base?: JournalBase
  /** The first system prompt and tools. A resumed turn keeps them, as one from a checkpoint does. */
  readonly surface: { readonly systemPrompt: string; readonly tools: readonly ToolSpec[] }
  /** Milliseconds since the epoch. */
  readonly at?: number
  /** The host's own data. */
  readonly meta?: Json
  /** How many records after this one a compaction removed. The numbers of later records count them. */
  readonly dropped?: number
  /** The record of another journal that was answered differently. */
  readonly forkedFrom?: { readonly turnId: string; readonly record: number }
  /** Absent: the turn is not a child. */
  readonly parent?: JournalParent
}

/** A command of the host. */
export type JournalInterruption = {
  readonly type: "interruption"
  /** The effect that was outstanding; absent if none was. */
  readonly effectId?: number
  readonly interruption:
    | { readonly type: "cancel"; readonly reason?: string; readonly partial?: LlmResponse; readonly answer?: Response }
    | { readonly type: "fail"; readonly event: TurnEvent; readonly partial?: LlmResponse }
    | { readonly type: "finish"; readonly outcome: Outcome; readonly partial?: LlmResponse }
    | { readonly type: "apply"; readonly actions: readonly DriverAction[] }
    | {
        readonly type: "redirect"
        readonly messages: readonly Message[]
        /** Milliseconds since the epoch. */
        readonly at?: number
        readonly partial?: LlmResponse
        readonly answer?: Response
      }
}

/**
 * The turn after the record before. A resumed turn starts from here and does not need earlier records. In a journal with a `base`, its messages
 * and events are those after the ones of the log; counts and indexes are those of the whole turn.
 */
export type JournalSnapshot = {
  readonly type: "snapshot"
  readonly checkpoint: TurnCheckpoint
  /** On its line, the checkpoint has only the messages and events after those of the snapshot before. In memory it has all of them. */
  readonly continues?: true
}

/** An effect as it was emitted. Recorded on request, so that a divergence can report what differs. */
export type JournalEffect = {
  readonly type: "effect"
  readonly effect: AnswerableEffect
}

/** A process resumed the turn. */
export type JournalOpened = {
  readonly type: "opened"
  /** Milliseconds since the epoch. */
  readonly at?: number
}

/** The turn runs in a span of a tracing system. The next run links to it. */
export type JournalTraced = {
  readonly type: "traced"
  /** The W3C `traceparent` of the span. */
  readonly trace: string
  /** Milliseconds since the epoch. */
  readonly at?: number
}

/**
 * A process continues the turn under another configuration. The snapshot right after it is the turn as it continues; without that
 * snapshot, which a crash may have torn off, nothing changed.
 */
export type JournalReconfigured = {
  readonly type: "reconfigured"
  readonly driver: JournalHeader["driver"]
  /** A digest for each key of the new configuration, as in the header. */
  readonly config: JournalHeader["config"]
  /** Milliseconds since the epoch. */
  readonly at?: number
}

/** A tool call, or code, that must not run twice is about to start. Without a later result it is unknown whether it took effect. */
export type JournalCallStarted = {
  readonly type: "call_started"
  readonly effectId: number
  /** The call of a batch; absent for the code of an effect. */
  readonly callId?: string
  /** Milliseconds since the epoch. */
  readonly at?: number
}

/**
 * A child of a tool call is about to begin, with tokens that are reserved for it from here on: a process from which the turn was taken can no
 * longer reserve any. The header of the child repeats them.
 */
export type JournalChildGranted = {
  readonly type: "child_granted"
  readonly effectId: number
  readonly callId: string
  /** The child's own name, if its tool gave it one. */
  readonly name?: string
  /** The tokens that the child may use. */
  readonly lease: number
  /** Milliseconds since the epoch. */
  readonly at?: number
}

/** The tokens of one child, which are reserved for it. */
export type ChildGrant = Omit<JournalChildGranted, "type" | "at">

/** The turn is over. */
export type JournalEnd = {
  readonly type: "end"
  readonly outcome: Outcome
}

/** One record of a journal. Responses are recorded as the host passed them in. */
export type JournalRecord =
  | JournalHeader
  | Response
  | JournalInterruption
  | JournalSnapshot
  | JournalEffect
  | JournalOpened
  | JournalTraced
  | JournalReconfigured
  | JournalCallStarted
  | JournalChildGranted
  | JournalEnd
