import { describe, expect, it } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import { wrapDriver } from "../../src/drivers/wrap-driver.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import { wrapProjector } from "../../src/projectors/wrap-projector.ts"
import { readJournal } from "../../src/replay/journal.ts"
import type { ViewedTurn } from "../../src/viewer/data.ts"
import { configOf } from "../../src/viewer/model/agent.ts"
import { journalOf } from "../../src/viewer/model/journal.ts"
import { recoveredAgent } from "../../src/viewer/model/recovered.ts"
import { storedSteps } from "../../src/viewer/model/stored-steps.ts"
import { TurnReplay } from "../../src/viewer/model/turn-replay.ts"
import { TurnView } from "../../src/viewer/model/turn-view.ts"
import { AGENT, CONFIG, recorded, viewed } from "./journals.ts"

const TEXT = recorded({ iterations: 2 })

function view(turn: ViewedTurn): TurnView {
  return new TurnView({ title: "", turns: [turn], threads: [] }, 0)
}

describe("a turn that the page replays", () => {
  const shown = view({ ...viewed(TEXT), agent: AGENT })
  const row = (number: number) => shown.rows.find((each) => each.number === number) ?? { index: -1, number }

  it("shows the states, the driver's actions and what the history gained, without replaying the rest", () => {
    const first = view({ ...viewed(TEXT), agent: AGENT })
    const step = first.step({ index: 0, number: 2 })
    expect(step).toMatchObject({ number: 2, states: ["waiting_llm", "waiting_tools"], effect: { type: "llm_call", id: 1 }, iteration: 1 })
    expect(step?.asked.map(({ callback }) => callback)).toEqual(["onLlmComplete"])
    expect(step?.asked[0]?.actions.at(-1)).toMatchObject({ type: "start_tools", calls: [{ toolName: "look" }, { toolName: "note" }] })
    expect(step?.records.map(({ type }) => type)).toEqual(["conversation"])
    expect(first.verdict).toBeUndefined()
    expect(first.replay?.progress).toBeLessThan(0.5)
  })

  it("shows the way over the next iteration", () => {
    expect(shown.step(row(4))?.states).toEqual(["waiting_checkpoint", "prepare_iteration", "waiting_llm"])
    expect(shown.step(row(9))?.states).toEqual(["waiting_checkpoint", "finished"])
  })

  it("computes requests, and the one before each", () => {
    const pair = shown.request(row(5))
    expect(pair?.previousRecord).toBe(2)
    expect(pair?.broken).toBeUndefined()
    expect(pair?.previous?.messages.length).toBe(2)
    expect(pair?.request.messages.map(({ role }) => role)).toEqual(["system", "user", "assistant", "user"])
    expect(shown.request(row(2))).toMatchObject({ previous: undefined })
    expect(shown.request(row(3))).toBeUndefined()
  })

  it("agrees with the recorded effects", () => {
    shown.replay?.run()
    // Three model calls, two batches, three checkpoints.
    expect(shown.verdict).toEqual({ type: "agrees", effects: 8 })
    expect([shown.compared, shown.breaks]).toEqual([2, []])
  })

  it("stops where the recorded effects differ, and keeps what is known before", () => {
    const projector = wrapProjector(chatProjector, { request: ({ messages }) => (messages.length > 2 ? { sessionId: "other" } : {}) })
    const text = recorded({ iterations: 2 }, { ...CONFIG, projector })
    const differing = view({ ...viewed(text), agent: AGENT })
    differing.replay?.run()
    expect(differing.verdict).toMatchObject({ type: "differs", record: 5 })
    expect(differing.step({ index: 2, number: 4 })?.states[0]).toBe("waiting_checkpoint")
    expect([3, 5].map((index) => differing.step({ index, number: index + 2 }))).toEqual([undefined, undefined])
  })

  it("says which keys of the configuration differ", () => {
    const other = view({ ...viewed(TEXT), agent: { ...AGENT, data: { ...AGENT.data, model: "m-2" } } })
    expect(other.verdict).toMatchObject({ type: "differs", record: 1, message: expect.stringContaining("model") })
  })

  it("reports where a prefix breaks", () => {
    const changed = { role: "system", blocks: [{ type: "text", text: "Changed." }] } as const
    const projector = wrapProjector(chatProjector, {
      request: ({ messages }) => (messages.length < 5 ? {} : { messages: [changed, ...messages.slice(1)] }),
    })
    const config = { ...CONFIG, projector }
    const journal = readJournal(recorded({ iterations: 2 }, config))
    const replay = new TurnReplay(journal, config)
    replay.run()
    expect(replay.verdict?.type).toBe("agrees")
    expect(replay.breaks).toEqual([{ record: 8, broken: { at: "/messages/0/blocks/0/text", reason: "system", marked: false } }])
    expect(replay.request(6)).toMatchObject({ previousRecord: 5, broken: { reason: "system" } })
  })

  it("is the same with snapshots, which the page has short", () => {
    const text = recorded({ iterations: 3 }, CONFIG, { snapshotEveryRecords: 3 })
    const turn = viewed(text)
    expect(journalOf(turn).entries.map(({ record }) => record)).toMatchObject(readJournal(text).entries.map(({ record }) => record))
    const shortened = view({ ...turn, agent: AGENT })
    shortened.replay?.run()
    expect(shortened.verdict?.type).toBe("agrees")
  })
})

