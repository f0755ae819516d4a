import { describe, expect, test } from "vitest"
import { codeDriver } from "../../src/drivers/code.ts"
import { breaks, replies, ThreadHost, type World } from "../drivers/goal/thread-host.ts"

/** A thread without a user: its goal is set, and then turns start automatically until it rests. */
function unwatched(model: World["model"], options: ConstructorParameters<typeof ThreadHost>[1] = {}): ThreadHost {
  const host = new ThreadHost({ model }, options)
  host.command({ type: "set", objective: "Make it perfect." })
  return host
}

describe("under the default policy a goal stops, with a reason that says what to do", () => {
  test("a model that only talks: after three continuations", () => {
    const host = unwatched((calls) => replies(`I could think of ${calls} more things.`))
    expect(host.runs(100).reason).toMatch(/called no tool.*resume/)
    expect(host.modelCalls).toBe(3)
    expect(host.goal).toMatchObject({ status: "paused", continuations: 3, tokensUsed: 30 })
  })

  test("a model that repeats itself, though it calls a tool that changes nothing: after three", () => {
    const host = unwatched((calls) => (calls % 2 === 0 ? replies("", "look") : replies("Nearly there!")))
    expect(host.runs(100).reason).toMatch(/same answer.*resume or change the objective/)
    expect(host.modelCalls).toBe(6)
    expect(host.goal).toMatchObject({ status: "paused", continuations: 3, tokensUsed: 60 })
  })

  test("a model that works forever and never repeats itself: after fifty", () => {
    const host = unwatched((calls) => (calls % 2 === 0 ? replies("", "look") : replies(`Round ${calls} done.`)))
    expect(host.runs(100).reason).toMatch(/50 continuations have run.*Resume/)
    expect(host.goal).toMatchObject({ status: "paused", continuations: 50, tokensUsed: 1000 })
    host.command({ type: "resume" })
    expect(host.runs(200).reason).toMatch(/50 continuations have run/)
    expect(host.goal).toMatchObject({ continuations: 100 })
  })

  test("a model that calls a tool in every answer: each turn ends at its limit, and the goal after fifty turns", () => {
    const host = unwatched((calls) => replies(`Look ${calls}`, "look"), { config: { maxIterations: 4 } })
    expect(host.runs(100).reason).toMatch(/50 continuations have run/)
    expect(host.modelCalls).toBe(200)
  })

  test("a model that repeatedly requests its own goal", () => {
    const host = unwatched((calls) => (calls % 2 === 0 ? replies("", "get_goal") : replies("It is still active.")))
    expect(host.runs(100).reason).toMatch(/same answer/)
    expect(host.toolCalls).toBe(0)
    expect(host.goal.continuations).toBe(3)
  })

  test("a server that is busy each time: after five turns, with waits between them that double", () => {
    const host = unwatched(() => breaks(true))
    expect(host.runs(100).reason).toBe("Blocked: 5 turns in a row failed, the last with: The server is busy. Resume to try again.")
    expect(host.waitsMs).toEqual([10_000, 20_000, 40_000, 80_000])
    expect(host.goal).toMatchObject({ status: "blocked", continuations: 5 })
  })

  test("a turn that fails permanently: immediately", () => {
    const host = unwatched(() => breaks(false))
    expect(host.runs(100).reason).toBe("Blocked: the turn failed with: The server is busy. Resume to try again.")
    expect(host.modelCalls).toBe(1)
  })

  test("an account at its usage limit: immediately, with the time to retry", () => {
    const errorOf = (_: unknown, at: number) => ({ kind: "usage_limit", message: "Weekly limit", retryAt: at + 5000 }) as const
    const host = unwatched(() => breaks(false), { driver: { errorOf } })
    expect(host.runs(100)).toEqual({
      type: "rest",
      reason: "The usage limit of the account is reached: Weekly limit. Resume when usage is available again.",
      notBefore: host.at + 5000,
    })
  })

  test("a model that gives up too early is continued, and stops in the third turn", () => {
    const host = unwatched((calls) => (calls % 2 === 0 ? replies("", ["update_goal", { status: "blocked" }]) : replies(`No key yet, ${calls}.`)))
    expect(host.runs(100).reason).toMatch(/the model cannot continue.*resume/)
    expect(host.goal).toMatchObject({ status: "blocked", continuations: 3 })
  })

  test("a model that completes its goal and creates another, repeatedly: after fifty, for any goals", () => {
    const host = unwatched((calls) => {
      if (calls % 3 === 0) return replies("", ["update_goal", { status: "complete" }])
      return calls % 3 === 1 ? replies("", ["create_goal", { objective: `More, ${calls}.` }]) : replies(`Done, ${calls}.`)
    })
    expect(host.runs(100).reason).toMatch(/50 continuations have run.*Resume/)
    expect(host.turns).toHaveLength(50)
    expect(host.goal).toMatchObject({ goalId: "g51", status: "paused", continuations: 0 })
    // Resuming allows as many again; a goal that a user sets has the full number.
    host.command({ type: "resume" })
    expect(host.runs(200).reason).toMatch(/50 continuations have run/)
    host.command({ type: "resume" })
    host.says("Make more of it.")
    expect(host.runs(300).reason).toMatch(/50 continuations have run/)
    expect(host.turns).toHaveLength(151)
  })

  test("the same, with the same text each time: after three", () => {
    const host = unwatched((calls) => {
      if (calls % 3 === 0) return replies("", ["update_goal", { status: "complete" }])
      return calls % 3 === 1 ? replies("", ["create_goal", { objective: "Again." }]) : replies("Done.")
    })
    expect(host.runs(100).reason).toMatch(/same answer/)
    expect(host.turns).toHaveLength(3)
  })

  test("code that submits the same value each time: after three", () => {
    const world: World = { model: () => replies("```js\nsubmit(1)\n```"), code: () => ({ terminalFinish: { tests: "red" } }) }
    const host = new ThreadHost(world, { inner: codeDriver() })
    host.command({ type: "set", objective: "Make it green." })
    expect(host.runs(100).reason).toMatch(/same answer/)
    expect(host.modelCalls).toBe(3)
  })

  test("one long turn with continuations inside it: after three, and the turn ends", () => {
    const host = unwatched((calls) => replies(`Thought ${calls}.`), { deliveries: { continueInTurn: true } })
    expect(host.runs(100).reason).toMatch(/called no tool/)
    expect(host.turns).toHaveLength(1)
    expect(host.goal).toMatchObject({ status: "paused", continuations: 3, tokensUsed: 30 })
  })
})

