import { describe, expectTypeOf, test } from "vitest"
import type { TurnMachine as BareTurnMachine } from "../../src/machine/turn-machine.ts"
import type { AnswerableEffect, Effect } from "../../src/schemas/effect.ts"
import type { Outcome } from "../../src/schemas/event.ts"
import type { LlmRequest, LlmResponse } from "../../src/schemas/llm.ts"
import type { Response } from "../../src/schemas/response.ts"
import type { ToolOutput } from "../../src/schemas/tool.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"

declare const machine: TurnMachine
declare const effect: Effect
declare const request: LlmRequest
declare const response: LlmResponse
declare const output: ToolOutput

describe("a host", () => {
  test("polls effects and hands in responses", () => {
    expectTypeOf(machine.poll).returns.toEqualTypeOf<Effect | undefined>()
    expectTypeOf(machine.handle).parameter(0).toEqualTypeOf<Response>()
    expectTypeOf(machine.handle).returns.toEqualTypeOf<{ readonly status: "accepted" | "stale" }>()
    expectTypeOf(machine.outcome).toEqualTypeOf<Outcome | undefined>()
    expectTypeOf(TurnMachine.restore).parameter(1).toBeUnknown()
    expectTypeOf<TurnMachine>().toExtend<BareTurnMachine>()
  })

  test("sees the fields of an effect once its type is known", () => {
    if (effect.type === "llm_call") expectTypeOf(effect.request).toEqualTypeOf<LlmRequest>()
    // @ts-expect-error only an effect that wants an answer has an id
    if (effect.type === "progress") effect.id
    // @ts-expect-error only a model call has a request
    if (effect.type === "tool_calls") effect.request
    // @ts-expect-error no effect has this type
    if (effect.type === "call_llm") machine.poll()
  })

  test("notices an effect that it forgot", () => {
    const name = (answerable: AnswerableEffect): string => {
      switch (answerable.type) {
        case "llm_call":
        case "tool_calls":
        case "exec_code":
        case "checkpoint":
          return answerable.type
        default:
          // @ts-expect-error sync_execution_surface is left over
          answerable satisfies never
          return ""
      }
    }
    expectTypeOf(name).toBeFunction()
  })

  test("cannot make an invalid effect", () => {
    // @ts-expect-error a model call has an id
    const _anonymous: Effect = { type: "llm_call", request }
    // @ts-expect-error progress is a notification, without an id
    const _asked: Effect = { type: "progress", id: 1, messages: [], eventDelta: [], iteration: 0 }
  })

  test("cannot hand in a wrong response", () => {
    machine.handle({ type: "llm_complete", id: 1, result: { ok: true, response } })
    // @ts-expect-error no response has this type
    machine.handle({ type: "llm_completed", id: 1, result: { ok: true, response } })
    // @ts-expect-error a response names the effect it answers
    machine.handle({ type: "llm_complete", result: { ok: true, response } })
    // @ts-expect-error a failure has an error, not a response
    machine.handle({ type: "llm_complete", id: 1, result: { ok: false, response } })
    // @ts-expect-error a result names the call it belongs to
    machine.handle({ type: "tool_results", id: 1, results: [{ toolName: "look", args: {}, output, durationMs: 1 }] })
    machine.handle({ type: "tool_results", id: 1, results: [{ callId: "a", toolName: "look", args: {}, output, durationMs: 1 }] })
    // @ts-expect-error an output has one of three statuses
    const _ok: ToolOutput = { status: "ok", value: 1 }
    // @ts-expect-error a checkpoint is answered with a delivery
    machine.handle({ type: "checkpoint_delivery", id: 1, result: { ok: true } })
  })
})
