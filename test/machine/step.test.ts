/** The pure functions of a turn, and what a command takes from outside, with and without validation. */
import { describe, expect, test } from "vitest"
import { wireValidation } from "../../src/checks/validation.ts"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import { advance, begin, command, type HostCommand, handle } from "../../src/machine/step.ts"
import { TurnMachine as BareTurnMachine } from "../../src/machine/turn-machine.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { Effect } from "../../src/schemas/effect.ts"
import type { LlmResponse } from "../../src/schemas/llm.ts"
import type { Response } from "../../src/schemas/response.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { batchOf } from "./held-support.ts"
import {
  completed,
  configOf,
  delivers,
  driverOf,
  effectNames,
  pending,
  pollAll,
  REQUEST,
  refusal,
  results,
  says,
  startedWith,
  userMessage,
} from "./support.ts"

const CLASSES = [
  ["with validation", TurnMachine],
  ["without", BareTurnMachine],
] as const
const LLM: DriverAction = { type: "start_llm", request: REQUEST }
const EXEC: DriverAction = { type: "start_exec", code: "1", driverState: null }
const NOTE: DriverAction = { type: "append_events", events: [{ type: "protocol", event: "note" }] }
const FINISH: DriverAction = { type: "finish", outcome: { type: "agent_frame_switch", frameId: "f" } }
const USAGE = { inputTokens: 3, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }
const PARTIAL: LlmResponse = { text: "Half", parts: [{ type: "text", text: "Half" }], usage: USAGE, terminalReason: "stop" }

describe("the pure functions", () => {
  const config = { ...configOf({ driver: driverOf() }), validation: wireValidation }

  test("say that they accepted an input, or that it is stale; a stale one has no effects", () => {
    const begun = begin(config, { messages: [userMessage("hello")] })
    expect(begun).toMatchObject({ status: "accepted", effects: [] })
    const waiting = advance(config, begun.turn)
    expect([waiting.status, ...effectNames(waiting.effects)]).toEqual(["accepted", "emit llm_request", "llm_call 1"])
    expect(advance(config, waiting.turn)).toStrictEqual({ turn: waiting.turn, effects: [], status: "accepted" })
    const ended = handle(config, waiting.turn, says(1, "Hi."))
    expect(ended.status).toBe("accepted")
    expect(handle(config, ended.turn, says(1, "Hi."))).toStrictEqual({ turn: ended.turn, effects: [], status: "stale" })
    expect(command(config, ended.turn, { type: "cancel" })).toStrictEqual({ turn: ended.turn, effects: [], status: "accepted" })
  })

  test("a report that is repeated is stale and has no effects", () => {
    const tools = configOf({ driver: driverOf({ prepareIteration: () => [batchOf(["a"], [])] }) })
    const { turn } = advance(tools, begin(tools, { messages: [] }).turn)
    const report: Response = { type: "tool_pending", id: 1, callId: "a", token: "t" }
    const once = handle(tools, turn, report)
    expect(once.status).toBe("accepted")
    expect(handle(tools, once.turn, report)).toStrictEqual({ turn: once.turn, effects: [], status: "stale" })
  })

  test("check a response that is not valid, where there is a validation", () => {
    const { turn } = advance(config, begin(config, { messages: [] }).turn)
    const response = { ...says(1, "Hi."), result: { ok: true } } as never
    expect(refusal(() => handle(config, turn, response)).code).toBe("invalid_response")
  })
})

