import type { TurnConfig } from "../machine/config.ts"
import { addKnown, addUsage, NO_USAGE } from "../machine/limits.ts"
import type { Decision } from "../wire/approval.ts"
import type { AnswerableEffect } from "../wire/effect.ts"
import type { Outcome } from "../wire/event.ts"
import type { JournalHeader, JournalInterruption, JournalRecord } from "../wire/journal.ts"
import type { TerminalReason, TokenUsage } from "../wire/llm.ts"
import type { CompletedToolCall } from "../wire/tool.ts"
import type { Journal } from "./journal.ts"
import type { JournalEntry } from "./journal-entry.ts"
import { type PrefixBreak, type PrefixReport, prefixBreaks } from "./prefix.ts"

/** The facts of a journal, record by record and in total, as plain data for user interfaces. */
export interface JournalOutline extends Pick<JournalHeader, "turnId" | "driver" | "at" | "forkedFrom" | "dropped">, OutlineTotals {
  /** One row for each record, the header first. */
  readonly rows: readonly OutlineRow[]
  /** `undefined`: the journal does not say that the turn ended. */
  readonly outcome: Outcome | undefined
  /** Which model requests do not begin with the one before them, as far as the requests are known. */
  readonly prefix: PrefixReport
}

/** Totals over all records. Records that a compaction left out are not counted. */
export interface OutlineTotals {
  /** Answered model calls, failed ones included. */
  readonly modelCalls: number
  /** Results of tool calls, failed ones included. */
  readonly toolCalls: number
  readonly usage: TokenUsage
  /** How many processes ran the turn. */
  readonly processes: number
  /** As {@link workedMs}. */
  readonly workedMs: number
}

/** The facts of one record. */
export type OutlineRow = OutlineFacts & {
  /** Counted from 1; the header is the first. */
  readonly number: number
  /** Milliseconds since the epoch; `undefined` if the record has no time. */
  readonly at: number | undefined
  /** The effect that the record answers, or is about. */
  readonly effectId: number | undefined
  /** Bytes of the record's line in UTF-8, with its newline; `undefined` if the journal's text was not given. */
  readonly bytes: number | undefined
  /** Whether the record is of something that failed, or that ended the turn early. */
  readonly failed: boolean
  /** Whether the record changes the turn. Snapshots, openings, started calls and recorded effects do not. */
  readonly changesTurn: boolean
}

/** The facts of a record by its type. */
export type OutlineFacts =
  | { readonly type: "header"; readonly messageCount: number }
  | {
      readonly type: "llm_complete"
      /** Of a side call, such as `compaction`. `undefined`: the call answers the conversation. */
      readonly purpose?: string
      /** `undefined`: the call succeeded. */
      readonly error: string | undefined
      readonly text: string
      /** The names of the tools that the model calls, in order. */
      readonly calls: readonly string[]
      readonly terminalReason: TerminalReason
      /** `undefined`: a failed call whose usage is not known. */
      readonly usage: TokenUsage | undefined
      /** Where the request that this answers differs from the one before it; `undefined` if it does not, or if that is unknown. */
      readonly prefixBreak: PrefixBreak | undefined
    }
  | { readonly type: "tool_results"; readonly results: readonly CompletedToolCall[] }
  | { readonly type: "tool_decisions"; readonly decisions: readonly Decision[] }
  | { readonly type: "tool_pending"; readonly callId: string; readonly token: string }
  | {
      readonly type: "exec_result"
      /** Whether the code ran; it may have ended with an error. */
      readonly ran: boolean
      readonly error: string | undefined
      /** `undefined`: the code did not run. */
      readonly durationMs: number | undefined
    }
  | {
      readonly type: "execution_surface_synced"
      readonly error: string | undefined
      /** `undefined`: system prompt and tools are unchanged. */
      readonly toolCount: number | undefined
    }
  /** `delivered`: the keys of the delivery that are not empty. */
  | { readonly type: "checkpoint_delivery"; readonly delivered: readonly string[] }
  | { readonly type: "interruption"; readonly command: JournalInterruption["interruption"] }
  /** `iteration`: counted from 1. */
  | { readonly type: "snapshot"; readonly iteration: number }
  | { readonly type: "opened" }
  /** `trace`: the W3C `traceparent` of the span in which the turn runs from here on. */
  | { readonly type: "traced"; readonly trace: string }
  | { readonly type: "reconfigured"; readonly driver: JournalHeader["driver"] }
  /** `callId`: `undefined` for the code of an effect. */
  | { readonly type: "call_started"; readonly callId: string | undefined }
  /** `lease`: the tokens that are reserved for the child. */
  | { readonly type: "child_granted"; readonly callId: string; readonly lease: number }
  | { readonly type: "effect"; readonly effect: AnswerableEffect["type"] }
  | { readonly type: "end"; readonly outcome: Outcome }

