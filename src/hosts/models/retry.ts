/** How long to wait between two attempts. */
export interface RetryPolicy {
  /** The wait before the first retry, in milliseconds; it doubles with each. */
  readonly firstWaitMs: number
  /** No wait is longer, whatever the server asks for. */
  readonly maxWaitMs: number
}

/**
 * How long to wait after a failed attempt, in milliseconds. What the server asks for holds, up to the longest wait; else the
 * wait doubles with each attempt, and `random` (0 to 1) takes up to half of it away, so that clients do not come back together.
 * @param attempt the number of the attempt that failed, from 1
 */
export function retryWaitMs(attempt: number, askedMs: number | undefined, random: number, { firstWaitMs, maxWaitMs }: RetryPolicy): number {
  if (askedMs !== undefined) return Math.min(askedMs, maxWaitMs)
  return Math.min(firstWaitMs * 2 ** (attempt - 1), maxWaitMs) * (1 - random / 2)
}

/**
 * What a server asks for in `retry-after-ms` or `Retry-After` (seconds, or an HTTP date), in milliseconds from `nowMs`;
 * `undefined` if it asks for nothing that makes sense. A date in the past is no wait.
 * @see https://www.rfc-editor.org/rfc/rfc9110#field.retry-after (2026-11)
 */
export function retryAfterMs(headers: Headers, nowMs: number): number | undefined {
  const asked = number(headers.get("retry-after-ms"))
  if (asked !== undefined) return asked
  const header = headers.get("retry-after")
  const seconds = number(header)
  if (seconds !== undefined) return seconds * 1_000
  // A bare number is a year to Date.parse; dates have a weekday or month in letters.
  const date = header !== null && /[a-z]{3}/i.test(header) ? Date.parse(header) : Number.NaN
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs)
}

function number(text: string | null): number | undefined {
  return text !== null && /^\s*\d+(?:\.\d+)?\s*$/.test(text) ? Number(text) : undefined
}

/** Waits, and stops waiting when `signal` is aborted. Never throws. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const wake = (): void => {
      clearTimeout(timer)
      signal.removeEventListener("abort", wake)
      resolve()
    }
    const timer = setTimeout(wake, timerMs(ms))
    signal.addEventListener("abort", wake)
  })
}

/** A time that a timer can take: a longer one would fire at once. */
export function timerMs(ms: number): number {
  return Math.min(Math.max(0, ms), 2_147_483_647)
}

/** The value of a promise, or a rejection with the signal's reason as soon as it is aborted, whatever the promise does. */
export function orAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason)
    if (signal.aborted) abort()
    else signal.addEventListener("abort", abort)
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort))
  })
}
