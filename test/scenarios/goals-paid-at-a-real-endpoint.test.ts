/** What a goal at a real endpoint is charged, and by how much it can cross its budget. */
import { describe, expect, onTestFinished, test } from "vitest"
import { openAiCompatible } from "../../src/hosts/models/openai-compatible.ts"
import { estimateTokens } from "../../src/machine/usage-estimate.ts"
import type { LlmRequest } from "../../src/schemas/llm.ts"
import { calls, charged, EndpointGoal, listOf, look, settles } from "../support/goal-endpoint.ts"
import { startStrictServer } from "../support/strict-server.ts"

const complete = calls("update_goal", { status: "complete" })

describe("an endpoint that reports no usage", () => {
  test("is charged by estimate, which the goal shows; budgets have an effect, and tool calls count", async () => {
    const goal = await EndpointGoal.open({
      agent: (_, number) => (number % 2 === 1 ? look(`Step ${number}.`) : `Part ${number}.`),
      server: { noUsage: true },
    })
    await goal.thread.command({ type: "set", objective: "Report on the parts.", tokenBudget: 20_000 })
    await goal.run()
    // Three turns without a counted call would have paused it.
    expect(goal.goal).toMatchObject({ status: "budget_limited", usageEstimated: true })
    expect(goal.goal.continuations).toBeGreaterThan(3)
    // Shown from the first turn on.
    const shown = goal.reported.filter((output) => output.type === "goal_updated").find(({ goal: { tokensUsed } }) => tokensUsed > 0)
    expect(shown).toMatchObject({ goal: { continuations: 1, usageEstimated: true } })
    // The estimate does not know the cache.
    const real = goal.worked.reduce((sum, { bill }) => sum + bill.promptTokens + bill.outputTokens, 0)
    expect(goal.goal.tokensUsed).toBeGreaterThan(real / 2)
    expect(goal.goal.tokensUsed).toBeLessThan(real * 2)
  })

  test("of the judge is charged by estimate, too", async () => {
    const goal = await EndpointGoal.open({
      agent: [look(), "Part 1 is done.", "Part 1 is shown."],
      judge: [listOf("Part 1."), settles([1])],
      server: { noUsage: true },
    })
    await goal.thread.command({ type: "set", objective: "Report on the parts." })
    await goal.run()
    expect(goal.goal).toMatchObject({ status: "complete", usageEstimated: true })
    expect(goal.goal.childTokensUsed).toBeGreaterThan(0)
  })
})

describe("attempts that failed", () => {
  test("and were billed are charged, whether a retry succeeds or not", async () => {
    const goal = await EndpointGoal.open({
      agent: [{ status: 500, billed: true }, look(), { status: 503, billed: true }, { status: 503, billed: true }, "Part 1.", complete, "Done."],
    })
    await goal.thread.command({ type: "set", objective: "Report on the parts." })
    await goal.run()
    // The goal is complete before the last call, which is not charged to it.
    expect(goal.goal).toMatchObject({ status: "complete", tokensUsed: charged(goal.worked.slice(0, -1)) })
    expect(goal.worked).toHaveLength(7)

    const failing = await EndpointGoal.open({ agent: [{ status: 500, billed: true }], client: { maxRetries: 2 } })
    await failing.thread.command({ type: "set", objective: "Report on the parts." })
    await failing.run({ maxWaitMs: 0 })
    expect(failing.worked).toHaveLength(3)
    expect(failing.goal.tokensUsed).toBe(charged(failing.worked))
  })

  test("of the judge are charged, too", async () => {
    const goal = await EndpointGoal.open({
      agent: ["Part 1 is done.", "Part 1 is shown."],
      judge: [{ status: 500, billed: true }, listOf("Part 1."), { status: 502, billed: true }, settles([1])],
    })
    await goal.thread.command({ type: "set", objective: "Report on the parts." })
    await goal.run()
    expect(goal.goal).toMatchObject({ status: "complete", childTokensUsed: charged(goal.judged), tokensUsed: charged(goal.worked) })
    expect(goal.judged).toHaveLength(4)
  })

  test.each([{}, { hardBudget: true }])("and were billed by a model before a fallback are charged, with the policy %j", async (policy) => {
    const first = await startStrictServer(() => ({ status: 503, billed: true }))
    onTestFinished(() => first.close())
    const before = [openAiCompatible({ baseUrl: first.url, maxRetries: 0 })]
    const goal = await EndpointGoal.open({ agent: [look(), "Part 1.", complete, "Done."], before, thread: { policy } })
    await goal.thread.command({ type: "set", objective: "Report on the parts.", tokenBudget: 100_000 })
    await goal.run()
    // The goal is complete before the last call, which is not charged to it.
    expect(goal.worked).toHaveLength(4)
    expect(first.requests).toHaveLength(4)
    expect(goal.goal).toMatchObject({
      status: "complete",
      tokensUsed: charged(goal.worked.slice(0, -1)) + charged(first.requests.slice(0, -1)),
    })
  })

  test("in the middle of their reasoning, and are retried, are charged by estimate", async () => {
    const goal = await EndpointGoal.open({
      agent: [look(), { reasoning: "I think about it for long. ".repeat(40), cutAfter: 0 }, "Part 1.", complete, "Done."],
    })
    await goal.thread.command({ type: "set", objective: "Report on the parts." })
    await goal.run()
    expect(goal.worked).toHaveLength(5)
    const answered = goal.worked.filter((_, index) => index !== 1).slice(0, -1)
    expect(goal.goal.tokensUsed).toBeGreaterThan(charged(answered) + 200)
  })

  test("because the connection broke are charged by estimate for what had arrived", async () => {
    const text = "A report that is cut off somewhere in the middle of it."
    const goal = await EndpointGoal.open({
      agent: [look(), { text, cutAfter: 40 }, complete, "Done."],
      client: { maxRetries: 0 },
    })
    await goal.thread.command({ type: "set", objective: "Report on the parts." })
    await goal.run()
    const [first] = goal.worked
    expect(goal.goal.usageEstimated).toBe(true)
    expect(goal.goal.tokensUsed).toBeGreaterThan(charged(first === undefined ? [] : [first]) + 10)
  })
})

