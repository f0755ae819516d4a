import { type Json, parseJson } from "../../json.ts"
import { trim } from "../../text.ts"
import { REASONING_CLOSING, REASONING_OPENING } from "../reasoning-text.ts"

export type JsonObject = { readonly [key: string]: Json }

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

/** Returns an own value of an object; `undefined` for inherited ones (`constructor`, `__proto__`). */
export function ownValue(object: JsonObject, key: string): Json | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined
}

/**
 * Finds the last JSON object in a model's text that parses and `fits`. Skips reasoning, fences and prose. An object inside another does
 * not count. `reference`: see {@link referenceObject}.
 */
export function objectInText(text: string, reference: boolean, fits: (object: JsonObject) => boolean = () => true): JsonObject | undefined {
  if (reference) return referenceObject(text)
  const { last, earlier } = objectsInText(text)
  return [...earlier.filter(fits), ...last.filter(fits)].at(-1)
}

/** The JSON objects of a text outside of reasoning, in order. `last`: those after the last words that announce a verdict. */
export interface FoundObjects {
  readonly last: readonly JsonObject[]
  readonly earlier: readonly JsonObject[]
}

/** The maximum number of characters examined. Without it, a text of open braces only would take quadratic time. */
const SEARCH_LIMIT = 4_000_000

// Some models use marks of their own.
const OPENING = `${REASONING_OPENING}|<\\|(?:begin_of_thought|start_thinking)\\|>|<(?:ant:?thinking|inner_?monologue)>`
const CLOSING = `${REASONING_CLOSING}|<\\|(?:end_of_thought|end_thinking)\\|>|</(?:ant:?thinking|inner_?monologue)>`
const VERDICT_NOUN = "(?:verdict|answer|decision|judge?ment|ruling)"
const NO_VERDICT_YET = '[*_`"]{0,3}[ \\t]{0,5}:'
/** Words that announce a verdict: `Verdict:` at the start of a line, `final verdict:` anywhere. */
const ANNOUNCEMENT = `^[ \\t>*_#-]{0,10}(?:(?:my|the|overall)[ \\t])?${VERDICT_NOUN}${NO_VERDICT_YET}|\\bfinal[ \\t]${VERDICT_NOUN}(?:[ \\t]is)?${NO_VERDICT_YET}`

/**
 * Reasoning ends at its first closing mark. Without one it extends to the end of the text; a closing mark alone ends reasoning that
 * began with the text. A mark inside an object belongs to the object.
 */
export function objectsInText(text: string): FoundObjects {
  const marks = new RegExp(`\\{|(${OPENING})|(${CLOSING})|(${ANNOUNCEMENT})`, "gim")
  const closing = new RegExp(`${CLOSING}|<\\|end\\|>`, "gi")
  let last: JsonObject[] = []
  let earlier: JsonObject[] = []
  let examined = 0
  for (let mark = marks.exec(text); mark !== null && examined < SEARCH_LIMIT; mark = marks.exec(text)) {
    const [, opens, closes, announces] = mark
    if (closes !== undefined) {
      last = []
      earlier = []
    } else if (announces !== undefined) {
      earlier = [...earlier, ...last]
      last = []
    } else if (opens !== undefined) {
      // A tool call in the channel of harmony: `<|channel|>commentary to=functions.name`.
      if (/^ {0,3}to=/.test(text.slice(marks.lastIndex, marks.lastIndex + 8))) continue
      closing.lastIndex = marks.lastIndex
      if (closing.exec(text) === null) break
      marks.lastIndex = closing.lastIndex
    } else {
      const end = balancedEnd(text, mark.index)
      examined += (end ?? text.length) - mark.index
      const value = end === undefined ? undefined : looseJson(text.slice(mark.index, end))
      if (end === undefined || !isObject(value)) continue
      last.push(value)
      marks.lastIndex = end
    }
  }
  return { last, earlier }
}

/** Removes reasoning from a text. Text in which reasoning is not closed ends where it opens. */
export function outsideReasoning(text: string): string {
  const marks = new RegExp(`(${OPENING})|(?:${CLOSING})|<\\|(?:end|return|call|start|message|constrain)\\|>`, "gi")
  let kept = ""
  let from = 0
  let isReasoning = false
  for (let mark = marks.exec(text); mark !== null; mark = marks.exec(text)) {
    const isMark = new RegExp(`^(?:${CLOSING}|<\\|end\\|>)$`, "i").test(mark[0])
    if (mark[1] === undefined && isReasoning && !isMark) continue
    if (mark[1] !== undefined && isReasoning) continue
    // A closing mark alone ends reasoning that began with the text.
    if (mark[1] === undefined && !isReasoning && new RegExp(`^(?:${CLOSING})$`, "i").test(mark[0])) kept = ""
    else if (!isReasoning) kept += text.slice(from, mark.index)
    isReasoning = mark[1] !== undefined
    from = marks.lastIndex
  }
  return isReasoning ? kept : kept + text.slice(from)
}

/** Parses JSON; if it is none, also with single quotes, commas before a closing bracket, and the words of Python. */
export function looseJson(text: string): Json | undefined {
  const value = parseJson(text)
  if (value !== undefined || text.length > LOOSE_LIMIT) return value
  return parseJson(
    text.replace(/"(?:[^"\\]|\\.)*"|'((?:[^'\\\n]|\\.)*)'|,(?=\s{0,200}[}\]])|\b(?:True|False|None)\b/g, (found, quoted: string | undefined) => {
      if (quoted !== undefined) return JSON.stringify(quoted.replace(/\\(['"])/g, "$1"))
      return found === "," ? "" : (PYTHON_WORDS[found] ?? found)
    }),
  )
}

const LOOSE_LIMIT = 100_000
const PYTHON_WORDS: Readonly<Record<string, string>> = { True: "true", False: "false", None: "null" }

/** The end of the object that starts at `start`. Braces in strings are ignored. */
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
 * The reference's search: removes backticks around the text, with the first line of a fence. Then parses the whole text or, if it
 * is not JSON, the part from its first to its last brace.
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

/** Parses JSON that may contain NaN and Infinity, as the reference does. Returns them as numbers. */
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

/** Reads a whole number as a model or a user writes one: `2`, `"2"`, `" 3 "`, `4.9` (4), `true` (1), `"1_0"` (10). Else `undefined`. */
export function looseIndex(value: Json | undefined): number | undefined {
  if (typeof value === "boolean") return value ? 1 : 0
  if (typeof value === "number") return Number.isNaN(value) ? undefined : Math.trunc(value)
  if (typeof value !== "string") return undefined
  const digits = trim(value)
  return /^[+-]?[0-9]+(?:_[0-9]+)*$/.test(digits) ? Number(digits.replaceAll("_", "")) : undefined
}

/** Whether a value is truthy as in Python: not false, 0, "", null, or an empty list or object. */
export function truthy(value: Json | undefined): boolean {
  if (typeof value === "object" && value !== null) return Object.keys(value).length > 0
  if (typeof value === "number") return value !== 0
  return value !== undefined && value !== null && value !== false && value !== ""
}

/** Returns a value as a trimmed text. Other types than strings become JSON, or under `reference` their Python text. */
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
