import { expect, test } from "vitest"
import { codeDriver } from "../../src/drivers/code.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import { readJournal } from "../../src/replay/journal.ts"
import { Recorder } from "../../src/replay/recorder.ts"
import { replay, resume } from "../../src/replay/replay.ts"
import type { Effect } from "../../src/schemas/effect.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { answerOf, CONFIG, divergenceOf, journalOf, recordTurn, START } from "./support.ts"

const pollAll = (machine: { poll(): Effect | undefined }): Effect[] => {
  const effects: Effect[] = []
  for (let effect = machine.poll(); effect; effect = machine.poll()) effects.push(effect)
  return effects
}

test("a replay returns the turn at its end without performing anything", () => {
  const { text, machine } = recordTurn(3)
  const replayed = replay(readJournal(text), CONFIG)
  expect(replayed.checkpoint()).toEqual(machine.checkpoint())
  expect(replayed.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Done." } })
})

test("a replay returns the turn at any record", () => {
  const journal = journalOf(3)
  expect(replay(journal, CONFIG, { at: 1 }).outstanding).toMatchObject({ type: "llm_call", id: 1 })
  expect(replay(journal, CONFIG, { at: 2 }).outstanding).toMatchObject({ type: "tool_calls", id: 2 })
  expect(replay(journal, CONFIG, { at: 3 }).iteration).toBe(1)
})

test.each([
  ["the system prompt", { systemPrompt: "You guess." }, ["/config/systemPrompt"]],
  ["the tools", { tools: [] }, ["/config/tools/0"]],
  ["the driver", { driver: codeDriver() }, ["/driver/name"]],
  ["an option that was absent", { maxIterations: 9 }, ["/config/maxIterations"]],
])("a change of %s is detected and named", (_what, change, paths) => {
  const error = divergenceOf(() => replay(journalOf(1), { ...CONFIG, ...change } as TurnConfig))
  expect(error.code).toBe("configuration_differs")
  expect(error.differences.map(({ path }) => path)).toEqual(paths)
})

test("a change that does not affect any effect may be accepted", () => {
  expect(replay(journalOf(1), { ...CONFIG, maxIterations: 9 }, { checkConfig: false }).done).toBe(true)
})

test("a different effect is detected at its record, also without comparing the configuration", () => {
  const error = divergenceOf(() => replay(journalOf(2), { ...CONFIG, systemPrompt: "You guess." }, { checkConfig: false }))
  expect(error).toMatchObject({ code: "effect_differs", record: 2, effectId: 1 })
})

test("with recorded effects, a divergence has the paths of the differences with both values", () => {
  const { text } = recordTurn(1, { keepEffects: true })
  const error = divergenceOf(() => replay(readJournal(text), { ...CONFIG, systemPrompt: "You guess." }, { checkConfig: false }))
  expect(error.differences).toEqual([{ path: "/request/messages/0/blocks/0/text", expected: "You count.", received: "You guess." }])
})

test("a divergence has the first eight differences and their number", () => {
  const tools = Array.from({ length: 12 }, (_, index) => ({ name: `t${index}`, description: "", inputSchema: {} }))
  const { text } = recordTurn(0, { keepEffects: true }, { ...CONFIG, tools })
  const renamed = tools.map((tool) => ({ ...tool, name: `${tool.name}x` }))
  const error = divergenceOf(() => replay(readJournal(text), { ...CONFIG, tools: renamed }, { checkConfig: false }))
  expect(error.differences).toHaveLength(8)
  expect(error.differenceCount).toBe(12)
})

test("a changed projector is detected, although no digest in the header covers it", () => {
  const projector: TurnConfig["projector"] = (input) => ({ ...CONFIG.projector(input), model: "other" })
  expect(divergenceOf(() => replay(journalOf(1), { ...CONFIG, projector })).code).toBe("effect_differs")
})

test("a different outcome is detected", () => {
  const { recorder, line } = Recorder.begin(CONFIG, START, "t")
  const machine = new TurnMachine(CONFIG, START)
  pollAll(machine)
  let text = line + recorder.command(machine, { type: "cancel" })
  machine.finish({ type: "stopped", stop: { type: "incomplete" } })
  text += recorder.end(machine)
  expect(divergenceOf(() => replay(readJournal(text), CONFIG))).toMatchObject({
    code: "outcome_differs",
    record: 3,
    differences: [{ path: "/stop/type", expected: "incomplete", received: "cancelled" }],
  })
})

test.each([0, 1, 2, 3, 4, 5, 6, 7, 8])("cancelled after %i answers: the replay ends the same, with the same effect ids", (answers) => {
  const machine = new TurnMachine(CONFIG, START)
  const { recorder, line } = Recorder.begin(CONFIG, START, "t")
  let text = line
  for (let count = 0; count < answers; count += 1) {
    pollAll(machine)
    if (machine.outstanding === undefined) break
    const response = answerOf(machine.outstanding, machine.iteration, 3)
    text += recorder.response(machine, response)
    machine.handle(response)
  }
  text += recorder.command(machine, { type: "cancel", reason: "enough" })
  machine.cancel("enough")
  text += recorder.end(machine)
  pollAll(machine)
  const replayed = replay(readJournal(text), CONFIG)
  expect(replayed.checkpoint()).toEqual(machine.checkpoint())
})

test("answers that were refused or stale in the live turn are so in a replay", () => {
  const machine = new TurnMachine(CONFIG, START)
  const { recorder, line } = Recorder.begin(CONFIG, START, "t")
  pollAll(machine)
  const first = answerOf({ type: "llm_call", id: 1, request: {} as never }, 0, 1)
  const text = line + recorder.response(machine, first)
  machine.handle(first)
  const again = recorder.response(machine, first)
  expect(machine.handle(first).status).toBe("stale")
  const foreign = { type: "checkpoint_delivery", id: 99, delivery: {} } as const
  const refused = recorder.response(machine, foreign)
  expect(() => machine.handle(foreign)).toThrow("99")
  const replayed = replay(readJournal(text + again + refused), CONFIG)
  pollAll(machine)
  expect(replayed.checkpoint()).toEqual(machine.checkpoint())
})

test.each([0, 2, 5])("a turn is resumed at every record, with snapshots every %i, and ends the same", (snapshotEveryRecords) => {
  const { text, machine } = recordTurn(3, { snapshotEveryRecords })
  const lines = text.split("\n").slice(0, -1)
  for (let count = 1; count <= lines.length; count += 1) {
    const resumed = resume(readJournal(`${lines.slice(0, count).join("\n")}\n`), CONFIG)
    for (;;) {
      pollAll(resumed)
      if (resumed.outstanding === undefined) break
      resumed.handle(answerOf(resumed.outstanding, resumed.iteration, 3))
    }
    expect(resumed.checkpoint()).toEqual(machine.checkpoint())
  }
})

test("the effects of the last answer are emitted after a resume: the host may have crashed before it polled them", () => {
  const { text } = recordTurn(0)
  const withoutEnd = `${text.split("\n").slice(0, -2).join("\n")}\n`
  const effects = pollAll(resume(readJournal(withoutEnd), CONFIG)).map((effect) => effect.type)
  expect(effects.filter((type) => type === "done")).toEqual(["done"])
})

test("after a resume, only the unanswered calls of a tool batch are emitted", () => {
  const machine = new TurnMachine(CONFIG, START)
  const { recorder, line } = Recorder.begin(CONFIG, START, "t")
  pollAll(machine)
  const parts = ["a", "b", "c"].map((callId) => ({ type: "tool_call", callId, toolName: "count", inputJson: "{}" }) as const)
  const usage = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
  const asked = { type: "llm_complete", id: 1, result: { ok: true, response: { text: "", parts, usage, terminalReason: "tool_use" } } } as const
  let text = line + recorder.response(machine, asked)
  machine.handle(asked)
  const output = { status: "success", value: 1 } as const
  const one = { type: "tool_results", id: 2, results: [{ callId: "b", toolName: "count", args: {}, output, durationMs: 1 }] } as const
  text += recorder.response(machine, one)
  const effects = pollAll(resume(readJournal(text), CONFIG))
  expect(effects.filter((effect) => effect.type === "llm_call")).toEqual([])
  expect(effects.at(-1)).toMatchObject({ type: "tool_calls", id: 2, calls: [{ callId: "a" }, { callId: "c" }] })
})

test("a journal grows by the responses, not by the transcript", () => {
  const { text, responsesText } = recordTurn(1_000, { snapshotEveryRecords: 0, snapshotEveryChars: 0 })
  expect(text.length / responsesText.length).toBeLessThan(1.3)
})

test("a turn may continue with another driver, from a snapshot and from the beginning", () => {
  const driver = { ...CONFIG.driver, version: CONFIG.driver.version + 1 }
  for (const snapshotEveryRecords of [0, 3]) {
    const { text } = recordTurn(2, { snapshotEveryRecords })
    const journal = readJournal(`${text.split("\n").slice(0, -2).join("\n")}\n`)
    const resumed = resume(journal, { ...CONFIG, driver }, { checkEffects: false })
    expect(resumed.outcome).toMatchObject({ type: "finished" })
    expect(() => resume(journal, { ...CONFIG, driver })).toThrow(
      expect.objectContaining({ code: "configuration_differs", differences: [{ path: "/driver/version", expected: 1, received: 2 }] }),
    )
  }
})
