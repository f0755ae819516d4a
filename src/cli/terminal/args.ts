import { type ParseArgsConfig, parseArgs } from "node:util"
import { CliError } from "./errors.ts"
import { oneLine } from "./format.ts"

export type FlagSpecs = NonNullable<ParseArgsConfig["options"]>
type Values<Specs extends FlagSpecs> = ReturnType<typeof parseArgs<{ options: Specs; allowPositionals: true; strict: true }>>["values"]

/**
 * Parses flags and the words between them.
 * @throws {CliError} a flag is not in `specs`, or lacks its value
 */
export function readArgs<const Specs extends FlagSpecs>(
  args: readonly string[],
  specs: Specs,
  help: string,
): { readonly values: Values<Specs>; readonly words: readonly string[] } {
  const { tokens } = parseArgs({ args: [...args], options: specs, allowPositionals: true, strict: false, tokens: true })
  for (const token of tokens) {
    if (token.kind !== "option") continue
    const spec = Object.hasOwn(specs, token.name) ? specs[token.name] : undefined
    if (spec === undefined) throw new CliError(`Unknown flag ${token.rawName}.${didYouMean(token.rawName, flagNames(specs))} See: ${help}`)
    if (spec.type === "boolean" && token.value !== undefined) throw new CliError(`${token.rawName} takes no value. See: ${help}`)
    if (spec.type === "string" && (token.value === undefined || token.value === "" || (token.inlineValue === false && /^-./.test(token.value)))) {
      throw new CliError(`${token.rawName} needs a value. See: ${help}`)
    }
  }
  const { values, positionals } = parseArgs({ args: [...args], options: specs, allowPositionals: true, strict: true })
  return { values, words: positionals }
}

/** Parses a whole number from `least` to `most`. @throws {CliError} */
export function readCount(flag: string, text: string, least: number, most: number): number {
  const count = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  if (count >= least && count <= most) return count
  throw new CliError(`${flag} takes a whole number from ${least} to ${most}, not "${text}".`)
}

const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, min: 60, h: 3_600, d: 86_400 }

/** Parses a duration such as `90s`, `10m` or `1h30m`, in seconds. @throws {CliError} */
export function readSeconds(flag: string, text: string): number {
  const parts = /^(?:\d{1,9}(?:s|min|m|h|d))+$/.test(text) ? text.matchAll(/(\d+)(s|min|m|h|d)/g) : []
  let seconds = 0
  for (const [, count, unit = ""] of parts) seconds += Number(count) * (UNIT_SECONDS[unit] ?? 0)
  if (seconds > 0 && Number.isSafeInteger(seconds)) return seconds
  throw new CliError(`${flag} takes a duration with a unit, such as 90s, 10m or 1h30m, not "${oneLine(text)}".`)
}

/** Returns ` Did you mean run?` for the nearest candidate, or an empty string if none is near. */
export function didYouMean(word: string, candidates: readonly string[]): string {
  const near = candidates
    .map((candidate) => ({ candidate, distance: editDistance(word.toLowerCase(), candidate) }))
    .filter(({ candidate, distance }) => distance <= Math.max(1, Math.floor(candidate.length / 3)))
    .sort((left, right) => left.distance - right.distance)
  return near[0] === undefined ? "" : ` Did you mean ${near[0].candidate}?`
}

function flagNames(specs: FlagSpecs): readonly string[] {
  return Object.keys(specs).map((name) => `--${name}`)
}

/** Counts the insertions, deletions, substitutions and swaps of neighbouring letters that turn one word into the other. */
function editDistance(left: string, right: string): number {
  let beforeLast: readonly number[] = []
  let last: readonly number[] = Array.from({ length: right.length + 1 }, (_, index) => index)
  for (let row = 1; row <= left.length; row += 1) {
    const current = [row]
    for (let column = 1; column <= right.length; column += 1) {
      const same = left[row - 1] === right[column - 1]
      let distance = Math.min(at(last, column) + 1, at(current, column - 1) + 1, at(last, column - 1) + (same ? 0 : 1))
      const swapped = row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1]
      if (swapped) distance = Math.min(distance, at(beforeLast, column - 2) + 1)
      current.push(distance)
    }
    beforeLast = last
    last = current
  }
  return at(last, right.length)
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? Number.POSITIVE_INFINITY
}
