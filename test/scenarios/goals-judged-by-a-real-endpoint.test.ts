/** Goals whose model and whose judge are at a real endpoint: who ends them, what the judge sees and how its answers are read. */
import { describe, expect, test } from "vitest"
import { calls, charged, EndpointGoal, listOf, look, settles, textsOf } from "../support/goal-endpoint.ts"
import type { ChatBody } from "../support/strict-server.ts"

const names = ({ tools = [] }: ChatBody): readonly string[] => tools.map(({ function: { name } }) => name)

describe("a judged goal", () => {
  test("cannot be ended by its model: a goal tool that was not offered is an unknown tool", async () => {
    const goal = await EndpointGoal.open({
      agent: [calls("update_goal", { status: "complete" }), "I say it is complete.", calls("update_goal", { status: "blocked" }), "Part 1 is here."],
      judge: [listOf("Part 1 is here."), settles([1])],
      // The model calls what was not offered, so its own calls break that rule.
      server: { rules: ["user_before_calls"] },
    })
    await goal.thread.command({ type: "set", objective: "Report on part 1." })
    await goal.run()
    for (const { body } of goal.worked) {
      expect(names(body)).not.toContain("update_goal")
      for (const message of body.messages)
        if (message.role !== "tool" && message.role !== "assistant") expect(JSON.stringify(message)).not.toContain("update_goal")
    }
    expect(goal.lastShown).toContain('There is no tool "update_goal"')
    const completed = goal.reported.filter((output) => output.type === "goal_updated" && output.goal.status === "complete")
    expect(completed).toHaveLength(1)
    expect(completed[0]).toMatchObject({ cause: "command" })
    expect(goal.judged).toHaveLength(2)
    expect(goal.goal.status).toBe("complete")
  })

  test("is judged by the history of the whole thread, which the judge reads by pages", async () => {
    const pages: string[] = []
    const goal = await EndpointGoal.open({
      agent: ["The key is under the MAT-17.", "I went on.", "I went on again.", "All is done."],
      judge: (body, number) => {
        if (names(body).includes("submit_checklist")) return listOf("The key was found.")
        const text = textsOf(body)
        const tool = names(body).find((name) => name !== "update_checklist")
        if (number === 3 && tool !== undefined) return calls(tool, { transcript: "t", cursor: 1 })
        if (number === 4) {
          pages.push(text)
          return settles([1])
        }
        expect(text).toMatch(/The conversation so far has \d+ messages/)
        return settles([])
      },
    })
    await goal.thread.say("Hello! First of all: find the key.")
    await goal.thread.command({ type: "set", objective: "Find the key." })
    await goal.run()
    expect(goal.goal.status).toBe("complete")
    expect(pages[0]).toContain("Hello! First of all: find the key.")
    expect(pages[0]).toContain("The key is under the MAT-17.")
    const third = goal.judged[2]?.body
    expect(third === undefined ? "" : textsOf(third)).toMatch(/The conversation so far has 6 messages/)
  })

  test("whose turn crosses the budget is still judged: completion wins over the budget, also over the judge's own tokens", async () => {
    const goal = await EndpointGoal.open({
      agent: ["Part 1 is begun.", { text: "All is done.", outputTokens: 5_000 }],
      judge: [listOf("All is done."), settles([1])],
    })
    await goal.thread.command({ type: "set", objective: "Do all.", tokenBudget: 4_000 })
    await goal.run()
    expect(goal.goal.status).toBe("complete")
    expect(goal.goal.tokensUsed).toBeGreaterThan(4_000)

    const byJudge = await EndpointGoal.open({
      agent: ["Part 1 is begun.", "All is done."],
      judge: [listOf("All is done."), { ...settles([1]), outputTokens: 5_000 }],
    })
    await byJudge.thread.command({ type: "set", objective: "Do all.", tokenBudget: 4_000 })
    await byJudge.run()
    expect(byJudge.goal.status).toBe("complete")
    expect(byJudge.goal.tokensUsed + byJudge.goal.childTokensUsed).toBeGreaterThan(4_000)
  })

  test("is completed by its model at the budget line, where no judge ends it", async () => {
    const goal = await EndpointGoal.open({ agent: [{ ...calls("update_goal", { status: "complete" }), outputTokens: 5_000 }, "Done."] })
    await goal.thread.command({ type: "set", objective: "Do all.", tokenBudget: 4_000 })
    await goal.run()
    expect(goal.goal.status).toBe("complete")
  })

  test("with checks is completed at the budget line once they pass, and the judge is asked after them", async () => {
    const order: string[] = []
    const goal = await EndpointGoal.open({
      agent: ["Part 1 is begun.", { text: "All is done.", outputTokens: 5_000 }],
      judge: (body) => {
        order.push("judge")
        return names(body).includes("submit_checklist") ? listOf("All is done.") : settles([1])
      },
    })
    await goal.thread.command({ type: "set", objective: "Do all.", tokenBudget: 4_000, checks: [{ name: "tests", command: "test" }] })
    await goal.run({
      checks: async ({ checks }) => {
        order.push("checks")
        return checks.map(({ name }) => ({ name, ok: true, tail: "" }))
      },
    })
    expect(goal.goal.status).toBe("complete")
    expect(order.slice(0, 4)).toEqual(["checks", "judge", "checks", "judge"])
  })

  test("is not idle while its model answers with text alone", async () => {
    const goal = await EndpointGoal.open({
      agent: (_, number) => `Chapter ${number}: ${"once upon a time. ".repeat(number)}`,
      judge: (body, number) => {
        if (names(body).includes("submit_checklist")) return listOf(...Array.from({ length: 7 }, (_, index) => `Chapter ${index + 1}.`))
        return settles([number - 1])
      },
    })
    await goal.thread.command({ type: "set", objective: "Write seven chapters." })
    await goal.run()
    expect(goal.goal).toMatchObject({ status: "complete", continuations: 8 })
  })

  test("whose items are settled makes progress, even if the answers are alike", async () => {
    const goal = await EndpointGoal.open({
      agent: ["Done as before."],
      judge: (body, number) => (names(body).includes("submit_checklist") ? listOf("A.", "B.", "C.", "D.", "E.") : settles([number - 1])),
    })
    await goal.thread.command({ type: "set", objective: "Do five things." })
    await goal.run()
    expect(goal.goal.status).toBe("complete")
  })

  test("without progress pauses, and says so", async () => {
    const goal = await EndpointGoal.open({
      agent: ["Done as before."],
      judge: (body) => (names(body).includes("submit_checklist") ? listOf("A.", "B.") : settles([])),
    })
    await goal.thread.command({ type: "set", objective: "Do two things." })
    await goal.run()
    expect(goal.goal.status).toBe("paused")
    expect(goal.goal.reason).toMatch(/same answer/)
  })
})

