import { describe, expect, test } from "vitest"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { codeDriver } from "../../../src/drivers/code.ts"
import { goalDeliveries, goalInputEvent, lostUsageRecord } from "../../../src/drivers/goal/deliveries.ts"
import { goalDriver } from "../../../src/drivers/goal/driver.ts"
import { readGoal } from "../../../src/drivers/goal/history.ts"
import { changeGoal, endGoalTurn, goalChanges, nextTurn } from "../../../src/drivers/goal/thread.ts"
import type { GoalInput, GoalOutput } from "../../../src/schemas/goal.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { completed, configOf, plain, pollAll, respond, results, userMessage } from "../../machine/support.ts"
import { breaks, LOOK, replies, TEN, ThreadHost, type World } from "./thread-host.ts"

function host(model: World["model"], more: Partial<World> = {}, options: ConstructorParameters<typeof ThreadHost>[1] = {}): ThreadHost {
  return new ThreadHost({ model, ...more }, options)
}

/** Replies in order; the last one repeats. */
function inOrder(...answers: readonly ReturnType<World["model"]>[]): World["model"] {
  return (calls) => answers[Math.min(calls, answers.length - 1)] as ReturnType<World["model"]>
}

function shownToModel(thread: ThreadHost, turn: number): readonly string[] {
  const effects = thread.turns[turn]?.effects ?? []
  return effects.flatMap((effect) => (effect.type === "llm_call" ? [JSON.stringify(effect.request.messages)] : []))
}

describe("a whole thread", () => {
  function work(): ThreadHost {
    const thread = host(
      inOrder(
        replies("", ["create_goal", { objective: "Ship it & rest", token_budget: 500 }]),
        replies("", "look", ["get_goal", {}]),
        replies("Half of it."),
        replies("", "look"),
        replies("", ["update_goal", { status: "complete" }]),
        replies("It is shipped."),
      ),
    )
    thread.says("Please ship it; that is your goal.")
    expect(thread.runs(9)).toEqual({ type: "rest", reason: "The goal is complete." })
    return thread
  }

  test("runs from the user's turn through a continuation to completion, with every token charged once", () => {
    const thread = work()
    expect(thread.turns).toHaveLength(2)
    // Without the call that created the goal, and without the one after its completion.
    expect(thread.goal).toMatchObject({ status: "complete", tokensUsed: 40, continuations: 1, objective: "Ship it & rest" })
    expect(thread.modelCalls).toBe(6)
    expect(shownToModel(thread, 1)[0]).toContain("Ship it &amp; rest")
    // The continuation is for the model only.
    expect(JSON.stringify(thread.history)).not.toContain("goal_context")
  })

  test("gives the same result when replayed from its responses, and from JSON", () => {
    const thread = work()
    for (const { config, start, responses, effects } of thread.turns) {
      const machine = new TurnMachine(config, plain(start))
      const again = [...pollAll(machine)]
      for (const response of plain(responses)) {
        machine.handle(response)
        again.push(...pollAll(machine))
      }
      expect(JSON.stringify(again)).toBe(JSON.stringify(effects))
    }
    expect(readGoal(plain(thread.history), "t1")).toEqual(readGoal(thread.history, "t1"))
  })

  test("derives the goal's changes and metrics from the records of each turn", () => {
    const thread = work()
    const changes = goalChanges(thread.history, "t1", null)
    const short = changes.map((output) =>
      output.type === "metric" ? `${output.name} ${output.value}` : output.type === "goal_updated" ? output.cause : output.type,
    )
    expect(short).toEqual([
      ...["create_goal", "goal.created 1"],
      ...["usage", "usage", "usage", "usage", "usage"],
      ...["update_goal", "goal.completed 1", "goal.token_count 40", expect.stringMatching(/^goal.duration_s /) as string],
    ])
    // Starting in the middle, with the goal at that position.
    const middle = 6
    const before = readGoal(thread.history.slice(0, middle), "t1").state.goal
    const rest = goalChanges(thread.history.slice(middle), "t1", before)
    expect([...goalChanges(thread.history.slice(0, middle), "t1", null), ...rest]).toEqual(changes)
  })
})

