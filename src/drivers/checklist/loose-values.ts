import type { Json } from "../../json.ts"
import { trim } from "../../text.ts"

/** A whole number as a model or a user writes one: `2`, `"2"`, `" 3 "`, `4.9` (4), `true` (1), `"1_0"` (10). `undefined`: it is none. */
export function looseIndex(value: Json | undefined): number | undefined {
  if (typeof value === "boolean") return value ? 1 : 0
  if (typeof value === "number") return Number.isNaN(value) ? undefined : Math.trunc(value)
  if (typeof value !== "string") return undefined
  const digits = trim(value)
  return /^[+-]?[0-9]+(?:_[0-9]+)*$/.test(digits) ? Number(digits.replaceAll("_", "")) : undefined
}

/** Whether a value counts as something: not false, 0, "", null, nor an empty list or object. */
export function truthy(value: Json | undefined): boolean {
  if (typeof value === "object" && value !== null) return Object.keys(value).length > 0
  if (typeof value === "number") return value !== 0
  return value !== undefined && value !== null && value !== false && value !== ""
}

/** A value as a trimmed text. What is no text is written out: as JSON, or in the reference's way as Python would. */
export function looseText(value: Json | undefined, reference: boolean): string {
  if (typeof value === "string") return trim(value)
  if (value === undefined) return ""
  if (reference) return pythonText(value)
  return value === null ? "" : JSON.stringify(value)
}

function pythonText(value: Json): string {
  if (value === null) return "None"
  if (typeof value === "boolean") return value ? "True" : "False"
  if (typeof value === "number") return pythonNumber(value)
  if (typeof value === "string") return pythonQuoted(value)
  if (Array.isArray(value)) return `[${value.map(pythonText).join(", ")}]`
  return `{${Object.entries(value)
    .map(([key, inner]) => `${pythonQuoted(key)}: ${pythonText(inner)}`)
    .join(", ")}}`
}

function pythonNumber(value: number): string {
  if (Number.isFinite(value)) return String(value)
  return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf"
}

const PYTHON_ESCAPES: Readonly<Record<string, string>> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" }

function pythonQuoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'"
  const inner = text.replace(/[\\\n\r\t]/g, (char) => PYTHON_ESCAPES[char] ?? char)
  return quote + (quote === "'" ? inner.replaceAll("'", "\\'") : inner) + quote
}
