import { expect, test } from "vitest"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import { compacted, type Journal, JournalWriter, readJournal } from "../../src/replay/journal.ts"
import { Recorder } from "../../src/replay/recorder.ts"
import { replay } from "../../src/replay/replay.ts"
import { verifyReplay } from "../../src/replay/verify.ts"
import type { TurnStart } from "../../src/schemas/config.ts"
import type { JournalRecord } from "../../src/schemas/journal.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { answerOf, CONFIG, divergenceOf, journalOf, recordTurn, START } from "./support.ts"

function pollAll(machine: TurnMachine): void {
  while (machine.poll() !== undefined);
}

/** The same journal with other records in it. */
function rewritten(journal: Journal, change: (record: JournalRecord, number: number) => JournalRecord): Journal {
  const writer = new JournalWriter()
  const lines = journal.entries.map(
    ({ number, record, fingerprint }) =>
      () =>
        writer.line(change(record, number), fingerprint),
  )
  return readJournal(writer.line(journal.header) + lines.map((line) => line()).join(""))
}

/** Two tool calls, then text: eight effects, with a snapshot before the answer to each. */
function journalWithSnapshots(...before: readonly number[]): Journal {
  const machine = new TurnMachine(CONFIG, START)
  const { recorder, line } = Recorder.begin(CONFIG, START, "t")
  let text = line
  for (;;) {
    pollAll(machine)
    if (machine.outstanding === undefined) break
    if (before.includes(machine.outstanding.id)) text += recorder.snapshot(machine)
    const response = answerOf(machine.outstanding, machine.iteration, 2)
    text += recorder.response(machine, response)
    machine.handle(response)
  }
  return readJournal(text + recorder.end(machine))
}

const DONE = { type: "finished", finish: { type: "assistant_message", text: "Done." } }

test("reports what was compared and how the turn ended", () => {
  // Two calls: model, tools, checkpoint, twice; then model and checkpoint.
  expect(verifyReplay(journalWithSnapshots(4, 8), CONFIG)).toEqual({
    records: 12,
    skippedRecords: 0,
    effects: 8,
    snapshots: 2,
    iterations: 3,
    outcome: DONE,
  })
})

test("an unfinished turn does not have an outcome, and without answers there is nothing to compare", () => {
  const lines = recordTurn(2).text.split("\n")
  const cut = (count: number): Journal => readJournal(`${lines.slice(0, count).join("\n")}\n`)
  expect(verifyReplay(cut(5), CONFIG)).toEqual({ records: 5, skippedRecords: 0, effects: 4, snapshots: 0, iterations: 2, outcome: undefined })
  expect(verifyReplay(cut(1), CONFIG)).toEqual({ records: 1, skippedRecords: 0, effects: 0, snapshots: 0, iterations: 0, outcome: undefined })
})

const driver = CONFIG.driver
const changedDriver: ProtocolDriver = { ...driver, version: 2 }
test.each<readonly [string, Partial<TurnConfig>, readonly string[]]>([
  ["the driver's name", { driver: { ...driver, name: "mine" } }, ["/driver/name"]],
  ["the driver's version", { driver: changedDriver }, ["/driver/version"]],
  ["the prompt", { systemPrompt: "You guess." }, ["/config/systemPrompt"]],
  ["the tools", { tools: [...CONFIG.tools, { name: "add", description: "Adds.", inputSchema: {} }] }, ["/config/tools/1"]],
  ["the model", { model: "n" }, ["/config/model"]],
])("a change of %s is detected and named", (_what, change, paths) => {
  const error = divergenceOf(() => verifyReplay(journalOf(1), { ...CONFIG, ...change }))
  expect(error).toMatchObject({ code: "configuration_differs", record: 1 })
  expect(error.differences.map(({ path }) => path)).toEqual(paths)
})

const projector: TurnConfig["projector"] = (input) => ({ ...CONFIG.projector(input), toolChoice: "required" })

test("a changed projector is detected at the first effect, and named if effects are recorded", () => {
  expect(divergenceOf(() => verifyReplay(journalOf(1), { ...CONFIG, projector }))).toMatchObject({ code: "effect_differs", record: 2, effectId: 1 })
  expect(divergenceOf(() => verifyReplay(journalOf(1, { keepEffects: true }), { ...CONFIG, projector })).differences).toEqual([
    { path: "/request/toolChoice", expected: "auto", received: "required" },
  ])
})

