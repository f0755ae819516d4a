/** What each write of a goal records and counts, and which state it leaves to the next. */
import { describe, expect, test } from "vitest"
import type { GoalPolicy } from "../../../src/drivers/goal/policy.ts"
import { names, Thread, used } from "./support.ts"

const CHECKS = [{ name: "test", command: "npm test" }] as const

function withGoal(policy: GoalPolicy = {}, command: object = {}): Thread {
  const thread = new Thread(policy)
  thread.command({ type: "set", objective: "ship", ...command })
  return thread
}

describe("an event of a goal", () => {
  test("names the turn in which it was written, and the one that another replaces", () => {
    const thread = withGoal()
    thread.starts("one")
    thread.reports("one", used(5))
    thread.tool("one")
    expect(thread.events.at(-1)).toMatchObject({ cause: "usage", turnId: "one" })
    thread.reports("one", used(9))
    thread.starts("two")
    expect(thread.events.filter(({ cause }) => cause === "usage").map(({ turnId }) => turnId)).toEqual(["one", "one"])
  })

  test("of a child's usage is caused by usage", () => {
    const thread = withGoal()
    expect(names(thread.give({ type: "child_usage_reported", at: 1_000, childId: "c", usage: used(5) }))).toEqual(["event usage", "updated usage"])
  })

  test("that an estimate of a child marks the goal is written once", () => {
    const thread = withGoal()
    thread.starts("one")
    const child = (): readonly string[] => names(thread.give({ type: "child_usage_reported", at: 1_000, usage: { ...used(5), estimated: true } }))
    expect([child(), child()]).toEqual([["event noted"], []])
    expect(thread.goal.usageEstimated).toBe(true)
  })
})

describe("metrics", () => {
  test("count a goal that takes the place of a complete one as new", () => {
    const thread = withGoal({}, { status: "complete" })
    thread.starts("one")
    const outputs = thread.give({
      type: "goal_tool_called",
      at: 1_000,
      turnId: "one",
      callId: "c",
      toolName: "create_goal",
      args: { objective: "rest" },
    })
    expect(names(outputs)).toContain("goal.created")
  })

  test("count a resume only where the goal becomes active", () => {
    const thread = withGoal({}, { status: "paused" })
    expect(names(thread.command({ type: "set", status: "blocked" }))).not.toContain("goal.resumed")
    expect(names(thread.command({ type: "resume" }))).toContain("goal.resumed")
  })
})

describe("a brake", () => {
  test("leaves a goal that is stopped already with its own reason", () => {
    const thread = withGoal({ maxContinuations: 1 })
    thread.starts("one", { origin: "continuation" })
    thread.fails("one", "other")
    expect(thread.goal).toMatchObject({ status: "blocked", reason: "Blocked: the turn failed with: it broke. Resume to try again." })
  })

  test("that paused a goal says nothing of what its status is later", () => {
    const thread = withGoal({ maxIdleContinuations: 1 })
    thread.starts("one", { origin: "continuation" })
    thread.finishes("one", 0, "Hm.")
    expect(thread.goal.status).toBe("paused")
    const child = (): void => void thread.give({ type: "child_usage_reported", at: 1_000, usage: used(5) })
    child()
    // A judge of the last turn is charged; nothing is judged of a goal that is complete.
    expect(thread.goal.childTokensUsed).toBe(5)
    thread.command({ type: "set", status: "complete" })
    child()
    expect(thread.goal.childTokensUsed).toBe(5)
  })
})

describe("a resume", () => {
  test("makes no memory of checks that never ran", () => {
    const thread = withGoal({}, { status: "paused" })
    thread.command({ type: "resume" })
    expect(thread.state.memory).not.toHaveProperty("checks")
  })
})

describe("the clock", () => {
  test("of a copied goal starts at its first turn, not at what a child reports before it", () => {
    const copied = withGoal().goal
    const thread = new Thread()
    thread.give({ type: "goal_copied", at: 1_000, goal: copied, deferred: false })
    thread.give({ type: "child_usage_reported", at: 2_000, usage: used(5) })
    expect(thread.state.clock.markedAt).toBeNull()
    thread.at = 90_000
    thread.starts("one")
    thread.at = 93_000
    thread.finishes("one")
    expect(thread.goal).toMatchObject({ childTokensUsed: 5, secondsUsed: 3 })
  })
})

test("a continuation that lost its goal may be asked to create another", () => {
  const thread = withGoal()
  thread.starts("one", { origin: "continuation" })
  thread.command({ type: "clear" })
  expect(thread.calls("one", "create_goal", { objective: "rest" }).status).toBe("success")
  expect(thread.state.memory.earlierContinuations).toBe(0)
})

test("a goal that waits for an event has no time to ask again", () => {
  const thread = withGoal()
  thread.command({ type: "wait", event: "build" })
  expect(thread.idle()).not.toHaveProperty("notBefore")
  thread.command({ type: "wait", event: "build", until: 9_000 })
  expect(thread.idle()).toMatchObject({ notBefore: 9_000 })
})

describe("at the start of a turn", () => {
  /** The status after a claim before a turn of this kind, the turn, and checks that pass. */
  const endOf = (origin: "user" | "continuation", mode: "default" | "plan"): readonly [due: string | undefined, status: string] => {
    const thread = withGoal({}, { checks: CHECKS })
    thread.starts("zero")
    thread.calls("zero", "update_goal", { status: "complete" })
    thread.finishes("zero")
    thread.starts("one", { origin, mode })
    thread.finishes("one")
    const asked = thread.give({ type: "idle", at: thread.at, mode: "default", queuedInput: false, nextTurnId: "next" }).at(-1)
    const due = asked?.type === "run_checks" ? asked.turnId : undefined
    thread.give({ type: "checks_reported", at: thread.at, turnId: due ?? "", results: [{ name: "test", ok: true, tail: "" }] })
    return [due, thread.goal.status]
  }

  test("the user withdraws a claim that the goal is complete; a continuation and a plan do not", () => {
    expect(endOf("user", "default")).toEqual(["one", "active"])
    expect(endOf("continuation", "default")).toEqual(["one", "complete"])
    expect(endOf("user", "plan")).toEqual(["zero", "complete"])
  })

  test("what was checked before it does not hold any more, unless it only plans", () => {
    for (const [mode, expected] of [
      ["plan", "complete"],
      ["default", "active"],
    ] as const) {
      const thread = withGoal({}, { checks: CHECKS })
      thread.starts("zero")
      thread.finishes("zero")
      thread.give({ type: "checks_reported", at: thread.at, turnId: "zero", results: [{ name: "test", ok: true, tail: "" }] })
      thread.starts("one", { mode })
      thread.finishes("one")
      thread.command({ type: "complete" })
      expect([mode, thread.goal.status]).toEqual([mode, expected])
    }
  })
})
