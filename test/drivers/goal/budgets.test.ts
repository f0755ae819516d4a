/** Figures, budgets and reasons, counted by hand. */
import { describe, expect, test } from "vitest"
import { budgetReason, costOf, newGoalState, since } from "../../../src/drivers/goal/goal.ts"
import { fullPolicy } from "../../../src/drivers/goal/policy.ts"
import type { GoalInput, GoalOutput } from "../../../src/schemas/goal.ts"
import { names, Thread, used } from "./support.ts"
import { replies, ThreadHost } from "./thread-host.ts"

const ESTIMATED = { estimated: true } as const

/** A thread with a goal, in its first turn. */
function inTurn(command: object = {}, policy: ConstructorParameters<typeof Thread>[0] = {}): Thread {
  const thread = new Thread(policy)
  thread.command({ type: "set", objective: "ship", ...command })
  thread.starts("one")
  return thread
}

function child(thread: Thread, tokens: number, more: Partial<Extract<GoalInput, { type: "child_usage_reported" }>> = {}): readonly GoalOutput[] {
  return thread.give({ type: "child_usage_reported", at: thread.at, usage: used(tokens), ...more })
}

describe("the reason of a reached budget", () => {
  const goal = { ...inTurn().goal, tokensUsed: 6, childTokensUsed: 4, secondsUsed: 3, costUsedMicros: 12 }

  test("names each budget that is reached, and by how much it was crossed", () => {
    const budgets = { tokenBudget: 10, secondsBudget: 4, costBudgetMicros: 5 }
    expect(budgetReason({ ...goal, ...budgets }, fullPolicy({}))).toBe(
      "Stopped: the token budget is used up (tokens: 10 of 10), and the cost budget is used up (cost in micro-units: 12 of 5, 7 over). Raise the budget and resume to continue.",
    )
    expect(budgetReason({ ...goal, secondsBudget: 3 }, fullPolicy({}))).toBe(
      "Stopped: the time budget is used up (seconds: 3 of 3). Raise the budget and resume to continue.",
    )
  })

  test("follows the figures, unless somebody gave another reason", () => {
    const thread = inTurn({ tokenBudget: 10 })
    thread.reports("one", used(12))
    thread.tool("one")
    expect(thread.goal.reason).toContain("12 of 10, 2 over")
    thread.reports("one", used(15))
    thread.tool("one")
    expect(thread.goal.reason).toContain("15 of 10, 5 over")
    const stopped = inTurn({ tokenBudget: 10 })
    stopped.command({ type: "set", status: "budget_limited", reason: "No more." })
    stopped.reports("one", used(15))
    stopped.tool("one")
    expect(stopped.goal).toMatchObject({ status: "budget_limited", tokensUsed: 15, reason: "No more." })
  })
})

test("usage between two figures: every bucket, and the marks of the later one", () => {
  const before = { inputTokens: 1, cachedInputTokens: 2, outputTokens: 3, reasoningTokens: 4 }
  const now = { inputTokens: 11, cachedInputTokens: 32, outputTokens: 53, reasoningTokens: 74 }
  const between = { inputTokens: 10, cachedInputTokens: 30, outputTokens: 50, reasoningTokens: 70 }
  expect(since(before, now)).toStrictEqual(between)
  expect(since({ ...before, estimated: true }, { ...now, cacheWriteTokens: 9 })).toStrictEqual({ ...between, cacheWriteTokens: 9 })
  expect(since({ ...before, cacheWriteTokens: 4 }, { ...now, cacheWriteTokens: 9, estimated: true })).toStrictEqual({
    ...between,
    cacheWriteTokens: 5,
    estimated: true,
  })
})

test("the cost of a turn adds up, never falls, and is not known without a turn or a price", () => {
  const { turn } = inTurn().state
  const priced = turn && { ...turn, reported: used(10), reportedCostMicros: 5 }
  expect(costOf(priced, used(14), ({ inputTokens }) => inputTokens * 2.1)).toBe(13)
  expect(costOf(priced, used(14), () => -3)).toBe(5)
  expect(costOf(priced, used(14), undefined)).toBeUndefined()
  expect(costOf(null, used(14), () => 1)).toBeUndefined()
})

