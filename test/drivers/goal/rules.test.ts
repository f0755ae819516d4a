import { describe, expect, test } from "vitest"
import { readGoal } from "../../../src/drivers/goal/history.ts"
import { fullPolicy } from "../../../src/drivers/goal/policy.ts"
import { continuationMessage, reminderMessage } from "../../../src/drivers/goal/prompts.ts"
import { changeGoal, endGoalTurn, nextTurn } from "../../../src/drivers/goal/thread.ts"
import { estimateTokens, estimateUsage, upperTokens } from "../../../src/machine/usage-estimate.ts"
import { requestPrefix } from "../../../src/replay/prefix.ts"
import type { GoalCheckResult, GoalOutput } from "../../../src/schemas/goal.ts"
import type { Json } from "../../../src/schemas/json.ts"
import { Thread, used } from "./support.ts"
import { replies, ThreadHost } from "./thread-host.ts"

const CHECKS = [
  { name: "test", command: "npm test" },
  { name: "lint", tool: "lint" },
] as const
const OK: readonly GoalCheckResult[] = CHECKS.map(({ name }) => ({ name, ok: true, tail: "" }))

function withChecks(): Thread {
  const thread = new Thread()
  thread.command({ type: "set", objective: "ship", checks: CHECKS })
  return thread
}

function ask(thread: Thread): GoalOutput | undefined {
  return thread.give({ type: "idle", at: thread.at, mode: "default", queuedInput: false, nextTurnId: "next" }).at(-1)
}

function report(thread: Thread, turnId: string, results: readonly GoalCheckResult[]): readonly GoalOutput[] {
  return thread.give({ type: "checks_reported", at: thread.at, turnId, results })
}

function failed(tail: string): readonly GoalCheckResult[] {
  return [{ name: "test", ok: false, exitCode: 1, tail }, OK[1] as GoalCheckResult]
}

describe("checks", () => {
  test("are due after each turn of the goal, and decide about a claim", () => {
    const thread = withChecks()
    thread.starts("one")
    expect(thread.calls("one", "update_goal", { status: "complete" })).toMatchObject({ status: "success", value: { goal: { status: "active" } } })
    thread.finishes("one")
    expect(ask(thread)).toEqual({ type: "run_checks", turnId: "one", checks: CHECKS })
    report(thread, "another", OK)
    expect(thread.goal.status).toBe("active")
    report(thread, "one", OK)
    expect(thread.goal.status).toBe("complete")
  })

  test("that pass without a claim let the goal continue; a missing result counts as failed and drops the claim", () => {
    const thread = withChecks()
    thread.starts("one")
    thread.finishes("one")
    report(thread, "one", OK)
    expect(ask(thread)?.type).toBe("continue")
    thread.starts("two", { origin: "continuation" })
    thread.calls("two", "update_goal", { status: "complete" })
    thread.finishes("two")
    report(thread, "two", OK.slice(0, 1))
    expect(thread.state.memory.checks).toMatchObject({ alike: 1, failing: [{ name: "lint", ok: false }] })
    expect(thread.state.memory.checks).not.toHaveProperty("claimed")
    expect(JSON.stringify(ask(thread))).toContain("No result was reported.")
  })

  test("that fail alike three times in a row pause the goal; another failure starts the count again", () => {
    const thread = withChecks()
    const turn = (name: string, tail: string): void => {
      thread.starts(name, { origin: "continuation" })
      thread.finishes(name)
      report(thread, name, failed(tail))
    }
    turn("a", "3 failed in 12 ms")
    turn("b", "3 failed  in 99 ms")
    turn("c", "other")
    expect(thread.goal.status).toBe("active")
    turn("d", "other")
    turn("e", "other")
    expect(thread.goal).toMatchObject({ status: "paused", reason: expect.stringContaining("test, exit code 1") as string })
  })

  test("win over a budget that the turn reached, and the command complete waits for them", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "ship", checks: CHECKS, tokenBudget: 10 })
    thread.starts("one")
    thread.reports("one", used(30))
    thread.finishes("one")
    expect(thread.goal.status).toBe("budget_limited")
    thread.command({ type: "complete" })
    expect(thread.goal.status).toBe("budget_limited")
    report(thread, "one", OK)
    expect(thread.goal).toMatchObject({ status: "complete", tokensUsed: 30 })
  })

  test("are overridden by a person who sets the status, and do not run for a stopped goal", () => {
    const thread = withChecks()
    thread.command({ type: "pause" })
    expect(thread.command({ type: "complete" }).at(-1)).toMatchObject({ type: "refused", code: "not_active" })
    thread.command({ type: "set", status: "complete" })
    expect(thread.goal.status).toBe("complete")
  })
})

