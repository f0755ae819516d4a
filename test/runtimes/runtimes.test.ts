import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { availableParallelism, tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { regionOf, replaceRegion } from "../../scripts/regions.ts"
import { ROOT } from "../built.ts"
import { bundleProgram } from "./bundle.ts"
import type { Globals, Report, Request } from "./program/main.ts"
import type { Luggage, Step } from "./program/travel.ts"
import { Missing, RUNTIMES, type Running, type Runtime } from "./runtimes.ts"
import { drawChecks, drawRuntimes, type Row, withoutMeasures } from "./table.ts"
import { installTools } from "./tools.ts"

// One bundle, unchanged, in every runtime: each of them is started for real, and all must come to the same results. What is missing is
// installed from npm; Chromium is Debian's. With CI=true, a runtime that is missing is a failure.
// UPDATE_RUNTIMES=1 writes the tables of docs/edge.md.

const MUST_RUN = process.env["CI"] === "true"
const DOC = join(ROOT, "docs/edge.md")
const MINUTES = 60_000

/** The result of one runtime. `missing`: why it did not run. */
interface Result {
  readonly runtime: Runtime
  readonly running?: Running
  readonly row?: Row
  readonly globals?: Globals
  readonly report?: Report
  readonly missing?: string
  readonly failure?: unknown
}

const folder = mkdtempSync(join(tmpdir(), "turn-machine-runtimes-"))
const results = new Map<string, Result>()
const started: Running[] = []

beforeAll(async () => {
  const [program, modules] = await Promise.all([bundleProgram(), installTools().catch((error: unknown) => new Missing(String(error)))])
  cpSync(join(ROOT, "test/runtimes/launch"), folder, { recursive: true })
  writeFileSync(join(folder, "program.js"), program)
  const waiting = [...RUNTIMES]
  const work = async (): Promise<void> => {
    for (let runtime = waiting.shift(); runtime !== undefined; runtime = waiting.shift())
      results.set(runtime.name, modules instanceof Missing ? { runtime, missing: modules.message } : await runIn(runtime, modules))
  }
  await Promise.all(Array.from({ length: availableParallelism() }, work))
}, 15 * MINUTES)

afterAll(async () => {
  for (const running of started) await running.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function runIn(runtime: Runtime, modules: string): Promise<Result> {
  try {
    const running = await runtime.start(folder, modules)
    started.push(running)
    const globals = await ask<Globals>(running, { do: "hello" })
    const startMs = Date.now() - running.startedAt
    const report = await ask<Report>(running, { do: "run" })
    const checks = report.groups.reduce((sum, group) => sum + group.checks, 0)
    const { name, command } = runtime
    return { runtime, running, globals, report, row: { name, command, version: running.version, startMs, checks } }
  } catch (error) {
    if (error instanceof Missing) return { runtime, missing: error.message }
    return { runtime, failure: error }
  }
}

async function ask<Reply>(running: Running, request: Request): Promise<Reply> {
  return JSON.parse(await running.call(JSON.stringify(request))) as Reply
}

/** The result of a runtime that is on this machine. Others skip the test, or fail it in CI. */
function resultOf(name: string, skip: (note: string) => never): Required<Omit<Result, "missing" | "failure">> {
  const { missing, failure, ...result } = results.get(name) ?? { failure: new Error(`${name} was not started.`) }
  if (missing !== undefined && !MUST_RUN) return skip(`${name} is missing: ${missing}`)
  if (missing !== undefined) throw new Error(`${name} is missing: ${missing}`)
  if (failure !== undefined) throw failure
  return result as Required<Omit<Result, "missing" | "failure">>
}

describe.each(RUNTIMES.map(({ name }) => name))("%s", (name) => {
  test("passes every check of the bundle", ({ skip }) => {
    const { report } = resultOf(name, skip)
    expect(report.failures).toEqual([])
  })

  test("comes to the same results as Node 20", ({ skip }) => {
    const compared = ({ groups }: Report): unknown => groups.map(({ ms: _ms, ...group }) => group)
    expect(compared(resultOf(name, skip).report)).toEqual(compared(resultOf("Node 20", skip).report))
  })
})

test("the bundle has every conformance scenario, and the laws, hosts, threads and tools", ({ skip }) => {
  const { groups } = resultOf("Node 20", skip).report
  const scenarios = ["checklist", "goal", "machine", "projector"].map((suite) => ({ name: `conformance: ${suite}`, checks: filesIn(suite) }))
  expect(groups.slice(0, 4).map(({ name, checks }) => ({ name, checks }))).toEqual(scenarios)
  expect(groups.slice(4).map(({ name }) => name)).toEqual([
    "laws of a turn (expectTurn)",
    "laws in every state (exploreTurn)",
    "requests of the chat and code drivers only grow at their end (law 11)",
    "an answer",
    "what is cached does not show",
    "every earlier turn value can be continued, at any time and in any order",
    "hostConformance of journaled, in memory",
    "threadConformance of Thread, in memory",
    "a journaled turn with tools",
    "a thread with a goal and a model that streams",
    "defineTool with zod",
  ])
})

/** The number of scenarios of a suite. */
function filesIn(suite: string): number {
  return readdirSync(join(ROOT, "test/fixtures/conformance", suite)).filter((file) => file.endsWith(".json")).length
}

test.each([
  ["workerd", ["process", "Buffer", "require", "setImmediate", "window", "document"]],
  ["Chromium, page", ["process", "Buffer", "require", "setImmediate"]],
  ["Chromium, module worker", ["process", "Buffer", "require", "setImmediate", "window", "document"]],
])("%s has no globals of Node, and no polyfills of them", (name, absent) => {
  const result = results.get(name)
  if (result?.globals === undefined) return // its own tests say why
  expect(absent.filter((global) => result.globals?.[global] !== false)).toEqual([])
})

test("a turn that travels through all runtimes, one effect in each, ends as expected", { timeout: 5 * MINUTES }, async ({ skip }) => {
  const stops = RUNTIMES.map(({ name }) => resultOf(name, skip))
  let luggage: Luggage = { journal: "", checkpoint: "" }
  const performed: string[] = []
  const places: string[] = []
  let ended: Step["ended"]
  for (let at = 0; ended === undefined && at < 100; at += 1) {
    const { running, runtime } = stops[at % stops.length] as (typeof stops)[number]
    const step: Step = await ask<Step>(running, { do: "travel", place: runtime.name, luggage })
    luggage = step
    ended = step.ended
    performed.push(...new Set(step.performed))
    if (step.performed[0]?.startsWith("tool") === true) places.push(runtime.name)
  }
  // Every third effect is a checkpoint, which the runtime of the tool call answers.
  expect(performed).toEqual([1, 2, 4, 5, 7, 8, 10, 11, 13, 14, 16, 17, 19].map((id) => `${id % 3 === 1 ? "llm_call" : "tool_calls"} ${id}`))
  expect(places).toEqual(["Node 24", "workerd", "Chromium, module worker", "Bun", "Node 24", "workerd"])
  const expected = places.map((place, index) => JSON.stringify({ stop: index + 1, place }))
  expect(stamps(ended?.journaled)).toEqual(expected)
  expect(stamps(ended?.restored)).toEqual(expected)
})

/** What the tool returned, in order. */
function stamps(messages: unknown): readonly unknown[] {
  const parts = (messages as readonly { readonly parts: readonly { readonly type: string; readonly text?: string }[] }[]).flatMap(
    (message) => message.parts,
  )
  return parts.flatMap(({ type, text }) => (type === "tool_result" ? [text] : []))
}

test("docs/edge.md shows these runtimes and checks", ({ skip }) => {
  const all = RUNTIMES.map(({ name }) => resultOf(name, skip))
  const drawn = { runtimes: drawRuntimes(all.map(({ row }) => row)), checks: drawChecks(resultOf("Node 20", skip).report) }
  if (process.env["UPDATE_RUNTIMES"] === "1") {
    let text = readFileSync(DOC, "utf8")
    for (const [name, region] of Object.entries(drawn)) text = replaceRegion("docs/edge.md", text, name, region)
    writeFileSync(DOC, text)
  }
  const text = readFileSync(DOC, "utf8")
  expect(withoutMeasures(regionOf("docs/edge.md", text, "runtimes").trim())).toBe(withoutMeasures(drawn.runtimes))
  expect(regionOf("docs/edge.md", text, "checks").trim()).toBe(drawn.checks)
})
