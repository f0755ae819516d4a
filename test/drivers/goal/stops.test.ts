/** Why a goal rests, is paused, or ends the turn that works on it, in the words that people read. */
import { describe, expect, test } from "vitest"
import { mergeDeliveries, stopRecord } from "../../../src/drivers/goal/deliveries.ts"
import type { GoalPolicy } from "../../../src/drivers/goal/policy.ts"
import type { GoalCommand } from "../../../src/schemas/goal.ts"
import type { CheckpointDelivery, HistoryRecord, TurnCause } from "../../../src/schemas/message.ts"
import { Thread } from "./support.ts"
import { replies, ThreadHost } from "./thread-host.ts"

function withGoal(policy: GoalPolicy = {}, command: object = {}): Thread {
  const thread = new Thread(policy)
  thread.command({ type: "set", objective: "ship", ...command })
  return thread
}

describe("a goal rests", () => {
  const reason = (thread: Thread, more: Parameters<Thread["idle"]>[0] = {}): string | undefined => {
    const answer = thread.idle(more)
    return answer.type === "rest" ? answer.reason : undefined
  }

  test("for what comes first, in this order", () => {
    expect(reason(new Thread())).toBe("There is no goal.")
    expect(reason(withGoal())).toBeUndefined()
    const running = withGoal()
    running.starts("one")
    expect(reason(running, { queuedInput: true, mode: "plan" })).toBe("A turn is running.")
    expect(reason(withGoal(), { queuedInput: true, mode: "plan" })).toBe("Input is waiting and comes first.")
    expect(reason(withGoal(), { mode: "plan" })).toBe("The thread is in plan mode.")
    const interrupted = withGoal({ onInterrupt: "keep" })
    interrupted.starts("one")
    interrupted.give({ type: "turn_interrupted", at: interrupted.at, turnId: "one" })
    expect(reason(interrupted)).toBe("The last turn was interrupted; the goal continues after a turn or a command.")
  })

  test.each([
    ["paused", "The goal is paused. Resume to continue."],
    ["blocked", "The goal is blocked: the model cannot continue. Remove the obstacle or change the objective, then resume."],
    ["usage_limited", "The usage limit of the account is reached. Resume when usage is available again."],
    ["complete", "The goal is complete."],
  ] as const)("when it is %s", (status, expected) => {
    expect(withGoal({}, { status }).idle()).toEqual({ type: "rest", reason: expected })
  })

  test("until a usage limit ends, while that is why it stopped", () => {
    const thread = withGoal()
    thread.starts("one")
    thread.fails("one", "usage_limit", 90_000)
    expect(thread.idle()).toMatchObject({ type: "rest", notBefore: 90_000 })
    thread.command({ type: "set", status: "paused" })
    expect(thread.idle()).not.toHaveProperty("notBefore")
  })

  test("without its checks while input waits, or after an interrupt", () => {
    const checks = [{ name: "test", command: "npm test" }]
    const thread = withGoal({ onInterrupt: "keep" }, { checks })
    thread.starts("one")
    thread.finishes("one")
    const ask = (queuedInput: boolean): string | undefined =>
      thread.give({ type: "idle", at: thread.at, mode: "default", queuedInput, nextTurnId: "next" }).at(-1)?.type
    expect([ask(false), ask(true)]).toEqual(["run_checks", "rest"])
    thread.starts("two")
    thread.give({ type: "turn_interrupted", at: thread.at, turnId: "two" })
    expect(ask(false)).toBe("rest")
  })
})

