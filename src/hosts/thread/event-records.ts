import { JournalError } from "../../errors.ts"
import type { Turn } from "../../machine/turn.ts"
import type { JournalReader } from "../../replay/journal.ts"
import type { LineReader } from "../../replay/lines.ts"
import { beyondEnd, cursorOf, cursorTag, includes, isKnown, joined, positionOf, START, type ThreadPosition } from "../../replay/thread-cursor.ts"
import { type ConfigOfTurn, type PlacedEvent, ThreadEventFold } from "../../replay/thread-events.ts"
import type { ThreadRecord } from "../../schemas/thread.ts"
import type { ThreadTurnBegun } from "../../wire/thread.ts"
import type { DurableThreadEvent } from "../../wire/thread-event.ts"
import { LogLines } from "../journal/log-lines.ts"
import { journalReader } from "../journal/parts.ts"
import type { JournalStore } from "../journal/store.ts"
import { type LogTail, logReader, type ThreadLog } from "../journal/thread-log.ts"
import { logName } from "../journal/thread-names.ts"

/** The records of a thread: where they are, and how its turns are replayed. */
export interface EventSource {
  readonly store: Pick<JournalStore, "read">
  readonly threadId: string
  readonly configOf: ConfigOfTurn
  /** The log of an open thread. Absent: it is read from the store. */
  readonly log?: ThreadLog
}

/** Reads the events of a thread from its records: at first those that are stored, then texts that were appended to them. */
export class EventRecords {
  readonly #source: EventSource
  readonly #fold: ThreadEventFold
  readonly #records: ThreadRecord[]
  /** The number of the first of them, counted from 1. */
  readonly #first: number
  readonly #log: LineReader
  /** The journal of the open turn, once it was read. */
  #journal: JournalReader | undefined
  #hasHeader = false

  private constructor(source: EventSource, tail?: LogTail) {
    this.#source = source
    const { position, records = [], checksum = "" } = tail ?? {}
    this.#fold = new ThreadEventFold(source.configOf, tail)
    this.#records = [...records]
    this.#first = position?.main ?? 1
    const lines = new LogLines(tail?.undelivered)
    for (const record of records) lines.note(record)
    const add = (record: ThreadRecord): void => {
      lines.note(record)
      this.#records.push(record)
    }
    this.#log = logReader(lines, add, undefined, { records: this.#first + records.length - 1, checksum })
  }

  /** Reads the log of a thread. @throws {JournalError | JournalStoreError} */
  static async ofLog(source: EventSource): Promise<EventRecords> {
    const read = new EventRecords(source)
    const parts = await source.store.read(logName(source.threadId))
    if (parts !== undefined) for await (const part of parts) read.#log.push(part)
    return read
  }

  /**
   * What follows a position in one of the last turns of an open thread; without a position, the last turn. Its log is in memory, and not read.
   * `undefined`: the log has to be read, because the position is before them, or because a write has failed.
   */
  static async ofTail({ log, ...source }: EventSource, position?: ThreadPosition): Promise<EventRecords | undefined> {
    const tail = log?.tailAfter(position)
    if (log === undefined || tail === undefined) return undefined
    // An event that a crash could undo is not shown.
    const isStored = await log.written.then(
      () => true,
      () => false,
    )
    return isStored ? new EventRecords({ log, ...source }, tail) : undefined
  }

