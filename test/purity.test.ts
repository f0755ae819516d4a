import { execFile } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { createContext, Script } from "node:vm"
import { build } from "esbuild"
import ts from "typescript"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { ROOT, requireFreshBuild } from "./built.ts"

const CLOCK = "No clock here"
const ASYNC = "No async code here"
const RANDOM = "No randomness here"
const LOCALE = "No locale here"
const TIMER = "No timers here"
const IO = "No I/O here"
const DETOUR = "No way around"
const HOST_API = "No host API here"
const NO_IMPORT = "No dynamic import"
const NO_CODE = "No code from text"
const ZOD = "zod stays at the edge"
const NODE = "No Node here"

/** One offence per line, and the reason that the linter must give for it. */
const OFFENCES: readonly (readonly [code: string, reason: string])[] = [
  ["export const a01 = Date.now()", CLOCK],
  ["export const a02 = new Date()", CLOCK],
  ["export let a03: Date", CLOCK],
  ["export const a04 = performance.now()", CLOCK],
  ["export const b01 = Math.random()", RANDOM],
  ['export const b02 = Math["random"]()', RANDOM],
  ["export const { random: b03 } = Math", RANDOM],
  ["export const b04 = Math", RANDOM],
  ["export const b05 = Math?.random()", RANDOM],
  ["export const b06 = crypto.randomUUID()", RANDOM],
  ['export const c01 = new Intl.NumberFormat("de")', LOCALE],
  ['export const c02 = "a".localeCompare("b")', LOCALE],
  ["export const c03 = (1).toLocaleString()", LOCALE],
  ['export const c04 = "a".toLocaleUpperCase()', LOCALE],
  ['export const c05 = "a"["localeCompare"]("b")', LOCALE],
  ['export const { localeCompare } = ""', LOCALE],
  ['export const { toLocaleLowerCase: c07 } = ""', LOCALE],
  ["export const d01 = Promise.resolve()", ASYNC],
  ["export let d02: Promise<void>", ASYNC],
  ["export async function d03(): Promise<void> {}", ASYNC],
  ["export const d04 = async () => 1", ASYNC],
  ["export const d05 = async (x: number) => x", ASYNC],
  ["export const d06 = async function named() {}", ASYNC],
  ["export class D07 { async run() {} }", ASYNC],
  ["export class D08 { static async run() {} }", ASYNC],
  ["export class D09 { async *run() {} }", ASYNC],
  ["export const d10 = { async run() {} }", ASYNC],
  ["export async function* d11() {}", ASYNC],
  ["export const d12 = await d04", ASYNC],
  ["for await (const item of d11) item", ASYNC],
  ["export default async function () {}", ASYNC],
  ['export const e01 = import("./turn.ts")', NO_IMPORT],
  ["export const e02 = import.meta.url", NO_IMPORT],
  ["export const f01 = globalThis", DETOUR],
  ["export const f02 = self", DETOUR],
  ['export const f03 = eval("1")', NO_CODE],
  ['export const f04 = new Function("return 1")', NO_CODE],
  ["export const g01 = setTimeout(f01, 1)", TIMER],
  ["export const g02 = setInterval(f01, 1)", TIMER],
  ["export const g03 = queueMicrotask(f01)", TIMER],
  ['export const h01 = fetch("https://example.com")', IO],
  ["export const h02 = process.env", IO],
  ['export const h03 = console.log("here")', IO],
  ["export const i01 = structuredClone(f01)", HOST_API],
  ["export const i02 = new TextEncoder()", HOST_API],
  ['export const i03 = new URL("x:y")', HOST_API],
  ["export const i04 = new AbortController()", HOST_API],
  ["export const i05 = new WeakRef(f01)", "No view of the garbage collector"],
  ["export const i06 = new SharedArrayBuffer(1)", "No shared memory"],
  ['export * as j01 from "zod"', ZOD],
  ['import * as j02 from "zod"', ZOD],
  ['import type { ZodType } from "zod"', ZOD],
  ['import * as j04 from "zod/mini"', ZOD],
  ['import { readFileSync } from "node:fs"', NODE],
  ['import { join } from "path"', "Node.js builtin module"],
]

