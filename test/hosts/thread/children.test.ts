import { describe, expect, test, vi } from "vitest"
import * as z from "zod"
import { approvalDriver } from "../../../src/drivers/approval/driver.ts"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { childTool, turnTree } from "../../../src/hosts/child/index.ts"
import type { Host, SuspendedChild } from "../../../src/hosts/host.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { JournalStore } from "../../../src/hosts/journal/store.ts"
import { type RunThreadOptions, runThread, Thread } from "../../../src/hosts/thread/thread.ts"
import { defineTool } from "../../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../../src/hosts/tools/toolbox.ts"
import { dyingStore } from "../../support/dying-store.ts"
import { asked, configOf, says } from "../child/support.ts"

/** A thread whose child pays, and is asked before; each call of a model uses 15 tokens. */
class Family {
  readonly store: JournalStore = memoryJournalStore()
  readonly paid: string[] = []
  /** What the child does until it pays. */
  before: () => Promise<void> = async () => {}

  process() {
    const pay = defineTool({
      name: "pay",
      description: "",
      input: z.object({ task: z.string() }),
      effects: "once",
      execute: async ({ task }) => {
        this.paid.push(task)
        return `paid ${task}`
      },
    })
    const look = defineTool({
      name: "look",
      description: "",
      input: z.object({ task: z.string() }),
      execute: async () => {
        await this.before()
        return "seen"
      },
    })
    const llmCall: Host["llmCall"] = async (effect) => {
      const { task, answers, results } = asked(effect)
      if (task === "parent") return answers === 0 ? says("", "sub:c1:bill") : says(results.join("; "))
      return answers === 0 ? says("", "pay:p1:10 euros", "look:l1:x") : says(results.join())
    }
    const driver = approvalDriver(chatDriver(), { policy: ({ toolName }) => (toolName === "pay" ? { hold: {} } : "run") })
    const tools = toolbox([pay, look])
    const sub = childTool({ name: "sub", description: "", config: configOf([pay, look], { driver }), host: { llmCall, tools } })
    const host: Host = { llmCall, tools: toolbox([sub]) }
    return { host, open: () => Thread.open(this.store, "t", { config: configOf([sub]) }) }
  }
}

const decisionAbout = ({ held: [call] }: SuspendedChild, decision: "approve" | "reject" = "approve") => [
  { requestId: call?.requestId ?? "", digest: call?.digest ?? "", decision, by: "ada" } as const,
]

describe("a child of a thread's turn that waits for a decision", () => {
  test("is decided through the thread, by its turn's id, and both turns continue", async () => {
    const family = new Family()
    const first = family.process()
    const thread = await first.open()
    await thread.say("parent")
    const rest = await runThread(thread, first.host, { suspend: true })
    expect(rest).toMatchObject({ type: "suspended", held: [], pending: [{ callId: "c1" }], reason: "The turn waits for a decision about pay." })
    const [child] = rest.type === "suspended" ? (rest.children ?? []) : []
    expect(child).toMatchObject({ turnId: "t.1:2:c1", parent: { turnId: "t.1", callId: "c1" }, held: [{ toolName: "pay" }] })
    expect(await thread.pendingApprovals()).toMatchObject({ turnId: "t.1", held: [], pending: [{ callId: "c1" }], children: [child] })
    await thread.close()

    const second = family.process()
    const again = await second.open()
    const { children: [found] = [] } = (await again.pendingApprovals()) ?? {}
    expect(found).toEqual(child)
    const decision = decisionAbout(found as SuspendedChild)
    expect(await again.decide(decision, { turnId: "nobody" })).toMatchObject([{ status: "refused", code: "turn_not_begun" }])
    expect(await again.decide(decision, { turnId: found?.turnId })).toMatchObject([{ status: "accepted" }])
    expect(await again.decide(decision, { turnId: found?.turnId })).toMatchObject([{ status: "stale" }])
    const end = await runThread(again, second.host)
    expect(end.outcome).toMatchObject({ type: "finished", finish: { text: "paid 10 euros,seen" } })
    expect(family.paid).toEqual(["10 euros"])
    expect(await again.pendingApprovals()).toBeUndefined()
    await again.close()
  })

  test("is decided while the run of its thread waits for it", async () => {
    const family = new Family()
    const { host, open } = family.process()
    const thread = await open()
    await thread.say("parent")
    const { outcome } = await runThread(thread, host, {
      onSuspended: async ({ children: [child] = [] }) => {
        expect(await thread.decide(decisionAbout(child as SuspendedChild, "reject"), { turnId: child?.turnId })).toMatchObject([
          { status: "accepted" },
        ])
      },
    })
    expect(outcome).toMatchObject({ finish: { text: expect.stringContaining("seen") } })
    expect(family.paid).toEqual([])
    await thread.close()
  })

  test("is decided while it runs", async () => {
    const family = new Family()
    const { host, open } = family.process()
    const thread = await open()
    family.before = async () => {
      const { children: [child] = [] } = (await thread.pendingApprovals()) ?? {}
      expect(await thread.decide(decisionAbout(child as SuspendedChild), { turnId: child?.turnId })).toMatchObject([{ status: "accepted" }])
      await expect.poll(() => family.paid).toEqual(["10 euros"])
    }
    await thread.say("parent")
    const { outcome } = await runThread(thread, host)
    expect(outcome).toMatchObject({ finish: { text: "paid 10 euros,seen" } })
    await thread.close()
  })

  test("is cancelled by an interrupt of the turn, and its tokens count in the goal", async () => {
    const family = new Family()
    const { host, open } = family.process()
    const thread = await open()
    await thread.command({ type: "set", objective: "Pay.", tokenBudget: 1_000 })
    await thread.say("parent")
    await runThread(thread, host, { suspend: true })
    thread.interrupt("enough")
    const { outcome } = await runThread(thread, host, { suspend: true })
    expect(outcome).toMatchObject({ stop: { type: "cancelled" } })
    const tree = await turnTree(family.store, "t.1")
    expect(tree?.children[0]?.outcome).toMatchObject({ stop: { type: "cancelled" } })
    expect(tree?.total.outputTokens).toBe(10)
    expect(thread.goal).toMatchObject({ status: "paused", tokensUsed: 30 })
    await thread.close()
  })
})

