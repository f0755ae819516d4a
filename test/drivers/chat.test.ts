import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { describe, expect, test } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import { wrapDriver } from "../../src/drivers/wrap-driver.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { DriverContext, ProtocolDriver } from "../../src/machine/driver.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { TurnConfigData, TurnStart } from "../../src/schemas/config.ts"
import type { Json } from "../../src/schemas/json.ts"
import type { LlmRequest, OutputPart } from "../../src/schemas/llm.ts"
import type { Message } from "../../src/schemas/message.ts"
import type { Response } from "../../src/schemas/response.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { expectSame, withoutOurFields } from "../conformance/suite.ts"
import {
  answer,
  callsAndResults,
  callsTools,
  completed,
  configOf,
  delivers,
  effectNames,
  moved,
  plain,
  pollAll,
  respond,
  results,
  says,
  userMessage,
  withOutput,
} from "../machine/support.ts"

function begun(changes: Partial<TurnConfig> = {}): TurnMachine {
  const machine = new TurnMachine(configOf(changes), { messages: [userMessage("hello")] })
  pollAll(machine)
  return machine
}

function outstandingRequest(machine: TurnMachine): LlmRequest {
  const { outstanding } = machine
  if (outstanding?.type !== "llm_call") throw new Error(`No model call is outstanding but ${outstanding?.type}`)
  return plain(outstanding.request)
}

const machineUsage = { inputTokens: 7, cachedInputTokens: 0, outputTokens: 3, reasoningTokens: 0 }

const FINISHED = (text: string) => ({ type: "finished", finish: { type: "assistant_message", text } })
const STOPPED = (type: string) => ({ type: "stopped", stop: { type } })

describe("a text answer", () => {
  test("is in the transcript before the checkpoint, and ends the turn if nothing is delivered", () => {
    const machine = begun()
    const shown = respond(machine, says(1, "Hi."))
    const message = { id: "m_0_assistant_1", role: "assistant", parts: [{ id: "m_0_assistant_1.p0", type: "text", text: "Hi." }] }
    expect(effectNames(shown)).toEqual(["emit token_usage", "emit text_delta", "emit llm_response", "progress", "checkpoint 2"])
    expect(shown[3]).toEqual({
      type: "progress",
      messages: [userMessage("hello"), message],
      eventDelta: [{ type: "conversation", message }],
      recordsFrom: 0,
      iteration: 0,
    })
    expect(shown[4]).toEqual({ type: "checkpoint", id: 2, checkpoint: "before_completion" })

    const end = respond(machine, delivers(2))
    expect(effectNames(end)).toEqual(["emit turn_outcome", "emit done", "done"])
    expect(end[2]).toEqual({
      ...{ type: "done", outcome: FINISHED("Hi."), messages: [userMessage("hello"), message] },
      ...{ eventDelta: [], recordsFrom: 1, iteration: 0, usage: machine.usage },
    })
  })

  test("precedes delivered messages, and the model sees both", () => {
    const machine = begun()
    respond(machine, says(1, "Shall I go on?"))
    respond(machine, delivers(2, { userMessages: [userMessage("Yes.", "u2")] }))
    expect(machine.iteration).toBe(1)
    expect(outstandingRequest(machine).messages.map(({ role, blocks }) => [role, blocks[0]])).toEqual([
      ["user", { type: "text", text: "hello" }],
      ["assistant", { type: "text", text: "Shall I go on?" }],
      ["user", { type: "text", text: "Yes." }],
    ])
  })

  test("with reasoning stores both as they were said, and the outcome is the text only", () => {
    const machine = begun()
    const replay = { encryptedContent: "xyz" }
    respond(
      machine,
      answer(1, [
        { type: "reasoning", text: "hm ", replay },
        { type: "text", text: "So." },
      ]),
    )
    respond(machine, delivers(2))
    expect(machine.messages[1]?.parts).toEqual([
      { id: "m_0_assistant_1.p0", type: "reasoning", text: "hm ", replay },
      { id: "m_0_assistant_1.p1", type: "text", text: "So." },
    ])
    expect(machine.outcome).toEqual(FINISHED("So."))
  })
})

