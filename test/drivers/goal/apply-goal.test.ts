import { describe, expect, test } from "vitest"
import { foldGoal, newGoalState } from "../../../src/drivers/goal/goal.ts"
import type { Goal } from "../../../src/schemas/goal.ts"
import { names, Thread, used } from "./support.ts"

function code(output: unknown): unknown {
  return (output as { failure?: { code: string } }).failure?.code
}

describe("order of outputs", () => {
  test("a write is recorded first, then emitted, counted and steered; the answer to a tool comes last", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "a", tokenBudget: 10 })
    thread.starts("turn-1")
    thread.reports("turn-1", used(10))
    const outputs = thread.give({ type: "goal_tool_called", at: 1000, turnId: "turn-1", callId: "c", toolName: "get_goal", args: {} })
    expect(names(outputs)).toEqual([
      "event usage",
      "updated usage",
      "goal.budget_limited",
      "goal.token_count",
      "goal.duration_s",
      "steer",
      "tool_result",
    ])
  })

  test("a start writes the old goal, clears it, and creates the new one", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "a" })
    thread.at = 3000
    const outputs = thread.command({ type: "start", objective: "b" })
    expect(names(outputs)).toEqual([
      "event usage",
      "updated usage",
      "event command",
      "goal_cleared",
      "event command",
      "updated command",
      "goal.created",
    ])
    expect(thread.goal).toMatchObject({ goalId: "g2", objective: "b", secondsUsed: 0 })
  })

  test("a refused command is the only output, and nothing is written", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "a", status: "paused" })
    thread.at = 9000
    expect(thread.command({ type: "pause" })).toEqual([{ type: "refused", code: "not_active", message: expect.any(String) as string }])
  })
})

describe("the events preserve the memory", () => {
  test("counts without a goal_updated are recorded too", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "a" })
    expect(names(thread.starts("turn-1", { origin: "continuation" }))).toEqual(["event noted"])
    expect(names(thread.finishes("turn-1", 0))).toEqual(["event noted"])
    const folded = foldGoal("t1", thread.events)
    expect(folded.goal?.continuations).toBe(1)
    expect(folded.memory.idleContinuations).toBe(1)
  })

  test("the last event alone restores the state; events of another thread are ignored", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "a" })
    thread.command({ type: "pause" })
    expect(foldGoal("t1", thread.events.slice(-1)).goal).toEqual(thread.goal)
    expect(foldGoal("t2", thread.events)).toEqual(newGoalState("t2"))
  })

  test("ids continue after a clear, after a fold, and after the id of a copied goal", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "a" })
    thread.command({ type: "clear" })
    thread.state = foldGoal("t1", thread.events)
    thread.command({ type: "set", objective: "b" })
    expect(thread.goal.goalId).toBe("g2")
    thread.give({ type: "goal_copied", at: 2000, goal: { ...thread.goal, goalId: "g7", threadId: "t0" }, deferred: false })
    thread.command({ type: "start", objective: "c" })
    expect(thread.goal.goalId).toBe("g8")
  })

  test("a host can choose the ids of goals", () => {
    const thread = new Thread({ newGoalId: (n) => `goal-${n}-of-mine` })
    thread.command({ type: "set", objective: "a" })
    expect(thread.goal.goalId).toBe("goal-1-of-mine")
  })
})