/** A parent whose child makes two model calls. The second one answers only when `parked` is aborted, and ignores that it was cancelled. */
function slowChild() {
  const parked = new AbortController()
  let begun = (): void => {}
  const llmCall: Host["llmCall"] = async (effect) => {
    const { task, answers } = asked(effect)
    if (task !== "child") return task === "parent" ? says("", "sub:c1:child") : says("Hello.")
    if (answers === 0) return says("begun", "missing:m:x")
    begun()
    await new Promise((resolve) => parked.signal.addEventListener("abort", resolve))
    return says("late")
  }
  const sub = childTool({ name: "sub", description: "", config: configOf([]), host: { llmCall }, cancelGraceMs: 60_000 })
  const onSecondCall = (act: () => void): void => {
    begun = act
  }
  return { host: { llmCall, tools: toolbox([sub]) } satisfies Host, config: configOf([sub]), parked, onSecondCall }
}

test("a child that takes longer to end than its parent waits is charged by what it has used", async () => {
  const store = memoryJournalStore()
  const { host, config, parked, onSecondCall } = slowChild()
  const thread = await Thread.open(store, "t", { config })
  onSecondCall(() => void thread.interrupt("enough"))
  await thread.command({ type: "set", objective: "Look.", tokenBudget: 1_000 })
  await thread.say("parent")
  const { outcome } = await runThread(thread, host, { cancelGraceMs: 20 })
  expect(outcome).toMatchObject({ stop: { type: "cancelled" } })
  expect(thread.goal).toMatchObject({ status: "paused", tokensUsed: 15, childTokensUsed: 15 })
  parked.abort()
  await thread.close()
})

test("a child that a cancelled turn left is charged once, also if the process dies before that is stored, and for what it uses later", async () => {
  const store = memoryJournalStore()
  const { host, config, parked, onSecondCall } = slowChild()
  const dying: JournalStore = {
    ...store,
    async open(name, options) {
      const stored = await store.open(name, options)
      const append = async (text: string): Promise<void> => {
        if (name === "t.thread" && text.includes('"noted"') && text.includes('"children"')) throw new Error("killed")
        await stored.append(text)
      }
      return { read: () => stored.read(), append, replace: (text) => stored.replace(text), close: () => stored.close() }
    },
  }
  const killed = await Thread.open(dying, "t", { config })
  onSecondCall(() => void killed.interrupt("enough"))
  await killed.command({ type: "set", objective: "Look.", tokenBudget: 1_000 })
  await killed.say("parent")
  await expect(runThread(killed, host, { cancelGraceMs: 20 })).rejects.toThrow("killed")
  await killed.close().catch(() => {})

  const next = async (): Promise<number | undefined> => {
    const thread = await Thread.open(store, "t", { config })
    await runThread(thread, host)
    await thread.close()
    return thread.goal?.childTokensUsed
  }
  expect(await next()).toBe(15)
  parked.abort()
  await vi.waitFor(async () => expect((await turnTree(store, "t.1"))?.total.outputTokens).toBe(15), { timeout: 60_000 })
  expect(await next()).toBe(30)
  expect(await next()).toBe(30)
})

