import { type GeminiWireOptions, geminiWire } from "../../projectors/gemini/index.ts"
import type { Host } from "../host.ts"
import { checkHttpOptions, type HttpOptions, httpModel } from "./http-model.ts"

/** Where Google serves the Gemini API. */
export const GEMINI_URL = "https://generativelanguage.googleapis.com/v1beta"

/** Options of {@link gemini}. */
export interface GeminiOptions extends HttpOptions {
  /** The address with the version in it. Default `https://generativelanguage.googleapis.com/v1beta`. For Vertex AI the one before `/models`. */
  readonly baseUrl?: string
  /** What the endpoint accepts. */
  readonly wire?: GeminiWireOptions
}

/**
 * Creates a model client for Google's Gemini API: {@link httpModel} with its wire. Spread it into a host: `{ ...gemini({ apiKey }), tools }`.
 * The key is sent as `x-goog-api-key`. A model without a folder in its name is one of `models/`.
 * @throws {TypeError} an unknown option, or a base URL, key or header that cannot be sent
 * @throws {RangeError} a time, count or size that is not a number of at least 0; `Infinity` is allowed
 * @see https://ai.google.dev/api/generate-content (2026-11)
 */
export function gemini(options: GeminiOptions): Pick<Host, "llmCall"> {
  checkHttpOptions("gemini", options, { baseUrl: true, wire: true })
  const { baseUrl = GEMINI_URL, wire, ...http } = options
  return httpModel({ ...http, baseUrl, path: pathOf, apiKeyHeader: "x-goog-api-key", wire: geminiWire(wire) })
}

function pathOf(model: string, stream: boolean): string {
  const name = (model.includes("/") ? model : `models/${model}`).split("/").map(encodeURIComponent).join("/")
  return `${name}:${stream ? "streamGenerateContent?alt=sse" : "generateContent"}`
}
