import { describe, expect, test } from "vitest"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { goalDeliveries, goalInputEvent, mergeDeliveries } from "../../../src/drivers/goal/deliveries.ts"
import { type GoalDriverOptions, goalDriver } from "../../../src/drivers/goal/driver.ts"
import { readGoal } from "../../../src/drivers/goal/history.ts"
import { changeGoal, endGoalTurn, nextTurn } from "../../../src/drivers/goal/thread.ts"
import { GOAL_TOOLS } from "../../../src/drivers/goal/tools.ts"
import { requestPrefix } from "../../../src/replay/prefix.ts"
import type { Effect } from "../../../src/schemas/effect.ts"
import type { GoalCommand, GoalState } from "../../../src/schemas/goal.ts"
import type { Json } from "../../../src/schemas/json.ts"
import type { OutputPart } from "../../../src/schemas/llm.ts"
import type { HistoryRecord } from "../../../src/schemas/message.ts"
import type { Response } from "../../../src/schemas/response.ts"
import type { CompletedToolCall, ToolOutput } from "../../../src/schemas/tool.ts"
import { expectTurn } from "../../../src/testing/expect-turn.ts"
import type { TurnInput } from "../../../src/testing/turn-input.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { answer, completed, configOf, delivers, moved, pollAll, respond, results, says, userMessage, withOutput } from "../../machine/support.ts"

const SHELL = { name: "look", description: "", inputSchema: {} }
const CANCELLED: ToolOutput = { status: "cancelled", message: "Stop.", source: "cancellation" }
const USAGE = { inputTokens: 7, cachedInputTokens: 0, outputTokens: 3, reasoningTokens: 0 }
const OPTIONS: GoalDriverOptions = { threadId: "t1", turnId: "turn-1", startedAt: 5000 }

function config(options: Partial<GoalDriverOptions> = {}): ReturnType<typeof configOf> {
  return configOf({ driver: goalDriver(chatDriver(), { ...OPTIONS, ...options }), tools: [SHELL] })
}

function machineWith(events: readonly HistoryRecord[], options: Partial<GoalDriverOptions> = {}): TurnMachine {
  const machine = new TurnMachine(config(options), { messages: [userMessage("hello")], events: [...events] })
  pollAll(machine)
  return machine
}

/** The history of a thread after a command. */
function commanded(command: GoalCommand, history: readonly HistoryRecord[] = [], at = 4000): readonly HistoryRecord[] {
  return [...history, ...changeGoal({ threadId: "t1", history }, { type: "command", at, command }).records]
}

function call(callId: string, toolName: string, args: Json = {}): OutputPart {
  return { type: "tool_call", callId, toolName, inputJson: JSON.stringify(args) }
}

/** An answer with calls that uses 12 tokens. */
function asks(id: number, ...parts: readonly OutputPart[]): Response {
  return answer(id, parts, { terminalReason: "tool_use" })
}

function stateOf(machine: TurnMachine): GoalState {
  return readGoal(machine.history, "t1").state
}

function requestOf(effects: readonly Effect[]): Extract<Effect, { type: "llm_call" }>["request"] {
  const found = effects.find((effect) => effect.type === "llm_call")
  if (found?.type !== "llm_call") throw new Error("No model call.")
  return found.request
}

/** The tool results in the transcript. */
function toolTexts(machine: TurnMachine): readonly string[] {
  return machine.messages.flatMap(({ parts }) => parts.flatMap((part) => (part.type === "tool_result" ? [`${part.callId}: ${part.text}`] : [])))
}

