import { describe, expect, test } from "vitest"
import { journalValidation } from "../../../src/checks/records.ts"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { codeDriver } from "../../../src/drivers/code.ts"
import type { Host } from "../../../src/hosts/host.ts"
import { type JournaledOptions, journaled } from "../../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { JournalStore } from "../../../src/hosts/journal/store.ts"
import { TurnJournal } from "../../../src/hosts/journal/turn-journal.ts"
import { runThread, Thread } from "../../../src/hosts/thread/thread.ts"
import { canonicalJson } from "../../../src/json.ts"
import type { TurnConfig } from "../../../src/machine/config.ts"
import { compareJournals } from "../../../src/replay/compare.ts"
import { fork } from "../../../src/replay/fork.ts"
import { compacted, type Journal, readJournal } from "../../../src/replay/journal.ts"
import { journalOutline } from "../../../src/replay/outline.ts"
import { prefixBreaks } from "../../../src/replay/prefix.ts"
import { Recorder } from "../../../src/replay/recorder.ts"
import { replay, resume } from "../../../src/replay/replay.ts"
import { verifyReplay } from "../../../src/replay/verify.ts"
import type { OutputPart } from "../../../src/schemas/llm.ts"
import { CONFIG as BASE, START } from "../../replay/support.ts"
import { readText, wholeText } from "../../support/stored-text.ts"

const OLD: TurnConfig = { ...BASE, model: "small", generation: { temperature: 1 } }
const NEW: TurnConfig = { ...BASE, model: "large", generation: { temperature: 1, maxOutputTokens: 500 } }
const USAGE = { inputTokens: 5, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }
const turn = { start: START, turnId: "turn-1" }

interface Recorded extends Host {
  /** The model of each call, and its id. */
  readonly asked: string[]
}

/** A model that requests two tools, one after the other, and then answers. */
function host(): Recorded {
  const asked: string[] = []
  return {
    asked,
    async llmCall({ id, request }) {
      asked.push(`${request.model} ${canonicalJson(request.generation)} ${id}`)
      const said = request.messages.filter(({ role }) => role === "assistant").length
      const parts: OutputPart[] = said > 1 ? [] : [{ type: "tool_call", callId: `c${said}`, toolName: "count", inputJson: "{}" }]
      return { text: said > 1 ? "Done." : "", parts, usage: USAGE, terminalReason: said > 1 ? "stop" : "tool_use" }
    },
    tools: { effects: () => "idempotent", call: async ({ callId }) => ({ output: { status: "success", value: callId } }) },
  }
}

/** A store whose process is killed in the write with this number, after a part of the text was written. */
function killedIn(store: JournalStore, write: number, part = 0): JournalStore {
  let left = write
  return {
    ...store,
    async open(name) {
      const stored = await store.open(name, { takeOver: true })
      const guard = async (text: string, put: (text: string) => Promise<void>, torn: (text: string) => Promise<void>): Promise<void> => {
        left -= 1
        if (left > 0) return put(text)
        if (left === 0 && part > 0) await torn(text.slice(0, Math.floor(text.length * part)))
        throw new Error("killed")
      }
      return {
        read: () => stored.read(),
        append: (text) =>
          guard(
            text,
            (whole) => stored.append(whole),
            (torn) => stored.append(torn),
          ),
        replace: async (text) =>
          guard(
            await wholeText(text),
            (whole) => stored.replace(whole),
            async () => {},
          ),
        close: async () => {},
      }
    },
  }
}

async function journalIn(store: JournalStore, name = "t"): Promise<Journal> {
  return readJournal((await readText(store, name)) ?? "", journalValidation)
}

const typesOf = ({ entries }: Journal): readonly string[] => entries.map(({ record }) => record.type)
const ACCEPT = { resume: { reconfigure: true } } as const

/** A journal that was written under the old configuration, up to the given write. */
async function begun(writes: number, options: JournaledOptions = {}): Promise<JournalStore> {
  const store = memoryJournalStore()
  await expect(journaled(host(), killedIn(store, writes), options).run("t", { ...turn, config: OLD })).rejects.toThrow("killed")
  return store
}

