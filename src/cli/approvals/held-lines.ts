import type { Json } from "../../json.ts"
import type { Ask } from "../../wire/approval.ts"
import type { PendingToolCall } from "../../wire/tool.ts"
import { columnsOf, cutToColumns, foldToColumns, padToColumns } from "../terminal/columns.ts"
import { formatCount, plural } from "../terminal/format.ts"
import { inert, inertJson, inertLine } from "../terminal/inert.ts"
import type { Style } from "../terminal/style.ts"

/** A held call as it is shown. */
export type ShownCall = Pick<PendingToolCall, "toolName" | "args"> & { readonly ask: Ask }

export interface HeldLinesOptions {
  /** Columns of the terminal. */
  readonly width: number
  readonly style: (style: Style, text: string) => string
  /** Shows all of every argument. */
  readonly full?: boolean
  /** Milliseconds since the epoch. */
  readonly now: number
}

const INDENT = "  "
const MOST_NAME_COLUMNS = 16
/** The most lines and arguments that are shown at first. Each argument is cut apart, so that a long one hides no other. */
const MOST_VALUE_LINES = 6
const MOST_ARGUMENTS = 20
/** More of a value does not fit into its lines on any terminal. */
const MOST_PREVIEW_CHARS = 4_000

/** Describes a held call in lines of at most `width` columns: the tool, what the call would do, each argument, and until when to decide. */
export function heldLines(
  { toolName, args, ask }: ShownCall,
  options: HeldLinesOptions,
): { readonly lines: readonly string[]; readonly isCut: boolean } {
  const { width, style, now } = options
  const { summary, risk, expiresAt } = ask
  const riskText = risk === undefined ? "" : `${risk} risk`
  const name = inertLine(toolName)
  const title =
    riskText === "" || columnsOf(`${name}  ${riskText}`) > width
      ? foldToColumns(name, width).map((line) => style("bold", line))
      : [`${style("bold", name)}  ${styledRisk(risk, riskText, style)}`]
  const lines = [...title, ...(riskText !== "" && columnsOf(`${name}  ${riskText}`) > width ? [styledRisk(risk, riskText, style)] : [])]
  // The summary may repeat arguments, so it is as unsafe as they are.
  if (summary !== undefined && summary !== "")
    lines.push(
      ...foldWords(inertLine(summary), width - INDENT.length)
        .slice(0, 3)
        .map((line) => `${INDENT}${line}`),
    )
  const shown = argumentLines(args, options)
  lines.push("", ...shown.lines)
  if (expiresAt !== undefined) lines.push("", ...foldWords(expiryText(expiresAt, now), width))
  return { lines, isCut: shown.isCut }
}

function styledRisk(risk: Ask["risk"], text: string, style: HeldLinesOptions["style"]): string {
  return risk === "high" ? style(["bold", "red"], text) : risk === "medium" ? style("yellow", text) : style("dim", text)
}

/** Says until when a decision counts. */
export function expiryText(expiresAt: number, now: number): string {
  if (expiresAt <= now) return "Expired: an approval no longer counts."
  const time = new Date(expiresAt)
  const when = time.toDateString() === new Date(now).toDateString() ? time.toLocaleTimeString() : time.toLocaleString()
  const seconds = Math.ceil((expiresAt - now) / 1_000)
  const left = seconds < 120 ? `${seconds} s` : seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3_600)} h`
  return `Expires ${when}, in ${left}.`
}

/** One block for each argument of an object; other arguments as JSON. */
function argumentLines(args: Json, options: HeldLinesOptions): { readonly lines: readonly string[]; readonly isCut: boolean } {
  const { width, style, full = false } = options
  if (typeof args !== "object" || args === null || Array.isArray(args)) {
    const { lines, isCut } = valueLines(args, width - INDENT.length, full)
    return { lines: lines.map((line) => `${INDENT}${line}`), isCut }
  }
  const entries = Object.entries(args as { readonly [key: string]: Json })
  if (entries.length === 0) return { lines: [`${INDENT}${style("dim", "no arguments")}`], isCut: false }
  const shown = full ? entries : entries.slice(0, MOST_ARGUMENTS)
  const room = Math.max(4, Math.min(MOST_NAME_COLUMNS, Math.floor(width / 3)))
  const nameColumns = Math.min(room, Math.max(...shown.map(([name]) => columnsOf(inertLine(name.slice(0, 100))))))
  const valueColumns = Math.max(8, width - INDENT.length - nameColumns - 2)
  let isCut = shown.length < entries.length
  const lines: string[] = []
  for (const [key, value] of shown) {
    const name = inertLine(full ? key : key.slice(0, 100))
    const block = valueLines(value, valueColumns, full)
    isCut ||= block.isCut
    // A name that does not fit has lines of its own, in full: two long names must not look the same.
    const isLong = columnsOf(name) > nameColumns
    if (isLong) {
      const folded = foldToColumns(name, width - INDENT.length)
      const kept = full ? folded : folded.slice(0, 3)
      isCut ||= kept.length < folded.length || name.length < key.length
      lines.push(...kept.map((line) => `${INDENT}${style("dim", line)}`))
    }
    block.lines.forEach((line, index) => {
      const label = index === 0 && !isLong ? name : ""
      lines.push(`${INDENT}${style("dim", padToColumns(label, nameColumns))}  ${line}`)
    })
  }
  if (shown.length < entries.length) lines.push(`${INDENT}… ${plural(entries.length - shown.length, "more argument")}`)
  return { lines, isCut }
}

/** A value in lines. A text of several lines has a bar before each, so that no line of it looks like one of ours. */
function valueLines(value: Json, width: number, full: boolean): { readonly lines: readonly string[]; readonly isCut: boolean } {
  const isBlock = typeof value === "string" && value.includes("\n")
  const whole = typeof value === "string" && isBlock ? value : typeof value === "string" ? JSON.stringify(value) : JSON.stringify(value, undefined, 2)
  const part = full ? whole : whole.slice(0, MOST_PREVIEW_CHARS)
  const bar = isBlock ? "│ " : ""
  const text = isBlock ? part.replaceAll("\t", "  ").replaceAll("\r", "\\r") : part
  const folded = inert(text)
    .split("\n")
    .flatMap((line) => foldToColumns(line, width - bar.length))
  if (full || (folded.length <= MOST_VALUE_LINES && part.length === whole.length))
    return { lines: folded.map((line) => `${bar}${line}`), isCut: false }
  const kept = folded.slice(0, MOST_VALUE_LINES - 1)
  const left = Math.max(1, whole.length - kept.join("").length)
  return { lines: [...kept.map((line) => `${bar}${line}`), cutToColumns(`… ${formatCount(left)} more characters`, width)], isCut: true }
}

/** Folds a text between words where it can. */
export function foldWords(text: string, width: number): readonly string[] {
  const lines: string[] = []
  let line = ""
  for (const word of text.split(" ")) {
    const next = line === "" ? word : `${line} ${word}`
    if (columnsOf(next) <= width) {
      line = next
      continue
    }
    if (line !== "") lines.push(line)
    const pieces = foldToColumns(word, width)
    lines.push(...pieces.slice(0, -1))
    line = pieces.at(-1) ?? ""
  }
  return [...lines, line]
}

/** A held call on one line, such as `call_2  replace_line {"path":"a.ts"}`. `name`: how commands name it. */
export function heldLine({ toolName, args }: Pick<PendingToolCall, "toolName" | "args">, width: number, name?: string): string {
  const start = name === undefined ? "" : `${inertLine(name)}  `
  return cutToColumns(`${start}${inertLine(toolName)} ${inertJson(args).slice(0, 1_000)}`, width)
}
