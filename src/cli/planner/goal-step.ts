import type { Json } from "../../json.ts"
import { formatBytes, formatCount, plural } from "../terminal/format.ts"
import { FILE_EXISTS } from "../workspace/out-folder.ts"
import type { SearchResult } from "../workspace/text-search.ts"
import type { FileList, FileText } from "../workspace/tools.ts"
import type { Exchange, GoalContext } from "./conversation.ts"
import { namesOf, overview, overviewIn, type Part, partsOf, section, surveyFolder, wanted } from "./goal-report.ts"
import { type PlannedStep, WHAT_I_AM } from "./planned-step.ts"

/**
 * Plans the next step of a goal: a section about one part of the folder in each turn, and last an overview. The planner does
 * this for every objective, and searches for words in it. `ends`: the model decides when the goal is complete.
 */
export function goalStep(context: GoalContext, ends: boolean): PlannedStep {
  const { all, turn, isToEnd } = context
  const listing =
    turn.findLast(({ toolName }) => toolName === "list_files") ?? (isToEnd ? all.findLast(({ toolName }) => toolName === "list_files") : undefined)
  if (listing === undefined) {
    if (isToEnd) return answer("The budget was used up before I could start. Next, I would list the folder.")
    return { text: "I list the folder in its current state.", calls: [{ toolName: "list_files", input: {} }] }
  }
  if (!listing.result.ok) return answer(`I could not list the folder, so I stopped: ${listing.result.message}`)
  const list = listing.result.value as unknown as FileList
  if (list.files.length === 0 && list.totalFiles > 0)
    return answer(
      `I could not list the folder, so I stopped: the list of its ${plural(list.totalFiles, "file")} is longer than my context window allows.`,
    )
  const survey = surveyOf(list, all, surveyFolder(context.objective))
  if (isToEnd)
    return answer(`The budget is used up, so I stop here.\n${progressText(survey)}\nNext, I would write ${survey.left[0] ?? "nothing more"}.`)

  const checked = missingFile(context)
  if (checked !== undefined) return writeMissing(checked, list, survey, turn)
  const written = writtenIn(turn)
  const [next] = survey.open
  if (written !== undefined && written.path !== survey.overviewPath) return answer(sectionText(written, survey, context))
  if (next !== undefined && written === undefined) return writeSection(next, context, survey)
  if (survey.overviewPath === undefined)
    return writeOnce(
      survey.last,
      overview(list, survey.parts, survey.paths),
      turn,
      `${survey.parts.length === 1 ? "The only section is" : `All ${plural(survey.parts.length, "section")} are`} written. I write the overview.`,
    )
  return finish(context, survey, ends)
}

interface Progress {
  readonly parts: readonly Part[]
  /** The path of each written section, by the name of its part. */
  readonly paths: ReadonlyMap<string, string>
  readonly open: readonly Part[]
  /** The planned path of the overview, and its path once it is written. */
  readonly last: string
  readonly overviewPath: string | undefined
  /** The names of what is not written yet. */
  readonly left: readonly string[]
}

/** Computes the progress of a survey from the files that the thread wrote. */
function surveyOf(list: FileList, all: readonly Exchange[], folder: string): Progress {
  const written = new Set(all.flatMap((exchange) => writtenBy(exchange)?.path ?? []))
  const parts = partsOf(list, folder)
  const paths = new Map<string, string>()
  for (const { name, section } of parts) {
    const path = namesOf(section).find((candidate) => written.has(candidate))
    if (path !== undefined) paths.set(name, path)
  }
  const open = parts.filter(({ name }) => !paths.has(name))
  const last = overviewIn(folder)
  const overviewPath = namesOf(last).find((path) => written.has(path))
  return { parts, paths, open, last, overviewPath, left: [...open.map(({ name }) => name), ...(overviewPath !== undefined ? [] : ["the overview"])] }
}

