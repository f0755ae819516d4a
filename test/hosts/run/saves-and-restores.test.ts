import { describe, expect, test } from "vitest"
import type { Host } from "../../../src/hosts/host.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import type { Json } from "../../../src/schemas/json.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { calls, configOf, deferred, neverCalled, newTurn, says, script, start, submitted, succeed, toolTexts, until } from "./support.ts"

describe("if the host cannot record or report, the run rejects and the machine stays usable", () => {
  test("a failed save before work: nothing is performed, and the next run performs it", async () => {
    const machine = newTurn()
    await expect(runTurn(machine, { llmCall: neverCalled, save: () => Promise.reject(new Error("disk full")) })).rejects.toThrow("disk full")
    const done = await runTurn(machine, { llmCall: script(says("Hello.")) })
    expect(done.outcome.type).toBe("finished")
  })

  test("a failed save during tool calls: they are stopped, and the next run repeats only calls without a result", async () => {
    const machine = newTurn()
    const ran: string[] = []
    let saves = 0
    const signals: AbortSignal[] = []
    const first = runTurn(machine, {
      llmCall: script(calls(["c1", "one"], ["c2", "two"], ["c3", "three"])),
      tools: {
        async call({ callId }, { signal }) {
          ran.push(callId)
          // c1 and c2 end together: when saving c1's result fails, c2's has arrived but is not handled.
          if (callId !== "c3") return { output: { status: "success", value: callId } }
          signals.push(signal)
          return new Promise(() => {})
        },
        effects: () => "idempotent",
      },
      save() {
        saves += 1
        if (saves === 4) throw new Error("disk full")
      },
    })
    await expect(first).rejects.toThrow("disk full")
    expect(signals.map((signal) => signal.aborted)).toEqual([true])
    expect(ran).toEqual(["c1", "c2", "c3"])

    const done = await runTurn(machine, {
      llmCall: script(says("Done.")),
      tools: {
        async call({ callId }) {
          ran.push(callId)
          return { output: { status: "success", value: `${callId} again` } }
        },
        effects: () => "idempotent",
      },
    })
    expect(ran).toEqual(["c1", "c2", "c3", "c3"])
    expect(toolTexts(done)).toEqual(["c1", "c2", "c3 again"])
  })

  test("an answer that could not be saved is saved by the next run, before anything of it is reported", async () => {
    const machine = newTurn()
    const seen: string[] = []
    let saves = 0
    const host: Host = {
      llmCall: script(says("Hello.")),
      progress: ({ type }) => void seen.push(type),
      save: ({ outstanding }) => {
        saves += 1
        if (saves === 2) throw new Error("disk full")
        seen.push(`saved ${outstanding?.id}`)
      },
    }
    await expect(runTurn(machine, host)).rejects.toThrow("disk full")
    await runTurn(machine, host)
    expect(seen.slice(0, 3)).toEqual(["saved 1", "saved 2", "progress"])
  })

  test("progress that could not be reported is reported first by the next run, and each part once", async () => {
    const machine = newTurn()
    const reported: string[] = []
    let failing = true
    const host: Host = {
      llmCall: script(calls(["c1", "look"]), says("Done.")),
      tools: { call: succeed, effects: () => "idempotent" },
      async progress({ type, eventDelta }) {
        if (failing && reported.length === 1) throw new Error("store down")
        reported.push(`${type} ${eventDelta.length}`)
      },
    }
    await expect(runTurn(machine, host)).rejects.toThrow("store down")
    await expect(runTurn(machine, host)).rejects.toThrow("store down")
    failing = false
    await runTurn(machine, host)
    expect(reported).toEqual(["progress 1", "progress 1", "progress 1", "done 0"])
  })

  test("a `done` that could not be reported is reported and returned by the next run", async () => {
    const machine = newTurn()
    const reported: string[] = []
    await expect(
      runTurn(machine, {
        llmCall: script(says("Hello.")),
        progress({ type }) {
          if (type === "done") throw new Error("store down")
        },
      }),
    ).rejects.toThrow("store down")
    const done = await runTurn(machine, { llmCall: neverCalled, progress: ({ type }) => void reported.push(type) })
    expect(reported).toEqual(["done"])
    expect(done.outcome.type).toBe("finished")
  })

  test("an error of a callback is not a failure of the executor that emitted the event", async () => {
    const machine = newTurn()
    const run = runTurn(
      machine,
      {
        async llmCall(_effect, { emit }) {
          emit({ type: "text_delta", content: "Hello." })
          return new Promise(() => {})
        },
      },
      {
        onEvent(event) {
          if (event.type === "text_delta") throw new Error("screen gone")
        },
      },
    )
    await expect(run).rejects.toThrow("screen gone")
    expect(machine.state).toBe("waiting_llm")
    const done = await runTurn(machine, { llmCall: script(says("Hello.")) })
    expect(done.outcome.type).toBe("finished")
  })

  test("a clock that throws, or returns no time, rejects instead of hanging", async () => {
    const now = (): number => {
      throw new Error("no clock")
    }
    await expect(runTurn(newTurn(), { llmCall: script(says("Hello.")) }, { now })).rejects.toThrow("no clock")
    await expect(runTurn(newTurn(), { llmCall: script(says("Hello.")) }, { now: () => Number.NaN })).rejects.toThrow("/at")
  })
})

