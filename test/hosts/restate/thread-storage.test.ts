import { describe, expect, test, vi } from "vitest"
import type { Host } from "../../../src/hosts/host.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { RestateThreadOptions, SayResult } from "../../../src/hosts/restate/thread.ts"
import { MAX_PIECE_CHARS, objectStore, piecesOf } from "../../../src/hosts/restate/thread-store.ts"
import { Thread } from "../../../src/hosts/thread/thread.ts"
import type { LlmRequest, LlmResponse } from "../../../src/wire/llm.ts"
import { CONFIG } from "../../replay/support.ts"
import { says, shown, type World } from "../thread/support.ts"
import type { FakeEngine } from "./thread-engine.ts"
import { engineOf, START_AT, snapshotOf, statusOf, until, useClock, worldOf } from "./thread-support.ts"

useClock()

const TOOLS = { ...CONFIG, tools: ["count", "pay"].map((name) => ({ name, description: name, inputSchema: { type: "object" } })) }

/** `calls` iterations with one tool call each, then text. */
function counts(calls: number): (asked: number, request: LlmRequest) => LlmResponse {
  return (_asked, { messages }) => {
    const done = messages.filter(({ role }) => role === "assistant").length
    return done < calls ? says(`Step ${done}.`, `c${done}=count {"n":${done}}`) : says("Done.")
  }
}

function story(answer: World["answer"], more: Partial<RestateThreadOptions> = {}) {
  const ran: string[] = []
  const world = worldOf(answer)
  const host: Host = {
    ...world.host,
    tools: {
      effects: () => "once",
      call: async ({ callId, args }) => {
        ran.push(callId)
        return { output: { status: "success", value: { args, text: "x".repeat(400) } } }
      },
    },
  }
  const engine = engineOf(world, { host, config: TOOLS, ...more })
  return { engine, world, ran, host }
}

const RUNS = (engine: FakeEngine) => engine.invocations.filter(({ method }) => method === "run")

describe("a long turn", () => {
  test("continues in new invocations, with the same history as in one, and each call once", async () => {
    const whole = story(counts(40))
    await whole.engine.call("agent", "t1", "say", "Count.")
    vi.setSystemTime(START_AT)
    const cut = story(counts(40), { segment: { effects: 10 } })
    const rest = await cut.engine.call<SayResult>("agent", "t1", "say", "Count.")
    expect(rest).toMatchObject({ outcome: { finish: { text: "Done." } } })
    expect((await snapshotOf(cut.engine)).history).toEqual((await snapshotOf(whole.engine)).history)
    expect(cut.ran).toEqual(whole.ran)
    expect(RUNS(cut.engine).filter(({ commands }) => commands.length > 20).length).toBeGreaterThan(6)
    // Nothing is left of the segments.
    expect(Object.keys(cut.engine.sizes("agent", "t1")).filter((key) => key.startsWith("turn "))).toEqual([])
  })

  test("is killed in the middle of segments, and each call still runs at most once", async () => {
    const { engine, ran } = story(counts(12), { segment: { effects: 6 } })
    let kills = 0
    engine.killsAt = (step, number) => {
      const isDue = number % 23 === 0 && !step.startsWith("begin") && !step.startsWith("end")
      if (isDue) kills += 1
      return isDue
    }
    await engine.call("agent", "t1", "say", "Count.")
    expect(kills).toBeGreaterThan(8)
    // One that was killed between the record of its start and its work does not run at all.
    expect(ran).toEqual([...new Set(ran)])
    expect(ran.length).toBeGreaterThan(4)
  })
})

