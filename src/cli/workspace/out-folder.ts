import { createHash } from "node:crypto"
import { constants } from "node:fs"
import { access, lstat, mkdir, opendir, readFile, realpath, stat, unlink } from "node:fs/promises"
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from "node:path"
import { ToolError } from "../../hosts/host.ts"
import { writeAtomically } from "../../hosts/node/atomic-file.ts"
import { errorCode, fileReason } from "../../hosts/node/file-error.ts"
import { isRunning } from "../../hosts/node/process-id.ts"
import { isInside } from "./folder.ts"
import { OWN_FILES, ownFilesText, readOwnFiles } from "./own-files.ts"

/** The start of the message that refuses to replace a file of another author; the embedded planner then picks another name. */
export const FILE_EXISTS = "A file with this name exists that this program did not write, or that was edited"

/** More than `write_file` can write: two million characters of four bytes. */
const MAX_OWN_BYTES = 8_000_000

export interface Written {
  /** Relative to the output folder, with `/` as separator. */
  readonly path: string
  readonly bytes: number
  readonly status: "written" | "unchanged"
}

/**
 * The one folder that may be written to. Files are written atomically. A file is replaced only if this program wrote its
 * current content, in this run or an earlier one; files that others wrote or edited stay.
 */
export class OutFolder {
  readonly path: string
  readonly #replaceAny: boolean
  readonly #reserved: (path: string) => boolean
  #last: Promise<unknown> = Promise.resolve()

  /** `path` is absolute; it need not exist. `replaceAny`: replace files of others too. `reserved`: absolute paths that are never written to. */
  constructor(path: string, options: { readonly replaceAny?: boolean; readonly reserved?: (path: string) => boolean } = {}) {
    this.path = path
    this.#replaceAny = options.replaceAny ?? false
    this.#reserved = options.reserved ?? (() => false)
  }

  /**
   * Writes a text file, one at a time.
   * @throws {ToolError} `outside_folder`, `file_exists`, `is_a_link`, `not_a_file`, `unwritable`
   */
  write(path: string, text: string): Promise<Written> {
    const written = this.#last.then(() => this.#write(path, text))
    this.#last = written.catch(() => {})
    return written
  }

  async #write(path: string, text: string): Promise<Written> {
    const parts = this.#parts(path)
    const name = parts.join("/")
    const content = Buffer.from(text)
    const bytes = content.length
    try {
      await makeFolder(this.path)
      const root = await realpath(this.path)
      const parent = await this.#makeParents(root, parts.slice(0, -1))
      const target = join(parent, basename(name))
      if (this.#reserved(target)) throw refusal("outside_folder", `"${name}" is in use by the program itself; choose another name.`)

      const existing = await this.#existing(target, name)
      if (Buffer.isBuffer(existing) && existing.equals(content)) return { path: name, bytes, status: "unchanged" }
      const own = await readOwnFiles(root)
      const known = Object.hasOwn(own, name) ? (own[name] ?? []) : []
      if (existing !== undefined && !this.#replaceAny && (existing === "too large" || !known.includes(fingerprint(existing)))) {
        throw refusal("file_exists", `${FILE_EXISTS}: "${name}". Choose another name, or ask the user to run with --force.`)
      }

      // Recorded first: after a crash in between, the file would otherwise look like one of another author.
      const prints = !Buffer.isBuffer(existing) ? [fingerprint(content)] : [fingerprint(content), fingerprint(existing)]
      const list = join(root, OWN_FILES)
      await writeAtomically(list, ownFilesText({ ...own, [name]: prints }), temporaryFor(list))
      await removeLeftovers(parent)
      const check = async (): Promise<void> => {
        if ((await realpath(parent)) !== parent)
          throw refusal("outside_folder", `The folder of "${name}" was moved while the file was being written.`)
      }
      await writeAtomically(target, text, temporaryFor(target), { check })
      return { path: name, bytes, status: "written" }
    } catch (error) {
      if (error instanceof ToolError) throw error
      const reason = errorCode(error) === "ENOENT" ? "its folder does not exist and cannot be created" : fileReason(error)
      const message = `"${name}" cannot be written: ${reason}.`
      throw new ToolError({ class: "external", code: "unwritable", message }, { cause: error })
    }
  }