describe("with the code driver", () => {
  const world: World = {
    model: inOrder(replies("```js\nlook()\n```"), replies("```js\nsubmit(42)\n```"), replies("It was 42.")),
    code: (code) => (code.includes("submit") ? { terminalFinish: 42 } : { observations: ["seen"] }),
  }

  test("a run counts as a tool end: usage is written, the reached budget is reported, and the next turn does not start", () => {
    const thread = new ThreadHost(world, { inner: codeDriver() })
    thread.command({ type: "set", objective: "Find the number", tokenBudget: 10 })
    const machine = thread.says("Find it.")
    expect(machine.outcome).toEqual({ type: "finished", finish: { type: "submitted_value", value: 42 } })
    expect(shownToModel(thread, 0)[1]).toContain("budget_limited")
    expect(thread.goal).toMatchObject({ status: "budget_limited", tokensUsed: 20 })
    expect(thread.runs(1).reason).toMatch(/Raise the budget/)
    // A code driver offers no native tools.
    expect(thread.turns[0]?.effects.find((effect) => effect.type === "llm_call")).toMatchObject({ request: { tools: [], toolChoice: "none" } })
  })

  test("a budget reached by the submitting run does not cause another model call", () => {
    const submits: World = { ...world, model: inOrder(replies("```js\nsubmit(42)\n```")) }
    const thread = new ThreadHost(submits, { inner: codeDriver() })
    thread.command({ type: "set", objective: "Find the number", tokenBudget: 10 })
    thread.says("Find it.")
    expect(thread.modelCalls).toBe(1)
    expect(thread.goal).toMatchObject({ status: "budget_limited", tokensUsed: 10 })
  })

  test("a sandbox can offer the goal tools: previewed first, delivered afterwards", () => {
    let asked: GoalInput | undefined
    const answers: GoalOutput[] = []
    const thread = new ThreadHost(
      {
        model: inOrder(replies("```js\ndone()\n```"), replies("Done.")),
        code(_, machine) {
          asked = { type: "goal_tool_called", at: thread.at, turnId: "turn-0", callId: "x", toolName: "update_goal", args: { status: "complete" } }
          answers.push(...changeGoal({ threadId: "t1", history: machine.history }, asked).outputs)
          return { observations: ["noted"] }
        },
        delivers: (_, before) => (before === 0 && asked !== undefined ? { events: [goalInputEvent("t1", asked)] } : {}),
      },
      { inner: codeDriver() },
    )
    thread.command({ type: "set", objective: "Find the number" })
    thread.says("Find it.")
    expect(answers.at(-1)).toMatchObject({ type: "tool_result", output: { status: "success", value: { goal: { status: "complete" } } } })
    expect(thread.goal).toMatchObject({ status: "complete", tokensUsed: 10 })
    expect(thread.modelCalls).toBe(2)
  })
})

