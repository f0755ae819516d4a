import { describe, expect, test } from "vitest"
import * as z from "zod"
import { journalValidation } from "../../../src/checks/records.ts"
import { wireValidation } from "../../../src/checks/validation.ts"
import { type Host, LlmCallError } from "../../../src/hosts/host.ts"
import { journaled } from "../../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { JournalStore, StoredJournal } from "../../../src/hosts/journal/store.ts"
import { TurnJournal } from "../../../src/hosts/journal/turn-journal.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { defineTool } from "../../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../../src/hosts/tools/toolbox.ts"
import type { TurnConfig } from "../../../src/machine/config.ts"
import { readJournal } from "../../../src/replay/journal.ts"
import { replay, resume } from "../../../src/replay/replay.ts"
import { verifyReplay } from "../../../src/replay/verify.ts"
import type { LlmCall } from "../../../src/schemas/effect.ts"
import type { LlmResponse, OutputPart } from "../../../src/schemas/llm.ts"
import { CONFIG as BASE, START } from "../../replay/support.ts"
import { readText, wholeText } from "../../support/stored-text.ts"

const spec = (name: string) => ({ name, description: name, inputSchema: { type: "object" } })
const CONFIG = { ...BASE, tools: ["count", "pay", "look"].map(spec) }

const USAGE = { inputTokens: 5, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }

/** A model whose answer depends on nothing but how often it answered before in this turn: each list is a batch of calls. */
function model(...batches: readonly (readonly string[])[]): { readonly llmCall: Host["llmCall"]; readonly asked: number[] } {
  const asked: number[] = []
  return {
    asked,
    async llmCall({ id, request }: LlmCall): Promise<LlmResponse> {
      asked.push(id)
      const said = request.messages.filter(({ role }) => role === "assistant").length
      const parts = (batches[said] ?? []).map((call): OutputPart => {
        const [callId = "", toolName = "count"] = call.split("=")
        return { type: "tool_call", callId, toolName, inputJson: "{}" }
      })
      return { text: parts.length === 0 ? "Done." : "", parts, usage: USAGE, terminalReason: parts.length === 0 ? "stop" : "tool_use" }
    },
  }
}

const success = { output: { status: "success", value: 1 } } as const

/** What a store keeps of a journal at this moment. */
async function textOf(store: JournalStore, name = "t"): Promise<string> {
  return (await readText(store, name)) ?? ""
}

const kindsOf = (text: string): readonly string[] => readJournal(text).entries.map(({ record }) => record.type)

/** A store that fails before the n-th append of an owner, as a killed process does: nothing later is stored. */
function dyingStore(store: JournalStore, appends: number): JournalStore {
  return {
    ...store,
    async open(name, options) {
      const stored = await store.open(name, options)
      let left = appends
      const guard = <Result>(act: () => Promise<Result>): Promise<Result> => {
        left -= 1
        return left < 0 ? Promise.reject(new Error("killed")) : act()
      }
      const dying: StoredJournal = {
        read: () => stored.read(),
        append: (text) => guard(() => stored.append(text)),
        replace: (text) => guard(() => stored.replace(text)),
        // A process that is killed closes nothing.
        close: async () => {},
      }
      return dying
    },
  }
}

const turn = { config: CONFIG, start: START, turnId: "turn-1" }

