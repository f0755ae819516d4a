import { describe, expect, test } from "vitest"
import { answered, decode, failure, fixture, fixtureEvents, PRODUCER, response, shownTexts, streamed } from "./support.ts"

const USAGE = { inputTokens: 164, cachedInputTokens: 256, cacheWriteTokens: 128, outputTokens: 90, reasoningTokens: 64 }
const REASONING = {
  type: "reasoning",
  text: "**Two cities**\n\nI compare the weather.\n\nBoth are needed.",
  replay: {
    itemId: "rs_0a1",
    encryptedContent: "gAAAAB-first-reasoning==",
    summary: ["**Two cities**\n\nI compare the weather.", "Both are needed."],
  },
}
const COMMENTARY = { type: "text", text: "I look at both cities.", responseMeta: { id: "msg_0a2", status: "completed", phase: "commentary" } }

describe.each([
  ["whole", (name: string) => decode(fixture(name))],
  ["in a stream", (name: string) => streamed(fixtureEvents(name)).result],
])("an answer %s", (_how, read) => {
  test("keeps its items in order, with all that its provider wants back", () => {
    expect(response(read("parallel-tools"))).toMatchObject({
      text: "I look at both cities.",
      parts: [
        REASONING,
        COMMENTARY,
        { type: "tool_call", callId: "call_Lyon", toolName: "weather", inputJson: '{"city":"Lyon"}', replay: { itemId: "fc_0a3" } },
        { type: "tool_call", callId: "call_Oslo", toolName: "weather", inputJson: '{"city": "Oslo"}', replay: { itemId: "fc_0a4" } },
      ],
      usage: USAGE,
      terminalReason: "tool_use",
      producer: { ...PRODUCER, responseId: "resp_01" },
      providerUsage: { total_tokens: 510 },
    })
  })

  test("keeps what ran at the provider as it came, and citations with their text", () => {
    const { parts, terminalReason } = response(read("web-search"))
    expect(terminalReason).toBe("stop")
    expect(parts).toEqual([
      { type: "reasoning", text: "", replay: { itemId: "rs_0b0", encryptedContent: "gAAAAB-second==" } },
      {
        type: "opaque",
        provider: "openai",
        kind: "web_search_call",
        data: { id: "ws_0b1", type: "web_search_call", status: "completed", action: { type: "search", query: "weather Lyon" } },
        text: "[Web search: weather Lyon]",
      },
      {
        type: "text",
        text: "Lyon is warmer than Oslo.",
        responseMeta: { id: "msg_0b1", status: "completed", phase: "final_answer" },
        providerMetadata: {
          annotations: [{ type: "url_citation", start_index: 0, end_index: 4, url: "https://weather.example/lyon", title: "Lyon" }],
        },
      },
    ])
  })

  test("that refuses has the refusal as its text", () => {
    expect(response(read("refusal"))).toMatchObject({
      text: "I cannot help with that.",
      parts: [{ type: "text", text: "I cannot help with that.", responseMeta: { id: "msg_0c1" }, providerMetadata: { type: "refusal" } }],
      terminalReason: "refusal",
      terminalDiagnostic: "The model refused to answer.",
    })
  })

  test("that reached the output limit keeps its text, and reasoning with the text after it", () => {
    expect(response(read("output-limit"))).toMatchObject({
      parts: [
        { type: "reasoning", text: "", replay: { itemId: "rs_0d0", encryptedContent: "gAAAAB-third==" } },
        { type: "text", text: "The first of ten reasons is", responseMeta: { id: "msg_0d1", status: "incomplete" } },
      ],
      terminalReason: "output_limit",
      terminalDiagnostic: "The answer was cut off at the limit of output tokens.",
      usage: USAGE,
    })
  })

  test("that was cut off in a call has no call, and its reasoning only as text", () => {
    const { parts, terminalReason } = response(read("cut-in-call"))
    expect(terminalReason).toBe("output_limit")
    expect(parts).toEqual([{ type: "reasoning", text: REASONING.text }])
  })

  test("that failed is the failure that its provider names", () => {
    expect(failure(read("failed"))).toMatchObject({
      code: "rate_limit_exceeded",
      kind: "rate_limit",
      retryable: true,
      terminalReason: "provider_error",
    })
  })
})

test("a failed stream keeps what was said before", () => {
  const { result } = streamed(fixtureEvents("failed"))
  expect(result).toMatchObject({ ok: false, partial: { text: "Lyon is warmer than Oslo.", terminalReason: "provider_error" } })
})

