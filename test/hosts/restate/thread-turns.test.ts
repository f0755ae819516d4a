import { describe, expect, test } from "vitest"
import type { CancelResult, SayResult } from "../../../src/hosts/restate/thread.ts"
import type { InputReceipt } from "../../../src/hosts/thread/thread.ts"
import type { GoalOutput } from "../../../src/wire/goal.ts"
import type { LlmResponse } from "../../../src/wire/llm.ts"
import { count, says, shown } from "../thread/support.ts"
import { COMPLETE, engineOf, gate, snapshotOf, statusOf, until, useClock, worldOf } from "./thread-support.ts"

useClock()

describe("what arrives for a running turn", () => {
  test("an input is delivered at the next checkpoint, and its sender has the receipt at once", async () => {
    const first = gate<LlmResponse>()
    const world = worldOf((calls) => (calls === 0 ? first.promise : says(`Answer ${calls}.`)))
    const engine = engineOf(world)
    const saying = engine.call<SayResult>("agent", "t1", "say", "Hi")
    await until(() => world.requests.length === 1)
    const receipt = await engine.call<InputReceipt>("agent", "t1", "steer", { input: "In French.", key: "k" })
    expect(receipt).toEqual({ inputId: "user-2", status: "queued" })
    expect(await statusOf(engine)).toMatchObject({ turns: 1, openTurn: { turnId: "agent/t1.1" }, arrived: 0 })
    first.open(says("", "a=read"))
    const rest = await saying
    expect(rest.outcome).toMatchObject({ finish: { text: "Answer 1." } })
    expect(shown(world.requests[1])).toContain("In French.")
    expect(await engine.call<InputReceipt>("agent", "t1", "steer", { input: "In French.", key: "k" })).toEqual(receipt)
    expect((await snapshotOf(engine)).turns).toBe(1)
    expect(world.requests).toHaveLength(2)
  })

  test("a pause ends the goal's work at the next checkpoint, and a resume continues it", async () => {
    const first = gate<LlmResponse>()
    const world = worldOf((calls) => (calls === 0 ? first.promise : calls === 1 ? says("", COMPLETE) : says("Done.")))
    const engine = engineOf(world)
    await engine.call("agent", "t1", "command", { command: { type: "set", objective: "Work." } })
    await until(() => world.requests.length === 1)
    const paused = await engine.call<readonly GoalOutput[]>("agent", "t1", "command", { command: { type: "pause" } })
    expect(paused.find(({ type }) => type === "goal_updated")).toMatchObject({ goal: { status: "paused" } })
    first.open(says("", "a=read"))
    await until(async () => (await statusOf(engine)).rest !== undefined)
    expect(await statusOf(engine)).toMatchObject({ goal: { status: "paused", tokensUsed: 10 }, turns: 1 })
    await engine.call("agent", "t1", "command", { command: { type: "resume" } })
    await until(async () => (await statusOf(engine)).goal?.status === "complete" && (await statusOf(engine)).rest !== undefined)
    expect(await statusOf(engine)).toMatchObject({ goal: { status: "complete" }, turns: 2, lastTurn: { turnId: "agent/t1.2" } })
  })

  test("a cancellation ends the turn in order: it is charged, the goal pauses, and the inputs that it did not receive are returned", async () => {
    const world = worldOf(
      (_calls, _request, signal) => new Promise<LlmResponse>((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    )
    const engine = engineOf(world)
    await engine.call("agent", "t1", "command", { command: { type: "set", objective: "Work." } })
    await until(() => world.requests.length === 1)
    await engine.call("agent", "t1", "steer", { input: "One more.", when: "turn_end" })
    const cancelled = await engine.call<CancelResult>("agent", "t1", "cancel", { reason: "Enough." })
    expect(cancelled).toMatchObject({ wasRunning: true, returned: [{ inputId: "user-1" }] })
    await until(async () => (await statusOf(engine)).rest !== undefined)
    const status = await statusOf(engine)
    expect(status).toMatchObject({
      goal: { status: "paused", usageEstimated: true },
      lastTurn: { outcome: { type: "stopped", stop: { type: "cancelled" } } },
      queue: [],
    })
    expect(status.goal?.tokensUsed).toBeGreaterThan(0)
    expect(JSON.stringify(await snapshotOf(engine))).not.toContain('One more."}]')
    expect(await engine.call<CancelResult>("agent", "t1", "cancel")).toEqual({ returned: [], wasRunning: false })
  })

  test("an invocation that is cancelled ends its turn in order, and inputs that wait stay", async () => {
    const world = worldOf((calls, _request, signal) =>
      calls === 0 ? new Promise<LlmResponse>((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason))) : says("Yes."),
    )
    const engine = engineOf(world)
    const saying = engine.call<SayResult>("agent", "t1", "say", "Hi")
    await until(() => world.requests.length === 1)
    await engine.call("agent", "t1", "steer", { input: "Later.", when: "next_turn" })
    const running = engine.invocations.find(({ method, isDone }) => method === "run" && !isDone)
    if (running === undefined) throw new Error("Nothing runs.")
    engine.cancel(running)
    expect(await saying).toMatchObject({ reason: "The run was stopped.", outcome: { type: "stopped" } })
    await until(async () => (await statusOf(engine)).turns === 2 && (await statusOf(engine)).rest !== undefined)
    expect(shown(world.requests[1])).toContain("Later.")
  })
})

describe("commands", () => {
  test("one that the goal refuses comes back as an output and is not recorded", async () => {
    const world = worldOf(() => says("", COMPLETE))
    const engine = engineOf(world)
    expect(await engine.call("agent", "t1", "command", { command: { type: "pause" } })).toMatchObject([{ type: "refused", code: "no_goal" }])
    expect((await snapshotOf(engine)).commands).toEqual([])
  })

  test("each has its effect between turns, and one with the same key is one command", async () => {
    const world = worldOf(() => says("Hm."))
    const engine = engineOf(world, { policy: { maxIdleContinuations: 1 } as never })
    const command = (given: object, key?: string) => engine.call<readonly GoalOutput[]>("agent", "t1", "command", { command: given, key })
    await command({ type: "set", objective: "One.", status: "paused" }, "s")
    expect(await command({ type: "set", objective: "One.", status: "paused" }, "s")).toEqual([])
    await until(async () => (await statusOf(engine)).goal !== null)
    expect((await statusOf(engine)).goal).toMatchObject({ objective: "One.", status: "paused" })
    expect((await command({ type: "clear" })).map(({ type }) => type)).toContain("goal_cleared")
    await until(async () => (await statusOf(engine)).goal === null)
    expect(await command({ type: "resume" })).toMatchObject([{ type: "refused", code: "no_goal" }])
    expect(world.requests).toHaveLength(0)
  })
})

describe("requests that are refused", () => {
  const refused = async (method: Parameters<ReturnType<typeof engineOf>["call"]>[2], parameter: unknown, key = "t1"): Promise<string> => {
    const engine = engineOf(worldOf(() => says("Hm.")))
    try {
      await engine.call("agent", key, method, parameter)
    } catch (error) {
      expect(error).toMatchObject({ name: "TerminalError", code: 400 })
      return String((error as Error).message).split(":")[0] ?? ""
    }
    throw new Error("It was not refused.")
  }

  test("are terminal, and say why", async () => {
    expect(await refused("say", { input: [] })).toBe("invalid_input")
    expect(await refused("say", undefined)).toBe("invalid_input")
    expect(await refused("say", { input: "x", when: "never" })).toBe("invalid_input")
    expect(await refused("say", { input: "x", key: "" })).toBe("invalid_request")
    expect(await refused("say", { input: "x" }, "t1/inbox")).toBe("invalid_key")
    expect(await refused("command", { command: { type: "fly" } })).toBe("invalid_command")
    expect(await refused("event", {})).toBe("invalid_event")
    expect(await refused("decide", { decisions: [{}] })).toBe("invalid_response")
    expect(await refused("answer", { callId: 3 })).toBe("invalid_answer")
    expect(await refused("cancel", { reason: 3 })).toBe("invalid_request")
  })

  test("a key that was used for another input is refused, and nothing is recorded", async () => {
    const engine = engineOf(worldOf(() => says("Hm.")))
    await engine.call("agent", "t1", "say", { input: "One", key: "k" })
    await expect(engine.call("agent", "t1", "say", { input: "Two", key: "k" })).rejects.toThrow("key_reused")
    expect(count(JSON.stringify((await snapshotOf(engine)).history), "Two")).toBe(0)
  })
})
