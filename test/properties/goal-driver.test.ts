import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import { goalDeliveries } from "../../src/drivers/goal/deliveries.ts"
import { goalDriver } from "../../src/drivers/goal/driver.ts"
import { foldGoal } from "../../src/drivers/goal/goal.ts"
import { goalRecord, readGoal } from "../../src/drivers/goal/history.ts"
import { changeGoal, endGoalTurn, nextTurn } from "../../src/drivers/goal/thread.ts"
import { GOAL_TOOLS } from "../../src/drivers/goal/tools.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { GoalCommand, GoalEvent } from "../../src/schemas/goal.ts"
import type { OutputPart } from "../../src/schemas/llm.ts"
import type { HistoryRecord } from "../../src/schemas/message.ts"
import { callbacks, configData, moves, script, start } from "../../src/testing/arbitraries.ts"
import { expectTurn } from "../../src/testing/expect-turn.ts"
import { scriptedDriver } from "../../src/testing/scripted-driver.ts"
import { scriptedHost } from "../../src/testing/scripted-host.ts"
import { give, type TurnInput } from "../../src/testing/turn-input.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { configOf, pollAll, userMessage } from "../machine/support.ts"
import { check, SLOW } from "./check.ts"

const OPTIONS = { threadId: "t1", turnId: "turn-1", startedAt: 0 }
const NO_PROJECTOR: TurnConfig["projector"] = () => {
  throw new Error("A scripted driver's requests are data.")
}

/** The history of a thread with a goal. */
function withGoal(command: GoalCommand): readonly HistoryRecord[] {
  return changeGoal({ threadId: "t1", history: [] }, { type: "command", at: 0, command }).records
}

/** What the goal driver adds without a goal: its name, and its tools in a request. */
function withoutTraces(effects: unknown): string {
  const tools = JSON.stringify(GOAL_TOOLS).slice(1, -1)
  return JSON.stringify(effects).replaceAll(`,${tools}`, "").replaceAll(tools, "").replaceAll("goal(scripted)", "scripted")
}

describe("the goal driver around any driver", () => {
  test("without a goal, effects are the inner driver's byte for byte", SLOW, () => {
    check(
      150,
      fc.property(configData, start, script, callbacks, moves, (data, begin, answers, optional, played) => {
        const driver = scriptedDriver(answers, { callbacks: optional })
        const bare = { ...data, driver, projector: NO_PROJECTOR }
        const inputs = scriptedHost(played).play(bare, begin)
        const run = (config: TurnConfig): string => {
          const machine = new TurnMachine(config, begin)
          return withoutTraces(inputs.map((input) => outcomeOf(machine, input)))
        }
        expect(run({ ...bare, driver: goalDriver(driver, OPTIONS) })).toBe(run(bare))
      }),
    )
  })

  test("the laws of a turn hold with a goal", SLOW, () => {
    check(
      40,
      fc.property(
        configData,
        start,
        script,
        callbacks,
        moves,
        fc.integer({ min: 1, max: 50 }),
        (data, begin, answers, optional, played, tokenBudget) => {
          const driver = goalDriver(scriptedDriver(answers, { callbacks: optional }), OPTIONS)
          const config = { ...data, driver, projector: NO_PROJECTOR }
          const goal = withGoal({ type: "set", objective: "any", tokenBudget })
          const first = { ...begin, events: [...(begin.events ?? []), ...goal] }
          expectTurn(config, first, scriptedHost(played).play(config, first), { mostCuts: 40 })
        },
      ),
    )
  })
})

/** The result of an input, and all later effects. */
function outcomeOf(machine: TurnMachine, input: TurnInput): unknown {
  try {
    switch (input.type) {
      case "poll":
        return pollAll(machine)
      case "respond":
        return machine.handle(input.response)
      case "cancel":
        return machine.cancel(input.reason)
      case "fail":
        return machine.fail(input.event)
      case "finish":
        return machine.finish(input.outcome)
      case "apply":
        return machine.apply(input.actions)
      case "redirect":
        return give(machine, input)
    }
  } catch (error) {
    return (error as { code?: unknown }).code
  }
}

