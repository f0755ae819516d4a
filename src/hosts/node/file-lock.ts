import { randomBytes } from "node:crypto"
import { constants } from "node:fs"
import { lstat, mkdir, open, readdir, readFile, rename, rmdir, stat, unlink } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { every, sleep } from "../timers.ts"
import { errorCode } from "./file-error.ts"
import { birthOf, isRunning, ownIdentity, type ProcessIdentity } from "./process-id.ts"

/** How often another process may win the race for the lock before acquiring it fails. */
const ATTEMPTS = 50

/** How often an owner writes to its mark. */
const HEARTBEAT_MS = 5_000
/** An owner that is not known to be alive counts as gone if it has not written to its mark within this time. */
const STALE_MS = 30_000
/** How long a mark that looks stale is watched: a clock that was set, and a machine that was suspended, make every mark look stale. */
const WATCH_MS = 7_500

/** What a lock needs of the system. */
export interface LockSystem {
  /** The identity of this process. */
  identity(): ProcessIdentity
  /** Whether a process runs under an id in this PID namespace. */
  isRunning(pid: number): boolean
  birthOf(pid: number): string | undefined
  wait(ms: number): Promise<void>
  /** Calls `act` regularly, without keeping the process alive, until the returned function is called. */
  every(ms: number, act: () => void): () => void
}

export const SYSTEM: LockSystem = { identity: ownIdentity, isRunning, birthOf, wait: sleep, every }

/** The process that holds a lock, as its mark describes it. */
export interface Holder {
  readonly pid: number
  readonly host: string
  /** When it acquired the lock; `undefined` if the mark does not say. Milliseconds since the epoch. */
  readonly since: number | undefined
  /** This process, a living one that this process can see, or one of which only the heartbeat is known. */
  readonly where: "here" | "visible" | "unseen"
  /** Whether it runs on a host of the same name as this process. */
  readonly isSameHost: boolean
}

/** Another process holds the lock. */
export class LockHeldError extends Error {
  /** `undefined` if its mark cannot be read, or if the lock changes hands too fast. */
  readonly holder: Holder | undefined
  /** In how many milliseconds the holder counts as gone if it gives no more sign of life. `undefined`: it is known to be alive. */
  readonly retryAfterMs: number | undefined

  constructor(holder: Holder | undefined, retryAfterMs?: number) {
    super("Another process holds the lock.")
    this.holder = holder
    this.retryAfterMs = retryAfterMs
  }
}

/** What is at the path of the lock folder is not a lock. Nothing was changed. */
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
 * - Whether an owner is gone is decided by its boot id, PID namespace, process id and start time, if this process has the same boot id
 *   and PID namespace. Otherwise its heartbeat decides: an owner writes to its mark every 5 seconds, and counts as gone after 30
 *   seconds without a write. Both times are those of the file system, so the clocks of two hosts are never compared. Before the lock
 *   is taken, the mark is watched for more than one heartbeat.
 */
export class FileLock {
  /** Where the owner prepares files that it renames over the locked file. Their names must be 16 hexadecimal digits and `.tmp`. */
  readonly folder: string
  readonly #mark: string
  #endHeartbeat = (): void => {}
  #beating: Promise<void> | undefined

  private constructor(folder: string, nonce: string) {
    this.folder = folder
    this.#mark = join(folder, nonce)
  }

  /**
   * Acquires the lock of a file. `takeOver` takes it from an owner that may be alive; `sync` makes the mark survive a power cut.
   * @throws {LockHeldError | LockInTheWayError} or a system error
   */
  static async acquire(
    file: string,
    { takeOver, sync, system = SYSTEM }: { readonly takeOver: boolean; readonly sync: boolean; readonly system?: LockSystem },
  ): Promise<FileLock> {
    const folder = `${file}.lock`
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      await clear(folder, takeOver, system)
      const nonce = randomBytes(8).toString("hex")
      if (!(await place(folder, nonce, sync, system))) continue
      const lock = new FileLock(folder, nonce)
      const held = await lock.isHeld().catch(async (error: unknown) => {
        await lock.release()
        throw error
      })
      if (!held) continue
      await sweep(folder)
      lock.#startHeartbeat(system)
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
    this.#endHeartbeat()
    await this.#beating
    HELD.delete(this.#mark)
    await unlink(this.#mark).catch(() => {})
    await rmdir(this.folder).catch(() => {})
  }

  #startHeartbeat(system: LockSystem): void {
    HELD.add(this.#mark)
    this.#endHeartbeat = system.every(HEARTBEAT_MS, () => {
      this.#beating ??= this.#beat().finally(() => {
        this.#beating = undefined
      })
    })
  }

  async #beat(): Promise<void> {
    try {
      await touch(this.#mark)
    } catch (error) {
      // The lock was taken. Other errors may pass until the next heartbeat.
      if (errorCode(error) === "ENOENT" || errorCode(error) === "ENOTDIR") this.#endHeartbeat()
    }
  }
}

