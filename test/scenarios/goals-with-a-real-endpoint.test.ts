/**
 * Goals whose model is at an endpoint that refuses what strict providers refuse, and bills what caching providers bill: what a thread
 * with a goal does turn after turn, and how a user stops it.
 */
import { describe, expect, test } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import { calls, charged, EndpointGoal, look, textOf } from "../support/goal-endpoint.ts"

const complete = calls("update_goal", { status: "complete" })

describe("continuations", () => {
  test.each([
    ["user_before_calls", {}],
    ["alternate", { alternate: true }],
    ["no_user_after_tool", { bridgeUserAfterTool: true }],
  ] as const)("stay in the transcript, so that each request begins with the one before: with the rule %s", async (rule, wire) => {
    const goal = await EndpointGoal.open({
      agent: [look("I look."), "Part 1.", look("I look again."), "Part 2.", look(), "Part 3.", complete, "All is done."],
      server: { rules: ["user_before_calls", "offered_tools", rule] },
      client: { wire },
    })
    await goal.thread.command({ type: "set", objective: "Report on the three parts." })
    await goal.run()
    expect(goal.goal).toMatchObject({ status: "complete", continuations: 4 })
    expect(goal.broken).toEqual([])
    const texts = goal.worked.at(-1)?.body.messages.flatMap((message) => (message.role === "user" ? [textOf(message)] : []))
    expect(texts?.map((text) => text.includes("You are still working on the goal"))).toEqual([true, false, false, false])
    expect(texts?.slice(1).every((text) => text.includes("The goal of this thread is still active."))).toBe(true)
  })

  test("are paid once: of a request only what it adds is at full price", async () => {
    const parts = Array.from({ length: 9 }, (_, index) => [look(`I look at ${index}.`), `Part ${index} is fine.`]).flat()
    const goal = await EndpointGoal.open({
      agent: [...parts, complete, "Done."],
      systemPrompt: "The shop keeps its prices in cents. ".repeat(100),
    })
    await goal.thread.command({ type: "set", objective: "Report on the nine parts." })
    await goal.run()
    const [, ...later] = goal.worked
    // What a request adds, and what is left of a block of 128 tokens.
    for (const { bill } of later) expect(bill.promptTokens - bill.cachedTokens).toBeLessThan(128 + 200)
    // The goal is complete before the last call, which is not charged to it.
    expect(goal.goal.tokensUsed).toBe(charged(goal.worked.slice(0, -1)))
  })

  test("survive messages and commands between them and during a turn: the requests only grow", async () => {
    const goal = await EndpointGoal.open({
      agent: async (_, number) => {
        if (number === 2) await goal.thread.say("Mind the prices.")
        if (number === 5) await goal.thread.command({ type: "set", objective: "Report on two parts." })
        if (number === 9) return complete
        return number % 3 === 0 ? `Part ${number}.` : look(`Step ${number}.`)
      },
      client: { wire: { bridgeUserAfterTool: true } },
      server: { rules: ["user_before_calls", "offered_tools", "no_user_after_tool"] },
    })
    await goal.thread.command({ type: "set", objective: "Report on the parts." })
    await goal.run()
    expect(goal.goal.status).toBe("complete")
    expect(goal.broken).toEqual([])
    expect(goal.lastShown.split("Mind the prices.")).toHaveLength(2)
    expect(goal.lastShown.split("The user has changed the objective").length).toBe(2)
  })
})

