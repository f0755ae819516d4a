import type { IncomingMessage, ServerResponse } from "node:http"
import { describe, expect, test } from "vitest"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { memoryAttachmentStore } from "../../../src/hosts/attachments/memory.ts"
import { LlmCallError } from "../../../src/hosts/host.ts"
import { type OpenAiCompatibleOptions, openAiCompatible } from "../../../src/hosts/models/openai-compatible.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { chatProjector } from "../../../src/projectors/chat.ts"
import type { LlmRequest } from "../../../src/schemas/llm.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { call, delta, fixture, type Handler, HI, KEY, refused, send, sendFile, serve, streamed } from "./support.ts"

describe("answers", () => {
  test("streams text and tool calls", async () => {
    const server = await serve(sendFile("openai-parallel-tools.sse"))
    const { events, response } = await call(server.url, {
      apiKey: ` ${KEY}\n`,
      headers: { "x-title": "turn" },
      wire: { extraBody: { temperature: 0 } },
    })
    expect(response).toMatchObject({
      text: "Let me look.",
      parts: [
        { type: "text", text: "Let me look." },
        { type: "tool_call", callId: "call_9oOUGn7X", toolName: "get_weather", inputJson: '{"location": "Boston"}' },
        { type: "tool_call", callId: "call_QkzmMhkF", toolName: "get_time", inputJson: '{"zone": "EST"}' },
      ],
      usage: { inputTokens: 86, cachedInputTokens: 0, outputTokens: 44, reasoningTokens: 0 },
      terminalReason: "tool_use",
      httpSummary: "attempt 1",
    })
    expect(events).toEqual([{ type: "text_delta", content: "Let me look." }])
    expect(server.requests).toHaveLength(1)
    const [sent] = server.requests
    expect(sent).toMatchObject({ method: "POST", path: "/v1/chat/completions" })
    expect(sent?.headers).toMatchObject({ authorization: `Bearer ${KEY}`, "content-type": "application/json", "x-title": "turn" })
    expect(JSON.parse(sent?.body ?? "")).toEqual({
      model: "gpt-4.1",
      messages: [{ role: "user", content: "Hi" }],
      max_tokens: 99,
      stream: true,
      stream_options: { include_usage: true },
      temperature: 0,
    })
  })

  test("decodes characters that arrive byte by byte", async () => {
    const server = await serve((response) => {
      response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" })
      for (const byte of fixture("openai-text.sse")) response.write(Uint8Array.of(byte))
      response.end()
    })
    const { events, response } = await call(server.url)
    expect(response.text).toBe("Grüße from 東京 🗼.")
    expect(events.map((event) => (event.type === "text_delta" ? event.content : ""))).toEqual(["Grüße", " from", " 東京 🗼", "."])
  })

  test("reads a whole answer with `stream: false`, and from an endpoint that does not stream", async () => {
    const server = await serve(
      sendFile("openai-text.json", { "content-type": "application/json", "x-request-id": "req_7" }),
      sendFile("openai-text.json"),
    )
    const whole = await call(server.url, { stream: false, model: "local", keepRequestBody: true })
    expect(whole.events).toEqual([])
    expect(whole.response).toMatchObject({ text: "Hello! How can I assist you today?", httpSummary: "attempt 1, request req_7" })
    const body = '{"model":"local","messages":[{"role":"user","content":"Hi"}],"max_tokens":99}'
    expect(server.requests[0]?.body).toBe(body)
    expect(whole.response.requestBody).toBe(body)
    expect((await call(server.url)).response).toMatchObject({ text: "Hello! How can I assist you today?" })
  })

  test("reads a stream that is not declared as one", async () => {
    const server = await serve(sendFile("openai-text.sse", { "content-type": "text/plain" }))
    const { events, response } = await call(server.url)
    expect(response.text).toBe("Grüße from 東京 🗼.")
    expect(events).toHaveLength(4)
  })

  test("accepts a stream without its last newline and without [DONE]", async () => {
    const text = fixture("openai-text.sse").toString().replace("data: [DONE]\n\n", "").trimEnd()
    const server = await serve(send(200, text))
    expect((await call(server.url)).response.usage).toEqual({ inputTokens: 48, cachedInputTokens: 1152, outputTokens: 9, reasoningTokens: 0 })
  })

  test("does not wait for an endpoint to hang up after [DONE]", async () => {
    const server = await serve((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" })
      response.write(fixture("openai-text.sse"))
    })
    expect((await call(server.url)).response.text).toBe("Grüße from 東京 🗼.")
  })

  test("numbers calls without ids after those of the request", async () => {
    const server = await serve(sendFile("llamacpp-tool-call.json"))
    const earlier: LlmRequest = {
      ...HI,
      messages: [
        ...HI.messages,
        { role: "assistant", blocks: [{ type: "tool_call", callId: "call_1", toolName: "python", inputJson: "{}" }] },
        { role: "user", blocks: [{ type: "tool_result", callId: "call_1", text: "1" }] },
      ],
    }
    const { response } = await call(server.url, {}, earlier)
    expect(response.parts.map((part) => (part.type === "tool_call" ? part.callId : ""))).toEqual(["call_2", "call_3"])
  })

  test("keeps the query of the base URL, and uses the endpoint's field for the token limit", async () => {
    const seen: string[] = []
    const record = (url: unknown, init?: RequestInit) => {
      seen.push(String(url), JSON.parse(String(init?.body)).max_tokens === 99 ? "max_tokens" : "max_completion_tokens")
      return Promise.resolve(new Response(fixture("openai-text.json").toString()))
    }
    const azure = "https://my.openai.azure.com/openai/deployments/d/?api-version=2024-10-21"
    for (const baseUrl of ["https://api.openai.com/v1", azure, "http://localhost:11434/v1/", "http://h/v1/chat/completions"]) {
      await call(baseUrl, { fetch: record })
    }
    await call("http://h", { fetch: record, wire: { maxTokensField: "max_completion_tokens" } })
    expect(seen).toEqual([
      "https://api.openai.com/v1/chat/completions",
      "max_completion_tokens",
      "https://my.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
      "max_completion_tokens",
      "http://localhost:11434/v1/chat/completions",
      "max_tokens",
      "http://h/v1/chat/completions",
      "max_tokens",
      "http://h/chat/completions",
      "max_completion_tokens",
    ])
  })

  test("runs a turn: call, tool, answer, each emitted once", async () => {
    const server = await serve(sendFile("google-no-index.sse"), sendFile("openai-text.sse"))
    const shown: string[] = []
    const machine = new TurnMachine(
      {
        driver: chatDriver(),
        projector: chatProjector,
        model: "m",
        sessionId: "s",
        systemPrompt: "Help.",
        tools: [{ name: "get_weather", description: "Weather.", inputSchema: { type: "object" } }],
        generation: {},
        syncExecutionSurface: false,
        emitLlmTrace: false,
      },
      { messages: [{ id: "u", role: "user", parts: [{ id: "u.p0", type: "text", text: "Weather?" }] }] },
    )
    const done = await runTurn(
      machine,
      {
        ...openAiCompatible({ baseUrl: server.url }),
        tools: { call: async ({ args }) => ({ output: { status: "success", value: args } }), effects: () => "idempotent" },
      },
      { onEvent: (event) => void (event.type === "text_delta" && shown.push(event.content)) },
    )
    expect(done.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Grüße from 東京 🗼." } })
    expect(shown.join("")).toBe("Grüße from 東京 🗼.")
    expect(JSON.parse(server.requests[1]?.body ?? "").messages.slice(2)).toEqual([
      {
        role: "assistant",
        content: null,
        tool_calls: [
          { id: "call_1", type: "function", function: { name: "get_weather", arguments: '{"city":"Paris"}' } },
          { id: "call_2", type: "function", function: { name: "get_weather", arguments: '{"city":"Oslo"}' } },
        ],
      },
      { role: "tool", tool_call_id: "call_1", content: '{"city":"Paris"}' },
      { role: "tool", tool_call_id: "call_2", content: '{"city":"Oslo"}' },
    ])
  })
})

describe("retries", () => {
  test("429 with Retry-After, then success", async () => {
    const server = await serve(sendFile("error-openai-rate.json", { "retry-after": "7" }, 429), sendFile("openai-text.sse"))
    const { events, response, waits } = await call(server.url, { now: () => 1_000_000 })
    expect(response).toMatchObject({ text: "Grüße from 東京 🗼.", httpSummary: "attempt 2" })
    expect(waits).toEqual([7_000])
    const [first] = events
    expect(first).toMatchObject({
      type: "retry_status",
      waitSeconds: 7,
      attempt: 1,
      maxAttempts: 4,
      envelope: { kind: "llm_provider", code: "rate_limit_exceeded", terminalReason: "provider_error" },
    })
    expect(first?.type === "retry_status" && first.reason).toContain("The endpoint answered 429: Rate limit reached for gpt-4o")
  })

  test("Retry-After as a date and in milliseconds", async () => {
    const server = await serve(
      send(503, "", { "retry-after": "Fri, 20 Nov 2026 12:00:04 GMT" }),
      send(503, "", { "retry-after-ms": "30" }),
      send(503, "", { "retry-after": "9" }),
      sendFile("openai-text.sse"),
    )
    const { waits } = await call(server.url, { now: () => Date.UTC(2026, 10, 20, 12, 0, 0), maxRetryWaitMs: 9_000 })
    expect(waits).toEqual([4_000, 30, 9_000])
  })

  test("500 until all attempts are used", async () => {
    const server = await serve(send(500, '{"error":{"message":"boom","type":"server_error"}}'))
    const { events, failure, waits } = await refused(server.url, { maxRetries: 2, random: () => 0.5 })
    expect(failure).toEqual({
      message: "The endpoint answered 500: boom.",
      retryable: true,
      code: "server_error",
      kind: "other",
      raw: '{"error":{"message":"boom","type":"server_error"}}',
      terminalReason: "provider_error",
    })
    expect(waits).toEqual([375, 750])
    expect(events.map((event) => event.type === "retry_status" && [event.waitSeconds, event.attempt, event.maxAttempts])).toEqual([
      [0.375, 1, 3],
      [0.75, 2, 3],
    ])
    expect(server.requests).toHaveLength(3)
  })

  test.each([
    ["error-openai-key.json", 401, "invalid_api_key", "provider_error"],
    ["error-openai-quota.json", 429, "project_spend_limit_exceeded", "provider_error"],
    ["error-llamacpp-context.json", 400, "exceed_context_size_error", "context_overflow"],
  ])("%s is not retried", async (name, status, code, terminalReason) => {
    const server = await serve(sendFile(name, {}, status))
    const { failure, waits } = await refused(server.url)
    expect(failure).toMatchObject({ code, terminalReason, retryable: false })
    expect(waits).toEqual([])
  })

  test("x-should-retry wins over the status", async () => {
    const server = await serve(send(500, "no", { "x-should-retry": "false" }))
    expect((await refused(server.url)).waits).toEqual([])
  })

  test("an error mid-stream before any text, then success; reasoning does not count as text", async () => {
    const reasoning = 'data: {"choices":[{"index":0,"delta":{"reasoning_content":"Hm."},"finish_reason":null}]}\n\n'
    const server = await serve(send(200, `${reasoning}data: {"error":{"message":"busy","type":"overloaded_error"}}\n\n`), sendFile("openai-text.sse"))
    const { events, response } = await call(server.url)
    expect(response.text).toBe("Grüße from 東京 🗼.")
    expect(events.slice(0, 3).map(({ type }) => type)).toEqual(["reasoning_delta", "retry_status", "text_delta"])
  })

  test("nothing is retried once text was emitted", async () => {
    const server = await serve(sendFile("openai-error.sse"), sendFile("openai-truncated.sse"))
    expect(await refused(server.url)).toMatchObject({ failure: { code: "server_error", retryable: true }, waits: [] })
    expect(await refused(server.url)).toMatchObject({ failure: { code: "stream_truncated", retryable: true }, waits: [] })
    expect(server.requests).toHaveLength(2)
  })
})

describe("broken connections", () => {
  test("refused: retried, then reported", async () => {
    const server = await serve(send(200, ""))
    await server.close()
    const { failure, waits } = await refused(server.url, { maxRetries: 1 })
    expect(failure).toMatchObject({ code: "connection_failed", retryable: true, terminalReason: "provider_error" })
    expect(failure.message).toMatch(/^The endpoint at http:\/\/127\.0\.0\.1:\d+\/v1\/chat\/completions could not be reached: .*ECONNREFUSED/)
    expect(waits).toEqual([500])
  })

  test("an endpoint that never answers", async () => {
    const server = await serve(() => undefined)
    const { failure } = await refused(server.url, { timeoutMs: 20, maxRetries: 0 })
    expect(failure).toEqual({
      message: "The endpoint did not complete its answer within 0.02 seconds.",
      retryable: true,
      code: "timeout",
      kind: "timeout",
      terminalReason: "provider_error",
    })
  })

  test("a fetch that ignores its signal does not block the call", async () => {
    const { failure } = await refused("http://h", { timeoutMs: 5, maxRetries: 0, fetch: () => new Promise(() => undefined) })
    expect(failure.code).toBe("timeout")
    const stuck = new Response(new ReadableStream({ pull: () => new Promise(() => undefined) }))
    expect((await refused("http://h", { timeoutMs: 5, maxRetries: 0, fetch: async () => stuck })).failure.code).toBe("timeout")
  })

  test("a stream that stalls", async () => {
    const server = await serve((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" })
      response.write(": PROCESSING\n\n")
    })
    const { events, failure } = await refused(server.url, { idleTimeoutMs: 20, maxRetries: 1 })
    expect(failure).toMatchObject({ code: "idle_timeout", message: "The endpoint sent nothing for 0.02 seconds.", retryable: true })
    expect(events.map(({ type }) => type)).toEqual(["retry_status"])
  })

  test("a stream that stalls after its first text", async () => {
    const body = new ReadableStream({
      start: (stream) => stream.enqueue(new TextEncoder().encode('data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n')),
    })
    const silent = async () => new Response(body, { headers: { "content-type": "text/event-stream" } })
    const { events, failure, waits } = await refused("http://h", { idleTimeoutMs: 20, fetch: silent })
    expect(failure).toMatchObject({ code: "idle_timeout", retryable: true })
    expect(events).toEqual([{ type: "text_delta", content: "Hi" }])
    expect(waits).toEqual([])
  })

  test("a stream cut off in the middle, and in the middle of an event", async () => {
    const server = await serve(
      (response) => {
        response.writeHead(200, { "content-type": "text/event-stream" })
        response.write('data: {"choices":[{"index":0,"delta":{"reasoning":"Hm"},"finish_reason":null}]}\n\n', () => response.destroy())
      },
      send(200, 'data: {"choices":[{"index":0,"delta":{"content":"H'),
    )
    const { failure } = await refused(server.url, { maxRetries: 1 })
    expect(failure).toMatchObject({ code: "stream_truncated", message: "The stream ended before the answer was complete.", retryable: true })
    expect(server.requests).toHaveLength(2)
  })

  test("a connection lost after the finish reason costs only the usage", async () => {
    const server = await serve((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" })
      response.write('data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\n', () => response.destroy())
    })
    expect((await call(server.url)).response).toMatchObject({ text: "Hi", terminalReason: "stop" })
  })

  test("a connection lost after an error event: the error event is the failure", async () => {
    const server = await serve((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" })
      const call = '{"index":0,"function":{"arguments":"{\\"a\\":1}"}}'
      response.write(`data: {"choices":[{"index":0,"delta":{"tool_calls":[${call}]},"finish_reason":"tool_calls"}]}\n\n`, () => response.destroy())
    })
    const { failure } = await refused(server.url)
    expect(failure).toMatchObject({
      code: "malformed_response",
      message: "The endpoint's answer is malformed: a tool call does not name a function.",
    })
    expect(server.requests).toHaveLength(1)
  })

  test("a whole answer cut off", async () => {
    const server = await serve((response) => {
      response.writeHead(200, { "content-type": "application/json", "content-length": "5000" })
      response.write('{"choices":[', () => response.destroy())
    })
    expect((await refused(server.url, { maxRetries: 0 })).failure).toMatchObject({ code: "stream_truncated", retryable: true })
  })
})

describe("aborts", () => {
  const CANCELLED = { message: "The model call was cancelled.", retryable: false, code: "cancelled", kind: "cancelled", terminalReason: "cancelled" }

  test("mid-stream: the connection is closed, and nothing more is emitted", async () => {
    const controller = new AbortController()
    let hungUp: Promise<unknown> = Promise.resolve()
    const server = await serve((response) => {
      hungUp = new Promise((resolve) => response.on("close", resolve))
      response.writeHead(200, { "content-type": "text/event-stream" })
      response.write(fixture("openai-truncated.sse"))
    })
    const { events, failure } = await refused(server.url, {
      signal: controller.signal,
      onEvent: ({ type }) => type === "text_delta" && controller.abort(),
    })
    expect(failure).toEqual(CANCELLED)
    expect(events).toEqual([{ type: "text_delta", content: "The answer" }])
    await hungUp
  })

  test("during the wait for a retry: at once", async () => {
    const controller = new AbortController()
    const server = await serve(send(500, ""))
    const { failure } = await refused(server.url, { signal: controller.signal, sleep: undefined, random: () => 0, onEvent: () => controller.abort() })
    expect(failure).toEqual(CANCELLED)
    expect(server.requests).toHaveLength(1)
  })

  test("before it begins, and before the headers", async () => {
    const controller = new AbortController()
    const server = await serve(() => controller.abort())
    expect((await refused(server.url, { signal: controller.signal })).failure).toEqual(CANCELLED)
    expect((await refused(server.url, { signal: controller.signal })).failure).toEqual(CANCELLED)
    expect(server.requests).toHaveLength(1)
  })

  test("an error of an event listener is passed on, and the connection is closed", async () => {
    let hungUp: Promise<unknown> = Promise.resolve()
    const server = await serve((response) => {
      hungUp = new Promise((resolve) => response.on("close", resolve))
      response.writeHead(200, { "content-type": "text/event-stream" })
      response.write(fixture("openai-truncated.sse"))
    })
    const context = {
      effectId: 1,
      idempotencyKey: undefined,
      signal: new AbortController().signal,
      emit: () => {
        throw new Error("full")
      },
    }
    await expect(openAiCompatible({ baseUrl: server.url }).llmCall({ type: "llm_call", id: 1, request: HI }, context)).rejects.toThrow("full")
    await hungUp
  })
})

describe("invalid answers", () => {
  test.each<[string, string, Record<string, string>, string]>([
    ["a page", "<!doctype html><title>Welcome</title>", { "content-type": "text/html" }, "it is a page, not JSON; check the base URL"],
    ["a text", "It works!", { "content-type": "text/plain" }, "it is not JSON; check the base URL"],
    ["other JSON", '{"hello":"world"}', { "content-type": "application/json" }, "it has no list of choices"],
    ["a stream that is not JSON", "data: It works!\n\n", { "content-type": "text/event-stream" }, "a chunk is not a JSON object"],
  ])("%s with status 200", async (_what, text, headers, problem) => {
    const server = await serve(send(200, text, headers))
    const { failure, waits } = await refused(server.url)
    expect(failure).toMatchObject({
      message: `The endpoint's answer is malformed: ${problem}.`,
      code: "malformed_response",
      retryable: false,
      terminalReason: "provider_error",
    })
    expect(waits).toEqual([])
  })

  test("an empty answer is retried, whatever its status says", async () => {
    const server = await serve(send(200, "", {}), send(204, "", {}), sendFile("openai-text.json"))
    const { response, waits } = await call(server.url)
    expect(response.text).toBe("Hello! How can I assist you today?")
    expect(waits).toHaveLength(2)
    const empty = await serve(send(200, "", {}))
    expect((await refused(empty.url)).failure).toMatchObject({
      message: "The endpoint's answer is malformed: it is empty.",
      code: "malformed_response",
      retryable: true,
    })
  })

  test("an error event without an error object", async () => {
    const server = await serve(send(200, 'event: error\ndata: {"message":"quota gone","code":"insufficient_quota"}\n\n'))
    expect((await refused(server.url)).failure).toMatchObject({ message: "The endpoint reported an error: quota gone.", code: "insufficient_quota" })
  })

  test("a page with an error status is reported by its title", async () => {
    const server = await serve(send(404, "<html><title>Not here</title>"))
    expect((await refused(server.url)).failure.message).toBe('The endpoint answered 404 with a page instead of an answer ("Not here").')
  })

  test("an endless answer is not read to its end, whole or streamed", async () => {
    const endless = (type: string, line: string) => (response: ServerResponse) => {
      response.writeHead(200, { "content-type": type })
      const more = (): void => void (response.destroyed || response.write(line.repeat(1_000), more))
      more()
    }
    const server = await serve(endless("application/json", " "), endless("text/event-stream", ": x\n\n"))
    const failure = { message: "The endpoint's answer is longer than 20000 bytes.", code: "response_too_large", retryable: false }
    expect((await refused(server.url, { maxBodyBytes: 20_000 })).failure).toMatchObject(failure)
    expect((await refused(server.url, { maxBodyBytes: 20_000 })).failure).toMatchObject(failure)
  })

  test("a long error is read in part", async () => {
    const server = await serve(send(400, "x".repeat(1_000_000)))
    const { raw } = (await refused(server.url)).failure
    expect(raw).toBe(`${"x".repeat(8_000)}… (57536 more characters)`)
  })

  test("a redirect is not followed, because it would receive the key", async () => {
    const server = await serve(send(302, "", { location: "https://elsewhere.example/v1?token=abc" }))
    const { failure } = await refused(server.url, { apiKey: KEY })
    expect(failure).toMatchObject({
      message: "The endpoint redirects to https://elsewhere.example/v1. Use the address that it redirects to as the base URL.",
      code: "redirected",
      retryable: false,
    })
    expect(server.requests).toHaveLength(1)
  })
})

/** A key without repetitions: any eight characters of it are a leak. */
const LONG_KEY = "sk-live-Aq7Zx2Wm9Kd4Rt6Yv8Bn1Cp3"

/** Where an endpoint can say a text, and the length at which each was once cut. */
const PLACES: readonly (readonly [string, number, (text: string) => Handler])[] = [
  ["a refusal's message", 2_000, (text) => send(401, JSON.stringify({ error: { message: text } }))],
  ["a refusal in words", 200, (text) => send(401, text)],
  ["a refusal that is longer than what is read", 64 * 1024, (text) => send(401, text)],
  ["a refusal's title", 200, (text) => send(502, `<title>${text}</title>`)],
  ["an error in a stream", 2_000, (text) => streamed([{ error: { message: text, code: 401 } }])],
  ["an error in a whole answer", 2_000, (text) => send(200, JSON.stringify({ error: { message: text, code: 401 } }), {})],
  ["what was sent", 8_000, (text) => streamed([{ error: { message: "No.", echo: text } }])],
  ["an answer that is not JSON", 8_000, (text) => send(200, text, {})],
  ["a finish reason", 100, (text) => streamed([delta({ content: "Hi" }, text)])],
  ["a finish reason that is a fault", 200, (text) => streamed([delta({ content: "Hi" }, `error ${text}`)])],
  ["the address of a redirect", 200, (text) => send(307, "", { location: `https://h.example/${text}` })],
  ["the id of an answer", 100, (text) => streamed([{ ...delta({ content: "Hi" }, "stop"), id: text }])],
]

test.each(PLACES)("a key is not leaked by %s, wherever the text is cut", async (_place, limit, handlerOf) => {
  for (const before of [0, 3, limit - 60, limit - 31, limit - 24, limit - 12, limit - 9, limit]) {
    const server = await serve(handlerOf(`${"x".repeat(Math.max(0, before))}${LONG_KEY} and more`))
    const call = openAiCompatible({ baseUrl: server.url, apiKey: LONG_KEY, maxRetries: 0 })
    const events: unknown[] = []
    const context = {
      effectId: 1,
      idempotencyKey: undefined,
      signal: new AbortController().signal,
      emit: (event: unknown) => void events.push(event),
    }
    const result: unknown = await call
      .llmCall({ type: "llm_call", id: 1, request: HI }, context)
      .catch((error: unknown) => (error instanceof LlmCallError ? [error.message, error.failure, error.partial] : error))
    const said = JSON.stringify([result, events])
    for (let at = 0; at + 8 <= LONG_KEY.length; at += 1) expect(said).not.toContain(LONG_KEY.slice(at, at + 8))
    await server.close()
  }
})

test("a long key that fills a refusal is not leaked by where the refusal is cut", async () => {
  const key = Array.from({ length: 500 }, (_, index) => (index * 7_919).toString(36))
    .join("")
    .slice(0, 501)
  const server = await serve(send(401, key.repeat(300)))
  const { failure } = await refused(server.url, { apiKey: key })
  expect(failure.raw).toMatch(/^(?:\[secret\])+/)
  expect(JSON.stringify(failure)).not.toContain(key.slice(0, 8))
})

describe("secrets", () => {
  const echo = (status: number, type: string) => (response: ServerResponse, request: IncomingMessage) => {
    const quoted = `You sent ${request.headers.authorization}, ${request.headers["api-key"]} and ${encodeURIComponent(KEY)} to ${request.url}`
    const body =
      type === "text/html"
        ? `<title>${quoted}</title>`
        : JSON.stringify({ error: { message: quoted, code: KEY, type: "server_error" } }).replaceAll("/", "\\/")
    response.writeHead(status, { "content-type": type, "x-request-id": KEY }).end(type === "text/event-stream" ? `data: ${body}\n\n` : body)
  }

  test.each([
    [401, "application/json"],
    [500, "application/json"],
    [500, "text/html"],
    [200, "text/html"],
    [200, "application/json"],
    [200, "text/event-stream"],
  ])("are removed if the endpoint quotes its input, with status %i as %s", async (status, type) => {
    const server = await serve(echo(status, type))
    const options = { apiKey: KEY, headers: { "api-key": "Token azure-secret-value" }, maxRetries: 1, keepRequestBody: true }
    const { error, events, failure } = await refused(`${server.url}?key=query-secret-value`, options)
    expect(server.requests[0]?.headers["authorization"]).toBe(`Bearer ${KEY}`)
    const quoted = [JSON.stringify(failure), JSON.stringify(events), String(error), error.stack, String(error.cause), JSON.stringify(error)].join(
      "\n",
    )
    for (const part of ["0123456789", "azure-secret", "query-secret"]) expect(quoted).not.toContain(part)
    expect(quoted).toContain("[secret]")
  })

  test("are not in the summary of an answer", async () => {
    const server = await serve(sendFile("openai-text.json", { "x-request-id": KEY }))
    expect((await call(server.url, { apiKey: KEY })).response.httpSummary).toBe("attempt 1, request [secret]")
  })

  test("are removed whole if one begins like another", async () => {
    const server = await serve(send(400, '{"error":{"message":"no such key: 0123456789-abcdef"}}'))
    const { failure } = await refused(server.url, { apiKey: "0123456789", headers: { "x-key": "0123456789-abcdef" } })
    expect(failure.message).toBe("The endpoint answered 400: no such key: [secret].")
  })

  test("are removed if fetch quotes its headers", async () => {
    const { error, failure } = await refused("http://h", {
      apiKey: KEY,
      maxRetries: 0,
      fetch: (_input, init) =>
        Promise.reject(new TypeError("fetch failed", { cause: new Error(`bad header ${new Headers(init?.headers).get("authorization")}`) })),
    })
    expect(failure.message).toBe("The endpoint at http://h/chat/completions could not be reached: bad header Bearer [secret].")
    expect(error.cause).toBeUndefined()
  })

  test("that cannot be sent are refused at once, without quoting them", () => {
    const thrown = (options: OpenAiCompatibleOptions): string => {
      try {
        openAiCompatible(options)
      } catch (error) {
        expect(error).toBeInstanceOf(TypeError)
        return String(error)
      }
      return "nothing"
    }
    expect(thrown({ baseUrl: "http://h", apiKey: "sk-\n0123456789" })).toBe("TypeError: The API key has characters that are not allowed in a header.")
    expect(thrown({ baseUrl: "http://h", apiKey: "sk-0123456789…" })).toBe("TypeError: The API key has characters that are not allowed in a header.")
    expect(thrown({ baseUrl: "http://h", headers: { "x-key": "a\nb" } })).toBe('TypeError: The header "x-key" cannot be sent.')
    expect(thrown({ baseUrl: "api.openai.com/v1" })).toBe(
      "TypeError: baseUrl is not an http or https address. Pass the whole address, such as https://api.example.com/v1.",
    )
    expect(thrown({ baseUrl: "ftp://api.openai.com/v1" })).toBe(
      "TypeError: baseUrl is not an http or https address. Pass the whole address, such as https://api.example.com/v1.",
    )
    expect(thrown({ baseUrl: "http://me:secret@h/v1" })).toBe("TypeError: baseUrl must not contain a user name or password. Use apiKey or headers.")
  })

  test("do not include short placeholders, which would match ordinary words", async () => {
    const server = await serve(send(400, '{"error":"none of the models"}'))
    expect((await refused(server.url, { apiKey: "none" })).failure.message).toBe("The endpoint answered 400: none of the models.")
  })
})

describe("options", () => {
  test.each<readonly [string, object, string]>([
    ["a key in another case", { apikey: KEY }, 'openAiCompatible has the unknown option "apikey"; did you mean "apiKey"?'],
    ["a key with underscores", { api_key: KEY }, 'openAiCompatible has the unknown option "api_key"; did you mean "apiKey"?'],
    ["a part of a key", { retries: 3 }, 'openAiCompatible has the unknown option "retries"; did you mean "maxRetries"?'],
    ["a missing unit", { timeout: 3 }, 'openAiCompatible has the unknown option "timeout"; did you mean "timeoutMs"?'],
    ["a key of OpenAI's own client", { baseURL: "http://h" }, 'openAiCompatible has the unknown option "baseURL"; did you mean "baseUrl"?'],
    [
      "a key like no other",
      { organization: "o" },
      'openAiCompatible has the unknown option "organization"; the options are baseUrl, doneWithoutReason, wire, apiKey, model, ',
    ],
  ])("%s is refused", (_what, wrong, message) => {
    const make = (): unknown => openAiCompatible({ baseUrl: "http://h", ...wrong })
    expect(make).toThrow(TypeError)
    expect(make).toThrow(message)
  })

  test("are needed", () => {
    const make = openAiCompatible as (options?: unknown) => unknown
    for (const options of [undefined, null, "http://h"])
      expect(() => make(options)).toThrow(new TypeError("openAiCompatible takes options: openAiCompatible({ baseUrl, … })."))
  })

  test("may all be given", () => {
    const all: Required<OpenAiCompatibleOptions> = {
      baseUrl: "http://h",
      apiKey: KEY,
      model: "m",
      headers: {},
      fetch,
      timeoutMs: 1,
      firstByteTimeoutMs: 1,
      idleTimeoutMs: 1,
      usageWaitMs: 1,
      maxRetries: 1,
      afterText: "stop",
      maxRetryWaitMs: 1,
      stream: true,
      maxBodyBytes: 1,
      keepRequestBody: true,
      provider: "p",
      doneWithoutReason: "complete",
      attachments: memoryAttachmentStore(),
      wire: {},
      now: Date.now,
      random: Math.random,
      sleep: async () => {},
    }
    expect(openAiCompatible(all)).toHaveProperty("llmCall")
  })
})

describe("limits", () => {
  test.each(["timeoutMs", "firstByteTimeoutMs", "idleTimeoutMs", "usageWaitMs", "maxRetries", "maxRetryWaitMs", "maxBodyBytes"] as const)(
    "%s that is not a number is refused",
    (name) => {
      // What `Number(undefined)` gives: as a limit it would hold for ever, as a wait not at all.
      for (const value of [Number.NaN, -1]) {
        expect(() => openAiCompatible({ baseUrl: "http://h", [name]: value })).toThrow(
          new RangeError(`${name} must be a number of at least 0, not ${value}.`),
        )
      }
      expect(() => openAiCompatible({ baseUrl: "http://h", [name]: Number.POSITIVE_INFINITY })).not.toThrow()
    },
  )
})
