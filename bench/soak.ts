/**
 * npm run soak [-- turns thread goal] [-- --turns 100000 --records 1000000 --store memory,sqlite,file --days 7]
 *
 * Runs the package for long and checks that its laws hold, that memory stays flat, and that storage grows by the same amount for the
 * same work. Each part can be run alone. Progress goes to stderr, and a JSON line for each run to stdout. Exit code 1: a run has a fault.
 * Ctrl-C ends a run early: its figures are those until then.
 */
import { parseArgs } from "node:util"
import { soakGoal } from "./soak/goal.ts"
import { STORE_KINDS } from "./soak/stores.ts"
import { soakThread } from "./soak/thread.ts"
import { soakTurns } from "./soak/turns.ts"

const HELP = `Usage: npm run soak [-- PART...] [-- OPTIONS]

Runs the package for long, and checks its laws, memory and storage. PART: turns, thread, goal (default: all).

  --turns N             random turns (default 100000), with --seed N (1); --all-laws-every N checks all laws on each Nth turn (10)
  --records N           records of a thread (default 1000000), with --calls N tool calls a turn (50)
  --days N              simulated days of a goal (default 7)
  --store A,B           stores of threads and goals: ${STORE_KINDS.join(", ")} (default all)
  --help                this text

Ctrl-C ends a run early. Exit code 1: a run has a fault.`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    help: { type: "boolean", short: "h", default: false },
    turns: { type: "string", default: "100000" },
    seed: { type: "string", default: "1" },
    "all-laws-every": { type: "string", default: "10" },
    records: { type: "string", default: "1000000" },
    calls: { type: "string", default: "50" },
    store: { type: "string", default: STORE_KINDS.join() },
    days: { type: "string", default: "7" },
  },
})
if (values.help) {
  console.log(HELP)
  process.exit()
}
const PARTS = ["turns", "thread", "goal"] as const
const parts = positionals.length === 0 ? PARTS : positionals
const stop = new AbortController()
process.on("SIGINT", () => stop.abort())
const say = (line: string): void => console.error(line)
const given = { say, signal: stop.signal }

function report(figures: { readonly part: string; readonly faults: readonly string[] }): void {
  console.log(JSON.stringify({ node: process.version, date: new Date().toISOString(), ...figures }))
  for (const fault of figures.faults) say(`${figures.part}: ${fault}`)
  if (figures.faults.length > 0) process.exitCode = 1
}

const kinds = STORE_KINDS.filter((kind) => values.store.split(",").includes(kind))
for (const part of parts) {
  if (part === "turns") {
    const [turns, seed, allLawsEvery] = [values.turns, values.seed, values["all-laws-every"]].map(Number) as [number, number, number]
    report(await soakTurns({ turns, seed, allLawsEvery, mostHeapBytes: 100, ...given }))
  } else if (part === "thread") {
    for (const kind of kinds) report(await soakThread({ records: Number(values.records), calls: Number(values.calls), kind, ...given }))
  } else if (part === "goal") {
    for (const kind of kinds) report(await soakGoal({ days: Number(values.days), kind, ...given }))
  } else throw new Error(`There is no part ${JSON.stringify(part)}. The parts are ${PARTS.join(", ")}.`)
}