/** The marks of this process. Its own heartbeat stops while it is busy, but it is not gone. */
const HELD = new Set<string>()

/** Sets a file's time of change to now, by the clock of the file system. Its content is unchanged. */
async function touch(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDWR | (constants.O_NOFOLLOW ?? 0))
  try {
    const { size } = await handle.stat()
    await handle.write("\n", Math.max(0, size - 1))
  } finally {
    await handle.close()
  }
}

/** Reads who holds the lock of a file; `undefined` if it is free, or if the holder seems to be gone. Does not acquire the lock. */
export async function lockHolder(file: string): Promise<LockHeldError | undefined> {
  const folder = `${file}.lock`
  const mark = (await list(folder))?.find((name) => !name.endsWith(".tmp"))
  if (mark === undefined) return undefined
  const path = join(folder, mark)
  const held = await readHolder(path, SYSTEM)
  if (held?.retryAfterMs === undefined) return held
  const beat = await heartbeatOf(path)
  return beat !== undefined && isFresh(Date.now() - beat) ? held : undefined
}

/** Empties the folder of a lock whose owner is gone, or which is taken over. */
async function clear(folder: string, takeOver: boolean, system: LockSystem): Promise<void> {
  const names = await list(folder)
  if (names === undefined) return
  const mark = names.find((name) => !name.endsWith(".tmp"))
  if (mark !== undefined) {
    if (!takeOver) await requireGone(folder, join(folder, mark), system)
    await remove(join(folder, mark))
  }
  for (const name of names) if (name !== mark) await remove(join(folder, name))
  // Not every system renames over an empty folder.
  await rmdir(folder).catch(() => {})
}

/** @throws {LockHeldError} the owner of a mark is alive, or may be */
async function requireGone(folder: string, mark: string, system: LockSystem): Promise<void> {
  const held = await readHolder(mark, system)
  if (held === undefined) return
  if (held.retryAfterMs === undefined) throw held
  const beat = await heartbeatOf(mark)
  if (beat === undefined) return
  const age = (await fileSystemTime(folder)) - beat
  if (isFresh(age)) throw new LockHeldError(held.holder, STALE_MS - age)
  await system.wait(WATCH_MS)
  const later = await heartbeatOf(mark)
  if (later !== undefined && later !== beat) throw new LockHeldError(held.holder, STALE_MS)
}

/** Whether a heartbeat is recent. One far in the future was made before the clock was set back: the next one says more. */
function isFresh(age: number): boolean {
  return Math.abs(age) < STALE_MS
}

/** The time of a mark's last heartbeat; `undefined` if there is no mark any more. */
async function heartbeatOf(mark: string): Promise<number | undefined> {
  try {
    // A network file system may know an old time of a file until it is opened.
    const handle = await open(mark, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0))
    try {
      return (await handle.stat()).mtimeMs
    } finally {
      await handle.close()
    }
  } catch (error) {
    if (errorCode(error) === "ENOENT" || errorCode(error) === "ENOTDIR") return undefined
    throw error
  }
}

/** The current time by the clock of the file system, in milliseconds. */
async function fileSystemTime(folder: string): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await timeOfNewFile(folder)
    } catch (error) {
      // An owner has swept the prepared folder, because it looked abandoned.
      if (errorCode(error) !== "ENOENT" || attempt === ATTEMPTS) throw error
    }
  }
}

async function timeOfNewFile(folder: string): Promise<number> {
  const nonce = randomBytes(8).toString("hex")
  const prepared = `${folder}.${nonce}`
  await mkdir(prepared, { mode: 0o700 })
  try {
    const handle = await open(join(prepared, nonce), "wx", 0o600)
    try {
      await handle.write("\n", 0)
      return (await handle.stat()).mtimeMs
    } finally {
      await handle.close()
    }
  } finally {
    await discard(prepared)
  }
}

