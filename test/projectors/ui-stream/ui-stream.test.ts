import { readUIMessageStream, type UIMessageChunk } from "ai"
import { describe, expect, test } from "vitest"
import { type UiChunk, UiStream, type UiStreamOptions, uiMessages, withoutRetracted } from "../../../src/projectors/ui-stream/index.ts"
import type { Message, Part } from "../../../src/wire/message.ts"
import type { ThreadEvent } from "../../../src/wire/thread-event.ts"

// The events of hand, and the chunks of hand.

let count = 0
const durable = (event: Record<string, unknown>): ThreadEvent => {
  count += 1
  return { turnId: "t.1", cursor: `aaaaaaaa-${count}`, ...event } as unknown as ThreadEvent
}
const live = (event: Record<string, unknown>): ThreadEvent => ({ turnId: "t.1", ...event }) as unknown as ThreadEvent

const message = (id: string, role: Message["role"], parts: readonly Record<string, unknown>[], more: Partial<Message> = {}): ThreadEvent =>
  durable({ type: "message", message: { id, role, parts: parts.map((part, index) => ({ id: `${id}.p${index}`, ...part }) as Part), ...more } })
const text = (value: string) => ({ type: "text", text: value })
const call = (callId: string, inputJson = '{"n":1}', toolName = "look") => ({ type: "tool_call", callId, toolName, inputJson })
const result = (callId: string, value: string, more = {}) => ({ type: "tool_result", callId, text: value, ...more })
const modelEnded = (effectId: number) => durable({ type: "model_call_ended", effectId, terminalReason: "stop" })
const delta = (effectId: number, value: string, type = "text_delta") => live({ type, effectId, delta: value })
const turnStarted = () => durable({ type: "turn_started", origin: "user", at: 5 })
const finished = { type: "finished", finish: { type: "assistant_message", text: "" } }
const turnEnded = (outcome: unknown = finished) => durable({ type: "turn_ended", at: 9, outcome })

const chunksOf = (events: readonly ThreadEvent[], options: UiStreamOptions = {}): UiChunk[] => {
  const stream = new UiStream(options)
  return events.flatMap((event) => stream.next(event).map(({ chunk }) => chunk))
}

const START = { type: "start", messageId: "t.1", messageMetadata: { startedAt: 5 } }
const FINISH = { type: "finish", finishReason: "stop", messageMetadata: { endedAt: 9, outcome: "finished" } }

test("an answer with reasoning and a tool is two steps of one message", () => {
  const USAGE = { inputTokens: 7, cachedInputTokens: 0, outputTokens: 3, reasoningTokens: 0 }
  const events = [
    turnStarted(),
    message("u", "user", [text("Hello")]),
    modelEnded(1),
    message("m1", "assistant", [{ type: "reasoning", text: "Hm." }, text("I look."), call("c1")]),
    durable({ type: "tool_call_started", effectId: 2, callId: "c1", toolName: "look", args: { n: 1 } }),
    live({ type: "tool_progress", callId: "c1", toolName: "look", progress: 1, total: 2 }),
    durable({ type: "tool_call_ended", callId: "c1", toolName: "look", status: "success", output: { status: "success", value: { seen: 3 } } }),
    message("m2", "user", [result("c1", "3")]),
    modelEnded(3),
    message("m3", "assistant", [text("Three.")]),
    durable({ type: "turn_ended", at: 9, outcome: finished, usage: USAGE }),
  ]
  expect(chunksOf(events, { cost: ({ inputTokens, outputTokens }) => inputTokens + 10 * outputTokens })).toEqual([
    START,
    { type: "start-step" },
    { type: "reasoning-start", id: "reasoning-3" },
    { type: "reasoning-delta", id: "reasoning-3", delta: "Hm." },
    { type: "reasoning-end", id: "reasoning-3" },
    { type: "text-start", id: "text-5" },
    { type: "text-delta", id: "text-5", delta: "I look." },
    { type: "text-end", id: "text-5" },
    { type: "tool-input-available", toolCallId: "c1", toolName: "look", input: { n: 1 } },
    { type: "data-tool-progress", data: { toolCallId: "c1", toolName: "look", progress: 1, total: 2 }, transient: true },
    { type: "tool-output-available", toolCallId: "c1", output: { seen: 3 } },
    { type: "finish-step" },
    { type: "start-step" },
    { type: "text-start", id: "text-11" },
    { type: "text-delta", id: "text-11", delta: "Three." },
    { type: "text-end", id: "text-11" },
    { type: "finish-step" },
    { type: "finish", finishReason: "stop", messageMetadata: { endedAt: 9, outcome: "finished", usage: USAGE, costMicros: 37 } },
  ])
})