describe("budgets stop it as well", () => {
  test("tokens: the goal is limited at the first tool past the budget, and the model is notified once", () => {
    const notified: number[] = []
    const host = unwatched((calls, { messages }) => {
      if (JSON.stringify(messages.at(-1)).includes("budget_limited")) notified.push(calls)
      return calls % 4 === 3 ? replies(`Part ${calls} done.`) : replies("", "look")
    })
    host.command({ type: "set", tokenBudget: 55 })
    expect(host.runs(100).reason).toBe("Stopped: the token budget is used up (tokens: 80 of 55, 25 over). Raise the budget and resume to continue.")
    expect(notified).toEqual([6])
    // The work of the model to wrap up is charged too.
    expect(host.goal).toMatchObject({ status: "budget_limited", tokensUsed: 80 })
  })

  test("time and cost: the goal is limited in the same way", () => {
    const slow = unwatched((calls) => replies(`Part ${calls}.`, ...(calls % 2 === 0 ? ["look"] : [])), { answerMs: 1500 })
    slow.command({ type: "set", secondsBudget: 30 })
    expect(slow.runs(100).reason).toMatch(/^Stopped: the time budget is used up \(seconds: 3\d of 30\)\. Raise/)
    const expensive = unwatched((calls) => replies(`Part ${calls}.`, ...(calls % 2 === 0 ? ["look"] : [])), {
      driver: { costMicros: ({ inputTokens, cachedInputTokens, outputTokens }) => 3 * inputTokens + 0.3 * cachedInputTokens + 15 * outputTokens },
    })
    expensive.command({ type: "set", costBudgetMicros: 1000 })
    expect(expensive.runs(100).reason).toMatch(/^Stopped: the cost budget is used up \(cost in micro-units: 11\d\d of 1000, 1\d\d over\)\. Raise/)
  })
})

describe("with every other brake off, the cap still holds", () => {
  const policy = { onTurnError: "keep", maxTransientErrors: 0, maxIdleContinuations: 0, maxRepeatedAnswers: 0, backoffBaseMs: 0 } as const

  test.each([
    ["fails each time", () => breaks(false)],
    ["is busy each time", () => breaks(true)],
    ["says nothing new", () => replies("Hm.")],
  ])("a model that %s", (_, model) => {
    const host = unwatched(model, { policy: { ...policy, maxContinuations: 7 } })
    expect(host.runs(100).reason).toMatch(/7 continuations have run/)
    expect(host.modelCalls).toBe(7)
  })
})

test("a host that does not report the end of a turn cannot start another", () => {
  const host = unwatched(() => replies("Done?"))
  host.turn("continuation")
  // The state before the end was reported.
  host.history = host.turns[0]?.machine.history ?? []
  expect(host.runs(100).reason).toMatch(/"turn-0" is still open: report its end/)
})
