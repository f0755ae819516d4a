import type { TurnConfig } from "../../machine/config.ts"
import type { ResumeOptions } from "../../replay/replay.ts"
import type { TurnStart } from "../../wire/config.ts"
import type { Done } from "../../wire/effect.ts"
import type { Host, RunOptions } from "../host.ts"
import { runTurn } from "../run/run-turn.ts"
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
   * Runs a turn to its end, as `runTurn` does. Begins the turn if there is no journal of that name, and resumes it otherwise. A
   * finished turn returns its `done` once more. One process at a time can run a turn.
   * @throws {JournalStoreError | JournalError | ReplayDivergence | CheckpointError | SchemaError} as {@link TurnJournal}
   */
  run(name: string, turn: JournaledTurn, options?: JournaledRunOptions): Promise<Done>
}

/** Options of {@link JournaledHost.run}. The clock is that of the journal, too. */
export interface JournaledRunOptions extends Omit<RunOptions, "journal" | "now">, Pick<TurnJournalOptions, "now"> {
  /** How this turn is resumed. Default: as in {@link JournaledOptions}. */
  readonly resume?: ResumeOptions
}

/** Options of {@link journaled}. */
export interface JournaledOptions extends TurnJournalOptions {
  /** The loop that runs a turn. Default `runTurn` of `turn-machine/hosts`; the one of `openTelemetry` runs turns in spans. */
  readonly runTurn?: typeof runTurn
  /**
   * How turns are resumed. With `{ reconfigure: true }`, open turns continue after a deployment that changed the model, its settings or
   * the code, and their journals record the change.
   */
  readonly resume?: ResumeOptions
}

/** Returns a host whose turns survive its process: every answer is stored before it is acted on. */
export function journaled(host: Host, store: JournalStore, options: JournaledOptions = {}): JournaledHost {
  const { runTurn: loop = runTurn, resume: resumeOptions, ...journalOptions } = options
  return {
    async run(name, { config, start, ...begin }, { resume = resumeOptions, ...runOptions } = {}) {
      const { now } = runOptions
      const journal = await TurnJournal.open(store, name, { ...(now !== undefined && { now }), ...journalOptions })
      try {
        const machine = journal.recorded === undefined ? await journal.begin(config, start, begin) : await journal.resume(config, resume)
        return await loop(machine, host, { ...runOptions, journal })
      } finally {
        await journal.close()
      }
    },
  }
}
