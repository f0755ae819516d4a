import type { Json } from "../json.ts"
import type { HeldCall, Verdict } from "./approval.ts"
import type { LlmFailureKind, TerminalReason, TokenUsage } from "./llm.ts"
import type { DeliveredMessage } from "./message.ts"
import type { ToolFailure, ToolOutput } from "./tool.ts"

/** The points of a turn at which a host saves and may deliver. */
export type CheckpointKind = "after_work" | "before_completion"

/** The turn reached a result. */
export type FinishedOutcome = {
  readonly type: "finished"
  readonly finish:
    | { readonly type: "assistant_message"; readonly text: string }
    | { readonly type: "submitted_value"; readonly value: Json }
    | { readonly type: "tool_value"; readonly toolName: string; readonly value: Json }
}

/** A tool handed the conversation to another agent frame. */
export type FrameSwitchOutcome = {
  readonly type: "agent_frame_switch"
  readonly frameId: string
}

/** The turn stopped without a result. */
export type StoppedOutcome = {
  readonly type: "stopped"
  readonly stop:
    | {
        readonly type:
          | "cancelled"
          | "incomplete"
          | "invalid_input"
          | "max_iterations"
          | "max_tokens"
          | "deadline"
          | "tool_failure"
          | "provider_error"
          | "plugin_abort"
          | "runtime_error"
        readonly error?: ErrorEnvelope
      }
    | { readonly type: "submitted_error"; readonly value: Json; readonly error?: ErrorEnvelope }
    | { readonly type: "tool_error"; readonly toolName: string; readonly value: Json | ToolFailure; readonly error?: ErrorEnvelope }
}

/** How a turn ended. */
export type Outcome = FinishedOutcome | FrameSwitchOutcome | StoppedOutcome

/** An error with what a program needs (`kind`, `code`) apart from what a person reads (`userMessage`). */
export type ErrorEnvelope = {
  readonly kind: string
  readonly code?: string
  readonly terminalReason?: TerminalReason
  /** The kind of a failed model call, where its client knows it: the same for every provider. */
  readonly failureKind?: LlmFailureKind
  /** When a failed model call may succeed, in milliseconds since the epoch, where the provider said so. */
  readonly retryAt?: number
  readonly userMessage: string
  /** What the provider sent; at most 4,000 characters. */
  readonly raw?: string
}

/** What a user interface may show. Events may be lost or repeated; nothing durable depends on them. */
export type TurnEvent =
  | { readonly type: "text_delta" | "reasoning_delta"; readonly content: string }
  | { readonly type: "message"; readonly text: string; readonly kind: string }
  | { readonly type: "tool_call_start"; readonly callId?: string; readonly name: string; readonly args: Json }
  | {
      readonly type: "tool_call"
      readonly callId?: string
      readonly name: string
      readonly args: Json
      readonly output: ToolOutput
      readonly durationMs: number
    }
  | {
      /** How far a running tool call has come. */
      readonly type: "tool_progress"
      readonly callId: string
      readonly name: string
      readonly message?: string
      /** How much is done, in a unit of the tool's own. */
      readonly progress?: number
      /** How much there is to do, in the same unit. Absent: unknown. */
      readonly total?: number
    }
  /** A call waits for a person's decision. */
  | { readonly type: "approval_requested"; readonly held: HeldCall }
  | {
      /** A held call has its decision. */
      readonly type: "approval_decided"
      readonly requestId: string
      readonly callId: string
      readonly name: string
      readonly decision: Verdict["decision"]
      /** The arguments that the call runs with, if they were edited. */
      readonly args?: Json
      readonly by?: string
    }
  /** The work of a call continues outside the host. */
  | { readonly type: "tool_pending"; readonly callId: string; readonly name: string; readonly token: string; readonly note?: string }
  | {
      readonly type: "llm_request"
      readonly iteration: number
      readonly messageCount: number
      readonly tools: readonly string[]
      /** Of a side call, such as `compaction`. Its text is not emitted. */
      readonly purpose?: string
    }
  | { readonly type: "llm_response"; readonly iteration: number; readonly content: string; readonly durationMs: number }
  | { readonly type: "token_usage"; readonly iteration: number; readonly usage: TokenUsage; readonly cumulative: TokenUsage }
  | {
      readonly type: "child_token_usage"
      readonly sessionId: string
      readonly source: string
      readonly model: string
      readonly iteration: number
      readonly usage: TokenUsage
      readonly cumulative: TokenUsage
    }
  | {
      readonly type: "retry_status"
      readonly waitSeconds: number
      readonly attempt: number
      readonly maxAttempts: number
      readonly reason: string
      readonly envelope?: ErrorEnvelope
    }
  | { readonly type: "injected_turn_input_accepted"; readonly inputs: readonly Json[]; readonly checkpoint: CheckpointKind }
  | { readonly type: "injected_messages_committed"; readonly messages: readonly DeliveredMessage[]; readonly checkpoint: CheckpointKind }
  | { readonly type: "plugin_event"; readonly pluginId: string; readonly event: PluginEvent }
  | { readonly type: "turn_outcome"; readonly outcome: Outcome }
  | { readonly type: "done" }
  | { readonly type: "error"; readonly message: string; readonly envelope?: ErrorEnvelope }

/** An event of a plugin of the host. */
export type PluginEvent =
  | { readonly type: "status"; readonly key: string; readonly label: string; readonly detail?: string }
  | { readonly type: "custom"; readonly name: string; readonly payload: Json }

/** One piece of a model's answer, without the provider's opaque data. */
export type PartDigest =
  | { readonly type: "text"; readonly text: string }
  | {
      readonly type: "reasoning"
      readonly id?: string
      readonly summary?: readonly string[]
      readonly text: string
      readonly hasEncrypted: boolean
      readonly redacted: boolean
    }
  | {
      readonly type: "tool_call"
      readonly callId: string
      readonly toolName: string
      readonly inputJson: string
      readonly id?: string
      readonly hasOpaque: boolean
    }
  | { readonly type: "opaque"; readonly provider: string; readonly kind: string }

/** What a host may write to its log about a model call. Emitted when `emitLlmTrace` is set. */
export type LogEvent =
  | {
      readonly type: "llm_debug"
      readonly sessionId: string
      readonly iteration: number
      readonly usage: TokenUsage
      readonly providerUsage?: Json
      readonly requestBody?: string
      readonly responseText: string
      readonly responseParts?: readonly PartDigest[]
    }
  | {
      readonly type: "llm_error"
      readonly sessionId: string
      readonly iteration: number
      readonly message: string
      readonly retryable: boolean
      readonly code?: string
      readonly raw?: string
      readonly terminalReason: TerminalReason
      readonly requestBody?: string
      readonly kind?: LlmFailureKind
      readonly retryAt?: number
      readonly usage?: TokenUsage
      readonly retriedUsage?: TokenUsage
    }
