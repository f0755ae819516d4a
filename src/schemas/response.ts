import * as z from "zod"
import { Count, type Readonlys, Timestamp } from "./json.ts"
import { LlmFailure, LlmResponse } from "./llm.ts"
import { CheckpointDelivery } from "./message.ts"
import { CompletedToolCall, ExecResponse, ToolSpec } from "./tool.ts"

const answer = { id: Count, at: Timestamp.exactOptional() }

/** Answers `sync_execution_surface`. */
export const ExecutionSurfaceSynced = z.object({
  type: z.literal("execution_surface_synced"),
  ...answer,
  result: z.discriminatedUnion("ok", [
    z.object({
      ok: z.literal(true),
      update: z.object({ systemPrompt: z.string(), tools: z.array(ToolSpec) }).exactOptional(),
    }),
    z.object({ ok: z.literal(false), error: z.string() }),
  ]),
})
export type ExecutionSurfaceSynced = Readonlys<z.infer<typeof ExecutionSurfaceSynced>>

/** Answers `llm_call`. `textStreamed`: the host already showed the text, so the driver does not emit it again. */
export const LlmComplete = z.object({
  type: z.literal("llm_complete"),
  ...answer,
  textStreamed: z.literal(true).exactOptional(),
  result: z.discriminatedUnion("ok", [
    z.object({ ok: z.literal(true), response: LlmResponse }),
    z.object({ ok: z.literal(false), error: LlmFailure }),
  ]),
})
export type LlmComplete = Readonlys<z.infer<typeof LlmComplete>>

/** Answers `tool_calls`: results of all calls, or of some now and the rest later. */
export const ToolResults = z.object({ type: z.literal("tool_results"), ...answer, results: z.array(CompletedToolCall) })
export type ToolResults = Readonlys<z.infer<typeof ToolResults>>

/** Answers `exec_code`. */
export const ExecResult = z.object({
  type: z.literal("exec_result"),
  ...answer,
  result: z.discriminatedUnion("ok", [z.object({ ok: z.literal(true), value: ExecResponse }), z.object({ ok: z.literal(false), error: z.string() })]),
})
export type ExecResult = Readonlys<z.infer<typeof ExecResult>>

/** Answers `checkpoint`. An empty delivery lets the turn go on as its driver ordered. */
export const CheckpointDelivered = z.object({ type: z.literal("checkpoint_delivery"), ...answer, delivery: CheckpointDelivery })
export type CheckpointDelivered = Readonlys<z.infer<typeof CheckpointDelivered>>

/** The answer to one effect. Unknown keys are ignored: a newer host may send more. */
export const Response = z.discriminatedUnion("type", [ExecutionSurfaceSynced, LlmComplete, ToolResults, ExecResult, CheckpointDelivered])
export type Response = Readonlys<z.infer<typeof Response>>
