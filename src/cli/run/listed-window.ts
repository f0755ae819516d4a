/** How long the list of models may take. Without it, a run begins as if the window were unknown. */
const LIST_TIMEOUT_MS = 5_000
/** A window below this is not believed. */
const LEAST_WINDOW = 2_000

/** What endpoints call the window of a model in their lists. */
const KEYS = ["context_length", "context_window", "max_model_len", "max_context_length", "context_size", "n_ctx"]

/** A model of an endpoint. */
export interface EndpointModel {
  readonly name: string
  readonly baseUrl: string
  readonly apiKey?: string
}

/** The context window of a model in tokens, as its endpoint lists it (`GET /models`). `undefined`: it does not say, or does not answer. */
export async function listedWindow({ baseUrl, name, apiKey }: EndpointModel): Promise<number | undefined> {
  try {
    const url = new URL(baseUrl)
    url.pathname = `${url.pathname.replace(/\/+$/, "")}/models`
    // A key must not follow a redirection to another place.
    const response = await fetch(url, {
      headers: { accept: "application/json", ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }) },
      redirect: "error",
      signal: AbortSignal.timeout(LIST_TIMEOUT_MS),
    })
    if (response.ok) return windowOf(await response.json(), name)
    await response.body?.cancel()
  } catch {
    // The list is a convenience. The first model call shows what is wrong with the endpoint.
  }
  return undefined
}

/** Finds the window of a model in a list of models, which may have any shape. */
export function windowOf(list: unknown, name: string): number | undefined {
  const models = Array.isArray(list) ? list : member(list, "data")
  if (!Array.isArray(models)) return undefined
  const model: unknown = models.find((entry) => member(entry, "id") === name)
  const windows = [model, member(model, "top_provider"), member(model, "meta")].flatMap((place) => KEYS.map((key) => member(place, key)))
  const known = windows.filter((window) => Number.isSafeInteger(window) && (window as number) >= LEAST_WINDOW) as number[]
  return known.length === 0 ? undefined : Math.min(...known)
}

function member(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, key) ? (value as Readonly<Record<string, unknown>>)[key] : undefined
}
