import { type Json, parseJson } from "../../json.ts"
import { trim } from "../../text.ts"

export type JsonObject = { readonly [key: string]: Json }

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

/** A value of the object itself; what it inherits (`constructor`, `__proto__`) is none. */
export function ownValue(object: JsonObject, key: string): Json | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined
}

/**
 * Finds the JSON object that a model wrote into its text: the whole text, else the first balanced object that parses and `fits`.
 * Thinking between `<think>` tags is passed over, and so are fences and prose. `reference`: see {@link referenceObject}.
 */
export function objectInText(text: string, reference: boolean, fits: (object: JsonObject) => boolean = () => true): JsonObject | undefined {
  if (reference) return referenceObject(text)
  const whole = parseJson(trim(text))
  if (isObject(whole)) return fits(whole) ? whole : undefined
  return firstObject(withoutThinking(text), fits)
}

const THINKING = ["think", "thinking"] as const

/** Cuts thinking out. Left open, it goes to the end; where only its end is there, it goes from the beginning. */
function withoutThinking(text: string): string {
  return THINKING.reduce((rest, tag) => {
    const [open, close] = [`<${tag}>`, `</${tag}>`]
    const lower = rest.toLowerCase()
    // A letter whose lower case is longer would shift every place behind it.
    const searched = lower.length === rest.length ? lower : rest
    let kept = ""
    let from = 0
    for (;;) {
      const start = searched.indexOf(open, from)
      const end = searched.indexOf(close, start < 0 ? from : start)
      if (start < 0) return end < 0 ? kept + rest.slice(from) : rest.slice(end + close.length)
      kept += rest.slice(from, start)
      if (end < 0) return kept
      from = end + close.length
    }
  }, text)
}

/** Characters looked at before the search gives up; a text of nothing but open braces would take the square of its length. */
const SEARCH_LIMIT = 4_000_000

function firstObject(text: string, fits: (object: JsonObject) => boolean): JsonObject | undefined {
  let looked = 0
  let from = 0
  for (let start = text.indexOf("{"); start >= 0 && looked < SEARCH_LIMIT; start = text.indexOf("{", from)) {
    const end = balancedEnd(text, start)
    looked += (end ?? text.length) - start
    from = start + 1
    if (end === undefined) continue
    const value = parseJson(text.slice(start, end))
    if (!isObject(value)) continue
    if (fits(value)) return value
    // What stands inside an object that means something else means nothing by itself.
    from = end
  }
  return undefined
}

/** Where the object that begins at `start` ends, strings passed over. */
function balancedEnd(text: string, start: number): number | undefined {
  let depth = 0
  let quoted = false
  for (let index = start; index < text.length; index += 1) {
    const char = text.charAt(index)
    if (quoted) {
      if (char === "\\") index += 1
      else if (char === '"') quoted = false
    } else if (char === '"') quoted = true
    else if (char === "{") depth += 1
    else if (char === "}") {
      depth -= 1
      if (depth === 0) return index + 1
    }
  }
  return undefined
}

/**
 * The reference's search: backticks around the text go, with the first line of a fence; then the whole text, and if that is no
 * JSON at all, all between its first and its last brace.
 */
function referenceObject(raw: string): JsonObject | undefined {
  let text = trim(raw)
  if (text.startsWith("```")) {
    text = withoutBackticks(text)
    text = text.slice(text.indexOf("\n") + 1)
  }
  const whole = parseReferenceJson(text)
  if (whole !== undefined) return isObject(whole) ? whole : undefined
  const start = text.indexOf("{")
  const end = text.lastIndexOf("}")
  const inner = start < 0 || end < start ? undefined : parseReferenceJson(text.slice(start, end + 1))
  return isObject(inner) ? inner : undefined
}

function withoutBackticks(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && text.charAt(start) === "`") start += 1
  while (end > start && text.charAt(end - 1) === "`") end -= 1
  return text.slice(start, end)
}

/** The reference's JSON knows the words NaN and Infinity. Here they are numbers that no JSON holds, and are read as such. */
export function parseReferenceJson(text: string): Json | undefined {
  const value = parseJson(text)
  if (value !== undefined || !/NaN|Infinity/.test(text)) return value
  const marked = text.replace(/"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/g, (found) => (found.startsWith('"') ? found : `"${MARK}${found}"`))
  const parsed = parseJson(marked)
  return parsed === undefined ? undefined : unmark(parsed)
}

/** A private-use character, so that it needs no escape in JSON. */
const MARK = "\uE000number:"

function unmark(value: Json): Json {
  if (typeof value === "string") return value.startsWith(MARK) ? Number(value.slice(MARK.length)) : value
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return value.map(unmark)
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unmark(inner)]))
}