test("a driver with other effects under the same name and version is detected at its first one", () => {
  const eager: ProtocolDriver = {
    ...driver,
    onToolResults: () => [{ type: "start_checkpoint", checkpoint: "before_completion", onEmpty: { type: "prepare_iteration" } }],
  }
  expect(divergenceOf(() => verifyReplay(journalOf(1), { ...CONFIG, driver: eager }))).toMatchObject({
    code: "effect_differs",
    record: 4,
    effectId: 3,
  })
})

test("a changed configuration may be accepted if its effects are the same, snapshots included", () => {
  const journal = journalWithSnapshots(4, 8)
  expect(verifyReplay(journal, { ...CONFIG, maxIterations: 9, driver: changedDriver }, { checkConfig: false })).toMatchObject({ snapshots: 2 })
  expect(divergenceOf(() => verifyReplay(journal, { ...CONFIG, model: "n" }, { checkConfig: false })).code).toBe("effect_differs")
})

test("a snapshot that differs from the turn at that point is detected, with the differences", () => {
  const journal = rewritten(journalWithSnapshots(4, 8), (record, number) => {
    if (record.type !== "snapshot" || number !== 10) return record
    return { ...record, checkpoint: { ...record.checkpoint, usage: { ...record.checkpoint.usage, outputTokens: 7 } } }
  })
  const error = divergenceOf(() => verifyReplay(journal, CONFIG))
  expect(error).toMatchObject({ code: "snapshot_differs", record: 10, effectId: undefined })
  // Three answers of two tokens each.
  expect(error.differences).toEqual([{ path: "/usage/outputTokens", expected: 7, received: 6 }])
  expect(replay(journal, CONFIG).done).toBe(true)
})

test("a driver that appends other records is detected at a snapshot, although its effects are the same", () => {
  const noting: ProtocolDriver = {
    ...driver,
    onToolResults: (context, results) => [
      { type: "append_events", events: [{ type: "protocol", event: "seen" }] },
      ...driver.onToolResults(context, results),
    ],
  }
  const error = divergenceOf(() => verifyReplay(journalWithSnapshots(4, 8), { ...CONFIG, driver: noting }))
  expect(error).toMatchObject({ code: "snapshot_differs", record: 5 })
  expect(error.differences[0]).toMatchObject({ path: "/events/1/type", expected: "conversation", received: "protocol" })
})

/** Plays three answers, with a snapshot after so many polls before each of them. */
function snapshotAfter(polls: number, start: TurnStart = START): Journal {
  const machine = new TurnMachine(CONFIG, start)
  const { recorder, line } = Recorder.begin(CONFIG, start, "t")
  let text = line
  for (let count = 0; count < 3; count += 1) {
    for (let poll = 0; poll < polls; poll += 1) machine.poll()
    text += recorder.snapshot(machine)
    pollAll(machine)
    if (machine.outstanding === undefined) break
    const response = answerOf(machine.outstanding, machine.iteration, 1)
    text += recorder.response(machine, response)
    machine.handle(response)
  }
  return readJournal(text + recorder.snapshot(machine))
}

test.each([0, 1, 2, 3, 9])("a snapshot taken after %i polls is the replayed turn, whichever effects were not polled yet", (polls) => {
  expect(verifyReplay(snapshotAfter(polls), CONFIG)).toMatchObject({ effects: 3, snapshots: 4 })
})

test("a turn cancelled after a snapshot from before the driver was called ends the same", () => {
  const machine = new TurnMachine(CONFIG, START)
  const { recorder, line } = Recorder.begin(CONFIG, START, "t")
  let text = line + recorder.snapshot(machine) + recorder.command(machine, { type: "cancel" })
  machine.cancel()
  text += recorder.snapshot(machine) + recorder.end(machine)
  expect(verifyReplay(readJournal(text), CONFIG)).toMatchObject({ snapshots: 2, outcome: { type: "stopped", stop: { type: "cancelled" } } })
  expect(replay(readJournal(text), CONFIG).checkpoint().nextEffectId).toBe(1)
})