describe("a budget of 3,000 for a model that never stops calling tools", () => {
  /** The tokens of a request's answer and new input here, with what is left of a block of the cache. */
  const MOST_PER_CALL = 128 + 700

  const endless = (policy: object, more: { readonly judge?: boolean; readonly noUsage?: boolean; readonly estimate?: boolean } = {}) =>
    EndpointGoal.open({
      agent: (_, number) => look(`Step ${number}: ${"there is more to see here. ".repeat(10)}`),
      ...(more.judge === true && { judge: [listOf("All is seen."), settles([])] }),
      ...(more.noUsage === true && { server: { noUsage: true } }),
      thread: { policy, ...(more.estimate === true && { goal: { estimate: (request: LlmRequest) => estimateTokens(request) } }) },
    })

  test("that is soft is crossed by the call that reaches it and two more", async () => {
    const goal = await endless({})
    await goal.thread.command({ type: "set", objective: "See everything.", tokenBudget: 3_000 })
    const { reason, outcome } = await goal.run()
    const used = goal.goal.tokensUsed
    expect(goal.goal.status).toBe("budget_limited")
    expect(used).toBe(charged(goal.worked))
    const reached = goal.worked.findIndex((_, index) => charged(goal.worked.slice(0, index + 1)) >= 3_000)
    expect(goal.worked.length - 1 - reached).toBe(2)
    expect(used).toBeLessThan(3_000 + 3 * MOST_PER_CALL)
    expect(outcome).toMatchObject({ type: "stopped", stop: { type: "max_tokens" } })
    expect(reason).toContain(`${used} of 3000`)
    expect(goal.broken).toEqual([])
    // Nothing more happens until the budget is raised.
    await goal.run()
    expect(goal.goal.tokensUsed).toBe(used)
    await goal.thread.command({ type: "resume", addTokens: 1_000 })
    await goal.run()
    expect(goal.goal.tokensUsed).toBe(charged(goal.worked))
    expect(goal.goal.tokensUsed).toBeLessThan(used + 1_000 + 3 * MOST_PER_CALL)
    expect(goal.broken).toEqual([])
  })

  test("that is hard is never crossed", async () => {
    const goal = await endless({ hardBudget: true })
    await goal.thread.command({ type: "set", objective: "See everything.", tokenBudget: 3_000 })
    const { reason } = await goal.run()
    expect(goal.goal.status).toBe("budget_limited")
    expect(charged(goal.worked)).toBe(goal.goal.tokensUsed)
    expect(charged(goal.worked)).toBeLessThanOrEqual(3_000)
    expect(reason).toMatch(/could cross the token budget/)
    for (const { body } of goal.worked) expect(body.max_tokens).toBeLessThanOrEqual(3_000)
    // As with most budgets, much of it can be used.
    expect(goal.worked.length).toBeGreaterThanOrEqual(1)
  })

  test("that is hard is not crossed by the judge, by children or at an endpoint without usage", async () => {
    for (const noUsage of [false, true]) {
      const goal = await EndpointGoal.open({
        agent: (_, number) => (number % 2 === 1 ? look() : `Part ${number} is seen.`),
        judge: [listOf("All is seen."), settles([])],
        server: { noUsage },
        judgeConfig: { maxOutputTokens: 200 },
        thread: { policy: { hardBudget: true } },
      })
      await goal.thread.command({ type: "set", objective: "See everything.", tokenBudget: 8_000 })
      await goal.run()
      expect([noUsage, goal.goal.status]).toEqual([noUsage, "budget_limited"])
      expect(goal.goal.tokensUsed + goal.goal.childTokensUsed).toBeLessThanOrEqual(8_000)
      expect(charged(goal.server.requests)).toBeLessThanOrEqual(8_000)
    }
  })

  test("that is soft holds at an endpoint without usage, too", async () => {
    const goal = await endless({}, { noUsage: true })
    await goal.thread.command({ type: "set", objective: "See everything.", tokenBudget: 3_000 })
    await goal.run()
    expect(goal.goal.status).toBe("budget_limited")
    // Nothing is known of a cache, so each call counts whole: the one that reaches the budget, and two more.
    const most = Math.max(...goal.worked.map(({ bill }) => bill.promptTokens + bill.outputTokens))
    expect(goal.goal.tokensUsed).toBeLessThan(3_000 + 3 * 1.5 * most)
  })

  test("that is soft holds with a judge: what the judge used counts, and is not asked again", async () => {
    const goal = await endless({}, { judge: true })
    await goal.thread.command({ type: "set", objective: "See everything.", tokenBudget: 3_000 })
    await goal.run()
    const { tokensUsed, childTokensUsed, status } = goal.goal
    expect(status).toBe("budget_limited")
    expect([tokensUsed, childTokensUsed]).toEqual([charged(goal.worked), charged(goal.judged)])
    const judged = goal.judged.length
    expect(judged).toBeLessThanOrEqual(2)
    expect(tokensUsed).toBeLessThan(3_000 + 3 * MOST_PER_CALL)
    await goal.run()
    expect(goal.judged).toHaveLength(judged)
  })
})
