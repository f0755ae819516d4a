import type { LlmFailure, LlmFailureKind, TerminalReason } from "../../wire/llm.ts"
import { isOverflow } from "./overflow.ts"
import { type RetryHint, retryHint } from "./retry-hint.ts"
import { readUsage } from "./usage.ts"
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
 * `error.type`. `retryAt` is the later of what the headers and the body say. `usage`, where the body has one: the failed call was billed.
 * @see https://platform.openai.com/docs/guides/error-codes (2026-11)
 */
export function httpFailure(status: number, body: string, facts: HttpFacts = {}): LlmFailure {
  const parsed = parse(body)
  const error = errorIn(parsed, facts.nowMs) ??
    looseError(parsed, facts.nowMs) ??
    errorWithoutChoices(parsed, facts.nowMs) ?? { hint: plainHint(body, facts.nowMs) }
  const failure = describe({ ...error, status, message: `The endpoint answered ${status}${providerText(error.message, body)}` }, body, facts)
  return withUsage(failure, parsed)
}

/**
 * Describes an error inside an answer, in a whole body or in mid-stream; `undefined` if there is none.
 * Its numeric code, if it has one, counts as the status (OpenRouter, vLLM). Without one, only errors that name a temporary
 * fault are retryable.
 * @see https://openrouter.ai/docs/api-reference/errors (2026-11)
 */
export function answerFailure(value: unknown, { now, redact = asItIs }: AnswerFacts = {}): LlmFailure | undefined {
  const nowMs = now?.()
  const error = errorIn(value, nowMs) ?? errorWithoutChoices(value, nowMs)
  if (error === undefined) return undefined
  const message = `The endpoint reported an error${providerText(error.message, "", redact)}`
  return withUsage(describe({ ...error, message }, redact(textOf(value) ?? ""), {}), value)
}

function withUsage(failure: LlmFailure, body: unknown): LlmFailure {
  return isRecord(body) && isRecord(body["usage"]) ? { ...failure, usage: readUsage(body["usage"]) } : failure
}

/** The clock, and how secrets are removed from texts before they are shortened. */
interface AnswerFacts {
  readonly now?: () => number
  readonly redact?: (text: string) => string
}

function asItIs(text: string): string {
  return text
}

