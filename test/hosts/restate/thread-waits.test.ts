import { describe, expect, test } from "vitest"
import { LlmCallError } from "../../../src/hosts/host.ts"
import type { SayResult } from "../../../src/hosts/restate/thread.ts"
import type { CheckRunner } from "../../../src/hosts/thread/check-runner.ts"
import type { GoalOutput } from "../../../src/wire/goal.ts"
import type { LlmResponse } from "../../../src/wire/llm.ts"
import { says, shown } from "../thread/support.ts"
import { COMPLETE, engineOf, gate, START_AT, statusOf, until, useClock, worldOf } from "./thread-support.ts"

useClock()

const SET = { command: { type: "set", objective: "Work." } }

/** A model whose provider asks it to wait in its first call. */
const limited = (ms: number) =>
  worldOf((calls) => {
    if (calls === 0)
      throw new LlmCallError({ message: "Slow down.", retryable: true, terminalReason: "provider_error", kind: "rate_limit", retryAt: START_AT + ms })
    return calls === 1 ? says("", COMPLETE) : says("Done.")
  })

describe("a goal whose next continuation has a time", () => {
  test("waits in its invocation, and continues then", async () => {
    const world = limited(120_000)
    const engine = engineOf(world)
    await engine.call("agent", "t1", "command", SET)
    await until(async () => (await statusOf(engine)).goal?.status === "complete" && (await statusOf(engine)).rest !== undefined)
    expect(world.requests).toHaveLength(3)
    expect(Date.now()).toBeGreaterThanOrEqual(START_AT + 120_000)
    expect(engine.invocations.filter(({ method }) => method === "run")).toHaveLength(1)
  })

  test("continues in a later invocation if that is far off, also after kills", async () => {
    const world = limited(3 * 3_600_000)
    const engine = engineOf(world)
    engine.timersFire = false
    await engine.call("agent", "t1", "command", SET)
    await until(async () => (await statusOf(engine)).rest !== undefined)
    expect(await statusOf(engine)).toMatchObject({ rest: { notBefore: START_AT + 3 * 3_600_000 }, goal: { status: "active" } })
    engine.crash()
    expect(engine.fire()).toBeGreaterThanOrEqual(START_AT + 3 * 3_600_000)
    await until(async () => (await statusOf(engine)).goal?.status === "complete")
    expect(engine.invocations.filter(({ method }) => method === "run")).toHaveLength(2)
  })

  test("answers an input in the meantime, and the wait ends with it", async () => {
    const world = worldOf((calls) => {
      if (calls === 0)
        throw new LlmCallError({
          message: "Slow down.",
          retryable: true,
          terminalReason: "provider_error",
          kind: "rate_limit",
          retryAt: START_AT + 90_000,
        })
      return calls === 1 ? says("Here I am.") : calls === 2 ? says("", COMPLETE) : says("Done.")
    })
    const engine = engineOf(world)
    engine.timersFire = false
    await engine.call("agent", "t1", "command", SET)
    await until(() => engine.timers === 1)
    await engine.call("agent", "t1", "steer", "Are you there?")
    await until(async () => (await statusOf(engine)).goal?.status === "complete")
    expect(shown(world.requests[1])).toContain("Are you there?")
    expect(Date.now()).toBeLessThan(START_AT + 90_000)
  })
})

describe("what a thread does between turns", () => {
  test("its checks are steps: they run once for each turn, also if the service is killed after them", async () => {
    const ran: string[] = []
    const checks: CheckRunner = async ({ turnId, checks: wanted }) => {
      ran.push(turnId)
      return wanted.map(({ name }) => ({ name, ok: ran.length > 1, tail: `run ${ran.length}` }))
    }
    const linted: string[] = []
    const world = worldOf((calls) => (calls % 2 === 0 ? says("", `u${calls}=update_goal {"status":"complete"}`) : says(`Done ${calls}.`)))
    const host = {
      ...world.host,
      tools: {
        effects: () => "idempotent" as const,
        call: async (_call: unknown, { idempotencyKey = "" }: { readonly idempotencyKey: string | undefined }) => {
          linted.push(idempotencyKey)
          return { output: { status: "success" as const, value: "clean" } }
        },
      },
    }
    const reported: string[] = []
    const onGoal = (output: GoalOutput): void => void reported.push(output.type === "goal_updated" ? output.goal.status : output.type)
    const engine = engineOf(world, { host, checks, onGoal })
    engine.killsAt = (step) => step.startsWith("run set head") && ran.length === 1 && engine.kills === 0
    await engine.call("agent", "t1", "command", {
      command: {
        type: "set",
        objective: "Work.",
        checks: [
          { name: "tests", command: "npm test" },
          { name: "lint", tool: "lint" },
        ],
      },
    })
    await until(async () => (await statusOf(engine)).goal?.status === "complete" && (await statusOf(engine)).rest !== undefined)
    expect(engine.kills).toBe(1)
    expect(ran).toEqual(["agent/t1.1", "agent/t1.2"])
    expect(linted).toEqual(["agent/t1.1:check:lint", "agent/t1.2:check:lint"])
    expect(shown(world.requests[2])).toContain("run 1")
    expect(reported).toContain("complete")
  })

  test("an event ends the wait of a goal for it", async () => {
    const first = gate<LlmResponse>()
    const world = worldOf((calls) => (calls === 0 ? first.promise : calls === 1 ? says("", COMPLETE) : says("Done.")))
    const engine = engineOf(world)
    await engine.call("agent", "t1", "command", SET)
    await until(() => world.requests.length === 1)
    await engine.call("agent", "t1", "command", { command: { type: "wait", event: "built", reason: "The build runs." } })
    first.open(says("I wait."))
    await until(async () => (await statusOf(engine)).rest !== undefined)
    expect((await statusOf(engine)).rest).toMatchObject({ wait: { event: "built" } })
    await engine.call("agent", "t1", "event", { event: "other" })
    expect(world.requests).toHaveLength(1)
    await engine.call("agent", "t1", "event", { event: "built", key: "e1" })
    await until(async () => (await statusOf(engine)).goal?.status === "complete")
  })
})

test("code that changed so that the log cannot be read ends the run with an error that names it, and the state stays", async () => {
  const world = worldOf(() => says("Hello."))
  const engine = engineOf(world)
  await engine.call<SayResult>("agent", "t1", "say", "Hi")
  const state = engine.stateOf("agent/t1")
  const text = state.get("piece:1:agent/t1.thread") ?? ""
  state.set("piece:1:agent/t1.thread", text.replace("Hi", "Ho"))
  await expect(engine.call("agent", "t1", "say", "Again")).rejects.toMatchObject({ name: "TerminalError", metadata: { code: "damaged_record" } })
})
