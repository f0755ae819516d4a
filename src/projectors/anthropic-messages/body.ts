import type { Json } from "../../json.ts"

/** The body of a Messages request. JSON. */
export interface AnthropicBody {
  readonly model: string
  readonly max_tokens: number
  readonly system?: readonly AnthropicText[]
  readonly messages: readonly AnthropicMessage[]
  readonly tools?: readonly AnthropicTool[]
  readonly tool_choice?: AnthropicToolChoice
  readonly temperature?: number
  readonly top_p?: number
  readonly stop_sequences?: readonly string[]
  readonly thinking?: AnthropicThinking
  readonly output_config?: AnthropicOutputConfig
  readonly stream?: true
  /** Where the provider runs code of the model. */
  readonly container?: string
  readonly [key: string]: unknown
}

export interface AnthropicOutputConfig {
  readonly effort?: string
  readonly format?: { readonly type: "json_schema"; readonly schema: Json }
  readonly [key: string]: unknown
}

/** How the model thinks. `budget_tokens`: at least 1,024 and less than `max_tokens`. */
export type AnthropicThinking =
  | { readonly type: "adaptive"; readonly display?: "summarized" | "omitted" }
  | { readonly type: "enabled"; readonly budget_tokens: number; readonly display?: "summarized" | "omitted" }
  | { readonly type: "disabled" }

export type AnthropicToolChoice =
  | { readonly type: "auto" | "any"; readonly disable_parallel_tool_use?: true }
  | { readonly type: "tool"; readonly name: string; readonly disable_parallel_tool_use?: true }
  | { readonly type: "none" }

/** One turn of the conversation. The roles alternate, and the user begins. */
export interface AnthropicMessage {
  readonly role: "user" | "assistant"
  readonly content: readonly AnthropicBlock[]
}

/** The provider caches the request up to the block that has this mark. */
export interface AnthropicCacheControl {
  readonly type: "ephemeral"
  readonly ttl?: "5m" | "1h"
}

/** A block that may have a mark for the cache. */
export interface AnthropicCacheable {
  readonly cache_control?: AnthropicCacheControl
}

export interface AnthropicText extends AnthropicCacheable {
  readonly type: "text"
  readonly text: string
  /** Sources of the text, as the provider sent them. */
  readonly citations?: readonly Json[]
}

export interface AnthropicImage extends AnthropicCacheable {
  readonly type: "image"
  readonly source:
    | { readonly type: "base64"; readonly media_type: AnthropicImageType; readonly data: string }
    | { readonly type: "url"; readonly url: string }
}

export type AnthropicImageType = "image/jpeg" | "image/png" | "image/gif" | "image/webp"

export interface AnthropicDocument extends AnthropicCacheable {
  readonly type: "document"
  readonly source:
    | { readonly type: "base64"; readonly media_type: "application/pdf"; readonly data: string }
    | { readonly type: "url"; readonly url: string }
  readonly title?: string
}

export interface AnthropicToolUse extends AnthropicCacheable {
  readonly type: "tool_use"
  readonly id: string
  readonly name: string
  readonly input: { readonly [key: string]: Json }
}

export interface AnthropicToolResult extends AnthropicCacheable {
  readonly type: "tool_result"
  readonly tool_use_id: string
  readonly content?: readonly AnthropicResultContent[]
  readonly is_error?: true
}

export type AnthropicResultContent = AnthropicText | AnthropicImage | AnthropicDocument

export interface AnthropicReasoning {
  readonly type: "thinking"
  readonly thinking: string
  readonly signature: string
}

export interface AnthropicRedactedReasoning {
  readonly type: "redacted_thinking"
  readonly data: string
}

/** The blocks that have a name here. In a body, others of the provider's own may stand between them, as the provider sent them. */
export type AnthropicBlock =
  | AnthropicText
  | AnthropicImage
  | AnthropicDocument
  | AnthropicToolUse
  | AnthropicToolResult
  | AnthropicReasoning
  | AnthropicRedactedReasoning

export interface AnthropicTool extends AnthropicCacheable {
  readonly name: string
  readonly description?: string
  readonly input_schema: { readonly type: "object"; readonly [key: string]: Json }
}