describe("a turn that was begun under another configuration", () => {
  test.each([{}, { snapshotEveryRecords: 1 }])("is refused by an error that names what changed and the option: %j", async (options) => {
    const store = await begun(6, options)
    const text = await readText(store, "t")
    const run = journaled(host(), store, { takeOver: true }).run("t", { ...turn, config: NEW })
    await expect(run).rejects.toMatchObject({
      name: "ReplayDivergence",
      code: "configuration_differs",
      record: 1,
      message:
        "The journal was written with another configuration. Different keys: model, generation. Resume the turn with that configuration, or continue it with this one: resume: { reconfigure: true }.",
    })
    expect(await readText(store, "t")).toBe(text)
    const { differences } = await run.catch((error) => error)
    expect(differences.map(({ path }: { readonly path: string }) => path.split("/").slice(0, 3).join("/"))).toEqual([
      "/config/model",
      "/config/generation",
    ])
    // A snapshot has a request, so the values are known.
    if ("snapshotEveryRecords" in options)
      expect(differences).toEqual([
        { path: "/config/model", expected: "small", received: "large" },
        { path: "/config/generation/maxOutputTokens", expected: undefined, received: 500 },
      ])
  })

  test("continues with it if that is accepted, and its journal says so", async () => {
    const store = await begun(6)
    const before = await journalIn(store)
    const second = host()
    const done = await journaled(second, store, { ...ACCEPT, takeOver: true }).run("t", { ...turn, config: NEW }, { now: () => 9 })
    expect(done.outcome.type).toBe("finished")
    expect(new Set(second.asked.map((asked) => asked.split(" ")[0]))).toEqual(new Set(["large"]))

    const journal = await journalIn(store)
    const at = before.entries.length
    expect(typesOf(journal).slice(at, at + 3)).toEqual(["opened", "reconfigured", "snapshot"])
    const number = at + 3
    expect(journal.entries[at + 1]).toMatchObject({ number, record: { driver: { name: "chat", version: 1 }, at: 9 } })

    // What follows is compared with the new configuration, what comes before with the old one.
    expect(resume(journal, NEW).outcome).toEqual(done.outcome)
    expect(replay(journal, NEW).outcome).toEqual(done.outcome)
    expect(replay(journal, OLD, { at: number }).outstanding?.id).toBe(replay(journal, NEW, { at: number + 1 }).outstanding?.id)
    expect(() => replay(journal, OLD)).toThrow(expect.objectContaining({ code: "configuration_differs", record: number }))
    expect(() => replay(journal, NEW, { at: 2 })).toThrow(expect.objectContaining({ code: "configuration_differs", record: 1 }))
    const [old, current] = [verifyReplay(journal, OLD), verifyReplay(journal, NEW)]
    expect([old.skippedRecords, current.skippedRecords]).toEqual([journal.entries.length + 2 - number, number - 1])
    expect([old.effects + current.effects, old.outcome, current.outcome]).toEqual([8, undefined, done.outcome])
    expect(() => verifyReplay(journal, { ...NEW, model: "third" })).toThrow(expect.objectContaining({ code: "configuration_differs" }))
    expect(() => verifyReplay(journal, NEW, { checkConfig: false })).toThrow(expect.objectContaining({ code: "effect_differs", record: 2 }))

    expect(prefixBreaks(journal, NEW)).toMatchObject({ breaks: [], complete: false })
    expect(journalOutline(journal).rows[number - 1]).toMatchObject({ type: "reconfigured", driver: { name: "chat", version: 1 }, at: 9 })
    expect(compareJournals(journal, journal).parting).toBeUndefined()
    const forked = readJournal(fork(journal, number + 2, undefined, { turnId: "turn-2" }), journalValidation)
    expect(resume(forked, NEW).outstanding?.id).toBe(replay(journal, NEW, { at: number + 1 }).outstanding?.id)
    const short = readJournal(compacted(journal), journalValidation)
    expect(short.header.config).toEqual(headerConfig(NEW))
    expect(replay(short, NEW).outcome).toEqual(done.outcome)
    expect(() => replay(short, OLD)).toThrow(expect.objectContaining({ code: "configuration_differs" }))
  })

  const headerConfig = (config: TurnConfig) => readJournal(Recorder.begin(config, START, "x").line).header.config

  test.each([{}, { snapshotEveryRecords: 1 }])("makes an outstanding model call again with the new settings, under its id: %j", async (options) => {
    // Killed while the second model call runs.
    for (const killed of [5, 6, 7]) {
      const store = await begun(killed, options)
      const { outstanding } = resume(await journalIn(store), OLD)
      if (outstanding?.type !== "llm_call") continue
      const second = host()
      await journaled(second, store, { ...ACCEPT, takeOver: true }).run("t", { ...turn, config: NEW })
      expect(second.asked[0]).toBe(`large {"maxOutputTokens":500,"temperature":1} ${outstanding.id}`)
    }
  })

  test("loses settings that the new configuration does not have, and a driver's own settings stay", async () => {
    const driver = chatDriver()
    const own: TurnConfig["driver"] = {
      ...driver,
      prepareIteration: (context) =>
        driver
          .prepareIteration(context)
          .map((action) => (action.type === "start_llm" ? { ...action, request: { ...action.request, generation: { temperature: 0 } } } : action)),
    }
    const config: TurnConfig = { ...OLD, cache: "off", driver: own }
    const store = memoryJournalStore()
    const options = { snapshotEveryRecords: 1 }
    await expect(journaled(host(), killedIn(store, 3), options).run("t", { ...turn, config })).rejects.toThrow("killed")
    const machine = resume(await journalIn(store), { ...NEW, driver: own }, { reconfigure: true })
    const { outstanding } = machine
    if (outstanding?.type !== "llm_call") throw new Error("No model call is outstanding.")
    expect(outstanding.request).toMatchObject({ model: "large", generation: { temperature: 0 } })
    expect("cache" in outstanding.request).toBe(false)
  })

  test("keeps its prompt and tools, and a change of these alone is not recorded", async () => {
    const store = await begun(6)
    await journaled(host(), store, { ...ACCEPT, takeOver: true }).run("t", { ...turn, config: { ...OLD, systemPrompt: "You guess.", tools: [] } })
    expect(typesOf(await journalIn(store))).not.toContain("reconfigured")
  })

  test("is resumed under a change that leaves its requests as they are, which is recorded", async () => {
    const store = await begun(6)
    const done = await journaled(host(), store, { takeOver: true }).run("t", { ...turn, config: { ...OLD, maxIterations: 9 } })
    expect(done.outcome.type).toBe("finished")
    expect(typesOf(await journalIn(store))).toContain("reconfigured")
  })

  test("that is past a lowered limit ends by the limit", async () => {
    const store = await begun(5)
    const lowered = { ...OLD, maxIterations: 1 }
    await expect(journaled(host(), store, { takeOver: true }).run("t", { ...turn, config: lowered })).rejects.toMatchObject({
      code: "configuration_differs",
      differences: [{ path: "/config/maxIterations" }],
    })
    const { outcome } = await journaled(host(), store, { ...ACCEPT, takeOver: true }).run("t", { ...turn, config: lowered })
    expect(outcome).toMatchObject({ type: "stopped", stop: { type: "max_iterations" } })
    expect(verifyReplay(await journalIn(store), lowered).outcome).toEqual(outcome)
  })

  test.each([
    ["/driver/version", { ...OLD.driver, version: 2 }],
    ["/driver/name", { ...OLD.driver, name: "mine" }],
  ])("is refused under another driver, and accepted by the option where its state allows it: %s", async (path, driver) => {
    for (const options of [{}, { snapshotEveryRecords: 1 }]) {
      const store = await begun(6, options)
      const config = { ...OLD, driver }
      await expect(journaled(host(), store, { takeOver: true }).run("t", { ...turn, config })).rejects.toMatchObject({
        code: "configuration_differs",
        differences: [{ path }],
      })
      const { outcome } = await journaled(host(), store, { ...ACCEPT, takeOver: true }).run("t", { ...turn, config })
      expect(outcome.type).toBe("finished")
      expect(verifyReplay(await journalIn(store), config).outcome).toEqual(outcome)
    }
  })

  test("is refused under a driver that the answers do not fit, also with the option, and nothing is written", async () => {
    const store = await begun(6)
    const text = await readText(store, "t")
    const config = { ...OLD, driver: codeDriver() }
    await expect(journaled(host(), store, { ...ACCEPT, takeOver: true }).run("t", { ...turn, config })).rejects.toMatchObject({
      name: "ReplayDivergence",
      code: "effect_differs",
      message: expect.stringMatching(/^The turn cannot continue under this configuration\. /),
    })
    expect(await readText(store, "t")).toBe(text)
  })

  test("that has ended returns its end, and records nothing", async () => {
    const store = memoryJournalStore()
    const done = await journaled(host(), store).run("t", { ...turn, config: OLD })
    const text = await readText(store, "t")
    expect((await journaled(host(), store).run("t", { ...turn, config: NEW })).outcome).toEqual(done.outcome)
    const journal = await TurnJournal.open(store, "t")
    expect((await journal.resume({ ...NEW, driver: { ...NEW.driver, version: 7 } })).outcome).toEqual(done.outcome)
    await journal.close()
    expect(await readText(store, "t")).toBe(text)
  })

  test("continues with changed code of a projector, if that is accepted", async () => {
    const store = await begun(6)
    const config: TurnConfig = { ...OLD, projector: (input) => ({ ...OLD.projector(input), toolChoice: "none" }) }
    await expect(journaled(host(), store, { takeOver: true }).run("t", { ...turn, config })).rejects.toMatchObject({ code: "effect_differs" })
    const { outcome } = await journaled(host(), store, { takeOver: true }).run("t", { ...turn, config }, ACCEPT)
    expect(outcome.type).toBe("finished")
    expect(typesOf(await journalIn(store))).toContain("reconfigured")
    expect(replay(await journalIn(store), config).outcome).toEqual(outcome)
  })
})

