import * as z from "zod"
import type * as wire from "../wire/thread-event.ts"
import { HeldCall, VerdictName } from "./approval.ts"
import { ErrorEnvelope, Outcome, PluginEvent } from "./event.ts"
import { Goal, GoalCause, TurnOrigin } from "./goal.ts"
import { Count, exact, Json, type Tagged, Timestamp } from "./json.ts"
import { LlmFailureKind, TerminalReason, TokenUsage } from "./llm.ts"
import { Message } from "./message.ts"
import { ExecResponse, ToolOutput } from "./tool.ts"

const place = { cursor: z.string(), at: Timestamp.exactOptional() }
const turnId = z.string()
const call = { turnId, callId: z.string(), toolName: z.string() }

/** An event that is recorded: no reader misses it, and none receives it twice. */
export type DurableThreadEvent = wire.DurableThreadEvent
export const DurableThreadEvent: Tagged<DurableThreadEvent> = exact(
  z.discriminatedUnion("type", [
    z.object({
      type: z.literal("input_queued"),
      ...place,
      inputId: z.string(),
      message: Message,
      key: z.string().exactOptional(),
      when: z.enum(["turn_end", "next_turn"]).exactOptional(),
    }),
    z.object({ type: z.literal("input_retracted"), ...place, inputId: z.string(), by: z.literal("interrupt").exactOptional() }),
    z.object({ type: z.literal("input_reordered"), ...place, inputId: z.string(), before: z.string().exactOptional() }),
    z.object({ type: z.literal("turn_started"), ...place, turnId, origin: TurnOrigin }),
    z.object({ type: z.literal("turn_ended"), ...place, turnId, outcome: Outcome, usage: TokenUsage.exactOptional() }),
    z.object({ type: z.literal("message"), ...place, turnId: turnId.exactOptional(), message: Message }),
    z.object({
      type: z.literal("model_call_ended"),
      ...place,
      turnId,
      effectId: Count,
      terminalReason: TerminalReason,
      usage: TokenUsage.exactOptional(),
      error: z.object({ message: z.string(), code: z.string().exactOptional(), kind: LlmFailureKind.exactOptional() }).exactOptional(),
    }),
    z.object({ type: z.literal("tool_call_started"), ...place, ...call, effectId: Count, args: Json }),
    z.object({
      type: z.literal("tool_call_ended"),
      ...place,
      ...call,
      callId: z.string().exactOptional(),
      status: z.enum(["success", "failure", "cancelled"]),
      output: ToolOutput.exactOptional(),
      durationMs: Count.exactOptional(),
    }),
    z.object({ type: z.literal("approval_requested"), ...place, turnId, held: HeldCall }),
    z.object({
      type: z.literal("approval_decided"),
      ...place,
      ...call,
      requestId: z.string(),
      decision: VerdictName,
      args: Json.exactOptional(),
      by: z.string().exactOptional(),
    }),
    z.object({ type: z.literal("tool_call_pending"), ...place, ...call, token: z.string(), note: z.string().exactOptional() }),
    z.object({ type: z.literal("code_started"), ...place, turnId, effectId: Count, code: z.string(), language: z.string().exactOptional() }),
    z.object({
      type: z.literal("code_ended"),
      ...place,
      turnId,
      effectId: Count,
      result: ExecResponse.exactOptional(),
      error: z.string().exactOptional(),
    }),
    z.object({ type: z.literal("redirected"), ...place, turnId }),
    z.object({
      type: z.literal("goal_updated"),
      ...place,
      turnId: turnId.exactOptional(),
      cause: GoalCause,
      goal: Goal.nullable(),
    }),
    z.object({
      type: z.literal("notice"),
      ...place,
      turnId: turnId.exactOptional(),
      kind: z.string(),
      text: z.string().exactOptional(),
      event: Json.exactOptional(),
    }),
    z.object({ type: z.literal("error"), ...place, turnId, message: z.string(), envelope: ErrorEnvelope.exactOptional() }),
  ]),
)

/** An event of the process that runs the turn. It has no cursor, and may be lost or repeated. */
export type LiveThreadEvent = wire.LiveThreadEvent
export const LiveThreadEvent: Tagged<LiveThreadEvent> = exact(
  z.discriminatedUnion("type", [
    z.object({ type: z.literal("model_call_started"), turnId, effectId: Count }),
    z.object({ type: z.enum(["text_delta", "reasoning_delta"]), turnId, effectId: Count, delta: z.string() }),
    z.object({
      type: z.literal("tool_progress"),
      ...call,
      message: z.string().exactOptional(),
      progress: z.number().exactOptional(),
      total: z.number().exactOptional(),
    }),
    z.object({
      type: z.literal("retry"),
      turnId,
      effectId: Count,
      waitSeconds: z.number().check(z.nonnegative()),
      attempt: Count,
      maxAttempts: Count,
      reason: z.string(),
    }),
    z.object({ type: z.literal("plugin_event"), turnId, pluginId: z.string(), event: PluginEvent }),
  ]),
)

/** What a user interface shows of a thread. */
export type ThreadEvent = wire.ThreadEvent
export const ThreadEvent: Tagged<ThreadEvent> = exact(z.discriminatedUnion("type", [DurableThreadEvent, LiveThreadEvent]))
