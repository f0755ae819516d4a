import { ForkError } from "../errors.ts"
import type { JournalRecord } from "../wire/journal.ts"
import type { Response } from "../wire/response.ts"
import { wholeRecords } from "./base.ts"
import { type Journal, type JournalValidation, journalLines } from "./journal.ts"
import type { JournalEntry } from "./journal-entry.ts"

/** Options of {@link fork}. */
export interface ForkOptions {
  /**
   * The id of the new turn, unique among the host's turns. It cannot be the old one: results stored under the old turn's
   * idempotency keys are not results of this turn.
   */
  readonly turnId: string
  /** Checks the answer. Absent: the answer is trusted to have its declared type. */
  readonly validation?: JournalValidation
}

/**
 * Returns the text of a new journal that shares the records before one of them and then has another answer to the same effect.
 * Without an answer, it ends before that record, so that the effect is performed again. A number one above the last record
 * copies all records, for a turn that continues separately from the old one.
 *
 * The fork of a thread's turn has the whole history in its header. The header of the fork names its origin (`forkedFrom`). All other records before the fork are copied: snapshots, openings, and
 * started calls, which may have taken effect in either turn.
 * @param at number of the record. With an answer, that record must be a response. If a tool batch was answered in parts, the
 *   answer must have results for the same calls as the record, or decisions about the same requests
 * @throws {JournalError} `missing_log`
 * @throws {ForkError} `no_such_record`, `not_a_response`, `answers_another_effect`, `invalid_answer`, `turn_id_in_use`
 */
export function fork(journal: Journal, at: number, answer: Response | undefined, options: ForkOptions): string {
  return [...forkLines(journal, at, answer, options)].join("")
}

/** The lines of a fork, as {@link fork} joins them: a long journal's text may be longer than a string can be. */
export function forkLines(journal: Journal, at: number, answer: Response | undefined, { turnId, validation }: ForkOptions): Iterable<string> {
  // A fork does not belong to the thread, whose log may be deleted.
  const { header, entries } = wholeRecords(journal)
  if (turnId === header.turnId)
    throw new ForkError(
      "turn_id_in_use",
      at,
      `The turnId ${JSON.stringify(turnId)} belongs to the turn that the journal is of. Give the fork an id of its own.`,
    )
  const index = placeOf(journal, at)
  const replaced = entries[index]
  if (answer !== undefined && replaced === undefined) throw noSuchRecord(at, entries)
  const checked = answer === undefined || replaced === undefined ? undefined : check(replaced, answer, validation)

  const copied = entries.slice(0, index)
  return journalLines({
    header: { ...header, turnId, forkedFrom: { turnId: header.turnId, record: at } },
    entries: checked === undefined ? copied : [...copied, { number: at, record: checked, fingerprint: replaced?.fingerprint, end: 0 }],
  })
}

function placeOf({ header, entries }: Journal, at: number): number {
  const last = entries.at(-1)?.number ?? 1
  const index = at === last + 1 ? entries.length : entries.findIndex(({ number }) => number === at)
  if (index < 0) throw noSuchRecord(at, entries)
  // Records before the snapshot of a compacted journal are not the beginning of a turn.
  const first = header.dropped === undefined ? -1 : entries.findIndex(({ record }) => record.type === "snapshot")
  if (index > first) return index
  throw new ForkError(
    "no_such_record",
    at,
    `Record ${at} comes before the snapshot of a compaction; the first record to fork at is ${(entries[first]?.number ?? at) + 1}.`,
  )
}

function noSuchRecord(at: number, entries: readonly JournalEntry[]): ForkError {
  return new ForkError("no_such_record", at, whyMissing(at, entries))
}

function whyMissing(at: number, entries: readonly JournalEntry[]): string {
  const first = entries[0]?.number
  if (at === 1) return "Record 1 is the header; fork at a record after it."
  if (first !== undefined && at > 1 && at < first) return `Record ${at} was left out by a compaction; the first remaining one is ${first}.`
  return `There is no record ${at}; the last one is ${entries.at(-1)?.number ?? 1}.`
}

function check({ number, record }: JournalEntry, answer: Response, validation: JournalValidation | undefined): JournalRecord {
  if (!("id" in record))
    throw new ForkError(
      "not_a_response",
      number,
      `Record ${number} is not a response but of type "${record.type}", so it cannot be replaced by another answer.`,
    )
  let checked: JournalRecord = answer
  try {
    checked = validation?.(answer) ?? answer
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new ForkError("invalid_answer", number, `The answer that replaces record ${number} is not valid: ${why}`, { cause })
  }
  const [wanted, given] = [describe(record), describe(checked)]
  if (wanted === given) return checked
  throw new ForkError("answers_another_effect", number, `Record ${number} is ${wanted}; its replacement must be one too, but is ${given}.`)
}

/** Describes which answers may replace each other. */
function describe(record: JournalRecord): string {
  if (!("id" in record)) return `of type "${record.type}"`
  return `${record.type} for effect ${record.id}${partOf(record)}`
}

/** The calls of a batch that a record is about. */
function partOf(record: Response): string {
  if (record.type === "tool_results") return ` with the results of ${listed(record.results.map(({ callId }) => callId))}`
  if (record.type === "tool_decisions") return ` about ${listed(record.decisions.map(({ requestId }) => requestId))}`
  return record.type === "tool_pending" ? ` about ${listed([record.callId])}` : ""
}

function listed(names: readonly string[]): string {
  return (
    names
      .map((name) => JSON.stringify(name))
      .sort()
      .join(", ") || "no call"
  )
}
