import { realpath } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { CheckpointError, JournalError, ReplayDivergence } from "../../errors.ts"
import { JournalStoreError } from "../../hosts/journal/store.ts"
import { TurnJournal } from "../../hosts/journal/turn-journal.ts"
import { errorCode, fileReason } from "../../hosts/node/file-error.ts"
import { fileJournalStore } from "../../hosts/node/file-journal-store.ts"
import type { TurnConfig } from "../../machine/turn.ts"
import { isUnfinishedHeader, type Journal } from "../../replay/journal.ts"
import { workedMs } from "../../replay/outline.ts"
import { resume } from "../../replay/replay.ts"
import type { TurnStart } from "../../schemas/config.ts"
import type { Outcome } from "../../schemas/event.ts"
import type { TurnMachine } from "../../turn-machine.ts"
import { isJournal, isOldState, noJournal, parseJournal, readRegular, storeRefusal } from "../journal/journal-file.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"
import { type RunMeta, readRunMeta } from "./run-meta.ts"

/** Above so many characters a journal is compacted, where that is wanted. */
export const COMPACT_ABOVE_CHARS = 2_000_000

/** How a state is taken hold of. */
export interface TakeOptions {
  readonly takeOver: boolean
  /** False: what the turn asked for is not compared with what it would ask for now. */
  readonly checkEffects: boolean
  readonly compact: boolean
}

/** The file of `--state`: the journal of the run's turn. */
export class RunState {
  /** Its real path. */
  readonly path: string
  /** What was asked of the run that stands in it; `undefined` if none does yet. */
  readonly saved: RunMeta | undefined
  readonly #shown: string
  readonly #found: Journal | undefined
  #journal: TurnJournal | undefined
  #workedMs = 0

  private constructor(path: string, shown: string, found: Journal | undefined, saved: RunMeta | undefined) {
    this.path = path
    this.saved = saved
    this.#shown = shown
    this.#found = found
  }

  /**
   * Looks at a state file, which need not exist, and makes nothing yet; one that exists is taken only to be resumed.
   * @throws {CliError} it exists and is not to be resumed, is damaged, or is none
   */
  static async find(path: string, isResumed: boolean): Promise<RunState> {
    const shown = `The state file ${path}`
    const real = await realFile(path)
    const text = await readText(real, shown)
    if (text !== undefined && !isResumed) {
      throw new CliError(`${shown} exists already, and nothing was overwritten: add --resume to go on with that run, or give another path.`)
    }
    // A process may have died before its first line was written.
    if (text === undefined || isUnfinishedHeader(text)) return new RunState(real, shown, undefined, undefined)
    const journal = read(shown, text)
    const saved = readRunMeta(journal.header.meta)
    if (typeof saved === "object") return new RunState(real, shown, journal, saved)
    throw new CliError(`${shown} cannot be resumed here: ${saved}. Resume it with the program that wrote it, or give another --state path.`)
  }

  /** Whether the turn in the file is over for good; one whose model call failed is not. */
  get isOver(): boolean {
    const last = this.#found?.entries.at(-1)?.record
    return last?.type === "end" && !isFailedCall(last.outcome)
  }

  /** Whether an absolute path is the file's own, or stands beside it while it is in use. */
  readonly owns = (path: string): boolean => path === this.path || path.startsWith(`${this.path}.lock`)

  /** The journal, once it was taken. */
  get journal(): TurnJournal | undefined {
    return this.#journal
  }

  /** Milliseconds of work on the turn by the processes before this one, as its records tell. */
  get workedMs(): number {
    return this.#workedMs
  }

  /**
   * Takes hold of the file, and begins the turn or takes it up. A model call that failed is cut off, to be tried again.
   * @throws {CliError} it is in use, changed since it was looked at, cannot be written or not be resumed
   */
  async take(config: TurnConfig, start: TurnStart, meta: RunMeta, { takeOver, checkEffects, compact }: TakeOptions): Promise<TurnMachine> {
    try {
      const options = { takeOver, ...(compact && { compactAboveChars: COMPACT_ABOVE_CHARS }) }
      const journal = await TurnJournal.open(fileJournalStore(), this.path, options)
      this.#journal = journal
      if (journal.recorded?.header.turnId !== this.#found?.header.turnId) {
        throw new CliError(`${this.#shown} was changed by another process at this moment. Try again.`)
      }
      if (journal.recorded === undefined) return await journal.begin(config, start, { meta })
      const last = beforeFailedCall(journal.recorded, config, checkEffects)
      if (last !== undefined) await journal.rewind(last)
      this.#workedMs = workedMs(journal.recorded)
      return await journal.resume(config, { checkEffects })
    } catch (error) {
      throw this.explain(error)
    }
  }

