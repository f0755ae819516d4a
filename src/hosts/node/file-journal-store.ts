import { mkdir, realpath, stat } from "node:fs/promises"
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from "node:path"
import { inUse } from "../journal/refusals.ts"
import { type JournalStore, JournalStoreError, type OpenOptions, type StoredJournal } from "../journal/store.ts"
import { errorCode, fileReason } from "./file-error.ts"
import { FileJournal, type FilePlace } from "./file-journal.ts"
import { FileLock, LockHeldError, LockInTheWayError } from "./file-lock.ts"

/** How journals are kept in files. */
export interface FileJournalStoreOptions {
  /**
   * "always": what was appended is on the disk when `append` resolves, and outlives a power cut. "never": it is with the
   * system, and outlives the process alone. Default "always".
   */
  readonly fsync?: "always" | "never"
}

/**
 * Keeps each journal in a file that is nothing but its text; its name is the path of the file. While somebody holds it, a
 * folder `<file>.lock` stands beside it, in which the owner's process is noted: one that is gone, killed perhaps, is no hindrance;
 * one of another host is taken to be alive. Whoever opens a journal puts a copy of the file in its place, so that what an earlier owner
 * still writes reaches nobody; its mode is 0600 from then on. For disks of this machine: over a network, what another host
 * did may be seen too late.
 *
 * @param folder where the files are; made if it is not there. Names that lead out of it, over links too, are refused
 * as `unavailable`. Without it, names are paths of their own, relative to the working directory.
 */
export function fileJournalStore(folder?: string, { fsync = "always" }: FileJournalStoreOptions = {}): JournalStore {
  const root = folder === undefined ? undefined : resolve(folder)
  if (fsync !== "always" && fsync !== "never") throw new TypeError(`fsync is "always" or "never", not ${JSON.stringify(fsync)}.`)
  return {
    async open(name: string, { takeOver = false }: OpenOptions = {}): Promise<StoredJournal> {
      const sync = fsync === "always"
      try {
        const path = await fileOf(name, root)
        const stats = await stat(path).catch(unlessMissing)
        if (stats !== undefined && !stats.isFile()) throw new Refusal(stats.isDirectory() ? "it is a folder" : "it is no regular file")
        const lock = await FileLock.take(path, { takeOver, sync })
        return await openLocked({ name, path, sync }, lock)
      } catch (error) {
        throw refusalOf(name, error)
      }
    },
  }
}

async function openLocked(place: FilePlace, lock: FileLock): Promise<FileJournal> {
  try {
    return await FileJournal.open(place, lock)
  } catch (error) {
    await lock.release()
    // Fenced before it began: whoever did that holds the journal now.
    throw error instanceof JournalStoreError && error.code === "fenced" ? new LockHeldError(undefined) : error
  }
}

/** Why a journal cannot be opened, in words that can follow "because". */
class Refusal extends Error {}

/** The path of a journal's file with links resolved, so that a file reached by a link is replaced itself, and not the link. */
async function fileOf(name: string, folder: string | undefined): Promise<string> {
  if (folder === undefined) return realFile(resolve(name))
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    // A file, which the journals then cannot be in.
    if (errorCode(error) !== "EEXIST") throw error
  })
  const root = await realpath(folder)
  const outside = new Refusal("its name leads out of the folder of the journals")
  // Asked twice, so that nothing is looked at outside, and links are no way out either.
  if (!isInside(root, resolve(root, name))) throw outside
  const path = await realFile(resolve(root, name))
  if (!isInside(root, path)) throw outside
  return path
}

function isInside(folder: string, path: string): boolean {
  const way = relative(folder, path)
  return way !== "" && way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way)
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

function refusalOf(name: string, error: unknown): JournalStoreError {
  if (error instanceof JournalStoreError) return error
  if (error instanceof LockHeldError) return inUse(name, holderOf(error))
  const why = error instanceof Refusal || error instanceof LockInTheWayError ? error.message : fileReason(error)
  return new JournalStoreError("unavailable", `The journal ${JSON.stringify(name)} cannot be opened, because ${why}.`, { cause: error })
}

function holderOf({ holder }: LockHeldError): string {
  if (holder === undefined) return " by somebody who left no name"
  if (holder.where === "here") return " by this process"
  const { pid, host } = holder
  return holder.where === "this host" ? ` by process ${pid}` : ` by process ${pid} of host ${JSON.stringify(host)}, which may still run`
}
