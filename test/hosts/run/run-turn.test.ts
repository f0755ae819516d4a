import { describe, expect, test } from "vitest"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { type Host, type HostTools, LlmCallError, type RunOptions, ToolError } from "../../../src/hosts/host.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { toolbox } from "../../../src/hosts/tools/toolbox.ts"
import type { TurnConfig } from "../../../src/machine/config.ts"
import type { ProtocolDriver } from "../../../src/machine/driver.ts"
import { chatProjector } from "../../../src/projectors/chat.ts"
import type { Done } from "../../../src/schemas/effect.ts"
import type { TurnEvent } from "../../../src/schemas/event.ts"
import type { Json } from "../../../src/schemas/json.ts"
import type { LlmResponse } from "../../../src/schemas/llm.ts"
import type { Response } from "../../../src/schemas/response.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"

describe("a turn runs to its end", () => {
  test("saves before work and after each answer, and tells progress before the work that follows", async () => {
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

  test("what a host delivers at a checkpoint goes into the turn", async () => {
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
    // System prompt and question; then also the first answer and what was delivered.
    expect(requests).toEqual([2, 4])
    expect(done.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Two." } })
  })

  test("the execution surface is asked for, and what it gives is used", async () => {
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

  test("code is run, and a batch without calls is answered with no results", async () => {
    const executed = await runTurn(newTurn({ driver: execDriver }), {
      llmCall: neverCalled,
      execCode: async ({ code }) => ({ observations: [`ran ${code}`], toolCalls: [], images: [], printedImages: [], durationMs: 1 }),
    })
    expect(submitted(executed)).toMatchObject({ ok: true, value: { observations: ["ran 1 + 1"] } })

    const empty = await runTurn(newTurn({ driver: emptyBatchDriver }), { llmCall: neverCalled })
    expect(submitted(empty)).toEqual([])
  })

  test("events and log entries are shown", async () => {
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
  test("run side by side up to the limit, and each result is handed in, saved and shown as it comes", async () => {
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

  test("by default eight at a time", async () => {
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

  test("a limit below one is refused", async () => {
    for (const toolConcurrency of [0, -1, Number.NaN]) {
      await expect(runTurn(newTurn(), { llmCall: neverCalled }, { toolConcurrency })).rejects.toThrow(RangeError)
    }
  })
})

describe("an abort cancels the turn", () => {
  test("tools that ignore their signal hold nothing up; finished ones keep their results, and late ones are dropped", async () => {
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
      // The second place is free again only once c1 ended; c3 takes it.
      { signal: controller.signal, toolConcurrency: 2 },
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

  test("a result that came before the abort is kept, also where it was still to be handed in", async () => {
    const controller = new AbortController()
    const machine = newTurn()
    const done = await runTurn(
      machine,
      {
        llmCall: script(calls(["c1", "look"], ["c2", "look"])),
        tools: { call: async ({ callId }) => ({ output: { status: "success", value: callId } }), effects: () => "idempotent" },
        async save() {
          // The result of c1 was taken, and while it is saved that of c2 comes.
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

  test("calls that had not started are never started", async () => {
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

  test("a model call gets its signal aborted, and what it then throws is not shown as a failure", async () => {
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

  test("before the turn began, nothing is performed", async () => {
    const done = await runTurn(newTurn(), { llmCall: neverCalled }, { signal: AbortSignal.abort() })
    expect(done.outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
    expect(done.messages).toHaveLength(1)
  })

  test("while the host saves, the work that was about to begin does not begin", async () => {
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

  test("leaves no listener behind", async () => {
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

describe("an executor that throws does not lose the turn", () => {
  test("a model call fails with the facts its executor gave", async () => {
    const failure = { message: "Overloaded.", retryable: true, code: "http_529", terminalReason: "provider_error" } as const
    const { done, events } = await runAndWatch(newTurn({ emitLlmTrace: true }), {
      llmCall: async () => {
        throw new LlmCallError(failure)
      },
    })
    expect(done.outcome).toEqual({ type: "stopped", stop: { type: "provider_error" } })
    expect(errors(events)).toEqual(["http_529: LLM error: Overloaded."])
  })

  test.each([
    ["an error", new Error("no network"), "executor_threw: LLM error: no network"],
    ["an error without words", new TypeError(), "executor_threw: LLM error: TypeError"],
    ["a text", "no network", "executor_threw: LLM error: no network"],
    ["what cannot be shown", Object.create(null), "executor_threw: LLM error: A value was thrown that cannot be shown."],
  ])("a model call fails with %s", async (_what, thrown: unknown, shown) => {
    const { done, events } = await runAndWatch(newTurn(), {
      // Not async: throws before there is a promise.
      llmCall: () => {
        throw thrown
      },
    })
    expect(done.outcome).toEqual({ type: "stopped", stop: { type: "provider_error" } })
    expect(errors(events)).toEqual([shown])
  })

  test("a tool call fails, the others do not, and the model is told", async () => {
    const { done, events } = await runAndWatch(newTurn(), {
      llmCall: script(calls(["c1", "look"], ["c2", "break"], ["c3", "refuse"]), says("Sorry.")),
      tools: {
        async call({ toolName }) {
          if (toolName === "break") throw new Error("disk full")
          if (toolName === "refuse") throw new ToolError({ class: "permission_denied", code: "not_yours", message: "That file is not yours." })
          return { output: { status: "success", value: "fine" } }
        },
        effects: () => "idempotent",
      },
    })
    expect(toolTexts(done)).toEqual(["fine", "[Tool execution failed]\ndisk full", "[Tool execution failed]\nThat file is not yours."])
    expect(failures(events)).toEqual([
      { class: "execution", code: "tool_threw", message: "disk full", source: "tool", retry: { type: "never" } },
      { class: "permission_denied", code: "not_yours", message: "That file is not yours.", source: "tool", retry: { type: "never" } },
    ])
    expect(done.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Sorry." } })
  })

  test("without tools every call fails as unavailable", async () => {
    const { done, events } = await runAndWatch(newTurn(), { llmCall: script(calls(["c1", "look"]), says("Sorry.")) })
    expect(failures(events)).toMatchObject([{ class: "unavailable", code: "no_tools" }])
    expect(done.outcome.type).toBe("finished")
  })

  test("code fails with the error's message", async () => {
    const driver = { driver: execDriver }
    const thrown = await runTurn(newTurn(driver), { llmCall: neverCalled, execCode: () => Promise.reject(new Error("no sandbox")) })
    expect(submitted(thrown)).toEqual({ ok: false, error: "no sandbox" })
    const absent = await runTurn(newTurn(driver), { llmCall: neverCalled })
    expect(submitted(absent)).toEqual({ ok: false, error: "This host does not run code." })
  })

  test("a checkpoint delivers nothing, says so, and the turn goes on", async () => {
    const { done, events } = await runAndWatch(newTurn(), {
      llmCall: script(says("Hello.")),
      checkpoint: () => Promise.reject(new Error("queue down")),
    })
    expect(done.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Hello." } })
    expect(errors(events)).toEqual(["executor_threw: Nothing was delivered at the checkpoint. queue down"])
  })

  test("an execution surface that cannot be had ends the turn in order", async () => {
    const { done, events } = await runAndWatch(newTurn({ syncExecutionSurface: true }), {
      llmCall: neverCalled,
      syncExecutionSurface: () => Promise.reject(new Error("no plugins")),
    })
    expect(done.outcome).toEqual({ type: "stopped", stop: { type: "runtime_error" } })
    expect(errors(events)).toEqual(["reconfigure_failed: Execution surface not refreshed: no plugins"])
  })
})

describe("an answer that does not fit the wire is a failure of its effect", () => {
  test.each([
    ["nothing", undefined],
    ["a text", "Hello."],
    ["parts of no known type", { ...says("Hello."), parts: [{ type: "poem", text: "Hello." }] }],
    [
      "counts that are no numbers",
      { ...says("Hello."), usage: { inputTokens: Number.NaN, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 } },
    ],
  ])("of the model: %s", async (_what, answer) => {
    const { done, events } = await runAndWatch(newTurn(), { llmCall: async () => answer as LlmResponse })
    expect(done.outcome).toEqual({ type: "stopped", stop: { type: "provider_error" } })
    expect(errors(events)).toEqual([expect.stringMatching(/^invalid_llm_response: LLM error: The model's answer cannot be used\. /)])
  })

  test("of the model, also where the machine does not check", async () => {
    const { done, events } = await runAndWatch(newTurn({ validation: undefined }), { llmCall: async () => undefined as never })
    expect(done.outcome).toEqual({ type: "stopped", stop: { type: "provider_error" } })
    expect(errors(events)).toEqual([expect.stringMatching(/^invalid_llm_response: /)])
  })

  test("of the model: a failure without its facts", async () => {
    const { events } = await runAndWatch(newTurn(), { llmCall: () => Promise.reject(new LlmCallError({ message: "Odd." } as never)) })
    expect(errors(events)).toEqual([expect.stringMatching(/^invalid_llm_response: /)])
  })

  test.each([
    ["nothing", undefined, "A tool executor answers an object with an output."],
    ["a value instead of an answer", { files: [] }, "A tool executor answers an object with an output."],
    ["a status of its own", { output: { status: "fine", value: 1 } }, "Not a valid response"],
    ["a failure without its facts", { output: { status: "failure", failure: { message: "no" } } }, "Not a valid response"],
    ["a number that is none", success({ size: Number.NaN }), 'Not JSON: the number NaN at "/size".'],
    ["a bigint", success(10n), "Not JSON: a bigint."],
    ["a function", success(() => 1), "Not JSON: a function."],
    ["a map", success(new Map([["a", 1]])), "Not JSON: an instance of Map."],
    ["a promise", success({ text: Promise.resolve("") }), 'Not JSON: a Promise (is an await missing?) at "/text".'],
    ["a value that contains itself", success(circle()), 'Not JSON: a value that contains itself at "/0/list".'],
    ["a value nested 129 deep", success(nested(129)), 'Not JSON: nested deeper than 128 at "/0/0/0/0/0/0/0/0/…".'],
    ["a getter that throws", success(Object.defineProperty({}, "x", { enumerable: true, get: neverCalled })), "This was not to be called."],
  ])("of a tool: %s", async (_what, answer, why) => {
    const { done, events } = await runAndWatch(newTurn(), {
      llmCall: script(calls(["c1", "look"], ["c2", "other"]), says("Sorry.")),
      tools: {
        call: async (call) => (call.callId === "c1" ? (answer as never) : { output: { status: "success", value: "fine" } }),
        effects: () => "idempotent",
      },
    })
    expect(failures(events)).toMatchObject([{ class: "internal", code: "invalid_tool_result" }])
    expect(toolTexts(done)).toEqual([expect.stringContaining(`The tool ran, but its result cannot be used. ${why}`), "fine"])
    expect(done.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Sorry." } })
  })

  test("of a tool: where in the value it is", async () => {
    const { events } = await runAndWatch(newTurn(), {
      llmCall: script(calls(["c1", "look"]), says("Sorry.")),
      tools: {
        call: async () => ({ output: { status: "success", value: { rows: [{ size: 1 }, { size: Number.POSITIVE_INFINITY }] } } }),
        effects: () => "idempotent",
      },
    })
    expect(failures(events)).toMatchObject([
      { message: 'The tool ran, but its result cannot be used. Not JSON: the number Infinity at "/rows/1/size".' },
    ])
  })

  test("of a checkpoint: nothing is delivered", async () => {
    const { done, events } = await runAndWatch(newTurn(), { llmCall: script(says("Hello.")), checkpoint: async () => ({ messages: "hi" }) as never })
    expect(done.outcome.type).toBe("finished")
    expect(errors(events)).toEqual([expect.stringMatching(/^invalid_delivery: Nothing was delivered at the checkpoint\. /)])
  })

  test("of code and of the execution surface: they fail", async () => {
    const executed = await runTurn(newTurn({ driver: execDriver }), { llmCall: neverCalled, execCode: async () => ({ observations: 3 }) as never })
    expect(submitted(executed)).toMatchObject({ ok: false })
    const synced = await runTurn(newTurn({ syncExecutionSurface: true }), { llmCall: neverCalled, syncExecutionSurface: async () => ({}) as never })
    expect(synced.outcome).toEqual({ type: "stopped", stop: { type: "runtime_error" } })
  })

  test("undefined, dates, instances and -0 become JSON instead", async () => {
    class Row {
      readonly id = 7
    }
    const value = { at: new Date(0), rows: [new Row(), undefined], left: undefined, zero: -0, [Symbol("s")]: 1, never: new Date(Number.NaN) }
    const values: unknown[] = []
    const model = script(calls(["c1", "value"], ["c2", "nothing"], ["c3", "deep"], ["c4", "keys"]), {
      ...says("Done."),
      terminalDiagnostic: undefined,
    } as never)
    const done = await runTurn(
      newTurn(),
      {
        llmCall: model,
        tools: {
          async call({ toolName }) {
            const all: Record<string, unknown> = {
              value,
              nothing: undefined,
              deep: nested(128),
              keys: JSON.parse('{"__proto__":{"polluted":true},"gone":0}'),
            }
            const modelReturn = toolName === "nothing" ? { parts: [{ type: "text", text: "(nothing)" }] } : undefined
            return { output: { status: "success", value: all[toolName] }, modelReturn } as never
          },
          effects: () => "idempotent",
        },
      },
      { onEvent: (event) => void (event.type === "tool_call" && event.output.status === "success" && values.push(event.output.value)) },
    )
    expect(values[0]).toStrictEqual({ at: "1970-01-01T00:00:00.000Z", rows: [{ id: 7 }, null], zero: 0, never: null })
    expect(values[1]).toBe(null)
    expect(values[2]).toEqual(nested(128))
    expect(Object.keys(values[3] as object)).toEqual(["__proto__", "gone"])
    expect(({} as { polluted?: true }).polluted).toBeUndefined()
    expect(toolTexts(done)[1]).toBe("(nothing)")
    expect(done.outcome.type).toBe("finished")
  })
})

describe("what executors emit", () => {
  test("is shown at once, and streamed text is not shown twice", async () => {
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

  test("an empty delta, or reasoning, does not count as the text", async () => {
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

  test("does nothing once the work ended: neither in the same batch nor later", async () => {
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

  test("carries the id of the effect, the same for all calls of a batch", async () => {
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
  test("each answer carries the host's time, and tool calls how long they took by the same clock", async () => {
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
    // Times are whole milliseconds, also by a clock that gives fractions.
    expect(answered).toEqual([
      "llm_complete at 1100",
      "tool_results at 1140",
      "checkpoint_delivery at 1140",
      "llm_complete at 1241",
      "checkpoint_delivery at 1241",
    ])
  })

  test("a clock that runs backwards makes no negative durations", async () => {
    let time = 1_000
    const { events } = await runAndWatch(
      newTurn(),
      { llmCall: script(calls(["c1", "look"]), says("Done.")), tools: { call: succeed, effects: () => "idempotent" } },
      { now: () => (time -= 10) },
    )
    expect(events.filter((event) => event.type === "tool_call").map((event) => event.durationMs)).toEqual([0])
  })
})

describe("where nothing durable can be promised, the run rejects and the machine stays usable", () => {
  test("a save that fails before work: nothing was performed, and the next run performs it", async () => {
    const machine = newTurn()
    await expect(runTurn(machine, { llmCall: neverCalled, save: () => Promise.reject(new Error("disk full")) })).rejects.toThrow("disk full")
    const done = await runTurn(machine, { llmCall: script(says("Hello.")) })
    expect(done.outcome.type).toBe("finished")
  })

  test("a save that fails while tools run: they are stopped, what is done is not done again, what is missing is", async () => {
    const machine = newTurn()
    const ran: string[] = []
    let saves = 0
    const signals: AbortSignal[] = []
    const first = runTurn(machine, {
      llmCall: script(calls(["c1", "one"], ["c2", "two"], ["c3", "three"])),
      tools: {
        async call({ callId }, { signal }) {
          ran.push(callId)
          // c1 and c2 end in the same moment: when saving c1's result fails, c2's has come but was not handed in.
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

  test("progress that could not be told is told first when the machine goes on, and all of it once", async () => {
    const machine = newTurn()
    const told: string[] = []
    let failing = true
    const host: Host = {
      llmCall: script(calls(["c1", "look"]), says("Done.")),
      tools: { call: succeed, effects: () => "idempotent" },
      async progress({ type, eventDelta }) {
        if (failing && told.length === 1) throw new Error("store down")
        told.push(`${type} ${eventDelta.length}`)
      },
    }
    await expect(runTurn(machine, host)).rejects.toThrow("store down")
    await expect(runTurn(machine, host)).rejects.toThrow("store down")
    failing = false
    await runTurn(machine, host)
    expect(told).toEqual(["progress 1", "progress 1", "progress 1", "done 0"])
  })

  test("a done that could not be told is told by the next run, and is its answer", async () => {
    const machine = newTurn()
    const told: string[] = []
    await expect(
      runTurn(machine, {
        llmCall: script(says("Hello.")),
        progress({ type }) {
          if (type === "done") throw new Error("store down")
        },
      }),
    ).rejects.toThrow("store down")
    const done = await runTurn(machine, { llmCall: neverCalled, progress: ({ type }) => void told.push(type) })
    expect(told).toEqual(["done"])
    expect(done.outcome.type).toBe("finished")
  })

  test("a callback that throws is not blamed on the executor that emitted", async () => {
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

  test("a clock that throws, or tells no time, rejects instead of hanging", async () => {
    const now = (): number => {
      throw new Error("no clock")
    }
    await expect(runTurn(newTurn(), { llmCall: script(says("Hello.")) }, { now })).rejects.toThrow("no clock")
    await expect(runTurn(newTurn(), { llmCall: script(says("Hello.")) }, { now: () => Number.NaN })).rejects.toThrow("/at")
  })
})

describe("a machine at any point", () => {
  test("restored in the middle of a batch: only the missing calls run", async () => {
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

  test("from every save of a run, the restored turn ends as the run did", async () => {
    const config = configOf()
    const machine = new TurnMachine(config, start)
    const saved: string[] = []
    const host: Host = {
      llmCall: async ({ request }) => (request.messages.length === 2 ? calls(["c1", "look"], ["c2", "look"]) : says("Done.")),
      tools: { call: async ({ callId }) => ({ output: { status: "success", value: callId } }), effects: () => "idempotent" },
    }
    const done = await runTurn(machine, { ...host, save: () => void saved.push(JSON.stringify(machine.checkpoint())) })
    expect(saved).toHaveLength(12)
    for (const text of saved) {
      const again = await runTurn(TurnMachine.restore(config, text), host)
      expect(again.messages).toEqual(done.messages)
      expect(again.outcome).toEqual(done.outcome)
    }
  })

  test("an effect that somebody else polled is performed", async () => {
    const machine = newTurn()
    while (machine.poll() !== undefined) {}
    const done = await runTurn(machine, { llmCall: script(says("Hello.")) })
    expect(done.outcome.type).toBe("finished")
  })

  test("an effect that comes out already answered is not performed", async () => {
    const machine = newTurn()
    machine.poll()
    machine.handle({ type: "llm_complete", id: 1, result: { ok: true, response: says("Hello.") } })
    const done = await runTurn(machine, { llmCall: neverCalled })
    expect(done.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Hello." } })
  })

  test("an effect answered by somebody else while it runs: the run's own answer is dropped", async () => {
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

  test("a turn that an executor ends from outside is ended", async () => {
    const machine = newTurn()
    const done = await runTurn(machine, {
      async llmCall() {
        machine.finish({ type: "finished", finish: { type: "submitted_value", value: 42 } })
        return says("Too late.")
      },
    })
    expect(submitted(done)).toBe(42)
  })

  test("finished: its done is given back, told only if it was not", async () => {
    const config = configOf()
    const machine = new TurnMachine(config, start)
    const saved: string[] = []
    const host: Host = { llmCall: script(says("Hello.")), save: () => void saved.push(JSON.stringify(machine.checkpoint())) }
    const done = await runTurn(machine, host)
    const told: string[] = []
    const finished: Host = { llmCall: neverCalled, progress: ({ type }) => void told.push(type) }

    const again = await runTurn(machine, finished)
    expect(again).toEqual({ type: "done", outcome: done.outcome, messages: done.messages, eventDelta: [], iteration: 0 })
    expect(told).toEqual([])

    const restored = await runTurn(TurnMachine.restore(config, saved.at(-1)), finished)
    expect(restored).toEqual(again)
    expect(told).toEqual([])

    const untold = await runTurn(TurnMachine.restore(config, saved.at(-2)), finished)
    expect(untold.messages).toEqual(done.messages)
    expect(told).toEqual(["done"])
  })

  test("finished and aborted: the end stays what it was", async () => {
    const machine = newTurn()
    await runTurn(machine, { llmCall: script(says("Hello.")) })
    const again = await runTurn(machine, { llmCall: neverCalled }, { signal: AbortSignal.abort() })
    expect(again.outcome.type).toBe("finished")
  })
})

const start = { messages: [{ id: "u1", role: "user", parts: [{ id: "u1.p0", type: "text", text: "Where is it?" }] }] } as const

type Overrides = Partial<Omit<TurnConfig, "validation">> & { readonly validation?: undefined }

function configOf(overrides: Overrides = {}): TurnConfig {
  const config: Omit<TurnConfig, "validation"> = {
    model: "test",
    sessionId: "s",
    systemPrompt: "You find things.",
    tools: [],
    generation: {},
    syncExecutionSurface: false,
    emitLlmTrace: false,
    driver: chatDriver(),
    projector: chatProjector,
    ...overrides,
  }
  return config
}

function newTurn(overrides: Overrides = {}): TurnMachine {
  return new TurnMachine(configOf(overrides), start)
}

/** Runs one piece of code and submits what came of it. */
const execDriver: ProtocolDriver = {
  name: "exec",
  version: 1,
  prepareIteration: () => [{ type: "start_exec", code: "1 + 1", driverState: null }],
  onLlmComplete: () => [],
  onToolResults: () => [],
  onExecResult: (_context, _waiting, result) => [
    { type: "finish", outcome: { type: "finished", finish: { type: "submitted_value", value: result as unknown as Json } } },
  ],
}

/** Starts a batch without calls and submits its results. */
const emptyBatchDriver: ProtocolDriver = {
  name: "empty-batch",
  version: 1,
  prepareIteration: () => [{ type: "start_tools", calls: [] }],
  onLlmComplete: () => [],
  onToolResults: (_context, results) => [
    { type: "finish", outcome: { type: "finished", finish: { type: "submitted_value", value: results as unknown as Json } } },
  ],
}

const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }

function says(text: string): LlmResponse {
  return { text, parts: [{ type: "text", text }], usage, terminalReason: "stop" }
}

function calls(...named: readonly (readonly [callId: string, toolName: string])[]): LlmResponse {
  const parts = named.map(([callId, toolName]) => ({ type: "tool_call", callId, toolName, inputJson: "{}" }) as const)
  return { text: "", parts, usage, terminalReason: "tool_use" }
}

/** A model that gives these answers, one after the other. */
function script(...answers: readonly LlmResponse[]): () => Promise<LlmResponse> {
  const left = [...answers]
  return async () => {
    const answer = left.shift()
    if (answer === undefined) throw new Error("The script has no more answers.")
    return answer
  }
}

function neverCalled(): never {
  throw new Error("This was not to be called.")
}

describe("a host that cannot be meant", () => {
  test.each([
    ["without a model", {}, "The host needs an llmCall function."],
    ["with a toolbox spread into it", { llmCall: script(says("Yes.")), ...toolbox([]) }, "Pass them as a member: { llmCall, tools }."],
  ])("%s is refused before anything is polled", async (_what, host, message) => {
    const machine = newTurn()
    await expect(runTurn(machine, host as Host)).rejects.toThrow(message)
    expect(machine.state).toBe("preparing")
  })
})

const succeed: HostTools["call"] = async () => ({ output: { status: "success", value: "fine" } })

async function runAndWatch(machine: TurnMachine, host: Host, options: RunOptions = {}): Promise<{ done: Done; events: readonly TurnEvent[] }> {
  const events: TurnEvent[] = []
  const done = await runTurn(machine, host, { ...options, onEvent: (event) => void events.push(event) })
  return { done, events }
}

function errors(events: readonly TurnEvent[]): readonly string[] {
  return events.flatMap((event) => (event.type === "error" ? [`${event.envelope?.code}: ${event.message}`] : []))
}

function failures(events: readonly TurnEvent[]): readonly unknown[] {
  return events.flatMap((event) => (event.type === "tool_call" && event.output.status === "failure" ? [event.output.failure] : []))
}

/** What the transcript says came of each tool call. */
function toolTexts(done: Done): readonly string[] {
  return done.messages.flatMap((message) => message.parts.flatMap((part) => (part.type === "tool_result" ? [part.text] : [])))
}

function submitted(done: Done): unknown {
  const { outcome } = done
  return outcome.type === "finished" && outcome.finish.type === "submitted_value" ? outcome.finish.value : outcome
}

interface Deferred<Value> {
  readonly promise: Promise<Value>
  resolve(value: Value): void
}

function deferred<Value>(): Deferred<Value> {
  let resolve: (value: Value) => void = neverCalled
  const promise = new Promise<Value>((settle) => {
    resolve = settle
  })
  return { promise, resolve: (value) => resolve(value) }
}

/** Lets everything that is ready run on, without waiting for time to pass. */
async function ticks(count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) await Promise.resolve()
}

async function until(holds: () => boolean): Promise<void> {
  for (let index = 0; index < 1_000 && !holds(); index += 1) await Promise.resolve()
  expect(holds()).toBe(true)
}

function success(value: unknown): unknown {
  return { output: { status: "success", value } }
}

function circle(): unknown {
  const list: unknown[] = []
  list.push({ list })
  return list
}

function nested(depth: number): Json {
  let value: Json = []
  for (let level = 1; level < depth; level += 1) value = [value]
  return value
}
