import type { Difference } from "../errors.ts"
import type { Decision } from "../wire/approval.ts"
import type { JournalRecord, JournalSnapshot } from "../wire/journal.ts"
import type { LlmResponse } from "../wire/llm.ts"
import type { CompletedToolCall } from "../wire/tool.ts"
import { wholeStart, wholeSurface } from "./base.ts"
import { differences } from "./divergence.ts"
import type { Journal } from "./journal.ts"
import type { JournalEntry } from "./journal-entry.ts"

/** The first records at which two journals differ. */
export interface JournalParting {
  /** The record of the first journal; `undefined` if it ends before. */
  readonly first: JournalEntry | undefined
  /** The record of the second journal; `undefined` if it ends before. */
  readonly second: JournalEntry | undefined
  /**
   * `asked`: the records answer different effects. `answered`: the effects are the same and the answers differ, or the host
   * commands or the ends of the turn differ. `length`: one journal continues where the other one ends.
   */
  readonly type: "asked" | "answered" | "length"
  /** Paths into the two records. For `asked`, paths into the effects if both journals have them, else none. */
  readonly differences: readonly Difference[]
}

/** The result of {@link compareJournals}. In each difference, `expected` is the first journal's value and `received` the second's. */
export interface JournalComparison {
  /** Differences of the headers: `/driver`, `/surface`, `/start`, and digests as `/config/<key>`; `/base` of a journal without its history. */
  readonly header: readonly Difference[]
  readonly parting: JournalParting | undefined
  /** How many answers to effects, tool results and decisions counted one by one, are equal before the first difference. */
  readonly alike: number
  /** The first effect whose answers are compared: above 1 if a journal was compacted. */
  readonly fromEffect: number
}

/**
 * Compares two journals record by record, up to the first difference. Facts about when, where and by which process a turn was run
 * are ignored: times and durations, openings, reconfigurations, snapshots, started calls, checksums, recorded effects, the order and the parts in
 * which the results of a tool batch and the decisions about it arrived, which of its calls were pending, and `turnId`, `meta`, `forkedFrom` and
 * `dropped` of the header. After a compaction, only effects that both journals answer completely are compared.
 */
export function compareJournals(first: Journal, second: Journal): JournalComparison {
  // Without the history of one turn, the histories of both are left out: the log and the record at which each begins say whether they are the same.
  const isKnown = hasHistory(first) && hasHistory(second)
  const header = differences(comparedHeader(first, isKnown), comparedHeader(second, isKnown))
  const fromEffect = Math.max(firstWholeEffect(first), firstWholeEffect(second))
  const [left, right] = [stepsOf(first, fromEffect), stepsOf(second, fromEffect)]
  let alike = 0
  for (let index = 0; index < Math.max(left.length, right.length); index += 1) {
    const found = compareSteps(left[index], right[index])
    alike += found.alike
    if (found.parting !== undefined) return { header, parting: found.parting, alike, fromEffect }
  }
  return { header, parting: undefined, alike, fromEffect }
}

function hasHistory({ header, history }: Journal): boolean {
  return header.base === undefined || history !== undefined
}

/** `surface` has the prompt and the tools themselves, so their digests are left out. */
function comparedHeader({ header, history }: Journal, isKnown: boolean): unknown {
  const { driver, config, start, base } = header
  const { systemPrompt: _prompt, tools: _tools, ...digests } = config
  if (base !== undefined && !isKnown) return { driver, config: digests, surface: header.surface, base, start }
  const read = { header, ...(history && { history }) }
  return { driver, config: digests, surface: wholeSurface(read), start: wholeStart(read) }
}

function firstWholeEffect({ header, entries }: Journal): number {
  if (header.dropped === undefined) return 1
  const snapshot = entries.find((entry): entry is JournalEntry & { readonly record: JournalSnapshot } => entry.record.type === "snapshot")
  if (snapshot === undefined) return 1
  const { state, nextEffectId } = snapshot.record.checkpoint
  if (!("outstanding" in state)) return nextEffectId
  // The remaining results of a batch that was answered in part are not comparable on their own.
  const isAnswered = state.type === "waiting_tools" && (state.results.some((result) => result !== null) || (state.decided ?? []).length > 0)
  return isAnswered ? nextEffectId : state.outstanding.id
}

/** The unit of comparison: a record, or all records with results of one batch and decisions about it. */
interface ComparedStep {
  readonly entry: JournalEntry
  readonly batch: ReadonlyMap<string, BatchItem> | undefined
  /** The effect that the records answer, if the journal has it. */
  readonly effect: unknown
}

/** One result or one decision, with its record and its path there. */
interface BatchItem {
  readonly entry: JournalEntry
  readonly path: string
  readonly value: Omit<CompletedToolCall, "durationMs"> | Decision
}

