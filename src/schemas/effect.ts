import * as z from "zod"
import type * as wire from "../wire/effect.ts"
import { ExternalCall, HeldCall } from "./approval.ts"
import { CheckpointKind, LogEvent, Outcome, TurnEvent } from "./event.ts"
import { Count, exact, type Tagged } from "./json.ts"
import { LlmRequest } from "./llm.ts"
import { HistoryRecord, Message } from "./message.ts"
import { PendingToolCall } from "./tool.ts"
import { TokenUsage } from "./usage.ts"

const id = { id: Count }
const report = { messages: z.array(Message), eventDelta: z.array(HistoryRecord), recordsFrom: Count, iteration: Count }

/** Asks the host for the system prompt and tools of the next iteration. Answer: `execution_surface_synced`. */
export type SyncExecutionSurface = wire.SyncExecutionSurface
export const SyncExecutionSurface: Tagged<SyncExecutionSurface> = exact(
  z.object({ type: z.literal("sync_execution_surface"), ...id, updateMachineConfig: z.boolean() }),
)
/** Asks for a model call. Answer: `llm_complete`. */
export type LlmCall = wire.LlmCall
export const LlmCall: Tagged<LlmCall> = exact(
  z.object({ type: z.literal("llm_call"), ...id, request: LlmRequest, purpose: z.string().exactOptional() }),
)
/** The turn no longer waits for the `llm_call` with this id. No answer. */
export type CancelLlm = wire.CancelLlm
export const CancelLlm: Tagged<CancelLlm> = exact(z.object({ type: z.literal("cancel_llm"), ...id }))
/** Asks for tool calls to be run. Answer: `tool_results`, all at once or in parts; `tool_decisions` for held calls. */
export type ToolCalls = wire.ToolCalls
export const ToolCalls: Tagged<ToolCalls> = exact(
  z.object({
    type: z.literal("tool_calls"),
    ...id,
    calls: z.array(PendingToolCall),
    held: z.array(HeldCall).exactOptional(),
    pending: z.array(ExternalCall).exactOptional(),
  }),
)
/** Held calls of the outstanding batch that may run now. No answer of its own: their results answer the batch. */
export type ToolCallsReleased = wire.ToolCallsReleased
export const ToolCallsReleased: Tagged<ToolCallsReleased> = exact(
  z.object({ type: z.literal("tool_calls_released"), ...id, calls: z.array(PendingToolCall) }),
)
/** Asks for code to be run. Answer: `exec_result`. */
export type ExecCode = wire.ExecCode
export const ExecCode: Tagged<ExecCode> = exact(
  z.object({ type: z.literal("exec_code"), ...id, code: z.string(), language: z.string().exactOptional() }),
)
/** Asks the host to save the turn, and to deliver what there is to deliver. Answer: `checkpoint_delivery`. */
export type Checkpoint = wire.Checkpoint
export const Checkpoint: Tagged<Checkpoint> = exact(z.object({ type: z.literal("checkpoint"), ...id, checkpoint: CheckpointKind }))
/** Reports what became durable since the last `progress`. No answer. */
export type Progress = wire.Progress
export const Progress: Tagged<Progress> = exact(z.object({ type: z.literal("progress"), ...report }))
/** The turn is over. The last effect of every turn; no answer. */
export type Done = wire.Done
export const Done: Tagged<Done> = exact(z.object({ type: z.literal("done"), outcome: Outcome, ...report, usage: TokenUsage }))
/** An event for a user interface. May be lost or repeated. No answer. */
export type Emit = wire.Emit
export const Emit: Tagged<Emit> = exact(z.object({ type: z.literal("emit"), event: TurnEvent }))
/** An entry for a log. No answer. */
export type Log = wire.Log
export const Log: Tagged<Log> = exact(z.object({ type: z.literal("log"), event: LogEvent }))

const answerable = [SyncExecutionSurface, LlmCall, ToolCalls, ExecCode, Checkpoint] as const

/** An effect that waits for its answer. At most one is outstanding at a time. */
export type AnswerableEffect = wire.AnswerableEffect
export const AnswerableEffect: Tagged<AnswerableEffect> = exact(z.discriminatedUnion("type", answerable))

/** Everything that a turn asks of its host or reports to it. */
export type Effect = wire.Effect
export const Effect: Tagged<Effect> = exact(z.discriminatedUnion("type", [...answerable, ToolCallsReleased, CancelLlm, Progress, Done, Emit, Log]))
