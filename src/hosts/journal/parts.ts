import { journalLineValidation } from "../../checks/records.ts"
import { type Journal, JournalReader, type JournalReaderOptions, type JournalValidation } from "../../replay/journal.ts"
import { encodeAscii } from "./encode-ascii.ts"

/** Joins the parts of a text that is known to be short. */
export async function textOf(parts: AsyncIterable<string> | undefined): Promise<string> {
  let text = ""
  if (parts !== undefined) for await (const part of parts) text += part
  return text
}

/** A reader of journals as fast as the platform allows, which checks every record. */
export function journalReader(): JournalReader {
  return new JournalReader(journalLineValidation, undefined, { encode: encodeAscii })
}

/** Reads a journal from the parts of its text. `journal` is `undefined` if it is empty or ends in its first line. */
export async function readJournalParts(
  parts: AsyncIterable<string>,
  validation?: JournalValidation,
  options: Pick<JournalReaderOptions, "defersRecords"> = {},
): Promise<{ readonly journal: Journal | undefined; readonly length: number }> {
  const reader = new JournalReader(validation, undefined, { encode: encodeAscii, ...options })
  for await (const part of parts) reader.push(part)
  return { journal: reader.isUnfinishedHeader ? undefined : reader.end(), length: reader.length }
}

/** The beginning of a text. `length` in characters. */
export async function* firstChars(parts: AsyncIterable<string>, length: number): AsyncGenerator<string, void, undefined> {
  let left = length
  if (left === 0) return
  for await (const part of parts) {
    yield part.slice(0, left)
    left -= part.length
    if (left <= 0) return
  }
}

/** Length of the first line of a text with its newline, in characters; of the whole text if it has no newline. */
export async function firstLineLength(parts: AsyncIterable<string>): Promise<number> {
  let length = 0
  for await (const part of parts) {
    const newline = part.indexOf("\n")
    if (newline >= 0) return length + newline + 1
    length += part.length
  }
  return length
}

/** The last line that has its newline; "" without one. */
export async function lastLine(parts: AsyncIterable<string>): Promise<string> {
  // Since the beginning of that line.
  let tail = ""
  for await (const part of parts) {
    const text = tail + part
    const end = text.lastIndexOf("\n")
    tail = end <= 0 ? text : text.slice(text.lastIndexOf("\n", end - 1) + 1)
  }
  return tail.slice(0, tail.indexOf("\n") + 1)
}

/** Characters of a part that is worth a write. */
const CHUNK_CHARS = 2 ** 18

/** The same text in longer parts. */
export async function* inChunks(parts: AsyncIterable<string> | Iterable<string>): AsyncGenerator<string, void, undefined> {
  let pending: string[] = []
  let length = 0
  for await (const part of parts) {
    if (part === "") continue
    pending.push(part)
    length += part.length
    if (length < CHUNK_CHARS) continue
    yield pending.join("")
    pending = []
    length = 0
  }
  if (length > 0) yield pending.join("")
}
