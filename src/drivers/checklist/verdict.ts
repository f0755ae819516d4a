import { type Json, parseJson } from "../../json.ts"
import { isBlank, trim } from "../../text.ts"
import type { JudgeReason } from "../../wire/checklist.ts"
import {
  isObject,
  type JsonObject,
  looseIndex,
  looseJson,
  looseText,
  objectInText,
  objectsInText,
  ownValue,
  parseReferenceJson,
  truthy,
} from "./json-text.ts"
import { bulletList, isCompletedWord, isOpenWord, looseList, plainWord, quote, rulingIndex, rulingStatus, stanceWord } from "./loose-lists.ts"
import { plainVerdict, unwrapped, writtenArguments, writtenCall } from "./odd-answers.ts"
import { shorten } from "./prompts.ts"
import { type ChecklistSettings, LIMITS } from "./settings.ts"

/** The settings for reading answers. */
export type ReadSettings = Pick<ChecklistSettings, "reference" | "maxWaitMs">

/** How the agent should continue. `waitMs`, `waitsFor` (an event), or both come with `wait`. */
export interface Stance {
  readonly says: "continue" | "blocked" | "asked_to_stop" | "wait"
  readonly waitMs?: number
  readonly waitsFor?: string
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
  /** What could not be read, if anything. */
  readonly problem?: string
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

/**
 * Reads the verdicts in all calls of `update_checklist` in one answer, as one. Models that call a tool for each item are read in full; two
 * rulings on an item that differ are a problem.
 */
export function readVerdictCalls(
  calls: readonly { readonly toolName: string; readonly inputJson: string }[],
  settings: ReadSettings,
): Read<ChecklistVerdict> {
  if (settings.reference) {
    const [call] = calls
    const args = readArguments(call?.toolName ?? "", call?.inputJson ?? "", settings)
    return args.ok ? readVerdict(args.value, call?.toolName ?? "", settings) : args
  }
  return merged(calls.map(({ toolName, inputJson }) => readCall(toolName, inputJson, settings)))
}

function readCall(toolName: string, inputJson: string, settings: ReadSettings): Read<ChecklistVerdict> {
  const args = unwrapped(parseTwice(inputJson), VERDICT_KEYS)
  if (isObject(args)) return readVerdict(args, toolName, settings)
  return readArguments(toolName, inputJson, settings) as Read<never>
}

function merged(reads: readonly Read<ChecklistVerdict>[]): Read<ChecklistVerdict> {
  const [first] = reads
  if (first === undefined) return { ok: false, reason: { type: "no_verdict" } }
  if (reads.length === 1) return first
  const values = reads.flatMap((read) => (read.ok ? [read.value] : []))
  const [value] = values
  if (value === undefined) return first
  const updates = values.flatMap((verdict) => verdict.updates)
  const differing = updates.find(({ index, status }) => updates.some((other) => other.index === index && other.status !== status))
  const unread = reads.flatMap((read) => (read.ok ? (read.value.problem ?? []) : problemOf(read.reason)))
  const [problem] = [...unread, ...(differing === undefined ? [] : [`two rulings on item ${differing.index} differ`])]
  const { says, waitMs, waitsFor } = values.filter((verdict) => verdict.says !== "continue").at(-1) ?? value
  return {
    ok: true,
    value: {
      updates: updates.slice(0, LIMITS.texts),
      newItems: values.flatMap((verdict) => verdict.newItems).slice(0, LIMITS.texts),
      reason: (values.filter(({ reason }) => reason.type === "text").at(-1) ?? value).reason,
      says,
      ...(waitMs !== undefined && { waitMs }),
      ...(waitsFor !== undefined && { waitsFor }),
      ...(problem !== undefined && { problem }),
    },
  }
}

function problemOf(reason: JudgeReason): string {
  return reason.type === "bad_arguments" ? `of several calls, one cannot be read: ${reason.problem}` : "of several calls, one has no verdict"
}

function parseTwice(text: string): Json | undefined {
  const parsed = looseJson(text)
  return (typeof parsed === "string" ? looseJson(parsed) : undefined) ?? parsed
}

/** Reads the items in the arguments of `submit_checklist`; empty without a list. */
export function readItems(args: JsonObject, settings: ReadSettings): readonly string[] {
  const key = settings.reference ? "items" : (ITEM_KEYS.find((name) => Object.hasOwn(args, name)) ?? "items")
  return readTexts(ownValue(args, key), settings).texts
}

/** Reads the items in all calls of `submit_checklist` in one answer. */
export function readItemCalls(
  calls: readonly { readonly toolName: string; readonly inputJson: string }[],
  settings: ReadSettings,
): readonly string[] {
  if (settings.reference) {
    const [call] = calls
    const args = readArguments(call?.toolName ?? "", call?.inputJson ?? "", settings)
    return args.ok ? readItems(args.value, settings) : []
  }
  return calls.flatMap(({ inputJson }) => {
    const args = unwrapped(parseTwice(inputJson), ITEM_KEYS)
    return Array.isArray(args) ? readTexts(args, settings).texts : isObject(args) ? readItems(args, settings) : []
  })
}

const ITEM_KEYS = ["items", "checklist", "criteria"] as const

/** Reads the items, under the key `checklist`, from the text of an answer. */
export function readItemsText(text: string, settings: ReadSettings): Read<readonly string[]> {
  if (!settings.reference) {
    const { last, earlier } = objectsInText(text)
    const call = [...earlier, ...last].flatMap((object) => writtenCall(object, "submit_checklist") ?? []).at(-1)
    const args = unwrapped(call, ITEM_KEYS)
    if (isObject(args)) return { ok: true, value: readItems(args, settings) }
  }
  const found = readObject(text, settings, ["checklist"])
  if (!found.ok) return found
  const items = ownValue(found.value, "checklist")
  const isList = Array.isArray(items) || (!settings.reference && typeof items === "string")
  if (!isList) return { ok: false, reason: { type: "no_verdict" } }
  return { ok: true, value: readTexts(items, settings).texts }
}

const VERDICT_KEYS = ["updates", "new_items", "reason", "verdict"] as const
const FREEFORM_KEYS = ["done", "verdict"] as const

/**
 * Reads the verdict in the arguments of `update_checklist`. What cannot be read becomes its `problem`; arguments that hold nothing of a
 * verdict are refused, and so is an infinite index. Under `reference`, malformed entries are ignored.
 */
export function readVerdict(args: JsonObject, toolName: string, settings: ReadSettings): Read<ChecklistVerdict> {
  const { reference } = settings
  if (!reference && !VERDICT_KEYS.some((key) => Object.hasOwn(args, key))) return { ok: false, reason: { type: "no_verdict" } }
  const problems: string[] = []
  const updates: IndexedRuling[] = []
  const given = ownValue(args, reference ? "updates" : (UPDATES.find((key) => Object.hasOwn(args, key)) ?? "updates"))
  for (const entry of [...entriesOf(given, reference, problems), ...(reference ? [] : numbered(args))]) {
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
  if (!reference && isUnknownVerdict(verdict)) problems.push(`the verdict ${quote(verdict)} is unknown`)
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

/** What models call the list of rulings. */
const UPDATES = ["updates", "rulings", "update", "results", "items", "checklist"] as const

/** Numbers of items by their status: `{ "completed": [1, 2] }`. */
function numbered(args: JsonObject): readonly Json[] {
  return (["completed", "impossible"] as const).flatMap((status) => {
    const list = ownValue(args, status)
    return Array.isArray(list) ? (list as readonly Json[]).map((entry) => (isObject(entry) ? { status, ...entry } : { index: entry, status })) : []
  })
}

/** A word that is neither a stance nor says how far the goal is. */
function isUnknownVerdict(verdict: Json | undefined): boolean {
  const word = plainWord(verdict)
  return word !== "" && stanceWord(word) === undefined && !isCompletedWord(word) && !isOpenWord(word)
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

/** Reads the verdict on the items from the text of an answer. Calls and rulings that are written into the text count, too. */
export function readVerdictText(text: string, settings: ReadSettings): Read<ChecklistVerdict> {
  const odd = settings.reference ? undefined : verdictArguments(text)
  if (odd !== undefined) return merged(odd.map((args) => readVerdict(args, "", settings)))
  const found = readObject(text, settings, VERDICT_KEYS)
  return found.ok ? readVerdict(found.value, "", settings) : found
}

/** The arguments of all calls in a text, of its last verdict, or its rulings as one verdict. */
function verdictArguments(text: string): readonly JsonObject[] | undefined {
  const { last, earlier } = objectsInText(text)
  for (const objects of [last, earlier]) {
    const calls = objects.flatMap((object) => writtenCall(object, "update_checklist") ?? []).map((args) => unwrapped(args, VERDICT_KEYS))
    if (calls.some(isObject)) return calls.map((args) => (isObject(args) ? args : {}))
    const verdict = objects.filter((object) => Object.hasOwn(object, "updates")).at(-1)
    if (verdict !== undefined) return [verdict]
    const rulings = objects.filter((object) => rulingIndex(object) !== undefined && typeof rulingStatus(object) === "string")
    if (rulings.length > 0) return [{ updates: rulings }]
  }
  return undefined
}

/** Reads the verdict on the whole from calls of any tool; `undefined` if none holds one. The last one counts. */
export function readFreeformCalls(calls: readonly { readonly inputJson: string }[], settings: ReadSettings): Read<FreeformVerdict> | undefined {
  const args = calls.map(({ inputJson }) => unwrapped(parseTwice(inputJson), FREEFORM_KEYS))
  const found = args
    .filter(isObject)
    .filter((value) => FREEFORM_KEYS.some((key) => Object.hasOwn(value, key)))
    .at(-1)
  return found === undefined ? undefined : freeformVerdict(found, settings)
}

/** Reads the verdict on the whole from the text of an answer: as JSON, else in plain words (`Verdict: done`). */
export function readFreeformText(text: string, settings: ReadSettings): Read<FreeformVerdict> {
  const found = readObject(text, settings, FREEFORM_KEYS, (object) => Object.hasOwn(object, "done") || isVerdictWord(ownValue(object, "verdict")))
  const plain = settings.reference ? undefined : plainVerdict(text, found.ok ? found.value : undefined)
  if (plain !== undefined) return freeformVerdict(plain, settings)
  const call = found.ok || settings.reference ? undefined : writtenFreeform(text)
  if (call !== undefined) return freeformVerdict(call, settings)
  return found.ok ? freeformVerdict(found.value, settings) : found
}

function writtenFreeform(text: string): JsonObject | undefined {
  const { last, earlier } = objectsInText(text)
  return [...earlier, ...last]
    .map((object) => writtenArguments(object, FREEFORM_KEYS))
    .filter((args) => args !== undefined)
    .at(-1)
}

function freeformVerdict(args: JsonObject, settings: ReadSettings): Read<FreeformVerdict> {
  const reason = readReason(args, settings)
  if (saysDone(args, settings)) return { ok: true, value: { says: "done", reason } }
  const verdict = ownValue(args, "verdict")
  const isUnknown = !settings.reference && isUnknownVerdict(verdict)
  return {
    ok: true,
    value: { reason, ...readStance(args, settings, "blocked"), ...(isUnknown && { problem: `the verdict ${quote(verdict)} is unknown` }) },
  }
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
  return isCompletedWord(word) || stanceWord(word) !== undefined
}

/** An unknown word means `continue`, and so does a wait for nothing. `impossible`: what it means that the whole goal is impossible. */
function readStance(args: JsonObject, { reference, maxWaitMs }: ReadSettings, impossible: "blocked" | "continue" = "continue"): Stance {
  if (reference) return { says: "continue" }
  const word = stanceWord(plainWord(ownValue(args, "verdict")))
  const says = word === "impossible" ? impossible : (word ?? "continue")
  if (says !== "wait") return { says }
  const seconds = waitSeconds(ownValue(args, "wait_seconds"))
  const event = shorten(looseText(ownValue(args, "wait_for"), false), LIMITS.eventName, true)
  if (seconds === undefined && event === "") return { says: "continue" }
  return {
    says,
    ...(seconds !== undefined && { waitMs: Math.min(Math.ceil(seconds * 1000), maxWaitMs) }),
    ...(event !== "" && { waitsFor: event }),
  }
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

const REASONS = ["reason", "reasoning", "explanation"] as const

function readReason(args: JsonObject, settings: ReadSettings): JudgeReason {
  const key = settings.reference ? "reason" : (REASONS.find((name) => Object.hasOwn(args, name)) ?? "reason")
  const text = judgeText(ownValue(args, key), settings)
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
