import { type AnthropicWireOptions, anthropicMessagesWire } from "../../projectors/anthropic-messages/index.ts"
import type { Host } from "../host.ts"
import { checkHttpOptions, type HttpOptions, httpModel } from "./http-model.ts"

/** Where Anthropic serves its API. */
export const ANTHROPIC_URL = "https://api.anthropic.com"

/** Options of {@link anthropic}. */
export interface AnthropicOptions extends HttpOptions {
  /** The address before `/v1/messages`. Default `https://api.anthropic.com`. */
  readonly baseUrl?: string
  /** The `anthropic-version` header. Default `2023-06-01`. */
  readonly version?: string
  /** Names of features in beta: the `anthropic-beta` header. */
  readonly betas?: readonly string[]
  /** What the endpoint accepts. */
  readonly wire?: AnthropicWireOptions
}

/**
 * Creates a model client for Anthropic's Messages API: {@link httpModel} with that wire. Spread it into a host:
 * `{ ...anthropic({ apiKey }), tools }`. The key is sent as `x-api-key`.
 * @throws {TypeError} an unknown option, or a base URL, key or header that cannot be sent
 * @throws {RangeError} a time, count or size that is not a number of at least 0; `Infinity` is allowed
 * @see https://platform.claude.com/docs/en/api/messages (2026-11)
 */
export function anthropic(options: AnthropicOptions): Pick<Host, "llmCall"> {
  checkHttpOptions("anthropic", options, { baseUrl: true, version: true, betas: true, wire: true })
  const { baseUrl = ANTHROPIC_URL, betas = [], headers, version = "2023-06-01", wire, ...http } = options
  return httpModel({
    ...http,
    baseUrl,
    path: "v1/messages",
    apiKeyHeader: "x-api-key",
    headers: { "anthropic-version": version, ...(betas.length > 0 && { "anthropic-beta": betas.join(",") }), ...headers },
    wire: anthropicMessagesWire(wire),
  })
}
