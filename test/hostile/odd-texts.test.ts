import { describe, expect, test } from "vitest"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { answer, callsTools, completed, configOf, delivers, moved, plain, pollAll, respond, results, says, userMessage } from "../machine/support.ts"
import { expectPrototypesUnchanged, give, SAVED } from "./support.ts"

expectPrototypesUnchanged()

describe("odd texts and numbers", () => {
  test("lone surrogates go through a turn, its checkpoint and its restore unchanged", () => {
    const odd = "\ud800 \udc00 \udfff\ud800"
    const config = configOf({ systemPrompt: odd })
    let machine = new TurnMachine(config, { messages: [userMessage(odd)] })
    pollAll(machine)
    respond(
      machine,
      answer(1, [
        { type: "text", text: odd },
        { type: "tool_call", callId: odd, toolName: odd, inputJson: JSON.stringify({ [odd]: odd }) },
      ]),
    )
    machine = moved(machine, config)
    expect(machine.outstanding).toMatchObject({ calls: [{ callId: odd, toolName: odd, args: { [odd]: odd } }] })
    respond(machine, results(2, completed(odd, { [odd]: odd })))
    machine = moved(machine, config)
    expect(machine.messages.flatMap((message) => message.parts.map((each) => (each.type === "text" ? each.text : "")))).toEqual([odd, odd, "", ""])
  })

  test("NaN and infinities are refused; minus zero is zero", () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      expect(give("tool_results", results(2, completed("a", bad)))).toBe("invalid_response")
      expect(give("tool_results", results(2, completed("a", 1, { durationMs: bad })))).toBe("invalid_response")
      expect(give("llm_complete", { ...says(1, "Hi."), at: bad })).toBe("invalid_response")
    }
    expect(give("tool_results", results(2, completed("a", -0, { durationMs: -0 })))).toBe("accepted")
  })

  test("token counts saturate instead of leaving the safe integers", () => {
    const most = Number.MAX_SAFE_INTEGER
    const usage = { inputTokens: most, cachedInputTokens: most, outputTokens: most, reasoningTokens: most }
    const config = configOf()
    let machine = new TurnMachine(config, { messages: [userMessage("hello")] })
    pollAll(machine)
    respond(machine, callsTools(1, ["a"], { usage }))
    respond(machine, results(2, completed("a")))
    respond(machine, delivers(3))
    respond(machine, says(4, "Hi.", { usage }))
    machine = moved(machine, config)
    expect(machine.usage).toEqual(usage)
  })

  test("a delivery may reuse existing ids, and nothing is lost", () => {
    const { config, text } = SAVED.checkpoint_delivery
    const machine = TurnMachine.restore(config, text)
    const twice = userMessage("again", "u1")
    respond(machine, delivers(1, { userMessages: [twice, twice] }))
    const again = moved(machine, config)
    expect(again.messages).toEqual([userMessage("hello"), twice, twice])
    expect(plain(again.events)).toEqual([
      { type: "conversation", message: twice },
      { type: "conversation", message: twice },
    ])
  })
})
