import fc from "fast-check"
import { expect, test } from "vitest"
import type { TurnEvent } from "../../../src/schemas/event.ts"
import { LlmComplete } from "../../../src/schemas/response.ts"
import { type ChatAnswerOptions, chatAnswer, chatStream } from "../../support/openai-chat.ts"
import { answer, response } from "./support.ts"

/** Reads deltas as a stream, and collects its events. */
function deltas(list: readonly object[], options: ChatAnswerOptions = {}, finishReason = "stop") {
  const stream = chatStream(options)
  const events: TurnEvent[] = []
  for (const delta of list) events.push(...stream.push({ id: "chatcmpl-1", choices: [{ index: 0, delta, finish_reason: null }] }))
  stream.push({ choices: [{ index: 0, delta: {}, finish_reason: finishReason }] })
  return { events, result: stream.finish() }
}

test("reasoning and texts are in the order in which they came, to the byte", () => {
  const { result } = deltas([
    { reasoning_content: " First" },
    { reasoning_content: " think.\n" },
    { content: "\nOne " },
    { content: "" },
    { reasoning_content: "Then" },
    { content: "two. " },
  ])
  expect(answer(result)).toMatchObject({
    text: "\nOne two. ",
    parts: [
      { type: "reasoning", text: " First think.\n" },
      { type: "text", text: "\nOne " },
      { type: "reasoning", text: "Then" },
      { type: "text", text: "two. " },
    ],
  })
})

test("Mistral: the parts of a content are in order, whole and streamed", () => {
  const content = [
    { type: "thinking", thinking: [{ type: "text", text: "Hm." }] },
    { type: "text", text: "One." },
    { type: "thinking", thinking: [{ type: "text", text: "Hm again." }] },
    { type: "text", text: "Two." },
  ]
  const parts = [
    { type: "reasoning", text: "Hm." },
    { type: "text", text: "One." },
    { type: "reasoning", text: "Hm again." },
    { type: "text", text: "Two." },
  ]
  expect(answer(response({ content }, "stop")).parts).toEqual(parts)
  const { events, result } = deltas([{ content }])
  expect(answer(result).parts).toEqual(parts)
  expect(events.map((event) => event.type)).toEqual(["reasoning_delta", "text_delta", "reasoning_delta", "text_delta"])
})

test("OpenRouter: blocks of reasoning are joined by their index and stored for their provider", () => {
  const format = "anthropic-claude-v1"
  const { events, result } = deltas([
    { reasoning: "Let", reasoning_details: [{ type: "reasoning.text", text: "Let", format, index: 0 }] },
    { reasoning: " me think.", reasoning_details: [{ type: "reasoning.text", text: " me think.", format, index: 0 }] },
    { content: "", reasoning_details: [{ type: "reasoning.text", signature: "Et8B", format, index: 0 }] },
    { content: "Done." },
    { content: "", reasoning_details: [{ type: "reasoning.encrypted", data: "gAAA", id: "a", format, index: 1 }] },
  ])
  expect(answer(result).parts).toEqual([
    {
      type: "reasoning",
      text: "Let me think.",
      providerMetadata: {
        reasoning_details: [
          { type: "reasoning.text", text: "Let me think.", signature: "Et8B", format, index: 0 },
          { type: "reasoning.encrypted", data: "gAAA", id: "a", format, index: 1 },
        ],
      },
    },
    { type: "text", text: "Done." },
  ])
  expect(events.map((event) => ("content" in event ? event.content : ""))).toEqual(["Let", " me think.", "Done."])
})

test("blocks of reasoning without an index are joined until their signature", () => {
  const { result } = deltas([
    { thinking_blocks: [{ type: "thinking", thinking: "One", signature: null }] },
    { thinking_blocks: [{ type: "thinking", thinking: " block", signature: null }] },
    { thinking_blocks: [{ type: "thinking", thinking: "", signature: "s1" }] },
    { thinking_blocks: [{ type: "thinking", thinking: "Two", signature: "s2" }] },
    { thinking_blocks: [{ type: "redacted_thinking", data: "x" }] },
    { thinking_blocks: [{ type: "redacted_thinking", data: "y" }] },
    { content: "Hi" },
  ])
  expect(answer(result).parts[0]).toEqual({
    type: "reasoning",
    text: "One blockTwo",
    providerMetadata: {
      thinking_blocks: [
        { type: "thinking", thinking: "One block", signature: "s1" },
        { type: "thinking", thinking: "Two", signature: "s2" },
        { type: "redacted_thinking", data: "x" },
        { type: "redacted_thinking", data: "y" },
      ],
    },
  })
})

test("whole blocks of reasoning stay as they are, also without a text", () => {
  const reasoning_details = [
    { type: "reasoning.encrypted", data: "a" },
    { type: "reasoning.encrypted", data: "a" },
  ]
  expect(answer(response({ content: "Hi", reasoning_details }, "stop")).parts).toEqual([
    { type: "reasoning", text: "", providerMetadata: { reasoning_details } },
    { type: "text", text: "Hi" },
  ])
})

