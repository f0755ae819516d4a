import type { LlmFailure } from "../../wire/llm.ts"

/**
 * A version of the GenAI conventions. `genai-0.1`: release 0.1.0 of `open-telemetry/semantic-conventions-genai`, where they are now.
 * `1.41`: release 1.41.0 of `open-telemetry/semantic-conventions`, the last one that had them. `both`: all names of the two, for as long as
 * dashboards move from one to the other.
 * @see docs/telemetry.md#older-names
 */
export type Semconv = "genai-0.1" | "1.41" | "both"

/** Which names are recorded. */
export interface Names {
  /** Those of `genai-0.1`. */
  readonly current: boolean
  /** Those of `1.41`. */
  readonly older: boolean
}

const NAMES: { readonly [Version in Semconv]: Names } = {
  "genai-0.1": { current: true, older: false },
  "1.41": { current: false, older: true },
  both: { current: true, older: true },
}

/** @throws {TypeError} a version that is not known */
export function namesOf(semconv: Semconv): Names {
  const names = Object.hasOwn(NAMES, semconv) ? NAMES[semconv] : undefined
  if (names !== undefined) return names
  throw new TypeError(`openTelemetry takes semconv: ${Object.keys(NAMES).join(", ")}; not ${JSON.stringify(semconv)}.`)
}

/** What the conventions say for a value that must not be recorded. */
export const OTHER = "_OTHER"

/**
 * A code as `error.type`. It is an attribute of metrics, and part of it comes from servers and tools: what does not look like a code
 * would give each failure a time series of its own, and could quote a prompt.
 */
export function errorType(code: unknown): string {
  return typeof code === "string" && /^[\w./:-]{1,100}$/.test(code) ? code : OTHER
}

/** The code of a thrown error: its own, or its name. */
export function thrownType(thrown: unknown): string {
  if (!(thrown instanceof Error)) return OTHER
  const own: unknown = "code" in thrown ? thrown.code : undefined
  const type = errorType(own)
  return type === OTHER ? errorType(thrown.name) : type
}

/** The code of a failed model call: the provider's or the client's own, or else its kind. */
export function failureType({ code, kind, terminalReason }: LlmFailure): string {
  const type = errorType(code)
  return type === OTHER ? (kind ?? terminalReason) : type
}
