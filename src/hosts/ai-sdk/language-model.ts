import type { Json } from "../../json.ts"

/**
 * A language model of the AI SDK: `LanguageModelV3` (ai 6) or `LanguageModelV4` (ai 7). The type is structural, so that it fits the models
 * of every provider package, and this package needs none of them.
 * @see https://ai-sdk.dev/providers/community-providers/custom-providers (2026-11)
 */
export interface AiSdkLanguageModel {
  readonly specificationVersion: "v3" | "v4"
  /** The provider's name, such as `anthropic.messages`. */
  readonly provider: string
  /** The provider's name for the model. */
  readonly modelId: string
  doGenerate(options: never): PromiseLike<unknown>
  doStream(options: never): PromiseLike<unknown>
}

/** A tool that the provider defines, as its package makes it: `anthropic.tools.webSearch_20250305({ maxUses: 3 })`. */
export interface AiSdkProviderTool {
  /** Such as `anthropic.web_search_20250305`. */
  readonly id: string
  readonly args: object
}

/** JSON for one provider, by the provider's name: what the AI SDK calls provider options, and provider metadata. */
export type ProviderOptions = { readonly [provider: string]: { readonly [key: string]: Json } }

/** How a provider takes what the AI SDK has no setting of its own for. */
export interface Dialect {
  /** Its key among provider options. */
  readonly key: string
  /** Whether it caches up to marks that a request sets. */
  readonly marksCache: boolean
  /** Whether the result of a tool may contain images and files. Elsewhere the AI SDK sends such a result as JSON text. */
  readonly filesInResults: boolean
  /** The reasoning effort, for models without a setting of the interface for it. */
  effort(level: string): { readonly [key: string]: Json }
  /** At most one tool call in an answer. `undefined`: the provider has no such option. */
  readonly oneCall: { readonly [key: string]: Json } | undefined
}

/**
 * The dialect of a provider by its name.
 * @see https://ai-sdk.dev/providers/ai-sdk-providers/anthropic, …/google-generative-ai, …/openai (2026-11): their provider options
 */
export function dialectOf(provider: string): Dialect {
  const [key = ""] = provider.split(".")
  if (/\banthropic\b/.test(provider)) {
    return {
      key: "anthropic",
      marksCache: true,
      filesInResults: true,
      effort: (effort) => ({ effort }),
      oneCall: { disableParallelToolUse: true },
    }
  }
  if (/^(?:google|vertex)\b/.test(provider)) {
    const effort = (level: string) => ({ thinkingConfig: { thinkingLevel: level } })
    return { key: "google", marksCache: false, filesInResults: true, effort, oneCall: undefined }
  }
  return {
    key: key === "azure" ? "openai" : key,
    marksCache: false,
    filesInResults: /^(?:openai|azure)\.responses\b/.test(provider),
    effort: (reasoningEffort) => ({ reasoningEffort }),
    oneCall: { parallelToolCalls: false },
  }
}

/** Merges provider options, provider by provider. Later ones win. */
export function mergeOptions(...all: readonly (ProviderOptions | undefined)[]): ProviderOptions {
  const merged = new Map<string, { readonly [key: string]: Json }>()
  for (const options of all) for (const [provider, own] of Object.entries(options ?? {})) merged.set(provider, { ...merged.get(provider), ...own })
  return Object.fromEntries(merged)
}
