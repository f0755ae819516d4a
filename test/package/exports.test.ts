import { execFile } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { ROOT, requireFreshBuild } from "../built.ts"

/** Every name that a subpath exports at run time. A name that goes from here is a breaking change. */
const NAMES: Readonly<Record<string, readonly string[]>> = {
  "turn-machine": [
    "CheckpointError",
    "DriverError",
    "ProtocolError",
    "SchemaError",
    "TurnError",
    "TurnMachine",
    "advance",
    "begin",
    "chatDriver",
    "chatProjector",
    "codeDriver",
    "codeInstructions",
    "command",
    "handle",
    "wireValidation",
  ],
  "turn-machine/machine": [
    "ANSWERS",
    "CheckpointError",
    "DriverError",
    "History",
    "MAX_JSON_DEPTH",
    "NO_USAGE",
    "PREPARATION",
    "ProtocolError",
    "SchemaError",
    "TRANSITIONS",
    "TurnError",
    "TurnMachine",
    "addUsage",
    "advance",
    "applyActions",
    "begin",
    "command",
    "deriveModelReturn",
    "errorEvent",
    "failWith",
    "handle",
    "stopped",
    "toolResultParts",
  ],
  "turn-machine/drivers": [
    "assistantParts",
    "assistantRecord",
    "chatDriver",
    "codeDriver",
    "codeInstructions",
    "conversation",
    "deriveModelReturn",
    "errorEvent",
    "goalDriver",
    "nextIteration",
    "pairToolCalls",
    "readFences",
    "readResponse",
    "showResponse",
    "stopped",
    "toolResultParts",
    "wrapDriver",
  ],
  "turn-machine/drivers/checklist": [
    "ChecklistJudge",
    "JUDGE_TRANSITIONS",
    "allTerminal",
    "applyJudgement",
    "continuationPrompt",
    "countItems",
    "decisionReasonText",
    "decisionText",
    "evidenceText",
    "hasGoal",
    "isActive",
    "manageChecklist",
    "newChecklistState",
    "pauseText",
    "reasonText",
    "renderChecklist",
    "renderItems",
    "restoreChecklist",
    "statusLine",
  ],
  "turn-machine/drivers/goal": [
    "DEFAULT_GOAL_POLICY",
    "GOAL_STANDINGS",
    "GOAL_TOOLS",
    "GOAL_TRANSITIONS",
    "MAX_OBJECTIVE_LENGTH",
    "REFERENCE_GOAL_POLICY",
    "applyGoal",
    "changeGoal",
    "endGoalTurn",
    "foldGoal",
    "goalChanges",
    "goalDeliveries",
    "goalDriver",
    "goalInputEvent",
    "isGoalTool",
    "lostUsageRecord",
    "mergeDeliveries",
    "newGoalState",
    "nextStatus",
    "nextTurn",
    "readGoal",
    "stopRecord",
  ],
  "turn-machine/projectors": ["OpenAiChatStream", "chatProjector", "openAiChatProjector", "wrapProjector"],
  "turn-machine/replay": [
    "ForkError",
    "JournalError",
    "JournalWriter",
    "Recorder",
    "ReplayDivergence",
    "canonicalJson",
    "compacted",
    "compareJournals",
    "differences",
    "digest",
    "fingerprint",
    "fork",
    "isUnfinishedHeader",
    "journalOutline",
    "readJournal",
    "replay",
    "resume",
    "verifyReplay",
    "workedMs",
  ],
  "turn-machine/schemas": [
    "AnswerableEffect",
    "AttachmentRef",
    "Block",
    "CHECKPOINT_FORMAT",
    "CHECKPOINT_VERSION",
    "CancelLlm",
    "Checkpoint",
    "ChecklistCommand",
    "ChecklistGoal",
    "ChecklistItem",
    "ChecklistPolicy",
    "ChecklistState",
    "CheckpointDelivered",
    "CheckpointDelivery",
    "CheckpointKind",
    "CompletedToolCall",
    "Count",
    "DeliveredMessage",
    "Done",
    "DriverAction",
    "Effect",
    "Emit",
    "ErrorEnvelope",
    "Evaluation",
    "Evidence",
    "EvidenceTranscript",
    "ExecCode",
    "ExecResponse",
    "ExecResult",
    "ExecutionSurfaceSynced",
    "FailureSource",
    "Finding",
    "Generation",
    "Goal",
    "GoalCause",
    "GoalCommand",
    "GoalEvent",
    "GoalInput",
    "GoalMemory",
    "GoalMetricName",
    "GoalMode",
    "GoalOutput",
    "GoalPolicyData",
    "GoalRefusal",
    "GoalState",
    "GoalStatus",
    "GoalToolName",
    "GoalTurn",
    "HistoryRecord",
    "ItemRuling",
    "ItemStatus",
    "JOURNAL_FORMAT",
    "JOURNAL_VERSION",
    "JUDGE_CHECKPOINT_FORMAT",
    "JUDGE_CHECKPOINT_VERSION",
    "JournalEffect",
    "JournalEnd",
    "JournalHeader",
    "JournalInterruption",
    "JournalRecord",
    "JournalSnapshot",
    "Json",
    "JudgeCheckpoint",
    "JudgeReason",
    "JudgeState",
    "JudgedTurn",
    "Judgement",
    "LlmCall",
    "LlmComplete",
    "LlmFailure",
    "LlmMessage",
    "LlmRequest",
    "LlmResponse",
    "Log",
    "LogEvent",
    "MAX_JSON_DEPTH",
    "Message",
    "ModelReturn",
    "OnEmpty",
    "Origin",
    "Outcome",
    "OutputPart",
    "Part",
    "PauseReason",
    "PendingToolCall",
    "Progress",
    "Prune",
    "ReasoningReplay",
    "ReplayMeta",
    "Response",
    "ResponseMeta",
    "Role",
    "SyncExecutionSurface",
    "TerminalReason",
    "Timestamp",
    "TokenUsage",
    "ToolCalls",
    "ToolControl",
    "ToolFailure",
    "ToolOutput",
    "ToolResults",
    "ToolSpec",
    "TurnCause",
    "TurnCheckpoint",
    "TurnConfigData",
    "TurnEvent",
    "TurnOrigin",
    "TurnStart",
    "journalValidation",
    "judgeValidation",
    "wireValidation",
  ],
  "turn-machine/hosts": [
    "JournalStoreError",
    "LlmCallError",
    "ToolDefinitionError",
    "ToolError",
    "ToolReply",
    "defineTool",
    "memoryJournalStore",
    "openAiCompatible",
    "runJudge",
    "runTurn",
    "sqliteJournalStore",
    "toolbox",
    "wrapHost",
  ],
  "turn-machine/hosts/node": ["fileJournalStore"],
  "turn-machine/hosts/journal": ["TurnJournal", "journaled"],
  "turn-machine/hosts/opentelemetry": ["openTelemetry"],
  "turn-machine/hosts/thread": ["JudgedThread", "Thread", "judgedCheckpoint", "judgedDriver", "readJudged", "runThread", "snapshotThread"],
  "turn-machine/testing": [
    "LAWS",
    "LawError",
    "NUMBERS_PER_ANSWER",
    "ReplayMismatch",
    "answerTo",
    "expectReplays",
    "expectTurn",
    "firstDifference",
    "recordedModel",
    "recordedTools",
    "scriptedDriver",
    "scriptedHost",
    "scriptedModel",
  ],
  "turn-machine/testing/arbitraries": [
    "answers",
    "callbacks",
    "configData",
    "moves",
    "quietAction",
    "script",
    "scriptedAnswer",
    "start",
    "startAction",
    "attachmentRef",
    "block",
    "checkpointKind",
    "completedToolCall",
    "count",
    "deliveredMessage",
    "delivery",
    "execResponse",
    "execResult",
    "failureSource",
    "historyRecord",
    "id",
    "inputJson",
    "json",
    "llmFailure",
    "llmMessage",
    "llmRequest",
    "llmResponse",
    "llmResult",
    "message",
    "modelReturn",
    "origin",
    "outcome",
    "outputPart",
    "part",
    "pendingToolCall",
    "prune",
    "reasoningReplay",
    "replayMeta",
    "response",
    "responseMeta",
    "role",
    "surfaceResult",
    "terminalReason",
    "text",
    "timestamp",
    "toolControl",
    "toolFailure",
    "toolOutput",
    "toolSpec",
    "turnCause",
    "turnEvent",
    "usage",
  ],
}

