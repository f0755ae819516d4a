import { cutText, formatCount, plainText, plural } from "../terminal/format.ts"
import type { SearchResult } from "../workspace/text-search.ts"
import type { FileText } from "../workspace/tools.ts"
import { AROUND, type Evidence } from "./survey.ts"
import { type Hit, holds } from "./windows.ts"

/** The most hits that a report shows with surrounding lines; further hits are listed without. */
export const MAX_BLOCKS = 200
export const MAX_SHOWN_LENGTH = 200

/** Formats any text as inline code. */
export function code(text: string): string {
  const plain = plainText(text).replace(/\s+/g, " ")
  const longest = Math.max(0, ...[...plain.matchAll(/`+/g)].map((run) => run[0].length))
  const fence = "`".repeat(longest + 1)
  const space = plain.startsWith("`") || plain.endsWith("`") || plain === "" ? " " : ""
  return `${fence}${space}${plain}${space}${fence}`
}

/** Escapes a text for a line of prose, so that nothing in it is Markdown or HTML. */
export function prose(text: string): string {
  return plainText(text)
    .replace(/\s+/g, " ")
    .trim()
    .replace(/[\\`*_[\]<>|#~$]/g, "\\$&")
}

/** Formats the lines around a hit as a block with line numbers, with the hit marked; `undefined` if they were not read. */
export function surroundings(hit: Hit, readings: readonly FileText[]): string | undefined {
  const reading = readings.find(({ path, fromLine, toLine }) => holds({ path, fromLine, toLine }, hit))
  if (reading === undefined) return undefined
  const first = Math.max(reading.fromLine, hit.line - AROUND)
  const last = Math.min(reading.toLine, hit.line + AROUND)
  const width = String(last).length
  const lines = reading.text.split("\n").slice(first - reading.fromLine, last - reading.fromLine + 1)
  const shown = lines.map((line, index) => {
    const number = first + index
    return `${number === hit.line ? ">" : " "} ${String(number).padStart(width)} | ${cutText(plainText(line), MAX_SHOWN_LENGTH)}`.trimEnd()
  })
  const longest = Math.max(0, ...shown.flatMap((line) => [...line.matchAll(/`+/g)].map((run) => run[0].length)))
  const fence = "`".repeat(Math.max(3, longest + 1))
  return [`${fence}text`, ...shown, fence].join("\n")
}

/** Groups items by file, in the order in which the files first occur. */
export function byFile<Item extends { readonly path: string }>(items: readonly Item[]): ReadonlyMap<string, readonly Item[]> {
  const groups = new Map<string, Item[]>()
  for (const item of items) {
    const group = groups.get(item.path)
    if (group === undefined) groups.set(item.path, [item])
    else group.push(item)
  }
  return groups
}

/** Counts the files that a survey searched. */
export function searchedFiles(evidence: Evidence<Hit>): number {
  return firstOf(evidence)?.filesSearched ?? 0
}

/** Counts the lines that the searches counted but did not return, because there were too many. */
export function unlistedLines({ results }: Evidence<Hit>): number {
  return results.reduce((sum, result) => sum + (result === undefined ? 0 : result.totalMatches - result.matches.length), 0)
}

/** Describes what a report omits, one line each, so that no reader mistakes it for complete. */
export function omissions(evidence: Evidence<Hit>): readonly string[] {
  const { list, results, unreadPlaces, failures } = evidence
  const notes: string[] = []
  const skipped = firstOf(evidence)?.skipped
  if (list.skippedFolders.length > 0) notes.push(`Folders skipped: ${list.skippedFolders.map(code).join(", ")}.`)
  if (list.skippedLinks > 0) notes.push(`Links not followed: ${formatCount(list.skippedLinks)}.`)
  if (skipped !== undefined && skipped.binary > 0) notes.push(`Binary files: ${formatCount(skipped.binary)}.`)
  if (skipped !== undefined && skipped.tooLarge.length > 0) notes.push(`Files too large to search: ${skipped.tooLarge.map(code).join(", ")}.`)
  if (skipped !== undefined && skipped.unreadable > 0) notes.push(`Files and folders that could not be read: ${formatCount(skipped.unreadable)}.`)
  for (const cut of new Set(results.flatMap((result) => (result?.cut === undefined ? [] : [result.cut])))) notes.push(cut)
  if (unreadPlaces > 0) notes.push(`${plural(unreadPlaces, "place")} more ${unreadPlaces === 1 ? "is" : "are"} listed without surrounding lines.`)
  for (const failure of failures) notes.push(`A tool failed: ${code(failure)}`)
  return notes
}

/** All searches cover the same files, so any result has the figures. */
function firstOf({ results }: Evidence<Hit>): SearchResult | undefined {
  return results.find((result) => result !== undefined)
}
