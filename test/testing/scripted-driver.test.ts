import { describe, expect, test } from "vitest"
import type { TurnMachine as Machine } from "../../src/machine/turn-machine.ts"
import { scriptedDriver } from "../../src/testing/scripted-driver.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { CHECKPOINT, configOf, FINISH, message, START, START_LLM, START_TOOLS } from "./turns.ts"

const FAILED = { ok: false, error: { message: "no answer", retryable: false, terminalReason: "provider_error" } } as const
const ANSWERED = {
  ok: true,
  response: { text: "", parts: [], usage: { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }, terminalReason: "stop" },
} as const

function drain(machine: Machine): void {
  while (machine.poll() !== undefined);
}

/** The message of the turn's last error event. */
function lastError(machine: Machine): string | undefined {
  let message: string | undefined
  for (let effect = machine.poll(); effect !== undefined; effect = machine.poll()) {
    if (effect.type === "emit" && effect.event.type === "error") message = effect.event.message
  }
  return message
}

describe("a scripted driver", () => {
  test("returns its answers one after the other, for any callback", () => {
    const machine = new TurnMachine(configOf([[START_LLM], [START_TOOLS], [CHECKPOINT], [FINISH]]), START)
    const states: string[] = []
    drain(machine)
    states.push(machine.state)
    machine.handle({ type: "llm_complete", id: 1, result: ANSWERED })
    states.push(machine.state)
    const results = ["a", "b", "c"].map((callId) => ({
      callId,
      toolName: "tool",
      args: {},
      output: { status: "success" as const, value: "" },
      durationMs: 0,
    }))
    machine.handle({ type: "tool_results", id: 2, results })
    states.push(machine.state)
    machine.handle({ type: "checkpoint_delivery", id: 3, delivery: {} })
    drain(machine)
    states.push(machine.state)
    expect(states).toEqual(["waiting_llm", "waiting_tools", "waiting_checkpoint", "finished"])
  })

  test("keeps its place through deliveries, restores and several turns at a time", () => {
    const config = configOf([[CHECKPOINT], [CHECKPOINT], [FINISH]])
    const other = new TurnMachine(config, START)
    drain(other)
    let machine: Machine = new TurnMachine(config, { messages: Array.from({ length: 99 }, (_, index) => message(`m${index}`)) })
    drain(machine)
    const delivered = Array.from({ length: 50 }, () => ({ role: "user" as const, content: "more" }))
    machine.handle({ type: "checkpoint_delivery", id: 1, delivery: { messages: delivered } })
    machine = TurnMachine.restore(config, JSON.stringify(machine.checkpoint()))
    drain(machine)
    expect(machine.state).toBe("waiting_checkpoint")
    machine.handle({ type: "checkpoint_delivery", id: 2, delivery: {} })
    drain(machine)
    expect(machine.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "the end" } })
    expect(other.state).toBe("waiting_checkpoint")
  })

  test("ends the turn after its last answer, and says so", () => {
    const machine = new TurnMachine(configOf([]), START)
    expect(lastError(machine)).toContain("The script has 0 answers; prepareIteration was called once more.")
    const userMessage = 'The driver "scripted" threw: Error: The script has 0 answers; prepareIteration was called once more.'
    const error = { kind: "driver", code: "driver_threw", userMessage }
    expect(machine.outcome).toEqual({ type: "stopped", stop: { type: "runtime_error", error } })
  })

  test("throws where the script says so, and where another callback was expected", () => {
    expect(lastError(new TurnMachine(configOf([{ throws: "out of luck" }]), START))).toContain("out of luck")
    const due = new TurnMachine(configOf([{ callback: "onToolResults", actions: [FINISH] }]), START)
    expect(lastError(due)).toContain("Answer 0 of the script is for onToolResults; prepareIteration was called.")
  })

  test("has the given optional callbacks, by default onExecResult", () => {
    const names = (driver: object): readonly string[] => Object.keys(driver).filter((key) => key.startsWith("on"))
    expect(names(scriptedDriver([]))).toEqual(["onLlmComplete", "onToolResults", "onExecResult"])
    expect(names(scriptedDriver([], { callbacks: ["onDelivery", "onLlmFailed"] }))).toEqual([
      "onLlmComplete",
      "onToolResults",
      "onDelivery",
      "onLlmFailed",
    ])
    const driver = scriptedDriver([], { name: "mine", version: 3 })
    expect([driver.name, driver.version]).toEqual(["mine", 3])
  })

  test("leaves a failed model call to the machine with an answer without actions, and a delivery with an empty list", () => {
    const driver = scriptedDriver([{ actions: [CHECKPOINT] }, {}, { actions: [START_LLM] }, {}], { callbacks: ["onDelivery", "onLlmFailed"] })
    const machine = new TurnMachine(configOf([], { driver }), START)
    drain(machine)
    machine.handle({ type: "checkpoint_delivery", id: 1, delivery: { events: ["an event"] } })
    drain(machine)
    expect(machine.state).toBe("waiting_llm")
    machine.handle({ type: "llm_complete", id: 2, result: FAILED })
    const error = { kind: "llm_provider", terminalReason: "provider_error", userMessage: "LLM error: no answer" }
    expect(machine.outcome).toEqual({ type: "stopped", stop: { type: "provider_error", error } })
  })
})
