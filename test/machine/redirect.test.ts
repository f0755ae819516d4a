import { describe, expect, test } from "vitest"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import type { HostCommand } from "../../src/machine/step.ts"
import { createChatProjector } from "../../src/projectors/chat.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import type { Effect } from "../../src/wire/effect.ts"
import type { LlmResponse } from "../../src/wire/llm.ts"
import type { Message } from "../../src/wire/message.ts"
import { callsTools, completed, configOf, driverOf, expectRefused, pollAll, respond, results, says, userMessage } from "./support.ts"

const TURN: HostCommand = { type: "redirect", messages: [userMessage("Read the other file.", "u2")] }
const USAGE = { inputTokens: 5, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }
const PARTIAL: LlmResponse = { text: "I will", parts: [{ type: "text", text: "I will" }], usage: USAGE, terminalReason: "stop" }

function begun(changes: Parameters<typeof configOf>[0] = {}): TurnMachine {
  const machine = new TurnMachine(configOf(changes), { messages: [userMessage("Read a file.")] })
  pollAll(machine)
  return machine
}

function texts(messages: readonly Message[]): readonly string[] {
  return messages.map(({ role, parts }) => `${role}: ${parts.map((part) => ("text" in part ? part.text : part.type)).join(" | ")}`)
}

/** The effects of work, with their ids. */
function work(effects: readonly Effect[]): readonly string[] {
  return effects.flatMap((effect) => ("id" in effect ? [`${effect.type} ${effect.id}`] : []))
}