  /** A position for {@link read} from which only the journal of the open turn is read. */
  get lastTurn(): ThreadPosition {
    let main = 0
    for (const [index, { type }] of this.#records.entries()) if (type === "turn_begun" || type === "turn_ended") main = this.#first + index
    return { ...START, main }
  }

  /** The position after all events that were read. */
  get position(): ThreadPosition {
    return this.#fold.position
  }

  /** The open turn, as far as it was read. */
  get openTurn(): ThreadTurnBegun | undefined {
    return this.#fold.openTurn
  }

  /** The open turn as its records lead to it, as far as they were read. `undefined`: there is none, or it cannot be replayed. */
  get replayed(): Turn | undefined {
    return this.#fold.replayed
  }

  /** The id of the last model call of the open turn that has ended; 0 without one. */
  get answeredModelCall(): number {
    return this.#fold.answeredModelCall
  }

  /** What the thread's cursors begin with; `undefined` if there is no thread. */
  get tag(): string | undefined {
    const [first] = this.#records
    return first?.type === "header" ? cursorTag(first.threadId, first.at) : tagOf(this.#source)
  }

  /**
   * Returns the events of the records that were read, and of the journals of their turns. A turn that ended before `known.main` is
   * not looked at.
   * @throws {JournalError | JournalStoreError} the journal of the open turn is damaged
   */
  async *read(known: ThreadPosition): AsyncGenerator<PlacedEvent, void, undefined> {
    const records = [...this.#records]
    for (let index = 0; index < records.length; index += 1) {
      const record = records[index] as ThreadRecord
      yield* this.#fold.log(record, this.#first + index)
      if (record.type !== "turn_begun" || known.main > this.#first + index) continue
      // A message is delivered after it was accepted, so inputs that arrived during the turn come first.
      for (let next = records[index + 1]; next !== undefined && next.type !== "turn_ended"; next = records[index + 1]) {
        index += 1
        yield* this.#fold.log(next, this.#first + index)
      }
      yield* this.#readJournal(record.turnId, index + 1 < records.length)
    }
  }

  async *#readJournal(turnId: string, hasEnded: boolean): AsyncGenerator<PlacedEvent, void, undefined> {
    const parts = await this.#source.store.read(turnId)
    this.#openJournal()
    if (parts === undefined) return
    try {
      for await (const part of parts) yield* this.#pushJournal(part)
    } catch (error) {
      // The log has the messages of a turn that has ended.
      if (!hasEnded || !(error instanceof JournalError)) throw error
    }
  }

  /**
   * Returns the events of text that was appended to the log or to the journal of the open turn. Lines that were read before are left out.
   * @throws {JournalError} the text does not follow what was read
   */
  appended(name: string, text: string): readonly PlacedEvent[] {
    if (name === logName(this.#source.threadId)) {
      const before = this.#records.length
      this.#log.push(afterLine(text, this.#lastChecksum(name)))
      return this.#records.slice(before).flatMap((record, index) => {
        const events = this.#fold.log(record, this.#first + before + index)
        if (record.type === "turn_begun") this.#openJournal()
        return events
      })
    }
    if (name !== this.openTurn?.turnId || this.#journal === undefined) return []
    return [...this.#pushJournal(afterLine(text, this.#lastChecksum(name)))]
  }

  /** Whether a text has the line that was read last. */
  endsIn(name: string, text: string): boolean {
    const checksum = this.#lastChecksum(name)
    return checksum !== "" && afterLine(text, checksum) !== text
  }

  #lastChecksum(name: string): string {
    if (name === logName(this.#source.threadId)) return this.#log.checksum
    return name === this.openTurn?.turnId && this.#hasHeader ? (this.#journal?.end().checksum ?? "") : ""
  }

  #openJournal(): void {
    this.#journal = journalReader()
    this.#hasHeader = false
  }

  *#pushJournal(text: string): Generator<PlacedEvent, void, undefined> {
    const reader = this.#journal
    if (reader === undefined) return
    reader.push(text)
    const { header } = reader
    if (header === undefined) return
    if (!this.#hasHeader) yield* this.#fold.journal({ number: 1, record: header, fingerprint: undefined })
    this.#hasHeader = true
    for (const entry of reader.take()) yield* this.#fold.journal(entry)
  }
}

/** What the cursors of an open thread begin with. */
export function tagOf({ log }: Pick<EventSource, "log">): string | undefined {
  return log?.header && cursorTag(log.header.threadId, log.header.at)
}

/** The lines of a text after the one with a checksum; the whole text if none has it. */
function afterLine(text: string, checksum: string): string {
  const beginning = `["${checksum}",`
  const start = text.startsWith(beginning) ? 0 : text.indexOf(`\n${beginning}`) + 1
  if (checksum === "" || !text.startsWith(beginning, start)) return text
  const end = text.indexOf("\n", start)
  return end < 0 ? "" : text.slice(end + 1)
}

/** A place in the events of a thread, and what is known of them there. */
export class EventCursor {
  #position: ThreadPosition = START
  /** The position after the last event, which its cursor names. */
  #last: ThreadPosition = START
  #tag: string | undefined
  readonly #after: string | undefined
  #isChecked = false

  constructor(after: string | undefined) {
    this.#after = after
  }

  get position(): ThreadPosition {
    return this.#position
  }

  /** Learns which thread the cursor is of. @throws {ThreadCursorError} `invalid_cursor`, `cursor_of_other_thread`, `cursor_beyond_end` */
  belongsTo(tag: string | undefined): void {
    if (this.#tag !== undefined) return
    this.#tag = tag
    if (this.#after === undefined) return
    // Where there is no thread, at least the form is checked.
    this.#position = positionOf(tag ?? this.#after.slice(0, 8), this.#after)
    this.#last = this.#position
    if (tag === undefined) throw beyondEnd(this.#after)
  }

  /** Called when all records were read. @throws {ThreadCursorError} `cursor_beyond_end` */
  reached({ position: end, openTurn }: Pick<EventRecords, "position" | "openTurn">): void {
    const known = this.#position
    // An open turn that cannot be replayed shows its history when it ends.
    const isBeyond = known.main > end.main || known.inputs > end.inputs || (openTurn === undefined && known.places > end.places)
    if (!this.#isChecked && this.#after !== undefined && (isBeyond || (known.main === end.main && known.record > end.record)))
      throw beyondEnd(this.#after)
    this.#isChecked = true
    this.#position = joined(known, end)
  }

  /** The event with its cursor; `undefined` if it was read before. */
  next({ kind, position, content }: PlacedEvent): DurableThreadEvent | undefined {
    if (isKnown(kind, position, this.#position)) return undefined
    const own = onlyOf(kind, position)
    this.#position = joined(this.#position, own)
    this.#last = joined(this.#last, own)
    return { ...content, cursor: cursorOf(this.#tag ?? "", this.#last) } as DurableThreadEvent
  }

  /** Whether an event was not read before. */
  isNew({ kind, position }: PlacedEvent): boolean {
    return !isKnown(kind, position, this.#position)
  }

  /** Whether everything up to a position was read. */
  includes(position: ThreadPosition): boolean {
    return includes(this.#position, position)
  }
}

/** An event says nothing about events of other kinds: a reader may receive those in another order. */
function onlyOf(kind: PlacedEvent["kind"], { main, record, index, places, inputs, inputIndex }: ThreadPosition): ThreadPosition {
  if (kind === "input") return { ...START, inputs, inputIndex }
  return kind === "history" ? { ...START, places } : { ...START, main, record, index }
}

/** Yields the events after a cursor that are recorded. */
export async function* recordedEvents(
  source: EventSource,
  cursor: EventCursor,
  signal?: AbortSignal,
): AsyncGenerator<DurableThreadEvent, void, undefined> {
  const records = await recordsAfter(source, cursor)
  for await (const placed of records.read(cursor.position)) {
    if (signal?.aborted === true) return
    const event = cursor.next(placed)
    if (event !== undefined) yield event
  }
  cursor.reached(records)
}

/** The records that have what comes after a cursor: those of the last turns, or all. */
async function recordsAfter(source: EventSource, cursor: EventCursor): Promise<EventRecords> {
  const tag = tagOf(source)
  if (tag !== undefined) {
    cursor.belongsTo(tag)
    const last = await EventRecords.ofTail(source, cursor.position)
    if (last !== undefined) return last
  }
  const records = await EventRecords.ofLog(source)
  cursor.belongsTo(records.tag)
  return records
}
