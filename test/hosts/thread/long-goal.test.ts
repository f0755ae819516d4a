import { expect, test } from "vitest"
import { judgeValidation } from "../../../src/checks/judge.ts"
import { memoryJournalStore, openAiCompatible } from "../../../src/hosts/index.ts"
import type { JournalStore, StoredJournal } from "../../../src/hosts/journal/store.ts"
import { JudgedThread } from "../../../src/hosts/judge/judged-thread.ts"
import { runThread, Thread } from "../../../src/hosts/thread/thread.ts"
import { CONFIG } from "../../replay/support.ts"
import { type ChatBody, type ScriptedAnswer, type SeenRequest, startStrictServer } from "../../support/strict-server.ts"

// What a turn of a goal costs does not grow with the goal. The figures are those of the endpoint and of the store.

const TURNS = 100
const ITEMS = 5

/** What was written to a store since the last reset. */
interface Written {
  /** Characters written to the thread's log, to the journals of turns after their headers, and for the judge. */
  log: number
  turns: number
  judge: number
  /** The longest state of the judge. */
  judgeState: number
  appends: number
  replaces: number
}

const NOTHING: Written = { log: 0, turns: 0, judge: 0, judgeState: 0, appends: 0, replaces: 0 }

/** A store that counts what is written. */
function countingStore(store: JournalStore, written: Written): JournalStore {
  const begun = new Set<string>()
  const count = (name: string, chars: number): void => {
    if (name.endsWith(".thread")) written.log += chars
    else if (name.endsWith(".judge")) {
      written.judge += chars
      written.judgeState = Math.max(written.judgeState, chars)
    } else if (begun.has(name)) written.turns += chars
    // Not counted: the header of a journal has the history before its turn, with which the turn can be replayed alone.
    else begun.add(name)
  }
  return {
    ...store,
    async open(name, options) {
      const journal = await store.open(name, options)
      const counting: StoredJournal = {
        read: () => journal.read(),
        close: () => journal.close(),
        async append(text) {
          written.appends += 1
          count(name, text.length)
          await journal.append(text)
        },
        async replace(content) {
          written.replaces += 1
          let text = ""
          if (typeof content === "string") text = content
          else for await (const part of content) text += part
          count(name, text.length)
          await journal.replace(text)
        },
      }
      return counting
    },
  }
}

/** In each turn a call and a text of equal lengths. The judge's list has open items until the last turn. */
function answer({ messages, tools = [] }: ChatBody, number: number): ScriptedAnswer {
  const names = tools.map((tool) => tool.function.name)
  const padded = String(number).padStart(5, "0")
  if (names.includes("submit_checklist"))
    return {
      calls: [{ name: "submit_checklist", args: { items: Array.from({ length: ITEMS }, (_, index) => ({ text: `Point ${index + 1} holds.` })) } }],
    }
  if (names.includes("update_checklist")) {
    const prompt = JSON.stringify(messages.find(({ role }) => role === "user")?.content)
    const turn = Number(/Turn (\d+) is done/.exec(prompt)?.[1])
    const updates =
      turn < TURNS ? [] : Array.from({ length: ITEMS }, (_, index) => ({ index: index + 1, status: "completed", evidence: "It holds." }))
    return {
      calls: [{ name: "update_checklist", args: { updates, new_items: [], reason: `Turn ${String(turn).padStart(5, "0")} leaves points open.` } }],
    }
  }
  if (messages.at(-1)?.role !== "tool") return { calls: [{ name: "count", args: {}, id: `call_${padded}` }] }
  const turn = messages.filter(({ role, tool_calls: calls = [] }) => role === "assistant" && calls.length === 0).length + 1
  return { text: `Turn ${String(turn).padStart(5, "0")} is done: it counted as far as ${padded}, and has nothing else to report.` }
}

interface Turn extends Written {
  readonly calls: number
  readonly uncached: number
  readonly output: number
  readonly judgePrompt: number
}