  /** An error in one line, if it is about the journal; else the error itself. */
  explain(error: unknown): unknown {
    if (error instanceof JournalStoreError) return storeRefusal(this.#shown, error, "give another path with --state")
    if (error instanceof JournalError) return unusable(this.#shown, oneLine(error.message).replace(/\.$/, ""))
    if (error instanceof CheckpointError) return unusable(this.#shown, oneLine(error.message).replace(/\.$/, ""))
    if (!(error instanceof ReplayDivergence)) return error
    const where = `record ${error.record}${error.effectId === undefined ? "" : `, effect ${error.effectId}`}`
    return new CliError(
      `${this.#shown} was written by a version of this program that asked for something else (${where}). Resume it with that version, or add --no-check to go on all the same.`,
      2,
      { cause: error },
    )
  }

  /** Lets go of the file when all is kept. */
  async close(): Promise<void> {
    await this.#journal?.close()
  }
}

/** The record after which a turn is taken up whose last model call failed; `undefined` for any other turn. */
function beforeFailedCall(journal: Journal, config: TurnConfig, checkEffects: boolean): number | undefined {
  const { entries } = journal
  const index = entries.findLastIndex(({ record }) => "id" in record)
  if (entries[index]?.record.type !== "llm_complete") return undefined
  const end = entries.at(-1)?.record
  const outcome = end?.type === "end" ? end.outcome : resume(journal, config, { checkEffects }).outcome
  return isFailedCall(outcome) ? (entries[index - 1]?.number ?? 1) : undefined
}

function isFailedCall(outcome: Outcome | undefined): boolean {
  return outcome?.type === "stopped" && outcome.stop.type === "provider_error"
}

/** The path with links resolved, so that a state file reached by a link is replaced itself, and not the link. */
async function realFile(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw new CliError(`The state file ${path} cannot be used: ${fileReason(error)}.`)
  }
  try {
    return join(await realpath(dirname(path)), basename(path))
  } catch (error) {
    throw new CliError(`The state file ${path} cannot be made in its folder: ${fileReason(error)}. Make the folder, or give another path.`)
  }
}

async function readText(path: string, shown: string): Promise<string | undefined> {
  let text: string | undefined
  try {
    text = await readRegular(path)
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined
    throw new CliError(`${shown} cannot be read: ${fileReason(error)}.`)
  }
  if (text === undefined) throw new CliError(`${shown} is no file. Give the path of a file with --state.`)
  return text
}

function read(shown: string, text: string): Journal {
  if (isOldState(text)) throw noJournal(shown, text, undefined)
  try {
    const { journal, damage } = parseJournal(text)
    if (damage !== undefined) throw damage
    return journal
  } catch (error) {
    if (error instanceof JournalError) throw damaged(shown, text, error)
    throw error
  }
}

function damaged(shown: string, text: string, error: JournalError): CliError {
  if (!isJournal(text, error)) return unusable(shown, "it is not the state of a run")
  if (error.code === "damaged_record" && error.record === 1) return unusable(shown, "its first record is damaged, and nothing stands before it")
  if (error.intactLength === 0) return unusable(shown, oneLine(error.message).replace(/\.$/, ""))
  const why = oneLine(error.message).replace(/\.? The records before it.*$|\.$/, "")
  return new CliError(
    `${shown} cannot be resumed: ${why}. It was left as it is; what stands before can be gone on with from a copy: turn-machine journal fork FILE --at ${error.record} --out NEW.`,
  )
}

function unusable(shown: string, why: string): CliError {
  return new CliError(`${shown} cannot be resumed: ${why}. It was left as it is; begin anew with another --state path.`)
}