describe("waits", () => {
  test("rest until the time, the event, a turn or a resume", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "ship" })
    expect(thread.command({ type: "wait" }).at(-1)).toMatchObject({ code: "wait_invalid" })
    thread.command({ type: "wait", until: 9000, event: "built", reason: "the build" })
    expect(ask(thread)).toMatchObject({ type: "rest", notBefore: 9000, wait: { since: 1000, until: 9000, event: "built" } })
    thread.give({ type: "event_happened", at: 2000, event: "other" })
    expect(ask(thread)?.type).toBe("rest")
    thread.give({ type: "event_happened", at: 2000, event: "built" })
    expect(JSON.stringify(ask(thread))).toContain("The wait is over")
    thread.command({ type: "wait", until: 9000 })
    thread.command({ type: "resume" })
    expect(thread.state.memory).not.toHaveProperty("wait")
    thread.command({ type: "wait", until: 9000 })
    thread.at = 9000
    expect(ask(thread)?.type).toBe("continue")
  })
})

describe("commands", () => {
  test("two additions add twice, from what was used if that is more", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "ship", tokenBudget: 100 })
    thread.starts("one")
    thread.reports("one", used(130))
    thread.finishes("one")
    thread.command({ type: "resume", addTokens: 50 })
    thread.command({ type: "resume", addTokens: 50 })
    expect(thread.goal).toMatchObject({ tokenBudget: 230, status: "active" })
    expect(thread.command({ type: "resume", addTokens: 0 }).at(-1)).toMatchObject({ code: "budget_invalid" })
    expect(thread.command({ type: "resume", addSeconds: 5 }).at(-1)).toMatchObject({ code: "no_budget" })
  })

  test("for one goal do not reach another", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "ship" })
    thread.command({ type: "start", objective: "rest" })
    for (const type of ["complete", "pause"] as const) expect(thread.command({ type, ifGoalId: "g1" }).at(-1)).toMatchObject({ code: "other_goal" })
    expect(thread.goal).toMatchObject({ goalId: "g2", status: "active" })
  })

  test("with an invalid contract or checks are refused", () => {
    const thread = new Thread()
    expect(thread.command({ type: "set", objective: "a", contract: { outcome: " " } }).at(-1)).toMatchObject({ code: "contract_invalid" })
    expect(thread.command({ type: "set", objective: "a", checks: [CHECKS[0], CHECKS[0]] }).at(-1)).toMatchObject({ code: "checks_invalid" })
    thread.command({ type: "set", objective: "a", contract: { outcome: "</contract>", stopWhen: "lost" } })
    expect(continuationMessage(thread.goal, fullPolicy({})).content).toContain(
      "<contract>\nOutcome: &lt;/contract&gt;\nStop and ask when: lost\n</contract>",
    )
  })
})

test("with a judge, the model is neither offered update_goal nor asked for it, and a call of it is an unknown tool", () => {
  const thread = new ThreadHost(
    { model: (calls) => (calls === 0 ? replies("", ["update_goal", { status: "complete" }]) : replies(`Hm ${calls}.`)) },
    { policy: { endedBy: "judge" } },
  )
  thread.command({ type: "set", objective: "ship" })
  thread.turn("continuation")
  expect(thread.goal.status).toBe("active")
  expect(JSON.stringify(thread.history)).toContain("There is no tool")
  for (const text of [
    continuationMessage(thread.goal, fullPolicy({ endedBy: "judge" })),
    reminderMessage(thread.goal, fullPolicy({ endedBy: "judge" })),
  ])
    expect(text.content).not.toContain("update_goal")
  const direct = new Thread({ endedBy: "judge" })
  direct.command({ type: "set", objective: "ship" })
  direct.starts("one")
  expect(direct.calls("one", "update_goal", { status: "complete" })).toMatchObject({ status: "failure", failure: { code: "unknown_tool" } })
})

