import { expect, test } from "vitest"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { callsTools, completed, configOf, delivers, pollAll, respond, results, says, userMessage } from "../machine/support.ts"

test("a model that always calls a tool is stopped at the limit, with every call answered", () => {
  const machine = new TurnMachine(configOf({ maxIterations: 5 }), { messages: [userMessage("Go on for ever.")] })
  pollAll(machine)
  let modelCalls = 0
  for (let steps = 0; steps < 100 && !machine.done; steps += 1) {
    const { outstanding } = machine
    if (outstanding?.type === "llm_call") {
      modelCalls += 1
      respond(machine, callsTools(outstanding.id, ["again"]))
    } else if (outstanding?.type === "tool_calls") respond(machine, results(outstanding.id, completed("again")))
    else if (outstanding !== undefined) respond(machine, delivers(outstanding.id))
  }
  expect(modelCalls).toBe(5)
  expect(machine.outcome).toEqual({ type: "stopped", stop: { type: "max_iterations" } })
  expect(machine.iteration).toBe(5)
})

test("a host that always delivers is stopped one grace iteration after the limit", () => {
  const machine = new TurnMachine(configOf({ maxIterations: 3 }), { messages: [userMessage("Are you done?")] })
  pollAll(machine)
  let modelCalls = 0
  for (let steps = 0; steps < 100 && !machine.done; steps += 1) {
    const { outstanding } = machine
    if (outstanding?.type === "llm_call") {
      modelCalls += 1
      respond(machine, says(outstanding.id, "Yes."))
    } else if (outstanding !== undefined) respond(machine, delivers(outstanding.id, { userMessages: [userMessage("Are you sure?", `u${steps}`)] }))
  }
  expect(modelCalls).toBe(4)
  expect(machine.outcome).toEqual({ type: "stopped", stop: { type: "max_iterations" } })
  expect(machine.messages.filter((message) => message.role === "system")).toHaveLength(1)
})

test("without a limit, the host ends it", () => {
  const machine = new TurnMachine(configOf(), { messages: [userMessage("Go on for ever.")] })
  pollAll(machine)
  for (let iteration = 0; iteration < 200; iteration += 1) {
    respond(machine, callsTools(3 * iteration + 1, ["again"]))
    respond(machine, results(3 * iteration + 2, completed("again")))
    respond(machine, delivers(3 * iteration + 3))
  }
  expect(machine.iteration).toBe(200)
  machine.cancel("Enough.")
  expect(machine.outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
})
