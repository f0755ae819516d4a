import * as z from "zod"
import { CheckpointKind, LogEvent, Outcome, TurnEvent } from "./event.ts"
import { Count, type Readonlys } from "./json.ts"
import { LlmRequest } from "./llm.ts"
import { HistoryRecord, Message } from "./message.ts"
import { PendingToolCall } from "./tool.ts"

const id = { id: Count }
const told = { messages: z.array(Message), eventDelta: z.array(HistoryRecord), iteration: Count }

/** Asks the host for the system prompt and tools of the coming iteration. Answer: `execution_surface_synced`. */
export const SyncExecutionSurface = z.object({ type: z.literal("sync_execution_surface"), ...id, updateMachineConfig: z.boolean() })
export type SyncExecutionSurface = Readonlys<z.infer<typeof SyncExecutionSurface>>
/** Call the model. Answer: `llm_complete`. */
export const LlmCall = z.object({ type: z.literal("llm_call"), ...id, request: LlmRequest })
export type LlmCall = Readonlys<z.infer<typeof LlmCall>>
/** Nobody waits any more for the `llm_call` with this id. Not answerable. */
export const CancelLlm = z.object({ type: z.literal("cancel_llm"), ...id })
export type CancelLlm = Readonlys<z.infer<typeof CancelLlm>>
/** Run these tools. Answer: `tool_results`, all at once or in parts. */
export const ToolCalls = z.object({ type: z.literal("tool_calls"), ...id, calls: z.array(PendingToolCall) })
export type ToolCalls = Readonlys<z.infer<typeof ToolCalls>>
/** Run this code. Answer: `exec_result`. */
export const ExecCode = z.object({ type: z.literal("exec_code"), ...id, code: z.string(), language: z.string().exactOptional() })
export type ExecCode = Readonlys<z.infer<typeof ExecCode>>
/** Save, and deliver if there is something to deliver. Answer: `checkpoint_delivery`. */
export const Checkpoint = z.object({ type: z.literal("checkpoint"), ...id, checkpoint: CheckpointKind })
export type Checkpoint = Readonlys<z.infer<typeof Checkpoint>>
/** What became durable since the last `progress`. `messages` is the whole transcript, `eventDelta` what is new in the history. */
export const Progress = z.object({ type: z.literal("progress"), ...told })
export type Progress = Readonlys<z.infer<typeof Progress>>
/** The turn is over; the last effect of every turn. */
export const Done = z.object({ type: z.literal("done"), outcome: Outcome, ...told })
export type Done = Readonlys<z.infer<typeof Done>>
/** For a user interface; may be lost or repeated. */
export const Emit = z.object({ type: z.literal("emit"), event: TurnEvent })
export type Emit = Readonlys<z.infer<typeof Emit>>
/** For a log. */
export const Log = z.object({ type: z.literal("log"), event: LogEvent })
export type Log = Readonlys<z.infer<typeof Log>>

const answerable = [SyncExecutionSurface, LlmCall, ToolCalls, ExecCode, Checkpoint] as const

/** An effect that waits for its answer. At most one is outstanding at a time. */
export const AnswerableEffect = z.discriminatedUnion("type", answerable)
export type AnswerableEffect = Readonlys<z.infer<typeof AnswerableEffect>>

/** Everything a turn asks of its host, or tells it. */
export const Effect = z.discriminatedUnion("type", [...answerable, CancelLlm, Progress, Done, Emit, Log])
export type Effect = Readonlys<z.infer<typeof Effect>>
