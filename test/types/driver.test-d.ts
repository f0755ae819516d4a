import { describe, expectTypeOf, test } from "vitest"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { DriverContext, ProtocolDriver } from "../../src/machine/driver.ts"
import type { Turn } from "../../src/machine/turn.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { LlmRequest } from "../../src/schemas/llm.ts"

declare const context: DriverContext
declare const request: LlmRequest
declare const turn: Turn

describe("a driver", () => {
  test("answers with actions", () => {
    const driver: ProtocolDriver = {
      name: "one-shot",
      version: 1,
      prepareIteration: (view) => [{ type: "start_llm", request: view.projectRequest({ tools: false }) }],
      onLlmComplete: (_view, _waiting, { text }) => [{ type: "finish", outcome: { type: "finished", finish: { type: "assistant_message", text } } }],
      onToolResults: () => [{ type: "advance_iteration" }],
    }
    expectTypeOf(driver.prepareIteration).returns.toEqualTypeOf<readonly DriverAction[]>()
    expectTypeOf<TurnConfig["driver"]>().toEqualTypeOf<ProtocolDriver>()
  })

  test("cannot return what is not an action", () => {
    // @ts-expect-error the action is called start_llm
    const _misspelt: DriverAction = { type: "start_model", request }
    // @ts-expect-error a model call needs its request
    const _incomplete: DriverAction = { type: "start_llm" }
    // @ts-expect-error an optional field is left out, never undefined
    const _undefined: DriverAction = { type: "start_llm", request, driverState: undefined }
    // @ts-expect-error the checkpoint does not exist
    const _checkpoint: DriverAction = { type: "start_checkpoint", checkpoint: "before_work", onEmpty: { type: "prepare_iteration" } }
    // @ts-expect-error code needs the driver's state to come back to
    const _code: DriverAction = { type: "start_exec", code: "1" }
    // @ts-expect-error the driver's state is JSON
    const _state: DriverAction = { type: "start_exec", code: "1", driverState: () => 1 }
    // @ts-expect-error an effect is the machine's to emit
    const _effect: DriverAction = { type: "llm_call", id: 1, request }
  })

  test("cannot leave out a callback, or answer later", () => {
    // @ts-expect-error onToolResults is missing
    const _partial: ProtocolDriver = { name: "partial", version: 1, prepareIteration: () => [], onLlmComplete: () => [] }
    // @ts-expect-error a driver is pure policy: no promise
    const _later: ProtocolDriver["prepareIteration"] = async () => []
  })

  test("changes neither its view nor the turn", () => {
    expectTypeOf(context.iteration).toBeNumber()
    // @ts-expect-error readonly
    context.iteration = 2
    expectTypeOf(context.messages.length).toBeNumber()
    // @ts-expect-error a transcript has no way to append
    context.messages.push
    expectTypeOf(turn.position.iteration).toBeNumber()
    // @ts-expect-error readonly
    turn.position.iteration = 2
    expectTypeOf(turn.position.usage.inputTokens).toBeNumber()
    // @ts-expect-error readonly
    turn.position.usage.inputTokens = 0
    expectTypeOf(turn.surface.tools.length).toBeNumber()
    // @ts-expect-error readonly
    turn.surface.tools.push
  })
})
