import * as z from "zod"
import type * as wire from "../wire/response.ts"
import { Decision } from "./approval.ts"
import { Count, exact, type Tagged, Timestamp } from "./json.ts"
import { LlmFailure, LlmResponse } from "./llm.ts"
import { CheckpointDelivery } from "./message.ts"
import { CompletedToolCall, ExecResponse, ToolSpec } from "./tool.ts"

const answer = { id: Count, at: Timestamp.exactOptional() }

/** Answers `sync_execution_surface`. */
export type ExecutionSurfaceSynced = wire.ExecutionSurfaceSynced
export const ExecutionSurfaceSynced: Tagged<ExecutionSurfaceSynced> = exact(
  z.object({
    type: z.literal("execution_surface_synced"),
    ...answer,
    result: z.discriminatedUnion("ok", [
      z.object({
        ok: z.literal(true),
        update: z.object({ systemPrompt: z.string(), tools: z.array(ToolSpec) }).exactOptional(),
      }),
      z.object({ ok: z.literal(false), error: z.string() }),
    ]),
  }),
)

/** Answers `llm_call`. */
export type LlmComplete = wire.LlmComplete
export const LlmComplete: Tagged<LlmComplete> = exact(
  z.object({
    type: z.literal("llm_complete"),
    ...answer,
    purpose: z.string().exactOptional(),
    textStreamed: z.literal(true).exactOptional(),
    result: z.discriminatedUnion("ok", [
      z.object({ ok: z.literal(true), response: LlmResponse }),
      z.object({ ok: z.literal(false), error: LlmFailure, partial: LlmResponse.exactOptional() }),
    ]),
  }),
)

/** Answers `tool_calls`: results of all calls, or of some now and of the rest later. */
export type ToolResults = wire.ToolResults
export const ToolResults: Tagged<ToolResults> = exact(z.object({ type: z.literal("tool_results"), ...answer, results: z.array(CompletedToolCall) }))

/**
 * Decides about held calls of `tool_calls`: all at once, or in any split and order. The same decision again changes nothing, and a
 * contrary one is refused.
 */
export type ToolDecisions = wire.ToolDecisions
export const ToolDecisions: Tagged<ToolDecisions> = exact(z.object({ type: z.literal("tool_decisions"), ...answer, decisions: z.array(Decision) }))

/** Says that a call of `tool_calls` continues outside the host. Its result comes later, as `tool_results`. */
export type ToolPending = wire.ToolPending
export const ToolPending: Tagged<ToolPending> = exact(
  z.object({ type: z.literal("tool_pending"), ...answer, callId: z.string(), token: z.string(), note: z.string().exactOptional() }),
)

/** Answers `exec_code`. */
export type ExecResult = wire.ExecResult
export const ExecResult: Tagged<ExecResult> = exact(
  z.object({
    type: z.literal("exec_result"),
    ...answer,
    result: z.discriminatedUnion("ok", [
      z.object({ ok: z.literal(true), value: ExecResponse }),
      z.object({ ok: z.literal(false), error: z.string() }),
    ]),
  }),
)

/** Answers `checkpoint`. After an empty delivery the turn continues as its driver decided. */
export type CheckpointDelivered = wire.CheckpointDelivered
export const CheckpointDelivered: Tagged<CheckpointDelivered> = exact(
  z.object({ type: z.literal("checkpoint_delivery"), ...answer, delivery: CheckpointDelivery }),
)

/** The answer to one effect. Unknown keys are ignored: a newer host may send more. */
export type Response = wire.Response
export const Response: Tagged<Response> = exact(
  z.discriminatedUnion("type", [ExecutionSurfaceSynced, LlmComplete, ToolResults, ToolDecisions, ToolPending, ExecResult, CheckpointDelivered]),
)
