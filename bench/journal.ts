import { execFileSync } from "node:child_process"
import { bundled } from "./bundle.ts"
import type { Figure } from "./rounds.ts"

/** The cost of recording a turn. Times per iteration; bytes of the whole turn (the script is ASCII). */
export interface JournalFigures {
  readonly iterations: number
  readonly responses: number
  readonly floorBytes: number
  readonly journalBytes: number
  readonly snapshotBytes: number
  /** A hand-written reducer that writes its responses as lines of JSON. */
  readonly floor: Figure
  readonly journal: Figure
  readonly snapshots: Figure
}

/** Times to read the journal of a whole turn. `parse`: `JSON.parse` of every line, the floor. */
export interface ReadFigures {
  readonly iterations: number
  readonly bytes: number
  readonly parse: Figure
  readonly fold: Figure
  readonly verify: Figure
  readonly readAndVerify: Figure
  readonly resume: Figure
  readonly resumeFromSnapshot: Figure
  readonly resumeCompacted: Figure
}

/** Microseconds for one awaited append of one response. */
export interface AppendFigures {
  readonly plain: number
  readonly journal: number
  readonly plainSynced: number
  readonly journalSynced: number
}

export interface AllJournalFigures {
  readonly recording: readonly JournalFigures[]
  readonly reading: readonly ReadFigures[]
  readonly appending: AppendFigures
}

/** Measures in a process of its own, as with turns. */
export function measureJournals(quick: boolean): AllJournalFigures {
  return bundled({ contenders: 'import "./journal-contenders.ts"' }, ({ contenders }) =>
    JSON.parse(execFileSync(process.execPath, [contenders, quick ? "0.2" : "1"], { encoding: "utf8" })),
  ) as AllJournalFigures
}
