import type { Json } from "../../json.ts"

/** The body of a Chat Completions request. JSON. */
export interface OpenAiChatBody {
  readonly model: string
  readonly messages: readonly OpenAiMessage[]
  readonly tools?: readonly OpenAiTool[]
  readonly tool_choice?: "auto" | "none" | "required" | { readonly type: "function"; readonly function: { readonly name: string } }
  readonly parallel_tool_calls?: false
  readonly max_completion_tokens?: number
  readonly max_tokens?: number
  readonly temperature?: number
  readonly top_p?: number
  readonly stop?: readonly string[]
  readonly seed?: number
  readonly reasoning_effort?: string
  readonly response_format?:
    | { readonly type: "json_object" }
    | { readonly type: "json_schema"; readonly json_schema: { readonly name: string; readonly schema: Json; readonly strict: boolean } }
  readonly stream?: true
  readonly stream_options?: { readonly include_usage: true }
  readonly [key: string]: unknown
}

export type OpenAiMessage =
  | { readonly role: "system" | "developer"; readonly content: string }
  | { readonly role: "user"; readonly content: string | readonly OpenAiContentPart[] }
  | {
      readonly role: "assistant"
      readonly content: string | null
      readonly tool_calls?: readonly OpenAiToolCall[]
      readonly reasoning_content?: string
      readonly reasoning?: string
    }
  | { readonly role: "tool"; readonly tool_call_id: string; readonly content: string }

export type OpenAiContentPart =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "image_url"; readonly image_url: { readonly url: string } }
  | { readonly type: "file"; readonly file: { readonly filename: string; readonly file_data: string } }

export interface OpenAiToolCall {
  readonly id: string
  readonly type: "function"
  readonly function: { readonly name: string; readonly arguments: string }
  /** Google's endpoint wants its thought signatures back in it. */
  readonly extra_content?: Json
}

export interface OpenAiTool {
  readonly type: "function"
  readonly function: { readonly name: string; readonly description: string; readonly parameters: Json }
}