describe("empty answers", () => {
  test("to the user are a provider error", () => {
    const machine = begun()
    const shown = respond(machine, says(1, " \n\u0085"))
    const message = "The model answered with neither text nor a tool call."
    expect(effectNames(shown)).toEqual([
      "emit token_usage",
      "emit text_delta",
      "emit llm_response",
      "emit error",
      "emit turn_outcome",
      "emit done",
      "done",
    ])
    expect(shown[3]).toEqual({
      type: "emit",
      event: { type: "error", message, envelope: { kind: "llm_provider", code: "empty_response", userMessage: message } },
    })
    const error = { kind: "llm_provider", code: "empty_response", userMessage: message }
    expect(machine.outcome).toEqual({ type: "stopped", stop: { type: "provider_error", error } })
    expect(machine.messages).toEqual([userMessage("hello")])
  })

  test("after a tool result end the turn with an empty text and append nothing", () => {
    const machine = begun()
    respond(machine, callsTools(1, ["a"]))
    respond(machine, results(2, completed("a")))
    respond(machine, delivers(3))
    expect(effectNames(respond(machine, answer(4, [])))).toEqual(["emit token_usage", "emit llm_response", "checkpoint 5"])
    respond(machine, delivers(5))
    expect(machine.outcome).toEqual(FINISHED(""))
    expect(machine.messages).toHaveLength(3)
  })

  test("with reasoning only are a provider error, and the reasoning stays in the transcript", () => {
    const machine = begun()
    respond(machine, answer(1, [{ type: "reasoning", text: "hm" }]))
    expect(machine.outcome).toMatchObject({ type: "stopped", stop: { error: { code: "empty_response" } } })
    expect(machine.messages.at(-1)?.parts).toEqual([
      { id: "m_0_assistant_1.p0", type: "reasoning", text: "hm" },
      { id: "m_0_assistant_1.p1", type: "interrupted", reason: "empty" },
    ])
  })

  const afterResult = (driver = chatDriver()): TurnMachine => {
    const machine = begun({ driver })
    respond(machine, callsTools(1, ["a"]))
    respond(machine, results(2, completed("a")))
    respond(machine, delivers(3))
    return machine
  }

  test.each([
    ["reasoning", [{ type: "reasoning", text: "It must be so." }], {}],
    ["an end that is not stop", [], { terminalReason: "unknown", terminalDiagnostic: "The provider ended with odd." }],
    ["a tool use without a call", [], { terminalReason: "tool_use" }],
  ] as const)("after a tool result are an error with %s", (_, parts, more) => {
    const machine = afterResult()
    respond(machine, answer(4, parts, more))
    expect(machine.outcome).toMatchObject({ type: "stopped", stop: { type: "provider_error", error: { code: "empty_response" } } })
    if ("terminalDiagnostic" in more) expect(JSON.stringify(machine.outcome)).toContain("The provider ended with odd.")
  })

  test.each([
    ["nothing", [], true],
    ["a blank text", [{ type: "text", text: " \n" }], true],
    ["blank reasoning", [{ type: "reasoning", text: "" }], true],
    [
      "reasoning before a blank text",
      [
        { type: "reasoning", text: "Hm." },
        { type: "text", text: "" },
      ],
      false,
    ],
  ] as const)("after a tool result that has an image, %s ends the turn well: %s", (_what, parts, isFine) => {
    const machine = begun()
    const attachment = { id: "i", mediaType: "image/png", byteLength: 9 }
    respond(machine, callsTools(1, ["a"]))
    respond(
      machine,
      results(
        2,
        completed("a", "seen", {
          modelReturn: {
            parts: [
              { type: "text", text: "seen" },
              { type: "attachment", attachment },
            ],
          },
        }),
      ),
    )
    expect(machine.messages.at(-1)?.parts.map(({ type }) => type)).toEqual(["tool_result", "image"])
    respond(machine, delivers(3))
    respond(machine, answer(4, parts))
    expect(machine.state).toBe(isFine ? "waiting_checkpoint" : "finished")
    expect(machine.messages.filter(({ role }) => role === "assistant")).toHaveLength(isFine ? 1 : 2)
  })

  test("after words that were delivered with a result are an error", () => {
    const machine = begun()
    respond(machine, callsTools(1, ["a"]))
    respond(machine, results(2, completed("a")))
    respond(machine, delivers(3, { userMessages: [userMessage("And now?", "u2")] }))
    respond(machine, answer(4, []))
    expect(machine.outcome).toMatchObject({ stop: { error: { code: "empty_response" } } })
  })

  test("have a part for the provider beside blank ones: that is an answer", () => {
    const machine = begun()
    const search = { type: "opaque", provider: "p", kind: "search", data: null } as const
    respond(machine, answer(1, [{ type: "text", text: " " }, search]))
    expect(machine.state).toBe("waiting_checkpoint")
    expect(machine.messages.at(-1)?.parts).toContainEqual(expect.objectContaining({ type: "opaque" }))
  })

  test.each([
    ["a text that its provider wants back", { type: "text", text: "", responseMeta: { id: "r" } }, true],
    ["reasoning that its provider wants back", { type: "reasoning", text: "", replay: { signature: "s" } }, true],
    ["a blank text", { type: "text", text: " " }, false],
    ["blank reasoning", { type: "reasoning", text: " " }, false],
  ] as const)("stay in the transcript if they have %s: %s", (_what, part, isStored) => {
    const machine = begun()
    respond(machine, answer(1, [part, { type: "text", text: "" }]))
    expect(machine.messages.some(({ role }) => role === "assistant")).toBe(isStored)
  })

  test("an opaque part is an answer", () => {
    const machine = begun()
    respond(machine, answer(1, [{ type: "opaque", provider: "p", kind: "search", data: null }]))
    expect(machine.state).toBe("waiting_checkpoint")
    expect(machine.messages.at(-1)?.parts).toMatchObject([{ type: "opaque", kind: "search" }])
  })

  test("with retryEmptyAnswer keep the reasoning of the first answer", () => {
    const machine = begun({ driver: chatDriver({ retryEmptyAnswer: true }) })
    respond(machine, answer(1, [{ type: "reasoning", text: "hm" }]))
    respond(machine, says(2, "Here I am."))
    expect(machine.messages.slice(1).map(({ parts }) => parts.map(({ type }) => type))).toEqual([["reasoning", "interrupted"], ["text"]])
  })

  test("with retryEmptyAnswer are asked for once more with the same request, also across a restore; the second one stops the turn", () => {
    const driver = chatDriver({ retryEmptyAnswer: true })
    const start = (): TurnMachine => begun({ driver })
    const first = start()
    const request = outstandingRequest(first)
    expect(effectNames(respond(first, answer(1, [])))).toEqual(["emit token_usage", "emit llm_response", "emit llm_request", "llm_call 2"])
    expect(outstandingRequest(first)).toEqual(request)
    const restored = moved(first, configOf({ driver }))
    respond(first, says(2, "Here I am."))
    respond(first, delivers(3))
    expect(first.outcome).toEqual(FINISHED("Here I am."))
    expect(first.messages).toHaveLength(2)
    pollAll(restored)
    respond(restored, answer(2, []))
    expect(restored.outcome).toMatchObject({ stop: { error: { code: "empty_response" } } })
  })
})

