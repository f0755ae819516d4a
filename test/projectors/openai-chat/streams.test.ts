import fc from "fast-check"
import { expect, test } from "vitest"
import type { TurnEvent } from "../../../src/schemas/event.ts"
import { chatAnswer, chatStream } from "../../support/openai-chat.ts"
import { answer, failure, fixture, piece, streamed, whole } from "./support.ts"

test("a text is shown as it arrives; its usage is in a last chunk without choices", () => {
  const { events, result } = streamed("openai-text")
  expect(events).toEqual(["Grüße", " from", " 東京 🗼", "."].map((content) => ({ type: "text_delta", content })))
  expect(answer(result)).toMatchObject({
    text: "Grüße from 東京 🗼.",
    parts: [{ type: "text", text: "Grüße from 東京 🗼." }],
    usage: { inputTokens: 48, cachedInputTokens: 1152, outputTokens: 9, reasoningTokens: 0 },
    terminalReason: "stop",
  })
})

test("two calls with interleaved arguments are read", () => {
  const { events, result } = streamed("openai-parallel-tools")
  expect(events).toEqual([{ type: "text_delta", content: "Let me look." }])
  expect(answer(result)).toMatchObject({
    parts: [
      { type: "text", text: "Let me look." },
      { type: "tool_call", callId: "call_9oOUGn7X", toolName: "get_weather", inputJson: '{"location": "Boston"}' },
      { type: "tool_call", callId: "call_QkzmMhkF", toolName: "get_time", inputJson: '{"zone": "EST"}' },
    ],
    usage: { inputTokens: 86, cachedInputTokens: 0, outputTokens: 44, reasoningTokens: 0 },
    terminalReason: "tool_use",
  })
})

test("a refusal is shown as text", () => {
  const { events, result } = streamed("openai-refusal")
  expect(events.map((event) => ("content" in event ? event.content : ""))).toEqual(["I'm sorry,", " I cannot help with that."])
  expect(answer(result)).toMatchObject({ text: "I'm sorry, I cannot help with that.", terminalReason: "refusal" })
})

test("the older function_call is a tool call", () => {
  expect(answer(streamed("openai-function-call").result).parts).toEqual([
    { type: "tool_call", callId: "call_1", toolName: "get_current_weather", inputJson: '{"location":"Boston"}' },
  ])
})

test("an error in mid-stream ends the answer, whatever follows", () => {
  const { events, result, stream } = streamed("openai-error")
  expect(events).toHaveLength(2)
  expect(failure(result)).toEqual({
    message: "The endpoint reported an error: The server had an error while processing your request. Sorry about that!",
    retryable: true,
    code: "server_error",
    kind: "other",
    raw: '{"error":{"message":"The server had an error while processing your request. Sorry about that!","type":"server_error"}}',
    terminalReason: "provider_error",
  })
  expect(stream.push({ choices: [{ index: 0, delta: { content: "more" }, finish_reason: "stop" }] })).toEqual([])
  expect(stream.finish()).toEqual(result)
})

test("OpenRouter: an error next to a finish reason is a failure", () => {
  expect(failure(streamed("openrouter-error").result)).toMatchObject({
    message: "The endpoint reported an error: Provider disconnected unexpectedly.",
    retryable: true,
    code: "server_error",
  })
})

test("a stream without a finish reason is a truncated answer", () => {
  const { events, result } = streamed("openai-truncated")
  expect(events).toHaveLength(2)
  expect(failure(result)).toEqual({
    message: "The stream ended before the answer was complete.",
    retryable: true,
    code: "stream_truncated",
    kind: "network",
    terminalReason: "provider_error",
  })
  expect(failure(chatStream().finish()).code).toBe("stream_truncated")
})

test("Azure: chunks without choices or deltas are read, and a filter may act after the stop", () => {
  expect(answer(streamed("azure-filter").result)).toMatchObject({ text: "It begins", terminalReason: "content_filter" })
})

test("vLLM: reasoning under two names, a name without arguments and null choices are read", () => {
  const { events, result } = streamed("vllm-reasoning-tools")
  expect(events).toEqual([
    { type: "reasoning_delta", content: "The user" },
    { type: "reasoning_delta", content: " asks." },
  ])
  expect(answer(result)).toMatchObject({
    parts: [
      { type: "reasoning", text: "The user asks." },
      { type: "tool_call", callId: "chatcmpl-tool-a0d9", toolName: "search", inputJson: '{"query": "news"}' },
    ],
    usage: { inputTokens: 226, cachedInputTokens: 0, outputTokens: 20, reasoningTokens: 0 },
  })
})

