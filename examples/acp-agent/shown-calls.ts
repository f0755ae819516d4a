import { resolve } from "node:path"
import type { ToolCallContent, ToolCallLocation, ToolKind } from "@agentclientprotocol/sdk"
import type { ToolOutput } from "turn-machine/schemas"

/** What an editor shows of a tool call. */
export interface ShownCall {
  readonly title: string
  readonly kind: ToolKind
  readonly locations?: ToolCallLocation[]
}

const MAX_TITLE_CHARS = 120
const MAX_TEXT_CHARS = 10_000

/** What is shown before a call runs. Its arguments come from the model, and may be anything. */
export function shownCall(cwd: string, toolName: string, args: unknown): ShownCall {
  const { path, line, command } = fieldsOf(args)
  const at = (): Pick<ShownCall, "locations"> =>
    typeof path === "string"
      ? { locations: [{ path: resolve(cwd, path), ...(Number.isInteger(line) && Number(line) >= 1 && { line: Number(line) }) }] }
      : {}
  switch (toolName) {
    case "read_file":
      return { title: oneLine(`Read ${path}`), kind: "read", ...at() }
    case "list_files":
      return { title: oneLine(`List ${path ?? "the folder"}`), kind: "search", ...at() }
    case "write_file":
      return { title: oneLine(`Write ${path}`), kind: "edit", ...at() }
    case "edit_file":
      return { title: oneLine(`Edit ${path}`), kind: "edit", ...at() }
    case "run_command":
      return { title: oneLine(`${command}`), kind: "execute" }
    default:
      return { title: oneLine(toolName.replace("__", ": ")), kind: "other" }
  }
}

/**
 * What a call would change, or has changed, as a difference. `oldText`: what a file has that is written anew; `null`: there is none.
 * `undefined`: the call changes no file, or its arguments are not those of its tool.
 */
export function diffOf(cwd: string, toolName: string, args: unknown, oldText: string | null | undefined): ToolCallContent | undefined {
  const { path, content, old_text: before, new_text: after } = fieldsOf(args)
  if (typeof path !== "string") return undefined
  const place = { type: "diff", path: resolve(cwd, path) } as const
  if (toolName === "write_file" && typeof content === "string") return { ...place, oldText: oldText ?? null, newText: content }
  if (toolName === "edit_file" && typeof before === "string" && typeof after === "string") return { ...place, oldText: before, newText: after }
  return undefined
}

/** What is shown of a result. */
export function shownOutput(cwd: string, toolName: string, args: unknown, output: ToolOutput): ToolCallContent[] {
  if (output.status === "failure") return [textContent(output.failure.message)]
  if (output.status === "cancelled") return [textContent(output.message)]
  const { oldText } = fieldsOf(output.value)
  const diff = diffOf(cwd, toolName, args, typeof oldText === "string" ? oldText : null)
  if (diff !== undefined) return [diff]
  const { value } = output
  return value === null || value === "" ? [] : [textContent(typeof value === "string" ? value : JSON.stringify(value, null, 2))]
}

/** A text, cut off where it is long: `rawOutput` has all of it. */
export function textContent(text: string): ToolCallContent {
  const shown = text.length <= MAX_TEXT_CHARS ? text : `${text.slice(0, MAX_TEXT_CHARS)}\n[…]`
  return { type: "content", content: { type: "text", text: shown } }
}

function fieldsOf(value: unknown): { readonly [name: string]: unknown } {
  return typeof value === "object" && value !== null ? (value as { readonly [name: string]: unknown }) : {}
}

function oneLine(text: string): string {
  const line = text.replace(/\s+/g, " ").trim()
  return line.length <= MAX_TITLE_CHARS ? line : `${line.slice(0, MAX_TITLE_CHARS - 1)}…`
}
