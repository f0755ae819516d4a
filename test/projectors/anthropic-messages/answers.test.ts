import { describe, expect, test } from "vitest"
import { anthropicMessagesWire } from "../../../src/projectors/anthropic-messages/index.ts"
import {
  answer,
  CLAUDE,
  close,
  decode,
  delta,
  end,
  failure,
  message,
  open,
  read,
  says,
  signs,
  start,
  TEXT,
  THINKING,
  thinks,
  toolUse,
  writes,
} from "./support.ts"

const SEARCH = { type: "server_tool_use", id: "srvtoolu_1", name: "web_search", input: { query: "tides" }, caller: { type: "direct" } }
const FOUND = {
  type: "web_search_tool_result",
  tool_use_id: "srvtoolu_1",
  content: [{ type: "web_search_result", title: "Tides", url: "https://sea.example", encrypted_content: "ZW5j", page_age: null }],
}
const CITATION = { type: "web_search_result_location", cited_text: "high", url: "https://sea.example", title: "Tides", encrypted_index: "aWR4" }

/** Everything an answer may have, in an order that only its parts give. */
const RICH = [
  { type: "thinking", thinking: "First, the sea.", signature: "c2ln" },
  { type: "redacted_thinking", data: "cmVk" },
  { type: "text", text: "I look. ", citations: null },
  SEARCH,
  FOUND,
  { type: "thinking", thinking: "", signature: "c2lnMg==" },
  { type: "text", text: "High at noon.", citations: [CITATION] },
  { type: "tool_use", id: "toolu_1", name: "note", input: { at: "noon" }, caller: { type: "code_execution_20250825", tool_id: "srvtoolu_9" } },
  { type: "tool_use", id: "toolu_2", name: "look", input: {} },
]

const RICH_PARTS = [
  { type: "reasoning", text: "First, the sea.", replay: { signature: "c2ln" } },
  { type: "reasoning", text: "", replay: { encryptedContent: "cmVk", redacted: true } },
  { type: "text", text: "I look. " },
  { type: "opaque", provider: "api.anthropic.com", kind: "server_tool_use", data: SEARCH, text: '[Called web_search: {"query":"tides"}]' },
  {
    type: "opaque",
    provider: "api.anthropic.com",
    kind: "web_search_tool_result",
    data: FOUND,
    text: "[Result of web_search: Tides https://sea.example]",
  },
  { type: "reasoning", text: "", replay: { signature: "c2lnMg==" } },
  { type: "text", text: "High at noon.", providerMetadata: { citations: [CITATION] } },
  {
    type: "tool_call",
    callId: "toolu_1",
    toolName: "note",
    inputJson: '{"at":"noon"}',
    providerMetadata: { caller: { type: "code_execution_20250825", tool_id: "srvtoolu_9" } },
  },
  { type: "tool_call", callId: "toolu_2", toolName: "look", inputJson: "{}" },
]

const RICH_EVENTS = [
  start(),
  { type: "ping" },
  open(0, THINKING),
  delta(0, thinks("First, ")),
  delta(0, thinks("the sea.")),
  delta(0, signs("c2ln")),
  close(0),
  open(1, { type: "redacted_thinking", data: "cmVk" }),
  close(1),
  open(2, TEXT),
  delta(2, says("I look. ")),
  close(2),
  open(3, { ...SEARCH, input: {} }),
  delta(3, writes("")),
  delta(3, writes('{"query"')),
  delta(3, writes(':"tides"}')),
  close(3),
  open(4, FOUND),
  close(4),
  open(5, THINKING),
  delta(5, signs("c2lnMg==")),
  close(5),
  open(6, { ...TEXT, citations: [] }),
  delta(6, { type: "citations_delta", citation: CITATION }),
  delta(6, says("High at noon.")),
  close(6),
  open(7, { type: "tool_use", id: "toolu_1", name: "note", input: {}, caller: { type: "code_execution_20250825", tool_id: "srvtoolu_9" } }),
  delta(7, writes('{"at":"')),
  delta(7, writes('noon"}')),
  close(7),
  open(8, toolUse("toolu_2")),
  delta(8, writes("")),
  close(8),
  { type: "something_new", index: 3, delta: 1 },
  ...end("tool_use"),
]

