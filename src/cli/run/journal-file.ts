import { lstat, readFile, stat } from "node:fs/promises"
import { hostname } from "node:os"
import { JournalError } from "../../errors.ts"
import type { JournalOwner, JournalStoreError } from "../../hosts/journal/store.ts"
import { errorCode, fileReason } from "../../hosts/node/file-error.ts"
import { type Journal, readJournal } from "../../replay/journal.ts"
import { journalValidation } from "../../schemas/validation.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"

/** The content of a journal file, which may be in use. */
export interface JournalFile {
  readonly text: string
  /** The intact records. */
  readonly journal: Journal
  /** The damage after them. */
  readonly damage: JournalError | undefined
}

/**
 * Reads the intact part of a journal.
 * @param shown the file's name in messages
 * @throws {CliError} the file does not exist or is not a journal
 */
export async function readJournalFile(path: string, shown: string): Promise<JournalFile> {
  let text: string | undefined
  try {
    text = await readRegular(path)
  } catch (error) {
    throw new CliError(`${shown} cannot be read: ${fileReason(error)}.`)
  }
  if (text === undefined) throw new CliError(`${shown} is not a file. Pass the path of a journal.`)
  try {
    return parseJournal(text)
  } catch (error) {
    throw notAJournal(shown, text, error)
  }
}

/** Reads a file's text; `undefined` if it is not a regular file. */
export async function readRegular(path: string): Promise<string | undefined> {
  // Checked before opening: opening a pipe would wait for a writer.
  return (await stat(path)).isFile() ? readFile(path, "utf8") : undefined
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
export function parseJournal(text: string): JournalFile {
  try {
    return { text, journal: readJournal(text, journalValidation), damage: undefined }
  } catch (error) {
    if (!(error instanceof JournalError) || error.intactLength === 0) throw error
    return { text, journal: readJournal(text.slice(0, error.intactLength), journalValidation), damage: error }
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
      const isElsewhere = error.owner?.host !== undefined && error.owner.host !== hostname()
      const remedy = isElsewhere ? "If that process has ended, take the file over with --take-over." : `Wait for it or stop it, or ${otherwise}.`
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

function reasonOf({ cause, message }: JournalStoreError): string {
  if (errorCode(cause) !== undefined) return fileReason(cause)
  return oneLine(cause instanceof Error ? cause.message : message).replace(/\.$/, "")
}