describe("tool calls", () => {
  test("are persisted before the tools run, and a batch runs at once", () => {
    const machine = begun()
    const shown = respond(machine, callsTools(1, ["a", "b"]))
    expect(effectNames(shown)).toEqual(["emit token_usage", "emit llm_response", "progress", "tool_calls 2"])
    expect(shown[3]).toEqual({
      type: "tool_calls",
      id: 2,
      calls: [
        { callId: "a", toolName: "look", args: {} },
        { callId: "b", toolName: "look", args: {} },
      ],
    })
  })

  test("get one message of results in call order, however the results arrive", () => {
    const machine = begun()
    respond(machine, callsTools(1, ["a", "b", "c"]))
    expect(effectNames(respond(machine, results(2, completed("c"), completed("a"))))).toEqual(["emit tool_call", "emit tool_call"])
    const last = respond(machine, results(2, completed("b")))
    expect(effectNames(last)).toEqual(["emit tool_call", "progress", "checkpoint 3"])
    expect(last[2]).toEqual({ type: "checkpoint", id: 3, checkpoint: "after_work" })
    expect(machine.messages.at(-1)).toEqual({
      id: "m_0_tools_2",
      role: "user",
      parts: [
        { id: "m_0_tools_2.p0", type: "tool_result", callId: "a", toolName: "look", text: "result of a" },
        { id: "m_0_tools_2.p1", type: "tool_result", callId: "b", toolName: "look", text: "result of b" },
        { id: "m_0_tools_2.p2", type: "tool_result", callId: "c", toolName: "look", text: "result of c" },
      ],
    })
    expect(machine.iteration).toBe(1)
  })

  test("stay where the model made them, between its reasoning and its texts", () => {
    const machine = begun()
    const call = (callId: string) => ({ type: "tool_call" as const, callId, toolName: "look", inputJson: '{"n": 1}' })
    const replay = { signature: "s" }
    respond(
      machine,
      answer(1, [
        { type: "reasoning", text: "one", replay },
        call("a"),
        { type: "reasoning", text: "two" },
        call("b"),
        { type: "text", text: "Looking." },
      ]),
    )
    const made = (callId: string) => ({ type: "tool_call", callId, toolName: "look", inputJson: '{"n": 1}' })
    expect(machine.messages.at(-1)?.parts).toEqual([
      { id: "m_0_assistant_1.p0", type: "reasoning", text: "one", replay },
      { id: "m_0_assistant_1.p1", ...made("a") },
      { id: "m_0_assistant_1.p2", type: "reasoning", text: "two" },
      { id: "m_0_assistant_1.p3", ...made("b") },
      { id: "m_0_assistant_1.p4", type: "text", text: "Looking." },
    ])
  })

  test("with blank or repeated ids get new ids everywhere: call, effect, result, request", () => {
    const machine = begun()
    respond(machine, callsTools(1, ["same", "same", ""]))
    expect(machine.outstanding).toMatchObject({ calls: [{ callId: "same" }, { callId: "m_0_call_1" }, { callId: "m_0_call_2" }] })
    respond(machine, results(2, completed("m_0_call_2"), completed("same"), completed("m_0_call_1")))
    respond(machine, delivers(3))
    expect(callsAndResults(machine.messages)).toEqual([
      "call same",
      "call m_0_call_1",
      "call m_0_call_2",
      "result same",
      "result m_0_call_1",
      "result m_0_call_2",
    ])
    expect(
      outstandingRequest(machine)
        .messages.slice(1)
        .map((message) => message.blocks.map((block) => "callId" in block && block.callId)),
    ).toEqual([
      ["same", "m_0_call_1", "m_0_call_2"],
      ["same", "m_0_call_1", "m_0_call_2"],
    ])
  })

  test("with broken arguments never run: the model reads why, and the raw text stays", () => {
    const machine = begun()
    const deep = `${"[".repeat(129)}${"]".repeat(129)}`
    const parts = ["{broken", deep].map((inputJson, index) => ({ type: "tool_call" as const, callId: `c${index}`, toolName: "t", inputJson }))
    respond(machine, answer(1, parts))
    // No host is needed, so the turn is already at the checkpoint after the results.
    expect(machine.outstanding).toEqual({ type: "checkpoint", id: 2, checkpoint: "after_work" })
    expect(machine.messages.at(-2)?.parts).toMatchObject([{ inputJson: "{broken" }, { inputJson: deep }])
    expect(machine.messages.at(-1)?.parts).toMatchObject([
      { callId: "c0", isError: true, text: expect.stringContaining("a key in double quotes") as string },
      { callId: "c1", isError: true, text: expect.stringContaining("nested deeper than 128") as string },
    ])
    expect(moved(machine, configOf()).state).toBe("waiting_checkpoint")
  })

  test("run only if the request offered their tool, whatever the turn's own list says", () => {
    const spec = (name: string) => ({ name, description: "", inputSchema: {} })
    const offering = wrapDriver(chatDriver(), {
      prepareIteration: (next, context) =>
        next(context).map((action) => (action.type === "start_llm" ? { ...action, request: { ...action.request, tools: [spec("find")] } } : action)),
    })
    const machine = begun({ driver: offering, tools: [spec("look")] })
    const calls = ["look", "find"].map((toolName) => ({ type: "tool_call" as const, callId: toolName, toolName, inputJson: "{}" }))
    respond(machine, answer(1, calls))
    expect(machine.outstanding).toMatchObject({ type: "tool_calls", calls: [{ callId: "find" }] })
    respond(machine, results(2, completed("find")))
    expect(machine.messages.at(-1)?.parts).toMatchObject([
      { callId: "look", isError: true, text: expect.stringContaining('There is no tool "look". The tools are: find.') as string },
      { callId: "find", text: "result of find" },
    ])
  })

  test("of which some are broken: the host gets the others, and the model all results in call order, also across a restore", () => {
    const call = (callId: string, inputJson: string) => ({ type: "tool_call" as const, callId, toolName: "look", inputJson })
    const machine = begun()
    const shown = respond(machine, answer(1, [call("x", "{"), call("a", "{}"), call("y", "[]"), call("b", "")]))
    expect(effectNames(shown)).toEqual(["emit token_usage", "emit llm_response", "emit tool_call", "emit tool_call", "progress", "tool_calls 2"])
    expect(machine.outstanding).toMatchObject({ calls: [{ callId: "a" }, { callId: "b", args: {} }] })
    respond(machine, results(2, completed("b")))
    const restored = moved(machine, configOf())
    pollAll(restored)
    for (const each of [machine, restored]) {
      respond(each, results(2, completed("a")))
      expect(each.messages.at(-1)?.parts).toMatchObject([
        { callId: "x", isError: true },
        { callId: "a", text: "result of a" },
        { callId: "y", isError: true },
        { callId: "b", text: "result of b" },
      ])
    }
    const cancelled = begun()
    respond(cancelled, answer(1, [call("x", "{"), call("a", "{}")]))
    cancelled.cancel()
    expect(callsAndResults(cancelled.messages)).toEqual(["call x", "call a", "result x", "result a"])
  })

  test("run with terminal reason stop as well; tool_use without a call is an answer", () => {
    const calling = begun()
    respond(calling, callsTools(1, ["a"], { terminalReason: "stop" }))
    expect(calling.state).toBe("waiting_tools")
    const talking = begun()
    respond(talking, says(1, "Nothing to do.", { terminalReason: "tool_use" }))
    expect(talking.state).toBe("waiting_checkpoint")
  })
})