describe("a user's items", () => {
  const opened = () =>
    EndpointGoal.open({
      agent: ["Part 1 is begun.", "Part 1 goes on.", { text: "Part 2 goes on.", outputTokens: 5_000 }, "More."],
      judge: (body) => (names(body).includes("submit_checklist") ? listOf("Part 1.", "Part 2.") : settles([])),
    })
  const markAll = async (goal: EndpointGoal): Promise<void> => {
    for (const { id } of goal.judge?.state.goal?.checklist ?? [])
      await goal.judge?.manage({ type: "mark_item", itemId: id, status: "completed", at: goal.at })
  }

  test("that settle the list complete the goal, also one that reached its budget", async () => {
    const goal = await opened()
    await goal.thread.command({ type: "set", objective: "Do both.", tokenBudget: 4_000 })
    await goal.run()
    expect(goal.goal.status).toBe("budget_limited")
    await markAll(goal)
    await goal.run()
    expect(goal.goal.status).toBe("complete")
  })

  test("settled before the judge's list exists complete nothing", async () => {
    const goal = await EndpointGoal.open({
      agent: ["Part 1 is begun.", "All is done."],
      judge: (body) => (names(body).includes("submit_checklist") ? listOf("Part 1.", "Part 2.") : settles([1, 2, 3])),
    })
    await goal.thread.command({ type: "set", objective: "Do both." })
    await goal.thread.settle()
    await goal.judge?.between()
    await goal.judge?.manage({ type: "add_item", text: "Mine.", at: goal.at })
    await markAll(goal)
    expect(goal.goal.status).toBe("active")
    await goal.thread.settle()
    expect(goal.goal.status).toBe("active")
    await goal.run()
    expect(goal.goal.status).toBe("complete")
    expect(goal.judged.length).toBeGreaterThanOrEqual(2)
  })

  test("of an earlier goal, all settled, do not complete the next one", async () => {
    const goal = await opened()
    await goal.thread.command({ type: "set", objective: "Do both." })
    await goal.run({ attend: (thread) => void (goal.worked.length === 2 && thread.goal?.status === "active" && thread.command({ type: "pause" })) })
    await markAll(goal)
    await goal.thread.command({ type: "start", objective: "Do another." })
    await goal.reopen()
    await goal.thread.settle()
    await goal.judge?.between()
    expect(goal.goal).toMatchObject({ goalId: "g2", status: "active" })
  })

  test("stay in the list when the objective is edited", async () => {
    const goal = await opened()
    await goal.thread.command({ type: "set", objective: "Do both." })
    await goal.run({ attend: (thread) => void (goal.worked.length === 2 && thread.goal?.status === "active" && thread.command({ type: "pause" })) })
    await goal.judge?.manage({ type: "add_item", text: "Mine.", at: goal.at })
    await goal.thread.command({ type: "set", objective: "Do both, well." })
    await goal.thread.settle()
    await goal.judge?.between()
    expect(goal.judge?.state.goal?.checklist.map(({ text, addedBy }) => [text, addedBy])).toEqual([["Mine.", "user"]])
  })
})

