import type { Json } from "../../json.ts"
import { isBlank } from "../../text.ts"
import type { Block, LlmMessage, LlmRequest } from "../../wire/llm.ts"
import type { AttachmentRef } from "../../wire/message.ts"
import type { ToolSpec } from "../../wire/tool.ts"

/** What an endpoint accepts. The defaults are those of the OpenAI reference. */
export interface OpenAiRequestOptions {
  /** Requests the answer in chunks. Default `false`. */
  readonly stream?: boolean
  /** With `stream`: requests the usage in a last chunk. `false` for endpoints that refuse `stream_options`. Default `true`. */
  readonly includeUsage?: boolean
  /** The key for `generation.maxOutputTokens`. Many compatible servers accept only `max_tokens`. Default `max_completion_tokens`. */
  readonly maxTokensField?: "max_completion_tokens" | "max_tokens"
  /** Default `system`; newer OpenAI models read it as `developer`. */
  readonly systemRole?: "system" | "developer"
  /** Returns the URL of an attachment, `https:` or `data:`. Without one, a text replaces the image. */
  readonly attachmentUrl?: (attachment: AttachmentRef) => string | undefined
  /**
   * The key under which the endpoint accepts the model's own reasoning back. Absent: reasoning is left out.
   * DeepSeek requires `reasoning_content` in every message that called tools.
   * @see https://api-docs.deepseek.com/guides/thinking_mode (2026-11)
   */
  readonly reasoningField?: ReasoningField
  /** Further keys for the body, which override ours: `temperature`, `parallel_tool_calls`, … */
  readonly extraBody?: { readonly [key: string]: Json }
}

export type ReasoningField = "reasoning_content" | "reasoning"