describe("an answer that was cut off", () => {
  const half: readonly OutputPart[] = [
    { type: "reasoning", text: "hm", replay: { signature: "s" } },
    { type: "text", text: "First close the red valve. " },
    { type: "tool_call", callId: "a", toolName: "look", inputJson: '{"n":' },
  ]
  const producer = { provider: "p", api: "a", model: "m" }
  const kept = (reason: string) => ({
    id: "m_0_assistant_1",
    role: "assistant",
    parts: [
      { id: "m_0_assistant_1.p0", ...half[0] },
      { id: "m_0_assistant_1.p1", ...half[1] },
      { id: "m_0_assistant_1.p2", type: "interrupted", reason },
    ],
    producer,
  })

  test.each([
    ["output_limit", "incomplete"],
    ["content_filter", "provider_error"],
    ["refusal", "provider_error"],
    ["context_overflow", "provider_error"],
    ["provider_error", "provider_error"],
    ["cancelled", "cancelled"],
  ] as const)("by %s stays in the transcript without its half call, and the turn stops as %s", (terminalReason, stop) => {
    const machine = begun()
    const shown = respond(machine, answer(1, half, { terminalReason, text: "First close the red valve. ", producer }))
    expect(effectNames(shown).slice(0, 5)).toEqual(["emit token_usage", "emit text_delta", "emit llm_response", "emit error", "progress"])
    expect(machine.messages.at(-1)).toEqual(kept(terminalReason))
    expect(machine.history).toEqual([{ type: "conversation", message: kept(terminalReason) }])
    expect(machine.outcome).toMatchObject({ type: "stopped", stop: { type: stop, error: { code: terminalReason, terminalReason } } })
  })

  test("by a cancellation: what the host hands in stays, and its usage counts, also across a restore and in a replay", () => {
    const partial = { text: "First close the red valve. ", parts: half, usage: machineUsage, terminalReason: "cancelled", producer } as const
    const machine = begun()
    const restored = moved(machine, configOf())
    for (const each of [machine, restored]) {
      each.cancel("Stop.", partial)
      expect(each.messages.at(-1)).toEqual(kept("cancelled"))
      expect(each.usage).toEqual(machineUsage)
      expect(each.outcome).toEqual(STOPPED("cancelled"))
    }
    expect(effectNames(pollAll(machine))).toEqual([
      "cancel_llm 1",
      "emit token_usage",
      "emit message",
      "progress",
      "emit turn_outcome",
      "emit done",
      "done",
    ])
  })

  test("a cancellation with a partial that is not an answer is refused, and changes nothing", () => {
    const machine = begun()
    expect(() => machine.cancel("Stop.", { text: 5 } as never)).toThrow(expect.objectContaining({ code: "invalid_response" }))
    expect(machine.state).toBe("waiting_llm")
  })

  test("a partial is ignored where no model call is outstanding", () => {
    const machine = begun()
    respond(machine, says(1, "Hi."))
    machine.cancel("Stop.", { text: "x", parts: [{ type: "text", text: "x" }], usage: machineUsage, terminalReason: "cancelled" })
    expect(machine.messages).toHaveLength(2)
  })

  test("by a failure: the part that the host hands in stays, and the failure ends the turn", () => {
    const machine = begun()
    const error = { message: "lost", retryable: true, terminalReason: "provider_error", code: "stream_truncated" } as const
    const partial = { text: "First close the red valve. ", parts: half, usage: machineUsage, terminalReason: "provider_error", producer } as const
    const shown = respond(machine, { type: "llm_complete", id: 1, textStreamed: true, result: { ok: false, error, partial } })
    expect(effectNames(shown).slice(0, 4)).toEqual(["emit token_usage", "emit llm_response", "emit error", "progress"])
    expect(machine.messages.at(-1)).toEqual(kept("provider_error"))
    expect(machine.usage).toEqual(machineUsage)
    expect(machine.outcome).toMatchObject({ stop: { type: "provider_error", error: { code: "stream_truncated" } } })
  })

  test("whose text stands beside its parts keeps both", () => {
    const machine = begun()
    respond(machine, answer(1, [half[0] as OutputPart], { terminalReason: "output_limit", text: "Let me look." }))
    expect(machine.messages.at(-1)?.parts).toMatchObject([{ type: "text", text: "Let me look." }, { type: "reasoning" }, { type: "interrupted" }])
  })

  test("keeps a blank part that has something for its provider", () => {
    const machine = begun()
    const blank = [
      { type: "text", text: "", providerMetadata: { signature: "s" } },
      { type: "text", text: " ", responseMeta: { id: "r" } },
      { type: "reasoning", text: "", providerMetadata: 1 },
      { type: "reasoning", text: "", replay: { signature: "s" } },
    ] as const
    for (const part of blank) {
      const one = begun()
      respond(one, answer(1, [part], { terminalReason: "output_limit" }))
      expect(one.messages.at(-1)?.parts).toMatchObject([part, { type: "interrupted", reason: "output_limit" }])
    }
    respond(machine, answer(1, blank, { terminalReason: "output_limit" }))
    expect(machine.messages.at(-1)?.parts).toMatchObject([...blank, { type: "interrupted" }])
  })

  test("by a cancellation is marked as cancelled, whatever the host says of its end", () => {
    const machine = begun()
    machine.cancel("Stop.", { text: "Hi", parts: [{ type: "text", text: "Hi" }], usage: machineUsage, terminalReason: "stop" })
    expect(machine.messages.at(-1)?.parts.at(-1)).toMatchObject({ type: "interrupted", reason: "cancelled" })
  })

  test("by its driver, which throws, stays in the transcript", () => {
    const failing = wrapDriver(chatDriver(), {
      onLlmComplete: () => {
        throw new Error("boom")
      },
    })
    const machine = begun({ driver: failing })
    respond(machine, says(1, "Hello."))
    expect(machine.messages.at(-1)?.parts).toMatchObject([
      { type: "text", text: "Hello." },
      { type: "interrupted", reason: "provider_error" },
    ])
    expect(machine.outcome).toMatchObject({ stop: { type: "runtime_error", error: { code: "driver_threw" } } })
  })

  test.each([
    ["nothing", []],
    ["a blank text", [{ type: "text", text: " \n" }]],
    ["half a call", [half[2] as OutputPart]],
  ] as const)("that said %s leaves nothing", (_, parts) => {
    const machine = begun()
    respond(machine, answer(1, parts, { terminalReason: "output_limit" }))
    expect(machine.messages).toHaveLength(1)
  })
})

