import { describe, expect, test } from "vitest"
import { memoryAttachmentStore } from "../../../src/hosts/attachments/memory.ts"
import { ask, FINISH, HI, LOOK, MOCK, mock, refused, said, VERSIONS, whole } from "./support.ts"

describe.each(VERSIONS)("an answer of a LanguageModel%s", (version) => {
  const streamed = async (...parts: readonly unknown[]) => ask(mock(version, parts).model)

  test("is streamed in text and reasoning, with its usage, its producer and its own words about usage", async () => {
    const { events, response } = await streamed(
      { type: "stream-start", warnings: [] },
      { type: "response-metadata", id: "resp_1", modelId: "dated" },
      { type: "reasoning-start", id: "r" },
      { type: "reasoning-delta", id: "r", delta: "Let me " },
      { type: "reasoning-delta", id: "r", delta: "see." },
      { type: "reasoning-end", id: "r", providerMetadata: { anthropic: { signature: "sig" } } },
      { type: "text-start", id: "t" },
      { type: "text-delta", id: "t", delta: "Hello" },
      { type: "text-delta", id: "t", delta: "" },
      { type: "text-delta", id: "t", delta: "!" },
      { type: "text-end", id: "t", providerMetadata: { openai: { itemId: "msg_1" } } },
      FINISH,
    )
    expect(events).toEqual([
      { type: "reasoning_delta", content: "Let me " },
      { type: "reasoning_delta", content: "see." },
      { type: "text_delta", content: "Hello" },
      { type: "text_delta", content: "!" },
    ])
    expect(response).toEqual({
      text: "Hello!",
      parts: [
        { type: "reasoning", text: "Let me see.", providerMetadata: { anthropic: { signature: "sig" } } },
        { type: "text", text: "Hello!", providerMetadata: { openai: { itemId: "msg_1" } } },
      ],
      usage: { inputTokens: 24, cachedInputTokens: 10, cacheWriteTokens: 4, outputTokens: 9, reasoningTokens: 3 },
      producer: { ...MOCK, responseId: "resp_1", responseModel: "dated" },
      terminalReason: "stop",
      providerUsage: { prompt: 30 },
    })
  })

  test("comes as a whole without streaming, and its text is not shown", async () => {
    const { model, calls } = whole(version, {
      content: [
        { type: "reasoning", text: "Hm.", providerMetadata: { anthropic: { signature: "sig" } } },
        { type: "text", text: "Hello!" },
        { type: "tool-call", toolCallId: "c", toolName: "look", input: '{"a":1}' },
      ],
      finishReason: { unified: "tool-calls", raw: "tool_use" },
      response: { id: "resp_2" },
      warnings: [{ type: "unsupported", feature: "seed", details: "It is ignored." }],
    })
    const { events, response } = await ask(model, { stream: false })
    expect(calls).toHaveLength(1)
    expect(events).toEqual([{ type: "message", kind: "diagnostic", text: "The AI SDK warns (unsupported): seed: It is ignored." }])
    expect(response).toMatchObject({
      text: "Hello!",
      parts: [
        { type: "reasoning", text: "Hm.", providerMetadata: { anthropic: { signature: "sig" } } },
        { type: "text", text: "Hello!" },
        { type: "tool_call", callId: "c", toolName: "look", inputJson: '{"a":1}' },
      ],
      terminalReason: "tool_use",
      producer: { ...MOCK, responseId: "resp_2" },
    })
  })

  test("keeps its calls in their place, with their metadata, whose signatures later pieces do not erase", async () => {
    const { response } = await streamed(
      ...said("First."),
      { type: "tool-input-start", id: "a", toolName: "look", providerMetadata: { google: { thoughtSignature: "s1" } } },
      { type: "tool-input-delta", id: "a", delta: '{"x"' },
      { type: "tool-input-delta", id: "a", delta: ":1}" },
      { type: "tool-input-end", id: "a", providerMetadata: { google: { thoughtSignature: "" } } },
      { type: "tool-call", toolCallId: "a", toolName: "look", input: '{"x":1}', providerMetadata: { google: { thoughtSignature: null, other: 1 } } },
      ...said("Second.", "2"),
      { type: "tool-call", toolCallId: "b", toolName: "look", input: "" },
      { ...FINISH, finishReason: { unified: "stop", raw: "STOP" } },
    )
    expect(response.parts).toEqual([
      { type: "text", text: "First." },
      { type: "tool_call", callId: "a", toolName: "look", inputJson: '{"x":1}', providerMetadata: { google: { thoughtSignature: "s1", other: 1 } } },
      { type: "text", text: "Second." },
      { type: "tool_call", callId: "b", toolName: "look", inputJson: "" },
    ])
    expect(response.terminalReason).toBe("tool_use")
  })

  test("keeps broken arguments as the model wrote them, and a call of which only the pieces came", async () => {
    const { response } = await streamed(
      { type: "tool-call", toolCallId: "a", toolName: "look", input: '{"x": ' },
      { type: "tool-input-start", id: "b", toolName: "look" },
      { type: "tool-input-delta", id: "b", delta: '{"y"' },
      { ...FINISH, finishReason: { unified: "tool-calls", raw: "tool_calls" } },
    )
    expect(response.parts).toEqual([
      { type: "tool_call", callId: "a", toolName: "look", inputJson: '{"x": ' },
      { type: "tool_call", callId: "b", toolName: "look", inputJson: '{"y"' },
    ])
  })

  test("keeps what a tool of the provider did, and sources, as opaque parts", async () => {
    const call = { type: "tool-call", toolCallId: "s", toolName: "web_search", input: '{"q":"x"}', providerExecuted: true }
    const result = { type: "tool-result", toolCallId: "s", toolName: "web_search", result: [{ url: "u" }], providerMetadata: { p: { e: "enc" } } }
    const { events, response } = await streamed(
      { type: "tool-input-start", id: "s", toolName: "web_search", providerExecuted: true },
      { type: "tool-input-delta", id: "s", delta: "{" },
      call,
      { ...result, result: "preview", preliminary: true },
      result,
      { type: "source", sourceType: "url", id: "1", url: "https://example.com" },
      { type: "tool-approval-request", approvalId: "1", toolCallId: "s" },
      ...said("Found."),
      FINISH,
    )
    const { providerMetadata, ...bare } = result
    expect(response.parts).toEqual([
      { type: "opaque", provider: "mock-provider", kind: "tool-call", data: call },
      { type: "opaque", provider: "mock-provider", kind: "tool-result", data: bare, providerMetadata },
      { type: "opaque", provider: "mock-provider", kind: "source", data: { type: "source", sourceType: "url", id: "1", url: "https://example.com" } },
      {
        type: "opaque",
        provider: "mock-provider",
        kind: "tool-approval-request",
        data: { type: "tool-approval-request", approvalId: "1", toolCallId: "s" },
      },
      { type: "text", text: "Found." },
    ])
    expect(response.terminalReason).toBe("stop")
    expect(events).toContainEqual({ type: "message", kind: "diagnostic", text: expect.stringContaining("asks for approval") })
  })

  test("has its files in a store, or in base64", async () => {
    // Bytes, base64, and the form of V4.
    const files = [
      { type: "file", mediaType: "image/png", data: new Uint8Array([1, 2, 3]) },
      { type: "file", mediaType: "image/png", data: "AQID" },
      { type: "file", mediaType: "image/png", data: { type: "data", data: "AQID" } },
      { type: "file", mediaType: "image/png", data: { type: "url", url: new URL("https://example.com/a.png") } },
    ]
    const inline = (await streamed(...files, FINISH)).response.parts
    const opaque = (data: object) => ({
      type: "opaque",
      provider: "mock-provider",
      kind: "file",
      text: "[Image: image/png]",
      data: { mediaType: "image/png", data },
    })
    const asBase64 = opaque({ base64: "AQID" })
    expect(inline).toEqual([asBase64, asBase64, asBase64, opaque({ url: "https://example.com/a.png" })])

    const attachments = memoryAttachmentStore()
    const { response } = await ask(mock(version, [...files, FINISH]).model, { attachments })
    const ref = { id: "039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81", mediaType: "image/png", byteLength: 3 }
    expect(response.parts[0]).toEqual(opaque({ $attachment: ref }))
    expect(await attachments.get(ref.id)).toEqual(new Uint8Array([1, 2, 3]))
  })

  test("is read although its parts are not those of the interface, and says so once", async () => {
    const { events, response } = await streamed(
      null,
      { type: "hologram", id: "1" },
      { type: "hologram", id: "2" },
      { type: "raw", rawValue: {} },
      { type: "text-delta", id: "never-begun", delta: "Hi" },
      { type: "text-end", id: "unknown" },
      { type: "tool-input-delta", id: "unknown", delta: "x" },
      { type: "file", mediaType: 5 },
      FINISH,
    )
    expect(response.parts).toEqual([{ type: "text", text: "Hi" }])
    expect(events.map((event) => (event.type === "message" ? event.text : event.type))).toEqual([
      "The answer has a part that is not an object. It is left out.",
      'The answer has a part of the type "hologram", which is not known or not valid. It is left out.',
      "text_delta",
      'The answer has a part of the type "file", which is not known or not valid. It is left out.',
    ])
  })

  test("shows the warnings of the AI SDK", async () => {
    const warnings = [
      { type: "unsupported", feature: "topK" },
      { type: "other", message: "Beware." },
      { type: "deprecated", setting: "old", message: "Use new." },
      { type: "compatibility", feature: "tools", details: "slow" },
      null,
    ]
    const { events } = await streamed({ type: "stream-start", warnings }, FINISH)
    expect(events.map((event) => event.type === "message" && event.text)).toEqual([
      "The AI SDK warns (unsupported): topK",
      "The AI SDK warns (other): Beware.",
      "The AI SDK warns (deprecated): old: Use new.",
      "The AI SDK warns (compatibility): tools: slow",
    ])
  })

  test.each([
    [{ unified: "stop", raw: "end_turn" }, "stop"],
    [{ unified: "stop", raw: undefined }, "stop"],
    [{ unified: "length", raw: "max_tokens" }, "output_limit"],
    [{ unified: "content-filter", raw: "SAFETY" }, "content_filter"],
    [{ unified: "content-filter", raw: "refusal" }, "refusal"],
    [{ unified: "stop", raw: "pause_turn" }, "paused"],
    [{ unified: "length", raw: "model_context_window_exceeded" }, "context_overflow"],
    [{ unified: "other", raw: "compaction" }, "paused"],
    [{ unified: "other", raw: "a word of tomorrow" }, "unknown"],
    [{ unified: "a new one", raw: "stop" }, "stop"],
    ["stop", "stop"],
  ] as const)("ends by the provider's word where it is more exact: %j", async (finishReason, terminalReason) => {
    expect((await streamed(...said("Hi"), { ...FINISH, finishReason })).response.terminalReason).toBe(terminalReason)
  })

  test("that was cut off is stored in words, without calls, metadata and half items", async () => {
    const { response } = await streamed(
      { type: "reasoning-start", id: "r", providerMetadata: { openai: { itemId: "rs_1" } } },
      { type: "reasoning-delta", id: "r", delta: "Hm." },
      { type: "reasoning-end", id: "r" },
      ...said("So"),
      { type: "tool-call", toolCallId: "s", toolName: "web_search", input: "{}", providerExecuted: true },
      { type: "tool-input-start", id: "a", toolName: "look" },
      { type: "tool-input-delta", id: "a", delta: '{"x' },
      { ...FINISH, finishReason: { unified: "length", raw: "max_output_tokens" } },
    )
    expect(response).toMatchObject({ terminalReason: "output_limit", terminalDiagnostic: "The answer was cut off at the limit of output tokens." })
    expect(response.parts).toEqual([
      { type: "reasoning", text: "Hm." },
      { type: "text", text: "So" },
    ])
  })

  test.each([
    [{ inputTokens: { total: 5 }, outputTokens: { total: 2 } }, [5, 0, undefined, 2, 0]],
    [{ inputTokens: { noCache: 3, cacheRead: 7, cacheWrite: 2 }, outputTokens: { text: 4, reasoning: 6 } }, [5, 7, 2, 10, 6]],
    [{ inputTokens: { total: 1, cacheRead: 5 }, outputTokens: { total: 2, reasoning: 8 } }, [0, 5, undefined, 8, 8]],
    [{ inputTokens: { total: Number.NaN }, outputTokens: { total: -3 } }, [0, 0, undefined, 0, 0]],
    [undefined, [0, 0, undefined, 0, 0]],
    ["many", [0, 0, undefined, 0, 0]],
  ] as const)(
    "counts its usage in our buckets: %j",
    async (usage, [inputTokens, cachedInputTokens, cacheWriteTokens, outputTokens, reasoningTokens]) => {
      const { response } = await streamed(...said("Hi"), { ...FINISH, usage })
      expect(response.usage).toEqual({
        ...{ inputTokens, cachedInputTokens, outputTokens, reasoningTokens },
        ...(cacheWriteTokens !== undefined && { cacheWriteTokens }),
      })
    },
  )

  test("names tools as the turn does, where the request had to rename them", async () => {
    const tool = { ...LOOK, name: "files.read" }
    const { model, calls } = mock(version, [{ type: "tool-call", toolCallId: "a", toolName: "files_read", input: "{}" }, FINISH])
    const { response } = await ask(model, {}, { ...HI, tools: [tool] })
    expect(calls[0]?.["tools"]).toMatchObject([{ name: "files_read" }])
    expect(response.parts).toEqual([{ type: "tool_call", callId: "a", toolName: "files.read", inputJson: "{}" }])
  })

  test("has the body of its request only if that is asked for", async () => {
    const request = { body: { model: "m", input: [] } }
    const streaming = () => mock(version, [...said("Hi"), FINISH], { request }).model
    expect((await ask(streaming())).response).not.toHaveProperty("requestBody")
    expect((await ask(streaming(), { keepRequestBody: true })).response.requestBody).toBe('{"model":"m","input":[]}')
  })
})

