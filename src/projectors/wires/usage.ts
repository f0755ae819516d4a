import type { TokenUsage } from "../../wire/llm.ts"
import { isRecord } from "./values.ts"

/**
 * Reads a provider's usage into our buckets. Figures that are missing, negative or not numbers count as 0.
 *
 * OpenAI includes cached tokens in `prompt_tokens` and reasoning in `completion_tokens`. Other providers do not, which only
 * their figures show: cached tokens above the prompt's are separate from it, and so are tokens written to the cache above those that were
 * not read from it, reasoning above the completion's, or reasoning that `total_tokens` counts separately (xAI).
 * @see https://platform.openai.com/docs/api-reference/chat/object (2026-11)
 * @see https://docs.x.ai/docs/key-information/consumption-and-rate-limits (2026-11)
 * @see https://api-docs.deepseek.com/api/create-chat-completion (2026-11): `prompt_cache_hit_tokens`
 * @see https://openrouter.ai/docs/use-cases/usage-accounting (2026-11): `cache_write_tokens`
 */
export function readUsage(usage: unknown): TokenUsage {
  if (!isRecord(usage)) return { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
  const prompt = count(usage["prompt_tokens"] ?? usage["input_tokens"])
  const completion = count(usage["completion_tokens"] ?? usage["output_tokens"])
  const total = count(usage["total_tokens"])
  const promptDetails = record(usage["prompt_tokens_details"] ?? usage["input_tokens_details"])
  const cached =
    count(promptDetails["cached_tokens"]) ||
    count(usage["prompt_cache_hit_tokens"]) ||
    count(usage["cached_tokens"]) ||
    count(usage["cache_read_input_tokens"])
  const written = [
    promptDetails["cache_write_tokens"],
    promptDetails["cache_creation_tokens"],
    promptDetails["cache_creation_input_tokens"],
    usage["cache_creation_input_tokens"],
  ].find((value) => typeof value === "number")
  const reasoning =
    count(record(usage["completion_tokens_details"] ?? usage["output_tokens_details"])["reasoning_tokens"]) || count(usage["reasoning_tokens"])
  const isSeparate = reasoning > completion || (reasoning > 0 && total === prompt + completion + reasoning)
  // Anthropic's names come with Anthropic's count, which leaves cached tokens out.
  const isApart = usage["prompt_tokens"] === undefined && typeof usage["cache_read_input_tokens"] === "number"
  const uncached = isApart || cached > prompt ? prompt : prompt - cached
  return {
    inputTokens: isApart || count(written) > uncached ? count(uncached + count(written)) : uncached,
    cachedInputTokens: cached,
    ...(written !== undefined && { cacheWriteTokens: count(written) }),
    outputTokens: isSeparate ? count(completion + reasoning) : completion,
    reasoningTokens: reasoning,
  }
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return isRecord(value) ? value : {}
}

function count(value: unknown): number {
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) return 0
  return Math.min(Math.round(value), Number.MAX_SAFE_INTEGER)
}
