import { randomBytes } from "node:crypto"
import { constants } from "node:fs"
import { type FileHandle, open, rename, unlink } from "node:fs/promises"
import { dirname, join } from "node:path"
import { closed, fenced } from "../journal/refusals.ts"
import { JournalStoreError, type StoredJournal } from "../journal/store.ts"
import { syncFolder } from "./atomic-file.ts"
import { errorCode, fileReason } from "./file-error.ts"
import type { FileLock } from "./file-lock.ts"

/** Not following a link that somebody laid under the name. */
const NO_FOLLOW = constants.O_NOFOLLOW ?? 0
const APPEND_TO_NEW = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_EXCL | NO_FOLLOW

/** Where a journal is kept, and how. */
export interface FilePlace {
  /** What the journal is called in messages. */
  readonly name: string
  /** Absolute, with links resolved. */
  readonly path: string
  readonly sync: boolean
}

/** Something asked for, with those who wait for it. */
interface Order {
  readonly text: string
  readonly replaces: boolean
  resolve(): void
  reject(error: unknown): void
}

/**
 * One journal in a file that its owner alone has made: whoever opens a journal puts a copy in the place of the file, so that
 * an earlier owner, whatever it still writes, writes to a file that nobody reads any more.
 *
 * Whether this owner was still the owner is asked after each write. If it was, the write was there before any next owner read.
 */
export class FileJournal implements StoredJournal {
  readonly text: string
  readonly #place: FilePlace
  readonly #lock: FileLock
  #handle: FileHandle | undefined
  /** How many bytes of the file are kept for certain. */
  #length = 0
  #orders: Order[] = []
  #working: Promise<void> | undefined
  #closing: Promise<void> | undefined
  /** Once something cannot be mended, all that comes after is refused with it. */
  #refusal: JournalStoreError | undefined

  private constructor(place: FilePlace, lock: FileLock, text: string) {
    this.text = text
    this.#place = place
    this.#lock = lock
  }

  /** @throws what the system says, or a `JournalStoreError`; the lock is the caller's to release */
  static async open(place: FilePlace, lock: FileLock): Promise<FileJournal> {
    const content = await readWhole(place.path)
    const journal = new FileJournal(place, lock, content.toString("utf8"))
    try {
      await journal.#replace(content)
    } catch (error) {
      await journal.#letGoOfFile()
      throw error
    }
    return journal
  }

  append(text: string): Promise<void> {
    return this.#order(text, false)
  }

  replace(text: string): Promise<void> {
    return this.#order(text, true)
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      await this.#working
      await this.#letGoOfFile()
      await this.#lock.release()
    })()
    return this.#closing
  }

  #order(text: string, replaces: boolean): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(closed(this.#place.name))
    return new Promise((resolve, reject) => {
      this.#orders.push({ text, replaces, resolve, reject })
      this.#working ??= this.#work()
    })
  }

  /** Appends that came in the same moment, or while another was under way, are written and synced together. */
  async #work(): Promise<void> {
    await Promise.resolve()
    while (this.#orders.length > 0) {
      const isReplace = this.#orders.findIndex(({ replaces }) => replaces)
      const orders = this.#orders.splice(0, isReplace < 0 ? this.#orders.length : Math.max(1, isReplace))
      try {
        if (this.#refusal !== undefined) throw this.#refusal
        const bytes = Buffer.from(orders.map(({ text }) => text).join(""), "utf8")
        await (isReplace === 0 ? this.#replace(bytes) : this.#append(bytes))
        for (const { resolve } of orders) resolve()
      } catch (error) {
        const refusal = error instanceof JournalStoreError ? error : this.#unavailable(error)
        if (this.#refusal !== undefined) await this.#letGoOfFile()
        for (const { reject } of orders) reject(refusal)
      }
    }
    this.#working = undefined
  }

  async #append(bytes: Buffer): Promise<void> {
    const handle = this.#handle
    if (handle === undefined) throw closed(this.#place.name)
    let held: boolean
    try {
      await handle.appendFile(bytes)
      if (this.#place.sync) await handle.datasync()
      held = await this.#lock.isHeld()
    } catch (error) {
      await this.#takeBack(handle, error)
      throw error
    }
    if (!held) throw this.#fence()
    this.#length += bytes.length
  }

  /** After a write that failed somewhere: the file is what it was, or nothing is written to it any more. */
  async #takeBack(handle: FileHandle, cause: unknown): Promise<void> {
    try {
      await handle.truncate(this.#length)
      if (this.#place.sync) await handle.datasync()
      // A next owner may have read what was taken back only now.
      if (!(await this.#lock.isHeld())) this.#fence()
    } catch {
      this.#refusal = this.#unavailable(cause, "What was written of it cannot be taken back; open the journal again.")
    }
    if (this.#refusal !== undefined) throw this.#refusal
  }

  async #replace(bytes: Buffer): Promise<void> {
    const { path, sync } = this.#place
    const staging = join(this.#lock.folder, `${randomBytes(8).toString("hex")}.tmp`)
    let handle: FileHandle | undefined
    try {
      handle = await open(staging, APPEND_TO_NEW, 0o600)
      // From here on: whoever takes the lock over has removed the staging file before it reads, and the renaming fails.
      if (!(await this.#lock.isHeld())) throw this.#fence()
      await handle.appendFile(bytes)
      if (sync) await handle.sync()
    } catch (error) {
      await this.#drop(staging, handle)
      throw error
    }
    try {
      await rename(staging, path)
    } catch (error) {
      // Of some systems one hears so of a renaming that was done; this owner's own file may be nobody's any more.
      this.#refusal = this.#unavailable(error, "Open the journal again.")
      await this.#drop(staging, handle)
      throw this.#refusal
    }
    await this.#letGoOfFile()
    this.#handle = handle
    this.#length = bytes.length
    try {
      if (sync) await syncFolder(dirname(path))
      if (!(await this.#lock.isHeld())) this.#fence()
    } catch (error) {
      this.#refusal = this.#unavailable(error, "It is not certain whose the journal is; open it again.")
    }
    if (this.#refusal !== undefined) throw this.#refusal
  }

  async #letGoOfFile(): Promise<void> {
    const handle = this.#handle
    this.#handle = undefined
    await handle?.close().catch(() => {})
  }

  /** After a replacement that did not come about. */
  async #drop(staging: string, handle: FileHandle | undefined): Promise<void> {
    await handle?.close().catch(() => {})
    await unlink(staging).catch(() => {})
    if (!(await this.#lock.isHeld())) throw this.#fence()
  }

  #fence(): JournalStoreError {
    this.#refusal = fenced(this.#place.name)
    return this.#refusal
  }

  #unavailable(cause: unknown, advice = "What was kept before is still kept."): JournalStoreError {
    const { name, path } = this.#place
    const message = `The journal ${JSON.stringify(name)} cannot be written to ${path}, because ${fileReason(cause)}. ${advice}`
    return new JournalStoreError("unavailable", message, { cause })
  }
}

async function readWhole(path: string): Promise<Buffer> {
  let handle: FileHandle
  try {
    // Opening a pipe would wait for whoever writes to it.
    handle = await open(path, constants.O_RDONLY | NO_FOLLOW | (constants.O_NONBLOCK ?? 0))
  } catch (error) {
    if (errorCode(error) === "ENOENT") return Buffer.alloc(0)
    throw error
  }
  try {
    return await handle.readFile()
  } finally {
    await handle.close()
  }
}