describe("two deployments in a row, one back, with crashes", () => {
  const keeping: readonly JournaledOptions[] = [{}, { snapshotEveryRecords: 1 }, { snapshotEveryRecords: 2, compactAboveChars: 1 }]

  test.each(keeping)("the turn ends, and every part of its journal replays under its own configuration: %j", async (options) => {
    for (const part of [0, 0.5, 0.99]) {
      for (let first = 2; first < 10; first += 1) {
        for (let second = 1; second < 5; second += 1) {
          const store = memoryJournalStore()
          const accept = { ...options, ...ACCEPT }
          const run = (opened: JournalStore, config: TurnConfig) =>
            journaled(host(), opened, { ...accept, takeOver: true }).run("t", { ...turn, config })
          await run(killedIn(store, first, part), OLD).catch(() => {})
          await run(killedIn(store, second, part), NEW).catch(() => {})
          await run(killedIn(store, second, part), OLD).catch(() => {})
          // Without the option, under the last configuration that was recorded.
          const { outcome } = await run(store, OLD)
          expect(outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Done." } })
          const journal = await journalIn(store)
          for (const config of [OLD, NEW]) {
            try {
              verifyReplay(journal, config)
            } catch (error) {
              expect(error).toMatchObject({ code: "configuration_differs" })
            }
          }
          expect(resume(journal, OLD).outcome).toEqual(outcome)
        }
      }
    }
  })

  test("a record whose snapshot was torn off changes nothing", async () => {
    const store = await begun(6)
    const torn = killedIn(store, 1, 0.9)
    await expect(journaled(host(), torn, ACCEPT).run("t", { ...turn, config: NEW })).rejects.toThrow("killed")
    const journal = await journalIn(store)
    expect(typesOf(journal).slice(-2)).toEqual(["opened", "reconfigured"])
    expect(() => resume(journal, NEW)).toThrow(expect.objectContaining({ code: "configuration_differs", record: 1 }))
    expect(verifyReplay(journal, OLD).skippedRecords).toBe(0)
    // A snapshot right after it would complete it.
    const recorder = Recorder.resume(journal, { snapshotEveryRecords: 1 })
    const machine = resume(journal, OLD)
    expect([recorder.snapshot(machine), recorder.snapshotIfDue(machine)]).toEqual(["", ""])
    expect(recorder.opened() + recorder.snapshot(machine)).toContain('"snapshot"')
    const { outcome } = await journaled(host(), store, { takeOver: true }).run("t", { ...turn, config: OLD })
    expect(outcome.type).toBe("finished")
    expect(verifyReplay(await journalIn(store), OLD).skippedRecords).toBe(0)
  })
})

describe("a thread", () => {
  test.each(["the thread", "the run"] as const)("continues its open turn after a deployment, by an option of %s", async (of) => {
    const store = memoryJournalStore()
    const first = await Thread.open(killedIn(store, 8), "t", { config: OLD })
    await first.say("Count.")
    await expect(runThread(first, host())).rejects.toThrow("killed")

    const refused = await Thread.open(store, "t", { config: NEW, takeOver: true })
    await expect(runThread(refused, host())).rejects.toMatchObject({ code: "configuration_differs" })
    await refused.close()

    const second = await Thread.open(store, "t", { config: NEW, ...(of === "the thread" && ACCEPT) })
    const { outcome } = await runThread(second, host(), of === "the run" ? ACCEPT : {})
    expect(outcome?.type).toBe("finished")
    await second.close()
    expect(typesOf(await journalIn(store, "t.1"))).toContain("reconfigured")
  })
})
