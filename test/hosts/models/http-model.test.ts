import { expect, test } from "vitest"
import type { Host } from "../../../src/hosts/host.ts"
import { LlmCallError } from "../../../src/hosts/host.ts"
import { anthropic } from "../../../src/hosts/models/anthropic.ts"
import { gemini } from "../../../src/hosts/models/gemini.ts"
import { type HttpModelOptions, httpModel } from "../../../src/hosts/models/http-model.ts"
import { openAiResponses } from "../../../src/hosts/models/openai-responses.ts"
import { endpointUrl } from "../../../src/hosts/models/request.ts"
import { openAiChatWire } from "../../../src/projectors/openai-chat/index.ts"
import type { LlmRequest } from "../../../src/schemas/llm.ts"
import { HI, send, sendFile, serve } from "./support.ts"

async function ask(model: Pick<Host, "llmCall">, request: LlmRequest = HI) {
  const { signal } = new AbortController()
  return model.llmCall({ type: "llm_call", id: 1, iteration: 1, request } as never, { signal, emit: () => {} } as never)
}

async function failureOf(model: Pick<Host, "llmCall">) {
  const error: unknown = await ask(model).catch((reason: unknown) => reason)
  if (!(error instanceof LlmCallError)) throw new Error("It answered.", { cause: error })
  return error.failure
}

test.each([
  ["https://h/v1", "chat/completions", "https://h/v1/chat/completions"],
  ["https://h/v1/", "/chat/completions", "https://h/v1/chat/completions"],
  ["https://h/v1/chat/completions", "chat/completions", "https://h/v1/chat/completions"],
  ["https://h/v1?api-version=2", "chat/completions", "https://h/v1/chat/completions?api-version=2"],
  ["https://h", "v1/messages", "https://h/v1/messages"],
  ["https://h/v1", "v1/messages", "https://h/v1/messages"],
  ["https://h/api/v1/messages", "v1/messages", "https://h/api/v1/messages"],
  ["https://h/v1beta#top", "models/m:streamGenerateContent?alt=sse", "https://h/v1beta/models/m:streamGenerateContent?alt=sse"],
  ["https://h/base", "", "https://h/base"],
])("%s and %s are %s", (baseUrl, path, url) => {
  expect(endpointUrl(baseUrl, path).href).toBe(url)
})

test("a key goes into the header that the provider reads, and nowhere else", async () => {
  const server = await serve(sendFile("openai-text.sse"))
  const options: HttpModelOptions = { wire: openAiChatWire(), baseUrl: server.url, path: "x", apiKey: "key-0123456789", apiKeyHeader: "x-api-key" }
  await ask(httpModel({ ...options, headers: { "x-more": "1" } }))
  const [request] = server.requests
  expect(request?.path).toBe("/v1/x")
  expect(request?.headers).toMatchObject({ "x-api-key": "key-0123456789", "x-more": "1" })
  expect(request?.headers["authorization"]).toBeUndefined()
})

test("an answer that does not begin in time fails, and is asked for again", async () => {
  const server = await serve(() => {}, sendFile("openai-text.sse"))
  const options = { wire: openAiChatWire(), baseUrl: server.url, firstByteTimeoutMs: 300, sleep: async () => {} }
  expect(await failureOf(httpModel({ ...options, maxRetries: 0 }))).toMatchObject({ code: "first_byte_timeout", kind: "timeout", retryable: true })
  expect(await ask(httpModel({ ...options, firstByteTimeoutMs: 20_000 }))).toMatchObject({ httpSummary: "attempt 1" })
})

test("an answer that has begun is not held to the time of its first byte", async () => {
  const server = await serve((response) => {
    response.writeHead(200, { "content-type": "text/event-stream" })
    response.write(": wait\n\n")
    setTimeout(() => response.end('data: {"choices":[{"delta":{"content":"Late."},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'), 900)
  })
  expect(await ask(httpModel({ wire: openAiChatWire(), baseUrl: server.url, firstByteTimeoutMs: 600 }))).toMatchObject({ text: "Late." })
})

const GEMINI_CHUNKS = [
  { candidates: [{ content: { role: "model", parts: [{ text: "Hel" }] } }], responseId: "r1" },
  {
    candidates: [{ content: { role: "model", parts: [{ text: "lo." }] }, finishReason: "STOP" }],
    usageMetadata: { promptTokenCount: 3, candidatesTokenCount: 2, thoughtsTokenCount: 4, totalTokenCount: 9 },
    responseId: "r1",
  },
]

test("gemini: the model is in the address, the key in its header, and thoughts count as output", async () => {
  const server = await serve(send(200, GEMINI_CHUNKS.map((chunk) => `data: ${JSON.stringify(chunk)}\r\n\r\n`).join("")))
  const answer = await ask(gemini({ baseUrl: server.url, apiKey: "key-0123456789", provider: "google" }), { ...HI, model: "gemini-3-pro" })
  expect(server.requests[0]).toMatchObject({
    path: "/v1/models/gemini-3-pro:streamGenerateContent?alt=sse",
    headers: { "x-goog-api-key": "key-0123456789" },
  })
  expect(answer).toMatchObject({
    text: "Hello.",
    terminalReason: "stop",
    usage: { inputTokens: 3, outputTokens: 6, reasoningTokens: 4 },
    producer: { provider: "google", api: "gemini", model: "gemini-3-pro", responseId: "r1" },
  })
})

