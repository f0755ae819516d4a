import type { LlmFailure, LlmFailureKind, TerminalReason } from "../../wire/llm.ts"
import { isOverflow } from "./overflow.ts"
import { type RetryHint, retryHint } from "./retry-hint.ts"
import { isRecord, textOf } from "./values.ts"

/** What is known of a refused HTTP request besides its status and body. */
export interface HttpFacts {
  /** The `x-should-retry` header if it is `true` or `false`. Overrides the status. */
  readonly shouldRetry?: boolean
  /** How long to wait before the next request, in milliseconds, as the headers say. */
  readonly retryAfterMs?: number
  /** The time, in milliseconds since the epoch. Without it, a failure has no `retryAt` if the provider says only how long to wait. */
  readonly nowMs?: number
}

/**
 * Describes a refused HTTP request. `retryable`: 408, 409, 429 and 5xx, unless the error is one that waiting does not fix
 * (quota used up, context full, content filtered), and Groq's `tool_use_failed`. `code` is the provider's: `error.code`, else
 * `error.type`. `retryAt` is the later of what the headers and the body say.
 * @see https://platform.openai.com/docs/guides/error-codes (2026-11)
 */
export function httpFailure(status: number, body: string, facts: HttpFacts = {}): LlmFailure {
  const error = errorIn(parse(body), facts.nowMs) ?? looseError(parse(body), facts.nowMs) ?? {}
  return describe({ ...error, status, message: `The endpoint answered ${status}${providerText(error.message, body)}` }, body, facts)
}

/**
 * Describes an error inside an answer, in a whole body or in mid-stream; `undefined` if there is none.
 * Its numeric code, if it has one, counts as the status (OpenRouter, vLLM). Without one, only errors that name a temporary
 * fault are retryable.
 * @param nowMs the time, in milliseconds since the epoch, for `retryAt`
 * @see https://openrouter.ai/docs/api-reference/errors (2026-11)
 */
export function answerFailure(value: unknown, nowMs?: number): LlmFailure | undefined {
  const error = errorIn(value, nowMs)
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
    kind: "other",
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
    kind: "network",
    terminalReason: "provider_error",
  }
}