test("citations of a text are kept after it, and parts of reasoning of V4 too", async () => {
  const citations = [{ source: { type: "source", sourceType: "url", id: "1", url: "https://example.com" }, startIndex: 0, endIndex: 2 }]
  const { response } = await ask(
    mock("v4", [
      { type: "ping" },
      { type: "custom", kind: "anthropic.message_start", providerMetadata: { anthropic: { usage: {} } } },
      { type: "text-start", id: "1" },
      { type: "text-delta", id: "1", delta: "Hi" },
      { type: "text-end", id: "1", citations },
      { type: "custom", kind: "openai.compaction", providerMetadata: { openai: { encrypted: "x" } } },
      { type: "reasoning-file", mediaType: "image/png", data: { type: "data", data: "AQID" } },
      FINISH,
    ]).model,
  )
  expect(response.parts).toEqual([
    { type: "text", text: "Hi" },
    { type: "opaque", provider: "mock-provider", kind: "citations", data: citations },
    {
      type: "opaque",
      provider: "mock-provider",
      kind: "custom",
      data: { type: "custom", kind: "openai.compaction" },
      providerMetadata: { openai: { encrypted: "x" } },
    },
    { type: "opaque", provider: "mock-provider", kind: "reasoning-file", data: { mediaType: "image/png", data: { base64: "AQID" } } },
  ])
})

test("a call without the name of a tool is malformed", async () => {
  const { failure } = await refused(mock("v3", [{ type: "tool-call", toolCallId: "a", toolName: " ", input: "{}" }, FINISH]).model)
  expect(failure).toMatchObject({ code: "malformed_response", retryable: false, usage: { inputTokens: 24 } })
})
