import { describe, expect, test } from "vitest"
import { CheckpointError } from "../../src/errors.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { Response } from "../../src/schemas/response.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { CONFIG, expectPrototypesUnchanged, give, outcomeOf, SAVED } from "./support.ts"
import { FULL, HOSTILE, hostileAt, places, withValueAt } from "./values.ts"

expectPrototypesUnchanged()

describe("each hostile value at each place of each answer", () => {
  test.each(Object.keys(FULL))("%s", (name) => {
    const response = FULL[name] as Response
    expect(give(response.type, response)).toBe("accepted")
    const seen = new Set<string>()
    for (const [index, pointer] of places(response).entries()) {
      for (const [what, make] of hostileAt(index)) {
        try {
          seen.add(give(response.type, withValueAt(response, pointer, make())))
        } catch (error) {
          throw new Error(`${what} at "${pointer}": ${error instanceof Error ? error.message : String(error)}`, { cause: error })
        }
      }
    }
    expect(seen).toContain("invalid_response")
    expect([...seen].filter((code) => !EXPECTED_OF_ANSWERS.includes(code))).toEqual([])
  })
})

const EXPECTED_OF_ANSWERS = [
  "accepted",
  "unchanged",
  "invalid_response",
  "unknown_effect",
  "unexpected_response",
  "unknown_call",
  "call_already_answered",
  "unknown_request",
  "digest_mismatch",
  "decision_not_allowed",
  "call_already_decided",
]

describe("each hostile value as a whole", () => {
  test.each(Object.entries(HOSTILE))("%s is not an answer", (_, make) => {
    for (const type of Object.keys(SAVED) as Response["type"][]) expect(give(type, make())).toBe("invalid_response")
  })

  test.each(Object.entries(HOSTILE))("%s is not a checkpoint", (_, make) => {
    try {
      TurnMachine.restore(CONFIG, make())
    } catch (error) {
      expect(error).toBeInstanceOf(CheckpointError)
      return
    }
    throw new Error("It was restored.")
  })

  test.each(Object.entries(HOSTILE))("%s is refused as a list of actions, unless it is a valid one", (name, make) => {
    const { config, text } = SAVED.checkpoint_delivery
    const machine = TurnMachine.restore(config, text)
    const code = outcomeOf(machine, config, () => machine.apply(make() as readonly DriverAction[]))
    expect(code).toBe(["an empty list", "a list with toJSON"].includes(name) ? "unchanged" : "invalid_actions")
  })

  test.each(Object.entries(HOSTILE))("%s is neither an outcome nor an event", (_, make) => {
    const { config, text } = SAVED.checkpoint_delivery
    const machine = TurnMachine.restore(config, text)
    expect(outcomeOf(machine, config, () => machine.finish(make() as never))).toBe("invalid_actions")
    expect(outcomeOf(machine, config, () => machine.fail(make() as never))).toBe("invalid_actions")
  })

  test.each(Object.entries(HOSTILE))("%s as a reason to cancel is refused unless it is a string", (_, make) => {
    const { config, text } = SAVED.tool_results
    const machine = TurnMachine.restore(config, text)
    const reason = make()
    const code = outcomeOf(machine, config, () => machine.cancel(reason as never))
    expect(code).toBe(reason === undefined || typeof reason === "string" ? "accepted" : "invalid_actions")
  })
})