describe("a model call without an answer is charged too", () => {
  test("a failed call reports its usage in the failure", () => {
    const thread = host(() => breaks(true, { usage: TEN }))
    thread.command({ type: "set", objective: "Ship it" })
    thread.says("Go.")
    expect(thread.goal).toMatchObject({ status: "active", tokensUsed: 10 })
    expect(readGoal(thread.history, "t1").state.memory.transientErrors).toBe(1)
  })

  test("the host reports the usage of a lost call when the call is made again", () => {
    const thread = host(inOrder(replies("Ship!")))
    thread.command({ type: "set", objective: "Ship it" })
    const driver = goalDriver(chatDriver(), { threadId: "t1", turnId: "turn-x", startedAt: thread.at })
    const config = configOf({ driver, tools: [LOOK] })
    const first = new TurnMachine(config, { messages: [userMessage("Go.")], events: [...thread.history] })
    pollAll(first)
    // The process dies here during the call; another one resumes the turn.
    const machine = TurnMachine.restore(config, JSON.stringify(first.checkpoint()))
    const lost = lostUsageRecord("t1", "turn-x", { inputTokens: 100, cachedInputTokens: 5, outputTokens: 7, reasoningTokens: 0 })
    const ofAnother = lostUsageRecord("t1", "turn-y", { inputTokens: 9999, cachedInputTokens: 5, outputTokens: 7, reasoningTokens: 0 })
    machine.apply([{ type: "append_events", events: [lost, ofAnother] }])
    pollAll(machine)
    respond(machine, { type: "llm_complete", id: 1, result: replies("", "look") })
    respond(machine, results(2, completed("c0")))
    expect(readGoal(machine.history, "t1").state.goal?.tokensUsed).toBe(10 + 107)
    machine.cancel()
    const { outcome, events, usage } = machine
    if (outcome === undefined) throw new Error("The turn has not ended.")
    const ended = endGoalTurn({ threadId: "t1", history: events }, { turnId: "turn-x", outcome, usage }, thread.at)
    expect(ended.state.goal?.tokensUsed).toBe(10 + 107)
    // Reporting an end twice has no effect.
    const history = [...events, ...ended.records]
    expect(endGoalTurn({ threadId: "t1", history }, { turnId: "turn-x", outcome, usage }, thread.at).records).toEqual([])
  })

  test("lost usage of the last call of a turn is charged at the end of the turn", () => {
    const thread = host(inOrder(replies("Ship!")))
    thread.command({ type: "set", objective: "Ship it" })
    const config = configOf({ driver: goalDriver(chatDriver(), { threadId: "t1", turnId: "turn-x", startedAt: thread.at }) })
    const machine = new TurnMachine(config, { messages: [userMessage("Go.")], events: [...thread.history] })
    pollAll(machine)
    machine.apply([{ type: "append_events", events: [lostUsageRecord("t1", "turn-x", TEN)] }])
    machine.cancel()
    const { outcome, events, usage } = machine
    if (outcome === undefined) throw new Error("The turn has not ended.")
    const ended = endGoalTurn({ threadId: "t1", history: events }, { turnId: "turn-x", outcome, usage }, thread.at)
    expect(ended.state.goal?.tokensUsed).toBe(10)
  })

  test("a turn abandoned with its process is charged the usage that its driver saw", () => {
    const thread = host(inOrder(replies("", "look"), replies("On it.")))
    thread.command({ type: "set", objective: "Ship it" })
    const machine = thread.says("Go.")
    const cut = machine.history.findIndex((record) => JSON.stringify(record).includes("tools")) + 1
    const history = machine.history.slice(0, cut)
    const outcome = { type: "stopped", stop: { type: "cancelled" } } as const
    const ended = endGoalTurn({ threadId: "t1", history }, { turnId: "turn-0", outcome }, thread.at)
    expect(ended.state.goal).toMatchObject({ status: "paused", tokensUsed: 10 })
  })
})

describe("commands during a turn", () => {
  test("are delivered immediately with their message for the model, which is not repeated", () => {
    const commands = [
      { at: 1_002_500, command: { type: "set", objective: "Sink it" } },
      { at: 1_002_501, command: { type: "set", tokenBudget: -1 } },
    ] as const
    const world: World = {
      model: inOrder(replies("", "look"), replies("", "look"), replies("Sunk.")),
      delivers: (checkpoint, asked) =>
        asked === 0 ? goalDeliveries(live.turns[0]?.machine.history ?? [], checkpoint, live.at, { threadId: "t1", commands }) : {},
    }
    const live = new ThreadHost(world)
    live.command({ type: "set", objective: "Ship it" })
    live.says("Go.")
    const requests = shownToModel(live, 0)
    expect(requests.map((text) => text.split("untrusted_objective>\\nSink it").length - 1)).toEqual([0, 1, 1])
    expect(live.goal.objective).toBe("Sink it")
  })

  test("a pause when the turn would end lets it end", () => {
    const world: World = {
      model: inOrder(replies("Well.")),
      delivers: (checkpoint) =>
        goalDeliveries(live.turns[0]?.machine.history ?? [], checkpoint, live.at, {
          threadId: "t1",
          commands: [{ at: 1_500_000, command: { type: "pause" } }],
          continueInTurn: true,
        }),
    }
    const live = new ThreadHost(world)
    live.command({ type: "set", objective: "Ship it" })
    live.says("Go.")
    expect(live.modelCalls).toBe(1)
    expect(live.goal.status).toBe("paused")
    expect(live.runs(1).reason).toMatch(/paused/)
  })

  test("waiting input comes before a continuation within the turn", () => {
    const thread = host(() => replies("Well."), {}, { deliveries: { continueInTurn: true, queuedInput: true } })
    thread.command({ type: "set", objective: "Ship it" })
    thread.says("Go.")
    expect(thread.modelCalls).toBe(1)
    expect(nextTurn({ threadId: "t1", history: thread.history, queuedInput: true }, thread.at)).toEqual({ type: "user_input" })
  })

  test("a command that can no longer be carried out is recorded too, so that it does not take effect later", () => {
    // Completed before the pause arrives, and reactivated by a later command.
    const commands = [
      { at: 1_002_500, command: { type: "pause" } },
      { at: 1_002_501, command: { type: "resume" } },
    ] as const
    const deliveries = {
      get commands() {
        const delivered = JSON.stringify(live.turns[0]?.effects)
        return commands.filter(({ command }) => !delivered.includes(`"command":{"type":"${command.type}"}`))
      },
    }
    const model = inOrder(replies("", ["update_goal", { status: "complete" }], "look"), replies("", "look"), replies("On it."))
    const live: ThreadHost = host(model, {}, { deliveries })
    live.command({ type: "set", objective: "Ship it" })
    live.says("Go.")
    expect(live.modelCalls).toBe(3)
    expect(live.goal.status).toBe("active")
  })

  test("a budget raised just after the old one was reached does not tell the model to stop", () => {
    let asked = 0
    const deliveries = {
      get commands() {
        asked += 1
        return asked === 1 ? ([{ at: 1_002_500, command: { type: "resume", tokenBudget: 25 } }] as const) : []
      },
    }
    const live = host(inOrder(replies("", "look"), replies("", "look"), replies("", "look"), replies("Done.")), {}, { deliveries })
    live.command({ type: "set", objective: "Ship it", tokenBudget: 10 })
    live.says("Go.")
    // The message names only the second budget, once that is used up as well.
    expect(shownToModel(live, 0).map((text) => text.split("has used up a budget").length - 1)).toEqual([0, 0, 0, 1])
    expect(shownToModel(live, 0).at(-1)).toContain("Token budget: 25")
  })
})