/** The body of a Chat Completions request. JSON. */
export interface OpenAiChatBody {
  readonly model: string
  readonly messages: readonly OpenAiMessage[]
  readonly tools?: readonly OpenAiTool[]
  readonly tool_choice?: "auto" | "none" | "required" | { readonly type: "function"; readonly function: { readonly name: string } }
  readonly max_completion_tokens?: number
  readonly max_tokens?: number
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

export interface OpenAiToolCall {
  readonly id: string
  readonly type: "function"
  readonly function: { readonly name: string; readonly arguments: string }
}

export interface OpenAiTool {
  readonly type: "function"
  readonly function: { readonly name: string; readonly description: string; readonly parameters: Json }
}

/**
 * Projects a model request to a Chat Completions body.
 *
 * Our user messages contain tool results; the wire has messages of their own for them. The results of a message come first,
 * directly after the calls that they answer, then the rest of the message. The texts of a message are joined by an empty line;
 * with images they stay parts. `modelVariant` is the reasoning effort. Cache breakpoints are dropped: these endpoints cache
 * automatically. Empty messages are left out.
 * @see https://platform.openai.com/docs/api-reference/chat/create (2026-11)
 */
export function openAiRequest(request: LlmRequest, options: OpenAiRequestOptions = {}): OpenAiChatBody {
  const { attachments, generation, model, modelVariant, outputSpec, toolChoice, tools } = request
  const { includeUsage = true, maxTokensField = "max_completion_tokens", stream = false } = options
  const { maxOutputTokens } = generation
  return {
    model,
    messages: request.messages.flatMap((message) => projectMessage(message, attachments, options)),
    // Endpoints refuse a `tool_choice` without tools.
    ...(tools.length > 0 && {
      tools: tools.map(projectTool),
      tool_choice: typeof toolChoice === "string" ? toolChoice : ({ type: "function", function: { name: toolChoice.toolName } } as const),
    }),
    ...(maxOutputTokens !== undefined && { [maxTokensField]: maxOutputTokens }),
    ...(modelVariant !== undefined && { reasoning_effort: modelVariant }),
    ...(outputSpec !== undefined && { response_format: responseFormat(outputSpec) }),
    ...(stream && { stream: true as const, ...(includeUsage && { stream_options: { include_usage: true as const } }) }),
    ...options.extraBody,
  }
}

function projectTool({ name, description, inputSchema }: ToolSpec): OpenAiTool {
  return { type: "function", function: { name, description, parameters: inputSchema } }
}

function responseFormat(outputSpec: NonNullable<LlmRequest["outputSpec"]>): NonNullable<OpenAiChatBody["response_format"]> {
  if (outputSpec.type === "json_object") return { type: "json_object" }
  const { name, schema, strict } = outputSpec
  return { type: "json_schema", json_schema: { name, schema, strict } }
}

function projectMessage(message: LlmMessage, attachments: readonly AttachmentRef[], options: OpenAiRequestOptions): readonly OpenAiMessage[] {
  const results: OpenAiMessage[] = []
  const calls: OpenAiToolCall[] = []
  const content: OpenAiContentPart[] = []
  let reasoning = ""
  for (const block of message.blocks) {
    switch (block.type) {
      case "text":
        if (block.text !== "") content.push({ type: "text", text: block.text })
        break
      case "image":
        content.push(projectImage(attachments[block.attachmentIndex], message.role === "user" ? options.attachmentUrl : undefined))
        break
      case "tool_call":
        calls.push(projectCall(block))
        break
      case "tool_result":
        results.push({ role: "tool", tool_call_id: block.callId, content: block.text })
        break
      case "reasoning":
        reasoning = joinTexts(reasoning, block.text)
    }
  }
  const rest = message.role === "assistant" ? [] : projectContent(message.role, content, options)
  const answer = projectAnswer(message.role === "assistant" ? content : [], calls, reasoning, options)
  return [...answer, ...results, ...rest]
}

/** The text and calls of the model. Calls under another role still need an assistant message. */
function projectAnswer(
  content: readonly OpenAiContentPart[],
  calls: readonly OpenAiToolCall[],
  reasoning: string,
  { reasoningField }: OpenAiRequestOptions,
): readonly OpenAiMessage[] {
  const text = textOnly(content)
  const returned = reasoningField !== undefined && !isBlank(reasoning) ? { [reasoningField]: reasoning } : undefined
  if (text === "" && calls.length === 0 && returned === undefined) return []
  return [
    {
      role: "assistant",
      content: text === "" && calls.length > 0 ? null : text,
      ...(calls.length > 0 && { tool_calls: calls }),
      ...returned,
    },
  ]
}

function projectContent(role: "system" | "user", content: readonly OpenAiContentPart[], options: OpenAiRequestOptions): readonly OpenAiMessage[] {
  if (role === "user" && content.some((part) => part.type === "image_url")) return [{ role, content }]
  const text = textOnly(content)
  if (text === "") return []
  return [role === "user" ? { role, content: text } : { role: options.systemRole ?? role, content: text }]
}

function projectCall({ callId, toolName, inputJson }: Extract<Block, { type: "tool_call" }>): OpenAiToolCall {
  return { id: callId, type: "function", function: { name: toolName, arguments: isBlank(inputJson) ? "{}" : inputJson } }
}

function projectImage(attachment: AttachmentRef | undefined, attachmentUrl: OpenAiRequestOptions["attachmentUrl"]): OpenAiContentPart {
  const url = attachment === undefined ? undefined : attachmentUrl?.(attachment)
  if (url !== undefined) return { type: "image_url", image_url: { url } }
  if (attachment === undefined) return { type: "text", text: "[Image: not available]" }
  const { height, label, mediaType, width } = attachment
  const size = width === undefined || height === undefined ? [] : [`${width}x${height}`]
  return { type: "text", text: `[Image: ${[...(label === undefined ? [] : [label]), mediaType, ...size].join(", ")}]` }
}

function textOnly(content: readonly OpenAiContentPart[]): string {
  let text = ""
  for (const part of content) if (part.type === "text") text = joinTexts(text, part.text)
  return text
}

/** Joins two texts with an empty line between them, of which existing newlines are a part. */
function joinTexts(before: string, after: string): string {
  if (before === "" || after === "") return before + after
  const trailing = before.endsWith("\n\n") ? 2 : before.endsWith("\n") ? 1 : 0
  const leading = after.startsWith("\n\n") ? 2 : after.startsWith("\n") ? 1 : 0
  return `${before}${"\n".repeat(Math.max(0, 2 - trailing - leading))}${after}`
}