describe("a paused answer", () => {
  test("is stored, and the model is called again with it", () => {
    const machine = begun()
    const search = { type: "opaque", provider: "p", kind: "server_tool_use", data: { id: 1 } } as const
    respond(machine, answer(1, [{ type: "text", text: "Searching." }, search], { terminalReason: "paused" }))
    respond(machine, delivers(2))
    expect(machine.iteration).toBe(1)
    expect(machine.messages.at(-1)?.parts).toEqual([
      { id: "m_0_assistant_1.p0", type: "text", text: "Searching." },
      { id: "m_0_assistant_1.p1", ...search },
    ])
    expect(machine.state).toBe("waiting_llm")
  })

  test("of reasoning alone, or of nothing, is called again as well", () => {
    for (const parts of [[{ type: "reasoning" as const, text: "hm" }], []]) {
      const machine = begun()
      respond(machine, answer(1, parts, { terminalReason: "paused" }))
      respond(machine, delivers(2))
      expect(machine.state).toBe("waiting_llm")
      expect(machine.messages).toHaveLength(1 + parts.length)
    }
  })

  test("counts as an iteration, so that the limit ends a model that only pauses", () => {
    const machine = begun({ maxIterations: 1 })
    respond(machine, answer(1, [{ type: "text", text: "Searching." }], { terminalReason: "paused" }))
    expect(machine.outcome).toEqual(STOPPED("max_iterations"))
  })
})

