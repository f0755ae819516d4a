import { JournalError } from "../errors.ts"
import type { JournalHeader, JournalRecord } from "../wire/journal.ts"
import { Hash } from "./hash.ts"

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
   * The journal in this version, if an older one was migrated when it was read: `length` and every `end` are positions in this text.
   * Replace the stored text with it before you append. `undefined`: the text was of this version.
   */
  readonly migratedText?: string
}

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

/** Makes the lines of a journal: from its beginning, or from the end of one that was read. */
export class JournalWriter<Line extends object = JournalRecord> {
  #checksum: string

  constructor(journal?: Pick<Journal, "checksum">) {
    this.#checksum = journal?.checksum ?? ""
  }

  /** The checksum of the last line; "" before the first. */
  get checksum(): string {
    return this.#checksum
  }

  /** The next line, with its newline. Append it unchanged, after the line made before it. */
  line(record: Line, fingerprint?: string): string {
    // One flat text, which is read faster than the pieces of a joined one.
    const json = JSON.stringify(fingerprint === undefined ? [record] : [record, fingerprint])
    this.#checksum = checksum(this.#checksum, json, 1, json.length)
    return `["${this.#checksum}",${json.slice(1)}\n`
  }
}

/** The checksum of the part of a line after its own checksum, and of the checksum before. */
function checksum(before: string, text: string, start: number, end: number): string {
  return new Hash().text(0, before).text(0, text, start, end).short()
}

/**
 * Reads a journal of this version or an older one. A last line without its newline is unfinished and left out; `droppedLength` is its length.
 * @param validation checks every record. Absent: records are trusted to have their declared types
 * @throws {JournalError} `not_a_journal`, `unsupported_version`, `damaged_record`, `invalid_record`. The records before are whole
 */
export function readJournal(text: string, validation?: JournalValidation, migrations: JournalMigrations = MIGRATIONS): Journal {
  let header: JournalHeader | undefined
  const entries: JournalEntry[] = []
  const format: RecordFormat<JournalRecord> = { format: FORMAT, version: VERSION, name: "journal", validation, migrations }
  let recordedVersion = VERSION as number
  let hasBeginning = true
  const next = (): number => entries.length + 2 + (header?.dropped ?? 0)
  const end = readLines(text, (line, position) => {
    const number = header === undefined ? 1 : next()
    // Without its snapshot, a compacted journal is lost.
    const intact = hasBeginning ? position : 0
    if (line === undefined && number === 1) refuseOtherVersion(text, format)
    if (line === undefined) throw damagedRecord("journal", number, intact)
    if (number === 1) recordedVersion = checkHeader(line.record, format)
    const record = checkRecord(migrated(line.record, recordedVersion, format, number, intact), format, number, intact)
    if (header !== undefined) entries.push({ number, record, fingerprint: line.fingerprint, end: line.end })
    else header = asHeader(record)
    hasBeginning = record.type === "snapshot" || (record.type === "header" ? record.dropped === undefined : hasBeginning)
  })
  if (header === undefined) throw new JournalError("not_a_journal", 1, 0, "Not a journal: it does not have a whole first line.")
  if (!hasBeginning) throw damagedRecord("journal", next(), 0)
  const droppedLength = text.length - end.length
  return recordedVersion === VERSION ? { header, entries, ...end, droppedLength } : { ...rewritten(header, entries), droppedLength }
}

/** The records of an older journal as a journal of this version. */
function rewritten(header: JournalHeader, old: readonly JournalEntry[]): Omit<Journal, "droppedLength"> {
  const writer = new JournalWriter()
  let migratedText = writer.line(header)
  const entries: JournalEntry[] = []
  for (const { number, record, fingerprint } of old) {
    migratedText += writer.line(record, fingerprint)
    entries.push({ number, record, fingerprint, end: migratedText.length })
  }
  return { header, entries, checksum: writer.checksum, length: migratedText.length, migratedText }
}

/**
 * Reads the whole lines of a text and calls `onLine` with each. Returns the last checksum and the length of the lines read. A
 * line that is damaged, missing or out of place is `undefined`, and the last one read.
 */
export function readLines(text: string, onLine: (line: JournalLine | undefined, position: number) => void): Pick<Journal, "checksum" | "length"> {
  let checksum = ""
  let length = 0
  for (let newline = text.indexOf("\n"); newline >= 0; newline = text.indexOf("\n", length)) {
    const line = readLine(text, length, newline, checksum)
    onLine(line, length)
    if (line === undefined) break
    checksum = line.checksum
    length = line.end
  }
  return { checksum, length }
}

/** Whether a text is an unfinished first line of that format. Such a journal has no records, so it may be started again. */
export function isUnfinishedHeader(text: string, format: string = FORMAT): boolean {
  const beginning = `",{"type":"header","format":"${format}"`
  const [, rest] = /^\[?"?[0-9a-f]{0,8}(.*)$/s.exec(text) ?? []
  if (rest === undefined || text.includes("\n")) return false
  return rest === "" ? '["'.startsWith(text) || text.startsWith('["') : beginning.startsWith(rest) || rest.startsWith(beginning)
}

/** One whole line. `end`: length of the text up to and including it, in characters. */
export interface JournalLine {
  readonly checksum: string
  readonly record: unknown
  readonly fingerprint: string | undefined
  readonly end: number
}

function readLine(text: string, start: number, newline: number, before: string): JournalLine | undefined {
  const own = checksum(before, text, start + CHECKSUM_LENGTH, newline)
  if (!text.startsWith(`["${own}",`, start)) return undefined
  try {
    const [, record, fingerprint] = JSON.parse(text.slice(start, newline)) as readonly [unknown, unknown, unknown]
    return { checksum: own, record, fingerprint: typeof fingerprint === "string" ? fingerprint : undefined, end: newline + 1 }
  } catch {
    return undefined
  }
}

/** Characters of a line up to what its checksum covers: `["01234567",`. */
const CHECKSUM_LENGTH = 12

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

/** Another version may have other checksums, so its header looks damaged. */
function refuseOtherVersion(text: string, format: RecordFormat<unknown>): void {
  let record: unknown
  try {
    record = (JSON.parse(text.slice(0, text.indexOf("\n"))) as readonly unknown[] | null)?.[1]
  } catch {
    return
  }
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
 * compacted journal can be resumed, and replayed from that snapshot.
 */
export function compacted(journal: Journal): string {
  const { header, entries } = journal
  const last = lastSnapshot(entries)
  const snapshot = entries[last]
  const writer = new JournalWriter()
  const lines = (list: readonly JournalEntry[]): string => list.map(({ record, fingerprint }) => writer.line(record, fingerprint)).join("")
  if (snapshot === undefined) return writer.line(header) + lines(entries)
  // Calls that started before the snapshot and do not have a result in it may have taken effect.
  const started = entries.slice(0, last).filter(({ record }) => record.type === "call_started" && isOutstanding(snapshot.record, record.effectId))
  const dropped = snapshot.number - started.length - 2
  return writer.line({ ...header, ...(dropped > 0 && { dropped }) }) + lines([...started, ...entries.slice(last)])
}

/** The index of the last snapshot among the entries; -1 if there is none. */
export function lastSnapshot(entries: readonly JournalEntry[]): number {
  let index = entries.length - 1
  while (index >= 0 && entries[index]?.record.type !== "snapshot") index -= 1
  return index
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
