import type { JournalRecord } from "../wire/journal.ts"
import type { ThreadRecord } from "../wire/thread.ts"
import { parseLine, parseRecord } from "./checking.ts"
import { journalRecord, threadRecord } from "./generated/records.ts"

/** Checks one record of a journal. An unknown key is refused, because dropping it could lose its meaning. */
export function journalValidation(value: unknown): JournalRecord {
  return parseRecord(journalRecord, value, "journal record")
}

/** As {@link journalValidation}, for a value that was parsed from JSON: one that is valid is returned itself. */
export function journalLineValidation(value: unknown): JournalRecord {
  return parseLine(journalRecord, value, "journal record")
}

/** Checks one record of the log of a thread. An unknown key is refused. */
export function threadValidation(value: unknown): ThreadRecord {
  return parseRecord(threadRecord, value, "thread record")
}

/** As {@link threadValidation}, for a value that was parsed from JSON: one that is valid is returned itself. */
export function threadLineValidation(value: unknown): ThreadRecord {
  return parseLine(threadRecord, value, "thread record")
}
