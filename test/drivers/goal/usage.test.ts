/** What the driver of a goal reports of its turn: usage, calls, failures, and which tools are answered. */
import { describe, expect, test } from "vitest"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { codeDriver } from "../../../src/drivers/code.ts"
import { goalInputEvent } from "../../../src/drivers/goal/deliveries.ts"
import { goalDriver } from "../../../src/drivers/goal/driver.ts"
import { readGoal } from "../../../src/drivers/goal/history.ts"
import { changeGoal, nextTurn } from "../../../src/drivers/goal/thread.ts"
import { wrapDriver } from "../../../src/drivers/wrap-driver.ts"
import type { GoalState } from "../../../src/schemas/goal.ts"
import type { LlmFailure, LlmResponse, TokenUsage } from "../../../src/schemas/llm.ts"
import type { HistoryRecord, Message } from "../../../src/schemas/message.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { answer, configOf, driverOf, pollAll, respond, says, userMessage } from "../../machine/support.ts"
import { used } from "./support.ts"
import { breaks, LOOK, replies, ThreadHost, type World } from "./thread-host.ts"

const NONE: TokenUsage = used(0)

/** A turn of the user with a goal, at its first model call. */
function machineWith(inner = chatDriver(), events: readonly HistoryRecord[] = setGoal()): TurnMachine {
  const driver = goalDriver(inner, { threadId: "t1", turnId: "turn-1", startedAt: 5_000 })
  const machine = new TurnMachine(configOf({ driver, tools: [LOOK] }), { messages: [userMessage("hello")], events: [...events] })
  pollAll(machine)
  return machine
}

function setGoal(): readonly HistoryRecord[] {
  return changeGoal({ threadId: "t1", history: [] }, { type: "command", at: 4_000, command: { type: "set", objective: "ship" } }).records
}

function stateOf(machine: TurnMachine): GoalState {
  return readGoal(machine.history, "t1").state
}

describe("usage", () => {
  test.each(["inputTokens", "cachedInputTokens", "outputTokens", "reasoningTokens"] as const)("in %s alone is reported", (bucket) => {
    const machine = machineWith()
    respond(machine, answer(1, [], { usage: { ...NONE, [bucket]: 5 } }))
    expect(stateOf(machine).turn).toMatchObject({ turnId: "turn-1", mode: "default", origin: "user", reported: { [bucket]: 5 } })
  })

  test("of an answer that is cut off is charged as reported, and as estimated if nobody reports it", () => {
    const charged = (usage: TokenUsage, failed?: Partial<LlmFailure>): readonly [tokens: number, isEstimated: boolean] => {
      const response: LlmResponse = { text: "I began", parts: [{ type: "text", text: "I began" }], usage, terminalReason: "output_limit" }
      const error: LlmFailure = { message: "Gone.", retryable: true, terminalReason: "provider_error", ...failed }
      const thread = new ThreadHost({ model: () => (failed === undefined ? { ok: true, response } : { ok: false, error, partial: response }) })
      thread.command({ type: "set", objective: "ship" })
      thread.turn("user")
      return [thread.goal.tokensUsed, thread.goal.usageEstimated === true]
    }
    const usage = used(7, 3)
    expect(charged(usage)).toEqual([10, false])
    expect(charged(usage, {})).toEqual([10, false])
    expect(charged(NONE, { usage })).toEqual([10, false])
    // The request, and two tokens for seven letters.
    const [asked, isEstimated] = charged(NONE)
    expect(asked).toBeGreaterThan(2)
    expect(isEstimated).toBe(true)
    expect(charged(NONE, {})).toEqual([asked, true])
  })

  test("of an earlier answer does not count for one that is cut off", () => {
    const machine = machineWith()
    respond(machine, answer(1, [{ type: "tool_call", callId: "g", toolName: "get_goal", inputJson: "{}" }], { terminalReason: "tool_use" }))
    respond(machine, { type: "checkpoint_delivery", id: 2, delivery: {} })
    respond(machine, says(3, "I began", { terminalReason: "output_limit", usage: NONE }))
    expect(stateOf(machine).turn?.reported).toMatchObject({ outputTokens: 2 + 2, estimated: true })
  })

  test("of an answer that is cut off needs no goal", () => {
    const machine = machineWith(chatDriver(), [])
    respond(machine, says(1, "I began", { terminalReason: "output_limit", usage: NONE }))
    expect(machine.outcome).toMatchObject({ type: "stopped", stop: { type: "incomplete" } })
    expect(machine.messages.at(-1)?.parts[0]).toMatchObject({ text: "I began" })
  })

  test("of an answer that is cut off is left to the end of the turn if the driver stores nothing of it", () => {
    const machine = machineWith(driverOf())
    respond(machine, says(1, "I began", { terminalReason: "output_limit" }))
    expect(machine.outcome).toMatchObject({ type: "stopped", stop: { type: "incomplete" } })
  })

  test("has no price while the thread has no goal", () => {
    const costMicros = (): number => 1
    const thread = new ThreadHost({ model: (calls) => (calls === 0 ? replies("", "look") : replies("Done.")) }, { driver: { costMicros } })
    thread.command({ type: "set", objective: "ship" })
    thread.command({ type: "clear" })
    const machine = thread.turn("user")
    expect(readGoal(machine.history, "t1").state.turn).toMatchObject({ reportedCostMicros: 0 })
  })
})