test("gemini: a whole answer, of a model in another folder", async () => {
  const server = await serve(send(200, JSON.stringify(GEMINI_CHUNKS[1]), { "content-type": "application/json" }))
  expect(await ask(gemini({ baseUrl: server.url, stream: false, model: "tunedModels/a b" }))).toMatchObject({ text: "lo." })
  expect(server.requests[0]?.path).toBe("/v1/tunedModels/a%20b:generateContent")
})

test("gemini: a limit says when to call again, and one per day is not waited for", async () => {
  const limit = (quotaId: string): string =>
    JSON.stringify({
      error: {
        code: 429,
        status: "RESOURCE_EXHAUSTED",
        message: "Quota exceeded.",
        details: [
          { "@type": "type.googleapis.com/google.rpc.QuotaFailure", violations: [{ quotaId }] },
          { "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "34s" },
        ],
      },
    })
  const json = { "content-type": "application/json" }
  const server = await serve(
    send(429, limit("GenerateRequestsPerMinutePerProjectPerModel"), json),
    send(200, JSON.stringify(GEMINI_CHUNKS[1]), json),
    send(429, limit("GenerateRequestsPerDayPerProjectPerModel"), json),
  )
  const waits: number[] = []
  const model = gemini({ baseUrl: server.url, now: () => 1_000, sleep: async (ms) => void waits.push(ms) })
  expect(await ask(model)).toMatchObject({ text: "lo.", httpSummary: "attempt 2" })
  expect(waits).toEqual([34_000])
  expect(await failureOf(model)).toMatchObject({ kind: "usage_limit", retryable: false })
})

test("openAiResponses: a stream without [DONE] ends with its last event", async () => {
  const item = {
    type: "message",
    id: "msg_1",
    role: "assistant",
    status: "completed",
    content: [{ type: "output_text", text: "Hello.", annotations: [] }],
  }
  const done = { id: "resp_1", status: "completed", output: [item], usage: { input_tokens: 3, output_tokens: 2, total_tokens: 5 } }
  const events = [
    { type: "response.created", response: { id: "resp_1", status: "in_progress", output: [] } },
    { type: "response.output_item.added", output_index: 0, item: { ...item, status: "in_progress", content: [] } },
    { type: "response.output_text.delta", output_index: 0, content_index: 0, item_id: "msg_1", delta: "Hello." },
    { type: "response.output_item.done", output_index: 0, item },
    { type: "response.completed", response: done },
  ]
  const server = await serve((response) => {
    response.writeHead(200, { "content-type": "text/event-stream" })
    // The connection stays open.
    for (const event of events) response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
  })
  const answer = await ask(openAiResponses({ baseUrl: server.url, apiKey: "key-0123456789" }))
  expect(server.requests[0]).toMatchObject({ path: "/v1/responses", headers: { authorization: "Bearer key-0123456789" } })
  expect(JSON.parse(server.requests[0]?.body ?? "")).toMatchObject({ store: false, stream: true, model: HI.model })
  expect(answer).toMatchObject({ text: "Hello.", terminalReason: "stop", usage: { inputTokens: 3, outputTokens: 2 } })
})

test("anthropic: version, betas and key are headers, and a stream ends with its last event", async () => {
  const events = [
    {
      type: "message_start",
      message: {
        id: "msg_1",
        type: "message",
        role: "assistant",
        content: [],
        model: "m",
        usage: { input_tokens: 5, cache_read_input_tokens: 7, output_tokens: 1 },
      },
    },
    { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
    { type: "ping" },
    { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "Hello." } },
    { type: "content_block_stop", index: 0 },
    { type: "message_delta", delta: { stop_reason: "end_turn", stop_sequence: null }, usage: { output_tokens: 4 } },
    { type: "message_stop" },
  ]
  const server = await serve((response) => {
    response.writeHead(200, { "content-type": "text/event-stream", "request-id": "req_1" })
    // The connection stays open.
    for (const event of events) response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
  })
  const answer = await ask(anthropic({ baseUrl: server.url, apiKey: "key-0123456789", betas: ["a-1", "b-2"] }))
  expect(server.requests[0]).toMatchObject({
    path: "/v1/messages",
    headers: { "x-api-key": "key-0123456789", "anthropic-version": "2023-06-01", "anthropic-beta": "a-1,b-2" },
  })
  expect(answer).toMatchObject({
    text: "Hello.",
    terminalReason: "stop",
    usage: { inputTokens: 5, cachedInputTokens: 7, outputTokens: 4 },
    httpSummary: "attempt 1, request req_1",
  })
})

test("anthropic: an overloaded provider is asked again, and its word on retries wins", async () => {
  const error = JSON.stringify({ type: "error", error: { type: "overloaded_error", message: "Overloaded" }, request_id: "req_2" })
  const server = await serve(send(529, error), send(529, error, { "x-should-retry": "false" }))
  const model = anthropic({ baseUrl: server.url, sleep: async () => {} })
  expect(await failureOf(model)).toMatchObject({ kind: "overloaded", code: "overloaded_error", retryable: false })
  expect(server.requests).toHaveLength(2)
})

test.each([
  ["a name that no client has", () => gemini({ apikey: "x" } as never), 'gemini has the unknown option "apikey"; did you mean "apiKey"?'],
  ["no options", () => httpModel(undefined as never), "httpModel takes options: httpModel({ wire, … })."],
  ["an address with a password", () => httpModel({ wire: openAiChatWire(), baseUrl: "https://u:p@h" }), "must not contain a user name or password"],
])("%s is refused", (_what, make, message) => {
  expect(make).toThrow(message)
})
