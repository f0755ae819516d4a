/**
 * npx tsx bench/goal-bill.ts [--json]
 *
 * Prints what a goal of nine turns costs at an endpoint that caches prompts by prefix (see test/support/strict-server.ts): without a judge,
 * and with a checklist judge. Tokens are counted at four bytes each. It also says whether a provider accepts the requests that wants a
 * user's turn before each tool call. It uses nothing newer than `Thread` and `JudgedThread`, so it also runs in older commits: copy it
 * there together with test/support/strict-server.ts and strict-rules.ts.
 */
import { parseArgs } from "node:util"
import * as z from "zod"
import { chatDriver } from "../src/drivers/chat.ts"
import type { Host } from "../src/hosts/host.ts"
import { memoryJournalStore } from "../src/hosts/journal/memory.ts"
import { openAiCompatible } from "../src/hosts/models/openai-compatible.ts"
import * as hosts from "../src/hosts/thread/index.ts"
import { JudgedThread, runThread, Thread } from "../src/hosts/thread/index.ts"
import { defineTool } from "../src/hosts/tools/define-tool.ts"
import { toolbox } from "../src/hosts/tools/toolbox.ts"
import type { ProtocolDriver } from "../src/machine/driver.ts"
import { chatProjector } from "../src/projectors/chat.ts"
import { type Bill, type ChatBody, type ScriptedAnswer, type SeenRequest, startStrictServer, totalOf } from "../test/support/strict-server.ts"

const TURNS = 9
const PAGE = "The shop keeps its prices in cents, and the report names each rule with the line that states it. "
const SYSTEM = `You work in the folder of a small shop. ${PAGE.repeat(30)}`
const OBJECTIVE = `Write a report about each of the ${TURNS} parts of this folder. ${PAGE.repeat(4)}`
interface Played {
  readonly turns: number
  readonly refusal: string | undefined
  /** By turn: the requests of the agent and those of the judge. */
  readonly agent: readonly (readonly SeenRequest[])[]
  readonly judge: readonly (readonly SeenRequest[])[]
}

async function play(judged: boolean, strict: boolean): Promise<Played> {
  let turn = 0
  const marks: number[] = []
  const server = await startStrictServer((body) => (isJudge(body) ? judgeAnswer(body, turn) : agentAnswer(body, turn, judged)), {
    rules: strict ? ["user_before_calls"] : [],
  })
  const input = z.object({ path: z.string().describe("The file, relative to the folder."), content: z.string().optional() })
  const tools = [
    defineTool({ name: "read_file", description: "Reads a text file.", input, execute: () => ({ text: `${turn}: ${PAGE.repeat(20)}` }) }),
    defineTool({ name: "write_file", description: "Writes a text file.", input, execute: ({ path }) => ({ path }) }),
  ]
  const box = toolbox(tools)
  const host: Host = {
    ...openAiCompatible({ baseUrl: server.url, model: "m", maxRetries: 0, stream: false }),
    tools: box,
  }
  // Older commits wrap the driver; newer ones have a policy.
  const { judgedDriver } = hosts as { readonly judgedDriver?: (inner: ProtocolDriver) => ProtocolDriver }
  const driver = judged && judgedDriver !== undefined ? judgedDriver(chatDriver()) : chatDriver()
  const store = memoryJournalStore()
  let now = 1_000
  const thread = await Thread.open(store, "g", {
    config: { driver, projector: chatProjector, model: "m", systemPrompt: SYSTEM, tools: box.specs },
    policy: { maxIdleContinuations: 0, ...(judged && judgedDriver === undefined && { endedBy: "judge" as const }) },
    now: () => (now += 10),
  })
  await thread.command({ type: "start", objective: OBJECTIVE })
  const judge = judged ? await JudgedThread.open(store, thread, { judge: { model: "judge" }, host }) : undefined
  const rest = await runThread(thread, host, {
    onTurn: () => {
      turn += 1
      marks.push(server.requests.length)
      if (turn > TURNS) throw new Error(`The goal was not complete after ${TURNS} turns.`)
    },
    ...(judge && { between: () => judge.between() }),
  })
  const refusal = server.requests.find((request) => request.refusal !== undefined)?.refusal
  if (refusal === undefined && thread.goal?.status !== "complete") throw new Error(`The goal is ${thread.goal?.status}: ${rest.reason}`)
  await judge?.close()
  await thread.close()
  await server.close()
  const byTurn = marks.map((from, index) => server.requests.slice(from, marks[index + 1]))
  return {
    turns: turn,
    refusal,
    agent: byTurn.map((requests) => requests.filter(({ body }) => !isJudge(body))),
    judge: byTurn.map((requests) => requests.filter(({ body }) => isJudge(body))),
  }
}