describe("delays after errors", () => {
  test("the delay doubles up to a maximum, yields to the provider's own time, and is omitted once it has passed", () => {
    const thread = new Thread({ backoffBaseMs: 100, backoffMaxMs: 250, maxTransientErrors: 0 })
    thread.command({ type: "set", objective: "a" })
    const waits: (number | undefined)[] = []
    for (const retryAt of [undefined, undefined, undefined, 9000]) {
      thread.starts("turn")
      thread.fails("turn", "transient", retryAt)
      waits.push(thread.idle().notBefore)
    }
    expect(waits).toEqual([1100, 1200, 1250, 9000])
    thread.at = 9000
    expect(thread.idle()).not.toHaveProperty("notBefore")
  })

  test("a finished turn clears the delay", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "a" })
    thread.starts("turn-1")
    thread.fails("turn-1", "transient")
    expect(thread.idle().notBefore).toBe(11_000)
    thread.starts("turn-2")
    thread.finishes("turn-2")
    expect(thread.idle()).not.toHaveProperty("notBefore")
  })

  test("a usage limit rests until it ends, and a goal resumed earlier passes the time on to its continuation", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "a" })
    thread.starts("turn-1")
    thread.fails("turn-1", "usage_limit", 60_000)
    expect(thread.idle()).toMatchObject({ type: "rest", notBefore: 60_000 })
    thread.at = 70_000
    expect(thread.idle().type).toBe("rest")
    thread.at = 2000
    thread.state = { ...thread.state, clock: { ...thread.state.clock, seenAt: 2000 } }
    thread.command({ type: "resume" })
    expect(thread.idle()).toMatchObject({ type: "continue", notBefore: 60_000 })
  })

  test("an interrupt that keeps the goal active makes it rest until a turn, a command or a resumed thread", () => {
    const wakers: readonly ((thread: Thread) => void)[] = [
      (thread) => {
        thread.starts("turn-2")
        thread.finishes("turn-2")
      },
      (thread) => void thread.command({ type: "set", tokenBudget: 900 }),
      (thread) => void thread.give({ type: "thread_resumed", at: 1000, mode: "default" }),
    ]
    for (const wake of wakers) {
      const thread = new Thread({ onInterrupt: "keep" })
      thread.command({ type: "set", objective: "a" })
      thread.starts("turn-1")
      thread.give({ type: "turn_interrupted", at: 1000 })
      expect(thread.goal.status).toBe("active")
      expect(thread.idle().type).toBe("rest")
      wake(thread)
      expect(thread.idle().type).toBe("continue")
    }
  })
})

describe("brakes", () => {
  test("a resume after the cap allows as many continuations again, and the goal's own count continues", () => {
    const thread = new Thread({ maxContinuations: 2 })
    thread.command({ type: "set", objective: "a" })
    const run = (): void => {
      thread.starts("turn", { origin: "continuation" })
      thread.finishes("turn", 5, `answer ${thread.goal.continuations}`)
    }
    run()
    run()
    expect(thread.goal).toMatchObject({ status: "paused", continuations: 2 })
    expect(thread.goal.reason).toMatch(/2 continuations/)
    thread.command({ type: "resume" })
    expect(thread.goal).not.toHaveProperty("reason")
    run()
    expect(thread.goal).toMatchObject({ status: "active", continuations: 3 })
    run()
    expect(thread.goal.status).toBe("paused")
  })

  test("a failed continuation resets the count of equal answers", () => {
    const thread = new Thread({ maxRepeatedAnswers: 2 })
    thread.command({ type: "set", objective: "a" })
    for (const fails of [false, true, false]) {
      thread.starts("turn", { origin: "continuation" })
      if (fails) thread.fails("turn", "transient")
      else thread.finishes("turn", 1, "same")
    }
    expect(thread.goal.status).toBe("active")
  })

  test("plan turns neither count nor pause", () => {
    const thread = new Thread({ maxIdleContinuations: 1 })
    thread.command({ type: "set", objective: "a" })
    thread.starts("turn-1", { mode: "plan", origin: "continuation" })
    thread.finishes("turn-1", 0)
    expect(thread.goal.status).toBe("active")
  })
})

