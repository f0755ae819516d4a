import { parseJson } from "../../json.ts"
import { isRecord } from "./values.ts"

/** Half a surrogate pair: with the `u` flag a whole pair is one code point of another category. */
const LONE_SURROGATE = /\p{Surrogate}/u
const LONE_SURROGATES = /\p{Surrogate}/gu

/**
 * Replaces each half of a surrogate pair that stands alone with U+FFFD. Text that was cut in an emoji has one. Strict servers
 * refuse the whole body for it.
 * @see https://github.com/anomalyco/opencode/issues/14630 (2026-11)
 */
export function wellFormedText(text: string): string {
  return LONE_SURROGATE.test(text) ? text.replace(LONE_SURROGATES, "\ufffd") : text
}

/** Makes all texts and keys of a JSON value well-formed. Returns the value itself if they are. */
export function wellFormed<Value>(value: Value): Value {
  return isWellFormed(value) ? value : (repaired(value) as Value)
}

/** Nearly all values are well-formed, so they are not copied to find out. */
function isWellFormed(value: unknown): boolean {
  if (typeof value === "string") return !LONE_SURROGATE.test(value)
  if (Array.isArray(value)) return (value as readonly unknown[]).every(isWellFormed)
  if (!isRecord(value)) return true
  for (const key of Object.keys(value)) if (LONE_SURROGATE.test(key) || !isWellFormed(value[key])) return false
  return true
}

function repaired(value: unknown): unknown {
  if (typeof value === "string") return wellFormedText(value)
  if (Array.isArray(value)) return (value as readonly unknown[]).map(repaired)
  if (!isRecord(value)) return value
  // A map, because an assignment to the key `__proto__` would be lost.
  const entries = new Map<string, unknown>()
  for (const [key, item] of Object.entries(value)) {
    let newKey = wellFormedText(key)
    // Two keys may become equal.
    while (newKey !== key && (entries.has(newKey) || Object.hasOwn(value, newKey))) newKey += "\ufffd"
    entries.set(newKey, repaired(item))
  }
  return Object.fromEntries(entries)
}

/** An escape in JSON text: a whole pair, half a pair, or any other. Escaped backslashes are matched so that what follows them is not. */
const ESCAPE = /\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\./gs

/**
 * Returns the arguments of a call as an endpoint accepts them: the text of a JSON object. Anything else becomes `{}`; the model
 * reads in the result what was wrong. Valid arguments are sent as the model wrote them, except for lone surrogates.
 */
export function sentArguments(inputJson: string): string {
  const value = parseJson(inputJson)
  if (!isRecord(value)) return "{}"
  if (!inputJson.includes("\\u")) return wellFormedText(inputJson)
  return wellFormedText(inputJson.replace(ESCAPE, (whole: string, half: string | undefined) => (half === undefined ? whole : "\\ufffd")))
}
