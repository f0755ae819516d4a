import { type Json, parseJson } from "../../json.ts"
import type { JudgeReason } from "../../schemas/checklist.ts"
import { isBlank, trim } from "../../text.ts"
import { isObject, type JsonObject, objectInText, ownValue, parseReferenceJson } from "./json-text.ts"
import { looseIndex, looseText, truthy } from "./loose-values.ts"
import { shorten } from "./prompts.ts"
import { type ChecklistSettings, LIMITS } from "./settings.ts"

/** How answers are read. */
export type Reading = Pick<ChecklistSettings, "reference" | "maxWaitMs">

/** How the agent should go on. `waitMs` stands with `wait`. */
export interface Stance {
  readonly says: "continue" | "blocked" | "wait"
  readonly waitMs?: number
}

/** A ruling as the judge gave it: `index` counts from 1 and may point nowhere. */
export interface IndexedRuling {
  readonly index: number
  readonly status: "completed" | "impossible"
  readonly evidence?: string
}

export interface ChecklistVerdict extends Stance {
  readonly updates: readonly IndexedRuling[]
  readonly newItems: readonly string[]
  readonly reason: JudgeReason
}

export interface FreeformVerdict extends Omit<Stance, "says"> {
  readonly says: Stance["says"] | "done"
  readonly reason: JudgeReason
}

/** What was read, or why nothing could be. */
export type Read<Value> = { readonly ok: true; readonly value: Value } | { readonly ok: false; readonly reason: JudgeReason }

/** Reads a call's arguments. Only in the reference's way do broken ones count as none. */
export function readArguments(toolName: string, inputJson: string, reading: Reading): Read<JsonObject> {
  const parsed = reading.reference ? parseReferenceJson(inputJson) : parseJson(inputJson)
  const args = parsed === undefined && reading.reference ? {} : parsed
  if (isObject(args)) return { ok: true, value: args }
  return { ok: false, reason: { type: "bad_arguments", toolName, problem: args === undefined ? "they are no JSON" : "they are no object" } }
}

/** The items in the arguments of `submit_checklist`; none if there is no list. */
export function readItems(args: JsonObject, reading: Reading): readonly string[] {
  return readTexts(ownValue(args, "items"), reading)
}

/** The items in an answer that is a text. Its key is `checklist`. */
export function readItemsText(text: string, reading: Reading): Read<readonly string[]> {
  const found = readObject(text, reading, ["checklist"])
  if (!found.ok) return found
  const items = ownValue(found.value, "checklist")
  if (!Array.isArray(items)) return { ok: false, reason: { type: "no_verdict" } }
  return { ok: true, value: readTexts(items, reading) }
}

/** The verdict in the arguments of `update_checklist`. What has not its shape is left out; a number that is infinite spoils all. */
export function readVerdict(args: JsonObject, toolName: string, reading: Reading): Read<ChecklistVerdict> {
  const updates: IndexedRuling[] = []
  const entries = ownValue(args, "updates")
  for (const entry of Array.isArray(entries) ? entries : []) {
    if (!isObject(entry)) continue
    const index = looseIndex(ownValue(entry, "index"))
    if (index === undefined) continue
    if (!Number.isFinite(index)) return { ok: false, reason: { type: "bad_arguments", toolName, problem: "an index is infinite" } }
    const status = looseText(ownValue(entry, "status"), reading.reference).toLowerCase()
    if (status !== "completed" && status !== "impossible") continue
    const evidence = judgeText(ownValue(entry, "evidence"), reading)
    updates.push({ index, status, ...(evidence !== "" && { evidence }) })
  }
  const reason = readReason(args, reading)
  return { ok: true, value: { updates, newItems: readTexts(ownValue(args, "new_items"), reading), reason, ...readStance(args, reading) } }
}

