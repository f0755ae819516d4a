/**
 * npm install && npm start [-- --quick] [-- --only NAME,NAME]
 *
 * Measures turns of turn-machine and of other agent loops side by side, each in processes of its own, all on the Node of this folder. Every
 * round runs all contenders once, so that other work on the machine meets them alike. Prints tables in Markdown: microseconds a step; what is
 * saved; streamed text; and a crash in a batch of three tools.
 */
import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs, promisify } from "node:util"

const { values } = parseArgs({ options: { quick: { type: "boolean", default: false }, only: { type: "string" } } })
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
  { title: "turn-machine, bare loop", file: "turn-machine", name: "bareLoop" },
  { title: "turn-machine, `runTurn`", file: "turn-machine", name: "withRunTurn" },
  { title: "turn-machine, `journaled`, memory", file: "turn-machine", name: "journaledInMemory" },
  { title: "turn-machine, `journaled`, file, synced", file: "turn-machine", name: "journaledInFile" },
  { title: "pi-agent-core", file: "pi", name: "loop", versionOf: "@earendil-works/pi-agent-core" },
  { title: "XState, pure", file: "xstate", name: "pure", versionOf: "xstate" },
  { title: "XState, pure", file: "xstate-6", name: "pure", versionOf: "xstate-6" },
  { title: "AI SDK, `generateText`", file: "ai-sdk", name: "generate", versionOf: "ai" },
  { title: "OpenAI Agents", file: "openai-agents", name: "run", versionOf: "@openai/agents" },
  { title: "Strands Agents", file: "strands", name: "agent", versionOf: "@strands-agents/sdk" },
  { title: "LangGraph, nothing saved", file: "langgraph", name: "plain", versionOf: "@langchain/langgraph" },
  { title: "LangGraph, memory saver", file: "langgraph", name: "withMemorySaver", versionOf: "@langchain/langgraph", most: 100 },
]

const measured = CONTENDERS.filter(
  ({ title, file }) => values.only === undefined || values.only.split(",").some((name) => title.includes(name) || file === name),
)
const isMeasured = (file: string): boolean => measured.some((contender) => contender.file === file)
const run = promisify(execFile)

async function once<Result>(file: string, name: string, mode: string, steps: number, ...flags: string[]): Promise<Result | undefined> {
  try {
    const { stdout } = await run(NODE, ["--no-warnings", ...flags, join(HERE, "contender.ts"), file, name, mode, String(steps)], { timeout: 300_000 })
    return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Result
  } catch (error) {
    console.error(`${file} ${name} ${mode} ${steps}: ${error instanceof Error ? error.message.slice(0, 600) : error}`)
    return undefined
  }
}

const STEPS = [10, 100, 1_000] as const
const rounds = values.quick ? 1 : 7
const fresh = new Map<string, number[]>()
const memory = new Map<string, number[]>()
const imports = new Map<string, number[]>()
const steady = new Map<string, number[]>()
const heap = new Map<string, number>()
const add = (map: Map<string, number[]>, key: string, value: number | undefined): void => {
  if (value !== undefined) map.set(key, [...(map.get(key) ?? []), value])
}
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
    // The young generation holds all of it, so that nothing is collected in between.
    if (round === 0)
      heap.set(key, (await once<{ kb: number }>(file, name, "heap", 100, "--expose-gc", "--max-semi-space-size=512"))?.kb ?? Number.NaN)
  }
  console.error(`round ${round + 1} of ${rounds}`)
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

const SAVED: readonly (readonly [what: string, file: string, name: string])[] = [
  ["the messages as JSON", "floor", "floorSaved"],
  ["turn-machine, checkpoint", "turn-machine", "withRunTurnSaved"],
  ["turn-machine, journal", "turn-machine", "journaledInMemorySaved"],
  ["pi-agent-core, its messages", "pi", "loopSaved"],
  ["LangGraph, memory saver", "langgraph", "withMemorySaverSaved"],
]
console.log("\n| saved, 100 steps | bytes a step | to text, µs a step | restored, µs a step |\n| --- | ---: | ---: | ---: |")
for (const [what, file, name] of SAVED.filter(([, file]) => isMeasured(file))) {
  const { bytes, saveUs, restoreUs } = (await once<SavedFigures>(file, name, "saved", 100)) ?? {
    bytes: Number.NaN,
    saveUs: Number.NaN,
    restoreUs: Number.NaN,
  }
  console.log(`| ${what} | ${shown(bytes)} | ${saveUs === 0 ? "" : saveUs.toFixed(2)} | ${restoreUs === 0 ? "" : restoreUs.toFixed(2)} |`)
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
  console.log(`| ${what} | ${first.toFixed(2)} | ${best.toFixed(2)} |`)
}

const CRASHES: readonly (readonly [what: string, file: string, name: string])[] = [
  ["turn-machine, `journaled`", "turn-machine", "journaledCrash"],
  ["LangGraph, memory saver, a node for each tool", "langgraph", "withMemorySaverCrash"],
]
console.log("\n| killed when a and b of three tools had run | ran, in order | ran twice |\n| --- | --- | --- |")
for (const [what, file, name] of CRASHES.filter(([, file]) => isMeasured(file))) {
  const { ran = [] } = (await once<{ ran: readonly string[] }>(file, name, "crash", 3)) ?? {}
  const twice = ran.filter((tool, index) => ran.indexOf(tool) !== index)
  console.log(`| ${what} | ${ran.join(", ")} | ${twice.length === 0 ? "none" : twice.join(", ")} |`)
}
console.log("\nThe other loops save nothing unless their host does: a run that was killed starts again from the messages that the host kept.")

const { stdout } = await run(NODE, ["--version"])
console.log(
  `\nNode ${stdout.trim().slice(1)}, ${process.platform} ${process.arch}, ${new Date().toISOString().slice(0, 10)}, ${rounds} rounds, medians of fresh processes.`,
)
