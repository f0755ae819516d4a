import fc from "fast-check"
import { expect, test } from "vitest"
import { LlmResponse } from "../../../src/schemas/llm.ts"
import { LlmComplete } from "../../../src/schemas/response.ts"
import { type ChatAnswerOptions, chatAnswer, chatStream } from "../../support/openai-chat.ts"
import { answer, failure, nested, response, whole } from "./support.ts"

test("a text answer is read; its input tokens do not include the cached ones", () => {
  expect(whole("openai-text")).toEqual({
    ok: true,
    response: {
      text: "Hello! How can I assist you today?",
      parts: [{ type: "text", text: "Hello! How can I assist you today?" }],
      usage: { inputTokens: 166, cachedInputTokens: 1024, outputTokens: 74, reasoningTokens: 64 },
      terminalReason: "stop",
      providerUsage: {
        prompt_tokens: 1190,
        completion_tokens: 74,
        total_tokens: 1264,
        prompt_tokens_details: { cached_tokens: 1024, audio_tokens: 0 },
        completion_tokens_details: { reasoning_tokens: 64, audio_tokens: 0, accepted_prediction_tokens: 0, rejected_prediction_tokens: 0 },
      },
    },
  })
})

test("tool calls keep their arguments verbatim", () => {
  expect(answer(whole("openai-tool-calls"))).toMatchObject({
    text: "",
    parts: [
      { type: "tool_call", callId: "call_abc123", toolName: "get_current_weather", inputJson: '{\n"location": "Boston, MA"\n}' },
      { type: "tool_call", callId: "call_def456", toolName: "get_time", inputJson: "" },
    ],
    usage: { inputTokens: 82, cachedInputTokens: 0, outputTokens: 17, reasoningTokens: 0 },
    terminalReason: "tool_use",
  })
})

test("a refusal is shown, and is a reason of its own", () => {
  expect(answer(whole("openai-refusal"))).toMatchObject({
    text: "I'm sorry, I cannot assist with that request.",
    parts: [{ type: "text", text: "I'm sorry, I cannot assist with that request." }],
    terminalReason: "refusal",
    terminalDiagnostic: "The model refused to answer.",
  })
})

test("the older function_call is a tool call", () => {
  expect(answer(whole("openai-function-call"))).toMatchObject({
    parts: [{ type: "tool_call", callId: "call_1", toolName: "get_current_weather", inputJson: '{"location":"Boston"}' }],
    terminalReason: "tool_use",
  })
})

test("vLLM: reasoning sent under two names is read once", () => {
  expect(answer(whole("vllm-reasoning")).parts).toEqual([
    { type: "reasoning", text: "9.11 is 9.110." },
    { type: "text", text: "\n\n9.8 is greater." },
  ])
})

test("llama.cpp: calls with blank ids get numbered ones", () => {
  const ids = (options: ChatAnswerOptions) =>
    answer(whole("llamacpp-tool-call", options)).parts.map((part) => (part.type === "tool_call" ? part.callId : part.type))
  expect(ids({})).toEqual(["call_1", "call_2"])
  expect(ids({ firstCallNumber: 8 })).toEqual(["call_8", "call_9"])
})

test("Mistral: content in parts is read, thinking parts included", () => {
  expect(answer(whole("mistral-parts")).parts).toEqual([
    { type: "reasoning", text: "Two and two." },
    { type: "text", text: "It is four." },
  ])
})

test("OpenRouter: an error in a body with status 200 is a failure", () => {
  expect(failure(whole("openrouter-error"))).toMatchObject({
    message:
      "The endpoint reported an error: Provider returned error: deepseek/deepseek-r1:free is temporarily rate-limited upstream. Please retry shortly.",
    retryable: true,
    terminalReason: "provider_error",
  })
})

test("repeated ids are replaced, never by an id that another call has", () => {
  const call = (id: unknown) => ({ id, type: "function", function: { name: "f", arguments: "{}" } })
  const read = response({ tool_calls: [call("x"), call("x"), call("call_1"), call(undefined), call(7)] }, "tool_calls")
  expect(answer(read).parts.map((part) => (part.type === "tool_call" ? part.callId : ""))).toEqual(["x", "call_2", "call_1", "call_3", "call_4"])
})

