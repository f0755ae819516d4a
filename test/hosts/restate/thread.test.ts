import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import type { Host } from "../../../src/hosts/host.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { RestateThreadOptions, SayResult, ThreadStatus } from "../../../src/hosts/restate/thread.ts"
import { readOnlyStore } from "../../../src/hosts/restate/thread-store.ts"
import { Thread } from "../../../src/hosts/thread/thread.ts"
import { snapshotThread } from "../../../src/hosts/thread/snapshot.ts"
import type { LlmRequest, LlmResponse } from "../../../src/wire/llm.ts"
import { CONFIG } from "../../replay/support.ts"
import { says, World } from "../thread/support.ts"
import { FakeEngine, onClock } from "./thread-engine.ts"

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: 1_000_000 })
  onClock((at) => vi.setSystemTime(Math.max(at, Date.now())))
})

afterEach(() => {
  vi.useRealTimers()
})

/** A world whose clock is that of the test. */
function worldOf(answer: World["answer"]): World {
  const world = new World(answer)
  Object.defineProperty(world, "at", { get: () => Date.now(), set: (at: number) => void vi.setSystemTime(at) })
  return world
}

function engineOf(world: World, more: Partial<RestateThreadOptions> = {}): FakeEngine {
  const engine = new FakeEngine()
  engine.deploy({ name: "agent", config: CONFIG, host: world.host, cancelGraceMs: 10, ...more })
  return engine
}

/** The history of a thread as its log in the state has it. */
async function snapshotOf(engine: FakeEngine, key = "t1") {
  const state = engine.stateOf(`agent/${key}`)
  const store = readOnlyStore({
    get: async (name) => {
      const text = state.get(name)
      return text === undefined ? null : JSON.parse(text)
    },
    stateKeys: async () => [...state.keys()],
  })
  const snapshot = await snapshotThread(store, `agent/${key}`, undefined)
  if (snapshot === undefined) throw new Error("There is no thread.")
  return snapshot
}

/** Without the figures of a clock. */
const withoutTimes = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (name, own) => (/(At|Ms|^at|Used)$/.test(name) && name !== "tokensUsed" ? 0 : own)))

const COMPLETE = 'u=update_goal {"status":"complete"}'

describe("a thread in Restate", () => {
  test("answers what the user says", async () => {
    const world = worldOf(() => says("Hello."))
    const engine = engineOf(world)
    const rest = await engine.call<SayResult>("agent", "t1", "say", { input: "Hi" })
    expect(rest).toMatchObject({ inputId: "user-1", outcome: { type: "finished" } })
    const status = await engine.call<ThreadStatus>("agent", "t1", "status")
    expect(status).toMatchObject({ turns: 1, goal: null, arrived: 0, usage: { inputTokens: 8, outputTokens: 2 } })
    expect((await snapshotOf(engine)).history.filter(({ type }) => type === "conversation")).toHaveLength(2)
  })

  test("has the same goal and history as a Thread with the same script", async () => {
    const script = (calls: number) => {
      if (calls === 0) return says("Let me look.", "a=read", "b=read")
      if (calls === 1) return says("Done with the first part.")
      if (calls === 2) return says("", "c=read")
      if (calls === 3) return says("", COMPLETE)
      return says("All done.")
    }
    const command = { type: "set", objective: "Make the tests pass.", tokenBudget: 1_000 } as const

    const plain = worldOf(script)
    const thread = await Thread.open(memoryJournalStore(), "agent/t1", plain.options())
    await thread.command(command)
    const rest = await plain.run(thread)
    await plain.run(thread)

    vi.setSystemTime(1_000_000)
    const world = worldOf(script)
    const engine = engineOf(world)
    await engine.call("agent", "t1", "command", { command })
    const result = await engine.call<{ rest: unknown }>("agent", "t1", "run")
    const found = await snapshotOf(engine)
    expect(found.goal).toEqual(thread.goal)
    expect(found.history).toEqual(thread.history)
    expect(result.rest).toMatchObject({ reason: rest.reason })
    expect(world.requests).toEqual(plain.requests)
    await thread.close()
  })
})

describe("a thread whose service is killed", () => {
  const script = ({ messages }: LlmRequest): LlmResponse => {
    const calls = messages.filter(({ role }) => role === "assistant").length
    if (calls === 0) return says("Hello.")
    if (calls === 1) return says("Let me look.", "a=read", "b=read")
    if (calls === 2) return says("Done with the first part.")
    if (calls === 3) return says("", "c=read")
    if (calls === 4) return says("", COMPLETE)
    return says("All done.")
  }
  const command = { type: "set", objective: "Make the tests pass.", tokenBudget: 1_000 } as const

  /** An input, and then a goal. */
  async function play(killsAt?: FakeEngine["killsAt"]) {
    vi.setSystemTime(1_000_000)
    const world = worldOf((_calls, request) => script(request))
    // The same request has the same answer at the same time, however often it is asked for.
    const times = new Map<string, number>()
    const host: Host = {
      ...world.host,
      llmCall: async (effect, context) => {
        const key = context.idempotencyKey ?? ""
        const answer = await world.host.llmCall(effect, context)
        const at = times.get(key) ?? 1_000_000 + 1_000 * (times.size + 1)
        times.set(key, at)
        vi.setSystemTime(Math.max(at, 0))
        return answer
      },
    }
    const engine = engineOf(world, { host })
    engine.killsAt = killsAt
    const rest = await engine.call<SayResult>("agent", "t1", "say", { input: "Hi", key: "k1" })
    const outputs = await engine.call("agent", "t1", "command", { command, key: "c1" })
    await engine.call("agent", "t1", "run")
    const again = await engine.call<SayResult>("agent", "t1", "say", { input: "Hi", key: "k1" })
    const { goal, history } = await snapshotOf(engine)
    return { engine, world, outputs, rest, again, goal, history, keys: times.size }
  }

  test("ends as without kills, wherever it is killed", async () => {
    const whole = await play()
    expect(whole.goal).toMatchObject({ status: "complete" })
    const steps = whole.engine.steps.length
    let kills = 0
    for (let at = 1; at <= steps; at += 1) {
      const killed = await play((_step, number) => number === at)
      kills += killed.engine.kills
      expect([at, withoutTimes(killed.history)]).toEqual([at, withoutTimes(whole.history)])
      expect(killed.goal?.tokensUsed).toBe(whole.goal?.tokensUsed)
      expect(killed.goal?.status).toBe("complete")
      expect(killed.keys).toBe(whole.keys)
      expect(killed.again.inputId).toBe(killed.rest.inputId)
    }
    expect(kills).toBe(steps)
  }, 240_000)
})
