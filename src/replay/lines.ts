import type { UnreadLine } from "./deferred.ts"
import { type AsciiText, type EncodeAscii, Hash } from "./hash.ts"

/**
 * The longest line of a journal, in characters with its newline: about half of the longest string of V8, so that every line that was
 * written can be read. A journal as a whole has no limit.
 */
export const MAX_LINE_CHARS: number = 2 ** 28

/** The checksum of the part of a line after its own checksum, and of the checksum before. */
export function checksum(before: string, text: string, start: number, end: number): string {
  return new Hash().text(0, before).text(0, text, start, end).short()
}

/** As {@link checksum}, of a line of ASCII characters. */
function asciiChecksum(before: string, line: AsciiText): string {
  return new Hash().text(0, before).ascii(0, line, CHECKSUM_LENGTH).short()
}

/**
 * Receives each whole line of a text, its position, in characters, and the line itself without its newline. A line that is damaged, missing or
 * out of place is `undefined`, and the last one.
 */
export type OnLine = (line: JournalLine | undefined, position: number, text: string) => void

/** What a line shows without being parsed. */
export type LineShown = Pick<UnreadLine, "type" | "fingerprint">

/** Options of a {@link LineReader}. */
export interface LineReaderOptions {
  /** Reads the characters of a text faster than ECMAScript can. The result is the same. */
  readonly encode?: EncodeAscii
  /** The checksum of the line before the first one. */
  readonly checksum?: string
  /** What is shown by a line that is not to be parsed; `undefined`: it is parsed. */
  readonly show?: (text: string) => LineShown | undefined
}

/** Reads the whole lines of a text that arrives in parts. */
export class LineReader {
  readonly #onLine: OnLine
  readonly #maxChars: number
  readonly #options: LineReaderOptions
  #checksum = ""
  #length = 0
  #unfinished: string[] = []
  #unfinishedLength = 0
  #isBroken = false

  /**
   * @param maxChars a longer line is damaged: no journal was written with it
   */
  constructor(onLine: OnLine, maxChars: number = MAX_LINE_CHARS, options: LineReaderOptions = {}) {
    this.#checksum = options.checksum ?? ""
    this.#onLine = onLine
    this.#maxChars = maxChars
    this.#options = options
  }

  /** The checksum of the last whole line; "" before the first. */
  get checksum(): string {
    return this.#checksum
  }

  /** Length of the whole lines, in characters. */
  get length(): number {
    return this.#length
  }

  /** The text after the last whole line. */
  get unfinished(): string {
    return this.#unfinished.join("")
  }

  /** Length of the text after the last whole line, in characters. */
  get unfinishedLength(): number {
    return this.#unfinishedLength
  }

  /** Reads the next part. Throws what `onLine` throws. */
  push(part: string): void {
    if (this.#isBroken) return
    let start = 0
    for (let newline = part.indexOf("\n"); newline >= 0; newline = part.indexOf("\n", start)) {
      if (this.#unfinishedLength + newline - start >= this.#maxChars) {
        this.#break("")
        return
      }
      if (this.#unfinishedLength === 0) this.#line(part, start, newline)
      else {
        const text = this.unfinished + part.slice(start, newline)
        this.#unfinished = []
        this.#unfinishedLength = 0
        this.#line(text, 0, text.length)
      }
      if (this.#isBroken) return
      start = newline + 1
    }
    if (start === part.length) return
    this.#unfinished.push(part.slice(start))
    this.#unfinishedLength += part.length - start
    if (this.#unfinishedLength >= this.#maxChars) this.#break("")
  }

  #line(text: string, start: number, newline: number): void {
    const slice = text.slice(start, newline)
    const line = readLine(slice, this.#checksum, this.#length, this.#options)
    if (line === undefined) {
      this.#break(slice)
      return
    }
    this.#onLine(line, this.#length, slice)
    this.#checksum = line.checksum
    this.#length = line.end
  }

  #break(text: string): void {
    this.#isBroken = true
    this.#onLine(undefined, this.#length, text)
  }
}

/** One whole line. `end`: length of the text up to and including it, in characters. */
export interface JournalLine {
  readonly checksum: string
  readonly record: unknown
  readonly fingerprint: string | undefined
  readonly end: number
  /** Present: the line was not parsed. It has neither `record` nor `fingerprint`. */
  readonly shown?: LineShown
}

/** Reads a line. `position`: where it begins in the whole text. */
function readLine(text: string, before: string, position: number, { encode, show }: LineReaderOptions): JournalLine | undefined {
  const ascii = encode?.(text)
  const own = ascii === undefined ? checksum(before, text, CHECKSUM_LENGTH, text.length) : asciiChecksum(before, ascii)
  if (!text.startsWith(`["${own}",`)) return undefined
  const end = position + text.length + 1
  const shown = show?.(text)
  if (shown !== undefined) return { checksum: own, record: undefined, fingerprint: undefined, end, shown }
  const parsed = parsedLine(text)
  if (parsed === undefined) return undefined
  const fingerprint = parsed[2]
  return { checksum: own, record: parsed[1], fingerprint: typeof fingerprint === "string" ? fingerprint : undefined, end }
}

/** The items of a line: its checksum, its record and the fingerprint. `undefined`: it is not JSON. */
export function parsedLine(text: string): readonly unknown[] | undefined {
  try {
    return JSON.parse(text) as readonly unknown[]
  } catch {
    return undefined
  }
}

/** Characters of a line up to what its checksum covers: `["01234567",`. */
export const CHECKSUM_LENGTH: number = 12
