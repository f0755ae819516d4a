import { describe, expect, test } from "vitest"
import type { Response } from "../../src/schemas/response.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import {
  answer,
  callsAndResults,
  callsTools,
  completed,
  configOf,
  delivers,
  moved,
  pollAll,
  respond,
  results,
  says,
  userMessage,
} from "../machine/support.ts"
import { expectPrototypesUnchanged, give, SAVED } from "./support.ts"
import { FULL } from "./values.ts"

expectPrototypesUnchanged()

describe("ids", () => {
  test.each([
    [2 ** 53 - 1, "unknown_effect"],
    [1_000_000, "unknown_effect"],
    [0, "unknown_effect"],
    [-0, "unknown_effect"],
    [2 ** 53, "invalid_response"],
    [1e300, "invalid_response"],
    [-1, "invalid_response"],
    [1.5, "invalid_response"],
    ["1", "invalid_response"],
    [[1], "invalid_response"],
    [1n, "invalid_response"],
    [Number.NaN, "invalid_response"],
  ])("an answer to effect %s: %s", (id, code) => {
    expect(give("llm_complete", { ...says(1, "Hi."), id })).toBe(code)
  })

  test("a getter that returns another id each time is read once", () => {
    let reads = 0
    const shifty = {
      ...says(1, "Hi."),
      get id() {
        reads += 1
        return reads
      },
    }
    expect(give("llm_complete", shifty)).toBe("accepted")
    expect(reads).toBe(1)
  })
})

describe("prototype keys", () => {
  const POISON = '"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},'

  test.each(Object.keys(FULL))("in every object of %s are removed where the shape is fixed, and preserved in free JSON", (name) => {
    const response = FULL[name] as Response
    const poisoned = JSON.parse(JSON.stringify(response).replaceAll('{"', `{${POISON}"`)) as unknown
    // An attachment reference with more keys is not a reference any more.
    expect(give(response.type, poisoned)).toBe("accepted")
  })

  test("in a tool's arguments reach the tool as ordinary keys", () => {
    const { config, text } = SAVED.llm_complete
    const machine = TurnMachine.restore(config, text)
    respond(machine, answer(1, [{ type: "tool_call", callId: "c", toolName: "t", inputJson: '{"__proto__":{"polluted":true}}' }]))
    const again = moved(machine, config)
    const effect = again.outstanding
    expect(effect?.type === "tool_calls" && JSON.stringify(effect.calls[0]?.args)).toBe('{"__proto__":{"polluted":true}}')
  })

  test("as names of calls, tools and messages are ordinary names", () => {
    const machine = new TurnMachine(configOf(), { messages: [{ ...userMessage("hello"), id: "__proto__" }] })
    pollAll(machine)
    respond(machine, callsTools(1, ["__proto__", "constructor", "toString"]))
    respond(machine, results(2, completed("toString"), completed("__proto__"), completed("constructor")))
    const again = moved(machine, configOf())
    expect(callsAndResults(again.messages)).toEqual([
      "call __proto__",
      "call constructor",
      "call toString",
      "result __proto__",
      "result constructor",
      "result toString",
    ])
    respond(
      again,
      delivers(3, { turnCauses: [{ id: "__proto__", eventType: "constructor", origin: { type: "plugin", pluginId: "__proto__" }, text: "t" }] }),
    )
    expect(again.turnCauses).toHaveLength(1)
  })

  test("as types of answers, effects and actions are unknown types", () => {
    for (const type of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
      expect(give("llm_complete", { type, id: 1 })).toBe("invalid_response")
      expect(give("llm_complete", { ...says(1, "Hi."), result: { ok: type } })).toBe("invalid_response")
      expect(give("tool_results", results(2, completed("a", 1, { output: { status: type } as never })))).toBe("invalid_response")
    }
  })
})
