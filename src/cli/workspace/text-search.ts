import { cutText, isHighSurrogate } from "../terminal/format.ts"
import { type Folder, MAX_WALKED_FILES, type Walk } from "./folder.ts"

/** Larger files are neither read nor searched. */
export const MAX_FILE_BYTES: number = 2 * 1024 * 1024
export const MAX_MATCHES = 500
const MAX_SEARCHED_BYTES = 256 * 1024 * 1024
const MAX_MATCH_LENGTH = 300
const MAX_NAMED_FILES = 20
const FILES_AT_ONCE = 16

/** What `search_text` answers. `cut` says in words what was left out because of a limit; absent: nothing was. */
export interface SearchResult {
  readonly matches: readonly { readonly path: string; readonly line: number; readonly text: string }[]
  readonly totalMatches: number
  readonly filesWithMatches: number
  readonly filesSearched: number
  readonly skipped: { readonly binary: number; readonly tooLarge: readonly string[]; readonly unreadable: number }
  readonly cut?: string
}

/** Searches the text files of a folder, line by line, in code-point order of their paths. */
export async function searchFolder(folder: Folder, start: string, pattern: RegExp, signal: AbortSignal): Promise<SearchResult> {
  const walk = await folder.walk(start, signal)
  const tooLarge = walk.files.filter((file) => file.bytes > MAX_FILE_BYTES)
  const candidates = walk.files.filter((file) => file.bytes <= MAX_FILE_BYTES)
  const end = endWithin(candidates, MAX_SEARCHED_BYTES)

  const matches: { path: string; line: number; text: string }[] = []
  let [totalMatches, filesWithMatches, filesSearched, binary, unreadable] = [0, 0, 0, 0, walk.unreadable]
  for (let index = 0; index < end; index += FILES_AT_ONCE) {
    signal.throwIfAborted()
    const batch = candidates.slice(index, Math.min(index + FILES_AT_ONCE, end))
    const contents = await Promise.all(batch.map(({ path }) => folder.read(path, MAX_FILE_BYTES).catch(() => undefined)))
    for (const [position, { path }] of batch.entries()) {
      const content = contents[position]
      if (content === undefined) unreadable += 1
      else if (isBinary(content)) binary += 1
      else {
        filesSearched += 1
        const before = totalMatches
        for (const [position, line] of linesOf(content).entries()) {
          const found = pattern.exec(line)
          if (found === null) continue
          totalMatches += 1
          if (matches.length < MAX_MATCHES) matches.push({ path, line: position + 1, text: cutAround(line, found.index) })
        }
        if (totalMatches > before) filesWithMatches += 1
      }
    }
  }
  return {
    matches,
    totalMatches,
    filesWithMatches,
    filesSearched,
    skipped: { binary, tooLarge: tooLarge.slice(0, MAX_NAMED_FILES).map((file) => file.path), unreadable },
    ...saysCut(
      matches.length < totalMatches && `The first ${matches.length} of ${totalMatches} lines are told.`,
      tooLarge.length > 0 && `Files of more than ${MAX_FILE_BYTES} bytes were not searched: ${tooLarge.length}.`,
      end < candidates.length && `After ${MAX_SEARCHED_BYTES} bytes the search ended; not searched: ${candidates.length - end} files.`,
      walkCut(walk),
    ),
  }
}

/** A pattern for lines that hold one of the texts, as they stand. */
export function linePattern(texts: readonly string[], wholeWord: boolean, ignoreCase: boolean): RegExp {
  const either = texts.map((text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")).join("|")
  return new RegExp(wholeWord ? `(?<![\\p{L}\\p{N}_])(?:${either})(?![\\p{L}\\p{N}_])` : either, ignoreCase ? "iu" : "u")
}

export function isBinary(content: Buffer): boolean {
  return content.subarray(0, 8_000).includes(0)
}

/** The lines of a text, without their ends. An end after the last line begins no further line. */
export function linesOf(content: Buffer): readonly string[] {
  const lines = new TextDecoder().decode(content).split(/\r\n|\n|\r/)
  if (lines.at(-1) === "") lines.pop()
  return lines
}

/** The `cut` of an answer, from the notes that hold. */
export function saysCut(...notes: readonly (string | false | undefined)[]): { readonly cut?: string } {
  const said = notes.filter((note) => typeof note === "string")
  return said.length === 0 ? {} : { cut: said.join(" ") }
}

export function walkCut({ cut }: Walk): string | undefined {
  return cut ? `The folder has more than ${MAX_WALKED_FILES} files; those after the first ${MAX_WALKED_FILES} were not looked at.` : undefined
}

/** How many of the files, from the first on, stay within so many bytes. */
function endWithin(files: Walk["files"], maxBytes: number): number {
  let total = 0
  const over = files.findIndex((file) => {
    total += file.bytes
    return total > maxBytes
  })
  return over < 0 ? files.length : over
}

/** A line, or of a long one the part where the match is. */
function cutAround(line: string, index: number): string {
  if (line.length <= MAX_MATCH_LENGTH) return line
  let start = Math.max(0, Math.min(index - MAX_MATCH_LENGTH / 3, line.length - MAX_MATCH_LENGTH))
  if (start > 0 && isHighSurrogate(line.charCodeAt(start - 1))) start += 1
  return `${start > 0 ? "…" : ""}${cutText(line.slice(start), MAX_MATCH_LENGTH)}`
}
