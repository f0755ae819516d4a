import { describe, expect, test } from "vitest"
import { type Host, type HostTools, LlmCallError, ToolError } from "../../../src/hosts/host.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { toolbox } from "../../../src/hosts/tools/toolbox.ts"
import { addUsage, NO_USAGE } from "../../../src/machine/limits.ts"
import type { LlmFailure, LlmResponse } from "../../../src/schemas/llm.ts"
import type { Part } from "../../../src/schemas/message.ts"
import { recordedTools } from "../../../src/testing/recorded-model.ts"
import { journalOf } from "../../replay/support.ts"
import {
  calls,
  circle,
  errors,
  execDriver,
  failures,
  nested,
  neverCalled,
  newTurn,
  runAndWatch,
  says,
  script,
  submitted,
  success,
  toolTexts,
  usage,
} from "./support.ts"

describe("an executor that throws does not lose the turn", () => {
  test("a model call fails with the details of its executor", async () => {
    const failure = { message: "Overloaded.", retryable: true, code: "http_529", terminalReason: "provider_error" } as const
    const { done, events } = await runAndWatch(newTurn({ emitLlmTrace: true }), {
      llmCall: async () => {
        throw new LlmCallError(failure)
      },
    })
    expect(done.outcome).toMatchObject({ type: "stopped", stop: { type: "provider_error" } })
    expect(errors(events)).toEqual(["http_529: LLM error: Overloaded."])
  })

  test.each([
    ["an error", new Error("no network"), "executor_threw: LLM error: no network"],
    ["an error without a message", new TypeError(), "executor_threw: LLM error: TypeError"],
    ["a string", "no network", "executor_threw: LLM error: no network"],
    ["a value that cannot be shown", Object.create(null), "executor_threw: LLM error: A value that cannot be shown was thrown."],
  ])("a model call fails with %s", async (_what, thrown: unknown, shown) => {
    const { done, events } = await runAndWatch(newTurn(), {
      // Not async: throws before there is a promise.
      llmCall: () => {
        throw thrown
      },
    })
    expect(done.outcome).toMatchObject({ type: "stopped", stop: { type: "provider_error" } })
    expect(errors(events)).toEqual([shown])
  })

  test("a tool call fails, the others do not, and the model sees the failure", async () => {
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
    const thrown = await runTurn(newTurn(driver), { llmCall: neverCalled, code: { run: () => Promise.reject(new Error("no sandbox")) } })
    expect(submitted(thrown)).toEqual({ ok: false, error: "no sandbox" })
    const absent = await runTurn(newTurn(driver), { llmCall: neverCalled })
    expect(submitted(absent)).toEqual({ ok: false, error: "This host does not run code." })
  })

  test("a checkpoint delivers nothing, reports it, and the turn continues", async () => {
    const { done, events } = await runAndWatch(newTurn(), {
      llmCall: script(says("Hello.")),
      checkpoint: () => Promise.reject(new Error("queue down")),
    })
    expect(done.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Hello." } })
    expect(errors(events)).toEqual(["executor_threw: Nothing was delivered at the checkpoint. queue down"])
  })

  test("a failed execution surface ends the turn in order", async () => {
    const { done, events } = await runAndWatch(newTurn({ syncExecutionSurface: true }), {
      llmCall: neverCalled,
      syncExecutionSurface: () => Promise.reject(new Error("no plugins")),
    })
    expect(done.outcome).toMatchObject({ type: "stopped", stop: { type: "runtime_error" } })
    expect(errors(events)).toEqual(["reconfigure_failed: Execution surface not refreshed: no plugins"])
  })
})

describe("a failed model call stores what the model said before", () => {
  const FAILURE: LlmFailure = {
    message: "Overloaded.",
    retryable: true,
    kind: "overloaded",
    retryAt: 1_700_000_000_000,
    terminalReason: "provider_error",
  }
  const envelope = { kind: "llm_provider", terminalReason: "provider_error", failureKind: "overloaded", retryAt: 1_700_000_000_000 }

  async function failAfter(text: string, error: Error) {
    const { done, events } = await runAndWatch(newTurn(), {
      async llmCall(_effect, { emit }) {
        if (text !== "") emit({ type: "text_delta", content: text })
        throw error
      },
    })
    const parts = done.messages.flatMap(({ role, parts }) => (role === "assistant" ? parts.map(({ id: _, ...part }: Part) => part) : []))
    return { done, events, parts }
  }

  const interrupted = { type: "interrupted", reason: "provider_error" }

  test("the text that it emitted, with any error, shown once", async () => {
    const { done, events, parts } = await failAfter("Half an", new Error("no network"))
    expect(parts).toEqual([{ type: "text", text: "Half an" }, interrupted])
    expect(events.map(({ type }) => type)).toEqual(["llm_request", "text_delta", "token_usage", "llm_response", "error", "turn_outcome", "done"])
    expect(errors(events)).toEqual(["executor_threw: LLM error: no network"])
    expect(done.usage).toEqual(NO_USAGE)
  })

  test("the partial answer of its error, which is shown if no text was emitted", async () => {
    const { done, events, parts } = await failAfter("", new LlmCallError(FAILURE, { partial: { ...says("Half"), retriedUsage: usage } }))
    expect(parts).toEqual([{ type: "text", text: "Half" }, interrupted])
    expect(events.map(({ type }) => type).slice(1, 4)).toEqual(["token_usage", "text_delta", "llm_response"])
    expect(done.usage).toEqual(addUsage(usage, usage))
  })

  test("the text of an answer that cannot be used", async () => {
    const { done, events } = await runAndWatch(newTurn(), {
      async llmCall(_effect, { emit }) {
        emit({ type: "text_delta", content: "Half an" })
        return { ...says("Half an hour."), usage: undefined } as never
      },
    })
    expect(done.messages.at(-1)?.parts).toMatchObject([{ type: "text", text: "Half an" }, interrupted])
    expect(errors(events)).toEqual([expect.stringMatching(/^invalid_llm_response: /)])
  })

  test.each([
    ["an object that is not an answer", { text: 5 }],
    ["a list", []],
    ["null", null],
    ["counts that are not numbers", { ...says("Half"), usage: { inputTokens: "many" } }],
    ["a function in its metadata", { ...says("Half"), parts: [{ type: "text", text: "Half", providerMetadata: { at: () => 1 } }] }],
    ["a getter that throws", Object.defineProperty(says("Half"), "text", { enumerable: true, get: neverCalled })],
  ])("and stays the same failure if its partial answer is %s", async (_what, partial) => {
    for (const text of ["Half an", ""]) {
      const { done, parts } = await failAfter(text, new LlmCallError(FAILURE, { partial: partial as never }))
      expect(done.outcome).toMatchObject({ type: "stopped", stop: { type: "provider_error", error: envelope } })
      expect(parts).toEqual(text === "" ? [] : [{ type: "text", text }, interrupted])
    }
  })

  test("nothing if it said nothing, and its usage counts", async () => {
    const { done, events, parts } = await failAfter("", new LlmCallError({ ...FAILURE, usage, retriedUsage: usage }))
    expect(parts).toEqual([])
    expect(events.map(({ type }) => type)).toEqual(["llm_request", "token_usage", "error", "turn_outcome", "done"])
    expect(done.usage).toEqual(addUsage(usage, usage))
  })
})

describe("an answer that cannot be serialized fails its effect", () => {
  test.each([
    ["nothing", undefined],
    ["a string", "Hello."],
    ["parts of an unknown type", { ...says("Hello."), parts: [{ type: "poem", text: "Hello." }] }],
    [
      "counts that are not numbers",
      { ...says("Hello."), usage: { inputTokens: Number.NaN, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 } },
    ],
  ])("of the model: %s", async (_what, answer) => {
    const { done, events } = await runAndWatch(newTurn(), { llmCall: async () => answer as LlmResponse })
    expect(done.outcome).toMatchObject({ type: "stopped", stop: { type: "provider_error" } })
    expect(errors(events)).toEqual([expect.stringMatching(/^invalid_llm_response: LLM error: The model's answer cannot be used\. /)])
  })

  test("of the model, also with an unchecked machine", async () => {
    const { done, events } = await runAndWatch(newTurn({ validation: undefined }), { llmCall: async () => undefined as never })
    expect(done.outcome).toMatchObject({ type: "stopped", stop: { type: "provider_error" } })
    expect(errors(events)).toEqual([expect.stringMatching(/^invalid_llm_response: /)])
  })

  test("of the model: a failure without its details", async () => {
    const { events } = await runAndWatch(newTurn(), { llmCall: () => Promise.reject(new LlmCallError({ message: "Odd." } as never)) })
    expect(errors(events)).toEqual([expect.stringMatching(/^invalid_llm_response: /)])
  })

  test.each([
    ["nothing", undefined, "A tool executor must return an object with an output."],
    ["a value instead of an answer", { files: [] }, "A tool executor must return an object with an output."],
    ["an unknown status", { output: { status: "fine", value: 1 } }, "Not a valid response"],
    ["a failure without its details", { output: { status: "failure", failure: { message: "no" } } }, "Not a valid response"],
    ["NaN", success({ size: Number.NaN }), 'Not JSON: the number NaN at "/size".'],
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

  test("of a tool: with the place in the value", async () => {
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
    const executed = await runTurn(newTurn({ driver: execDriver }), {
      llmCall: neverCalled,
      code: { run: async () => ({ observations: 3 }) as never },
    })
    expect(submitted(executed)).toMatchObject({ ok: false })
    const synced = await runTurn(newTurn({ syncExecutionSurface: true }), { llmCall: neverCalled, syncExecutionSurface: async () => ({}) as never })
    expect(synced.outcome).toMatchObject({ type: "stopped", stop: { type: "runtime_error" } })
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

describe("a host by mistake", () => {
  const handWritten: HostTools = { call: async () => ({ output: { status: "success", value: 1 } }), effects: () => "none" }
  test.each([
    ["without a model", {}, "The host needs an llmCall function."],
    ["with a list of tools", { llmCall: script(says("Yes.")), tools: [] }, "Pass tools: toolbox([add])."],
    [
      "with tools without effects",
      { llmCall: script(says("Yes.")), tools: { call: async () => ({ output: { status: "success", value: 1 } }) } },
      "they need call and effects",
    ],
    ["with tools that are null", { llmCall: script(says("Yes.")), tools: null }, "The host's tools are not a toolbox"],
    ["with its own tools spread into it", { llmCall: script(says("Yes.")), ...handWritten }, "Pass them as a member: { llmCall, tools }."],
    [
      "with the tools of a journal spread into it",
      { llmCall: script(says("Yes.")), ...recordedTools(journalOf(1)) },
      "Pass them as a member: { llmCall, tools }.",
    ],
    ["with a toolbox spread into it", { llmCall: script(says("Yes.")), ...toolbox([]) }, "Pass them as a member: { llmCall, tools }."],
  ])("%s is refused before anything is polled", async (_what, host, message) => {
    const machine = newTurn()
    await expect(runTurn(machine, host as Host)).rejects.toThrow(message)
    expect(machine.state).toBe("preparing")
  })
})