test("DeepSeek: reasoning comes first, and the usage in the chunk with the finish reason", () => {
  const { events, result } = streamed("deepseek-reasoner")
  expect(events.map(({ type }) => type)).toEqual(["reasoning_delta", "text_delta"])
  expect(answer(result)).toMatchObject({
    parts: [
      { type: "reasoning", text: "First think." },
      { type: "text", text: "Then answer." },
    ],
    usage: { inputTokens: 36, cachedInputTokens: 64, outputTokens: 50, reasoningTokens: 32 },
  })
})

test("the text of the first of several choices is read", () => {
  const stream = chatStream()
  const chunk = (index: number, content: string) => ({ choices: [{ index, delta: { content }, finish_reason: "stop" }] })
  expect([chunk(1, "no"), chunk(0, "yes")].flatMap((one) => stream.push(one))).toEqual([{ type: "text_delta", content: "yes" }])
  expect(answer(stream.finish()).text).toBe("yes")
})

test("a whole message in one chunk is read", () => {
  const stream = chatStream()
  expect(stream.push(fixture("openai-text.json", JSON.parse))).toEqual([{ type: "text_delta", content: "Hello! How can I assist you today?" }])
  expect(stream.finish()).toEqual(whole("openai-text"))
})

test.each([
  ["a text", "Hello"],
  ["null", null],
  ["choices that are not a list", { choices: 4 }],
  ["a choice that is not an object", { choices: [null] }],
  ["a delta that is not an object", { choices: [{ delta: "Hi" }] }],
  ["a content that is an object", { choices: [{ delta: { content: {} } }] }],
  ["calls that are not a list", { choices: [{ delta: { tool_calls: {} } }] }],
])("%s instead of a chunk is malformed", (_what, chunk) => {
  const stream = chatStream()
  stream.push({ choices: [{ delta: { content: "Hi" }, finish_reason: null }] })
  expect(stream.failed).toBe(false)
  expect(stream.push(chunk)).toEqual([])
  expect(stream.failed).toBe(true)
  expect(failure(stream.finish())).toMatchObject({ code: "malformed_response", retryable: false })
})

const AFTER_THE_END: readonly (readonly [string, unknown])[] = [
  ["a text", "[DONE]"],
  ["null", null],
  ["a list", [1, 2]],
  ["choices that are not a list", { choices: 4 }],
  ["a choice that is not an object", { choices: [null] }],
  ["a delta that is not an object", { choices: [{ delta: "Hi" }] }],
  ["an error", { error: { message: "The billing service is down.", code: 502 } }],
  ["an error of a choice", { choices: [{ delta: {}, error: { message: "Late.", code: 500 } }] }],
  ["an error without an envelope", { detail: "Late." }],
]
const CALL = { tool_calls: [piece(0, "a", "f", "{}")] }

test.each(AFTER_THE_END)("%s after the finish reason does not throw a complete answer away", (_what, chunk) => {
  for (const [delta, finish] of [
    [{ content: "Lima." }, "stop"],
    [CALL, "tool_calls"],
  ] as const) {
    const stream = chatStream()
    stream.push({ choices: [{ index: 0, delta, finish_reason: null }] })
    stream.push({ choices: [{ index: 0, delta: {}, finish_reason: finish }] })
    const expected = chatStream()
    expected.push({ choices: [{ index: 0, delta, finish_reason: finish }] })
    expect(stream.push(chunk)).toEqual([])
    expect(stream.failed).toBe(false)
    expect(stream.complete).toBe(true)
    stream.push({ choices: [], usage: { prompt_tokens: 5, completion_tokens: 2 } })
    expected.push({ choices: [], usage: { prompt_tokens: 5, completion_tokens: 2 } })
    expect(stream.finish()).toEqual(expected.finish())
  }
})

