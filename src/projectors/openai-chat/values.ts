import { type Json, whyNotJson } from "../../json.ts"

/** Whether a value from the network is an object with keys. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

/** A value as text: a string as it is, other JSON as JSON text; `undefined` for nothing, and for what is no JSON. */
export function textOf(value: unknown): string | undefined {
  if (typeof value === "string") return value
  if (value === undefined || value === null || whyNotJson(value) !== undefined) return undefined
  return JSON.stringify(value)
}

/** A value as free JSON, or `undefined` where it is none: numbers like 1e999 parse to no finite number. */
export function jsonOf(value: unknown): Json | undefined {
  return value === undefined || whyNotJson(value) !== undefined ? undefined : (value as Json)
}

/** A value where it is a string, else the empty one. */
export function stringOf(value: unknown): string {
  return typeof value === "string" ? value : ""
}
