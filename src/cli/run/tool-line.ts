import type { Json } from "../../json.ts"
import { deriveModelReturn } from "../../machine/tool-results.ts"
import type { TurnEvent } from "../../wire/event.ts"
import { cutToColumns } from "../terminal/columns.ts"
import { formatBytes, formatDuration, oneLine, plural } from "../terminal/format.ts"
import type { ReplacedLine } from "../workspace/edit-folder.ts"
import type { Written } from "../workspace/out-folder.ts"
import type { SearchResult } from "../workspace/text-search.ts"
import { type FileList, type FileText, REPLACE_LINE } from "../workspace/tools.ts"

type ToolEvent = Extract<TurnEvent, { type: "tool_call" }>

const MAX_ARGUMENTS = 60
/** A changed line says more than other arguments. */
const MAX_CHANGE = 100
const MAX_PATH = 34

/** The pieces of a line about a tool call. */
export interface ToolLine {
  readonly ok: boolean
  readonly name: string
  readonly args: string
  /** The result in words. */
  readonly result: string
  /** The size of what the model reads, and the duration of the call. */
  readonly facts: string
}

/** Describes a finished tool call. */
export function toolLine({ name, args, output, durationMs }: ToolEvent): ToolLine {
  const characters = deriveModelReturn(output).parts.reduce((sum, part) => sum + (part.type === "text" ? Buffer.byteLength(part.text) : 0), 0)
  return {
    ok: output.status === "success",
    name: oneLine(name),
    args: shownArguments(name, args, output.status === "success"),
    result: resultOf(name, output),
    facts: `${formatBytes(characters)}, ${formatDuration(durationMs)}`,
  }
}

function shownArguments(name: string, args: Json, succeeded: boolean): string {
  if (name === "read_file" && succeeded) return cutStart(pathOf(args))
  return name === REPLACE_LINE ? cutToColumns(changeOf(args), MAX_CHANGE) : cutToColumns(shortArguments(args), MAX_ARGUMENTS)
}

/** The place of a changed line, and its new text. */
function changeOf(args: Json): string {
  const { path, line, newText } = (typeof args === "object" && args !== null ? args : {}) as { readonly [key: string]: Json }
  if (typeof path !== "string" || typeof line !== "number" || typeof newText !== "string") return shortArguments(args)
  return oneLine(`${cutStart(path)}:${line} ${newText.trim()}`)
}

/** Shortens arguments to the values of an object, with line numbers as a range. */
function shortArguments(args: Json): string {
  if (typeof args !== "object" || args === null || Array.isArray(args)) return oneLine(JSON.stringify(args))
  const { fromLine, toLine, content, ...rest } = args as { readonly [key: string]: Json }
  const values = Object.entries(rest).flatMap(([key, value]) => (value === false ? [] : [value === true ? key : shortValue(value)]))
  const lines =
    fromLine === undefined && toLine === undefined ? [] : [`${shortValue(fromLine ?? 1)}-${toLine === undefined ? "" : shortValue(toLine)}`]
  const written = typeof content === "string" ? [formatBytes(Buffer.byteLength(content))] : content === undefined ? [] : [shortValue(content)]
  return oneLine([...values, ...lines, ...written].join(" "))
}

/** The path of a file that was read. */
function pathOf(args: Json): string {
  return oneLine(shortValue((args as { readonly path: Json }).path))
}

/** The end of a long path says more than its start. */
function cutStart(path: string): string {
  return path.length <= MAX_PATH ? path : `…${path.slice(1 - MAX_PATH)}`
}

function shortValue(value: Json): string {
  if (Array.isArray(value)) return value.map((item: Json) => shortValue(item)).join(" | ")
  return typeof value === "string" ? value : JSON.stringify(value)
}

function resultOf(name: string, output: ToolEvent["output"]): string {
  if (output.status === "failure") return oneLine(output.failure.message)
  if (output.status === "cancelled") return oneLine(output.message)
  switch (name) {
    case "list_files": {
      const { totalFiles, totalBytes } = output.value as unknown as FileList
      return `${plural(totalFiles, "file")}, ${formatBytes(totalBytes)}`
    }
    case "search_text": {
      const { totalMatches, filesWithMatches } = output.value as unknown as SearchResult
      return `${plural(totalMatches, "line")} in ${plural(filesWithMatches, "file")}`
    }
    case "read_file": {
      const { fromLine, toLine, totalLines } = output.value as unknown as FileText
      return toLine < fromLine ? "no lines" : `lines ${fromLine}-${toLine} of ${totalLines}`
    }
    case "write_file":
      return (output.value as unknown as Written).status
    case REPLACE_LINE:
      return (output.value as unknown as ReplacedLine).status
    default:
      return "done"
  }
}
