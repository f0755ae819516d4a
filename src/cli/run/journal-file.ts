import { readFile, stat } from "node:fs/promises"
import { JournalError } from "../../errors.ts"
import type { JournalStoreError } from "../../hosts/journal/store.ts"
import { errorCode, fileReason } from "../../hosts/node/file-error.ts"
import { type Journal, readJournal } from "../../replay/journal.ts"
import { journalValidation } from "../../schemas/validation.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"

/** A journal as it stands in its file, which may be in use. */
export interface JournalFile {
  readonly text: string
  /** All that is whole of it. */
  readonly journal: Journal
  /** What is wrong behind that. */
  readonly damage: JournalError | undefined
}

/**
 * Reads a journal, as far as it is whole.
 * @param shown what the file is called in messages
 * @throws {CliError} there is no such file, or it is no journal
 */
export async function readJournalFile(path: string, shown: string): Promise<JournalFile> {
  let text: string | undefined
  try {
    text = await readRegular(path)
  } catch (error) {
    throw new CliError(`${shown} cannot be read: ${fileReason(error)}.`)
  }
  if (text === undefined) throw new CliError(`${shown} is no file. Give the path of a journal.`)
  try {
    return parseJournal(text)
  } catch (error) {
    throw noJournal(shown, text, error)
  }
}

/** A file's text; `undefined` for what is no regular file. */
export async function readRegular(path: string): Promise<string | undefined> {
  // Asked before it is opened: opening a pipe would wait for whoever writes to it.
  return (await stat(path)).isFile() ? readFile(path, "utf8") : undefined
}

/** @throws {JournalError} it is no journal, or one of another version */
export function parseJournal(text: string): JournalFile {
  try {
    return { text, journal: readJournal(text, journalValidation), damage: undefined }
  } catch (error) {
    if (!(error instanceof JournalError) || error.intactLength === 0) throw error
    return { text, journal: readJournal(text.slice(0, error.intactLength), journalValidation), damage: error }
  }
}

/** Why a text cannot be read as a journal at all, and what to do. */
export function noJournal(shown: string, text: string, error: unknown): CliError {
  if (isOldState(text)) {
    return new CliError(
      `${shown} was written by an earlier version of turn-machine, which kept a run as one JSON value. Finish it with that version, or begin a new run with another --state path.`,
    )
  }
  if (!(error instanceof JournalError)) throw error
  if (!isJournal(text, error)) return new CliError(`${shown} is no journal of a turn. Give the path of one.`)
  if (error.code === "damaged_record" && error.record === 1)
    return new CliError(`${shown} cannot be read as a journal: its first record is damaged, and nothing stands before it.`)
  return new CliError(`${shown} cannot be read as a journal. ${oneLine(error.message)}`)
}

/** Whether a text that cannot be read began as a journal once. */
export function isJournal(text: string, { code }: JournalError): boolean {
  return code !== "not_a_journal" && /^\["[0-9a-f]{8}",\{"type":"header"/.test(text)
}

/** Whether this is a state file as it was before turns were kept in journals. */
export function isOldState(text: string): boolean {
  return /^\s*\{\s*"format"\s*:\s*"turn-machine\/run"/.test(text)
}

/** One line for what a store of journals refused. `otherwise`: what to do about a file that cannot be had. */
export function storeRefusal(shown: string, error: JournalStoreError, otherwise: string): CliError {
  switch (error.code) {
    case "in_use": {
      const by = / in use( by .+)\. Wait until/.exec(error.message)?.[1] ?? ""
      const remedy = by.includes(" of host ") ? "If it does not, take the file over with --take-over." : `Wait for it or stop it, or ${otherwise}.`
      return new CliError(`${shown} is in use${oneLine(` ${by}`).replace(/^(?=.)/, " ")}. ${remedy}`, 2, { cause: error })
    }
    case "fenced":
      return new CliError(`Another process took over ${shown.replace(/^The/, "the")}; this one stopped.`, 1, { cause: error })
    default:
      return new CliError(`${shown} cannot be written: ${reasonOf(error)}. What was kept before is still kept; mend that, or ${otherwise}.`, 1, {
        cause: error,
      })
  }
}

function reasonOf({ cause, message }: JournalStoreError): string {
  if (errorCode(cause) !== undefined) return fileReason(cause)
  return oneLine(cause instanceof Error ? cause.message : message).replace(/\.$/, "")
}
