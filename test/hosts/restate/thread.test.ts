import { describe, expect, test, vi } from "vitest"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { SayResult, ThreadStatus } from "../../../src/hosts/restate/thread.ts"
import { Thread } from "../../../src/hosts/thread/thread.ts"
import { says } from "../thread/support.ts"
import { COMPLETE, engineOf, START_AT, snapshotOf, useClock, worldOf } from "./thread-support.ts"

useClock()

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

    vi.setSystemTime(START_AT)
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
