import * as z from "zod"
import type * as wire from "../wire/usage.ts"
import { Count, exact, type Tagged } from "./json.ts"

/** The buckets, for schemas that give the whole object a message of its own. */
export const tokenUsage = {
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
