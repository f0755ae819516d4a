import { expect, test } from "vitest"
import { childTool, detachedChildren } from "../../../src/hosts/child/index.ts"
import type { Host } from "../../../src/hosts/host.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { JournalStore } from "../../../src/hosts/journal/store.ts"
import { deleteThreads } from "../../../src/hosts/thread/delete-threads.ts"
import { runThread, Thread, type ThreadOptions } from "../../../src/hosts/thread/thread.ts"
import { toolbox } from "../../../src/hosts/tools/toolbox.ts"
import { asked, configOf, says } from "../child/support.ts"

// Children in the background outlive the turn that began them, and their journals are needed until their thread has received their ends.

/** A store that fails to write the end of a child to a log, as if the process had been killed. */
function dyingAtEnd(store: JournalStore): JournalStore {
  return {
    ...store,
    async open(name, options) {
      const stored = await store.open(name, options)
      return {
        read: () => stored.read(),
        replace: (text) => stored.replace(text),
        close: () => stored.close(),
        append: async (text) => {
          if (name.endsWith(".thread") && text.includes("child:")) throw new Error("killed")
          await stored.append(text)
        },
      }
    },
  }
}

async function namesIn(store: JournalStore): Promise<readonly string[]> {
  const names: string[] = []
  for await (const name of store.list()) names.push(name)
  return names
}

/** A thread whose first turn begins a child that works until it is released. */
class World {
  readonly store = memoryJournalStore()
  readonly #options: Partial<ThreadOptions>
  readonly #released: Promise<void>
  release = (): void => {}

  constructor(options: Partial<ThreadOptions>) {
    this.#options = options
    this.#released = new Promise((resolve) => {
      this.release = resolve
    })
  }

  async process(store: JournalStore = this.store) {
    const children = detachedChildren()
    const llmCall: Host["llmCall"] = async (effect) => {
      if (asked(effect).task === "look") {
        await this.#released
        return says("seen")
      }
      return JSON.stringify(effect.request.messages.at(-1)).includes("Begin.") ? says("", "sub:c1:look") : says("ok")
    }
    const sub = childTool({ name: "sub", description: "", config: configOf([]), host: { llmCall }, detached: children })
    const host: Host = { llmCall, tools: toolbox([sub]) }
    const thread = await Thread.open(store, "t", { config: configOf([sub]), ...this.#options })
    return { thread, children, run: () => runThread(thread, host, { children, maxWaitMs: 0 }) }
  }
}

for (const goals of [false, true])
  test(`the end of a child that a crash kept from its thread is not trimmed away, ${goals ? "with" : "without"} goals`, async () => {
    const world = new World({ goals, retain: "log" })
    const { store } = world
    const { thread, children, run } = await world.process(dyingAtEnd(store))
    for (const text of ["Begin.", "More.", "And more."]) {
      await thread.say(text)
      await run()
    }
    world.release()
    await children.idle()
    await thread.close()
    const [child = ""] = (await namesIn(store)).filter((name) => name.includes(".child-"))
    expect(await namesIn(store)).toEqual([child, "t.3", "t.thread"])

    const later = await world.process()
    await later.run()
    await later.children.idle()
    await later.run()
    const ends = later.thread.history.filter((record) => record.type === "conversation" && record.message.id === "child:t.1:2:c1")
    expect(ends).toHaveLength(1)
    await later.thread.say("Is that all?")
    await later.run()
    await later.thread.close()
    // Now it is no longer needed.
    await (await world.process()).thread.close()
    expect(await namesIn(store)).toEqual(["t.5", "t.thread"])
  })

test("a thread whose child in the background has not ended, or whose end it has not received, is not deleted by age", async () => {
  const world = new World({ goals: false })
  const { store } = world
  const old = { olderThanMs: 0, now: () => Number.MAX_SAFE_INTEGER }
  const { thread, children, run } = await world.process(dyingAtEnd(store))
  await thread.say("Begin.")
  await run()
  await thread.close()
  // The process of the child was killed: its journal has no owner.
  const [child = ""] = (await namesIn(store)).filter((name) => name.includes(".child-"))
  const copy = memoryJournalStore()
  for (const name of await namesIn(store)) {
    const stored = await copy.open(name)
    for await (const part of (await store.read(name)) ?? []) await stored.append(part)
    await stored.close()
  }
  expect(await deleteThreads(copy, old)).toEqual([])

  world.release()
  await children.idle()
  expect(await deleteThreads(store, old)).toEqual([])
  const later = await world.process()
  await later.run()
  await later.children.idle()
  await later.run()
  expect(later.thread.lastTurn?.turnId).toBe("t.2")
  await later.thread.close()
  expect(await namesIn(store)).toContain(child)
  expect(await deleteThreads(store, old)).toEqual(["t"])
  expect(await namesIn(store)).toEqual([])
})

test("a thread without goals waits for its children, also with events that it has from before", async () => {
  const world = new World({})
  const before = await world.process()
  await before.thread.event("deployed")
  await before.thread.close()
  const children = detachedChildren()
  const llmCall: Host["llmCall"] = async (effect) => {
    if (asked(effect).task !== "look") return asked(effect).answers === 0 ? says("", "sub:c1:look") : says("ok")
    // The loop must let timers run.
    await new Promise((resolve) => setTimeout(resolve, 20))
    return says("seen")
  }
  const sub = childTool({ name: "sub", description: "", config: configOf([]), host: { llmCall }, detached: children })
  const thread = await Thread.open(world.store, "t", { config: configOf([sub]), goals: false })
  await thread.say("Begin.")
  let decisions = 0
  await runThread(
    thread,
    { llmCall, tools: toolbox([sub]) },
    {
      children,
      between: () => {
        decisions += 1
        if (decisions > 100) throw new Error("The loop spins.")
        return undefined
      },
    },
  )
  expect(thread.turns).toBe(2)
  await thread.close()
})