describe("without a goal", () => {
  test("effects are the inner driver's, except for the tools that a request lists", () => {
    const script: readonly Response[] = [asks(1, call("a", "look")), results(2, completed("a")), delivers(3), says(4, "done"), delivers(5)]
    const run = (driver: ReturnType<typeof chatDriver>): string => {
      const machine = new TurnMachine(configOf({ driver, tools: [SHELL] }), { messages: [userMessage("hello")] })
      return JSON.stringify([...pollAll(machine), ...script.flatMap((response) => respond(machine, response))])
    }
    const goalTools = JSON.stringify(GOAL_TOOLS).slice(1, -1)
    const wrapped = run(goalDriver(chatDriver(), OPTIONS))
    expect(wrapped).toContain(`,${goalTools}`)
    expect(wrapped.replaceAll(`,${goalTools}`, "")).toBe(run(chatDriver()))
  })
})

describe("goal tools", () => {
  test("are answered without the host, and the model sees the result", () => {
    const machine = machineWith([])
    const effects = respond(machine, asks(1, call("g", "create_goal", { objective: "ship", token_budget: 500 })))
    expect(effects.map(({ type }) => type)).toEqual(["emit", "emit", "emit", "progress", "progress", "checkpoint"])
    expect(effects.filter((effect) => effect.type === "emit" && effect.event.type === "tool_call")).toHaveLength(1)
    expect(toolTexts(machine)).toHaveLength(1)
    expect(toolTexts(machine)[0]).toContain('"remainingTokens":500')
    // The call that created the goal was made before the goal existed.
    expect(stateOf(machine).goal).toMatchObject({ objective: "ship", tokensUsed: 0 })
    respond(machine, delivers(2))
    respond(machine, says(3, "working"))
    expect(stateOf(machine).turn).toMatchObject({ turnId: "turn-1", marked: true })
  })

  test("in a mixed batch: the host gets only the other calls, and the model gets all results in call order", () => {
    let machine = machineWith(commanded({ type: "set", objective: "ship" }))
    const effects = respond(machine, asks(1, call("a", "look"), call("g", "get_goal"), call("b", "look")))
    const batch = effects.find((effect) => effect.type === "tool_calls")
    expect(batch?.type === "tool_calls" && batch.calls.map(({ callId }) => callId)).toEqual(["a", "b"])
    machine = moved(machine, config())
    pollAll(machine)
    respond(machine, results(2, completed("b")))
    respond(machine, results(2, completed("a")))
    expect(toolTexts(machine).map((text) => text.slice(0, 2))).toEqual(["a:", "g:", "b:"])
    // get_goal is answered when the batch starts, after the 12 tokens of its model call were written.
    expect(toolTexts(machine)[1]).toContain('"tokensUsed":12')
    expect(readGoal(machine.history, "t1")).toMatchObject({ toolCalls: 3 })
  })

  test("in a batch with broken calls: each call has one result, only the good host call runs, and all calls count", () => {
    const broken = (callId: string, toolName: string): OutputPart => ({ type: "tool_call", callId, toolName, inputJson: "{" })
    const machine = machineWith(commanded({ type: "set", objective: "ship" }))
    respond(machine, asks(1, broken("u", "update_goal"), broken("x", "look"), call("g", "get_goal"), call("a", "look")))
    expect(machine.outstanding).toMatchObject({ type: "tool_calls", calls: [{ callId: "a" }] })
    respond(machine, results(2, completed("a")))
    expect(toolTexts(machine)).toEqual([
      expect.stringMatching(/^u: .*arguments cannot be read/s),
      expect.stringMatching(/^x: .*arguments cannot be read/s),
      expect.stringContaining('"objective":"ship"'),
      "a: result of a",
    ])
    expect(readGoal(machine.history, "t1")).toMatchObject({ toolCalls: 4, state: { goal: { status: "active" } } })
  })

  test("return the replay data of their call with the result", () => {
    const driver = goalDriver(chatDriver(), OPTIONS)
    const given: (readonly CompletedToolCall[])[] = []
    const onToolResults: typeof driver.onToolResults = (context, all) => {
      given.push(all)
      return driver.onToolResults(context, all)
    }
    const machine = new TurnMachine(configOf({ driver: { ...driver, onToolResults } }), { messages: [userMessage("hello")] })
    pollAll(machine)
    const replay = { opaque: "o" }
    respond(machine, asks(1, { type: "tool_call", callId: "g", toolName: "get_goal", inputJson: "{}", replay }, call("h", "get_goal")))
    expect(given).toEqual([[expect.objectContaining({ callId: "g", replay }), expect.not.objectContaining({ replay: expect.anything() })]])
  })
})

