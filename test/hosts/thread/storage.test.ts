import { describe, expect, test } from "vitest"
import { journalValidation } from "../../../src/checks/records.ts"
import { wireValidation } from "../../../src/checks/validation.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { readTurnJournal } from "../../../src/hosts/journal/read-journal.ts"
import type { JournalStore } from "../../../src/hosts/journal/store.ts"
import { TurnJournal } from "../../../src/hosts/journal/turn-journal.ts"
import { goalConfig } from "../../../src/hosts/thread/config.ts"
import { snapshotThread } from "../../../src/hosts/thread/snapshot.ts"
import { runThread, Thread, type ThreadOptions } from "../../../src/hosts/thread/thread.ts"
import { compareJournals } from "../../../src/replay/compare.ts"
import { fork } from "../../../src/replay/fork.ts"
import { type Journal, JournalWriter, readJournal } from "../../../src/replay/journal.ts"
import { journalOutline } from "../../../src/replay/outline.ts"
import { replay, resume } from "../../../src/replay/replay.ts"
import { verifyReplay } from "../../../src/replay/verify.ts"
import type { ThreadRecord } from "../../../src/wire/thread.ts"
import { LONG_THREAD, longHost, playTurns, storedChars } from "../../support/long-thread.ts"
import { readText } from "../../support/stored-text.ts"

const OPTIONS: ThreadOptions = { ...LONG_THREAD, takeOver: true }

function configOf(turnId: string, options = OPTIONS) {
  return { validation: wireValidation, ...goalConfig("t", { turnId, origin: "user", startedAt: 0 }, options) }
}

async function played(turns: number, calls = false, options = OPTIONS): Promise<{ readonly store: JournalStore; readonly said: number }> {
  const store = memoryJournalStore()
  const thread = await Thread.open(store, "t", options)
  const said = await playTurns(thread, longHost(calls), turns, calls)
  await thread.close()
  return { store, said }
}

async function journalOf(store: JournalStore, name: string): Promise<Journal> {
  const journal = await readTurnJournal(store, name)
  if (journal === undefined) throw new Error(`There is no journal ${name}.`)
  return journal
}

async function recordsOf(store: JournalStore, name: string): Promise<readonly ThreadRecord[]> {
  const text = (await readText(store, name)) ?? ""
  return text
    .trimEnd()
    .split("\n")
    .map((line) => (JSON.parse(line) as readonly [string, ThreadRecord])[1])
}

async function rewrite(store: JournalStore, name: string, text: string): Promise<void> {
  const stored = await store.open(name, { takeOver: true })
  await stored.replace(text)
  await stored.close()
}

