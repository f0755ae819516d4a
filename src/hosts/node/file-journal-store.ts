import { mkdir, readdir, realpath, stat, unlink } from "node:fs/promises"
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from "node:path"
import {
  checkName,
  ifGone,
  inUse,
  isControlName,
  type JournalStore,
  JournalStoreError,
  type ListOptions,
  type OpenOptions,
  openWaiting,
  type StoredJournal,
} from "../journal/store.ts"
import { syncFolder } from "./atomic-file.ts"
import { errorCode, fileReason } from "./file-error.ts"
import { bytesAt, decoded, FileJournal, type FilePlace } from "./file-journal.ts"
import { FileLock, LockHeldError, LockInTheWayError, type LockSystem, SYSTEM } from "./file-lock.ts"

/** Options of {@link fileJournalStore}. */
export interface FileJournalStoreOptions {
  /**
   * `always`: when `append` resolves, its text is on the disk and survives a power cut. `never`: its text is with the operating
   * system and survives a crash of the process. Default `always`.
   */
  readonly fsync?: "always" | "never"
}

/**
 * Creates a store that keeps each journal in a file of its own, which contains the journal's text and nothing else. The name of a journal is
 * the path of its file. Give the store a folder of its own: every other file in it counts as a journal.
 *
 * While a journal is open, the folder `<file>.lock` beside it names the process of its owner. An owner that is gone, for example
 * killed, does not block the journal. This is known at once of a process in the same PID namespace, from its start time. Of any other
 * owner (in another container, on another host, before a reboot, or on a system without `/proc`), only the heartbeat is known: the
 * owner counts as gone after 30 seconds without one, and opening its journal then takes 7.5 seconds longer. An owner whose event loop
 * was blocked or suspended for longer is fenced off.
 *
 * Opening a journal replaces the file with a copy, so that an earlier owner no longer writes to it; the copy has mode 0600. Use it on
 * local disks: on a network file system, changes of another host may become visible too late. Names that differ only in case or in
 * Unicode normalization are one journal where the file system says so.
 *
 * @param folder the folder of the files, created if needed. Names that lead out of it, also through links, fail as `unavailable`.
 *   Without it, names are paths relative to the working directory, and `list` fails as `unavailable`.
 * @throws {TypeError} `fsync` is neither `always` nor `never`
 */
export function fileJournalStore(folder?: string, options: FileJournalStoreOptions = {}): JournalStore {
  return fileJournalStoreOn(SYSTEM, folder, options)
}

/** {@link fileJournalStore} on a given system: the tests have their own. */
export function fileJournalStoreOn(system: LockSystem, folder?: string, { fsync = "always" }: FileJournalStoreOptions = {}): JournalStore {
  const root = folder === undefined ? undefined : resolve(folder)
  if (fsync !== "always" && fsync !== "never") throw new TypeError(`fsync must be "always" or "never", not ${JSON.stringify(fsync)}.`)
  const sync = fsync === "always"
  const open = async (name: string, takeOver: boolean): Promise<StoredJournal> => {
    try {
      const path = await fileOf(name, root, true)
      await requireFile(path)
      const lock = await FileLock.acquire(path, { takeOver, sync, system })
      return await openLocked({ name, path, sync }, lock)
    } catch (error) {
      throw refusalOf(name, "opened", error)
    }
  }
  return {
    async open(name: string, { takeOver = false, waitMs }: OpenOptions = {}): Promise<StoredJournal> {
      checkName(name, SEPARATOR)
      return openWaiting(() => open(name, takeOver), waitMs, system.wait)
    },
    async read(name: string): Promise<AsyncIterable<string> | undefined> {
      checkName(name, SEPARATOR)
      try {
        const path = await fileOf(name, root, false)
        return (await requireFile(path)) ? textOfFile(name, path) : undefined
      } catch (error) {
        if (isMissing(error)) return undefined
        throw refusalOf(name, "read", error)
      }
    },
    async *list({ prefix = "" }: ListOptions = {}): AsyncGenerator<string, void, undefined> {
      if (root === undefined)
        throw new JournalStoreError("unavailable", "Journals cannot be listed, because the store has no folder. Pass one to fileJournalStore.")
      try {
        yield* namesIn(root, "", prefix)
      } catch (error) {
        throw new JournalStoreError("unavailable", `The journals in ${root} cannot be listed, because ${fileReason(error)}.`, { cause: error })
      }
    },
    async delete(name: string): Promise<void> {
      checkName(name, SEPARATOR)
      try {
        const path = await fileOf(name, root, false)
        if (!(await requireFile(path))) return
        const lock = await FileLock.acquire(path, { takeOver: false, sync, system })
        try {
          await unlink(path)
          if (sync) await syncFolder(dirname(path))
        } finally {
          await lock.release()
        }
      } catch (error) {
        if (isMissing(error)) return
        throw refusalOf(name, "deleted", error)
      }
    },
  }
}

const SEPARATOR = sep === "\\" ? /[\\/]/ : /\//

