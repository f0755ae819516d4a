import { describe, expect, test } from "vitest"
import { journalValidation } from "../../../src/checks/records.ts"
import type { Host } from "../../../src/hosts/host.ts"
import { journaled } from "../../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { JournalStore } from "../../../src/hosts/journal/store.ts"
import { TurnJournal } from "../../../src/hosts/journal/turn-journal.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import type { HostCommand } from "../../../src/machine/step.ts"
import type { TurnMachine } from "../../../src/machine/turn-machine.ts"
import { compacted, type Journal, readJournal } from "../../../src/replay/journal.ts"
import { journalOutline } from "../../../src/replay/outline.ts"
import { Recorder } from "../../../src/replay/recorder.ts"
import { replay, resume } from "../../../src/replay/replay.ts"
import { verifyReplay } from "../../../src/replay/verify.ts"
import { TurnMachine as CheckedTurnMachine } from "../../../src/validated-turn-machine.ts"
import type { Response } from "../../../src/wire/response.ts"
import { answerOf, CONFIG, recordTurn, START } from "../../replay/support.ts"
import { readText } from "../../support/stored-text.ts"

async function journalIn(store: JournalStore, name = "t"): Promise<Journal> {
  return readJournal((await readText(store, name)) ?? "", journalValidation)
}

const typesIn = async (store: JournalStore): Promise<readonly string[]> => (await journalIn(store)).entries.map(({ record }) => record.type)

/** A machine of a journal that waits for its first model call. */
async function waiting(store: JournalStore = memoryJournalStore()) {
  const journal = await TurnJournal.open(store, "t")
  const machine = await journal.begin(CONFIG, START, { turnId: "t" })
  while (machine.poll() !== undefined);
  await journal.settled(machine)
  return { store, journal, machine }
}

const llmResult = (machine: TurnMachine, calls = 1) => {
  if (machine.outstanding === undefined) throw new Error("Nothing is outstanding.")
  return answerOf(machine.outstanding, machine.iteration, calls)
}

const llmCall: Host["llmCall"] = async () => ({
  text: "Done.",
  parts: [],
  usage: { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 },
  terminalReason: "stop",
})

const EXTRA = {
  type: "llm_complete",
  id: 1,
  result: { ok: true, response: { text: "", parts: [], terminalReason: "stop", headers: { "x-id": "1" } } },
}

test("a response that the journal could not be read with is refused before it is written", async () => {
  const { store, journal, machine } = await waiting()
  const text = await readText(store, "t")
  for (const response of [EXTRA, { ...EXTRA, extra: 1 }, { type: "llm_complete", id: 1 }, { type: "other", id: 1 }])
    await expect(journal.response(machine, response as never)).rejects.toMatchObject({ name: "SchemaError", code: "invalid_record" })
  expect(await readText(store, "t")).toBe(text)
  const { result } = llmResult(machine) as { readonly result: { readonly response: object } }
  const checked = machine.check({ type: "llm_complete", id: 1, result: { ok: true, response: { ...result.response, headers: {} } } })
  await journal.response(machine, checked)
  expect(machine.handle(checked)).toEqual({ status: "accepted" })
  await journal.close()
  expect(await typesIn(store)).toEqual(["llm_complete"])
})

const COMMANDS: readonly HostCommand[] = [
  { type: "cancel", reason: "enough" },
  { type: "fail", event: { type: "error", message: "no" } },
  { type: "finish", outcome: { type: "finished", finish: { type: "assistant_message", text: "Mine." } } },
  { type: "apply", actions: [{ type: "append_events", events: [{ type: "protocol", event: 1 }] }] },
]