test("live text is streamed, and completed from the record", () => {
  const events = [turnStarted(), delta(1, "On"), delta(1, "e "), modelEnded(1), message("m1", "assistant", [text("One two")]), turnEnded()]
  expect(chunksOf(events)).toEqual([
    START,
    { type: "start-step" },
    { type: "text-start", id: "text-3" },
    { type: "text-delta", id: "text-3", delta: "On" },
    { type: "text-delta", id: "text-3", delta: "e " },
    { type: "text-delta", id: "text-3", delta: "two" },
    { type: "text-end", id: "text-3" },
    { type: "finish-step" },
    FINISH,
  ])
  expect(chunksOf(events, { liveText: false }).filter(({ type }) => type === "text-delta")).toEqual([
    { type: "text-delta", id: "text-3", delta: "One two" },
  ])
})

test("text of a model call that was made again is retracted, and a page can remove it", async () => {
  const events = [
    turnStarted(),
    delta(1, "Hm", "reasoning_delta"),
    delta(1, "Wrong"),
    live({ type: "model_call_started", effectId: 1 }),
    delta(1, "Ri"),
    modelEnded(1),
    message("m1", "assistant", [text("Right")]),
    turnEnded(),
  ]
  const chunks = chunksOf(events)
  expect(chunks).toEqual([
    START,
    { type: "start-step" },
    { type: "reasoning-start", id: "reasoning-3" },
    { type: "reasoning-delta", id: "reasoning-3", delta: "Hm" },
    { type: "reasoning-end", id: "reasoning-3" },
    { type: "text-start", id: "text-5" },
    { type: "text-delta", id: "text-5", delta: "Wrong" },
    { type: "text-end", id: "text-5" },
    { type: "data-retracted", data: { parts: 2 } },
    { type: "text-start", id: "text-3" },
    { type: "text-delta", id: "text-3", delta: "Ri" },
    { type: "text-delta", id: "text-3", delta: "ght" },
    { type: "text-end", id: "text-3" },
    { type: "finish-step" },
    FINISH,
  ])
  let last: { parts: { type: string }[] } | undefined
  const stream = new ReadableStream<UIMessageChunk>({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk as UIMessageChunk)
      controller.close()
    },
  })
  for await (const one of readUIMessageStream({ stream })) last = one as never
  expect(last?.parts.map(({ type }) => type)).toEqual(["step-start", "reasoning", "text", "data-retracted", "text"])
  expect(last && withoutRetracted(last).parts).toMatchObject([{ type: "step-start" }, { type: "text", text: "Right" }])
})

const HELD = {
  callId: "c1",
  toolName: "pay",
  args: { n: 1 },
  requestId: "2:c1",
  index: 0,
  digest: "d1",
  ask: { allow: ["approve", "reject"], scopes: ["call"] },
}
const HOLDING = () => [
  turnStarted(),
  modelEnded(1),
  message("m1", "assistant", [call("c1", '{"n":1}', "pay"), call("c2")]),
  durable({ type: "approval_requested", held: HELD }),
  durable({ type: "tool_call_started", effectId: 2, callId: "c2", toolName: "look", args: { n: 1 } }),
  durable({ type: "tool_call_ended", callId: "c2", toolName: "look", status: "success", output: { status: "success", value: 3 } }),
]
const ASKED = { requestId: "2:c1", callId: "c1", toolName: "pay" }

