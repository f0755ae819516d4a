import { lstat, realpath } from "node:fs/promises"
import { basename, dirname, join, resolve } from "node:path"
import { ToolError } from "../../hosts/host.ts"
import { writeAtomically } from "../../hosts/node/atomic-file.ts"
import { fileReason } from "../../hosts/node/file-error.ts"
import { type Folder, isInside } from "./folder.ts"
import { isBinary, MAX_FILE_BYTES } from "./text-search.ts"

/** The result of `replace_line`. `unchanged`: the line already had the new text. */
export interface ReplacedLine {
  readonly path: string
  readonly line: number
  readonly status: "replaced" | "unchanged"
}

/** A line to replace. `line` counts from 1. */
export interface LineChange {
  readonly path: string
  readonly line: number
  readonly oldText: string
  readonly newText: string
}

/** Folders in which nothing is changed: a changed hook or setting there runs as a command later. */
const CLOSED_FOLDERS = new Set([".git", ".hg", ".svn", ".jj"])

/**
 * Changes lines of the files in the folder that is read. A change names the line and its old text, so it never replaces a text that its
 * author did not see, and the same change a second time changes nothing. Files are written atomically and keep their permissions.
 */
export class EditFolder {
  readonly #folder: Folder
  readonly #reserved: (path: string) => boolean
  #last: Promise<unknown> = Promise.resolve()

  /** `reserved`: absolute paths that are never changed. */
  constructor(folder: Folder, reserved: (path: string) => boolean = () => false) {
    this.#folder = folder
    this.#reserved = reserved
  }

  /**
   * Replaces a line, one at a time.
   * @throws {ToolError} as `Folder.read`; `closed_folder`, `is_a_link`, `not_text`, `no_such_line`, `line_differs`, `unwritable`
   */
  replace(change: LineChange): Promise<ReplacedLine> {
    const replaced = this.#last.then(() => this.#replace(change))
    this.#last = replaced.catch(() => {})
    return replaced
  }

  async #replace({ path, line, oldText, newText }: LineChange): Promise<ReplacedLine> {
    const content = await this.#folder.read(path, MAX_FILE_BYTES)
    const target = await this.#target(path)
    const text = textOf(path, content)
    const place = placeOfLine(text, line)
    if (place === undefined) throw refusal("invalid_request", "no_such_line", `"${path}" has no line ${line}.`)
    const found = text.slice(place.start, place.end)
    const name = path.split(/[/\\]/).join("/")
    if (found === newText) return { path: name, line, status: "unchanged" }
    if (found !== oldText)
      throw refusal("invalid_request", "line_differs", `Line ${line} of "${path}" is not the old text. Nothing was changed. Read the line again.`)
    const changed = `${text.slice(0, place.start)}${newText}${text.slice(place.end)}`
    try {
      const { mode } = await lstat(target)
      const temporary = join(dirname(target), `.${basename(target)}.${process.pid}.turn-machine-tmp`)
      // Read again just before the replacement: another program may have changed the file, or moved its folder.
      const check = async (): Promise<void> => {
        const now = await this.#folder.read(path, MAX_FILE_BYTES)
        if ((await this.#target(path)) !== target || !now.equals(content))
          throw refusal("permission_denied", "line_differs", `"${path}" was changed at the same time. Nothing was replaced. Read the line again.`)
      }
      await writeAtomically(target, changed, temporary, { mode: mode & 0o777, check })
      return { path: name, line, status: "replaced" }
    } catch (error) {
      if (error instanceof ToolError) throw error
      throw new ToolError({ class: "external", code: "unwritable", message: `"${path}" cannot be written: ${fileReason(error)}.` }, { cause: error })
    }
  }

  /** The real path of a file that may be changed. */
  async #target(path: string): Promise<string> {
    const { root } = this.#folder
    const wanted = resolve(root, path)
    const real = await realpath(wanted)
    if (real !== wanted)
      throw refusal("permission_denied", "is_a_link", `"${path}" is a link, or leads through one; nothing is changed through links.`)
    const names = real.slice(root.length).split(/[/\\]/)
    if (!isInside(root, real) || this.#reserved(real) || names.some((name) => CLOSED_FOLDERS.has(name.toLowerCase())))
      throw refusal("permission_denied", "closed_folder", `"${path}" must not be changed.`)
    return real
  }
}

/** The text of a file that survives decoding and encoding. @throws {ToolError} `not_text` */
function textOf(path: string, content: Buffer): string {
  try {
    if (!isBinary(content)) return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content)
  } catch {
    // Replacing its broken characters would change more than the line.
  }
  throw refusal("invalid_request", "not_text", `"${path}" is not a text file in UTF-8.`)
}

/** Where a line begins and ends, without its line break. */
function placeOfLine(text: string, line: number): { readonly start: number; readonly end: number } | undefined {
  const breaks = /\r\n|\n|\r/g
  let start = 0
  for (let number = 1; ; number += 1) {
    const found = breaks.exec(text)
    if (number === line) return found === null && start === text.length && number > 1 ? undefined : { start, end: found?.index ?? text.length }
    if (found === null) return undefined
    start = breaks.lastIndex
  }
}

function refusal(kind: "permission_denied" | "invalid_request", code: string, message: string): ToolError {
  return new ToolError({ class: kind, code, message })
}