describe("a machine in any state", () => {
  test("restored during a batch: only calls without a result run", async () => {
    const saved: string[] = []
    const config = configOf()
    const machine = new TurnMachine(config, start)
    const slow = deferred<Json>()
    const controller = new AbortController()
    const crashed = runTurn(
      machine,
      {
        llmCall: script(calls(["c1", "one"], ["c2", "two"])),
        tools: {
          call: async ({ callId }) => ({ output: { status: "success", value: callId === "c1" ? "kept" : await slow.promise } }),
          effects: () => "idempotent",
        },
        save: () => void saved.push(JSON.stringify(machine.checkpoint())),
      },
      { signal: controller.signal },
    )
    await until(() => saved.length === 4)

    const ran: string[] = []
    const effects: number[] = []
    const done = await runTurn(TurnMachine.restore(config, saved[3]), {
      llmCall: script(says("Done.")),
      tools: {
        async call({ callId }, { effectId }) {
          ran.push(callId)
          effects.push(effectId)
          return { output: { status: "success", value: "made up for" } }
        },
        effects: () => "idempotent",
      },
    })
    expect(ran).toEqual(["c2"])
    expect(effects).toEqual([2])
    expect(toolTexts(done)).toEqual(["kept", "made up for"])

    controller.abort()
    await crashed
  })

  test("restored from any save of a run: the turn ends as the run did", async () => {
    const config = configOf()
    const machine = new TurnMachine(config, start)
    const saved: string[] = []
    const host: Host = {
      llmCall: async ({ request }) => (request.messages.length === 2 ? calls(["c1", "look"], ["c2", "look"]) : says("Done.")),
      tools: { call: async ({ callId }) => ({ output: { status: "success", value: callId } }), effects: () => "idempotent" },
    }
    const done = await runTurn(machine, { ...host, save: () => void saved.push(JSON.stringify(machine.checkpoint())) })
    // Before and after each model call, before the tools and after each of them, and at the end. The checkpoints deliver nothing.
    expect(saved).toHaveLength(2 + 3 + 2 + 1)
    for (const text of saved) {
      const again = await runTurn(TurnMachine.restore(config, text), host)
      expect(again.messages).toEqual(done.messages)
      expect(again.outcome).toEqual(done.outcome)
    }
  })

  test("with an effect that was polled elsewhere: it is performed", async () => {
    const machine = newTurn()
    while (machine.poll() !== undefined) {}
    const done = await runTurn(machine, { llmCall: script(says("Hello.")) })
    expect(done.outcome.type).toBe("finished")
  })

  test("with an effect that was already answered: it is not performed", async () => {
    const machine = newTurn()
    machine.poll()
    machine.handle({ type: "llm_complete", id: 1, result: { ok: true, response: says("Hello.") } })
    const done = await runTurn(machine, { llmCall: neverCalled })
    expect(done.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Hello." } })
  })

  test("with an effect that is answered elsewhere while it runs: the run's own answer is dropped", async () => {
    const machine = newTurn()
    const done = await runTurn(machine, {
      async llmCall() {
        machine.handle({ type: "llm_complete", id: 1, result: { ok: true, response: says("Theirs.") } })
        return says("Ours.")
      },
    })
    expect(done.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Theirs." } })

    const batch = newTurn()
    const both = await runTurn(batch, {
      llmCall: script(calls(["c1", "look"], ["c2", "look"]), says("Done.")),
      tools: {
        async call(call, { effectId }) {
          const theirs = { ...call, output: { status: "success", value: "theirs" }, durationMs: 0 } as const
          if (call.callId === "c1") batch.handle({ type: "tool_results", id: effectId, results: [theirs] })
          return { output: { status: "success", value: "ours" } }
        },
        effects: () => "idempotent",
      },
    })
    expect(toolTexts(both)).toEqual(["theirs", "ours"])
  })

  test("that an executor finishes from outside: the turn has ended", async () => {
    const machine = newTurn()
    const done = await runTurn(machine, {
      async llmCall() {
        machine.finish({ type: "finished", finish: { type: "submitted_value", value: 42 } })
        return says("Too late.")
      },
    })
    expect(submitted(done)).toBe(42)
  })

  test("finished: its `done` is returned, and reported only if it was not", async () => {
    const config = configOf()
    const machine = new TurnMachine(config, start)
    const saved: string[] = []
    const host: Host = { llmCall: script(says("Hello.")), save: () => void saved.push(JSON.stringify(machine.checkpoint())) }
    const done = await runTurn(machine, host)
    const reported: string[] = []
    const finished: Host = { llmCall: neverCalled, progress: ({ type }) => void reported.push(type) }

    const again = await runTurn(machine, finished)
    expect(again).toEqual({
      type: "done",
      outcome: done.outcome,
      messages: done.messages,
      eventDelta: [],
      recordsFrom: 1,
      iteration: 0,
      usage: done.usage,
    })
    expect(reported).toEqual([])

    const restored = await runTurn(TurnMachine.restore(config, saved.at(-1)), finished)
    expect(restored).toEqual(again)
    expect(reported).toEqual([])

    // The one before is that of the model's answer, which was not reported either.
    const unreported = await runTurn(TurnMachine.restore(config, saved.at(-2)), finished)
    expect(unreported.messages).toEqual(done.messages)
    expect(reported).toEqual(["progress", "done"])
  })

  test("finished and aborted: the outcome is unchanged", async () => {
    const machine = newTurn()
    await runTurn(machine, { llmCall: script(says("Hello.")) })
    const again = await runTurn(machine, { llmCall: neverCalled }, { signal: AbortSignal.abort() })
    expect(again.outcome.type).toBe("finished")
  })
})