describe("what a thread stores", () => {
  test.each([
    ["a message and an answer", false, "journals", 4],
    ["a message and an answer", false, "log", 1.5],
    ["a tool call between them", true, "journals", 4],
    ["a tool call between them", true, "log", 1.5],
  ] as const)("grows with what is said, in turns of %s (calls: %j, retain: %j): at most %d times", async (_what, calls, retain, most) => {
    const [short, long] = [await played(20, calls, { ...OPTIONS, retain }), await played(60, calls, { ...OPTIONS, retain })]
    const [first, all] = [await storedChars(short.store, "t."), await storedChars(long.store, "t.")]
    expect(all / long.said).toBeLessThan(most)
    // The last turns store what the first ones do, but for longer numbers.
    const perTurn = first / 20
    expect((all - first) / 40).toBeLessThan(perTurn * 1.02)
  })

  test("repeats nothing: each text of the user is stored once, each answer once in the log", async () => {
    const { store } = await played(8)
    const log = (await readText(store, "t.thread")) ?? ""
    expect(log.split("the 3 quick foxes the 3").length - 1).toBe(log.split("the 5 quick foxes the 5").length - 1)
    for (const number of [1, 4, 8]) {
      const text = (await readText(store, `t.${number}`)) ?? ""
      for (const other of [1, 2, 3, 4, 5, 6, 7, 8]) if (other !== number) expect(text).not.toContain(`the ${other} quick foxes`)
      expect(readJournal(text, journalValidation).header).toMatchObject({
        start: { messages: [] },
        base: { log: "t.thread", messages: 2 * number - 1 },
      })
    }
  })

  test("has the messages that a running turn received once", async () => {
    const store = memoryJournalStore()
    const thread = await Thread.open(store, "t", OPTIONS)
    await thread.say("Begin.")
    const call = async () => {
      await thread.say(`An aside. ${"x".repeat(500)}`)
      return { output: { status: "success", value: 1 } } as const
    }
    const [calling, answering] = [longHost(true), longHost()]
    let asked = 0
    await runThread(thread, {
      llmCall: (...given) => {
        asked += 1
        return (asked === 1 ? calling : answering).llmCall(...given)
      },
      tools: { call, effects: () => "none" },
    })
    const { history } = thread
    await thread.close()
    const log = (await readText(store, "t.thread")) ?? ""
    expect(log.split("An aside.")).toHaveLength(2)
    const again = await Thread.open(store, "t", OPTIONS)
    expect(again.history).toEqual(history)
    expect(JSON.stringify(again.history)).toContain("An aside.")
    expect(again.lastTurn?.outcome).toMatchObject({ finish: { type: "assistant_message", text: expect.stringContaining("quick foxes") } })
    await again.close()
  })

  test("has the system prompt and the tools once, until they change", async () => {
    const store = memoryJournalStore()
    const prompt = (number: number): ThreadOptions => ({
      ...OPTIONS,
      config: { ...(LONG_THREAD.config as object), systemPrompt: `Be brief, ${number}. `.repeat(40) } as never,
    })
    for (const number of [1, 2]) {
      const thread = await Thread.open(store, "t", prompt(number))
      await playTurns(thread, longHost(), 3)
      await thread.close()
    }
    const withPrompt: string[] = []
    for await (const name of store.list()) if ((await readText(store, name))?.includes("Be brief")) withPrompt.push(name)
    // The first turn under each, and the log.
    expect(withPrompt).toEqual(["t.1", "t.4", "t.thread"])
    expect((await recordsOf(store, "t.thread")).filter((record) => record.type === "turn_ended" && record.newSurface !== undefined)).toHaveLength(2)
    for (const number of [1, 2, 3, 4, 5, 6]) {
      const config = configOf(`t.${number}`, prompt(number < 4 ? 1 : 2))
      expect(verifyReplay(await journalOf(store, `t.${number}`), config).outcome?.type).toBe("finished")
    }
  })

  test("has no snapshot that repeats the thread", async () => {
    const store = memoryJournalStore()
    const options = { ...OPTIONS, snapshotEveryRecords: 1 }
    const thread = await Thread.open(store, "t", options)
    await playTurns(thread, longHost(true), 12, true)
    await thread.close()
    const sizes: number[] = []
    for (const number of [3, 12]) {
      const journal = await journalOf(store, `t.${number}`)
      const snapshots = journal.entries.filter(({ record }) => record.type === "snapshot")
      expect(snapshots.length).toBeGreaterThan(1)
      sizes.push(journal.length)
      expect(verifyReplay(journal, configOf(`t.${number}`, options)).snapshots).toBe(snapshots.length)
    }
    expect(sizes[1]).toBeLessThan((sizes[0] ?? 0) * 1.05)
  })
})