/** The verdict on the items in an answer that is a text. */
export function readVerdictText(text: string, reading: Reading): Read<ChecklistVerdict> {
  const found = readObject(text, reading, ["updates", "new_items", "reason", "verdict"])
  return found.ok ? readVerdict(found.value, "no tool", reading) : found
}

/** The verdict on the whole in an answer that is a text. */
export function readFreeformText(text: string, reading: Reading): Read<FreeformVerdict> {
  const found = readObject(text, reading, ["done", "verdict"])
  if (!found.ok) return found
  const reason = readReason(found.value, reading)
  if (saysDone(found.value, reading)) return { ok: true, value: { says: "done", reason } }
  return { ok: true, value: { reason, ...readStance(found.value, reading) } }
}

const DONE_WORDS: ReadonlySet<string> = new Set(["true", "yes", "1", "done"])

/** A verdict in a word rules; without one, `done` does, which may be anything. */
function saysDone(args: JsonObject, reading: Reading): boolean {
  const verdict = ownValue(args, "verdict")
  if (!reading.reference && typeof verdict === "string" && !isBlank(verdict)) return trim(verdict).toLowerCase() === "done"
  const done = ownValue(args, "done")
  return typeof done === "string" ? DONE_WORDS.has(trim(done).toLowerCase()) : truthy(done)
}

/** An unknown word is `continue`, and so is a wait that does not say how long. */
function readStance(args: JsonObject, { reference, maxWaitMs }: Reading): Stance {
  if (reference) return { says: "continue" }
  const says = looseText(ownValue(args, "verdict"), false).toLowerCase()
  if (says === "blocked") return { says }
  const seconds = waitSeconds(ownValue(args, "wait_seconds"))
  if (says !== "wait" || seconds === undefined) return { says: "continue" }
  return { says, waitMs: Math.min(Math.ceil(seconds * 1000), maxWaitMs) }
}

function waitSeconds(value: Json | undefined): number | undefined {
  const seconds = typeof value === "string" && /^\s*[0-9]+(?:\.[0-9]+)?\s*$/.test(value) ? Number(value) : value
  return typeof seconds === "number" && seconds > 0 ? seconds : undefined
}

/** The object that is meant has one of these keys. In the reference's way any object is. */
function readObject(text: string, reading: Reading, keys: readonly string[]): Read<JsonObject> {
  if (text === "") return { ok: false, reason: { type: "empty_reply" } }
  const value = objectInText(text, reading.reference, (object) => keys.some((key) => Object.hasOwn(object, key)))
  if (value !== undefined) return { ok: true, value }
  if (objectInText(text, reading.reference) !== undefined) return { ok: false, reason: { type: "no_verdict" } }
  return { ok: false, reason: { type: "not_json", text: shorten(text, 200, true) } }
}

function readReason(args: JsonObject, reading: Reading): JudgeReason {
  const text = judgeText(ownValue(args, "reason"), reading)
  return text === "" ? { type: "none_given" } : { type: "text", text }
}

/** Texts in a list, each a text or an object with one. Blank ones are dropped, and all behind the first {@link LIMITS}`.texts` entries. */
function readTexts(list: Json | undefined, reading: Reading): readonly string[] {
  const texts: string[] = []
  const entries: readonly Json[] = Array.isArray(list) ? list : []
  for (const entry of reading.reference ? entries : entries.slice(0, LIMITS.texts)) {
    const value: Json | undefined = isObject(entry) ? ownValue(entry, "text") : entry
    const text = isObject(entry) || typeof value === "string" ? clip(looseText(value, reading.reference), reading) : ""
    if (!isBlank(text)) texts.push(text)
  }
  return texts
}

function judgeText(value: Json | undefined, reading: Reading): string {
  return truthy(value) ? clip(looseText(value, reading.reference), reading) : ""
}

/** Goes into the goal and from there into every later prompt. */
function clip(text: string, { reference }: Reading): string {
  return reference ? text : shorten(text, LIMITS.judgeText, false)
}