test("tool calls of another turn do not count for a continuation", () => {
  const thread = host((calls) => (calls === 0 ? replies("", "look") : replies(`Thought ${calls}.`)))
  thread.command({ type: "set", objective: "Ship it" })
  thread.says("Go.")
  expect(thread.runs(10).reason).toMatch(/3 continuations in a row called no tool/)
  expect(thread.turns).toHaveLength(4)
})

describe("the warning before a call", () => {
  test("is sent once for a budget, and again after the budget is raised", () => {
    const thread = host((calls) => (calls % 3 === 2 ? replies(`Part ${calls}.`) : replies("", "look")), {}, { driver: { estimate: () => 30 } })
    thread.command({ type: "set", objective: "Ship it", tokenBudget: 45 })
    thread.says("Go.")
    // A warning stays in the thread, so each request has those of the requests before it.
    const hints = (turn: number): readonly number[] => shownToModel(thread, turn).map((text) => text.split("this call alone").length - 1)
    expect(hints(0)).toEqual([0, 0, 1])
    thread.command({ type: "set", tokenBudget: 75 })
    thread.says("Go on.")
    expect(hints(1)).toEqual([1, 1, 2])
    expect(thread.goal).toMatchObject({ status: "active", tokensUsed: 60 })
  })
})

describe("NaN from a host's own functions", () => {
  test("as a price throws immediately: an unknown cost would never reach its budget", () => {
    const thread = host(() => replies("Hm."), {}, { driver: { costMicros: () => Number.NaN } })
    thread.command({ type: "set", objective: "Ship it", costBudgetMicros: 10 })
    expect(() => thread.says("Go.")).toThrow(new TypeError("costMicros returned NaN. It must return a number of micro-units."))
  })

  test("as an estimate is ignored", () => {
    const thread = host(() => replies("Hm."), {}, { driver: { estimate: () => Number.NaN } })
    thread.command({ type: "set", objective: "Ship it", tokenBudget: 100 })
    thread.says("Go.")
    expect(shownToModel(thread, 0)[0]).not.toContain("this call alone")
  })
})

test("a host tool with the name of a goal tool is listed once, and never reaches the host", () => {
  const own = { name: "get_goal", description: "The host's own.", inputSchema: {} }
  const thread = host(inOrder(replies("", "get_goal"), replies("Seen.")), {}, { config: { tools: [own] } })
  thread.says("Go.")
  const [call] = thread.turns[0]?.effects.filter((effect) => effect.type === "llm_call") ?? []
  expect(call?.request.tools.map(({ name }) => name)).toEqual(["get_goal", "create_goal", "update_goal"])
  expect(thread.toolCalls).toBe(0)
})
