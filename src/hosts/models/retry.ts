import { onAbort } from "../timers.ts"
/** How long to wait between attempts. */
export interface RetryPolicy {
  /** The wait before the first retry, in milliseconds; it doubles with each. */
  readonly firstWaitMs: number
  /** The longest wait in milliseconds, also if the server asks for more. */
  readonly maxWaitMs: number
}

/**
 * Returns how long to wait after a failed attempt, in whole milliseconds: the time that the server asked for, up to the longest wait.
 * Otherwise the wait doubles with each attempt, and `random` (0 to 1) shortens it by up to half, so that clients spread out.
 * @param attempt the number of the attempt that failed, from 1
 */
export function retryWaitMs(attempt: number, askedMs: number | undefined, random: number, { firstWaitMs, maxWaitMs }: RetryPolicy): number {
  if (askedMs !== undefined) return Math.min(askedMs, maxWaitMs)
  return Math.round(Math.min(firstWaitMs * 2 ** (attempt - 1), maxWaitMs) * (1 - random / 2))
}

/**
 * Reads `retry-after-ms` or `Retry-After` (seconds, or an HTTP date) in milliseconds from `nowMs`. Returns `undefined` without a valid
 * value, and 0 for a date in the past.
 * @see https://www.rfc-editor.org/rfc/rfc9110#field.retry-after (2026-11)
 */
export function retryAfterMs(headers: Headers, nowMs: number): number | undefined {
  const asked = number(headers.get("retry-after-ms"))
  if (asked !== undefined) return asked
  const header = headers.get("retry-after")
  const seconds = number(header)
  if (seconds !== undefined) return seconds * 1_000
  // Date.parse reads a bare number as a year; an HTTP date has a weekday or month in letters.
  const date = header !== null && /[a-z]{3}/i.test(header) ? Date.parse(header) : Number.NaN
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs)
}

function number(text: string | null): number | undefined {
  return text !== null && /^\s*\d+(?:\.\d+)?\s*$/.test(text) ? Number(text) : undefined
}

/** Settles like the promise, or rejects with the signal's reason as soon as the signal is aborted. */
export function orAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  const wait = new AbortableWait(signal)
  return wait.for(promise).finally(() => wait.end())
}

/** Waits for one promise after the other, each as {@link orAborted}, with one listener for all. A stream is read in thousands of pieces. */
export class AbortableWait {
  readonly #signal: AbortSignal
  readonly #stopWaiting: () => void
  #abort: () => void = () => {}

  constructor(signal: AbortSignal) {
    this.#signal = signal
    this.#stopWaiting = onAbort(signal, () => this.#abort())
  }

  for<Value>(promise: Promise<Value>): Promise<Value> {
    return new Promise((resolve, reject) => {
      this.#abort = () => reject(this.#signal.reason)
      if (this.#signal.aborted) this.#abort()
      promise.then(resolve, reject)
    })
  }

  end(): void {
    this.#stopWaiting()
  }
}