const reply = fc.oneof(
  { weight: 3, arbitrary: fc.constant("talk" as const) },
  { weight: 3, arbitrary: fc.constant("look" as const) },
  { weight: 1, arbitrary: fc.constantFrom("get_goal", "create_goal", "complete", "blocked", "mixed") },
  { weight: 1, arbitrary: fc.constantFrom("busy", "broken", "cut_off", "cancel") },
)
type Reply = typeof reply extends fc.Arbitrary<infer R> ? R : never

const between = fc.constantFrom<GoalCommand | "nothing" | "load">(
  "nothing",
  "nothing",
  "nothing",
  "load",
  { type: "resume", tokenBudget: 200 },
  { type: "start", objective: "another", tokenBudget: 30 },
  { type: "set", objective: "edited" },
  { type: "pause" },
  { type: "clear" },
)

const CALLS: { readonly [Key in Reply]?: readonly (readonly [string, object])[] } = {
  look: [["look", {}]],
  get_goal: [["get_goal", {}]],
  create_goal: [["create_goal", { objective: "made", token_budget: 40 }]],
  complete: [["update_goal", { status: "complete" }]],
  blocked: [["update_goal", { status: "blocked" }]],
  mixed: [
    ["look", {}],
    ["update_goal", { status: "complete" }],
    ["look", {}],
    ["create_goal", { objective: "next" }],
  ],
}

describe("threads of turns, for any model and any commands", () => {
  test(
    "used tokens never decrease, no token is charged twice, the fold equals the state at every cut, and every continuation is allowed",
    SLOW,
    () => {
      const turns = fc.array(fc.tuple(fc.array(reply, { minLength: 1, maxLength: 5 }), between, fc.boolean(), fc.boolean()), { maxLength: 8 })
      check(
        60,
        fc.property(turns, (played) => {
          let history: readonly HistoryRecord[] = withGoal({ type: "set", objective: "first", tokenBudget: 60 })
          let at = 0
          let spent = 0
          let mode: "default" | "plan" = "default"
          const charged = new Map<string, number>()
          played.forEach(([replies, command, plans, delivering], index) => {
            mode = plans && index % 2 === 1 ? "plan" : "default"
            const turnId = `turn-${index}`
            const driver = goalDriver(chatDriver(), { threadId: "t1", turnId, startedAt: at, mode })
            const config = configOf({ driver, tools: [{ name: "look", description: "", inputSchema: {} }] })
            const machine = new TurnMachine(config, { messages: [userMessage("go", `u${index}`)], events: [...history], iterationOffset: index * 20 })
            let calls = 0
            for (let steps = 0; steps < 60 && !machine.done; steps += 1) {
              pollAll(machine)
              at += 700
              const { outstanding } = machine
              if (outstanding?.type === "llm_call") {
                const how = replies[Math.min(calls, replies.length)] ?? "talk"
                calls += 1
                if (how === "cancel") machine.cancel()
                else {
                  const usage = { inputTokens: 5 + calls, cachedInputTokens: 50, outputTokens: index, reasoningTokens: 0 }
                  spent += usage.inputTokens + usage.outputTokens
                  machine.handle({ type: "llm_complete", id: outstanding.id, at, result: resultOf(how, usage) })
                }
              } else if (outstanding?.type === "tool_calls") {
                const results = outstanding.calls.map((call) => ({ ...call, output: { status: "success", value: 1 }, durationMs: 1 }) as const)
                machine.handle({ type: "tool_results", id: outstanding.id, at, results })
              } else if (outstanding?.type === "checkpoint") {
                const { checkpoint } = outstanding
                const delivery = delivering ? goalDeliveries(machine.history, checkpoint, at, { threadId: "t1" }) : {}
                machine.handle({ type: "checkpoint_delivery", id: outstanding.id, at, delivery })
              }
            }
            const { outcome, events, usage } = machine
            if (outcome === undefined) throw new Error("The turn has not ended.")
            history = [...events, ...endGoalTurn({ threadId: "t1", history: events }, { turnId, outcome, usage }, at).records]
            if (command === "load") history = [...history, ...changeGoal({ threadId: "t1", history }, { type: "thread_resumed", at, mode }).records]
            else if (command !== "nothing")
              history = [...history, ...changeGoal({ threadId: "t1", history }, { type: "command", at, command }).records]

            const { goal } = readGoal(history, "t1").state
            const next = nextTurn({ threadId: "t1", history, mode }, at)
            if (goal?.status !== "active" || mode === "plan") expect(next.type).toBe("rest")
            if (next.type === "rest") expect(next.reason).toMatch(/\w/)
            expect(nextTurn({ threadId: "t1", history, mode, queuedInput: true }, at)).toEqual({ type: "user_input" })
          })

          const goalEvents: GoalEvent[] = []
          for (let length = 1; length <= history.length; length += 1) {
            const record = goalRecord(history[length - 1], "t1")
            if (record?.type !== "goal") continue
            goalEvents.push(record)
            const { goal, memory } = readGoal(history.slice(0, length), "t1").state
            expect({ goal, memory }).toEqual({ goal: record.goal, memory: record.memory })
            expect(foldGoal("t1", goalEvents)).toMatchObject({ goal, memory })
            if (goal === null) continue
            expect(goal.tokensUsed).toBeGreaterThanOrEqual(charged.get(goal.goalId) ?? 0)
            charged.set(goal.goalId, goal.tokensUsed)
            if (goal.status === "active" && goal.tokenBudget !== null) expect(goal.tokensUsed).toBeLessThan(goal.tokenBudget)
          }
          const sum = Array.from(charged.values()).reduce((total, tokens) => total + tokens, 0)
          expect(sum).toBeLessThanOrEqual(spent)
          const untouched = played.every(
            ([replies, command, plans]) => !plans && command === "nothing" && replies.every((how) => how === "talk" || how === "look"),
          )
          if (untouched) expect(sum).toBe(spent)
        }),
      )
    },
  )
})

