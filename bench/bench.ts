/**
 * npm run bench [-- --json] [-- --quick]
 *
 * Measures everything side by side in one run, each figure beside a baseline from the same round. Prints the fastest rounds in
 * microseconds, because other work on the machine can only add time, and the median ratio to the baseline.
 */
import { parseArgs } from "node:util"
import { measureCheckpoints } from "./checkpoints.ts"
import { measureJournals } from "./journal.ts"
import { measureProcess } from "./process.ts"
import { DEPTHS, measureProjections } from "./projections.ts"
import { measureSizes } from "./size.ts"
import { measureTurns } from "./turns.ts"

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
})
if (values.help) {
  console.log(
    "Usage: npm run bench [-- --quick] [-- --json]\n\nMeasures the parts of the package side by side: about three minutes, or one with --quick.",
  )
  process.exit()
}
const say = (line: string): void => {
  if (!values.json) console.log(line)
}

say("Time of one iteration (one model call, one tool call with a result of 200 characters, one checkpoint), in µs; × the baseline")
const turns = measureTurns(values.quick)
say(
  table(
    ["iterations", "baseline", "JSON round trip of the responses", "machine, no validation", "machine, validation"],
    turns.map((row) => [String(row.iterations), micros(row.floor.bestUs), against(row.json), against(row.bare), against(row.validated)]),
  ),
)
const at50 = turns.find((row) => row.iterations === 50)
const at10000 = turns.find((row) => row.iterations === 10_000)
const growth = at50 && at10000 ? { bare: at10000.bare.medianUs / at50.bare.medianUs, floor: at10000.floor.medianUs / at50.floor.medianUs } : undefined
if (growth)
  say(
    `An iteration of a turn of 10,000 costs ${growth.bare.toFixed(2)} × one of a turn of 50; for the baseline it is ${growth.floor.toFixed(2)} ×.\n`,
  )

say("One iteration with the fingerprint of its request, after that many others, in µs (median)")
const projections = measureProjections(values.quick)
say(
  table(
    ["transcript or projector", ...DEPTHS.map((depth) => `after ${depth}`)],
    projections.map(({ kind, us }) => [kind, ...us.map(micros)]),
  ),
)

say("Checkpoint and restore beside JSON alone of the same messages, in µs")
const checkpoints = measureCheckpoints(values.quick)
say(
  table(
    ["messages", "bytes", "JSON.stringify", "checkpoint + stringify", "JSON.parse", "parse + schema", "restore of the text"],
    checkpoints.map((row) => [
      String(row.messages),
      String(row.bytes),
      micros(row.stringify.bestUs),
      against(row.checkpoint),
      micros(row.parse.bestUs),
      against(row.parseAndValidate),
      `${micros(row.restore.bestUs)} (${row.restore.ratio.toFixed(2)} × parse + schema)`,
    ]),
  ),
)

const journals = measureJournals(values.quick)
say("Recording: one iteration (three responses), in µs and bytes, beside a hand-written reducer that writes its responses as JSON lines")
say(
  table(
    ["iterations", "baseline", "journal", "with snapshots", "baseline, bytes", "journal, bytes", "with snapshots, bytes"],
    journals.recording.map((row) => [
      String(row.iterations),
      micros(row.floor.bestUs),
      against(row.journal),
      against(row.snapshots),
      perIteration(row.floorBytes, row.iterations),
      `${perIteration(row.journalBytes, row.iterations)} (${(row.journalBytes / row.floorBytes).toFixed(2)} ×)`,
      perIteration(row.snapshotBytes, row.iterations),
    ]),
  ),
)
say("Reading a whole journal from memory, in ms; × JSON.parse of its lines")
say(
  table(
    [
      "iterations",
      "kB",
      "JSON.parse",
      "replay",
      "replay, all compared",
      "read and replay, all compared",
      "resume",
      "resume, with snapshots",
      "compacted",
    ],
    journals.reading.map((row) => [
      String(row.iterations),
      String(Math.round(row.bytes / 1000)),
      millis(row.parse),
      millis(row.fold),
      millis(row.verify),
      millis(row.readAndVerify),
      millis(row.resume),
      millis(row.resumeFromSnapshot),
      millis(row.resumeCompacted),
    ]),
  ),
)
say("The same in a fresh process, in ms of CPU time after the import; × JSON.parse of its lines")
say(
  table(
    ["iterations", "JSON.parse", "resume", "resume, with snapshots"],
    journals.fresh.map(({ iterations, parse, resume, resumeFromSnapshot }) => {
      const beside = (ms: number): string => `${ms.toFixed(1)} (${(ms / parse).toFixed(1)} ×)`
      return [String(iterations), parse.toFixed(1), beside(resume), beside(resumeFromSnapshot)]
    }),
  ),
)
const { plain, journal, plainSynced, journalSynced } = journals.appending
say(
  `Appending a response to a file and waiting for it: ${micros(plain)} µs to a plain file, ${micros(journal)} µs to a journal (${(journal / plain).toFixed(2)} ×); with fdatasync ${micros(plainSynced)} and ${micros(journalSynced)} µs (${(journalSynced / plainSynced).toFixed(2)} ×)\n`,
)

const run = measureProcess()
say(
  `Memory: a turn of 1,000 iterations takes ${mebibytes(run.turnBytes)} over the import (peak resident set; the import alone ${mebibytes(run.importBytes)})`,
)
say(
  `Import: ${run.importMs.toFixed(0)} ms for turn-machine, ${run.coreImportMs.toFixed(0)} ms for turn-machine/machine, ${run.zodImportMs.toFixed(0)} ms for zod alone\n`,
)

const sizes = await measureSizes()
say(
  table(
    ["entry", "minified, gzipped", "without zod and immer"],
    sizes.map(({ entry, gzipped, ownGzipped }) => [entry, kilobytes(gzipped), kilobytes(ownGzipped)]),
  ),
)

if (values.json) console.log(JSON.stringify({ node: process.version, turns, growth, projections, checkpoints, journals, process: run, sizes }))

function micros(us: number): string {
  return us >= 100 ? us.toFixed(0) : us.toFixed(2)
}

function against({ bestUs, ratio }: { readonly bestUs: number; readonly ratio: number }): string {
  return `${micros(bestUs)} (${ratio.toFixed(2)} ×)`
}

function millis({ bestUs, ratio }: { readonly bestUs: number; readonly ratio: number }): string {
  return `${(bestUs / 1000).toFixed(1)} (${ratio.toFixed(2)} ×)`
}

function perIteration(bytes: number, iterations: number): string {
  return (bytes / iterations).toFixed(0)
}

function mebibytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`
}

function kilobytes(bytes: number): string {
  return `${(bytes / 1000).toFixed(1)} kB`
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)))
  const line = (cells: readonly string[]): string => cells.map((cell, column) => cell.padStart(widths[column] ?? 0)).join("   ")
  return [line(head), ...rows.map(line), ""].join("\n")
}
