import { formatCount, plural } from "../terminal/format.ts"
import { byCodePoint } from "../workspace/code-points.ts"
import type { SearchResult } from "../workspace/text-search.ts"
import { COMMENT_RULE, type Note, readNote } from "./comments.ts"
import { byFile, code, MAX_BLOCKS, omissions, prose, searchedFiles, surroundings, unlistedLines } from "./report.ts"
import type { Evidence, Survey } from "./survey.ts"
import type { Hit } from "./windows.ts"

interface TodoHit extends Hit {
  readonly note: Note
  readonly points: number
  readonly reasons: readonly string[]
}

const MAX_URGENT = 5
const MAX_MENTIONS = 20
const URGENT_POINTS = 3
const ALARMING =
  /(?<!\p{L})(?:asap|before (?:the )?release|blocker|broken|corrupt\w*|crash\w*|data loss|deadlock\w*|injection|leak\w*|race|secur\w*|unsafe|urgent\w*|vulnerab\w*)(?!\p{L})/iu

const URGENCY_RULE = `Points: FIXME 3, other markers 1; an alarming word (security, crash, leak, data loss, race, broken, urgent and similar) adds 3; an exclamation mark adds 1. A comment with ${URGENT_POINTS} points or more is urgent; equal points are listed in file order.`

/** Finds comments with markers such as TODO, and reports them with surrounding lines and the most urgent ones first. */
export function todoSurvey(markers: readonly string[]): Survey<TodoHit> {
  const subject = markers.join(" and ")
  return {
    reportName: "todo-report",
    subject: `${subject} in comments`,
    searches: markers.map((marker) => ({ texts: [marker], wholeWord: true, ignoreCase: false })),
    find: (results) => findNotes(results, markers),
    byImportance: (found) => mostUrgentFirst(commentsOf(found)),
    report: (evidence) => report(evidence, markers, subject),
    summary: (evidence) => {
      const comments = commentsOf(evidence.found)
      const searched = plural(searchedFiles(evidence), "file")
      const { found, failed } = searchedMarkers(evidence, markers)
      if (comments.length === 0) return `There is no ${found.join(" or ")} comment in the ${searched} I searched.${failed}`
      const files = formatCount(byFile(comments).size)
      const urgent = mostUrgent(comments).length
      const [first] = mostUrgentFirst(comments)
      const most =
        urgent === 0 || first === undefined
          ? "None is urgent by the report's rules."
          : `Most urgent: ${first.path}:${first.line} (${first.reasons.join(", ")}).`
      return `I found ${plural(comments.length, "comment")} (${counts(comments, found)}) in ${files} of the ${searched} I searched${uncounted(evidence)}. ${most}${failed}`
    },
  }
}

/** The markers that were searched, and a sentence on the others: what was not searched is not absent. */
function searchedMarkers({ results }: Evidence<TodoHit>, markers: readonly string[]): { readonly found: readonly string[]; readonly failed: string } {
  const isSearched = (_marker: string, index: number): boolean => results[index] !== undefined
  const failed = markers.filter((marker, index) => !isSearched(marker, index))
  return { found: markers.filter(isSearched), failed: failed.length === 0 ? "" : ` The search for ${failed.join(" and ")} failed.` }
}

function findNotes(results: readonly SearchResult[], markers: readonly string[]): readonly TodoHit[] {
  const hits = new Map<string, TodoHit>()
  // Two searches find a line with two markers.
  for (const { path, line, text } of results.flatMap((result) => result.matches)) {
    const note = readNote(path, text, markers)
    if (note !== undefined) hits.set(`${line}:${path}`, { path, line, text, note, ...urgency(note) })
  }
  return [...hits.values()].sort(inOrder)
}

function urgency({ marker, text }: Note): Pick<TodoHit, "points" | "reasons"> {
  const alarm = ALARMING.exec(text)?.[0]
  const loud = text.includes("!")
  const points = (marker === "FIXME" ? 3 : 1) + (alarm === undefined ? 0 : 3) + (loud ? 1 : 0)
  return { points, reasons: [marker, ...(alarm === undefined ? [] : [`says "${alarm}"`]), ...(loud ? ['has a "!"'] : [])] }
}

function commentsOf(found: readonly TodoHit[]): readonly TodoHit[] {
  return found.filter((hit) => hit.note.inComment)
}

function mostUrgentFirst(comments: readonly TodoHit[]): readonly TodoHit[] {
  return [...comments].sort((left, right) => right.points - left.points || inOrder(left, right))
}

function mostUrgent(comments: readonly TodoHit[]): readonly TodoHit[] {
  return mostUrgentFirst(comments).filter((hit) => hit.points >= URGENT_POINTS)
}