test("signatures of a text and of Copilot's reasoning belong to their parts", () => {
  const extra_content = { google: { thought_signature: "c2ln" } }
  expect(answer(response({ content: "Hi", extra_content }, "stop")).parts).toEqual([
    { type: "text", text: "Hi", providerMetadata: { extra_content } },
  ])
  expect(answer(deltas([{ content: "H" }, { content: "i", extra_content }, { content: "", extra_content: null }]).result).parts).toEqual([
    { type: "text", text: "Hi", providerMetadata: { extra_content } },
  ])
  expect(answer(deltas([{ reasoning_text: "Hm." }, { content: "Hi" }, { reasoning_opaque: "x9" }]).result).parts).toEqual([
    { type: "reasoning", text: "Hm.", providerMetadata: { reasoning_opaque: "x9" } },
    { type: "text", text: "Hi" },
  ])
})

test("metadata that is not JSON or has an odd key is left out", () => {
  const extra_content = JSON.parse('{"google":{"a":1e999}}')
  expect(answer(response({ content: "Hi", extra_content }, "stop")).parts).toEqual([{ type: "text", text: "Hi" }])
  const odd = JSON.parse('{"google":{"__proto__":{"polluted":1},"a":1}}')
  expect(answer(response({ content: "Hi", extra_content: odd }, "stop")).parts).toEqual([
    { type: "text", text: "Hi", providerMetadata: { extra_content: { google: { a: 1 } } } },
  ])
  expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined()
})

test("Copilot: the calls of further choices count if the first choice has none, whole and streamed", () => {
  const call = (name: string) => ({ index: 0, id: `id_${name}`, type: "function", function: { name, arguments: "{}" } })
  const choice = (index: number, key: string, message: object) => ({ index, [key]: message, finish_reason: "tool_calls" })
  const read = (first: object) => {
    const whole = chatAnswer({
      choices: [
        choice(0, "message", first),
        choice(1, "message", { content: "No", tool_calls: [call("f")] }),
        choice(2, "message", { tool_calls: [call("g")] }),
      ],
    })
    const stream = chatStream()
    stream.push({ choices: [choice(0, "delta", first)] })
    stream.push({ choices: [choice(2, "delta", { tool_calls: [call("g")] }), choice(1, "delta", { content: "No", tool_calls: [call("f")] })] })
    expect(stream.finish()).toEqual(whole)
    return answer(whole)
  }
  expect(read({ content: "I look." })).toMatchObject({
    text: "I look.",
    parts: [{ type: "text" }, { type: "tool_call", callId: "id_f" }, { type: "tool_call", callId: "id_g" }],
    terminalReason: "tool_use",
  })
  expect(read({ content: "I look.", tool_calls: [call("own")] }).parts).toMatchObject([{ type: "text" }, { type: "tool_call", callId: "id_own" }])
})

/** What choices 0 and 1 have: text, calls and finish reason, and which of them count. */
const TEXT = { content: "I look." }
const CALLS = { tool_calls: [{ index: 0, id: "a", type: "function", function: { name: "f", arguments: "{}" } }] }
test.each<[string, readonly [object, string | null], readonly [object, string | null], readonly string[], string]>([
  ["a finish reason only beside the calls", [TEXT, null], [CALLS, "tool_calls"], ["text", "tool_call"], "tool_use"],
  ["text only in the next choice", [CALLS, "tool_calls"], [TEXT, null], ["text", "tool_call"], "tool_use"],
  ["nothing in the first choice", [{ content: null }, "stop"], [TEXT, "stop"], ["text"], "stop"],
  [
    "all but the reasoning in the next choice",
    [{ reasoning_text: "Hm." }, null],
    [{ ...TEXT, ...CALLS }, "length"],
    ["reasoning", "text", "tool_call"],
    "output_limit",
  ],
  ["a refusal in the next choice", [{}, null], [{ refusal: "No." }, "stop"], ["text"], "refusal"],
])("Copilot: %s", (_what, first, second, types, terminalReason) => {
  const choices = (key: string) => [first, second].map(([message, finish_reason], index) => ({ index, [key]: message, finish_reason }))
  const whole = answer(chatAnswer({ choices: choices("message") }))
  expect(whole).toMatchObject({ parts: types.map((type) => ({ type })), terminalReason })
  for (const list of [choices("delta"), choices("delta").toReversed()]) {
    const stream = chatStream()
    for (const choice of list) stream.push({ choices: [choice] })
    expect(answer(stream.finish())).toEqual(whole)
  }
})