test("text alone is not idle under a judge, and noted progress resets the brakes", () => {
  for (const [endedBy, status] of [
    ["judge", "active"],
    ["model", "paused"],
  ] as const) {
    const thread = new Thread({ endedBy })
    thread.command({ type: "set", objective: "ship" })
    for (let n = 0; n < 4; n += 1) {
      thread.starts(`${n}`, { origin: "continuation" })
      thread.finishes(`${n}`, 0, `text ${n}`)
    }
    expect(thread.goal.status).toBe(status)
    thread.give({ type: "progress_noted", at: thread.at })
    expect(thread.state.memory).toMatchObject({ idleContinuations: 0, repeatedAnswers: 0 })
  }
})

test("a reminder follows the full text, and an edit brings the full text again", () => {
  const thread = new Thread()
  thread.command({ type: "set", objective: "ship" })
  expect(thread.idle()).not.toHaveProperty("reminder")
  thread.starts("one", { origin: "continuation" })
  thread.finishes("one")
  const next = thread.idle()
  expect(next.type === "continue" && next.reminder?.content.split("\n")).toHaveLength(4)
  thread.command({ type: "set", objective: "sink" })
  expect(thread.idle()).not.toHaveProperty("reminder")
})

test("the usage of a turn that another replaces names the replaced turn; the cost of children counts", () => {
  const thread = new Thread()
  thread.command({ type: "set", objective: "ship", costBudgetMicros: 50 })
  thread.starts("one")
  thread.reports("one", used(30))
  thread.give({ type: "child_usage_reported", at: thread.at, usage: used(5), costMicros: 60 })
  const outputs = thread.starts("two", { usage: used(30) })
  expect(outputs.find(({ type }) => type === "goal_updated")).toMatchObject({ turnId: "one" })
  expect(thread.goal).toMatchObject({ costUsedMicros: 60, childTokensUsed: 5, status: "budget_limited" })
})

describe("budgets in a turn", () => {
  test("end it after two more model calls, with a reason that shows the overshoot", () => {
    const thread = new ThreadHost({ model: () => replies("", "look") })
    thread.command({ type: "set", objective: "ship", tokenBudget: 15 })
    const machine = thread.turn("user")
    expect(machine.outcome).toMatchObject({
      type: "stopped",
      stop: { type: "max_tokens", error: { userMessage: expect.stringContaining("5 over") as string } },
    })
    expect(thread.modelCalls).toBe(4)
    expect(thread.goal).toMatchObject({ status: "budget_limited", tokensUsed: 40, reason: expect.stringContaining("40 of 15, 25 over") as string })
    const requests = thread.turns.flatMap(({ effects }) => effects.flatMap((effect) => (effect.type === "llm_call" ? [effect.request] : [])))
    requests.slice(1).forEach((request, index) => {
      expect(requestPrefix(requests[index] ?? request, request)).toEqual({ stable: true })
    })
  })

  test("that are hard: no call starts that could cross, and answers are capped", () => {
    const small = new ThreadHost({ model: () => replies("", "look") }, { policy: { hardBudget: true }, driver: { estimate: () => 100 } })
    small.command({ type: "set", objective: "ship", tokenBudget: 355 })
    expect(small.turn("user").outcome).toMatchObject({ stop: { type: "max_tokens" } })
    expect(small.modelCalls).toBe(0)
    expect(small.goal).toMatchObject({ status: "budget_limited", tokensUsed: 0 })
    const caps: (number | undefined)[] = []
    const model = (calls: number, request: { readonly generation: { readonly maxOutputTokens?: number } }): ReturnType<typeof replies> => {
      caps.push(request.generation.maxOutputTokens)
      return calls === 0 ? replies("", "look") : replies("Done.")
    }
    const large = new ThreadHost({ model }, { policy: { hardBudget: true }, driver: { estimate: () => 100 } })
    large.command({ type: "set", objective: "ship", tokenBudget: 1000 })
    large.turn("user")
    expect(caps).toEqual([900, 890])
  })
})

