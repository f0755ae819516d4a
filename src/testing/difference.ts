import type { Json } from "../json.ts"

/** The first place at which two JSON values differ; `undefined` stands for a key or item that is missing. */
export interface Difference {
  /** A JSON pointer; "" is the whole value. */
  readonly pointer: string
  readonly received: Json | undefined
  readonly expected: Json | undefined
}

/**
 * Compares two values as the JSON that they are written as: the order of keys means nothing, and -0 is 0. Returns where
 * they first differ, or `undefined` if they do not.
 */
export function firstDifference(received: unknown, expected: unknown): Difference | undefined {
  const receivedText = jsonText(received)
  const expectedText = jsonText(expected)
  if (receivedText === expectedText) return undefined
  return differenceOfTexts(receivedText, expectedText)
}

/** As {@link firstDifference}, of values that are JSON texts already. */
export function differenceOfTexts(received: string | undefined, expected: string | undefined): Difference | undefined {
  if (received === expected) return undefined
  return difference(parse(received), parse(expected), "")
}

/** JSON text of any value; `undefined` for one that JSON leaves out. */
export function jsonText(value: unknown): string | undefined {
  return JSON.stringify(value) as string | undefined
}

/** Says a difference in three lines: where, what should be there, what is. */
export function describeDifference({ pointer, received, expected }: Difference): string {
  return `first difference at "${pointer}":\n  expected ${shown(expected)}\n  received ${shown(received)}`
}

const SHOWN_LENGTH = 600

/** A value as JSON text, shortened where it is longer than `most` characters. */
export function shown(value: Json | undefined, most: number = SHOWN_LENGTH): string {
  if (value === undefined) return "nothing"
  const text = JSON.stringify(value)
  return text.length <= most ? text : `${text.slice(0, most)}… (${text.length} characters)`
}

function parse(text: string | undefined): Json | undefined {
  return text === undefined ? undefined : (JSON.parse(text) as Json)
}

function difference(received: Json | undefined, expected: Json | undefined, pointer: string): Difference | undefined {
  if (received === expected) return undefined
  if (!isNested(received) || !isNested(expected) || Array.isArray(received) !== Array.isArray(expected)) return { pointer, received, expected }
  for (const key of new Set([...Object.keys(expected), ...Object.keys(received)])) {
    const ours = Object.hasOwn(received, key) ? received[key] : undefined
    const theirs = Object.hasOwn(expected, key) ? expected[key] : undefined
    const found = difference(ours, theirs, `${pointer}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`)
    if (found !== undefined) return found
  }
  return undefined
}

function isNested(value: Json | undefined): value is { readonly [key: string]: Json } {
  return typeof value === "object" && value !== null
}
