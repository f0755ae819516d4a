/** What a thread with a goal remembers of its turns, and what a turn of it does not change. */
import { describe, expect, test } from "vitest"
import { goalDeliveries, goalInputEvent } from "../../../src/drivers/goal/deliveries.ts"
import { foldGoal } from "../../../src/drivers/goal/goal.ts"
import type { GoalPolicy } from "../../../src/drivers/goal/policy.ts"
import type { HistoryRecord } from "../../../src/schemas/message.ts"
import { Thread, used } from "./support.ts"
import { replies, ThreadHost } from "./thread-host.ts"

function inTurn(policy: GoalPolicy = {}, command: object = {}, origin: "user" | "continuation" = "user"): Thread {
  const thread = new Thread(policy)
  thread.command({ type: "set", objective: "ship", ...command })
  thread.starts("one", { origin })
  return thread
}

function child(thread: Thread, tokens: number, more: object = {}): void {
  thread.give({ type: "child_usage_reported", at: thread.at, usage: used(tokens), ...more })
}

test("a state that is made from events knows their latest time, and no clock runs", () => {
  expect(foldGoal("t1", inTurn().events).clock).toEqual({ seenAt: 1_000, markedAt: null })
})

test("what is used after a brake is charged, because it checks and judges the last turn; after a pause nothing is", () => {
  const braked = inTurn({ maxContinuations: 1 }, {}, "continuation")
  braked.finishes("one")
  expect(braked.state.memory.brakedAfter).toBe("one")
  child(braked, 5)
  expect(braked.goal).toMatchObject({ status: "paused", childTokensUsed: 5 })
  const paused = inTurn()
  paused.finishes("one")
  expect(paused.state.memory).not.toHaveProperty("brakedAfter")
  paused.command({ type: "pause" })
  child(paused, 5)
  expect(paused.goal.childTokensUsed).toBe(0)
})

test("how the last turn of the goal ended early is remembered until one does not; not under the reference's rules, and not without a goal", () => {
  const ends = (thread: Thread, turnId: string, problem?: string): unknown => {
    thread.give({ type: "turn_finished", at: thread.at, turnId, toolCalls: 1, ...(problem !== undefined && { problem }) })
    return thread.state.memory.lastFailure
  }
  const thread = inTurn()
  expect(ends(thread, "one", "It was cut off.")).toBe("It was cut off")
  thread.starts("two")
  expect(ends(thread, "two")).toBeUndefined()
  expect(ends(inTurn({ compat: "reference" }), "one", "It was cut off.")).toBeUndefined()
  const without = new Thread()
  without.starts("one")
  expect(ends(without, "one", "It was cut off.")).toBeUndefined()
})

test("an interrupt between turns charges the time where it pauses", () => {
  const interrupted = (policy: GoalPolicy): Thread => {
    const thread = inTurn(policy)
    thread.finishes("one")
    thread.at = 6_000
    thread.give({ type: "turn_interrupted", at: thread.at })
    return thread
  }
  expect(interrupted({}).goal).toMatchObject({ status: "paused", secondsUsed: 5 })
  expect(interrupted({ onInterrupt: "keep" }).goal).toMatchObject({ status: "active", secondsUsed: 0 })
  const another = inTurn()
  another.give({ type: "turn_interrupted", at: 6_000, turnId: "two" })
  expect([another.goal.status, another.state.turn?.turnId]).toEqual(["active", "one"])
})

describe("transient errors", () => {
  const failed = (policy: GoalPolicy): object => {
    const thread = inTurn(policy)
    thread.fails("one", "transient")
    const { transientErrors, retryAt } = thread.state.memory
    return { transientErrors, retryAt }
  }

  test("are counted and delay the next turn, unless the policy has no place for them", () => {
    expect(failed({ backoffBaseMs: 500 })).toEqual({ transientErrors: 1, retryAt: 1_500 })
    expect(failed({ backoffBaseMs: 500, maxTransientErrors: 0 })).toEqual({ transientErrors: 1, retryAt: 1_500 })
    expect(failed({ backoffBaseMs: 500, onTurnError: "keep" })).toEqual({ transientErrors: 1, retryAt: 1_500 })
    expect(failed({ backoffBaseMs: 500, maxTransientErrors: 0, onTurnError: "keep" })).toEqual({ transientErrors: 0, retryAt: undefined })
    expect(failed({ maxTransientErrors: 1 })).toEqual({ transientErrors: 1, retryAt: undefined })
  })

  test("do not count for a goal that reached its budget in the turn", () => {
    const thread = inTurn({}, { tokenBudget: 10 })
    thread.reports("one", used(10))
    thread.tool("one")
    thread.fails("one", "transient")
    expect([thread.goal.status, thread.state.memory.transientErrors]).toEqual(["budget_limited", 0])
  })
})