/** What a user of the package writes; it must compile as it stands. */
const CONSUMER = `
import { type Effect, type Json, TurnMachine, chatDriver, chatProjector, type TurnConfig, type TurnStart } from "turn-machine"
import { assistantParts } from "turn-machine/drivers"
import { ChecklistJudge, type Decision, type JudgeConfig, newChecklistState } from "turn-machine/drivers/checklist"
import { goalDriver, type GoalState, newGoalState, nextTurn } from "turn-machine/drivers/goal"
import { type Host, runJudge, runTurn } from "turn-machine/hosts"
import { type OpenTelemetry, openTelemetry } from "turn-machine/hosts/opentelemetry"
import { type Turn, TurnMachine as BareTurnMachine, begin } from "turn-machine/machine"
import type { Projector } from "turn-machine/projectors"
import { type Journal, readJournal } from "turn-machine/replay"
import { journalValidation, type Judgement, judgeValidation, Response } from "turn-machine/schemas"
import { expectTurn } from "turn-machine/testing"
import * as arbitrary from "turn-machine/testing/arbitraries"

const projector: Projector = chatProjector
const config: TurnConfig = {
  model: "any", sessionId: "s", systemPrompt: "", tools: [], generation: {}, driver: chatDriver(), projector,
  syncExecutionSurface: false, autonomous: false, emitLlmTrace: false,
}
const start: TurnStart = { messages: [{ id: "m1", role: "user", parts: [{ id: "m1.p0", type: "text", text: "Hello" }] }] }
const machine: BareTurnMachine = new TurnMachine(config, start)
const goals: GoalState = newGoalState("t")
const resting: string = nextTurn({ threadId: goals.threadId, history: machine.history }, 0).type
const pursuing: TurnConfig = { ...config, driver: goalDriver(chatDriver(), { threadId: "t", turnId: resting, startedAt: 0 }) }
const effect: Effect | undefined = machine.poll()
if (effect?.type === "llm_call") {
  const model: string = effect.request.model
  // @ts-expect-error the types arrived: a model is no number
  const wrong: number = effect.request.model
  console.log(model, wrong)
}
const answer: Response = Response.parse({ type: "checkpoint_delivery", id: 1, delivery: {} })
const value: Json = { answer: machine.handle(answer).status }
const { turn }: { readonly turn: Turn } = begin(config, start)
const host: Host = { llmCall: async () => { throw new Error("no model") } }
const journal: (text: string) => Journal = (text) => readJournal(text, journalValidation)
const judgeConfig: JudgeConfig = { model: "any", validation: judgeValidation }
const judgement: Promise<Judgement | undefined> = runJudge(new ChecklistJudge(judgeConfig, newChecklistState(), { response: "", at: 0 }), host)
const traced: OpenTelemetry["runTurn"] = openTelemetry({ provider: "openai" }).runTurn
export const verdict: Decision["verdict"] = "wait"
export const all = [pursuing, judgement, journal, value, turn, runTurn(machine, host), traced(machine, host), assistantParts, expectTurn, arbitrary.message]
`

