import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { describe, expect, test } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { DriverContext, ProtocolDriver } from "../../src/machine/driver.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { TurnConfigData, TurnStart } from "../../src/schemas/config.ts"
import type { Json } from "../../src/schemas/json.ts"
import type { LlmRequest } from "../../src/schemas/llm.ts"
import type { Message } from "../../src/schemas/message.ts"
import type { Response } from "../../src/schemas/response.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { expectSame } from "../conformance/suite.ts"
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
      iteration: 0,
    })
    expect(shown[4]).toEqual({ type: "checkpoint", id: 2, checkpoint: "before_completion" })

    const end = respond(machine, delivers(2))
    expect(effectNames(end)).toEqual(["emit turn_outcome", "emit done", "done"])
    expect(end[2]).toEqual({ type: "done", outcome: FINISHED("Hi."), messages: [userMessage("hello"), message], eventDelta: [], iteration: 0 })
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

  test("with reasoning stores the reasoning after the text, and the outcome is the text only", () => {
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
      { id: "m_0_assistant_1.p0", type: "text", text: "So." },
      { id: "m_0_assistant_1.p1", type: "reasoning", text: "hm", replay },
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
    expect(machine.outcome).toEqual(STOPPED("provider_error"))
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

  test("with reasoning only end the turn with an empty text", () => {
    const machine = begun()
    respond(machine, answer(1, [{ type: "reasoning", text: "hm" }]))
    respond(machine, delivers(2))
    expect(machine.outcome).toEqual(FINISHED(""))
    expect(machine.messages.at(-1)?.parts).toEqual([{ id: "m_0_assistant_1.p0", type: "reasoning", text: "hm" }])
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

  test("come after the texts of the message, each after the reasoning that led to it", () => {
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
    expect(machine.messages.at(-1)?.parts).toEqual([
      { id: "m_0_assistant_1.p0", type: "text", text: "Looking." },
      { id: "m_0_assistant_1.p1", type: "reasoning", text: "one", replay },
      { id: "m_0_assistant_1.p2", type: "tool_call", callId: "a", toolName: "look", inputJson: '{"n": 1}' },
      { id: "m_0_assistant_1.p3", type: "reasoning", text: "two" },
      { id: "m_0_assistant_1.p4", type: "tool_call", callId: "b", toolName: "look", inputJson: '{"n": 1}' },
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

  test("with malformed arguments, or ones nested too deeply to be saved, reach the tool as {}; the raw text stays", () => {
    const machine = begun()
    const deep = `${"[".repeat(129)}${"]".repeat(129)}`
    const parts = ["{broken", deep].map((inputJson, index) => ({ type: "tool_call" as const, callId: `c${index}`, toolName: "t", inputJson }))
    respond(machine, answer(1, parts))
    expect(machine.outstanding).toMatchObject({
      calls: [
        { callId: "c0", args: {} },
        { callId: "c1", args: {} },
      ],
    })
    expect(machine.messages.at(-1)?.parts).toMatchObject([{ inputJson: "{broken" }, { inputJson: deep }])
    expect(moved(machine, configOf()).state).toBe("waiting_tools")
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
          text: "This turn may use 2 iterations and has used them. Answer now with what you have; no more tools will be run.",
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

  test.each(files)("%s", (file) => {
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
      expectSame(comparable(call.actions), comparable(ONE_RESULT_PER_CALL[file]?.[index] ?? expected), `answer ${index} to ${call.callback}`)
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
