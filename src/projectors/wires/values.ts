import { type Json, whyNotJson } from "../../json.ts"

/** Whether a value from the network is an object with keys. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

/** A value as text: a string unchanged, other JSON as JSON text; `undefined` for `null`, `undefined` and values that are not JSON. */
export function textOf(value: unknown): string | undefined {
  if (typeof value === "string") return value
  if (value === undefined || value === null || whyNotJson(value) !== undefined) return undefined
  return JSON.stringify(value)
}

/** A value as JSON, or `undefined` if it is not JSON: a number like 1e999 parses to Infinity. */
export function jsonOf(value: unknown): Json | undefined {
  return value === undefined || whyNotJson(value) !== undefined ? undefined : (value as Json)
}

/** An index, which some servers send as text. */
export function indexOf(value: unknown): number | undefined {
  if (typeof value === "number") return value
  return typeof value === "string" && /^\d{1,6}$/.test(value) ? Number(value) : undefined
}

/** A value if it is a string, else "". */
export function stringOf(value: unknown): string {
  return typeof value === "string" ? value : ""
}
