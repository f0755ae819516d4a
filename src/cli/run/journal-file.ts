import { lstat, open, stat } from "node:fs/promises"
import { hostname } from "node:os"
import { basename, dirname } from "node:path"
import { JournalError } from "../../errors.ts"
import { firstChars, journalReader } from "../../hosts/journal/parts.ts"
import { readHistory } from "../../hosts/journal/read-journal.ts"
import type { JournalOwner, JournalStoreError } from "../../hosts/journal/store.ts"
import { errorCode, fileReason } from "../../hosts/node/file-error.ts"
import { bytesOf, decoded } from "../../hosts/node/file-journal.ts"
import { fileJournalStore } from "../../hosts/node/file-journal-store.ts"
import { type Journal, JournalReader } from "../../replay/journal.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"

/** The content of a journal file, which may be in use. */
export interface JournalFile {
  /** The intact records. */
  readonly journal: Journal
  /** The damage after them. */
  readonly damage: JournalError | undefined
  /** Size of the file, in bytes. */
  readonly bytes: number
  /** Size of each line, in bytes. */
  readonly lineBytes: readonly number[]
  /** Size of the text after the last line, in bytes. */
  readonly unfinishedBytes: number
  /** Why the history is not known that the turn of a thread began with. Absent: it is known. */
  readonly historyFault?: Error
}

/** A file that is read by parts, because it may be longer than a string can be. */
export interface TextFile {
  /** The first characters of its text. */
  readonly beginning: string
  /** Its size when it was found. */
  readonly bytes: number
  /** Reads its text. `onBytes` receives the bytes of each part. */
  parts(onBytes?: (bytes: Uint8Array) => void): AsyncGenerator<string, void, undefined>
}

/**
 * Reads the intact part of a journal.
 * @param shown the file's name in messages
 * @throws {CliError} the file does not exist or is not a journal
 */
export async function readJournalFile(path: string, shown: string): Promise<JournalFile> {
  let file: TextFile | undefined
  try {
    file = await findText(path)
  } catch (error) {
    throw new CliError(`${shown} cannot be read: ${fileReason(error)}.`)
  }
  if (file === undefined) throw new CliError(`${shown} is not a file. Pass the path of a journal.`)
  try {
    const parsed = await parseJournal(file)
    const { recorded = parsed.journal, fault } = await readHistory(fileJournalStore(dirname(path)), basename(path), parsed.journal)
    return { ...parsed, journal: recorded, ...(fault instanceof Error && { historyFault: fault }) }
  } catch (error) {
    throw errorCode(error) === undefined || error instanceof JournalError
      ? notAJournal(shown, file.beginning, error)
      : new CliError(`${shown} cannot be read: ${fileReason(error)}.`)
  }
}

/** Characters that say what kind of file it is. */
const BEGINNING_CHARS = 4096

/** Finds a file to read; `undefined` if it is not a regular file. */
export async function findText(path: string): Promise<TextFile | undefined> {
  // Checked before opening: opening a pipe would wait for a writer.
  const stats = await stat(path)
  if (!stats.isFile()) return undefined
  const parts: TextFile["parts"] = async function* (onBytes = () => {}) {
    const handle = await open(path, "r")
    const seen = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
      for await (const bytes of bytesOf(handle)) {
        onBytes(bytes)
        yield bytes
      }
    }
    try {
      yield* decoded(seen())
    } finally {
      await handle.close()
    }
  }
  let beginning = ""
  for await (const part of parts()) {
    beginning = part.slice(0, BEGINNING_CHARS)
    break
  }
  return { beginning, bytes: stats.size, parts }
}

/**
 * Checks that the lock of a journal is not a link. A link may have come with the folder, and acquiring a lock removes files in it.
 * @throws {CliError}
 */
export async function checkLock(path: string): Promise<void> {
  const found = await lstat(`${path}.lock`).catch(() => undefined)
  if (found?.isSymbolicLink() === true) throw new CliError(`${path}.lock is a link, which this program did not make. Remove it, and try again.`)
}

