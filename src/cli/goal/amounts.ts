import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"

const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, min: 60, h: 3_600, d: 86_400 }

/** Reads a span of time, as `90s`, `10m` or `1h30m`, in seconds. @throws {CliError} */
export function readSeconds(flag: string, text: string): number {
  const parts = /^(?:\d{1,9}(?:s|min|m|h|d))+$/.test(text) ? text.matchAll(/(\d+)(s|min|m|h|d)/g) : []
  let seconds = 0
  for (const [, count, unit = ""] of parts) seconds += Number(count) * (UNIT_SECONDS[unit] ?? 0)
  if (seconds > 0 && Number.isSafeInteger(seconds)) return seconds
  throw new CliError(`${flag} takes a time with its unit, as 90s, 10m or 1h30m, not "${oneLine(text)}".`)
}

/** Reads a sum of money in millionths, at most six digits behind the point. @throws {CliError} */
export function readMicros(flag: string, text: string): number {
  const micros = /^\d{1,9}(?:\.\d{1,6})?$/.test(text) ? Math.round(Number(text) * 1_000_000) : Number.NaN
  if (micros > 0) return micros
  throw new CliError(`${flag} takes an amount above 0, as 0.50, not "${oneLine(text)}".`)
}

/** Reads a price for a million tokens, which may be 0. @throws {CliError} */
export function readPrice(flag: string, text: string): number {
  if (/^\d{1,6}(?:\.\d{1,6})?$/.test(text)) return Number(text)
  throw new CliError(`${flag} takes a price for a million tokens, as 1.25, not "${oneLine(text)}".`)
}
