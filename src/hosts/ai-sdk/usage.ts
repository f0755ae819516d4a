import { isRecord } from "../../projectors/wires/values.ts"
import type { TokenUsage } from "../../wire/usage.ts"

/**
 * Reads the usage of an answer into our buckets. The totals of the AI SDK include what was read from and written to a cache, and
 * reasoning. Figures that are missing, negative or not numbers count as 0.
 */
export function readUsage(usage: unknown): TokenUsage {
  const input = recordIn(usage, "inputTokens")
  const output = recordIn(usage, "outputTokens")
  const cachedInputTokens = count(input["cacheRead"])
  const written = input["cacheWrite"]
  const parts = count(input["noCache"]) + count(written)
  const total = input["total"]
  const outputTotal = output["total"]
  const reasoningTokens = count(output["reasoning"])
  return {
    inputTokens: count(typeof total === "number" ? Math.max(total - cachedInputTokens, 0) : parts),
    cachedInputTokens,
    ...(typeof written === "number" && { cacheWriteTokens: count(written) }),
    // Some providers count reasoning beside the total.
    outputTokens: Math.max(count(typeof outputTotal === "number" ? outputTotal : count(output["text"]) + reasoningTokens), reasoningTokens),
    reasoningTokens,
  }
}

function recordIn(value: unknown, key: string): Readonly<Record<string, unknown>> {
  const inner = isRecord(value) ? value[key] : undefined
  return isRecord(inner) ? inner : {}
}

function count(value: unknown): number {
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) return 0
  return Math.min(Math.round(value), Number.MAX_SAFE_INTEGER)
}
