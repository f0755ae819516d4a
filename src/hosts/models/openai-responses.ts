import { type OpenAiResponsesWireOptions, openAiResponsesWire } from "../../projectors/openai-responses/index.ts"
import type { Host } from "../host.ts"
import { checkHttpOptions, type HttpOptions, httpModel } from "./http-model.ts"

/** Where OpenAI serves its API. */
export const OPENAI_URL = "https://api.openai.com/v1"

/** Options of {@link openAiResponses}. */
export interface OpenAiResponsesOptions extends HttpOptions {
  /** The part of the address before `/responses`. Default `https://api.openai.com/v1`. */
  readonly baseUrl?: string
  /** What the endpoint accepts. */
  readonly wire?: OpenAiResponsesWireOptions
}

/**
 * Creates a model client for OpenAI's Responses: {@link httpModel} with that wire. Spread it into a host:
 * `{ ...openAiResponses({ apiKey }), tools }`. Nothing is stored at OpenAI; encrypted reasoning goes back with each request.
 * @throws {TypeError} an unknown option, or a base URL, key or header that cannot be sent
 * @throws {RangeError} a time, count or size that is not a number of at least 0; `Infinity` is allowed
 * @see https://platform.openai.com/docs/api-reference/responses (2026-11)
 */
export function openAiResponses(options: OpenAiResponsesOptions): Pick<Host, "llmCall"> {
  checkHttpOptions("openAiResponses", options, { baseUrl: true, wire: true })
  const { baseUrl = OPENAI_URL, wire, ...http } = options
  return httpModel({ ...http, baseUrl, path: "responses", wire: openAiResponsesWire(wire) })
}