describe("a whole answer", () => {
  test("keeps every part in its order, with what goes back to its model", () => {
    const response = answer(decode(message(RICH, "tool_use"), { producer: CLAUDE }))
    expect(response.parts).toEqual(RICH_PARTS)
    expect(response.text).toBe("I look. High at noon.")
    expect(response.terminalReason).toBe("tool_use")
    expect(response.producer).toEqual({ ...CLAUDE, responseId: "msg_1" })
  })

  test("counts its prompt as the sum of what was read from the cache and what was not", () => {
    expect(answer(decode(message([]))).usage).toEqual({
      inputTokens: 15,
      cachedInputTokens: 100,
      cacheWriteTokens: 5,
      outputTokens: 7,
      reasoningTokens: 0,
    })
  })

  test("counts written tokens although nothing was read, and reasoning as a part of the output", () => {
    const usage = {
      input_tokens: 3,
      cache_creation_input_tokens: 40,
      cache_read_input_tokens: null,
      output_tokens: 9,
      output_tokens_details: { thinking_tokens: 6 },
    }
    expect(answer(decode(message([], "end_turn", { usage }))).usage).toEqual({
      inputTokens: 43,
      cachedInputTokens: 0,
      cacheWriteTokens: 40,
      outputTokens: 9,
      reasoningTokens: 6,
    })
  })

  test("counts the tokens of a compaction, which the provider's sums leave out, and not as its prompt", () => {
    const compaction = {
      type: "compaction",
      input_tokens: 180_000,
      output_tokens: 3_500,
      cache_read_input_tokens: 20,
      cache_creation_input_tokens: 7,
    }
    const rest = { type: "message", input_tokens: 23_000, output_tokens: 1_000 }
    const usage = { input_tokens: 23_000, output_tokens: 1_000, iterations: [compaction, { ...compaction, output_tokens: 500 }, rest] }
    const expected = {
      usage: { inputTokens: 23_000, cachedInputTokens: 0, outputTokens: 1_000, reasoningTokens: 0 },
      retriedUsage: { inputTokens: 360_014, cachedInputTokens: 40, cacheWriteTokens: 14, outputTokens: 4_000, reasoningTokens: 0 },
    }
    expect(answer(decode(message([{ type: "text", text: "x" }], "end_turn", { usage })))).toMatchObject(expected)
    const stopped = [{ type: "message_delta", delta: { stop_reason: "end_turn" }, usage }, { type: "message_stop" }]
    expect(answer(read([start(), open(0, TEXT), delta(0, says("x")), close(0), ...stopped]).result).retriedUsage).toEqual(expected.retriedUsage)
    const lost = failure(read([start(), { type: "message_delta", delta: {}, usage }]).result)
    expect(lost).toMatchObject({ code: "stream_truncated", retriedUsage: expected.retriedUsage })
    expect(answer(decode(message([], "end_turn", { usage: { ...usage, iterations: [rest, null] } })))).not.toHaveProperty("retriedUsage")
  })

  test.each([
    ["end_turn", "stop"],
    ["stop_sequence", "stop"],
    ["tool_use", "tool_use"],
    ["pause_turn", "paused"],
    ["compaction", "paused"],
    ["max_tokens", "output_limit"],
    ["model_context_window_exceeded", "context_overflow"],
    ["refusal", "refusal"],
    ["something_new", "unknown"],
    [null, "unknown"],
  ])("that stops with %s ends as %s", (stopReason, terminalReason) => {
    expect(answer(decode(message([{ type: "text", text: "x" }], stopReason))).terminalReason).toBe(terminalReason)
  })

  test("says why the model refused", () => {
    const details = { type: "refusal", category: "bio", explanation: "It may harm." }
    const response = answer(decode(message([], "refusal", { stop_details: details })))
    expect(response.terminalDiagnostic).toBe("The model refused to answer: It may harm.")
  })

  test("gives calls without an id one, and names their own form", () => {
    const content = [toolUse(""), toolUse("toolu_1", "fs_read")]
    const { parts } = answer(decode(message(content, "tool_use"), { firstCallNumber: 4, toolNames: new Map([["fs_read", "fs.read"]]) }))
    expect(parts).toEqual([
      { type: "tool_call", callId: "call_4", toolName: "look", inputJson: "{}" },
      { type: "tool_call", callId: "toolu_1", toolName: "fs.read", inputJson: "{}" },
    ])
  })

  test("keeps arguments that are not an object as they came", () => {
    expect(answer(decode(message([toolUse("a", "look", '{"x":')], "tool_use"))).parts).toMatchObject([{ inputJson: '{"x":' }])
    expect(answer(decode(message([toolUse("a", "look", null)], "tool_use"))).parts).toMatchObject([{ inputJson: "{}" }])
  })

  test("with an error in its place is that failure", () => {
    const body = { type: "error", error: { type: "overloaded_error", message: "Overloaded" }, request_id: "req_1" }
    expect(failure(decode(body))).toMatchObject({ code: "overloaded_error", kind: "overloaded", retryable: true })
  })

  test.each([null, 1, "x", [], {}, { content: 1 }, { content: [1] }, { content: [{}] }, message([{ type: "tool_use", id: "a" }])])(
    "that is not in the format is refused: %j",
    (body) => {
      expect(failure(decode(body)).code).toBe("malformed_response")
    },
  )
})