/**
 * The files of a lock folder; `undefined` if there is none. Taking over a lock empties its folder, so a link, and a folder with files of
 * others, are not taken for one.
 * @throws {LockInTheWayError} or a system error
 */
async function list(folder: string): Promise<readonly string[] | undefined> {
  try {
    if ((await lstat(folder)).isSymbolicLink()) throw inTheWay(folder)
    const names = await readdir(folder)
    if (names.some((name) => !LOCK_FILE.test(name))) throw inTheWay(folder)
    return names
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined
    if (errorCode(error) === "ENOTDIR") throw inTheWay(folder, error)
    throw error
  }
}

/** A mark, or a file that its owner prepares. */
const LOCK_FILE = /^[0-9a-f]{16}(\.tmp)?$/

/** Reads a mark; `undefined` if its process is gone. If only its heartbeat can say, there is a `retryAfterMs`. */
async function readHolder(path: string, system: LockSystem): Promise<LockHeldError | undefined> {
  let text: string
  try {
    text = await readFile(path, "utf8")
  } catch (error) {
    // The owner has just released the lock.
    if (errorCode(error) === "ENOENT") return undefined
    throw error
  }
  const mark = readMark(text)
  if (mark === undefined) return new LockHeldError(undefined, STALE_MS)
  const own = system.identity()
  const { pid, host, since } = mark
  const holder = { pid, host, since, isSameHost: host === own.host }
  if (HELD.has(path)) return new LockHeldError({ ...holder, where: "here" })
  const state = stateOf(mark, own, system)
  if (state === "gone") return undefined
  if (state === "unknown") return new LockHeldError({ ...holder, where: "unseen" }, STALE_MS)
  return new LockHeldError({ ...holder, where: pid === own.pid ? "here" : "visible" })
}

/** Whether a process runs, as far as this process can see. */
function stateOf(process: ProcessIdentity, own: ProcessIdentity, system: LockSystem): "alive" | "gone" | "unknown" {
  const { pid, boot, namespace } = process
  if (boot !== undefined && boot === own.boot && namespace !== undefined && namespace === own.namespace) {
    if (!system.isRunning(pid)) return "gone"
    const birth = system.birthOf(pid)
    if (birth === undefined || process.birth === undefined) return "unknown"
    return birth === process.birth ? "alive" : "gone"
  }
  // Without /proc, a process that runs may be another one with the same id.
  const isWithoutProc = boot === undefined && namespace === undefined && own.boot === undefined && own.namespace === undefined
  return isWithoutProc && process.host === own.host && !system.isRunning(pid) ? "gone" : "unknown"
}

interface Mark extends ProcessIdentity {
  readonly since: number | undefined
}

function readMark(text: string): Mark | undefined {
  try {
    const { pid, host, since, birth, boot, namespace } = JSON.parse(text) as Readonly<Record<string, unknown>>
    if (typeof pid !== "number" || !Number.isSafeInteger(pid) || pid < 1 || typeof host !== "string") return undefined
    const textOr = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined)
    return {
      pid,
      host,
      since: typeof since === "number" ? since : undefined,
      birth: textOr(birth),
      boot: textOr(boot),
      namespace: textOr(namespace),
    }
  } catch {
    return undefined
  }
}

/** Renames a folder with this process's mark to the path of the lock. Returns false if another process was first. */
async function place(folder: string, nonce: string, sync: boolean, system: LockSystem): Promise<boolean> {
  const prepared = `${folder}.${nonce}`
  await mkdir(prepared, { mode: 0o700 })
  try {
    await writeMark(join(prepared, nonce), sync, system.identity())
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

async function writeMark(path: string, sync: boolean, identity: ProcessIdentity): Promise<void> {
  const handle = await open(path, "wx", 0o600)
  try {
    await handle.writeFile(`${JSON.stringify({ ...identity, since: Date.now() })}\n`)
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

function inTheWay(folder: string, cause?: unknown): LockInTheWayError {
  return new LockInTheWayError(`"${basename(folder)}" is at the path of its lock and is not a lock folder`, { cause })
}
