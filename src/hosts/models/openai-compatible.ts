import { addKnown } from "../../machine/limits.ts"
import { estimateUsage, isUsageMissing } from "../../machine/usage-estimate.ts"
import { type OpenAiChatWireOptions, openAiChatWire } from "../../projectors/openai-chat/index.ts"
import { countCalls, type DecodeOptions, type EncodeOptions } from "../../projectors/wires/wire.ts"
import { unknownKey } from "../../unknown-key.ts"
import type { LlmCall } from "../../wire/effect.ts"
import type { LlmFailure, LlmRequest, LlmResponse, TokenUsage } from "../../wire/llm.ts"
import type { AttachmentRef, Producer } from "../../wire/message.ts"
import { type AttachmentStore, dataUrl } from "../attachments/store.ts"
import { type EffectContext, type Host, LlmCallError } from "../host.ts"
import { sleep } from "../timers.ts"
import { type AnswerReader, attempt, CANCELLED, type Endpoint } from "./http-model.ts"
import { orAborted, retryWaitMs } from "./retry.ts"

/** Options of {@link openAiCompatible}. */
export interface OpenAiCompatibleOptions {
  /** The part of the address before `/chat/completions`, such as `https://api.openai.com/v1`. May have a query (Azure's `api-version`). */
  readonly baseUrl: string
  /** Sent as a bearer token. It never appears in errors or events. */
  readonly apiKey?: string
  /** The endpoint's name for the model. Default: the request's. */
  readonly model?: string
  /** More headers. Their values are secret, too. */
  readonly headers?: Readonly<Record<string, string>>
  /** Default: the global `fetch`. */
  readonly fetch?: typeof fetch
  /** The longest time for one attempt, in milliseconds. Default 600,000 (ten minutes). */
  readonly timeoutMs?: number
  /** The longest time without a byte from a stream, in milliseconds. Default 120,000 (two minutes). */
  readonly idleTimeoutMs?: number
  /** How long a stream may still send its usage after the finish reason, in milliseconds. Then the answer is complete. Default 3,000. */
  readonly usageWaitMs?: number
  /** The number of attempts after the first. Default 3. */
  readonly maxRetries?: number
  /**
   * The longest wait before a retry, in milliseconds. If the endpoint asks for more, the call fails at once, with kind `usage_limit` and the
   * time in `retryAt`. Default 60,000.
   */
  readonly maxRetryWaitMs?: number
  /** Whether the answer is streamed. Default `true`. */
  readonly stream?: boolean
  /** The longest answer, in bytes. Default 16 MiB. */
  readonly maxBodyBytes?: number
  /** Adds the request's body to answers and failures, for the trace log. Journals grow with it. Default `false`. */
  readonly keepRequestBody?: boolean
  /** The endpoint's name in `producer`, which is stored with every answer. Default: the host name of the base URL. */
  readonly provider?: string
  /**
   * What `[DONE]` means in a stream without a finish reason: `truncated`, or `complete` for endpoints that never send one. Default
   * `truncated`.
   */
  readonly doneWithoutReason?: "truncated" | "complete"
  /** Where the bytes of images and files are. They are sent as `data:` URLs. Absent: the model reads a line about each instead. */
  readonly attachments?: AttachmentStore
  /**
   * What the endpoint accepts. `maxTokensField` is by default the new field for OpenAI and Azure, and `max_tokens` elsewhere: a server
   * that does not know the new field would not limit the answer at all.
   */
  readonly wire?: OpenAiChatWireOptions
  /** Clock, for tests: milliseconds since the epoch. */
  readonly now?: () => number
  /** Randomness, for tests: from 0 to 1. */
  readonly random?: () => number
  /** Wait before a retry, for tests. */
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>
}

const FIRST_WAIT_MS = 500

/**
 * Creates a model client for an endpoint that speaks OpenAI's Chat Completions. Spread it into a host:
 * `{ ...openAiCompatible({ baseUrl, apiKey }), tools }`.
 *
 * A failed attempt is retried if that may help (408, 409, 429, 5xx, lost connections, timeouts, tool calls that the endpoint could not
 * read) and no text of the answer was emitted yet. Before each wait it emits `retry_status`, whose `attempt` is the number of the failed
 * attempt. Reasoning does not count as emitted text and may be emitted again. The usage of failed attempts is in `retriedUsage`.
 *
 * After the last attempt `llmCall` throws {@link LlmCallError}, with what the model said until then in `partial`. Its codes are
 * `connection_failed`, `timeout`, `idle_timeout`, `stream_truncated`, `malformed_response`, `response_too_large`, `redirected`,
 * `attachment_unreadable`, `cancelled`, or the provider's own.
 * @throws {TypeError} an unknown option, or a base URL, key or header that cannot be sent
 * @throws {RangeError} a time, count or size that is not a number of at least 0; `Infinity` is allowed
 * @see https://platform.openai.com/docs/guides/rate-limits (2026-11)
 */
