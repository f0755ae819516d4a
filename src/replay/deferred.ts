import { Given } from "../lazy.ts"
import type { TurnCheckpoint } from "../wire/checkpoint.ts"
import type { JournalRecord } from "../wire/journal.ts"
import type { JournalEntry } from "./journal-entry.ts"

/**
 * Records of a journal that are parsed when they are first read. Resuming a turn needs its last snapshot and what follows it. Of the lines before
 * it, the checksums are verified, and these records are left as text.
 */

/** A line whose checksum was verified. */
export interface UnreadLine {
  readonly number: number
  /** The type that the record begins with. */
  readonly type: string
  readonly text: string
  readonly fingerprint: string | undefined
  /** How much of the text before the line is a journal, and where the line ends, in characters. */
  readonly intact: number
  readonly end: number
}

/** Parses and checks the record of a line. Throws what reading the line at once would have thrown. */
export type ReadRecord = (line: UnreadLine) => JournalRecord

/** Where the type of a record begins on its line: `["01234567",{"type":"`. */
const TYPE_AT = 21
const TYPE = '{"type":"'
/** `,"0123456789abcdef"]` */
const FINGERPRINT_LENGTH = 20
const QUOTE = 0x22

/** The types that say nothing that a turn after a later snapshot needs, the most frequent ones first. */
const DEFERRED: readonly string[] = ["llm_complete", "tool_results", "checkpoint_delivery", "exec_result", "effect", "snapshot"]

/**
 * What the line of a record that can be deferred shows without being parsed; `undefined`: parse it now. `text`: the line without its newline. A line that is
 * not written as a {@link JournalWriter} writes it is not deferred.
 */
export function shownOnLine(text: string): Pick<UnreadLine, "type" | "fingerprint"> | undefined {
  const type = deferredType(text)
  if (type === undefined) return undefined
  if (text.endsWith("}]")) return { type, fingerprint: undefined }
  const fingerprint = text.slice(2 - FINGERPRINT_LENGTH, -2)
  // A quotation mark inside would be the end of another string.
  const isWhole = text.startsWith(',"', text.length - FINGERPRINT_LENGTH) && text.endsWith('"]') && !/["\\]/.test(fingerprint)
  return isWhole ? { type, fingerprint } : undefined
}

function deferredType(text: string): string | undefined {
  if (!text.startsWith(TYPE, TYPE_AT - TYPE.length)) return undefined
  // Without a copy of it for each line.
  for (const type of DEFERRED) if (text.startsWith(type, TYPE_AT) && text.charCodeAt(TYPE_AT + type.length) === QUOTE) return type
  return undefined
}

/** An entry whose record is parsed when it is first read. To JSON and spread, it is an entry like any other. */
export function deferredEntry(line: UnreadLine, read: ReadRecord): JournalEntry {
  const { number, fingerprint, end } = line
  const entry = { number, fingerprint, end }
  Object.defineProperty(entry, "record", Deferred.RECORD)
  new Deferred(entry, line, read)
  return entry as JournalEntry & typeof entry
}

/** The type of the record of an entry, which is not parsed for it. */
export function recordType(entry: Pick<JournalEntry, "record">): string {
  return Deferred.of(entry)?.type ?? entry.record.type
}

/** Whether the record of an entry is left as text, because nothing that a resumed turn needs is in it. */
export function isDeferred(entry: Pick<JournalEntry, "record">): boolean {
  return Deferred.of(entry) !== undefined
}

const NO_MESSAGES: TurnCheckpoint["messages"] = []
const NO_EVENTS: TurnCheckpoint["events"] = []

/** The snapshots of a journal in their order, of which some are not parsed. */
export class UnreadSnapshots {
  /** The snapshot before each one that is not parsed, by its number. */
  readonly #before = new Map<number, JournalEntry | UnreadLine>()
  #last: JournalEntry | UnreadLine | undefined
  /** The snapshot that was joined last: the one before the next, for a caller that reads all records. */
  #joined: { readonly number: number; readonly checkpoint: TurnCheckpoint } | undefined

  /** `last`: the snapshot before the first entry. */
  constructor(last?: JournalEntry) {
    this.#last = last
  }

  /** Notes the next entry of the journal. */
  note(entry: JournalEntry | UnreadLine): void {
    if (("text" in entry ? entry.type : recordType(entry)) !== "snapshot") return
    if (this.#last !== undefined) this.#before.set(entry.number, this.#last)
    this.#last = entry
  }

  /**
   * The record of a line, in full. The snapshots that one continues are joined at once: joining each with the one before it would copy the
   * first messages as often as there are snapshots. `undefined`: it continues a snapshot that the journal does not have.
   */
  whole(line: UnreadLine, read: ReadRecord): JournalRecord | undefined {
    const record = read(line)
    if (record.type !== "snapshot" || record.continues !== true) return record
    const checkpoints = [record.checkpoint]
    let at: JournalEntry | UnreadLine | undefined = line
    for (let isWhole = false; !isWhole; ) {
      at = this.#before.get(at.number)
      if (at === undefined) return undefined
      if (this.#joined?.number === at.number) {
        checkpoints.unshift(this.#joined.checkpoint)
        break
      }
      const before: JournalRecord = "text" in at ? read(at) : at.record
      if (before.type !== "snapshot") return undefined
      checkpoints.unshift(before.checkpoint)
      isWhole = !("text" in at) || before.continues !== true
    }
    // `concat` copies memory.
    const messages = NO_MESSAGES.concat(...checkpoints.map((checkpoint) => checkpoint.messages))
    const events = NO_EVENTS.concat(...checkpoints.map((checkpoint) => checkpoint.events))
    const checkpoint = { ...record.checkpoint, messages, events }
    this.#joined = { number: line.number, checkpoint }
    return { ...record, checkpoint }
  }
}

class Deferred extends Given {
  #line: UnreadLine | undefined
  readonly #read: ReadRecord
  #record: JournalRecord | undefined

  constructor(target: object, line: UnreadLine, read: ReadRecord) {
    super(target)
    this.#line = line
    this.#read = read
  }

  /** The line of an entry whose record was not read yet. */
  static of(target: object): UnreadLine | undefined {
    return #line in target ? target.#line : undefined
  }

  /** One getter for all entries: each would have a shape of its own otherwise. */
  static readonly RECORD: PropertyDescriptor & ThisType<Deferred> = {
    enumerable: true,
    configurable: true,
    get() {
      if (this.#line !== undefined) {
        this.#record = this.#read(this.#line)
        this.#line = undefined
      }
      return this.#record
    },
  }
}
