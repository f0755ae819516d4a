import { randomBytes } from "node:crypto"
import { constants } from "node:fs"
import { type FileHandle, open, rename, unlink } from "node:fs/promises"
import { dirname, join } from "node:path"
import { inChunks } from "../journal/parts.ts"
import { closed, fenced, JournalStoreError, type StoredJournal } from "../journal/store.ts"
import { syncFolder } from "./atomic-file.ts"
import { errorCode, fileReason } from "./file-error.ts"
import type { FileLock } from "./file-lock.ts"

/** Does not follow a link that another process created under the name. */
const NO_FOLLOW = constants.O_NOFOLLOW ?? 0
const APPEND_TO_NEW = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_EXCL | NO_FOLLOW

/** The file of a journal. */
export interface FilePlace {
  /** The journal's name in messages. */
  readonly name: string
  /** Absolute path, with links resolved. */
  readonly path: string
  readonly sync: boolean
}

/** A write that waits in the queue. */
interface Write {
  readonly text: string | AsyncIterable<string>
  readonly replaces: boolean
  resolve(): void
  reject(error: unknown): void
}

/**
 * A journal in a file that only its owner writes to. Opening a journal replaces the file with a copy, so an earlier owner that still
 * writes does so to a file that is no longer read.
 *
 * Each write is followed by a check that this process still owns the lock. If it does, the write was in the file before the next
 * owner read it.
 */
export class FileJournal implements StoredJournal {
  readonly #place: FilePlace
  readonly #lock: FileLock
  #handle: FileHandle | undefined
  /** How many bytes of the file are known to be stored. */
  #length = 0
  #queue: Write[] = []
  #writing: Promise<void> | undefined
  #closing: Promise<void> | undefined
  /** Set once the file is in an unknown state or has another owner: every later write rejects with it. */
  #refusal: JournalStoreError | undefined

  private constructor(place: FilePlace, lock: FileLock) {
    this.#place = place
    this.#lock = lock
  }

  /** Opens the file under a lock, which the caller releases on failure. @throws {JournalStoreError} or a system error */
  static async open(place: FilePlace, lock: FileLock): Promise<FileJournal> {
    const journal = new FileJournal(place, lock)
    try {
      await journal.#replace(bytesAt(place.path))
    } catch (error) {
      await journal.#closeFile()
      throw error
    }
    return journal
  }

