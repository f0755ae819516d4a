import type { LlmFailure, TerminalReason } from "../../schemas/llm.ts"
import { isRecord, textOf } from "./values.ts"

/** What an answer's headers say about trying again. */
export interface HttpFacts {
  /** The `x-should-retry` header, where it is `true` or `false`; it wins over the status. */
  readonly shouldRetry?: boolean
}

/**
 * What a refused HTTP request comes to. `retryable`: 408, 409, 429 and 5xx, unless the error says that waiting does not help
 * (no quota left, the context is full, the content was filtered). `code` is the provider's own: `error.code`, else `error.type`.
 * @see https://platform.openai.com/docs/guides/error-codes (2026-11)
 */
export function httpFailure(status: number, body: string, facts: HttpFacts = {}): LlmFailure {
  const error = errorIn(parse(body)) ?? looseError(parse(body)) ?? {}
  return describe({ ...error, status, message: `The endpoint answered ${status}${said(error.message, body)}` }, body, facts)
}

/**
 * What an error inside an answer comes to, in a whole body or in mid-stream; `undefined` if there is none.
 * The status is then the error's numeric code, if it has one (OpenRouter, vLLM); without one, only errors that name a
 * passing fault are retryable.
 * @see https://openrouter.ai/docs/api-reference/errors (2026-11)
 */
export function answerFailure(value: unknown): LlmFailure | undefined {
  const error = errorIn(value)
  if (error === undefined) return undefined
  const message = `The endpoint reported an error${said(error.message, "")}`
  return describe({ ...error, message }, textOf(value) ?? "", {})
}

/** A failure for an answer that is not of the format. Trying again would most likely give the same. */
export function malformed(what: string, raw?: string): LlmFailure {
  return {
    message: `The endpoint's answer is malformed: ${what}.`,
    retryable: false,
    code: "malformed_response",
    ...(raw !== undefined && raw !== "" && { raw: cut(raw, RAW_LIMIT) }),
    terminalReason: "provider_error",
  }
}

/** A failure for a stream that ended before its answer did. */
export function truncated(why?: string): LlmFailure {
  return {
    message: `The stream ended before the answer was complete${why === undefined ? "" : `: ${why}`}.`,
    retryable: true,
    code: "stream_truncated",
    terminalReason: "provider_error",
  }
}

/** A failure for an answer whose finish reason says that the provider broke down. */
export function brokenOff(finishReason: string): LlmFailure {
  return {
    message: `The provider broke the answer off with the finish reason "${finishReason}".`,
    retryable: true,
    code: finishReason,
    terminalReason: "provider_error",
  }
}

const RAW_LIMIT = 8_000
const MESSAGE_LIMIT = 2_000

interface ProviderError {
  readonly message?: string
  readonly code?: string
  readonly type?: string
  readonly status?: number
}

function describe(error: ProviderError & { readonly message: string }, raw: string, facts: HttpFacts): LlmFailure {
  const { message, code, type, status } = error
  const terminalReason = endOf(error)
  const shownCode = code ?? type ?? (status === undefined ? undefined : `http_${status}`)
  return {
    message,
    retryable: terminalReason === "provider_error" && !isOutOfMoney(error) && (facts.shouldRetry ?? isPassing(error)),
    ...(shownCode !== undefined && { code: shownCode }),
    ...(raw !== "" && { raw: cut(raw, RAW_LIMIT) }),
    terminalReason,
  }
}

function endOf({ message = "", code, type, status }: ProviderError): TerminalReason {
  const names = [code, type]
  if (names.includes("content_filter") || names.includes("content_policy_violation")) return "content_filter"
  if (names.includes("context_length_exceeded") || names.includes("exceed_context_size_error")) return "context_overflow"
  // vLLM, DeepSeek and others name it only in the message. Rate limits speak of token limits, too.
  if (status !== 429 && OVERFLOW.test(message)) return "context_overflow"
  return "provider_error"
}

const OVERFLOW =
  /maximum (?:context|prompt) length|context (?:length|size|window) (?:is |was |has been )?exceeded|exceeds? the (?:available context|context|maximum number of tokens)|prompt is too long/i

/** Billing errors come with 429, but no waiting mends them. */
function isOutOfMoney({ code, type }: ProviderError): boolean {
  return [code, type].some((name) => name !== undefined && /^insufficient_quota$|^billing_|credit_balance|spend_limit/.test(name))
}

function isPassing({ code, type, status }: ProviderError): boolean {
  if (status !== undefined) return status === 408 || status === 409 || status === 429 || status >= 500
  return [code, type].some((name) => name !== undefined && /server_error|internal|rate_limit|overloaded|unavailable|timeout|timed_out/i.test(name))
}

/** The error of a body or chunk that says it is one: `{ error }`, in an array at Google, or vLLM's older `{ object: "error" }`. */
function errorIn(value: unknown): ProviderError | undefined {
  if (Array.isArray(value)) return value.length === 1 ? errorIn(value[0]) : undefined
  if (!isRecord(value)) return undefined
  const { error } = value
  if (typeof error === "string" && error !== "") return { message: error }
  if (isRecord(error)) return readError(error)
  return value["object"] === "error" ? readError(value) : undefined
}

function readError(error: Readonly<Record<string, unknown>>): ProviderError {
  const { code, metadata } = error
  const type = error["type"] ?? error["status"] // Google names its kind of error `status`
  const number = typeof code === "number" ? code : typeof code === "string" && /^[45]\d\d$/.test(code) ? Number(code) : undefined
  const upstream = isRecord(metadata) ? textOf(metadata["raw"]) : undefined
  const message = textOf(error["message"]) ?? ""
  return {
    message: upstream === undefined ? message : `${message === "" ? "" : `${message}: `}${upstream}`,
    ...(typeof code === "string" && code !== "" && number === undefined && { code }),
    ...(typeof type === "string" && type !== "" && { type }),
    ...(number !== undefined && number >= 400 && number < 600 && { status: number }),
  }
}

/** The error of a refused request that is in no envelope: `{ message }`, or FastAPI's `{ detail }`. */
function looseError(value: unknown): ProviderError | undefined {
  if (!isRecord(value)) return undefined
  const message = textOf(value["message"]) ?? textOf(value["detail"])
  return message === undefined ? undefined : { ...readError(value), message }
}

/** The end of a message: what the provider said, or what came in its place. */
function said(message: string | undefined, body: string): string {
  if (message !== undefined && message.trim() !== "") return `: ${sentence(cut(message.trim(), MESSAGE_LIMIT))}`
  const text = body.trim()
  if (text === "") return body === "" && message === undefined ? " with an empty body." : "."
  if (text.startsWith("<")) {
    const title = /<title[^>]*>\s*([^<]{1,200})/i.exec(text.slice(0, 20_000))?.[1]?.trim()
    return ` with a page instead of an answer${title === undefined ? "" : ` ("${title}")`}.`
  }
  return `: ${sentence(cut(text, 200))}`
}

function sentence(text: string): string {
  return /[.!?…]$/.test(text) ? text : `${text}.`
}

function cut(text: string, limit: number): string {
  return text.length <= limit ? text : `${text.slice(0, limit)}… (${text.length - limit} more characters)`
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