/** Describes the progress in a form that the planner's judge parses. */
function progressText({ paths, overviewPath, left }: Progress): string {
  const written = [
    ...[...paths].map(([name, path]) => `${name} → ${path}`),
    ...(overviewPath === undefined ? [] : [`the overview → ${overviewPath}`]),
  ]
  return `Written so far: ${written.length === 0 ? "nothing" : written.join("; ")}.\nLeft: ${left.length === 0 ? "nothing" : left.join("; ")}.`
}

function writeSection(part: Part, { objective, turn }: GoalContext, survey: Progress): PlannedStep {
  const search = turn.find(({ toolName }) => toolName === "search_text")
  const { texts, wholeWord } = wanted(objective)
  if (search === undefined) {
    const lead = leadOf(part)
    return {
      text: `${leftOf(survey)} In this turn I cover ${part.name}: ${plural(part.files.length, "file")}.`,
      calls: [
        { toolName: "search_text", input: { texts: [...texts], wholeWord, ignoreCase: !wholeWord, folder: part.folder } },
        ...(lead === undefined ? [] : [{ toolName: "read_file", input: { path: lead, toLine: 12 } }]),
      ],
    }
  }
  const reading = turn.find(({ toolName }) => toolName === "read_file")?.result
  const content = section(part, texts, {
    search: search.result.ok ? (search.result.value as Json as unknown as SearchResult) : search.result.message,
    ...(reading?.ok === true && { reading: reading.value as Json as unknown as FileText }),
  })
  return writeOnce(part.section, content, turn, `I write the section about ${part.name}.`)
}

function leftOf({ parts, open }: Progress): string {
  if (parts.length === 1) return "The folder has only one part."
  return `${formatCount(open.length)} of ${formatCount(parts.length)} parts ${open.length === 1 ? "is" : "are"} left.`
}

/** Writes a file, under a second name if another file has the first. */
function writeOnce(path: string, content: string, turn: readonly Exchange[], text: string): PlannedStep {
  const failed = turn.filter(({ toolName, result }) => toolName === "write_file" && !result.ok)
  const last = failed.at(-1)?.result
  if (last?.ok === false && (failed.length > 1 || !last.message.startsWith(FILE_EXISTS))) return answer(`I could not write ${path}: ${last.message}`)
  const name = namesOf(path)[failed.length] ?? path
  return {
    text: failed.length === 0 ? text : `Another file has that name. I write to ${name} instead.`,
    calls: [{ toolName: "write_file", input: { path: name, content } }],
  }
}

function sectionText(written: { readonly path: string }, survey: Progress, { turn }: GoalContext): string {
  const part = survey.parts.find(({ section: path }) => namesOf(path).includes(written.path))
  const search = turn.find(({ toolName }) => toolName === "search_text")?.result
  const found =
    search?.ok === true && part?.folder !== "." ? `, ${plural((search.value as Json as unknown as SearchResult).totalMatches, "line")} found` : ""
  const facts =
    part === undefined
      ? written.path
      : `${part.name}, ${plural(part.files.length, "file")}, ${formatBytes(part.files.reduce((sum, file) => sum + file.bytes, 0))}${found}`
  const which = survey.parts.length === 1 ? "The section" : `Section ${formatCount(survey.paths.size)} of ${formatCount(survey.parts.length)}`
  return `${which} is written: ${facts}.\n${progressText(survey)}`
}

/** A file that a failing check says is missing. */
interface MissingFile {
  readonly check: string
  readonly path: string
}

