import { readdir } from "node:fs/promises"
import { type AttachmentStore, defineTool, type Toolbox, ToolError, ToolReply, toolbox } from "turn-machine/hosts"
import * as z from "zod"
import type { RunCommand } from "./commands.ts"
import type { Workspace } from "./workspace.ts"

const MAX_READ_CHARS = 100_000
const MAX_LISTED = 500
const COMMAND_TIMEOUT_MS = 120_000

export interface ToolsOptions {
  readonly workspace: Workspace
  readonly run: RunCommand
  readonly attachments: AttachmentStore
  /** Receives the id of the terminal that shows a call. */
  readonly onTerminal: (callId: string, terminalId: string) => void
}

/** The tools of the agent. What a call shows in the editor is in `shown-calls.ts`. */
export function toolsOf({ workspace, run, attachments, onTerminal }: ToolsOptions): Toolbox {
  const path = z.string().describe("Absolute, or relative to the folder of the session.")
  const textOf = async (name: string, signal: AbortSignal): Promise<string> => {
    const text = await workspace.read(name, signal)
    if (text === undefined) throw new ToolError({ class: "invalid_request", code: "no_such_file", message: `There is no file ${name}.` })
    return text
  }

  const readFile = defineTool({
    name: "read_file",
    description: "Reads a text file, or some lines of it.",
    input: z.object({ path, line: z.int().min(1).optional(), limit: z.int().min(1).optional() }),
    effects: "none",
    async execute({ path, line = 1, limit }, { signal }) {
      const text = await textOf(path, signal)
      const isPart = line > 1 || limit !== undefined
      const part = isPart
        ? text
            .split("\n")
            .slice(line - 1, limit && line - 1 + limit)
            .join("\n")
        : text
      return part.length <= MAX_READ_CHARS ? part : `${part.slice(0, MAX_READ_CHARS)}\n[cut off; read the rest with line and limit]`
    },
  })

  const listFiles = defineTool({
    name: "list_files",
    description: "Lists a folder. Folders end in a slash.",
    input: z.object({ path: path.optional() }),
    effects: "none",
    async execute({ path = "." }) {
      const entries = await readdir(await workspace.path(path), { withFileTypes: true })
      const names = entries.map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name)).toSorted()
      return [...names.slice(0, MAX_LISTED), ...(names.length > MAX_LISTED ? [`and ${names.length - MAX_LISTED} more`] : [])].join("\n")
    },
  })

  const writeFile = defineTool({
    name: "write_file",
    description: "Writes a text file, and replaces what it had.",
    input: z.object({ path, content: z.string() }),
    effects: "idempotent",
    approval: ({ path }) => ({ summary: `Write ${path}`, risk: "medium" }),
    async execute({ path, content }, { signal }) {
      const oldText = (await workspace.read(path, signal)) ?? null
      await workspace.write(path, content, signal)
      // The editor shows the difference; the model knows what it wrote.
      return new ToolReply({ oldText }, { modelReturn: { parts: [{ type: "text", text: `Wrote ${content.length} characters to ${path}.` }] } })
    },
  })

  const editFile = defineTool({
    name: "edit_file",
    description: "Replaces a text that occurs exactly once in a file.",
    input: z.object({ path, old_text: z.string().min(1), new_text: z.string() }),
    effects: "once",
    approval: ({ path }) => ({ summary: `Edit ${path}`, risk: "medium" }),
    async execute({ path, old_text: oldText, new_text: newText }, { signal }) {
      const text = await textOf(path, signal)
      const [before = "", after, ...others] = text.split(oldText)
      if (after === undefined || others.length > 0) {
        const message = `old_text occurs ${after === undefined ? "nowhere" : `${1 + others.length} times`} in ${path}. It must occur exactly once.`
        throw new ToolError({ class: "invalid_request", code: "not_unique", message })
      }
      await workspace.write(path, `${before}${newText}${after}`, signal)
      return `Edited ${path}.`
    },
    // After a crash, the file says whether it was edited.
    async recover({ path, old_text: oldText, new_text: newText }, { signal }) {
      const text = await textOf(path, signal)
      if (newText !== "" && text.includes(newText) && (!text.includes(oldText) || newText.includes(oldText)))
        return { ran: true, value: `Edited ${path}.` }
      return text.includes(oldText) ? { ran: false } : undefined
    },
  })

  const runCommand = defineTool({
    name: "run_command",
    description: "Runs a command line in a shell, in the folder of the session, for at most two minutes. Returns what it prints.",
    input: z.object({ command: z.string().min(1) }),
    effects: "once",
    approval: ({ command }) => ({ summary: `Run ${command}`, risk: "high" }),
    async execute({ command }, { callId, signal, progress }) {
      const { output, exitCode, isTimeout } = await run(command, {
        cwd: workspace.cwd,
        timeoutMs: COMMAND_TIMEOUT_MS,
        signal,
        onTerminal(terminalId) {
          onTerminal(callId, terminalId)
          // Its event follows that of the call's beginning, so the editor knows the call when it is sent the terminal.
          progress({ message: "Runs in a terminal." })
        },
        onOutput: (message) => progress({ message }),
      })
      const end = isTimeout ? "It was stopped after two minutes." : exitCode === null ? "It was ended by a signal." : `Exit code ${exitCode}.`
      return [output.trimEnd(), end].filter((text) => text !== "").join("\n")
    },
  })

  return toolbox([readFile, listFiles, writeFile, editFile, runCommand], { attachments })
}
