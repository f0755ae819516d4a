/**
 * Measures journals in a process of its own: node journal-contenders.js ROUNDS_FACTOR. Prints one line of JSON, times in
 * microseconds.
 */
import { open, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { journalLineValidation } from "../src/checks/records.ts"
import { fileJournalStore } from "../src/hosts/node/file-journal-store.ts"
import { compacted, readJournal } from "../src/replay/journal.ts"
import { replay } from "../src/replay/replay.ts"
import { verifyReplay } from "../src/replay/verify.ts"
import type { Response } from "../src/schemas/response.ts"
import { begin, reduce } from "./floor.ts"
import type { AppendFigures, JournalFigures, ReadFigures } from "./journal.ts"
import { config, journalText, parseLines, record, resumeText, SNAPSHOTS, unfinished, WITHOUT_SNAPSHOTS } from "./journal-texts.ts"
import { measureRounds, median } from "./rounds.ts"
import { responses } from "./script.ts"

const factor = Number(process.argv[2] ?? "1")

/** A hand-written reducer that writes its responses as lines of JSON: the least that a turn could store. */
function jsonLines(script: readonly Response[]): number {
  let step = begin()
  let chars = 0
  for (const response of script) {
    chars += `${JSON.stringify(response)}\n`.length
    step = reduce(step.state, response)
  }
  return chars
}

function measureRecording(iterations: number): JournalFigures {
  const script = responses(iterations)
  const rounds = Math.max(5, Math.ceil((20_000 * factor) / iterations))
  const written = { chars: 0 }
  const count = (lines: string): void => {
    written.chars += lines.length
  }
  const times = measureRounds(rounds, iterations, {
    floor: () => jsonLines(script),
    journal: () => record(script, WITHOUT_SNAPSHOTS, count),
    snapshots: () => record(script, SNAPSHOTS, count),
  })
  return {
    iterations,
    responses: script.length,
    floorBytes: jsonLines(script),
    journalBytes: journalText(script, WITHOUT_SNAPSHOTS).length,
    snapshotBytes: journalText(script, SNAPSHOTS).length,
    ...times,
  }
}

/** Reads and checks a journal in memory, and resumes its turn. */
function measureReading(iterations: number): ReadFigures {
  const script = responses(iterations)
  const whole = journalText(script, WITHOUT_SNAPSHOTS)
  const [records, snapshots] = [unfinished(whole), unfinished(journalText(script, SNAPSHOTS))]
  const read = readJournal(whole)
  const short = compacted(readJournal(snapshots))
  const rounds = Math.max(5, Math.ceil((10_000 * factor) / iterations))
  const times = measureRounds(rounds, 1, {
    parse: () => parseLines(whole),
    fold: () => replay(read, config),
    verify: () => verifyReplay(read, config),
    readAndVerify: () => verifyReplay(readJournal(whole, journalLineValidation), config),
    resume: () => resumeText(records),
    resumeFromSnapshot: () => resumeText(snapshots),
    resumeCompacted: () => resumeText(short),
  })
  return { iterations, bytes: whole.length, ...times }
}

/** Appends responses one by one, each awaited, to a plain file and to a journal file. */
async function measureAppending(): Promise<AppendFigures> {
  const lines = responses(Math.ceil(100 * factor)).map((response) => `${JSON.stringify(response)}\n`)
  const folder = join(tmpdir(), `turn-machine-bench-${process.pid}`)
  const plain = async (sync: boolean): Promise<number> => {
    const handle = await open(folder, "a")
    const start = performance.now()
    for (const line of lines) {
      await handle.write(line)
      if (sync) await handle.datasync()
    }
    const took = performance.now() - start
    await handle.close()
    await rm(folder)
    return (took * 1000) / lines.length
  }
  const journal = async (fsync: "always" | "never"): Promise<number> => {
    const stored = await fileJournalStore(tmpdir(), { fsync }).open(`turn-machine-bench-${process.pid}`)
    const start = performance.now()
    for (const line of lines) await stored.append(line)
    const took = performance.now() - start
    await stored.close()
    await rm(folder)
    return (took * 1000) / lines.length
  }
  const passes: { readonly [Name in keyof AppendFigures]: number }[] = []
  for (let pass = 0; pass < 7; pass += 1) {
    passes.push({
      plain: await plain(false),
      journal: await journal("never"),
      plainSynced: await plain(true),
      journalSynced: await journal("always"),
    })
  }
  const of = (name: keyof AppendFigures): number => median(passes.map((pass) => pass[name]))
  return { plain: of("plain"), journal: of("journal"), plainSynced: of("plainSynced"), journalSynced: of("journalSynced") }
}

const recording = [100, 1_000, 10_000].map(measureRecording)
const reading = [1_000, 10_000].map(measureReading)
console.log(JSON.stringify({ recording, reading, appending: await measureAppending() }))
