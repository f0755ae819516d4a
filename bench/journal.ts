import { execFileSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { bundled } from "./bundle.ts"
import { journalText, SNAPSHOTS, unfinished, WITHOUT_SNAPSHOTS } from "./journal-texts.ts"
import { type Figure, median } from "./rounds.ts"
import { responses } from "./script.ts"

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

/** CPU time in milliseconds to read an unfinished journal in a fresh process, after the import: medians. */
export interface FreshFigures {
  readonly iterations: number
  readonly parse: number
  readonly resume: number
  readonly resumeFromSnapshot: number
}

export interface AllJournalFigures {
  readonly recording: readonly JournalFigures[]
  readonly reading: readonly ReadFigures[]
  readonly appending: AppendFigures
  readonly fresh: readonly FreshFigures[]
}

/** Measures in a process of its own, as with turns. */
export function measureJournals(quick: boolean): AllJournalFigures {
  const sources = { contenders: 'import "./journal-contenders.ts"', fresh: 'import "./journal-fresh.ts"' }
  return bundled(sources, ({ contenders, fresh }) => ({
    ...(JSON.parse(execFileSync(process.execPath, [contenders, quick ? "0.2" : "1"], { encoding: "utf8" })) as Omit<AllJournalFigures, "fresh">),
    fresh: [100, 1_000].map((iterations) => measureFresh(fresh, iterations, quick ? 3 : 9)),
  }))
}

function measureFresh(script: string, iterations: number, processes: number): FreshFigures {
  const records = join(dirname(script), "records.jsonl")
  const snapshots = join(dirname(script), "snapshots.jsonl")
  writeFileSync(records, unfinished(journalText(responses(iterations), WITHOUT_SNAPSHOTS)))
  writeFileSync(snapshots, unfinished(journalText(responses(iterations), SNAPSHOTS)))
  const run = (contender: "parse" | "resume", file: string): number =>
    Number(execFileSync(process.execPath, [script, contender, file], { encoding: "utf8" }))
  const rounds = Array.from({ length: processes }, () => [run("parse", records), run("resume", records), run("resume", snapshots)] as const)
  const of = (index: 0 | 1 | 2): number => median(rounds.map((round) => round[index]))
  return { iterations, parse: of(0), resume: of(1), resumeFromSnapshot: of(2) }
}
