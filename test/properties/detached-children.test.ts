import { describe, expect, test } from "vitest"
import { childTool, detachedChildren, turnTree } from "../../src/hosts/child/index.ts"
import type { Host } from "../../src/hosts/host.ts"
import { memoryJournalStore } from "../../src/hosts/journal/memory.ts"
import { textOf } from "../../src/hosts/journal/parts.ts"
import type { JournalStore } from "../../src/hosts/journal/store.ts"
import { runThread, Thread } from "../../src/hosts/thread/thread.ts"
import { toolbox } from "../../src/hosts/tools/toolbox.ts"
import { tokensOf } from "../../src/machine/limits.ts"
import { readJournal } from "../../src/replay/journal.ts"
import { asked, configOf, says, USAGE } from "../hosts/child/support.ts"
import { dyingStore } from "../support/dying-store.ts"
import { SLOW } from "./check.ts"

const CHILDREN = ["t.1:2:c1", "t.1:2:c2"]

/** A thread with a goal whose turn begins two children in the background. It outlives its processes. */
class World {
  readonly store: JournalStore = memoryJournalStore()

  /** Runs a process until the thread rests. Rejects where its store dies. */
  async process(store: JournalStore, isCancelled = false): Promise<Thread> {
    const children = detachedChildren()
    const llmCall: Host["llmCall"] = async (effect) => {
      const { task, answers } = asked(effect)
      if (task !== "parent") return answers === 0 ? says("", `missing:m:${task}`) : says(`did ${task}`)
      return answers === 0 ? says("", "sub:c1:a", "sub:c2:b") : says("ok")
    }
    const sub = childTool({ name: "sub", description: "", config: configOf([]), host: { llmCall }, detached: children })
    let at = 1_000_000
    const now = (): number => {
      at += 1
      return at
    }
    const thread = await Thread.open(store, "t", { config: configOf([sub]), now })
    if (thread.goal === null) await thread.command({ type: "set", objective: "Look.", tokenBudget: 100_000 }, { key: "goal" })
    await thread.command({ type: "pause" }, { key: "pause" })
    await thread.say("parent", { key: "parent" })
    const stop = new AbortController()
    const host: Host = { llmCall, tools: toolbox([sub]) }
    const onEvent = ({ type }: { readonly type: string }): void => {
      if (isCancelled && type === "tool_call") stop.abort("enough")
    }
    await runThread(thread, host, { children, maxWaitMs: 5_000, signal: stop.signal, onEvent, cancelGraceMs: 100 })
    await children.idle()
    if (isCancelled) await runThread(thread, host, { children, maxWaitMs: 5_000 })
    return thread
  }

  /** The answers of models that are stored, counted without the code that is tested. */
  async answers(isMeant: (name: string) => boolean): Promise<number> {
    let count = 0
    for await (const name of this.store.list()) {
      const text = await textOf(await this.store.read(name))
      if (!text.includes("\n") || name.endsWith(".thread") || !isMeant(name)) continue
      for (const { record } of readJournal(text).entries) if (record.type === "llm_complete") count += 1
    }
    return count
  }

  async expectLaws(): Promise<void> {
    const tree = await turnTree(this.store, "t.1")
    const answers = await this.answers((name) => name.startsWith("t.1"))
    expect(tree === undefined ? 0 : tokensOf(tree.total)).toBe(answers * tokensOf(USAGE))
  }
}

describe("children in the background", SLOW, () => {
  test("die with their process at any write, and continue: each end is delivered once, and each token charged once", async () => {
    for (let writes = 0, isOver = false; !isOver; writes += 1) {
      const world = new World()
      isOver = await world.process(dyingStore(world.store, writes)).then(
        () => true,
        (error: unknown) => {
          expect(String(error)).toContain("killed")
          return false
        },
      )
      await world.expectLaws()
      // A second process dies as well, a few writes later.
      await world.process(dyingStore(world.store, 1 + (writes % 7))).catch((error: unknown) => expect(String(error)).toContain("killed"))
      await world.expectLaws()
      const thread = await world.process(dyingStore(world.store, Number.POSITIVE_INFINITY))
      await world.expectLaws()
      const ids = thread.history.flatMap((record) => (record.type === "conversation" ? [record.message.id] : []))
      for (const child of CHILDREN) expect(ids.filter((id) => id === `child:${child}`)).toHaveLength(1)
      expect(thread.goal?.childTokensUsed, `after ${writes} writes`).toBe((await world.answers((name) => name.includes(".child-"))) * tokensOf(USAGE))
      expect((await turnTree(world.store, "t.1"))?.children.map(({ outcome }) => outcome?.type)).toEqual(["finished", "finished"])
      await thread.close()
    }
  })

  test("are cancelled with their turn, at any write of it, and none stays open", async () => {
    for (let writes = 0, isOver = false; !isOver; writes += 1) {
      const world = new World()
      isOver = await world.process(dyingStore(world.store, writes), true).then(
        () => true,
        () => false,
      )
      const thread = await world.process(dyingStore(world.store, Number.POSITIVE_INFINITY))
      await world.expectLaws()
      const tree = await turnTree(world.store, "t.1")
      for (const { outcome } of tree?.children ?? []) {
        expect(outcome).toBeDefined()
        const isCancelled = tree?.outcome?.type === "stopped" && tree.outcome.stop.type === "cancelled"
        if (isCancelled && outcome?.type === "stopped") expect(outcome.stop.type).toBe("cancelled")
      }
      const ids = thread.history.flatMap((record) => (record.type === "conversation" ? [record.message.id] : []))
      const ends = ids.filter((id) => id.startsWith("child:"))
      expect(new Set(ends).size).toBe(ends.length)
      expect(ends).toHaveLength(tree?.children.length ?? 0)
      await thread.close()
    }
  })
})