describe("claims to be blocked", () => {
  test("the result says how many turns are missing, and two claims in one turn count once", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "a" })
    thread.starts("turn-1")
    expect(thread.calls("turn-1", "update_goal", { status: "blocked" })).toMatchObject({
      failure: { code: "blocked_too_early", message: expect.stringContaining("2 missing") as string },
    })
    thread.calls("turn-1", "update_goal", { status: "blocked" })
    thread.finishes("turn-1")
    thread.starts("turn-2")
    expect(thread.calls("turn-2", "update_goal", { status: "blocked" })).toMatchObject({
      failure: { message: expect.stringContaining("1 missing") as string },
    })
  })

  test("an interrupted or failed turn counts as a goal turn too", () => {
    const thread = new Thread({ onInterrupt: "keep", onTurnError: "keep" })
    thread.command({ type: "set", objective: "a" })
    thread.starts("turn-1")
    thread.calls("turn-1", "update_goal", { status: "blocked" })
    thread.give({ type: "turn_interrupted", at: 1000 })
    thread.starts("turn-2")
    thread.calls("turn-2", "update_goal", { status: "blocked" })
    thread.fails("turn-2", "other")
    thread.starts("turn-3")
    expect(thread.calls("turn-3", "update_goal", { status: "blocked" }).status).toBe("success")
    expect(thread.goal.status).toBe("blocked")
  })
})

describe("goal tools", () => {
  test.each([
    ["create_goal", {}, "arguments_invalid"],
    ["create_goal", { objective: 5 }, "arguments_invalid"],
    ["create_goal", { objective: "a", extra: 1 }, "arguments_invalid"],
    ["create_goal", { objective: "a", token_budget: "5" }, "arguments_invalid"],
    ["create_goal", { objective: "\u0085 \u3000" }, "objective_empty"],
    ["create_goal", { objective: "x".repeat(4001) }, "objective_too_long"],
    ["create_goal", { objective: "a", token_budget: 1.5 }, "budget_invalid"],
    ["update_goal", { status: "complete" }, "no_goal"],
    ["update_goal", { status: "usageLimited" }, "arguments_invalid"],
    ["update_goal", { status: "none" }, "arguments_invalid"],
    ["get_goal", { all: true }, "arguments_invalid"],
    ["get_goal", [], "arguments_invalid"],
  ] as const)("%s %j fails as %s", (name, args, expected) => {
    const thread = new Thread()
    thread.starts("turn-1")
    const output = thread.calls("turn-1", name, args)
    expect(code(output)).toBe(expected)
    expect(output).toMatchObject({ status: "failure", failure: { class: "invalid_request", source: "tool", retry: { type: "never" } } })
    expect(thread.state.goal).toBeNull()
  })

  test("with a goal, create_goal fails with goal_exists and update_goal refuses statuses that a model may not set", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "a" })
    thread.starts("turn-1")
    expect(code(thread.calls("turn-1", "create_goal", { objective: "b" }))).toBe("goal_exists")
    expect(code(thread.calls("turn-1", "update_goal", { status: "paused" }))).toBe("status_not_allowed")
  })

  test("a byte order mark is a character, a lone surrogate counts as one", () => {
    const thread = new Thread()
    thread.starts("turn-1")
    expect(thread.calls("turn-1", "create_goal", { objective: "\uFEFF" }).status).toBe("success")
    thread.command({ type: "set", objective: "\uD83D".repeat(4000) })
    expect(thread.goal.objective).toHaveLength(4000)
    expect(thread.command({ type: "set", objective: "\uD83D".repeat(4001) })).toMatchObject([{ code: "objective_too_long" }])
  })

  test("answer for a turn that has ended, and neither charge nor mark", () => {
    const thread = new Thread()
    thread.starts("turn-1")
    thread.finishes("turn-1")
    expect(thread.calls("turn-1", "create_goal", { objective: "late" })).toMatchObject({ status: "success", value: { goal: { objective: "late" } } })
    expect(thread.state.clock.markedAt).toBeNull()
    thread.at = 60_000
    thread.command({ type: "set", tokenBudget: 10 })
    expect(thread.goal.secondsUsed).toBe(0)
  })

  test("show the goal without its id, and count children if the policy does", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "a", tokenBudget: 100 })
    thread.give({ type: "child_usage_reported", at: 1000, usage: used(20, 10) })
    thread.starts("turn-1")
    const { goalId: _, ...goal }: Goal = thread.goal
    expect(thread.calls("turn-1", "get_goal", {})).toEqual({
      status: "success",
      value: { goal, remainingTokens: 70, completionBudgetReport: null },
    })
  })

  test("a completion within the first second and without a budget has nothing to report", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "a" })
    thread.starts("turn-1")
    expect(thread.calls("turn-1", "update_goal", { status: "complete" })).toMatchObject({ value: { completionBudgetReport: null } })
  })
})

