import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import { frozen } from "../../src/freeze.ts"
import { runTurn } from "../../src/hosts/run/run-turn.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"

// Some packages add members to `Object.prototype` that every loop over the keys of an object names. They belong to no value of a turn.

const prototype = Object.prototype as Record<string, unknown>

describe("members that another package added to the prototype of all objects", () => {
  const shared = { count: 0 }

  beforeEach(() => {
    prototype["shared"] = shared
    prototype["helper"] = () => 1
  })

  afterEach(() => {
    delete prototype["shared"]
    delete prototype["helper"]
  })

  test("are neither frozen nor part of a request", async () => {
    const config = { driver: chatDriver(), projector: chatProjector, model: "m" }
    const machine = new TurnMachine(config, { messages: [{ id: "u", role: "user", parts: [{ id: "u.p0", type: "text", text: "Hello?" }] }] })
    const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }
    const done = await runTurn(machine, {
      llmCall: async () => ({ text: "Hello.", parts: [{ type: "text", text: "Hello." }], usage, terminalReason: "stop" }),
    })
    expect(done.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Hello." } })
    expect(Object.isFrozen(shared)).toBe(false)
  })

  test("own members are frozen as ever", () => {
    const value = frozen({ own: { deep: {} } })
    expect([value, value.own, value.own.deep].every(Object.isFrozen)).toBe(true)
    expect(Object.isFrozen(shared)).toBe(false)
  })
})