type Result = Extract<Parameters<TurnMachine["handle"]>[0], { type: "llm_complete" }>["result"]
type Usage = Extract<Result, { ok: true }>["response"]["usage"]

function resultOf(how: Reply, usage: Usage): Result {
  if (how === "busy" || how === "broken") {
    return { ok: false, error: { message: how, retryable: how === "busy", terminalReason: "provider_error", usage } }
  }
  const parts = (CALLS[how] ?? []).map(([toolName, args], index): OutputPart => {
    return { type: "tool_call", callId: `c${index}`, toolName, inputJson: JSON.stringify(args) }
  })
  const terminalReason = how === "cut_off" ? "output_limit" : parts.length > 0 ? "tool_use" : "stop"
  return { ok: true, response: { text: parts.length > 0 ? "" : how, parts, usage, terminalReason } }
}

test("the goal driver does not read a projection, so the cost of a request depends only on its new messages", () => {
  // The chat driver reads the list of a projector that is not of this package once, to pair its calls and results.
  expect(readsOf(goalDriver(chatDriver(), OPTIONS))).toBe(readsOf(chatDriver()))
})

/** How often the messages of a projection are read in a turn of 20 iterations. */
function readsOf(driver: ProtocolDriver): number {
  let read = 0
  const projector: TurnConfig["projector"] = (input) => {
    const request = chatProjector(input)
    const { model, attachments, tools, toolChoice, generation } = request
    return Object.defineProperty({ model, attachments, tools, toolChoice, generation }, "messages", {
      enumerable: true,
      get() {
        read += 1
        return request.messages
      },
    }) as typeof request
  }
  const events = [...withGoal({ type: "set", objective: "long", tokenBudget: 1_000_000 })]
  const machine = new TurnMachine(configOf({ driver, projector }), { messages: [userMessage("go")], events })
  for (let effect = machine.poll(); effect !== undefined && machine.iteration < 20; effect = machine.poll()) {
    if (effect.type === "llm_call")
      machine.handle({
        type: "llm_complete",
        id: effect.id,
        result: resultOf("look", { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }),
      })
    if (effect.type === "tool_calls") {
      machine.handle({
        type: "tool_results",
        id: effect.id,
        results: effect.calls.map((call) => ({ ...call, output: { status: "success", value: 1 }, durationMs: 1 })),
      })
    }
    if (effect.type === "checkpoint") machine.handle({ type: "checkpoint_delivery", id: effect.id, delivery: {} })
  }
  expect(machine.iteration).toBe(20)
  return read
}