describe("a journaled turn", () => {
  test("records every answer, and ends with its outcome", async () => {
    const store = memoryJournalStore()
    const done = await journaled({ ...model(["a", "b"]), tools: { call: async () => success, effects: () => "idempotent" } }, store).run("t", turn, {
      now: () => 7,
    })
    expect(done.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Done." } })
    const text = await textOf(store)
    expect(kindsOf(text)).toEqual([
      "llm_complete",
      "tool_results",
      "tool_results",
      "checkpoint_delivery",
      "llm_complete",
      "checkpoint_delivery",
      "end",
    ])
    expect(readJournal(text).header).toMatchObject({ turnId: "turn-1", at: 7, surface: { systemPrompt: "You count.", tools: CONFIG.tools } })
    expect(replay(readJournal(text), CONFIG).outcome).toEqual(done.outcome)
  })

  test("records an answer before the machine receives it", async () => {
    const journal = await TurnJournal.open(memoryJournalStore(), "t")
    const machine = await journal.begin(CONFIG, START, { turnId: "x" })
    const seen: string[] = []
    const watched = {
      turnId: "x",
      response: async (...[running, response]: Parameters<TurnJournal["response"]>) => {
        await journal.response(running, response)
        seen.push(`${response.type} stored in ${running.state}`)
      },
      command: journal.command.bind(journal),
      callStarted: journal.callStarted.bind(journal),
      mayHaveRun: journal.mayHaveRun.bind(journal),
      settled: journal.settled.bind(journal),
    }
    await runTurn(machine, model([]), { journal: watched })
    expect(seen).toEqual(["llm_complete stored in waiting_llm", "checkpoint_delivery stored in waiting_checkpoint"])
  })

  test("that has ended returns its end once more, and writes nothing", async () => {
    const store = memoryJournalStore()
    const first = model()
    const done = await journaled(first, store).run("t", turn)
    const text = await textOf(store)
    const second = model()
    expect((await journaled(second, store).run("t", turn)).outcome).toEqual(done.outcome)
    expect(second.asked).toEqual([])
    expect(await textOf(store)).toBe(text)
  })

  test("is run by one process at a time", async () => {
    const store = memoryJournalStore()
    const journal = await TurnJournal.open(store, "t")
    await journal.begin(CONFIG, START)
    await expect(journaled(model(), store).run("t", turn)).rejects.toMatchObject({ code: "in_use" })
    await journal.close()
    expect((await journaled(model(), store).run("t", turn)).outcome.type).toBe("finished")
  })

  test("stops when another process takes over, before it acts on anything", async () => {
    const store = memoryJournalStore()
    let ran = 0
    const host: Host = {
      llmCall: async (effect) => {
        await store.open("t", { takeOver: true })
        return model(["a"]).llmCall(effect, {} as never)
      },
      tools: {
        call: async () => {
          ran += 1
          return success
        },
        effects: () => "idempotent",
      },
    }
    await expect(journaled(host, store).run("t", turn)).rejects.toMatchObject({ code: "fenced" })
    expect(ran).toBe(0)
    expect(kindsOf(await textOf(store))).toEqual([])
  })

  test.each([1, 2, 3, 4, 5, 6])("killed before append %i resumes from its journal, and repeats no recorded work", async (appends) => {
    const store = memoryJournalStore()
    const results: string[] = []
    const host = (): Host & { readonly asked: number[] } => ({
      ...model(["a"], ["b"]),
      tools: {
        call: async ({ callId }) => {
          results.push(callId)
          return success
        },
        effects: () => "idempotent",
      },
    })
    const [first, second] = [host(), host()]
    await expect(journaled(first, dyingStore(store, appends)).run("t", turn)).rejects.toThrow("killed")
    const recorded = kindsOf(await textOf(store))
    const done = await journaled(second, store, { takeOver: true }).run("t", turn)
    expect(done.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Done." } })
    expect(second.asked).toHaveLength(3 - recorded.filter((type) => type === "llm_complete").length)
    expect(results.length - 2).toBeLessThanOrEqual(1)
    expect(kindsOf(await textOf(store)).slice(0, recorded.length + 1)).toEqual([...recorded, "opened"])
  })

  test("that is cancelled records the cancellation, and replays to the same end", async () => {
    const store = memoryJournalStore()
    const controller = new AbortController()
    const host: Host = {
      async llmCall() {
        controller.abort("enough")
        return new Promise<LlmResponse>(() => {})
      },
    }
    const done = await journaled(host, store).run("t", turn, { signal: controller.signal })
    expect(done.outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
    const text = await textOf(store)
    expect(kindsOf(text)).toEqual(["interruption", "end"])
    expect(replay(readJournal(text), CONFIG).outcome).toEqual(done.outcome)
  })

  test("an answer with unknown keys is recorded without them, and can be read again", async () => {
    const store = memoryJournalStore()
    const host: Host = { llmCall: async (effect, context) => ({ ...(await model().llmCall(effect, context)), cost: 3 }) }
    await journaled(host, store).run("t", turn)
    expect(await textOf(store)).not.toContain("cost")
    expect((await journaled(model(), store).run("t", turn)).outcome.type).toBe("finished")
  })

  test("an answer that does not have the shape of the wire is recorded as the failure that the turn sees", async () => {
    const store = memoryJournalStore()
    const done = await journaled({ llmCall: async () => ({ text: 5 }) as never }, store).run("t", turn)
    expect(done.outcome).toMatchObject({ type: "stopped", stop: { type: "provider_error" } })
    const [answer] = readJournal(await textOf(store)).entries
    expect(answer?.record).toMatchObject({ type: "llm_complete", result: { ok: false, error: { code: "invalid_llm_response" } } })
  })

  test("is resumed with its own system prompt and tools, not those of the new config", async () => {
    const store = memoryJournalStore()
    const host: Host = { ...model(["a"]), tools: { call: async () => success, effects: () => "idempotent" } }
    await expect(journaled(host, dyingStore(store, 3)).run("t", turn)).rejects.toThrow("killed")
    let prompt = ""
    const next: Host = {
      async llmCall(effect, context) {
        prompt = JSON.stringify(effect.request.messages[0])
        return model(["a"]).llmCall(effect, context)
      },
    }
    await journaled(next, store, { takeOver: true }).run("t", { ...turn, config: { ...CONFIG, systemPrompt: "You guess.", tools: [] } })
    expect(prompt).toContain("You count.")
  })

  test("is refused under another model, and resumes if that is requested", async () => {
    const store = memoryJournalStore()
    const host: Host = { ...model(["a"]), tools: { call: async () => success, effects: () => "idempotent" } }
    await expect(journaled(host, dyingStore(store, 3)).run("t", turn)).rejects.toThrow("killed")
    const changed = { ...CONFIG, model: "another" }
    await expect(journaled(host, store, { takeOver: true }).run("t", { ...turn, config: changed })).rejects.toMatchObject({
      code: "configuration_differs",
      record: 1,
      differences: [{ path: "/config/model" }],
    })
    const journal = await TurnJournal.open(store, "t")
    const machine = await journal.resume(changed, { checkEffects: false })
    expect((await runTurn(machine, host, { journal })).outcome.type).toBe("finished")
  })

  test("with options in the wrong place is refused", async () => {
    const misplaced = { ...turn, signal: new AbortController().signal }
    await expect(journaled(model(), memoryJournalStore()).run("t", misplaced)).rejects.toThrow(
      'has the unknown key "signal"; the keys are config, start',
    )
    expect(() => journaled(model(), memoryJournalStore(), { reconfigure: true } as never)).toThrow('has the unknown key "reconfigure"')
    expect(() => journaled(model(), "turns" as never)).toThrow("journaled takes a host and a store")
    const limited = { ...turn, start: { ...turn.start, deadline: 5 } }
    await expect(journaled(model(), memoryJournalStore()).run("t", limited)).rejects.toThrow(
      'it has the unknown key "deadline"; did you mean "deadlineAt"?',
    )
  })

  test("that cannot begin writes nothing", async () => {
    const store = memoryJournalStore()
    await expect(journaled(model(), store).run("t", { ...turn, config: { ...CONFIG, model: 5 as never } })).rejects.toMatchObject({
      code: "invalid_config",
    })
    expect(await textOf(store)).toBe("")
  })
})

/** Nested deeper than the limit. */
const deepList = JSON.parse(`${"[".repeat(200)}${"]".repeat(200)}`)

describe("a record that could not be read again is not written", () => {
  test.each([
    ["what a host adds", { meta: deepList }],
    ["a turn's name", { turnId: 7 as never }],
  ])("in the header: %s", async (_what, wrong) => {
    const store = memoryJournalStore()
    await expect(journaled(model(), store).run("t", { ...turn, ...wrong })).rejects.toMatchObject({ name: "JournalError", code: "invalid_record" })
    expect(await textOf(store)).toBe("")
    expect((await journaled(model(), store).run("t", turn)).outcome.type).toBe("finished")
  })

  const { driver, projector } = CONFIG
  const outcome = { type: "finished", finish: { type: "assistant_message", text: "Done.", by: "me" } } as never
  test.each<readonly [string, Partial<TurnConfig>, string]>([
    ["a projector's own keys", { projector: (input) => ({ ...projector(input), temperature: 1 }) }, "llm_complete effect checkpoint_delivery end"],
    [
      "a driver's own keys in what it ends with",
      {
        driver: {
          ...driver,
          onLlmComplete: () => [{ type: "start_checkpoint", checkpoint: "before_completion", onEmpty: { type: "finish", outcome } }],
        },
      },
      "snapshot effect llm_complete effect checkpoint_delivery end",
    ],
  ])("in snapshots, recorded effects and the end, and the turn resumes without it: %s", async (_what, wrong, kinds) => {
    const store = memoryJournalStore()
    const config = { ...CONFIG, ...wrong }
    await journaled(model(), store, { snapshotEveryRecords: 1, keepEffects: true }).run("t", { ...turn, config })
    const journal = readJournal(await textOf(store), journalValidation)
    expect(journal.entries.map(({ record }) => record.type).join(" ")).toBe(kinds)
    expect(resume(journal, { ...config, validation: wireValidation }).outcome?.type).toBe("finished")
  })

  test("a driver's version that no header could hold begins no turn", async () => {
    const store = memoryJournalStore()
    const config = { ...CONFIG, driver: { ...driver, version: 1.5 } }
    await expect(journaled(model(), store).run("t", { ...turn, config })).rejects.toMatchObject({ name: "SchemaError", code: "invalid_config" })
    expect(await textOf(store)).toBe("")
    expect((await journaled(model(), store).run("t", turn)).outcome.type).toBe("finished")
  })

  test("a driver's records that are not JSON end the turn, and the journal is whole", async () => {
    const store = memoryJournalStore()
    const prepareIteration: typeof driver.prepareIteration = (context) => [
      { type: "append_events", events: [{ type: "protocol", event: 1n as never }] },
      ...driver.prepareIteration(context),
    ]
    const config = { ...CONFIG, driver: { ...driver, prepareIteration } }
    const { outcome: ended } = await journaled(model(), store, { snapshotEveryRecords: 1, keepEffects: true }).run("t", { ...turn, config })
    expect(ended).toMatchObject({ stop: { type: "runtime_error", error: { code: "invalid_action" } } })
    const journal = readJournal(await textOf(store), journalValidation)
    expect(journal.entries.at(-1)?.record.type).toBe("end")
    expect(resume(journal, config).outcome).toEqual(ended)
  })

  test.each([1, 2, 3, 4, 5, 6, 7])("with a clock that fails after %i calls, and failing executors", async (times) => {
    const store = memoryJournalStore()
    let asked = 0
    const now = (): number => {
      asked += 1
      return asked <= times ? 5 : Number.NaN
    }
    const host: Host = {
      ...model(["a"]),
      tools: { effects: () => "once", call: async () => Promise.reject(new Error("no")) },
      checkpoint: async () => Promise.reject(new Error("no")),
    }
    await expect(journaled(host, store).run("t", turn, { now })).rejects.toThrow()
    const done = await journaled(host, store).run("t", turn)
    expect(done.outcome.type).toBe("finished")
    expect(readJournal(await textOf(store), journalValidation).entries.at(-1)?.record.type).toBe("end")
  })
})

describe("after a crash", () => {
  const whole = async (): Promise<string> => {
    const store = memoryJournalStore()
    await journaled({ ...model(["a"]), tools: { call: async () => success, effects: () => "idempotent" } }, store).run("t", turn)
    return textOf(store)
  }

  async function storeWith(text: string): Promise<JournalStore> {
    const store = memoryJournalStore()
    const stored = await store.open("t")
    await stored.append(text)
    await stored.close()
    return store
  }

  test("every prefix of a journal resumes and ends the same", async () => {
    const text = await whole()
    for (let length = 0; length <= text.length; length += 1) {
      const store = await storeWith(text.slice(0, length))
      const done = await journaled({ ...model(["a"]), tools: { call: async () => success, effects: () => "idempotent" } }, store).run("t", turn)
      expect(done.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Done." } })
      const stored = readJournal(await textOf(store))
      expect(stored.droppedLength).toBe(0)
      expect(replay(stored, CONFIG).outcome).toEqual(done.outcome)
    }
  })

  test.each([
    ["some other text", "hello"],
    ["other lines", "hello\nworld\n"],
    ["what only begins like one", '["0123456789'],
    ["another format's header", '["01234567",{"type":"header","format":"x'],
  ])("%s is refused and unchanged", async (_what, text) => {
    const store = await storeWith(text)
    await expect(TurnJournal.open(store, "t")).rejects.toMatchObject({ name: "JournalError" })
    expect(await textOf(store)).toBe(text)
  })

  test("a cancellation is carried out with the partial answer that was recorded with it", async () => {
    const store = memoryJournalStore()
    const controller = new AbortController()
    const partial: LlmResponse = {
      text: "Half",
      parts: [{ type: "text", text: "Half" }],
      usage: USAGE,
      retriedUsage: USAGE,
      terminalReason: "cancelled",
    }
    const host: Host = {
      async llmCall() {
        controller.abort("enough")
        throw new LlmCallError({ message: "aborted", retryable: false, terminalReason: "cancelled" }, { partial })
      },
    }
    // The header and the cancellation are stored; the end is not.
    await expect(journaled(host, dyingStore(store, 2)).run("t", turn, { signal: controller.signal })).rejects.toThrow("killed")
    expect(kindsOf(await textOf(store))).toEqual(["interruption"])

    const second = model()
    const done = await journaled(second, store, { takeOver: true }).run("t", turn)
    expect(second.asked).toEqual([])
    expect(done.outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
    expect(done.messages.at(-1)?.parts).toMatchObject([
      { type: "text", text: "Half" },
      { type: "interrupted", reason: "cancelled" },
    ])
    expect(done.usage).toMatchObject({ inputTokens: 10, outputTokens: 4 })
  })

  test("a damaged journal is refused, unchanged, and closed", async () => {
    const text = (await whole()).replace("tool_use", "tool_usr")
    const store = await storeWith(text)
    await expect(TurnJournal.open(store, "t")).rejects.toMatchObject({ code: "damaged_record", record: 2 })
    await expect(TurnJournal.open(store, "t")).rejects.toMatchObject({ code: "damaged_record" })
    expect(await textOf(store)).toBe(text)
  })

  test("rewound records have no effect", async () => {
    const store = await storeWith(await whole())
    const journal = await TurnJournal.open(store, "t")
    await journal.rewind(2)
    const asked = model(["a"])
    const machine = await journal.resume(CONFIG)
    expect(machine.outstanding).toMatchObject({ type: "tool_calls", id: 2 })
    await runTurn(machine, { ...asked, tools: { call: async () => success, effects: () => "idempotent" } }, { journal })
    expect(asked.asked).toEqual([4])
    await journal.close()
    expect(kindsOf(await textOf(store))).toEqual([
      "llm_complete",
      "opened",
      "tool_results",
      "checkpoint_delivery",
      "llm_complete",
      "checkpoint_delivery",
      "end",
    ])
  })

  test("every record but the header can be removed; an unknown record is refused", async () => {
    const journal = await TurnJournal.open(await storeWith(await whole()), "t")
    await expect(journal.rewind(99)).rejects.toThrow(RangeError)
    await journal.rewind(1)
    expect(journal.recorded?.entries).toEqual([])
    await expect(journal.rewind(2)).rejects.toThrow(RangeError)
  })
})

describe("compaction", () => {
  test.each<[string, object]>([
    ["left out", {}],
    ["undefined", { snapshotEveryRecords: undefined, snapshotEveryChars: undefined }],
  ])("is due after a million characters where the options of snapshots are %s", async (_what, unset) => {
    const store = memoryJournalStore()
    const long = { output: { status: "success", value: "x".repeat(1_000_000) } } as const
    const host: Host = { ...model(["a"]), tools: { call: async () => long, effects: () => "idempotent" } }
    await journaled(host, store, { compactAboveChars: 1, ...unset }).run("t", turn)
    const journal = await TurnJournal.open(store, "t")
    expect(journal.recorded?.entries[0]?.record.type).toBe("snapshot")
    await journal.close()
  })

  test("refuses to rewind to before the snapshot", async () => {
    const store = memoryJournalStore()
    const host: Host = { ...model(["a"]), tools: { call: async () => success, effects: () => "idempotent" } }
    await journaled(host, store, { snapshotEveryRecords: 3, compactAboveChars: 1 }).run("t", turn)
    const journal = await TurnJournal.open(store, "t")
    const text = await textOf(store)
    const [snapshot] = journal.recorded?.entries ?? []
    expect(snapshot).toMatchObject({ number: 5, record: { type: "snapshot" } })
    await expect(journal.rewind(1)).rejects.toThrow(RangeError)
    expect(await textOf(store)).toBe(text)
    expect(journal.recorded?.entries[0]).toBe(snapshot)
  })

  test("resumes from the snapshot, and record numbers continue", async () => {
    const store = memoryJournalStore()
    const host: Host = { ...model(["a"], ["b"], ["c"]), tools: { call: async () => success, effects: () => "idempotent" } }
    const keeping = { snapshotEveryRecords: 4, compactAboveChars: 1 }
    await expect(journaled(host, dyingStore(store, 9), keeping).run("t", turn)).rejects.toThrow("killed")
    const stored = readJournal(await textOf(store))
    expect(stored.header.dropped).toBeGreaterThan(0)
    expect(stored.entries[0]?.record.type).toBe("snapshot")
    expect(stored.entries[0]?.number).toBe((stored.header.dropped ?? 0) + 2)
    const done = await journaled(host, store, { ...keeping, takeOver: true }).run("t", turn)
    expect(done.messages).toHaveLength(8)
    const end = readJournal(await textOf(store))
    expect(replay(end, CONFIG).outcome).toEqual(done.outcome)
    expect(() => replay(end, CONFIG, { at: 1 })).toThrow(expect.objectContaining({ code: "dropped_record" }))
  })

  test("keeps the start of calls that may have run", async () => {
    const store = memoryJournalStore()
    const never = new Promise<never>(() => {})
    const tools = (cutOff: boolean): Host => ({
      ...model(["a=pay", "b=look"]),
      tools: {
        effects: ({ toolName }) => (toolName === "pay" ? "once" : "none"),
        call: async ({ toolName }) => (toolName === "pay" && cutOff ? never : success),
      },
    })
    const journal = await TurnJournal.open(store, "t", { snapshotEveryRecords: 1, compactAboveChars: 1 })
    const machine = await journal.begin(CONFIG, START)
    let lookedUp: () => void = () => {}
    const looked = new Promise<void>((resolve) => {
      lookedUp = resolve
    })
    const first: Host = {
      ...tools(true),
      save: ({ turn: { position } }) => void (position.state.type === "waiting_tools" && position.state.results[1] && lookedUp()),
    }
    runTurn(machine, first, { journal }).catch(() => {})
    await looked

    const second = await TurnJournal.open(store, "t", { takeOver: true, snapshotEveryRecords: 1, compactAboveChars: 1 })
    const taken = await second.resume(CONFIG)
    await second.settled(taken)
    expect(second.mayHaveRun(2, "a")).toBe(true)
    await second.close()
    const third = await TurnJournal.open(store, "t")
    expect(third.recorded?.entries.map(({ record }) => record.type)).toEqual(["call_started", "snapshot"])
    const done = await runTurn(await third.resume(CONFIG), tools(false), { journal: third })
    expect(JSON.stringify(done.messages)).toContain("may have taken effect or not")
  })
})

describe("a host command", () => {
  const command = { type: "cancel", reason: "enough" } as const

  /** A store that calls `onWrite` with each text before it is stored. */
  function watchedStore(store: JournalStore, onWrite: (text: string) => void): JournalStore {
    return {
      ...store,
      async open(name, options) {
        const stored = await store.open(name, options)
        const keep = async (text: string, act: () => Promise<void>): Promise<void> => {
          onWrite(text)
          // Lets the callback act before the text is stored.
          await new Promise((resolve) => setImmediate(resolve))
          await act()
        }
        return {
          read: () => stored.read(),
          append: (text) => keep(text, () => stored.append(text)),
          replace: async (parts) => {
            const text = await wholeText(parts)
            await keep(text, () => stored.replace(text))
          },
          close: () => stored.close(),
        }
      },
    }
  }

  function expectCancelled(text: string): void {
    const journal = readJournal(text, journalValidation)
    expect(verifyReplay(journal, CONFIG).outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
    expect(resume(journal, CONFIG).outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
  }

  test.each([{ snapshotEveryRecords: 0 }, { snapshotEveryRecords: 1 }, { snapshotEveryRecords: 1, compactAboveChars: 1 }])(
    "is not lost and replays alike, whatever is being written when it arrives: %j",
    async (keeping) => {
      // The header is written before there is a turn to command.
      let moment = 1
      for (let inTime = true; inTime; moment += 1) {
        const store = memoryJournalStore()
        let commanded: Promise<void> | undefined
        let writes = -1
        const watched = watchedStore(store, () => {
          writes += 1
          if (writes === moment) commanded = journal.command(machine, command)
        })
        const journal = await TurnJournal.open(watched, "t", keeping)
        const machine = await journal.begin(CONFIG, START, { turnId: "turn-1" })
        await runTurn(machine, { ...model(["a", "b"], ["c"]), tools: { call: async () => success, effects: () => "idempotent" } }, { journal })
        await commanded
        await journal.close()
        // A command that arrives while the last answer is written is too late: that answer ends the turn.
        inTime = machine.outcome?.type === "stopped"
        if (inTime) expectCancelled(await textOf(store))
      }
      expect(moment).toBeGreaterThan(6)
    },
  )

  test.each([
    ["an unknown key", { type: "apply", actions: [{ type: "advance_iteration", twice: true }] }],
    ["another type", { type: "pause" }],
    ["a reason that is not a string", { type: "cancel", reason: 7 }],
    ["a partial answer that is not one", { type: "cancel", partial: { text: 5 } }],
    ["a value that is not JSON", { type: "apply", actions: [{ type: "append_events", events: [{ type: "protocol", event: Number.NaN }] }] }],
  ])("with %s is refused and not recorded, because the journal could not be read again", async (_what, wrong) => {
    const store = memoryJournalStore()
    const journal = await TurnJournal.open(store, "t")
    const machine = await journal.begin(CONFIG, START)
    await expect(journal.command(machine, wrong as never)).rejects.toMatchObject({ name: "SchemaError", code: "invalid_record" })
    await journal.close()
    expect(kindsOf(await textOf(store))).toEqual([])
  })

  test("that arrives after the end is not recorded, so the end is the last record", async () => {
    const store = memoryJournalStore()
    const journal = await TurnJournal.open(store, "t")
    const machine = await journal.begin(CONFIG, START)
    await runTurn(machine, model(), { journal })
    await journal.command(machine, command)
    await journal.close()
    expect(kindsOf(await textOf(store))).toEqual(["llm_complete", "checkpoint_delivery", "end"])
  })

  test("that is being written when an answer arrives is carried out first", async () => {
    const store = memoryJournalStore()
    let answerNow = (): void => {}
    const answered = new Promise<void>((resolve) => {
      answerNow = resolve
    })
    const watched = watchedStore(store, (text) => {
      if (text.includes('"interruption"')) answerNow()
    })
    const journal = await TurnJournal.open(watched, "t")
    const machine = await journal.begin(CONFIG, START, { turnId: "turn-1" })
    const host: Host = {
      async llmCall(effect, context) {
        journal.command(machine, command).catch(() => {})
        await answered
        return model().llmCall(effect, context)
      },
    }
    expect((await runTurn(machine, host, { journal })).outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
    await journal.close()
    expectCancelled(await textOf(store))
  })
})

describe("idempotency", () => {
  test("executors receive keys that identify the work among all work of the host", async () => {
    const keys: (string | undefined)[] = []
    const host: Host = {
      llmCall: async (effect, context) => {
        keys.push(context.idempotencyKey)
        return model(["a", "b"]).llmCall(effect, context)
      },
      tools: {
        call: async (_call, context) => {
          keys.push(context.idempotencyKey)
          return success
        },
        effects: () => "idempotent",
      },
      checkpoint: async (_effect, context) => {
        keys.push(context.idempotencyKey)
        return undefined
      },
    }
    await journaled(host, memoryJournalStore()).run("t", turn)
    expect(keys).toEqual(["turn-1:1", "turn-1:2:a", "turn-1:2:b", "turn-1:3", "turn-1:4", "turn-1:5"])
  })
})

type PayTool = "recovers" | "finds_nothing" | "not_run" | "throws" | "no_recover"

describe("a once call that a crash interrupted", () => {
  /** Kills the first process while the call runs. Returns what the model sees in the second, and how often the tool ran. */
  async function cutOff(kind: PayTool): Promise<{ readonly result: string; readonly ran: number; readonly kinds: readonly string[] }> {
    const store = memoryJournalStore()
    let ran = 0
    const keys: (string | undefined)[] = []
    const pay = (hangs: boolean) =>
      defineTool({
        name: "pay",
        description: "Pays.",
        input: z.object({}),
        effects: "once",
        execute: async (_input, { idempotencyKey }) => {
          ran += 1
          keys.push(idempotencyKey)
          return hangs ? new Promise<string>(() => {}) : "paid now"
        },
        ...(kind !== "no_recover" && {
          recover: async (_input: object, { idempotencyKey }: { readonly idempotencyKey: string | undefined }) => {
            keys.push(idempotencyKey)
            if (kind === "throws") throw new Error("no connection")
            if (kind === "finds_nothing") return undefined
            return kind === "not_run" ? ({ ran: false } as const) : ({ ran: true, value: "paid before" } as const)
          },
        }),
      })
    const journal = await TurnJournal.open(store, "t")
    const first = toolbox([pay(true)])
    const machine = await journal.begin({ ...CONFIG, tools: first.specs }, START, { turnId: "turn-1" })
    runTurn(machine, { ...model(["a=pay"]), tools: first }, { journal }).catch(() => {})
    while (ran === 0) await new Promise((resolve) => setImmediate(resolve))

    const second = toolbox([pay(false)])
    const done = await journaled({ ...model(["a=pay"]), tools: second }, store, { takeOver: true }).run("t", {
      config: { ...CONFIG, tools: second.specs },
      start: START,
    })
    expect(new Set(keys)).toEqual(new Set(["turn-1:2:a"]))
    const answer = done.messages.flatMap(({ parts }) => parts).find(({ type }) => type === "tool_result")
    return { result: answer?.type === "tool_result" ? answer.text : "", ran, kinds: kindsOf(await textOf(store)) }
  }

  test("is looked up, and its result is used, if the tool can do that", async () => {
    expect(await cutOff("recovers")).toEqual({
      result: "paid before",
      ran: 1,
      kinds: ["llm_complete", "call_started", "opened", "tool_results", "checkpoint_delivery", "llm_complete", "checkpoint_delivery", "end"],
    })
  })

  test.each(["finds_nothing", "throws", "no_recover"] as const)(
    "does not run again, and is reported as unknown, if its outcome is unknown: %s",
    async (kind) => {
      const { result, ran } = await cutOff(kind)
      expect(ran).toBe(1)
      expect(result).toContain("it may have taken effect or not, and was not run again.")
      expect(result.includes("no connection")).toBe(kind === "throws")
    },
  )

  test("runs if it is found not to have run", async () => {
    expect(await cutOff("not_run")).toMatchObject({ result: "paid now", ran: 2 })
  })

  test("runs if its start was never recorded", async () => {
    const store = memoryJournalStore()
    const ran: string[] = []
    const host: Host = {
      ...model(["a=pay"]),
      tools: {
        effects: () => "once",
        call: async ({ callId }) => {
          ran.push(callId)
          return success
        },
      },
    }
    await expect(journaled(host, dyingStore(store, 2)).run("t", turn)).rejects.toThrow("killed")
    expect(ran).toEqual([])
    await journaled(host, store, { takeOver: true }).run("t", turn)
    expect(ran).toEqual(["a"])
  })
})