test("an error in mid-stream is read by its code", () => {
  const { result, stream } = streamed(fixtureEvents("error-event"))
  expect(stream.failed).toBe(true)
  expect(failure(result)).toMatchObject({
    code: "context_length_exceeded",
    kind: "context_overflow",
    retryable: false,
    terminalReason: "context_overflow",
  })
  const nested = streamed([{ type: "error", error: { type: "server_error", message: "Overloaded.", code: null } }])
  expect(failure(nested.result)).toMatchObject({ code: "server_error", retryable: true })
  expect(failure(streamed([{ type: "error" }]).result)).toMatchObject({ code: "error", retryable: true })
})

test("a stream that ends early keeps its text, without the reasoning that the provider would refuse", () => {
  const events = fixtureEvents("truncated")
  const { result } = streamed(events)
  expect(failure(result)).toMatchObject({ code: "stream_truncated", retryable: true })
  const said = { type: "text", text: COMMENTARY.text, responseMeta: { id: "msg_0a2", status: "incomplete", phase: "commentary" } }
  expect(result).toMatchObject({ partial: { text: COMMENTARY.text, parts: [REASONING, said] } })
  // The reasoning has not ended.
  const ended = events.findIndex((event) => event["type"] === "response.output_item.done")
  const { result: early } = streamed(events.slice(0, ended))
  expect(early).toMatchObject({ ok: false, partial: { text: "" } })
  expect(early.ok ? [] : early.partial?.parts).toEqual([{ type: "reasoning", text: REASONING.text }])
  // Nothing was said.
  expect(streamed(events.slice(0, 2)).result).toEqual({ ok: false, error: expect.objectContaining({ code: "stream_truncated" }) })
})

test("a stream shows texts and reasoning as they come", () => {
  const { shown, stream } = streamed(fixtureEvents("parallel-tools"))
  expect(shownTexts(shown)).toEqual({ text: "I look at both cities.", reasoning: REASONING.text })
  expect(stream).toMatchObject({ complete: true, ended: true, failed: false, hasUsage: true })
})

describe("finish reasons", () => {
  const message = { type: "message", id: "msg_1", content: [{ type: "output_text", text: "Hm" }] }
  const ended = (more: object) => decode({ object: "response", output: [message], ...more })

  test.each([
    [{ status: "completed" }, "stop"],
    [{}, "stop"],
    [{ status: "incomplete", incomplete_details: { reason: "max_output_tokens" } }, "output_limit"],
    [{ status: "incomplete", incomplete_details: { reason: "content_filter" } }, "content_filter"],
    [{ status: "incomplete", incomplete_details: { reason: "steered" } }, "unknown"],
    [{ status: "incomplete", incomplete_details: null }, "unknown"],
    [{ status: "new_word" }, "unknown"],
  ])("%j", (more, reason) => {
    expect(response(ended(more)).terminalReason).toBe(reason)
  })

  test("an unknown word is a diagnostic, and half a call is left out", () => {
    const result = decode({
      object: "response",
      status: "incomplete",
      incomplete_details: { reason: "steered" },
      output: [message, { type: "function_call", call_id: "a", name: "f", arguments: "{}", status: "incomplete" }],
    })
    expect(response(result)).toMatchObject({ terminalDiagnostic: 'The provider ended the answer with the finish reason "steered".' })
    expect(response(result).parts.map(({ type }) => type)).toEqual(["text"])
  })

  test.each(["failed", "cancelled"])("%s without an error is a fault of the provider, and the text is kept", (status) => {
    expect(ended({ status })).toMatchObject({ ok: false, error: { code: status, retryable: true }, partial: { text: "Hm" } })
  })

  test.each(["queued", "in_progress"])("%s is not an answer", (status) => {
    expect(failure(ended({ status })).code).toBe("malformed_response")
  })
})

describe("calls", () => {
  const call = (more: object) => ({ type: "function_call", id: "fc_1", call_id: "c", name: "f", arguments: "{}", ...more })
  const calls = (...output: readonly object[]) => response(answered(...output)).parts

  test("without an id, or with one that was used, get one", () => {
    expect(calls(call({ call_id: undefined }), call({ call_id: "call_1" }), call({ call_id: "call_1" }))).toMatchObject([
      { callId: "call_2" },
      { callId: "call_1" },
      { callId: "call_3" },
    ])
  })

  test("keep broken arguments raw, and read an object as text", () => {
    expect(calls(call({ arguments: '{"a":' }), call({ call_id: "d", arguments: { a: 1 } }))).toMatchObject([
      { inputJson: '{"a":' },
      { inputJson: '{"a":1}' },
    ])
  })

  test("get their own names back", () => {
    const toolNames = new Map([["fs_read", "fs.read"]])
    const result = decode({ output: [call({ name: "fs_read" })] }, { toolNames })
    expect(response(result).parts).toMatchObject([{ toolName: "fs.read" }])
  })

  test("keep the keys that go back with them", () => {
    expect(calls(call({ namespace: "crm", caller: { type: "direct" }, async: null }))).toMatchObject([
      { providerMetadata: { namespace: "crm", caller: { type: "direct" } } },
    ])
  })

  test("without a name are malformed, or nothing if they have no arguments", () => {
    expect(failure(answered(call({ name: "", arguments: '{"a":1}' }))).code).toBe("malformed_response")
    expect(response(answered(call({ name: "", arguments: "" }))).parts).toEqual([])
  })
})

