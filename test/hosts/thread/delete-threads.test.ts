import { describe, expect, test } from "vitest"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { JournalStore } from "../../../src/hosts/journal/store.ts"
import { deleteThreads } from "../../../src/hosts/thread/delete-threads.ts"
import { snapshotThread } from "../../../src/hosts/thread/snapshot.ts"
import { runThread, Thread, type ThreadOptions } from "../../../src/hosts/thread/thread.ts"
import { turnNumber } from "../../../src/hosts/thread/trim.ts"
import { LONG_THREAD, longHost, playTurns } from "../../support/long-thread.ts"
import { readText } from "../../support/stored-text.ts"

const OPTIONS: ThreadOptions = { ...LONG_THREAD, now: () => 1_000, takeOver: true }
const CHILD = "t.2.child-2-0123456789abcdef"

async function namesIn(store: JournalStore): Promise<readonly string[]> {
  const names: string[] = []
  for await (const name of store.list()) names.push(name)
  return names
}

async function write(store: JournalStore, name: string, text: string): Promise<void> {
  const stored = await store.open(name)
  await stored.append(text)
  await stored.close()
}

async function textOf(store: JournalStore, name: string): Promise<string> {
  return (await readText(store, name)) ?? ""
}

/** Two turns of a thread that has a judge, and a child of the second turn with a child of its own. Others have similar names. */
async function filled(options = OPTIONS): Promise<JournalStore> {
  const store = memoryJournalStore()
  for (const threadId of ["t", "t.1x", "t2"]) {
    const thread = await Thread.open(store, threadId, options)
    await playTurns(thread, longHost(), 2)
    await thread.close()
  }
  const ended = await textOf(store, "t.1")
  await write(store, CHILD, ended)
  await write(store, `${CHILD}.child-4-0123456789abcdef`, ended)
  await write(store, "t.judge", "{}\n")
  await write(store, "t.1.notes", "not of the thread\n")
  return store
}

const OWN = ["t.1", "t.2", CHILD, `${CHILD}.child-4-0123456789abcdef`, "t.judge", "t.thread"]

/** A store that dies before its nth change: this one and all later ones reject. */
function dying(store: JournalStore, changes: number): JournalStore {
  let left = changes
  const change = async <Result>(act: () => Promise<Result>): Promise<Result> => {
    left -= 1
    if (left < 0) throw new Error("killed")
    return act()
  }
  return {
    ...store,
    delete: (name) => change(() => store.delete(name)),
    async open(name, options) {
      const stored = await store.open(name, options)
      return {
        read: () => stored.read(),
        close: () => stored.close(),
        append: (text) => change(() => stored.append(text)),
        replace: (text) => change(() => stored.replace(text)),
      }
    },
  }
}

test("the names of a thread's journals are told from those of others", () => {
  expect(["t.1", "t.12", CHILD, `${CHILD}.child-4-0123456789abcdef`].map((name) => turnNumber(name, "t"))).toEqual([1, 12, 2, 2])
  for (const name of ["t.0", "t.01", "t.1.1", "t.1x.2", "t.thread", "t.1.notes", "t2.1", "t.1.child-x", "t.1.child-2-0123456789abcdef.thread"])
    expect(turnNumber(name, "t")).toBeUndefined()
})

