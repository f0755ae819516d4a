import { journalLineValidation } from "../../checks/records.ts"
import { JournalError } from "../../errors.ts"
import { missingLog, withHistory } from "../../replay/base.ts"
import type { Journal, LogHistory } from "../../replay/journal.ts"
import { readLogHistory } from "./log-history.ts"
import { readJournalParts } from "./parts.ts"
import type { JournalStore } from "./store.ts"

/**
 * Reads the journal of a turn without opening it, also while a process runs the turn. The journal of a thread's turn is returned with the history
 * that it refers to, so that it can be replayed, verified and forked. If the log of the thread is missing or changed, it is returned without, and
 * what needs the history throws.
 * @returns `undefined` if there is no such journal, or if it has no whole first line
 * @throws {JournalError} `not_a_journal`, `unsupported_version`, `damaged_record`, `invalid_record`
 * @throws {JournalStoreError} `invalid_name`, `unavailable`
 */
export async function readTurnJournal(store: Pick<JournalStore, "read">, name: string): Promise<Journal | undefined> {
  return readJournalOf(store, name, false)
}

/** {@link readTurnJournal} for resuming the turn: most records before its last snapshot are parsed and checked when they are read. */
export async function readToResume(store: Pick<JournalStore, "read">, name: string): Promise<Journal | undefined> {
  return readJournalOf(store, name, true)
}

async function readJournalOf(store: Pick<JournalStore, "read">, name: string, defersRecords: boolean): Promise<Journal | undefined> {
  const parts = await store.read(name)
  if (parts === undefined) return undefined
  const { journal } = await readJournalParts(parts, journalLineValidation, { defersRecords })
  return (await readHistory(store, name, journal)).recorded
}

/** Adds its history to a journal. `fault`: why there is none. @throws {JournalStoreError} */
export async function readHistory(
  store: Pick<JournalStore, "read">,
  name: string,
  journal: Journal | undefined,
  known?: LogHistory,
): Promise<{ readonly recorded: Journal | undefined; readonly fault?: unknown }> {
  const base = journal?.header.base
  if (journal === undefined || base === undefined) return { recorded: journal }
  try {
    return { recorded: withHistory(journal, known ?? (await readLogHistory(store, logName(name, base.log), base))) }
  } catch (fault) {
    if (!(fault instanceof JournalError)) throw fault
    return { recorded: journal, fault: fault.code === "not_a_journal" ? missingLog(base, fault) : fault }
  }
}

/** The name of a log that a journal refers to: in the folder of the journal. */
function logName(journal: string, log: string): string {
  return journal.slice(0, journal.lastIndexOf("/") + 1) + log
}