describe("a held call", () => {
  test("ends the stream when nothing else runs, and a decision continues the message", () => {
    const events = [
      ...HOLDING(),
      durable({ type: "input_queued", inputId: "u2" }),
      durable({ type: "approval_decided", requestId: "2:c1", callId: "c1", toolName: "pay", decision: "edit", args: { n: 2 }, by: "ada" }),
      durable({ type: "tool_call_ended", callId: "c1", toolName: "pay", status: "success", output: { status: "success", value: "paid" } }),
      message("m2", "user", [result("c1", "paid"), result("c2", "3")]),
      turnEnded(),
    ]
    expect(chunksOf(events)).toEqual([
      START,
      { type: "start-step" },
      { type: "tool-input-available", toolCallId: "c1", toolName: "pay", input: { n: 1 } },
      { type: "tool-input-available", toolCallId: "c2", toolName: "look", input: { n: 1 } },
      { type: "data-approval", id: "2:c1", data: { ...ASKED, allow: ["approve", "reject"], scopes: ["call"] } },
      { type: "tool-approval-request", approvalId: "2:c1", toolCallId: "c1", signature: "d1" },
      { type: "tool-output-available", toolCallId: "c2", output: 3 },
      { type: "finish", finishReason: "tool-calls" },
      { type: "start", messageId: "t.1" },
      { type: "data-approval", id: "2:c1", data: { ...ASKED, allow: ["approve", "reject"], scopes: ["call"], decision: "edit", by: "ada" } },
      { type: "tool-input-available", toolCallId: "c1", toolName: "pay", input: { n: 2 } },
      { type: "tool-output-available", toolCallId: "c1", output: "paid" },
      { type: "finish-step" },
      FINISH,
    ])
    const stream = new UiStream()
    const last = events.flatMap((event) => stream.next(event)).filter(({ isLast }) => isLast)
    expect(last.map(({ chunk }) => chunk)).toEqual([{ type: "finish", finishReason: "tool-calls" }, FINISH])
  })

  test("that is rejected is denied, whatever its result says", () => {
    const output = { status: "failure", failure: { message: "The user rejected the call." } }
    const events = [
      ...HOLDING(),
      durable({ type: "approval_decided", requestId: "2:c1", callId: "c1", toolName: "pay", decision: "reject" }),
      durable({ type: "tool_call_ended", callId: "c1", toolName: "pay", status: "failure", output }),
    ]
    expect(chunksOf(events).slice(-2)).toEqual([
      { type: "data-approval", id: "2:c1", data: { ...ASKED, allow: ["approve", "reject"], scopes: ["call"], decision: "reject" } },
      { type: "tool-output-denied", toolCallId: "c1" },
    ])
  })

  test("is a part of the messages that a page loads, and those of a running turn are not", () => {
    const waiting = uiMessages(HOLDING())
    expect(waiting.status).toBe("waiting")
    expect(waiting.messages).toEqual([
      {
        id: "t.1",
        role: "assistant",
        metadata: { startedAt: 5 },
        parts: [
          { type: "step-start" },
          { type: "tool-pay", toolCallId: "c1", state: "approval-requested", input: { n: 1 }, approval: { id: "2:c1", signature: "d1" } },
          { type: "tool-look", toolCallId: "c2", state: "output-available", input: { n: 1 }, output: 3 },
          { type: "data-approval", id: "2:c1", data: { ...ASKED, allow: ["approve", "reject"], scopes: ["call"] } },
        ],
      },
    ])
    const running = uiMessages([turnStarted(), message("u", "user", [text("Hello")]), modelEnded(1)])
    expect(running).toEqual({ status: "running", queued: [], messages: [{ id: "u", role: "user", parts: [{ type: "text", text: "Hello" }] }] })
  })
})