describe("a turn that is redirected", () => {
  test("stops its model call, stores what it said, and asks the model again, in a new iteration", () => {
    const machine = begun()
    machine.command({ ...TURN, partial: PARTIAL })
    expect(work(pollAll(machine))).toEqual(["cancel_llm 1", "llm_call 2"])
    expect(texts(machine.messages)).toEqual(["user: Read a file.", "assistant: I will | interrupted", "user: Read the other file."])
    expect([machine.iteration, machine.usage.inputTokens, machine.usage.outputTokens]).toEqual([1, 5, 2])
    expect(machine.handle(says(1, "Late."))).toEqual({ status: "stale" })
    respond(machine, says(2, "Done."))
    expect(machine.state).toBe("waiting_checkpoint")
  })

  test("gives each open call of a batch a result: those that came, those that may have run, and cancelled ones", () => {
    const machine = begun()
    respond(machine, callsTools(1, ["a", "b", "c"]))
    machine.handle(results(2, completed("b")))
    pollAll(machine)
    machine.command({ ...TURN, answer: results(2, completed("a", "late")) })
    expect(work(pollAll(machine))).toEqual(["llm_call 3"])
    const parts = machine.messages.flatMap((message) => message.parts)
    expect(parts.flatMap((part) => (part.type === "tool_result" ? [`${part.callId}: ${part.text}`] : []))).toEqual([
      "a: late",
      "b: result of b",
      "c: [Tool execution cancelled]\nThe user redirected the turn before this was done.",
    ])
    expect(texts(machine.messages).at(-1)).toBe("user: Read the other file.")
  })

  test("reports what it stored before the next request, and the messages are history", () => {
    const machine = begun()
    machine.command(TURN)
    const effects = pollAll(machine)
    const progress = effects.findIndex(({ type }) => type === "progress")
    expect(progress).toBeGreaterThan(-1)
    expect(progress).toBeLessThan(effects.findIndex(({ type }) => type === "llm_call"))
    expect(machine.history.at(-1)).toEqual({ type: "conversation", message: userMessage("Read the other file.", "u2") })
  })

  test("is reported to its driver as a delivery, which may start other work, or finish", () => {
    const seen: string[] = []
    const onDelivery: ProtocolDriver["onDelivery"] = (_context, checkpoint, { userMessages = [] }) => {
      seen.push(`${checkpoint} ${texts(userMessages).join()}`)
      return [{ type: "finish", outcome: { type: "agent_frame_switch", frameId: "f" } }]
    }
    const machine = begun({ driver: driverOf({ onDelivery }) })
    machine.command(TURN)
    expect(seen).toEqual(["after_work user: Read the other file."])
    expect(machine.outcome).toEqual({ type: "agent_frame_switch", frameId: "f" })
  })

  test("withdraws work that its host has not polled yet", () => {
    const machine = new TurnMachine(configOf(), { messages: [userMessage("Read a file.")] })
    machine.poll()
    expect(machine.state).toBe("waiting_llm")
    machine.command(TURN)
    expect(work(pollAll(machine))).toEqual(["llm_call 2"])
  })

  test("of a restored turn, stops the call that another process may have polled", () => {
    const machine = TurnMachine.restore(configOf(), JSON.stringify(begun().checkpoint()))
    machine.command(TURN)
    expect(work(pollAll(machine))).toEqual(["cancel_llm 1", "llm_call 2"])
  })

  test("continues from a checkpoint in the same iteration, and from its completion in a new one", () => {
    const machine = begun()
    respond(machine, callsTools(1, ["a"]))
    respond(machine, results(2, completed("a")))
    expect([machine.state, machine.iteration]).toEqual(["waiting_checkpoint", 1])
    machine.command(TURN)
    expect(work(pollAll(machine))).toEqual(["llm_call 4"])
    expect(machine.iteration).toBe(1)
    respond(machine, says(4, "Done."))
    machine.command({ ...TURN, messages: [userMessage("And the next.", "u3")] })
    expect(work(pollAll(machine))).toEqual(["llm_call 6"])
    expect([machine.iteration, texts(machine.messages).slice(-2)]).toEqual([2, ["assistant: Done.", "user: And the next."]])
  })

  test("may be redirected again before it asks the model", () => {
    const machine = begun()
    machine.command(TURN)
    machine.command({ ...TURN, messages: [userMessage("Or the third.", "u3")] })
    expect(work(pollAll(machine))).toEqual(["cancel_llm 1", "llm_call 2"])
    expect(texts(machine.messages).slice(-2)).toEqual(["user: Read the other file.", "user: Or the third."])
  })

  test("has one more model call at its limit, and then stops", () => {
    const machine = begun({ maxIterations: 1 })
    machine.command(TURN)
    expect(work(pollAll(machine))).toEqual(["cancel_llm 1", "llm_call 2"])
    expect(texts(machine.messages).at(-1)).toContain("this is its last model call")
    machine.command({ ...TURN, messages: [userMessage("And the next.", "u3")] })
    expect(machine.outcome).toEqual({ type: "stopped", stop: { type: "max_iterations" } })
    expect(texts(machine.messages).some((text) => text === "user: And the next.")).toBe(true)
  })

  test("has each request begin with the one before, up to what was cut off", () => {
    const requests: string[][] = []
    const projector = createChatProjector()
    const machine = begun({
      projector: (input) => {
        const request = projector(input)
        requests.push(request.messages.map((message) => JSON.stringify(message)))
        return request
      },
    })
    machine.command({ ...TURN, partial: PARTIAL })
    pollAll(machine)
    const [first = [], second = []] = requests
    expect(second.slice(0, first.length)).toEqual(first)
    expect(second.length).toBe(first.length + 2)
  })

  test("is refused after its end, and with messages that are none; nothing changes", () => {
    const machine = begun()
    expectRefused(machine, () => machine.command({ type: "redirect", messages: [{ id: "u2" } as never] }), "invalid_response")
    machine.cancel()
    pollAll(machine)
    expectRefused(machine, () => machine.command(TURN), "turn_finished")
  })

  test("ends as runtime_error if its driver fails, with the message stored", () => {
    const onDelivery = (): never => {
      throw new Error("no")
    }
    const machine = begun({ driver: driverOf({ onDelivery }) })
    machine.command(TURN)
    expect(machine.outcome).toMatchObject({ type: "stopped", stop: { type: "runtime_error" } })
    expect(texts(machine.messages)).toContain("user: Read the other file.")
  })
})
