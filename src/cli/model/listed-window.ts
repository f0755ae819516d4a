import { endpointUrl, requestHeaders } from "../../hosts/models/request.ts"
import type { ProviderName } from "./providers.ts"

/** How long the list of models may take. Without it, a run begins as if the window were unknown. */
const LIST_TIMEOUT_MS = 5_000
/** A window below this is not believed. */
const LEAST_WINDOW = 2_000

/** What endpoints call the window of a model in their lists. */
const KEYS = [
  "context_length",
  "context_window",
  "max_model_len",
  "max_context_length",
  "context_size",
  "n_ctx",
  // Anthropic and Google, whose windows hold the prompt alone.
  "max_input_tokens",
  "inputTokenLimit",
]

/** A model of an endpoint. */
export interface EndpointModel {
  readonly provider: ProviderName
  readonly name: string
  readonly baseUrl: string
  readonly apiKey?: string
}

interface ModelsPage {
  /** The path of a list of models, or of one model. */
  readonly path: (name: string) => string
  readonly apiKeyHeader: string
  readonly headers?: Readonly<Record<string, string>>
}

const LIST: ModelsPage = { path: () => "models", apiKeyHeader: "authorization" }

const PAGES: Readonly<Record<ProviderName, ModelsPage>> = {
  openai: LIST,
  "openai-responses": LIST,
  anthropic: {
    path: (name) => `v1/models/${encodeURIComponent(name)}`,
    apiKeyHeader: "x-api-key",
    headers: { "anthropic-version": "2023-06-01" },
  },
  gemini: {
    path: (name) => (name.includes("/") ? name : `models/${name}`).split("/").map(encodeURIComponent).join("/"),
    apiKeyHeader: "x-goog-api-key",
  },
}

/** The context window of a model in tokens, as its endpoint lists it (`GET /models`). `undefined`: it does not say, or does not answer. */
export async function listedWindow({ provider, baseUrl, name, apiKey }: EndpointModel): Promise<number | undefined> {
  try {
    const { path, ...auth } = PAGES[provider]
    const headers = requestHeaders({ ...auth, ...(apiKey !== undefined && { apiKey }) }, false)
    headers.delete("content-type")
    // A key must not follow a redirection to another place.
    const response = await fetch(endpointUrl(baseUrl, path(name)), { headers, redirect: "error", signal: AbortSignal.timeout(LIST_TIMEOUT_MS) })
    if (response.ok) return windowOf(await response.json(), name)
    await response.body?.cancel()
  } catch {
    // The list is a convenience. The first model call shows what is wrong with the endpoint.
  }
  return undefined
}

/** Finds the window of a model in a list of models, which may have any shape, or in the answer about this one model. */
export function windowOf(list: unknown, name: string): number | undefined {
  const models = Array.isArray(list) ? list : member(list, "data")
  const model: unknown = Array.isArray(models) ? models.find((entry) => member(entry, "id") === name) : list
  const windows = [model, member(model, "top_provider"), member(model, "meta")].flatMap((place) => KEYS.map((key) => member(place, key)))
  const known = windows.filter((window) => Number.isSafeInteger(window) && (window as number) >= LEAST_WINDOW) as number[]
  return known.length === 0 ? undefined : Math.min(...known)
}

function member(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, key) ? (value as Readonly<Record<string, unknown>>)[key] : undefined
}