/**
 * Returns the facts of a journal as plain data. Pure.
 * @param text what the journal was read from, or the size of each of its lines in bytes; without it, the rows have no `bytes`
 * @param config the turn's configuration: model requests are computed by a replay, to compare each with the one before it. Without a
 *   config, nothing is replayed, and only requests that the journal has in full (`keepEffects`) are compared. See {@link prefixBreaks}
 * @throws {CheckpointError} the journal was compacted, and its snapshot cannot be restored under the config
 */
export function journalOutline(journal: Journal, text?: string | readonly number[], config?: TurnConfig): JournalOutline {
  const { header, entries } = journal
  const prefix = prefixBreaks(journal, config)
  const breaks = new Map(prefix.breaks.map((found) => [found.record, found]))
  const { turnId, driver, at, forkedFrom, dropped } = header
  const bytes = typeof text === "string" ? lineBytes(text) : text
  const rows = [outlineRow({ number: 1, record: header }, bytes?.[0])]
  for (const [index, entry] of entries.entries()) rows.push(outlineRow(entry, bytes?.[index + 1], breaks.get(entry.number)))
  const last = entries.at(-1)?.record
  return {
    turnId,
    driver,
    ...(at !== undefined && { at }),
    ...(forkedFrom !== undefined && { forkedFrom }),
    ...(dropped !== undefined && { dropped }),
    outcome: last?.type === "end" ? last.outcome : undefined,
    ...totalsOf(rows),
    workedMs: workedMs(journal),
    prefix,
    rows,
  }
}

/** Sizes of the lines of a text, in bytes. */
function lineBytes(text: string): readonly number[] {
  const sizes: number[] = []
  for (let start = 0, newline = text.indexOf("\n"); newline >= 0; newline = text.indexOf("\n", start)) {
    sizes.push(utf8Length(text, start, newline + 1))
    start = newline + 1
  }
  return sizes
}

/** Returns the facts of one record. `bytes`: the size of its line. `prefixBreak`: what is known of the request that it answers. */
export function outlineRow(
  { number, record }: Pick<JournalEntry, "number" | "record">,
  bytes: number | undefined,
  prefixBreak?: PrefixBreak,
): OutlineRow {
  const effectId = "id" in record ? record.id : "effectId" in record ? record.effectId : undefined
  const changesTurn = !KEEPS_TURN.has(record.type)
  return { ...factsOf(record, prefixBreak), number, at: timeOf(record), effectId, bytes, failed: hasFailed(record), changesTurn }
}

const KEEPS_TURN: ReadonlySet<JournalRecord["type"]> = new Set<JournalRecord["type"]>([
  "snapshot",
  "opened",
  "traced",
  "call_started",
  "child_granted",
  "effect",
])

function factsOf(record: JournalRecord, prefixBreak: PrefixBreak | undefined): OutlineFacts {
  const { type } = record
  switch (type) {
    case "header":
      return { type, messageCount: (record.base?.messages ?? 0) + record.start.messages.length }
    case "llm_complete": {
      const purpose = record.purpose === undefined ? {} : { purpose: record.purpose }
      if (!record.result.ok) {
        const { message, terminalReason, usage } = record.result.error
        return { type, ...purpose, error: message, text: "", calls: [], terminalReason, usage, prefixBreak }
      }
      const { text, parts, terminalReason, usage } = record.result.response
      return {
        type,
        ...purpose,
        error: undefined,
        text,
        calls: parts.flatMap((part) => (part.type === "tool_call" ? [part.toolName] : [])),
        terminalReason,
        usage,
        prefixBreak,
      }
    }
    case "tool_results":
      return { type, results: record.results }
    case "tool_decisions":
      return { type, decisions: record.decisions }
    case "tool_pending":
      return { type, callId: record.callId, token: record.token }
    case "exec_result": {
      const { result } = record
      if (!result.ok) return { type, ran: false, error: result.error, durationMs: undefined }
      return { type, ran: true, error: result.value.error, durationMs: result.value.durationMs }
    }
    case "execution_surface_synced": {
      const { result } = record
      return { type, error: result.ok ? undefined : result.error, toolCount: result.ok ? result.update?.tools.length : undefined }
    }
    case "checkpoint_delivery":
      return { type, delivered: Object.entries(record.delivery).flatMap(([key, list]) => (list.length > 0 ? [key] : [])) }
    case "interruption":
      return { type, command: record.interruption }
    case "snapshot":
      return { type, iteration: record.checkpoint.iteration + 1 }
    case "opened":
      return { type }
    case "traced":
      return { type, trace: record.trace }
    case "reconfigured":
      return { type, driver: record.driver }
    case "call_started":
      return { type, callId: record.callId }
    case "child_granted":
      return { type, callId: record.callId, lease: record.lease }
    case "effect":
      return { type, effect: record.effect.type }
    case "end":
      return { type, outcome: record.outcome }
  }
}

