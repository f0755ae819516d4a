/**
 * The part of vitest that the bundled tests use, for runtimes in which vitest does not run: `describe` and `test` register cases, and the
 * program runs them one after another. What a case expects and records is hashed, so that two runtimes can be compared.
 */

/** A registered case. */
export interface Case {
  readonly group: string
  readonly name: string
  readonly run: () => unknown
}

/** All cases, in the order in which they were registered. */
export const CASES: Case[] = []

let group = ""
let transcript: string[] = []

export function describe(name: string, register: () => void): void {
  const outer = group
  group = outer === "" ? name : `${outer} › ${name}`
  register()
  group = outer
}

export function test(name: string, ...rest: readonly unknown[]): void {
  const run = rest.find((value): value is () => unknown => typeof value === "function")
  if (run === undefined) throw new Error(`The case "${name}" has no function.`)
  CASES.push({ group, name, run })
}

/** Adds a JSON value to what is compared between runtimes. */
export function record(value: unknown): void {
  transcript.push(typeof value === "string" ? value : (JSON.stringify(value) ?? "undefined"))
}

/** Returns what was recorded since the last call, and starts anew. */
export function takeTranscript(): string {
  const text = transcript.join("\n")
  transcript = []
  return text
}

interface Matchers {
  toBe(expected: unknown): void
  toEqual(expected: unknown): void
  toContain(expected: unknown): void
  toMatch(expected: RegExp | string): void
  toBeUndefined(): void
  toBeGreaterThan(expected: number): void
}

export function expect(received: unknown, message = ""): Matchers & { readonly not: Matchers } {
  record(received)
  return { ...matchers(received, message, true), not: matchers(received, message, false) }
}

expect.unreachable = (message = "This place must not be reached."): never => {
  throw new Error(message)
}

function matchers(received: unknown, message: string, wanted: boolean): Matchers {
  const check = (matcher: string, expected: unknown, isSo: boolean): void => {
    if (isSo === wanted) return
    const negation = wanted ? "" : "not."
    throw new Error(`${message === "" ? "" : `${message}: `}expected ${shown(received)} ${negation}${matcher} ${shown(expected)}`)
  }
  return {
    toBe: (expected) => check("toBe", expected, Object.is(received, expected)),
    toEqual: (expected) => check("toEqual", expected, isEqual(received, expected)),
    toContain: (expected) => check("toContain", expected, (received as string | readonly unknown[]).includes(expected as string)),
    toMatch: (expected) =>
      check("toMatch", expected, typeof expected === "string" ? String(received).includes(expected) : expected.test(String(received))),
    toBeUndefined: () => check("toBeUndefined", undefined, received === undefined),
    toBeGreaterThan: (expected) => check("toBeGreaterThan", expected, (received as number) > expected),
  }
}

function shown(value: unknown): string {
  return (value instanceof RegExp ? String(value) : (JSON.stringify(value) ?? String(value))).slice(0, 1_000)
}

/** Compares by structure. As in vitest's `toEqual`, a key whose value is undefined is the same as no key. */
function isEqual(left: unknown, right: unknown): boolean {
  if (Object.is(left, right)) return true
  if (typeof left !== "object" || typeof right !== "object" || left === null || right === null) return false
  if (Array.isArray(left) !== Array.isArray(right)) return false
  if (Array.isArray(left) && left.length !== (right as readonly unknown[]).length) return false
  const keys = new Set([...Object.keys(left), ...Object.keys(right)])
  return [...keys].every((key) => isEqual((left as Record<string, unknown>)[key], (right as Record<string, unknown>)[key]))
}