const run = promisify(execFile)
const scratch = mkdtempSync(join(tmpdir(), "turn-machine-exports-"))
const installed = join(scratch, "node_modules/turn-machine")
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

beforeAll(async () => {
  requireFreshBuild([""])
  const { stdout } = await npm(ROOT, "pack", "--json", "--ignore-scripts", "--pack-destination", scratch)
  const [packed] = JSON.parse(stdout) as [{ filename: string }]
  write("package.json", JSON.stringify({ private: true, type: "module" }))
  const { devDependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { devDependencies: Record<string, string> }
  const peers = ["fast-check", "@opentelemetry/api"].map((name) => `${name}@${devDependencies[name]}`)
  await npm(scratch, "install", "--prefer-offline", "--no-audit", "--no-fund", `./${packed.filename}`, ...peers)
}, 180_000)

function npm(cwd: string, ...args: string[]): Promise<{ stdout: string }> {
  return run("npm", args, { cwd, maxBuffer: 64 * 1024 * 1024, shell: process.platform === "win32" })
}

function write(path: string, text: string): void {
  writeFileSync(join(scratch, path), text)
}

describe("the installed package", () => {
  test("exports the subpaths and names of the list, and no other", async () => {
    const manifest = JSON.parse(readFileSync(join(installed, "package.json"), "utf8")) as { exports: Record<string, unknown> }
    const subpaths = Object.keys(manifest.exports).filter((path) => path !== "./package.json")
    expect(subpaths.map((path) => path.replace(".", "turn-machine"))).toEqual(Object.keys(NAMES))

    write(
      "names.js",
      `export {}\nconst names = {}\nfor (const path of process.argv.slice(2)) names[path] = Object.keys(await import(path)).sort()\nconsole.log(JSON.stringify(names))`,
    )
    const { stdout } = await run(process.execPath, ["names.js", ...Object.keys(NAMES)], { cwd: scratch })
    expect(JSON.parse(stdout)).toEqual(Object.fromEntries(Object.entries(NAMES).map(([path, names]) => [path, [...names].sort()])))
  })

  // Our own declarations are read in full once; it takes the compiler four times as long.
  test.each([
    { module: "node16", moduleResolution: "node16", skipLibCheck: false },
    { module: "esnext", moduleResolution: "bundler", skipLibCheck: true },
  ])(
    "compiles for a user under moduleResolution $moduleResolution",
    async ({ module, moduleResolution, skipLibCheck }) => {
      const compilerOptions = {
        module,
        moduleResolution,
        target: "es2022",
        lib: ["es2023", "dom", "dom.iterable"],
        types: [],
        strict: true,
        exactOptionalPropertyTypes: true,
        noEmit: true,
        skipLibCheck,
      }
      write("consumer.ts", CONSUMER)
      write(`tsconfig.${moduleResolution}.json`, JSON.stringify({ compilerOptions, files: ["consumer.ts"] }))
      const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc")
      const { stdout } = await run(process.execPath, [tsc, "-p", `tsconfig.${moduleResolution}.json`], { cwd: scratch }).catch(
        (error: { stdout: string }) => error,
      )
      expect(stdout).toBe("")
    },
    180_000,
  )

  test("holds what its source maps point at, and the papers", () => {
    const maps = readdirSync(join(installed, "dist"), { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".map"))
    expect(maps.length).toBeGreaterThan(50)
    const lost = maps.flatMap((name) => {
      const file = join(installed, "dist", name)
      const { sources } = JSON.parse(readFileSync(file, "utf8")) as { sources: string[] }
      return sources.map((source) => join(dirname(file), source)).filter((source) => !existsSync(source))
    })
    expect(lost).toEqual([])
    for (const name of ["README.md", "LICENSE", "CHANGELOG.md"]) expect(existsSync(join(installed, name)), name).toBe(true)
    for (const name of ["test", "bench", "scripts", "examples"]) expect(existsSync(join(installed, name)), name).toBe(false)
  })

  test("has its command", async () => {
    const { stdout } = await run(join(scratch, "node_modules/.bin/turn-machine"), ["--help"], { cwd: scratch, shell: process.platform === "win32" })
    expect(stdout).toContain("turn-machine run")
  })

  test("brings immer and zod along, and asks for nothing else", () => {
    const manifest = JSON.parse(readFileSync(join(installed, "package.json"), "utf8")) as Record<string, Record<string, { optional?: true }>>
    expect(Object.keys(manifest["dependencies"] ?? {})).toEqual(["immer", "zod"])
    const required = Object.keys(manifest["peerDependencies"] ?? {}).filter((name) => manifest["peerDependenciesMeta"]?.[name]?.optional !== true)
    expect(required).toEqual([])
    // What was installed by name beside the package, and what fast-check itself depends on.
    const asked = ["@opentelemetry", "fast-check", "pure-rand"]
    const packages = readdirSync(join(scratch, "node_modules")).filter((name) => !name.startsWith(".") && !asked.includes(name))
    expect(packages.sort()).toEqual(["immer", "turn-machine", "zod"])
  })
})
