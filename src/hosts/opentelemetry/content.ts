import type { Attributes } from "@opentelemetry/api"
import type { Json } from "../../json.ts"
import type { Block, LlmRequest, LlmResponse, OutputPart, TerminalReason, TokenUsage } from "../../wire/llm.ts"

/** The conventions' names of finish reasons, where they differ from ours. */
const FINISH_REASONS: { readonly [Reason in TerminalReason]?: string } = {
  tool_use: "tool_call",
  output_limit: "length",
  provider_error: "error",
}

export function finishReason(reason: TerminalReason): string {
  return FINISH_REASONS[reason] ?? reason
}

/** The conventions count cached tokens as input tokens; `TokenUsage` separates them. If all are 0, the endpoint reported no usage. */
export function usageAttributes({ inputTokens, cachedInputTokens, cacheWriteTokens = 0, outputTokens, reasoningTokens }: TokenUsage): Attributes {
  if (inputTokens + cachedInputTokens + outputTokens === 0) return {}
  return {
    "gen_ai.usage.input_tokens": inputTokens + cachedInputTokens,
    "gen_ai.usage.output_tokens": outputTokens,
    ...(cachedInputTokens > 0 && { "gen_ai.usage.cache_read.input_tokens": cachedInputTokens }),
    ...(cacheWriteTokens > 0 && { "gen_ai.usage.cache_creation.input_tokens": cacheWriteTokens }),
    ...(reasoningTokens > 0 && { "gen_ai.usage.reasoning.output_tokens": reasoningTokens }),
  }
}

/** Span attributes of a model call's request, without the model. */
export function requestAttributes(request: LlmRequest, captureContent: boolean): Attributes {
  const { generation, outputSpec } = request
  return {
    ...(generation.maxOutputTokens !== undefined && { "gen_ai.request.max_tokens": generation.maxOutputTokens }),
    ...(outputSpec !== undefined && { "gen_ai.output.type": "json" }),
    ...(captureContent && { "gen_ai.input.messages": inputMessages(request) }),
  }
}

/** A request's messages in the conventions' shape, as JSON text because span attributes cannot hold structures. */
function inputMessages({ messages, attachments }: LlmRequest): string {
  return JSON.stringify(
    messages.map(({ role, blocks }) => ({
      role: blocks.some(({ type }) => type === "tool_result") ? "tool" : role,
      parts: blocks.map((block) => partOf(block, attachments)),
    })),
  )
}

/** A response's message in the conventions' shape, as JSON text. */
export function outputMessages({ text, parts, terminalReason }: LlmResponse): string {
  const output = parts.length > 0 ? parts.map((part) => partOf(part, [])) : [{ type: "text", content: text }]
  return JSON.stringify([{ role: "assistant", parts: output, finish_reason: finishReason(terminalReason) }])
}

function partOf(block: Block | OutputPart, attachments: LlmRequest["attachments"]): Json {
  switch (block.type) {
    case "text":
    case "reasoning":
      return { type: block.type, content: block.text }
    case "image":
    case "file": {
      const attachment = attachments[block.attachmentIndex]
      return {
        type: "file",
        modality: block.type === "image" ? "image" : "document",
        mime_type: attachment?.mediaType ?? null,
        file_id: attachment?.id ?? "",
      }
    }
    case "tool_call":
      return { type: "tool_call", id: block.callId, name: block.toolName, arguments: parsed(block.inputJson) }
    case "tool_result":
      return { type: "tool_call_response", id: block.callId, response: block.text }
    case "opaque":
      return { type: block.kind, content: block.text ?? "" }
  }
}

/** Arguments that a model wrote; they may not be valid JSON. */
function parsed(text: string): Json {
  try {
    return JSON.parse(text) as Json
  } catch {
    return text
  }
}
