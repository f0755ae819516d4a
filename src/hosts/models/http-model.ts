import { countCalls, type DecodeOptions, type EncodeOptions, type WireProjector } from "../../projectors/wires/wire.ts"
import type { LlmCall } from "../../wire/effect.ts"
import type { LlmResponse } from "../../wire/llm.ts"
import type { Producer } from "../../wire/message.ts"
import type { AttachmentStore } from "../attachments/store.ts"
import { type EffectContext, type Host, LlmCallError } from "../host.ts"
import { type AnswerReader, attempt, type Endpoint } from "./attempt.ts"
import { checkKnown, checkLimits } from "./check-options.ts"
import { dataUrls } from "./data-urls.ts"
import { endpointUrl, requestHeaders } from "./request.ts"
import { redactFailure, redactor } from "./secrets.ts"
import { type RetryOptions, retryOptions, withRetry } from "./with-retry.ts"

/** What every model client over HTTP takes. */
export interface HttpOptions extends RetryOptions {
  /** The provider's key. It never appears in errors or events. */
  readonly apiKey?: string
  /** The provider's name for the model. Default: the request's. */
  readonly model?: string
  /** More headers. Their values are secret, too. */
  readonly headers?: Readonly<Record<string, string>>
  /** Default: the global `fetch`. Pass one that knows your proxy. */
  readonly fetch?: typeof fetch
  /** The longest time for one attempt, in milliseconds. Default 600,000 (ten minutes). */
  readonly timeoutMs?: number
  /** The longest time until the first byte of an answer, in milliseconds. Default: that of the whole attempt, because models think first. */
  readonly firstByteTimeoutMs?: number
  /** The longest time without a byte from a stream, in milliseconds. Default 120,000 (two minutes). */
  readonly idleTimeoutMs?: number
  /** How long a stream may still send its usage after the finish reason, in milliseconds. Then the answer is complete. Default 3,000. */
  readonly usageWaitMs?: number
  /** Whether the answer is streamed. Default `true`. */
  readonly stream?: boolean
  /** The longest answer, in bytes. Default 16 MiB. */
  readonly maxBodyBytes?: number
  /** Adds the request's body to answers and failures, for the trace log. Journals grow with it. Default `false`. */
  readonly keepRequestBody?: boolean
  /** The provider's name in `producer`, which is stored with every answer. Default: the host name of the base URL. */
  readonly provider?: string
  /** Where the bytes of images and files are. They are sent as `data:` URLs. Absent: the model reads a line about each instead. */
  readonly attachments?: AttachmentStore
}

/** Options of {@link httpModel}. */
export interface HttpModelOptions extends HttpOptions {
  /** How requests are written and answers read. */
  readonly wire: WireProjector
  /** The address of the provider, such as `https://api.openai.com/v1`. May have a query. What `path` begins with may be in it already. */
  readonly baseUrl: string
  /** What follows the base URL: `chat/completions`, or a function of the model's name and of whether the answer is streamed. May have a query. */
  readonly path?: string | ((model: string, stream: boolean) => string)
  /** The header that carries the key. Under `authorization` it is sent as a bearer token, under any other as it is. Default `authorization`. */
  readonly apiKeyHeader?: string
}

/**
 * Creates a model client for any provider from a wire and an address. `openAiCompatible`, `openAiResponses`, `anthropic` and `gemini` are
 * made of it. Spread it into a host: `{ ...httpModel({ wire, baseUrl, apiKey }), tools }`.
 *
 * A failed attempt is retried if that may help (408, 409, 429, 5xx, lost connections, timeouts, tool calls that the provider could not
 * read) and no text of the answer was emitted yet, as {@link withRetry} does it. The provider decides: `x-should-retry` wins, and the wait is
 * what `retry-after-ms`, `Retry-After` or its error says. Reasoning does not count as emitted text and may be emitted again.
 *
 * After the last attempt `llmCall` throws {@link LlmCallError}, with what the model said until then in `partial`. Its codes are
 * `connection_failed`, `timeout`, `first_byte_timeout`, `idle_timeout`, `stream_truncated`, `malformed_response`, `response_too_large`,
 * `redirected`, `attachment_unreadable`, `cancelled`, or the provider's own.
 * @throws {TypeError} an unknown option, or a base URL, key or header that cannot be sent
 * @throws {RangeError} a time, count or size that is not a number of at least 0; `Infinity` is allowed
 */