test("a call of the page's own ends the stream, that of another tool does not", () => {
  const events = [
    turnStarted(),
    modelEnded(1),
    message("m1", "assistant", [call("c1", "{}", "locate")]),
    durable({ type: "tool_call_started", effectId: 2, callId: "c1", toolName: "locate", args: {} }),
    durable({ type: "tool_call_pending", callId: "c1", toolName: "locate", token: "secret" }),
  ]
  const pending = { type: "data-pending", id: "c1", data: { callId: "c1", toolName: "locate" } }
  expect(chunksOf(events).at(-1)).toEqual(pending)
  expect(chunksOf(events, { clientTools: ["locate"] }).slice(-2)).toEqual([pending, { type: "finish", finishReason: "tool-calls" }])
  expect(JSON.stringify(chunksOf(events))).not.toContain("secret")
})

test("broken arguments, failures and calls that the turn left are errors of their calls", () => {
  const failure = { status: "failure", failure: { message: "It fails." } }
  const events = [
    turnStarted(),
    modelEnded(1),
    durable({
      type: "tool_call_ended",
      callId: "c1",
      toolName: "look",
      status: "failure",
      output: { status: "failure", failure: { message: "Broken." } },
    }),
    message("m1", "assistant", [call("c1", '{"n":'), call("c2"), call("c3", " ")]),
    durable({ type: "tool_call_ended", callId: "c2", toolName: "look", status: "failure", output: failure }),
    durable({ type: "tool_call_ended", callId: "c3", toolName: "look", status: "cancelled" }),
    message("m2", "user", [result("c1", "Broken."), result("c2", "It fails."), result("c3", "Left.", { isError: true })]),
  ]
  expect(chunksOf(events, { dynamicTools: (name) => name === "look" }).slice(2)).toEqual([
    {
      type: "tool-input-error",
      toolCallId: "c1",
      toolName: "look",
      input: '{"n":',
      dynamic: true,
      errorText: "The arguments are not a JSON object.",
    },
    { type: "tool-input-available", toolCallId: "c2", toolName: "look", input: { n: 1 }, dynamic: true },
    { type: "tool-input-available", toolCallId: "c3", toolName: "look", input: {}, dynamic: true },
    { type: "tool-output-error", toolCallId: "c1", errorText: "Broken.", dynamic: true },
    { type: "tool-output-error", toolCallId: "c2", errorText: "It fails.", dynamic: true },
    { type: "tool-output-error", toolCallId: "c3", errorText: "Left.", dynamic: true },
    { type: "finish-step" },
  ])
})

test("files, opaque parts, cut-off answers, messages in mid-turn and results of turns are parts", () => {
  const photo = { id: "a1", mediaType: "image/png", byteLength: 3 }
  const plan = { id: "a2", mediaType: "application/pdf", byteLength: 3 }
  const goal = { goalId: "g" }
  const events = [
    turnStarted(),
    message("u", "user", [text("Draw.")]),
    modelEnded(1),
    durable({ type: "goal_updated", cause: "usage", goal }),
    message("m1", "assistant", [
      { type: "image", attachment: photo },
      { type: "file", attachment: plan },
      { type: "opaque", provider: "p", kind: "web_search_call", data: { secret: 1 }, text: "Searched." },
      { type: "interrupted", reason: "cancelled" },
    ]),
    message("hint", "user", [text("Not for the user.")], { origin: { type: "plugin", pluginId: "output" } }),
    message("u2", "user", [text("And this."), { type: "image", attachment: photo }]),
    durable({ type: "notice", kind: "compaction", event: { type: "compaction" } }),
    turnEnded({ type: "finished", finish: { type: "submitted_value", value: { n: 1 } } }),
  ]
  const fileUrl = ({ id }: { readonly id: string }) => (id === "a1" ? "/files/a1" : undefined)
  expect(chunksOf(events, { fileUrl })).toEqual([
    START,
    { type: "start-step" },
    { type: "file", url: "/files/a1", mediaType: "image/png" },
    { type: "data-attachment", data: plan },
    { type: "data-opaque", data: { provider: "p", kind: "web_search_call", text: "Searched." } },
    { type: "data-interrupted", data: { reason: "cancelled" } },
    { type: "data-goal", id: "goal", data: { cause: "usage", goal } },
    { type: "finish-step" },
    {
      type: "data-user-message",
      id: "u2",
      data: {
        id: "u2",
        parts: [
          { type: "text", text: "And this." },
          { type: "file", mediaType: "image/png", url: "/files/a1" },
        ],
      },
    },
    { type: "data-notice", data: { kind: "compaction" } },
    { type: "data-result", data: { value: { n: 1 } } },
    FINISH,
  ])
})