describe.each(CLASSES)("what a command brings of the work that it stops, %s", (_class, Machine) => {
  const machineWith = (actions: readonly DriverAction[], callbacks: Partial<ProtocolDriver> = {}): BareTurnMachine => {
    const machine = new Machine(configOf({ driver: driverOf({ prepareIteration: () => actions, ...callbacks }) }), { messages: [] })
    pollAll(machine)
    return machine
  }
  const commanded = (machine: BareTurnMachine, hostCommand: HostCommand): readonly Effect[] => {
    machine.command(hostCommand)
    return pollAll(machine)
  }
  const reported = (effects: readonly Effect[], type: string): readonly unknown[] =>
    effects.flatMap((effect) => (effect.type === "emit" && effect.event.type === type ? [effect.event] : []))

  test("a partial answer counts, and a driver that stores nothing of it is no error", () => {
    const effects = commanded(machineWith([LLM]), { type: "cancel", partial: PARTIAL })
    expect(effectNames(effects)).toEqual(["cancel_llm 1", "emit token_usage", "emit message", "emit turn_outcome", "emit done", "done"])
    expect(reported(effects, "token_usage")).toEqual([{ type: "token_usage", iteration: 0, usage: USAGE, cumulative: USAGE }])
  })

  test("the result of code, for a driver that does not ask for results", () => {
    const answer: Response = { type: "exec_result", id: 1, result: { ok: false, error: "e" } }
    expect(reported(commanded(machineWith([EXEC]), { type: "cancel", answer }), "error")).toEqual([])
  })

  test.each<readonly [string, Response, string]>([
    ["to the batch", results(1, completed("a", "kept")), "kept"],
    ["to another effect", results(2, completed("a", "of another")), "[Tool execution cancelled]\nThe turn was cancelled."],
    ["of another type", delivers(1), "[Tool execution cancelled]\nThe turn was cancelled."],
  ])("an answer %s", (_what, answer, text) => {
    const machine = machineWith([batchOf(["a"], [])])
    commanded(machine, { type: "cancel", answer })
    expect(machine.messages.at(-1)?.parts).toMatchObject([{ type: "tool_result", callId: "a", text }])
  })

  test("messages to continue with, and no time", () => {
    const machine = machineWith([LLM])
    commanded(machine, { type: "redirect", messages: [userMessage("Stop.", "u2")] })
    expect(machine.messages).toEqual([userMessage("Stop.", "u2")])
    expect(machine.checkpoint().at).toBeUndefined()
    commanded(machine, { type: "redirect", messages: [userMessage("Now.", "u3")], at: 5 })
    expect(machine.checkpoint().at).toBe(5)
  })

  test("calls that did not run are shown as cancelled, by the host and not by their tool", () => {
    const effects = commanded(machineWith([batchOf(["a"], [])]), { type: "redirect", messages: [userMessage("Stop.", "u2")] })
    const output = { status: "cancelled", message: "The user redirected the turn before this was done.", source: "cancellation" }
    expect(reported(effects, "tool_call")).toMatchObject([{ callId: "a", output, durationMs: 0 }])
  })

  test("no messages to continue with are refused", () => {
    const machine = machineWith([LLM])
    for (const messages of [[], undefined as never])
      expect(refusal(() => machine.command({ type: "redirect", messages })).code).toBe("invalid_response")
  })

  test("actions of which one ends the turn stop its work", () => {
    expect(effectNames(commanded(machineWith([LLM]), { type: "apply", actions: [NOTE, FINISH] }))).toEqual([
      "cancel_llm 1",
      "progress",
      "emit turn_outcome",
      "emit done",
      "done",
    ])
  })
})

test("keys that the wire does not know do not enter the turn with a command", () => {
  const usage = { ...USAGE, more: 1 } as never
  const stopped = (actions: readonly DriverAction[], hostCommand: HostCommand): string => {
    const machine = startedWith(actions)
    machine.command(hostCommand)
    return JSON.stringify([pollAll(machine), machine.checkpoint()])
  }
  const output = { status: "success", value: "kept", more: 1 } as never
  for (const text of [
    stopped([LLM], { type: "cancel", partial: { ...PARTIAL, usage } }),
    stopped([batchOf(["a"], [])], { type: "cancel", answer: results(1, completed("a", "kept", { output })) }),
    stopped([LLM], { type: "redirect", messages: [{ ...userMessage("Stop.", "u2"), more: 1 } as never] }),
    stopped([LLM], { type: "fail", event: { type: "message", text: "Stop.", kind: "note", more: 1 } as never }),
    stopped([LLM], { type: "finish", outcome: { type: "agent_frame_switch", frameId: "f", more: 1 } as never }),
    stopped([LLM], { type: "apply", actions: [{ type: "emit", event: { type: "message", text: "Hi.", kind: "note", more: 1 } as never }] }),
  ])
    expect(text).not.toContain("more")
})

