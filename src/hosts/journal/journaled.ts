import type { TurnConfig } from "../../machine/config.ts"
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
export interface JournaledRunOptions extends Omit<RunOptions, "journal" | "now">, Pick<TurnJournalOptions, "now"> {}

/** Options of {@link journaled}. */
export interface JournaledOptions extends TurnJournalOptions {
  /** The loop that runs a turn. Default `runTurn` of `turn-machine/hosts`; the one of `openTelemetry` runs turns in spans. */
  readonly runTurn?: typeof runTurn
}

/** Returns a host whose turns survive its process: every answer is stored before it is acted on. */
export function journaled(host: Host, store: JournalStore, { runTurn: loop = runTurn, ...journalOptions }: JournaledOptions = {}): JournaledHost {
  return {
    async run(name, { config, start, ...begin }, options = {}) {
      const journal = await TurnJournal.open(store, name, { ...(options.now !== undefined && { now: options.now }), ...journalOptions })
      try {
        const machine = journal.recorded === undefined ? await journal.begin(config, start, begin) : await journal.resume(config)
        return await loop(machine, host, { ...options, journal })
      } finally {
        await journal.close()
      }
    },
  }
}
