import { realpath } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { CheckpointError, JournalError, ReplayDivergence } from "../../errors.ts"
import { JournalStoreError } from "../../hosts/journal/store.ts"
import { TurnJournal } from "../../hosts/journal/turn-journal.ts"
import { errorCode, fileReason } from "../../hosts/node/file-error.ts"
import { fileJournalStore } from "../../hosts/node/file-journal-store.ts"
import type { TurnConfig } from "../../machine/config.ts"
import type { Journal } from "../../replay/journal.ts"
import { workedMs } from "../../replay/outline.ts"
import { resume } from "../../replay/replay.ts"
import type { TurnMachine } from "../../validated-turn-machine.ts"
import type { TurnStart } from "../../wire/config.ts"
import type { Outcome } from "../../wire/event.ts"
import { CliError } from "../terminal/errors.ts"
import { clause, oneLine, shellWord } from "../terminal/format.ts"
import type { KnownSettings, OwnStates, StatePlace } from "../trust/own-states.ts"
import { checkLock, findText, isJournal, isOldState, isUnfinished, notAJournal, parseJournal, storeRefusal, type TextFile } from "./journal-file.ts"
import { type RunMeta, readRunMeta, recordedConfig } from "./run-config.ts"

/** With `compact`, a journal above this many characters is compacted. */
export const COMPACT_ABOVE_CHARS = 2_000_000

/** How a state file is opened. */
export interface OpenOptions {
  readonly takeOver: boolean
  /** False: the recorded requests are not compared with those of this version. */
  readonly checkEffects: boolean
  readonly compact: boolean
  /** Records the settings of a resumed turn as the user's, too; those of a new turn always are. */
  readonly recordSettings: boolean
}

/** The file of `--state`: the journal of the run's turn. */
export class RunState {
  /** Its real path. */
  readonly path: string
  /** The settings of the run in it; `undefined` if it has none yet. */
  readonly saved: RunMeta | undefined
  readonly #shown: string
  readonly #found: Journal | undefined
  readonly #own: OwnStates
  #journal: TurnJournal | undefined
  #workedMs = 0

  private constructor(path: string, shown: string, own: OwnStates, found?: Journal, saved?: RunMeta) {
    this.path = path
    this.saved = saved
    this.#shown = shown
    this.#own = own
    this.#found = found
  }

  /**
   * Reads a state file, which need not exist, and writes nothing. An existing file is accepted only on resume.
   * @throws {CliError} it exists without resume, is damaged, or is not a state file
   */
  static async find(path: string, isResumed: boolean, own: OwnStates): Promise<RunState> {
    const shown = `The state file ${path}`
    const real = await realFile(path)
    await checkLock(real)
    const file = await fileAt(real, shown)
    if (file !== undefined && !isResumed) {
      throw new CliError(`${shown} already exists and was not changed. Add --resume to resume that run, or pass another path.`)
    }
    const journal = file && (await read(path, shown, file))
    if (journal === undefined) return new RunState(real, shown, own)
    const saved = readRunMeta(journal.header.meta)
    if (typeof saved === "object") return new RunState(real, shown, own, journal, saved)
    throw new CliError(`${shown} cannot be resumed here: ${saved}. Resume it with the program that wrote it, or pass another --state path.`)
  }

  /** Whether the turn in the file has ended. A turn whose model call failed has not ended: it can be resumed. */
  get isOver(): boolean {
    const last = this.#found?.entries.at(-1)?.record
    return last?.type === "end" && !isFailedCall(last.outcome)
  }

  /** Its name at the start of a sentence. */
  get shown(): string {
    return this.#shown
  }

  /** Whether an absolute path is the state file, its lock or a record of the user's states. */
  readonly owns = (path: string): boolean => path === this.path || path.startsWith(`${this.path}.lock`) || this.#own.owns(path)

  /** The settings that this user gave for the run in the file. */
  async known(): Promise<KnownSettings> {
    return this.#found === undefined ? { unknown: "it has no turn yet" } : this.#own.find(this.#place, this.#found.header.turnId)
  }

