import { describe, expect, test } from "vitest"
import { judgeValidation } from "../../../src/checks/judge.ts"
import { chatDriver } from "../../../src/drivers/chat.ts"
import type { Host } from "../../../src/hosts/host.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { JournalStore } from "../../../src/hosts/journal/store.ts"
import { JudgedThread, readJudged } from "../../../src/hosts/judge/judged-thread.ts"
import { snapshotThread } from "../../../src/hosts/thread/snapshot.ts"
import { runThread, Thread, type ThreadOptions } from "../../../src/hosts/thread/thread.ts"
import type { LlmRequest, LlmResponse, OutputPart } from "../../../src/schemas/llm.ts"
import { CONFIG } from "../../replay/support.ts"
import { dyingStore } from "../../support/dying-store.ts"
import { asParts, opened, wholeText } from "../../support/stored-text.ts"

const USAGE = { inputTokens: 8, cachedInputTokens: 90, outputTokens: 2, reasoningTokens: 0 }

function says(text: string, toolName?: string, args: object = {}): LlmResponse {
  const call: OutputPart[] = toolName === undefined ? [] : [{ type: "tool_call", callId: "c", toolName, inputJson: JSON.stringify(args) }]
  const parts: OutputPart[] = text === "" ? call : [{ type: "text", text }, ...call]
  return { text, parts, usage: USAGE, terminalReason: call.length > 0 ? "tool_use" : "stop" }
}

const isJudge = ({ tools }: LlmRequest): boolean => tools.some(({ name }) => name === "submit_checklist" || name === "update_checklist")
const LIST = says("", "submit_checklist", { items: [{ text: "It flies." }, { text: "It lands." }] })
const rules = (args: object): LlmResponse => says("", "update_checklist", { updates: [], new_items: [], reason: "Not yet.", ...args })
const holds = (index: number): object => ({ index, status: "completed", evidence: `seen ${index}` })
/** The judge of a goal of three turns: it writes the list, then settles an item after each turn. */
const JUDGE: readonly LlmResponse[] = [LIST, rules({ updates: [holds(1)] }), rules({ updates: [holds(2)], reason: "All is shown." })]

/** A model that answers with text, and a scripted judge. The clock advances one second per call. */
class World {
  at = 1_000_000
  readonly worked: LlmRequest[] = []
  readonly judged: LlmRequest[] = []
  readonly waits: number[] = []
  readonly script: readonly LlmResponse[]
  readonly onJudge: (asked: number) => Promise<void> | void

  constructor(script: readonly LlmResponse[] = JUDGE, onJudge: World["onJudge"] = () => {}) {
    this.script = script
    this.onJudge = onJudge
  }

  readonly host: Host = {
    llmCall: async ({ request }) => {
      this.at += 1000
      if (!isJudge(request)) {
        this.worked.push(request)
        return says(`Work ${request.messages.filter(({ role }) => role === "assistant").length + 1}.`)
      }
      this.judged.push(request)
      await this.onJudge(this.judged.length)
      return this.script[judgements(request)] ?? rules({})
    },
  }

  options(more: Partial<ThreadOptions> = {}): ThreadOptions {
    return { config: { ...CONFIG, driver: chatDriver() }, policy: { endedBy: "judge", maxIdleContinuations: 0 }, now: () => this.at, ...more }
  }

  async open(store: JournalStore, more: Partial<ThreadOptions> = {}): Promise<{ thread: Thread; judged: JudgedThread }> {
    const thread = await Thread.open(store, "t", this.options(more))
    const judged = await JudgedThread.open(store, thread, { judge: { model: "judge", validation: judgeValidation }, host: this.host, takeOver: true })
    return { thread, judged }
  }

  run({ thread, judged }: { thread: Thread; judged: JudgedThread }): ReturnType<typeof runThread> {
    const wait = async (until: number): Promise<void> => {
      this.waits.push(until - this.at)
      this.at = until
    }
    return runThread(thread, this.host, { now: () => this.at, wait, between: () => judged.between() })
  }
}

/** Which answer of the script a request wants: by what it shows, so that a call made again gets the same. */
function judgements(request: LlmRequest): number {
  const text = JSON.stringify(request.messages)
  if (request.tools.some(({ name }) => name === "submit_checklist")) return 0
  return Number(/Work (\d+)\./.exec(text.slice(text.lastIndexOf("latest response")))?.[1] ?? 0) - 1
}

const begun = async (world: World, store: JournalStore = memoryJournalStore(), more: Partial<ThreadOptions> = {}) => {
  const both = await world.open(store, more)
  await both.thread.command({ type: "set", objective: "Build a kite." })
  return both
}

