import { expect, test } from "vitest"
import type { TurnConfig } from "../../src/machine/config.ts"
import { compareJournals } from "../../src/replay/compare.ts"
import { fork } from "../../src/replay/fork.ts"
import { compacted, type Journal, readJournal } from "../../src/replay/journal.ts"
import { Recorder, type RecorderOptions } from "../../src/replay/recorder.ts"
import type { Response } from "../../src/schemas/response.ts"
import type { CompletedToolCall } from "../../src/schemas/tool.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { CONFIG, journalOf, recordTurn, START } from "./support.ts"

const USAGE = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
const ALIKE = { header: [], parting: undefined, fromEffect: 1 }

const call = (callId: string) => ({ type: "tool_call", callId, toolName: "count", inputJson: "{}" }) as const
const result = (callId: string, value: string, durationMs = 0): CompletedToolCall => ({
  callId,
  toolName: "count",
  args: {},
  output: { status: "success", value },
  durationMs,
})

/** A model that requests two calls at once, and their results in order of arrival. */
function batchOf(...results: readonly (readonly CompletedToolCall[])[]): Journal {
  const machine = new TurnMachine(CONFIG, START)
  const { recorder, line } = Recorder.begin(CONFIG, START, "turn-1")
  const response = { text: "", parts: [call("c"), call("d")], usage: USAGE, terminalReason: "tool_use" } as const
  const responses: Response[] = [
    { type: "llm_complete", id: 1, result: { ok: true, response } },
    ...results.map((part): Response => ({ type: "tool_results", id: 2, results: part })),
  ]
  let text = line
  for (const answer of responses) {
    while (machine.poll() !== undefined);
    text += recorder.response(machine, answer)
    machine.handle(answer)
  }
  return readJournal(text)
}

function recorded(options: RecorderOptions, config: TurnConfig = CONFIG): Journal {
  return readJournal(recordTurn(2, options, config).text)
}

test("journals of equal turns do not differ, whichever process wrote them and when", () => {
  // Three model calls, two batches of one call, three checkpoints.
  expect(compareJournals(recorded({}), recorded({ keepEffects: true, snapshotEveryRecords: 2 }))).toEqual({ ...ALIKE, alike: 8 })
  const machine = new TurnMachine(CONFIG, START)
  const { recorder, line } = Recorder.begin(CONFIG, START, "other", { at: 7, meta: { mine: true } })
  const lines = [line, recorder.opened(8), recorder.callStarted(1, "c", 9)]
  while (machine.poll() !== undefined);
  const answer: Response = {
    type: "llm_complete",
    id: 1,
    at: 10,
    result: { ok: true, response: { text: "", parts: [call("c")], usage: USAGE, terminalReason: "tool_use" } },
  }
  lines.push(recorder.response(machine, answer))
  const { at: _, ...untimed } = answer
  const plain = Recorder.begin(CONFIG, START, "turn-1")
  expect(compareJournals(readJournal(lines.join("")), readJournal(plain.line + plain.recorder.response(machine, untimed)))).toEqual({
    ...ALIKE,
    alike: 1,
  })
})

test("results of a batch are equal in any order, in any parts and with any durations", () => {
  const whole = batchOf([result("c", "one"), result("d", "two")])
  expect(compareJournals(whole, batchOf([result("d", "two", 9)], [result("c", "one", 8)]))).toEqual({ ...ALIKE, alike: 3 })
})

test("a different result is located in both journals", () => {
  const { parting, alike } = compareJournals(batchOf([result("c", "one"), result("d", "two")]), batchOf([result("d", "three")], [result("c", "one")]))
  expect(alike).toBe(2)
  expect(parting).toMatchObject({ type: "answered", first: { number: 3 }, second: { number: 3 } })
  expect(parting?.differences).toEqual([{ path: "/results/1/output/value", expected: "two", received: "three" }])
})

test("a result that only one journal has is a difference in length", () => {
  const { parting, alike } = compareJournals(batchOf([result("c", "one")], [result("d", "two")]), batchOf([result("c", "one")]))
  expect(alike).toBe(2)
  expect(parting).toMatchObject({ type: "length", first: { number: 4 }, second: undefined, differences: [] })
})

test("a fork differs from its journal at the record with another answer", () => {
  const other: Response = {
    type: "llm_complete",
    id: 4,
    result: { ok: true, response: { text: "Four.", parts: [], usage: USAGE, terminalReason: "stop" } },
  }
  const { header, parting, alike } = compareJournals(journalOf(2), readJournal(fork(journalOf(2), 5, other, { turnId: "turn-2" })))
  expect({ header, alike }).toEqual({ header: [], alike: 3 })
  expect(parting).toMatchObject({ type: "answered", first: { number: 5 }, second: { number: 5 } })
  expect(parting?.differences).toContainEqual({ path: "/result/response/text", expected: "", received: "Four." })
})

test("different effects are distinguished from different answers", () => {
  const changed: TurnConfig = { ...CONFIG, systemPrompt: "You guess.", model: "n" }
  const { header, parting } = compareJournals(recorded({}), recorded({}, changed))
  expect(header.map(({ path }) => path)).toEqual(["/config/model", "/surface/systemPrompt"])
  expect(header.at(-1)).toEqual({ path: "/surface/systemPrompt", expected: "You count.", received: "You guess." })
  expect(parting).toMatchObject({ type: "asked", first: { number: 2 }, second: { number: 2 }, differences: [] })

  const found = compareJournals(recorded({ keepEffects: true }), recorded({ keepEffects: true }, changed)).parting?.differences
  expect(found).toContainEqual({ path: "/request/model", expected: "m", received: "n" })
})

test("a different end counts as a different answer", () => {
  const machine = new TurnMachine(CONFIG, START)
  const ended = (reason: string): Journal => {
    const { recorder, line } = Recorder.begin(CONFIG, START, "turn-1")
    return readJournal(line + recorder.command(machine, { type: "cancel", reason }))
  }
  expect(compareJournals(ended("late"), ended("later")).parting?.differences).toEqual([
    { path: "/interruption/reason", expected: "late", received: "later" },
  ])
})

test("after a compaction, the effects that both journals answer are compared", () => {
  const whole = recorded({ snapshotEveryRecords: 4 })
  const short = readJournal(compacted(whole))
  // The last snapshot follows the answer to effect 7.
  expect(compareJournals(whole, short)).toEqual({ ...ALIKE, fromEffect: 8, alike: 1 })
  expect(compareJournals(short, whole)).toEqual({ ...ALIKE, fromEffect: 8, alike: 1 })
})

test("how long a model call took is not a difference", () => {
  const { header, entries } = recorded({})
  const timed = entries.map((entry) => {
    const { record } = entry
    if (record.type !== "llm_complete" || !record.result.ok) return entry
    return { ...entry, record: { ...record, result: { ...record.result, response: { ...record.result.response, durationMs: 7 } } } }
  })
  expect(compareJournals(recorded({}), { ...recorded({}), header, entries: timed })).toEqual({ ...ALIKE, alike: 8 })
})
