import * as z from "zod"
import type * as wire from "../wire/event.ts"
import { HeldCall, VerdictName } from "./approval.ts"
import { Count, exact, Json, type Schema, type Tagged, Timestamp } from "./json.ts"
import { LlmFailureKind, TerminalReason, TokenUsage } from "./llm.ts"
import { DeliveredMessage } from "./message.ts"
import { ToolFailure, ToolOutput } from "./tool.ts"

/** The points of a turn at which a host saves and may deliver. */
export type CheckpointKind = wire.CheckpointKind
export const CheckpointKind: Schema<CheckpointKind> = exact(z.enum(["after_work", "before_completion"]))

/** An error with what a program needs (`kind`, `code`) apart from what a person reads (`userMessage`). */
export type ErrorEnvelope = wire.ErrorEnvelope
export const ErrorEnvelope: Tagged<ErrorEnvelope> = exact(
  z.object({
    kind: z.string(),
    code: z.string().exactOptional(),
    terminalReason: TerminalReason.exactOptional(),
    failureKind: LlmFailureKind.exactOptional(),
    retryAt: Timestamp.exactOptional(),
    userMessage: z.string(),
    raw: z.string().exactOptional(),
  }),
)

/** Why a turn stopped, as its `error` event said it. */
const stopError = { error: ErrorEnvelope.exactOptional() }

/** How a turn ended. */
export type Outcome = wire.Outcome
export const Outcome: Tagged<Outcome> = exact(
  z.discriminatedUnion("type", [
    z.object({
      type: z.literal("finished"),
      finish: z.discriminatedUnion("type", [
        z.object({ type: z.literal("assistant_message"), text: z.string() }),
        z.object({ type: z.literal("submitted_value"), value: Json }),
        z.object({ type: z.literal("tool_value"), toolName: z.string(), value: Json }),
      ]),
    }),
    z.object({ type: z.literal("agent_frame_switch"), frameId: z.string() }),
    z.object({
      type: z.literal("stopped"),
      stop: z.discriminatedUnion("type", [
        z.object({
          type: z.enum([
            "cancelled",
            "incomplete",
            "invalid_input",
            "max_iterations",
            "max_tokens",
            "deadline",
            "tool_failure",
            "provider_error",
            "plugin_abort",
            "runtime_error",
          ]),
          ...stopError,
        }),
        z.object({ type: z.literal("submitted_error"), value: Json, ...stopError }),
        // Json comes first: it passes the whole value through, where ToolFailure would drop unknown keys.
        z.object({ type: z.literal("tool_error"), toolName: z.string(), value: z.union([Json, ToolFailure]), ...stopError }),
      ]),
    }),
  ]),
)

/** An event of a plugin of the host. */
export type PluginEvent = wire.PluginEvent
export const PluginEvent: Tagged<PluginEvent> = exact(
  z.discriminatedUnion("type", [
    z.object({ type: z.literal("status"), key: z.string(), label: z.string(), detail: z.string().exactOptional() }),
    z.object({ type: z.literal("custom"), name: z.string(), payload: Json }),
  ]),
)

const toolCallId = { callId: z.string().exactOptional(), name: z.string(), args: Json }

