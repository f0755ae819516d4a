import { describe, expect, test } from "vitest"
import { CheckpointError } from "../../src/errors.ts"
import type { OutputPart } from "../../src/schemas/llm.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import {
  answer,
  callsAndResults,
  callsTools,
  completed,
  configOf,
  delivers,
  driverOf,
  moved,
  pending,
  pollAll,
  respond,
  results,
  says,
  userMessage,
} from "../machine/support.ts"
import { CONFIG, expectPrototypesUnchanged, give, SAVED } from "./support.ts"
import { nested, nestedObject, origin } from "./values.ts"

expectPrototypesUnchanged()

describe("nesting 10,000 deep", () => {
  test("in the text of arguments: the call does not run, the model reads why, and the text is preserved", () => {
    const { config, text } = SAVED.llm_complete
    const machine = TurnMachine.restore(config, text)
    const inputJson = "[".repeat(10_000) + "]".repeat(10_000)
    respond(machine, answer(1, [{ type: "tool_call", callId: "c", toolName: "t", inputJson }]))
    const restored = moved(machine, config)
    expect(restored.state).toBe("waiting_checkpoint")
    expect(restored.messages.slice(-2).map(({ parts }) => parts)).toMatchObject([[{ inputJson }], [{ callId: "c", isError: true }]])
  })

  test.each([
    ["a tool's value", "tool_results", results(2, completed("a", nested(10_000) as never))],
    ["a tool's arguments", "tool_results", results(2, completed("a", 1, { args: nestedObject(10_000) as never }))],
    ["a driver's event", "checkpoint_delivery", delivers(1, { events: [nested(10_000) as never] })],
    [
      "the cause of a message",
      "checkpoint_delivery",
      delivers(1, { messages: [{ role: "user", content: "c", origin: { ...origin, causedBy: nested(10_000) as never } }] }),
    ],
    ["a provider's usage", "llm_complete", says(1, "t", { providerUsage: nested(10_000) as never })],
  ] as const)("in %s is refused", (_, type, response) => {
    expect(give(type, response)).toBe("invalid_response")
  })

  test("under an unknown key is ignored", () => {
    expect(give("llm_complete", { ...says(1, "Hi."), future: nested(10_000) })).toBe("accepted")
  })

  test("in a checkpoint is refused, as text and as a value", () => {
    const deep = "[".repeat(10_000) + "]".repeat(10_000)
    const { config, text } = SAVED.tool_results
    const texts = [
      text.replace('"args":{}', `"args":${deep}`),
      text.replace('"turnCauses":[]', `"turnCauses":${deep}`),
      text.replace('{"format"', `{"more":${deep},"format"`),
      deep,
    ]
    for (const damaged of texts) {
      expect(damaged.length).toBeGreaterThan(20_000 - 1)
      for (const form of [damaged, JSON.parse(damaged) as unknown]) expect(() => TurnMachine.restore(config, form)).toThrow(CheckpointError)
    }
  })

  test("of 128 levels is accepted wherever free JSON is allowed, and the turn continues in another process", () => {
    const { config, text } = SAVED.tool_results
    const machine = TurnMachine.restore(config, text)
    const value = nested(128) as never
    respond(machine, results(2, completed("a", value, { args: value }), completed("b", nestedObject(128) as never)))
    expect(moved(machine, config).state).toBe("waiting_checkpoint")
    expect(give("checkpoint_delivery", delivers(1, { events: [value] }))).toBe("accepted")
  })
})