describe("an input that is not in the journal", () => {
  const direct: readonly [string, (machine: TurnMachine) => void][] = [
    ["cancel", (machine) => machine.cancel("enough")],
    ["fail", (machine) => machine.fail({ type: "error", message: "no" })],
    ["finish", (machine) => machine.finish({ type: "finished", finish: { type: "assistant_message", text: "" } })],
    ["apply", (machine) => machine.apply([])],
    ["command", (machine) => machine.command({ type: "cancel" })],
    ["handle", (machine) => machine.handle(llmResult(machine))],
  ]

  test.each(direct)("is refused by %s, and the turn is unchanged", async (_name, act) => {
    for (const resumed of [false, true]) {
      const { store, journal, machine: begun } = await waiting()
      let machine: TurnMachine = begun
      if (resumed) {
        await journal.close()
        machine = await (await TurnJournal.open(store, "t")).resume(CONFIG)
        while (machine.poll() !== undefined);
      }
      const { turn } = machine
      const text = await readText(store, "t")
      expect(() => act(machine)).toThrow(
        expect.objectContaining({ name: "ProtocolError", code: "not_recorded", message: expect.stringContaining("journal.") }),
      )
      expect(machine.turn).toBe(turn)
      expect(machine.poll()).toBeUndefined()
      expect(await readText(store, "t")).toBe(text)
    }
  })

  test("is refused even if an equal one is recorded, because the recorded object is what a replay has", async () => {
    const { journal, machine } = await waiting()
    const response = llmResult(machine)
    await journal.response(machine, response)
    expect(() => machine.handle(structuredClone(response))).toThrow(expect.objectContaining({ code: "not_recorded" }))
    expect(machine.handle(response)).toEqual({ status: "accepted" })
  })

  test("is refused while its record is being written", async () => {
    const { journal, machine } = await waiting()
    const response = llmResult(machine)
    const written = journal.response(machine, response)
    expect(() => machine.handle(response)).toThrow(expect.objectContaining({ code: "not_recorded" }))
    await written
    expect(machine.handle(response)).toEqual({ status: "accepted" })
  })

  test("a run without the journal is refused with its first answer", async () => {
    const { machine } = await waiting()
    await expect(runTurn(machine, { llmCall })).rejects.toMatchObject({ code: "not_recorded" })
    expect(machine.state).toBe("waiting_llm")
  })
})

describe("TurnJournal.command", () => {
  test.each(COMMANDS)("records a command and carries it out: $type", async (command) => {
    const { store, journal, machine } = await waiting()
    await journal.command(machine, command)
    expect(machine.done).toBe(command.type !== "apply")
    expect(machine.history).toHaveLength(command.type === "apply" ? 1 : machine.history.length)
    await journal.close()
    expect((await journalIn(store)).entries.map(({ record }) => record)).toEqual([{ type: "interruption", effectId: 1, interruption: command }])
    expect(resume(await journalIn(store), CONFIG).state).toBe(machine.state)
  })

  test("rejects with what the machine refuses, after it was recorded", async () => {
    const { store, journal, machine } = await waiting()
    const command: HostCommand = { type: "apply", actions: [{ type: "start_checkpoint", checkpoint: "x", onEmpty: { type: "continue" } }] as never }
    await expect(journal.command(machine, command)).rejects.toThrow()
    expect(machine.state).toBe("waiting_llm")
    await journal.command(machine, { type: "cancel" })
    await journal.settled(machine)
    await journal.close()
    expect(verifyReplay(await journalIn(store), CONFIG).outcome).toEqual(machine.outcome)
  })

  test("after the end does nothing, but does not accept actions", async () => {
    const { store, journal, machine } = await waiting()
    await journal.command(machine, { type: "cancel" })
    await journal.settled(machine)
    const text = await readText(store, "t")
    await journal.command(machine, { type: "cancel" })
    await expect(journal.command(machine, { type: "apply", actions: [] })).rejects.toMatchObject({ code: "turn_finished" })
    expect(await readText(store, "t")).toBe(text)
  })

  test.each([0, 1, 2, 5])("comes after responses that were recorded before it, however late their callers handle them: %i tasks", async (tasks) => {
    const { store, journal, machine } = await waiting()
    const response = llmResult(machine)
    const handled = journal.response(machine, response).then(async () => {
      for (let task = 0; task < tasks; task += 1) await new Promise((resolve) => setTimeout(resolve, 1))
      return machine.handle(response).status
    })
    const command = { type: "apply", actions: [{ type: "append_events", events: [{ type: "protocol", event: 1 }] }] } as const
    await journal.command(machine, command)
    const status = await handled
    expect(status === "accepted" || status === "stale").toBe(true)
    while (machine.poll() !== undefined);
    expect(machine.outstanding?.type).toBe("tool_calls")
    await journal.close()
    const journaledTurn = await journalIn(store)
    expect(journaledTurn.entries.map(({ record }) => record.type)).toEqual(["llm_complete", "interruption"])
    expect(replay(journaledTurn, CONFIG).history).toEqual(machine.history)
    expect(replay(journaledTurn, CONFIG).outstanding).toEqual(machine.outstanding)
  })

  test("carries out commands in the order in which they were given", async () => {
    const { store, journal, machine } = await waiting()
    const note = (event: number): Promise<void> =>
      journal.command(machine, { type: "apply", actions: [{ type: "append_events", events: [{ type: "protocol", event }] }] })
    await Promise.all([note(1), note(2), note(3)])
    expect(machine.history.map((record) => (record.type === "protocol" ? record.event : ""))).toEqual([1, 2, 3])
    await journal.close()
    expect(replay(await journalIn(store), CONFIG).history).toEqual(machine.history)
  })

  test("is not carried out if it cannot be recorded", async () => {
    const store = memoryJournalStore()
    const { journal, machine } = await waiting(store)
    await store.open("t", { takeOver: true })
    await expect(journal.command(machine, { type: "cancel" })).rejects.toMatchObject({ code: "fenced" })
    expect(machine.done).toBe(false)
  })
})

