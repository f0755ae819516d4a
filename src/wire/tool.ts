import type { Json } from "../json.ts"
import type { AttachmentRef, ReplayMeta, ReturnPart } from "./message.ts"
import type { TokenUsage } from "./usage.ts"

/** A tool as the model sees it. */
export type ToolSpec = {
  readonly name: string
  readonly description: string
  /** A JSON Schema of the arguments. */
  readonly inputSchema: Json
  /** A JSON Schema of the value. */
  readonly outputSchema?: Json
}

/** A tool call that the host is asked to run. */
export type PendingToolCall = {
  readonly callId: string
  readonly toolName: string
  readonly args: Json
  readonly replay?: ReplayMeta
}

/** Where a failure or a cancellation comes from. */
export type FailureSource = "runtime" | "tool" | "plugin" | "policy" | "cancellation"

/** Why a tool failed, and whether a retry makes sense. */
export type ToolFailure = {
  readonly class: "invalid_request" | "unavailable" | "permission_denied" | "timeout" | "execution" | "external" | "resource_limit" | "internal"
  /** A stable code to branch on. */
  readonly code: string
  /** What went wrong. The model reads it. */
  readonly message: string
  readonly source: FailureSource
  readonly retry: ToolRetry
  /** What the tool itself returned. */
  readonly raw?: Json
}

/** Whether a failed tool call may be retried. */
export type ToolRetry =
  | { readonly type: "never" }
  | { readonly type: "safe"; readonly afterMs?: number }
  | { readonly type: "exhausted"; readonly attempts: number }

/** What a tool makes the turn do, in addition to returning its value. */
export type ToolControl =
  | { readonly type: "switch_agent_frame"; readonly frameId: string; readonly initialNodes?: readonly Json[]; readonly task?: string }
  | { readonly type: "finish"; readonly value: Json }
  | { readonly type: "fail"; readonly failure: ToolFailure }

/** The tool ran and returned a value. */
export type ToolSuccess = {
  readonly status: "success"
  readonly value: Json
  readonly control?: ToolControl
}

/** The tool failed. */
export type FailedOutput = {
  readonly status: "failure"
  readonly failure: ToolFailure
  readonly control?: ToolControl
}

/** The tool call was cancelled. */
export type CancelledOutput = {
  readonly status: "cancelled"
  readonly message: string
  readonly source: FailureSource
  readonly raw?: Json
  readonly control?: ToolControl
}

/** The result of a tool call. */
export type ToolOutput = ToolSuccess | FailedOutput | CancelledOutput

/** What the model reads of a result. Absent on a result: derived from its output. */
export type ModelReturn = {
  readonly parts: readonly ReturnPart[]
}

/** A tool call with its result, as the host returns it. */
export type CompletedToolCall = {
  readonly callId: string
  readonly toolName: string
  readonly args: Json
  readonly output: ToolOutput
  readonly modelReturn?: ModelReturn
  /** A person changed the arguments: `args` are those that the call ran with. The machine sets it; what a host sends is ignored. */
  readonly edited?: true
  /** Milliseconds. */
  readonly durationMs: number
  readonly replay?: ReplayMeta
  /** Tokens that the tool itself used on models. They count in the turn's usage. */
  readonly usage?: TokenUsage
}

/** The result of executed code. */
export type ExecResponse = {
  readonly observations: readonly string[]
  readonly toolCalls: readonly Json[]
  readonly images: readonly Json[]
  readonly printedImages: readonly AttachmentRef[]
  readonly error?: string
  /** Milliseconds. */
  readonly durationMs: number
  /** The value that the code submitted as the result of the turn. */
  readonly terminalFinish?: Json
  readonly observationTruncation?: readonly Json[]
}
