import { describe, expect, test } from "vitest"
import { JournalError, ReplayDivergence } from "../../src/errors.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import { JournalWriter, readJournal } from "../../src/replay/journal.ts"
import { Recorder } from "../../src/replay/recorder.ts"
import { expectReplays, ReplayMismatch } from "../../src/testing/expect-replays.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { answerOf, CONFIG, recordTurn, START } from "../replay/support.ts"

const { text } = recordTurn(1)
const REPORT = {
  records: 7,
  skippedRecords: 0,
  effects: 5,
  snapshots: 0,
  iterations: 2,
  outcome: { type: "finished", finish: { type: "assistant_message", text: "Done." } },
}

function mismatchOf(journal: string, config: TurnConfig, options = {}): ReplayMismatch {
  try {
    expectReplays(journal, config, options)
  } catch (error) {
    if (error instanceof ReplayMismatch) return error
    throw error
  }
  throw new Error("The journal replays")
}

describe("a journal that replays", () => {
  test("is accepted as text, as a journal, and without the newline that an editor removed", () => {
    expect(expectReplays(text, CONFIG)).toEqual(REPORT)
    expect(expectReplays(readJournal(text), CONFIG)).toEqual(REPORT)
    expect(expectReplays(text.slice(0, -1), CONFIG)).toEqual(REPORT)
  })

  test("is accepted up to an unfinished line", () => {
    expect(expectReplays(text.slice(0, -5), CONFIG)).toEqual({ ...REPORT, records: 6 })
  })
})

test("a text with invalid records, or a damaged one, is refused", () => {
  const writer = new JournalWriter()
  const odd = writer.line(readJournal(text).header) + writer.line({ type: "end", outcome: { type: "won" } } as never)
  expect(() => expectReplays(odd, CONFIG)).toThrow(expect.objectContaining({ code: "invalid_record", record: 2 }))
  expect(() => expectReplays(text.replace("Count to three", "Count to four"), CONFIG)).toThrow(JournalError)
})

const projector: TurnConfig["projector"] = (input) => ({ ...CONFIG.projector(input), toolChoice: "required" })
const ANEW = "If the change is intended, record the journal again, and raise the driver's version if turns of the old one may be resumed."

describe("the message says where, what differs and what to do", () => {
  test("for a changed configuration, with the known values", () => {
    const error = mismatchOf(text, { ...CONFIG, model: "n", systemPrompt: "You guess.", maxIterations: 9 })
    expect(error.message.split("\n")).toEqual([
      'The journal of turn "turn-1" (driver "chat" 1) does not replay: configuration_differs.',
      "The journal was written with another configuration. Different keys: model, systemPrompt, maxIterations.",
      '  at "/config/model"',
      "    recorded another value",
      '    replayed "n"',
      '  at "/config/systemPrompt"',
      '    recorded "You count."',
      '    replayed "You guess."',
      '  at "/config/maxIterations"',
      "    recorded nothing",
      "    replayed 9",
      "What to do: replay with the configuration of the recording. If the change is intended, record the journal again; { checkConfig: false } shows whether it changes the requested effects.",
    ])
    expect(error.divergence).toBeInstanceOf(ReplayDivergence)
    expect(error.cause).toBe(error.divergence)
  })

  test("for an effect, with its record", () => {
    const { text: withEffects } = recordTurn(1, { keepEffects: true })
    expect(mismatchOf(withEffects, { ...CONFIG, projector }).message.split("\n")).toEqual([
      'The journal of turn "turn-1" (driver "chat" 1) does not replay: effect_differs.',
      'Record 3 answers effect 1, but the replayed turn has another effect, first at "/request/toolChoice".',
      expect.stringMatching(/^Record 3: \{"type":"llm_complete","id":1,.{150,}… \(\d+ characters\)$/),
      '  at "/request/toolChoice"',
      '    recorded "auto"',
      '    replayed "required"',
      `What to do: check what changed in the requests of the driver, the projector or turnLimitMessage, or whether one of them is not pure. ${ANEW}`,
    ])
  })

  test("for an effect that the journal does not record, with how to record effects", () => {
    const { message } = mismatchOf(text, { ...CONFIG, projector })
    expect(message).toContain('at ""\n    recorded {"id":1,"fingerprint":"')
    expect(message).toContain("one recorded with { keepEffects: true } shows what differs.")
  })

  test("for many differences and long values: the first eight, shortened", () => {
    const tools = Array.from({ length: 12 }, (_, index) => ({ name: `t${index}`, description: "", inputSchema: {} }))
    const journal = recordTurn(0, { keepEffects: true }, { ...CONFIG, tools }).text
    const renamed = tools.map((tool) => ({ ...tool, name: "x".repeat(300) }))
    const { message } = mismatchOf(journal, { ...CONFIG, tools: renamed }, { checkConfig: false })
    expect(message.match(/^ {2}at /gm)).toHaveLength(8)
    expect(message).toContain("\n  … and 4 more\n")
    expect(message).toContain(`replayed "${"x".repeat(199)}… (302 characters)`)
  })

  test("for an outcome and for a snapshot, which is shortened", () => {
    const machine = new TurnMachine(CONFIG, START)
    const { recorder, line } = Recorder.begin(CONFIG, START, "t")
    while (machine.poll() !== undefined);
    const cancelled = line + recorder.command(machine, { type: "cancel" })
    machine.finish({ type: "stopped", stop: { type: "incomplete" } })
    const ended = mismatchOf(cancelled + recorder.end(machine), CONFIG).message
    expect(ended).toContain('Record 3: {"type":"end","outcome":{"type":"stopped","stop":{"type":"incomplete"}}}')
    expect(ended).toContain(`What to do: check how the driver ends a turn. ${ANEW}`)

    const other = new TurnMachine(CONFIG, START)
    const begun = Recorder.begin(CONFIG, START, "t")
    while (other.poll() !== undefined);
    const [outstanding] = [other.outstanding]
    if (outstanding === undefined) throw new Error("Nothing is asked for")
    other.handle(answerOf(outstanding, 0, 0))
    const { message } = mismatchOf(begun.line + begun.recorder.snapshot(other), CONFIG)
    expect(message).toContain('Record 2: {"type":"snapshot","iteration":0,"state":"waiting_checkpoint"}')
    expect(message).toContain("What to do: check what the driver appends and counts, which no effect shows.")
  })
})
