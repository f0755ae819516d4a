import type { Attributes } from "@opentelemetry/api"
import type { Json } from "../../json.ts"
import type { Block, LlmRequest, LlmResponse, OutputPart, TerminalReason, TokenUsage } from "../../wire/llm.ts"
import { errorType, type Names } from "./conventions.ts"
import { inputTokens } from "./metrics.ts"

/** The conventions' names of finish reasons, where they differ from ours. */
const FINISH_REASONS: { readonly [Reason in TerminalReason]?: string } = {
  tool_use: "tool_call",
  output_limit: "length",
  provider_error: "error",
}

/** A client of one's own may return anything as a reason: what does not look like a code is replaced. */
export function finishReason(reason: TerminalReason): string {
  return (Object.hasOwn(FINISH_REASONS, reason) ? FINISH_REASONS[reason] : undefined) ?? errorType(reason)
}

/** Whether the endpoint reported a usage. */
export function isReported(usage: TokenUsage): boolean {
  return inputTokens(usage) + usage.outputTokens > 0
}

/** The usage of the run of a turn. Only the older conventions have its kinds; the newer have metrics for them. */
export function turnUsageAttributes(usage: TokenUsage, names: Names): Attributes {
  return names.older ? usageAttributes(usage, names) : totals(usage)
}

/** The conventions count cached tokens as input tokens; `TokenUsage` separates them. */
function totals(usage: TokenUsage): Attributes {
  if (!isReported(usage)) return {}
  return { "gen_ai.usage.input_tokens": inputTokens(usage), "gen_ai.usage.output_tokens": usage.outputTokens }
}

/** The usage of a model call by its kinds; none if the endpoint reported none. */
export function usageAttributes(usage: TokenUsage, { current, older }: Names): Attributes {
  if (!isReported(usage)) return {}
  const { cachedInputTokens, cacheWriteTokens = 0, reasoningTokens } = usage
  return {
    ...totals(usage),
    ...(cachedInputTokens > 0 && { "gen_ai.usage.cache_read.input_tokens": cachedInputTokens }),
    ...(cacheWriteTokens > 0 && current && { "gen_ai.usage.cache_write.input_tokens": cacheWriteTokens }),
    ...(cacheWriteTokens > 0 && older && { "gen_ai.usage.cache_creation.input_tokens": cacheWriteTokens }),
    ...(reasoningTokens > 0 && { "gen_ai.usage.reasoning.output_tokens": reasoningTokens }),
  }
}

/** Span attributes of a model call's request, without the model. */
export function requestAttributes(request: LlmRequest, captureContent: boolean): Attributes {
  const { generation, outputSpec } = request
  const { maxOutputTokens, reasoningEffort, seed, stopSequences, temperature, topP } = generation
  return {
    ...(maxOutputTokens !== undefined && { "gen_ai.request.max_tokens": maxOutputTokens }),
    ...(temperature !== undefined && { "gen_ai.request.temperature": temperature }),
    ...(topP !== undefined && { "gen_ai.request.top_p": topP }),
    ...(seed !== undefined && { "gen_ai.request.seed": seed }),
    ...(reasoningEffort !== undefined && { "gen_ai.request.reasoning.level": reasoningEffort }),
    ...(stopSequences !== undefined && { "gen_ai.request.stop_sequences": [...stopSequences] }),
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

/** A response's message in the conventions' shape, as JSON text. The older ones have the finish reason in it, too. */
export function outputMessages({ text, parts, terminalReason }: LlmResponse, { older }: Names): string {
  const output = parts.length > 0 ? parts.map((part) => partOf(part, [])) : [{ type: "text", content: text }]
  return JSON.stringify([{ role: "assistant", parts: output, ...(older && { finish_reason: finishReason(terminalReason) }) }])
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