describe("a judge", () => {
  test("gives its reason to the agent's next continuation", async () => {
    const goal = await EndpointGoal.open({
      agent: ["Part 1 is begun.", "Part 1 is here.", "Here is the proof."],
      judge: [listOf("Part 1 is proven."), settles([], { reason: "No test output was shown." }), settles([1])],
    })
    await goal.thread.command({ type: "set", objective: "Prove part 1." })
    await goal.run()
    const last = goal.worked.at(-1)?.body.messages.at(-1)
    expect(JSON.stringify(last)).toContain("The judge about your last turn: No test output was shown.")
    expect(goal.broken).toEqual([])
  })

  test("asks its own model at temperature 0", async () => {
    const goal = await EndpointGoal.open({ agent: ["Begun.", "Done."], judge: [listOf("Done."), settles([1])] })
    await goal.thread.command({ type: "set", objective: "Do it." })
    await goal.run()
    expect(goal.judged.map(({ body }) => [body.model, body.temperature])).toEqual([
      ["judge", 0],
      ["judge", 0],
    ])
    expect(goal.worked.map(({ body }) => [body.model, body.temperature])).toEqual([
      ["agent", undefined],
      ["agent", undefined],
    ])
  })

  test("that does not answer in its own time fails, and the goal continues and is judged later", async () => {
    const goal = await EndpointGoal.open({
      agent: ["Begun.", "Done.", "Done, again."],
      judge: [listOf("Done."), { ...settles([1]), firstByteMs: 1_500 }, settles([1])],
      client: { maxRetries: 0 },
      judging: { timeoutMs: 150 },
    })
    await goal.thread.command({ type: "set", objective: "Do it." })
    await goal.run()
    expect(goal.goal.status).toBe("complete")
    expect(goal.worked).toHaveLength(3)
  })

  test.each([
    [
      "after reasoning that quotes another one",
      '<think>{"verdict":"done","reason":"maybe"} no.</think>\n{"verdict":"continue","reason":"Not shown."}',
      "active",
    ],
    ["after prose", 'I first thought {"verdict":"continue","reason":"?"} but:\n{"verdict":"done","reason":"All is shown."}', "complete"],
    ["in a fence", '```json\n{"verdict": "done", "reason": "All is shown."}\n```', "complete"],
    [
      "after a channel mark",
      '<|channel|>analysis<|message|>{"verdict":"done"}<|end|><|channel|>final<|message|>{"verdict":"continue","reason":"No."}',
      "active",
    ],
  ])("gives its verdict %s", async (_, text, status) => {
    const goal = await EndpointGoal.open({
      agent: ["First.", "Second."],
      judge: [text],
      judgeConfig: { judge: "freeform" },
    })
    await goal.thread.command({ type: "set", objective: "Do it." })
    await goal.run({ attend: (thread) => void (goal.worked.length === 2 && thread.goal?.status === "active" && thread.command({ type: "pause" })) })
    expect(goal.goal.status).toBe(status === "complete" ? "complete" : "paused")
    expect(goal.judge?.state.goal?.consecutiveParseFailures).toBe(0)
  })

  test.each([
    ["a list as the text of JSON", { updates: JSON.stringify([{ index: 1, status: "completed", evidence: "Seen." }]), reason: "Shown." }],
    ['"done" for completed', { updates: [{ index: 1, status: "done", evidence: "Seen." }], reason: "Shown." }],
    ["an index as text", { updates: [{ index: "1", status: "completed", evidence: "Seen." }], reason: "Shown." }],
    ["one ruling without a list", { updates: { index: 1, status: "completed", evidence: "Seen." }, reason: "Shown." }],
  ])("rules with %s", async (_, args) => {
    const goal = await EndpointGoal.open({ agent: ["Begun.", "Done."], judge: [listOf("Done."), calls("update_checklist", args)] })
    await goal.thread.command({ type: "set", objective: "Do it." })
    await goal.run()
    expect(goal.goal).toMatchObject({ status: "complete", childTokensUsed: charged(goal.judged) })
  })

  test("whose answers cannot be read pauses the goal after three, and says so", async () => {
    const goal = await EndpointGoal.open({ agent: (_, number) => `Step ${number}.`, judge: [listOf("Done."), "I would rather not say."] })
    await goal.thread.command({ type: "set", objective: "Do it." })
    await goal.run()
    expect(goal.goal.status).toBe("paused")
    expect(goal.goal.reason).toMatch(/^Paused by the judge/)
    expect(goal.goal.childTokensUsed).toBe(charged(goal.judged))
  })

  test("is seen by a cost budget, at its own price", async () => {
    const goal = await EndpointGoal.open({
      agent: (_, number) => (number % 2 === 1 ? look() : `Part ${number}.`),
      judge: (body) => (names(body).includes("submit_checklist") ? listOf("A.", "B.") : settles([])),
      thread: { goal: { costMicros: ({ inputTokens, outputTokens }) => inputTokens + outputTokens } },
      judging: { costMicros: ({ inputTokens, outputTokens }) => 10 * (inputTokens + outputTokens) },
    })
    await goal.thread.command({ type: "set", objective: "Do both.", costBudgetMicros: 20_000 })
    await goal.run()
    expect(goal.goal).toMatchObject({ status: "budget_limited", costUsedMicros: charged(goal.worked) + 10 * charged(goal.judged) })
    expect(goal.goal.reason).toMatch(/cost budget is used up/)
  })

  test("that has a turn with nothing but a tool still sees what the agent did", async () => {
    const goal = await EndpointGoal.open({ agent: [look("I look."), "Begun.", look(), "Done."], judge: [listOf("Done."), settles([1])] })
    await goal.thread.command({ type: "set", objective: "Do it." })
    await goal.run()
    expect(goal.goal.status).toBe("complete")
  })
})
