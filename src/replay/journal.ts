import { JournalError } from "../errors.ts"
import type { JournalHeader, JournalRecord } from "../schemas/journal.ts"
import { Hash } from "./hash.ts"

/**
 * A journal is text: one record a line, `["<checksum>",<record>]` or, for the answer to an effect,
 * `["<checksum>",<record>,"<fingerprint of the effect>"]`. A line's checksum covers it and the checksum before, so that a
 * flipped byte, a missing line, two in the wrong order and a header of another journal all show.
 */
export interface Journal {
  readonly header: JournalHeader
  /** All records behind the header. */
  readonly entries: readonly JournalEntry[]
  /** The checksum of the last line, with which the next one goes on. */
  readonly checksum: string
  /** How many characters are whole. A text that is longer ends in a line that was never finished. */
  readonly length: number
  /** How many characters of an unfinished last line were left out; 0 for a whole journal. */
  readonly droppedLength: number
}

/** One record with its place. */
export interface JournalEntry {
  /** Counted from 1; the header is the first. What a compaction left out is counted. */
  readonly number: number
  readonly record: JournalRecord
  /** Of the effect that the record answers. */
  readonly fingerprint: string | undefined
  /** How many characters of the text end with this record: so many are a journal of their own. */
  readonly end: number
}

/** Checks one record from outside against its schema; throws where it does not fit, or has keys that nobody knows. */
export type JournalValidation = (record: unknown) => JournalRecord

const FORMAT: JournalHeader["format"] = "turn-machine/journal"
const VERSION: JournalHeader["version"] = 1

/** Makes the lines of a journal, from its beginning or going on behind what was read of it. */
export class JournalWriter<Line extends object = JournalRecord> {
  #checksum: string

  constructor(journal?: Pick<Journal, "checksum">) {
    this.#checksum = journal?.checksum ?? ""
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
 * Reads a journal. A last line without its newline was never finished and is left out: `droppedLength` says so.
 * @param validation without it, records are trusted to have the types they are declared with
 * @throws {JournalError} `not_a_journal`, `unsupported_version`, `damaged_record`, `invalid_record`; what stands before is whole
 */
export function readJournal(text: string, validation?: JournalValidation): Journal {
  let header: JournalHeader | undefined
  const entries: JournalEntry[] = []
  let hasBeginning = true
  const next = (): number => entries.length + 2 + (header?.dropped ?? 0)
  const end = readLines(text, (line, position) => {
    const number = header === undefined ? 1 : next()
    // Of a compacted journal nothing is left without its snapshot.
    const intact = hasBeginning ? position : 0
    if (line === undefined) throw damaged(number, intact)
    const record = check(line.record, validation, number, intact)
    if (header !== undefined) entries.push({ number, record, fingerprint: line.fingerprint, end: line.end })
    else header = asHeader(record)
    hasBeginning = record.type === "snapshot" || (record.type === "header" ? record.dropped === undefined : hasBeginning)
  })
  if (header === undefined) throw new JournalError("not_a_journal", 1, 0, "Not a journal: it has no whole first line.")
  if (!hasBeginning) throw damaged(next(), 0)
  return { header, entries, ...end, droppedLength: text.length - end.length }
}

/**
 * Goes through the whole lines of a text, and gives the last checksum and how many characters were whole. A line that is
 * damaged, missing or out of place is `undefined`; nothing is read behind it.
 */
export function readLines(text: string, take: (line: JournalLine | undefined, position: number) => void): Pick<Journal, "checksum" | "length"> {
  let checksum = ""
  let length = 0
  for (let newline = text.indexOf("\n"); newline >= 0; newline = text.indexOf("\n", length)) {
    const line = readLine(text, length, newline, checksum)
    take(line, length)
    if (line === undefined) break
    checksum = line.checksum
    length = line.end
  }
  return { checksum, length }
}

/** Whether a text is the beginning of a first line of that format that was never finished: nothing is lost if it is begun anew. */
export function isUnfinishedHeader(text: string, format: string = FORMAT): boolean {
  const beginning = `",{"type":"header","format":"${format}"`
  const [, rest] = /^\[?"?[0-9a-f]{0,8}(.*)$/s.exec(text) ?? []
  if (rest === undefined || text.includes("\n")) return false
  return rest === "" ? '["'.startsWith(text) || text.startsWith('["') : beginning.startsWith(rest) || rest.startsWith(beginning)
}

/** One whole line, with how many characters of the text end with it. */
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

function check(record: unknown, validation: JournalValidation | undefined, number: number, position: number): JournalRecord {
  if (number === 1) checkFormat(record)
  if (validation === undefined) return record as JournalRecord
  try {
    return validation(record)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new JournalError("invalid_record", number, position, `Record ${number} of the journal is whole but means nothing here: ${why}`, { cause })
  }
}

function checkFormat(record: unknown): void {
  const { type, format, version } = (record ?? {}) as { readonly type?: unknown; readonly format?: unknown; readonly version?: unknown }
  if (type !== "header" || format !== FORMAT)
    throw new JournalError("not_a_journal", 1, 0, `Not a journal: its first record is no header of "${FORMAT}".`)
  if (version === VERSION) return
  throw new JournalError("unsupported_version", 1, 0, `The journal has version ${JSON.stringify(version)}; this package reads version ${VERSION}.`)
}

function asHeader(record: JournalRecord): JournalHeader {
  if (record.type === "header") return record
  throw new JournalError("not_a_journal", 1, 0, "Not a journal: its first record is no header.")
}

/**
 * The text of a journal without what its last snapshot made superfluous; the same text where there is none. Such a journal
 * can be taken up, and replayed from that snapshot on.
 */
export function compacted(journal: Journal): string {
  const { header, entries } = journal
  const last = lastSnapshot(entries)
  const snapshot = entries[last]
  const writer = new JournalWriter()
  const lines = (list: readonly JournalEntry[]): string => list.map(({ record, fingerprint }) => writer.line(record, fingerprint)).join("")
  if (snapshot === undefined) return writer.line(header) + lines(entries)
  // Calls that were begun before the snapshot and have no result in it may have happened all the same.
  const begun = entries.slice(0, last).filter(({ record }) => record.type === "call_started" && isOutstanding(snapshot.record, record.effectId))
  const dropped = snapshot.number - begun.length - 2
  return writer.line({ ...header, ...(dropped > 0 && { dropped }) }) + lines([...begun, ...entries.slice(last)])
}

/** Where the last snapshot stands among the entries; -1 if there is none. */
export function lastSnapshot(entries: readonly JournalEntry[]): number {
  let index = entries.length - 1
  while (index >= 0 && entries[index]?.record.type !== "snapshot") index -= 1
  return index
}

function isOutstanding(record: JournalRecord, effectId: number): boolean {
  const state = record.type === "snapshot" ? record.checkpoint.state : undefined
  return state !== undefined && "outstanding" in state && state.outstanding.id === effectId
}

function damaged(number: number, position: number): JournalError {
  const rest = position === 0 ? "Nothing before it can be gone on with." : `What stands before it (${position} characters) is whole.`
  const message = `Record ${number} of the journal is damaged, missing or out of place. ${rest}`
  return new JournalError("damaged_record", number, position, message)
}
