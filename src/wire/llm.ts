import type { Json } from "../json.ts"
import type { AttachmentRef, OpaqueContent, Producer, ReasoningReplay, ReplayMeta, ResponseMeta, ReturnPart } from "./message.ts"
import type { ToolSpec } from "./tool.ts"
import type { TokenUsage } from "./usage.ts"

export type { Producer } from "./message.ts"
export type { TokenUsage } from "./usage.ts"

/** What every piece of an answer, and every block of a request, may have. */
export type Replayed = {
  /** Free JSON of the provider that wrote this. It goes back to the same producer verbatim, and to no other. */
  readonly providerMetadata?: Json
}

/** Text in a model's answer. */
export type TextOutput = Replayed & {
  readonly type: "text"
  readonly text: string
  readonly responseMeta?: ResponseMeta
}

/** Text in a request. */
export type TextBlock = Replayed & {
  readonly type: "text"
  readonly text: string
  readonly responseMeta?: ResponseMeta
  /** The provider may cache the request up to here. */
  readonly cacheBreakpoint?: true
}

/** An image of the request's `attachments`. */
export type ImageBlock = Replayed & {
  readonly type: "image"
  /** An index into `LlmRequest.attachments`. */
  readonly attachmentIndex: number
}

/** A file of the request's `attachments` that is not an image, such as a PDF. */
export type FileBlock = Replayed & {
  readonly type: "file"
  /** An index into `LlmRequest.attachments`. */
  readonly attachmentIndex: number
}

/** Reasoning, in a request or an answer. */
export type ReasoningBlock = Replayed & {
  readonly type: "reasoning"
  readonly text: string
  readonly replay?: ReasoningReplay
}

/** A tool call, in a request or an answer. */
export type ToolCallBlock = Replayed & {
  readonly type: "tool_call"
  readonly callId: string
  readonly toolName: string
  /** The arguments as the model wrote them: JSON text that may be broken. */
  readonly inputJson: string
  readonly replay?: ReplayMeta
}

/** The result of a tool call, in a request. */
export type ToolResultBlock = Replayed & {
  readonly type: "tool_result"
  readonly callId: string
  readonly toolName?: string
  /** All texts of the result, joined by newlines. */
  readonly text: string
  /** The call failed or was cancelled. */
  readonly isError?: true
  /** Texts and attachments in order. Absent: `text` is all there is. The attachments follow as blocks of their own, too. */
  readonly content?: readonly ReturnPart[]
}

/** A piece of an answer that only its provider understands, in a request or an answer. */
export type OpaqueBlock = Replayed & OpaqueContent

/** One piece of a message in a request. */
export type Block = TextBlock | ImageBlock | FileBlock | ToolCallBlock | ToolResultBlock | ReasoningBlock | OpaqueBlock

/** One message of a request. Tool results are blocks of a `user` message. */
export type LlmMessage = {
  readonly role: "system" | "user" | "assistant"
  readonly blocks: readonly Block[]
  /** The model that wrote the message. A wire sends signatures and opaque blocks back only to the same producer. Absent: unknown. */
  readonly producer?: Producer
}

/** How the model generates. A wire leaves out what its provider does not know. */
export type Generation = {
  /** Tokens. Absent: the provider's own limit. */
  readonly maxOutputTokens?: number
  /** From 0 (always the most likely token) upwards; most providers accept at most 1 or 2. Absent: the provider's own. */
  readonly temperature?: number
  /** From 0 to 1: only the most likely tokens with this total probability are considered. Absent: the provider's own. */
  readonly topP?: number
  /** Texts at which the model stops. */
  readonly stopSequences?: readonly string[]
  /** Makes answers repeatable where the provider supports it. */
  readonly seed?: number
  /** How much the model reasons, in the provider's words, such as `low` or `high`. Overrides `modelVariant`. */
  readonly reasoningEffort?: string
  /** Further settings in the provider's own words. A wire adds them to its request body. */
  readonly providerOptions?: Json
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
  /** `false`: the model may make only one tool call in an answer. Absent: the provider's own rule. */
  readonly parallelToolCalls?: false
  /** How the model generates. */
  readonly generation: Generation
  /** `auto`: the wire marks what the provider should cache, where the provider wants marks. `off`: it marks nothing. Absent: `auto`. */
  readonly cache?: "auto" | "off"
  /** An id that providers may use to route calls of one session to one cache. */
  readonly sessionId?: string
  /** The form in which the model has to answer. Absent: any. */
  readonly outputSpec?: OutputSpec
}

/**
 * Why a model stopped. `refusal`: the model declined to answer. `paused`: the provider wants the same transcript, with this answer, once
 * more. `unknown`: the provider gave no reason, or one that is not listed here.
 */
export type TerminalReason =
  | "stop"
  | "tool_use"
  | "paused"
  | "output_limit"
  | "context_overflow"
  | "content_filter"
  | "refusal"
  | "provider_error"
  | "cancelled"
  | "unknown"

/** One piece of a model's answer. */
export type OutputPart = OpaqueBlock | TextOutput | ToolCallBlock | ReasoningBlock

/** A model's answer. */
export type LlmResponse = {
  /** All texts of `parts` as one. */
  readonly text: string
  /** What the model answered, in order: texts, reasoning, tool calls. */
  readonly parts: readonly OutputPart[]
  /** The tokens of this answer. Use zeros where the provider reports none. */
  readonly usage: TokenUsage
  /**
   * The tokens of failed attempts before this answer, and of what the provider did besides, such as compacting the context. They count in totals
   * and budgets, but not towards the prompt's size.
   */
  readonly retriedUsage?: TokenUsage
  /** The model that answered. It is stored with the answer. */
  readonly producer?: Producer
  /** How long the call took, in milliseconds. `runTurn` adds it. */
  readonly durationMs?: number
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

/** The kind of a failure, the same for every provider. */
export type LlmFailureKind =
  | "rate_limit"
  | "usage_limit"
  | "overloaded"
  | "auth"
  | "invalid_request"
  | "context_overflow"
  | "network"
  | "timeout"
  | "cancelled"
  | "other"

/** Why a model call failed. */
export type LlmFailure = {
  /** What went wrong, for people. */
  readonly message: string
  /** Whether the same call may succeed later. */
  readonly retryable: boolean
  /** A stable code, such as the HTTP status or the provider's own. */
  readonly code?: string
  /** What kind of failure it is, for programs. Absent: unknown. */
  readonly kind?: LlmFailureKind
  /** When the same call may succeed, in milliseconds since the epoch, where the provider said so. */
  readonly retryAt?: number
  /** What the provider sent, for logs. */
  readonly raw?: string
  /** What ended the call. */
  readonly terminalReason: TerminalReason
  /** The body that was sent to the provider, for logs. */
  readonly requestBody?: string
  /** The tokens that the failed call used, where the host knows. They count like those of an answer. */
  readonly usage?: TokenUsage
  /** The tokens of failed attempts before this one. They count in totals and budgets. */
  readonly retriedUsage?: TokenUsage
}