/** A line such as `missing: summary.md`, with a path inside the output folder. */
const MISSING = /\bmissing:[ \t]*["'`]?([^\s"'`]+)/i

/** The first file that a failing check misses and that no earlier turn wrote. */
function missingFile({ all, failingChecks, turn }: GoalContext): MissingFile | undefined {
  const before = new Set(all.slice(0, all.length - turn.length).flatMap((exchange) => writtenBy(exchange)?.path ?? []))
  for (const { name: check, tail } of failingChecks) {
    const path = MISSING.exec(tail)?.[1]?.replace(/[.,;:]$/, "")
    if (path !== undefined && !path.startsWith("/") && !path.split("/").includes("..") && !before.has(path)) return { check, path }
  }
  return undefined
}

/** Writes what a check misses, and ends the turn: the check runs after it. */
function writeMissing({ check, path }: MissingFile, list: FileList, survey: Progress, turn: readonly Exchange[]): PlannedStep {
  const write = turn.findLast(({ toolName, input }) => toolName === "write_file" && (input as { readonly path?: unknown }).path === path)
  if (write === undefined) {
    const content = overview(list, survey.parts, survey.paths)
    return { text: `The check ${check} misses ${path}. I write it.`, calls: [{ toolName: "write_file", input: { path, content } }] }
  }
  const result = write.result.ok
    ? `I wrote ${path}, which the check ${check} missed.`
    : `I could not write ${path} for the check ${check}: ${write.result.message}`
  return answer(`${result}\n${progressText(survey)}`)
}

/** Ends a survey that is completely written. Names items and checks that the planner cannot do. */
function finish({ failingChecks, turn, openItems }: GoalContext, survey: Progress, ends: boolean): PlannedStep {
  const update = turn.find(({ toolName }) => toolName === "update_goal")
  if (failingChecks.length > 0 && update === undefined) {
    const checks = failingChecks.map(({ name, tail }) => `the check ${name} passes (it says: ${tail.trim().split("\n").at(-1)?.trim() ?? ""})`)
    return answer(`The survey is written, but checks fail.\n${progressText(survey)}\n${WHAT_I_AM} I cannot do: ${checks.join("; ")}.`)
  }
  if (ends && update === undefined)
    return { text: "Nothing is left. The goal is complete.", calls: [{ toolName: "update_goal", input: { status: "complete" } }] }
  const others = openItems.filter((item) => !isOwn(item))
  const cannot = others.length === 0 ? "" : `\n${WHAT_I_AM} I cannot do: ${others.join("; ").replace(/\.$/, "")}.`
  return answer(
    `The survey is complete: ${plural(survey.parts.length, "section")} and an overview.${usage(update)}\n${progressText(survey)}${cannot}`,
  )
}

/** Whether the planner submitted an item itself, as the judge. */
function isOwn(item: string): boolean {
  return /^There is a section about |^Every part of the folder has |^An overview names /.test(item)
}

/** The usage of the goal, from the result of update_goal. */
function usage(update: Exchange | undefined): string {
  if (update?.result.ok !== true) return ""
  const { goal } = update.result.value as {
    readonly goal?: { readonly tokensUsed?: number; readonly tokenBudget?: number | null; readonly secondsUsed?: number }
  }
  if (goal?.tokensUsed === undefined) return ""
  const budget = typeof goal.tokenBudget === "number" ? ` of ${formatCount(goal.tokenBudget)}` : ""
  return ` It used ${formatCount(goal.tokensUsed)}${budget} tokens${(goal.secondsUsed ?? 0) > 0 ? ` and ${goal.secondsUsed} s` : ""}.`
}

/** The file that most likely describes a part. */
function leadOf({ files }: Part): string | undefined {
  const depth = (path: string): number => path.split("/").length
  const readable = files.filter(
    ({ path, bytes }) => bytes > 0 && /\.(?:md|txt|rst|[cm]?[jt]sx?|py|go|rs|java|rb|c|h|css|html|sh|toml|ya?ml|json)$/i.test(path),
  )
  const rank = (path: string): number => (/(?:^|\/)readme\b/i.test(path) ? 0 : /(?:^|\/)(?:index|main|mod|lib)\./i.test(path) ? 1 : 2)
  return [...readable].sort((left, right) => rank(left.path) - rank(right.path) || depth(left.path) - depth(right.path))[0]?.path
}

function writtenIn(turn: readonly Exchange[]): { readonly path: string } | undefined {
  return turn.flatMap((exchange) => writtenBy(exchange) ?? []).at(-1)
}

function writtenBy({ toolName, result }: Exchange): { readonly path: string } | undefined {
  return toolName === "write_file" && result.ok ? (result.value as { readonly path: string }) : undefined
}

function answer(text: string): PlannedStep {
  return { text, calls: [] }
}