describe("what is charged", () => {
  test("marks the goal as estimated if tokens of an estimate are among it", () => {
    const thread = inTurn()
    thread.reports("one", used(0, 0, ESTIMATED), 5)
    thread.tool("one")
    expect(thread.goal).toMatchObject({ tokensUsed: 0, costUsedMicros: 5 })
    expect(thread.goal).not.toHaveProperty("usageEstimated")
    thread.reports("one", used(3, 0), 5)
    thread.tool("one")
    expect(thread.goal).not.toHaveProperty("usageEstimated")
    thread.reports("one", used(4, 0, ESTIMATED), 5)
    thread.tool("one")
    expect(thread.goal).toMatchObject({ tokensUsed: 4, usageEstimated: true })
  })

  test("of a child with an id marks the goal in the same way, and a report without news changes nothing", () => {
    const thread = inTurn()
    child(thread, 0, { childId: "c", costMicros: 5, usage: used(0, 0, ESTIMATED) })
    expect(thread.goal).toMatchObject({ childTokensUsed: 0, costUsedMicros: 5 })
    child(thread, 2, { childId: "c", costMicros: 5 })
    expect(thread.goal).not.toHaveProperty("usageEstimated")
    expect(child(thread, 2, { childId: "c", costMicros: 5 })).toEqual([])
    child(thread, 0, { childId: "c", costMicros: 5, usage: used(3, 0, ESTIMATED) })
    expect(thread.goal).toMatchObject({ childTokensUsed: 3, usageEstimated: true })
  })

  test("of a child steers the turn that it is in, and none between turns", () => {
    const thread = inTurn({ tokenBudget: 10 })
    expect(names(child(thread, 10, { childId: "c" }))).toContain("steer")
    const resting = new Thread()
    resting.command({ type: "set", objective: "ship", tokenBudget: 10 })
    expect(names(child(resting, 10, { childId: "c" }))).not.toContain("steer")
    expect([thread.goal.status, resting.goal.status]).toEqual(["budget_limited", "budget_limited"])
  })

  test("steers at a tool, not at the end of the turn", () => {
    const thread = inTurn({ tokenBudget: 10 })
    thread.reports("one", used(10))
    expect(names(thread.finishes("one"))).not.toContain("steer")
    expect(thread.goal.status).toBe("budget_limited")
  })

  test("is nothing of a plan turn, also for a goal that is set in it, and nothing that names another turn", () => {
    const thread = new Thread()
    thread.starts("one", { mode: "plan" })
    thread.command({ type: "set", objective: "ship" })
    thread.reports("one", used(50), 9)
    child(thread, 7)
    thread.finishes("one")
    expect(thread.goal).toMatchObject({ tokensUsed: 0, childTokensUsed: 0, costUsedMicros: 0 })
    const other = inTurn()
    other.reports("two", used(50), 9)
    other.tool("two")
    other.finishes("two")
    expect(other.state.turn).toMatchObject({ turnId: "one", reported: used(0), reportedCostMicros: 0 })
  })

  test("of a child without an id waits for the turn's next write; its cost has a key only where there is one", () => {
    const thread = inTurn()
    child(thread, 7)
    expect(thread.state.turn).toMatchObject({ childTokens: 7 })
    expect(thread.state.turn).not.toHaveProperty("childCostMicros")
    child(thread, 1, { costMicros: 4 })
    child(thread, 0, { costMicros: 5 })
    expect(thread.state.turn).toMatchObject({ childTokens: 8, childCostMicros: 9 })
    expect(thread.goal).toMatchObject({ childTokensUsed: 0 })
    thread.tool("one")
    expect(thread.goal).toMatchObject({ childTokensUsed: 8, costUsedMicros: 9 })
    expect(thread.state.turn).toMatchObject({ childTokens: 0 })
    expect(thread.state.turn).not.toHaveProperty("childCostMicros")
  })

  test("is remembered with its cost at each write, so that a restart in the turn does not charge it again", () => {
    const thread = inTurn()
    thread.reports("one", used(10), 70)
    thread.tool("one")
    expect(thread.state.memory.costMicros).toBe(70)
  })

  test("starts no clock that does not run", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "ship", tokenBudget: 10 })
    child(thread, 10)
    expect([thread.goal.status, thread.state.clock.markedAt]).toEqual(["budget_limited", null])
    child(thread, 5)
    expect([thread.goal.childTokensUsed, thread.state.clock.markedAt]).toEqual([15, null])
  })
})