describe("a streamed answer", () => {
  test("is the same as the whole one", () => {
    const { result, shown } = read(RICH_EVENTS, { producer: CLAUDE })
    const response = answer(result)
    expect(response.parts).toEqual(RICH_PARTS)
    expect(response.usage).toEqual({ inputTokens: 15, cachedInputTokens: 100, cacheWriteTokens: 5, outputTokens: 7, reasoningTokens: 0 })
    expect(response.producer?.responseId).toBe("msg_1")
    expect(shown).toEqual([
      { type: "reasoning_delta", content: "First, " },
      { type: "reasoning_delta", content: "the sea." },
      { type: "text_delta", content: "I look. " },
      { type: "text_delta", content: "High at noon." },
    ])
  })

  test("says when it is complete, when it has its usage, and when it has ended", () => {
    const stream = anthropicMessagesWire().stream()
    const states = [start(), open(0, TEXT), delta(0, says("x")), close(0), ...end("end_turn")].map((event) => {
      stream.push(event)
      return [stream.complete, stream.hasUsage, stream.ended]
    })
    expect(states).toEqual([
      [false, false, false],
      [false, false, false],
      [false, false, false],
      [false, false, false],
      [true, true, false],
      [true, true, true],
    ])
  })

  test("keeps broken arguments as the model wrote them", () => {
    const events = [start(), open(0, toolUse("a")), delta(0, writes('{"x": tru')), close(0), ...end("tool_use")]
    expect(answer(read(events).result).parts).toEqual([{ type: "tool_call", callId: "a", toolName: "look", inputJson: '{"x": tru' }])
  })

  test("may come with events twice, in another order, and with a start after its first piece", () => {
    const events = [
      start(),
      start(),
      open(1, toolUse("a")),
      delta(1, writes('{"x":1}')),
      delta(0, says("Hel")),
      open(0, TEXT),
      open(0, TEXT),
      delta(0, says("lo")),
      close(0),
      close(0),
      close(1),
      ...end("tool_use"),
      ...end("tool_use"),
    ]
    expect(answer(read(events).result).parts).toEqual([
      { type: "text", text: "Hello" },
      { type: "tool_call", callId: "a", toolName: "look", inputJson: '{"x":1}' },
    ])
  })

  test.each<[string, string, readonly string[]]>([
    ["whole", "", ["c2ln"]],
    ["in the start of its block", "c2ln", []],
    ["in the start, and once more", "c2ln", ["c2ln"]],
    ["twice", "", ["c2ln", "c2ln"]],
    ["as it grows", "", ["c2", "c2ln"]],
  ])("may have a signature %s", (_how, first, pieces) => {
    const events = [
      start(),
      open(0, { ...THINKING, signature: first }),
      ...pieces.map((piece) => delta(0, signs(piece))),
      close(0),
      ...end("end_turn"),
    ]
    expect(answer(read(events).result).parts).toEqual([{ type: "reasoning", text: "", replay: { signature: "c2ln" } }])
  })

  test("may have one index for all its blocks", () => {
    const events = [
      start(),
      open(0, TEXT),
      delta(0, says("a")),
      close(0),
      open(0, toolUse("a")),
      delta(0, writes("{}")),
      close(0),
      ...end("tool_use"),
    ]
    expect(answer(read(events).result).parts.map(({ type }) => type)).toEqual(["text", "tool_call"])
  })

  test("with a second message in it is refused", () => {
    const { result } = read([start(), open(0, TEXT), delta(0, says("a")), start({ id: "msg_2" }), delta(0, says("b")), ...end("end_turn")])
    expect(failure(result).code).toBe("malformed_response")
    expect(result).toMatchObject({ partial: { parts: [{ type: "text", text: "a" }] } })
  })

  test("stays complete whatever follows", () => {
    const error = { type: "error", error: { type: "api_error", message: "late" } }
    const { result } = read([
      start(),
      open(0, TEXT),
      delta(0, says("a")),
      close(0),
      ...end("end_turn"),
      error,
      1,
      start({ id: "msg_2" }),
      delta(0, says("b")),
    ])
    expect(answer(result).text).toBe("a")
  })

  test("that has its stop reason stays complete if the stream then fails, and a second message adds nothing", () => {
    const begun = [start(), open(0, TEXT), delta(0, says("a")), close(0), ...end("end_turn").slice(0, 1)]
    for (const late of [{ type: "error", error: { type: "api_error", message: "late" } }, 1, start({ id: "msg_2" })]) {
      expect(answer(read([...begun, late, open(1, TEXT), delta(1, says("b"))]).result).text).toBe("a")
    }
  })

  test("that fails in the middle keeps what was said", () => {
    const error = { type: "error", error: { type: "overloaded_error", message: "Overloaded" } }
    const { result } = read([start(), open(0, TEXT), delta(0, says("a")), error], { producer: CLAUDE })
    expect(failure(result)).toMatchObject({ kind: "overloaded", retryable: true })
    expect(result).toMatchObject({ partial: { text: "a", usage: { inputTokens: 15, cachedInputTokens: 100 } } })
  })

  test("that is cut off keeps neither half a call, nor half a signature, nor a search without its result", () => {
    const events = [
      start(),
      open(0, { type: "thinking", thinking: "a", signature: "c2ln" }),
      close(0),
      open(1, SEARCH),
      close(1),
      open(2, FOUND),
      close(2),
      open(3, { ...SEARCH, id: "srvtoolu_2" }),
      close(3),
      open(4, toolUse("a")),
      close(4),
      open(5, THINKING),
      delta(5, thinks("half")),
      delta(5, signs("c2")),
    ]
    const { result } = read(events, { producer: CLAUDE })
    expect(failure(result)).toMatchObject({ code: "stream_truncated", retryable: true })
    expect((result as { partial?: { parts: unknown } }).partial?.parts).toEqual([
      { type: "reasoning", text: "a", replay: { signature: "c2ln" } },
      RICH_PARTS[3],
      RICH_PARTS[4],
      { type: "reasoning", text: "half" },
    ])
  })

  test("that reached its limit keeps no call either", () => {
    const events = [start(), open(0, TEXT), delta(0, says("a")), close(0), open(1, toolUse("a")), delta(1, writes('{"x')), ...end("max_tokens")]
    expect(answer(read(events).result)).toMatchObject({ terminalReason: "output_limit", parts: [{ type: "text", text: "a" }] })
  })

  test("may be one whole message", () => {
    const { result, shown } = read([message([{ type: "text", text: "a" }])])
    expect(answer(result).text).toBe("a")
    expect(shown).toEqual([{ type: "text_delta", content: "a" }])
  })

  test("without anything is cut off", () => {
    expect(failure(read([]).result).code).toBe("stream_truncated")
    expect(failure(read([start()]).result)).toMatchObject({ code: "stream_truncated", usage: { inputTokens: 15 } })
  })
})