describe("Thread.delete", () => {
  test("deletes the log, the turns, their children and the judge, and nothing else", async () => {
    const store = await filled()
    const before = await namesIn(store)
    await Thread.delete(store, "t")
    expect(await namesIn(store)).toEqual(before.filter((name) => !OWN.includes(name)))
    await Thread.delete(store, "t")
    await Thread.delete(store, "nothing")
    expect(await namesIn(store)).toEqual(before.filter((name) => !OWN.includes(name)))
    const again = await Thread.open(store, "t", OPTIONS)
    expect([again.turns, again.history]).toEqual([0, []])
    await again.close()
  })

  test("refuses a thread that is open, or whose turn or child is, and deletes nothing", async () => {
    const store = await filled()
    const thread = await Thread.open(store, "t", OPTIONS)
    await expect(Thread.delete(store, "t")).rejects.toMatchObject({ code: "in_use" })
    await thread.say("More.")
    const host = { ...longHost(), llmCall: async () => Promise.reject(new Error("fatal")) }
    await expect(runThread(thread, host, { isFatal: () => true })).rejects.toThrow("fatal")
    await thread.close()
    for (const name of ["t.3", "t.2.child-6-0123456789abcdef"]) {
      const used = await store.open(name)
      const before = await namesIn(store)
      await expect(Thread.delete(store, "t")).rejects.toMatchObject({ code: "in_use" })
      expect(await namesIn(store)).toEqual(before)
      await used.close()
      const opened = await Thread.open(store, "t", OPTIONS)
      expect(opened.openTurn?.turnId).toBe("t.3")
      await opened.close()
    }
    await Thread.delete(store, "t")
    expect((await namesIn(store)).filter((name) => name.startsWith("t.") && turnNumber(name, "t") !== undefined)).toEqual([])
  })

  test("is completed by the next call, wherever it died, and the thread is never resumed in between", async () => {
    let changes = 0
    for (let isKilled = true; isKilled; changes += 1) {
      const store = await filled()
      isKilled = await Thread.delete(dying(store, changes), "t").then(
        () => false,
        (error: Error) => error.message === "killed",
      )
      const left = (await namesIn(store)).filter((name) => OWN.includes(name))
      if (isKilled && changes > 0) {
        expect(left).toContain("t.thread")
        await expect(Thread.open(store, "t", OPTIONS)).rejects.toMatchObject({ name: "JournalError", code: "deleted_thread" })
        for await (const found of Thread.list(store, { prefix: "t.thread" }))
          expect(found).toMatchObject({ threadId: "t", error: { code: "deleted_thread" } })
        await expect(snapshotThread(store, "t", OPTIONS)).rejects.toMatchObject({ name: "JournalError", code: "deleted_thread" })
      } else expect(left).toEqual(isKilled ? [...OWN].sort() : [])
      await Thread.delete(store, "t")
      expect((await namesIn(store)).filter((name) => OWN.includes(name))).toEqual([])
    }
    // The mark, each journal, and the log.
    expect(changes).toBe(OWN.length + 2)
  })

  test("deletes a thread whose log is damaged", async () => {
    const store = await filled()
    const text = await textOf(store, "t.thread")
    const stored = await store.open("t.thread")
    await stored.replace(text.replace("quick", "quack"))
    await stored.close()
    await expect(Thread.open(store, "t", OPTIONS)).rejects.toMatchObject({ code: "damaged_record" })
    await Thread.delete(store, "t")
    expect((await namesIn(store)).filter((name) => OWN.includes(name))).toEqual([])
  })
})

describe("Thread.list", () => {
  test("says what a server needs that starts, also of damaged logs", async () => {
    const store = memoryJournalStore()
    const rests = await Thread.open(store, "a", { ...OPTIONS, meta: { user: 7 } })
    await playTurns(rests, longHost(), 1)
    await rests.close()
    const waits = await Thread.open(store, "b", OPTIONS)
    await waits.say("Hello.")
    await waits.close()
    const open = await Thread.open(store, "c", { ...OPTIONS, now: () => 5_000 })
    await open.say("Hello.")
    await expect(runThread(open, { llmCall: () => Promise.reject(new Error("fatal")) }, { isFatal: () => true })).rejects.toThrow("fatal")
    await write(store, "d.thread", (await textOf(store, "a.thread")).replace("quick", "quack"))
    await write(store, "e.thread", await textOf(store, "a.thread"))
    await write(store, "f.thread", "of another program\n")
    await write(store, "g.thread", "")
    const found: unknown[] = []
    for await (const thread of Thread.list(store)) found.push(thread)
    expect(found).toEqual([
      { threadId: "a", turns: 1, updatedAt: 1_000, meta: { user: 7 }, hasInput: false },
      { threadId: "b", turns: 0, updatedAt: 1_000, hasInput: true },
      { threadId: "c", openTurn: { turnId: "c.1", origin: "user", startedAt: 5_000 }, turns: 1, updatedAt: 5_000, hasInput: false },
      { threadId: "d", error: expect.objectContaining({ code: "damaged_record" }) },
      { threadId: "e", error: expect.objectContaining({ code: "invalid_record" }) },
    ])
    const some: string[] = []
    for await (const { threadId } of Thread.list(store, { prefix: "b" })) some.push(threadId)
    expect(some).toEqual(["b"])
  })
})