describe("the end of a turn", () => {
  const stopped = (type: string, error?: object) => ({ type: "stopped", stop: { type, ...(error !== undefined && { error }) } })
  const ends = (outcome: object) => chunksOf([turnStarted(), turnEnded(outcome)]).slice(1)
  const finish = (finishReason: string, outcome: string) => ({ type: "finish", finishReason, messageMetadata: { endedAt: 9, outcome } })

  test.each([
    [stopped("cancelled", { kind: "k", userMessage: "Stop." }), [finish("other", "cancelled"), { type: "abort", reason: "Stop." }]],
    [stopped("cancelled"), [finish("other", "cancelled"), { type: "abort" }]],
    [stopped("max_iterations"), [finish("other", "max_iterations")]],
    [stopped("max_tokens"), [finish("length", "max_tokens")]],
    [stopped("incomplete", { kind: "k", userMessage: "", terminalReason: "refusal" }), [finish("content-filter", "incomplete")]],
    [
      stopped("provider_error", { kind: "k", userMessage: "Busy.", raw: "key=1" }),
      [finish("error", "provider_error"), { type: "error", errorText: "Busy." }],
    ],
    [stopped("runtime_error"), [finish("error", "runtime_error"), { type: "error", errorText: "The turn failed." }]],
    [{ type: "agent_frame_switch", frameId: "f" }, [finish("stop", "agent_frame_switch")]],
  ])("%j", (outcome, chunks) => {
    expect(ends(outcome)).toEqual(chunks)
  })

  test("shows the error that the turn reported, in the words of the host", () => {
    const envelope = { kind: "k", code: "overloaded", userMessage: "Busy." }
    const events = [turnStarted(), durable({ type: "error", message: "boom", envelope }), turnEnded(stopped("provider_error"))]
    expect(chunksOf(events, { errorText: ({ message: shown, code }) => `${code}: ${shown}` }).at(-1)).toEqual({
      type: "error",
      errorText: "overloaded: Busy.",
    })
  })
})

test("inputs that wait are not messages yet, and messages between turns are", () => {
  const input = (id: string) => ({ id, role: "user", parts: [{ id: `${id}.p0`, type: "text", text: id }] })
  const between = durable({ type: "message", message: { id: "n", role: "assistant", parts: [{ id: "n.p0", type: "text", text: "Noted." }] } })
  const { turnId: _turnId, ...noted } = between as unknown as Record<string, unknown>
  const events = [
    durable({ type: "input_queued", inputId: "a", message: input("a") }),
    durable({ type: "input_queued", inputId: "b", message: input("b") }),
    durable({ type: "input_queued", inputId: "c", message: input("c") }),
    durable({ type: "input_retracted", inputId: "b" }),
    turnStarted(),
    message("a", "user", [text("a")]),
    modelEnded(1),
    message("m1", "assistant", [text("Yes.")]),
    turnEnded(),
    noted as unknown as ThreadEvent,
  ]
  const { messages, queued, status } = uiMessages(events)
  expect(status).toBe("idle")
  expect(queued).toEqual([{ id: "c", role: "user", parts: [{ type: "text", text: "c" }] }])
  expect(messages).toEqual([
    { id: "a", role: "user", parts: [{ type: "text", text: "a" }] },
    {
      id: "t.1",
      role: "assistant",
      metadata: { startedAt: 5, endedAt: 9, outcome: "finished" },
      parts: [{ type: "step-start" }, { type: "text", text: "Yes.", state: "done" }],
    },
    { id: "n", role: "assistant", parts: [{ type: "text", text: "Noted.", state: "done" }] },
  ])
})
