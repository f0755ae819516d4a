import { describe, expect, test, vi } from "vitest"
import type { Host } from "../../../src/hosts/host.ts"
import type { SayResult } from "../../../src/hosts/restate/thread.ts"
import type { LlmRequest, LlmResponse } from "../../../src/wire/llm.ts"
import { says } from "../thread/support.ts"
import type { FakeEngine } from "./thread-engine.ts"
import { COMPLETE, engineOf, START_AT, snapshotOf, useClock, worldOf } from "./thread-support.ts"

useClock()

/** Without the figures of a clock. */
const withoutTimes = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (name, own) => (/(At|Ms|^at|Used)$/.test(name) && name !== "tokensUsed" ? 0 : own)))

const STRIDE = process.env["TEST_LANE"] === "fast" ? 13 : 1

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
    vi.setSystemTime(START_AT)
    const world = worldOf((_calls, request) => script(request))
    // The same request has the same answer at the same time, however often it is asked for.
    const times = new Map<string, number>()
    const host: Host = {
      ...world.host,
      llmCall: async (effect, context) => {
        const key = context.idempotencyKey ?? ""
        const answer = await world.host.llmCall(effect, context)
        const at = times.get(key) ?? START_AT + 1_000 * (times.size + 1)
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
    // Every run of the fast lane kills at the same steps; the full lane kills at all of them.
    for (let at = 1; at <= steps; at += STRIDE) {
      const killed = await play((_step, number) => number === at)
      kills += killed.engine.kills
      expect([at, withoutTimes(killed.history)]).toEqual([at, withoutTimes(whole.history)])
      expect(killed.goal?.tokensUsed).toBe(whole.goal?.tokensUsed)
      expect(killed.goal?.status).toBe("complete")
      expect(killed.keys).toBe(whole.keys)
      expect(killed.again.inputId).toBe(killed.rest.inputId)
    }
    expect(kills).toBe(Math.ceil(steps / STRIDE))
  }, 240_000)
})