describe("accounting in a turn", () => {
  test("the result of a host's tool charges the usage so far; a refused update_goal and a cancelled call charge nothing", () => {
    const charged = (parts: readonly OutputPart[], ...given: readonly CompletedToolCall[]): number | undefined => {
      const machine = machineWith(commanded({ type: "set", objective: "ship" }))
      respond(machine, asks(1, ...parts))
      if (given.length > 0) respond(machine, results(2, ...given))
      expect(machine.state).toBe("waiting_checkpoint")
      expect(stateOf(machine).turn).toMatchObject({ reported: { inputTokens: 10, outputTokens: 2 } })
      return stateOf(machine).goal?.tokensUsed
    }
    expect(charged([call("a", "look")], completed("a"))).toBe(12)
    expect(charged([call("g", "update_goal", { status: "blocked" })])).toBe(0)
    expect(charged([call("a", "look")], withOutput("a", CANCELLED))).toBe(0)
    expect(charged([call("a", "look"), call("b", "look")], withOutput("a", CANCELLED), completed("b"))).toBe(12)
  })

  test("reaching the budget at a tool steers the model once", () => {
    const machine = machineWith(commanded({ type: "set", objective: "ship", tokenBudget: 10 }))
    respond(machine, asks(1, call("a", "look")))
    expect(stateOf(machine).goal).toMatchObject({ status: "active", tokensUsed: 0 })
    respond(machine, results(2, completed("a")))
    expect(stateOf(machine).goal).toMatchObject({ status: "budget_limited", tokensUsed: 12 })
    const delivery = goalDeliveries(machine.history, "after_work", 6000, { threadId: "t1" })
    expect(delivery.userMessages).toHaveLength(1)
    // A turn that ends anyway needs no message.
    expect(goalDeliveries(machine.history, "before_completion", 6000, { threadId: "t1" })).toEqual({})
    const request = requestOf(respond(machine, { ...delivers(3), delivery } as Response))
    expect(JSON.stringify(request.messages.at(-1))).toContain("budget_limited")
    expect(goalDeliveries(machine.history, "after_work", 6000, { threadId: "t1" })).toEqual({})
  })

  test("cost is computed with the host's prices", () => {
    const machine = machineWith(commanded({ type: "set", objective: "ship", costBudgetMicros: 100 }), {
      costMicros: ({ inputTokens, outputTokens }) => inputTokens * 3 + outputTokens * 10,
    })
    respond(machine, asks(1, call("a", "look")))
    respond(machine, results(2, completed("a")))
    expect(stateOf(machine).goal).toMatchObject({ costUsedMicros: 50, status: "active" })
    respond(machine, delivers(3))
    respond(machine, asks(4, call("b", "look")))
    respond(machine, results(5, completed("b")))
    expect(stateOf(machine).goal).toMatchObject({ costUsedMicros: 100, status: "budget_limited" })
  })

  test("a call that would exceed the remaining budget carries one warning in its request", () => {
    const machine = new TurnMachine(config({ estimate: () => 30 }), {
      messages: [userMessage("hello")],
      events: [...commanded({ type: "set", objective: "ship", tokenBudget: 40 })],
    })
    expect(JSON.stringify(requestOf(pollAll(machine)))).not.toContain("goal_context")
    respond(machine, asks(1, call("a", "look")))
    respond(machine, results(2, completed("a")))
    const warned = requestOf(respond(machine, delivers(3)))
    expect(JSON.stringify(warned)).toContain("28 of 40 tokens are left")
    respond(machine, asks(4, call("b", "look")))
    respond(machine, results(5, completed("b")))
    // The warning stays in the transcript, and there is no other one.
    const next = requestOf(respond(machine, delivers(6)))
    expect(JSON.stringify(next).split("<goal_context>")).toHaveLength(2)
    expect(requestPrefix(warned, next)).toEqual({ stable: true })
  })

  test("a command during a turn arrives as an event of a delivery", () => {
    const machine = machineWith(commanded({ type: "set", objective: "ship" }))
    respond(machine, asks(1, call("a", "look")))
    respond(machine, results(2, completed("a")))
    const event = goalInputEvent("t1", { type: "command", at: 7000, turnId: "turn-1", command: { type: "set", objective: "sink" } })
    respond(machine, delivers(3, { events: [event] }))
    expect(stateOf(machine).goal).toMatchObject({ objective: "sink", secondsUsed: 3 })
    for (const checkpoint of ["after_work", "before_completion"] as const) {
      const { userMessages } = goalDeliveries(machine.history, checkpoint, 7000, { threadId: "t1" })
      expect(userMessages?.map(({ parts }) => JSON.stringify(parts).includes("<untrusted_objective>\\nsink"))).toEqual([true])
    }
  })
})