test("a run of code counts as one tool call", () => {
  const world: World = {
    model: (calls) => (calls === 0 ? replies("```js\nlook()\n```") : replies("It was 42.")),
    code: () => ({ observations: ["seen"] }),
  }
  const thread = new ThreadHost(world, { inner: codeDriver() })
  thread.command({ type: "set", objective: "ship" })
  expect(readGoal(thread.turn("continuation").history, "t1").toolCalls).toBe(1)
})

describe("a model call that fails for good", () => {
  test.each<readonly [string, boolean, Partial<LlmFailure>, string, number | undefined]>([
    ["at the account's limit", false, { kind: "usage_limit", retryAt: 9_000_000 }, "usage_limited", 9_000_000],
    ["at the account's limit, although it may be retried", true, { kind: "usage_limit", retryAt: 9_000_000 }, "usage_limited", 9_000_000],
    ["and may be retried at a known time", true, { retryAt: 9_000_000 }, "active", 9_000_000],
    ["and may be retried", true, {}, "active", 1_011_000],
    ["otherwise", false, {}, "blocked", undefined],
  ])("%s", (_what, retryable, failure, status, notBefore) => {
    const thread = new ThreadHost({ model: () => breaks(retryable, failure) })
    thread.command({ type: "set", objective: "ship" })
    const machine = thread.turn("user")
    expect(thread.goal.status).toBe(status)
    const next = nextTurn({ threadId: "t1", history: thread.history }, thread.at)
    expect("notBefore" in next ? next.notBefore : undefined).toBe(notBefore)
    const kind = failure.kind ?? (retryable ? "transient" : "other")
    expect(readGoal(machine.history, "t1").error).toStrictEqual({
      kind,
      message: "The server is busy.",
      ...(failure.retryAt !== undefined && { retryAt: failure.retryAt }),
    })
  })
})