test("a snapshot does not take the place of a response that is recorded and not handled", async () => {
  const store = memoryJournalStore()
  const journal = await TurnJournal.open(store, "t", { snapshotEveryRecords: 1 })
  const machine = await journal.begin(CONFIG, START, { turnId: "t" })
  while (machine.poll() !== undefined);
  await journal.response(machine, llmResult(machine))
  await journal.settled(machine)
  await journal.close()
  expect(await typesIn(store)).toEqual(["llm_complete"])
  expect(resume(await journalIn(store), CONFIG).outstanding?.type).toBe("tool_calls")
})

describe("a machine that is not the journal's", () => {
  test("is refused by every method, and nothing is written", async () => {
    const { store, journal } = await waiting()
    const { machine: other } = await waiting()
    const same = CheckedTurnMachine.restore(CONFIG, other.checkpoint())
    const text = await readText(store, "t")
    for (const machine of [other, same]) {
      await expect(journal.response(machine, llmResult(machine))).rejects.toMatchObject({ name: "ProtocolError", code: "another_turn" })
      await expect(journal.command(machine, { type: "cancel" })).rejects.toMatchObject({ code: "another_turn" })
      await expect(journal.settled(machine)).rejects.toMatchObject({ code: "another_turn" })
    }
    expect(await readText(store, "t")).toBe(text)
  })
})