describe("a brake pauses a goal", () => {
  const ends = (policy: GoalPolicy, origin: "user" | "continuation", ...answers: readonly (readonly [toolCalls: number, text: string])[]): Thread => {
    const thread = withGoal(policy)
    answers.forEach(([toolCalls, text], index) => {
      thread.starts(`turn-${index}`, { origin })
      thread.finishes(`turn-${index}`, toolCalls, text)
    })
    return thread
  }

  test("after continuations that called no tool", () => {
    const policy = { maxIdleContinuations: 2 }
    const paused = ends(policy, "continuation", [0, "a"], [0, "b"])
    expect([paused.goal.status, paused.goal.reason]).toEqual([
      "paused",
      "Paused: 2 continuations in a row called no tool. Check whether anything is left to do, then resume or say how to continue.",
    ])
    expect(paused.state.memory.brakedAfter).toBe("turn-1")
    expect(ends({ ...policy, compat: "reference" }, "continuation", [0, "a"], [0, "b"]).state.memory).not.toHaveProperty("brakedAfter")
    expect(ends(policy, "continuation", [0, "a"], [1, "b"], [0, "c"]).goal.status).toBe("active")
    expect(ends(policy, "user", [0, "a"], [0, "b"]).goal.status).toBe("active")
    expect(ends({ ...policy, endedBy: "judge" }, "continuation", [0, "a"], [0, "b"]).goal.status).toBe("active")
  })

  test("after continuations with the same answer", () => {
    const policy = { maxRepeatedAnswers: 2 }
    const paused = ends(policy, "continuation", [1, " same\n"], [1, "same"])
    expect([paused.goal.status, paused.goal.reason]).toEqual([
      "paused",
      "Paused: 2 continuations in a row ended with the same answer. Check where they are stuck, then resume or change the objective.",
    ])
    expect(ends(policy, "continuation", [1, "same"], [1, "other"], [1, "same"]).goal.status).toBe("active")
    expect(ends(policy, "continuation", [1, "same"], [1, ""], [1, "same"]).goal.status).toBe("active")
    expect(ends(policy, "continuation", [1, ""], [1, ""]).goal.status).toBe("active")
    expect(ends({ maxRepeatedAnswers: 0 }, "continuation", [1, "same"], [1, "same"]).goal.status).toBe("active")
  })

  test("after as many continuations as may run", () => {
    expect(ends({ maxContinuations: 1 }, "continuation", [1, "a"]).goal.reason).toBe(
      "Paused: 1 continuation has run, which is the limit. Resume to allow as many again.",
    )
    expect(ends({ maxContinuations: 2 }, "continuation", [1, "a"]).goal.status).toBe("active")
    expect(ends({ maxContinuations: 2 }, "continuation", [1, "a"], [1, "b"]).goal.reason).toBe(
      "Paused: 2 continuations have run, which is the limit. Resume to allow as many again.",
    )
  })

  test("and a resume begins all counts again", () => {
    const thread = ends({ maxIdleContinuations: 2 }, "continuation", [0, "a"], [0, "b"])
    thread.command({ type: "resume" })
    expect(thread.state.memory).toMatchObject({
      idleContinuations: 0,
      repeatedAnswers: 0,
      blockedTurns: 0,
      transientErrors: 0,
      continuationsBefore: 2,
    })
    for (const key of ["brakedAfter", "lastAnswer", "retryAt", "earlierContinuations"]) expect(thread.state.memory).not.toHaveProperty(key)
  })
})

describe("a command that arrives at a checkpoint of a continuation ends the turn", () => {
  /**
   * What a turn ends with in which this command arrives at its first checkpoint, after a tool by default, and `later` at the second:
   * `undefined` if it goes on to its own end.
   */
  function endOf(
    command: GoalCommand,
    {
      origin = "continuation" as const,
      policy = {},
      budgets = { tokenBudget: 1_000 } as object,
      delivers = {} as CheckpointDelivery,
      tools = 1,
      later = undefined as GoalCommand | undefined,
      withGoal = true,
    } = {},
  ): string | undefined {
    const deliveries = {
      get commands() {
        const due = [undefined, command, later][thread.deliveriesAsked]
        return due === undefined ? [] : [{ at: thread.at, command: due }]
      },
    }
    const thread: ThreadHost = new ThreadHost(
      {
        model: (calls) => (calls < tools ? replies("", "look") : replies("Done.")),
        delivers: (_checkpoint, asked) => (asked === 0 ? delivers : {}),
      },
      { policy, deliveries },
    )
    if (withGoal) thread.command({ type: "set", objective: "ship", ...budgets })
    const { outcome } = thread.turn(origin)
    if (outcome?.type !== "stopped") return undefined
    expect(outcome.stop).toMatchObject({ type: "cancelled", error: { kind: "goal", code: "goal_stopped" } })
    return "error" in outcome.stop ? outcome.stop.error?.userMessage : undefined
  }

  const ENDED = "while this turn worked on it, so the turn ended."

  test.each<readonly [string, GoalCommand, string]>([
    ["a pause", { type: "set", status: "paused", reason: "Lunch." }, `The goal was paused ${ENDED} Lunch.`],
    ["a block", { type: "set", status: "blocked", reason: "Stuck." }, `The goal was stopped ${ENDED} Stuck.`],
    ["a completion", { type: "set", status: "complete" }, `The goal was set to complete ${ENDED}`],
    ["a clear", { type: "clear" }, `The goal was cleared ${ENDED}`],
    ["another goal", { type: "start", objective: "rest" }, `The goal was replaced ${ENDED}`],
  ])("%s", (_what, command, expected) => {
    expect(endOf(command)).toBe(expected)
  })

  test("unless a user wrote in it, or the reference's rules hold", () => {
    const pause = { type: "pause" } as const
    const parts = [{ id: "u.p0", type: "text", text: "Wait." }] as const
    expect(endOf(pause)).toMatch(/^The goal was paused/)
    expect(endOf(pause, { delivers: { userMessages: [{ id: "u", role: "user", parts }] } })).toBeUndefined()
    const plugin = { type: "plugin", pluginId: "p" } as const
    expect(endOf(pause, { delivers: { userMessages: [{ id: "u", role: "user", parts, origin: plugin }] } })).toMatch(/^The goal was paused/)
    expect(endOf(pause, { policy: { compat: "reference" } })).toBeUndefined()
    expect(endOf({ type: "set", objective: "sink" })).toBeUndefined()
  })

  test("also of a goal that has reached its budget, whose status stays; a command for another goal does not", () => {
    const at = { budgets: { tokenBudget: 5 } }
    expect(endOf({ type: "pause" }, at)).toMatch(/^The goal was stopped .* 10 of 5, 5 over/)
    expect(endOf({ type: "set", status: "blocked" }, at)).toMatch(/^The goal was/)
    expect(endOf({ type: "pause", ifGoalId: "g1" }, at)).toMatch(/^The goal was/)
    expect(endOf({ type: "pause", ifGoalId: "g7" }, at)).toBeUndefined()
    expect(endOf({ type: "set", status: "paused" }, at)).toMatch(/^The goal was/)
    // These ask for more work, or for none to stop.
    for (const command of [
      { type: "resume" },
      { type: "resume", addTokens: 1_000 },
      { type: "set", objective: "sink" },
      { type: "set", status: "active" },
      { type: "set", tokenBudget: 6 },
      { type: "wait", event: "build" },
    ] as const)
      expect([command, endOf(command, at)]).toEqual([command, undefined])
  })

  const PAUSED = { type: "pause" } as const
  const plugin = { type: "plugin", pluginId: "p" } as const
  const parts = [{ id: "u.p0", type: "text", text: "Wait." }] as const
  const fromUser: CheckpointDelivery = { userMessages: [{ id: "u", role: "user", parts }] }

  test("where the turn would end, only if something else is delivered for which it would go on", () => {
    const cause: TurnCause = { id: "e", eventType: "mail", origin: { type: "process", processId: "p", eventType: "mail", sequence: 1 }, text: "!" }
    const note = { role: "user", content: "Note." } as const
    expect(endOf(PAUSED, { tools: 0 })).toBeUndefined()
    const deliveries: readonly CheckpointDelivery[] = [
      { userMessages: [{ id: "u", role: "user", parts, origin: plugin }] },
      { messages: [note] },
      { transientMessages: [note] },
      { turnCauses: [cause] },
      { userMessages: [{ id: "u", role: "user", parts, origin: plugin }], messages: [note], transientMessages: [note], turnCauses: [cause] },
    ]
    for (const delivers of deliveries) expect(endOf(PAUSED, { tools: 0, delivers })).toMatch(/^The goal was paused/)
  })

  test("not again at a later checkpoint, after a user wrote beside the command", () => {
    expect(endOf(PAUSED, { tools: 2, delivers: fromUser, later: { type: "clear" } })).toBeUndefined()
    expect(endOf({ type: "set", status: "budget_limited" }, { tools: 2, delivers: fromUser })).toBeUndefined()
  })

  test("where it limits or pauses the goal, whether or not a budget is reached then", () => {
    expect(endOf({ type: "set", status: "budget_limited", reason: "No more." })).toBe(`The goal was stopped ${ENDED} No more.`)
    expect(endOf({ type: "set", status: "paused", tokenBudget: 5 })).toMatch(/^The goal was paused/)
    // The second of waiting until the command is the third of the budget. The goal is limited before it can be paused.
    expect(endOf(PAUSED, { budgets: { secondsBudget: 3 } })).toBeUndefined()
  })

  test("not where there was no goal before it", () => {
    expect(endOf({ type: "start", objective: "ship" }, { withGoal: false })).toBeUndefined()
  })
})