function hasFailed(record: JournalRecord): boolean {
  switch (record.type) {
    case "llm_complete":
    case "exec_result":
    case "execution_surface_synced":
      return !record.result.ok
    case "tool_results":
      return record.results.some(({ output }) => output.status !== "success")
    case "interruption":
      return record.interruption.type !== "redirect"
    case "end":
      return record.outcome.type !== "finished"
    default:
      return false
  }
}

function totalsOf(rows: readonly OutlineRow[]): Omit<OutlineTotals, "workedMs"> {
  let usage = NO_USAGE
  let [modelCalls, toolCalls, processes] = [0, 0, 1]
  for (const row of rows) {
    if (row.type === "opened") processes += 1
    if (row.type === "tool_results") toolCalls += row.results.length
    const stopped = row.type === "interruption" && "partial" in row.command ? row.command.partial : undefined
    if (stopped !== undefined) {
      modelCalls += 1
      usage = addUsage(usage, addKnown(stopped.usage, stopped.retriedUsage) ?? NO_USAGE)
    }
    if (row.type !== "llm_complete") continue
    modelCalls += 1
    usage = addUsage(usage, row.usage ?? NO_USAGE)
  }
  return { modelCalls, toolCalls, usage, processes }
}

/** Returns when a record was written, in milliseconds since the epoch; `undefined` if it has no time. */
export function timeOf(record: JournalRecord): number | undefined {
  if (record.type === "snapshot") return record.checkpoint.at
  if (record.type === "interruption") return "at" in record.interruption ? record.interruption.at : undefined
  return "at" in record ? record.at : undefined
}

/**
 * Returns the milliseconds that processes worked on a turn: for each process, from its opening of the journal to its last record.
 * Time before the records that a compaction left is not included. Decisions of people, and results of calls that continued outside, do not
 * count as records of a process: another process may have stored them, days later.
 */
export function workedMs({ header, entries }: Journal): number {
  let total = 0
  let from = header.dropped === undefined ? header.at : undefined
  let to = from
  const outside = new Set<string>()
  for (const { record } of entries) {
    if (record.type === "tool_pending") outside.add(callKey(record.id, record.callId))
    const isOutside = record.type === "tool_results" && record.results.every(({ callId }) => outside.has(callKey(record.id, callId)))
    const at = timeOf(record)
    if (at === undefined || isOutside || record.type === "tool_decisions") continue
    if (record.type === "opened") {
      total += span(from, to)
      from = at
    }
    from ??= at
    to = at
  }
  return total + span(from, to)
}

function callKey(effectId: number, callId: string): string {
  return `${effectId}:${callId}`
}

function span(from: number | undefined, to: number | undefined): number {
  return from === undefined || to === undefined ? 0 : Math.max(0, to - from)
}

/** ECMAScript alone has no encoder. Half a surrogate pair has three bytes, as encoders write U+FFFD for it. */
function utf8Length(text: string, start: number, end: number): number {
  let bytes = end - start
  for (let index = start; index < end; index += 1) {
    const unit = text.charCodeAt(index)
    if (unit >= 0x80) bytes += unit < 0x800 ? 1 : 2
    // A pair has four bytes: one for each half, and two more that the first half has added.
    if (unit >= 0xd800 && unit < 0xdc00 && (text.charCodeAt(index + 1) & 0xfc00) === 0xdc00) index += 1
  }
  return bytes
}
