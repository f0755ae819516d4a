import { describe, expect, test } from "vitest"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import type { TurnEvent } from "../../../src/schemas/event.ts"
import type { Json } from "../../../src/schemas/json.ts"
import { calls, deferred, neverCalled, newTurn, says, script, succeed, ticks, toolTexts, until } from "./support.ts"

describe("an abort cancels the turn", () => {
  test("tools that ignore their signal delay it by the grace time; finished results are kept, and later ones are dropped", async () => {
    const controller = new AbortController()
    const signals: AbortSignal[] = []
    const slow = deferred<Json>()
    const started: string[] = []
    const turn = runTurn(
      newTurn(),
      {
        llmCall: script(calls(["c1", "quick"], ["c2", "slow"], ["c3", "waiting"])),
        tools: {
          async call({ callId }, { signal }) {
            started.push(callId)
            if (callId === "c1") return { output: { status: "success", value: "in time" } }
            signals.push(signal)
            return { output: { status: "success", value: await slow.promise } }
          },
          effects: () => "idempotent",
        },
      },
      // The second slot is free only when c1 has ended; then c3 uses it.
      { signal: controller.signal, toolConcurrency: 2, cancelGraceMs: 5 },
    )
    await until(() => signals.length === 2)
    controller.abort("Enough.")
    expect(signals.map((signal) => signal.aborted)).toEqual([true, true])

    const done = await turn
    expect(done.outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
    expect(toolTexts(done)).toEqual(["in time", "[Tool execution cancelled]\nEnough.", "[Tool execution cancelled]\nEnough."])

    slow.resolve("too late")
    await ticks(20)
    expect(toolTexts(done)).toHaveLength(3)
    expect(started).toEqual(["c1", "c2", "c3"])
  })

  test("a result that arrived before the abort is kept, even if it was not handled yet", async () => {
    const controller = new AbortController()
    const machine = newTurn()
    const done = await runTurn(
      machine,
      {
        llmCall: script(calls(["c1", "look"], ["c2", "look"])),
        tools: { call: async ({ callId }) => ({ output: { status: "success", value: callId } }), effects: () => "idempotent" },
        async save() {
          // The result of c1 is accepted; while it is saved, the result of c2 arrives.
          if (machine.outstanding?.type !== "tool_calls" || machine.outstanding.calls.length !== 1) return
          await ticks(20)
          controller.abort()
        },
      },
      { signal: controller.signal },
    )
    expect(done.outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
    expect(toolTexts(done)).toEqual(["c1", "c2"])
  })

  test("calls that have not started never start", async () => {
    const controller = new AbortController()
    const slow = deferred<Json>()
    const started: string[] = []
    const turn = runTurn(
      newTurn(),
      {
        llmCall: script(calls(["c1", "slow"], ["c2", "waiting"])),
        tools: {
          async call({ callId }) {
            started.push(callId)
            return { output: { status: "success", value: await slow.promise } }
          },
          effects: () => "idempotent",
        },
      },
      { signal: controller.signal, toolConcurrency: 1 },
    )
    await until(() => started.length === 1)
    controller.abort()
    slow.resolve("late")
    await turn
    await ticks(20)
    expect(started).toEqual(["c1"])
  })

  test("aborts the signal of a model call, whose error is then not shown as a failure", async () => {
    const controller = new AbortController()
    const events: TurnEvent[] = []
    const asked = deferred<void>()
    const turn = runTurn(
      newTurn(),
      {
        llmCall: (_effect, { signal }) =>
          new Promise((_resolve, reject) => {
            signal.addEventListener("abort", () => reject(new Error("aborted")))
            asked.resolve()
          }),
      },
      { signal: controller.signal, onEvent: (event) => void events.push(event) },
    )
    await asked.promise
    controller.abort()
    const done = await turn
    expect(done.outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
    expect(events.map((event) => event.type)).toEqual(["llm_request", "message", "turn_outcome", "done"])
    expect(events[1]).toEqual({ type: "message", text: "The turn was cancelled.", kind: "cancelled" })
  })

  test("before the turn begins, nothing is performed", async () => {
    const done = await runTurn(newTurn(), { llmCall: neverCalled }, { signal: AbortSignal.abort() })
    expect(done.outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
    expect(done.messages).toHaveLength(1)
  })

  test("during a save, the next work does not start", async () => {
    const controller = new AbortController()
    const saved: string[] = []
    const done = await runTurn(
      newTurn(),
      {
        llmCall: neverCalled,
        save({ state }) {
          saved.push(state)
          controller.abort()
        },
      },
      { signal: controller.signal },
    )
    expect(done.outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
    expect(saved).toEqual(["waiting_llm", "finished", "finished"])
  })

  test("leaves no listener on the signal", async () => {
    const { signal } = new AbortController()
    let listeners = 0
    const counting = new Proxy(signal, {
      get(target, key) {
        if (key === "addEventListener") listeners += 1
        if (key === "removeEventListener") listeners -= 1
        const value: unknown = Reflect.get(target, key)
        return typeof value === "function" ? value.bind(target) : value
      },
    })
    await runTurn(
      newTurn(),
      { llmCall: script(calls(["c1", "look"]), says("Done.")), tools: { call: succeed, effects: () => "idempotent" } },
      { signal: counting },
    )
    expect(listeners).toBe(0)
  })
})
