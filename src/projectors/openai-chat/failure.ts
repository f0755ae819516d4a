import type { LlmFailure, TerminalReason } from "../../wire/llm.ts"
import { isRecord, textOf } from "./values.ts"

/** What the headers of an HTTP response say about retries. */
export interface HttpFacts {
  /** The `x-should-retry` header if it is `true` or `false`. Overrides the status. */
  readonly shouldRetry?: boolean
}

/**
 * Describes a refused HTTP request. `retryable`: 408, 409, 429 and 5xx, unless the error is one that waiting does not fix
 * (quota used up, context full, content filtered). `code` is the provider's: `error.code`, else `error.type`.
 * @see https://platform.openai.com/docs/guides/error-codes (2026-11)
 */
export function httpFailure(status: number, body: string, facts: HttpFacts = {}): LlmFailure {
  const error = errorIn(parse(body)) ?? looseError(parse(body)) ?? {}
  return describe({ ...error, status, message: `The endpoint answered ${status}${providerText(error.message, body)}` }, body, facts)
}

/**
 * Describes an error inside an answer, in a whole body or in mid-stream; `undefined` if there is none.
 * Its numeric code, if it has one, counts as the status (OpenRouter, vLLM). Without one, only errors that name a temporary
 * fault are retryable.
 * @see https://openrouter.ai/docs/api-reference/errors (2026-11)
 */
export function answerFailure(value: unknown): LlmFailure | undefined {
  const error = errorIn(value)
  if (error === undefined) return undefined
  const message = `The endpoint reported an error${providerText(error.message, "")}`
  return describe({ ...error, message }, textOf(value) ?? "", {})
}

/** A failure for an answer that is not in the format. Not retryable: the next answer would most likely be the same. */
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

/** A failure for an answer whose finish reason is a fault of the provider. */
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
  const terminalReason = terminalReasonOf(error)
  const shownCode = code ?? type ?? (status === undefined ? undefined : `http_${status}`)
  return {
    message,
    retryable: terminalReason === "provider_error" && !isBillingError(error) && (facts.shouldRetry ?? isTemporary(error)),
    ...(shownCode !== undefined && { code: shownCode }),
    ...(raw !== "" && { raw: cut(raw, RAW_LIMIT) }),
    terminalReason,
  }
}

function terminalReasonOf({ message = "", code, type, status }: ProviderError): TerminalReason {
  const names = [code, type]
  if (names.includes("content_filter") || names.includes("content_policy_violation")) return "content_filter"
  if (names.includes("context_length_exceeded") || names.includes("exceed_context_size_error")) return "context_overflow"
  // vLLM, DeepSeek and others name it only in the message. Messages about rate limits mention token limits as well.
  if (status !== 429 && OVERFLOW.test(message)) return "context_overflow"
  return "provider_error"
}

const OVERFLOW =
  /maximum (?:context|prompt) length|context (?:length|size|window) (?:is |was |has been )?exceeded|exceeds? the (?:available context|context|maximum number of tokens)|prompt is too long/i

/** Billing errors have status 429, but waiting does not fix them. */
function isBillingError({ code, type }: ProviderError): boolean {
  return [code, type].some((name) => name !== undefined && /^insufficient_quota$|^billing_|credit_balance|spend_limit/.test(name))
}

function isTemporary({ code, type, status }: ProviderError): boolean {
  if (status !== undefined) return status === 408 || status === 409 || status === 429 || status >= 500
  return [code, type].some((name) => name !== undefined && /server_error|internal|rate_limit|overloaded|unavailable|timeout|timed_out/i.test(name))
}

/** Returns the error of a body or chunk in an envelope: `{ error }`, in an array from Google, or vLLM's older `{ object: "error" }`. */
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
  const type = error["type"] ?? error["status"] // Google's key for the type of an error is `status`.
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

/** Returns the error of a refused request without an envelope: `{ message }`, or FastAPI's `{ detail }`. */
function looseError(value: unknown): ProviderError | undefined {
  if (!isRecord(value)) return undefined
  const message = textOf(value["message"]) ?? textOf(value["detail"])
  return message === undefined ? undefined : { ...readError(value), message }
}

/** The end of a message: the provider's message, or else a description of the body. */
function providerText(message: string | undefined, body: string): string {
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
