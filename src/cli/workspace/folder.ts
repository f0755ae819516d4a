import { constants, type Dirent, type Stats } from "node:fs"
import { type FileHandle, lstat, open, opendir, realpath, stat } from "node:fs/promises"
import { basename, isAbsolute, join, relative, resolve, sep } from "node:path"
import { ToolError } from "../../hosts/host.ts"
import { errorCode, fileReason } from "../../hosts/node/file-error.ts"
import { byCodePoint } from "./code-points.ts"
import { OWN_FILES, readOwnFiles } from "./own-files.ts"
import { Pace } from "./pace.ts"

/** Folders of copies, caches and histories, which a walk skips. */
export const SKIPPED_FOLDERS: readonly string[] = [
  ".cache",
  ".git",
  ".gradle",
  ".hg",
  ".idea",
  ".jj",
  ".mypy_cache",
  ".next",
  ".nuxt",
  ".parcel-cache",
  ".pytest_cache",
  ".ruff_cache",
  ".svn",
  ".terraform",
  ".tox",
  ".turbo",
  ".venv",
  "__pycache__",
  "bower_components",
  "coverage",
  "dist",
  "node_modules",
]

/** The most files that a walk returns. */
export const MAX_WALKED_FILES = 20_000

/** The most entries of one folder that are considered, the first in order. More than a walk returns, because it omits some of them. */
const MAX_ENTRIES = 25_000

/** Does not follow a link that replaced the file since, and does not block on a pipe. */
const READ_ONLY = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0)

export interface FoundFile {
  /** Relative to the folder's root, with `/` as separator. */
  readonly path: string
  readonly bytes: number
}

/** The result of a walk, in code-point order of the paths. */
export interface Walk {
  readonly files: readonly FoundFile[]
  /** Folders skipped because of their names. */
  readonly skippedFolders: readonly string[]
  /** Links skipped: their targets are either elsewhere in the folder or outside of it. */
  readonly links: number
  /** Files and folders that could not be read. */
  readonly unreadable: number
  /** Whether the walk ended at {@link MAX_WALKED_FILES}, or a folder has so many entries that not all were considered. */
  readonly cut: boolean
}

/** Reads inside one folder and nowhere else: no `..`, no absolute path outside, no link that leads out. */
export class Folder {
  /** Its real path: absolute, without links. */
  readonly root: string
  readonly #hidden: (path: string) => boolean

  /** `root` is a real path. `hidden` says which files and folders, by absolute path, a walk omits. */
  constructor(root: string, hidden: (path: string) => boolean = () => false) {
    this.root = root
    this.#hidden = hidden
  }

  get name(): string {
    return basename(this.root)
  }

  /**
   * Reads a file of at most `maxBytes`.
   * @throws {ToolError} `outside_folder`, `not_found`, `not_a_file`, `too_large`, `unreadable`
   */
  async read(path: string, maxBytes: number): Promise<Buffer> {
    const real = await this.#locate(path)
    const handle = await this.#open(path, real)
    try {
      const { size } = await this.#checkOpened(path, real, handle)
      if (size > maxBytes) throw refused("resource_limit", "too_large", `"${path}" has ${size} bytes; the limit is ${maxBytes} bytes.`)
      // Files of /proc and /sys say that they are empty.
      return size > 0 ? await readBytes(handle, size) : await readUnsized(path, handle, maxBytes)
    } catch (error) {
      if (error instanceof ToolError) throw error
      throw unreadable(path, error)
    } finally {
      await handle.close()
    }
  }

