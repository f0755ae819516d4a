import { expect, test } from "vitest"
import type { Host } from "../../../src/hosts/host.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { JournalStore } from "../../../src/hosts/journal/store.ts"
import { judgeName, logName } from "../../../src/hosts/journal/thread-names.ts"
import { snapshotThread } from "../../../src/hosts/thread/snapshot.ts"
import { type InputReceipt, runThread, Thread } from "../../../src/hosts/thread/thread.ts"
import { compareJournals } from "../../../src/replay/compare.ts"
import { type Journal, JournalWriter, readJournal } from "../../../src/replay/journal.ts"
import { Recorder } from "../../../src/replay/recorder.ts"
import { CONFIG, START } from "../../replay/support.ts"

// Ids that come from outside may look like those that a thread makes.

const USAGE = { inputTokens: 5, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }
const says = (text: string) => ({ text, parts: [], usage: USAGE, terminalReason: "stop" }) as const
const texts = (thread: Thread): readonly string[] =>
  thread.history.flatMap((record) =>
    record.type === "conversation" && record.message.role === "user" ? record.message.parts.map((part) => ("text" in part ? part.text : "")) : [],
  )

test("threads whose ids begin alike do not share a journal", async () => {
  const store = memoryJournalStore()
  const ids = ["a", "a.1", "a.1.1", "a.thread", "a.judge", "a.thread.thread", "1", "", "a:1", "a%3A1"]
  const names = ids.flatMap((id) => [logName(id), judgeName(id), `${id}.1`, `${id}.2`])
  expect(new Set(names).size).toBe(names.length)
  for (const id of ids) {
    const thread = await Thread.open(store, id, { config: CONFIG })
    await thread.say(`I am ${id}.`)
    await runThread(thread, { llmCall: async () => says("Hello.") })
    await thread.close()
  }
  for (const id of ids) {
    const thread = await Thread.open(store, id, { config: CONFIG })
    expect([thread.threadId, texts(thread), thread.turns]).toEqual([id, [`I am ${id}.`], 1])
    await thread.close()
  }
})

test("a message of the host with the id of a user message does not take its place", async () => {
  const store = memoryJournalStore()
  const thread = await Thread.open(store, "t", { config: CONFIG })
  await thread.say("First.")
  let delivered = false
  const host: Host = {
    async llmCall() {
      // Before the host's own message is delivered, so that both have the same id.
      if (texts(thread).length === 1) await thread.say("Second.")
      return says("Hello.")
    },
    async checkpoint() {
      if (delivered) return undefined
      delivered = true
      return { userMessages: [{ id: "user-2", role: "user", parts: [{ id: "x", type: "text", text: "From the host." }] }] }
    },
  }
  await runThread(thread, host)
  expect([...texts(thread)].sort()).toEqual(["First.", "From the host.", "Second."])
  await thread.close()
  const again = await Thread.open(store, "t", { config: CONFIG })
  expect([...texts(again)].sort()).toEqual(["First.", "From the host.", "Second."])
})

test("an input does not get the id of a message of the host that the running turn has", async () => {
  const thread = await Thread.open(memoryJournalStore(), "t", { config: CONFIG, goals: false })
  await thread.say("First.")
  const own = { id: "user-2", role: "user", parts: [{ id: "x", type: "text", text: "From the host." }] } as const
  const receipts: InputReceipt[] = []
  let calls = 0
  const host: Host = {
    async llmCall() {
      calls += 1
      if (calls === 2) receipts.push(await thread.say("Second."))
      return says("Hello.")
    },
    checkpoint: async () => (calls === 1 ? { userMessages: [own] } : undefined),
  }
  await runThread(thread, host)
  expect(receipts).toEqual([{ inputId: "user-3", status: "queued" }])
  expect(texts(thread)).toEqual(["First.", "From the host.", "Second."])
  await thread.close()
})

