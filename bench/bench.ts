/**
 * npm run bench [-- --json] [-- --quick]
 *
 * Everything is measured side by side in one run, each figure next to a floor that was measured between the same two
 * moments. What is printed are the fastest rounds in microseconds, because other work on the machine only ever adds, and
 * the median ratio to the floor.
 */
import { parseArgs } from "node:util"
import { measureCheckpoints } from "./checkpoints.ts"
import { measureProcess } from "./process.ts"
import { measureSizes } from "./size.ts"
import { measureTurns } from "./turns.ts"

const { values } = parseArgs({ options: { json: { type: "boolean", default: false }, quick: { type: "boolean", default: false } } })
const say = (line: string): void => {
  if (!values.json) console.log(line)
}

say("Time of one iteration (one model call, one tool call with a result of 200 characters, one checkpoint), in µs; × the floor")
const turns = measureTurns(values.quick)
say(
  table(
    ["iterations", "floor", "JSON round trip of the responses", "machine, no validation", "machine, validation"],
    turns.map((row) => [String(row.iterations), micros(row.floor.bestUs), against(row.json), against(row.bare), against(row.validated)]),
  ),
)
const at50 = turns.find((row) => row.iterations === 50)
const at10000 = turns.find((row) => row.iterations === 10_000)
const growth = at50 && at10000 ? { bare: at10000.bare.medianUs / at50.bare.medianUs, floor: at10000.floor.medianUs / at50.floor.medianUs } : undefined
if (growth)
  say(`An iteration of a turn of 10,000 costs ${growth.bare.toFixed(2)} × one of a turn of 50; at the floor it is ${growth.floor.toFixed(2)} ×.\n`)

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

if (values.json) console.log(JSON.stringify({ node: process.version, turns, growth, checkpoints, process: run, sizes }))

function micros(us: number): string {
  return us >= 100 ? us.toFixed(0) : us.toFixed(2)
}

function against({ bestUs, ratio }: { readonly bestUs: number; readonly ratio: number }): string {
  return `${micros(bestUs)} (${ratio.toFixed(2)} ×)`
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
