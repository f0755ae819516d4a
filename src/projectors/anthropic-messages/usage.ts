import type { TokenUsage } from "../../wire/llm.ts"
import { readUsage } from "../wires/usage.ts"
import { isRecord } from "../wires/values.ts"

/**
 * Reads a usage into our buckets. `input_tokens` has neither the tokens that were read from the cache nor those that were written to it;
 * reasoning is a part of `output_tokens`.
 * @see https://platform.claude.com/docs/en/build-with-claude/prompt-caching (2026-11): the prompt is the sum of the three figures
 */
export function anthropicUsage(usage: unknown): TokenUsage {
  if (!isRecord(usage)) return readUsage(undefined)
  const { cache_creation_input_tokens: written, cache_read_input_tokens: read, output_tokens_details: details } = usage
  const thinking = isRecord(details) ? details["thinking_tokens"] : undefined
  // The zero marks the count as Anthropic's, which leaves cached tokens out of the input.
  return readUsage({
    input_tokens: usage["input_tokens"],
    cache_read_input_tokens: typeof read === "number" ? read : 0,
    ...(typeof written === "number" && { cache_creation_input_tokens: written }),
    output_tokens: usage["output_tokens"],
    output_tokens_details: { reasoning_tokens: thinking },
  })
}

/** Adds a later usage of the same answer. Its figures are cumulative, and those that it does not have stay. */
export function mergeUsage(before: unknown, later: unknown): unknown {
  if (!isRecord(later)) return before
  const news = Object.entries(later).filter(([, value]) => value !== null && value !== undefined)
  return { ...(isRecord(before) && before), ...Object.fromEntries(news) }
}

/**
 * Returns the tokens that the provider used to compact the context before the answer, which its usage does not include; `undefined`: none.
 * They are paid for, but do not count towards the prompt's size.
 * @see https://platform.claude.com/docs/en/build-with-claude/compaction (2026-11): `usage.iterations`
 */
export function compactionUsage(usage: unknown): TokenUsage | undefined {
  const iterations = isRecord(usage) ? usage["iterations"] : undefined
  if (!Array.isArray(iterations)) return undefined
  const compactions = (iterations as readonly unknown[]).filter(isRecord).filter(({ type }) => type === "compaction")
  if (compactions.length === 0) return undefined
  const sums = new Map<string, number>()
  for (const compaction of compactions)
    for (const [key, value] of Object.entries(compaction)) if (typeof value === "number") sums.set(key, (sums.get(key) ?? 0) + value)
  return anthropicUsage(Object.fromEntries(sums))
}