describe("accounting", () => {
  test("cost is cumulative over turns, and cost before the goal is not charged", () => {
    const thread = new Thread()
    thread.starts("turn-1")
    thread.reports("turn-1", used(1), 400)
    thread.finishes("turn-1")
    thread.command({ type: "set", objective: "a", costBudgetMicros: 1000 })
    thread.starts("turn-2")
    thread.reports("turn-2", used(2), 900)
    thread.finishes("turn-2")
    expect(thread.goal.costUsedMicros).toBe(500)
    thread.state = foldGoal("t1", thread.events)
    thread.starts("turn-3")
    thread.reports("turn-3", used(3), 1400)
    thread.tool("turn-3")
    expect(thread.goal).toMatchObject({ costUsedMicros: 1000, status: "budget_limited" })
  })

  test("one figure that shrinks does not reduce the other, and the sample is the next baseline", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "a" })
    thread.starts("turn-1", { usage: used(100, 10) })
    thread.reports("turn-1", used(40, 15))
    thread.tool("turn-1")
    expect(thread.goal.tokensUsed).toBe(5)
    thread.reports("turn-1", used(50, 15))
    thread.tool("turn-1")
    expect(thread.goal.tokensUsed).toBe(15)
  })

  test("child usage of a plan turn or a paused goal is not charged", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "a" })
    thread.starts("turn-1", { mode: "plan" })
    thread.give({ type: "child_usage_reported", at: 1000, usage: used(5) })
    thread.finishes("turn-1")
    thread.command({ type: "pause" })
    thread.give({ type: "child_usage_reported", at: 1000, usage: used(7) })
    expect(thread.goal.childTokensUsed).toBe(0)
  })

  test("a goal copied over a running one inherits nothing from its turn", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "a" })
    thread.starts("turn-1")
    thread.reports("turn-1", used(50))
    const outputs = thread.give({
      type: "goal_copied",
      at: 9000,
      goal: { ...thread.goal, goalId: "x", threadId: "t0", tokensUsed: 3 },
      deferred: false,
    })
    expect(names(outputs)).toEqual(["event goal_copied", "updated goal_copied"])
    thread.finishes("turn-1")
    expect(thread.goal).toMatchObject({ goalId: "x", threadId: "t1", tokensUsed: 3, secondsUsed: 0, updatedAt: 1000 })
  })

  test("a turn that starts during another one first writes that turn's usage", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "a" })
    thread.starts("turn-1")
    thread.reports("turn-1", used(50))
    thread.starts("turn-2", { usage: used(60) })
    expect(thread.goal.tokensUsed).toBe(50)
    thread.reports("turn-2", used(61))
    thread.finishes("turn-2")
    expect(thread.goal.tokensUsed).toBe(51)
  })

  test("loading a thread drops its open turn, and the time while it was not loaded", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "a" })
    thread.starts("turn-1")
    thread.reports("turn-1", used(50))
    expect(names(thread.give({ type: "thread_resumed", at: 90_000, mode: "default" }))).toEqual(["goal.resumed"])
    thread.at = 92_000
    thread.finishes("turn-1")
    thread.command({ type: "set", tokenBudget: 5 })
    expect(thread.goal).toMatchObject({ tokensUsed: 0, secondsUsed: 2 })
  })

  test("a command is carried out whatever turn it names", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "a" })
    thread.starts("turn-2")
    thread.command({ type: "pause" }, "turn-1")
    expect(thread.goal.status).toBe("paused")
  })
})