test("a pause ends a running continuation at the checkpoint, charged until then; a user's turn goes on", () => {
  for (const [origin, calls] of [
    ["continuation", 1],
    ["user", 2],
  ] as const) {
    const commands = {
      get commands() {
        return thread.deliveriesAsked === 1 ? [{ at: 1_900_000, command: { type: "pause" } as const }] : []
      },
    }
    const thread: ThreadHost = new ThreadHost({ model: (count) => (count === 0 ? replies("", "look") : replies("Done.")) }, { deliveries: commands })
    thread.command({ type: "set", objective: "ship" })
    const { outcome } = thread.turn(origin)
    expect(outcome?.type).toBe(origin === "user" ? "finished" : "stopped")
    expect(thread.modelCalls).toBe(calls)
    expect(thread.goal).toMatchObject({ status: "paused", tokensUsed: 10 })
  }
})

test("an endpoint without usage is estimated and marked, and tool calls count", () => {
  const silent = (text: string, ...calls: string[]): ReturnType<typeof replies> => {
    const answer = replies(text, ...calls)
    return answer.ok ? { ok: true, response: { ...answer.response, usage: used(0) } } : answer
  }
  const thread = new ThreadHost({ model: (calls) => (calls % 2 === 0 ? silent("", "look") : silent("Going on.")) })
  thread.command({ type: "set", objective: "ship" })
  thread.turn("continuation")
  expect(thread.goal.usageEstimated).toBe(true)
  const requests = thread.turns.flatMap(({ effects }) => effects.flatMap((effect) => (effect.type === "llm_call" ? [effect.request] : [])))
  const expected = [silent("", "look"), silent("Going on.")].map((answer, index) => {
    const request = requests[index]
    if (!answer.ok || request === undefined) throw new Error("No request.")
    const { inputTokens, outputTokens } = estimateUsage(request, answer.response)
    return inputTokens + outputTokens
  })
  expect(thread.goal.tokensUsed).toBe((expected[0] ?? 0) + (expected[1] ?? 0))
  expect(upperTokens(requests[0] as never)).toBe(2 * estimateTokens(requests[0] as never))
  expect(readGoal(thread.history, "t1").state.memory.idleContinuations).toBe(0)
})

test.each([
  [
    { type: "stopped", stop: { type: "provider_error", error: { kind: "llm_provider", userMessage: "Model call ended: refusal." } } },
    "Model call ended: refusal",
  ],
  [{ type: "stopped", stop: { type: "tool_error", toolName: "t", value: { message: "no disk" } } }, "no disk"],
  [{ type: "stopped", stop: { type: "submitted_error", value: "gave up" } }, "gave up"],
] as const)("the reason of a failed turn is its outcome's error", (outcome, reason) => {
  let history = changeGoal({ threadId: "t1", history: [] }, { type: "command", at: 0, command: { type: "set", objective: "ship" } }).records
  history = [
    ...history,
    ...changeGoal({ threadId: "t1", history }, { type: "turn_started", at: 1, turnId: "a", mode: "default", usage: used(0), origin: "user" }).records,
  ]
  history = [...history, ...endGoalTurn({ threadId: "t1", history }, { turnId: "a", outcome }, 2).records]
  expect(nextTurn({ threadId: "t1", history }, 3)).toMatchObject({ type: "rest", reason: expect.stringContaining(reason) as string })
})

test("continuations that are cut off say so when a brake pauses the goal", () => {
  const thread = new Thread()
  thread.command({ type: "set", objective: "ship" })
  for (let n = 0; n < 3; n += 1) {
    thread.starts(`${n}`, { origin: "continuation" })
    thread.give({ type: "turn_finished", at: thread.at, turnId: `${n}`, toolCalls: 0, problem: "Model call ended: output_limit." })
  }
  expect(thread.goal.reason).toContain("Model call ended: output_limit")
})