test("mergeDeliveries has a key only for what is delivered", () => {
  expect(mergeDeliveries({}, {})).toStrictEqual({})
  const cause: TurnCause = { id: "e", eventType: "mail", origin: { type: "process", processId: "p", eventType: "mail", sequence: 1 }, text: "!" }
  expect(mergeDeliveries({ turnCauses: [cause] }, { events: [1] })).toStrictEqual({ turnCauses: [cause], events: [1] })
})

describe("stopRecord", () => {
  function historyOf(thread: Thread): readonly HistoryRecord[] {
    const { turn, clock } = thread.state
    const open = { type: "goal_turn", threadId: "t1", turn, clock, toolCalls: 0 }
    return [...thread.events, open].map((event) => ({ type: "protocol", event: event as never }))
  }
  const running = withGoal()
  running.starts("one")

  test("excludes the time since the last record, or since the last response of a turn", () => {
    const clockOf = (record: HistoryRecord | undefined): unknown => record?.type === "protocol" && (record.event as { clock: unknown }).clock
    expect(clockOf(stopRecord(historyOf(running), "t1", 9_000))).toEqual({ seenAt: 9_000, markedAt: 9_000 })
    expect(clockOf(stopRecord(historyOf(running), "t1", 9_000, { at: 3_000, heldMs: 0 } as never))).toEqual({ seenAt: 9_000, markedAt: 7_000 })
  })

  test("is none where no time passed, while the turn waits for people, and without a clock", () => {
    expect(stopRecord(historyOf(running), "t1", 1_000)).toBeUndefined()
    expect(stopRecord(historyOf(running), "t1", 9_000, { at: 3_000, heldSince: 2_000, heldMs: 0 } as never)).toBeUndefined()
    expect(stopRecord(historyOf(withGoal({}, { status: "paused" })), "t1", 9_000)).toBeUndefined()
    expect(stopRecord([], "t1", 9_000)).toBeUndefined()
  })
})
