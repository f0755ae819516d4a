import { expect, test } from "vitest"
import { journalValidation } from "../../src/checks/records.ts"
import { ForkError } from "../../src/errors.ts"
import { fork } from "../../src/replay/fork.ts"
import { compacted, type Journal, JournalWriter, readJournal } from "../../src/replay/journal.ts"
import { Recorder } from "../../src/replay/recorder.ts"
import { replay, resume } from "../../src/replay/replay.ts"
import type { Response } from "../../src/schemas/response.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { CONFIG, journalOf, recordTurn, START } from "./support.ts"

// Records of a turn with one call: 1 header, 2 model, 3 tools, 4 checkpoint, 5 model, 6 checkpoint, 7 end.
const USAGE = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }

function says(id: number, text: string): Response {
  return { type: "llm_complete", id, result: { ok: true, response: { text, parts: [], usage: USAGE, terminalReason: "stop" } } }
}

function codeOf(act: () => unknown): readonly [string, number] {
  try {
    act()
  } catch (error) {
    if (error instanceof ForkError) return [error.code, error.record]
    throw error
  }
  throw new Error("It was forked")
}

function forked(journal: Journal, at: number, answer?: Response): Journal {
  return readJournal(fork(journal, at, answer, { turnId: "turn-2", validation: journalValidation }), journalValidation)
}

test("a fork has another answer from the given record on", () => {
  const journal = forked(journalOf(1), 2, says(1, "Four."))
  expect(journal.header).toMatchObject({ turnId: "turn-2", forkedFrom: { turnId: "turn-1", record: 2 } })
  expect(journal.entries.map(({ number, record }) => [number, record.type])).toEqual([[2, "llm_complete"]])

  // The new answer is for the same effect, so the fork can be replayed and resumed.
  expect(journal.entries[0]?.fingerprint).toBe(journalOf(1).entries[0]?.fingerprint)
  expect(replay(journal, CONFIG).outstanding).toMatchObject({ type: "checkpoint", id: 2, checkpoint: "before_completion" })
  const machine = resume(journal, CONFIG)
  while (machine.poll() !== undefined);
  machine.handle({ type: "checkpoint_delivery", id: 2, delivery: {} })
  expect(machine.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Four." } })
})

test("without an answer, a fork is the journal before the record, of any type", () => {
  const { text } = recordTurn(1)
  for (const at of [2, 5, 7, 8]) {
    const journal = forked(readJournal(text), at)
    expect(journal.entries).toHaveLength(at - 2)
    expect(journal.entries.map(({ record }) => record)).toEqual(
      journalOf(1)
        .entries.slice(0, at - 2)
        .map(({ record }) => record),
    )
  }
  expect(replay(forked(readJournal(text), 5), CONFIG).outstanding).toMatchObject({ type: "llm_call", id: 4 })
})

test("snapshots, openings, effects and started calls before the record are copied", () => {
  const machine = new TurnMachine(CONFIG, START)
  const { recorder, line } = Recorder.begin(CONFIG, START, "turn-1", { keepEffects: true })
  const call = { type: "tool_call", callId: "c", toolName: "count", inputJson: "{}" } as const
  const asks: Response = {
    type: "llm_complete",
    id: 1,
    result: { ok: true, response: { text: "", parts: [call], usage: USAGE, terminalReason: "tool_use" } },
  }
  while (machine.poll() !== undefined);
  let text = line + recorder.response(machine, asks)
  machine.handle(asks)
  while (machine.poll() !== undefined);
  const counted = (value: string): Response => ({
    type: "tool_results",
    id: 2,
    results: [{ callId: "c", toolName: "count", args: {}, output: { status: "success", value }, durationMs: 0 }],
  })
  text += recorder.snapshot(machine) + recorder.opened(5) + recorder.callStarted(2, "c") + recorder.response(machine, counted("one"))
  expect(forked(readJournal(text), 8, counted("two")).entries.map(({ record }) => record.type)).toEqual([
    "effect",
    "llm_complete",
    "snapshot",
    "opened",
    "call_started",
    "effect",
    "tool_results",
  ])
  expect(forked(readJournal(text), 8, counted("two")).entries.at(-1)?.record).toEqual(counted("two"))

  // Results of another call do not match.
  const other: Response = { ...counted("two"), results: [{ ...(counted("two") as never as { results: [object] }).results[0], callId: "d" }] } as never
  expect(codeOf(() => forked(readJournal(text), 8, other))).toEqual(["answers_another_effect", 8])
})

test("a compacted journal is forked after its snapshot, with the original record numbers", () => {
  // The last snapshot is record 12; it is followed by the answers to the model call 10 and the checkpoint 11, and the end.
  const whole = readJournal(recordTurn(3, { snapshotEveryRecords: 5 }).text)
  const journal = readJournal(compacted(whole))
  expect(journal.entries.map(({ number, record }) => [number, record.type])).toEqual([
    [12, "snapshot"],
    [13, "llm_complete"],
    [14, "checkpoint_delivery"],
    [15, "end"],
  ])
  const other = forked(journal, 13, says(10, "Else."))
  expect(other.header).toMatchObject({ dropped: 10, forkedFrom: { record: 13 } })
  expect(replay(other, CONFIG).outstanding).toMatchObject({ id: 11, checkpoint: "before_completion" })
  expect(codeOf(() => forked(journal, 2))).toEqual(["no_such_record", 2])
  expect(codeOf(() => forked(journal, 12))).toEqual(["no_such_record", 12])
})

test.each<readonly [string, number, Response | undefined, string]>([
  ["the header", 1, undefined, "no_such_record"],
  ["a record after the end", 9, undefined, "no_such_record"],
  ["an answer after the end", 8, says(4, ""), "no_such_record"],
  ["a record before the beginning", 0, says(1, ""), "no_such_record"],
  ["the end, answered", 7, says(4, ""), "not_a_response"],
  ["an answer of another type", 3, says(2, ""), "answers_another_effect"],
  ["an answer of another id", 2, says(4, ""), "answers_another_effect"],
  ["nonsense", 2, { type: "llm_complete", id: 1 } as never, "invalid_answer"],
  ["an unknown key", 2, { ...says(1, ""), more: 1 } as never, "invalid_answer"],
])("%s is refused", (_what, at, answer, code) => {
  expect(codeOf(() => forked(journalOf(1), at, answer))).toEqual([code, at])
})

test("the new turn needs an id of its own", () => {
  expect(codeOf(() => fork(journalOf(1), 2, undefined, { turnId: "turn-1" }))).toEqual(["turn_id_in_use", 2])
})

test("without validation, an answer is used unchecked", () => {
  const { header, entries } = readJournal(fork(journalOf(1), 2, says(1, "Four."), { turnId: "turn-2" }))
  const writer = new JournalWriter()
  expect(writer.line(header) + writer.line(says(1, "Four."), entries[0]?.fingerprint)).toBe(
    fork(journalOf(1), 2, says(1, "Four."), { turnId: "turn-2" }),
  )
})