describe("a journal that has ended", () => {
  test("accepts no further record", async () => {
    const { store, journal, machine } = await waiting()
    await journal.command(machine, { type: "cancel" })
    await journal.settled(machine)
    const text = await readText(store, "t")
    await journal.settled(machine)
    await expect(journal.response(machine, { type: "checkpoint_delivery", id: 1, delivery: {} })).rejects.toMatchObject({ code: "journal_ended" })
    await expect(journal.callStarted(1, "a")).rejects.toMatchObject({ code: "journal_ended" })
    expect(await readText(store, "t")).toBe(text)
  })

  test("accepts no second end from a recorder, also one that was resumed", () => {
    const { machine, text } = recordTurn(1)
    const ended = expect.objectContaining({ name: "ProtocolError", code: "journal_ended" })
    const resumed = Recorder.resume(readJournal(text))
    expect(() => resumed.end(machine)).toThrow(ended)
    expect(() => resumed.opened()).toThrow(ended)
    expect(() => resumed.callStarted(1)).toThrow(ended)
    expect(() => resumed.response(machine, { type: "checkpoint_delivery", id: 1, delivery: {} })).toThrow(ended)
    const { recorder } = Recorder.begin(CONFIG, START, "t")
    expect(recorder.end(machine)).toContain('"end"')
    expect(() => recorder.end(machine)).toThrow(ended)
  })

  test("returns its done without being opened, while another process has it open, and with parts of any size", async () => {
    const inner = memoryJournalStore()
    const turn = { config: CONFIG, start: START, turnId: "t" }
    const done = await journaled({ llmCall }, inner).run("t", turn)
    const text = (await readText(inner, "t")) ?? ""
    await inner.open("t")
    for (const size of [1, 7, 100_000]) {
      const store: JournalStore = {
        ...inner,
        open: async () => {
          throw new Error("opened")
        },
        read: async () =>
          (async function* () {
            for (let at = 0; at < text.length; at += size) yield text.slice(at, at + size)
          })(),
      }
      const saved: string[] = []
      const again = await journaled(
        { llmCall: async () => Promise.reject(new Error("asked")), save: ({ state }) => void saved.push(state) },
        store,
      ).run("t", turn)
      expect([again.outcome, again.messages, saved]).toEqual([done.outcome, done.messages, ["finished"]])
    }
    // One that has not ended is opened.
    const open = {
      ...inner,
      read: async () =>
        (async function* () {
          yield text.slice(0, -5)
        })(),
    }
    await expect(journaled({ llmCall }, open).run("t", turn)).rejects.toMatchObject({ code: "in_use" })
  })
})

describe("the start of a call", () => {
  test("is reported as first once, by all processes, and code has no call id", async () => {
    const { store, journal } = await waiting()
    expect(await Promise.all([journal.callStarted(2, "a"), journal.callStarted(2, "a"), journal.callStarted(2), journal.callStarted(2, "")])).toEqual(
      ["first", "again", "first", "first"],
    )
    await journal.close()
    const second = await TurnJournal.open(store, "t")
    await second.resume(CONFIG)
    expect([second.mayHaveRun(2, "a"), second.mayHaveRun(2), second.mayHaveRun(2, ""), second.mayHaveRun(2, "b"), second.mayHaveRun(3)]).toEqual([
      true,
      true,
      true,
      false,
      false,
    ])
    expect([await second.callStarted(2, "a"), await second.callStarted(2), await second.callStarted(3)]).toEqual(["again", "again", "first"])
    await second.close()
    expect((await journalIn(store)).entries.filter(({ record }) => record.type === "call_started")).toHaveLength(4)
  })

  test("of code is preserved by a compaction, and shown", () => {
    const { machine } = recordTurn(0)
    const fresh = new CheckedTurnMachine(CONFIG, START)
    while (fresh.poll() !== undefined);
    const { recorder, line } = Recorder.begin(CONFIG, START, "t")
    const text = line + recorder.callStarted(1) + recorder.callStarted(9) + recorder.snapshot(fresh)
    const short = readJournal(compacted(readJournal(text)), journalValidation)
    expect(short.entries.map(({ record }) => record)).toMatchObject([{ type: "call_started", effectId: 1 }, { type: "snapshot" }])
    expect(journalOutline(short).rows[1]).toMatchObject({ type: "call_started", effectId: 1, callId: undefined })
    expect(machine.done).toBe(true)
  })
})