/** A failure for an answer whose finish reason is a fault of the provider. */
export function brokenOff(finishReason: string): LlmFailure {
  return {
    message: `The provider broke the answer off with the finish reason "${cut(finishReason, 200)}".`,
    retryable: true,
    code: cut(finishReason, 200),
    kind: finishReason === "network_error" ? "network" : finishReason === "insufficient_system_resource" ? "overloaded" : "other",
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
  readonly hint?: RetryHint
}

function describe(error: ProviderError & { readonly message: string }, raw: string, facts: HttpFacts): LlmFailure {
  const { message, code, type, status, hint } = error
  const terminalReason = terminalReasonOf(error)
  const kind = terminalReason === "context_overflow" ? "context_overflow" : terminalReason === "content_filter" ? "other" : kindOf(error)
  const shownCode = code ?? type ?? (status === undefined ? undefined : `http_${status}`)
  const retryAt = laterOf(hint?.retryAt, facts)
  return {
    message,
    retryable: terminalReason === "provider_error" && kind !== "usage_limit" && (facts.shouldRetry ?? isTemporary(error)),
    ...(shownCode !== undefined && { code: shownCode }),
    kind,
    ...(retryAt !== undefined && { retryAt }),
    ...(raw !== "" && { raw: cut(raw, RAW_LIMIT) }),
    terminalReason,
  }
}

function laterOf(retryAt: number | undefined, { nowMs, retryAfterMs }: HttpFacts): number | undefined {
  const asked = nowMs === undefined || retryAfterMs === undefined ? undefined : Math.round(nowMs + retryAfterMs)
  return retryAt === undefined || asked === undefined ? (retryAt ?? asked) : Math.max(retryAt, asked)
}

function terminalReasonOf({ message = "", code, type, status }: ProviderError): TerminalReason {
  const names = [code, type]
  if (names.includes("content_filter") || names.includes("content_policy_violation")) return "content_filter"
  return isOverflow(status, message, names) ? "context_overflow" : "provider_error"
}

/**
 * A limit that a short wait does not lift: money, a plan, a day. Most have status 429.
 * @see https://platform.openai.com/docs/guides/error-codes (2026-11): `insufficient_quota`
 * @see https://platform.moonshot.ai/docs/api/chat (2026-11): `exceeded_current_quota_error`
 */
const USAGE_LIMIT = /^insufficient_(?:user_)?quota$|^billing_|credit_balance|spend_limit|^usage_limit|^usage_not_included$|^exceeded_current_quota/
const USAGE_LIMIT_MESSAGE = /credit balance is too low|insufficient (?:balance|credits?)|requires more credits|(?:hit|reached) your usage limit/i

function kindOf({ message = "", code, type, status, hint }: ProviderError): LlmFailureKind {
  const names = [code, type].filter((name) => name !== undefined)
  const named = (pattern: RegExp): boolean => names.some((name) => pattern.test(name))
  if (status === 402 || named(USAGE_LIMIT) || USAGE_LIMIT_MESSAGE.test(message)) return "usage_limit"
  if (status === 429 || named(/rate_limit|too_many_requests|throttl|^RESOURCE_EXHAUSTED$/i)) return hint?.isDaily ? "usage_limit" : "rate_limit"
  if (status === 401 || status === 403 || named(/api_key|authentication|permission|^UNAUTHENTICATED$/i)) return "auth"
  if (named(/overloaded|unavailable/i) || status === 502 || status === 503 || status === 529) return "overloaded"
  if (named(/timeout|timed_out/i) || status === 408 || status === 504) return "timeout"
  if (isToolUseFailure({ message, ...(code !== undefined && { code }) })) return "other"
  const isRefused = status !== undefined && status >= 400 && status < 500 && status !== 409
  return isRefused || named(/^invalid_|^INVALID_ARGUMENT$|not_found/) ? "invalid_request" : "other"
}

function isTemporary(error: ProviderError): boolean {
  const { code, type, status } = error
  if (isToolUseFailure(error)) return true
  if (status !== undefined) return status === 408 || status === 409 || status === 429 || status >= 500
  return [code, type].some((name) => name !== undefined && /server_error|internal|rate_limit|overloaded|unavailable|timeout|timed_out/i.test(name))
}

/**
 * Whether the provider could not read the model's own tool call. Another attempt mostly gives a readable one. The failure is not returned
 * to the model: what it wrote is not a message of the wire, and the transcript has no place for it.
 * @see https://github.com/pydantic/pydantic-ai/pull/4354 (2026-11), https://github.com/anomalyco/opencode/issues/1018 (2026-11)
 */
function isToolUseFailure({ code, message = "" }: ProviderError): boolean {
  return code === "tool_use_failed" || /failed to call a function/i.test(message)
}

/** Returns the error of a body or chunk in an envelope: `{ error }`, in an array from Google, or vLLM's older `{ object: "error" }`. */
function errorIn(value: unknown, nowMs: number | undefined): ProviderError | undefined {
  if (Array.isArray(value)) return value.length === 1 ? errorIn(value[0], nowMs) : undefined
  if (!isRecord(value)) return undefined
  const { error } = value
  if (typeof error === "string" && error !== "") return { message: error, hint: retryHint({}, error.slice(0, MESSAGE_LIMIT), nowMs) }
  if (isRecord(error)) return readError(error, nowMs)
  return value["object"] === "error" ? readError(value, nowMs) : undefined
}

function readError(error: Readonly<Record<string, unknown>>, nowMs: number | undefined): ProviderError {
  const { code, metadata } = error
  const type = error["type"] ?? error["status"] // Google's key for the type of an error is `status`.
  const number = typeof code === "number" ? code : typeof code === "string" && /^[45]\d\d$/.test(code) ? Number(code) : undefined
  const upstream = isRecord(metadata) ? textOf(metadata["raw"]) : undefined
  const own = textOf(error["message"]) ?? ""
  const message = upstream === undefined ? own : `${own === "" ? "" : `${own}: `}${upstream}`
  return {
    message,
    ...(typeof code === "string" && code !== "" && number === undefined && { code }),
    ...(typeof type === "string" && type !== "" && { type }),
    ...(number !== undefined && number >= 400 && number < 600 && { status: number }),
    hint: retryHint(error, message.slice(0, MESSAGE_LIMIT), nowMs),
  }
}

/** Returns the error of a refused request without an envelope: `{ message }`, or FastAPI's `{ detail }`. */
function looseError(value: unknown, nowMs: number | undefined): ProviderError | undefined {
  if (!isRecord(value)) return undefined
  const message = textOf(value["message"]) ?? textOf(value["detail"])
  return message === undefined ? undefined : { ...readError(value, nowMs), message }
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
