import { formatCount, plural } from "../terminal/format.ts"
import type { SearchResult } from "../workspace/text-search.ts"
import { code } from "./markdown.ts"
import type { Evidence } from "./survey.ts"
import type { Hit } from "./windows.ts"

/** How many files a survey searched. */
export function searchedFiles(evidence: Evidence<Hit>): number {
  return firstOf(evidence)?.filesSearched ?? 0
}

/** How many lines the searches counted but did not tell, because there were too many. */
export function untoldLines({ results }: Evidence<Hit>): number {
  return results.reduce((sum, result) => sum + (result === undefined ? 0 : result.totalMatches - result.matches.length), 0)
}

/** What a report did not look at or does not show, one line each; nobody should take it for complete where it is not. */
export function leftOut(evidence: Evidence<Hit>): readonly string[] {
  const { list, results, unreadPlaces, failures } = evidence
  const notes: string[] = []
  const skipped = firstOf(evidence)?.skipped
  if (list.skippedFolders.length > 0) notes.push(`Folders passed by: ${list.skippedFolders.map(code).join(", ")}.`)
  if (list.skippedLinks > 0) notes.push(`Links not followed: ${formatCount(list.skippedLinks)}.`)
  if (skipped !== undefined && skipped.binary > 0) notes.push(`Files that hold no text: ${formatCount(skipped.binary)}.`)
  if (skipped !== undefined && skipped.tooLarge.length > 0) notes.push(`Files too large to search: ${skipped.tooLarge.map(code).join(", ")}.`)
  if (skipped !== undefined && skipped.unreadable > 0) notes.push(`Files and folders that could not be read: ${formatCount(skipped.unreadable)}.`)
  for (const cut of new Set(results.flatMap((result) => (result?.cut === undefined ? [] : [result.cut])))) notes.push(cut)
  if (unreadPlaces > 0) notes.push(`${plural(unreadPlaces, "place")} more ${unreadPlaces === 1 ? "is" : "are"} listed without the lines around.`)
  for (const failure of failures) notes.push(`A tool failed: ${code(failure)}`)
  return notes
}

/** All searches go through the same files, so any of them tells which these were. */
function firstOf({ results }: Evidence<Hit>): SearchResult | undefined {
  return results.find((result) => result !== undefined)
}