test("a command that its caller changes afterwards is recorded and carried out as it was", async () => {
  const { store, journal, machine } = await waiting()
  const events = [{ type: "protocol", event: { n: 1 } }]
  const actions: unknown[] = [{ type: "append_events", events }]
  const commanded = journal.command(machine, { type: "apply", actions } as HostCommand)
  actions.push({ type: "nonsense" })
  events[0] = { type: "protocol", event: { n: 2 } }
  await commanded
  const expected = [{ type: "protocol", event: { n: 1 } }]
  expect(machine.history).toEqual(expected)
  await journal.close()
  expect(resume(await journalIn(store), CONFIG).history).toEqual(expected)
})

describe("a compaction that is due", () => {
  const ALWAYS = { snapshotEveryRecords: 1, compactAboveChars: 1 } as const

  /** A machine whose next snapshot compacts its journal, and which waits for two tool calls. */
  async function due() {
    const store = memoryJournalStore()
    const slow: JournalStore = {
      ...store,
      async open(name, options) {
        const stored = await store.open(name, options)
        const later = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 2))
        return {
          read: () => stored.read(),
          append: (text) => later().then(() => stored.append(text)),
          replace: (text) => later().then(() => stored.replace(text)),
          close: () => stored.close(),
        }
      },
    }
    const journal = await TurnJournal.open(slow, "t", ALWAYS)
    const machine = await journal.begin(CONFIG, START, { turnId: "t" })
    while (machine.poll() !== undefined);
    const call = (callId: string) => ({ type: "tool_call", callId, toolName: "count", inputJson: "{}" }) as const
    const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }
    const response = { text: "", parts: [call("a"), call("b")], usage, terminalReason: "tool_use" } as const
    const asked = { type: "llm_complete", id: 1, result: { ok: true, response } } as const
    await journal.response(machine, asked)
    machine.handle(asked)
    while (machine.poll() !== undefined);
    return { store, journal, machine }
  }

  test.each([0, 1, 2, 3, 4])("does not lose or damage a command that is given meanwhile, %i ticks after it began", async (ticks) => {
    const { store, journal, machine } = await due()
    const settled = journal.settled(machine)
    for (let tick = 0; tick < ticks; tick += 1) await undefined
    await Promise.all([settled, journal.command(machine, { type: "cancel" })])
    while (machine.poll() !== undefined);
    await journal.settled(machine)
    await journal.close()
    expect(await typesIn(store)).toEqual(["snapshot", "interruption", "end"])
    expect(resume(await journalIn(store), CONFIG).outcome).toEqual(machine.outcome)
  })

  test.each([0, 1, 2, 3, 4])("does not lose or damage results and starts that are recorded meanwhile, %i ticks after it began", async (ticks) => {
    const { store, journal, machine } = await due()
    const { outstanding } = machine
    if (outstanding?.type !== "tool_calls") throw new Error("The turn waits for something else.")
    const answer = async (index: number): Promise<void> => {
      const results = outstanding.calls
        .slice(index, index + 1)
        .map((call) => ({ ...call, output: { status: "success", value: 1 }, durationMs: 1 }) as const)
      const response = { type: "tool_results", id: outstanding.id, results } as const
      await journal.response(machine, response)
      machine.handle(response)
    }
    const starting = journal.callStarted(outstanding.id, "b")
    const settled = journal.settled(machine)
    for (let tick = 0; tick < ticks; tick += 1) await undefined
    await Promise.all([starting, settled, answer(0)])
    await journal.close()
    const recorded = await journalIn(store)
    expect(recorded.entries.filter(({ record }) => record.type === "call_started")).toHaveLength(1)
    const resumed = resume(recorded, CONFIG)
    while (resumed.poll() !== undefined);
    expect(resumed.outstanding).toMatchObject({ type: "tool_calls", calls: [{ callId: "b" }] })
  })
})