describe("the budget of a goal", () => {
  /** A parent that asks several children at once. Each child answers so often, with 15 tokens a time. */
  const budgeted = (store: JournalStore, steps: readonly number[], answersAfter = 0, budget: { tokens: number } | null = { tokens: 50 }) => {
    const llmCall: Host["llmCall"] = async (effect) => {
      const { task, answers, results } = asked(effect)
      if (task !== "parent") return answers + 1 < Number(task) ? says("", `missing:m${answers}:x`) : says(`used ${task}`)
      if (answers === 0) return says("", ...steps.map((step, index) => `sub:c${index}:${step}`))
      return answers <= answersAfter ? says("", `sub:d${answers}:1`) : says(results.join(";"))
    }
    const sub = childTool({ name: "sub", description: "", config: configOf([]), host: { llmCall }, ...(budget && { budget }) })
    const host: Host = { llmCall, tools: toolbox([sub]) }
    const run = async (options: RunThreadOptions = {}) => {
      const thread = await Thread.open(store, "t", { config: configOf([sub]) })
      if (thread.goal === null) await thread.command({ type: "set", objective: "Use it.", tokenBudget: 100 }, { key: "goal" })
      await thread.say("parent", { key: "parent" })
      await runThread(thread, host, options)
      return thread
    }
    const leases = async () => (await turnTree(store, "t.1"))?.children.map(({ parent }) => parent?.lease ?? 0).toSorted((a, b) => a - b)
    return { run, leases }
  }

  test("limits the leases of children that begin at once: what is asked for, or what is left", async () => {
    const store = memoryJournalStore()
    const { run, leases } = budgeted(store, [9, 9, 9])
    const thread = await run()
    // 100, less the answer that asked.
    expect(await leases()).toEqual([35, 50])
    const results = thread.history.flatMap((record) =>
      record.type === "conversation" ? record.message.parts.flatMap((part) => (part.type === "tool_result" ? [part.text] : [])) : [],
    )
    expect(results.filter((text) => text.includes("of its goal, is used up"))).toHaveLength(1)
    await thread.close()
  })

  test("limits children whose tool has no budget, too", async () => {
    const store = memoryJournalStore()
    const { run, leases } = budgeted(store, [9, 9], 0, null)
    const thread = await run()
    expect(await leases()).toEqual([85])
    await thread.close()
  })

  test("has again what children did not use, once their results are in", async () => {
    const store = memoryJournalStore()
    const { run, leases } = budgeted(store, [1, 1], 1)
    const thread = await run()
    // 85 left for the first two, then 100 - 15 - 30 - 15.
    expect(await leases()).toEqual([35, 40, 50])
    await thread.close()
  })

  test("counts the results that a batch has once", async () => {
    const store = memoryJournalStore()
    const { run, leases } = budgeted(store, [1, 1, 1])
    const thread = await run({ toolConcurrency: 1 })
    expect(await leases()).toEqual([50, 50, 50])
    await thread.close()
  })

  test("is never granted twice, at any write at which a process dies", async () => {
    for (let writes = 0, isOver = false; !isOver; writes += 1) {
      const store = memoryJournalStore()
      isOver = await budgeted(dyingStore(store, writes), [2, 1, 3, 9])
        .run()
        .then(
          () => true,
          () => false,
        )
      const reserved = async () =>
        ((await turnTree(store, "t.1"))?.children ?? []).reduce(
          (sum, { parent, outcome, usage }) =>
            sum + (outcome === undefined ? (parent?.lease ?? 0) : Math.min(usage.inputTokens + usage.outputTokens, parent?.lease ?? 0)),
          0,
        )
      expect(await reserved()).toBeLessThanOrEqual(85)
      // The turns after it have no children.
      isOver ||= (await turnTree(store, "t.1"))?.outcome !== undefined
      const thread = await budgeted(dyingStore(store, Number.POSITIVE_INFINITY), [2, 1, 3, 9]).run()
      expect(await reserved()).toBeLessThanOrEqual(85)
      await thread.close()
    }
  })
})
