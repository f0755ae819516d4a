import * as z from "zod"
import type * as wire from "../wire/usage.ts"
import { Count, exact, type Tagged } from "./json.ts"

/** The buckets, for schemas that give the whole object a message of its own. */
export const tokenUsage: {
  readonly inputTokens: z.ZodInt
  readonly cachedInputTokens: z.ZodInt
  readonly cacheWriteTokens: z.ZodExactOptional<z.ZodInt>
  readonly outputTokens: z.ZodInt
  readonly reasoningTokens: z.ZodInt
  readonly estimated: z.ZodExactOptional<z.ZodLiteral<true>>
} = {
  inputTokens: Count,
  cachedInputTokens: Count,
  cacheWriteTokens: Count.exactOptional(),
  outputTokens: Count,
  reasoningTokens: Count,
  estimated: z.literal(true).exactOptional(),
}

/** Tokens, in buckets that do not overlap, except for the two that are parts of another: `cacheWriteTokens` and `reasoningTokens`. */
export type TokenUsage = wire.TokenUsage
export const TokenUsage: Tagged<TokenUsage> = exact(z.object(tokenUsage))
