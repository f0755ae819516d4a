import { type Json, parseJson } from "../../json.ts"
import { isBlank, trim } from "../../text.ts"
import { isObject, type JsonObject, looseIndex, looseText, ownValue } from "./json-text.ts"

/**
 * Reads a list as models write one: a list, its JSON text, one entry without a list, or a word for "none". `undefined` if it is none
 * of these.
 */
export function looseList(value: Json | undefined): readonly Json[] | undefined {
  if (value === undefined || value === null) return []
  if (Array.isArray(value)) return value
  if (isObject(value)) return listOfObject(value)
  if (typeof value !== "string") return undefined
  const text = withoutFence(trim(value))
  if (EMPTY.test(text)) return []
  // Entries without the brackets of a list, one per line or with commas.
  const parsed = parseJson(text) ?? parseJson(`[${text.replace(/\}\s+\{/g, "},{")}]`)
  return typeof parsed === "object" || typeof parsed === "string" ? looseList(parsed) : undefined
}

const EMPTY = /^(?:|-|none|n\/?a|nil|nothing|empty)\.?$/i

/** A single entry, or entries by their numbers: `{ "1": "completed" }`. */
function listOfObject(object: JsonObject): readonly Json[] {
  const keys = Object.keys(object)
  if (keys.length === 0) return []
  if (!keys.every((key) => /^\d{1,9}$/.test(key))) return [object]
  return keys.map((index) => {
    const entry = ownValue(object, index)
    return isObject(entry) ? { index, ...entry } : { index, status: entry ?? null }
  })
}

function withoutFence(text: string): string {
  return /^```[^\n`]*\n([\s\S]*?)\n?```$/.exec(text)?.[1] ?? text
}

/** Reads a text of bullets or numbered lines as a list; `undefined` for any other text. */
export function bulletList(value: Json | undefined): readonly string[] | undefined {
  if (typeof value !== "string") return undefined
  const lines = value.split("\n").filter((line) => !isBlank(line))
  const texts = lines.flatMap((line) => /^\s{0,20}(?:[-*•]|\d{1,4}[.)])\s{1,20}(?:\[[ xX]?\]\s{1,20})?(.*)$/.exec(line)?.[1] ?? [])
  return texts.length === lines.length ? texts : undefined
}

/** The number of an item in a ruling, as {@link looseIndex}; also `"#2"`, `"item 2"`, `"2."` and `"2.0"`. */
export function rulingIndex(ruling: JsonObject): number | undefined {
  const value = firstOf(ruling, ["index", "item", "number", "item_index"])
  const index = looseIndex(value)
  if (index !== undefined || typeof value !== "string") return index
  const [, digits] = /^(?:item|criterion|number|no\.?)?\s{0,20}[#([]?\s{0,20}(\d{1,9})(?:\.0{1,9})?\s{0,20}[)\].:]?$/i.exec(trim(value)) ?? []
  return digits === undefined ? undefined : Number(digits)
}

/** The status in a ruling: settled, or left open. The problem if it cannot be read. */
export function rulingStatus(ruling: JsonObject): "completed" | "impossible" | "open" | { readonly problem: string } {
  const value = firstOf(ruling, ["status", "state", "completed", "done"])
  // Instead of a status, some models set a flag.
  if (value === undefined && ownValue(ruling, "impossible") === true) return "impossible"
  const word = plainWord(value)
  if (isCompletedWord(word)) return "completed"
  if (IMPOSSIBLE.has(word)) return "impossible"
  if (OPEN.has(word)) return "open"
  return { problem: word === "" ? "a status is missing" : `the status ${quote(value)} is unknown` }
}

function firstOf(object: JsonObject, keys: readonly string[]): Json | undefined {
  const key = keys.find((name) => Object.hasOwn(object, name))
  return key === undefined ? undefined : ownValue(object, key)
}

/** Whether a word of a judge means that something is completed. */
export function isCompletedWord(word: string): boolean {
  return COMPLETED.has(word)
}

/** Whether a word of a judge means that something is not completed yet. */
export function isOpenWord(word: string): boolean {
  return OPEN.has(word)
}

/** The stance that a word of a judge means; `impossible`: the whole goal cannot be reached. `undefined` for other words. */
export function stanceWord(word: string): "continue" | "blocked" | "asked_to_stop" | "wait" | "impossible" | undefined {
  if (IMPOSSIBLE.has(word)) return "impossible"
  return STANCES.find(([, words]) => words.has(word))?.[0]
}

/** A word without case, separators and final punctuation: `In-Progress.` is `in progress`. */
export function plainWord(value: Json | undefined): string {
  return looseText(value, false)
    .toLowerCase()
    .replace(/[\s_-]+/g, " ")
    .replace(/[.,;]$/, "")
}

/** A short quotation of a value for a message. */
export function quote(value: Json | undefined): string {
  const text = value === undefined ? "nothing" : JSON.stringify(value)
  const points = Array.from(text.slice(0, 200))
  return points.length > 60 ? `${points.slice(0, 60).join("")}…` : text
}

const COMPLETED: ReadonlySet<string> = words(
  "completed|complete|done|finished|fulfilled|satisfied|met|achieved|reached|passed|passes|pass|verified|confirmed|succeeded|successful|success|resolved|checked|closed|yes|true|ok|x|[x]|✓|✔|✅|☑",
)
const IMPOSSIBLE: ReadonlySet<string> = words(
  "impossible|not possible|unachievable|not achievable|infeasible|not feasible|unattainable|unreachable|not reachable|cannot be done|can't be done|cannot be completed|cannot be reached|!|[!]",
)
const STANCES: readonly (readonly ["continue" | "blocked" | "asked_to_stop" | "wait", ReadonlySet<string>])[] = [
  ["continue", words("continue|keep going|proceed")],
  ["blocked", words("blocked|stuck|needs user|needs input|needs user input")],
  ["asked_to_stop", words("asked to stop|user asked to stop|stop requested|stopped by user")],
  ["wait", words("wait|waiting")],
]
const OPEN: ReadonlySet<string> = words(
  "pending|open|in progress|ongoing|started|not started|todo|to do|incomplete|not complete|not completed|uncompleted|not done|not finished|unfinished|not met|unmet|not satisfied|unsatisfied|not achieved|not passed|partial|partially|partially completed|partially complete|partially done|partially met|mostly done|continue|remaining|unresolved|not verified|unverified|unclear|unknown|waiting|no|false|failed|fails|fail|failing|[ ]|☐|✗|✘|❌",
)

function words(list: string): ReadonlySet<string> {
  return new Set(list.split("|"))
}