test("what comes after the finish reason counts if the answer is not complete, or filtered", () => {
  const after = (chunks: readonly unknown[], error: object) => {
    const stream = chatStream()
    for (const chunk of chunks) stream.push(chunk)
    stream.push({ error })
    return stream.finish()
  }
  const chunk = (delta: object, finish: string | null) => ({ choices: [{ index: 0, delta, finish_reason: finish }] })
  const down = { message: "Down.", type: "server_error" }
  expect(after([chunk({ content: "" }, "stop")], down)).toMatchObject({ ok: false, error: { code: "server_error" } })
  expect(after([chunk({ content: "Li" }, null), chunk({}, "error")], down)).toMatchObject({ ok: false, error: { code: "server_error" } })
  // With a finish reason in each chunk, none of them is the last.
  const early = [chunk({ content: "Li" }, "stop"), chunk({ content: "ma" }, "stop")]
  expect(after(early, down)).toMatchObject({ ok: false, partial: { text: "Lima" } })
  const filtered = after([chunk({ content: "Lima." }, "stop")], { message: "Filtered.", code: "content_filter" })
  expect(answer(filtered)).toMatchObject({ text: "Lima.", terminalReason: "content_filter" })
})

test('the finish reason "null" is none', () => {
  const stream = chatStream()
  stream.push({ choices: [{ index: 0, delta: { content: "Li" }, finish_reason: "null" }] })
  expect(stream.complete).toBe(false)
  expect(failure(stream.finish()).code).toBe("stream_truncated")
  stream.push({ choices: [{ index: 0, delta: { content: "ma" }, finish_reason: "stop" }] })
  stream.push({ choices: [{ index: 0, delta: {}, finish_reason: "null" }] })
  expect(answer(stream.finish())).toMatchObject({ text: "Lima", terminalReason: "stop" })
})

test("an answer is the same however it is cut into chunks", () => {
  const callIn = fc.record({ name: fc.stringMatching(/^[a-z_]{1,8}$/), text: fc.string({ maxLength: 30 }) })
  fc.assert(
    fc.property(fc.string(), fc.string({ unit: "binary" }), fc.array(callIn, { maxLength: 4 }), fc.nat(), (reasoning, text, calls, seed) => {
      let state = seed
      const next = () => {
        state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
        return (state >>> 16) % 8
      }
      const pieces = (whole: string): string[] => {
        const list: string[] = []
        for (let at = 0; at < whole.length; ) {
          const length = next()
          list.push(whole.slice(at, at + length))
          at += length
        }
        return list
      }
      // One queue of deltas for each text and call. The seed decides from which queue the next one comes.
      const queues: unknown[][] = [
        [...pieces(reasoning).map((content) => ({ reasoning_content: content })), ...pieces(text).map((content) => ({ content }))],
        ...calls.map(({ name, text: argumentText }, index) => [
          { tool_calls: [piece(index, `id_${index}`, name, "")] },
          ...pieces(argumentText).map((part) => ({ tool_calls: [piece(index, undefined, undefined, part)] })),
        ]),
      ]
      const stream = chatStream()
      const shown: TurnEvent[] = []
      for (let started = 1; queues.some((deltas) => deltas.length > 0); ) {
        const queue = next() % queues.length
        // A call starts only after the one before it: servers number calls in order of their start.
        if (queue > started) continue
        const delta = queues[queue]?.shift()
        if (queue === started && delta !== undefined) started += 1
        shown.push(...stream.push({ choices: [{ index: 0, delta: delta ?? {}, finish_reason: null }] }))
      }
      stream.push({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })
      stream.push({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 2 } })

      const tool_calls = calls.map(({ name, text: argumentText }, index) => ({
        id: `id_${index}`,
        type: "function",
        function: { name, arguments: argumentText },
      }))
      const message = { role: "assistant", content: text, reasoning_content: reasoning, tool_calls }
      const expected = chatAnswer({
        choices: [{ index: 0, message, finish_reason: "stop" }],
        usage: { prompt_tokens: 3, completion_tokens: 2 },
      })
      expect(stream.finish()).toEqual(expected)
      expect(shown.map((event) => (event.type === "text_delta" ? event.content : "")).join("")).toBe(text)
      expect(
        answer(expected)
          .parts.filter((part) => part.type === "tool_call")
          .map((part) => part.inputJson),
      ).toEqual(calls.map((call) => call.text))
    }),
  )
})
