import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileReason } from "../../hosts/node/file-error.ts"
import { CommandSyntaxError, splitCommand } from "../../hosts/node/split-command.ts"
import { canonicalJson, type Json } from "../../json.ts"
import { clause, oneLine } from "../terminal/format.ts"
import { inert, inertJson } from "../terminal/inert.ts"
import type { Io, Terminal } from "../terminal/io.ts"

/** The arguments after editing. `undefined`: the user gave up. */
export type Edited = { readonly args: Json; readonly isChanged: boolean } | undefined

/** How arguments are edited: with the user's editor, or on a line of the terminal where none is set. */
export interface ArgsEditor {
  readonly terminal: Terminal
  readonly env: Io["env"]
  /** Shows a line. */
  readonly say: (line: string) => void
}

/** Lets the user edit the arguments of a call. Broken JSON is explained, and asked for again with what the user wrote. */
export function editArgs(args: Json, toolName: string, editor: ArgsEditor, signal: AbortSignal): Promise<Edited> {
  const command = [editor.env["VISUAL"], editor.env["EDITOR"]].find((given) => given !== undefined && given.trim() !== "")
  return command === undefined ? editInline(args, editor, signal) : editInFile(args, toolName, command, editor, signal)
}

/** Longer arguments cannot be followed on a line. */
const MOST_INLINE_CHARS = 2_000

async function editInline(args: Json, { terminal, say }: ArgsEditor, signal: AbortSignal): Promise<Edited> {
  // Escaped, so that nothing in it moves the cursor; as JSON it is the same value.
  let text = editable(args)
  if (text.length > MOST_INLINE_CHARS) {
    say("The arguments are too long to edit here. Set $EDITOR to an editor, such as nano.")
    return undefined
  }
  say("New arguments as JSON. Enter: run with these. Ctrl-D: back. To use an editor, set $EDITOR.")
  for (;;) {
    const line = await terminal.line("> ", text, signal)
    if (line === undefined || signal.aborted) return undefined
    const read = readArgs(line)
    if (!("problem" in read)) return edited(args, read.args)
    say(read.problem)
    text = line
  }
}

async function editInFile(args: Json, toolName: string, command: string, editor: ArgsEditor, signal: AbortSignal): Promise<Edited> {
  const { terminal, say } = editor
  let program: string
  let given: readonly string[]
  try {
    ;[program, ...given] = splitCommand(command)
  } catch (error) {
    if (!(error instanceof CommandSyntaxError)) throw error
    say(`The editor cannot be used: ${clause(error.message)}.`)
    return editInline(args, editor, signal)
  }
  // Private: the arguments may contain what others must not read, or write.
  const folder = await mkdtemp(join(tmpdir(), "turn-machine-edit-"))
  try {
    const path = join(folder, `${/^[\w-]{1,64}$/.test(toolName) ? toolName : "arguments"}.json`)
    await writeFile(path, `${editable(args, 2)}\n`, { mode: 0o600 })
    for (;;) {
      let exitCode: number
      try {
        exitCode = await terminal.run(program, [...given, path])
      } catch (error) {
        say(`The editor ${oneLine(command)} cannot be run: ${fileReason(error)}.`)
        return editInline(args, editor, signal)
      }
      if (signal.aborted) return undefined
      if (exitCode !== 0) {
        say(`The editor ended with exit code ${exitCode}. Nothing is changed.`)
        return undefined
      }
      const text = await readFile(path, "utf8").catch(() => "")
      if (text.trim() === "") {
        say("The file is empty. Nothing is changed.")
        return undefined
      }
      const read = readArgs(text)
      if (!("problem" in read)) return edited(args, read.args)
      const key = await terminal.key(() => say(`${read.problem} Press e to edit again, or any other key to go back.`), signal)
      if (key?.[0]?.toLowerCase() !== "e") return undefined
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Arguments that could not be read are their text, and the user fixes it. */
function editable(args: Json, indent?: number): string {
  return typeof args === "string" ? inert(args) : inertJson(args, indent)
}

function edited(before: Json, args: Json): Edited {
  return { args, isChanged: canonicalJson(before) !== canonicalJson(args) }
}

/** Parses the arguments of a call, which are an object. */
export function readArgs(text: string): { readonly args: Json } | { readonly problem: string } {
  let args: Json
  try {
    args = JSON.parse(text.replace(/^\ufeff/, "")) as Json
  } catch (error) {
    return { problem: `This is not JSON: ${clause(error instanceof Error ? error.message : String(error)).slice(0, 200)}.` }
  }
  if (typeof args !== "object" || args === null || Array.isArray(args)) return { problem: "The arguments of a call are a JSON object: { … }." }
  return { args }
}