test("an unknown end of an answer is shown, and the answer counts", () => {
  const machine = begun()
  const shown = respond(machine, says(1, "Hi.", { terminalReason: "unknown", terminalDiagnostic: 'The provider ended with "odd".' }))
  expect(shown).toContainEqual({ type: "emit", event: { type: "message", text: 'The provider ended with "odd".', kind: "diagnostic" } })
  expect(machine.state).toBe("waiting_checkpoint")
})

test("a known end of an answer is not shown", () => {
  const machine = begun()
  const shown = respond(machine, says(1, "Hi.", { terminalReason: "stop", terminalDiagnostic: "end_turn" }))
  expect(shown.filter((effect) => effect.type === "emit" && effect.event.type === "message")).toEqual([])
})

test("a result that is too long for the context loses its middle", () => {
  const long = "x".repeat(2_000_000)
  const textsWith = (changes: Partial<TurnConfig>): number | undefined => {
    const machine = begun(changes)
    respond(machine, callsTools(1, ["a"]))
    respond(machine, results(2, completed("a", long)))
    const part = machine.messages.at(-1)?.parts[0]
    return part?.type === "tool_result" ? part.text.length : undefined
  }
  expect(textsWith({})).toBe(long.length)
  const note = "\n\n... (1996000 chars omitted) ...\n\n".length
  expect(textsWith({ maxResultTokens: 1_000 })).toBe(4_000 + note)
  expect(textsWith({ maxContextTokens: 2_000 })).toBe(4_000 + note)
  expect(textsWith({ maxContextTokens: 0 })).toBe(long.length)
  expect(() => begun({ maxResultTokens: 0 })).toThrow(expect.objectContaining({ code: "invalid_config" }))
  expect(textsWith({ maxContextTokens: 2_000, maxResultTokens: 1_000_000 })).toBe(long.length)
})

describe("a tool result with control", () => {
  const control = (callId: string, value: Json) => withOutput(callId, { status: "success", value: null, control: { type: "finish", value } })

  test("finish: the first in call order wins, not the first to arrive; all results are in the transcript", () => {
    const machine = begun()
    respond(machine, callsTools(1, ["a", "b", "c"]))
    respond(machine, results(2, control("c", "late"), completed("a")))
    const end = respond(machine, results(2, control("b", { n: 1 })))
    expect(effectNames(end)).toEqual(["emit tool_call", "progress", "emit turn_outcome", "emit done", "done"])
    expect(machine.outcome).toEqual({ type: "finished", finish: { type: "tool_value", toolName: "look", value: { n: 1 } } })
    expect(callsAndResults(machine.messages)).toEqual(["call a", "call b", "call c", "result a", "result b", "result c"])
  })

  test("fail stops the turn with the failure as value", () => {
    const failure = { class: "permission_denied", code: "no", message: "never", source: "policy", retry: { type: "never" } } as const
    const machine = begun()
    respond(machine, callsTools(1, ["a"]))
    respond(machine, results(2, withOutput("a", { status: "success", value: 1, control: { type: "fail", failure } })))
    expect(machine.outcome).toEqual({ type: "stopped", stop: { type: "tool_error", toolName: "look", value: failure } })
  })

  test("switch_agent_frame needs a frame", () => {
    const switching = (frameId: string): TurnMachine => {
      const machine = begun()
      respond(machine, callsTools(1, ["a"]))
      respond(machine, results(2, withOutput("a", { status: "success", value: 1, control: { type: "switch_agent_frame", frameId } })))
      return machine
    }
    expect(switching("f1").outcome).toEqual({ type: "agent_frame_switch", frameId: "f1" })
    expect(switching(" \u2003").state).toBe("waiting_checkpoint")
  })

  test("is ignored unless the tool succeeded", () => {
    const failure = { class: "execution", code: "x", message: "m", source: "tool", retry: { type: "never" } } as const
    const finish = { type: "finish", value: 1 } as const
    const machine = begun()
    respond(machine, callsTools(1, ["a", "b"]))
    respond(
      machine,
      results(
        2,
        withOutput("a", { status: "failure", failure, control: finish }),
        withOutput("b", { status: "cancelled", message: "m", source: "policy", control: finish }),
      ),
    )
    expect(machine.state).toBe("waiting_checkpoint")
  })
})

