import type { JournalRecord } from "../wire/journal.ts"

/** One record with its number and where it ends. */
export interface JournalEntry {
  /** Counted from 1; the header is the first. Records that a compaction left out are counted. */
  readonly number: number
  readonly record: JournalRecord
  /** The fingerprint of the effect that the record answers; `undefined` if it answers none. */
  readonly fingerprint: string | undefined
  /** Length of the text up to and including this record, in characters. That much of it is a journal too. */
  readonly end: number
}