describe("large inputs", () => {
  const BIG = "x".repeat(10_000_000)

  test("10 MB texts in answers, results and deliveries", () => {
    const config = configOf({ emitLlmTrace: true })
    let machine = new TurnMachine(config, { messages: [userMessage(BIG)] })
    pollAll(machine)
    respond(
      machine,
      answer(1, [
        { type: "text", text: BIG },
        { type: "tool_call", callId: "c", toolName: "t", inputJson: JSON.stringify({ big: BIG }) },
      ]),
    )
    machine = moved(machine, config)
    respond(machine, results(2, completed("c", BIG)))
    respond(machine, delivers(3, { messages: [{ role: "user", content: BIG }] }))
    machine = moved(machine, config)
    expect(machine.messages.map((message) => message.parts.length)).toEqual([1, 2, 1, 1])
    respond(machine, {
      type: "llm_complete",
      id: 4,
      result: { ok: false, error: { message: "m", retryable: false, raw: ` ${BIG} `, terminalReason: "unknown" } },
    })
    expect(machine.done).toBe(true)
  })

  test("a 10 MB call id that was not requested", () => {
    expect(give("tool_results", results(2, completed(BIG)))).toBe("unknown_call")
  })

  test("10 MB of white space", () => {
    const { config, text } = SAVED.llm_complete
    const machine = TurnMachine.restore(config, text)
    respond(machine, says(1, "\u0085".repeat(10_000_000)))
    expect(machine.outcome).toMatchObject({ type: "stopped", stop: { type: "provider_error" } })
  })

  test("10 MB of invalid checkpoint", () => {
    expect(() => TurnMachine.restore(CONFIG, BIG)).toThrow(CheckpointError)
    expect(() => TurnMachine.restore(CONFIG, `"${BIG}"`)).toThrow(CheckpointError)
  })

  const CALL_IDS = Array.from({ length: 10_000 }, (_, index) => `call_${index}`)

  function waitingForAll(): TurnMachine {
    const machine = new TurnMachine(configOf(), { messages: [userMessage("hello")] })
    pollAll(machine)
    respond(machine, callsTools(1, CALL_IDS))
    return machine
  }

  function expectAllAnswered(machine: TurnMachine): void {
    expect(machine.state).toBe("waiting_checkpoint")
    expect(machine.messages.at(-1)?.parts.map((each) => (each.type === "tool_result" ? each.callId : each.type))).toEqual(CALL_IDS)
  }

  test("10,000 tool calls in one batch, answered all at once", () => {
    const machine = waitingForAll()
    const effects = respond(machine, results(2, ...CALL_IDS.map((callId) => completed(callId))))
    expect(effects).toHaveLength(10_002)
    expectAllAnswered(machine)
  })

  test("10,000 tool calls in one batch, answered one by one", () => {
    const machine = waitingForAll()
    for (const callId of CALL_IDS) machine.handle(results(2, completed(callId)))
    pollAll(machine)
    expectAllAnswered(machine)
  })

  test("10,000 tool calls in one batch, answered in reverse, and moved to another process half way", () => {
    let machine = waitingForAll()
    CALL_IDS.toReversed().forEach((callId, index) => {
      if (index === 5_000) machine = moved(machine, configOf())
      machine.handle(results(2, completed(callId)))
    })
    pollAll(machine)
    expectAllAnswered(machine)
  })

  test("10,000 calls without an id get 10,000 ids", () => {
    const machine = new TurnMachine(configOf(), { messages: [userMessage("hello")] })
    pollAll(machine)
    respond(
      machine,
      callsTools(
        1,
        CALL_IDS.map(() => ""),
      ),
    )
    const effect = machine.outstanding
    expect(new Set(effect?.type === "tool_calls" ? effect.calls.map((call) => call.callId) : []).size).toBe(10_000)
    machine.cancel()
    expect(callsAndResults(machine.messages)).toHaveLength(20_000)
  })

  test("200,000 pieces of text in one answer", () => {
    const machine = new TurnMachine(configOf(), { messages: [userMessage("hello")] })
    pollAll(machine)
    const parts = Array.from({ length: 200_000 }, (): OutputPart => ({ type: "text", text: "x\n\n" }))
    expect(machine.handle(answer(1, parts))).toEqual({ status: "accepted" })
    expect(machine.state).toBe("waiting_checkpoint")
    machine.finish({ type: "agent_frame_switch", frameId: "f" })
    const restored = TurnMachine.restore(configOf(), JSON.stringify(machine.checkpoint()))
    expect(restored.done).toBe(true)
    const effects = pollAll(restored)
    expect(effects.filter((effect) => effect.type === "emit" && effect.event.type === "text_delta")).toHaveLength(200_000)
    expect(effects.at(-1)?.type).toBe("done")
  })

  test("a batch with 10,000 calls of the same id", () => {
    const driver = driverOf({ prepareIteration: () => [{ type: "start_tools", calls: CALL_IDS.map(() => pending("same")) }] })
    const machine = new TurnMachine(configOf({ driver }), { messages: [] })
    pollAll(machine)
    machine.handle(results(1, ...CALL_IDS.map(() => completed("same"))))
    expect(machine.done).toBe(true)
  })
})
