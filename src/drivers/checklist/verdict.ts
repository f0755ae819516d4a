import { type Json, parseJson } from "../../json.ts"
import { isBlank, trim } from "../../text.ts"
import type { JudgeReason } from "../../wire/checklist.ts"
import { isObject, type JsonObject, looseIndex, looseText, objectInText, ownValue, parseReferenceJson, truthy } from "./json-text.ts"
import { bulletList, isCompletedWord, looseList, plainWord, quote, rulingIndex, rulingStatus } from "./loose-lists.ts"
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
  /** What could not be read, if anything. All else is in the verdict. */
  readonly problem?: string
}

export interface FreeformVerdict extends Omit<Stance, "says"> {
  readonly says: Stance["says"] | "done"
  readonly reason: JudgeReason
}

/** The value, or the reason why it could not be read. */
export type Read<Value> = { readonly ok: true; readonly value: Value } | { readonly ok: false; readonly reason: JudgeReason }

/** Reads the arguments of a call, also from JSON text inside JSON text. Under `reference`, malformed JSON counts as no arguments. */
export function readArguments(toolName: string, inputJson: string, settings: ReadSettings): Read<JsonObject> {
  const parsed = settings.reference ? parseReferenceJson(inputJson) : parseTwice(inputJson)
  const args = parsed === undefined && settings.reference ? {} : parsed
  if (isObject(args)) return { ok: true, value: args }
  return { ok: false, reason: { type: "bad_arguments", toolName, problem: args === undefined ? "they are not JSON" : "they are not an object" } }
}

function parseTwice(text: string): Json | undefined {
  const parsed = parseJson(text)
  return (typeof parsed === "string" ? parseJson(parsed) : undefined) ?? parsed
}

/** Reads the items in the arguments of `submit_checklist`; empty without a list. */
export function readItems(args: JsonObject, settings: ReadSettings): readonly string[] {
  return readTexts(ownValue(args, "items"), settings).texts
}

/** Reads the items, under the key `checklist`, from the text of an answer. */
export function readItemsText(text: string, settings: ReadSettings): Read<readonly string[]> {
  const found = readObject(text, settings, ["checklist"])
  if (!found.ok) return found
  const items = ownValue(found.value, "checklist")
  const isList = Array.isArray(items) || (!settings.reference && typeof items === "string")
  if (!isList) return { ok: false, reason: { type: "no_verdict" } }
  return { ok: true, value: readTexts(items, settings).texts }
}

const VERDICT_KEYS = ["updates", "new_items", "reason", "verdict"] as const

/**
 * Reads the verdict in the arguments of `update_checklist`. What cannot be read becomes its `problem`; arguments that hold nothing of a
 * verdict are refused, and so is an infinite index. Under `reference`, malformed entries are ignored.
 */
export function readVerdict(args: JsonObject, toolName: string, settings: ReadSettings): Read<ChecklistVerdict> {
  const { reference } = settings
  if (!reference && !VERDICT_KEYS.some((key) => Object.hasOwn(args, key))) return { ok: false, reason: { type: "no_verdict" } }
  const problems: string[] = []
  const updates: IndexedRuling[] = []
  for (const entry of entriesOf(ownValue(args, "updates"), reference, problems)) {
    const ruling = reference ? referenceRuling(entry) : readRuling(entry, problems)
    if (ruling === undefined) continue
    const { index, status } = ruling
    if (!Number.isFinite(index)) return { ok: false, reason: { type: "bad_arguments", toolName, problem: "an index is infinite" } }
    const evidence = judgeText(ruling.evidence, settings)
    if (status !== "open") updates.push({ index, status, ...(evidence !== "" && { evidence }) })
  }
  const newItems = readTexts(ownValue(args, "new_items"), settings)
  if (!reference) problems.push(...newItems.problems.map((problem) => `${problem} in new_items`))
  const verdict = ownValue(args, "verdict")
  if (!reference && updates.length === 0 && isCompletedWord(plainWord(verdict))) problems.push(`the verdict ${quote(verdict)} has no rulings`)
  const [problem] = problems
  return {
    ok: true,
    value: {
      updates,
      newItems: newItems.texts,
      reason: readReason(args, settings),
      ...readStance(args, settings),
      ...(problem !== undefined && { problem }),
    },
  }
}

interface LooseRuling {
  readonly index: number
  readonly status: IndexedRuling["status"] | "open"
  readonly evidence: Json | undefined
}

function entriesOf(list: Json | undefined, reference: boolean, problems: string[]): readonly Json[] {
  if (reference) return Array.isArray(list) ? list : []
  const entries = looseList(list)
  if (entries === undefined) problems.push(`updates is not a list but ${quote(list)}`)
  return (entries ?? []).slice(0, LIMITS.texts)
}

/** Reads a ruling as models write one; adds to `problems` if it cannot be read. */
function readRuling(given: Json, problems: string[]): LooseRuling | undefined {
  const entry = typeof given === "string" ? parseJson(given) : given
  if (!isObject(entry)) return void problems.push(`${quote(given)} is not a ruling`)
  const index = rulingIndex(entry)
  const status = rulingStatus(entry)
  if (index === undefined) return void problems.push(`the ruling ${quote(entry)} has no index`)
  if (typeof status === "object") return void problems.push(`${status.problem} in the ruling on item ${index}`)
  return { index, status, evidence: ownValue(entry, "evidence") }
}