test("arguments sent as an object become JSON text", () => {
  const read = response({ tool_calls: [{ id: "a", function: { name: "f", arguments: { path: "x" } } }] }, "stop")
  expect(answer(read).parts).toEqual([{ type: "tool_call", callId: "a", toolName: "f", inputJson: '{"path":"x"}' }])
  expect(answer(read).terminalReason).toBe("tool_use")
})

test.each([
  ["stop", "stop"],
  ["tool_calls", "tool_use"],
  ["function_call", "tool_use"],
  ["length", "output_limit"],
  ["model_length", "output_limit"],
  ["content_filter", "content_filter"],
  [null, "unknown"],
  ["constructor", "unknown"],
])("finish reason %s is %s", (finishReason, terminalReason) => {
  expect(answer(response({ content: "Hi" }, finishReason)).terminalReason).toBe(terminalReason)
})

test("the diagnostic says what ended the answer early", () => {
  const said = (finishReason: string | null) => answer(response({ content: "Hi" }, finishReason)).terminalDiagnostic
  expect(said("length")).toBe("The answer was cut off at the limit of output tokens.")
  expect(said("content_filter")).toBe("The provider's content filter cut the answer off.")
  expect(said("eos")).toBe('The provider ended the answer with the finish reason "eos".')
  expect(said("stop")).toBeUndefined()
  expect(said(null)).toBeUndefined()
})

test("an answer that the provider broke off is a retryable failure", () => {
  expect(failure(response({ content: "Hi" }, "error"))).toMatchObject({ retryable: true, code: "error", terminalReason: "provider_error" })
  expect(failure(response({ content: "" }, "insufficient_system_resource"))).toMatchObject({
    retryable: true,
    code: "insufficient_system_resource",
  })
})

test("a call without a name is dropped if the answer was cut off, and malformed otherwise", () => {
  const calls = { content: "Hi", tool_calls: [{ id: "a", function: { arguments: '{"pa' } }] }
  expect(answer(response(calls, "length")).parts).toEqual([{ type: "text", text: "Hi" }])
  expect(failure(response(calls, "tool_calls"))).toMatchObject({
    code: "malformed_response",
    message: "The endpoint's answer is malformed: a tool call does not name a function.",
  })
})

test("an empty entry among the calls is ignored", () => {
  expect(answer(response({ content: "Hi", tool_calls: [{ index: 0, function: { arguments: "" } }] }, "stop"))).toMatchObject({
    parts: [{ type: "text", text: "Hi" }],
    terminalReason: "stop",
  })
})

test.each([
  ["nothing", undefined],
  ["a text", "Hello"],
  ["a list", [1, 2]],
  ["no choices", { id: "x" }],
  ["an empty list of choices", { choices: [] }],
  ["choices that are not a list", { choices: { 0: {} } }],
  ["a choice that is not an object", { choices: ["x"] }],
  ["a choice without a message", { choices: [{ finish_reason: "stop" }] }],
  ["a content that is a number", { choices: [{ message: { content: 4 }, finish_reason: "stop" }] }],
  ["calls that are not a list", { choices: [{ message: { tool_calls: "x" }, finish_reason: "stop" }] }],
  ["a call that is not an object", { choices: [{ message: { tool_calls: [null] }, finish_reason: "stop" }] }],
  ["a function that is not an object", { choices: [{ message: { tool_calls: [{ function: "f" }] }, finish_reason: "stop" }] }],
  ["arguments nested too deep", { choices: [{ message: { tool_calls: [{ function: { name: "f", arguments: nested(5_000) } }] } }] }],
])("%s instead of an answer is malformed", (_what, body) => {
  const read = chatAnswer(body)
  expect(failure(read)).toMatchObject({ code: "malformed_response", retryable: false, terminalReason: "provider_error" })
  expect(() => LlmComplete.parse({ type: "llm_complete", id: 1, result: read })).not.toThrow()
})

