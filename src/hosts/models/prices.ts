import type { TokenUsage } from "../../wire/llm.ts"

/** What the tokens of a model cost, per million. Those of {@link pricesOf} are in US dollars. */
export interface TokenPrices {
  /** Prompt tokens that were not read from the provider's cache. */
  readonly input: number
  /** Prompt tokens that were read from it. */
  readonly cachedInput: number
  /** Prompt tokens that were written to it. Default: `input`. */
  readonly cacheWrite?: number
  /** Generated tokens, with those of reasoning. */
  readonly output: number
}

/** Prices as a provider published them. */
export interface PublishedPrices extends TokenPrices {
  /** The day on which they were looked up, as `2026-11-27`. */
  readonly asOf: string
  /** The page that lists them. */
  readonly source: string
}

/**
 * Returns what a provider asks for a model at its own API, or `undefined` if that is not known: nothing is guessed. A date at the end of
 * the name is ignored (`gpt-5-2025-08-07`, `claude-haiku-4-5-20251001`), and so is `models/` before it.
 *
 * Models whose price depends on the length of the prompt or changes at an announced date are left out, and so are discounts for batches
 * and premiums for speed or place. Where a provider caches for different times, the price is that of the shortest.
 */
export function pricesOf(model: string): PublishedPrices | undefined {
  const name = model.replace(/^models\//, "")
  return published(name) ?? published(name.replace(/-\d{4}-?\d{2}-?\d{2}$/, ""))
}

function published(name: string): PublishedPrices | undefined {
  for (const { rows, source } of TABLES) {
    const [, input, cachedInput, output, cacheWrite] = rows.find(([model]) => model === name) ?? []
    if (input === undefined || cachedInput === undefined || output === undefined) continue
    return { input, cachedInput, output, ...(cacheWrite !== undefined && { cacheWrite }), asOf: AS_OF, source }
  }
  return undefined
}

/**
 * Computes what tokens cost, in millionths: the price of a million tokens is the price of one in millionths. A whole number, as cost
 * budgets count it. The usage of failed attempts counts if it is given, too.
 */
export function costOf(usage: TokenUsage, { cachedInput, input, output, cacheWrite = input }: TokenPrices): number {
  const { cachedInputTokens, cacheWriteTokens = 0, inputTokens, outputTokens } = usage
  // Those that were written are a part of the input.
  const written = Math.min(cacheWriteTokens, inputTokens)
  return Math.round((inputTokens - written) * input + written * cacheWrite + cachedInputTokens * cachedInput + outputTokens * output)
}

const AS_OF = "2026-11-27"
const ANTHROPIC = "https://platform.claude.com/docs/en/about-claude/pricing"
const GOOGLE = "https://ai.google.dev/gemini-api/docs/pricing"
const OPENAI = "https://developers.openai.com/api/docs/pricing"

/** Input, cached input, output, and what is written to the cache where that has a price of its own. */
type Row = readonly [model: string, input: number, cachedInput: number, output: number, cacheWrite?: number]

const ANTHROPIC_ROWS: readonly Row[] = [
  ["claude-fable-5-1", 10, 0.25, 50, 12.5],
  ["claude-fable-5", 10, 1, 50, 12.5],
  ["claude-opus-5-5", 4, 0.2, 20, 5],
  ["claude-opus-5", 5, 0.5, 25, 6.25],
  ["claude-opus-4-8", 5, 0.5, 25, 6.25],
  ["claude-opus-4-7", 5, 0.5, 25, 6.25],
  ["claude-opus-4-6", 5, 0.5, 25, 6.25],
  ["claude-opus-4-5", 5, 0.5, 25, 6.25],
  ["claude-sonnet-5-5", 2, 0.1, 10, 2.5],
  ["claude-sonnet-5", 2, 0.2, 10, 2.5],
  ["claude-haiku-4-5", 1, 0.1, 5, 1.25],
]

const GOOGLE_ROWS: readonly Row[] = [["gemini-3.5-flash", 1.5, 0.15, 9]]

const OPENAI_ROWS: readonly Row[] = [
  ["gpt-5.4-mini", 0.75, 0.075, 4.5],
  ["gpt-5.4-nano", 0.2, 0.02, 1.25],
  ["gpt-5.2", 1.75, 0.175, 14],
  ["gpt-5.1", 1.25, 0.125, 10],
  ["gpt-5", 1.25, 0.125, 10],
  ["gpt-5-mini", 0.25, 0.025, 2],
  ["gpt-5-nano", 0.05, 0.005, 0.4],
  ["gpt-4.1", 2, 0.5, 8],
  ["gpt-4.1-mini", 0.4, 0.1, 1.6],
]

/** Literals, which a bundler leaves out where only costs are computed. */
const TABLES: readonly { readonly source: string; readonly rows: readonly Row[] }[] = [
  { source: ANTHROPIC, rows: ANTHROPIC_ROWS },
  { source: GOOGLE, rows: GOOGLE_ROWS },
  { source: OPENAI, rows: OPENAI_ROWS },
]