/** Parses the intact part of a journal. @throws {JournalError} it is not a journal, or has another version */
export async function parseJournal(file: TextFile): Promise<JournalFile> {
  const sizes = new LineSizes()
  try {
    const reader = journalReader()
    for await (const part of file.parts((bytes) => sizes.push(bytes))) reader.push(part)
    return { journal: reader.end(), damage: undefined, bytes: file.bytes, ...sizes.sizes }
  } catch (error) {
    if (!(error instanceof JournalError) || error.intactLength === 0) throw error
    const reader = journalReader()
    for await (const part of firstChars(file.parts(), error.intactLength)) reader.push(part)
    return { journal: reader.end(), damage: error, bytes: file.bytes, ...sizes.sizes }
  }
}

/** Whether a file is empty, or its process died before it finished the first line. */
export async function isUnfinished(file: TextFile): Promise<boolean> {
  const reader = new JournalReader()
  try {
    for await (const part of file.parts()) {
      if (part.includes("\n")) return false
      reader.push(part)
    }
  } catch (error) {
    if (error instanceof JournalError) return false
    throw error
  }
  return reader.isUnfinishedHeader
}

/** Counts the bytes of lines. */
class LineSizes {
  readonly #lines: number[] = []
  #rest = 0

  get sizes(): Pick<JournalFile, "lineBytes" | "unfinishedBytes"> {
    return { lineBytes: this.#lines, unfinishedBytes: this.#rest }
  }

  push(bytes: Uint8Array): void {
    let start = 0
    for (let newline = bytes.indexOf(10); newline >= 0; newline = bytes.indexOf(10, start)) {
      this.#lines.push(this.#rest + newline + 1 - start)
      this.#rest = 0
      start = newline + 1
    }
    this.#rest += bytes.length - start
  }
}

/** Says why a text is not a readable journal, and what to do. */
export function notAJournal(shown: string, text: string, error: unknown): CliError {
  if (isOldState(text)) {
    return new CliError(
      `${shown} was written by an earlier version of turn-machine, which stored a run as one JSON value. Finish it with that version, or start a new run with another --state path.`,
    )
  }
  if (!(error instanceof JournalError)) throw error
  if (!isJournal(text, error)) return new CliError(`${shown} is not a journal of a turn. Pass the path of a journal.`)
  if (error.code === "damaged_record" && error.record === 1) return new CliError(`${shown} cannot be read as a journal: its first record is damaged.`)
  return new CliError(`${shown} cannot be read as a journal. ${oneLine(error.message)}`)
}

/** Whether an unreadable text starts like a journal. */
export function isJournal(text: string, { code }: JournalError): boolean {
  return code !== "not_a_journal" && /^\["[0-9a-f]{8}",\{"type":"header"/.test(text)
}

/** Whether a text is a state file of the version before journals. */
export function isOldState(text: string): boolean {
  return /^\s*\{\s*"format"\s*:\s*"turn-machine\/run"/.test(text)
}

/** Describes an error of a journal store in one line. `otherwise`: what to do if the file stays unavailable. */
export function storeRefusal(shown: string, error: JournalStoreError, otherwise: string): CliError {
  switch (error.code) {
    case "in_use": {
      const { owner, retryAfterMs } = error
      const isElsewhere = owner?.host !== undefined && owner.host !== hostname()
      const remedy =
        retryAfterMs !== undefined
          ? `If that process has ended, try again in ${Math.ceil(retryAfterMs / 1000)} s, or take the file over with --take-over.`
          : `Wait for it or stop it, or ${otherwise}.`
      return new CliError(`${shown} is in use by ${oneLine(ownerText(error.owner, isElsewhere))}. ${remedy}`, 2, { cause: error })
    }
    case "fenced":
      return new CliError(`Another process took over ${shown.replace(/^The/, "the")}; this one stopped.`, 1, { cause: error })
    default:
      return new CliError(`${shown} cannot be written: ${reasonOf(error)}. The records written before are safe. Fix the cause, or ${otherwise}.`, 1, {
        cause: error,
      })
  }
}

function ownerText({ pid, host }: JournalOwner = {}, isElsewhere: boolean): string {
  if (pid === undefined) return "an unknown process"
  if (isElsewhere) return `process ${pid} on host ${JSON.stringify(host)}, which may still run`
  return pid === process.pid ? "this process" : `process ${pid}`
}

/** Why a journal cannot be used, as a clause. */
export function reasonOf({ cause, message }: JournalStoreError): string {
  if (errorCode(cause) !== undefined) return fileReason(cause)
  return oneLine(cause instanceof Error ? cause.message : message).replace(/\.$/, "")
}