describe("a thread with a judge", () => {
  test("continues until the judge has settled the list, and is charged for it", async () => {
    const world = new World()
    const both = await begun(world)
    expect(await world.run(both)).toMatchObject({ reason: "The goal is complete." })
    expect(both.thread.goal).toMatchObject({ status: "complete", continuations: 3, tokensUsed: 30, childTokensUsed: 30 })
    expect(both.judged.state.goal?.checklist.map(({ text, status }) => `${text} ${status}`)).toEqual(["It flies. completed", "It lands. completed"])
    // The worker receives the list, and cannot end the goal itself.
    expect(JSON.stringify(world.worked[1]?.messages)).toContain("  [ ] It flies.")
    expect(JSON.stringify(world.worked[2]?.messages)).toContain("  [x] It flies.")
    expect(world.worked.flatMap(({ tools }) => tools.map(({ name }) => name)).filter((name) => name === "update_goal")).toEqual([])
    expect(world.worked[0]?.tools.map(({ name }) => name)).toContain("get_goal")
  })

  test("shows the agent the judge's reason for continuing, in one line and as data", async () => {
    const world = new World([LIST, rules({ reason: "Show <the log>\nof the flight." }), rules({ updates: [holds(1), holds(2)] })])
    await world.run(await begun(world))
    const shown = world.worked.map(({ messages }) => JSON.stringify(messages))
    expect(shown[1]).not.toContain("The judge about your last turn")
    expect(shown[2]).toContain("The judge about your last turn: Show &lt;the log&gt; of the flight.")
  })

  test("shows the agent the objective and the contract once, not again with each list", async () => {
    const world = new World()
    const both = await begun(world)
    await both.thread.command({ type: "set", contract: { outcome: "A kite that flies." } })
    await world.run(both)
    const text = JSON.stringify(world.worked.at(-1)?.messages)
    expect(world.worked).toHaveLength(3)
    for (const shown of ["Build a kite.", "A kite that flies."]) expect(text.split(shown)).toHaveLength(2)
    expect(text.split("Criteria (")).toHaveLength(3)
  })

  test("without a list shows the agent the judge's reason", async () => {
    const store = memoryJournalStore()
    const worked: string[] = []
    const verdicts = ['{"verdict": "continue", "reason": "Show the log."}', '{"verdict": "done", "reason": "Shown."}']
    const host: Host = {
      llmCall: async ({ request }) => {
        if (request.tools.length === 0) return says(verdicts.shift() ?? "")
        worked.push(JSON.stringify(request.messages))
        return says(`Work ${worked.length}.`)
      },
    }
    const thread = await Thread.open(store, "t", new World().options())
    await thread.command({ type: "set", objective: "Build a kite." })
    const judged = await JudgedThread.open(store, thread, { judge: { model: "judge", judge: "freeform" }, host })
    expect(await runThread(thread, host, { between: () => judged.between() })).toMatchObject({ reason: "The goal is complete." })
    expect(worked.map((text) => text.includes("The judge about your last turn: Show the log."))).toEqual([false, true])
  })

  test.each(["onGoal", "onTurn", "onJudging", "onChecklist"] as const)("rejects with the error of an async %s", async (name) => {
    const world = new World()
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    const gone = new Error("The screen is gone.")
    const callback = {
      async [name]() {
        await Promise.resolve()
        throw gone
      },
    }
    const judged = await JudgedThread.open(memoryJournalStore(), thread, { judge: { model: "judge" }, host: world.host, ...callback })
    await thread.command({ type: "set", objective: "Build a kite." })
    await expect(runThread(thread, world.host, { between: () => judged.between(), ...callback })).rejects.toBe(gone)
  })

  test("is not judged by a call that failed with a fatal error", async () => {
    const fatal = new Error("The engine suspends.")
    const store = memoryJournalStore()
    const world = new World(JUDGE, () => {
      throw fatal
    })
    const thread = await Thread.open(store, "t", world.options())
    await thread.command({ type: "set", objective: "Build a kite." })
    const judged = await JudgedThread.open(store, thread, {
      judge: { model: "judge", validation: judgeValidation },
      host: world.host,
      isFatal: (error) => error === fatal,
    })
    await expect(world.run({ thread, judged })).rejects.toBe(fatal)
    expect(judged.state.goal).toMatchObject({ turnsUsed: 0, consecutiveTransportFailures: 0 })
  })

  test("is blocked with the judge's reason, and is judged again after it is resumed", async () => {
    const world = new World([LIST, rules({ verdict: "blocked", reason: "There is no wind." }), rules({ updates: [holds(1), holds(2)] })])
    const both = await begun(world)
    expect(await world.run(both)).toMatchObject({ reason: "Blocked by the judge: There is no wind. Clear the blocker, then resume." })
    expect(both.thread.goal?.status).toBe("blocked")
    await both.thread.command({ type: "resume" })
    await world.run(both)
    expect(both.thread.goal).toMatchObject({ status: "complete", continuations: 3 })
  })

  test("waits as long as the judge says", async () => {
    const world = new World([LIST, rules({ verdict: "wait", wait_seconds: 90 }), rules({ updates: [holds(1), holds(2)] })])
    const both = await begun(world)
    await world.run(both)
    expect(world.waits).toEqual([90_000])
    expect(both.thread.goal?.status).toBe("complete")
  })

  test("is paused if the judge's model returns no verdict", async () => {
    const world = new World([LIST, says("Fine!"), says("Fine!"), says("Fine!")])
    const both = await begun(world)
    expect((await world.run(both)).reason).toBe(
      "Paused by the judge: 3 answers of the judge in a row could not be read. Edit the list, settle items yourself or resume.",
    )
    expect(both.thread.goal?.status).toBe("paused")
  })

  test("stops at its budget if the judge uses up its tokens", async () => {
    const world = new World()
    const both = await begun(world)
    await both.thread.command({ type: "set", tokenBudget: 20 })
    expect((await world.run(both)).reason).toContain("the token budget is used up (tokens: 20 of 20)")
    expect(world.worked).toHaveLength(1)
  })

  test("sees the first turn from the last one, and where the last one begins", async () => {
    const world = new World([LIST, rules({}), rules({ updates: [holds(1), holds(2)] })])
    const both = await begun(world)
    await both.thread.say("Use red paper.")
    await world.run(both)
    const asked = world.judged.map(({ messages }) => JSON.stringify(messages))
    expect(asked.at(-1)).toMatch(/has \d messages, numbered from 1\. To read it, call `read_history` with the transcript \\"t\\"/)
    const { judged } = both
    expect(judged.state.goal?.status).toBe("done")
    // What the user said is new to the judge until it gave a verdict that was read.
    expect(asked.map((text) => text.includes("Use red paper."))).toEqual([false, true, false])
    expect(asked[2]).toContain("The user has said nothing since the last verdict.")
  })

  test("reads the whole history with its tools' results, page by page", async () => {
    const read = (cursor: string) => says("", "read_history", { transcript: "t", cursor })
    const script = [LIST, rules({}), read("1"), rules({ updates: [holds(1), holds(2)] })]
    const pages: string[] = []
    const world = new World()
    const host: Host = {
      llmCall: async ({ request }) => {
        if (!isJudge(request)) {
          const isNew = !JSON.stringify(request.messages).includes("42 files")
          return isNew ? says("", "count") : says(`Work ${request.messages.length}.`)
        }
        pages.push(JSON.stringify(request.messages.at(-1)))
        return script.shift() ?? rules({})
      },
      tools: { call: async () => ({ output: { status: "success", value: "42 files" } }), effects: () => "idempotent" },
    }
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command({ type: "set", objective: "Build a kite." })
    const judged = await JudgedThread.open(memoryJournalStore(), thread, { judge: { model: "judge" }, host })
    await runThread(thread, host, { between: () => judged.between() })
    expect(pages[3]).toContain("42 files")
    expect(pages[3]).toContain("--- message 1, ")
    expect(thread.goal?.status).toBe("complete")
  })

  test("is paused if the judge says that the user asked to stop", async () => {
    const world = new World([LIST, rules({ verdict: "asked_to_stop", reason: '"leave it"' })])
    const both = await begun(world)
    await both.thread.say("Begin, then leave it.")
    expect((await world.run(both)).reason).toBe('The user asked to stop: "leave it". Resume to continue.')
    expect(both.thread.goal?.status).toBe("paused")
  })

  test("keeps the user's own items when its objective changes, and gets a new list", async () => {
    const world = new World()
    const both = await begun(world)
    await both.thread.settle()
    await both.judged.manage({ type: "add_item", text: "It is red.", at: 5 })
    await both.judged.manage({ type: "mark_item", index: 1, status: "completed", at: 6 })
    expect(both.thread.goal?.status).toBe("active")
    expect(both.thread.isCommanded).toBe(false)
    await both.thread.command({ type: "set", objective: "Build two kites." })
    await both.thread.settle()
    await both.judged.between()
    expect(both.judged.state.goal).toMatchObject({ goal: "Build two kites.", goalId: "g1", decomposed: false })
    expect(both.judged.state.goal?.checklist).toMatchObject([{ text: "It is red.", status: "completed", addedBy: "user" }])
  })

  test("is not completed by the settled list of an earlier goal, nor by its last item", async () => {
    const world = new World([LIST, rules({ verdict: "blocked", reason: "No wind." })])
    const both = await begun(world)
    await world.run(both)
    await both.judged.manage({ type: "mark_item", index: 1, status: "completed", at: 5 })
    await both.thread.command({ type: "start", objective: "Fly." })
    await both.thread.settle()
    // The list still belongs to the kite.
    await both.judged.manage({ type: "mark_item", index: 2, status: "completed", at: 6 })
    expect(both.thread.goal).toMatchObject({ objective: "Fly.", status: "active" })
    expect(both.thread.isCommanded).toBe(false)
    await both.judged.between()
    expect(both.thread.goal?.status).toBe("active")
    expect(both.thread.isCommanded).toBe(false)
    expect(both.judged.state.goal).toMatchObject({ goal: "Fly.", checklist: [] })
  })

  test("is not completed by the last item of an earlier goal's list, while the turn of a new goal runs", async () => {
    const world = new World([LIST, rules({ verdict: "blocked", reason: "No wind." })])
    const both = await begun(world)
    await world.run(both)
    await both.thread.command({ type: "start", objective: "Fly." })
    await both.thread.settle()
    let wasCommanded: boolean | undefined
    const host: Host = {
      llmCall: async () => {
        for (const index of [1, 2]) await both.judged.manage({ type: "mark_item", index, status: "completed", at: 5 })
        wasCommanded = both.thread.isCommanded
        await both.thread.command({ type: "pause" })
        return says("Flying.")
      },
    }
    // Without `between`, the list is not renewed before the turn.
    await runThread(both.thread, host, { now: () => world.at })
    expect(wasCommanded).toBe(false)
    expect(both.thread.goal?.status).toBe("paused")
  })

  test("that a turn brought over its budget is still judged, and completion wins", async () => {
    const world = new World()
    const both = await begun(world)
    await both.thread.command({ type: "set", tokenBudget: 45 })
    // The third turn and its judge cross it; without that, the goal needs both.
    await world.run(both)
    expect(both.thread.goal).toMatchObject({ status: "complete", tokensUsed: 30 })
    expect(world.worked).toHaveLength(3)
  })

  test("that its first turn brought over its budget is judged by the list at once", async () => {
    const world = new World([LIST, rules({ updates: [holds(1), holds(2)] })])
    let listed = false
    const host: Host = {
      llmCall: async (call, context) => {
        if (!isJudge(call.request)) return world.host.llmCall(call, context)
        world.judged.push(call.request)
        if (listed) return rules({ updates: [holds(1), holds(2)] })
        listed = true
        return LIST
      },
    }
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command({ type: "set", objective: "Build a kite.", tokenBudget: 5 })
    const judged = await JudgedThread.open(memoryJournalStore(), thread, { judge: { model: "judge" }, host })
    await runThread(thread, host, { now: () => world.at, between: () => judged.between() })
    expect(thread.goal).toMatchObject({ status: "complete" })
    expect(world.judged).toHaveLength(2)
    expect(world.worked).toHaveLength(1)
  })

  test("that has reached its budget and was judged is not judged after later turns", async () => {
    const world = new World([LIST, rules({}), rules({}), rules({})])
    const both = await begun(world)
    await both.thread.command({ type: "set", tokenBudget: 5 })
    await world.run(both)
    expect(both.thread.goal?.status).toBe("budget_limited")
    const asked = world.judged.length
    await both.thread.say("What is left?")
    await world.run(both)
    expect(world.worked).toHaveLength(2)
    expect(world.judged).toHaveLength(asked)
  })

  test("whose budget is hard is not judged by a call that could cross it, and says so", async () => {
    const world = new World()
    const both = await begun(world, memoryJournalStore(), { policy: { maxIdleContinuations: 0, hardBudget: true } })
    await both.thread.command({ type: "set", tokenBudget: 5_000 })
    await world.run(both)
    expect(world.judged.length).toBeLessThan(3)
    expect(both.thread.goal?.status).toBe("budget_limited")
    expect(both.thread.goal?.reason).toMatch(/^The judge was not asked: its call may use \d+ tokens, and \d+ of the budget are left\.$/)
    expect(both.judged.state.goal?.turnsUsed).toBe(world.judged.length)
  })

  test("whose budget is hard is not crossed by a judge with long answers to a dense transcript", async () => {
    const crossed: number[] = []
    for (const tokenBudget of [2_000, 4_000, 6_000, 8_000, 10_000]) {
      const world = new World()
      const llmCall: Host["llmCall"] = async (effect, context) => {
        const answer = await world.host.llmCall(effect, context)
        const { request } = effect
        if (!isJudge(request)) return answer
        // A tokenizer needs up to one token for 2 bytes of digits.
        const inputTokens = Math.ceil(JSON.stringify([request.messages, request.tools]).length / 2.5)
        return { ...answer, usage: { ...USAGE, inputTokens, cachedInputTokens: 0, outputTokens: request.generation.maxOutputTokens ?? 0 } }
      }
      const thread = await Thread.open(memoryJournalStore(), "t", world.options({ policy: { endedBy: "judge", hardBudget: true } }))
      const judged = await JudgedThread.open(memoryJournalStore(), thread, { judge: { model: "judge" }, host: { llmCall } })
      await thread.command({ type: "set", objective: "Build a kite.", tokenBudget })
      await world.run({ thread, judged })
      const { tokensUsed = 0, childTokensUsed = 0 } = thread.goal ?? {}
      if (tokensUsed + childTokensUsed > tokenBudget) crossed.push(tokensUsed + childTokensUsed - tokenBudget)
    }
    expect(crossed).toEqual([])
  })

  test("is charged the cost of the judge", async () => {
    const costMicros = ({ inputTokens, outputTokens }: { readonly inputTokens: number; readonly outputTokens: number }) =>
      inputTokens + 3 * outputTokens
    const costs: unknown[] = []
    for (const own of [undefined, () => 1000]) {
      const world = new World()
      const thread = await Thread.open(memoryJournalStore(), "t", world.options({ goal: { costMicros } }))
      await thread.command({ type: "set", objective: "Build a kite." })
      const judged = await JudgedThread.open(memoryJournalStore(), thread, {
        judge: { model: "judge" },
        host: world.host,
        ...(own !== undefined && { costMicros: own }),
      })
      await world.run({ thread, judged })
      const inputs = JSON.stringify(thread.history)
      costs.push(thread.goal?.childTokensUsed)
      // The goal machine reads it from the input.
      expect(thread.goal?.status).toBe("complete")
      expect(inputs).toContain("judged")
    }
    expect(costs).toEqual([30, 30])
  })

  test("counts a call of the judge that takes too long as failed, and continues", async () => {
    const world = new World([LIST, LIST, rules({ updates: [holds(1), holds(2)] })])
    let slow = true
    const aborted: boolean[] = []
    const host: Host = {
      llmCall: (call, context) => {
        if (!isJudge(call.request) || !slow) return world.host.llmCall(call, context)
        slow = false
        context.signal.addEventListener("abort", () => aborted.push(true))
        return new Promise(() => {})
      },
    }
    const limits: number[] = []
    const sleep = async (ms: number, signal: AbortSignal): Promise<void> => {
      limits.push(ms)
      if (limits.length > 1) await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()))
    }
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command({ type: "set", objective: "Build a kite." })
    const reasons: unknown[] = []
    const judged = await JudgedThread.open(memoryJournalStore(), thread, {
      judge: { model: "judge" },
      host,
      sleep,
      onChecklist: (_, decision) => void (decision !== undefined && reasons.push(decision.reason)),
    })
    await world.run({ thread, judged })
    expect(limits[0]).toBe(60_000)
    expect(aborted).toEqual([true])
    expect(reasons[0]).toEqual({ type: "judge_error", code: "timeout", message: "The judge's model did not answer within 60000 ms." })
    expect(thread.goal?.status).toBe("complete")
  })

  test("is charged for each of two verdicts on one turn, when the user changed the list in between", async () => {
    const world = new World()
    const keys: (string | undefined)[] = []
    const texts = ['{"verdict": "done"}', LIST, rules({ updates: [holds(1)] })]
    const host: Host = {
      llmCall: async ({ request }, { idempotencyKey }) => {
        if (request.model !== "judge") return says("Work 1.")
        keys.push(idempotencyKey)
        if (keys.length === 1) await judged.manage({ type: "add_item", text: "mine", at: 5 })
        return keys.length === 1 ? says(String(texts[0])) : rules({ updates: [holds(1)] })
      },
    }
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command({ type: "set", objective: "Build a kite." })
    const judged = await JudgedThread.open(memoryJournalStore(), thread, { judge: { model: "judge", judge: "freeform" }, host })
    await runThread(thread, host, { between: () => judged.between() })
    expect(thread.goal).toMatchObject({ status: "complete", childTokensUsed: 20 })
    expect(new Set(keys).size).toBe(2)
  })

  test("stops its judge with the run, is charged for what it said, and is judged later", async () => {
    const controller = new AbortController()
    const world = new World()
    const store = memoryJournalStore()
    const host: Host = {
      llmCall: (call, context) => {
        if (!isJudge(call.request)) return world.host.llmCall(call, context)
        context.emit({ type: "text_delta", content: "Let me see." })
        controller.abort()
        return new Promise(() => {})
      },
    }
    const thread = await Thread.open(store, "t", world.options())
    await thread.command({ type: "set", objective: "Build a kite." })
    const judged = await JudgedThread.open(store, thread, { judge: { model: "judge" }, host, signal: controller.signal })
    await runThread(thread, host, { now: () => world.at, between: () => judged.between(), signal: controller.signal })
    const stopped = thread.goal?.childTokensUsed ?? 0
    expect(stopped).toBeGreaterThan(50)
    expect(judged.state.goal?.turnsUsed).toBe(0)
    await judged.close()
    const again = await JudgedThread.open(store, thread, { judge: { model: "judge" }, host: world.host })
    await world.run({ thread, judged: again })
    expect(thread.goal).toMatchObject({ status: "complete", childTokensUsed: stopped + 30 })
  })

  test("stores the same amount for each turn, however long the thread is", async () => {
    const world = new World([LIST])
    const store = memoryJournalStore()
    const lengths: number[] = []
    const both = await begun(world, {
      ...store,
      async open(name, options) {
        const stored = await store.open(name, options)
        if (!name.endsWith(".judge")) return stored
        return {
          read: () => stored.read(),
          append: (text) => stored.append(text),
          replace: (parts) => {
            if (typeof parts === "string") lengths.push(parts.length)
            return stored.replace(parts)
          },
          close: () => stored.close(),
        }
      },
    })
    await world.run(both)
    expect(world.judged.length).toBeGreaterThan(7)
    expect(Math.max(...lengths.slice(-12))).toBeLessThan(1.1 * Math.max(...lengths.slice(12, 24)))
  })

  test("gets a new list with a new objective", async () => {
    const world = new World()
    const both = await begun(world)
    await both.thread.command({ type: "set", objective: "Build two kites." })
    await world.run(both)
    await both.thread.command({ type: "start", objective: "Fly." })
    await both.thread.settle()
    await both.judged.between()
    expect(both.judged.state.goal).toMatchObject({ goal: "Fly.", status: "active", checklist: [] })
    expect(world.judged).toHaveLength(3)
  })

  test("is complete when a user settles the last item, also during a judgement", async () => {
    const manage = async (both: Awaited<ReturnType<typeof begun>>): Promise<void> => {
      for (const index of [1, 2]) await both.judged.manage({ type: "mark_item", index, status: "completed", at: 5 })
    }
    const world = new World(JUDGE, (asked) => (asked === 2 ? manage(both) : undefined))
    const both = await begun(world)
    await world.run(both)
    expect(both.thread.goal).toMatchObject({ status: "complete", continuations: 2 })
    expect(world.judged).toHaveLength(2)
    // The judge whose verdict came too late is still charged.
    expect(both.thread.goal?.childTokensUsed).toBe(20)
  })

  test("is not completed by a judgement of an objective that changed during it", async () => {
    const script = [LIST, rules({ updates: [holds(1), holds(2)] }), LIST, LIST]
    const world = new World(script, async (asked) => {
      if (asked === 2) await both.thread.command({ type: "set", objective: "Build two kites." })
      if (asked === 3) await both.thread.command({ type: "pause" })
    })
    const both = await begun(world)
    await world.run(both)
    expect(both.thread.goal).toMatchObject({ status: "paused", objective: "Build two kites.", continuations: 3, childTokensUsed: 30 })
    expect(both.judged.state.goal).toMatchObject({ goal: "Build two kites.", checklist: [] })
  })

  test("is not completed by a judgement of an objective that changed while the judgement was stored", async () => {
    const world = new World([LIST, rules({ updates: [holds(1), holds(2)] })])
    const inner = memoryJournalStore()
    let isEdited = false
    const store: JournalStore = {
      ...inner,
      read: (name) => inner.read(name),
      open: async (name, options) => {
        const stored = await inner.open(name, options)
        if (!name.endsWith(".judge")) return stored
        return {
          read: () => stored.read(),
          append: (text) => stored.append(text),
          close: () => stored.close(),
          replace: async (text) => {
            const written = typeof text === "string" ? text : ""
            if (!isEdited && written.includes('"status":"complete"') && written.includes('"owed"')) {
              isEdited = true
              await both.thread.command({ type: "set", objective: "Build two kites." })
              await both.thread.command({ type: "pause" })
            }
            await stored.replace(text)
          },
        }
      },
    }
    const both = await begun(world, store)
    await world.run(both)
    expect(isEdited).toBe(true)
    expect(both.thread.goal).toMatchObject({ status: "paused", objective: "Build two kites." })
  })

  test("refuses commands that the list refuses, and changes nothing", async () => {
    const world = new World()
    const both = await begun(world)
    await world.run(both)
    const before = both.judged.state
    expect(await both.judged.manage({ type: "remove_item", index: 9, at: 5 })).toMatchObject({ ok: false, refused: "index_out_of_range" })
    expect(both.judged.state).toEqual(before)
  })
})