describe("a pause", () => {
  test("during a call ends the continuation at its next checkpoint, and everything until then is charged", async () => {
    const goal = await EndpointGoal.open({
      agent: async (_, number) => {
        if (number === 4) await goal.thread.command({ type: "pause" })
        return number === 2 ? "Part 1." : look(`Step ${number}.`)
      },
    })
    await goal.thread.command({ type: "set", objective: "Report on the parts." })
    const { outcome } = await goal.run()
    expect(goal.worked).toHaveLength(4)
    expect(outcome).toMatchObject({ type: "stopped", stop: { type: "cancelled", error: { userMessage: expect.stringContaining("paused") } } })
    expect(goal.goal).toMatchObject({ status: "paused", tokensUsed: charged(goal.worked) })
    await goal.thread.command({ type: "resume" })
    await goal.run({ attend: (thread) => void (goal.worked.length >= 6 && thread.goal?.status === "active" && thread.command({ type: "pause" })) })
    expect(goal.broken).toEqual([])
    expect(goal.goal.tokensUsed).toBe(charged(goal.worked))
  })

  test("during the call that reaches the budget ends the continuation, too", async () => {
    const goal = await EndpointGoal.open({
      agent: async (_, number) => {
        if (number === 1) await goal.thread.command({ type: "pause" })
        return { ...look(), outputTokens: 5_000 }
      },
    })
    await goal.thread.command({ type: "set", objective: "Report on the parts.", tokenBudget: 4_000 })
    const { outcome } = await goal.run()
    expect(outcome).toMatchObject({ type: "stopped", stop: { type: "cancelled" } })
    expect(goal.worked).toHaveLength(1)
    expect(goal.goal).toMatchObject({ status: "budget_limited", tokensUsed: charged(goal.worked) })
  })

  test("does not end a turn that the user began", async () => {
    const goal = await EndpointGoal.open({
      agent: async (_, number) => {
        if (number === 1) await goal.thread.command({ type: "pause" })
        return number < 3 ? look() : "Here is the answer."
      },
    })
    await goal.thread.command({ type: "set", objective: "Report on the parts." })
    await goal.thread.say("What do you see?")
    const { outcome } = await goal.run()
    expect(outcome).toMatchObject({ type: "finished", finish: { text: "Here is the answer." } })
    // What the turn used until the pause reached it.
    expect(goal.goal).toMatchObject({ status: "paused", tokensUsed: charged(goal.worked.slice(0, 1)) })
  })

  test("with an interrupt ends the call at once, and what arrived is charged", async () => {
    const goal = await EndpointGoal.open({
      agent: (_, number) => (number === 1 ? look() : { text: "A long report. ".repeat(100), betweenMs: 20 }),
    })
    await goal.thread.command({ type: "set", objective: "Report on the parts." })
    let deltas = 0
    const { outcome } = await goal.run({
      onEvent: ({ type }) => {
        if (type === "text_delta") deltas += 1
        if (deltas === 3) void goal.thread.command({ type: "pause" }).then(() => goal.thread.interrupt("The user stopped it."))
      },
    })
    expect(outcome).toMatchObject({ type: "stopped", stop: { type: "cancelled" } })
    expect(goal.goal.status).toBe("paused")
    expect(deltas).toBeLessThan(20)
    const [first] = goal.worked
    expect(goal.goal.tokensUsed).toBeGreaterThan(charged(first === undefined ? [] : [first]))
    expect(goal.goal.usageEstimated).toBe(true)
  })
})

test("clear during a call ends the continuation at its next checkpoint, and the next goal begins without what was used", async () => {
  const goal = await EndpointGoal.open({
    agent: async (_, number) => {
      if (number === 2) await goal.thread.command({ type: "clear" })
      if (number === 6) return "Done."
      return number === 5 ? complete : look(`Step ${number}.`)
    },
  })
  await goal.thread.command({ type: "set", objective: "Report on the parts." })
  await goal.run()
  expect([goal.worked.length, goal.thread.goal]).toEqual([2, null])
  const used = goal.reported.findLast((output) => output.type === "goal_updated")
  expect(used).toMatchObject({ goal: { tokensUsed: charged(goal.worked) } })
  await goal.thread.command({ type: "set", objective: "Count the parts." })
  await goal.run()
  expect(goal.goal).toMatchObject({ goalId: "g2", status: "complete", tokensUsed: charged(goal.worked.slice(2, -1)) })
})