test("the latest time counts where an earlier one follows; a new thread knows none", () => {
  expect(newGoalState("t1").clock).toEqual({ seenAt: null, markedAt: null })
  const thread = new Thread()
  thread.at = 5_000
  thread.command({ type: "set", objective: "ship" })
  thread.at = 3_000
  thread.starts("one")
  thread.command({ type: "pause" })
  expect(thread.events.map(({ at, cause, ...event }) => [at, cause, "turnId" in event])).toEqual([
    [5_000, "command", false],
    [5_000, "command", false],
  ])
})

describe("an end of a turn that says why the goal stops", () => {
  const reasonAfter = (policy: ConstructorParameters<typeof Thread>[0], end: (thread: Thread) => void): readonly [string, string | undefined] => {
    const thread = inTurn({}, policy)
    end(thread)
    return [thread.goal.status, thread.goal.reason]
  }
  const interrupt = (reason?: string) => (thread: Thread) =>
    void thread.give({ type: "turn_interrupted", at: thread.at, turnId: "one", ...(reason !== undefined && { reason }) })

  test("an interrupt", () => {
    expect(reasonAfter({}, interrupt())).toEqual(["paused", "Paused by an interrupt. Resume to continue."])
    expect(reasonAfter({}, interrupt("The user left. \n"))).toEqual(["paused", "Paused: The user left. Resume to continue."])
    expect(reasonAfter({ onInterrupt: "keep" }, interrupt())).toEqual(["active", undefined])
  })

  test("a failure", () => {
    expect(reasonAfter({}, (thread) => thread.fails("one", "other"))).toEqual([
      "blocked",
      "Blocked: the turn failed with: it broke. Resume to try again.",
    ])
    expect(reasonAfter({ onTurnError: "keep" }, (thread) => thread.fails("one", "other"))).toEqual(["active", undefined])
    expect(reasonAfter({}, (thread) => thread.fails("another", "other"))).toEqual(["active", undefined])
    expect(reasonAfter({}, (thread) => thread.fails("one", "usage_limit"))).toEqual([
      "usage_limited",
      "The usage limit of the account is reached: it broke. Resume when usage is available again.",
    ])
  })

  test("failures in a row, of which the last allowed one blocks", () => {
    const failing = (times: number) => (thread: Thread) => {
      for (let time = 0; time < times; time += 1) {
        if (time > 0) thread.starts("one")
        thread.fails("one", "transient")
      }
    }
    expect(reasonAfter({ maxTransientErrors: 2 }, failing(1))).toEqual(["active", undefined])
    expect(reasonAfter({ maxTransientErrors: 2 }, failing(2))).toEqual([
      "blocked",
      "Blocked: 2 turns in a row failed, the last with: it broke. Resume to try again.",
    ])
    expect(reasonAfter({ maxTransientErrors: 1 }, failing(1))).toEqual([
      "blocked",
      "Blocked: a turn failed, the last with: it broke. Resume to try again.",
    ])
    expect(reasonAfter({ maxTransientErrors: 0 }, failing(9))).toEqual(["active", undefined])
  })

  test("a failed turn that is not charged to the goal leaves it", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "ship" })
    thread.starts("one", { mode: "plan" })
    thread.fails("one", "usage_limit")
    expect(thread.goal.status).toBe("active")
  })
})

