import { readFileSync } from "node:fs"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { type LlmResult, type OpenAiAnswerOptions, openAiChatProjector } from "../../../src/projectors/openai-chat/index.ts"
import type { TurnEvent } from "../../../src/schemas/event.ts"
import { type LlmRequest, LlmResponse } from "../../../src/schemas/llm.ts"
import { LlmComplete } from "../../../src/schemas/response.ts"

const NO_USAGE = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }

describe("requests", () => {
  const base: LlmRequest = { model: "gpt-4.1", messages: [], attachments: [], tools: [], toolChoice: "none", generation: {} }
  const body = openAiChatProjector.request

  test("system, user and assistant texts", () => {
    const request: LlmRequest = {
      ...base,
      messages: [
        { role: "system", blocks: [{ type: "text", text: "Be brief." }] },
        {
          role: "user",
          blocks: [
            { type: "text", text: "One" },
            { type: "text", text: "Two\n" },
            { type: "text", text: "\nThree", cacheBreakpoint: true },
          ],
        },
        { role: "assistant", blocks: [{ type: "text", text: "Four" }] },
      ],
    }
    expect(body(request)).toEqual({
      model: "gpt-4.1",
      messages: [
        { role: "system", content: "Be brief." },
        { role: "user", content: "One\n\nTwo\n\nThree" },
        { role: "assistant", content: "Four" },
      ],
    })
    expect(body(request, { systemRole: "developer" }).messages[0]).toEqual({ role: "developer", content: "Be brief." })
  })

  test("tool results become tool messages right behind the calls, before what else the user message holds", () => {
    const { messages } = body({
      ...base,
      messages: [
        {
          role: "assistant",
          blocks: [
            { type: "text", text: "Looking." },
            { type: "reasoning", text: "hidden" },
            { type: "tool_call", callId: "a", toolName: "read", inputJson: '{"path":"x"}' },
            { type: "tool_call", callId: "b", toolName: "list", inputJson: " \n" },
          ],
        },
        {
          role: "user",
          blocks: [
            { type: "text", text: "And hurry." },
            { type: "tool_result", callId: "b", toolName: "list", text: "" },
            { type: "tool_result", callId: "a", text: "content" },
          ],
        },
        { role: "assistant", blocks: [{ type: "tool_call", callId: "c", toolName: "list", inputJson: "" }] },
      ],
    })
    expect(messages).toEqual([
      {
        role: "assistant",
        content: "Looking.",
        tool_calls: [
          { id: "a", type: "function", function: { name: "read", arguments: '{"path":"x"}' } },
          { id: "b", type: "function", function: { name: "list", arguments: "{}" } },
        ],
      },
      { role: "tool", tool_call_id: "b", content: "" },
      { role: "tool", tool_call_id: "a", content: "content" },
      { role: "user", content: "And hurry." },
      { role: "assistant", content: null, tool_calls: [{ id: "c", type: "function", function: { name: "list", arguments: "{}" } }] },
    ])
  })

  test("calls and results under other roles than usual still come as calls and tool messages", () => {
    const { messages } = body({
      ...base,
      messages: [
        {
          role: "assistant",
          blocks: [
            { type: "tool_call", callId: "a", toolName: "f", inputJson: "{}" },
            { type: "tool_result", callId: "a", text: "done" },
          ],
        },
        {
          role: "user",
          blocks: [
            { type: "text", text: "Look:" },
            { type: "tool_call", callId: "b", toolName: "f", inputJson: "{}" },
            { type: "tool_result", callId: "b", text: "done too" },
          ],
        },
      ],
    })
    expect(messages.map(({ role }) => role)).toEqual(["assistant", "tool", "assistant", "tool", "user"])
  })

  test("images go out under the address the host gives them, and as a text without one", () => {
    const request: LlmRequest = {
      ...base,
      attachments: [
        { id: "att_1", mediaType: "image/png", byteLength: 10, width: 640, height: 480, label: "shot.png" },
        { id: "att_2", mediaType: "image/jpeg", byteLength: 10 },
      ],
      messages: [
        {
          role: "user",
          blocks: [
            { type: "tool_result", callId: "a", text: "see image" },
            { type: "text", text: "What is this?" },
            { type: "image", attachmentIndex: 0 },
            { type: "image", attachmentIndex: 1 },
            { type: "image", attachmentIndex: 7 },
          ],
        },
        { role: "assistant", blocks: [{ type: "image", attachmentIndex: 0 }] },
      ],
    }
    const attachmentUrl = ({ id }: { id: string }) => (id === "att_1" ? "data:image/png;base64,AAAA" : undefined)
    expect(body(request, { attachmentUrl }).messages).toEqual([
      { role: "tool", tool_call_id: "a", content: "see image" },
      {
        role: "user",
        content: [
          { type: "text", text: "What is this?" },
          { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } },
          { type: "text", text: "[Image: image/jpeg]" },
          { type: "text", text: "[Image: not available]" },
        ],
      },
      { role: "assistant", content: "[Image: shot.png, image/png, 640x480]" },
    ])
    expect(body(request).messages[1]).toEqual({
      role: "user",
      content: "What is this?\n\n[Image: shot.png, image/png, 640x480]\n\n[Image: image/jpeg]\n\n[Image: not available]",
    })
  })

  test("reasoning is left out, unless the endpoint takes it back", () => {
    const request: LlmRequest = {
      ...base,
      messages: [
        { role: "assistant", blocks: [{ type: "reasoning", text: "Hm." }] },
        {
          role: "assistant",
          blocks: [
            { type: "reasoning", text: "First." },
            { type: "tool_call", callId: "a", toolName: "f", inputJson: "{}" },
            { type: "reasoning", text: "Second." },
          ],
        },
      ],
    }
    const call = [{ id: "a", type: "function", function: { name: "f", arguments: "{}" } }]
    expect(body(request).messages).toEqual([{ role: "assistant", content: null, tool_calls: call }])
    expect(body(request, { reasoningField: "reasoning_content" }).messages).toEqual([
      { role: "assistant", content: "", reasoning_content: "Hm." },
      { role: "assistant", content: null, tool_calls: call, reasoning_content: "First.\n\nSecond." },
    ])
    expect(body(request, { reasoningField: "reasoning" }).messages[0]).toEqual({ role: "assistant", content: "", reasoning: "Hm." })
  })

  test("tools and the choice among them; no choice without tools", () => {
    const inputSchema = { type: "object", properties: { path: { type: "string" } } }
    const tools = [{ name: "read", description: "Reads a file.", inputSchema, outputSchema: { type: "string" } }]
    expect(body({ ...base, tools, toolChoice: "auto" })).toEqual({
      model: "gpt-4.1",
      messages: [],
      tools: [{ type: "function", function: { name: "read", description: "Reads a file.", parameters: inputSchema } }],
      tool_choice: "auto",
    })
    expect(body({ ...base, tools, toolChoice: { toolName: "read" } }).tool_choice).toEqual({ type: "function", function: { name: "read" } })
    expect(body({ ...base, tools, toolChoice: "required" }).tool_choice).toBe("required")
    expect(body({ ...base, toolChoice: "required" })).toEqual({ model: "gpt-4.1", messages: [] })
  })

  test("limit, effort, output format, streaming, and keys of the user's own", () => {
    const request: LlmRequest = {
      ...base,
      modelVariant: "high",
      generation: { maxOutputTokens: 500 },
      outputSpec: { type: "json_schema", name: "verdict", schema: { type: "object" }, strict: true },
    }
    expect(body(request, { stream: true, extraBody: { temperature: 0, model: "other" } })).toEqual({
      model: "other",
      messages: [],
      max_completion_tokens: 500,
      reasoning_effort: "high",
      response_format: { type: "json_schema", json_schema: { name: "verdict", schema: { type: "object" }, strict: true } },
      stream: true,
      stream_options: { include_usage: true },
      temperature: 0,
    })
    expect(body({ ...base, outputSpec: { type: "json_object" }, generation: { maxOutputTokens: 5 } }, { maxTokensField: "max_tokens" })).toEqual({
      model: "gpt-4.1",
      messages: [],
      max_tokens: 5,
      response_format: { type: "json_object" },
    })
    expect(body(base, { stream: true, includeUsage: false })).toEqual({ model: "gpt-4.1", messages: [], stream: true })
  })
})