export function openAiCompatible(options: OpenAiCompatibleOptions): Pick<Host, "llmCall"> {
  checkOptions(options)
  checkLimits(options)
  const { keepRequestBody = false, maxRetries = 3, maxRetryWaitMs = 60_000, random = Math.random, stream = true } = options
  const url = endpointUrl(options.baseUrl)
  const maxTokensField = ACCEPTS_NEW_FIELD.test(url.hostname) ? "max_completion_tokens" : "max_tokens"
  const wire = openAiChatWire({
    maxTokensField,
    ...(options.doneWithoutReason !== undefined && { doneWithoutReason: options.doneWithoutReason }),
    ...options.wire,
  })
  const redact = redactor([options.apiKey ?? "", ...Object.values(options.headers ?? {}), ...url.searchParams.values()])
  const endpoint: Endpoint = {
    url,
    headers: requestHeaders(options, stream),
    fetch: options.fetch ?? ((input, init) => fetch(input, init)),
    timeoutMs: options.timeoutMs ?? 600_000,
    idleTimeoutMs: options.idleTimeoutMs ?? 120_000,
    usageWaitMs: options.usageWaitMs ?? 3_000,
    maxBodyBytes: options.maxBodyBytes ?? 16 * 1024 * 1024,
    now: options.now ?? Date.now,
    redact,
  }
  const wait = options.sleep ?? sleep
  const policy = { firstWaitMs: FIRST_WAIT_MS, maxWaitMs: maxRetryWaitMs }

  return {
    async llmCall({ request }: LlmCall, context: EffectContext): Promise<LlmResponse> {
      const producer: Producer = { provider: options.provider ?? url.hostname, api: wire.api, model: options.model ?? request.model }
      const urls = options.attachments === undefined ? undefined : await dataUrls(options.attachments, request.attachments)
      const encoding: EncodeOptions = { stream, producer, ...(urls !== undefined && { attachmentUrl: ({ id }) => urls.get(id) }) }
      const requestBody = JSON.stringify(wire.encode({ ...request, model: producer.model }, encoding))
      const trace = keepRequestBody ? { requestBody } : {}
      const answerOptions: DecodeOptions = {
        firstCallNumber: countCalls(request) + 1,
        producer,
        toolNames: wire.toolNames(request),
        now: endpoint.now,
        redact,
      }
      const reader: AnswerReader = {
        decode: (body) => wire.decode(body, answerOptions),
        stream: () => wire.stream(answerOptions),
        failure: wire.failure,
      }
      let retriedUsage: TokenUsage | undefined
      for (let number = 1; ; number += 1) {
        const { askedMs, requestId, result, shown } = await attempt(endpoint, requestBody, reader, context)
        const retried = retriedUsage === undefined ? {} : { retriedUsage }
        if (result.ok) return { ...result.response, ...retried, ...trace, httpSummary: redact(summary(number, requestId)) }
        const failure = redactFailure({ ...result.error, ...retried, ...trace }, redact)
        if (failure.retryable && askedMs !== undefined && askedMs > maxRetryWaitMs) {
          throw new LlmCallError({ ...failure, kind: "usage_limit", retryable: false }, { partial: result.partial })
        }
        if (!failure.retryable || shown || number > maxRetries) throw new LlmCallError(failure, { partial: result.partial })

        retriedUsage = addKnown(retriedUsage, failure.usage ?? usageOf(request, result.partial))
        const waitMs = retryWaitMs(number, askedMs, random(), policy)
        context.emit({
          type: "retry_status",
          waitSeconds: waitMs / 1_000,
          attempt: number,
          maxAttempts: maxRetries + 1,
          reason: failure.message,
          envelope: {
            kind: "llm_provider",
            ...(failure.code !== undefined && { code: failure.code }),
            terminalReason: failure.terminalReason,
            userMessage: failure.message,
          },
        })
        await orAborted(wait(waitMs, context.signal), context.signal).catch(() => undefined)
        if (context.signal.aborted) throw new LlmCallError({ ...CANCELLED, ...(retriedUsage !== undefined && { retriedUsage }) })
      }
    },
  }
}

/** What a failed attempt used: as reported, or an estimate if it had begun to answer. */
function usageOf(request: LlmRequest, partial: LlmResponse | undefined): TokenUsage | undefined {
  if (partial === undefined || !isUsageMissing(partial)) return partial?.usage
  return estimateUsage(request, partial)
}

/** The attachments of a request as URLs. One that the store does not have is left out, so that the model reads a line about it. */
async function dataUrls(store: AttachmentStore, attachments: readonly AttachmentRef[]): Promise<ReadonlyMap<string, string>> {
  const urls = new Map<string, string>()
  try {
    for (const attachment of attachments) {
      const url = urls.has(attachment.id) ? undefined : await dataUrl(store, attachment)
      if (url !== undefined) urls.set(attachment.id, url)
    }
  } catch (cause) {
    // Leaving them out would let the model answer without what it was asked about.
    const message = `An attachment could not be read: ${cause instanceof Error ? cause.message : String(cause)}`
    throw new LlmCallError({ message, retryable: false, code: "attachment_unreadable", kind: "other", terminalReason: "provider_error" }, { cause })
  }
  return urls
}

