import { randomBytes } from "node:crypto"
import { mkdir, open, readdir, readFile, rename, rmdir, stat, unlink } from "node:fs/promises"
import { hostname } from "node:os"
import { basename, dirname, join } from "node:path"
import { errorCode } from "./file-error.ts"
import { birthOf, bootId, isRunning } from "./process-id.ts"

/** How often somebody else may come first before whoever wants the lock gives up. */
const ATTEMPTS = 50

/** Who holds a lock, as far as its mark says so. */
export interface Holder {
  readonly pid: number
  readonly host: string
  /** Whether it is this very process, or one of this host, or one of which nothing can be known here. */
  readonly where: "here" | "this host" | "another host"
}

/** The lock is somebody else's. `holder` is absent where its mark cannot be read, or where it changes too fast. */
export class LockHeldError extends Error {
  readonly holder: Holder | undefined

  constructor(holder: Holder | undefined) {
    super("The lock is held.")
    this.holder = holder
  }
}

/** Something that is no lock stands in the lock's place. */
export class LockInTheWayError extends Error {}

/**
 * Keeps all but one owner from a file, with nothing but files. The lock is a folder beside the file, and in it the mark of
 * its owner, which is the owner for as long as the mark is there:
 *
 * - A lock is taken by renaming a folder, with the mark in it already, into the lock's place. The system lets that happen only where there is
 *   nothing or an empty folder, so of many who try at once, one succeeds.
 * - It is taken away from its owner by removing the mark. The name of a mark is used once, so that whoever judged an owner and
 *   comes late finds nothing, and cannot hit the next owner.
 * - What an owner prepares in order to rename it over the file stands in the folder too. As the next owner needs that folder empty,
 *   nothing that was prepared before can get over the file after.
 */
export class FileLock {
  /** Where the owner prepares what it renames over the file. Names there must end in `.tmp`. */
  readonly folder: string
  readonly #mark: string

  private constructor(folder: string, nonce: string) {
    this.folder = folder
    this.#mark = join(folder, nonce)
  }

