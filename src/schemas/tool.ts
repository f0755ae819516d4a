import * as z from "zod"
import type * as wire from "../wire/tool.ts"
import { Count, exact, Json, type Schema, type Tagged } from "./json.ts"
import { AttachmentRef, ReplayMeta, ReturnPart } from "./message.ts"
import { TokenUsage } from "./usage.ts"

/** A tool as the model sees it. */
export type ToolSpec = wire.ToolSpec
export const ToolSpec: Tagged<ToolSpec> = exact(
  z.object({
    name: z.string(),
    description: z.string(),
    inputSchema: Json,
    outputSchema: Json.exactOptional(),
  }),
)

/** The fields of a {@link PendingToolCall}. */
export const pendingCall: {
  readonly callId: z.ZodString
  readonly toolName: z.ZodString
  readonly args: typeof Json
  readonly replay: z.ZodExactOptional<typeof ReplayMeta>
} = { callId: z.string(), toolName: z.string(), args: Json, replay: ReplayMeta.exactOptional() }
/** A tool call that the host is asked to run. */
export type PendingToolCall = wire.PendingToolCall
export const PendingToolCall: Tagged<PendingToolCall> = exact(z.object(pendingCall))

/** Where a failure or a cancellation comes from. */
export type FailureSource = wire.FailureSource
export const FailureSource: Schema<FailureSource> = exact(z.enum(["runtime", "tool", "plugin", "policy", "cancellation"]))

/** Why a tool failed, and whether a retry makes sense. */
export type ToolFailure = wire.ToolFailure
export const ToolFailure: Tagged<ToolFailure> = exact(
  z.object({
    class: z.enum(["invalid_request", "unavailable", "permission_denied", "timeout", "execution", "external", "resource_limit", "internal"]),
    code: z.string(),
    message: z.string(),
    source: FailureSource,
    retry: z.discriminatedUnion("type", [
      z.object({ type: z.literal("never") }),
      z.object({ type: z.literal("safe"), afterMs: Count.exactOptional() }),
      z.object({ type: z.literal("exhausted"), attempts: Count }),
    ]),
    raw: Json.exactOptional(),
  }),
)

/** What a tool makes the turn do, in addition to returning its value. */
export type ToolControl = wire.ToolControl
export const ToolControl: Tagged<ToolControl> = exact(
  z.discriminatedUnion("type", [
    z.object({
      type: z.literal("switch_agent_frame"),
      frameId: z.string(),
      initialNodes: z.array(Json).exactOptional(),
      task: z.string().exactOptional(),
    }),
    z.object({ type: z.literal("finish"), value: Json }),
    z.object({ type: z.literal("fail"), failure: ToolFailure }),
  ]),
)

const control = { control: ToolControl.exactOptional() }

/** The result of a tool call. */
export type ToolOutput = wire.ToolOutput
export const ToolOutput: Tagged<ToolOutput> = exact(
  z.discriminatedUnion("status", [
    z.object({ ...control, status: z.literal("success"), value: Json }),
    z.object({ ...control, status: z.literal("failure"), failure: ToolFailure }),
    z.object({ ...control, status: z.literal("cancelled"), message: z.string(), source: FailureSource, raw: Json.exactOptional() }),
  ]),
)

/** What the model reads of a result. Absent on a result: derived from its output. */
export type ModelReturn = wire.ModelReturn
export const ModelReturn: Tagged<ModelReturn> = exact(z.object({ parts: z.array(ReturnPart) }))

/** A tool call with its result, as the host returns it. */
export type CompletedToolCall = wire.CompletedToolCall
export const CompletedToolCall: Tagged<CompletedToolCall> = exact(
  z.object({
    callId: z.string(),
    toolName: z.string(),
    args: Json,
    output: ToolOutput,
    modelReturn: ModelReturn.exactOptional(),
    edited: z.literal(true).exactOptional(),
    durationMs: Count,
    replay: ReplayMeta.exactOptional(),
    usage: TokenUsage.exactOptional(),
  }),
)

/** The result of executed code. */
export type ExecResponse = wire.ExecResponse
export const ExecResponse: Tagged<ExecResponse> = exact(
  z.object({
    observations: z.array(z.string()),
    toolCalls: z.array(Json),
    images: z.array(Json),
    printedImages: z.array(AttachmentRef),
    error: z.string().exactOptional(),
    durationMs: Count,
    terminalFinish: Json.exactOptional(),
    observationTruncation: z.array(Json).exactOptional(),
  }),
)