const OPTIONS: { readonly [Option in keyof Required<OpenAiCompatibleOptions>]: true } = {
  baseUrl: true,
  apiKey: true,
  model: true,
  headers: true,
  fetch: true,
  timeoutMs: true,
  idleTimeoutMs: true,
  usageWaitMs: true,
  maxRetries: true,
  maxRetryWaitMs: true,
  stream: true,
  maxBodyBytes: true,
  keepRequestBody: true,
  provider: true,
  doneWithoutReason: true,
  attachments: true,
  wire: true,
  now: true,
  random: true,
  sleep: true,
}

/** Refuses unknown options, which would be ignored: a call with `apikey` would be sent without a key. */
function checkOptions(options: unknown): void {
  if (typeof options !== "object" || options === null) throw new TypeError("openAiCompatible takes options: openAiCompatible({ baseUrl, apiKey }).")
  const known = Object.keys(OPTIONS)
  const unknown = unknownKey(options, known)
  if (unknown === undefined) return
  const { key, hint = `the options are ${known.join(", ")}.` } = unknown
  throw new TypeError(`openAiCompatible has the unknown option ${JSON.stringify(key)}; ${hint}`)
}

/** NaN would make retries endless and waits empty, because every comparison with it is false. */
function checkLimits(options: OpenAiCompatibleOptions): void {
  for (const name of ["timeoutMs", "idleTimeoutMs", "usageWaitMs", "maxRetries", "maxRetryWaitMs", "maxBodyBytes"] as const) {
    const { [name]: value = 0 } = options
    if (!(value >= 0)) throw new RangeError(`${name} must be a number of at least 0, not ${value}.`)
  }
}

/** OpenAI and Azure accept the new field for the limit of output tokens. */
const ACCEPTS_NEW_FIELD = /(?:^|\.)(?:openai|azure)\.com$/

function endpointUrl(baseUrl: string): URL {
  const url = URL.canParse(baseUrl) ? new URL(baseUrl) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol)) throw new TypeError("The base URL is not an http or https address.")
  if (url.username !== "" || url.password !== "") throw new TypeError("The base URL must not contain a user name or password. Use apiKey or headers.")
  const path = url.pathname.replace(/\/+$/, "")
  url.pathname = path.endsWith("/chat/completions") ? path : `${path}/chat/completions`
  url.hash = ""
  return url
}

function requestHeaders({ apiKey = "", headers = {} }: OpenAiCompatibleOptions, stream: boolean): Headers {
  const all = new Headers({ "content-type": "application/json", accept: stream ? "text/event-stream, application/json" : "application/json" })
  const key = apiKey.trim()
  // setHeader hides the platform's own errors, which quote the value.
  if (key !== "") setHeader(all, "authorization", `Bearer ${key}`, "The API key has characters that are not allowed in a header.")
  for (const [name, value] of Object.entries(headers)) setHeader(all, name, value, `The header ${JSON.stringify(name)} cannot be sent.`)
  return all
}

function setHeader(headers: Headers, name: string, value: string, problem: string): void {
  try {
    headers.set(name, value)
  } catch {
    throw new TypeError(problem)
  }
}

/** Shorter values are placeholders such as `none`, and would be removed from ordinary words. */
const SHORTEST_SECRET = 8

/** Removes secrets from a text: an endpoint may quote what it received, also as JSON or in an address. */
function redactor(values: readonly string[]): (text: string) => string {
  const secrets = values.flatMap((value) => [value.trim(), ...value.split(/\s+/)]).filter((secret) => secret.length >= SHORTEST_SECRET)
  const spellings = secrets.flatMap((secret) => [
    secret,
    JSON.stringify(secret).slice(1, -1),
    secret.replaceAll("/", "\\/"),
    encodeURIComponent(secret),
  ])
  const longestFirst = [...new Set(spellings)].sort((a, b) => b.length - a.length)
  return (text) => longestFirst.reduce((rest, secret) => rest.replaceAll(secret, "[secret]"), text)
}

function redactFailure(failure: LlmFailure, redact: (text: string) => string): LlmFailure {
  const { code, raw, requestBody } = failure
  return {
    ...failure,
    message: redact(failure.message),
    ...(code !== undefined && { code: redact(code) }),
    ...(raw !== undefined && { raw: redact(raw) }),
    ...(requestBody !== undefined && { requestBody: redact(requestBody) }),
  }
}

function summary(attempts: number, requestId: string | undefined): string {
  return `attempt ${attempts}${requestId === undefined ? "" : `, request ${requestId}`}`
}