async function playLongGoal(): Promise<{ readonly turns: readonly Turn[]; readonly status: string | undefined; readonly charged: boolean }> {
  const server = await startStrictServer(answer, { rules: ["user_before_calls", "system_only_first", "offered_tools"], cache: "messages" })
  try {
    const written: Written = { ...NOTHING }
    const store = countingStore(memoryJournalStore(), written)
    let at = 1_700_000_000_000
    const now = (): number => at
    const { llmCall } = openAiCompatible({ baseUrl: server.url })
    const tools = { call: async () => ({ output: { status: "success", value: "counted" } }) as const, effects: () => "none" as const }
    const host = { llmCall, tools }
    const policy = { endedBy: "judge", maxContinuations: 0 } as const
    const thread = await Thread.open(store, "t", { config: CONFIG, now, policy })
    const judge = { model: "judge", validation: judgeValidation, defaultMaxTurns: 1_000, maxStalledTurns: 0 }
    const judged = await JudgedThread.open(store, thread, { judge, host })
    await thread.command({ type: "set", objective: "Count as far as you can.", checks: [{ name: "tests", command: "test" }] })
    const turns: Turn[] = []
    let seen = 0
    const endTurn = (): void => {
      const requests = server.requests.slice(seen)
      seen = server.requests.length
      if (requests.length === 0) return
      const judges = requests.filter(isJudge)
      const agents = requests.filter((request) => !isJudge(request))
      const sum = (of: readonly SeenRequest[], value: (request: SeenRequest) => number): number =>
        of.reduce((total, request) => total + value(request), 0)
      turns.push({
        ...written,
        calls: requests.length,
        uncached: sum(agents, ({ bill }) => bill.promptTokens - bill.cachedTokens),
        output: sum(requests, ({ bill }) => bill.outputTokens),
        judgePrompt: sum(judges, ({ bill }) => bill.promptTokens),
      })
      Object.assign(written, NOTHING)
    }
    await runThread(thread, host, {
      now,
      checks: async ({ checks }) => checks.map(({ name }) => ({ name, ok: true, tail: "" })),
      between: async () => {
        at += 1_000
        const guidance = await judged.between()
        endTurn()
        return guidance
      },
    })
    const { goal } = thread
    const charged = goal !== null && goal.tokensUsed + goal.childTokensUsed === server.bill.fullPriceTokens
    await judged.close()
    await thread.close()
    expect(server.bill.refused).toBe(0)
    return { turns, status: goal?.status, charged }
  } finally {
    await server.close()
  }
}

function isJudge({ body: { tools = [] } }: SeenRequest): boolean {
  return tools.some((tool) => tool.function.name.endsWith("_checklist"))
}

test("a goal of 100 turns costs as much per turn at its end as at its beginning: tokens, log, judge and writes", { timeout: 180_000 }, async () => {
  const { turns, status, charged } = await playLongGoal()
  expect(status).toBe("complete")
  expect(turns).toHaveLength(TURNS)
  // What the endpoint billed is what the goal was charged.
  expect(charged).toBe(true)
  // The first turns have the full continuation and the decomposition; the last one completes the goal.
  const [early, late] = [turns.slice(4, 14), turns.slice(-11, -1)]
  const meanOf = (of: readonly Turn[], name: keyof Turn): number => of.reduce((sum, turn) => sum + turn[name], 0) / of.length
  const names = ["calls", "uncached", "output", "judgePrompt", "log", "turns", "judge", "judgeState", "appends", "replaces"] as const
  const grown = names.map((name) => [name, meanOf(early, name), meanOf(late, name)] as const)
  if (process.env["LONG_GOAL"] !== undefined) console.info(JSON.stringify(grown))
  for (const [name, before, after] of grown) expect([name, before, after, after <= before * 1.05]).toEqual([name, before, after, true])
  for (const turn of turns.slice(1, -1)) expect(turn.calls).toBe(3)
})
