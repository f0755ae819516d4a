import type { Json } from "../json.ts"
import type { HoldCall } from "./approval.ts"
import type { CheckpointKind, Outcome, TurnEvent } from "./event.ts"
import type { LlmRequest } from "./llm.ts"
import type { HistoryRecord, Message } from "./message.ts"
import type { CompletedToolCall, PendingToolCall } from "./tool.ts"

/** Ends the turn. */
export type Finish = {
  readonly type: "finish"
  readonly outcome: Outcome
}

/** What follows an empty delivery. */
export type OnEmpty = { readonly type: "prepare_iteration" } | Finish

/** Starts a model call. */
export type StartLlm = {
  readonly type: "start_llm"
  readonly request: LlmRequest
  /** Marks a side call, such as `compaction`. Its text is not an answer: it is not emitted. Default: the call answers the conversation. */
  readonly purpose?: string
  /** Handed back to the driver with the answer. */
  readonly driverState?: Json
}

/** Starts a batch of tool calls. */
export type StartTools = {
  readonly type: "start_tools"
  /** All calls of the batch, in call order. The driver gets their results in this order. */
  readonly calls: readonly PendingToolCall[]
  /** The results of those calls that the driver answers itself. The host is asked only for the others; without any, for none. */
  readonly settled?: readonly CompletedToolCall[]
  /**
   * Those calls that wait for a person's decision. Each has a call id of its own in the batch. The driver needs `onToolDecisions`. A call
   * that is also settled is not held.
   */
  readonly held?: readonly HoldCall[]
}

/** Lets held calls run: those that were approved or edited, or that no decision names yet. Only in answer to a decision. */
export type ReleaseCalls = {
  readonly type: "release_calls"
  readonly requestIds: readonly string[]
  /** Who decided, where no decision names these calls. */
  readonly by?: string
}

/** Gives held calls their results, so that they never run. Only in answer to a decision. */
export type SettleCalls = {
  readonly type: "settle_calls"
  readonly results: readonly CompletedToolCall[]
  /** Who decided, where no decision names these calls. */
  readonly by?: string
}

/** Starts the execution of code. */
export type StartExec = {
  readonly type: "start_exec"
  readonly code: string
  readonly language?: string
  /** Handed back to the driver with the result. */
  readonly driverState: Json
}

/** Starts a checkpoint. */
export type StartCheckpoint = {
  readonly type: "start_checkpoint"
  readonly checkpoint: CheckpointKind
  readonly onEmpty: OnEmpty
}

/** What a driver may do. At most one action of a list starts work, and none follows `finish`. */
export type DriverAction =
  | { readonly type: "emit"; readonly event: TurnEvent }
  | { readonly type: "append_events"; readonly events: readonly HistoryRecord[] }
  | StartLlm
  | StartTools
  | ReleaseCalls
  | SettleCalls
  | StartExec
  | StartCheckpoint
  | { readonly type: "advance_iteration" }
  | { readonly type: "schedule_turn_limit_final"; readonly message: Message }
  | Finish
