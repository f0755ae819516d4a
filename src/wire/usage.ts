/** Tokens, in buckets that do not overlap, except for the two that are parts of another: `cacheWriteTokens` and `reasoningTokens`. */
export type TokenUsage = {
  /** Prompt tokens that were not read from the provider's cache. The prompt's size is these plus `cachedInputTokens`. */
  readonly inputTokens: number
  /** Prompt tokens that were read from the provider's cache. */
  readonly cachedInputTokens: number
  /** The part of `inputTokens` that was written to the provider's cache. Absent: unknown. */
  readonly cacheWriteTokens?: number
  /** All generated tokens. */
  readonly outputTokens: number
  /** The part of `outputTokens` that was spent on reasoning. */
  readonly reasoningTokens: number
  /** The figures are an estimate, because the provider reported none. */
  readonly estimated?: true
}
