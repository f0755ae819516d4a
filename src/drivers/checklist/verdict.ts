import { type Json, parseJson } from "../../json.ts"
import { isBlank, trim } from "../../text.ts"
import type { JudgeReason } from "../../wire/checklist.ts"
import { isObject, type JsonObject, looseIndex, looseText, objectInText, ownValue, parseReferenceJson, truthy } from "./json-text.ts"
import { shorten } from "./prompts.ts"
import { type ChecklistSettings, LIMITS } from "./settings.ts"

/** The settings for reading answers. */
export type ReadSettings = Pick<ChecklistSettings, "reference" | "maxWaitMs">

/** How the agent should continue. `waitMs` comes with `wait`. */
export interface Stance {
  readonly says: "continue" | "blocked" | "wait"
  readonly waitMs?: number
}

/** A ruling as the judge gave it: `index` counts from 1 and may be out of range. */
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

/** The value, or the reason why it could not be read. */
export type Read<Value> = { readonly ok: true; readonly value: Value } | { readonly ok: false; readonly reason: JudgeReason }

/** Reads the arguments of a call. Under `reference`, malformed JSON counts as no arguments. */
export function readArguments(toolName: string, inputJson: string, settings: ReadSettings): Read<JsonObject> {
  const parsed = settings.reference ? parseReferenceJson(inputJson) : parseJson(inputJson)
  const args = parsed === undefined && settings.reference ? {} : parsed
  if (isObject(args)) return { ok: true, value: args }
  return { ok: false, reason: { type: "bad_arguments", toolName, problem: args === undefined ? "they are not JSON" : "they are not an object" } }
}

/** Reads the items in the arguments of `submit_checklist`; empty without a list. */
export function readItems(args: JsonObject, settings: ReadSettings): readonly string[] {
  return readTexts(ownValue(args, "items"), settings)
}

/** Reads the items, under the key `checklist`, from the text of an answer. */
export function readItemsText(text: string, settings: ReadSettings): Read<readonly string[]> {
  const found = readObject(text, settings, ["checklist"])
  if (!found.ok) return found
  const items = ownValue(found.value, "checklist")
  if (!Array.isArray(items)) return { ok: false, reason: { type: "no_verdict" } }
  return { ok: true, value: readTexts(items, settings) }
}

/** Reads the verdict in the arguments of `update_checklist`. Malformed entries are ignored; an infinite index is an error. */
export function readVerdict(args: JsonObject, toolName: string, settings: ReadSettings): Read<ChecklistVerdict> {
  const updates: IndexedRuling[] = []
  const entries = ownValue(args, "updates")
  for (const entry of Array.isArray(entries) ? entries : []) {
    if (!isObject(entry)) continue
    const index = looseIndex(ownValue(entry, "index"))
    if (index === undefined) continue
    if (!Number.isFinite(index)) return { ok: false, reason: { type: "bad_arguments", toolName, problem: "an index is infinite" } }
    const status = looseText(ownValue(entry, "status"), settings.reference).toLowerCase()
    if (status !== "completed" && status !== "impossible") continue
    const evidence = judgeText(ownValue(entry, "evidence"), settings)
    updates.push({ index, status, ...(evidence !== "" && { evidence }) })
  }
  const reason = readReason(args, settings)
  return { ok: true, value: { updates, newItems: readTexts(ownValue(args, "new_items"), settings), reason, ...readStance(args, settings) } }
}

/** Reads the verdict on the items from the text of an answer. */
export function readVerdictText(text: string, settings: ReadSettings): Read<ChecklistVerdict> {
  const found = readObject(text, settings, ["updates", "new_items", "reason", "verdict"])
  return found.ok ? readVerdict(found.value, "no tool", settings) : found
}

/** Reads the verdict on the whole from the text of an answer. */
export function readFreeformText(text: string, settings: ReadSettings): Read<FreeformVerdict> {
  const found = readObject(text, settings, ["done", "verdict"])
  if (!found.ok) return found
  const reason = readReason(found.value, settings)
  if (saysDone(found.value, settings)) return { ok: true, value: { says: "done", reason } }
  return { ok: true, value: { reason, ...readStance(found.value, settings) } }
}

const DONE_WORDS: ReadonlySet<string> = new Set(["true", "yes", "1", "done"])

/** The word in `verdict` decides. Without it `done` does, which may be any JSON value. */
function saysDone(args: JsonObject, settings: ReadSettings): boolean {
  const verdict = ownValue(args, "verdict")
  if (!settings.reference && typeof verdict === "string" && !isBlank(verdict)) return trim(verdict).toLowerCase() === "done"
  const done = ownValue(args, "done")
  return typeof done === "string" ? DONE_WORDS.has(trim(done).toLowerCase()) : truthy(done)
}

/** An unknown word means `continue`, and so does a wait without a duration. */
function readStance(args: JsonObject, { reference, maxWaitMs }: ReadSettings): Stance {
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

/** Finds the JSON object with one of these keys. Under `reference`, any object is accepted. */
function readObject(text: string, settings: ReadSettings, keys: readonly string[]): Read<JsonObject> {
  if (text === "") return { ok: false, reason: { type: "empty_reply" } }
  const value = objectInText(text, settings.reference, (object) => keys.some((key) => Object.hasOwn(object, key)))
  if (value !== undefined) return { ok: true, value }
  if (objectInText(text, settings.reference) !== undefined) return { ok: false, reason: { type: "no_verdict" } }
  return { ok: false, reason: { type: "not_json", text: shorten(text, 200, true) } }
}

function readReason(args: JsonObject, settings: ReadSettings): JudgeReason {
  const text = judgeText(ownValue(args, "reason"), settings)
  return text === "" ? { type: "none_given" } : { type: "text", text }
}

/** Reads a list of texts, each a string or an object with `text`. Ignores blank texts and all entries after the first {@link LIMITS}`.texts`. */
function readTexts(list: Json | undefined, settings: ReadSettings): readonly string[] {
  const texts: string[] = []
  const entries: readonly Json[] = Array.isArray(list) ? list : []
  for (const entry of settings.reference ? entries : entries.slice(0, LIMITS.texts)) {
    const value: Json | undefined = isObject(entry) ? ownValue(entry, "text") : entry
    const text = isObject(entry) || typeof value === "string" ? clip(looseText(value, settings.reference), settings) : ""
    if (!isBlank(text)) texts.push(text)
  }
  return texts
}

function judgeText(value: Json | undefined, settings: ReadSettings): string {
  return truthy(value) ? clip(looseText(value, settings.reference), settings) : ""
}

/** Shortens a text, because it becomes part of the goal and of every later prompt. */
function clip(text: string, { reference }: ReadSettings): string {
  return reference ? text : shorten(text, LIMITS.judgeText, false)
}