  #parts(path: string): readonly string[] {
    const parts = path.split(/[/\\]/).filter((part) => part !== "" && part !== ".")
    const last = parts.at(-1)
    if (path.includes("\0") || isAbsolute(path) || parts.includes("..") || last === undefined || !isInside(this.path, resolve(this.path, path))) {
      throw refusal("outside_folder", `"${path}" is not a path inside the output folder. Give a path relative to it, without "..".`)
    }
    if (last.toLowerCase() === OWN_FILES) throw refusal("outside_folder", `"${OWN_FILES}" is in use by the program itself; choose another name.`)
    return parts
  }

  /** Creates the parent folders one by one, and checks that none of them is a link. */
  async #makeParents(root: string, names: readonly string[]): Promise<string> {
    let parent = root
    for (const name of names) {
      parent = join(parent, name)
      await makeOne(parent)
      const found = await lstat(parent)
      const shown = relative(root, parent).split(sep).join("/")
      if (found.isSymbolicLink()) throw refusal("is_a_link", `"${shown}" is a link; nothing is written through links.`)
      if (!found.isDirectory()) throw refusal("not_a_folder", `"${shown}" is a file, not a folder.`)
    }
    return parent
  }

  /** The file's current content; `undefined` if it does not exist. One that is larger than any that this program writes is not read. */
  async #existing(target: string, name: string): Promise<Buffer | "too large" | undefined> {
    try {
      const found = await lstat(target)
      if (found.isSymbolicLink()) throw refusal("is_a_link", `"${name}" is a link; nothing is written through links.`)
      if (!found.isFile()) throw refusal("not_a_file", `"${name}" exists and is not a file.`)
      return found.size > MAX_OWN_BYTES ? "too large" : await readFile(target)
    } catch (error) {
      if (errorCode(error) === "ENOENT") return undefined
      throw error
    }
  }
}

/**
 * Checks, without creating it, that a folder can be created and written to.
 * @throws {Error} from the file system
 */
export async function checkWritable(path: string): Promise<void> {
  for (let folder = path; ; folder = dirname(folder)) {
    try {
      if (!(await stat(folder)).isDirectory()) throw Object.assign(new Error("not a folder"), { code: "ENOTDIR" })
      await access(folder, constants.W_OK | constants.X_OK)
      return
    } catch (error) {
      if (errorCode(error) !== "ENOENT" || dirname(folder) === folder) throw error
    }
  }
}

/**
 * Creates a folder and its parents, one by one: in places such as /proc, where creating a folder inside an existing one
 * fails with ENOENT, Node's `recursive` never returns.
 */
async function makeFolder(path: string): Promise<void> {
  if ((await stat(path).catch(() => undefined)) !== undefined) return
  if (dirname(path) !== path) await makeFolder(dirname(path))
  await makeOne(path)
}

async function makeOne(path: string): Promise<void> {
  await mkdir(path).catch((error: unknown) => {
    if (errorCode(error) !== "EEXIST") throw error
  })
}

function temporaryFor(target: string): string {
  return join(dirname(target), `.${basename(target)}.${process.pid}.turn-machine-tmp`)
}

/** Removes the temporary files of writers that were killed. */
async function removeLeftovers(folder: string): Promise<void> {
  for await (const { name } of await opendir(folder, { bufferSize: 1_024 })) {
    const pid = /\.(\d+)\.turn-machine-tmp$/.exec(name)?.[1]
    if (pid !== undefined && !isRunning(Number(pid))) await unlink(join(folder, name)).catch(() => {})
  }
}

function fingerprint(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex")
}

function refusal(code: string, message: string): ToolError {
  return new ToolError({ class: "permission_denied", code, message })
}
