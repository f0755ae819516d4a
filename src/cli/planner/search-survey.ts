import { formatCount, oneLine, plural } from "../terminal/format.ts"
import { byCodePoint } from "../workspace/code-points.ts"
import type { SearchResult } from "../workspace/text-search.ts"
import { WHAT_I_AM } from "./planned-step.ts"
import { byFile, code, MAX_BLOCKS, omissions, prose, searchedFiles, surroundings } from "./report.ts"
import type { Evidence, Survey } from "./survey.ts"
import type { Hit } from "./windows.ts"

/** Finds lines that contain one of the phrases, and reports them with the surrounding lines. */
export function searchSurvey(phrases: readonly string[], task: string): Survey<Hit> {
  const subject = phrases.map((phrase) => `"${oneLine(phrase)}"`).join(", ")
  return {
    reportName: "search-report",
    subject,
    searches: phrases.map((phrase) => ({ texts: [phrase], wholeWord: false, ignoreCase: true })),
    find: mergeMatches,
    byImportance: (found) => mostFoundFirst(found),
    report: (evidence) => report(evidence, phrases, task),
    summary: (evidence) => `${WHAT_I_AM} I searched ${plural(searchedFiles(evidence), "file")} for ${figures(evidence, phrases)}.`,
  }
}

function mergeMatches(results: readonly SearchResult[]): readonly Hit[] {
  const hits = new Map<string, Hit>()
  for (const match of results.flatMap((result) => result.matches)) hits.set(`${match.line}:${match.path}`, match)
  return [...hits.values()].sort((left, right) => byCodePoint(left.path, right.path) || left.line - right.line)
}

/** Files with many hits come first: they are the most likely to answer the task. */
function mostFoundFirst(found: readonly Hit[]): readonly Hit[] {
  return [...byFile(found).values()].sort((left, right) => right.length - left.length).flat()
}

function figures({ results }: Evidence<Hit>, phrases: readonly string[]): string {
  return phrases
    .map((phrase, index) => {
      const result = results[index]
      if (result === undefined) return `"${oneLine(phrase)}" (not searched)`
      const where = result.totalMatches === 0 ? "not found" : `${plural(result.totalMatches, "line")} in ${plural(result.filesWithMatches, "file")}`
      return `"${oneLine(phrase)}" (${where})`
    })
    .join(", ")
}

function report(evidence: Evidence<Hit>, phrases: readonly string[], task: string): string {
  const { found, list, results, readings } = evidence
  const sections = [
    `# Search in ${prose(list.root)}`,
    `Task: ${prose(task)}`,
    `The search ignored case. Files searched: ${formatCount(searchedFiles(evidence))}.`,
    ["| Searched | Lines | Files |", "|---|---:|---:|", ...phrases.map((phrase, index) => tableRow(phrase, results[index]))].join("\n"),
  ]
  let blocks = 0
  for (const [path, hits] of byFile(found)) {
    sections.push(`## ${code(path)}`)
    const bare: string[] = []
    for (const hit of hits) {
      const block = blocks < MAX_BLOCKS ? surroundings(hit, readings) : undefined
      if (block === undefined) bare.push(`- line ${formatCount(hit.line)}: ${code(hit.text.trim())}`)
      else {
        blocks += 1
        sections.push(`**Line ${hit.line}**`, block)
      }
    }
    if (bare.length > 0) sections.push(bare.join("\n"))
  }
  const notes = omissions(evidence)
  if (notes.length > 0) sections.push(`## Omitted\n\n${notes.map((note) => `- ${note}`).join("\n")}`)
  return `${sections.join("\n\n")}\n`
}

function tableRow(phrase: string, result: SearchResult | undefined): string {
  const name = code(phrase).replaceAll("|", "\\|")
  return result === undefined
    ? `| ${name} | not searched | |`
    : `| ${name} | ${formatCount(result.totalMatches)} | ${formatCount(result.filesWithMatches)} |`
}