/** What looks like an offence and is none. */
const INNOCENT = [
  "export const k01 = Math.max(1, 2)",
  "export const k02 = (async: number) => async",
  "export const k03 = { async: 1, random: 2 }",
  "export const k04 = k03.random + k03.async",
  "export class K05 { async() {} }",
  'export const k06 = "A".toLowerCase() < "b"',
  "export const k07 = asyncItems.map((asyncItem) => asyncItem)",
  'import type { Json } from "../schemas/json.ts"',
]

/** Each line does not compile where there is only ECMAScript 2022, for the reason that its name is unknown there. */
const NOT_ECMASCRIPT = [
  'console.log("here")',
  "setTimeout(() => {}, 1)",
  "setInterval(() => {}, 1)",
  "setImmediate(() => {})",
  "queueMicrotask(() => {})",
  'fetch("https://example.com")',
  "process.exit()",
  "performance.now()",
  "crypto.randomUUID()",
  "structuredClone({})",
  "new TextEncoder()",
  'new URL("x:y")',
  "new AbortController()",
  'Buffer.from("x")',
  'require("fs")',
  "globalThis.fetch",
  'import "node:fs"',
  'export { readFileSync } from "node:fs"',
  "[2, 1].toSorted()",
  "[2, 1].findLast((item) => item > 1)",
  "Object.groupBy([1], String)",
  "Promise.withResolvers()",
  "new WebAssembly.Module(0)",
]

const scratch = mkdtempSync(join(tmpdir(), "turn-machine-purity-"))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

describe("the linter", () => {
  interface Finding {
    readonly path: string
    readonly line: number
    readonly category: string
    readonly text: string
  }
  let findings: readonly Finding[] = []
  const BANS = ["plugin", "lint/style/noRestrictedGlobals", "lint/style/noRestrictedImports", "lint/correctness/noNodejsModules"]
  const PURE_FOLDERS = ["machine", "drivers", "projectors", "replay", "schemas", "checks"]

  beforeAll(async () => {
    for (const name of ["biome.json", "lint", ".gitignore"]) cpSync(join(ROOT, name), join(scratch, name), { recursive: true })
    const offences = OFFENCES.map(([code]) => code).join("\n")
    for (const folder of [...PURE_FOLDERS, "hosts", "hosts/node", "testing", "cli"]) write(`src/${folder}/offences.ts`, offences)
    write("src/offences.ts", offences)
    write("src/machine/innocent.ts", INNOCENT.join("\n"))
    write("src/hosts/tools/define-tool.ts", 'import * as z from "zod"')
    write("src/schemas/named.ts", 'import { z } from "zod"')
    findings = await lint()
  })

  function write(path: string, text: string): void {
    mkdirSync(dirname(join(scratch, path)), { recursive: true })
    writeFileSync(join(scratch, path), `${text}\n`)
  }

  /** Reads the linter's report as a person does: the reasons of banned globals are in no other form of it. */
  async function lint(): Promise<readonly Finding[]> {
    const biome = createRequire(import.meta.url).resolve("@biomejs/biome/bin/biome")
    const args = [biome, "lint", "--colors=off", "--max-diagnostics=none", "src"]
    const report = await new Promise<string>((resolve) => {
      execFile(process.execPath, args, { cwd: scratch, maxBuffer: 64 * 1024 * 1024 }, (_error, stdout, stderr) => resolve(stdout + stderr))
    })
    const [, ...parts] = report.split(/^(\S+):(\d+):\d+ (\S+).*━$/m)
    const found: Finding[] = []
    for (let at = 0; at + 3 < parts.length; at += 4) {
      const [path, line, category, text] = parts.slice(at, at + 4) as [string, string, string, string]
      if (BANS.includes(category)) found.push({ path, line: Number(line), category, text })
    }
    return found
  }

  function reasons(path: string, line: number): readonly string[] {
    return findings.filter((finding) => finding.path === path && finding.line === line).map(({ text }) => text)
  }

  function missing(path: string, expected = withLines): readonly string[] {
    return expected.filter(([, reason, line]) => !reasons(path, line).some((text) => text.includes(reason))).map(([code]) => code)
  }

  const withLines = OFFENCES.map(([code, reason], index) => [code, reason, index + 1] as const)

  test.each(withLines)("refuses `%s` in src/machine: %s", (_code, reason, line) => {
    expect(reasons("src/machine/offences.ts", line)).toContainEqual(expect.stringContaining(reason))
  })

  test.each(["drivers", "projectors", "replay", "checks"])("refuses the same in src/%s", (folder) => {
    expect(missing(`src/${folder}/offences.ts`)).toEqual([])
  })

  test("refuses the same in the files beside the folders", () => {
    expect(missing("src/offences.ts")).toEqual([])
  })

  test("refuses the same in src/schemas, but for zod", () => {
    const withoutZod = withLines.filter(([, reason]) => reason !== ZOD)
    expect(missing("src/schemas/offences.ts", withoutZod)).toEqual([])
  })

  test("accepts code that only looks like it", () => {
    expect(findings.filter(({ path }) => path === "src/machine/innocent.ts")).toEqual([])
  })

  test("lets hosts be async and know the time, but not Node and not zod", () => {
    const expected = withLines.filter(([code]) => /"zod|"node:|"path"/.test(code)).map(([, , line]) => line)
    expect([...new Set(findings.filter(({ path }) => path === "src/hosts/offences.ts").map(({ line }) => line))].sort()).toEqual(expected)
  })

  test("lets zod into the schemas and defineTool, as a namespace", () => {
    expect(findings.filter(({ path }) => path === "src/hosts/tools/define-tool.ts")).toEqual([])
    expect(reasons("src/schemas/named.ts", 1)).toEqual([expect.stringContaining("Import all of zod as a namespace")])
  })

  test.each(["cli", "hosts/node"])("lets src/%s import Node", (folder) => {
    const line = OFFENCES.findIndex(([, reason]) => reason === NODE) + 1
    expect(reasons(`src/${folder}/offences.ts`, line)).toEqual([])
  })
})