test("a thread whose id looks like the child of another one's turn is left alone by it", async () => {
  const store = memoryJournalStore()
  const [id, other] = ["t", "t.1.child-2-x"]
  const pay = { name: "pay", description: "Pays.", inputSchema: { type: "object" } }
  const options = { config: { ...CONFIG, tools: [pay] }, goals: false, retain: "log", approvals: () => ({ hold: {} }) } as const
  const asks: Host = {
    llmCall: async () => ({ ...says(""), parts: [{ type: "tool_call", callId: "c", toolName: "pay", inputJson: "{}" }], terminalReason: "tool_use" }),
  }
  const theirs = await Thread.open(store, other, options)
  await theirs.say("Hello.")
  await runThread(theirs, { llmCall: async () => says("Hello.") })
  await theirs.say("Pay.")
  await runThread(theirs, asks, { suspend: true })
  await theirs.close()

  const thread = await Thread.open(store, id, options)
  for (const text of ["Pay.", "Pay again.", "And again."]) {
    await thread.say(text)
    const rest = await runThread(thread, asks, { suspend: true })
    expect(rest).toMatchObject({ type: "suspended", held: [{ toolName: "pay" }] })
    expect(rest).not.toHaveProperty("children")
    expect(await thread.suspendedChildren()).toEqual([])
    expect(await thread.pendingApprovals()).not.toHaveProperty("children")
    thread.interrupt()
    await runThread(thread, asks, { suspend: true })
  }
  await thread.close()
  const names: string[] = []
  for await (const name of store.list()) names.push(name)
  expect(names).toEqual([`${other}.1`, `${other}.2`, `${other}.thread`, "t.3", "t.thread"])
})

test("a command of the host at the same time as a user's command does not settle it", async () => {
  const store = memoryJournalStore()
  let at = 1_000
  const thread = await Thread.open(store, "t", { config: CONFIG, now: () => at })
  await thread.command({ type: "set", objective: "Count.", tokenBudget: 1_000 })
  const command = { type: "command", at: 6_000, command: { type: "set", tokenBudget: 900 } } as const
  const message = { id: "m", role: "user", parts: [{ id: "m.p0", type: "text", text: "Go on." }] } as const
  let calls = 0
  const host: Host = {
    async llmCall() {
      calls += 1
      at = 6_000
      if (calls === 2) await thread.command({ type: "pause" })
      return says("Hello.")
    },
    checkpoint: async () => (calls === 1 ? { userMessages: [message], events: [{ type: "goal_input", threadId: "t", input: command }] } : undefined),
  }
  await runThread(thread, host, { maxWaitMs: 1 })
  // The brakes would pause it later.
  expect([thread.goal?.status, calls]).toEqual(["paused", 2])
  expect((await snapshotThread(store, "t", undefined))?.commands).toEqual([])
})

test("a record of the host without an object as its event is left alone", async () => {
  const store: JournalStore = memoryJournalStore()
  const thread = await Thread.open(store, "t", { config: CONFIG })
  await thread.command({ type: "set", objective: "Count.", tokenBudget: 1 })
  await thread.note(
    [],
    [
      { type: "protocol", event: null },
      { type: "protocol", event: "goal_input" },
      { type: "protocol", event: 5 },
    ],
  )
  await thread.say("Go.")
  await runThread(thread, { llmCall: async () => says("Hello.") })
  expect(thread.goal?.status).toBe("budget_limited")
})

test("journals with call ids like those that a comparison could make are compared by their results", () => {
  const journalOf = (callIds: readonly string[]): Journal => {
    const { line } = Recorder.begin(CONFIG, START, "t")
    const results = callIds.map(
      (callId) => ({ callId, toolName: "count", args: {}, output: { status: "success", value: 1 }, durationMs: 1 }) as const,
    )
    return readJournal(line + new JournalWriter(readJournal(line)).line({ type: "tool_results", id: 1, results }))
  }
  expect(compareJournals(journalOf(["a", "a"]), journalOf(["a", "a\0again"])).parting).toMatchObject({ type: "length" })
  expect(compareJournals(journalOf(["a", "a"]), journalOf(["a", "1 a"])).parting).toMatchObject({ type: "length" })
  expect(compareJournals(journalOf(["a", "a", "b"]), journalOf(["b", "a", "a"])).parting).toBeUndefined()
})