describe("a turn that was replayed when the page was made", () => {
  const journal = readJournal(TEXT)
  const steps = storedSteps(new TurnReplay(journal, CONFIG), journal)
  const stored = view({ ...viewed(TEXT), steps })
  const live = view({ ...viewed(TEXT), agent: AGENT })

  it("shows the same steps and requests", () => {
    for (const row of stored.rows) {
      expect(stored.step(row)).toMatchObject({ ...live.step(row) })
      const [one, other] = [stored.request(row), live.request(row)]
      expect(JSON.parse(JSON.stringify(one ?? null))).toEqual(JSON.parse(JSON.stringify(other ?? null)))
    }
    expect(stored.knowledge).toBe("stored")
  })

  it("stores each message of a request once", () => {
    const text = JSON.stringify(steps.steps.map(({ request }) => request ?? null))
    expect(text.split("You look things up.").length - 1).toBe(1)
    expect(text.split("Look at everything.").length - 1).toBe(1)
  })
})

describe("a turn of another program", () => {
  it("is replayed with what its digests say", () => {
    const config = { ...CONFIG, maxIterations: 37, maxContextTokens: 128_000 }
    const text = recorded({ iterations: 2 }, config)
    const agent = recoveredAgent(readJournal(text))
    expect(agent).toMatchObject({ driver: "chat", projector: "chat", data: { maxIterations: 37, maxContextTokens: 128_000 }, unknown: ["model"] })
    const shown = view({ ...viewed(text), ...(agent !== undefined && { agent }) })
    shown.replay?.run()
    expect(shown.verdict).toEqual({ type: "agrees", effects: 8 })
    expect(shown.step({ index: 2, number: 4 })?.states).toEqual(["waiting_checkpoint", "prepare_iteration", "waiting_llm"])
  })

  it("with a driver of its own shows the recorded facts, and says why", () => {
    const config = { ...CONFIG, driver: wrapDriver(chatDriver(), { name: "mine" }) }
    const text = recorded({ iterations: 1 }, config, { keepEffects: true })
    expect(recoveredAgent(readJournal(text))).toBeUndefined()
    const shown = view({ ...viewed(text), note: "The driver mine is not known here." })
    expect([shown.knowledge, shown.note, shown.verdict]).toEqual(["recorded", "The driver mine is not known here.", undefined])
    const row = shown.rows.findLast(({ kind }) => kind === "model")
    expect(row && shown.request(row)).toMatchObject({ request: { model: "m-1" }, previous: { model: "m-1" } })
  })

  it("makes a driver for each kind that the page knows", () => {
    expect(configOf(AGENT).driver.name).toBe("chat")
    expect(configOf({ ...AGENT, driver: "compacting(chat)", projector: "view" }).driver.name).toBe("compacting(chat)")
    const goal = { threadId: "t", turnId: "t.1", startedAt: 0, origin: "user", policy: {} } as const
    expect(configOf({ ...AGENT, goal }).driver.name).toBe("goal(chat)")
  })
})