describe("the compiler", () => {
  test.each(["machine", "drivers", "projectors", "replay"])("knows nothing but ECMAScript in src/%s", (folder) => {
    const file = join(ROOT, "src", folder, "not-ecmascript.ts")
    const { config } = ts.readConfigFile(join(ROOT, "tsconfig.pure.json"), ts.sys.readFile) as { config: { include: string[] } }
    expect(config.include).toContain(`src/${folder}`)
    const { options } = ts.parseJsonConfigFileContent(config, ts.sys, ROOT)
    const host = ts.createCompilerHost(options)
    const { readFile, fileExists } = host
    host.fileExists = (name) => name === file || fileExists(name)
    host.readFile = (name) => (name === file ? NOT_ECMASCRIPT.join("\n") : readFile(name))
    const program = ts.createProgram([file], options, host)
    const source = program.getSourceFile(file)
    const lines = ts.getPreEmitDiagnostics(program, source).map(({ start }) => source?.getLineAndCharacterOfPosition(start ?? 0).line)
    expect(NOT_ECMASCRIPT.filter((_code, line) => !lines.includes(line))).toEqual([])
  })
})

describe("the built core", () => {
  /** Whatever these names stand for, whoever touches them is told. */
  const REMOVED = ["Date", "Promise", "Intl", "console", "WebAssembly", "SharedArrayBuffer", "Atomics", "WeakRef", "FinalizationRegistry", "eval"]
  const HARDEN = `
    "use strict"
    for (const name of ${JSON.stringify(REMOVED)}) {
      Object.defineProperty(globalThis, name, { get() { throw new Error(name + " was used") } })
    }
    Math.random = () => { throw new Error("Math.random was used") }
    for (const prototype of [String.prototype, Number.prototype, Array.prototype, Object.prototype]) {
      for (const name of ["localeCompare", "toLocaleString", "toLocaleUpperCase", "toLocaleLowerCase"]) {
        if (Object.hasOwn(prototype, name)) prototype[name] = () => { throw new Error(name + " was used") }
      }
    }
  `

  /** A whole turn, with a checkpoint in the middle of its tool call. The last value is a report in JSON. */
  const TURN = `
    import { chatDriver } from "./dist/drivers/index.js"
    import { TurnMachine } from "./dist/machine/index.js"
    import { chatProjector } from "./dist/projectors/index.js"

    const usage = { inputTokens: 10, cachedInputTokens: 0, outputTokens: 5, reasoningTokens: 0 }
    const look = { type: "tool_call", callId: "call_1", toolName: "look", inputJson: '{"at":"sky"}' }
    const config = {
      model: "any", sessionId: "session", systemPrompt: "Answer.", generation: {}, driver: chatDriver(), projector: chatProjector,
      tools: [{ name: "look", description: "Looks.", inputSchema: { type: "object" } }],
      syncExecutionSurface: false, emitLlmTrace: false,
    }
    const asked = { id: "m1", role: "user", parts: [{ id: "m1.p0", type: "text", text: "What do you see?" }] }

    let machine = new TurnMachine(config, { messages: [asked] })
    const trace = []
    for (let effect = machine.poll(); effect !== undefined; effect = machine.poll()) {
      const { id } = effect
      if (effect.type === "llm_call") {
        trace.push("llm_call " + id + " with " + effect.request.messages.length + " messages")
        const answer = trace.length === 1 ? { text: "", parts: [look], terminalReason: "tool_use" } : { text: "Blue.", parts: [{ type: "text", text: "Blue." }], terminalReason: "stop" }
        machine.handle({ type: "llm_complete", id, at: 1000 * id, result: { ok: true, response: { ...answer, usage } } })
      } else if (effect.type === "tool_calls") {
        trace.push("tool_calls " + id + " " + effect.calls[0].toolName + " at " + effect.calls[0].args.at)
        machine = TurnMachine.restore(config, JSON.stringify(machine.checkpoint()))
        const again = machine.poll()
        trace.push("again " + again.type + " " + again.id)
        const [{ callId, toolName, args }] = again.calls
        machine.handle({ type: "tool_results", id, results: [{ callId, toolName, args, output: { status: "success", value: "blue" }, durationMs: 2 }] })
      } else if (effect.type === "checkpoint") {
        trace.push("checkpoint " + id + " " + effect.checkpoint)
        machine.handle({ type: "checkpoint_delivery", id, delivery: {} })
      } else if (effect.type === "done") {
        trace.push("done")
      }
    }
    export const report = JSON.stringify({ trace, outcome: machine.outcome, usage: machine.usage, messages: machine.messages.length })
  `

  /** A turn that is recorded, with a snapshot and an end that was torn off; read, replayed, verified, and taken up again. */
  const JOURNAL = `
    import { chatDriver } from "./dist/drivers/index.js"
    import { TurnMachine } from "./dist/machine/index.js"
    import { chatProjector } from "./dist/projectors/index.js"
    import { JournalError, readJournal, Recorder, replay, ReplayDivergence, resume, verifyReplay } from "./dist/replay/index.js"

    const usage = { inputTokens: 10, cachedInputTokens: 0, outputTokens: 5, reasoningTokens: 0 }
    const look = { type: "tool_call", callId: "call_1", toolName: "look", inputJson: '{"at":"sky \u{1f324}"}' }
    const config = {
      model: "any", sessionId: "session", systemPrompt: "Answer.", generation: {}, driver: chatDriver(), projector: chatProjector,
      tools: [{ name: "look", description: "Looks.", inputSchema: { type: "object" } }],
      syncExecutionSurface: false, emitLlmTrace: false,
    }
    const start = { messages: [{ id: "m1", role: "user", parts: [{ id: "m1.p0", type: "text", text: "What do you see?" }] }] }
    const complete = (id, answer) => ({ type: "llm_complete", id, at: 1000 * id, result: { ok: true, response: { ...answer, usage } } })
    const responses = [
      complete(1, { text: "", parts: [look], terminalReason: "tool_use" }),
      { type: "tool_results", id: 2, results: [{ callId: "call_1", toolName: "look", args: { at: "sky" }, output: { status: "success", value: "blue" }, durationMs: 2 }] },
      { type: "checkpoint_delivery", id: 3, delivery: {} },
      complete(4, { text: "Blue.", parts: [{ type: "text", text: "Blue." }], terminalReason: "stop" }),
      { type: "checkpoint_delivery", id: 5, delivery: {} },
    ]
    const caught = (type, act) => {
      try { act() } catch (error) { if (error instanceof type) return error.code + " " + error.record; throw error }
    }
    const play = (machine, answered) => {
      for (const response of answered) {
        while (machine.poll() !== undefined);
        text += recorder.response(machine, response)
        machine.handle(response)
        while (machine.poll() !== undefined);
        if (response.id === 2) text += recorder.snapshot(machine)
      }
    }

    const machine = new TurnMachine(config, start)
    let { recorder, line: text } = Recorder.begin(config, start, "turn-1", { keepEffects: true })
    play(machine, responses.slice(0, 4))
    const torn = readJournal(text.slice(0, -9))
    const journal = readJournal(text.slice(0, torn.length))
    const seen = { types: journal.entries.map(({ record }) => record.type), torn: torn.droppedLength > 0 }
    seen.replayed = replay(journal, config, { at: 3 }).state
    seen.verified = verifyReplay(journal, config)
    seen.changed = caught(ReplayDivergence, () => verifyReplay(journal, { ...config, model: "other" }))
    seen.asked = caught(ReplayDivergence, () => verifyReplay(journal, { ...config, model: "other" }, { checkConfig: false }))
    seen.damaged = caught(JournalError, () => readJournal(text.replace("Blue.", "Red.")))

    text = text.slice(0, torn.length)
    recorder = Recorder.resume(journal)
    const resumed = resume(journal, config)
    while (resumed.poll() !== undefined);
    seen.outstanding = resumed.outstanding.type + " " + resumed.outstanding.id
    play(resumed, responses.slice(3))
    text += recorder.end(resumed)
    seen.ended = verifyReplay(readJournal(text), config)
    export const report = JSON.stringify(seen)
  `

  async function bundle(contents: string): Promise<string> {
    const { outputFiles } = await build({
      stdin: { contents, resolveDir: ROOT, loader: "js" },
      bundle: true,
      format: "iife",
      globalName: "core",
      platform: "neutral",
      define: { "process.env.NODE_ENV": '"production"' },
      logLevel: "silent",
      write: false,
    })
    return outputFiles[0]?.text ?? ""
  }

  function runInEmptyContext(code: string): unknown {
    const context = createContext(Object.create(null), { codeGeneration: { strings: false, wasm: false } })
    new Script(HARDEN).runInContext(context)
    return new Script(`${code}\n;core.report`).runInContext(context)
  }

  test("runs a whole turn where there is no clock, randomness, timer, async or I/O", async () => {
    requireFreshBuild(["machine", "drivers", "projectors"])
    const report = runInEmptyContext(await bundle(TURN))
    expect(JSON.parse(report as string)).toEqual({
      trace: [
        "llm_call 1 with 2 messages",
        "tool_calls 2 look at sky",
        "again tool_calls 2",
        "checkpoint 3 after_work",
        "llm_call 4 with 4 messages",
        "checkpoint 5 before_completion",
        "done",
      ],
      outcome: { type: "finished", finish: { type: "assistant_message", text: "Blue." } },
      usage: { inputTokens: 20, cachedInputTokens: 0, outputTokens: 10, reasoningTokens: 0 },
      messages: 4,
    })
  })

  test("records, reads, replays, verifies and resumes a turn there", async () => {
    requireFreshBuild(["machine", "drivers", "projectors", "replay"])
    const report = runInEmptyContext(await bundle(JOURNAL))
    const recorded = ["effect", "llm_complete", "effect", "tool_results", "snapshot", "effect", "checkpoint_delivery", "effect"]
    expect(JSON.parse(report as string)).toEqual({
      types: recorded,
      torn: true,
      replayed: "waiting_tools",
      verified: { records: 9, skippedRecords: 0, effects: 3, snapshots: 1, iterations: 1 },
      changed: "configuration_differs 1",
      asked: "effect_differs 3",
      damaged: "damaged_record 10",
      outstanding: "llm_call 4",
      ended: {
        records: 12,
        skippedRecords: 0,
        effects: 5,
        snapshots: 1,
        iterations: 2,
        outcome: { type: "finished", finish: { type: "assistant_message", text: "Blue." } },
      },
    })
  })

  test.each([
    ...REMOVED.map((name) => [name, `${name} was used`]),
    ["Math.random()", "Math.random was used"],
    ['"a".localeCompare("b")', "localeCompare was used"],
  ])("would be caught using %s", async (use, message) => {
    const code = await bundle(`export const report = String(${use})`)
    expect(() => runInEmptyContext(code)).toThrow(message)
  })

  test.each(["process", "setTimeout", "queueMicrotask", "fetch", "structuredClone", "TextEncoder", "URL", "performance", "crypto", "Buffer"])(
    "would be caught using %s",
    async (use) => {
      const code = await bundle(`export const report = String(${use})`)
      expect(() => runInEmptyContext(code)).toThrow(`${use} is not defined`)
    },
  )
})