describe("responses that are recorded together", () => {
  /** A machine whose batch waits for its result, and a store whose appends are listed and fail on demand. */
  async function working() {
    const store = memoryJournalStore()
    const appended: string[] = []
    const disk = { isFull: false }
    const watched: JournalStore = {
      ...store,
      async open(name, options) {
        const stored = await store.open(name, options)
        return {
          read: () => stored.read(),
          replace: (text) => stored.replace(text),
          close: () => stored.close(),
          async append(text) {
            if (disk.isFull) throw new Error("disk full")
            appended.push(text)
            await stored.append(text)
          },
        }
      },
    }
    const { journal, machine } = await waiting(watched)
    const asked = llmResult(machine)
    await journal.response(machine, asked)
    machine.handle(asked)
    while (machine.poll() !== undefined);
    await journal.settled(machine)
    appended.length = 0
    return { store, journal, machine, appended, disk, results: llmResult(machine) }
  }

  const progressOf = (machine: TurnMachine): readonly unknown[] => {
    const all: unknown[] = []
    for (let effect = machine.poll(); effect !== undefined; effect = machine.poll()) if (effect.type === "progress") all.push(effect)
    return all
  }

  const delivery = ({ outstanding }: TurnMachine): Response | undefined =>
    outstanding?.type === "checkpoint" ? { type: "checkpoint_delivery", id: outstanding.id, delivery: {} } : undefined

  test("are one append, in their order, and a resumed run emits again what the run may not have reported", async () => {
    const { store, journal, machine, appended, results } = await working()
    await journal.responses(machine, results, (response) => {
      expect(machine.handle(response)).toEqual({ status: "accepted" })
      return delivery(machine)
    })
    expect(appended).toHaveLength(1)
    const reported = progressOf(machine)
    expect(reported).toHaveLength(1)
    await journal.close()
    expect(await typesIn(store)).toEqual(["llm_complete", "tool_results", "checkpoint_delivery"])
    const resumed = resume(await journalIn(store), CONFIG)
    expect(progressOf(resumed)).toEqual(reported)
    expect(resumed.outstanding?.type).toBe("llm_call")
  })

  test("emit nothing if they cannot be stored, and the next process does the work again", async () => {
    const { store, journal, machine, disk, results } = await working()
    disk.isFull = true
    const recorded = journal.responses(machine, results, (response) => {
      machine.handle(response)
      return delivery(machine)
    })
    await expect(recorded).rejects.toThrow("disk full")
    expect(() => machine.poll()).toThrow("disk full")
    await journal.close()
    disk.isFull = false
    const machineAgain = await (await TurnJournal.open(store, "t")).resume(CONFIG)
    expect(machineAgain.outstanding).toMatchObject({ type: "tool_calls", id: results.id })
  })

  test("are refused where a single one is: nothing was written", async () => {
    const { store, journal, machine } = await working()
    const text = await readText(store, "t")
    await expect(journal.responses(machine, EXTRA as never, () => undefined)).rejects.toMatchObject({ code: "invalid_record" })
    expect(await readText(store, "t")).toBe(text)
  })

  test("are refused where the one that follows is: the first is stored, and the journal can be read", async () => {
    const { store, journal, machine, results } = await working()
    const recorded = journal.responses(machine, results, (response) => {
      machine.handle(response)
      const next = delivery(machine)
      return next && ({ ...next, at: Number.NaN } as Response)
    })
    await expect(recorded).rejects.toMatchObject({ code: "invalid_record" })
    await journal.close()
    expect(await typesIn(store)).toEqual(["llm_complete", "tool_results"])
  })

  test("leave no checkpoint of a turn that is ahead of its journal, also where a later run saves it", async () => {
    const { journal, machine, disk } = await working()
    disk.isFull = true
    const saved: unknown[] = []
    const host: Host = {
      llmCall,
      tools: { effects: () => "none", call: async () => ({ output: { status: "success", value: 1 } }) },
      save: (own) => void saved.push(own.checkpoint()),
    }
    for (const _run of [1, 2]) {
      saved.length = 0
      await expect(runTurn(machine, host, { journal })).rejects.toThrow("disk full")
    }
    expect(saved).toEqual([])
    expect(() => machine.checkpoint()).toThrow("disk full")
  })
})
