import type { TokenUsage } from "../../wire/llm.ts"
import { isRecord } from "../wires/values.ts"

/**
 * Reads Gemini's usage into our buckets. The prompt includes cached tokens; the results of the provider's own tools come on top of it.
 * Thoughts are not in the candidates' tokens, unless the total shows that they are: some gateways include them. Figures that are missing,
 * negative or not numbers count as 0.
 * @see https://ai.google.dev/api/generate-content#UsageMetadata (2026-11)
 */
export function readGeminiUsage(usage: unknown): TokenUsage {
  const figures = isRecord(usage) ? usage : {}
  const prompt = count(figures["promptTokenCount"])
  const tools = count(figures["toolUsePromptTokenCount"])
  const cached = Math.min(count(figures["cachedContentTokenCount"]), prompt)
  const candidates = count(figures["candidatesTokenCount"])
  const thoughts = count(figures["thoughtsTokenCount"])
  const isInside = thoughts <= candidates && count(figures["totalTokenCount"]) === prompt + tools + candidates
  return {
    inputTokens: count(prompt - cached + tools),
    cachedInputTokens: cached,
    outputTokens: isInside ? candidates : count(candidates + thoughts),
    reasoningTokens: thoughts,
  }
}

function count(value: unknown): number {
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) return 0
  return Math.min(Math.round(value), Number.MAX_SAFE_INTEGER)
}
