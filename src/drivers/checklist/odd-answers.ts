import { type Json, parseJson } from "../../json.ts"
import { trim } from "../../text.ts"
import { isObject, type JsonObject, looseJson, outsideReasoning, ownValue } from "./json-text.ts"
import { isCompletedWord, isOpenWord, plainWord, rulingIndex, stanceWord } from "./loose-lists.ts"

const ARGUMENTS = ["arguments", "parameters", "args", "params", "input", "tool_input"] as const
const NAMES = ["name", "tool", "tool_name", "function"] as const
const MAX_WRAPPERS = 4

/**
 * The arguments of a call without what models wrap around them: JSON text, an `arguments` object, the tool's name, a list of rulings
 * instead of a verdict. An object with one of the `keys` is returned as it is.
 */
export function unwrapped(value: Json | undefined, keys: readonly string[], depth = 0): Json | undefined {
  if (typeof value === "string" && depth > 0) return unwrapped(looseJson(value), keys, depth + 1)
  if (Array.isArray(value)) return unwrappedList(value, keys)
  if (!isObject(value) || depth > MAX_WRAPPERS || keys.some((key) => Object.hasOwn(value, key) && !isWrapper(value, key))) return value
  if (rulingIndex(value) !== undefined && keys.includes("updates")) return { updates: [value] }
  const key = [...ARGUMENTS, "update_checklist", "submit_checklist", "verdict", "function"].find((name) => isWrapper(value, name))
  return key === undefined ? value : unwrapped(ownValue(value, key), keys, depth + 1)
}

/** Whether a key holds arguments: an object, or its JSON text. */
function isWrapper(object: JsonObject, key: string): boolean {
  const value = ownValue(object, key)
  if (key === "updates" || key === "items" || key === "checklist" || key === "new_items" || key === "criteria") return false
  return isObject(value) || (typeof value === "string" && isObject(parseJson(value)))
}

function unwrappedList(list: readonly Json[], keys: readonly string[]): Json {
  const [only] = list
  if (list.length === 1 && isObject(only) && rulingIndex(only) === undefined) {
    const inner = unwrapped(only, keys, 1)
    return isObject(inner) && keys.some((key) => Object.hasOwn(inner, key)) ? inner : list
  }
  const isRulings = list.length > 0 && keys.includes("updates") && list.every((entry) => isObject(entry) && rulingIndex(entry) !== undefined)
  return isRulings ? { updates: list } : list
}

/** The arguments of a call of a tool that a model wrote into its text, as `{"name": …, "arguments": …}` or under the tool's name. */
export function writtenCall(object: JsonObject, toolName: string): Json | undefined {
  const inner = ownValue(object, "function")
  if (isObject(inner)) return writtenCall(inner, toolName)
  const name = NAMES.map((key) => ownValue(object, key)).find((value) => typeof value === "string")
  if (typeof name === "string" && isToolName(name, toolName)) {
    const key = ARGUMENTS.find((given) => Object.hasOwn(object, given))
    return key === undefined ? undefined : parsed(ownValue(object, key))
  }
  return isObject(ownValue(object, toolName)) ? ownValue(object, toolName) : undefined
}

/** The arguments of a call of any tool that a model wrote into its text as `{"name": …, "arguments": …}`. */
export function writtenArguments(object: JsonObject, keys: readonly string[]): JsonObject | undefined {
  if (typeof ownValue(object, "name") !== "string") return undefined
  const args = unwrapped(object, keys)
  return isObject(args) && keys.some((key) => Object.hasOwn(args, key)) ? args : undefined
}

function parsed(value: Json | undefined): Json | undefined {
  return typeof value === "string" ? looseJson(value) : value
}

/** Whether a name means a tool: also `functions.update_checklist`, `updateChecklist` and `update-checklist`. */
export function isToolName(name: string, toolName: string): boolean {
  if (name === toolName) return true
  const bare = trim(name).slice(0, 200).split(/[.:/]/).at(-1) ?? ""
  return bare.toLowerCase().replace(/[^a-z0-9]/g, "") === toolName.replaceAll("_", "")
}

