import { describe, expect, test } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import { CheckpointError, SchemaError } from "../../src/errors.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { TurnStart } from "../../src/schemas/config.ts"
import type { Response } from "../../src/schemas/response.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { effectNames, moved, pollAll, set, userMessage } from "../machine/support.ts"
import { CONFIG, expectPrototypesUnchanged, SAVED } from "./support.ts"
import { EVERY_VALUE, hostileAt, origin, places, withValueAt } from "./values.ts"

expectPrototypesUnchanged()

describe("each hostile value at each place of a turn's start and configuration", () => {
  const start: TurnStart = {
    messages: [{ ...userMessage("hello"), origin }],
    events: [
      { type: "protocol", event: { a: 1 } },
      { type: "conversation", message: userMessage("x", "u2") },
    ],
    turnCauses: [{ id: "e1", eventType: "t", origin, text: "t" }],
    iterationOffset: 2,
  }
  const data = {
    model: "test-model",
    maxIterations: 3,
    maxContextTokens: 5,
    tools: [{ name: "n", description: "d", inputSchema: { a: 1 } }],
    generation: { maxOutputTokens: 5 },
  }

  test("the start", () => {
    for (const [index, pointer] of places(start).entries()) {
      for (const [, make] of hostileAt(index)) expectMadeOrRefused(CONFIG, withValueAt(start, pointer, make()) as TurnStart, "invalid_start")
    }
  })

  test("the configuration", () => {
    for (const [index, pointer] of places(data).entries()) {
      if (pointer === "") continue
      for (const [, make] of hostileAt(index)) {
        // As a user passes it: nothing has read it yet.
        const config = { driver: chatDriver(), projector: chatProjector, ...(withValueAt(data, pointer, make()) as object) } as TurnConfig
        expectMadeOrRefused(config, start, "invalid_config")
      }
    }
  })

  function expectMadeOrRefused(config: TurnConfig, given: TurnStart, code: string): void {
    let machine: TurnMachine
    try {
      machine = new TurnMachine(config, given)
    } catch (error) {
      expect(error).toBeInstanceOf(SchemaError)
      expect((error as SchemaError).code).toBe(code)
      return
    }
    pollAll(machine)
    moved(machine, config)
  }
})

describe("each hostile value at each place of a checkpoint", () => {
  test.each(Object.keys(SAVED) as Response["type"][])("of a turn that waits for %s", (type) => {
    const { config, text } = SAVED[type]
    const checkpoint = JSON.parse(text) as object
    set("/unpolled", [{ type: "outstanding" }, { type: "emit", event: { type: "text_delta", content: "c" } }])(checkpoint)
    expect(effectNames(pollAll(TurnMachine.restore(config, checkpoint)))).toHaveLength(2)
    const codes = new Set<string>()
    for (const [index, pointer] of places(checkpoint).entries()) {
      for (const [what, make] of hostileAt(index)) {
        try {
          codes.add(restored(config, withValueAt(checkpoint, pointer, make())))
        } catch (error) {
          throw new Error(`${what} at "${pointer}": ${error instanceof Error ? error.message : String(error)}`, { cause: error })
        }
      }
    }
    const all = [
      "driver_mismatch",
      "inconsistent_checkpoint",
      "invalid_checkpoint",
      "not_a_checkpoint",
      "not_json",
      "restored",
      "unsupported_version",
    ]
    if (EVERY_VALUE) expect([...codes].sort()).toEqual(all)
    else expect(all).toEqual(expect.arrayContaining([...codes]))
  })

  function restored(config: TurnConfig, checkpoint: unknown): string {
    let machine: TurnMachine
    try {
      machine = TurnMachine.restore(config, checkpoint)
    } catch (error) {
      expect(error).toBeInstanceOf(CheckpointError)
      return (error as CheckpointError).code
    }
    moved(machine, config)
    pollAll(machine)
    machine.cancel()
    pollAll(machine)
    return "restored"
  }
})