/** Whether an error means that the file, or its folder, does not exist. */
function isMissing(error: unknown): boolean {
  return errorCode(error instanceof Refusal ? error.cause : error) === "ENOENT"
}

/** Whether there is a file at a path. @throws {Refusal} there is something else */
async function requireFile(path: string): Promise<boolean> {
  const stats = await stat(path).catch(unlessMissing)
  if (stats !== undefined && !stats.isFile()) throw new Refusal(stats.isDirectory() ? "it is a folder" : "it is not a regular file")
  return stats !== undefined
}

async function* textOfFile(name: string, path: string): AsyncGenerator<string, void, undefined> {
  try {
    yield* decoded(bytesAt(path))
  } catch (error) {
    throw refusalOf(name, "read", error)
  }
}

/** The names of all files in a folder and in the folders in it, in the order of their code units. */
async function* namesIn(root: string, folder: string, prefix: string): AsyncGenerator<string, void, undefined> {
  const found = await readdir(join(root, folder), { withFileTypes: true }).catch(unlessMissing)
  const names = (found ?? []).flatMap((entry) => {
    if (isControlName(entry.name)) return []
    // With its slash, a folder is sorted to where the names of its files belong: "a-b", "a.b", "a/b".
    return entry.isDirectory() ? [`${folder}${entry.name}/`] : entry.isFile() ? [`${folder}${entry.name}`] : []
  })
  for (const name of names.sort()) {
    if (!name.endsWith("/")) {
      if (name.startsWith(prefix)) yield name
    } else if (name.startsWith(prefix) || prefix.startsWith(name)) yield* namesIn(root, name, prefix)
  }
}

async function openLocked(place: FilePlace, lock: FileLock): Promise<FileJournal> {
  try {
    return await FileJournal.open(place, lock)
  } catch (error) {
    await lock.release()
    // Fenced off while it was opening: the process that did so holds the journal now.
    throw error instanceof JournalStoreError && error.code === "fenced" ? new LockHeldError(undefined) : error
  }
}

/** Why a journal cannot be opened, as a clause that can follow "because". */
class Refusal extends Error {}

/** The path of a journal's file with links resolved, so that replacing the file does not replace a link to it. */
async function fileOf(name: string, folder: string | undefined, create: boolean): Promise<string> {
  if (folder === undefined) return realFile(resolve(name))
  if (create)
    await mkdir(folder, { recursive: true }).catch((error: unknown) => {
      // EEXIST: the path is a file. Resolving the journal's own path reports it.
      if (errorCode(error) !== "EEXIST") throw error
    })
  const root = await realpath(folder)
  const outside = new Refusal("its name leads out of the journals' folder")
  // Checked before and after links are resolved: nothing outside is touched, and links do not lead out either.
  if (!isInside(root, resolve(root, name))) throw outside
  const path = await realFile(resolve(root, name))
  if (!isInside(root, path)) throw outside
  return path
}

function isInside(folder: string, path: string): boolean {
  const inner = relative(folder, path)
  return inner !== "" && inner !== ".." && !inner.startsWith(`..${sep}`) && !isAbsolute(inner)
}

async function realFile(path: string): Promise<string> {
  const real = await realpath(path).catch(unlessMissing)
  if (real !== undefined) return real
  try {
    return join(await realpath(dirname(path)), basename(path))
  } catch (error) {
    throw new Refusal(`its folder cannot be used: ${fileReason(error)}`, { cause: error })
  }
}

function unlessMissing(error: unknown): undefined {
  if (errorCode(error) !== "ENOENT") throw error
}

function refusalOf(name: string, action: "opened" | "read" | "deleted", error: unknown): JournalStoreError {
  if (error instanceof JournalStoreError) return error
  if (error instanceof LockHeldError) return inUseBy(name, error)
  const why = error instanceof Refusal || error instanceof LockInTheWayError ? error.message : fileReason(error)
  return new JournalStoreError("unavailable", `Journal ${JSON.stringify(name)} cannot be ${action}, because ${why}.`, { cause: error })
}

function inUseBy(name: string, { holder, retryAfterMs }: LockHeldError): JournalStoreError {
  const remedy = retryAfterMs === undefined ? "Wait for it with waitMs, or pass takeOver if it hangs." : `Close it. ${ifGone(retryAfterMs)}`
  if (holder === undefined) return retryAfterMs === undefined ? inUse(name) : inUse(name, undefined, undefined, remedy, retryAfterMs)
  const { pid, host, since, where, isSameHost } = holder
  const owner = { pid, host, ...(since !== undefined && { since }) }
  if (where === "here") return inUse(name, owner, `already open in this process (pid ${pid})`, "Close it first, or pass takeOver.")
  const isHere = where === "visible" || isSameHost
  const state = isHere ? `open in another process (pid ${pid})` : `open on host ${JSON.stringify(host)} (pid ${pid} there)`
  return inUse(name, owner, state, remedy, retryAfterMs)
}
