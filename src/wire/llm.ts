import type { Json } from "../json.ts"
import type { AttachmentRef, ReasoningReplay, ReplayMeta, ResponseMeta } from "./message.ts"
import type { ToolSpec } from "./tool.ts"

/** Text in a model's answer. */
export type TextOutput = {
  readonly type: "text"
  readonly text: string
  readonly responseMeta?: ResponseMeta
}

/** Text in a request. */
export type TextBlock = {
  readonly type: "text"
  readonly text: string
  readonly responseMeta?: ResponseMeta
  /** The provider may cache the request up to here. */
  readonly cacheBreakpoint?: true
}

/** An image of the request's `attachments`. */
export type ImageBlock = {
  readonly type: "image"
  /** An index into `LlmRequest.attachments`. */
  readonly attachmentIndex: number
}

/** Reasoning, in a request or an answer. */
export type ReasoningBlock = {
  readonly type: "reasoning"
  readonly text: string
  readonly replay?: ReasoningReplay
}

/** A tool call, in a request or an answer. */
export type ToolCallBlock = {
  readonly type: "tool_call"
  readonly callId: string
  readonly toolName: string
  /** The arguments as the model wrote them: JSON text that may be broken. */
  readonly inputJson: string
  readonly replay?: ReplayMeta
}

/** The result of a tool call, in a request. */
export type ToolResultBlock = {
  readonly type: "tool_result"
  readonly callId: string
  readonly toolName?: string
  readonly text: string
}

/** One piece of a message in a request. */
export type Block = TextBlock | ImageBlock | ToolCallBlock | ToolResultBlock | ReasoningBlock

/** One message of a request. Tool results are blocks of a `user` message. */
export type LlmMessage = {
  readonly role: "system" | "user" | "assistant"
  readonly blocks: readonly Block[]
}

/** Limits of what the model generates. */
export type Generation = {
  /** Tokens. Absent: the provider's own limit. */
  readonly maxOutputTokens?: number
}

/** The form in which the model has to answer. */
export type OutputSpec =
  | { readonly type: "json_object" }
  | { readonly type: "json_schema"; readonly name: string; readonly schema: Json; readonly strict: boolean }

/** One model call, in no provider's own format. */
export type LlmRequest = {
  /** The model's name at its provider. */
  readonly model: string
  /** A variant of the model, such as a reasoning effort. The model client gives it its meaning. */
  readonly modelVariant?: string
  /** The conversation, the system prompt first. */
  readonly messages: readonly LlmMessage[]
  /** The images that `image` blocks refer to by their index. */
  readonly attachments: readonly AttachmentRef[]
  /** The tools that the model may call. */
  readonly tools: readonly ToolSpec[]
  /** Whether the model may call tools (`auto`), may not (`none`), has to (`required`), or has to call the named one. */
  readonly toolChoice: "auto" | "none" | "required" | { readonly toolName: string }
  /** Limits of what is generated. */
  readonly generation: Generation
  /** An id that providers may use to route calls of one session to one cache. */
  readonly sessionId?: string
  /** The form in which the model has to answer. Absent: any. */
  readonly outputSpec?: OutputSpec
}

/** Tokens, in buckets that do not overlap, except that `reasoningTokens` are part of `outputTokens`. */
export type TokenUsage = {
  /** Prompt tokens that were not read from the provider's cache. */
  readonly inputTokens: number
  /** Prompt tokens that were read from the provider's cache. */
  readonly cachedInputTokens: number
  /** All generated tokens. */
  readonly outputTokens: number
  /** The part of `outputTokens` that was spent on reasoning. */
  readonly reasoningTokens: number
}

/** Why a model stopped. `unknown`: the provider gave no reason, or one that is not listed here. */
export type TerminalReason = "stop" | "tool_use" | "output_limit" | "context_overflow" | "content_filter" | "provider_error" | "cancelled" | "unknown"

/** One piece of a model's answer. */
export type OutputPart = TextOutput | ReasoningBlock | ToolCallBlock

/** A model's answer. */
export type LlmResponse = {
  /** All texts of `parts` as one. */
  readonly text: string
  /** What the model answered, in order: texts, reasoning, tool calls. */
  readonly parts: readonly OutputPart[]
  /** The tokens of this call. Use zeros where the provider reports none. */
  readonly usage: TokenUsage
  /** Why the model stopped. */
  readonly terminalReason: TerminalReason
  /** A sentence about `terminalReason`, for people. */
  readonly terminalDiagnostic?: string
  /** The provider's own usage report, for logs. */
  readonly providerUsage?: Json
  /** The body that was sent to the provider, for logs. */
  readonly requestBody?: string
  /** The HTTP exchange in a line, for logs. */
  readonly httpSummary?: string
}

/** Why a model call failed. */
export type LlmFailure = {
  /** What went wrong, for people. */
  readonly message: string
  /** Whether the same call may succeed later. */
  readonly retryable: boolean
  /** A stable code, such as the HTTP status or the provider's own. */
  readonly code?: string
  /** What the provider sent, for logs. */
  readonly raw?: string
  /** What ended the call. */
  readonly terminalReason: TerminalReason
  /** The body that was sent to the provider, for logs. */
  readonly requestBody?: string
  /** The tokens that the failed call used, where the host knows. They count like those of an answer. */
  readonly usage?: TokenUsage
}
