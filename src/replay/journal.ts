import { JournalError } from "../errors.ts"
import type { JournalBase, JournalHeader, JournalRecord } from "../wire/journal.ts"
import type { HistoryRecord, Message } from "../wire/message.ts"
import { deferredEntry, recordType, shownOnLine, type UnreadLine, UnreadSnapshots } from "./deferred.ts"
import type { EncodeAscii } from "./hash.ts"
import type { JournalEntry } from "./journal-entry.ts"
import { CHECKSUM_LENGTH, checksum, type JournalLine, LineReader, type LineShown, MAX_LINE_CHARS, parsedLine } from "./lines.ts"
import { lastSection } from "./sections.ts"
import { SnapshotLines } from "./snapshot-lines.ts"

/**
 * A journal is text with one record per line: `["<checksum>",<record>]` or, for the answer to an effect,
 * `["<checksum>",<record>,"<fingerprint of the effect>"]`. The checksum of a line covers the line and the checksum before it. So
 * a flipped byte, a missing line, two lines in the wrong order and the header of another journal are all detected.
 */
export interface Journal {
  readonly header: JournalHeader
  /** All records after the header. */
  readonly entries: readonly JournalEntry[]
  /** The checksum of the last line, which the next line's checksum covers. */
  readonly checksum: string
  /** Length of the text's whole lines, in characters. A longer text ends in an unfinished line. */
  readonly length: number
  /** Length of the unfinished last line, in characters; 0 for a whole journal. */
  readonly droppedLength: number
  /**
   * The version of the text, if it was an older one: `length` and every `end` are positions in the text that {@link journalLines}
   * returns. Replace the stored text with it before you append. `undefined`: the text was of this version.
   */
  readonly migratedFrom?: number
  /** The history that the `base` of the header refers to, added by `withHistory`. Without it, such a journal cannot be replayed. */
  readonly history?: LogHistory
}

/** The history of a thread as its log has it up to one of its records. */
export interface LogHistory extends Pick<JournalBase, "log" | "records" | "checksum"> {
  readonly messages: readonly Message[]
  readonly events: readonly HistoryRecord[]
  /** The system prompt and tools that the log has last. Absent: it has none. */
  readonly surface?: JournalHeader["surface"]
}

/** Checks one record against its schema. Throws if it does not match or has unknown keys. */
export type JournalValidation = (record: unknown) => JournalRecord

const FORMAT: JournalHeader["format"] = "turn-machine/journal"
const VERSION: JournalHeader["version"] = 2

/**
 * From each older version to the next one, for every record of a journal. The checkpoint in a snapshot is migrated here, too, so a new
 * version of checkpoints is a new version of journals.
 */
export type JournalMigrations = { readonly [version: number]: (record: Record<string, unknown>) => Record<string, unknown> }
const MIGRATIONS: JournalMigrations = {}

/** The journal that a {@link JournalWriter} continues. */
export interface WrittenLines {
  /** The checksum of the last line. */
  readonly checksum: string
  /** The number of the last record. Default: that of the last entry, or 1. */
  readonly lastNumber?: number
  readonly entries?: readonly Pick<JournalEntry, "number">[]
}

/** Makes the lines of a journal: from its beginning, or from the end of one that was read. */
export class JournalWriter<Line extends object = JournalRecord> {
  readonly #maxChars: number
  #checksum: string
  #number: number

  /** @param maxChars the longest line, in characters. At most and by default {@link MAX_LINE_CHARS} */
  constructor(journal?: WrittenLines, maxChars: number = MAX_LINE_CHARS) {
    this.#maxChars = Math.min(maxChars, MAX_LINE_CHARS)
    this.#checksum = journal?.checksum ?? ""
    this.#number = journal === undefined ? 0 : (journal.lastNumber ?? journal.entries?.at(-1)?.number ?? 1)
  }

  /** The checksum of the last line; "" before the first. */
  get checksum(): string {
    return this.#checksum
  }

