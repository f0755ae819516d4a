import { formatBytes, formatCount, plural } from "../terminal/format.ts"
import { byCodePoint } from "../workspace/code-points.ts"
import type { SearchResult } from "../workspace/text-search.ts"
import type { FileList, FileText } from "../workspace/tools.ts"
import { readIntent } from "./intent.ts"
import { code, prose } from "./report.ts"

/** A part of a surveyed folder: one of its subfolders with everything in it, or the files at the top. */
export interface Part {
  /** The folder as an argument of tools; `.` for the files at the top. */
  readonly folder: string
  readonly name: string
  /** The section's file in the output folder. */
  readonly section: string
  readonly files: FileList["files"]
}

/** The overview's file in a survey's folder. */
export function overviewIn(survey: string): string {
  return `${survey}/overview.md`
}

const TOP = "the top"

/** Splits a folder into parts. `survey`: the folder of the sections, in the output folder. */
export function partsOf(list: FileList, survey: string): readonly Part[] {
  const byFolder = new Map<string, FileList["files"][number][]>()
  for (const file of list.files) {
    const end = file.path.indexOf("/")
    const folder = end < 0 ? "." : file.path.slice(0, end)
    const files = byFolder.get(folder)
    if (files === undefined) byFolder.set(folder, [file])
    else files.push(file)
  }
  const taken = new Set([overviewIn(survey)])
  return [...byFolder]
    .sort(([left], [right]) => byCodePoint(left, right))
    .map(([folder, files]): Part => {
      const name = folder === "." ? TOP : folder
      const word = folder === "." ? "top" : folder.replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[.-]+/, "") || "folder"
      let section = `${survey}/${word}.md`
      for (let number = 2; taken.has(section); number += 1) section = `${survey}/${word}.${number}.md`
      taken.add(section)
      return { folder, name, section, files }
    })
}

/** The possible names of a section's file: the second is used if another file has the first. */
export function namesOf(section: string): readonly string[] {
  return [section, section.replace(/\.md$/, "-ours.md")]
}

const MAX_LINES = 20
const MAX_LARGEST = 5

/** What to search for: the markers or quoted words of an objective, or else TODO and FIXME. */
export function wanted(objective: string): { readonly texts: readonly string[]; readonly wholeWord: boolean } {
  const intent = readIntent(objective)
  if (intent.type === "todo") return { texts: intent.markers, wholeWord: true }
  const quoted = /["“`']/.test(objective) && intent.type === "search"
  return quoted ? { texts: intent.phrases, wholeWord: false } : { texts: ["TODO", "FIXME"], wholeWord: true }
}

/** The folder of the sections: one for each set of search texts. */
export function surveyFolder(objective: string): string {
  const { texts, wholeWord } = wanted(objective)
  const words = texts.join("-").replace(/[^\p{L}\p{N}_-]+/gu, "-")
  return wholeWord && texts.includes("TODO") ? "survey" : `survey-${words.slice(0, 60).replace(/^-+|-+$/g, "") || "words"}`
}

/** Writes the section about a part. `search`: the search result, or the message of its failure. */
export function section(
  part: Part,
  texts: readonly string[],
  { search, reading }: { readonly search: SearchResult | string; readonly reading?: FileText },
): string {
  const blocks = [`# ${prose(part.name)}`, figures(part)]
  if (reading !== undefined) blocks.push(`The start of ${code(reading.path)}:`, quoted(reading.text))
  const subject = texts.map(code).join(" or ")
  if (typeof search === "string") blocks.push(`## Found\n\nThe search failed: ${prose(search)}`)
  else {
    // A search at the top covers the subfolders too.
    const matches = part.folder === "." ? search.matches.filter(({ path }) => !path.includes("/")) : search.matches
    const rows = matches.slice(0, MAX_LINES).map(({ path, line, text }) => `- ${code(`${path}:${line}`)} ${code(text.trim())}`)
    if (matches.length > MAX_LINES) rows.push(`- and ${formatCount(matches.length - MAX_LINES)} more`)
    blocks.push(`## Found\n\n${rows.length === 0 ? `No line with ${subject}.` : `Lines with ${subject}:\n\n${rows.join("\n")}`}`)
  }
  return `${blocks.join("\n\n")}\n`
}

function figures({ files }: Part): string {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0)
  const endings = new Map<string, number>()
  for (const { path } of files) {
    const name = path.slice(path.lastIndexOf("/") + 1)
    const ending = name.includes(".") ? name.slice(name.lastIndexOf(".")) : name
    endings.set(ending, (endings.get(ending) ?? 0) + 1)
  }
  const kinds = [...endings].sort(([, left], [, right]) => right - left).slice(0, MAX_LARGEST)
  const largest = [...files].sort((left, right) => right.bytes - left.bytes).slice(0, MAX_LARGEST)
  return [
    `${plural(files.length, "file")}, ${formatBytes(bytes)}. Most common: ${kinds.map(([ending, count]) => `${code(ending)} (${formatCount(count)})`).join(", ")}.`,
    [
      "| Largest | Size |",
      "|---|---:|",
      ...largest.map(({ path, bytes: size }) => `| ${code(path).replaceAll("|", "\\|")} | ${formatBytes(size)} |`),
    ].join("\n"),
  ].join("\n\n")
}

function quoted(text: string): string {
  const longest = Math.max(0, ...[...text.matchAll(/`+/g)].map((run) => run[0].length))
  const fence = "`".repeat(Math.max(3, longest + 1))
  return [`${fence}text`, text.trimEnd(), fence].join("\n")
}

/** Writes the overview, which lists all sections. */
export function overview(list: FileList, parts: readonly Part[], paths: ReadonlyMap<string, string>): string {
  const rows = parts.map((part) => {
    const bytes = part.files.reduce((sum, file) => sum + file.bytes, 0)
    const path = paths.get(part.name) ?? ""
    return `| ${prose(part.name)} | ${formatCount(part.files.length)} | ${formatBytes(bytes)} | ${code(path.replace(/^.*\//, ""))} |`
  })
  const left = [
    ...(list.cut === undefined ? [] : [list.cut]),
    ...(list.skippedFolders.length > 0 ? [`Folders skipped: ${list.skippedFolders.map(code).join(", ")}.`] : []),
    ...(list.skippedLinks > 0 ? [`Links not followed: ${formatCount(list.skippedLinks)}.`] : []),
  ]
  const blocks = [
    `# Survey of ${prose(list.root)}`,
    `${plural(list.totalFiles, "file")}, ${formatBytes(list.totalBytes)}, in ${plural(parts.length, "part")}.`,
    ["| Part | Files | Size | Section |", "|---|---:|---:|---|", ...rows].join("\n"),
    ...(left.length === 0 ? [] : [`## Omitted\n\n${left.map((note) => `- ${note}`).join("\n")}`]),
  ]
  return `${blocks.join("\n\n")}\n`
}