test("an answer that has only a choice 1 is read, also with its index as text", () => {
  const stream = chatStream()
  for (const content of ["Li", "ma"]) stream.push({ choices: [{ index: "1", delta: { content }, finish_reason: null }] })
  expect(stream.complete).toBe(false)
  expect(stream.cutOff({ message: "Lost.", retryable: true, terminalReason: "provider_error" })).toMatchObject({ partial: { text: "Lima" } })
  stream.push({ choices: [{ index: 1, delta: {}, finish_reason: "stop" }] })
  expect(stream.complete).toBe(true)
  expect(answer(stream.finish())).toMatchObject({ text: "Lima", terminalReason: "stop" })
})

test("an answer names its producer, with the provider's id of the answer", () => {
  const producer = { provider: "api.example", api: "openai-chat", model: "m" }
  expect(answer(deltas([{ content: "Hi" }], { producer }).result).producer).toEqual({ ...producer, responseId: "chatcmpl-1" })
  expect(answer(chatAnswer({ id: "x", choices: [{ message: { content: "Hi" } }] }, { producer })).producer).toEqual({
    ...producer,
    responseId: "x",
  })
  expect(answer(chatAnswer({ choices: [{ message: { content: "Hi" } }] }, { producer })).producer).toEqual(producer)
  expect(answer(deltas([{ content: "Hi" }]).result)).not.toHaveProperty("producer")
})

test("a failure keeps what was said before it, without calls, and its usage", () => {
  const producer = { provider: "p", api: "openai-chat", model: "m" }
  const stream = chatStream({ producer })
  const delta = { reasoning_content: "Hm.", content: "The answer", tool_calls: [{ index: 0, id: "a", function: { name: "f", arguments: '{"x' } }] }
  stream.push({ id: "c1", choices: [{ index: 0, delta }], usage: { prompt_tokens: 9, completion_tokens: 4 } })
  const partial = {
    text: "The answer",
    parts: [
      { type: "reasoning", text: "Hm." },
      { type: "text", text: "The answer" },
    ],
    usage: { inputTokens: 9, cachedInputTokens: 0, outputTokens: 4, reasoningTokens: 0 },
    producer: { ...producer, responseId: "c1" },
    providerUsage: { prompt_tokens: 9, completion_tokens: 4 },
  }
  const cancelled = { message: "Cancelled.", retryable: false, terminalReason: "cancelled" } as const
  expect(stream.cutOff(cancelled)).toEqual({ ok: false, error: cancelled, partial: { ...partial, terminalReason: "cancelled" } })
  expect(stream.finish()).toMatchObject({ ok: false, error: { code: "stream_truncated" }, partial: { ...partial, terminalReason: "provider_error" } })
  stream.push({ error: { message: "Overloaded", type: "overloaded_error" } })
  expect(stream.finish()).toMatchObject({ ok: false, error: { kind: "overloaded" }, partial })
  LlmComplete.parse({ type: "llm_complete", id: 1, result: stream.finish() })
})

test("a failure before anything was said has the usage itself", () => {
  const usage = { prompt_tokens: 9, completion_tokens: 4 }
  expect(chatAnswer({ choices: [{ message: { content: "" }, finish_reason: "error" }], usage })).toMatchObject({
    ok: false,
    error: { code: "error", usage: { inputTokens: 9, outputTokens: 4 } },
  })
  expect(chatAnswer({ choices: [{ message: { content: "" }, finish_reason: "error" }] })).not.toHaveProperty("error.usage")
})

test("what the model says comes out in order, whatever it is made of", () => {
  const piece = fc.oneof(
    fc.record({ type: fc.constant("reasoning" as const), text: fc.string({ minLength: 1, unit: "binary" }) }),
    fc.record({ type: fc.constant("text" as const), text: fc.string({ minLength: 1, unit: "binary" }) }),
  )
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      const expected: { type: string; text: string }[] = []
      for (const { type, text } of pieces) {
        const last = expected.at(-1)
        if (last?.type === type) last.text += text
        else expected.push({ type, text })
      }
      const { events, result } = deltas(pieces.map(({ type, text }) => (type === "text" ? { content: text } : { reasoning_content: text })))
      expect(answer(result).parts).toEqual(expected)
      const shown = events.flatMap((event) => (event.type === "text_delta" ? [event.content] : [])).join("")
      expect(answer(result).text).toBe(shown)
    }),
  )
})

test("texts and reasoning are joined in linear time", () => {
  const list = Array.from({ length: 20_000 }, (_, index) => ({
    ...(index % 2 === 0 ? { content: "a" } : { refusal: "b" }),
    reasoning_opaque: "x",
    extra_content: { google: { thought_signature: "y" } },
    reasoning_details: [
      { type: "reasoning.text", text: "z", index: 0 },
      { type: "reasoning.encrypted", data: String(index) },
    ],
  }))
  const start = performance.now()
  answer(deltas(list).result)
  expect(performance.now() - start).toBeLessThan(10_000)
})