describe("limits", () => {
  test("tools at the limit end the turn with a message and without another model call", () => {
    const machine = begun({ maxIterations: 2 })
    respond(machine, callsTools(1, ["a"]))
    respond(machine, results(2, completed("a")))
    respond(machine, delivers(3))
    respond(machine, callsTools(4, ["b"]))
    const end = respond(machine, results(5, completed("b")))
    expect(effectNames(end)).toEqual(["emit tool_call", "progress", "emit turn_outcome", "emit done", "done"])
    expect(machine.outcome).toEqual(STOPPED("max_iterations"))
    expect(machine.iteration).toBe(2)
    expect(machine.messages.at(-1)).toEqual({
      id: "m_0_turn_limit_5",
      role: "system",
      parts: [
        {
          id: "m_0_turn_limit_5.p0",
          type: "error",
          text: "This turn reached its limit of 2 iterations and ended here, before a final answer.",
        },
      ],
    })
    expect(callsAndResults(machine.messages)).toEqual(["call a", "result a", "call b", "result b"])
  })

  test("a message of the host replaces the default, and the limit counts from the offset", () => {
    const turnLimitMessage = (id: string, max: number): Message => ({
      id,
      role: "system",
      parts: [{ id: `${id}.p0`, type: "text", text: `only ${max}` }],
    })
    const machine = new TurnMachine(configOf({ maxIterations: 1, turnLimitMessage }), { messages: [userMessage("hello")], iterationOffset: 40 })
    pollAll(machine)
    respond(machine, callsTools(1, ["a"]))
    respond(machine, results(2, completed("a")))
    expect(machine.outcome).toEqual(STOPPED("max_iterations"))
    expect(machine.iteration).toBe(41)
    expect(machine.messages.at(-1)).toEqual({
      id: "m_40_turn_limit_3",
      role: "system",
      parts: [{ id: "m_40_turn_limit_3.p0", type: "text", text: "only 1" }],
    })
  })

  test("a delivery at the limit gets one grace iteration, which may answer", () => {
    const machine = begun({ maxIterations: 1 })
    respond(machine, says(1, "Done."))
    const shown = respond(machine, delivers(2, { messages: [{ role: "user", content: "And now?" }] }))
    expect(effectNames(shown)).toEqual(["progress", "emit llm_request", "llm_call 3"])
    expect(outstandingRequest(machine).messages.map(({ role }) => role)).toEqual(["user", "assistant", "user", "system"])
    respond(machine, says(3, "Really done."))
    respond(machine, delivers(4))
    expect(machine.outcome).toEqual(FINISHED("Really done."))
  })

  test("a delivery after the grace iteration is stored and ends the turn", () => {
    const machine = begun({ maxIterations: 1 })
    respond(machine, says(1, "Done."))
    respond(machine, delivers(2, { messages: [{ role: "user", content: "And now?" }] }))
    respond(machine, says(3, "Really done."))
    const end = respond(machine, delivers(4, { userMessages: [userMessage("More!", "u9")] }))
    expect(effectNames(end)).toEqual(["progress", "emit turn_outcome", "emit done", "done"])
    expect(machine.outcome).toEqual(STOPPED("max_iterations"))
    expect(machine.messages.at(-1)).toEqual(userMessage("More!", "u9"))
  })

  test("a grace iteration that calls tools runs them and ends the turn", () => {
    const machine = begun({ maxIterations: 1 })
    respond(machine, says(1, "Done."))
    respond(machine, delivers(2, { messages: [{ role: "user", content: "And now?" }] }))
    respond(machine, callsTools(3, ["a"]))
    respond(machine, results(4, completed("a")))
    expect(machine.outcome).toEqual(STOPPED("max_iterations"))
    expect(callsAndResults(machine.messages)).toEqual(["call a", "result a"])
  })
})

describe("deliveries", () => {
  test("after work come after the results, in the same iteration", () => {
    const machine = begun()
    respond(machine, callsTools(1, ["a"]))
    respond(machine, results(2, completed("a")))
    expect(machine.iteration).toBe(1)
    respond(
      machine,
      delivers(3, {
        messages: [{ role: "system", content: "Hurry." }],
        turnCauses: [{ id: "e1", eventType: "mail", origin: { type: "plugin", pluginId: "p" }, text: "You have mail." }],
      }),
    )
    expect(machine.iteration).toBe(1)
    expect(outstandingRequest(machine).messages.map(({ role, blocks }) => [role, blocks.map((block) => block.type)])).toEqual([
      ["user", ["text"]],
      ["assistant", ["tool_call"]],
      ["user", ["tool_result"]],
      ["system", ["text"]],
      ["user", ["text"]],
    ])
  })

  test("cannot put a message between call and result, and a result without a call is harmless", () => {
    const machine = begun()
    respond(machine, says(1, "Done."))
    const parts = [{ id: "", type: "tool_result" as const, callId: "ghost", text: "boo" }]
    respond(machine, delivers(2, { messages: [{ role: "user", content: "", parts }] }))
    expect(outstandingRequest(machine).messages.at(-1)).toEqual({
      role: "user",
      blocks: [{ type: "text", text: "[Result of an earlier tool call]\nboo" }],
    })
  })
})

test("every iteration is projected with the tools synced last", () => {
  const tools = [{ name: "look", description: "Looks.", inputSchema: { type: "object" } }]
  const machine = begun({ syncExecutionSurface: true, systemPrompt: "old" })
  respond(machine, { type: "execution_surface_synced", id: 1, result: { ok: true, update: { systemPrompt: "new", tools } } })
  expect(outstandingRequest(machine)).toMatchObject({
    tools,
    toolChoice: "auto",
    messages: [{ role: "system", blocks: [{ text: "new" }] }, { role: "user" }],
  })
})

// The recorded scenarios describe the driver as data. Here the real driver gets the same responses and must return the same
// actions, except for our departures: the final answer is appended (departure 1), ids are counted in
// separate scopes (2), our wording differs, and each call has exactly one tool_result.
/** Scenarios whose driver trims reasoning (departure 16), runs broken arguments as {} (17), or takes reasoning alone for an answer. */
const OURS: { readonly [file: string]: "other results" | "another end" } = {
  "chat-blank-means-white-space.json": "other results",
  "chat-input-json.json": "other results",
  "chat-reasoning-only.json": "another end",
}

const FIXTURES = fileURLToPath(new URL("../fixtures/conformance/machine/", import.meta.url))

interface ChatScenario {
  readonly name: string
  readonly config: TurnConfigData
  readonly start: TurnStart
  readonly calls: readonly { readonly callback: string; readonly actions: readonly DriverAction[] }[]
  readonly steps: readonly { readonly do: { respond?: Response; restore?: true; save?: string; restore_from?: string } }[]
  readonly end: { readonly state: string; readonly iteration: number; readonly done: boolean; readonly messages: readonly Message[] }
}