describe("a judge whose process crashes", () => {
  test("at any write resumes: each turn is judged once, charged once, and the goal ends the same", async () => {
    let crashes = 0
    for (let writes = 3; ; writes += 1) {
      const store = memoryJournalStore()
      const first = new World()
      const died = await begun(first, dyingStore(store, writes))
        .then((both) => first.run(both))
        .then(
          () => false,
          (error: Error) => error.message === "killed",
        )
      if (!died) break
      crashes += 1
      const second = new World()
      second.at = first.at
      const taken = await second.open(store, { takeOver: true })
      if (taken.thread.goal === null && !taken.thread.isCommanded) await taken.thread.command({ type: "set", objective: "Build a kite." })
      await second.run(taken)
      expect(taken.thread.goal).toMatchObject({ status: "complete", continuations: 3, tokensUsed: 30, childTokensUsed: 30 })
      expect(taken.judged.state.goal?.checklist.map(({ id, evidence }) => `${id} ${evidence?.type === "text" ? evidence.text : ""}`)).toEqual([
        "i1 seen 1",
        "i2 seen 2",
      ])
      // Only a call that was under way is made again.
      expect(first.judged.length + second.judged.length).toBeLessThanOrEqual(4)
    }
    expect(crashes).toBeGreaterThan(30)
  })

  test("at any write after a verdict of blocked: the goal is blocked with its reason", async () => {
    const script = [LIST, rules({ verdict: "blocked", reason: "There is no wind." })]
    let crashes = 0
    for (let writes = 3; ; writes += 1) {
      const store = memoryJournalStore()
      const first = new World(script)
      const died = await begun(first, dyingStore(store, writes))
        .then((both) => first.run(both))
        .then(
          () => false,
          (error: Error) => error.message === "killed",
        )
      if (!died) break
      crashes += 1
      const second = new World(script)
      second.at = first.at
      const taken = await second.open(store, { takeOver: true })
      await second.run(taken)
      expect(taken.thread.goal).toMatchObject({ status: "blocked", continuations: 2, childTokensUsed: 20 })
      expect(taken.judged.state.goal?.status).toBe("paused")
      expect(taken.thread.goal?.reason).toBe("Blocked by the judge: There is no wind. Clear the blocker, then resume.")
    }
    expect(crashes).toBeGreaterThan(20)
  })

  test.each([
    ["asked to stop", [LIST, rules({ verdict: "asked_to_stop", reason: '"leave it"' })], { status: "paused", childTokensUsed: 20 }],
    [
      "a wait",
      [LIST, rules({ verdict: "wait", wait_seconds: 90 }), rules({ updates: [holds(1), holds(2)] })],
      { status: "complete", childTokensUsed: 30 },
    ],
    ["completion at the budget line", JUDGE, { status: "complete", childTokensUsed: 30 }],
  ] as const)("at any write of %s: judged once, charged once", async (name, script, expected) => {
    let crashes = 0
    const tokenBudget = name.startsWith("completion") ? 45 : null
    const prepare = async (both: { thread: Thread; judged: JudgedThread }) => {
      if (both.thread.goal === null && !both.thread.isCommanded) await both.thread.command({ type: "set", objective: "Build a kite.", tokenBudget })
      if (both.thread.history.length === 0 && both.thread.turns === 0 && name === "asked to stop") await both.thread.say("Then leave it.")
      return both
    }
    for (let writes = 3; ; writes += 1) {
      const store = memoryJournalStore()
      const first = new World(script)
      const died = await first
        .open(dyingStore(store, writes))
        .then(prepare)
        .then((both) => first.run(both))
        .then(
          () => false,
          (error: Error) => error.message === "killed",
        )
      if (!died) break
      crashes += 1
      const second = new World(script)
      second.at = first.at
      const taken = await prepare(await second.open(store, { takeOver: true }))
      await second.run(taken)
      expect(taken.thread.goal, `${writes}`).toMatchObject(expected)
      const keys = taken.thread.history.flatMap((record) => {
        const event = record.type === "protocol" ? (record.event as { type?: string; key?: string }) : {}
        return event.type === "judged" ? [event.key] : []
      })
      expect(new Set(keys).size).toBe(keys.length)
    }
    expect(crashes).toBeGreaterThan(20)
  })

  test("during a call: the lost call is charged as well, if the host estimates the usage", async () => {
    const store = memoryJournalStore()
    const first = new World()
    const lostUsage = () => ({ inputTokens: 7, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 })
    const killed = await begun(first, store, { lostUsage })
    const dead = new Promise<never>(() => {})
    const reached = new Promise<void>((resolve) => {
      Object.assign(first, {
        onJudge(asked: number): Promise<void> | undefined {
          if (asked !== 2) return undefined
          resolve()
          return dead
        },
      })
    })
    void first.run(killed).catch(() => {})
    await reached
    const second = new World()
    second.at = first.at
    const taken = await second.open(store, { lostUsage, takeOver: true })
    await second.run(taken)
    expect(taken.thread.goal).toMatchObject({ status: "complete", childTokensUsed: 37 })
  })

  test("an invalid stored state is refused", async () => {
    const read = (text: string | undefined) =>
      readJudged({ read: async (name) => (name === "t.judge" && text !== undefined ? asParts(text) : undefined) }, "t")
    await expect(read("{}")).rejects.toThrow(/Not the stored state of a thread's judge/)
    await expect(read("x")).rejects.toThrow(/not JSON/)
    await expect(read('{"format":"turn-machine/judged-thread","version":3}')).rejects.toThrow(/version/)
    expect(await read(undefined)).toEqual({ nextGoalNumber: 1 })
    // Version 1 had no checksum.
    expect(await read('{"format":"turn-machine/judged-thread","version":1,"checklist":{"nextGoalNumber":3}}')).toEqual({ nextGoalNumber: 3 })
  })
})

test("a stored state of a judge in which any character changed is refused", async () => {
  const store = memoryJournalStore()
  const world = new World([LIST, rules({ verdict: "blocked", reason: "No wind." })])
  const both = await begun(world, store)
  await world.run(both)
  const text = await wholeText((await store.read("t.judge")) ?? "")
  const read = (value: string) => readJudged({ read: async () => asParts(value) }, "t")
  expect((await read(text)).goal?.status).toBe("paused")
  let taken = 0
  for (let index = 0; index < text.trimEnd().length; index += 1) {
    const char = text.charAt(index)
    const other = char === "1" ? "2" : char === " " ? "_" : "1"
    const damaged = text.slice(0, index) + other + text.slice(index + 1)
    const found = await read(damaged).then(
      () => "read",
      (error: Error) => error.name,
    )
    if (found === "read") taken += 1
    else expect(found).toBe("CheckpointError")
  }
  expect(taken).toBe(0)
})

describe("snapshotThread", () => {
  test("reads a thread while its turn runs, with pending commands, and writes nothing", async () => {
    const store = memoryJournalStore()
    const texts = new Map<string, string>()
    const seen: unknown[] = []
    const world = new World()
    const mirrored = mirror(store, texts)
    const look = () => snapshotThread({ read: async (name) => asParts(texts.get(name)) }, "t", world.options())
    expect(await look()).toBeUndefined()
    const thread = await Thread.open(mirrored, "t", world.options({ meta: { mine: 1 } }))
    await thread.command({ type: "set", objective: "Build a kite.", tokenBudget: 10 })
    expect(await look()).toMatchObject({ goal: null, commands: [{ type: "set" }], meta: { mine: 1 }, turns: 0 })
    const host: Host = {
      llmCall: async () => {
        world.at += 1000
        if (seen.length === 0) await thread.command({ type: "pause" })
        // A line that is being written at this moment is left out.
        texts.set("t.1", `${texts.get("t.1")}["0000`)
        seen.push(await look())
        return says("Work.")
      },
    }
    await runThread(thread, host, { now: () => world.at })
    expect(seen).toMatchObject([
      { goal: { status: "active", continuations: 1 }, openTurn: { turnId: "t.1" }, commands: [{ type: "pause" }], turns: 1 },
    ])
    expect(await look()).toMatchObject({ goal: { status: "budget_limited", tokensUsed: 10 }, openTurn: undefined, lastTurn: { turnId: "t.1" } })
  })
})

/** A store that also keeps its texts where a test can see them. */
function mirror(store: JournalStore, texts: Map<string, string>): JournalStore {
  return {
    ...store,
    async open(name, options) {
      const stored = await opened(store, name, options)
      texts.set(name, stored.text)
      return {
        read: () => stored.read(),
        async append(text) {
          await stored.append(text)
          texts.set(name, (texts.get(name) ?? "").replace(/\["0000$/, "") + text)
        },
        async replace(parts) {
          const text = await wholeText(parts)
          await stored.replace(text)
          texts.set(name, text)
        },
        close: () => stored.close(),
      }
    },
  }
}

describe("the last turn before a brake", () => {
  test("is judged and can complete the goal; the judge is charged", async () => {
    const world = new World([LIST, rules({ updates: [holds(1), holds(2)] })])
    const both = await world.open(memoryJournalStore(), { policy: { endedBy: "judge", maxIdleContinuations: 0, maxContinuations: 2 } })
    await both.thread.command({ type: "set", objective: "Build a kite." })
    await world.run(both)
    expect(world.worked).toHaveLength(2)
    expect(world.judged).toHaveLength(2)
    expect(both.thread.goal).toMatchObject({ status: "complete", childTokensUsed: 20 })
  })
})

describe("downtime of a thread", () => {
  test("is not charged, neither between turns nor during one", async () => {
    const store = memoryJournalStore()
    const world = new World()
    const first = await Thread.open(store, "t", world.options())
    await first.command({ type: "set", objective: "Build a kite." })
    await first.settle()
    await first.close()
    world.at += 3_600_000
    const second = await Thread.open(store, "t", world.options())
    let calls = 0
    const reached = new Promise<void>((resolve) => {
      const host: Host = {
        llmCall: () => {
          world.at += 1000
          calls += 1
          if (calls === 1) return Promise.resolve(says("", "count"))
          resolve()
          return new Promise<never>(() => {})
        },
        tools: { call: async () => ({ output: { status: "success", value: "1" } }), effects: () => "idempotent" },
      }
      void runThread(second, host, { now: () => world.at }).catch(() => {})
    })
    await reached
    expect(second.goal?.secondsUsed).toBe(1)
    // Closed during a turn, which stays open.
    await second.close()
    world.at += 7_200_000
    const third = await Thread.open(store, "t", world.options({ policy: { endedBy: "judge", maxContinuations: 1 } }))
    await runThread(third, world.host, { now: () => world.at })
    expect(third.turns).toBe(1)
    expect(third.goal).toMatchObject({ status: "paused", secondsUsed: 2 })
  })

  test("records can be noted only between turns", async () => {
    const world = new World()
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command({ type: "set", objective: "Build a kite." })
    await thread.settle()
    await thread.note([{ type: "child_usage_reported", at: world.at, usage: USAGE }], [{ type: "protocol", event: { type: "mine" } }])
    expect(thread.goal?.childTokensUsed).toBe(10)
    expect(thread.history.at(-1)).toEqual({ type: "protocol", event: { type: "mine" } })
    let refused: unknown
    const host: Host = {
      llmCall: async () => {
        refused = await thread.note([]).catch((error: unknown) => error)
        return says("Work.")
      },
    }
    await runThread(thread, host, { now: () => world.at }).catch(() => {})
    expect(refused).toBeInstanceOf(TypeError)
  })
})
