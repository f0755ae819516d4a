import type { CompleteTurnConfigData } from "../wire/config.ts"
import type { LlmResponse, TokenUsage } from "../wire/llm.ts"

/** The highest count with which a turn may begin: each of its counters then stays exact, however long it runs. */
export const MAX_COUNT: number = 2 ** 52

/**
 * The highest count with which a saved turn may continue: one that began with {@link MAX_COUNT} has counted on since. As much is left to
 * count to the highest exact integer.
 */
export const MAX_SAVED_COUNT: number = 1.5 * MAX_COUNT

/** No tokens at all. */
export const NO_USAGE: TokenUsage = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }

/**
 * Adds two usages, bucket by bucket. Saturates at the largest safe integer, so that a sum is always a valid count. A sum is estimated if
 * a part of it is; tokens written to a cache are unknown if they are in both.
 */
export function addUsage(left: TokenUsage, right: TokenUsage): TokenUsage {
  const sum: { -readonly [Bucket in keyof TokenUsage]: TokenUsage[Bucket] } = {
    inputTokens: addCounts(left.inputTokens, right.inputTokens),
    cachedInputTokens: addCounts(left.cachedInputTokens, right.cachedInputTokens),
    outputTokens: addCounts(left.outputTokens, right.outputTokens),
    reasoningTokens: addCounts(left.reasoningTokens, right.reasoningTokens),
  }
  if (left.cacheWriteTokens !== undefined || right.cacheWriteTokens !== undefined)
    sum.cacheWriteTokens = addCounts(left.cacheWriteTokens ?? 0, right.cacheWriteTokens ?? 0)
  if (left.estimated === true || right.estimated === true) sum.estimated = true
  return sum
}

/** Adds those usages that are known; `undefined` if none is. */
export function addKnown(...usages: readonly (TokenUsage | undefined)[]): TokenUsage | undefined {
  let sum: TokenUsage | undefined
  for (const usage of usages) if (usage !== undefined) sum = sum === undefined ? usage : addUsage(sum, usage)
  return sum
}

/** The tokens that count towards limits and budgets: those of the prompt that were not read from a cache, and all generated ones. */
export function tokensOf({ inputTokens, outputTokens }: TokenUsage): number {
  return addCounts(inputTokens, outputTokens)
}

function addCounts(left: number, right: number): number {
  return Math.min(left + right, Number.MAX_SAFE_INTEGER)
}

/**
 * The longest tool result that the model reads, in characters: four for each token of `maxResultTokens`, by default half of the context
 * window. Infinity if neither is known.
 */
export function resultLimit({ maxResultTokens, maxContextTokens }: Pick<CompleteTurnConfigData, "maxResultTokens" | "maxContextTokens">): number {
  // A window of 0 is an unknown one.
  const tokens = maxResultTokens ?? Math.floor((maxContextTokens ?? 0) / 2)
  return tokens === 0 ? Number.POSITIVE_INFINITY : 4 * tokens
}

/** Whether `iteration` is at or past `iterationOffset + maxIterations`. Without a limit it never is. */
export function limitReached(config: Pick<CompleteTurnConfigData, "maxIterations">, iterationOffset: number, iteration: number): boolean {
  return config.maxIterations !== undefined && iteration >= iterationOffset + config.maxIterations
}

/**
 * Some providers say `output_limit` when the prompt alone filled the window. Nothing generated and a prompt of at least
 * 95% of the window (rounded down) is an overflow of the context instead.
 */
export function refineTerminalReason(config: Pick<CompleteTurnConfigData, "maxContextTokens">, response: LlmResponse): LlmResponse {
  const { maxContextTokens } = config
  if (response.terminalReason !== "output_limit" || response.usage.outputTokens > 0) return response
  if (maxContextTokens === undefined || maxContextTokens === 0) return response
  const promptTokens = addCounts(response.usage.inputTokens, response.usage.cachedInputTokens)
  if (promptTokens < Math.floor((maxContextTokens * 95) / 100)) return response
  return { ...response, terminalReason: "context_overflow", terminalDiagnostic: "No output: the prompt fills the context window." }
}
