import { type OpenAiAnswerOptions, type OpenAiRequestOptions, openAiChatProjector } from "../../projectors/openai-chat/index.ts"
import type { LlmCall } from "../../schemas/effect.ts"
import type { LlmFailure, LlmRequest, LlmResponse } from "../../schemas/llm.ts"
import { type EffectContext, type Host, LlmCallError } from "../host.ts"
import { attempt, CANCELLED, type Endpoint } from "./openai-attempt.ts"
import { orAborted, retryWaitMs, sleep } from "./retry.ts"

/** Where an endpoint is, and how patient to be with it. */
export interface OpenAiCompatibleOptions {
  /** The part of the address before `/chat/completions`, as `https://api.openai.com/v1`. A query (Azure's `api-version`) is kept. */
  readonly baseUrl: string
  /** Sent as a bearer token. It never appears in errors or events. */
  readonly apiKey?: string
  /** The endpoint's name for the model. Absent: the request's. */
  readonly model?: string
  /** More headers. Their values count as secret, too. */
  readonly headers?: Readonly<Record<string, string>>
  /** Default: the global one. */
  readonly fetch?: typeof fetch
  /** How long one attempt may take as a whole. Default 600,000 (ten minutes). */
  readonly timeoutMs?: number
  /** How long a stream may be silent. Default 120,000. */
  readonly idleTimeoutMs?: number
  /** How many attempts may follow the first. Default 3. */
  readonly maxRetries?: number
  /** The longest wait before a retry, also where the endpoint asks for more. Default 60,000. */
  readonly maxRetryWaitMs?: number
  /** Whether to show the answer as it comes. Default `true`. */
  readonly stream?: boolean
  /** The longest answer that is read. Default 16 MiB. */
  readonly maxBodyBytes?: number
  /** Keeps the request's body in answers and failures, for the trace log. Journals grow with it. Default `false`. */
  readonly keepRequestBody?: boolean
  /**
   * What the endpoint takes. `maxTokensField` is by default what the reference asks for at OpenAI and Azure, and the older
   * `max_tokens` elsewhere: servers that do not know the new one would not limit the answer at all.
   */
  readonly wire?: Omit<OpenAiRequestOptions, "stream">
  /** Clock, chance and waiting, for tests. */
  readonly now?: () => number
  readonly random?: () => number
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>
}

const FIRST_WAIT_MS = 500

/**
 * Calls models at any endpoint that speaks OpenAI's Chat Completions. What it returns goes into a host: `{ ...openAiCompatible(…), toolCall }`.
 *
 * A failed attempt is repeated where that may help (408, 409, 429, 5xx, lost connections, timeouts) and nothing of the answer
 * was shown yet; before each wait it emits `retry_status`, where `attempt` is the number of the attempt that failed. Reasoning
 * does not count as shown: it may be shown again. In the end it throws {@link LlmCallError}; the codes of its own are
 * `connection_failed`, `timeout`, `idle_timeout`, `stream_truncated`, `malformed_response`, `response_too_large`, `redirected`
 * and `cancelled`, the others are the provider's.
 * @throws {TypeError} on a base URL, key or header that cannot be sent.
 * @throws {RangeError} on a time, count or size that is no number from 0; all may be `Infinity`.
 * @see https://platform.openai.com/docs/guides/rate-limits (2026-11)
 */