test("a thread that is loaded again keeps the cost that its turn reported, and charges time only while the goal is active", () => {
  const thread = inTurn({ onResume: "keep" })
  thread.reports("one", used(1), 9)
  thread.give({ type: "thread_resumed", at: 5_000, mode: "default" })
  expect([thread.state.memory.costMicros, thread.state.clock.markedAt]).toEqual([9, 5_000])
  thread.command({ type: "pause" })
  thread.give({ type: "thread_resumed", at: 6_000, mode: "default" })
  expect([thread.goal.status, thread.state.clock.markedAt]).toEqual(["paused", null])
})

test.each([
  ["g7", "g8"],
  ["g12", "g13"],
  ["xg7", "g2"],
  ["g7x", "g2"],
  ["g1234567890123456", "g2"],
])("after a copied goal %s the next is %s", (goalId, next) => {
  const thread = new Thread()
  thread.command({ type: "set", objective: "a" })
  thread.give({ type: "goal_copied", at: 2_000, goal: { ...thread.goal, goalId, threadId: "t0" }, deferred: false })
  thread.command({ type: "start", objective: "c" })
  expect(thread.goal.goalId).toBe(next)
})

test("a turn ends an interrupt and the wait of a copied goal; a continuation shows the goal in full once, except by the reference's rules", () => {
  const thread = inTurn({ onInterrupt: "keep" })
  thread.give({ type: "turn_interrupted", at: thread.at, turnId: "one" })
  thread.give({ type: "goal_copied", at: thread.at, goal: thread.goal, deferred: true })
  expect(thread.idle()).toMatchObject({ reason: "The goal was copied from another thread and waits for the first turn of this one." })
  thread.starts("two", { origin: "continuation" })
  expect(thread.state.memory).toMatchObject({ deferred: false, interrupted: false })
  expect(thread.state.memory).toHaveProperty("shown")
  expect(inTurn({ compat: "reference" }, {}, "continuation").state.memory).not.toHaveProperty("shown")
})

test("a child that reports without a goal is remembered; one without an id in a turn that is not charged is not", () => {
  const thread = new Thread()
  child(thread, 5, { childId: "c" })
  expect([thread.state.goal, thread.state.memory.children]).toEqual([null, [{ childId: "c", tokens: 5, costMicros: 0 }]])
  const free = new Thread()
  free.command({ type: "set", objective: "ship" })
  free.starts("one", { mode: "plan" })
  child(free, 5, { usage: used(5, 0, { estimated: true }) })
  expect(free.state.turn?.childTokens).toBe(0)
  expect(free.goal).not.toHaveProperty("usageEstimated")
  const cheap = inTurn()
  child(cheap, 0, { usage: used(0, 0, { estimated: true }), costMicros: 1 })
  child(cheap, 3)
  expect(cheap.goal).not.toHaveProperty("usageEstimated")
})

test("a user who speaks in the turn resets the brakes; one who speaks in another does not", () => {
  const thread = inTurn({}, {}, "continuation")
  thread.finishes("one", 0, "same")
  thread.starts("two", { origin: "continuation" })
  thread.give({ type: "user_spoke", at: thread.at, turnId: "one" })
  expect(thread.state.memory).toMatchObject({ idleContinuations: 1, repeatedAnswers: 1 })
  thread.give({ type: "user_spoke", at: thread.at, turnId: "two" })
  expect(thread.state.memory).toMatchObject({ idleContinuations: 0, repeatedAnswers: 0 })
  expect(thread.state.memory).not.toHaveProperty("lastAnswer")
})

test("a turn in which the goal was paused counts towards no brake", () => {
  const thread = inTurn({}, {}, "continuation")
  thread.command({ type: "pause" })
  thread.finishes("one", 0, "same")
  expect(thread.state.memory).toMatchObject({ idleContinuations: 0, repeatedAnswers: 0 })
})