  async *read(): AsyncGenerator<string, void, undefined> {
    const { path } = this.#place
    if (this.#refusal !== undefined) throw this.#refusal
    // A replacement by parts of this journal may begin after `close` was called.
    if (this.#handle === undefined) throw closed(this.#place.name)
    const length = this.#length
    let handle: FileHandle | undefined
    try {
      handle = await openToRead(path)
      // The next owner removes the mark before it replaces the file: if this one still has it, the file that was opened is its own.
      if (!(await this.#lock.isHeld())) throw this.#fence()
      if (handle !== undefined) yield* decoded(bytesOf(handle, length))
    } catch (error) {
      throw error instanceof JournalStoreError ? error : this.#unavailable(error, "The text is unchanged.", "read from")
    } finally {
      await handle?.close()
    }
  }

  append(text: string): Promise<void> {
    return this.#enqueue(text, false)
  }

  replace(text: string | AsyncIterable<string>): Promise<void> {
    return this.#enqueue(text, true)
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      await this.#writing
      await this.#closeFile()
      await this.#lock.release()
    })()
    return this.#closing
  }

  #enqueue(text: string | AsyncIterable<string>, replaces: boolean): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(closed(this.#place.name))
    return new Promise((resolve, reject) => {
      this.#queue.push({ text, replaces, resolve, reject })
      this.#writing ??= this.#writeQueue()
    })
  }

  /** Writes the queue. Appends that wait together are written and synced together. */
  async #writeQueue(): Promise<void> {
    await Promise.resolve()
    while (this.#queue.length > 0) {
      const firstReplace = this.#queue.findIndex(({ replaces }) => replaces)
      const batch = this.#queue.splice(0, firstReplace < 0 ? this.#queue.length : Math.max(1, firstReplace))
      try {
        if (this.#refusal !== undefined) throw this.#refusal
        await (firstReplace === 0 ? this.#replace(encoded(batch)) : this.#append(encoded(batch)))
        for (const { resolve } of batch) resolve()
      } catch (error) {
        if (this.#refusal !== undefined) await this.#closeFile()
        for (const { reject } of batch) reject(this.#rejection(error))
      }
    }
    this.#writing = undefined
  }

  async #append(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const handle = this.#handle
    if (handle === undefined) throw closed(this.#place.name)
    let held: boolean
    let length: number
    try {
      length = await writeAll(handle, chunks)
      if (this.#place.sync) await handle.datasync()
      held = await this.#lock.isHeld()
    } catch (error) {
      await this.#rollBack(handle, error)
      throw error
    }
    if (!held) throw this.#fence()
    this.#length += length
  }

  /** After a failed write: restores the file, or refuses all later writes. */
  async #rollBack(handle: FileHandle, cause: unknown): Promise<void> {
    try {
      await handle.truncate(this.#length)
      if (this.#place.sync) await handle.datasync()
      // The next owner may have read the text before it was removed.
      if (!(await this.#lock.isHeld())) this.#fence()
    } catch {
      this.#refusal = this.#unavailable(cause, "A part of the text may be in the file. Open the journal again.")
    }
    if (this.#refusal !== undefined) throw this.#refusal
  }

  async #replace(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const { path, sync } = this.#place
    const staging = join(this.#lock.folder, `${randomBytes(8).toString("hex")}.tmp`)
    let handle: FileHandle | undefined
    let length: number
    try {
      handle = await open(staging, APPEND_TO_NEW, 0o600)
      // A next owner removes the staging file before it reads, so from here on the rename fails if the lock is lost.
      if (!(await this.#lock.isHeld())) throw this.#fence()
      length = await writeAll(handle, chunks)
      if (sync) await handle.sync()
    } catch (error) {
      await this.#discard(staging, handle)
      throw error
    }
    try {
      await rename(staging, path)
    } catch (error) {
      // Some systems report a failure for a rename that happened, so it is unknown which file is in place.
      this.#refusal = this.#unavailable(error, "Open the journal again.")
      await this.#discard(staging, handle)
      throw this.#refusal
    }
    await this.#closeFile()
    this.#handle = handle
    this.#length = length
    try {
      if (sync) await syncFolder(dirname(path))
      if (!(await this.#lock.isHeld())) this.#fence()
    } catch (error) {
      this.#refusal = this.#unavailable(error, "The owner of the journal is unknown. Open it again.")
    }
    if (this.#refusal !== undefined) throw this.#refusal
  }

  async #closeFile(): Promise<void> {
    const handle = this.#handle
    this.#handle = undefined
    await handle?.close().catch(() => {})
  }

  /** Removes the staging file of a failed replacement. */
  async #discard(staging: string, handle: FileHandle | undefined): Promise<void> {
    await handle?.close().catch(() => {})
    await unlink(staging).catch(() => {})
    if (!(await this.#lock.isHeld())) throw this.#fence()
  }

  #fence(): JournalStoreError {
    this.#refusal = fenced(this.#place.name)
    return this.#refusal
  }

  #rejection(error: unknown): unknown {
    if (error instanceof SourceError) return error.cause
    return error instanceof JournalStoreError ? error : this.#unavailable(error)
  }

  #unavailable(cause: unknown, advice = "Text that was stored before is unchanged.", action = "written to"): JournalStoreError {
    const { name, path } = this.#place
    const message = `Journal ${JSON.stringify(name)} cannot be ${action} ${path}, because ${fileReason(cause)}. ${advice}`
    return new JournalStoreError("unavailable", message, { cause })
  }
}

/** The parts of a new text cannot be read: their iteration threw `cause`. */
class SourceError extends Error {}

/** The bytes of the texts of some writes, in chunks. @throws {SourceError} */
async function* encoded(writes: readonly Write[]): AsyncGenerator<Uint8Array, void, undefined> {
  const texts = async function* (): AsyncGenerator<string, void, undefined> {
    for (const { text } of writes) {
      if (typeof text === "string") yield text
      else yield* text
    }
  }
  const chunks = inChunks(texts())
  try {
    for (;;) {
      const next = await chunks.next().catch((cause: unknown) => {
        throw new SourceError("The new text cannot be read.", { cause })
      })
      if (next.done === true) return
      yield Buffer.from(next.value, "utf8")
    }
  } finally {
    await chunks.return()
  }
}

/** Writes chunks at the end of a file and returns how many bytes that were. */
async function writeAll(handle: FileHandle, chunks: AsyncIterable<Uint8Array>): Promise<number> {
  let length = 0
  for await (const chunk of chunks) {
    await handle.appendFile(chunk)
    length += chunk.length
  }
  return length
}

/** The bytes of a file; an empty chunk if there is no file. */
export async function* bytesAt(path: string): AsyncGenerator<Uint8Array, void, undefined> {
  const handle = await openToRead(path)
  try {
    if (handle === undefined) yield new Uint8Array()
    else yield* bytesOf(handle)
  } finally {
    await handle?.close()
  }
}

/** Opens a file that is read as a journal; `undefined` if there is none. Does not follow a link, and does not wait for the writer of a pipe. */
async function openToRead(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, constants.O_RDONLY | NO_FOLLOW | (constants.O_NONBLOCK ?? 0))
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined
    throw error
  }
}

/** Bytes that are read at once. */
const READ_BYTES = 2 ** 20

/** Reads a file from its beginning, up to `length` bytes or the length that it has now. */
export async function* bytesOf(handle: FileHandle, length?: number): AsyncGenerator<Uint8Array, void, undefined> {
  const end = length ?? (await handle.stat()).size
  for (let position = 0; position < end; ) {
    const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(Math.min(READ_BYTES, end - position)), 0, null, position)
    if (bytesRead === 0) return
    position += bytesRead
    yield buffer.subarray(0, bytesRead)
  }
}

/** Decodes the bytes of a text. Parts end between characters. */
export async function* decoded(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
  for await (const chunk of chunks) {
    const part = decoder.decode(chunk, { stream: true })
    if (part !== "") yield part
  }
  const rest = decoder.decode()
  if (rest !== "") yield rest
}
