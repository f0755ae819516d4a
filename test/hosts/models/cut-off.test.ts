import { describe, expect, test } from "vitest"
import type { TurnEvent } from "../../../src/schemas/event.ts"
import { LlmResponse } from "../../../src/schemas/llm.ts"
import { call, delta, fixture, HI, refused, type Step, send, sendFile, serve, streamed, USAGE } from "./support.ts"

const SHOWN: readonly Step[] = [
  delta({ reasoning_content: "Hm." }),
  delta({ content: "First close the red valve. " }),
  { ...delta({ content: "Then the blue" }), usage: { prompt_tokens: 9, completion_tokens: 4 } },
  delta({ tool_calls: [{ index: 0, id: "a", function: { name: "f", arguments: '{"x":' } }] }),
]
const SAID = {
  text: "First close the red valve. Then the blue",
  parts: [
    { type: "reasoning", text: "Hm." },
    { type: "text", text: "First close the red valve. Then the blue" },
  ],
  usage: { inputTokens: 9, cachedInputTokens: 0, outputTokens: 4, reasoningTokens: 0 },
  producer: { provider: "127.0.0.1", api: "openai-chat", model: "gpt-4.1", responseId: "chatcmpl-1" },
}

/** The text that a user interface has after the events of a call. */
function shownText(events: readonly TurnEvent[]): string {
  return events.map((event) => (event.type === "text_delta" ? event.content : "")).join("")
}

describe("what was shown is in the error's partial answer, without its half call", () => {
  test("on an abort, which ends the call at once", async () => {
    const server = await serve(streamed([...SHOWN, 60_000], "hang"))
    const controller = new AbortController()
    let start = 0
    const { error, failure, events } = await refused(server.url, {
      signal: controller.signal,
      onEvent: (event) => {
        if (event.type !== "text_delta" || !event.content.includes("blue")) return
        start = performance.now()
        controller.abort()
      },
    })
    expect(performance.now() - start).toBeLessThan(30_000)
    expect(failure).toMatchObject({ kind: "cancelled", terminalReason: "cancelled" })
    expect(error.partial).toMatchObject({ ...SAID, terminalReason: "cancelled" })
    expect(shownText(events)).toBe(SAID.text)
    expect(LlmResponse.parse(error.partial)).toEqual(error.partial)
  })

  test.each<[string, string, readonly Step[], "end" | "hang" | "destroy", object]>([
    ["a lost connection", "stream_truncated", [], "destroy", {}],
    ["a stream that ends early", "stream_truncated", [], "end", {}],
    ["an event that is cut off", "stream_truncated", ['data: {"choices":[{"delta":{"content":" one'], "end", {}],
    ["silence", "idle_timeout", [], "hang", { idleTimeoutMs: 300 }],
    ["a timeout", "timeout", [], "hang", { timeoutMs: 1_000 }],
    ["an error in the stream", "server_error", [{ error: { message: "Oops", type: "server_error" } }], "end", {}],
    ["a chunk that cannot be read", "malformed_response", ["data: oops\n\n"], "end", {}],
    ["a finish reason that is a fault", "network_error", [delta({}, "network_error")], "end", {}],
    ["too long an answer", "response_too_large", [`: ${"x".repeat(9_000)}\n\n`], "hang", { maxBodyBytes: 5_000 }],
  ])("on %s", async (_what, code, more, end, options) => {
    const server = await serve(streamed([...SHOWN, ...more], end))
    const { error, failure, waits, events } = await refused(server.url, options)
    expect(failure).toMatchObject({ code, terminalReason: "provider_error" })
    expect(failure.kind).toBeDefined()
    expect(shownText(events)).toBe(SAID.text)
    expect(error.partial).toMatchObject({ ...SAID, terminalReason: "provider_error" })
    expect(waits).toEqual([])
  })

  test("but is absent if nothing was said", async () => {
    const server = await serve(streamed([delta({ role: "assistant", content: "" })]), send(500, ""))
    expect((await refused(server.url, { maxRetries: 0 })).error.partial).toBeUndefined()
    expect((await refused(server.url, { maxRetries: 0 })).error.partial).toBeUndefined()
  })
})

describe("the usage of failed attempts", () => {
  const failed = [delta({ reasoning_content: "Hm." }), USAGE, { error: { message: "Overloaded", type: "overloaded_error" } }]

  test("is counted in addition to the answer's", async () => {
    const server = await serve(
      streamed(failed),
      streamed([USAGE, { error: { message: "Overloaded", type: "overloaded_error" } }]),
      sendFile("openai-text.sse"),
    )
    const { response } = await call(server.url)
    expect(response.usage).toEqual({ inputTokens: 48, cachedInputTokens: 1152, outputTokens: 9, reasoningTokens: 0 })
    expect(response.retriedUsage).toEqual({ inputTokens: 18, cachedInputTokens: 0, outputTokens: 8, reasoningTokens: 0 })
  })

  test("is counted in addition to the last failure's", async () => {
    const server = await serve(streamed(failed))
    const { error, failure } = await refused(server.url, { maxRetries: 1 })
    expect(failure.retriedUsage).toMatchObject({ inputTokens: 9, outputTokens: 4 })
    expect(error.partial?.usage).toMatchObject({ inputTokens: 9, outputTokens: 4 })
    expect(failure.usage).toBeUndefined()
  })

  test("is counted if the call is cancelled while it waits", async () => {
    const server = await serve(streamed(failed))
    const controller = new AbortController()
    const { failure } = await refused(server.url, {
      signal: controller.signal,
      sleep: undefined,
      onEvent: ({ type }) => type === "retry_status" && controller.abort(),
    })
    expect(failure).toMatchObject({ kind: "cancelled", retriedUsage: { inputTokens: 9 } })
  })

  test("is absent where none was reported", async () => {
    const server = await serve(send(500, ""), sendFile("openai-text.sse"))
    expect((await call(server.url)).response).not.toHaveProperty("retriedUsage")
  })
})