function stepsOf({ entries }: Journal, fromEffect: number): readonly ComparedStep[] {
  const steps: ComparedStep[] = []
  let effect: unknown
  let batch: { readonly id: number; readonly items: Map<string, BatchItem> } | undefined
  let isCounted = fromEffect === 1
  for (const entry of entries) {
    const { record } = entry
    if (record.type === "effect") effect = record.effect
    if (!isCompared(record)) continue
    if ("id" in record) isCounted ||= record.id >= fromEffect
    else isCounted ||= record.type === "end"
    if (!isCounted) continue
    if (record.type !== "tool_results" && record.type !== "tool_decisions") {
      batch = undefined
      steps.push({ entry, batch: undefined, effect })
    } else {
      if (batch?.id !== record.id) {
        batch = { id: record.id, items: new Map() }
        steps.push({ entry, batch: batch.items, effect })
      }
      if (record.type === "tool_results")
        for (const [index, result] of record.results.entries())
          addResult(batch.items, result.callId, { entry, path: `/results/${index}`, value: untimed(result) })
      else for (const [index, value] of record.decisions.entries()) addDecision(batch.items, { entry, path: `/decisions/${index}`, value })
    }
    effect = undefined
  }
  return steps
}

function isCompared({ type }: JournalRecord): boolean {
  return !NOT_COMPARED.has(type)
}

const NOT_COMPARED: ReadonlySet<JournalRecord["type"]> = new Set<JournalRecord["type"]>([
  "opened",
  "traced",
  "snapshot",
  "call_started",
  "child_granted",
  "reconfigured",
  "effect",
  "tool_pending",
])

/** A call that was answered twice has two entries, of which the turn refused the second. */
function addResult(items: Map<string, BatchItem>, callId: string, found: BatchItem): void {
  let count = 0
  while (items.has(`${count} ${callId}`)) count += 1
  items.set(`${count} ${callId}`, found)
}

/** Only the first decision about a call counts. The turn ignored or refused the later ones. */
function addDecision(items: Map<string, BatchItem>, found: BatchItem & { readonly value: Decision }): void {
  const key = `decision ${found.value.requestId}`
  if (!items.has(key)) items.set(key, found)
}

interface Compared {
  readonly parting?: JournalParting
  readonly alike: number
}

function compareSteps(left: ComparedStep | undefined, right: ComparedStep | undefined): Compared {
  const [first, second] = [left?.entry, right?.entry]
  if (left === undefined || right === undefined) return { parting: { first, second, type: "length", differences: [] }, alike: 0 }
  const [leftEffect, rightEffect] = [effectKey(left.entry), effectKey(right.entry)]
  if (leftEffect !== rightEffect && "id" in left.entry.record && "id" in right.entry.record) {
    const differing = left.effect === undefined || right.effect === undefined ? [] : differences(left.effect, right.effect)
    return { parting: { first, second, type: "asked", differences: differing }, alike: 0 }
  }
  if (left.batch !== undefined && right.batch !== undefined) return compareBatches(left.batch, right.batch)
  const found = differences(timeless(left.entry.record), timeless(right.entry.record))
  return found.length === 0
    ? { alike: "id" in left.entry.record ? 1 : 0 }
    : { parting: { first, second, type: "answered", differences: found }, alike: 0 }
}

function effectKey({ record, fingerprint }: JournalEntry): string {
  // Decisions and results answer the same effect.
  const type = record.type === "tool_decisions" ? "tool_results" : record.type
  return "id" in record ? `${type} ${record.id} ${fingerprint ?? ""}` : ""
}

function compareBatches(left: ReadonlyMap<string, BatchItem>, right: ReadonlyMap<string, BatchItem>): Compared {
  let alike = 0
  for (const [key, { entry: first, path, value }] of left) {
    const other = right.get(key)
    if (other === undefined) continue
    const found = differences(value, other.value, path)
    if (found.length > 0) return { parting: { first, second: other.entry, type: "answered", differences: found }, alike }
    alike += 1
  }
  const missing = (there: ReadonlyMap<string, BatchItem>, here: ReadonlyMap<string, BatchItem>): JournalEntry | undefined =>
    [...there].find(([key]) => !here.has(key))?.[1].entry
  const [first, second] = [missing(left, right), missing(right, left)]
  return first === undefined && second === undefined ? { alike } : { parting: { first, second, type: "length", differences: [] }, alike }
}

/** A record without its times. */
function timeless(record: JournalRecord): unknown {
  if (record.type === "interruption") {
    const { at: _, ...interruption } = withUntimed(record.interruption, "partial") as typeof record.interruption & { readonly at?: number }
    const answer = "answer" in interruption ? interruption.answer : undefined
    return { ...record, interruption: answer === undefined ? interruption : { ...interruption, answer: timeless(answer) } }
  }
  if (!("id" in record)) return record
  const { at: _, ...rest } = record
  if (rest.type === "llm_complete") return { ...rest, result: withUntimed(withUntimed(rest.result, "response"), "partial") }
  if (rest.type === "tool_results") return { ...rest, results: rest.results.map(untimed) }
  if (rest.type === "exec_result" && rest.result.ok) return { ...rest, result: { ...rest.result, value: untimed(rest.result.value) } }
  return rest
}

/** The value, without the time that the answer under this key took. */
function withUntimed(value: object, key: "response" | "partial"): object {
  const answer = (value as { readonly [Key in typeof key]?: LlmResponse })[key]
  return answer === undefined ? value : { ...value, [key]: untimed(answer) }
}

function untimed<Value extends { readonly durationMs?: number }>(value: Value): Omit<Value, "durationMs"> {
  const { durationMs: _, ...rest } = value
  return rest
}