describe("additions to a budget", () => {
  test("during one call each count once, and one that is sent again under its key does not count again", async () => {
    const goal = await EndpointGoal.open({
      agent: async (_, number) => {
        if (number === 1) {
          await Promise.all([
            goal.thread.command({ type: "resume", addTokens: 500 }, { key: "a" }),
            goal.thread.command({ type: "resume", addTokens: 700 }, { key: "b" }),
          ])
          await goal.thread.command({ type: "resume", addTokens: 500 }, { key: "a" })
        }
        if (number === 4) return "Done."
        return number < 3 ? look() : complete
      },
    })
    await goal.thread.command({ type: "set", objective: "Report on the parts.", tokenBudget: 50_000 })
    await goal.run()
    expect(goal.goal).toMatchObject({ status: "complete", tokenBudget: 51_200 })
  })

  test("between turns, also by another process, count once", async () => {
    const goal = await EndpointGoal.open({ agent: [complete, "Done."] })
    await goal.thread.command({ type: "set", objective: "Report on the parts.", tokenBudget: 50_000 })
    await goal.thread.command({ type: "resume", addTokens: 500 }, { key: "a" })
    await goal.reopen()
    await goal.thread.command({ type: "resume", addTokens: 500 }, { key: "a" })
    await goal.thread.command({ type: "resume", addTokens: 700 })
    await goal.run()
    expect(goal.goal.tokenBudget).toBe(51_200)
  })
})

describe("an answer without content", () => {
  test("blocks the goal with the reason of the endpoint", async () => {
    const goal = await EndpointGoal.open({ agent: [{ text: "", finishReason: "content_filter" }] })
    await goal.thread.command({ type: "set", objective: "Report on the parts." })
    const { outcome } = await goal.run()
    const message = outcome?.type === "stopped" ? outcome.stop.error?.userMessage : undefined
    expect(message).toMatch(/\S/)
    expect(goal.goal.status).toBe("blocked")
    expect(goal.goal.reason).toBe(`Blocked: the turn failed with: ${message?.replace(/[.\s]+$/, "")}. Resume to try again.`)
    expect(goal.goal.reason).toMatch(/filter|refus|declin/i)
  })

  test("blocks the goal and says that it was empty", async () => {
    const goal = await EndpointGoal.open({ agent: [""] })
    await goal.thread.command({ type: "set", objective: "Report on the parts." })
    await goal.run()
    expect(goal.goal).toMatchObject({ status: "blocked", reason: expect.stringContaining("neither text nor a tool call") })
  })

  test("is asked for once more with `retryEmptyAnswer`, and the goal continues", async () => {
    const goal = await EndpointGoal.open({ agent: ["", look(), "Part 1.", complete, "Done."], driver: chatDriver({ retryEmptyAnswer: true }) })
    await goal.thread.command({ type: "set", objective: "Report on the parts." })
    await goal.run()
    expect(goal.worked).toHaveLength(5)
    expect(goal.goal).toMatchObject({ status: "complete", tokensUsed: charged(goal.worked.slice(0, -1)) })
  })
})

describe("a paused goal of a thread that is opened again", () => {
  const paused = async (onResume: "reactivate" | "keep"): Promise<EndpointGoal> => {
    const goal = await EndpointGoal.open({ agent: [look(), complete, "Done."], thread: { policy: { onResume } } })
    await goal.thread.command({ type: "set", objective: "Report on the parts." })
    await goal.thread.command({ type: "pause" })
    await goal.run()
    expect(goal.worked).toHaveLength(0)
    await goal.reopen()
    await goal.run()
    return goal
  }

  test('continues with `onResume: "reactivate"`', async () => {
    expect((await paused("reactivate")).goal.status).toBe("complete")
  })

  test("stays paused without it", async () => {
    const goal = await paused("keep")
    expect([goal.goal.status, goal.worked.length]).toEqual(["paused", 0])
  })
})
