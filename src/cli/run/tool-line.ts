import type { Json } from "../../json.ts"
import { deriveModelReturn } from "../../machine/tool-results.ts"
import type { TurnEvent } from "../../schemas/event.ts"
import type { Written } from "../workspace/out-folder.ts"
import type { SearchResult } from "../workspace/text-search.ts"
import type { FileList, FileText } from "../workspace/tools.ts"
import { cutText, formatBytes, formatDuration, oneLine, plural } from "./format.ts"

type ToolEvent = Extract<TurnEvent, { type: "tool_call" }>

const MAX_ARGUMENTS = 60
const MAX_PATH = 34

/** What a line about a tool call says, piece by piece. */
export interface ToolLine {
  readonly ok: boolean
  readonly name: string
  readonly args: string
  /** What came of it, in words. */
  readonly result: string
  /** Size of what the model is given to read, and how long the call took. */
  readonly facts: string
}

export function toolLine({ name, args, output, durationMs }: ToolEvent): ToolLine {
  const characters = deriveModelReturn(output).parts.reduce((sum, part) => sum + (part.type === "text" ? Buffer.byteLength(part.text) : 0), 0)
  return {
    ok: output.status === "success",
    name: oneLine(name),
    args: name === "read_file" && output.status === "success" ? cutStart(pathOf(args)) : cutText(shortArguments(args), MAX_ARGUMENTS),
    result: resultOf(name, output),
    facts: `${formatBytes(characters)}, ${formatDuration(durationMs)}`,
  }
}

/** Arguments in short: the values of an object, and the numbers of lines as a range. */
function shortArguments(args: Json): string {
  if (typeof args !== "object" || args === null || Array.isArray(args)) return oneLine(JSON.stringify(args))
  const { fromLine, toLine, content, ...rest } = args as { readonly [key: string]: Json }
  const values = Object.entries(rest).flatMap(([key, value]) => (value === false ? [] : [value === true ? key : shortValue(value)]))
  const lines =
    fromLine === undefined && toLine === undefined ? [] : [`${shortValue(fromLine ?? 1)}-${toLine === undefined ? "" : shortValue(toLine)}`]
  const written = typeof content === "string" ? [formatBytes(Buffer.byteLength(content))] : content === undefined ? [] : [shortValue(content)]
  return oneLine([...values, ...lines, ...written].join(" "))
}

/** Of a file that was read the result says which lines, and the end of a long path says more than its beginning. */
function pathOf(args: Json): string {
  return oneLine(shortValue((args as { readonly path: Json }).path))
}

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
    default:
      return "done"
  }
}