describe("the real driver on the responses of the recorded scenarios", () => {
  const files = readdirSync(FIXTURES).filter((file) => file.startsWith("chat-"))
  expect(files.length).toBeGreaterThan(10)

  test.each(files.filter((file) => OURS[file] !== "another end"))("%s", (file) => {
    const scenario = JSON.parse(readFileSync(FIXTURES + file, "utf8")) as ChatScenario
    const { turnLimitMessage: _, ...data } = scenario.config as TurnConfigData & { turnLimitMessage: unknown }
    const log: { callback: string; actions: readonly DriverAction[] }[] = []
    const config = configOf({ ...data, driver: recording(log) })
    let machine = new TurnMachine(config, scenario.start)
    const saved = new Map<string, string>()
    for (const { do: step } of scenario.steps) {
      if (step.respond !== undefined) expect(machine.handle(step.respond).status).toBe("accepted")
      else if (step.restore) machine = moved(machine, config)
      else if (step.save !== undefined) saved.set(step.save, JSON.stringify(machine.checkpoint()))
      else if (step.restore_from !== undefined) machine = TurnMachine.restore(config, saved.get(step.restore_from))
      else pollAll(machine)
    }

    expectSame(
      log.map((call) => call.callback),
      scenario.calls.map((call) => call.callback),
      "what the driver was asked",
    )
    log.forEach((call, index) => {
      const expected = scenario.calls[index]?.actions ?? []
      if (file in OURS) return
      expectSame(
        withoutOurFields(comparable(call.actions)),
        comparable(ONE_RESULT_PER_CALL[file]?.[index] ?? expected),
        `answer ${index} to ${call.callback}`,
      )
    })
    const { state, iteration, done } = machine
    expectSame({ state, iteration, done }, { state: scenario.end.state, iteration: scenario.end.iteration, done: scenario.end.done }, "end")
  })
})

/** The recorded driver answered one call with two results if an image was between two texts. */
const PICTURE = { id: "att-9", mediaType: "image/png", byteLength: 3, width: 4, height: 5, label: "tiny" }
const CALLS = ["shot", "b"].map((toolName, index) => ({ type: "tool_call" as const, callId: `c${index + 1}`, toolName, inputJson: "{}" }))
const ONE_RESULT_PER_CALL: { readonly [file: string]: { readonly [call: number]: readonly DriverAction[] } } = {
  "chat-tool-results-to-user-message.json": {
    2: [
      {
        type: "append_events",
        events: [
          {
            type: "conversation",
            message: {
              id: "m_0_driver_2",
              role: "user",
              parts: [
                { id: "m_0_driver_2.p0", type: "tool_result", callId: "c1", toolName: "shot", text: "[\n]" },
                { id: "m_0_driver_2.p1", type: "image", attachment: PICTURE },
                { id: "m_0_driver_2.p2", type: "tool_result", callId: "c2", toolName: "b", text: "[failed]\nnope" },
              ],
            },
          },
        ],
      },
      { type: "advance_iteration" },
      { type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } },
    ],
    3: [
      {
        type: "start_llm",
        request: {
          model: "test-model",
          messages: [
            { role: "user", blocks: [{ type: "text", text: "hello" }] },
            { role: "assistant", blocks: CALLS },
            {
              role: "user",
              blocks: [
                { type: "tool_result", callId: "c1", toolName: "shot", text: "[\n]" },
                { type: "image", attachmentIndex: 0 },
                { type: "tool_result", callId: "c2", toolName: "b", text: "[failed]\nnope" },
              ],
            },
          ],
          attachments: [PICTURE],
          tools: [],
          toolChoice: "auto",
          generation: {},
        },
      },
    ],
  },
}

function recording(log: { callback: string; actions: readonly DriverAction[] }[]): ProtocolDriver {
  const inner = chatDriver()
  const noted = (callback: string, actions: readonly DriverAction[]): readonly DriverAction[] => {
    log.push({ callback, actions: plain(actions) })
    return actions
  }
  return {
    ...inner,
    prepareIteration: (context: DriverContext) => noted("prepareIteration", inner.prepareIteration(context)),
    onLlmComplete: (...given) => noted("llmComplete", inner.onLlmComplete(...given)),
    onToolResults: (...given) => noted("toolResults", inner.onToolResults(...given)),
  }
}

/** Actions without our departures: the appended answer, the scopes and numbers of ids, the wording for an empty answer. */
function comparable(actions: readonly DriverAction[]): Json {
  const completing = actions.at(-1)?.type === "start_checkpoint" && (actions.at(-1) as { checkpoint: string }).checkpoint === "before_completion"
  const compared = completing ? actions.filter((action) => action.type !== "append_events") : actions
  const ids: string[] = []
  const text = JSON.stringify(compared)
    .replaceAll(/m_\d+_(?:driver|assistant|tools|call)_\d+/g, (id) => {
      if (!ids.includes(id)) ids.push(id)
      return `id ${ids.indexOf(id)}`
    })
    .replaceAll("The model answered with neither text nor a tool call.", "The answer is empty.")
  return JSON.parse(text) as Json
}

test("an unknown option is refused: it would be ignored", () => {
  expect(() => chatDriver({ retryEmptyAnswers: true } as never)).toThrow(
    expect.objectContaining({ code: "invalid_config", message: expect.stringContaining("retryEmptyAnswer") as string }),
  )
})
