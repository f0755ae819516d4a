import type { Json } from "../../json.ts"

/** The body of a Responses request. JSON. */
export interface OpenAiResponsesBody {
  readonly model: string
  readonly input: readonly ResponsesItem[]
  readonly instructions?: string
  /** Functions, and tools of the provider from `providerOptions`. */
  readonly tools?: readonly (ResponsesTool | Json)[]
  readonly tool_choice?: "auto" | "none" | "required" | { readonly type: "function"; readonly name: string }
  readonly parallel_tool_calls?: false
  readonly max_output_tokens?: number
  readonly temperature?: number
  readonly top_p?: number
  readonly reasoning?: { readonly effort?: string; readonly [key: string]: unknown }
  readonly text?: { readonly format?: ResponsesFormat; readonly [key: string]: unknown }
  readonly include?: readonly string[]
  readonly prompt_cache_key?: string
  readonly store?: false
  readonly stream?: true
  readonly [key: string]: unknown
}

/** An item of the input that this wire makes. Items of the provider's own tools go back as they came. */
export type ResponsesItem = ResponsesInputMessage | ResponsesOutputMessage | ResponsesReasoning | ResponsesCall | ResponsesResult | ResponsesOpaque

/** A message of a user or the system; or one of the model, as a text. */
export type ResponsesInputMessage =
  | { readonly role: "user"; readonly content: string | readonly ResponsesContent[] }
  | { readonly role: "system" | "developer"; readonly content: string }
  | { readonly role: "assistant"; readonly content: string; readonly phase?: ResponsesPhase }

/** A message of the model as its provider sent it. */
export interface ResponsesOutputMessage {
  readonly type: "message"
  readonly id: string
  readonly role: "assistant"
  readonly status: ResponsesStatus
  readonly phase?: ResponsesPhase
  readonly content: readonly ResponsesOutputContent[]
}

/** What the model says of a message: on the way to an answer, or the answer. */
export type ResponsesPhase = "commentary" | "final_answer"

export type ResponsesStatus = "in_progress" | "completed" | "incomplete"

export type ResponsesOutputContent =
  | { readonly type: "output_text"; readonly text: string; readonly annotations: readonly Json[] }
  | { readonly type: "refusal"; readonly refusal: string }

export interface ResponsesReasoning {
  readonly type: "reasoning"
  readonly id?: string
  readonly summary: readonly { readonly type: "summary_text"; readonly text: string }[]
  readonly content?: readonly { readonly type: "reasoning_text"; readonly text: string }[]
  readonly encrypted_content?: string
}

export interface ResponsesCall {
  readonly type: "function_call"
  readonly id?: string
  readonly call_id: string
  readonly name: string
  readonly arguments: string
}

export interface ResponsesResult {
  readonly type: "function_call_output"
  readonly call_id: string
  readonly output: string | readonly ResponsesContent[]
}

/** An item of one of the provider's own tools. */
export interface ResponsesOpaque {
  readonly type: string
  readonly [key: string]: unknown
}

/** A piece of a user's message or of a result. */
export type ResponsesContent =
  | { readonly type: "input_text"; readonly text: string }
  | { readonly type: "input_image"; readonly detail: "auto"; readonly image_url: string }
  | { readonly type: "input_file"; readonly filename: string; readonly file_data: string }
  | { readonly type: "input_file"; readonly file_url: string }

export interface ResponsesTool {
  readonly type: "function"
  readonly name: string
  readonly description: string
  readonly parameters: { readonly [key: string]: Json }
  readonly strict: boolean
}

export type ResponsesFormat =
  | { readonly type: "json_object" }
  | { readonly type: "json_schema"; readonly name: string; readonly schema: { readonly [key: string]: Json }; readonly strict: boolean }