  /** The tool calls that a resumed turn performs or asks about first, in words; `undefined` if there are none. */
  get pendingCalls(): string | undefined {
    if (this.#found === undefined || this.saved === undefined) return undefined
    try {
      const machine = resume(this.#found, recordedConfig(this.saved), { checkEffects: false })
      while (machine.poll() !== undefined);
      const { outstanding } = machine
      if (outstanding?.type !== "tool_calls") return undefined
      const { calls, held = [] } = outstanding
      const texts = [
        ...calls.map(({ toolName, args }) => `${toolName} ${JSON.stringify(args)}`),
        ...held.map(({ toolName, args }) => `a question about ${toolName} ${JSON.stringify(args)}`),
      ]
      return texts.length === 0 ? undefined : texts.join(", ")
    } catch {
      // Resuming it reports why.
      return undefined
    }
  }

  get #place(): StatePlace {
    return { type: "run", path: this.path }
  }

  /** The journal, once it is open. */
  get journal(): TurnJournal | undefined {
    return this.#journal
  }

  /** Milliseconds of work on the turn by earlier processes, computed from its records. */
  get workedMs(): number {
    return this.#workedMs
  }

  /**
   * Opens the file exclusively, and starts or resumes the turn. A failed model call is removed from the journal, to be retried.
   * @throws {CliError} the file is in use, changed since it was read, cannot be written or cannot be resumed
   */
  async open(
    config: TurnConfig,
    start: TurnStart,
    meta: RunMeta,
    { takeOver, checkEffects, compact, recordSettings }: OpenOptions,
  ): Promise<TurnMachine> {
    try {
      const options = { takeOver, ...(compact && { compactAboveChars: COMPACT_ABOVE_CHARS }) }
      const journal = await TurnJournal.open(fileJournalStore(), this.path, options)
      this.#journal = journal
      if (journal.recorded?.header.turnId !== this.#found?.header.turnId) {
        throw new CliError(`${this.#shown} was changed by another process. Try again.`)
      }
      if (journal.recorded === undefined) {
        const turnId = crypto.randomUUID()
        // Recorded first: a process that dies in between must leave a turn that resumes without questions.
        await this.#own.record(this.#place, turnId, meta)
        return await journal.begin(config, start, { turnId, meta })
      }
      if (recordSettings) await this.#own.record(this.#place, journal.recorded.header.turnId, meta)
      const last = beforeFailedCall(journal.recorded, config, checkEffects)
      if (last !== undefined) await journal.rewind(last)
      this.#workedMs = workedMs(journal.recorded)
      return await journal.resume(config, { checkEffects })
    } catch (error) {
      throw this.explain(error)
    }
  }

  /** Turns an error about the journal into a one-line {@link CliError}; returns any other error unchanged. */
  explain(error: unknown): unknown {
    if (error instanceof JournalStoreError) return storeRefusal(this.#shown, error, "pass another path with --state")
    if (error instanceof JournalError || error instanceof CheckpointError) return unusable(this.#shown, clause(error.message))
    if (!(error instanceof ReplayDivergence)) return error
    const where = `record ${error.record}${error.effectId === undefined ? "" : `, effect ${error.effectId}`}`
    return new CliError(
      `${this.#shown} was written by a version of this program that made another request (${where}). Resume it with that version, or add --no-check to resume anyway.`,
      2,
      { cause: error },
    )
  }

  /** Closes the file once everything is written. */
  async close(): Promise<void> {
    await this.#journal?.close()
  }
}

/** The record before a failed last model call, after which the turn resumes; `undefined` for any other turn. */
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

/** Resolves links, so that a write replaces the state file and not a link to it. */
async function realFile(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw new CliError(`The state file ${path} cannot be used: ${fileReason(error)}.`)
  }
  try {
    return join(await realpath(dirname(path)), basename(path))
  } catch (error) {
    throw new CliError(`The folder of the state file ${path} cannot be used: ${fileReason(error)}. Create it, or pass another path.`)
  }
}

async function fileAt(path: string, shown: string): Promise<TextFile | undefined> {
  let file: TextFile | undefined
  try {
    file = await findText(path)
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined
    throw new CliError(`${shown} cannot be read: ${fileReason(error)}.`)
  }
  if (file === undefined) throw new CliError(`${shown} is not a file. Pass the path of a file with --state.`)
  return file
}

/** Reads the journal in a file; `undefined` if a process died before it finished the first line. */
async function read(path: string, shown: string, file: TextFile): Promise<Journal | undefined> {
  if (isOldState(file.beginning)) throw notAJournal(shown, file.beginning, undefined)
  try {
    const { journal, damage } = await parseJournal(file)
    if (damage !== undefined) throw damage
    return journal
  } catch (error) {
    if (!(error instanceof JournalError)) throw error
    if (error.code === "not_a_journal" && (await isUnfinished(file))) return undefined
    throw damaged(path, shown, file.beginning, error)
  }
}

function damaged(path: string, shown: string, beginning: string, error: JournalError): CliError {
  if (!isJournal(beginning, error)) return unusable(shown, "it is not the state of a run")
  if (error.code === "damaged_record" && error.record === 1) return unusable(shown, "its first record is damaged")
  const why = error.code === "damaged_record" ? `record ${error.record} is damaged, missing or out of place` : clause(error.message)
  if (error.intactLength === 0) return unusable(shown, why)
  return new CliError(
    `${shown} cannot be resumed: ${why}. The file was not changed. To resume from the records before the damage: turn-machine journal fork ${shellWord(oneLine(path))} --at ${error.record} --out NEW`,
  )
}

function unusable(shown: string, why: string): CliError {
  return new CliError(`${shown} cannot be resumed: ${why}. The file was not changed. Start a new run with another --state path.`)
}