/** A failure for an answer that is not in the format. Not retryable: the next answer would most likely be the same. */
export function malformed(what: string, raw = "", redact: (text: string) => string = asItIs): LlmFailure {
  return {
    message: `The endpoint's answer is malformed: ${what}.`,
    retryable: false,
    code: "malformed_response",
    kind: "other",
    ...(raw !== "" && { raw: cut(redact(raw), RAW_LIMIT) }),
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
export function brokenOff(finishReason: string, redact: (text: string) => string = asItIs): LlmFailure {
  const shown = cut(redact(finishReason), 200)
  return {
    message: `The provider broke the answer off with the finish reason "${shown}".`,
    retryable: true,
    code: shown,
    kind: finishReason === "network_error" ? "network" : finishReason === "insufficient_system_resource" ? "overloaded" : "other",
    terminalReason: "provider_error",
  }
}

const RAW_LIMIT = 8_000
const MESSAGE_LIMIT = 2_000

interface ProviderError {
  readonly message?: string | undefined
  readonly code?: string | undefined
  readonly type?: string | undefined
  readonly status?: number | undefined
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
  // A header may ask for any number of seconds.
  const asked = nowMs === undefined || retryAfterMs === undefined ? undefined : Math.min(LAST_TIME, Math.round(nowMs + retryAfterMs))
  return retryAt === undefined || asked === undefined ? (retryAt ?? asked) : Math.max(retryAt, asked)
}

/** The last time that a `Date` has, in milliseconds since the epoch. */
const LAST_TIME = 8.64e15

function terminalReasonOf({ message = "", code, type, status }: ProviderError): TerminalReason {
  const names = [code, type]
  // OpenAI's codes for policies are in the reference of a response's `error`.
  if (names.some((name) => name === "content_filter" || /^(?:bio|cyber)_policy$|_policy_violation$/.test(name ?? ""))) return "content_filter"
  return isOverflow(status, message, names) ? "context_overflow" : "provider_error"
}

/**
 * A limit that a short wait does not lift: money, a plan, a day. Most have status 429.
 * @see https://platform.openai.com/docs/guides/error-codes (2026-11): `insufficient_quota`
 * @see https://platform.moonshot.ai/docs/api/chat (2026-11): `exceeded_current_quota_error`
 */
const USAGE_LIMIT =
  /^insufficient_(?:user_)?quota$|^billing_|credit_balance|spend_limit|^usage_limit|^usage_not_included$|^exceeded_current_quota|^budget_exceeded$|^arrearage$|^allocationquota\.freetieronly$/i

/** How providers say it in words. A wording for each is in the tests. */
const USAGE_LIMIT_MESSAGES: readonly RegExp[] = [
  // Anthropic, DeepSeek, OpenRouter, SiliconFlow, Z.ai
  /credit balance is too low|insufficient (?:balance|credits?)|requires more credits|account balance is insufficient|\bin arrears\b/i,
  // xAI, Google, Anthropic
  /used all available credits|\b(?:spending|spend) (?:cap|limit)\b/i,
  // LiteLLM
  /budget has been exceeded|\bover budget\b|exceeded budget for\b/i,
  // Ollama, Anthropic, plans for coding
  /(?:hit|reached|exceeded) your (?:[\w-]+ ){0,3}usage limits?\b|\busage limit (?:reached|exceeded)/i,
  // Z.ai
  /(?:weekly|monthly) limit (?:exhausted|reached)/i,
  // Cloudflare, DashScope
  /daily free allocation|free tier of the model has been exhausted/i,
  // OpenRouter's limit of a key
  /\bkey limit exceeded/i,
  // Hugging Face
  /exceeded your monthly (?:included )?credits/i,
]

function saysUsageLimit(message: string): boolean {
  return !/\bper[ -](?:minute|second)\b|\b[TR]PM\b/i.test(message) && USAGE_LIMIT_MESSAGES.some((words) => words.test(message))
}

/** The names of an error: code and type. A bare message of an answer is read for the same words. */
function namesOf({ message = "", code, type, status }: ProviderError): readonly string[] {
  const names = [code, type].filter((name) => name !== undefined)
  return names.length > 0 || status !== undefined ? names : [message.slice(0, 300).toLowerCase().replaceAll(" ", "_")]
}

function kindOf({ message = "", code, type, status, hint }: ProviderError): LlmFailureKind {
  const names = namesOf({ message, code, type, status })
  const named = (pattern: RegExp): boolean => names.some((name) => pattern.test(name))
  if (status === 402 || named(USAGE_LIMIT) || saysUsageLimit(message)) return "usage_limit"
  if (status === 429 || named(/rate_limit|too_many_requests|throttl|^RESOURCE_EXHAUSTED$/i)) return hint?.isDaily ? "usage_limit" : "rate_limit"
  // Google answers 400 to a wrong key.
  if (
    status === 401 ||
    status === 403 ||
    /\bAPI key (?:not valid|expired|not found)/i.test(message) ||
    named(/api_key|authentication|permission|^UNAUTHENTICATED$/i)
  )
    return "auth"
  if (named(/overloaded|unavailable/i) || status === 502 || status === 503 || status === 529) return "overloaded"
  if (named(/timeout|timed_out/i) || status === 408 || status === 504) return "timeout"
  if (isToolUseFailure({ message, ...(code !== undefined && { code }) })) return "other"
  const isRefused = status !== undefined && status >= 400 && status < 500 && status !== 409
  return isRefused || named(/^invalid_|^INVALID_ARGUMENT$|not_found/) ? "invalid_request" : "other"
}

function isTemporary(error: ProviderError): boolean {
  const { status } = error
  if (isToolUseFailure(error)) return true
  if (status !== undefined) return status === 408 || status === 409 || status === 429 || status >= 500
  return namesOf(error).some((name) => /server_error|internal|rate_limit|too_many_requests|overloaded|unavailable|timeout|timed_out/i.test(name))
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
  // Some servers send an empty error beside a good answer.
  if (isRecord(error) && !(hasChoices(value) && isEmptyError(error))) return readError(error, nowMs)
  return value["object"] === "error" ? readError(value, nowMs) : undefined
}

function readError(error: Readonly<Record<string, unknown>>, nowMs: number | undefined): ProviderError {
  const { code, metadata } = error
  const type = error["type"] ?? error["status"] // Google's key for the type of an error is `status`.
  const number = typeof code === "number" ? code : typeof code === "string" && /^[45]\d\d$/.test(code) ? Number(code) : undefined
  const status = number ?? (typeof error["status"] === "number" ? error["status"] : undefined)
  const upstream = isRecord(metadata) ? textOf(metadata["raw"]) : undefined
  const own = textOf(error["message"]) ?? ""
  const message = upstream === undefined ? own : `${own === "" ? "" : `${own}: `}${upstream}`
  return {
    message,
    ...(typeof code === "string" && code !== "" && number === undefined && { code }),
    ...(typeof type === "string" && type !== "" && { type }),
    ...(status !== undefined && status >= 400 && status < 600 && { status }),
    hint: retryHint(error, message.slice(0, MESSAGE_LIMIT), nowMs),
  }
}

/** Whether a body has an answer: choices, or Gemini's candidates. */
function hasChoices({ candidates, choices }: Readonly<Record<string, unknown>>): boolean {
  return [candidates, choices].some((list) => Array.isArray(list) && list.length > 0)
}

function isEmptyError({ code, message, type }: Readonly<Record<string, unknown>>): boolean {
  return [code, message, type].every((value) => value === undefined || value === null || value === "" || value === 0)
}

/** Returns the error of a refused request without an envelope: `{ message }`, FastAPI's `{ detail }`, or Cloudflare's `{ errors }`. */
function looseError(value: unknown, nowMs: number | undefined): ProviderError | undefined {
  if (!isRecord(value)) return undefined
  const message = textOf(value["message"]) ?? textOf(value["msg"]) ?? textOf(value["detail"])
  if (message !== undefined) return readError({ ...value, message }, nowMs)
  const { errors } = value
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined
  return isRecord(first) ? readError(first, nowMs) : undefined
}

/** MiniMax's codes that are HTTP statuses of others. @see https://platform.minimax.io/docs/api-reference/errorcode (2026-11) */
const MINIMAX_STATUS: ReadonlyMap<unknown, number> = new Map([
  [1000, 500],
  [1001, 504],
  [1002, 429],
  [1039, 429],
  [1004, 401],
  [2049, 401],
  [1008, 402],
  [1024, 500],
])

/**
 * Returns the error of a body with status 200, or of a chunk, that has no choices: MiniMax's `{ base_resp }`, `{ code, message }` or
 * `{ code, msg }` (Z.ai, SiliconFlow), and FastAPI's `{ detail }`.
 */
function errorWithoutChoices(value: unknown, nowMs: number | undefined): ProviderError | undefined {
  if (!isRecord(value) || hasChoices(value)) return undefined
  const { base_resp: minimax, code, detail, errors, success } = value
  if (isRecord(minimax) && typeof minimax["status_code"] === "number" && minimax["status_code"] !== 0) {
    const { status_code: number, status_msg: message } = minimax
    const status = MINIMAX_STATUS.get(number)
    return { ...readError({ code: String(number), message }, nowMs), ...(status !== undefined && { status }) }
  }
  const hasCode = (typeof code === "number" || typeof code === "string") && !/^(?:0|200|ok|success)?$/i.test(String(code))
  const hasMessage = typeof value["message"] === "string" || typeof value["msg"] === "string"
  const isError = (hasCode && hasMessage) || (success === false && (hasMessage || Array.isArray(errors))) || (detail ?? "") !== ""
  return isError ? looseError(value, nowMs) : undefined
}

/** Reads when to call again from a body that is a plain text. */
function plainHint(body: string, nowMs: number | undefined): RetryHint {
  const text = body.trim()
  return /^[<{[]/.test(text) ? {} : retryHint({}, text.slice(0, MESSAGE_LIMIT), nowMs)
}

/** The end of a message: the provider's message, or else a description of the body. */
function providerText(message: string | undefined, body: string, redact: (text: string) => string = asItIs): string {
  if (message !== undefined && message.trim() !== "") return `: ${sentence(cut(redact(message.trim()), MESSAGE_LIMIT))}`
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
