import { History } from "../../machine/history.ts"
import type { Journal } from "../../replay/journal.ts"
import type { JournalEntry } from "../../replay/journal-entry.ts"
import { SnapshotLines } from "../../replay/snapshot-lines.ts"
import type { HistoryRecord, Message } from "../../wire/message.ts"
import type { ViewedEntry, ViewedThread, ViewedTurn } from "../data.ts"

/** Reads the journal of a turn as the page has it. `thread`: the thread that its header refers to. */
export function journalOf({ header, entries, surface }: ViewedTurn, thread?: ViewedThread): Journal {
  const snapshots = new SnapshotLines()
  const read: JournalEntry[] = entries.map(({ number, record: given, print }) => {
    const record = snapshots.whole(given) ?? given
    snapshots.note(record)
    return { number, record, fingerprint: print, end: 0 }
  })
  const journal: Journal = { header, entries: read, checksum: "", length: 0, droppedLength: 0 }
  const { base } = header
  if (base === undefined || thread === undefined || thread.records.length < base.events) return journal
  const { log, records, checksum } = base
  const { events, messages } = historiesOf(thread)
  const history = { log, records, checksum, events: events.prefix(base.events).toArray(), messages: messages.prefix(base.messages).toArray() }
  return { ...journal, history: surface === undefined ? history : { ...history, surface } }
}

/** Shortens the snapshots of a journal: each repeats the conversation so far. */
export function viewedEntries(entries: readonly JournalEntry[], bytes: readonly number[]): readonly ViewedEntry[] {
  const snapshots = new SnapshotLines()
  return entries.map(({ number, record: given, fingerprint }, index) => {
    const record = given.type === "snapshot" ? ({ ...given, continues: true } as const) : given
    const short = snapshots.short(record)
    snapshots.note(record)
    const size = bytes[index + 1]
    return { number, record: short, ...(fingerprint !== undefined && { print: fingerprint }), ...(size !== undefined && { bytes: size }) }
  })
}

/** All turns of a thread share the storage of its history, so that what is computed for one turn serves the next. */
const histories = new WeakMap<ViewedThread, { readonly events: History<HistoryRecord>; readonly messages: History<Message> }>()

function historiesOf(thread: ViewedThread): { readonly events: History<HistoryRecord>; readonly messages: History<Message> } {
  const known = histories.get(thread)
  if (known !== undefined) return known
  const events = History.of(thread.records)
  const messages = History.of(thread.records.flatMap((record) => (record.type === "conversation" ? [record.message] : [])))
  const made = { events, messages }
  histories.set(thread, made)
  return made
}
