import * as z from "zod"
import { Count, Json, type Readonlys } from "./json.ts"
import { AttachmentRef, ReplayMeta } from "./message.ts"

/** A tool as the model sees it. Schemas are JSON Schema. */
export const ToolSpec = z.object({
  name: z.string(),
  description: z.string(),
  inputSchema: Json,
  outputSchema: Json.exactOptional(),
})
export type ToolSpec = Readonlys<z.infer<typeof ToolSpec>>

/** A tool call that the host is asked to perform. */
export const PendingToolCall = z.object({ callId: z.string(), toolName: z.string(), args: Json, replay: ReplayMeta.exactOptional() })
export type PendingToolCall = Readonlys<z.infer<typeof PendingToolCall>>

/** Where a failure or a cancellation comes from. */
export const FailureSource = z.enum(["runtime", "tool", "plugin", "policy", "cancellation"])
export type FailureSource = z.infer<typeof FailureSource>

/** Why a tool failed, and whether trying again makes sense. */
export const ToolFailure = z.object({
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
})
export type ToolFailure = Readonlys<z.infer<typeof ToolFailure>>

/** What a tool tells the turn to do, besides its value. */
export const ToolControl = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("switch_agent_frame"),
    frameId: z.string(),
    initialNodes: z.array(Json).exactOptional(),
    task: z.string().exactOptional(),
  }),
  z.object({ type: z.literal("finish"), value: Json }),
  z.object({ type: z.literal("fail"), failure: ToolFailure }),
])
export type ToolControl = Readonlys<z.infer<typeof ToolControl>>

const control = { control: ToolControl.exactOptional() }

/** What came of a tool call. */
export const ToolOutput = z.discriminatedUnion("status", [
  z.object({ ...control, status: z.literal("success"), value: Json }),
  z.object({ ...control, status: z.literal("failure"), failure: ToolFailure }),
  z.object({ ...control, status: z.literal("cancelled"), message: z.string(), source: FailureSource, raw: Json.exactOptional() }),
])
export type ToolOutput = Readonlys<z.infer<typeof ToolOutput>>

/** What the model is shown of a result. Absent on a result: derived from its output. */
export const ModelReturn = z.object({
  parts: z.array(
    z.discriminatedUnion("type", [
      z.object({ type: z.literal("text"), text: z.string() }),
      z.object({ type: z.literal("attachment"), attachment: AttachmentRef }),
    ]),
  ),
})
export type ModelReturn = Readonlys<z.infer<typeof ModelReturn>>

/** A tool call with its result, as the host hands it back. */
export const CompletedToolCall = z.object({
  callId: z.string(),
  toolName: z.string(),
  args: Json,
  output: ToolOutput,
  modelReturn: ModelReturn.exactOptional(),
  durationMs: Count,
  replay: ReplayMeta.exactOptional(),
})
export type CompletedToolCall = Readonlys<z.infer<typeof CompletedToolCall>>

/** What came of executing code. `terminalFinish`: the value that the code submitted as the turn's result. */
export const ExecResponse = z.object({
  observations: z.array(z.string()),
  toolCalls: z.array(Json),
  images: z.array(Json),
  printedImages: z.array(AttachmentRef),
  error: z.string().exactOptional(),
  durationMs: Count,
  terminalFinish: Json.exactOptional(),
  observationTruncation: z.array(Json).exactOptional(),
})
export type ExecResponse = Readonlys<z.infer<typeof ExecResponse>>
