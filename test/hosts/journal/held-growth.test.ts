import { expect, test } from "vitest"
import { journalValidation } from "../../../src/checks/records.ts"
import type { Host } from "../../../src/hosts/host.ts"
import { journaled } from "../../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { textOf } from "../../../src/hosts/journal/parts.ts"
import { pendingApprovals } from "../../../src/hosts/journal/pending-approvals.ts"
import { TurnJournal } from "../../../src/hosts/journal/turn-journal.ts"
import { fork } from "../../../src/replay/fork.ts"
import { compacted, journalLines, readJournal } from "../../../src/replay/journal.ts"
import { resume } from "../../../src/replay/replay.ts"
import { verifyReplay } from "../../../src/replay/verify.ts"
import { type Answer, calling, decide, heldConfig, USER_START } from "../../support/held.ts"

// A turn holds a call in every iteration. What is stored of that grows by what is said, however long the transcript is.

const CONFIG = { ...heldConfig(({ toolName }): Answer => (toolName === "pay" ? "hold" : "run")), maxIterations: 1_000 }

function hostOf(iterations: number, more: Partial<Host> = {}): Host {
  return {
    llmCall: async ({ request }) => {
      const answered = request.messages.filter(({ role }) => role === "assistant").length
      return answered < iterations ? calling(`pay:p${answered}`) : calling()
    },
    tools: { effects: () => "once", call: async ({ callId }) => ({ output: { status: "success", value: `paid ${callId}` } }) },
    ...more,
  }
}

const TURN = { config: CONFIG, start: USER_START, turnId: "turn-1" }

/** One process decides at once, in every iteration. */
async function decidedAtOnce(iterations: number): Promise<string> {
  const store = memoryJournalStore()
  const host = hostOf(iterations, { decide: async (held) => held.map((call) => decide(call)) })
  await journaled(host, store, { now: () => 1_000 }).run("t", TURN)
  return textOf(await store.read("t"))
}

/** Each iteration suspends, and other processes decide and continue. */
async function decidedElsewhere(iterations: number): Promise<string> {
  const store = memoryJournalStore()
  for (let process = 0; process <= iterations; process += 1) {
    await journaled(hostOf(iterations), store, { now: () => 1_000 }).run("t", TURN, { suspend: true })
    for await (const turn of pendingApprovals(store)) {
      const journal = await TurnJournal.open(store, "t")
      if (turn.error === undefined) await journal.decide(turn.held.map((call) => decide(call)))
      await journal.close()
    }
  }
  return textOf(await store.read("t"))
}

test.each([
  ["one process", decidedAtOnce],
  ["a process for each iteration", decidedElsewhere],
])("a journal grows by what is said: %s", async (_, story) => {
  const lengths = []
  for (const iterations of [20, 40, 60]) lengths.push((await story(iterations)).length)
  const [short = 0, middle = 0, long = 0] = lengths
  expect((long - middle) / (middle - short)).toBeLessThan(1.1)
})

test("snapshots that continue others are read, verified, copied, compacted, forked and resumed as whole ones", async () => {
  const text = await decidedAtOnce(6)
  const journal = readJournal(text, journalValidation)
  const snapshots = journal.entries.filter(({ record }) => record.type === "snapshot")
  expect(snapshots.map(({ record }) => record.type === "snapshot" && record.checkpoint.messages.length)).toEqual([2, 4, 6, 8, 10, 12])
  expect(verifyReplay(journal, CONFIG)).toMatchObject({ snapshots: 6, outcome: { type: "finished" } })
  expect([...journalLines(readJournal(text))].join("")).toBe(text)
  const whole = resume(journal, CONFIG).messages
  const short = readJournal(compacted(journal), journalValidation)
  expect(resume(short, CONFIG).messages).toEqual(whole)
  expect(readJournal([...journalLines(short)].join(""), journalValidation).entries).toEqual(short.entries)
  const [, , third] = snapshots
  const forked = readJournal(fork(journal, (third?.number ?? 0) + 1, undefined, { turnId: "turn-2" }), journalValidation)
  expect(resume(forked, CONFIG).outstanding).toMatchObject({ held: [{ callId: "p2" }] })
  // Cut anywhere, as by a crash, it is a journal.
  for (const { end } of journal.entries) expect(readJournal(text.slice(0, end), journalValidation).length).toBe(end)
})

test("the policy of a later process is not asked again after a snapshot that continues another", async () => {
  const text = await decidedAtOnce(6)
  const journal = readJournal(text)
  const [, , third] = journal.entries.filter(({ record }) => record.type === "snapshot")
  const cut = readJournal(text.slice(0, third?.end))
  const denies = { ...heldConfig(() => "deny"), maxIterations: 1_000 }
  expect(resume(cut, denies).outstanding).toMatchObject({ calls: [], held: [{ callId: "p2" }] })
})