export function httpModel(options: HttpModelOptions): Pick<Host, "llmCall"> {
  checkHttpOptions("httpModel", options, { wire: true, baseUrl: true, path: true, apiKeyHeader: true })
  const { apiKey, headers, keepRequestBody = false, path = "", stream = true, timeoutMs = 600_000, wire } = options
  const pathOf = typeof path === "string" ? () => path : path
  // An address that cannot be used is refused now, and not in the middle of a turn.
  const { hostname, searchParams } = endpointUrl(options.baseUrl, pathOf(options.model ?? "model", stream))
  const redact = redactor([apiKey ?? "", ...Object.values(headers ?? {}), ...searchParams.values()])
  const fixed: Omit<Endpoint, "url"> = {
    headers: requestHeaders(options, stream),
    stream,
    fetch: options.fetch ?? ((input, init) => fetch(input, init)),
    timeoutMs,
    firstByteTimeoutMs: options.firstByteTimeoutMs ?? Number.POSITIVE_INFINITY,
    idleTimeoutMs: options.idleTimeoutMs ?? 120_000,
    usageWaitMs: options.usageWaitMs ?? 3_000,
    maxBodyBytes: options.maxBodyBytes ?? 16 * 1024 * 1024,
    now: options.now ?? Date.now,
    redact,
  }
  const retry = retryOptions(options)

  return {
    async llmCall(effect: LlmCall, context: EffectContext): Promise<LlmResponse> {
      const { request } = effect
      const producer: Producer = { provider: options.provider ?? hostname, api: wire.api, model: options.model ?? request.model }
      const endpoint: Endpoint = { ...fixed, url: endpointUrl(options.baseUrl, pathOf(producer.model, stream)) }
      const urls = options.attachments === undefined ? undefined : await dataUrls(options.attachments, request.attachments)
      const encoding: EncodeOptions = { stream, producer, ...(urls !== undefined && { attachmentUrl: ({ id }) => urls.get(id) }) }
      const requestBody = JSON.stringify(wire.encode({ ...request, model: producer.model }, encoding))
      const trace = keepRequestBody ? { requestBody } : {}
      const decoding: DecodeOptions = {
        firstCallNumber: countCalls(request) + 1,
        producer,
        toolNames: wire.toolNames(request),
        now: endpoint.now,
        redact,
      }
      const reader: AnswerReader = {
        decode: (body) => wire.decode(body, decoding),
        stream: () => wire.stream(decoding),
        failure: (status, body, facts) => wire.failure(status, body, facts),
      }
      let number = 0
      const once = {
        async llmCall(_: LlmCall, attempted: EffectContext): Promise<LlmResponse> {
          number += 1
          const { requestId, result } = await attempt(endpoint, requestBody, reader, attempted)
          if (result.ok) return { ...result.response, ...trace, httpSummary: redact(summary(number, requestId)) }
          throw new LlmCallError(redactFailure({ ...result.error, ...trace }, redact), { partial: result.partial })
        },
      }
      return withRetry(once, retry).llmCall(effect, context)
    },
  }
}

const HTTP_OPTIONS: { readonly [Option in keyof Required<HttpOptions>]: true } = {
  apiKey: true,
  model: true,
  headers: true,
  fetch: true,
  timeoutMs: true,
  firstByteTimeoutMs: true,
  idleTimeoutMs: true,
  usageWaitMs: true,
  maxRetries: true,
  maxRetryWaitMs: true,
  afterText: true,
  stream: true,
  maxBodyBytes: true,
  keepRequestBody: true,
  provider: true,
  attachments: true,
  now: true,
  random: true,
  sleep: true,
}

const LIMITS = ["timeoutMs", "firstByteTimeoutMs", "idleTimeoutMs", "usageWaitMs", "maxRetries", "maxRetryWaitMs", "maxBodyBytes"] as const

/**
 * Refuses unknown options, and limits that are not numbers.
 * @param own the options that only this client has
 */
export function checkHttpOptions<Options extends HttpOptions>(
  name: string,
  options: Options,
  own: { readonly [Option in keyof Required<Omit<Options, keyof HttpOptions>>]: true },
): void {
  const known = [...Object.keys(own), ...Object.keys(HTTP_OPTIONS)]
  if (typeof options !== "object" || options === null) throw new TypeError(`${name} takes options: ${name}({ ${known[0]}, … }).`)
  checkKnown(name, options, known)
  checkLimits(options, LIMITS)
}

function summary(attempts: number, requestId: string | undefined): string {
  return `attempt ${attempts}${requestId === undefined ? "" : `, request ${requestId}`}`
}