describe("a changed objective", () => {
  test("drops a claim that the earlier one is complete, between turns and in the turn", () => {
    for (const edits of ["in the turn", "after the turn"]) {
      const thread = withChecks()
      thread.starts("one", { origin: "continuation" })
      thread.calls("one", "update_goal", { status: "complete" })
      if (edits === "in the turn") thread.command({ type: "set", objective: "ship two" }, "one")
      thread.finishes("one")
      if (edits === "after the turn") thread.command({ type: "set", objective: "ship two" })
      report(thread, "one", OK)
      expect(thread.goal).toMatchObject({ status: "active", objective: "ship two" })
      thread.command({ type: "complete" })
      expect(thread.goal.status).toBe("complete")
    }
  })

  test("is shown in full, also if the one before it was shown in full before", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "ship" })
    thread.starts("one", { origin: "continuation" })
    const steers = thread.command({ type: "set", objective: "sink" }, "one").filter(({ type }) => type === "steer")
    expect(steers).toHaveLength(1)
    thread.finishes("one")
    thread.command({ type: "set", objective: "ship" })
    expect(thread.idle()).not.toHaveProperty("reminder")
  })
})

describe("a goal that another replaces", () => {
  const replacing = { type: "start", objective: "sail" } as const

  test("during a continuation ends the turn, so that the next one shows the new goal", () => {
    const commands = { commands: [{ at: 1_900_000, command: replacing }] }
    const model = (count: number) => (count < 3 ? replies("", "look") : replies("Done."))
    const thread = new ThreadHost({ model }, { deliveries: commands })
    thread.command({ type: "set", objective: "ship" })
    const { outcome } = thread.turn("continuation")
    expect(outcome).toMatchObject({
      type: "stopped",
      stop: { type: "cancelled", error: { userMessage: expect.stringContaining("replaced") as string } },
    })
    expect(thread.modelCalls).toBe(1)
  })

  test("during a turn of the user is shown to the model; not by the reference", () => {
    for (const [policy, shown] of [
      [{}, 1],
      [{ compat: "reference" }, 0],
    ] as const) {
      const thread = new Thread(policy)
      thread.command({ type: "set", objective: "ship" })
      thread.starts("one")
      expect(thread.command(replacing, "one").filter(({ type }) => type === "steer")).toHaveLength(shown)
      expect(thread.command({ type: "clear" }, "one").filter(({ type }) => type === "steer")).toHaveLength(0)
      expect(thread.command(replacing, "one").filter(({ type }) => type === "steer")).toHaveLength(0)
    }
  })
})

test("a budget that a command reaches, by lowering it or by charging the time, does not end the continuation as a stop does", () => {
  for (const command of [
    { type: "set", tokenBudget: 5 },
    { type: "set", objective: "ship two" },
  ] as const) {
    const commands = {
      get commands() {
        return thread.deliveriesAsked === 1 ? [{ at: 1_900_000, command }] : []
      },
    }
    const world = { model: (count: number) => (count === 0 ? replies("", "look") : replies("Done.")) }
    const thread: ThreadHost = new ThreadHost(world, { deliveries: commands })
    thread.command({ type: "set", objective: "ship", tokenBudget: 15, secondsBudget: 100, checks: CHECKS })
    const { outcome } = thread.turn("continuation")
    expect(outcome?.type).toBe("finished")
    expect(thread.goal).toMatchObject({ status: "budget_limited", tokensUsed: 20 })
    expect(nextTurn({ threadId: "t1", history: thread.history }, thread.at).type).toBe("run_checks")
  }
})

test("within one turn, a goal that a judge ends is not continued", () => {
  const policy = { endedBy: "judge" } as const
  const thread = new ThreadHost({ model: (count) => replies(`Work ${count}.`) }, { policy, deliveries: { policy, continueInTurn: true } })
  thread.command({ type: "set", objective: "ship" })
  thread.says("Go.")
  expect(thread.modelCalls).toBe(1)
})