/** What a user interface may show. Events may be lost or repeated; nothing durable depends on them. */
export type TurnEvent = wire.TurnEvent
export const TurnEvent: Tagged<TurnEvent> = exact(
  z.discriminatedUnion("type", [
    z.object({ type: z.enum(["text_delta", "reasoning_delta"]), content: z.string() }),
    z.object({ type: z.literal("message"), text: z.string(), kind: z.string() }),
    z.object({ type: z.literal("tool_call_start"), ...toolCallId }),
    z.object({ type: z.literal("tool_call"), ...toolCallId, output: ToolOutput, durationMs: Count }),
    z.object({
      type: z.literal("tool_progress"),
      callId: z.string(),
      name: z.string(),
      message: z.string().exactOptional(),
      progress: z.number().exactOptional(),
      total: z.number().exactOptional(),
    }),
    z.object({ type: z.literal("approval_requested"), held: HeldCall }),
    z.object({
      type: z.literal("approval_decided"),
      requestId: z.string(),
      callId: z.string(),
      name: z.string(),
      decision: VerdictName,
      args: Json.exactOptional(),
      by: z.string().exactOptional(),
    }),
    z.object({ type: z.literal("tool_pending"), callId: z.string(), name: z.string(), token: z.string(), note: z.string().exactOptional() }),
    z.object({
      type: z.literal("llm_request"),
      iteration: Count,
      messageCount: Count,
      tools: z.array(z.string()),
      purpose: z.string().exactOptional(),
    }),
    z.object({ type: z.literal("llm_response"), iteration: Count, content: z.string(), durationMs: Count }),
    z.object({ type: z.literal("token_usage"), iteration: Count, usage: TokenUsage, cumulative: TokenUsage }),
    z.object({
      type: z.literal("child_token_usage"),
      sessionId: z.string(),
      source: z.string(),
      model: z.string(),
      iteration: Count,
      usage: TokenUsage,
      cumulative: TokenUsage,
    }),
    z.object({
      type: z.literal("retry_status"),
      waitSeconds: z.number().check(z.nonnegative()),
      attempt: Count,
      maxAttempts: Count,
      reason: z.string(),
      envelope: ErrorEnvelope.exactOptional(),
    }),
    z.object({ type: z.literal("injected_turn_input_accepted"), inputs: z.array(Json), checkpoint: CheckpointKind }),
    z.object({ type: z.literal("injected_messages_committed"), messages: z.array(DeliveredMessage), checkpoint: CheckpointKind }),
    z.object({
      type: z.literal("plugin_event"),
      pluginId: z.string(),
      event: PluginEvent,
    }),
    z.object({ type: z.literal("turn_outcome"), outcome: Outcome }),
    z.object({ type: z.literal("done") }),
    z.object({ type: z.literal("error"), message: z.string(), envelope: ErrorEnvelope.exactOptional() }),
  ]),
)

const responsePartDigest = z.discriminatedUnion("type", [
  z.object({ type: z.literal("text"), text: z.string() }),
  z.object({
    type: z.literal("reasoning"),
    id: z.string().exactOptional(),
    summary: z.array(z.string()).exactOptional(),
    text: z.string(),
    hasEncrypted: z.boolean(),
    redacted: z.boolean(),
  }),
  z.object({
    type: z.literal("tool_call"),
    callId: z.string(),
    toolName: z.string(),
    inputJson: z.string(),
    id: z.string().exactOptional(),
    hasOpaque: z.boolean(),
  }),
  z.object({ type: z.literal("opaque"), provider: z.string(), kind: z.string() }),
])

/** What a host may write to its log about a model call. Emitted when `emitLlmTrace` is set. */
export type LogEvent = wire.LogEvent
export const LogEvent: Tagged<LogEvent> = exact(
  z.discriminatedUnion("type", [
    z.object({
      type: z.literal("llm_debug"),
      sessionId: z.string(),
      iteration: Count,
      usage: TokenUsage,
      providerUsage: Json.exactOptional(),
      requestBody: z.string().exactOptional(),
      responseText: z.string(),
      responseParts: z.array(responsePartDigest).exactOptional(),
    }),
    z.object({
      type: z.literal("llm_error"),
      sessionId: z.string(),
      iteration: Count,
      message: z.string(),
      retryable: z.boolean(),
      code: z.string().exactOptional(),
      raw: z.string().exactOptional(),
      terminalReason: TerminalReason,
      requestBody: z.string().exactOptional(),
      kind: LlmFailureKind.exactOptional(),
      retryAt: Timestamp.exactOptional(),
      usage: TokenUsage.exactOptional(),
      retriedUsage: TokenUsage.exactOptional(),
    }),
  ]),
)
