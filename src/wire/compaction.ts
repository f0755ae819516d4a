import type { TokenUsage } from "./llm.ts"

/**
 * Why a context was compacted. `threshold`: the next request would come close to the window. `overflow`: a request did not fit.
 * `manual`: a host asked for it. `delivered`: a host delivered the summary.
 */
export type CompactionReason = "threshold" | "overflow" | "manual" | "delivered"

/** A place in a transcript: its last message at that time, and how many there were. */
export type CompactionBase = {
  readonly messageId: string
  readonly count: number
}

/**
 * History record: from now on, requests show a summary in place of the messages up to `through`. The history and the transcript keep
 * those messages.
 */
export type CompactionRecord = {
  readonly type: "compaction"
  readonly contextReset: true
  /** Unique in the thread. */
  readonly id: string
  readonly reason: CompactionReason
  /** The id of the last message that the summary replaces. */
  readonly through: string
  /** The transcript when the record was made. */
  readonly base: CompactionBase
  readonly summary: string
  /** What the model must have word for word, such as the objective of a goal. Absent: nothing. */
  readonly restated?: string
  /** The ids of the user's messages that requests still show, in order. */
  readonly keptUserMessages: readonly string[]
  /** The estimated size of a request before, in tokens. */
  readonly tokensBefore: number
  /** The estimated size of a request after, in tokens. */
  readonly tokensAfter: number
  /** What the summary cost. It was counted where the model was called. Absent: unknown. */
  readonly usage?: TokenUsage
}

/** History record: the context must be compacted before the next model call. */
export type CompactionNeeded = {
  readonly type: "compaction_needed"
  readonly reason: "threshold" | "overflow"
  /** The size of the request, in tokens: as the provider reported it, or estimated. */
  readonly tokens: number
  /** How many messages the transcript had. */
  readonly count: number
}

/** Why a compaction failed. */
export type CompactionProblem =
  | "nothing_to_compact"
  | "too_little_gain"
  | "summary_too_long"
  | "call_failed"
  | "overflow"
  | "cut_off"
  | "tool_call"
  | "empty_answer"
  | "base_mismatch"

/** History record: a compaction failed. The context is unchanged. */
export type CompactionFailed = {
  readonly type: "compaction_failed"
  readonly id: string
  readonly reason: CompactionReason
  readonly problem: CompactionProblem
  /** What went wrong, for people. */
  readonly message: string
  /** How many messages the transcript had. */
  readonly count: number
}

/** Event that a host delivers: compact before the next model call. */
export type CompactionRequested = {
  readonly type: "compaction_requested"
}

/** Event that a host delivers: a summary of the messages up to `through`, made outside of the turn. */
export type CompactionDelivered = {
  readonly type: "compaction_delivered"
  /** The transcript that was summarized. The summary applies if the transcript still begins with it. */
  readonly base: CompactionBase
  /** The id of the last message that the summary replaces. */
  readonly through: string
  readonly summary: string
  /** What the summary cost. The turn does not count it: it was counted where the model was called. */
  readonly usage?: TokenUsage
}