  /**
   * @param options `takeOver`: from an owner that may be alive; `sync`: so that a mark is whole after a power cut
   * @throws {LockHeldError | LockInTheWayError} or what the system says
   */
  static async take(file: string, { takeOver, sync }: { readonly takeOver: boolean; readonly sync: boolean }): Promise<FileLock> {
    const folder = `${file}.lock`
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      await clear(folder, takeOver)
      const nonce = randomBytes(8).toString("hex")
      if (!(await place(folder, nonce, sync))) continue
      const lock = new FileLock(folder, nonce)
      const held = await lock.isHeld().catch(async (error: unknown) => {
        await lock.release()
        throw error
      })
      if (!held) continue
      await sweep(folder)
      return lock
    }
    throw new LockHeldError(undefined)
  }

  async isHeld(): Promise<boolean> {
    try {
      await stat(this.#mark)
      return true
    } catch (error) {
      if (errorCode(error) === "ENOENT" || errorCode(error) === "ENOTDIR") return false
      throw error
    }
  }

  /** Lets go of the lock, if it is still held. */
  async release(): Promise<void> {
    await unlink(this.#mark).catch(() => {})
    await rmdir(this.folder).catch(() => {})
  }
}

/** Who holds the lock of a file at this moment; `undefined`: nobody who is known to be alive. Looks only, and takes nothing. */
export async function lockHolder(file: string): Promise<LockHeldError | undefined> {
  const folder = `${file}.lock`
  const mark = (await list(folder))?.find((name) => !name.endsWith(".tmp"))
  return mark === undefined ? undefined : judge(join(folder, mark))
}

/** Empties the lock's folder, if its owner is gone or may be driven out. */
async function clear(folder: string, takeOver: boolean): Promise<void> {
  const names = await list(folder)
  if (names === undefined) return
  const mark = names.find((name) => !name.endsWith(".tmp"))
  if (mark !== undefined) {
    const held = takeOver ? undefined : await judge(join(folder, mark))
    if (held !== undefined) throw held
    await remove(join(folder, mark))
  }
  for (const name of names) if (name !== mark) await remove(join(folder, name))
  // Not every system renames over an empty folder.
  await rmdir(folder).catch(() => {})
}

async function list(folder: string): Promise<readonly string[] | undefined> {
  try {
    return await readdir(folder)
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined
    if (errorCode(error) === "ENOTDIR") throw inTheWay(folder, error)
    throw error
  }
}

/** Why a lock cannot be taken; `undefined` if its owner is gone. */
async function judge(path: string): Promise<LockHeldError | undefined> {
  let text: string
  try {
    text = await readFile(path, "utf8")
  } catch (error) {
    // Let go of at this moment.
    if (errorCode(error) === "ENOENT") return undefined
    throw error
  }
  const mark = readMark(text)
  if (mark === undefined) return new LockHeldError(undefined)
  const { pid, host, birth, boot } = mark
  if (host !== hostname()) return new LockHeldError({ pid, host, where: "another host" })
  const gone = differs(boot, bootId()) || !isRunning(pid) || differs(birth, birthOf(pid))
  return gone ? undefined : new LockHeldError({ pid, host, where: pid === process.pid ? "here" : "this host" })
}

/** Where one of the two is not known, they are taken for the same. */
function differs(noted: string | undefined, now: string | undefined): boolean {
  return noted !== undefined && now !== undefined && noted !== now
}

interface Mark {
  readonly pid: number
  readonly host: string
  readonly birth: string | undefined
  readonly boot: string | undefined
}

function readMark(text: string): Mark | undefined {
  try {
    const { pid, host, birth, boot } = JSON.parse(text) as Readonly<Record<string, unknown>>
    if (typeof pid !== "number" || !Number.isSafeInteger(pid) || pid < 1 || typeof host !== "string") return undefined
    return { pid, host, birth: typeof birth === "string" ? birth : undefined, boot: typeof boot === "string" ? boot : undefined }
  } catch {
    return undefined
  }
}

/** Puts a folder with this process's mark into the lock's place; false where somebody else came first. */
async function place(folder: string, nonce: string, sync: boolean): Promise<boolean> {
  const prepared = `${folder}.${nonce}`
  await mkdir(prepared, { mode: 0o700 })
  try {
    await writeMark(join(prepared, nonce), sync)
    await rename(prepared, folder)
    return true
  } catch (error) {
    await discard(prepared)
    const code = errorCode(error)
    // ENOENT: an owner took what was prepared for what a dead process left behind.
    if (code === "ENOTEMPTY" || code === "EEXIST" || code === "ENOENT") return false
    if (code === "ENOTDIR") throw inTheWay(folder, error)
    // Some systems say so where there is a folder already.
    if (code === "EPERM" && (await list(folder)) !== undefined) return false
    throw error
  }
}

async function writeMark(path: string, sync: boolean): Promise<void> {
  const handle = await open(path, "wx", 0o600)
  try {
    await handle.writeFile(`${JSON.stringify({ pid: process.pid, host: hostname(), birth: birthOf(process.pid), boot: bootId() })}\n`)
    if (sync) await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Removes what was prepared by processes that were killed before they could place it. Whoever is about to place it prepares it again. */
async function sweep(folder: string): Promise<void> {
  const prefix = `${basename(folder)}.`
  const names = await readdir(dirname(folder)).catch(() => [])
  for (const name of names) {
    if (name.startsWith(prefix) && /^[0-9a-f]{16}$/.test(name.slice(prefix.length))) await discard(join(dirname(folder), name))
  }
}

/** Removes a prepared folder, and nothing that is another thing by the same name. */
async function discard(prepared: string): Promise<void> {
  await unlink(join(prepared, prepared.slice(-16))).catch(() => {})
  await rmdir(prepared).catch(() => {})
}

async function remove(path: string): Promise<void> {
  try {
    await unlink(path)
  } catch (error) {
    if (errorCode(error) !== "ENOENT" && errorCode(error) !== "ENOTDIR") throw error
  }
}

function inTheWay(folder: string, cause: unknown): LockInTheWayError {
  return new LockInTheWayError(`"${basename(folder)}" is no lock and stands in the place of one`, { cause })
}
