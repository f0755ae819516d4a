/** What single actions of a driver do, where no story of a turn is about them. */
import { describe, expect, test } from "vitest"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { Effect } from "../../src/schemas/effect.ts"
import type { Message } from "../../src/schemas/message.ts"
import type { ToolSpec } from "../../src/schemas/tool.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { configOf, driverOf, effectNames, pollAll, REQUEST, respond, says, userMessage } from "./support.ts"

const LLM: DriverAction = { type: "start_llm", request: REQUEST }
const FINISH: DriverAction = { type: "finish", outcome: { type: "agent_frame_switch", frameId: "f" } }
const NOTE: DriverAction = { type: "append_events", events: [{ type: "protocol", event: "note" }] }

function machineOf(callbacks: Partial<ProtocolDriver>, changes: Parameters<typeof configOf>[0] = {}): TurnMachine {
  return new TurnMachine(configOf({ ...changes, driver: driverOf(callbacks) }), { messages: [userMessage("hello")] })
}

test("append_events without events appends nothing, and there is nothing to report", () => {
  const machine = machineOf({ prepareIteration: () => [{ type: "append_events", events: [] }, LLM] })
  expect(effectNames(pollAll(machine))).toEqual(["emit llm_request", "llm_call 1"])
  expect(effectNames(respond(machine, says(1, "Hi.")))).toEqual(["emit token_usage", "emit turn_outcome", "emit done", "done"])
})

describe("start_llm", () => {
  const tool = (name: string): ToolSpec => ({ name, description: "", inputSchema: {} })

  test("tells what the model is asked with: the host's tools, and how many messages there are", () => {
    const machine = machineOf({ prepareIteration: () => [LLM] }, { tools: [tool("look"), tool("walk")] })
    expect(pollAll(machine)).toEqual([
      { type: "emit", event: { type: "llm_request", iteration: 0, messageCount: 1, tools: ["look", "walk"] } },
      { type: "llm_call", id: 1, request: REQUEST },
    ])
  })

  test("names the purpose of a side call, in the event and in the effect", () => {
    const machine = machineOf({ prepareIteration: () => [{ ...LLM, purpose: "compaction" }] })
    expect(pollAll(machine)).toEqual([
      { type: "emit", event: { type: "llm_request", iteration: 0, messageCount: 1, tools: [], purpose: "compaction" } },
      { type: "llm_call", id: 1, request: REQUEST, purpose: "compaction" },
    ])
  })
})

test("start_exec without a language has none, not one that is undefined", () => {
  const effects = (action: DriverAction): Effect | undefined => machineOf({ prepareIteration: () => [action] }).poll()
  const code = { type: "start_exec", code: "1", driverState: {} } as const
  expect(effects(code)).toStrictEqual({ type: "exec_code", id: 1, code: "1" })
  expect(effects({ ...code, language: "js" })).toStrictEqual({ type: "exec_code", id: 1, code: "1", language: "js" })
})

describe("schedule_turn_limit_final", () => {
  const last = (id: string): DriverAction => ({ type: "schedule_turn_limit_final", message: userMessage("The last one.", id) })
  const added = (maxIterations: number | undefined, ...actions: readonly DriverAction[]): readonly Message[] => {
    const machine = machineOf({ prepareIteration: () => [...actions, LLM] }, { maxIterations })
    pollAll(machine)
    return machine.messages.slice(1)
  }

  test("adds its message once, at the limit", () => {
    expect(added(1, { type: "advance_iteration" }, last("m1"), last("m2"))).toEqual([userMessage("The last one.", "m1")])
  })

  test("adds nothing before the limit, and nothing without one", () => {
    expect(added(2, { type: "advance_iteration" }, last("m1"))).toEqual([])
    expect(added(undefined, { type: "advance_iteration" }, last("m1"))).toEqual([])
  })
})

test("what a list appends is reported right before the work that it starts, or before the end of the turn", () => {
  const machine = machineOf({ prepareIteration: () => [NOTE, LLM], onLlmComplete: () => [NOTE, FINISH] })
  expect(effectNames(pollAll(machine))).toEqual(["emit llm_request", "progress", "llm_call 1"])
  expect(effectNames(respond(machine, says(1, "Hi.")))).toEqual(["emit token_usage", "progress", "emit turn_outcome", "emit done", "done"])
})