describe("an invocation that is ended by an operator in mid-turn", () => {
  test("leaves a turn that does not run again: it ends, what it used is charged, and the goal pauses", async () => {
    const { engine, world, ran } = story((asked, request, signal) =>
      asked === 2
        ? new Promise<LlmResponse>((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
        : counts(3)(asked, request),
    )
    await engine.call("agent", "t1", "command", { command: { type: "set", objective: "Count." } })
    await until(() => world.requests.length === 3)
    const [running] = RUNS(engine).filter(({ isDone }) => !isDone)
    if (running === undefined) throw new Error("Nothing runs.")
    engine.kill(running)
    await engine.call("agent", "t1", "run").catch(() => {})
    await until(async () => (await statusOf(engine)).rest !== undefined)
    const status = await statusOf(engine)
    expect(status).toMatchObject({ goal: { status: "paused", tokensUsed: 20 }, lastTurn: { turnId: "agent/t1.1", outcome: { type: "stopped" } } })
    expect(ran).toEqual(["c0", "c1"])
    expect(world.requests).toHaveLength(3)
  })
})

describe("the state of a thread", () => {
  test("has no long values, and its head stays small", async () => {
    const { engine } = story((asked) => says(`${asked} ${"word ".repeat(20_000)}`))
    for (let turn = 0; turn < 4; turn += 1) await engine.call("agent", "t1", "say", `${turn} ${"please ".repeat(15_000)}`)
    const sizes = engine.sizes("agent", "t1")
    // As JSON, a piece is a little longer than its text.
    for (const [key, size] of Object.entries(sizes)) expect([key, size < 1.3 * MAX_PIECE_CHARS]).toEqual([key, true])
    expect(sizes["text:agent/t1.thread"]).toBeLessThan(100)
    expect((await snapshotOf(engine)).turns).toBe(4)
  })

  test("joins short pieces, so that a thread of many turns has few", async () => {
    const { engine, world } = story(() => says("Yes."))
    for (let turn = 0; turn < 60; turn += 1) await engine.call("agent", "t1", "say", `Question ${turn}`)
    const pieces = Object.keys(engine.sizes("agent", "t1")).filter((key) => key.startsWith("piece:"))
    expect(pieces.length).toBeLessThan(45)
    expect((await snapshotOf(engine)).turns).toBe(60)
    expect(shown(world.requests.at(-1))).toContain("Question 3")
  })

  test("is what a Thread reads from its own store", async () => {
    const { engine } = story(counts(2))
    await engine.call("agent", "t1", "say", "Count.")
    const state = engine.stateOf("agent/t1")
    const text = [...state]
      .filter(([key]) => key.startsWith("piece:"))
      .map(([, value]) => JSON.parse(value))
      .join("")
    const store = memoryJournalStore()
    const stored = await store.open("agent/t1.thread")
    await stored.append(text)
    await stored.close()
    const thread = await Thread.open(store, "agent/t1", { config: TOOLS })
    expect(thread.history).toEqual((await snapshotOf(engine)).history)
    await thread.close()
  })
})

describe("pieces of a text", () => {
  const stateOf = () => {
    const state = new Map<string, unknown>()
    const ctx = {
      get: async (name: string) => (state.get(name) ?? null) as never,
      set: (name: string, value: unknown) => void state.set(name, value),
      clear: (name: string) => void state.delete(name),
      stateKeys: async () => [...state.keys()],
    }
    return { state, ctx }
  }

  test("do not end within a surrogate pair", () => {
    const text = `x${"😀".repeat(MAX_PIECE_CHARS)}`
    const pieces = piecesOf(text)
    expect(pieces.join("")).toBe(text)
    expect(pieces.every((piece) => !/[\ud800-\udbff]$/.test(piece))).toBe(true)
  })

  test("are replaced and deleted without a rest", async () => {
    const { state, ctx } = stateOf()
    const store = objectStore(ctx)
    const stored = await store.open("a")
    for (let line = 0; line < 100; line += 1) await stored.append(`${line}\n`)
    await stored.append("y".repeat(3 * MAX_PIECE_CHARS))
    await stored.replace("short")
    expect([...state.keys()].sort()).toEqual(["piece:0:a", "text:a"])
    await stored.close()
    await expect(stored.append("x")).rejects.toMatchObject({ code: "closed" })
    await store.delete("a")
    expect(state.size).toBe(0)
  })

  test("of an owner that was replaced are not written", async () => {
    const store = objectStore(stateOf().ctx)
    const first = await store.open("a")
    await store.open("a")
    await expect(first.append("x")).rejects.toMatchObject({ code: "fenced" })
  })
})
