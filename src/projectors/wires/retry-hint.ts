import { isRecord, stringOf } from "./values.ts"

/** What the body of an error says about when to call again. */
export interface RetryHint {
  /** Milliseconds since the epoch. */
  readonly retryAt?: number
  /** The limit is one of a day. */
  readonly isDaily?: true
}

const DAILY = /\bper[ -]day\b|\bdaily\b|\b[TR]PD\b|PerDay/i

/**
 * Reads when to call again from an error: a time, or a time to wait, in one of its keys or in its message.
 * @param nowMs the time, in milliseconds since the epoch. Without it, only times are read.
 * @see https://cloud.google.com/apis/design/errors#error_details (2026-11): `retryDelay` and violated quotas
 * @see https://github.com/earendil-works/pi/issues/4172 (2026-11): `resets_in_seconds` and `resets_at` of a usage limit
 * @see https://github.com/Gitlawb/openclaude/issues/936 (2026-11): OpenRouter's `X-RateLimit-Reset`
 */
export function retryHint(error: Readonly<Record<string, unknown>>, message: string, nowMs: number | undefined): RetryHint {
  const google = googleDetails(error["details"])
  // Google's delay is the one of its limit per minute, also if that of the day is used up.
  if (google.isDaily) return { isDaily: true }
  const waitMs = google.retryMs ?? seconds(error["resets_in_seconds"]) ?? durationIn(message)
  const retryAt =
    time(error["resets_at"]) ?? timeIn(message) ?? (waitMs === undefined || nowMs === undefined ? undefined : nowMs + waitMs) ?? resetHeader(error)
  return { ...(retryAt !== undefined && { retryAt: Math.round(retryAt) }), ...(DAILY.test(message) && { isDaily: true as const }) }
}

function googleDetails(details: unknown): { readonly retryMs?: number; readonly isDaily: boolean } {
  if (!Array.isArray(details)) return { isDaily: false }
  let retryMs: number | undefined
  let isDaily = false
  for (const detail of details as readonly unknown[]) {
    if (!isRecord(detail)) continue
    const { retryDelay, violations } = detail
    if (typeof retryDelay === "string") retryMs = duration(retryDelay) ?? retryMs
    if (Array.isArray(violations)) isDaily ||= violations.some((one) => isRecord(one) && DAILY.test(stringOf(one["quotaId"])))
  }
  return { isDaily, ...(retryMs !== undefined && { retryMs }) }
}

function resetHeader({ metadata }: Readonly<Record<string, unknown>>): number | undefined {
  const headers = isRecord(metadata) && isRecord(metadata["headers"]) ? metadata["headers"] : {}
  const reset = Number(headers["X-RateLimit-Reset"] ?? Number.NaN)
  return time(reset)
}

/** A time in seconds or milliseconds since the epoch, in milliseconds. */
function time(value: unknown): number | undefined {
  if (typeof value !== "number") return undefined
  const ms = value < 1e11 ? value * 1_000 : value
  // No later time has a date.
  return ms > 1e11 && ms <= 8.64e15 ? ms : undefined
}

/** A time in UTC in a message such as `You will regain access on 2026-12-01 at 00:00 UTC.`. A time without a zone may be in any. */
const TIME_IN_MESSAGE =
  /\b(?:access on|resets? (?:at|on)|until|again (?:at|on)) (\d{4})-(\d\d)-(\d\d)(?: at |T| )(\d\d):(\d\d)(?::(\d\d))?(?:\.\d{1,9})?(?: ?UTC|Z)\b/i

function timeIn(message: string): number | undefined {
  const found = TIME_IN_MESSAGE.exec(message)
  if (found === null) return undefined
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = found.slice(1).map((digits) => Number(digits ?? 0))
  if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 31) return undefined
  return (((daysTo(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1_000
}

/** The days from 1970-01-01 to a date. Years begin in March, so that the leap day is the last. */
function daysTo(year: number, month: number, day: number): number {
  const years = month > 2 ? year : year - 1
  const days = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1
  return years * 365 + Math.floor(years / 4) - Math.floor(years / 100) + Math.floor(years / 400) + days - 719_468
}

function seconds(given: unknown): number | undefined {
  const value = typeof given === "string" && /^\d{1,9}(?:\.\d{1,9})?$/.test(given) ? Number(given) : given
  return typeof value === "number" && value >= 0 && value < 1e9 ? value * 1_000 : undefined
}

const UNITS: readonly (readonly [RegExp, number])[] = [
  [/^(?:ms|millis)/, 1],
  [/^s/, 1_000],
  [/^m/, 60_000],
  [/^h/, 3_600_000],
  [/^d/, 86_400_000],
]

const AMOUNT = "\\d{1,9}(?:\\.\\d{1,12})?\\s?(?:ms|milliseconds?|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)\\b"
const IN_MESSAGE = new RegExp(
  `(?:again|retry|wait|resets?)(?: in| after| for)? ((?:${AMOUNT}|\\d{1,9}(?:\\.\\d{1,12})?[hm](?=\\d)|[ ,]|and ){1,40})`,
  "i",
)

/** The time to wait in a message such as `Please try again in 9m38.016s.`, in milliseconds. */
function durationIn(message: string): number | undefined {
  const found = IN_MESSAGE.exec(message)?.[1]
  return found === undefined ? undefined : duration(found)
}

/** A duration such as `34s`, `7m12.5s` or `2 hours`, in milliseconds. */
function duration(text: string): number | undefined {
  let total: number | undefined
  for (const [, amount, unit = ""] of text.toLowerCase().matchAll(/(\d{1,9}(?:\.\d{1,12})?)\s?([a-z]+)/g)) {
    const factor = UNITS.find(([pattern]) => pattern.test(unit))?.[1]
    if (factor === undefined) return total
    total = (total ?? 0) + Number(amount) * factor
  }
  return total
}