describe("the laws", () => {
  test("hold with a goal running: replay, cuts, duplicates, refusals, order of tool results", () => {
    const script: readonly Response[] = [
      { ...asks(1, call("a", "look"), call("g", "update_goal", { status: "blocked" }), call("b", "look")), at: 6000 } as Response,
      results(2, completed("a"), completed("b")),
      delivers(3),
      asks(4, call("h", "get_goal")),
      delivers(5),
      { ...says(6, "done"), at: 9000 } as Response,
      delivers(7),
    ]
    const inputs = script.flatMap((response): readonly TurnInput[] => [{ type: "poll" }, { type: "respond", response }])
    const events = [...commanded({ type: "set", objective: "ship", tokenBudget: 20 })]
    const turn = expectTurn(config(), { messages: [userMessage("hello")], events }, [...inputs, { type: "poll" }])
    expect(turn.outcome).toMatchObject({ type: "finished" })
    expect(turn.cuts).toBeGreaterThan(10)
    const { state } = readGoal(turn.history, "t1")
    expect(state.goal).toMatchObject({ status: "budget_limited", tokensUsed: 24 })
    // Reading at once or record by record gives the same result.
    for (let length = 0; length <= turn.history.length; length += 1) {
      expect(readGoal(turn.history.slice(0, length), "t1")).toEqual(
        readGoal(JSON.parse(JSON.stringify(turn.history.slice(0, length))) as HistoryRecord[], "t1"),
      )
    }
  })
})