test("a command to an active or a paused goal resets only the count without tools; one that activates it resets all", () => {
  const thread = inTurn({}, {}, "continuation")
  thread.finishes("one", 0, "same")
  thread.command({ type: "set", tokenBudget: 1_000 })
  expect(thread.state.memory).toMatchObject({ idleContinuations: 0, repeatedAnswers: 1 })
  thread.command({ type: "pause" })
  thread.command({ type: "set", objective: "ship it" })
  expect(thread.state.memory.repeatedAnswers).toBe(1)
  thread.command({ type: "resume" })
  expect(thread.state.memory.repeatedAnswers).toBe(0)
})

test("checks that failed alike are counted anew after a resume, a claim in the turn is dropped, and a complete goal has none", () => {
  const thread = inTurn({}, { checks: [{ name: "test", command: "npm test" }] }, "continuation")
  thread.finishes("one")
  thread.give({ type: "checks_reported", at: thread.at, turnId: "one", results: [{ name: "test", ok: false, exitCode: 1, tail: "no" }] })
  expect(thread.state.memory.checks).toMatchObject({ alike: 1 })
  thread.command({ type: "set", tokenBudget: 1_000 })
  expect(thread.state.memory.checks).toMatchObject({ alike: 1 })
  thread.command({ type: "pause" })
  thread.command({ type: "resume" })
  expect(thread.state.memory.checks).toMatchObject({ alike: 0, failing: [{ name: "test" }] })
  thread.starts("two")
  thread.calls("two", "update_goal", { status: "blocked" })
  expect(thread.state.turn?.claimed).toBe(true)
  thread.command({ type: "pause" })
  thread.command({ type: "resume" })
  expect(thread.state.turn?.claimed).toBe(false)
  thread.command({ type: "set", status: "complete" })
  expect(thread.state.memory).not.toHaveProperty("checks")
})

test("a command at a checkpoint is an event of the delivery, which names the turn that runs; messages have ids of the turn", () => {
  const thread = inTurn()
  const { turn, clock } = thread.state
  const open = { type: "goal_turn", threadId: "t1", turn, clock, toolCalls: 0 }
  const recordsOf = (events: readonly unknown[]): readonly HistoryRecord[] => events.map((event) => ({ type: "protocol", event: event as never }))
  const command = { type: "set", objective: "sink" } as const
  const delivered = (events: readonly unknown[]): ReturnType<typeof goalDeliveries> =>
    goalDeliveries(recordsOf(events), "after_work", 2_000, { threadId: "t1", commands: [{ at: 2_000, command }] })
  const input = { type: "command", at: 2_000, command }
  const inside = delivered([...thread.events, open])
  expect(inside.events).toStrictEqual([{ type: "goal_input", threadId: "t1", told: true, input: { ...input, turnId: "one" } }])
  expect(inside.userMessages?.map(({ id }) => id)).toEqual([`one.goal${thread.events.length + 1}`])
  expect(delivered(thread.events).events).toStrictEqual([{ type: "goal_input", threadId: "t1", told: true, input }])
})

test("within one turn, continuations that end with the same answer are braked, and others are not", () => {
  const run = (text: (calls: number) => string): ThreadHost => {
    const model = (calls: number): ReturnType<typeof replies> => (calls % 2 === 0 && calls < 12 ? replies("", "look") : replies(text(calls)))
    const policy = { maxIdleContinuations: 0, maxContinuations: 5, maxRepeatedAnswers: 2 }
    const thread = new ThreadHost({ model }, { policy, deliveries: { continueInTurn: true } })
    thread.command({ type: "set", objective: "ship" })
    thread.turn("continuation")
    return thread
  }
  // Two answers that are the same; the pause comes with the end of the turn.
  expect(run(() => "Stuck.").modelCalls).toBe(4)
  expect(run((calls) => `Part ${calls}.`).modelCalls).toBeGreaterThan(8)
})

test("under a hard budget, what children used in the turn leaves less for the next call", () => {
  const caps: (number | undefined)[] = []
  const usage = { type: "child_usage_reported", at: 1_000_500, usage: used(50) } as const
  const thread = new ThreadHost(
    {
      model: (calls, request) => {
        caps.push(request.generation.maxOutputTokens)
        return calls === 0 ? replies("", "look") : replies("Done.")
      },
      delivers: (_checkpoint, asked) => (asked === 0 ? { events: [goalInputEvent("t1", usage)] } : {}),
    },
    { policy: { hardBudget: true }, driver: { estimate: () => 100 } },
  )
  thread.command({ type: "set", objective: "ship", tokenBudget: 1_000 })
  thread.turn("user")
  // 1,000 less the request; then also less the 10 tokens of the first answer and the 50 of the child.
  expect(caps).toEqual([900, 840])
})
