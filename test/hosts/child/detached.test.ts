import { describe, expect, test } from "vitest"
import * as z from "zod"
import { approvalDriver } from "../../../src/drivers/approval/driver.ts"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { childTool, detachedChildren, turnTree } from "../../../src/hosts/child/index.ts"
import type { Host } from "../../../src/hosts/host.ts"
import { journaled } from "../../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { JournalStore } from "../../../src/hosts/journal/store.ts"
import { type RunThreadOptions, runThread, Thread } from "../../../src/hosts/thread/thread.ts"
import { defineTool } from "../../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../../src/hosts/tools/toolbox.ts"
import { dyingStore } from "../../support/dying-store.ts"
import { asked, configOf, START, says } from "./support.ts"

/** A thread whose child in the background answers when it is let. Each call of a model uses 15 tokens. */
class Story {
  readonly store: JournalStore = memoryJournalStore()
  readonly requests: string[] = []
  readonly errors: unknown[] = []
  paid = 0
  /** Called before an answer of the parent's model. */
  onParent: (answers: number) => Promise<void> | void = () => {}
  #release: () => void = () => {}
  #released: Promise<void> = Promise.resolve()

  /** The children do not answer until `release`. */
  hold(): this {
    this.#released = new Promise((resolve) => {
      this.#release = resolve
    })
    return this
  }

  release(): void {
    this.#release()
  }

  process(store = this.store, options: { readonly pays?: boolean; readonly looks?: boolean } = {}) {
    const children = detachedChildren({ onError: (error) => this.errors.push(error) })
    const llmCall: Host["llmCall"] = async (effect, { signal }) => {
      const { task, answers, results } = asked(effect)
      const ends = effect.request.messages.flatMap(({ blocks }) =>
        blocks.flatMap((block) => (block.type === "text" && block.text.includes("subagent") ? [block.text] : [])),
      )
      if (task !== "parent") {
        if (options.pays === true && answers === 0) return says("", "pay:p:tea")
        await Promise.race([this.#released, new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)))])
        return says(`did ${task}${results.join()}`)
      }
      this.requests.push(ends.join("|"))
      await this.onParent(answers)
      if (options.looks === true && answers === 1) return says("", "missing:m:x")
      return answers === 0 ? says("", "sub:c1:look") : says(`answer ${answers}: ${results.join()}`)
    }
    const pay = defineTool({
      name: "pay",
      description: "",
      input: z.object({ task: z.string() }),
      effects: "once",
      execute: async () => {
        this.paid += 1
        return " paid"
      },
    })
    const driver = approvalDriver(chatDriver(), { policy: () => ({ hold: {} }) })
    const tools = toolbox([pay])
    const sub = childTool({ name: "sub", description: "", config: configOf([pay], { driver }), host: { llmCall, tools }, detached: children })
    const host: Host = { llmCall, tools: toolbox([sub]) }
    return {
      children,
      host,
      config: configOf([sub]),
      open: (threadId = "t") => Thread.open(store, threadId, { config: configOf([sub]) }),
      run: (thread: Thread, more: RunThreadOptions = {}) => runThread(thread, host, { children, ...more }),
    }
  }
}

const RUNNING = '{"childId":"t.1:2:c1","status":"running"}'
const END = 'The subagent "t.1:2:c1" of "sub" has finished. Its result:\ndid look'

describe("a detached child of a thread", () => {
  test("has its result at once; its end begins a turn, once", async () => {
    const story = new Story().hold()
    const { open, run, children } = story.process()
    const thread = await open()
    await thread.say("parent")
    const first = await run(thread, { maxWaitMs: 0 })
    expect(first.outcome).toMatchObject({ finish: { text: `answer 1: ${RUNNING}` } })
    expect(thread.openTurn).toBeUndefined()

    story.release()
    const second = await run(thread)
    expect(second.outcome).toMatchObject({ finish: { text: expect.stringContaining("answer 2") } })
    expect(thread.turns).toBe(2)
    expect(story.requests.at(-1)).toContain(END)
    expect(thread.history.filter((record) => record.type === "conversation" && record.message.id === "child:t.1:2:c1")).toHaveLength(1)
    await run(thread)
    expect(thread.turns).toBe(2)
    await children.close()
    await thread.close()
    expect(story.errors).toEqual([])
  })

  test("is waited for before the run rests", async () => {
    const story = new Story().hold()
    const { open, run } = story.process()
    const thread = await open()
    await thread.say("parent")
    setTimeout(() => story.release(), 20)
    await run(thread)
    expect(thread.turns).toBe(2)
    await thread.close()
  })

  test("is waited for in a conversation without goals", async () => {
    const story = new Story().hold()
    const { run, children, config } = story.process()
    const thread = await Thread.open(story.store, "t", { config, goals: false })
    await thread.say("parent")
    setTimeout(() => story.release(), 20)
    await run(thread)
    expect(thread.turns).toBe(2)
    await children.close()
    await thread.close()
  })

  test("that a dead process left open is resumed, and its end is delivered once", async () => {
    const story = new Story().hold()
    const first = story.process(dyingStore(story.store, Number.POSITIVE_INFINITY))
    const thread = await first.open()
    await thread.say("parent")
    await first.run(thread, { maxWaitMs: 0 })

    // The first process is gone: what it still does is refused by the store.
    const second = story.process(dyingStore(story.store, Number.POSITIVE_INFINITY))
    const again = await second.open()
    setTimeout(() => story.release(), 20)
    await second.run(again)
    expect(again.turns).toBe(2)
    expect(story.requests.at(-1)?.split(END)).toHaveLength(2)
    await again.close()

    const third = story.process(dyingStore(story.store, Number.POSITIVE_INFINITY))
    const last = await third.open()
    await third.run(last)
    expect(last.turns).toBe(2)
    await last.close()
  })

  test("is charged to the goal with what it has used, also after its turn", async () => {
    const story = new Story().hold()
    const { open, run } = story.process()
    const thread = await open()
    await thread.command({ type: "set", objective: "Look.", tokenBudget: 1_000 })
    await thread.command({ type: "pause" })
    await thread.say("parent")
    await run(thread, { maxWaitMs: 0 })
    expect(thread.goal?.childTokensUsed).toBe(0)
    story.release()
    await run(thread)
    expect(thread.goal?.childTokensUsed).toBe(15)
    await run(thread)
    expect(thread.goal?.childTokensUsed).toBe(15)
    const tree = await turnTree(story.store, "t.1")
    expect(tree?.total.outputTokens).toBe(15)
    expect(tree?.usage.outputTokens).toBe(10)
    await thread.close()
  })

  test("is cancelled with its turn, and the model reads that", async () => {
    const story = new Story().hold()
    const { open, run } = story.process()
    const thread = await open()
    await thread.say("parent")
    const stop = new AbortController()
    await run(thread, {
      signal: stop.signal,
      onEvent: (event) => {
        if (event.type === "tool_call") stop.abort("enough")
      },
    })
    await expect.poll(async () => (await turnTree(story.store, "t.1"))?.children[0]?.outcome).toMatchObject({ stop: { type: "cancelled" } })
    await run(thread)
    expect(story.requests.at(-1)).toContain("The subagent was cancelled.")
    expect(story.requests.filter((text) => text.includes("cancelled"))).toHaveLength(1)
    await thread.close()
  })

  test("is charged at the next checkpoint of a turn that runs, and between turns before the next begins", async () => {
    const seen: number[] = []
    const story = new Story().hold()
    const { open, run, children } = story.process(story.store, { looks: true })
    const thread = await open()
    story.onParent = async (answers) => {
      seen.push(thread.goal?.childTokensUsed ?? -1)
      if (answers === 1) story.release()
      if (answers === 1) await children.idle()
    }
    await thread.command({ type: "set", objective: "Look.", tokenBudget: 1_000 })
    await thread.command({ type: "pause" })
    await thread.say("parent")
    await run(thread)
    expect(seen).toEqual([0, 0, 15])
    await thread.close()

    const other = new Story().hold()
    const next = other.process()
    const later = await next.open()
    await later.command({ type: "set", objective: "Look.", tokenBudget: 1_000 })
    await later.command({ type: "pause" })
    await later.say("parent")
    await next.run(later, { maxWaitMs: 0 })
    other.release()
    await next.children.idle()
    const begun: (number | undefined)[] = []
    await next.run(later, { onTurn: () => void begun.push(later.goal?.childTokensUsed) })
    expect(begun).toEqual([15])
    await later.close()
  })

  test("is not that of another thread whose name begins alike", async () => {
    const story = new Story().hold()
    const { open, run } = story.process()
    const [thread, other] = [await open("t"), await open("t.1")]
    await run(thread)
    await other.say("parent")
    await run(other, { maxWaitMs: 0 })
    story.release()
    await run(other)
    await run(thread)
    expect([thread.turns, other.turns]).toEqual([0, 2])
    await other.close()
    await thread.close()
  })

  test("that waits for a decision is cancelled with its turn", async () => {
    const story = new Story()
    const { open, run, children } = story.process(story.store, { pays: true })
    const thread = await open()
    story.onParent = async (answers) => {
      if (answers !== 1) return
      await children.idle()
      thread.interrupt("enough")
    }
    await thread.say("parent")
    await run(thread)
    expect(story.paid).toBe(0)
    expect((await turnTree(story.store, "t.1"))?.children[0]?.outcome).toMatchObject({ stop: { type: "cancelled" } })
    expect(await thread.suspendedChildren()).toEqual([])
    await thread.close()
  })

  test("that waits for a decision is listed and decided through the thread, after its turn has ended", async () => {
    const story = new Story()
    const { open, run, children } = story.process(story.store, { pays: true })
    const thread = await open()
    await thread.say("parent")
    await run(thread)
    await children.idle()
    expect(thread.openTurn).toBeUndefined()
    const [child] = await thread.suspendedChildren()
    expect(child).toMatchObject({ turnId: "t.1:2:c1", held: [{ toolName: "pay" }] })
    const { requestId = "", digest = "" } = child?.held[0] ?? {}
    expect(await thread.decide([{ requestId, digest, decision: "approve" }], { turnId: child?.turnId })).toMatchObject([{ status: "accepted" }])
    await run(thread)
    expect(story.paid).toBe(1)
    expect(thread.turns).toBe(2)
    expect(story.requests.at(-1)).toContain("did look paid")
    await thread.close()
    expect(story.errors).toEqual([])
  })
})

test("a detached child of a turn without a thread is delivered at a checkpoint", async () => {
  const story = new Story()
  const { children, host, config } = story.process()
  const checkpoint: Host["checkpoint"] = async () => {
    await children.idle()
    return children.deliver(story.store, "alone")
  }
  const done = await journaled({ ...host, checkpoint }, story.store).run("alone", { config, start: START, turnId: "T" })
  expect(done.outcome.type).toBe("finished")
  expect(story.requests.filter((text) => text.includes("did look"))).not.toEqual([])
  expect(done.messages.filter(({ id }) => id === "child:T:2:c1")).toHaveLength(1)
})

test("two tools with one name do not share their children", () => {
  const detached = detachedChildren()
  const make = () => childTool({ name: "sub", description: "", config: configOf([]), host: { llmCall: async () => says("") }, detached })
  make()
  expect(make).toThrow(/Two tools named/)
  expect(() =>
    childTool({ name: "x", description: "", config: configOf([]), host: { llmCall: async () => says("") }, detached: {} as never }),
  ).toThrow(/detachedChildren/)
})
