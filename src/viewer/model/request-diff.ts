import type { LlmMessage, LlmRequest } from "../../wire/llm.ts"
import type { ToolSpec } from "../../wire/tool.ts"
import type { TokenUsage } from "../../wire/usage.ts"
import type { RequestPair } from "./turn-replay.ts"

/** How a request differs from the one before it. */
export interface RequestDiff {
  /** The first messages, which both have. */
  readonly kept: readonly LlmMessage[]
  /** The messages of the request before that are not there any more, or that changed. */
  readonly removed: readonly LlmMessage[]
  /** The messages after the kept ones. */
  readonly added: readonly LlmMessage[]
  readonly toolsAdded: readonly ToolSpec[]
  readonly toolsRemoved: readonly ToolSpec[]
  /** The settings that changed, by their key. */
  readonly settings: readonly { readonly key: string; readonly before: string; readonly after: string }[]
}

/** Compares a request with the one before it, message by message. Without one before, everything is new. */
export function requestDiff({ request, previous }: Pick<RequestPair, "request" | "previous">): RequestDiff {
  const before = previous?.messages ?? []
  const after = request.messages
  let kept = 0
  while (kept < before.length && kept < after.length && same(before[kept], after[kept])) kept += 1
  return {
    kept: after.slice(0, kept),
    removed: before.slice(kept),
    added: after.slice(kept),
    toolsAdded: previous === undefined ? [] : without(request.tools, previous.tools),
    toolsRemoved: previous === undefined ? [] : without(previous.tools, request.tools),
    settings: previous === undefined ? [] : settingsOf(previous, request),
  }
}

function without(tools: readonly ToolSpec[], others: readonly ToolSpec[]): readonly ToolSpec[] {
  if (tools === others) return []
  const known = new Set(others.map((tool) => JSON.stringify(tool)))
  return tools.filter((tool) => !known.has(JSON.stringify(tool)))
}

function settingsOf(before: LlmRequest, after: LlmRequest): RequestDiff["settings"] {
  const keys = new Set([...Object.keys(before), ...Object.keys(after)])
  return [...keys].flatMap((key) => {
    if (key === "messages" || key === "tools") return []
    const [left, right] = [textOf(before, key), textOf(after, key)]
    return left === right ? [] : [{ key, before: left, after: right }]
  })
}

function textOf(request: LlmRequest, key: string): string {
  return (Object.hasOwn(request, key) ? JSON.stringify((request as { readonly [name: string]: unknown })[key]) : undefined) ?? "not set"
}

function same(left: unknown, right: unknown): boolean {
  return left === right || JSON.stringify(left) === JSON.stringify(right)
}

/**
 * The tokens that a broken prefix cost: what the provider read anew although the request before had already been sent. The request before
 * had `before` prompt tokens in all; of those, this call read the cached ones from the cache.
 */
export function tokensRead(usage: TokenUsage | undefined, before: TokenUsage | undefined): number | undefined {
  if (usage === undefined || before === undefined) return undefined
  const sent = before.inputTokens + before.cachedInputTokens
  return Math.max(0, Math.min(sent, usage.inputTokens + usage.cachedInputTokens) - usage.cachedInputTokens)
}