export function openAiCompatible(options: OpenAiCompatibleOptions): Pick<Host, "llmCall"> {
  checkLimits(options)
  const { keepRequestBody = false, maxRetries = 3, maxRetryWaitMs = 60_000, random = Math.random, stream = true } = options
  const url = endpointUrl(options.baseUrl)
  const maxTokensField = TAKES_NEW_FIELD.test(url.hostname) ? "max_completion_tokens" : "max_tokens"
  const wire: OpenAiRequestOptions = { maxTokensField, ...options.wire, stream }
  const redact = redactor([options.apiKey ?? "", ...Object.values(options.headers ?? {}), ...url.searchParams.values()])
  const endpoint: Endpoint = {
    url,
    headers: requestHeaders(options, stream),
    fetch: options.fetch ?? ((input, init) => fetch(input, init)),
    timeoutMs: options.timeoutMs ?? 600_000,
    idleTimeoutMs: options.idleTimeoutMs ?? 120_000,
    maxBodyBytes: options.maxBodyBytes ?? 16 * 1024 * 1024,
    now: options.now ?? Date.now,
    redact,
  }
  const wait = options.sleep ?? sleep
  const policy = { firstWaitMs: FIRST_WAIT_MS, maxWaitMs: maxRetryWaitMs }

  return {
    async llmCall({ request }: LlmCall, context: EffectContext): Promise<LlmResponse> {
      const model = options.model ?? request.model
      const requestBody = JSON.stringify(openAiChatProjector.request({ ...request, model }, wire))
      const kept = keepRequestBody ? { requestBody } : {}
      const answerOptions: OpenAiAnswerOptions = {
        firstCallNumber: countCalls(request) + 1,
        ...(wire.reasoningField !== undefined && { reasoningField: wire.reasoningField }),
      }
      for (let number = 1; ; number += 1) {
        const { askedMs, requestId, result, shown } = await attempt(endpoint, requestBody, answerOptions, context)
        if (result.ok) return { ...result.response, ...kept, httpSummary: redact(summary(number, requestId)) }
        const failure = redactFailure({ ...result.error, ...kept }, redact)
        if (!failure.retryable || shown || number > maxRetries) throw new LlmCallError(failure)

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
        if (context.signal.aborted) throw new LlmCallError(CANCELLED)
      }
    },
  }
}

/** What is no number compares as false with every other: retries would have no end, and waits no length. */
function checkLimits(options: OpenAiCompatibleOptions): void {
  for (const name of ["timeoutMs", "idleTimeoutMs", "maxRetries", "maxRetryWaitMs", "maxBodyBytes"] as const) {
    const { [name]: value = 0 } = options
    if (!(value >= 0)) throw new RangeError(`${name} is a number from 0, not ${value}.`)
  }
}

/** OpenAI itself and Azure know the newer field for the limit of output tokens. */
const TAKES_NEW_FIELD = /(?:^|\.)(?:openai|azure)\.com$/

function endpointUrl(baseUrl: string): URL {
  const url = URL.canParse(baseUrl) ? new URL(baseUrl) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol)) throw new TypeError("The base URL is no http or https address.")
  if (url.username !== "" || url.password !== "") throw new TypeError("The base URL must hold no user name and no password; use apiKey or headers.")
  const path = url.pathname.replace(/\/+$/, "")
  url.pathname = path.endsWith("/chat/completions") ? path : `${path}/chat/completions`
  url.hash = ""
  return url
}

function requestHeaders({ apiKey = "", headers = {} }: OpenAiCompatibleOptions, stream: boolean): Headers {
  const all = new Headers({ "content-type": "application/json", accept: stream ? "text/event-stream, application/json" : "application/json" })
  const key = apiKey.trim()
  // The platform's own errors quote the value.
  if (key !== "") setHeader(all, "authorization", `Bearer ${key}`, "The API key has characters that no header can carry.")
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

/** Shorter values are placeholders like `none`, and would be struck out of ordinary words. */
const SHORTEST_SECRET = 8

/** Strikes secrets out of a text: an endpoint may quote what it was sent, also as JSON or in an address. */
function redactor(values: readonly string[]): (text: string) => string {
  const secrets = values.flatMap((value) => [value.trim(), ...value.split(/\s+/)]).filter((secret) => secret.length >= SHORTEST_SECRET)
  const written = secrets.flatMap((secret) => [
    secret,
    JSON.stringify(secret).slice(1, -1),
    secret.replaceAll("/", "\\/"),
    encodeURIComponent(secret),
  ])
  const longestFirst = [...new Set(written)].sort((a, b) => b.length - a.length)
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

function countCalls({ messages }: LlmRequest): number {
  let count = 0
  for (const { blocks } of messages) for (const block of blocks) if (block.type === "tool_call") count += 1
  return count
}

function summary(attempts: number, requestId: string | undefined): string {
  return `attempt ${attempts}${requestId === undefined ? "" : `, request ${requestId}`}`
}