  /**
   * Finds every file under a folder, without following links, except files that this program wrote: those of its output folders, and
   * journals, logs of threads and pages of the viewer wherever they are. The same tree gives the same result on every machine.
   * @throws {ToolError} `outside_folder`, `not_found`, `not_a_folder`
   */
  async walk(start: string, signal?: AbortSignal): Promise<Walk> {
    const realStart = await this.#locate(start)
    if (!(await stat(realStart)).isDirectory()) throw refused("invalid_request", "not_a_folder", `"${start}" is not a folder.`)
    const files: FoundFile[] = []
    const skippedFolders: string[] = []
    let links = 0
    let unreadable = 0

    const own = new Set<string>()
    const pace = new Pace(signal)
    let cut = false
    const pending: Place[] = [{ name: "", path: realStart, isFolder: true }]
    for (let place = pending.pop(); place !== undefined; place = pending.pop()) {
      signal?.throwIfAborted()
      const { path } = place
      try {
        if (!place.isFolder) {
          const { size } = await lstat(path)
          if (size >= MIN_OWN_BYTES && (await isOwnFile(path))) continue
          if (files.length === MAX_WALKED_FILES) {
            cut = true
            break
          }
          files.push({ path: this.#nameOf(path), bytes: size })
          continue
        }
        const inside = new FirstPlaces(MAX_ENTRIES)
        const skipped: string[] = []
        let [linked, hasOwn] = [0, false]
        // Entries arrive in parts: a list of a million would hold up everything else.
        for await (const entry of await opendir(path, { bufferSize: 1_024 })) {
          if (pace.spend(ENTRY_WORK)) await pace.pause()
          if (entry.name === OWN_FILES) hasOwn = true
          const found = placeOf(path, entry)
          if (entry.isSymbolicLink()) linked += 1
          else if (found === undefined || this.#hidden(found.path)) continue
          else if (found.isFolder && SKIPPED_FOLDERS.includes(found.name)) skipped.push(this.#nameOf(found.path))
          else inside.add(found)
        }
        // If a link replaced the folder before the read, these are files from outside.
        if ((await realpath(path)) !== path) throw refused("permission_denied", "outside_folder", "replaced by a link")
        links += linked
        for (const name of skipped) skippedFolders.push(name)
        if (hasOwn) for (const file of [OWN_FILES, ...Object.keys(await readOwnFiles(path))]) own.add(join(path, file))
        cut ||= inside.isCut
        for (const found of inside.inOrder().reverse()) if (!own.has(found.path)) pending.push(found)
      } catch (error) {
        if (signal?.aborted === true) throw error
        unreadable += 1
      }
    }
    return { files, skippedFolders: skippedFolders.sort(byCodePoint), links, unreadable, cut }
  }

  /** The real path of an existing file or folder inside. */
  async #locate(path: string): Promise<string> {
    if (path.includes("\0")) throw refused("invalid_request", "not_found", "A path cannot contain a NUL character.")
    const outside = refused(
      "permission_denied",
      "outside_folder",
      `"${path}" is outside the folder. Give a path inside it, relative to it, without "..".`,
    )
    if (path.split(/[/\\]/).includes("..")) throw outside
    const wanted = resolve(this.root, path === "" ? "." : path)
    if (!this.#holds(wanted)) throw outside
    let real: string
    try {
      real = await realpath(wanted)
    } catch (error) {
      throw unreadable(path, error)
    }
    if (!this.#holds(real)) throw refused("permission_denied", "outside_folder", `"${path}" is a link that leads out of the folder.`)
    return real
  }

  async #open(path: string, real: string): Promise<FileHandle> {
    try {
      return await open(real, READ_ONLY)
    } catch (error) {
      if (errorCode(error) === "EISDIR") throw notAFile(path)
      throw unreadable(path, error)
    }
  }

  /** Checks again after opening: a link may have replaced a parent folder between the check and the opening. */
  async #checkOpened(path: string, real: string, handle: FileHandle): Promise<Stats> {
    const opened = await handle.stat()
    if (!opened.isFile()) throw notAFile(path)
    const now = await realpath(real)
    const there = await lstat(now)
    if (!this.#holds(now) || there.ino !== opened.ino || there.dev !== opened.dev) {
      throw refused("permission_denied", "outside_folder", `"${path}" was moved while it was being opened.`)
    }
    return opened
  }

  #holds(path: string): boolean {
    return isInside(this.root, path)
  }

  #nameOf(path: string): string {
    return relative(this.root, path).split(sep).join("/")
  }
}

/** Whether `path` is `root` or inside it. Both are absolute. */
export function isInside(root: string, path: string): boolean {
  const inner = relative(root, path)
  return inner === "" || (inner !== ".." && !inner.startsWith(`..${sep}`) && !isAbsolute(inner))
}

interface Place {
  readonly name: string
  readonly path: string
  readonly isFolder: boolean
}

/** What reading one entry costs, as a share of a slice. */
const ENTRY_WORK = 32

/** Collects the first places of a folder in code-point order, in bounded memory. */
class FirstPlaces {
  readonly #most: number
  #places: Place[] = []
  isCut = false