test("an estimate of what a child used marks the goal, if the goal is charged", () => {
  for (const status of ["active", "paused"] as const) {
    for (const inTurn of [false, true]) {
      const thread = new Thread()
      thread.command({ type: "set", objective: "ship", status })
      if (inTurn) thread.starts("one")
      thread.give({ type: "child_usage_reported", at: thread.at, usage: used(5, 5, { estimated: true }) })
      expect(thread.goal.usageEstimated).toBe(status === "active" ? true : undefined)
    }
  }
})

test("the reason of a wait is cut between characters", () => {
  const thread = new Thread()
  thread.command({ type: "set", objective: "ship" })
  thread.command({ type: "wait", event: "e", reason: `x${"\u{1f40c}".repeat(2_000)}` })
  const { reason = "" } = thread.state.memory.wait ?? {}
  expect(reason.length).toBeLessThan(3_000)
  expect(JSON.stringify(reason)).not.toContain("\\ud")
})

test("unreported usage under the name of earlier versions counts", () => {
  const thread = new Thread()
  thread.command({ type: "set", objective: "ship" })
  thread.starts("one")
  const { turn, clock } = thread.state
  const events = [
    ...thread.events,
    { type: "goal_turn", threadId: "t1", turn, clock, toolCalls: 0 },
    { type: "goal_lost", threadId: "t1", turnId: "one", usage: used(7) },
  ]
  const history = events.map((event) => ({ type: "protocol", event: event as unknown as Json }) as const)
  expect(readGoal(history, "t1").unreported.inputTokens).toBe(7)
})

describe("a child that reports with its id", () => {
  const report = (tokens: number, more: object = {}) =>
    ({ type: "child_usage_reported", at: 2_000, usage: used(tokens), childId: "c1", ...more }) as const

  test("is charged the difference to its last report, so that a repeated one counts once", () => {
    for (const inTurn of [false, true]) {
      const thread = new Thread()
      thread.command({ type: "set", objective: "ship", tokenBudget: 100 })
      if (inTurn) thread.starts("one")
      for (const tokens of [10, 10, 25, 20, 25]) thread.give(report(tokens))
      thread.give(report(7, { childId: "c2", costMicros: 3 }))
      thread.give(report(7, { childId: "c2", costMicros: 3 }))
      expect(thread.goal).toMatchObject({ childTokensUsed: 32, costUsedMicros: 3, tokensUsed: 0 })
    }
  })

  test("is charged to a goal that was paused since, whose status stays, and to no other goal", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "ship", tokenBudget: 20 })
    const { goalId } = thread.goal
    thread.give(report(5, { goalId }))
    thread.command({ type: "pause" })
    thread.give(report(30, { goalId }))
    expect(thread.goal).toMatchObject({ status: "paused", childTokensUsed: 30 })
    thread.command({ type: "clear" })
    thread.command({ type: "set", objective: "another" })
    thread.give(report(40, { goalId }))
    expect(thread.goal).toMatchObject({ objective: "another", childTokensUsed: 0 })
    // What was reported before counts as known, also for a report that names no goal.
    thread.give(report(41))
    expect(thread.goal.childTokensUsed).toBe(1)
  })

  test("reaches a budget as any other usage, and survives a restart", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "ship", tokenBudget: 20 })
    thread.give(report(20))
    expect(thread.goal.status).toBe("budget_limited")
    expect(thread.state.memory.children).toEqual([{ childId: "c1", tokens: 20, costMicros: 0 }])
  })

  test("is remembered with the last 64", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "ship" })
    for (let child = 0; child < 70; child += 1) thread.give(report(1, { childId: `c${child}` }))
    expect(thread.goal.childTokensUsed).toBe(70)
    expect(thread.state.memory.children).toHaveLength(64)
  })

  test("is not forgotten while it reports, however many others end", () => {
    const thread = new Thread()
    thread.command({ type: "set", objective: "ship" })
    for (let child = 1; child <= 200; child += 1) {
      thread.give(report(child, { childId: "long" }))
      thread.give(report(1, { childId: `c${child}` }))
    }
    expect(thread.goal.childTokensUsed).toBe(400)
  })
})
