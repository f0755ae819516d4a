import { changedLog, missingLog } from "../../replay/base.ts"
import type { LogHistory } from "../../replay/journal.ts"
import type { JournalBase } from "../../wire/journal.ts"
import type { JournalStore } from "./store.ts"
import { type LogPlace, ThreadLog } from "./thread-log.ts"

/**
 * Reads the history that a thread's log has up to a record, without opening the log. Records after it are not looked at.
 * @param name the name of the log in the store
 * @throws {JournalError} `missing_log`, `changed_log`; or the log is damaged before that record
 * @throws {JournalStoreError} `invalid_name`, `unavailable`
 */
export async function readLogHistory(store: Pick<JournalStore, "read">, name: string, base: JournalBase): Promise<LogHistory> {
  const parts = await store.read(name)
  if (parts === undefined) throw missingLog(base)
  const log = await ThreadLog.read(parts, base.records)
  const { place } = log
  if (place.records !== base.records || place.checksum !== base.checksum) throw changedLog(base)
  return logHistory(name, place, log)
}

/** The history of a log as a journal refers to it. */
export function logHistory(name: string, place: LogPlace, { messages, history: events, newestSurface: surface }: ThreadLog): LogHistory {
  return { log: name.slice(name.lastIndexOf("/") + 1), ...place, messages: messages.toArray(), events, ...(surface !== undefined && { surface }) }
}