describe("a thread that is loaded again", () => {
  const resumed = (status: "paused" | "active", command: object, mode: "default" | "plan" = "default"): Thread => {
    const thread = new Thread({ onResume: "reactivate" })
    thread.command({ type: "set", objective: "ship", ...command })
    child(thread, 5)
    if (status === "paused") thread.command({ type: "pause" })
    thread.at = 9_000
    thread.give({ type: "thread_resumed", at: thread.at, mode })
    return thread
  }

  test("activates a paused goal if its policy says so, and charges the time from then on", () => {
    const thread = resumed("paused", {})
    expect([thread.goal.status, thread.state.clock.markedAt]).toEqual(["active", 9_000])
    expect(thread.goal).not.toHaveProperty("reason")
    expect(resumed("paused", {}, "plan").goal.status).toBe("paused")
  })

  test("does not activate a goal whose budget is reached, and says so", () => {
    const thread = new Thread({ onResume: "reactivate" })
    thread.command({ type: "set", objective: "ship", tokenBudget: 6 })
    thread.command({ type: "pause" })
    child(thread, 6, { childId: "c", goalId: thread.goal.goalId })
    thread.give({ type: "thread_resumed", at: 9_000, mode: "default" })
    expect(thread.goal).toMatchObject({ status: "budget_limited", reason: expect.stringContaining("6 of 6") as string })
    expect(thread.state.clock.markedAt).toBeNull()
  })
})

describe("calls at a budget", () => {
  test("that an answer without tools has reached: two more, and then the turn ends", () => {
    const thread = new ThreadHost({
      model: (calls) => replies(`Part ${calls}.`),
      delivers: (checkpoint) => (checkpoint === "before_completion" ? { messages: [{ role: "user", content: "And?" }] } : {}),
    })
    thread.command({ type: "set", objective: "ship", tokenBudget: 10 })
    const machine = thread.turn("user")
    expect(thread.modelCalls).toBe(3)
    expect(machine.outcome).toMatchObject({ type: "stopped", stop: { type: "max_tokens", error: { kind: "goal", code: "budget_reached" } } })
    const last = machine.messages.at(-1)
    expect(last?.id).toMatch(/^m_\d+_goal_budget_\d+$/)
    expect(last).toMatchObject({
      role: "system",
      parts: [{ id: `${last?.id}.p0`, type: "error", text: "This turn reached a budget of the goal and ended here, before a final answer." }],
    })
    expect(machine.history.at(-1)).toEqual({ type: "conversation", message: last })
  })

  test("that is hard: a call that fits to the token starts, with the rest for its answer", () => {
    const caps: (number | undefined)[] = []
    const turn = (tokenBudget: number, maxOutputTokens?: number): ReturnType<ThreadHost["turn"]> => {
      const config = maxOutputTokens === undefined ? {} : { generation: { maxOutputTokens } }
      const model = (_calls: number, request: { readonly generation: { readonly maxOutputTokens?: number } }): ReturnType<typeof replies> => {
        caps.push(request.generation.maxOutputTokens)
        return replies("Done.")
      }
      const thread = new ThreadHost({ model }, { policy: { hardBudget: true }, driver: { estimate: () => 99.5 }, config })
      thread.command({ type: "set", objective: "ship", tokenBudget })
      return thread.turn("user")
    }
    turn(356)
    turn(10_000, 300)
    turn(110, 10)
    const refused = turn(109, 10)
    expect(caps).toEqual([256, 300, 10])
    expect(refused.outcome).toMatchObject({
      stop: {
        error: {
          userMessage:
            "Stopped before a model call that could cross the token budget: 109 of 109 tokens are left, and the call may take 100 and its answer. Raise the budget and resume to continue.",
        },
      },
    })
    expect(refused.messages.at(-1)).toMatchObject({
      parts: [{ type: "error", text: "This turn ended here, before a model call that could cross the token budget of the goal." }],
    })
  })

  test("that it is expected to exceed: one that fits exactly carries no warning", () => {
    const warned = (tokenBudget: number, policy = {}): readonly [inRequest: boolean, inHistory: boolean] => {
      let inRequest = false
      const model = (_calls: number, request: unknown): ReturnType<typeof replies> => {
        inRequest = JSON.stringify(request).includes("this call alone")
        return replies("Done.")
      }
      const thread = new ThreadHost({ model }, { policy, driver: { estimate: () => 30 } })
      thread.command({ type: "set", objective: "ship", tokenBudget })
      const machine = thread.turn("user")
      return [inRequest, JSON.stringify(machine.history).includes("this call alone")]
    }
    expect(warned(30)).toEqual([false, false])
    expect(warned(29)).toEqual([true, true])
    expect(warned(29, { compat: "reference" })).toEqual([true, false])
  })
})
