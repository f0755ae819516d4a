import type { Host } from "../../hosts/host.ts"
import { ANTHROPIC_URL, anthropic } from "../../hosts/models/anthropic.ts"
import { GEMINI_URL, gemini } from "../../hosts/models/gemini.ts"
import type { HttpOptions } from "../../hosts/models/http-model.ts"
import { openAiCompatible } from "../../hosts/models/openai-compatible.ts"
import { OPENAI_URL, openAiResponses } from "../../hosts/models/openai-responses.ts"

/** What a command knows of a provider. */
interface Provider {
  /** Where it serves its API. */
  readonly baseUrl: string
  /** The variables that may hold its key: the first that is set counts. */
  readonly keys: readonly [string, ...string[]]
  readonly client: (options: HttpOptions & { readonly baseUrl: string }) => Pick<Host, "llmCall">
}

/** The providers by the names of `--provider`. Each is also the name of what an endpoint at another address speaks. */
export const PROVIDERS = {
  openai: { baseUrl: OPENAI_URL, keys: ["OPENAI_API_KEY"], client: openAiCompatible },
  "openai-responses": { baseUrl: OPENAI_URL, keys: ["OPENAI_API_KEY"], client: openAiResponses },
  anthropic: { baseUrl: ANTHROPIC_URL, keys: ["ANTHROPIC_API_KEY"], client: anthropic },
  gemini: { baseUrl: GEMINI_URL, keys: ["GEMINI_API_KEY", "GOOGLE_API_KEY"], client: gemini },
} as const satisfies Readonly<Record<string, Provider>>

export type ProviderName = keyof typeof PROVIDERS
export const PROVIDER_NAMES: readonly ProviderName[] = Object.keys(PROVIDERS) as ProviderName[]

/** The provider of an endpoint that was given by its address alone. */
export const DEFAULT_PROVIDER: ProviderName = "openai"

export function isProviderName(name: string): name is ProviderName {
  return Object.hasOwn(PROVIDERS, name)
}

/** Splits `anthropic/claude-opus-5` at the first slash. `undefined`: what precedes it is not a provider, but a part of the model's name. */
export function splitModel(name: string): { readonly provider: ProviderName; readonly name: string } | undefined {
  const slash = name.indexOf("/")
  const provider = name.slice(0, Math.max(0, slash))
  return isProviderName(provider) && slash < name.length - 1 ? { provider, name: name.slice(slash + 1) } : undefined
}