function inOrder(left: Hit, right: Hit): number {
  return byCodePoint(left.path, right.path) || left.line - right.line
}

function counts(hits: readonly TodoHit[], markers: readonly string[]): string {
  return markers.map((marker) => `${formatCount(countOf(hits, marker))} ${marker}`).join(", ")
}

function countOf(hits: readonly TodoHit[], marker: string): number {
  return hits.filter((hit) => hit.note.marker === marker).length
}

function report(evidence: Evidence<TodoHit>, markers: readonly string[], subject: string): string {
  const comments = commentsOf(evidence.found)
  const mentions = evidence.found.filter((hit) => !hit.note.inComment)
  const files = byFile(comments)
  const searched = plural(searchedFiles(evidence), "file")
  const { found, failed } = searchedMarkers(evidence, markers)
  const total =
    comments.length === 0
      ? `No ${failed === "" ? "" : `${found.join(" or ")} `}comment in ${searched}.${failed}`
      : `**${plural(comments.length, "comment")}** (${counts(comments, found)}) in ${formatCount(files.size)} of ${searched}${uncounted(evidence)}.${failed}`
  const sections = [
    `# ${subject} comments in ${prose(evidence.list.root)}`,
    total,
    ...(comments.length === 0 ? [] : [countTable(files, found), urgentSection(comments), ...commentSections(files, evidence)]),
    ...mentionSection(mentions),
    ...omissionSection(evidence),
    `## Rules\n\n- ${COMMENT_RULE}\n- ${URGENCY_RULE}`,
  ]
  return `${sections.join("\n\n")}\n`
}

function countTable(files: ReadonlyMap<string, readonly TodoHit[]>, markers: readonly string[]): string {
  const rows = [...files].map(
    ([path, hits]) => `| ${code(path).replaceAll("|", "\\|")} | ${markers.map((marker) => countOf(hits, marker)).join(" | ")} |`,
  )
  return [`| File | ${markers.join(" | ")} |`, `|---|${markers.map(() => "---:|").join("")}`, ...rows].join("\n")
}

function urgentSection(comments: readonly TodoHit[]): string {
  const urgent = mostUrgent(comments)
  if (urgent.length === 0) return "## Most urgent\n\nNothing is urgent by the rules below."
  const rows = urgent
    .slice(0, MAX_URGENT)
    .map((hit, index) => `${index + 1}. ${code(`${hit.path}:${hit.line}`)} ${noteText(hit)} (${hit.reasons.map(prose).join(", ")})`)
  const rest =
    urgent.length > MAX_URGENT
      ? `\n\n${plural(urgent.length - MAX_URGENT, "more comment")} ${urgent.length === MAX_URGENT + 1 ? "is" : "are"} urgent by the rules below.`
      : ""
  return `## Most urgent\n\n${rows.join("\n")}${rest}`
}

function commentSections(files: ReadonlyMap<string, readonly TodoHit[]>, { readings }: Evidence<TodoHit>): readonly string[] {
  const sections = ["## Comments by file"]
  let shown = 0
  for (const [path, hits] of files) {
    sections.push(`### ${code(path)}`)
    for (const hit of hits) {
      const block = shown < MAX_BLOCKS ? surroundings(hit, readings) : undefined
      shown += 1
      sections.push(`**Line ${hit.line}, ${hit.note.marker}:** ${noteText(hit)}`, ...(block === undefined ? [] : [block]))
    }
  }
  return sections
}

function mentionSection(mentions: readonly TodoHit[]): readonly string[] {
  if (mentions.length === 0) return []
  const rows = mentions.slice(0, MAX_MENTIONS).map((hit) => `- ${code(`${hit.path}:${hit.line}`)} ${code(hit.text.trim())}`)
  if (mentions.length > MAX_MENTIONS) rows.push(`- and ${formatCount(mentions.length - MAX_MENTIONS)} more`)
  return [`## Not in comments\n\nLines that only mention a marker; they are not counted above:\n\n${rows.join("\n")}`]
}

function omissionSection(evidence: Evidence<TodoHit>): readonly string[] {
  const notes = omissions(evidence)
  return notes.length === 0 ? [] : [`## Omitted\n\n${notes.map((note) => `- ${note}`).join("\n")}`]
}

function uncounted(evidence: Evidence<TodoHit>): string {
  const unlisted = unlistedLines(evidence)
  return unlisted === 0 ? "" : `; ${plural(unlisted, "more line")} with a marker ${unlisted === 1 ? "was" : "were"} not examined`
}

function noteText({ note }: TodoHit): string {
  return note.text === "" ? "*(no text)*" : prose(note.text)
}