  /**
   * The next line, with its newline. Append it unchanged, after the line made before it.
   * @throws {JournalError} `record_too_long`. The next line can be made as if this one had not been tried.
   */
  line(record: Line, fingerprint?: string): string {
    const number = this.#number + 1
    const json = this.#json(record, fingerprint, number)
    if (json.length + CHECKSUM_LENGTH > this.#maxChars) throw tooLong(number, this.#maxChars)
    this.#checksum = checksum(this.#checksum, json, 1, json.length)
    this.#number = number
    return `["${this.#checksum}",${json.slice(1)}\n`
  }

  /** Makes several lines that are written together. If one of them cannot be made, none was. */
  whole(make: () => string): string {
    const [checksum, number] = [this.#checksum, this.#number]
    try {
      return make()
    } catch (error) {
      this.#checksum = checksum
      this.#number = number
      throw error
    }
  }

  #json(record: Line, fingerprint: string | undefined, number: number): string {
    try {
      // One flat text, which is read faster than the pieces of a joined one.
      return JSON.stringify(fingerprint === undefined ? [record] : [record, fingerprint])
    } catch (error) {
      // A text that is longer than a string can be.
      throw error instanceof RangeError && /string length/i.test(error.message) ? tooLong(number, this.#maxChars) : error
    }
  }
}

function tooLong(number: number, maxChars: number): JournalError {
  const message = `Record ${number} of the journal would be longer than ${maxChars} characters. It was not written; the journal is unchanged.`
  return new JournalError("record_too_long", number, 0, message)
}

/**
 * Reads a journal of this version or an older one. A last line without its newline is unfinished and left out; `droppedLength` is its length.
 * @param validation checks every record. Absent: records are trusted to have their declared types
 * @throws {JournalError} `not_a_journal`, `unsupported_version`, `damaged_record`, `invalid_record`. The records before are whole
 */
export function readJournal(text: string, validation?: JournalValidation, migrations: JournalMigrations = MIGRATIONS): Journal {
  const reader = new JournalReader(validation, migrations)
  reader.push(text)
  return reader.end()
}

/** Options of a {@link JournalReader}. */
export interface JournalReaderOptions {
  /** Reads the characters of a text faster than ECMAScript can. The result is the same. */
  readonly encode?: EncodeAscii
  /**
   * True: what comes before the last snapshot is verified by its checksums, and most of its records are parsed and checked when they are first read,
   * from {@link JournalReader.end} on. Reading one may then throw `invalid_record`. Default false.
   */
  readonly defersRecords?: boolean
  /** How many characters after the last snapshot are left as text until {@link JournalReader.end} at most. Default 16,777,216. */
  readonly mostUnreadChars?: number
}

const MOST_UNREAD_CHARS = 2 ** 24

/** A record that was read, or its line. */
type ReadEntry = JournalEntry | UnreadLine

/**
 * Reads a journal by parts, so that its text may be longer than a string can be. Pure.
 *
 *     const reader = new JournalReader(journalValidation)
 *     for await (const part of parts) reader.push(part)
 *     const journal = reader.end()
 */
export class JournalReader {
  readonly #format: RecordFormat<JournalRecord>
  readonly #lines: LineReader
  #entries: ReadEntry[] = []
  /** How many entries were read. */
  #count = 0
  #header: JournalHeader | undefined
  #version = VERSION as number
  /** Whether the beginning of the turn is known. Without its snapshot, a compacted journal is lost. */
  #hasBeginning = true
  readonly #snapshots = new SnapshotLines()
  readonly #mostUnreadChars: number
  /** Characters of the lines after the last snapshot that are not parsed yet. */
  #unreadChars = 0
  /** The last snapshot that was taken. */
  #taken: JournalEntry | undefined
  /** Whether a call continued outside. What is known of it is needed at any time. */
  #hasPending = false

  /** @param validation checks every record. Absent: records are trusted to have their declared types */
  constructor(validation?: JournalValidation, migrations: JournalMigrations = MIGRATIONS, options: JournalReaderOptions = {}) {
    this.#format = { format: FORMAT, version: VERSION, name: "journal", validation, migrations }
    const { encode, defersRecords = false, mostUnreadChars = MOST_UNREAD_CHARS } = options
    this.#mostUnreadChars = mostUnreadChars
    this.#lines = new LineReader((line, position, text) => this.#read(line, position, text), MAX_LINE_CHARS, {
      ...(encode !== undefined && { encode }),
      ...(defersRecords && { show: (text) => this.#show(text) }),
    })
  }

  /**
   * Reads the next part of the text. Parts may end anywhere in a line. After an error, push nothing more.
   * @throws {JournalError} `not_a_journal`, `unsupported_version`, `damaged_record`, `invalid_record`. The records before are whole
   */
  push(part: string): void {
    this.#lines.push(part)
  }

  /** Whether the text so far is "" or an unfinished first line. Such a journal has no records, so it may be started again. */
  get isUnfinishedHeader(): boolean {
    return this.#header === undefined && isUnfinishedHeader(this.#lines.unfinished)
  }

  /** Length of the parts so far, in characters. */
  get length(): number {
    return this.#lines.length + this.#lines.unfinishedLength
  }

  /** The first record; `undefined` before it was read. */
  get header(): JournalHeader | undefined {
    return this.#header
  }

  /** Returns the entries read so far, and forgets them: for a journal that must not be in memory as a whole. {@link end} returns those after them. */
  take(): readonly JournalEntry[] {
    const entries = this.#readFrom(0)
    this.#taken = entries[lastSnapshot(entries)] ?? this.#taken
    this.#entries = []
    return entries
  }

  /** Returns the journal when all parts were read. @throws {JournalError} `not_a_journal`, `damaged_record`, `invalid_record` */
  end(): Journal {
    const header = this.#header
    if (header === undefined) throw new JournalError("not_a_journal", 1, 0, "Not a journal: it does not have a whole first line.")
    if (!this.#hasBeginning) throw damagedRecord("journal", this.#next(), 0)
    const { checksum, length, unfinishedLength: droppedLength } = this.#lines
    const last = Math.max(0, lastOfType(this.#entries, "snapshot"))
    const entries = this.#readFrom(last)
    // It may have been left as text when what follows it was read. Reading it checks it.
    entries[last]?.record
    if (this.#version === VERSION) return { header, entries, checksum, length, droppedLength }
    return { ...rewritten(header, entries), droppedLength, migratedFrom: this.#version }
  }

  #next(): number {
    return this.#count + 2 + (this.#header?.dropped ?? 0)
  }

  #read(line: JournalLine | undefined, position: number, text: string): void {
    const format = this.#format
    const number = this.#header === undefined ? 1 : this.#next()
    const intact = this.#hasBeginning ? position : 0
    if (line === undefined && number === 1) refuseOtherVersion(text, format)
    if (line === undefined && number === 1 && !text.startsWith('["'))
      throw new JournalError("not_a_journal", 1, 0, "Not a journal: its first line is not a record.")
    if (line === undefined) {
      // What is before it is called whole, so a record of it that breaks its schema is the first fault.
      for (const entry of this.#readFrom(0)) entry.record
      throw damagedRecord("journal", number, intact)
    }
    const { shown } = line
    if (shown !== undefined) {
      this.#entries.push({ number, type: shown.type, text, fingerprint: shown.fingerprint, intact, end: line.end })
      this.#count += 1
      this.#unreadChars = shown.type === "snapshot" ? 0 : this.#unreadChars + text.length
      if (this.#unreadChars > this.#mostUnreadChars) this.#readUnreadLines()
      return
    }
    if (number === 1) this.#version = checkHeader(line.record, format)
    const checked = checkRecord(migrated(line.record, this.#version, format, number, intact), format, number, intact)
    if (checked.type === "snapshot" && checked.continues === true) this.#noteUnreadSnapshot()
    const record = this.#snapshots.whole(checked)
    if (record === undefined) throw damagedRecord("journal", number, intact)
    this.#snapshots.note(record)
    if (this.#header === undefined) this.#header = asHeader(record)
    else {
      this.#entries.push({ number, record, fingerprint: line.fingerprint, end: line.end })
      this.#count += 1
    }
    this.#hasPending ||= saysPending(record)
    this.#hasBeginning = record.type === "snapshot" || (record.type === "header" ? record.dropped === undefined : this.#hasBeginning)
  }

  /** What the line of a record shows that is not parsed now. */
  #show(text: string): LineShown | undefined {
    if (this.#header === undefined || this.#version !== VERSION) return undefined
    const shown = shownOnLine(text)
    if (shown?.type === "tool_results" && this.#hasPending) return undefined
    // A compaction leaves out everything else that says which calls continued outside.
    if (shown?.type === "snapshot" && !this.#hasBeginning) return undefined
    return shown
  }

  /** The entries, of which those from an index on are parsed and checked. */
  #readFrom(index: number): readonly JournalEntry[] {
    const snapshots = new UnreadSnapshots(this.#taken)
    const read = (line: UnreadLine): JournalRecord => {
      const record = snapshots.whole(line, (unread) => this.#readUnread(unread))
      if (record === undefined) throw damagedRecord("journal", line.number, line.intact)
      return record
    }
    return this.#entries.map((entry, place) => {
      snapshots.note(entry)
      if (!("text" in entry)) return entry
      if (place < index) return deferredEntry(entry, read)
      return { number: entry.number, record: read(entry), fingerprint: entry.fingerprint, end: entry.end }
    })
  }

  /** Reads the lines after the last snapshot: a journal without one must not be in memory both as text and as records. */
  #readUnreadLines(): void {
    this.#entries = [...this.#readFrom(lastOfType(this.#entries, "snapshot") + 1)]
    this.#unreadChars = 0
  }

  /** A snapshot that is parsed at once may continue one that is not. */
  #noteUnreadSnapshot(): void {
    const last = lastOfType(this.#entries, "snapshot")
    if (last >= 0) this.#snapshots.note(this.#readFrom(last)[last]?.record)
  }

  /** Reads a line whose checksum was verified. */
  #readUnread({ number, type, text, intact }: UnreadLine): JournalRecord {
    const parsed = parsedLine(text)
    const record = parsed === undefined ? undefined : checkRecord(parsed[1], this.#format, number, intact)
    if (record?.type !== type) throw damagedRecord("journal", number, intact)
    return record
  }
}

/** The records of an older journal with their positions in its text of this version. */
function rewritten(header: JournalHeader, old: readonly JournalEntry[]): Omit<Journal, "droppedLength"> {
  const writer = new JournalWriter()
  const snapshots = new SnapshotLines()
  let length = writer.line(header).length
  const entries: JournalEntry[] = []
  for (const { number, record, fingerprint } of old) {
    length += writer.line(snapshots.short(record), fingerprint).length
    snapshots.note(record)
    entries.push({ number, record, fingerprint, end: length })
  }
  return { header, entries, checksum: writer.checksum, length }
}

/** Makes the lines of a journal again, in this version. Joined, they are the text of the journal. */
export function* journalLines({ header, entries }: Pick<Journal, "header" | "entries">): Generator<string, void, undefined> {
  const writer = new JournalWriter()
  const snapshots = new SnapshotLines()
  yield writer.line(header)
  for (const { record, fingerprint } of entries) {
    yield writer.line(snapshots.short(record), fingerprint)
    snapshots.note(record)
  }
}

/** Whether a text is an unfinished first line of that format. Such a journal has no records, so it may be started again. */
export function isUnfinishedHeader(text: string, format: string = FORMAT): boolean {
  if (text.includes("\n")) return false
  const [, rest] = /^\["[0-9a-f]{0,8}(.*)$/s.exec(text) ?? []
  if (rest === undefined) return '["'.startsWith(text)
  const beginning = `",{"type":"header","format":"${format}"`
  return beginning.startsWith(rest) || rest.startsWith(beginning)
}

/** What the header of a text of records must be, and how each record is checked. */
export interface RecordFormat<Item> {
  /** The header's `format` and `version`. */
  readonly format: string
  readonly version: number
  /** Name of such a text in messages: `journal`. */
  readonly name: string
  /** Checks one record. Absent: records are trusted to have their declared types. */
  readonly validation?: ((record: unknown) => Item) | undefined
  /** Absent: no older version is read. */
  readonly migrations?: JournalMigrations
}

/**
 * Checks one record; the first must be the header of the format.
 * @throws {JournalError} `not_a_journal`, `unsupported_version`, `invalid_record`
 */
export function checkRecord<Item>(record: unknown, format: RecordFormat<Item>, number: number, position: number): Item {
  if (number === 1) checkHeader(record, format)
  if (format.validation === undefined) return record as Item
  try {
    return format.validation(record)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    const message = `Record ${number} of the ${format.name} is not damaged but does not match its schema: ${why}`
    throw new JournalError("invalid_record", number, position, message, { cause })
  }
}

/**
 * Returns the version of a text of records, which this package reads.
 * @throws {JournalError} `not_a_journal`, `unsupported_version`
 */
function checkHeader(record: unknown, { format, version, name, migrations = {} }: RecordFormat<unknown>): number {
  const header = (record ?? {}) as { readonly type?: unknown; readonly format?: unknown; readonly version?: unknown }
  if (header.type !== "header" || header.format !== format)
    throw new JournalError("not_a_journal", 1, 0, `Not a ${name}: its first record is not a header of "${format}".`)
  const found = header.version
  if (typeof found === "number" && isReadable(found, version, migrations)) return found
  const remedy = typeof found === "number" && found > version ? "Update turn-machine." : "Use the release that wrote it."
  const message = `The ${name} has version ${JSON.stringify(found) ?? "undefined"}; this package reads version ${version}. ${remedy}`
  throw new JournalError("unsupported_version", 1, 0, message)
}

/** Whether a version is the current one, or there is a migration for each step to it. */
function isReadable(found: number, version: number, migrations: JournalMigrations): boolean {
  for (let step = found; step < version; step += 1) if (!Object.hasOwn(migrations, step)) return false
  return found <= version
}

/** Another version may have other checksums, so its header looks damaged. `text`: the first line. */
function refuseOtherVersion(text: string, format: RecordFormat<unknown>): void {
  const record = parsedLine(text)?.[1]
  const header = (record ?? {}) as { readonly type?: unknown; readonly format?: unknown; readonly version?: unknown }
  if (header.type === "header" && header.format === format.format && header.version !== format.version) checkHeader(record, format)
}

/** A record of an older version as one of the current version. @throws {JournalError} `invalid_record` */
function migrated(
  record: unknown,
  from: number,
  { version, name, migrations = {} }: RecordFormat<unknown>,
  number: number,
  position: number,
): unknown {
  let result = record
  for (let step = from; step < version; step += 1) {
    try {
      result = migrations[step]?.(result as Record<string, unknown>)
      if (number === 1) result = { ...(result as object), version: step + 1 }
    } catch (cause) {
      const message = `Record ${number} of the ${name} cannot be migrated from version ${step} to ${step + 1}.`
      throw new JournalError("invalid_record", number, position, message, { cause })
    }
  }
  return result
}

function asHeader(record: JournalRecord): JournalHeader {
  if (record.type === "header") return record
  throw new JournalError("not_a_journal", 1, 0, "Not a journal: its first record is not a header.")
}

/**
 * Returns the text of a journal without the records that its last snapshot replaces; the same text if it has no snapshot. The
 * compacted journal can be resumed, and replayed from that snapshot. Its header names the configuration at that snapshot. For a long
 * journal, see {@link compactedJournal}.
 */
export function compacted(journal: Journal): string {
  return [...journalLines(compactedJournal(journal))].join("")
}

/** The records of a journal without those that its last snapshot replaces. {@link journalLines} makes their text. */
export function compactedJournal({ header, entries }: Pick<Journal, "header" | "entries">): Pick<Journal, "header" | "entries"> {
  const last = lastSnapshot(entries)
  const snapshot = entries[last]
  if (snapshot === undefined) return { header, entries }
  // Calls that started before the snapshot and do not have a result in it may have taken effect, and their children have their tokens.
  const before = entries.slice(0, last)
  // The next run links to the span of the last one.
  const traced = before.filter(({ record }) => record.type === "traced").at(-1)
  const kept = before.filter(
    (entry) =>
      entry === traced ||
      ((entry.record.type === "call_started" || entry.record.type === "child_granted") && isOutstanding(snapshot.record, entry.record.effectId)),
  )
  const dropped = snapshot.number - kept.length - 2
  // A section begins with a snapshot, so none begins after the last one.
  const { driver, config } = lastSection({ header, entries })
  return { header: { ...header, driver, config, ...(dropped > 0 && { dropped }) }, entries: [...kept, ...entries.slice(last)] }
}

/** The index of the last snapshot among the entries; -1 if there is none. */
export function lastSnapshot(entries: readonly JournalEntry[]): number {
  return lastOfType(entries, "snapshot")
}

/** The index of the last entry whose record has that type; -1 if there is none. */
export function lastOfType(entries: readonly ReadEntry[], type: string): number {
  let index = entries.length - 1
  for (; index >= 0; index -= 1) {
    const entry = entries[index] as ReadEntry
    if (("text" in entry ? entry.type : recordType(entry)) === type) break
  }
  return index
}

/** Whether a record says that a call continued outside. */
function saysPending(record: JournalRecord): boolean {
  if (record.type !== "snapshot") return record.type === "tool_pending"
  const { state } = record.checkpoint
  return state.type === "waiting_tools" && state.pending !== undefined
}

function isOutstanding(record: JournalRecord, effectId: number): boolean {
  const state = record.type === "snapshot" ? record.checkpoint.state : undefined
  return state !== undefined && "outstanding" in state && state.outstanding.id === effectId
}

/** The error of a line that is damaged, missing or out of place. `position`: length of the records before it, in characters. */
export function damagedRecord(name: string, number: number, position: number): JournalError {
  const rest = position === 0 ? `The ${name} cannot be resumed.` : `The records before it (${position} characters) are whole.`
  const message = `Record ${number} of the ${name} is damaged, missing or out of place. ${rest}`
  return new JournalError("damaged_record", number, position, message)
}
