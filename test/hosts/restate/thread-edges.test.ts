import { describe, expect, test } from "vitest"
import type { DecisionResult } from "../../../src/hosts/journal/outside-answers.ts"
import { RestateTurnError } from "../../../src/hosts/restate/entries.ts"
import type { CancelResult, SayResult } from "../../../src/hosts/restate/thread.ts"
import type { InputReceipt } from "../../../src/hosts/thread/thread.ts"
import type { LlmResponse } from "../../../src/wire/llm.ts"
import { CONFIG } from "../../replay/support.ts"
import { says, shown } from "../thread/support.ts"
import { engineOf, gate, optionsOf, snapshotOf, statusOf, until, useClock, worldOf } from "./thread-support.ts"

useClock()

describe("code that changes while a turn runs", () => {
  test("fails the attempts and names what changed, and the turn continues with the old code", async () => {
    const second = gate<LlmResponse>()
    const world = worldOf((calls) => (calls === 0 ? says("", "a=read") : calls === 1 ? second.promise : says("Done.")))
    const engine = engineOf(world)
    const saying = engine.call<SayResult>("agent", "t1", "say", "Hi")
    saying.catch(() => {})
    await until(() => world.requests.length === 2)
    engine.stop()
    engine.deploy(optionsOf(world, { config: { ...CONFIG, model: "another" } }))
    engine.start()
    await until(() => engine.faults.length > 0)
    const [error] = engine.faults
    expect(error).toBeInstanceOf(RestateTurnError)
    expect(error).toMatchObject({ code: "code_changed", paths: ["request/model"] })
    engine.faults.length = 0
    engine.stop()
    engine.deploy(optionsOf(world))
    second.open(says("Done."))
    engine.start()
    await until(async () => (await statusOf(engine)).rest !== undefined)
    expect(await statusOf(engine)).toMatchObject({ turns: 1, lastTurn: { outcome: { type: "finished" } } })
  })
})

describe("clients at the same time", () => {
  test("that send the same input with the same key begin one turn, and receive the same end", async () => {
    const first = gate<LlmResponse>()
    const world = worldOf(() => first.promise)
    const engine = engineOf(world)
    const both = [1, 2].map(() => engine.call<SayResult>("agent", "t1", "say", { input: "Hi", key: "k" }))
    await until(() => world.requests.length === 1)
    first.open(says("Hello."))
    const [one, other] = await Promise.all(both)
    expect(one).toEqual(other)
    expect(one).toMatchObject({ inputId: "user-1", outcome: { finish: { text: "Hello." } } })
    expect(world.requests).toHaveLength(1)
    expect(await statusOf(engine)).toMatchObject({ turns: 1, queue: [], arrived: 0 })
  })

  test("that send different inputs are both answered", async () => {
    const world = worldOf((calls) => says(`Answer ${calls}.`))
    const engine = engineOf(world)
    const both = await Promise.all(["One.", "Two."].map((input) => engine.call<SayResult>("agent", "t1", "say", input)))
    expect(new Set(both.map(({ inputId }) => inputId))).toEqual(new Set(["user-1", "user-2"]))
    const text = JSON.stringify((await snapshotOf(engine)).history)
    for (const input of ["One.", "Two."]) expect(text).toContain(input)
  })
})

describe("requests to a thread that has not begun", () => {
  test("are answered, and change nothing", async () => {
    const world = worldOf(() => says("Hello."))
    const engine = engineOf(world)
    expect(await statusOf(engine)).toMatchObject({ turns: 0, goal: null, arrived: 0 })
    const decisions = [{ requestId: "2:a", digest: "d", decision: "approve" }]
    expect(await engine.call<readonly DecisionResult[]>("agent", "t1", "decide", { decisions })).toMatchObject([
      { status: "refused", code: "turn_not_begun" },
    ])
    expect(await engine.call<CancelResult>("agent", "t1", "cancel")).toEqual({ returned: [], wasRunning: false })
    expect(await engine.call("agent", "t1", "retract", { inputId: "user-9" })).toBe("unknown")
    expect(await engine.call("agent", "t1", "answer", { callId: "a", answer: { output: { status: "success", value: 1 } } })).toMatchObject({
      status: "refused",
      code: "turn_not_begun",
    })
    expect(world.requests).toHaveLength(0)
    expect(await engine.call<SayResult>("agent", "t1", "say", "Hi")).toMatchObject({ inputId: "user-1" })
  })
})

describe("an inbox", () => {
  test("hands out large inputs in several messages", async () => {
    const first = gate<LlmResponse>()
    const world = worldOf((calls) => (calls === 0 ? first.promise : says("Done.")))
    const engine = engineOf(world)
    engine.stop()
    const receipts = Array.from({ length: 6 }, (_, index) =>
      engine.call<InputReceipt>("agent", "t1", "steer", { input: `${index} ${"x".repeat(400_000)}` }),
    )
    engine.start()
    first.open(says("Done."))
    await Promise.all(receipts)
    await until(async () => (await statusOf(engine)).rest !== undefined)
    const longest = engine.invocations.flatMap(({ method, commands, notifications }) =>
      method !== "run" ? [] : notifications.map(({ completion }) => (completion.ok && commands.length > 0 ? (completion.text ?? "").length : 0)),
    )
    expect(Math.max(...longest)).toBeLessThan(1_500_000)
    expect(shown(world.requests.at(-1))).toContain("5 xxx")
  })
})
