import { randomBytes } from "node:crypto"
import { mkdir, open, readdir, readFile, rename, rmdir, stat, unlink } from "node:fs/promises"
import { hostname } from "node:os"
import { basename, dirname, join } from "node:path"
import { errorCode } from "./file-error.ts"
import { birthOf, bootId, isRunning } from "./process-id.ts"

/** How often another process may win the race for the lock before acquiring it fails. */
const ATTEMPTS = 50

/** The process that holds a lock, as its mark describes it. */
export interface Holder {
  readonly pid: number
  readonly host: string
  /** When it acquired the lock; `undefined` if the mark does not say. Milliseconds since the epoch. */
  readonly since: number | undefined
  /** This process, another one on this host, or one on another host, whose state is unknown here. */
  readonly where: "here" | "this host" | "another host"
}

/** Another process holds the lock. `holder` is `undefined` if its mark cannot be read, or if the lock changes hands too fast. */
export class LockHeldError extends Error {
  readonly holder: Holder | undefined

  constructor(holder: Holder | undefined) {
    super("Another process holds the lock.")
    this.holder = holder
  }
}

/** There is a file at the path of the lock folder that is not a lock. */
export class LockInTheWayError extends Error {}

/**
 * An exclusive lock on a file, made of files alone. The lock is a folder beside the file that contains the mark of its owner. A
 * process owns the lock for as long as its mark exists:
 *
 * - To acquire the lock, a process renames a prepared folder, with its mark inside, to the path of the lock. The system allows that
 *   only where there is nothing or an empty folder, so of many processes that try at once, one succeeds.
 * - To take the lock from its owner, a process removes the mark. Each mark has a name of its own, so a process that removes it late
 *   cannot remove the mark of the next owner.
 * - An owner also prepares files in the folder before it renames them over the locked file. The next owner needs the folder empty, so
 *   no file that was prepared by an earlier owner can replace the locked file later.
 */
export class FileLock {
  /** Where the owner prepares files that it renames over the locked file. Their names must end in `.tmp`. */
  readonly folder: string
  readonly #mark: string

  private constructor(folder: string, nonce: string) {
    this.folder = folder
    this.#mark = join(folder, nonce)
  }

  /**
   * Acquires the lock of a file. `takeOver` takes it from an owner that may be alive; `sync` makes the mark survive a power cut.
   * @throws {LockHeldError | LockInTheWayError} or a system error
   */
  static async acquire(file: string, { takeOver, sync }: { readonly takeOver: boolean; readonly sync: boolean }): Promise<FileLock> {
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

  /** Releases the lock. Does nothing if another process has taken it. */
  async release(): Promise<void> {
    await unlink(this.#mark).catch(() => {})
    await rmdir(this.folder).catch(() => {})
  }
}

/** Reads who holds the lock of a file; `undefined` if it is free, or if the holder is gone. Does not acquire the lock. */
export async function lockHolder(file: string): Promise<LockHeldError | undefined> {
  const folder = `${file}.lock`
  const mark = (await list(folder))?.find((name) => !name.endsWith(".tmp"))
  return mark === undefined ? undefined : readHolder(join(folder, mark))
}

/** Empties the folder of a lock whose owner is gone, or which is taken over. */
async function clear(folder: string, takeOver: boolean): Promise<void> {
  const names = await list(folder)
  if (names === undefined) return
  const mark = names.find((name) => !name.endsWith(".tmp"))
  if (mark !== undefined) {
    const held = takeOver ? undefined : await readHolder(join(folder, mark))
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

/** Reads a mark; `undefined` if the process that it names is gone. */
async function readHolder(path: string): Promise<LockHeldError | undefined> {
  let text: string
  try {
    text = await readFile(path, "utf8")
  } catch (error) {
    // The owner has just released the lock.
    if (errorCode(error) === "ENOENT") return undefined
    throw error
  }
  const mark = readMark(text)
  if (mark === undefined) return new LockHeldError(undefined)
  const { pid, host, since, birth, boot } = mark
  if (host !== hostname()) return new LockHeldError({ pid, host, since, where: "another host" })
  const gone = differs(boot, bootId()) || !isRunning(pid) || differs(birth, birthOf(pid))
  return gone ? undefined : new LockHeldError({ pid, host, since, where: pid === process.pid ? "here" : "this host" })
}

/** Unknown values count as equal. */
function differs(marked: string | undefined, current: string | undefined): boolean {
  return marked !== undefined && current !== undefined && marked !== current
}

interface Mark {
  readonly pid: number
  readonly host: string
  readonly since: number | undefined
  readonly birth: string | undefined
  readonly boot: string | undefined
}

function readMark(text: string): Mark | undefined {
  try {
    const { pid, host, since, birth, boot } = JSON.parse(text) as Readonly<Record<string, unknown>>
    if (typeof pid !== "number" || !Number.isSafeInteger(pid) || pid < 1 || typeof host !== "string") return undefined
    return {
      pid,
      host,
      since: typeof since === "number" ? since : undefined,
      birth: typeof birth === "string" ? birth : undefined,
      boot: typeof boot === "string" ? boot : undefined,
    }
  } catch {
    return undefined
  }
}

/** Renames a folder with this process's mark to the path of the lock. Returns false if another process was first. */
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
    // ENOENT: an owner has swept the prepared folder, because it looked abandoned.
    if (code === "ENOTEMPTY" || code === "EEXIST" || code === "ENOENT") return false
    if (code === "ENOTDIR") throw inTheWay(folder, error)
    // Some systems report an existing folder this way.
    if (code === "EPERM" && (await list(folder)) !== undefined) return false
    throw error
  }
}

async function writeMark(path: string, sync: boolean): Promise<void> {
  const handle = await open(path, "wx", 0o600)
  try {
    const mark = { pid: process.pid, host: hostname(), since: Date.now(), birth: birthOf(process.pid), boot: bootId() }
    await handle.writeFile(`${JSON.stringify(mark)}\n`)
    if (sync) await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Removes folders that killed processes prepared. A live process whose folder is removed prepares a new one. */
async function sweep(folder: string): Promise<void> {
  const prefix = `${basename(folder)}.`
  const names = await readdir(dirname(folder)).catch(() => [])
  for (const name of names) {
    if (name.startsWith(prefix) && /^[0-9a-f]{16}$/.test(name.slice(prefix.length))) await discard(join(dirname(folder), name))
  }
}

/** Removes a prepared folder. Anything else of that name is left alone. */
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
  return new LockInTheWayError(`"${basename(folder)}" is at the path of its lock and is not a lock folder`, { cause })
}
