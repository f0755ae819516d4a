/**
 * npm ci in the clone, then here: npm ci && npm start [-- --help]
 *
 * Measures turns of turn-machine and of other agent loops side by side, each in processes of its own, all on the Node of this folder. Every
 * round runs all contenders once, so that other work on the machine meets them alike. Prints tables in Markdown: microseconds a step; what is
 * saved; streamed text; and a crash in a batch of three tools.
 */
import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs, promisify } from "node:util"

const HELP = `Usage: npm start [-- OPTIONS]

Measures turns of turn-machine and of other agent loops side by side, and prints tables in Markdown.

  --rounds N   how often each contender runs in a fresh process (default 7)
  --quick      the same as --rounds 1
  --only A,B   only contenders whose file or title has one of these words
  --list       the contenders, with their files
  --help       this text

Times are of one machine: compare the rows of one run. Exit code 1: a contender failed; its cells are empty.`

const values = optionsOf()
if (values.help) {
  console.log(HELP)
  process.exit()
}
const HERE = import.meta.dirname
const NODE = join(HERE, "node_modules/.bin/node")

/** `most`: the greatest number of steps, for contenders whose time for a step grows with their number. */
const CONTENDERS: readonly {
  readonly title: string
  readonly file: string
  readonly name: string
  readonly versionOf?: string
  readonly most?: number
}[] = [
  { title: "a loop without a library", file: "floor", name: "floor" },
  { title: "the same with a JSON journal in memory", file: "floor", name: "floorWithJournal" },
  { title: "turn-machine, bare loop", file: "turn-machine-bare", name: "bareLoop" },
  { title: "turn-machine, `runTurn`", file: "turn-machine", name: "withRunTurn" },
  { title: "turn-machine, `journaled`, memory", file: "turn-machine-journal", name: "journaledInMemory" },
  { title: "turn-machine, `journaled`, file, synced", file: "turn-machine-journal", name: "journaledInFile" },
  { title: "pi-agent-core, `runAgentLoop`", file: "pi", name: "loop", versionOf: "@earendil-works/pi-agent-core" },
  { title: "XState, pure", file: "xstate", name: "pure", versionOf: "xstate" },
  { title: "XState, pure", file: "xstate-6", name: "pure", versionOf: "xstate-6" },
  { title: "AI SDK, `generateText`", file: "ai-sdk", name: "generate", versionOf: "ai" },
  { title: "OpenAI Agents", file: "openai-agents", name: "run", versionOf: "@openai/agents" },
  { title: "Strands Agents", file: "strands", name: "agent", versionOf: "@strands-agents/sdk" },
  { title: "LangGraph, nothing saved", file: "langgraph", name: "plain", versionOf: "@langchain/langgraph" },
  { title: "LangGraph, memory saver", file: "langgraph", name: "withMemorySaver", versionOf: "@langchain/langgraph", most: 100 },
  { title: "LangGraph, memory saver, delta", file: "langgraph", name: "withMemorySaverDelta", versionOf: "@langchain/langgraph" },
]

function refuse(what: string): never {
  console.error(what)
  process.exit(2)
}

function optionsOf() {
  const options = {
    quick: { type: "boolean", default: false },
    only: { type: "string" },
    rounds: { type: "string", default: "7" },
    list: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  } as const
  try {
    return parseArgs({ options }).values
  } catch (error) {
    return refuse(`${(error as Error).message}. --help names the options.`)
  }
}

const words = values.only?.split(",")
const measured = CONTENDERS.filter(({ title, file }) => words === undefined || words.some((word) => title.includes(word) || file === word))
const rounds = values.quick ? 1 : Number(values.rounds)
if (values.list) {
  for (const { title, file } of CONTENDERS) console.log(`${file.padEnd(14)} ${title}`)
  process.exit()
}
if (measured.length === 0) refuse(`No contender has ${JSON.stringify(values.only)}. --list names them.`)
if (!Number.isInteger(rounds) || rounds < 1) refuse("--rounds must be a whole number from 1.")
const isMeasured = (file: string): boolean => measured.some((contender) => contender.file === file)
const run = promisify(execFile)