test("results that a driver gave itself are stored like any other, if it fails when it is asked what follows", () => {
  const machine = startedWith([{ type: "start_tools", calls: [pending("a")], settled: [completed("a")] }], {
    onToolResults: () => {
      throw new Error("boom")
    },
  })
  expect(machine.messages.at(-1)).toMatchObject({ id: "m_0_tools_1", parts: [{ type: "tool_result", callId: "a", text: "result of a" }] })
})

describe("the machine as its host sees it", () => {
  const tools = [{ name: "look", description: "", inputSchema: {} }]

  test.each(CLASSES)("a turn without effects that were saved emits what it waits for, %s", (_class, Machine) => {
    const config = configOf({ driver: driverOf() })
    const machine = new Machine(config, { messages: [] })
    pollAll(machine)
    expect(effectNames(pollAll(Machine.of(config, machine.turn)))).toEqual(["llm_call 1"])
  })

  test("the turn is frozen, with all its groups", () => {
    const machine = new TurnMachine(configOf(), { messages: [] })
    pollAll(machine)
    const { turn } = machine
    const { position, record, surface } = turn
    for (const group of [turn, position, position.state, position.usage, record, surface, machine.usage]) expect(Object.isFrozen(group)).toBe(true)
  })

  test("whether it may hold calls, and which tools and history it has", () => {
    const chat = new TurnMachine(configOf({ tools, driver: driverOf() }), { messages: [], events: [{ type: "protocol", event: "old" }] })
    expect(chat.mayHold).toBe(false)
    expect(new TurnMachine(configOf({ driver: driverOf({ onToolDecisions: () => [] }) }), { messages: [] }).mayHold).toBe(true)
    expect(chat.configuredTools).toEqual(tools)
    expect(new TurnMachine(configOf({ tools, syncExecutionSurface: true }), { messages: [] }).configuredTools).toBeUndefined()
    expect(chat.history).toEqual([{ type: "protocol", event: "old" }])
    expect(chat.events).toBe(chat.history)
    expect([chat.outcome, chat.done, chat.model]).toEqual([undefined, false, "test-model"])
  })

  test("the driver is asked for the next iteration when everything before it was polled, and not earlier", () => {
    let asked = 0
    const machine = startedWith([LLM], {
      prepareIteration: () => {
        asked += 1
        return [LLM]
      },
    })
    machine.command({ type: "redirect", messages: [userMessage("Stop.")] })
    machine.poll()
    expect([asked, machine.state]).toEqual([1, "prepare_iteration"])
    pollAll(machine)
    expect([asked, machine.state]).toEqual([2, "waiting_llm"])
  })

  test("what follows a batch is still emitted, where a call was released before the batch was polled", () => {
    const driver = driverOf({
      prepareIteration: () => [{ type: "emit", event: { type: "text_delta", content: "Hi." } }, batchOf(["a"])],
      onToolDecisions: () => [{ type: "release_calls", requestIds: ["1:a"] }],
    })
    const machine = new TurnMachine(configOf({ driver }), { messages: [] })
    machine.poll()
    machine.handle({ type: "tool_decisions", id: 1, decisions: [{ requestId: "1:a", digest: "digest of a", decision: "approve" }] })
    expect(effectNames(pollAll(machine))).toEqual(["emit approval_requested", "tool_calls 1", "emit approval_decided"])
  })
})