  constructor(most: number) {
    this.#most = most
  }

  add(place: Place): void {
    this.#places.push(place)
    if (this.#places.length >= this.#most * 2) this.inOrder()
  }

  /** The first places, sorted. */
  inOrder(): Place[] {
    this.#places.sort((left, right) => byCodePoint(sortName(left), sortName(right)))
    if (this.#places.length > this.#most) {
      this.#places = this.#places.slice(0, this.#most)
      this.isCut = true
    }
    return this.#places
  }
}

/** Reads the first bytes of a file. */
async function readBytes(handle: FileHandle, size: number): Promise<Buffer> {
  const buffer = Buffer.alloc(size)
  let length = 0
  while (length < size) {
    const { bytesRead } = await handle.read(buffer, length, size - length, length)
    if (bytesRead === 0) break
    length += bytesRead
  }
  return buffer.subarray(0, length)
}

/** Reads a file that does not say how long it is. @throws {ToolError} `too_large` */
async function readUnsized(path: string, handle: FileHandle, maxBytes: number): Promise<Buffer> {
  const parts: Buffer[] = []
  let length = 0
  for (;;) {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(65_536), 0, 65_536, length)
    if (bytesRead === 0) return Buffer.concat(parts)
    parts.push(buffer.subarray(0, bytesRead))
    length += bytesRead
    if (length > maxBytes) throw refused("resource_limit", "too_large", `"${path}" has more than ${maxBytes} bytes, which is the limit.`)
  }
}

// The beginning of the first line of a turn's journal or a thread's log: a checksum of eight digits, then the header.
const RECORDS = /^\["[0-9a-f]{8}",\{"type":"header","format":"turn-machine\/(journal|thread)"/
// A page of the viewer says what made it, after the digests of its scripts.
const PAGE = /^<!doctype html>[\s\S]*<meta name="generator" content="turn-machine journal view">/
const MIN_OWN_BYTES = 60
const BEGINNING_BYTES = 1_024

/** Whether a file begins as journals, threads and pages of this program do. A file that cannot be opened does not. */
async function isOwnFile(path: string): Promise<boolean> {
  let handle: FileHandle
  try {
    handle = await open(path, READ_ONLY)
  } catch {
    return false
  }
  try {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(BEGINNING_BYTES), 0, BEGINNING_BYTES, 0)
    const beginning = buffer.toString("utf8", 0, bytesRead)
    return RECORDS.test(beginning) || PAGE.test(beginning)
  } finally {
    await handle.close()
  }
}

/** A walk omits sockets, pipes and devices. */
function placeOf(parent: string, entry: Dirent): Place | undefined {
  if (!entry.isDirectory() && !entry.isFile()) return undefined
  return { name: entry.name, path: join(parent, entry.name), isFolder: entry.isDirectory() }
}

/** A separator after folder names makes a depth-first walk return whole paths in order. */
function sortName({ name, isFolder }: Place): string {
  return isFolder ? `${name}/` : name
}

function refused(kind: "permission_denied" | "invalid_request" | "resource_limit", code: string, message: string): ToolError {
  return new ToolError({ class: kind, code, message })
}

function notAFile(path: string): ToolError {
  return refused("invalid_request", "not_a_file", `"${path}" is not a file.`)
}

function unreadable(path: string, cause: unknown): ToolError {
  if (errorCode(cause) === "ENOENT")
    return new ToolError({ class: "invalid_request", code: "not_found", message: `"${path}" does not exist.` }, { cause })
  return new ToolError({ class: "external", code: "unreadable", message: `"${path}" cannot be read: ${fileReason(cause)}.` }, { cause })
}