describe("the journal of a thread's turn", () => {
  test("replays with the log, every turn of a long thread, and gives its history", async () => {
    const { store } = await played(40, true)
    const thread = await Thread.open(store, "t", OPTIONS)
    const { history } = thread
    await thread.close()
    for (let number = 1; number <= 40; number += 1) {
      const journal = await journalOf(store, `t.${number}`)
      const config = configOf(`t.${number}`)
      expect(verifyReplay(journal, config).effects).toBeGreaterThan(2)
      const machine = replay(journal, config)
      // Without the end of the goal's turn, which the log adds.
      expect(history.slice(0, machine.history.length)).toEqual(machine.history)
      expect(resume(journal, config).messages).toEqual(machine.messages)
    }
  })

  test("is refused without its log where the history is needed, and otherwise read", async () => {
    const { store } = await played(3)
    const whole = journalOutline(await journalOf(store, "t.3"))
    await store.delete("t.thread")
    const journal = await journalOf(store, "t.3")
    expect(journalOutline(journal)).toEqual(whole)
    const missing = expect.objectContaining({ code: "missing_log", message: expect.stringContaining('"t.thread"') })
    for (const use of [
      () => replay(journal, configOf("t.3")),
      () => resume(journal, configOf("t.3")),
      () => verifyReplay(journal, configOf("t.3")),
      () => fork(journal, 2, undefined, { turnId: "f" }),
    ])
      expect(use).toThrow(missing)
    const opened = await TurnJournal.open(store, "t.3")
    await expect(opened.resume(configOf("t.3"))).rejects.toEqual(missing)
    await opened.close()
    expect(compareJournals(journal, journal).header).toEqual([])
  })

  test.each([
    ["a changed record", (records: readonly ThreadRecord[]) => records.map((record, index) => (index === 1 ? { ...record, at: 1 } : record))],
    ["a missing record", (records: readonly ThreadRecord[]) => records.filter((_record, index) => index !== 2)],
    ["too few records", (records: readonly ThreadRecord[]) => records.slice(0, 4)],
  ])("is refused with another log: %s", async (_what, change) => {
    const { store } = await played(3)
    const writer = new JournalWriter<ThreadRecord>()
    const changed = change(await recordsOf(store, "t.thread")).map((record) => writer.line(record))
    await rewrite(store, "t.thread", changed.join(""))
    const opened = await TurnJournal.open(store, "t.3")
    await expect(opened.resume(configOf("t.3"))).rejects.toMatchObject({ name: "JournalError", code: "changed_log" })
    await opened.close()
    expect(() => replay(opened.recorded as Journal, configOf("t.3"))).toThrow(expect.objectContaining({ code: "missing_log" }))
  })

  test.each([
    ["a message that was not said", { said: [0] }],
    ["an answer that no message has", { answered: true, records: [] }],
  ])("a log that leaves out what it does not have is damaged: %s", async (_what, change) => {
    const { store } = await played(3)
    const writer = new JournalWriter<ThreadRecord>()
    const records = (await recordsOf(store, "t.thread")).map((record) =>
      record.type === "turn_ended" ? ({ ...record, ...change } as ThreadRecord) : record,
    )
    await rewrite(store, "t.thread", records.map((record) => writer.line(record)).join(""))
    await expect(Thread.open(store, "t", OPTIONS)).rejects.toMatchObject({ code: "damaged_record", record: 4 })
  })

  test("belongs to the log that the thread had then: later records, also damaged ones, do not matter", async () => {
    const { store } = await played(3)
    const text = (await readText(store, "t.thread")) ?? ""
    await rewrite(store, "t.thread", `${text.slice(0, -40)}damaged\n`)
    expect(verifyReplay(await journalOf(store, "t.2"), configOf("t.2")).outcome?.type).toBe("finished")
    await expect(Thread.open(store, "t", OPTIONS)).rejects.toMatchObject({ code: "damaged_record" })
  })

  test("is forked as a journal of its own, which needs no log", async () => {
    const { store } = await played(3)
    const journal = await journalOf(store, "t.3")
    const text = fork(journal, 3, undefined, { turnId: "f", validation: journalValidation })
    const forked = readJournal(text, journalValidation)
    expect(forked.header.base).toBeUndefined()
    expect(forked.header.start.messages).toHaveLength(5)
    expect(resume(forked, configOf("t.3")).messages.slice(0, 5)).toEqual(replay(journal, configOf("t.3")).messages.slice(0, 5))
  })

  test("is resumed from a snapshot after a crash, by the thread, by itself, and read while it is open", async () => {
    const store = memoryJournalStore()
    const options = { ...OPTIONS, snapshotEveryRecords: 1 }
    const first = await Thread.open(store, "t", options)
    await playTurns(first, longHost(), 2)
    await first.say("Look.")
    const host = longHost(true)
    let asked = 0
    let stop = () => {}
    const stopped = new Promise<void>((resolve) => (stop = resolve))
    void runThread(first, {
      ...host,
      async llmCall(...given) {
        asked += 1
        if (asked < 2) return host.llmCall(...given)
        stop()
        return new Promise<never>(() => {})
      },
    })
    await stopped
    const seen = await snapshotThread(store, "t", options)
    expect(seen?.history.length).toBeGreaterThan(6)
    const own = await TurnJournal.open(store, "t.3", { takeOver: true })
    const machine = await own.resume(configOf("t.3", options))
    expect(machine.outstanding?.type).toBe("llm_call")
    expect(machine.messages.slice(0, 4).map(({ id }) => id)).toEqual(
      first.history.flatMap((record) => (record.type === "conversation" ? [record.message.id] : [])).slice(0, 4),
    )
    await own.close()
    const second = await Thread.open(store, "t", options)
    await runThread(second, longHost())
    expect(second.lastTurn).toMatchObject({ turnId: "t.3", outcome: { type: "finished" } })
    await second.close()
    expect(verifyReplay(await journalOf(store, "t.3"), configOf("t.3", options)).outcome?.type).toBe("finished")
  })
})