function referenceRuling(entry: Json): LooseRuling | undefined {
  if (!isObject(entry)) return undefined
  const index = looseIndex(ownValue(entry, "index"))
  if (index === undefined) return undefined
  const status = looseText(ownValue(entry, "status"), true).toLowerCase()
  // The reference reads the index first, and an infinite one is an error whatever the status.
  if (status !== "completed" && status !== "impossible") return Number.isFinite(index) ? undefined : { index, status: "open", evidence: undefined }
  return { index, status, evidence: ownValue(entry, "evidence") }
}

/** Reads the verdict on the items from the text of an answer. */
export function readVerdictText(text: string, settings: ReadSettings): Read<ChecklistVerdict> {
  const found = readObject(text, settings, VERDICT_KEYS, (object) => Object.hasOwn(object, "updates"))
  return found.ok ? readVerdict(found.value, "", settings) : found
}

/** Reads the verdict on the whole from the text of an answer. */
export function readFreeformText(text: string, settings: ReadSettings): Read<FreeformVerdict> {
  const found = readObject(
    text,
    settings,
    ["done", "verdict"],
    (object) => Object.hasOwn(object, "done") || isVerdictWord(ownValue(object, "verdict")),
  )
  if (!found.ok) return found
  const reason = readReason(found.value, settings)
  if (saysDone(found.value, settings)) return { ok: true, value: { says: "done", reason } }
  return { ok: true, value: { reason, ...readStance(found.value, settings) } }
}

const DONE_WORDS: ReadonlySet<string> = new Set(["true", "yes", "1", "done"])

/** The word in `verdict` decides. Without it `done` does, which may be any JSON value. */
function saysDone(args: JsonObject, { reference }: ReadSettings): boolean {
  const verdict = ownValue(args, "verdict")
  if (!reference && typeof verdict === "string" && !isBlank(verdict)) return isCompletedWord(plainWord(verdict))
  if (!reference && verdict === true) return true
  const done = ownValue(args, "done")
  if (typeof done !== "string") return truthy(done)
  return DONE_WORDS.has(trim(done).toLowerCase()) || (!reference && isCompletedWord(plainWord(done)))
}

function isVerdictWord(value: Json | undefined): boolean {
  const word = plainWord(value)
  return isCompletedWord(word) || STANCES.has(word)
}

const STANCES: ReadonlySet<string> = new Set(["continue", "blocked", "wait"])

/** An unknown word means `continue`, and so does a wait without a duration. */
function readStance(args: JsonObject, { reference, maxWaitMs }: ReadSettings): Stance {
  if (reference) return { says: "continue" }
  const says = plainWord(ownValue(args, "verdict"))
  if (says === "blocked") return { says }
  const seconds = waitSeconds(ownValue(args, "wait_seconds"))
  if (says !== "wait" || seconds === undefined) return { says: "continue" }
  return { says, waitMs: Math.min(Math.ceil(seconds * 1000), maxWaitMs) }
}

function waitSeconds(value: Json | undefined): number | undefined {
  const seconds = typeof value === "string" && /^\s*[0-9]+(?:\.[0-9]+)?\s*$/.test(value) ? Number(value) : value
  return typeof seconds === "number" && seconds > 0 ? seconds : undefined
}

/**
 * Finds the JSON object with one of these keys; the last one that is `complete`, if any is. Under `reference`, any object is accepted.
 */
function readObject(
  text: string,
  settings: ReadSettings,
  keys: readonly string[],
  complete: (object: JsonObject) => boolean = () => true,
): Read<JsonObject> {
  if (text === "") return { ok: false, reason: { type: "empty_reply" } }
  const { reference } = settings
  const hasKey = (object: JsonObject): boolean => keys.some((key) => Object.hasOwn(object, key))
  const value = objectInText(text, reference, (object) => hasKey(object) && complete(object)) ?? objectInText(text, reference, hasKey)
  if (value !== undefined) return { ok: true, value }
  if (objectInText(text, reference) !== undefined) return { ok: false, reason: { type: "no_verdict" } }
  return { ok: false, reason: { type: "not_json", text: shorten(text, 200, true) } }
}

function readReason(args: JsonObject, settings: ReadSettings): JudgeReason {
  const text = judgeText(ownValue(args, "reason"), settings)
  return text === "" ? { type: "none_given" } : { type: "text", text }
}

interface Texts {
  readonly texts: readonly string[]
  readonly problems: readonly string[]
}

/** Reads a list of texts, each a string or an object with `text`. Ignores blank texts and all entries after the first {@link LIMITS}`.texts`. */
function readTexts(list: Json | undefined, settings: ReadSettings): Texts {
  const { reference } = settings
  const texts: string[] = []
  const problems: string[] = []
  const entries = reference ? (Array.isArray(list) ? list : []) : (looseList(list) ?? bulletList(list))
  if (entries === undefined) return { texts, problems: [`${quote(list)} is not a list`] }
  for (const entry of reference ? entries : entries.slice(0, LIMITS.texts)) {
    const value: Json | undefined = isObject(entry) ? ownValue(entry, "text") : entry
    const isText = isObject(entry) ? reference || value !== undefined : typeof value === "string"
    const text = isText ? clip(looseText(value, reference), settings) : ""
    if (!isBlank(text)) texts.push(text)
    else if (!isText && entry !== null) problems.push(`${quote(entry)} is not a text`)
  }
  return { texts, problems }
}

function judgeText(value: Json | undefined, settings: ReadSettings): string {
  return truthy(value) ? clip(looseText(value, settings.reference), settings) : ""
}

/** Shortens a text, because it becomes part of the goal and of every later prompt. */
function clip(text: string, { reference }: ReadSettings): string {
  return reference ? text : shorten(text, LIMITS.judgeText, false)
}
