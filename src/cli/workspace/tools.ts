import * as z from "zod"
import { ToolError } from "../../hosts/host.ts"
import { defineTool } from "../../hosts/tools/define-tool.ts"
import type { Tool } from "../../hosts/tools/toolbox.ts"
import { cutText } from "../terminal/format.ts"
import type { EditFolder, ReplacedLine } from "./edit-folder.ts"
import type { Folder } from "./folder.ts"
import { LineMatcher } from "./line-search.ts"
import type { OutFolder, Written } from "./out-folder.ts"
import { cutOf, isBinary, linesOf, MAX_FILE_BYTES, MAX_MATCHES, searchFolder, walkCut } from "./text-search.ts"

const MAX_LISTED_FILES = 1_000
const MAX_READ_LINES = 1_000
const MAX_READ_LENGTH = 64_000
const MAX_LINE_LENGTH = 1_000
const MAX_WRITTEN_LENGTH = 2_000_000
const MAX_NAMED_FOLDERS = 20
const MAX_LINE_CHARS = 20_000

/** The result of `list_files`. Here and below, `cut` describes what a limit left out; absent: nothing. */
export interface FileList {
  readonly root: string
  readonly folder: string
  readonly files: readonly { readonly path: string; readonly bytes: number }[]
  readonly totalFiles: number
  readonly totalBytes: number
  readonly skippedFolders: readonly string[]
  readonly skippedLinks: number
  readonly unreadable: number
  readonly cut?: string
}

/** The result of `read_file`. */
export interface FileText {
  readonly path: string
  readonly fromLine: number
  readonly toLine: number
  readonly totalLines: number
  readonly text: string
  readonly cut?: string
}

/** The tool that changes files outside of the output folder. */
export const REPLACE_LINE = "replace_line"

/** The tools of `turn-machine run`: three that read in `folder`, one that writes to `out`, and with `edit` one that changes lines in `folder`. */
export function fileTools(folder: Folder, out: OutFolder, edit?: EditFolder): readonly Tool[] {
  return [listFiles(folder), readFile(folder), searchText(folder), writeFile(out), ...(edit === undefined ? [] : [replaceLine(edit)])]
}

const inFolder = z.string().default(".").describe("Folder to look in, relative to the root. Default: the root.")

function listFiles(folder: Folder): Tool {
  return defineTool({
    name: "list_files",
    effects: "none",
    description: `Lists the files in a folder and all folders below it, with their sizes in bytes, at most ${MAX_LISTED_FILES} of them. Paths are relative to the root. Links, and folders of copies and caches such as node_modules and .git, are passed by.`,
    input: z.object({ folder: inFolder }),
    async execute(input, { signal }): Promise<FileList> {
      const walk = await folder.walk(input.folder, signal)
      const files = walk.files.slice(0, MAX_LISTED_FILES)
      const total = walk.files.length
      const cut = files.length < total ? `The first ${files.length} of ${total} files are listed; give a folder to see more of it.` : undefined
      return {
        root: folder.name,
        folder: input.folder,
        files,
        totalFiles: total,
        totalBytes: walk.files.reduce((sum, file) => sum + file.bytes, 0),
        skippedFolders: walk.skippedFolders.slice(0, MAX_NAMED_FOLDERS),
        skippedLinks: walk.links,
        unreadable: walk.unreadable,
        ...cutOf(cut, walkCut(walk)),
      }
    },
  })
}

function readFile(folder: Folder): Tool {
  return defineTool({
    name: "read_file",
    effects: "none",
    description: `Reads lines of a text file: all of them, or those from fromLine to toLine, at most ${MAX_READ_LINES} at a time. Lines count from 1.`,
    input: z.object({
      path: z.string().min(1).describe("The file, relative to the root."),
      fromLine: z.int().min(1).default(1).describe("First line to read. Default: 1."),
      toLine: z.int().min(1).optional().describe("Last line to read. Default: the end of the file."),
    }),
    async execute({ path, fromLine, toLine }): Promise<FileText> {
      const content = await folder.read(path, MAX_FILE_BYTES)
      if (isBinary(content)) throw new ToolError({ class: "invalid_request", code: "binary_file", message: `"${path}" is not a text file.` })
      const lines = linesOf(content)
      const wantedEnd = Math.min(toLine ?? lines.length, lines.length)
      const end = Math.min(wantedEnd, fromLine - 1 + MAX_READ_LINES)
      const shown: string[] = []
      let length = 0
      let cutLines = 0
      for (const line of lines.slice(fromLine - 1, end)) {
        length += Math.min(line.length, MAX_LINE_LENGTH) + 1
        if (length > MAX_READ_LENGTH) break
        if (line.length > MAX_LINE_LENGTH) cutLines += 1
        shown.push(cutText(line, MAX_LINE_LENGTH))
      }
      const last = fromLine - 1 + shown.length
      return {
        path,
        fromLine,
        toLine: last,
        totalLines: lines.length,
        text: shown.join("\n"),
        ...cutOf(
          last < wantedEnd && `Lines up to ${last} are shown; ask again from line ${last + 1}.`,
          cutLines > 0 && `Lines longer than ${MAX_LINE_LENGTH} characters are cut; they end in "…".`,
        ),
      }
    },
  })
}

function searchText(folder: Folder): Tool {
  return defineTool({
    name: "search_text",
    effects: "none",
    // Literal texts only: a pattern from a model could make the search run forever.
    description: `Searches all text files of a folder for lines that hold one of the given texts, and tells path, line number and line, at most ${MAX_MATCHES} of them, and how many there are. Texts are searched as they stand; there are no patterns.`,
    input: z.object({
      texts: z.array(z.string().min(1).max(200)).min(1).max(20).describe("A line matches if it holds one of these."),
      wholeWord: z.boolean().default(false).describe("Whether what is found must not go on with a letter, a digit or an underscore at either end."),
      ignoreCase: z.boolean().default(false).describe("Whether upper and lower case count as the same."),
      folder: inFolder,
    }),
    execute: ({ texts, wholeWord, ignoreCase, folder: start }, { signal }) =>
      searchFolder(folder, start, new LineMatcher(texts, { ignoreCase, wholeWord }), signal),
  })
}

function writeFile(out: OutFolder): Tool {
  return defineTool({
    name: "write_file",
    // A repeated call writes the same content.
    effects: "idempotent",
    description:
      "Writes a text file into the output folder, which is apart from the files that are read. It replaces what this program wrote under that name, and keeps what others wrote.",
    input: z.object({
      path: z.string().min(1).max(1_000).describe("The file, relative to the output folder."),
      content: z.string().max(MAX_WRITTEN_LENGTH),
    }),
    execute: ({ path, content }): Promise<Written> => out.write(path, content),
  })
}

function replaceLine(edit: EditFolder): Tool {
  return defineTool({
    name: REPLACE_LINE,
    // A repeated call finds the new text and changes nothing.
    effects: "idempotent",
    description:
      "Replaces one line of a text file in the folder that is read. It changes nothing unless the line is exactly the old text. The user may be asked first, and may change the arguments or refuse.",
    input: z.object({
      path: z.string().min(1).max(1_000).describe("The file, relative to the root."),
      line: z.int().min(1).describe("The line, counted from 1."),
      oldText: z.string().max(MAX_LINE_CHARS).describe("The whole line as it is, without its line break."),
      newText: z
        .string()
        .max(MAX_LINE_CHARS)
        .regex(/^[^\r\n]*$/)
        .describe("The whole line as it should be: one line."),
    }),
    execute: (change): Promise<ReplacedLine> => edit.replace(change),
  })
}
