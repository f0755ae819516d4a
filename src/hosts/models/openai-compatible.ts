import { type OpenAiChatWireOptions, openAiChatWire } from "../../projectors/openai-chat/index.ts"
import type { Host } from "../host.ts"
import { checkHttpOptions, type HttpOptions, httpModel } from "./http-model.ts"
import { endpointUrl } from "./request.ts"

/** Options of {@link openAiCompatible}. */
export interface OpenAiCompatibleOptions extends HttpOptions {
  /** The part of the address before `/chat/completions`, such as `https://api.openai.com/v1`. May have a query (Azure's `api-version`). */
  readonly baseUrl: string
  /**
   * What `[DONE]` means in a stream without a finish reason: `truncated`, or `complete` for endpoints that never send one. Default
   * `truncated`.
   */
  readonly doneWithoutReason?: "truncated" | "complete"
  /**
   * What the endpoint accepts. `maxTokensField` is by default the new field for OpenAI and Azure, and `max_tokens` elsewhere: a server
   * that does not know the new field would not limit the answer at all.
   */
  readonly wire?: OpenAiChatWireOptions
}

const PATH = "chat/completions"

/**
 * Creates a model client for an endpoint that speaks OpenAI's Chat Completions: {@link httpModel} with that wire. Spread it into a host:
 * `{ ...openAiCompatible({ baseUrl, apiKey }), tools }`. The key is sent as a bearer token.
 * @throws {TypeError} an unknown option, or a base URL, key or header that cannot be sent
 * @throws {RangeError} a time, count or size that is not a number of at least 0; `Infinity` is allowed
 * @see https://platform.openai.com/docs/guides/rate-limits (2026-11)
 */
export function openAiCompatible(options: OpenAiCompatibleOptions): Pick<Host, "llmCall"> {
  checkHttpOptions("openAiCompatible", options, { baseUrl: true, doneWithoutReason: true, wire: true })
  const { doneWithoutReason, wire, ...http } = options
  const { hostname } = endpointUrl(options.baseUrl, PATH)
  const maxTokensField = ACCEPTS_NEW_FIELD.test(hostname) ? "max_completion_tokens" : "max_tokens"
  return httpModel({
    ...http,
    path: PATH,
    wire: openAiChatWire({ maxTokensField, ...(doneWithoutReason !== undefined && { doneWithoutReason }), ...wire }),
  })
}

/** OpenAI and Azure accept the new field for the limit of output tokens. */
const ACCEPTS_NEW_FIELD = /(?:^|\.)(?:openai|azure)\.com$/
