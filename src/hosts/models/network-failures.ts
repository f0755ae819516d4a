import type { LlmFailure, LlmFailureKind } from "../../wire/llm.ts"

/** The failure of a call that was aborted. */
export const CANCELLED: LlmFailure = {
  message: "The model call was cancelled.",
  retryable: false,
  code: "cancelled",
  kind: "cancelled",
  terminalReason: "cancelled",
}

/** Why a `fetch` failed, which is mostly in its causes. The causes themselves are not passed on, because they may quote headers. */
export function reasonOf(error: unknown, redact: (text: string) => string): string {
  let reason = ""
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth += 1) {
    const first: unknown = at instanceof AggregateError ? at.errors[0] : undefined
    const code: unknown = "code" in at ? at.code : undefined
    reason = at.message || (first instanceof Error ? first.message : "") || (typeof code === "string" ? code : reason)
  }
  return reason === "" ? "the connection failed" : redact(reason).slice(0, 500)
}

function provider(code: string, kind: LlmFailureKind, message: string, retryable: boolean): LlmFailure {
  return { message, retryable, code, kind, terminalReason: "provider_error" }
}

/** No connection, or it broke before the answer began. */
export function unreachable(url: URL, why: string): LlmFailure {
  return provider("connection_failed", "network", `The endpoint at ${url.origin}${url.pathname} could not be reached: ${why}.`, true)
}

/** The answer took longer than one attempt may. */
export function timedOut(ms: number): LlmFailure {
  return provider("timeout", "timeout", `The endpoint did not complete its answer within ${ms / 1_000} seconds.`, true)
}

/** The answer did not begin in time. */
export function notBegun(ms: number): LlmFailure {
  return provider("first_byte_timeout", "timeout", `The endpoint did not begin its answer within ${ms / 1_000} seconds.`, true)
}

/** A stream sent nothing for too long. */
export function silent(ms: number): LlmFailure {
  return provider("idle_timeout", "timeout", `The endpoint sent nothing for ${ms / 1_000} seconds.`, true)
}

/** The answer is longer than the host reads. */
export function tooLarge(bytes: number): LlmFailure {
  return provider("response_too_large", "other", `The endpoint's answer is longer than ${bytes} bytes.`, false)
}

/** The endpoint answered with another address, to which no key is sent. */
export function redirected(response: Response, redact: (text: string) => string): LlmFailure {
  const target = redact(response.headers.get("location") ?? "")
    .replace(/[?#].*$/s, "")
    .slice(0, 200)
  return provider(
    "redirected",
    "invalid_request",
    `The endpoint redirects${target === "" ? "" : ` to ${target}`}. Use the address that it redirects to as the base URL.`,
    false,
  )
}