test("messages that were one object in memory during recording are equal after reading", () => {
  const { messages } = START
  const start: TurnStart = { messages, events: messages.map((message) => ({ type: "conversation", message })) }
  expect(verifyReplay(snapshotAfter(9, start), CONFIG)).toMatchObject({ snapshots: 4 })
})

test("a batch answered in parts is one effect; refused and stale answers change nothing", () => {
  const machine = new TurnMachine(CONFIG, START)
  const { recorder, line } = Recorder.begin(CONFIG, START, "t")
  const usage = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
  const parts = ["a", "b"].map((callId) => ({ type: "tool_call", callId, toolName: "count", inputJson: "{}" }) as const)
  const asked = { type: "llm_complete", id: 1, result: { ok: true, response: { text: "", parts, usage, terminalReason: "tool_use" } } } as const
  const result = (callId: string) =>
    ({
      type: "tool_results",
      id: 2,
      results: [{ callId, toolName: "count", args: {}, output: { status: "success", value: 1 }, durationMs: 1 }],
    }) as const
  let text = line
  for (const response of [
    asked,
    asked,
    result("b"),
    result("b"),
    result("unrequested"),
    { type: "checkpoint_delivery", id: 99, delivery: {} } as const,
    result("a"),
  ]) {
    pollAll(machine)
    text += recorder.response(machine, response)
    try {
      machine.handle(response)
    } catch {
      // Refused, but recorded.
    }
  }
  pollAll(machine)
  text += recorder.snapshot(machine)
  expect(machine.state).toBe("waiting_checkpoint")
  expect(verifyReplay(readJournal(text), CONFIG)).toEqual({
    records: 9,
    skippedRecords: 0,
    effects: 2,
    snapshots: 1,
    iterations: 1,
    outcome: undefined,
  })
})

test("an answer to an effect that is not outstanding is detected", () => {
  const writer = new JournalWriter()
  const text = writer.line(journalOf(0).header) + writer.line({ type: "checkpoint_delivery", id: 1, delivery: {} })
  expect(divergenceOf(() => verifyReplay(readJournal(text), CONFIG))).toMatchObject({ code: "effect_differs", record: 2, effectId: 1 })
})

test("an interruption of another effect than the outstanding one is detected", () => {
  const machine = new TurnMachine(CONFIG, START)
  const { recorder, line } = Recorder.begin(CONFIG, START, "t")
  pollAll(machine)
  const text = line + recorder.command(machine, { type: "cancel" })
  expect(verifyReplay(readJournal(text), CONFIG).outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
  const other = rewritten(readJournal(text), (record) => (record.type === "interruption" ? { ...record, effectId: 5 } : record))
  expect(divergenceOf(() => verifyReplay(other, CONFIG))).toMatchObject({
    code: "effect_differs",
    record: 2,
    effectId: 5,
    differences: [{ path: "/effectId", expected: 5, received: 1 }],
  })
})

test("recorded effects are compared with the answers after them, and not again at the end", () => {
  expect(verifyReplay(journalOf(1, { keepEffects: true }), CONFIG)).toMatchObject({ effects: 5, outcome: DONE })
})

test("a recorded effect without an answer is compared too", () => {
  const lines = recordTurn(1, { keepEffects: true }).text.split("\n")
  const journal = readJournal(`${lines.slice(0, 2).join("\n")}\n`)
  expect(verifyReplay(journal, CONFIG)).toMatchObject({ records: 2, effects: 0 })
  const error = divergenceOf(() => verifyReplay(journal, { ...CONFIG, projector }))
  expect(error).toMatchObject({ code: "effect_differs", record: 2, effectId: 1, differences: [{ path: "/request/toolChoice" }] })
})

test("a different outcome is detected", () => {
  const journal = rewritten(journalOf(1), (record) =>
    record.type === "end" ? { ...record, outcome: { type: "agent_frame_switch", frameId: "f" } } : record,
  )
  expect(divergenceOf(() => verifyReplay(journal, CONFIG))).toMatchObject({ code: "outcome_differs", record: 7 })
})

test("a compacted journal is compared from its snapshot", () => {
  const text = compacted(journalWithSnapshots(4, 8))
  // The snapshot is record 10; an answer and the end follow.
  expect(verifyReplay(readJournal(text), CONFIG)).toEqual({ records: 4, skippedRecords: 0, effects: 1, snapshots: 0, iterations: 0, outcome: DONE })
})