describe("between turns", () => {
  function runTurn(history: readonly HistoryRecord[], turnId: string, end: (machine: TurnMachine) => void): readonly HistoryRecord[] {
    const machine = machineWith(history, { turnId, origin: "continuation" })
    end(machine)
    const { outcome, events, usage } = machine
    if (outcome === undefined) throw new Error("The turn has not ended.")
    return [...events, ...endGoalTurn({ threadId: "t1", history: events }, { turnId, outcome, usage }, 6000).records]
  }

  test("input comes first, then the goal; brakes stop a model that calls no tools", () => {
    let history = commanded({ type: "set", objective: "ship" })
    expect(nextTurn({ threadId: "t1", history, queuedInput: true }, 5000)).toEqual({ type: "user_input" })
    let turns = 0
    while (nextTurn({ threadId: "t1", history }, 5000).type === "continue" && turns < 10) {
      turns += 1
      history = runTurn(history, `turn-${turns}`, (machine) => {
        respond(machine, says(1, `thought ${turns}`))
        respond(machine, delivers(2))
      })
    }
    expect(turns).toBe(3)
    expect(readGoal(history, "t1").state.goal).toMatchObject({ status: "paused", continuations: 3, tokensUsed: 36 })
    expect(nextTurn({ threadId: "t1", history }, 5000)).toMatchObject({ type: "rest", reason: expect.stringContaining("called no tool") as string })
    history = commanded({ type: "resume" }, history, 7000)
    expect(nextTurn({ threadId: "t1", history }, 7000).type).toBe("continue")
  })

  test("a cancelled turn pauses the goal, and its usage is charged", () => {
    const history = runTurn(commanded({ type: "set", objective: "ship" }), "turn-1", (machine) => {
      respond(machine, asks(1, call("a", "look")))
      machine.cancel()
    })
    expect(readGoal(history, "t1").state.goal).toMatchObject({ status: "paused", tokensUsed: 12 })
  })

  test("an answer that is cut off reports its usage in the turn, before the turn ends", () => {
    const half = { text: "I began", parts: [{ type: "text", text: "I began" }], usage: USAGE, terminalReason: "output_limit" } as const
    const machine = machineWith(commanded({ type: "set", objective: "ship" }))
    respond(machine, says(1, "I began", { terminalReason: "output_limit" }))
    expect(stateOf(machine).turn?.reported).toMatchObject({ inputTokens: 10, outputTokens: 2 })
    const cancelled = machineWith(commanded({ type: "set", objective: "ship" }))
    cancelled.cancel("Stop.", half)
    expect(stateOf(cancelled).turn?.reported).toEqual(USAGE)
    expect(cancelled.messages.at(-1)?.parts).toMatchObject([{ text: "I began" }, { type: "interrupted" }])
  })

  test("an answer that ends the turn without the driver is charged too", () => {
    const history = runTurn(commanded({ type: "set", objective: "ship" }), "turn-1", (machine) => {
      respond(machine, says(1, "too long", { terminalReason: "content_filter" }))
    })
    expect(readGoal(history, "t1").state).toMatchObject({ turn: null, goal: { status: "blocked", tokensUsed: 12 } })
  })

  test("a time to ask again is returned only while it is in the future", () => {
    let history = commanded({ type: "set", objective: "ship" })
    const machine = machineWith(history)
    machine.fail({ type: "error", message: "limit" })
    const { outcome, events, usage } = machine
    if (outcome === undefined) throw new Error("The turn has not ended.")
    const error = { kind: "usage_limit", message: "come back later", retryAt: 9000 } as const
    history = [...events, ...endGoalTurn({ threadId: "t1", history: events }, { turnId: "turn-1", outcome, usage, error }, 6000).records]
    expect(nextTurn({ threadId: "t1", history }, 6000)).toMatchObject({ type: "rest", notBefore: 9000 })
    expect(nextTurn({ threadId: "t1", history }, 9000)).not.toHaveProperty("notBefore")
  })

  test("the same brakes apply within one long turn", () => {
    const machine = machineWith(commanded({ type: "set", objective: "ship" }), { origin: "continuation" })
    let answers = 0
    for (let id = 1; !machine.done && answers < 10; id += 2) {
      answers += 1
      respond(machine, says(id, `thought ${answers}`))
      const delivery = goalDeliveries(machine.history, "before_completion", 6000, { threadId: "t1", continueInTurn: true })
      respond(machine, delivers(id + 1, delivery))
    }
    expect(answers).toBe(3)
    expect(stateOf(machine).goal).toMatchObject({ status: "active", continuations: 3, tokensUsed: 24 })
  })
})

test("deliveries are merged list by list, and empty ones merge to an empty one", () => {
  const note = (content: string): { role: "user"; content: string } => ({ role: "user", content })
  expect(mergeDeliveries({}, { messages: [] })).toEqual({})
  expect(mergeDeliveries({ messages: [note("a")], events: [1] }, { messages: [note("b")], transientMessages: [note("c")] }, { events: [2] })).toEqual(
    {
      messages: [note("a"), note("b")],
      transientMessages: [note("c")],
      events: [1, 2],
    },
  )
})
