import type { TurnCheckpoint } from "../wire/checkpoint.ts"
import type { JournalRecord } from "../wire/journal.ts"

/**
 * Shortens the snapshots of one journal, in their order. One that `continues` has on its line only the messages and events after those of the
 * snapshot before it, so that a journal with many snapshots of held calls grows by what is said. In memory, a snapshot is always whole.
 */
export class SnapshotLines {
  #last: TurnCheckpoint | undefined

  /** `last`: the snapshot that the journal has last. */
  constructor(last?: JournalRecord) {
    this.note(last)
  }

  /** Notes a record that is written. */
  note(record: JournalRecord | undefined): void {
    if (record?.type === "snapshot") this.#last = record.checkpoint
  }

  /** The record as its line has it. A snapshot that does not continue the one before it is written in full. */
  short(record: JournalRecord): JournalRecord {
    if (record.type !== "snapshot" || record.continues !== true) return record
    const { checkpoint } = record
    const { messages, events } = checkpoint
    const last = this.#last
    if (last === undefined || !beginsWith(messages, last.messages) || !beginsWith(events, last.events)) return { type: "snapshot", checkpoint }
    const added = { messages: messages.slice(last.messages.length), events: events.slice(last.events.length) }
    return { ...record, checkpoint: { ...checkpoint, ...added } }
  }

  /** The record of a line, in full. `undefined`: a snapshot that continues one that the journal does not have. */
  whole(record: JournalRecord): JournalRecord | undefined {
    if (record.type !== "snapshot" || record.continues !== true) return record
    const last = this.#last
    if (last === undefined) return undefined
    const { checkpoint } = record
    const { messages, events } = checkpoint
    return { ...record, checkpoint: { ...checkpoint, messages: [...last.messages, ...messages], events: [...last.events, ...events] } }
  }
}

/** Whether a list begins with the items of another. Most are the same objects. */
function beginsWith(list: readonly unknown[], beginning: readonly unknown[]): boolean {
  return (
    beginning.length <= list.length && beginning.every((item, index) => item === list[index] || JSON.stringify(item) === JSON.stringify(list[index]))
  )
}
