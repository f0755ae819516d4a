import { ForkError } from "../errors.ts"
import type { JournalRecord } from "../schemas/journal.ts"
import type { Response } from "../schemas/response.ts"
import { type Journal, type JournalEntry, type JournalValidation, JournalWriter } from "./journal.ts"

/** What a fork is given besides its journal. */
export interface ForkOptions {
  /**
   * Names the new turn among all of the host's. It cannot be the old one: what a system keeps under the old turn's idempotency
   * keys was not done for this one.
   */
  readonly turnId: string
  /** Checks the answer. Absent: it is trusted to have the type it is declared with. */
  readonly validation?: JournalValidation
}

/**
 * The text of a new journal, in which a turn goes another way: the records before one of them and, in its place, another
 * answer to the same effect. Without an answer the records before it alone: the effect is then performed anew. One more
 * than there are records is the end: all of them, for a turn that goes on apart from the old one.
 *
 * The new header says where it comes from (`forkedFrom`). What else stands before the record stays: snapshots, openings, and
 * calls that were begun, which may have happened whichever way the turn goes now.
 * @param at number of the record. With an answer, it must be a response; of a tool batch that was answered in parts,
 *   the answer holds results of the calls that the record holds
 * @throws {ForkError} `no_such_record`, `not_a_response`, `answers_another_effect`, `invalid_answer`, `turn_id_in_use`
 */
export function fork(journal: Journal, at: number, answer: Response | undefined, { turnId, validation }: ForkOptions): string {
  const { header, entries } = journal
  if (turnId === header.turnId)
    throw new ForkError("turn_id_in_use", at, `The new turn cannot be called ${JSON.stringify(turnId)}: so is the one that it is forked from.`)
  const index = placeOf(journal, at)
  const replaced = entries[index]
  if (answer !== undefined && replaced === undefined) throw noSuchRecord(at, entries)
  const checked = answer === undefined || replaced === undefined ? undefined : check(replaced, answer, validation)

  const writer = new JournalWriter()
  let text = writer.line({ ...header, turnId, forkedFrom: { turnId: header.turnId, record: at } })
  for (const { record, fingerprint } of entries.slice(0, index)) text += writer.line(record, fingerprint)
  return checked === undefined ? text : text + writer.line(checked, replaced?.fingerprint)
}

function placeOf({ header, entries }: Journal, at: number): number {
  const last = entries.at(-1)?.number ?? 1
  const index = at === last + 1 ? entries.length : entries.findIndex(({ number }) => number === at)
  if (index < 0) throw noSuchRecord(at, entries)
  // What a compaction kept before its snapshot is no beginning of a turn.
  const first = header.dropped === undefined ? -1 : entries.findIndex(({ record }) => record.type === "snapshot")
  if (index > first) return index
  throw new ForkError(
    "no_such_record",
    at,
    `Record ${at} stands before what a compaction left; the first to fork at is ${(entries[first]?.number ?? at) + 1}.`,
  )
}

function noSuchRecord(at: number, entries: readonly JournalEntry[]): ForkError {
  return new ForkError("no_such_record", at, whyMissing(at, entries))
}

function whyMissing(at: number, entries: readonly JournalEntry[]): string {
  const first = entries[0]?.number
  if (at === 1) return "Record 1 is the header; a fork begins at a record behind it."
  if (first !== undefined && at > 1 && at < first) return `Record ${at} was left out by a compaction; the first that is kept is ${first}.`
  return `There is no record ${at}; the last one is ${entries.at(-1)?.number ?? 1}.`
}

function check({ number, record }: JournalEntry, answer: Response, validation: JournalValidation | undefined): JournalRecord {
  if (!("id" in record))
    throw new ForkError(
      "not_a_response",
      number,
      `Record ${number} is no response but of type "${record.type}"; nothing can be answered otherwise there.`,
    )
  let checked: JournalRecord = answer
  try {
    checked = validation?.(answer) ?? answer
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new ForkError("invalid_answer", number, `The answer in the place of record ${number} is not valid: ${why}`, { cause })
  }
  const [wanted, given] = [asked(record), asked(checked)]
  if (wanted === given) return checked
  throw new ForkError("answers_another_effect", number, `Record ${number} is ${wanted}; in its place stands another such, not ${given}.`)
}

/** Which answers can stand in one place, in words. */
function asked(record: JournalRecord): string {
  if (!("id" in record)) return `of type "${record.type}"`
  const calls =
    record.type === "tool_results"
      ? ` with the results of ${
          record.results
            .map(({ callId }) => callId)
            .sort()
            .join(", ") || "no call"
        }`
      : ""
  return `${record.type} for effect ${record.id}${calls}`
}
