import { wireValidation } from "../../checks/validation.ts"
import type { TurnConfig } from "../../machine/config.ts"
import type { Journal } from "../../replay/journal.ts"
import { type ResumeOptions, resume as resumeEnded } from "../../replay/replay.ts"
import { unknownKey } from "../../unknown-key.ts"
import type { TurnStart } from "../../wire/config.ts"
import type { Done } from "../../wire/effect.ts"
import type { Host, RunLoop, RunOptions, Suspended, SuspendOptions } from "../host.ts"
import { runTurn } from "../run/run-turn.ts"
import { lastLine } from "./parts.ts"
import { END } from "./pending-approvals.ts"
import { readToResume } from "./read-journal.ts"
import type { JournalStore } from "./store.ts"
import { type BeginOptions, TurnJournal, type TurnJournalOptions } from "./turn-journal.ts"

/** A turn to begin, or to resume from its journal. */
export interface JournaledTurn extends BeginOptions {
  readonly config: TurnConfig
  /** Used only for a new journal. */
  readonly start: TurnStart
}

/** A host whose turns are recorded in a store, one journal each. */
export interface JournaledHost {
  /**
   * Runs a turn to its end, as `runTurn` does. Begins the turn if its journal does not exist, and resumes it otherwise. One process
   * at a time can run a turn. A turn that has ended returns its `done` once more, with an empty `eventDelta`, and without calling `progress`;
   * its journal is only read, also while another process has it open.
   * @throws {JournalStoreError | JournalError | ReplayDivergence | CheckpointError | SchemaError} as {@link TurnJournal}
   */
  run(name: string, turn: JournaledTurn, options?: JournaledRunOptions & { readonly suspend?: undefined; readonly pause?: undefined }): Promise<Done>
  run(name: string, turn: JournaledTurn, options?: JournaledRunOptions & SuspendOptions): Promise<Done | Suspended>
}

/** Options of {@link JournaledHost.run}. The clock is that of the journal, too. */
export interface JournaledRunOptions extends Omit<RunOptions, "journal" | "now">, Pick<TurnJournalOptions, "now"> {
  /** How this turn is resumed. Default: as in {@link JournaledOptions}. */
  readonly resume?: ResumeOptions
}

/** Options of {@link journaled}. */
export interface JournaledOptions extends Omit<TurnJournalOptions, "history"> {
  /** The loop that runs a turn. Default `runTurn` of `turn-machine/hosts`; the one of `openTelemetry` runs turns in spans. */
  readonly runTurn?: RunLoop
  /**
   * How turns are resumed. With `{ reconfigure: true }`, open turns continue after a deployment that changed the model, its settings or
   * the code, and their journals record the change.
   */
  readonly resume?: ResumeOptions
}

/** Returns a host whose turns survive its process: every answer is stored before it is acted on. */
export function journaled(host: Host, store: JournalStore, options: JournaledOptions = {}): JournaledHost {
  if (typeof store?.open !== "function") throw new TypeError("journaled takes a host and a store: journaled(host, memoryJournalStore()).")
  checkKeys("journaled(host, store, options)", options, OPTION_KEYS)
  const { runTurn: loop = runTurn, resume: resumeOptions, ...journalOptions } = options
  const run = async (
    name: string,
    turn: JournaledTurn,
    { resume = resumeOptions, ...runOptions }: JournaledRunOptions & SuspendOptions = {},
  ): Promise<Done | Suspended> => {
    checkKeys("The turn given to run", turn, TURN_KEYS)
    const { config, start, ...begin } = turn
    const { now } = runOptions
    const ended = await readEnded(store, name)
    if (ended !== undefined) {
      const machine = resumeEnded(ended, { ...config, validation: config.validation ?? wireValidation }, resume)
      return loop(machine, host, { turnId: ended.header.turnId, ...runOptions })
    }
    const journal = await TurnJournal.open(store, name, { ...(now !== undefined && { now }), ...journalOptions })
    try {
      const machine = journal.recorded === undefined ? await journal.begin(config, start, begin) : await journal.resume(config, resume)
      return await loop(machine, host, { ...runOptions, journal })
    } finally {
      await journal.close()
    }
  }
  // The run loop suspends only where the options allow it.
  return { run: run as JournaledHost["run"] }
}

const TURN_KEYS = ["config", "start", "turnId", "meta", "parent"] as const satisfies readonly (keyof JournaledTurn)[]
const OPTION_KEYS = [
  ...["runTurn", "resume", "takeOver", "waitMs", "snapshotEveryRecords", "snapshotEveryChars", "keepEffects", "maxLineChars", "compactAboveChars"],
  "now",
] as readonly (keyof JournaledOptions)[]

/** Refuses an unknown key, which would be ignored: a turn with `signal` could not be cancelled. */
function checkKeys(what: string, given: object, known: readonly string[]): void {
  const unknown = unknownKey(given, known)
  if (unknown === undefined) return
  const { key, hint = `the keys are ${known.join(", ")}. Options of a run, such as signal, are the third argument of run.` } = unknown
  throw new TypeError(`${what} has the unknown key ${JSON.stringify(key)}; ${hint}`)
}

/** Reads a journal without ownership if its turn has ended. Only the last line of any other journal is looked at. */
async function readEnded(store: JournalStore, name: string): Promise<Journal | undefined> {
  const found = await store.read(name)
  if (found === undefined || !END.test(await lastLine(found))) return undefined
  const journal = await readToResume(store, name)
  return journal?.entries.at(-1)?.record.type === "end" ? journal : undefined
}
