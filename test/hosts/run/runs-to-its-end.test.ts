import { describe, expect, test } from "vitest"
import type { RunOptions } from "../../../src/hosts/host.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import type { Json } from "../../../src/schemas/json.ts"
import {
  calls,
  type Deferred,
  deferred,
  emptyBatchDriver,
  execDriver,
  neverCalled,
  newTurn,
  says,
  script,
  submitted,
  succeed,
  ticks,
  toolTexts,
  until,
} from "./support.ts"

describe("a turn runs to its end", () => {
  test("saves before work and after each answer, and reports progress before the next work", async () => {
    const steps: string[] = []
    const machine = newTurn()
    const model = script(calls(["c1", "look"]), says("Found it."))

    const done = await runTurn(machine, {
      llmCall: async () => {
        steps.push("call the model")
        return model()
      },
      tools: {
        call: async (call) => {
          steps.push(`run ${call.toolName}`)
          return { output: { status: "success", value: "a lamp" } }
        },
        effects: () => "idempotent",
      },
      checkpoint: async ({ checkpoint }) => {
        steps.push(checkpoint)
        return undefined
      },
      progress: async (effect) => {
        await ticks(10)
        steps.push(`${effect.type}: ${effect.messages.length} messages`)
      },
      save: async ({ state }) => {
        await ticks(10)
        steps.push(`save ${state}`)
      },
    })

    expect(steps).toEqual([
      "save waiting_llm",
      "call the model",
      "save waiting_tools",
      "progress: 2 messages",
      "save waiting_tools",
      "run look",
      "save waiting_checkpoint",
      "progress: 3 messages",
      "save waiting_checkpoint",
      "after_work",
      "save prepare_iteration",
      "save waiting_llm",
      "call the model",
      "save waiting_checkpoint",
      "progress: 4 messages",
      "save waiting_checkpoint",
      "before_completion",
      "save finished",
      "done: 4 messages",
      "save finished",
    ])
    expect(done.type).toBe("done")
    expect(done.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Found it." } })
    expect(toolTexts(done)).toEqual(["a lamp"])
    expect(machine.done).toBe(true)
  })

  test("a host that only calls the model is enough", async () => {
    const done = await runTurn(newTurn(), { llmCall: script(says("Hello.")) })
    expect(done.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Hello." } })
  })

  test("a host's delivery at a checkpoint is added to the turn", async () => {
    const requests: number[] = []
    const model = script(says("One."), says("Two."))
    let delivered = false
    const done = await runTurn(newTurn(), {
      llmCall: async ({ request }) => {
        requests.push(request.messages.length)
        return model()
      },
      async checkpoint() {
        if (delivered) return undefined
        delivered = true
        return { messages: [{ role: "user", content: "And then?" }] }
      },
    })
    // System prompt and question; later also the first answer and the delivery.
    expect(requests).toEqual([2, 4])
    expect(done.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Two." } })
  })

  test("the execution surface is requested and used", async () => {
    const prompts: unknown[] = []
    await runTurn(newTurn({ syncExecutionSurface: true }), {
      llmCall: async ({ request }) => {
        prompts.push(request.messages[0]?.blocks[0])
        return says("Hello.")
      },
      syncExecutionSurface: async () => ({ systemPrompt: "Be brief.", tools: [] }),
    })
    expect(prompts).toEqual([{ type: "text", text: "Be brief." }])
  })

  test("code runs, and a batch without calls has no results", async () => {
    const executed = await runTurn(newTurn({ driver: execDriver }), {
      llmCall: neverCalled,
      code: { run: async ({ code }) => ({ observations: [`ran ${code}`], toolCalls: [], images: [], printedImages: [], durationMs: 1 }) },
    })
    expect(submitted(executed)).toMatchObject({ ok: true, value: { observations: ["ran 1 + 1"] } })

    const empty = await runTurn(newTurn({ driver: emptyBatchDriver }), { llmCall: neverCalled })
    expect(submitted(empty)).toEqual([])
  })

  test("events and log entries are emitted", async () => {
    const events: string[] = []
    const log: string[] = []
    const options: RunOptions = { onEvent: (event) => void events.push(event.type), onLog: (event) => void log.push(event.type) }
    await runTurn(
      newTurn({ emitLlmTrace: true }),
      { llmCall: script(calls(["c1", "look"]), says("Yes.")), tools: { call: succeed, effects: () => "idempotent" } },
      options,
    )
    expect(events).toEqual([
      "llm_request",
      "token_usage",
      "llm_response",
      "tool_call_start",
      "tool_call",
      "llm_request",
      "token_usage",
      "text_delta",
      "llm_response",
      "turn_outcome",
      "done",
    ])
    expect(log).toEqual(["llm_debug", "llm_debug"])
  })
})

describe("the calls of a batch", () => {
  test("run concurrently up to the limit, and each result is handled, saved and emitted as it arrives", async () => {
    const machine = newTurn()
    const running = new Map<string, Deferred<Json>>()
    const shown: string[] = []
    const missing: (readonly string[])[] = []
    const turn = runTurn(
      machine,
      {
        llmCall: script(calls(["c1", "one"], ["c2", "two"], ["c3", "three"]), says("Done.")),
        tools: {
          async call({ callId }) {
            const result = deferred<Json>()
            running.set(callId, result)
            return { output: { status: "success", value: await result.promise } }
          },
          effects: () => "idempotent",
        },
        save() {
          if (machine.outstanding?.type === "tool_calls") missing.push(machine.outstanding.calls.map((call) => call.callId))
        },
      },
      { toolConcurrency: 2, onEvent: (event) => void ("callId" in event && shown.push(`${event.type} ${event.callId}`)) },
    )

    await until(() => running.size === 2)
    expect(shown).toEqual(["tool_call_start c1", "tool_call_start c2"])
    running.get("c2")?.resolve("second")
    await until(() => shown.includes("tool_call c2") && running.size === 3)
    running.get("c3")?.resolve("third")
    await until(() => shown.includes("tool_call c3"))
    running.get("c1")?.resolve("first")
    const done = await turn

    expect(shown).toEqual(["tool_call_start c1", "tool_call_start c2", "tool_call_start c3", "tool_call c2", "tool_call c3", "tool_call c1"])
    expect(missing).toEqual([["c1", "c2", "c3"], ["c1", "c2", "c3"], ["c1", "c3"], ["c1"]])
    expect(toolTexts(done)).toEqual(["first", "second", "third"])
  })

  test("run eight at a time by default", async () => {
    let running = 0
    let most = 0
    const ids = Array.from({ length: 20 }, (_, index): [string, string] => [`c${index}`, "look"])
    await runTurn(newTurn(), {
      llmCall: script(calls(...ids), says("Done.")),
      tools: {
        async call() {
          running += 1
          most = Math.max(most, running)
          await ticks(10)
          running -= 1
          return { output: { status: "success", value: null } }
        },
        effects: () => "idempotent",
      },
    })
    expect(most).toBe(8)
  })

  test("refuse a limit of less than one", async () => {
    for (const toolConcurrency of [0, -1, Number.NaN]) {
      await expect(runTurn(newTurn(), { llmCall: neverCalled }, { toolConcurrency })).rejects.toThrow(RangeError)
    }
  })
})
