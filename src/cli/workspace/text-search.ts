import { cutText, isHighSurrogate } from "../terminal/format.ts"
import { type Folder, MAX_WALKED_FILES, type Walk } from "./folder.ts"
import { type LineMatcher, LineSearch } from "./line-search.ts"
import { Pace } from "./pace.ts"

/** Files above this size are neither read nor searched. */
export const MAX_FILE_BYTES: number = 2 * 1024 * 1024
export const MAX_MATCHES = 500
const MAX_SEARCHED_BYTES = 256 * 1024 * 1024
const MAX_MATCH_LENGTH = 300
const MAX_NAMED_FILES = 20
const FILES_AT_ONCE = 16
/** What opening a file costs, as characters of a search. */
const CHARACTERS_PER_FILE = 512

/** The result of `search_text`. `cut` describes what a limit left out; absent: nothing. */
export interface SearchResult {
  readonly matches: readonly { readonly path: string; readonly line: number; readonly text: string }[]
  readonly totalMatches: number
  readonly filesWithMatches: number
  readonly filesSearched: number
  readonly skipped: { readonly binary: number; readonly tooLarge: readonly string[]; readonly unreadable: number }
  readonly cut?: string
}

/**
 * Searches the text files of a folder, line by line, in code-point order of their paths. Takes time in proportion to their length, and
 * lets other work run about once a millisecond.
 */
export async function searchFolder(folder: Folder, start: string, matcher: LineMatcher, signal: AbortSignal): Promise<SearchResult> {
  const pace = new Pace(signal)
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
        const text = new TextDecoder().decode(content)
        const search = new LineSearch(matcher, text)
        while (!search.isDone) {
          search.advance(Pace.slice, (found) => {
            totalMatches += 1
            if (matches.length < MAX_MATCHES) matches.push({ path, line: found.line, text: cutAround(found.text, found.index) })
          })
          if (pace.spend(Math.min(Pace.slice, text.length) + CHARACTERS_PER_FILE)) await pace.pause()
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
    ...cutOf(
      matches.length < totalMatches && `The first ${matches.length} of ${totalMatches} lines are listed.`,
      tooLarge.length > 0 && `Files of more than ${MAX_FILE_BYTES} bytes were not searched: ${tooLarge.length}.`,
      end < candidates.length && `The search stopped after ${MAX_SEARCHED_BYTES} bytes; not searched: ${candidates.length - end} files.`,
      walkCut(walk),
    ),
  }
}

export function isBinary(content: Buffer): boolean {
  return content.subarray(0, 8_000).includes(0)
}

/** Splits a text into lines. A line break at the end does not start another line. */
export function linesOf(content: Buffer): readonly string[] {
  const lines = new TextDecoder().decode(content).split(/\r\n|\n|\r/)
  if (lines.at(-1) === "") lines.pop()
  return lines
}

/** Joins the notes that apply into the `cut` of a result. */
export function cutOf(...notes: readonly (string | false | undefined)[]): { readonly cut?: string } {
  const applying = notes.filter((note) => typeof note === "string")
  return applying.length === 0 ? {} : { cut: applying.join(" ") }
}

export function walkCut({ cut }: Walk): string | undefined {
  return cut ? `The folder has more than ${MAX_WALKED_FILES} files; only the first ${MAX_WALKED_FILES} were considered.` : undefined
}

/** Counts how many of the first files fit into a number of bytes. */
function endWithin(files: Walk["files"], maxBytes: number): number {
  let total = 0
  const over = files.findIndex((file) => {
    total += file.bytes
    return total > maxBytes
  })
  return over < 0 ? files.length : over
}

/** A line, cut to the part around the match where it is long. */
function cutAround(line: string, index: number): string {
  if (line.length <= MAX_MATCH_LENGTH) return line
  let start = Math.max(0, Math.min(index - MAX_MATCH_LENGTH / 3, line.length - MAX_MATCH_LENGTH))
  if (start > 0 && isHighSurrogate(line.charCodeAt(start - 1))) start += 1
  return `${start > 0 ? "…" : ""}${cutText(line.slice(start), MAX_MATCH_LENGTH)}`
}