const isJudge = ({ tools = [] }: ChatBody): boolean => tools.some(({ function: { name } }) => /checklist/.test(name))

/** In each turn: read, write, answer. The last turn of an unjudged goal completes it. */
function agentAnswer({ messages, tools = [] }: ChatBody, turn: number, judged: boolean): ScriptedAnswer {
  const results = messages.slice(messages.findLastIndex(({ role }) => role === "user") + 1).filter(({ role }) => role === "tool").length
  if (results === 0) return { text: `I read part ${turn}.`, calls: [{ name: "read_file", args: { path: `part-${turn}.md` } }] }
  if (results === 1)
    return { text: "I write the section.", calls: [{ name: "write_file", args: { path: `report-${turn}.md`, content: PAGE.repeat(8) } }] }
  const canEnd = !judged && tools.some(({ function: { name } }) => name === "update_goal")
  if (results === 2 && turn === TURNS && canEnd) return { calls: [{ name: "update_goal", args: { status: "complete" } }] }
  return { text: `Part ${turn} of ${TURNS} is written: report-${turn}.md. ${PAGE.repeat(3)}` }
}

function judgeAnswer({ messages, tools = [] }: ChatBody, turn: number): ScriptedAnswer {
  if (tools.some(({ function: { name } }) => name === "submit_checklist"))
    return {
      calls: [
        { name: "submit_checklist", args: { items: Array.from({ length: TURNS }, (_, index) => ({ text: `Part ${index + 1} has a report.` })) } },
      ],
    }
  const rows = JSON.stringify(messages).matchAll(/(\d+)\. \[ \]/g)
  const done = [...new Set([...rows].map(([, index]) => Number(index)))].filter((index) => index <= turn)
  const updates = done.map((index) => ({ index, status: "completed", evidence: `The response names report-${index}.md.` }))
  return { calls: [{ name: "update_checklist", args: { updates, new_items: [], reason: `${TURNS - turn} parts are left.` } }] }
}

const { values } = parseArgs({ options: { json: { type: "boolean", default: false } } })
const cells = ({ calls, promptTokens, cachedTokens, outputTokens, fullPriceTokens }: Bill): readonly (string | number)[] => [
  calls,
  promptTokens,
  cachedTokens,
  outputTokens,
  fullPriceTokens,
]
const report: Record<string, unknown> = {}
for (const judged of [false, true]) {
  const played = await play(judged, false)
  const strict = await play(judged, true)
  const title = judged ? "with a checklist judge" : "without a judge"
  const accepted = strict.refusal === undefined ? "accepts every request" : `refuses turn ${strict.turns}: ${strict.refusal}`
  const total = { agent: totalOf(played.agent.flat()), judge: totalOf(played.judge.flat()), all: totalOf([...played.agent, ...played.judge].flat()) }
  report[title] = { total, agentByTurn: played.agent.map(totalOf), judgeByTurn: played.judge.map(totalOf), strict: accepted }
  if (values.json) continue
  const rows = [
    ["turn", "calls", "prompt", "cached", "output", "full price"],
    ...played.agent.map((requests, index) => [index + 1, ...cells(totalOf(requests))]),
    ["agent", ...cells(total.agent)],
    ...(judged ? [["judge", ...cells(total.judge)]] : []),
    ["all", ...cells(total.all)],
  ]
  console.log(`A goal of ${TURNS} turns ${title}, in tokens; full price: prompt that was not cached, and output`)
  for (const row of rows) console.log(row.map((cell, index) => (index === 0 ? String(cell).padEnd(6) : String(cell).padStart(11))).join(""))
  console.log(`A provider that wants a user's turn before each tool call ${accepted}\n`)
}
if (values.json) console.log(JSON.stringify(report, undefined, 2))
