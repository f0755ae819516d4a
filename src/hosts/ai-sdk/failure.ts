import { answerFailure, httpFailure, malformed, truncated } from "../../projectors/wires/failure.ts"
import { isRecord, stringOf } from "../../projectors/wires/values.ts"
import type { LlmFailure, LlmFailureKind } from "../../wire/llm.ts"
import { LlmCallError } from "../host.ts"
import { CANCELLED } from "../models/network-failures.ts"
import { retryAfterMs } from "../models/retry.ts"
import { redactFailure } from "../models/secrets.ts"

/** The time, and how secrets are removed from what a provider says. */
interface ErrorContext {
  readonly nowMs: number
  readonly redact: (text: string) => string
}

/**
 * Describes an error of the AI SDK or of a provider package: thrown, or in a stream. Errors are recognized by their names and members, which
 * are the same in every version and copy of the packages. Secrets are removed before a text is shortened.
 */
export function failureOf(error: unknown, context: ErrorContext): LlmFailure {
  if (error instanceof LlmCallError) return error.failure
  const { nowMs, redact } = context
  return redactFailure(describe(error, { redact, now: () => nowMs }, context), redact)
}

function describe(
  error: unknown,
  answer: { readonly redact: (text: string) => string; readonly now: () => number },
  context: ErrorContext,
): LlmFailure {
  const { redact } = context
  if (typeof error === "string") return described(answerFailure({ error }, answer), redact(error))
  if (!isRecord(error)) return failure(`The model call failed: ${String(error)}.`, "other", "unknown_error", false)
  const { name, message } = error
  const text = redact(stringOf(message) || stringOf(name) || "no reason was given")
  const status = error["statusCode"]
  if (typeof status === "number" && status >= 400) return httpError(error, status, context)
  const known = NAMED[stringOf(name)]
  if (known !== undefined) return known(text, redact(stringOf(error["text"])))
  if (error["isRetryable"] !== undefined) return connection(text, error["isRetryable"] === true)
  if (isOfNetwork(error)) return connection(text, true)
  // The error of a provider's stream, such as { type: "overloaded_error", message: "Overloaded" }.
  return described(answerFailure({ error: plainError(error) }, answer), text)
}

/** Its body says more than its message. */
function httpError(error: Readonly<Record<string, unknown>>, status: number, { nowMs, redact }: ErrorContext): LlmFailure {
  const headers = headersOf(error["responseHeaders"])
  const asked = retryAfterMs(headers, nowMs)
  const header = headers.get("x-should-retry")
  const shouldRetry = header === "true" || header === "false" ? header === "true" : error["isRetryable"] === true ? true : undefined
  const body = stringOf(error["responseBody"]) || JSON.stringify({ error: { message: stringOf(error["message"]), type: stringOf(error["type"]) } })
  return httpFailure(status, redact(body), {
    nowMs,
    ...(asked !== undefined && { retryAfterMs: asked }),
    ...(shouldRetry !== undefined && { shouldRetry }),
  })
}

function headersOf(value: unknown): Headers {
  const headers = new Headers()
  for (const [name, text] of Object.entries(isRecord(value) ? value : {})) {
    // A header that this platform refuses says nothing about retries.
    if (typeof text === "string" && /^[\w-]+$/.test(name) && /^[\x20-\x7e]*$/.test(text)) headers.set(name, text)
  }
  return headers
}

/** `text`: what the provider sent, where the error has it. */
type Describe = (message: string, text: string) => LlmFailure

/** @see https://ai-sdk.dev/docs/reference/ai-sdk-errors (2026-11) */
const NAMED: { readonly [name: string]: Describe } = {
  AbortError: () => CANCELLED,
  TimeoutError: (message) => failure(message, "timeout", "timeout", true),
  AI_LoadAPIKeyError: (message) => failure(message, "auth", "no_api_key", false),
  AI_LoadSettingError: (message) => failure(message, "auth", "no_setting", false),
  AI_InvalidPromptError: (message) => failure(message, "invalid_request", "invalid_prompt", false),
  AI_InvalidArgumentError: (message) => failure(message, "invalid_request", "invalid_argument", false),
  AI_UnsupportedFunctionalityError: (message) => failure(message, "invalid_request", "unsupported_functionality", false),
  AI_NoSuchModelError: (message) => failure(message, "invalid_request", "no_such_model", false),
  AI_EmptyResponseBodyError: () => ({ ...malformed("it is empty"), retryable: true }),
  AI_JSONParseError: (message, text) => malformed(`it is not JSON (${firstLine(message)})`, text),
  AI_TypeValidationError: (message) => malformed(`it does not have the provider's form (${firstLine(message)})`),
  // How provider packages report a stream that ended early.
  AI_InvalidResponseDataError: (message) => (/without a finish reason|ended/i.test(message) ? truncated() : malformed(firstLine(message))),
}

function isOfNetwork({ name, message, code }: Readonly<Record<string, unknown>>): boolean {
  if (typeof code === "string" && /^E[A-Z]{4,}$|^UND_ERR/.test(code)) return true
  return name === "TypeError" && /fetch|network|terminated|socket|load failed/i.test(stringOf(message))
}

function connection(why: string, retryable: boolean): LlmFailure {
  const message = `The connection to the provider failed: ${why.replace(/\.$/, "")}.`
  return failure(message, "network", "connection_failed", retryable)
}

function failure(message: string, kind: LlmFailureKind, code: string, retryable: boolean): LlmFailure {
  return { message, retryable, code, kind, terminalReason: kind === "cancelled" ? "cancelled" : "provider_error" }
}

function described(found: LlmFailure | undefined, message: string): LlmFailure {
  return found ?? failure(`The model call failed: ${message}.`, "other", "unknown_error", false)
}

/** Messages of errors are not enumerable. */
function plainError(error: Readonly<Record<string, unknown>>): object {
  const { code, message, status, type } = error
  return { ...(isRecord(error["error"]) ? error["error"] : {}), ...error, ...defined({ code, message, status, type }) }
}

function defined(values: Readonly<Record<string, unknown>>): object {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))
}

function firstLine(message: string): string {
  return (message.split("\n")[0] ?? "").slice(0, 300).replace(/\.$/, "")
}
