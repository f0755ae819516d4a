import type { Json } from "../../json.ts"
import { formatBytes, formatCount, plural } from "../terminal/format.ts"
import { KEPT_EXISTING } from "../workspace/out-folder.ts"
import type { SearchResult } from "../workspace/text-search.ts"
import type { FileList, FileText } from "../workspace/tools.ts"
import type { Exchange } from "./conversation.ts"
import type { GoalContext } from "./goal-context.ts"
import { overview, section, surveyFolder, wanted } from "./goal-report.ts"
import { namesOf, overviewIn, type Part, partsOf } from "./parts.ts"
import { type PlannedStep, WHAT_I_AM } from "./planned-step.ts"

/**
 * What comes next for a goal: one section about one part of the folder in each turn, and an overview at last. Whatever the
 * objective is, that is what the planner can do for it; words in it are searched for. `ends`: the model itself says that it is done.
 */
export function goalStep(context: GoalContext, ends: boolean): PlannedStep {
  const { all, turn, isToEnd } = context
  const listing =
    turn.findLast(({ toolName }) => toolName === "list_files") ?? (isToEnd ? all.findLast(({ toolName }) => toolName === "list_files") : undefined)
  if (listing === undefined) {
    if (isToEnd) return answer("The budget is used up before I could begin. Next, I would list the folder.")
    return { text: "I look at the folder as it is now.", calls: [{ toolName: "list_files", input: {} }] }
  }
  if (!listing.result.ok) return answer(`I could not list the folder, so I did nothing more: ${listing.result.message}`)
  const list = listing.result.value as unknown as FileList
  const survey = surveyOf(list, all, surveyFolder(context.objective))
  if (isToEnd) return answer(`The budget is used up, so I stop here.\n${standing(survey)}\nNext, I would write ${survey.left[0] ?? "nothing more"}.`)

  const written = writtenIn(turn)
  const [next] = survey.open
  if (written !== undefined && written.path !== survey.overviewPath) return answer(sectionText(written, survey, context))
  if (next !== undefined && written === undefined) return writeSection(next, context, survey)
  if (survey.overviewPath === undefined)
    return writeOnce(
      survey.last,
      overview(list, survey.parts, survey.paths),
      turn,
      `All ${plural(survey.parts.length, "section")} are written. I write the overview.`,
    )
  return finish(context, survey, ends)
}

interface Standing {
  readonly parts: readonly Part[]
  /** Where each section is, by the name of its part. */
  readonly paths: ReadonlyMap<string, string>
  readonly open: readonly Part[]
  /** Where the overview is to be, and where it is. */
  readonly last: string
  readonly overviewPath: string | undefined
  /** What is not written, in words. */
  readonly left: readonly string[]
}

/** How far the survey has come, by what the thread wrote. */
function surveyOf(list: FileList, all: readonly Exchange[], folder: string): Standing {
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

/** In a form that can be read again: a judge goes by it. */
function standing({ paths, overviewPath, left }: Standing): string {
  const written = [
    ...[...paths].map(([name, path]) => `${name} → ${path}`),
    ...(overviewPath === undefined ? [] : [`the overview → ${overviewPath}`]),
  ]
  return `Written so far: ${written.length === 0 ? "nothing" : written.join("; ")}.\nLeft: ${left.length === 0 ? "nothing" : left.join("; ")}.`
}

function writeSection(part: Part, { objective, turn }: GoalContext, survey: Standing): PlannedStep {
  const search = turn.find(({ toolName }) => toolName === "search_text")
  const { texts, wholeWord } = wanted(objective)
  if (search === undefined) {
    const lead = leadOf(part)
    return {
      text: `${plural(survey.open.length, "part is", "parts are")} left of ${formatCount(survey.parts.length)}. In this turn I look at ${part.name}: ${plural(part.files.length, "file")}.`,
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

/** Writes a file, under another name where somebody else's has the first. */
function writeOnce(path: string, content: string, turn: readonly Exchange[], text: string): PlannedStep {
  const failed = turn.filter(({ toolName, result }) => toolName === "write_file" && !result.ok)
  const last = failed.at(-1)?.result
  if (last?.ok === false && (failed.length > 1 || !last.message.startsWith(KEPT_EXISTING)))
    return answer(`I could not write ${path}: ${last.message}`)
  const name = namesOf(path)[failed.length] ?? path
  return {
    text: failed.length === 0 ? text : `A file of somebody else has that name. I write to ${name}.`,
    calls: [{ toolName: "write_file", input: { path: name, content } }],
  }
}

function sectionText(written: { readonly path: string }, survey: Standing, { turn }: GoalContext): string {
  const part = survey.parts.find(({ section: path }) => namesOf(path).includes(written.path))
  const search = turn.find(({ toolName }) => toolName === "search_text")?.result
  const found =
    search?.ok === true && part?.folder !== "." ? `, ${plural((search.value as Json as unknown as SearchResult).totalMatches, "line")} found` : ""
  const facts =
    part === undefined
      ? written.path
      : `${part.name}, ${plural(part.files.length, "file")}, ${formatBytes(part.files.reduce((sum, file) => sum + file.bytes, 0))}${found}`
  return `Section ${formatCount(survey.paths.size)} of ${formatCount(survey.parts.length)} is written: ${facts}.\n${standing(survey)}`
}

/** All is written. Where a judge decides, or a user wants more than the planner can do, it only says so. */
function finish({ turn, openItems }: GoalContext, survey: Standing, ends: boolean): PlannedStep {
  const update = turn.find(({ toolName }) => toolName === "update_goal")
  if (ends && update === undefined)
    return { text: "Nothing is left. The goal is complete.", calls: [{ toolName: "update_goal", input: { status: "complete" } }] }
  const others = openItems.filter((item) => !isOwn(item))
  const cannot = others.length === 0 ? "" : `\n${WHAT_I_AM} I cannot do: ${others.join("; ").replace(/\.$/, "")}.`
  return answer(`The survey is complete: ${plural(survey.parts.length, "section")} and an overview.${usage(update)}\n${standing(survey)}${cannot}`)
}

/** Items that the planner itself hands in when it is the judge. */
function isOwn(item: string): boolean {
  return /^There is a section about |^Every part of the folder has |^An overview names /.test(item)
}

/** What the goal took, as its tool told. */
function usage(update: Exchange | undefined): string {
  if (update?.result.ok !== true) return ""
  const { goal } = update.result.value as {
    readonly goal?: { readonly tokensUsed?: number; readonly tokenBudget?: number | null; readonly secondsUsed?: number }
  }
  if (goal?.tokensUsed === undefined) return ""
  const budget = typeof goal.tokenBudget === "number" ? ` of ${formatCount(goal.tokenBudget)}` : ""
  return ` It took ${formatCount(goal.tokensUsed)}${budget} tokens${(goal.secondsUsed ?? 0) > 0 ? ` and ${goal.secondsUsed} s` : ""}.`
}

/** The file that most likely says what a part is. */
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