describe("whole answers", () => {
  test("a text, its usage without the cached tokens", () => {
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

  test("tool calls, with their arguments as they were written", () => {
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

  test("a refusal is shown, and ends the turn like a content filter", () => {
    expect(answer(whole("openai-refusal"))).toMatchObject({
      text: "I'm sorry, I cannot assist with that request.",
      parts: [{ type: "text", text: "I'm sorry, I cannot assist with that request." }],
      terminalReason: "content_filter",
      terminalDiagnostic: "The model refused to answer.",
    })
  })

  test("the older function_call is a tool call", () => {
    expect(answer(whole("openai-function-call"))).toMatchObject({
      parts: [{ type: "tool_call", callId: "call_1", toolName: "get_current_weather", inputJson: '{"location":"Boston"}' }],
      terminalReason: "tool_use",
    })
  })

  test("vLLM: reasoning sent under two names counts once, and is marked only for who takes it back", () => {
    expect(answer(whole("vllm-reasoning")).parts).toEqual([
      { type: "reasoning", text: "9.11 is 9.110." },
      { type: "text", text: "\n\n9.8 is greater." },
    ])
    expect(answer(whole("vllm-reasoning", { reasoningField: "reasoning" })).parts[0]).toEqual({
      type: "reasoning",
      text: "9.11 is 9.110.",
      replay: { itemId: "reasoning" },
    })
  })

  test("llama.cpp: calls with blank ids get counted ones", () => {
    const ids = (options: OpenAiAnswerOptions) =>
      answer(whole("llamacpp-tool-call", options)).parts.map((part) => (part.type === "tool_call" ? part.callId : part.type))
    expect(ids({})).toEqual(["call_1", "call_2"])
    expect(ids({ firstCallNumber: 8 })).toEqual(["call_8", "call_9"])
  })

  test("Mistral: content in parts, with the thinking among them", () => {
    expect(answer(whole("mistral-parts")).parts).toEqual([
      { type: "reasoning", text: "Two and two." },
      { type: "text", text: "It is four." },
    ])
  })

  test("OpenRouter: an error in a body with status 200", () => {
    expect(failure(whole("openrouter-error"))).toMatchObject({
      message:
        "The endpoint reported an error: Provider returned error: deepseek/deepseek-r1:free is temporarily rate-limited upstream. Please retry shortly.",
      retryable: true,
      terminalReason: "provider_error",
    })
  })

  test("ids that repeat are replaced, and never by one that is given", () => {
    const call = (id: unknown) => ({ id, type: "function", function: { name: "f", arguments: "{}" } })
    const read = response({ tool_calls: [call("x"), call("x"), call("call_1"), call(undefined), call(7)] }, "tool_calls")
    expect(answer(read).parts.map((part) => (part.type === "tool_call" ? part.callId : ""))).toEqual(["x", "call_2", "call_1", "call_3", "call_4"])
  })

  test("arguments that came as an object are JSON text", () => {
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

  test("what ended the answer early is said", () => {
    const said = (finishReason: string | null) => answer(response({ content: "Hi" }, finishReason)).terminalDiagnostic
    expect(said("length")).toBe("The answer was cut off at the limit of output tokens.")
    expect(said("content_filter")).toBe("The provider's content filter cut the answer off.")
    expect(said("eos")).toBe('The provider ended the answer with the finish reason "eos".')
    expect(said("stop")).toBeUndefined()
    expect(said(null)).toBeUndefined()
  })

  test("a provider that broke down is a failure to retry", () => {
    expect(failure(response({ content: "Hi" }, "error"))).toMatchObject({ retryable: true, code: "error", terminalReason: "provider_error" })
    expect(failure(response({ content: "" }, "insufficient_system_resource"))).toMatchObject({
      retryable: true,
      code: "insufficient_system_resource",
    })
  })

  test("a call that was cut off before its name is dropped with the answer cut off; else it is malformed", () => {
    const calls = { content: "Hi", tool_calls: [{ id: "a", function: { arguments: '{"pa' } }] }
    expect(answer(response(calls, "length")).parts).toEqual([{ type: "text", text: "Hi" }])
    expect(failure(response(calls, "tool_calls"))).toMatchObject({
      code: "malformed_response",
      message: "The endpoint's answer is malformed: a tool call names no function.",
    })
  })

  test("an empty entry among the calls is nothing", () => {
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
    ["choices that are no list", { choices: { 0: {} } }],
    ["a choice that is no object", { choices: ["x"] }],
    ["a choice without a message", { choices: [{ finish_reason: "stop" }] }],
    ["a content that is a number", { choices: [{ message: { content: 4 }, finish_reason: "stop" }] }],
    ["calls that are no list", { choices: [{ message: { tool_calls: "x" }, finish_reason: "stop" }] }],
    ["a call that is no object", { choices: [{ message: { tool_calls: [null] }, finish_reason: "stop" }] }],
    ["a function that is no object", { choices: [{ message: { tool_calls: [{ function: "f" }] }, finish_reason: "stop" }] }],
    ["arguments nested too deep", { choices: [{ message: { tool_calls: [{ function: { name: "f", arguments: nested(5_000) } }] } }] }],
  ])("%s instead of an answer is malformed", (_what, body) => {
    const read = openAiChatProjector.response(body)
    expect(failure(read)).toMatchObject({ code: "malformed_response", retryable: false, terminalReason: "provider_error" })
    expect(() => LlmComplete.parse({ type: "llm_complete", id: 1, result: read })).not.toThrow()
  })

  test("whatever comes, it is a result of the wire's shape, whole and streamed", () => {
    const anything = fc.anything({ maxDepth: 2, withBigInt: true, withDate: true, withMap: true, withNullPrototype: true })
    const almost = fc.record(
      {
        choices: fc.array(
          fc.record(
            {
              index: fc.oneof(fc.constant(0), anything),
              finish_reason: fc.oneof(fc.constantFrom("stop", "tool_calls", "length"), anything),
              message: fc.record(
                { content: anything, reasoning_content: anything, tool_calls: anything, refusal: anything, function_call: anything },
                { requiredKeys: [] },
              ),
              delta: fc.record({ content: anything, tool_calls: fc.array(anything), reasoning: anything }, { requiredKeys: [] }),
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
        const stream = openAiChatProjector.stream()
        for (const chunk of chunks) stream.push(chunk)
        for (const result of [openAiChatProjector.response(body), stream.finish()]) {
          LlmComplete.parse({ type: "llm_complete", id: 1, result })
        }
      }),
      { numRuns: 200 },
    )
  })
})

describe("usage", () => {
  const usage = (figures: unknown) =>
    answer(openAiChatProjector.response({ choices: [{ message: { content: "Hi" }, finish_reason: "stop" }], usage: figures })).usage

  test.each([
    ["nothing", undefined],
    ["null", null],
    ["a text", "many"],
    ["no numbers", { prompt_tokens: "12", completion_tokens: null }],
    [
      "NaN and negative numbers",
      { prompt_tokens: Number.NaN, completion_tokens: -3, prompt_tokens_details: { cached_tokens: Number.POSITIVE_INFINITY } },
    ],
    ["details that are none", { prompt_tokens_details: 7, completion_tokens_details: [] }],
  ])("%s counts as 0", (_what, figures) => {
    expect(usage(figures)).toEqual(NO_USAGE)
  })

  test("cached tokens above the prompt's are counted beside it", () => {
    expect(usage({ prompt_tokens: 10, completion_tokens: 5, prompt_tokens_details: { cached_tokens: 1000 } })).toEqual({
      inputTokens: 10,
      cachedInputTokens: 1000,
      outputTokens: 5,
      reasoningTokens: 0,
    })
  })

  test("xAI counts reasoning beside the completion, as the total says", () => {
    expect(
      usage({
        prompt_tokens: 10120,
        completion_tokens: 1499,
        total_tokens: 14428,
        prompt_tokens_details: { cached_tokens: 128 },
        completion_tokens_details: { reasoning_tokens: 2809 },
      }),
    ).toEqual({ inputTokens: 9992, cachedInputTokens: 128, outputTokens: 4308, reasoningTokens: 2809 })
    expect(usage({ prompt_tokens: 12, completion_tokens: 2, completion_tokens_details: { reasoning_tokens: 317 } })).toMatchObject({
      outputTokens: 319,
      reasoningTokens: 317,
    })
    const details = { completion_tokens_details: { reasoning_tokens: 20 } }
    expect(usage({ prompt_tokens: 100, completion_tokens: 50, total_tokens: 170, ...details })).toMatchObject({
      outputTokens: 70,
      reasoningTokens: 20,
    })
    expect(usage({ prompt_tokens: 100, completion_tokens: 50, total_tokens: 150, ...details })).toMatchObject({
      outputTokens: 50,
      reasoningTokens: 20,
    })
  })

  test("DeepSeek and Moonshot name cached tokens otherwise", () => {
    expect(usage({ prompt_tokens: 100, prompt_cache_hit_tokens: 64, completion_tokens: 1 })).toMatchObject({ inputTokens: 36, cachedInputTokens: 64 })
    expect(usage({ prompt_tokens: 100, cached_tokens: 60, completion_tokens: 1 })).toMatchObject({ inputTokens: 40, cachedInputTokens: 60 })
  })

  test("figures that are no JSON are not passed on", () => {
    const read = openAiChatProjector.response(
      JSON.parse('{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1e999}}'),
    )
    expect(answer(read)).not.toHaveProperty("providerUsage")
    expect(answer(read).usage).toEqual(NO_USAGE)
  })
})

describe("streamed answers", () => {
  test("a text, shown as it comes; the usage in a last chunk without choices", () => {
    const { events, result } = streamed("openai-text")
    expect(events).toEqual(["Grüße", " from", " 東京 🗼", "."].map((content) => ({ type: "text_delta", content })))
    expect(answer(result)).toMatchObject({
      text: "Grüße from 東京 🗼.",
      parts: [{ type: "text", text: "Grüße from 東京 🗼." }],
      usage: { inputTokens: 48, cachedInputTokens: 1152, outputTokens: 9, reasoningTokens: 0 },
      terminalReason: "stop",
    })
  })

  test("two calls whose arguments come interleaved", () => {
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

  test("a refusal", () => {
    const { events, result } = streamed("openai-refusal")
    expect(events.map((event) => ("content" in event ? event.content : ""))).toEqual(["I'm sorry,", " I cannot help with that."])
    expect(answer(result)).toMatchObject({ text: "I'm sorry, I cannot help with that.", terminalReason: "content_filter" })
  })

  test("the older function_call", () => {
    expect(answer(streamed("openai-function-call").result).parts).toEqual([
      { type: "tool_call", callId: "call_1", toolName: "get_current_weather", inputJson: '{"location":"Boston"}' },
    ])
  })

  test("an error in the middle is the end, whatever comes after it", () => {
    const { events, result, stream } = streamed("openai-error")
    expect(events).toHaveLength(2)
    expect(failure(result)).toEqual({
      message: "The endpoint reported an error: The server had an error while processing your request. Sorry about that!",
      retryable: true,
      code: "server_error",
      raw: '{"error":{"message":"The server had an error while processing your request. Sorry about that!","type":"server_error"}}',
      terminalReason: "provider_error",
    })
    expect(stream.push({ choices: [{ index: 0, delta: { content: "more" }, finish_reason: "stop" }] })).toEqual([])
    expect(stream.finish()).toEqual(result)
  })

  test("OpenRouter: comments, and an error beside a finish reason", () => {
    expect(failure(streamed("openrouter-error").result)).toMatchObject({
      message: "The endpoint reported an error: Provider disconnected unexpectedly.",
      retryable: true,
      code: "server_error",
    })
  })

  test("a stream without a finish reason was cut off", () => {
    const { events, result } = streamed("openai-truncated")
    expect(events).toHaveLength(2)
    expect(failure(result)).toEqual({
      message: "The stream ended before the answer was complete.",
      retryable: true,
      code: "stream_truncated",
      terminalReason: "provider_error",
    })
    expect(failure(openAiChatProjector.stream().finish()).code).toBe("stream_truncated")
  })

  test("Azure: chunks without choices or deltas, and a filter that strikes after the stop", () => {
    expect(answer(streamed("azure-filter").result)).toMatchObject({ text: "It begins", terminalReason: "content_filter" })
  })

  test("vLLM: reasoning under two names, a name without arguments, null for choices", () => {
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

  test("DeepSeek: reasoning first, the usage in the chunk with the finish reason", () => {
    const { events, result } = streamed("deepseek-reasoner", { reasoningField: "reasoning_content" })
    expect(events.map(({ type }) => type)).toEqual(["reasoning_delta", "text_delta"])
    expect(answer(result)).toMatchObject({
      parts: [
        { type: "reasoning", text: "First think.", replay: { itemId: "reasoning_content" } },
        { type: "text", text: "Then answer." },
      ],
      usage: { inputTokens: 36, cachedInputTokens: 64, outputTokens: 50, reasoningTokens: 32 },
    })
  })

  test.each<[string, readonly unknown[]]>([
    [
      "google-no-index",
      [
        { type: "tool_call", callId: "call_1", toolName: "get_weather", inputJson: '{"city":"Paris"}' },
        { type: "tool_call", callId: "call_2", toolName: "get_weather", inputJson: '{"city":"Oslo"}' },
      ],
    ],
    ["localai-repeated-id", [{ type: "tool_call", callId: "LipwoT0p", toolName: "exec", inputJson: '{"cmd":"date"}' }]],
    [
      "ollama-all-index-0",
      [
        { type: "tool_call", callId: "call_a1", toolName: "list_files", inputJson: "{}" },
        { type: "tool_call", callId: "call_b2", toolName: "list_files", inputJson: '{"path":"src"}' },
      ],
    ],
  ])("%s: calls are told apart", (name, parts) => {
    expect(answer(streamed(name).result)).toMatchObject({ parts, terminalReason: "tool_use" })
  })

  test.each<[string, readonly unknown[], readonly [string, string, string][]]>([
    [
      "an index, and a new id in each piece",
      [piece(0, "a", "f", "{"), piece(0, "b", undefined, "}"), piece(1, "c", "g", "{}")],
      [
        ["a", "f", "{}"],
        ["c", "g", "{}"],
      ],
    ],
    [
      "no index, an id in each piece, the name late",
      [
        piece(undefined, "a", undefined, "{"),
        piece(undefined, "b", undefined, "["),
        piece(undefined, "a", "f", "}"),
        piece(undefined, "b", "g", "]"),
      ],
      [
        ["a", "f", "{}"],
        ["b", "g", "[]"],
      ],
    ],
    [
      "no index and no id, arguments in pieces",
      [piece(undefined, undefined, "f", "{"), piece(undefined, undefined, undefined, "}"), piece(undefined, undefined, "g", "[]")],
      [
        ["call_1", "f", "{}"],
        ["call_2", "g", "[]"],
      ],
    ],
    ["no index, id and name repeated in each piece", [piece(undefined, "a", "f", "{"), piece(undefined, "a", "f", "}")], [["a", "f", "{}"]]],
    ["an index, id and name repeated in each piece", [piece(0, "a", "f", "{"), piece(0, "a", "f", "}")], [["a", "f", "{}"]]],
    [
      "one id for two calls",
      [piece(0, "a", "f", "{}"), piece(0, "a", "g", "[]")],
      [
        ["a", "f", "{}"],
        ["call_1", "g", "[]"],
      ],
    ],
    [
      "all indexes 0 and no ids",
      [piece(0, undefined, "f", "{}"), piece(0, undefined, "g", "[]")],
      [
        ["call_1", "f", "{}"],
        ["call_2", "g", "[]"],
      ],
    ],
    ["a name in pieces", [piece(0, "a", "read_", undefined), piece(0, undefined, "file", "{}")], [["a", "read_file", "{}"]]],
    ["arguments as an object", [piece(0, "a", "f", { path: "x" })], [["a", "f", '{"path":"x"}']]],
  ])("calls with %s", (_what, pieces, expected) => {
    const stream = openAiChatProjector.stream()
    for (const tool_call of pieces) stream.push({ choices: [{ index: 0, delta: { tool_calls: [tool_call] }, finish_reason: null }] })
    stream.push({ choices: [{ index: 0, delta: {}, finish_reason: "tool_calls" }] })
    expect(answer(stream.finish()).parts).toEqual(
      expected.map(([callId, toolName, inputJson]) => ({ type: "tool_call", callId, toolName, inputJson })),
    )
  })

  test("of several choices the first is read", () => {
    const stream = openAiChatProjector.stream()
    const chunk = (index: number, content: string) => ({ choices: [{ index, delta: { content }, finish_reason: "stop" }] })
    expect([chunk(1, "no"), chunk(0, "yes")].flatMap((one) => stream.push(one))).toEqual([{ type: "text_delta", content: "yes" }])
    expect(answer(stream.finish()).text).toBe("yes")
  })

  test("a server that sends the whole message as one chunk", () => {
    const stream = openAiChatProjector.stream()
    expect(stream.push(fixture("openai-text.json", JSON.parse))).toEqual([{ type: "text_delta", content: "Hello! How can I assist you today?" }])
    expect(stream.finish()).toEqual(whole("openai-text"))
  })

  test.each([
    ["a text", "Hello"],
    ["null", null],
    ["choices that are no list", { choices: 4 }],
    ["a choice that is no object", { choices: [null] }],
    ["a delta that is no object", { choices: [{ delta: "Hi" }] }],
    ["a content that is an object", { choices: [{ delta: { content: {} } }] }],
    ["calls that are no list", { choices: [{ delta: { tool_calls: {} } }] }],
  ])("%s instead of a chunk is malformed", (_what, chunk) => {
    const stream = openAiChatProjector.stream()
    stream.push({ choices: [{ delta: { content: "Hi" }, finish_reason: "stop" }] })
    expect(stream.failed).toBe(false)
    expect(stream.push(chunk)).toEqual([])
    expect(stream.failed).toBe(true)
    expect(failure(stream.finish())).toMatchObject({ code: "malformed_response", retryable: false })
  })

  test("however an answer is cut into chunks, it is the same answer", () => {
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
        // One queue of deltas for each thing said; they are taken from the queues in any turn.
        const queues: unknown[][] = [
          [...pieces(reasoning).map((content) => ({ reasoning_content: content })), ...pieces(text).map((content) => ({ content }))],
          ...calls.map(({ name, text: argumentText }, index) => [
            { tool_calls: [piece(index, `id_${index}`, name, "")] },
            ...pieces(argumentText).map((part) => ({ tool_calls: [piece(index, undefined, undefined, part)] })),
          ]),
        ]
        const stream = openAiChatProjector.stream()
        const shown: TurnEvent[] = []
        for (let begun = 1; queues.some((queue) => queue.length > 0); ) {
          const turn = next() % queues.length
          // A call begins when the one before it has begun: servers number them as they come.
          if (turn > begun) continue
          const delta = queues[turn]?.shift()
          if (turn === begun && delta !== undefined) begun += 1
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
        const expected = openAiChatProjector.response({
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
})

describe("refused requests", () => {
  test.each<[string, number, object]>([
    [
      "error-openai-key",
      401,
      {
        message:
          "The endpoint answered 401: Incorrect API key provided: sk-proj-********abcd. You can find your API key at https://platform.openai.com/account/api-keys.",
        retryable: false,
        code: "invalid_api_key",
        terminalReason: "provider_error",
      },
    ],
    ["error-openai-rate", 429, { retryable: true, code: "rate_limit_exceeded", terminalReason: "provider_error" }],
    ["error-openai-quota", 429, { retryable: false, code: "project_spend_limit_exceeded", terminalReason: "provider_error" }],
    ["error-openai-context", 400, { retryable: false, code: "context_length_exceeded", terminalReason: "context_overflow" }],
    ["error-vllm-context", 400, { retryable: false, code: "BadRequestError", terminalReason: "context_overflow" }],
    [
      "error-vllm-older",
      400,
      {
        message: "The endpoint answered 400: max_tokens must be at least 1, got -186.",
        retryable: false,
        code: "BadRequestError",
        terminalReason: "provider_error",
      },
    ],
    ["error-llamacpp-context", 500, { retryable: false, code: "exceed_context_size_error", terminalReason: "context_overflow" }],
    ["error-azure-filter", 400, { retryable: false, code: "content_filter", terminalReason: "content_filter" }],
    [
      "error-google",
      400,
      { message: "The endpoint answered 400: Request contains an invalid argument.", retryable: false, code: "INVALID_ARGUMENT" },
    ],
    ["error-fastapi", 404, { message: "The endpoint answered 404: Not Found.", retryable: false, code: "http_404" }],
    ["openrouter-error", 429, { retryable: true, code: "http_429" }],
  ])("%s", (name, status, expected) => {
    const body = fixture(`${name}.json`)
    expect(openAiChatProjector.failure(status, body)).toMatchObject({ ...expected, raw: body })
  })

  test.each([
    [400, false],
    [401, false],
    [403, false],
    [404, false],
    [408, true],
    [409, true],
    [422, false],
    [429, true],
    [500, true],
    [502, true],
    [503, true],
    [529, true],
  ])("status %i: trying again makes sense: %s", (status, retryable) => {
    expect(openAiChatProjector.failure(status, "").retryable).toBe(retryable)
  })

  test("the endpoint may say itself whether to try again, but not talk away an empty purse", () => {
    expect(openAiChatProjector.failure(500, "", { shouldRetry: false }).retryable).toBe(false)
    expect(openAiChatProjector.failure(400, "", { shouldRetry: true }).retryable).toBe(true)
    expect(openAiChatProjector.failure(429, fixture("error-openai-quota.json"), { shouldRetry: true }).retryable).toBe(false)
  })

  test.each([
    ["", "The endpoint answered 503 with an empty body."],
    ["<html><head><title>502 Bad Gateway</title></head></html>", 'The endpoint answered 503 with a page instead of an answer ("502 Bad Gateway").'],
    ["<!doctype html><p>hm", "The endpoint answered 503 with a page instead of an answer."],
    ["upstream connect error", "The endpoint answered 503: upstream connect error."],
    ['{"error":"model not found"}', "The endpoint answered 503: model not found."],
    ['{"error":{"message":"","code":null}}', 'The endpoint answered 503: {"error":{"message":"","code":null}}.'],
    ['{"detail":[{"loc":["body"],"msg":"bad"}]}', 'The endpoint answered 503: [{"loc":["body"],"msg":"bad"}].'],
  ])("the body %j", (body, message) => {
    expect(openAiChatProjector.failure(503, body).message).toBe(message)
  })

  test("long bodies are cut", () => {
    const { message, raw } = openAiChatProjector.failure(500, JSON.stringify({ error: { message: "x".repeat(100_000) } }))
    expect(message.length).toBeLessThan(2_200)
    expect(raw?.length).toBeLessThan(8_100)
  })
})

test("recorded answers are responses of the wire's shape", () => {
  for (const name of ["openai-text", "openai-tool-calls", "openai-refusal", "vllm-reasoning", "llamacpp-tool-call", "mistral-parts"]) {
    expect(LlmResponse.parse(answer(whole(name)))).toEqual(answer(whole(name)))
  }
})

function whole(name: string, options?: OpenAiAnswerOptions): LlmResult {
  return openAiChatProjector.response(fixture(`${name}.json`, JSON.parse), options)
}

function streamed(name: string, options?: OpenAiAnswerOptions) {
  const stream = openAiChatProjector.stream(options)
  const data = fixture(`${name}.sse`)
    .split(/\r?\n/)
    .filter((line) => line.startsWith("data: "))
  const events: TurnEvent[] = []
  for (const line of data) if (line !== "data: [DONE]") events.push(...stream.push(JSON.parse(line.slice(6))))
  return { events, result: stream.finish(), stream }
}

function response(message: object, finishReason: string | null): LlmResult {
  return openAiChatProjector.response({ choices: [{ index: 0, message: { role: "assistant", ...message }, finish_reason: finishReason }] })
}

function piece(index: number | undefined, id: string | undefined, name: string | undefined, text: unknown): object {
  return {
    ...(index !== undefined && { index }),
    ...(id !== undefined && { id }),
    type: "function",
    function: { ...(name !== undefined && { name }), ...(text !== undefined && { arguments: text }) },
  }
}

function answer(result: LlmResult): LlmResponse {
  if (!result.ok) throw new Error(`Failed: ${result.error.message}`)
  return result.response
}

function failure(result: LlmResult) {
  if (result.ok) throw new Error(`Answered: ${JSON.stringify(result.response)}`)
  return result.error
}

function nested(depth: number): unknown {
  let value: unknown = {}
  for (let level = 0; level < depth; level += 1) value = { value }
  return value
}

function fixture(name: string): string
function fixture<Value>(name: string, read: (text: string) => Value): Value
function fixture<Value>(name: string, read?: (text: string) => Value): Value | string {
  const text = readFileSync(new URL(`../../fixtures/openai/${name}`, import.meta.url), "utf8")
  return read === undefined ? text : read(text)
}