describe("the producer", () => {
  test("is the host of the endpoint and the model of the request, unless they are named otherwise", async () => {
    const fetch = async () => new Response(fixture("openai-text.json").toString())
    const read = async (options: object) => (await call("https://api.openai.com/v1", { fetch, ...options })).response.producer
    expect(await read({})).toMatchObject({ provider: "api.openai.com", api: "openai-chat", model: HI.model })
    expect(await read({ provider: "openai", model: "gpt-5" })).toMatchObject({ provider: "openai", api: "openai-chat", model: "gpt-5" })
  })
})

describe("limits", () => {
  const NOW = Date.UTC(2026, 10, 20, 12)
  const limit = (seconds: number, status = 429) =>
    send(status, JSON.stringify({ error: { message: "You have reached a limit.", type: "limit" } }), { "retry-after": String(seconds) })

  test.each([
    ["a header", limit(10_800)],
    ["a header of an overload", limit(10_800, 503)],
    ["Google's body", send(429, JSON.stringify({ error: { message: "Quota", code: 429, details: [{ retryDelay: "10800s" }] } }))],
    ["a message", send(429, JSON.stringify({ error: { message: "Please try again in 3h." } }))],
    ["a plan's body", send(429, JSON.stringify({ error: { message: "Limit", type: "usage_limit_reached", resets_in_seconds: 10_800 } }))],
    ["an error in the stream", send(200, 'data: {"error":{"message":"Please try again in 3h.","code":429}}\n\n')],
  ])("a wait that is too long is a usage limit with its time: %s", async (_what, handler) => {
    const server = await serve(handler)
    const { failure, waits } = await refused(server.url, { now: () => NOW })
    expect(failure).toMatchObject({ kind: "usage_limit", retryAt: NOW + 10_800_000, retryable: false })
    expect(waits).toEqual([])
    expect(server.requests).toHaveLength(1)
  })

  test.each([
    ["a message", send(429, JSON.stringify({ error: { message: "Please try again in 20s." } })), 20_000],
    ["Google's body", send(429, JSON.stringify({ error: { message: "Quota", code: 429, details: [{ retryDelay: "34s" }] } })), 34_000],
    ["an error in the stream", send(200, 'data: {"error":{"message":"Please try again in 2s.","code":429}}\n\n'), 2_000],
  ])("a shorter wait is followed: %s", async (_what, handler, waitMs) => {
    const server = await serve(handler, sendFile("openai-text.sse"))
    expect((await call(server.url, { now: () => NOW })).waits).toEqual([waitMs])
  })

  test("a longer wait may be allowed", async () => {
    const server = await serve(limit(10_800), sendFile("openai-text.sse"))
    expect((await call(server.url, { now: () => NOW, maxRetryWaitMs: Number.POSITIVE_INFINITY })).waits).toEqual([10_800_000])
  })

  test("a limit of the account is not retried, however soon the endpoint asks for it", async () => {
    const server = await serve(send(429, JSON.stringify({ error: { message: "Quota", code: "insufficient_quota" } }), { "retry-after": "1" }))
    expect(await refused(server.url)).toMatchObject({ failure: { kind: "usage_limit", retryable: false }, waits: [] })
  })
})

describe("tool calls that the endpoint could not read", () => {
  const unread = { error: { message: "Failed to call a function. See 'failed_generation'.", type: "invalid_request_error", code: "tool_use_failed" } }
  test.each([
    ["with status 400", send(400, JSON.stringify(unread))],
    ["in the stream", send(200, `event: error\ndata: ${JSON.stringify({ error: { ...unread.error, status_code: 400 } })}\n\n`)],
    ["with Google's finish reason", streamed([delta({}, "function_call_filter: MALFORMED_FUNCTION_CALL")])],
  ])("are asked for again: %s", async (_what, handler) => {
    const server = await serve(handler, sendFile("openai-text.sse"))
    expect((await call(server.url)).response).toMatchObject({ text: "Grüße from 東京 🗼.", httpSummary: "attempt 2" })
  })

  test("end the call after the last attempt, and the failure names the finish reason", async () => {
    const server = await serve(streamed([delta({}, "function_call_filter: MALFORMED_FUNCTION_CALL")]))
    const { failure } = await refused(server.url, { maxRetries: 2 })
    expect(failure.message).toBe('The provider broke the answer off with the finish reason "function_call_filter: MALFORMED_FUNCTION_CALL".')
    expect(server.requests).toHaveLength(3)
  })
})