describe("deleteThreads", () => {
  test("deletes threads that rest and are old, and completes deletions", async () => {
    const store = memoryJournalStore()
    const at = async (threadId: string, now: number, act: (thread: Thread) => Promise<unknown>): Promise<void> => {
      const thread = await Thread.open(store, threadId, { ...OPTIONS, now: () => now })
      await act(thread)
      await thread.close()
    }
    const play = (thread: Thread): Promise<number> => playTurns(thread, longHost(), 1)
    await at("old", 1_000, play)
    await at("young", 9_000, play)
    await at("input", 1_000, (thread) => thread.say("Hello."))
    await at("goal", 1_000, (thread) => thread.command({ type: "set", objective: "Count." }).then(() => thread.settle()))
    await at("open", 1_000, async (thread) => {
      await thread.say("Hello.")
      await runThread(thread, { llmCall: () => Promise.reject(new Error("fatal")) }, { isFatal: () => true }).catch(() => {})
    })
    await at("half", 9_500, play)
    await expect(Thread.delete(dying(store, 2), "half")).rejects.toThrow("killed")
    await at("used", 1_000, play)
    const used = await store.open("used.thread")
    expect(await deleteThreads(store, { olderThanMs: 5_000, now: () => 10_000 })).toEqual(["half", "old"])
    await used.close()
    const left: string[] = []
    for await (const { threadId } of Thread.list(store)) left.push(threadId)
    expect(left).toEqual(["goal", "input", "open", "used", "young"])
    await expect(deleteThreads(store, { olderThanMs: Number.NaN })).rejects.toThrow(RangeError)
    expect(await deleteThreads(store, { olderThanMs: 0, now: () => 10_000, prefix: "y" })).toEqual(["young"])
  })
})

describe("retain: log", () => {
  const trimming: ThreadOptions = { ...OPTIONS, retain: "log" }

  test("has the journals of the last turn and of children that run, and the same history", async () => {
    const [trimmed, whole] = [memoryJournalStore(), memoryJournalStore()]
    const histories: unknown[] = []
    for (const [store, options] of [
      [trimmed, trimming],
      [whole, OPTIONS],
    ] as const) {
      const thread = await Thread.open(store, "t", options)
      await playTurns(thread, longHost(true), 5, true)
      histories.push(thread.history)
      await thread.close()
    }
    expect(histories[0]).toEqual(histories[1])
    expect(await namesIn(trimmed)).toEqual(["t.5", "t.thread"])
    expect(await textOf(trimmed, "t.thread")).toBe(await textOf(whole, "t.thread"))
  })

  test("repairs at the next opening what a crash left, and never touches the open turn or a child that has not ended", async () => {
    const store = await filled()
    const [ended, running] = [CHILD, "t.1.child-2-0123456789abcdef"]
    const [first = ""] = (await textOf(store, "t.1")).split("\n")
    await write(store, running, `${first}\n`)
    await write(store, `${running}.child-2-0123456789abcdef`, await textOf(store, "t.1"))
    const thread = await Thread.open(store, "t", OPTIONS)
    await thread.say("More.")
    await expect(runThread(thread, { llmCall: () => Promise.reject(new Error("fatal")) }, { isFatal: () => true })).rejects.toThrow("fatal")
    await thread.close()
    const again = await Thread.open(store, "t", trimming)
    expect((await namesIn(store)).filter((name) => name.startsWith("t.") && !name.startsWith("t.1x"))).toEqual(
      [
        "t.1.notes",
        running,
        `${running}.child-2-0123456789abcdef`,
        "t.2",
        ended,
        `${ended}.child-4-0123456789abcdef`,
        "t.3",
        "t.judge",
        "t.thread",
      ].sort(),
    )
    await runThread(again, longHost())
    expect(again.lastTurn).toMatchObject({ turnId: "t.3", outcome: { type: "finished" } })
    await again.close()
    await (await Thread.open(store, "t", trimming)).close()
    expect((await namesIn(store)).filter((name) => name.startsWith("t.2"))).toEqual([])
  })

  test("survives a crash at every change of the store", async () => {
    let changes = 0
    for (let isKilled = true; isKilled; changes += 1) {
      const store = memoryJournalStore()
      const run = async (given: JournalStore): Promise<Thread> => {
        const thread = await Thread.open(given, "t", trimming)
        while (thread.turns < 3 || thread.openTurn !== undefined) {
          if (thread.openTurn === undefined && thread.history.length < 2 * (thread.turns + 1))
            await thread.say(`Turn ${thread.turns + 1}.`, { key: `${thread.turns}` })
          await runThread(thread, {
            llmCall: async () => ({
              text: "Yes.",
              parts: [],
              usage: { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 },
              terminalReason: "stop",
            }),
          })
        }
        return thread
      }
      isKilled = await run(dying(store, changes)).then(
        () => false,
        () => true,
      )
      const thread = await run(store)
      const said = thread.history.flatMap((record) =>
        record.type === "conversation" ? record.message.parts.flatMap((part) => ("text" in part ? [part.text] : [])) : [],
      )
      expect(said).toEqual(["Turn 1.", "Yes.", "Turn 2.", "Yes.", "Turn 3.", "Yes."])
      await thread.close()
      await (await Thread.open(store, "t", trimming)).close()
      expect(await namesIn(store)).toEqual(["t.3", "t.thread"])
    }
    expect(changes).toBeGreaterThan(15)
  })
})
