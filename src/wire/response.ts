import type { Decision } from "./approval.ts"
import type { LlmFailure, LlmResponse } from "./llm.ts"
import type { CheckpointDelivery } from "./message.ts"
import type { CompletedToolCall, ExecResponse, ToolSpec } from "./tool.ts"

/** Answers `sync_execution_surface`. */
export type ExecutionSurfaceSynced = {
  readonly type: "execution_surface_synced"
  /** The id of the effect that this answers. */
  readonly id: number
  /** When the answer arrived, in milliseconds since the epoch. */
  readonly at?: number
  readonly result:
    | { readonly ok: true; readonly update?: { readonly systemPrompt: string; readonly tools: readonly ToolSpec[] } }
    | { readonly ok: false; readonly error: string }
}

/** Answers `llm_call`. */
export type LlmComplete = {
  readonly type: "llm_complete"
  /** The id of the effect that this answers. */
  readonly id: number
  /** When the answer arrived, in milliseconds since the epoch. */
  readonly at?: number
  /** The purpose of the call, for those who read the journal without the effect. The turn ignores it. */
  readonly purpose?: string
  /** The host already showed the text, so the driver does not emit it again. */
  readonly textStreamed?: true
  readonly result:
    | { readonly ok: true; readonly response: LlmResponse }
    /** `partial`: what the model said before the call failed. Its usage counts, unless the failure has one. */
    | { readonly ok: false; readonly error: LlmFailure; readonly partial?: LlmResponse }
}

/** Answers `tool_calls`: results of all calls, or of some now and of the rest later. */
export type ToolResults = {
  readonly type: "tool_results"
  /** The id of the effect that this answers. */
  readonly id: number
  /** When the answer arrived, in milliseconds since the epoch. */
  readonly at?: number
  readonly results: readonly CompletedToolCall[]
}

/**
 * Decides about held calls of `tool_calls`: all at once, or in any split and order. The same decision again changes nothing, and a
 * contrary one is refused.
 */
export type ToolDecisions = {
  readonly type: "tool_decisions"
  /** The id of the effect that this answers. */
  readonly id: number
  /** When the decisions were made, in milliseconds since the epoch. */
  readonly at?: number
  readonly decisions: readonly Decision[]
}

/** Says that a call of `tool_calls` continues outside the host. Its result comes later, as `tool_results`. */
export type ToolPending = {
  readonly type: "tool_pending"
  /** The id of the effect that this answers. */
  readonly id: number
  /** When the answer arrived, in milliseconds since the epoch. */
  readonly at?: number
  readonly callId: string
  /** Identifies the work where it continues. */
  readonly token: string
  readonly note?: string
}

/** Answers `exec_code`. */
export type ExecResult = {
  readonly type: "exec_result"
  /** The id of the effect that this answers. */
  readonly id: number
  /** When the answer arrived, in milliseconds since the epoch. */
  readonly at?: number
  readonly result: { readonly ok: true; readonly value: ExecResponse } | { readonly ok: false; readonly error: string }
}

/** Answers `checkpoint`. After an empty delivery the turn continues as its driver decided. */
export type CheckpointDelivered = {
  readonly type: "checkpoint_delivery"
  /** The id of the effect that this answers. */
  readonly id: number
  /** When the answer arrived, in milliseconds since the epoch. */
  readonly at?: number
  readonly delivery: CheckpointDelivery
}

/** The answer to one effect. Unknown keys are ignored: a newer host may send more. */
export type Response = ExecutionSurfaceSynced | LlmComplete | ToolResults | ToolDecisions | ToolPending | ExecResult | CheckpointDelivered