test("empty texts are kept only between encrypted reasoning and what follows", () => {
  const empty = { type: "message", id: "msg_1", content: [{ type: "output_text", text: "" }] }
  expect(response(answered(empty)).parts).toEqual([])
  const reasoning = { type: "reasoning", id: "rs_1", summary: [], encrypted_content: "x" }
  expect(response(answered(reasoning, empty)).parts).toMatchObject([{ type: "reasoning" }, { type: "text", text: "", providerMetadata: {} }])
})

test("plain reasoning of open models is read from its content", () => {
  const item = {
    type: "reasoning",
    id: "rs_1",
    summary: [],
    content: [
      { type: "reasoning_text", text: "One." },
      { type: "reasoning_text", text: "Two." },
    ],
  }
  expect(response(answered(item, { type: "message", content: "Yes" })).parts).toEqual([
    { type: "reasoning", text: "One.\n\nTwo.", replay: { itemId: "rs_1" }, providerMetadata: { content: ["One.", "Two."] } },
    { type: "text", text: "Yes", responseMeta: { status: "completed" } },
  ])
})

test.each(["bio_policy", "misalignment_policy_violation", "image_content_policy_violation"])("the error %s is a content filter", (code) => {
  const result = decode({ object: "response", status: "failed", error: { code, message: "Refused." }, output: [] })
  expect(failure(result)).toMatchObject({ code, terminalReason: "content_filter", retryable: false })
})

test("reasoning that had not ended does not go back, and the message after it goes without its id", () => {
  const reasoning = {
    type: "reasoning",
    id: "rs_1",
    status: "incomplete",
    summary: [{ type: "summary_text", text: "Hm" }],
    encrypted_content: "half",
  }
  const message = { type: "message", id: "msg_1", status: "completed", content: [{ type: "output_text", text: "Ten" }] }
  const details = { status: "incomplete", incomplete_details: { reason: "max_output_tokens" } }
  expect(response(decode({ object: "response", ...details, output: [reasoning, message] })).parts).toEqual([
    { type: "reasoning", text: "Hm" },
    { type: "text", text: "Ten", responseMeta: { status: "completed" } },
  ])
})

test("an empty error beside a good answer is ignored", () => {
  const output = [{ type: "message", content: "Yes" }]
  expect(response(decode({ object: "response", status: "completed", error: { code: "", message: "" }, output })).text).toBe("Yes")
})

test("a failed answer in which nothing was said has the tokens that it used", () => {
  const error = { code: "server_error", message: "Broken." }
  const usage = { input_tokens: 7, output_tokens: 2, output_tokens_details: { reasoning_tokens: 2 } }
  expect(decode({ object: "response", status: "failed", error, output: [], usage })).toMatchObject({
    ok: false,
    error: { code: "server_error", usage: { inputTokens: 7, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 2 } },
  })
})

test("an error in a body with status 200 is a failure", () => {
  expect(failure(decode({ error: { type: "invalid_request_error", message: "No such model.", code: "model_not_found" } }))).toMatchObject({
    code: "model_not_found",
    retryable: false,
  })
  expect(failure(decode(fixture("failed")))).toMatchObject({ kind: "rate_limit" })
})

test.each([null, 1, "x", [], {}, { output: 1 }, { object: "response" }, { object: "response", output: {} }])("%j is not an answer", (value) => {
  expect(failure(decode(value)).code).toBe("malformed_response")
})

test("items that are not known are kept raw, and what is not an item is ignored", () => {
  const item = { type: "time_travel_call", id: "tt_1", action: { year: 1999 } }
  expect(response(answered(item, { id: "no type" }, 1 as unknown as object)).parts).toEqual([
    { type: "opaque", provider: "openai", kind: "time_travel_call", data: item, text: '[time travel: {"year":1999}]' },
  ])
})