test("any input gives a result with the wire's shape, whole and streamed", () => {
  const anything = fc.anything({ maxDepth: 2, withBigInt: true, withDate: true, withMap: true, withNullPrototype: true })
  const almost = fc.record(
    {
      choices: fc.array(
        fc.record(
          {
            index: fc.oneof(fc.constantFrom(0, 1), anything),
            finish_reason: fc.oneof(fc.constantFrom("stop", "tool_calls", "length"), anything),
            message: fc.record(
              {
                content: anything,
                reasoning_content: anything,
                tool_calls: anything,
                refusal: anything,
                function_call: anything,
                reasoning_details: anything,
                extra_content: anything,
              },
              { requiredKeys: [] },
            ),
            delta: fc.record(
              {
                content: anything,
                tool_calls: fc.array(
                  fc.oneof(
                    anything,
                    fc.record({ index: fc.nat({ max: 2 }), function: fc.record({ name: anything, arguments: anything }), extra_content: anything }),
                  ),
                ),
                reasoning: anything,
                reasoning_details: fc.array(fc.oneof(anything, fc.record({ index: anything, type: anything, text: anything, data: anything }))),
                thinking_blocks: fc.array(anything),
                extra_content: anything,
              },
              { requiredKeys: [] },
            ),
          },
          { requiredKeys: [] },
        ),
      ),
      usage: fc.oneof(
        anything,
        fc.record({ prompt_tokens: anything, completion_tokens: fc.double(), prompt_tokens_details: fc.record({ cached_tokens: fc.double() }) }),
      ),
      error: fc.option(anything, { nil: undefined }),
    },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(fc.oneof(anything, almost), fc.array(fc.oneof(anything, almost), { maxLength: 3 }), (body, chunks) => {
      const stream = chatStream()
      for (const chunk of chunks) stream.push(chunk)
      for (const result of [chatAnswer(body), stream.finish(), stream.cutOff(failure(chatAnswer(undefined)))]) {
        LlmComplete.parse({ type: "llm_complete", id: 1, result })
      }
    }),
    { numRuns: 200 },
  )
})

test("recorded answers become responses with the wire's shape", () => {
  for (const name of ["openai-text", "openai-tool-calls", "openai-refusal", "vllm-reasoning", "llamacpp-tool-call", "mistral-parts"]) {
    expect(LlmResponse.parse(answer(whole(name)))).toEqual(answer(whole(name)))
  }
})

test.each<[string, unknown, readonly (readonly [string, string])[]]>([
  ["texts", ["One", " two"], [["text", "One two"]]],
  ["a text and a part", ["One", { type: "text", text: " two" }], [["text", "One two"]]],
  ["parts of the Responses API", [{ type: "output_text", text: "One" }], [["text", "One"]]],
  ["parts without a type", [{ text: "One" }], [["text", "One"]]],
  ["one part", { type: "text", text: "One" }, [["text", "One"]]],
  ["one part without a type", { text: "One" }, [["text", "One"]]],
  [
    "Databricks' reasoning",
    [
      { type: "reasoning", summary: [{ type: "summary_text", text: "Hm", signature: "" }, { text: "m." }] },
      { type: "text", text: "One" },
    ],
    [
      ["reasoning", "Hmm."],
      ["text", "One"],
    ],
  ],
  ["parts that are not known", [{ type: "audio", text: "no" }, 4, null, { type: "text", text: "One" }], [["text", "One"]]],
])("a content of %s is read, whole and streamed", (_what, content, parts) => {
  const expected = parts.map(([type, text]) => ({ type, text }))
  expect(answer(response({ content }, "stop")).parts).toEqual(expected)
  const stream = chatStream()
  const events = stream.push({ choices: [{ delta: { content }, finish_reason: "stop" }] })
  expect(answer(stream.finish()).parts).toEqual(expected)
  expect(events.map((event) => ("content" in event ? event.content : "")).join("")).toBe(parts.map(([, text]) => text).join(""))
})