async function once<Result>(file: string, name: string, mode: string, steps: number, ...flags: string[]): Promise<Result | undefined> {
  try {
    const { stdout } = await run(NODE, ["--no-warnings", ...flags, join(HERE, "contender.ts"), file, name, mode, String(steps)], { timeout: 300_000 })
    return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Result
  } catch (error) {
    process.exitCode = 1
    console.error(`${file} ${name} ${mode} ${steps} failed: ${why(error)}`)
    return undefined
  }
}

/** What the process said last before it failed, without the command that started it. */
function why(error: unknown): string {
  const { stderr, killed } = error as { readonly stderr?: string; readonly killed?: boolean }
  if (killed === true) return "it took longer than five minutes."
  return stderr?.match(/^\w*Error.*$/m)?.[0] ?? String(error).slice(0, 600)
}

const STEPS = [10, 100, 1_000] as const
const fresh = new Map<string, number[]>()
const memory = new Map<string, number[]>()
const imports = new Map<string, number[]>()
const steady = new Map<string, number[]>()
const heap = new Map<string, number>()
const add = (map: Map<string, number[]>, key: string, value: number | undefined): void => {
  if (value !== undefined) map.set(key, [...(map.get(key) ?? []), value])
}
/** The young generation holds all that a turn allocates, from its beginning, so that nothing is collected in between. */
const NO_COLLECTION = ["--expose-gc", "--min-semi-space-size=512", "--max-semi-space-size=512"]
for (let round = 0; round < rounds; round += 1) {
  for (const { title, file, name, versionOf, most = 1_000 } of measured) {
    const key = `${title} ${versionOf}`
    for (const steps of STEPS.filter((steps) => steps <= most)) {
      const result = await once<{ importMs: number; us: number; mib: number }>(file, name, "fresh", steps)
      add(fresh, `${key} ${steps}`, result?.us)
      add(imports, key, result?.importMs)
      if (steps === STEPS.at(-1)) add(memory, key, result?.mib)
    }
    if (round < 3) add(steady, key, (await once<{ best: number }>(file, name, "steady", 100))?.best)
    if (round === 0) heap.set(key, (await once<{ kb: number }>(file, name, "heap", 100, ...NO_COLLECTION))?.kb ?? Number.NaN)
    console.error(`Round ${round + 1} of ${rounds}, ${Math.round(performance.now() / 1000)} s: ${title}.`)
  }
}

const median = (list: readonly number[] = []): number => [...list].sort((left, right) => left - right)[Math.floor(list.length / 2)] ?? Number.NaN
const shown = (value: number): string => (Number.isNaN(value) ? "" : value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString("en"))
const version = (name: string): string => {
  const { version } = JSON.parse(readFileSync(join(HERE, "node_modules", name, "package.json"), "utf8")) as { readonly version: string }
  return version
}