const NOUN = "(?:verdict|answer|decision|judge?ment)"
/** `Verdict: done` at the start of a line, or `final verdict: done` anywhere. */
const SPOKEN = new RegExp(
  `(?:^[ \\t>*_#-]{0,10}(?:(?:my|the|overall|final)[ \\t]){0,2}|\\bfinal[ \\t])${NOUN}[*_\`"]{0,3}[ \\t]{0,5}(?:\\bis[ \\t]{0,5}:|:|=|\\bis\\b)([^\\n]{0,2000})`,
  "gim",
)
const TAGGED = /<verdict>([^<]{1,100})<\/verdict>/gi
const DONE_LINE = /^[ \t>*_#-]{0,10}done[*_`"]{0,3}[ \t]{0,5}[:=][ \t]{0,5}(true|false|yes|no)\b/gim

/**
 * A verdict in plain words outside of reasoning: `Final verdict: done`, `<verdict>done</verdict>`, `done: true`, or a single word. A word
 * that agrees with the JSON that was `found`, or that comes before it, gives way to it.
 */
export function plainVerdict(text: string, found: JsonObject | undefined): JsonObject | undefined {
  const said = outsideReasoning(text)
  const spoken = lastSpoken(said)
  if (found !== undefined) {
    const isLast = spoken !== undefined && spoken.index > said.lastIndexOf("}")
    return isLast && stanceOf(spoken.word) !== stanceOf(plainWord(ownValue(found, "verdict"))) && ownValue(found, "verdict") !== undefined
      ? withReason(spoken.word, spoken.reason)
      : undefined
  }
  if (spoken !== undefined) return withReason(spoken.word, spoken.reason)
  const tagged = [...said.matchAll(TAGGED)].at(-1)?.[1]
  if (tagged !== undefined && isVerdictText(plainWord(tagged))) {
    return withReason(plainWord(tagged), /<reason>([^<]{1,4000})<\/reason>/i.exec(said)?.[1] ?? "")
  }
  const done = [...said.matchAll(DONE_LINE)].at(-1)?.[1]
  if (done !== undefined) return withReason(/^(?:true|yes)$/i.test(done) ? "done" : "continue", /^[ \t]*reason[ \t]*:(.*)$/im.exec(said)?.[1] ?? "")
  const word = said.length > 200 ? "" : plainWord(said.replace(/[*_`"'!]+/g, ""))
  return isVerdictText(word) ? withReason(word, "") : undefined
}

interface Spoken {
  readonly index: number
  readonly word: string
  readonly reason: string
}

function lastSpoken(said: string): Spoken | undefined {
  const all = [...said.matchAll(SPOKEN)].flatMap((match): readonly Spoken[] => {
    const rest = trim((match[1] ?? "").replace(/[*_`"]/g, " "))
    const whole = plainWord(rest)
    if (isVerdictText(whole)) return [{ index: match.index, word: whole, reason: "" }]
    const [, head = "", tail = ""] = /^([^.,;:!–—(]{1,40}?)[ \t]{0,5}(?:[.,;:!–—(]|[ \t]-[ \t])(.*)$/.exec(rest) ?? []
    const word = plainWord(trim(head))
    return isVerdictText(word) ? [{ index: match.index, word, reason: trim(tail) }] : []
  })
  const last = all.at(-1)
  return last === undefined || last.reason !== ""
    ? last
    : { ...last, reason: trim(/^[ \t>*_#-]{0,10}reason[*_ \t]{0,5}:[*_ \t]{0,5}(.*)$/im.exec(said)?.[1] ?? "") }
}

function stanceOf(word: string): string | undefined {
  return isCompletedWord(word) ? "done" : isOpenWord(word) ? "continue" : stanceWord(word)
}

/** Whether a word is a verdict when it is spoken, not the value of a key. Signs and truth values are too little. */
function isVerdictText(word: string): boolean {
  return stanceOf(word) !== undefined && /^[a-z]/.test(word) && !SHORT.has(word)
}

const SHORT: ReadonlySet<string> = new Set(["x", "ok"])

function withReason(verdict: string, reason: string): JsonObject {
  return { verdict, reason: trim(reason) }
}
