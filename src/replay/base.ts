import { JournalError } from "../errors.ts"
import type { TurnCheckpoint } from "../wire/checkpoint.ts"
import type { TurnStart } from "../wire/config.ts"
import type { JournalBase, JournalHeader } from "../wire/journal.ts"
import type { Journal, LogHistory } from "./journal.ts"

/** What the header of a journal has of a history that it refers to, without `surface`. */
export function baseOf({ log, records, checksum, messages, events }: LogHistory): JournalBase {
  return { log, records, checksum, messages: messages.length, events: events.length }
}

/**
 * Adds to a journal the history that its header refers to, so that it can be replayed, resumed, verified and forked. A journal without a `base`
 * is returned as it is. Pure.
 * @throws {JournalError} `changed_log`: the history is not the one that the turn began with
 */
export function withHistory<Read extends Pick<Journal, "header">>(journal: Read, history: LogHistory): Read {
  const { base } = journal.header
  if (base === undefined) return journal
  const { records, checksum, messages, events } = baseOf(history)
  if (
    records === base.records &&
    checksum === base.checksum &&
    messages === base.messages &&
    events === base.events &&
    (base.surface !== true || history.surface !== undefined)
  )
    return { ...journal, history }
  throw changedLog(base)
}

/** The error of a log that does not have what a turn began with. */
export function changedLog({ log, records }: JournalBase): JournalError {
  const what = `the turn began with the first ${records} records of ${JSON.stringify(log)}, and they are not the same now`
  return new JournalError("changed_log", 1, 0, `The journal does not belong to this log: ${what}. Restore the log that the turn was run with.`)
}

/** The error of a journal whose log was not found, or was not read. */
export function missingLog({ log }: JournalBase, cause?: unknown): JournalError {
  const message = `The turn begins with the history of its thread, which is in ${JSON.stringify(log)} and was not found there. Put that log beside the journal, or read the journal with its store.`
  return new JournalError("missing_log", 1, 0, message, cause === undefined ? {} : { cause })
}

interface Based {
  readonly header: JournalHeader
  readonly history?: LogHistory
}

/** The history that a journal refers to; `undefined`: it has its own. @throws {JournalError} `missing_log` */
function historyOf({ header: { base }, history }: Based): LogHistory | undefined {
  if (base === undefined) return undefined
  if (history === undefined) throw missingLog(base)
  return history
}

/** What the turn of a journal began with, in full. @throws {JournalError} `missing_log` */
export function wholeStart(journal: Based): TurnStart {
  const { start } = journal.header
  const history = historyOf(journal)
  return history === undefined ? start : afterHistory(start, history)
}

/** The first system prompt and tools of a turn. @throws {JournalError} `missing_log` */
export function wholeSurface(journal: Based): JournalHeader["surface"] {
  const { base, surface } = journal.header
  if (base?.surface !== true) return surface
  return historyOf(journal)?.surface ?? surface
}

/** A start whose messages and events follow those of a history. */
export function afterHistory(start: TurnStart, { messages, events }: Pick<LogHistory, "messages" | "events">): TurnStart {
  return { ...start, messages: joined(messages, start.messages), events: joined(events, start.events ?? []) }
}

/** Without more items the list itself: a turn that begins with it shares its storage. */
function joined<Item>(list: readonly Item[], more: readonly Item[]): readonly Item[] {
  return more.length === 0 ? list : [...list, ...more]
}

/** The checkpoint of a snapshot, in full. @throws {JournalError} `missing_log` */
export function wholeCheckpoint(journal: Based, checkpoint: TurnCheckpoint): TurnCheckpoint {
  const history = historyOf(journal)
  if (history === undefined) return checkpoint
  return { ...checkpoint, messages: [...history.messages, ...checkpoint.messages], events: [...history.events, ...checkpoint.events] }
}

/** A checkpoint without the messages and events of the log that the journal refers to. */
export function shortCheckpoint(checkpoint: TurnCheckpoint, base: JournalBase | undefined): TurnCheckpoint {
  if (base === undefined) return checkpoint
  const { messages, events } = checkpoint
  return { ...checkpoint, messages: messages.slice(base.messages), events: events.slice(base.events) }
}

/**
 * The records of a journal that refers to no log: the history is in the header and in the snapshots.
 * @throws {JournalError} `missing_log`
 */
export function wholeRecords(journal: Pick<Journal, "header" | "entries" | "history">): Pick<Journal, "header" | "entries"> {
  if (historyOf(journal) === undefined) return journal
  const { base: _base, ...header } = journal.header
  const entries = journal.entries.map((entry) => {
    const { record } = entry
    return record.type === "snapshot" ? { ...entry, record: { ...record, checkpoint: wholeCheckpoint(journal, record.checkpoint) } } : entry
  })
  return { header: { ...header, start: wholeStart(journal), surface: wholeSurface(journal) }, entries }
}
