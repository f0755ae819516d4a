import type { TokenUsage } from "../../schemas/llm.ts"
import { isRecord } from "./values.ts"

/**
 * A provider's usage in our buckets. Figures that are missing, negative or no numbers count as 0.
 *
 * OpenAI counts cached tokens inside `prompt_tokens` and reasoning inside `completion_tokens`. Others do not, and say so
 * only by their figures: cached tokens above the prompt's stand beside it, and so does reasoning above the completion's, or
 * where `total_tokens` counts it apart (xAI).
 * @see https://platform.openai.com/docs/api-reference/chat/object (2026-11)
 * @see https://docs.x.ai/docs/key-information/consumption-and-rate-limits (2026-11)
 * @see https://api-docs.deepseek.com/api/create-chat-completion (2026-11): `prompt_cache_hit_tokens`
 */
export function readUsage(usage: unknown): TokenUsage {
  if (!isRecord(usage)) return { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
  const prompt = count(usage["prompt_tokens"])
  const completion = count(usage["completion_tokens"])
  const total = count(usage["total_tokens"])
  const cached =
    count(detail(usage["prompt_tokens_details"], "cached_tokens")) || count(usage["prompt_cache_hit_tokens"]) || count(usage["cached_tokens"])
  const reasoning = count(detail(usage["completion_tokens_details"], "reasoning_tokens")) || count(usage["reasoning_tokens"])
  const reasoningApart = reasoning > completion || (reasoning > 0 && total === prompt + completion + reasoning)
  return {
    inputTokens: cached > prompt ? prompt : prompt - cached,
    cachedInputTokens: cached,
    outputTokens: reasoningApart ? count(completion + reasoning) : completion,
    reasoningTokens: reasoning,
  }
}

function detail(details: unknown, key: string): unknown {
  return isRecord(details) ? details[key] : undefined
}

function count(value: unknown): number {
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) return 0
  return Math.min(Math.round(value), Number.MAX_SAFE_INTEGER)
}