console.log(
  "| µs a step | fresh, 10 steps | fresh, 100 | fresh, 1,000 | steady, 100, best | kB allocated a step | import, ms | fresh, 1,000: MiB more |",
)
console.log("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
for (const { title, versionOf } of measured) {
  const key = `${title} ${versionOf}`
  const row = [
    ...STEPS.map((steps) => median(fresh.get(`${key} ${steps}`))),
    Math.min(...(steady.get(key) ?? [Number.NaN])),
    heap.get(key) ?? Number.NaN,
    median(imports.get(key)),
    median(memory.get(key)),
  ]
  console.log(`| ${title}${versionOf === undefined ? "" : ` ${version(versionOf)}`} | ${row.map(shown).join(" | ")} |`)
}

interface SavedFigures {
  readonly bytes: number
  readonly saveUs: number
  readonly restoreUs: number
}

/** What is written as the turn runs has no text that would be made at its end. */
const SAVED: readonly (readonly [what: string, file: string, name: string, isWritten?: true])[] = [
  ["the messages as JSON", "floor", "floorSaved"],
  ["turn-machine, checkpoint", "turn-machine", "withRunTurnSaved"],
  ["turn-machine, journal, written as the turn runs", "turn-machine-journal", "journaledInMemorySaved", true],
  ["pi-agent-core, its messages", "pi", "loopSaved"],
  ["LangGraph, memory saver, a checkpoint for each node, written as the graph runs", "langgraph", "withMemorySaverSaved", true],
  ["LangGraph, memory saver, delta", "langgraph", "withMemorySaverDeltaSaved", true],
]
console.log("\n| saved, 100 steps | bytes a step | to text, µs a step | restored, µs a step |\n| --- | ---: | ---: | ---: |")
for (const [what, file, name, isWritten] of SAVED.filter(([, file]) => isMeasured(file))) {
  const { bytes, saveUs, restoreUs } = (await once<SavedFigures>(file, name, "saved", 100)) ?? {
    bytes: Number.NaN,
    saveUs: Number.NaN,
    restoreUs: Number.NaN,
  }
  const us = (value: number): string => (Number.isNaN(value) ? "" : value.toFixed(2))
  console.log(`| ${what} | ${shown(bytes)} | ${isWritten ? "" : us(saveUs)} | ${us(restoreUs)} |`)
}

const DELTAS: readonly (readonly [what: string, file: string, name: string])[] = [
  ["a loop without a library", "floor", "floorDeltas"],
  ["turn-machine, `runTurn`", "turn-machine", "withRunTurnDeltas"],
  ["turn-machine, `openAiCompatible`, a chunk each", "turn-machine", "clientDeltas"],
  ["pi-agent-core", "pi", "loopDeltas"],
]
console.log("\n| streamed text, 5,000 pieces | µs a piece, first answer | best |\n| --- | ---: | ---: |")
for (const [what, file, name] of DELTAS.filter(([, file]) => isMeasured(file))) {
  const { first = Number.NaN, best = Number.NaN } = (await once<{ first: number; best: number }>(file, name, "deltas", 5_000)) ?? {}
  console.log(`| ${what} | ${Number.isNaN(first) ? "" : first.toFixed(2)} | ${Number.isNaN(best) ? "" : best.toFixed(2)} |`)
}

const CRASHES: readonly (readonly [what: string, file: string, name: string])[] = [
  ["turn-machine, `journaled`", "turn-machine-journal", "journaledCrash"],
  ["LangGraph, memory saver, a node for each tool", "langgraph", "withMemorySaverCrash"],
]
console.log("\n| ended by an error of c when a and b of three tools had run | ran, in order | ran twice |\n| --- | --- | --- |")
for (const [what, file, name] of CRASHES.filter(([, file]) => isMeasured(file))) {
  const ran = (await once<{ ran: readonly string[] }>(file, name, "crash", 3))?.ran
  const twice = ran?.filter((tool, index) => ran.indexOf(tool) !== index)
  console.log(`| ${what} | ${ran?.join(", ") ?? ""} | ${twice?.length === 0 ? "none" : (twice?.join(", ") ?? "")} |`)
}
console.log("\nThe other loops save nothing unless their host does: a run that was killed starts again from the messages that the host stored.")
console.log(
  "The import is that of a contender's file, with what it uses: for turn-machine, the root; `runTurn` also turn-machine/hosts and zod; `journaled` also journals, the file store and replay. Steady is the best of turns of 100 steps; kB are those of a second turn.",
)

const { stdout } = await run(NODE, ["--version"])
console.log(
  `\nNode ${stdout.trim().slice(1)}, ${process.platform} ${process.arch}, ${new Date().toISOString().slice(0, 10)}, ${rounds} ${rounds === 1 ? "round" : "rounds"}, medians of fresh processes.`,
)