describe("a goal tool that the request did not offer", () => {
  const judged = (tools: readonly (typeof LOOK)[], inner = chatDriver()): ThreadHost => {
    const model = (calls: number): ReturnType<typeof replies> =>
      calls === 0 ? replies("", ["update_goal", { status: "complete" }]) : replies("Done.")
    const thread = new ThreadHost({ model }, { policy: { endedBy: "judge" }, config: { tools }, inner })
    thread.command({ type: "set", objective: "ship" })
    thread.turn("user")
    return thread
  }

  test("is an unknown tool, and does nothing", () => {
    const thread = judged([LOOK])
    expect([thread.toolCalls, thread.goal.status]).toEqual([0, "active"])
    expect(JSON.stringify(thread.history)).toContain("There is no tool")
  })

  test("is an unknown tool also where the driver within leaves such calls to the host", () => {
    const inner = wrapDriver(chatDriver(), {
      name: "lenient",
      onLlmComplete: (next, ...given) =>
        next(...given).map((action) => (action.type === "start_tools" ? { type: "start_tools", calls: action.calls } : action)),
    })
    const thread = judged([LOOK], inner)
    expect([thread.toolCalls, thread.goal.status]).toEqual([0, "active"])
    expect(JSON.stringify(thread.history)).toContain("There is no tool")
  })

  test("reaches the host where it is a tool of the host", () => {
    const thread = judged([LOOK, { ...LOOK, name: "update_goal" }])
    expect([thread.toolCalls, thread.goal.status]).toEqual([1, "active"])
    expect(JSON.stringify(thread.history)).not.toContain("There is no tool")
  })
})

describe("what arrives in a turn", () => {
  /** A turn with a claim that the goal is complete, a delivery after it, and checks that pass. */
  const statusAfter = (message?: Partial<Message>): string => {
    const checks = [{ name: "test", command: "npm test" }]
    const said: Message = { id: "u2", role: "user", parts: [{ id: "u2.p0", type: "text", text: "And the docs." }], ...message }
    const thread = new ThreadHost({
      model: (calls) => (calls === 0 ? replies("", ["update_goal", { status: "complete" }]) : replies("Done.")),
      delivers: (_checkpoint, asked) => (asked === 0 && message !== undefined ? { userMessages: [said] } : {}),
    })
    thread.command({ type: "set", objective: "ship", checks })
    thread.turn("user")
    const results = [{ name: "test", ok: true, tail: "" }]
    const { state } = changeGoal({ threadId: "t1", history: thread.history }, { type: "checks_reported", at: thread.at, turnId: "turn-0", results })
    return state.goal?.status ?? "none"
  }

  test("from the user withdraws a claim; from a plugin it does not", () => {
    expect(statusAfter()).toBe("complete")
    expect(statusAfter({})).toBe("active")
    expect(statusAfter({ origin: { type: "plugin", pluginId: "p" } })).toBe("complete")
    expect(statusAfter({ role: "event" })).toBe("complete")
  })

  test("after a client has limited the goal does not end the turn that works on it", () => {
    const said: Message = {
      id: "p1",
      role: "user",
      origin: { type: "plugin", pluginId: "p" },
      parts: [{ id: "p1.p0", type: "text", text: "Noted." }],
    }
    const thread = new ThreadHost(
      {
        model: (calls) => (calls < 2 ? replies("", "look") : replies("Done.")),
        delivers: (_checkpoint, asked) => (asked === 1 ? { userMessages: [said] } : {}),
      },
      { policy: { maxCallsAfterBudget: 0 } },
    )
    thread.command({ type: "set", objective: "ship" })
    thread.command({ type: "set", status: "budget_limited" })
    expect(thread.turn("continuation").outcome?.type).toBe("finished")
    expect(thread.goal.status).toBe("budget_limited")
  })

  test("of a child after the budget was reached is charged, and the turn goes on", () => {
    const usage = { type: "child_usage_reported", at: 1_000_500, usage: used(7) } as const
    const thread = new ThreadHost({
      model: (calls) => (calls < 2 ? replies("", "look") : replies("Done.")),
      delivers: (_checkpoint, asked) => (asked === 1 ? { events: [goalInputEvent("t1", usage)] } : {}),
    })
    thread.command({ type: "set", objective: "ship", tokenBudget: 5 })
    expect(thread.turn("continuation").outcome?.type).toBe("finished")
    expect(thread.goal).toMatchObject({ status: "budget_limited", childTokensUsed: 7 })
  })
})
