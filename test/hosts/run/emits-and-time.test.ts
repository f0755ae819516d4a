import { describe, expect, test } from "vitest"
import type { Host } from "../../../src/hosts/host.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import type { TurnEvent } from "../../../src/schemas/event.ts"
import type { LlmResponse } from "../../../src/schemas/llm.ts"
import type { Response } from "../../../src/schemas/response.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { calls, configOf, deferred, neverCalled, newTurn, runAndWatch, says, script, start, succeed } from "./support.ts"

describe("an event of an executor", () => {
  test("is emitted at once, and streamed text is not emitted twice", async () => {
    const shown: string[] = []
    await runTurn(
      newTurn(),
      {
        async llmCall(_effect, { emit }) {
          emit({ type: "text_delta", content: "Hel" })
          emit({ type: "text_delta", content: "lo." })
          return says("Hello.")
        },
      },
      { onEvent: (event) => void (event.type === "text_delta" && shown.push(event.content)) },
    )
    expect(shown).toEqual(["Hel", "lo."])
  })

  test("does not count as streamed text if it is an empty delta or reasoning", async () => {
    const shown: string[] = []
    await runTurn(
      newTurn(),
      {
        async llmCall(_effect, { emit }) {
          emit({ type: "text_delta", content: "" })
          emit({ type: "reasoning_delta", content: "Hm." })
          return says("Hello.")
        },
      },
      { onEvent: (event) => void ("content" in event && shown.push(`${event.type} ${event.content}`)) },
    )
    expect(shown).toEqual(["text_delta ", "reasoning_delta Hm.", "text_delta Hello.", "llm_response Hello."])
  })

  test("is dropped after its work has ended, in the same batch and later", async () => {
    const shown: TurnEvent[] = []
    const ended = deferred<void>()
    let emitLate = (): void => neverCalled()
    const host: Host = {
      llmCall: script(calls(["c1", "look"], ["c2", "look"]), says("Done.")),
      tools: {
        async call({ callId }, { emit }) {
          if (callId === "c1") emitLate = () => emit({ type: "message", text: "still here", kind: "late" })
          else await ended.promise.then(emitLate)
          return { output: { status: "success", value: null } }
        },
        effects: () => "idempotent",
      },
      async checkpoint() {
        emitLate()
        return undefined
      },
    }
    await runTurn(newTurn(), host, {
      onEvent(event) {
        shown.push(event)
        if (event.type === "tool_call" && event.callId === "c1") ended.resolve()
      },
    })
    emitLate()
    expect(shown.filter((event) => event.type === "tool_call")).toHaveLength(2)
    expect(shown.filter((event) => event.type === "message")).toEqual([])
  })

  test("has the effect's id in its context, the same for all calls of a batch", async () => {
    const ids: number[] = []
    await runTurn(newTurn(), {
      llmCall: script(calls(["c1", "look"], ["c2", "look"]), says("Done.")),
      tools: {
        async call(_call, { effectId }) {
          ids.push(effectId)
          return { output: { status: "success", value: null } }
        },
        effects: () => "idempotent",
      },
    })
    expect(ids).toEqual([2, 2])
  })
})

describe("time", () => {
  test("each answer has the host's time, and each tool call its duration by the same clock", async () => {
    let time = 1_000
    const answered: string[] = []
    class WatchedMachine extends TurnMachine {
      override handle(response: Response): { readonly status: "accepted" | "stale" } {
        answered.push(`${response.type} at ${response.at}`)
        return super.handle(response)
      }
    }
    const { events } = await runAndWatch(
      new WatchedMachine(configOf(), start),
      {
        async llmCall({ id }) {
          time += 100.75
          return id === 1 ? calls(["c1", "look"]) : says("Done.")
        },
        tools: {
          async call() {
            time += 40
            return { output: { status: "success", value: null } }
          },
          effects: () => "idempotent",
        },
      },
      { now: () => time },
    )
    expect(events.filter((event) => event.type === "tool_call").map((event) => event.durationMs)).toEqual([40])
    // Times are whole milliseconds, also with a clock that returns fractions.
    expect(answered).toEqual([
      "llm_complete at 1100",
      "tool_results at 1140",
      "checkpoint_delivery at 1140",
      "llm_complete at 1241",
      "checkpoint_delivery at 1241",
    ])
  })

  test.each<readonly [string, Partial<LlmResponse>, number]>([
    ["by the same clock", {}, 250],
    ["by the same clock, also if the answer was cut off", { terminalReason: "output_limit" }, 250],
    ["as its executor measured it", { durationMs: 7 }, 7],
    ["as its executor measured it, also if that is 0", { durationMs: 0 }, 0],
  ])("each model call has its duration %s", async (_how, facts, expected) => {
    let time = 1_000
    const { events } = await runAndWatch(
      newTurn(),
      {
        async llmCall() {
          time += 250
          return { ...says("Hello."), ...facts }
        },
      },
      { now: () => time },
    )
    expect(events.flatMap((event) => (event.type === "llm_response" ? [event.durationMs] : []))).toEqual([expected])
  })

  test("a clock that runs backwards gives no negative durations", async () => {
    let time = 1_000
    const { events } = await runAndWatch(
      newTurn(),
      { llmCall: script(calls(["c1", "look"]), says("Done.")), tools: { call: succeed, effects: () => "idempotent" } },
      { now: () => (time -= 10) },
    )
    expect(events.filter((event) => event.type === "tool_call").map((event) => event.durationMs)).toEqual([0])
  })
})
