import type { Json } from "../../json.ts"
import { formatCount, plural } from "../terminal/format.ts"
import { FILE_EXISTS, type Written } from "../workspace/out-folder.ts"
import type { SearchResult } from "../workspace/text-search.ts"
import type { FileList, FileText } from "../workspace/tools.ts"
import type { Exchange } from "./conversation.ts"
import type { PlannedStep } from "./planned-step.ts"
import { type Hit, type Window, windowsAround } from "./windows.ts"

/** Lines read before and after each hit. */
export const AROUND = 3
/** The most places to read around; further places are reported without surrounding lines. */
export const MAX_WINDOWS = 40
const CALLS_AT_ONCE = 8
const MAX_NAMES = 5
const PARTIAL = " The search was not complete; the report lists what was omitted."

/** A job in five steps: list, search, read around the hits, report, answer. */
export interface Survey<Found extends Hit> {
  /** The report's file name without its extension. */
  readonly reportName: string
  readonly searches: readonly Search[]
  /** What is searched for, as part of a sentence. */
  readonly subject: string
  /** Combines the search results, in the order of the report. */
  find(results: readonly SearchResult[]): readonly Found[]
  /** The hits worth reading around, most important first: there may be more than can be read. */
  byImportance(found: readonly Found[]): readonly Found[]
  report(evidence: Evidence<Found>): string
  /** The figures of the final answer. */
  summary(evidence: Evidence<Found>): string
}

export interface Search {
  readonly texts: readonly string[]
  readonly wholeWord: boolean
  readonly ignoreCase: boolean
}

/** Everything that the tools returned. */
export interface Evidence<Found extends Hit> {
  readonly list: FileList
  /** One for each search, in order; `undefined` for a failed one, which is in `failures`. */
  readonly results: readonly (SearchResult | undefined)[]
  readonly found: readonly Found[]
  /** The lines read around the hits. */
  readonly readings: readonly FileText[]
  /** The number of places not read because there were too many. */
  readonly unreadPlaces: number
  /** The messages of failed calls. */
  readonly failures: readonly string[]
}

/** The next step of a survey after some tool calls. */
export function nextStep<Found extends Hit>(survey: Survey<Found>, exchanges: readonly Exchange[]): PlannedStep {
  const [listing] = callsOf(exchanges, "list_files")
  if (listing === undefined) {
    return { text: "I start by listing the files in this folder.", calls: [{ toolName: "list_files", input: {} }] }
  }
  if (!listing.result.ok) return answer(`I could not list the folder, so I stopped: ${listing.result.message}`)
  const list = listing.result.value as unknown as FileList
  if (list.totalFiles === 0) return answer(`There are no files to search in this folder${skippedNote(list)}. I wrote no report.`)

  const searches = callsOf(exchanges, "search_text")
  if (searches.length === 0) {
    const calls = survey.searches.map((input) => ({ toolName: "search_text", input: { ...input } }))
    return { text: `The folder has ${plural(list.totalFiles, "file")}. I search for ${survey.subject}.`, calls }
  }
  const results = searches.map((search) => valuesOf<SearchResult>([search])[0])
  const succeeded = results.filter((result) => result !== undefined)
  if (succeeded.length === 0) return answer(`Every search failed, so there is nothing to report. ${failuresOf(searches).join(" ")}`)

  const found = survey.find(succeeded)
  const important = survey.byImportance(found)
  const windows = windowsAround(important, AROUND)
  const wanted = windows.slice(0, MAX_WINDOWS)
  const reads = callsOf(exchanges, "read_file")
  if (reads.length < wanted.length)
    return { text: readingText(important.length, wanted, windows, reads.length), calls: readCalls(wanted, reads.length) }

  const evidence: Evidence<Found> = {
    list,
    results,
    found,
    readings: valuesOf<FileText>(reads),
    unreadPlaces: windows.length - wanted.length,
    failures: [...failuresOf(searches), ...failuresOf(reads)],
  }
  return finish(survey, evidence, callsOf(exchanges, "write_file"))
}

function finish<Found extends Hit>(survey: Survey<Found>, evidence: Evidence<Found>, writes: readonly Exchange[]): PlannedStep {
  const last = writes.at(-1)?.result
  const summary = `${survey.summary(evidence)}${evidence.results.some((result) => result?.cut !== undefined) ? PARTIAL : ""}`
  if (last?.ok === true) {
    const { path, status } = last.value as unknown as Written
    const where = status === "unchanged" ? `The report in ${path} is already up to date.` : `The report is in ${path}.`
    return answer(`${summary} ${where}`)
  }
  const isTaken = last?.message.startsWith(FILE_EXISTS) === true
  if (last !== undefined && (!isTaken || writes.length === MAX_NAMES)) {
    return answer(`${summary} I could not write the report: ${last.message}`)
  }
  const path = `${survey.reportName}${writes.length === 0 ? "" : `-${writes.length + 1}`}.md`
  const text = isTaken ? `Another file has that name. I write to ${path} instead.` : "I have what I need, so I write the report."
  return { text, calls: [{ toolName: "write_file", input: { path, content: survey.report(evidence) } }] }
}

function readingText(count: number, wanted: readonly Window[], windows: readonly Window[], done: number): string {
  if (done > 0) return `I continue reading: ${formatCount(done)} of ${formatCount(wanted.length)} places are done.`
  const files = new Set(windows.map((window) => window.path)).size
  const rest = wanted.length < windows.length ? `, at the ${wanted.length} most important places` : ""
  return `${plural(count, "line")} in ${plural(files, "file")} ${count === 1 ? "is" : "are"} worth a look. I read around ${count === 1 ? "it" : "them"}${rest}.`
}

function readCalls(wanted: readonly Window[], done: number): PlannedStep["calls"] {
  return wanted.slice(done, done + CALLS_AT_ONCE).map((window) => ({ toolName: "read_file", input: { ...window } }))
}

function answer(text: string): PlannedStep {
  return { text, calls: [] }
}

function callsOf(exchanges: readonly Exchange[], toolName: string): readonly Exchange[] {
  return exchanges.filter((exchange) => exchange.toolName === toolName)
}

/** The values of successful calls, in the shapes of workspace/tools.ts. */
function valuesOf<Value>(exchanges: readonly Exchange[]): readonly Value[] {
  return exchanges.flatMap(({ result }) => (result.ok ? [result.value as Json as unknown as Value] : []))
}

function failuresOf(exchanges: readonly Exchange[]): readonly string[] {
  return exchanges.flatMap(({ result }) => (result.ok ? [] : [result.message]))
}

function skippedNote({ skippedFolders, skippedLinks }: FileList): string {
  const skipped = [
    ...(skippedFolders.length > 0 ? [`the folder ${skippedFolders.join(", ")}`] : []),
    ...(skippedLinks > 0 ? [plural(skippedLinks, "link")] : []),
  ]
  return skipped.length === 0 ? "" : ` (skipped: ${skipped.join(", ")})`
}
