import type { Difference } from "../errors.ts"
import type { Json } from "../json.ts"
import { differences } from "../replay/divergence.ts"

/**
 * Returns the first place at which two values differ as JSON, or `undefined` if they are equal. The order of keys does not
 * count, and -0 is 0.
 */
export function firstDifference(received: unknown, expected: unknown): Difference | undefined {
  return differenceOfTexts(jsonText(received), jsonText(expected))
}

/** Like {@link firstDifference}, for values that are already JSON texts; `undefined` is a missing value. */
export function differenceOfTexts(received: string | undefined, expected: string | undefined): Difference | undefined {
  return received === expected ? undefined : differences(parsed(expected), parsed(received))[0]
}

/** Returns the JSON text of a value; `undefined` for one that JSON omits. */
export function jsonText(value: unknown): string | undefined {
  return JSON.stringify(value) as string | undefined
}

/** Describes a difference in three lines: the path, the expected value and the received one. */
export function describeDifference({ path, received, expected }: Difference): string {
  return `first difference at "${path}":\n  expected ${shown(expected)}\n  received ${shown(received)}`
}

const SHOWN_LENGTH = 600

/** A value as JSON text, shortened if it is longer than `most` characters. */
export function shown(value: unknown, most: number = SHOWN_LENGTH): string {
  const text = jsonText(value)
  if (text === undefined) return "nothing"
  return text.length <= most ? text : `${text.slice(0, most)}… (${text.length} characters)`
}

function parsed(text: string | undefined): Json | undefined {
  return text === undefined ? undefined : (JSON.parse(text) as Json)
}
