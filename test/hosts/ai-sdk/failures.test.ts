import {
  APICallError,
  InvalidResponseDataError,
  LoadAPIKeyError,
  NoSuchModelError,
  TypeValidationError,
  UnsupportedFunctionalityError,
} from "@ai-sdk/provider"
import { APICallError as APICallErrorV4 } from "ai-sdk-provider-4"
import { describe, expect, test } from "vitest"
import { aiSdkModel } from "../../../src/hosts/ai-sdk/ai-sdk-model.ts"
import { ask, type CallOf, FINISH, HI, MOCK, mock, refused, said, streamOf, VERSIONS } from "./support.ts"

const NOW = Date.UTC(2026, 10, 20, 12)

function apiError(statusCode: number, error: object, responseHeaders: Record<string, string> = {}, isRetryable?: boolean): APICallError {
  const facts = { url: "https://api.example.com", requestBodyValues: {}, statusCode, responseHeaders, responseBody: JSON.stringify({ error }) }
  return new APICallError({ message: "short", ...facts, ...(isRetryable !== undefined && { isRetryable }) })
}

function throws(error: unknown): () => never {
  return () => {
    throw error
  }
}

/** A stream that stays open. */
function open(parts: readonly unknown[]): ReadableStream<unknown> {
  return new ReadableStream({
    start(controller) {
      for (const part of parts) controller.enqueue(part)
    },
  })
}

describe("an error that is thrown", () => {
  test.each([
    ["429", apiError(429, { message: "Slow down.", type: "rate_limit_error" }), { kind: "rate_limit", retryable: true, code: "rate_limit_error" }],
    [
      "429 for good",
      apiError(429, { message: "You exceeded your current quota.", code: "insufficient_quota" }),
      { kind: "usage_limit", retryable: false },
    ],
    ["529", apiError(529, { message: "Overloaded", type: "overloaded_error" }), { kind: "overloaded", retryable: true }],
    ["401", apiError(401, { message: "Bad key." }), { kind: "auth", retryable: false }],
    ["400", apiError(400, { message: "No." }), { kind: "invalid_request", retryable: false }],
    ["a full window", apiError(400, { message: "prompt is too long: 9 tokens" }), { kind: "context_overflow", terminalReason: "context_overflow" }],
    ["x-should-retry", apiError(500, { message: "No." }, { "x-should-retry": "false" }), { kind: "other", retryable: false }],
    ["isRetryable", apiError(400, { message: "Once more." }, {}, true), { kind: "invalid_request", retryable: true }],
    [
      "no connection",
      new APICallError({ message: "Cannot connect to API", url: "u", requestBodyValues: {}, isRetryable: true }),
      { kind: "network", retryable: true, code: "connection_failed" },
    ],
    ["fetch", new TypeError("fetch failed"), { kind: "network", retryable: true }],
    ["a socket", Object.assign(new Error("read"), { code: "ECONNRESET" }), { kind: "network", retryable: true }],
    ["no key", new LoadAPIKeyError({ message: "No key." }), { kind: "auth", retryable: false, code: "no_api_key" }],
    ["no model", new NoSuchModelError({ modelId: "x", modelType: "languageModel" }), { kind: "invalid_request", code: "no_such_model" }],
    ["no support", new UnsupportedFunctionalityError({ functionality: "audio" }), { kind: "invalid_request", code: "unsupported_functionality" }],
    ["no form", new TypeValidationError({ value: {}, cause: new Error("x") }), { kind: "other", code: "malformed_response" }],
    [
      "an early end",
      new InvalidResponseDataError({ data: undefined, message: "Response stream ended without a finish reason." }),
      { kind: "network", retryable: true, code: "stream_truncated" },
    ],
    ["a gateway's", Object.assign(new Error("Busy."), { statusCode: 503, type: "unavailable" }), { kind: "overloaded", retryable: true }],
    ["a text", "It broke", { kind: "other", retryable: false }],
    ["anything", new Error("It broke"), { kind: "other", retryable: false }],
    ["nothing", undefined, { kind: "other", code: "unknown_error" }],
  ])("is classified as on every wire: %s", async (_what, error, expected) => {
    const { failure } = await refused(mock("v3", throws(error)).model, { maxRetries: 0 })
    expect(failure).toMatchObject({ terminalReason: "provider_error", ...expected })
  })

  test("has the provider's own words, and the time to call again", async () => {
    const error = apiError(429, { message: "Slow down.", type: "rate_limit_error" }, { "retry-after": "7" })
    const { failure } = await refused(mock("v3", throws(error)).model, { maxRetries: 0, now: () => NOW })
    expect(failure).toMatchObject({ message: "The endpoint answered 429: Slow down.", retryAt: NOW + 7_000 })
  })

  test("of the other version of the package is read as well", async () => {
    const error = new APICallErrorV4({ message: "m", url: "u", requestBodyValues: {}, statusCode: 429, responseBody: "{}" })
    expect((await refused(mock("v4", throws(error)).model, { maxRetries: 0 })).failure).toMatchObject({ kind: "rate_limit", retryable: true })
  })
})

describe.each(VERSIONS)("retries (%s)", (version) => {
  test("wait as the provider says, are shown, and end with the answer", async () => {
    const waits: number[] = []
    const errors = [apiError(429, { message: "Slow down." }, { "retry-after-ms": "250" }), apiError(503, { message: "Busy." })]
    const { model, calls } = mock(version, () => {
      const error = errors.shift()
      if (error !== undefined) throw error
      return streamOf([...said("Hi"), FINISH])
    })
    const { events, response } = await ask(model, { now: () => NOW, random: () => 0, sleep: async (ms) => void waits.push(ms) })
    expect(response.text).toBe("Hi")
    expect(calls).toHaveLength(3)
    expect(waits).toEqual([250, 1_000])
    expect(events[0]).toEqual({
      type: "retry_status",
      waitSeconds: 0.25,
      attempt: 1,
      maxAttempts: 4,
      reason: "The endpoint answered 429: Slow down.",
      envelope: {
        kind: "llm_provider",
        code: "http_429",
        terminalReason: "provider_error",
        failureKind: "rate_limit",
        retryAt: NOW + 250,
        userMessage: "The endpoint answered 429: Slow down.",
      },
    })
  })

  test("do not happen after text was shown, nor for a limit that lasts", async () => {
    const { model, calls } = mock(version, () => streamOf(said("Hel")))
    expect((await refused(model)).failure).toMatchObject({ code: "stream_truncated", retryable: true })
    expect(calls).toHaveLength(1)
    const limited = mock(version, throws(apiError(429, { message: "Later." }, { "retry-after": "7200" })))
    expect((await refused(limited.model, { now: () => NOW })).failure).toMatchObject({
      kind: "usage_limit",
      retryable: false,
      retryAt: NOW + 7_200_000,
    })
    expect(limited.calls).toHaveLength(1)
  })

  test("count what the failed attempts used", async () => {
    const failing = [
      { type: "error", error: { type: "overloaded_error", message: "Overloaded" } },
      { ...FINISH, finishReason: { unified: "error", raw: undefined } },
    ]
    let attempts = 0
    const { model } = mock(version, () => streamOf(attempts++ === 0 ? failing : [...said("Hi"), FINISH]))
    const { response } = await ask(model)
    expect(response.retriedUsage).toEqual({ inputTokens: 24, cachedInputTokens: 10, cacheWriteTokens: 4, outputTokens: 9, reasoningTokens: 3 })
  })
})

describe.each(VERSIONS)("a stream (%s)", (version) => {
  test("that fails in the middle leaves what was said, and its usage", async () => {
    const parts = [
      { type: "response-metadata", id: "resp_1" },
      ...said("Half an ans"),
      { type: "tool-call", toolCallId: "a", toolName: "look", input: "{}" },
      { type: "error", error: { type: "overloaded_error", message: "Overloaded" } },
      { type: "error", error: "a later one" },
      { ...FINISH, finishReason: { unified: "error", raw: undefined } },
    ]
    const { failure, partial } = await refused(mock(version, parts).model)
    expect(failure).toMatchObject({
      message: "The endpoint reported an error: Overloaded.",
      kind: "overloaded",
      code: "overloaded_error",
      retryable: true,
    })
    expect(partial).toMatchObject({
      text: "Half an ans",
      parts: [{ type: "text", text: "Half an ans" }],
      usage: { inputTokens: 24, outputTokens: 9 },
      producer: { ...MOCK, responseId: "resp_1" },
      terminalReason: "provider_error",
    })
  })

  test.each([
    ["without a finish", []],
    ["with the finish reason of a stream that ended early", [{ ...FINISH, finishReason: { unified: "other", raw: undefined } }]],
    ["that was interrupted", [{ ...FINISH, finishReason: { unified: "interrupted", raw: undefined } }]],
  ])("%s is truncated", async (_how, end) => {
    const { failure, partial } = await refused(mock(version, [...said("Hel"), ...end]).model, { maxRetries: 0 })
    expect(failure).toMatchObject({ code: "stream_truncated", kind: "network", retryable: true })
    expect(partial?.text).toBe("Hel")
  })

  test("that breaks is a failure with what was said", async () => {
    const broken = new ReadableStream({
      start: (controller) => {
        for (const part of said("Hel")) controller.enqueue(part)
      },
      pull: (controller) => controller.error(new TypeError("terminated")),
    })
    const { failure, partial } = await refused(mock(version, () => broken).model)
    expect(failure).toMatchObject({ kind: "network", message: "The connection to the provider failed: terminated." })
    expect(partial?.text).toBe("Hel")
  })

  test("ends with its finish, although the provider keeps it open", async () => {
    const { response } = await ask(mock(version, () => open([...said("Hi"), FINISH])).model, { idleTimeoutMs: 60_000 })
    expect(response.text).toBe("Hi")
  })

  test("that is silent, or takes too long, is a timeout", async () => {
    const silent = () => open(said("Hel"))
    expect((await refused(mock(version, silent).model, { idleTimeoutMs: 10 })).failure).toMatchObject({ code: "idle_timeout", kind: "timeout" })
    expect((await refused(mock(version, silent).model, { timeoutMs: 10 })).failure).toMatchObject({ code: "timeout", kind: "timeout" })
    const deaf = mock(version, () => new Promise(() => undefined))
    expect((await refused(deaf.model, { timeoutMs: 10, maxRetries: 0 })).failure).toMatchObject({ code: "timeout" })
  })

  test("that is aborted leaves what was said, and the provider is told", async () => {
    const controller = new AbortController()
    let signal: AbortSignal | undefined
    const { model } = mock(version, (options: CallOf) => {
      signal = options["abortSignal"] as AbortSignal
      return open(said("Half an ans"))
    })
    const error = await refused(model, {}, HI, controller.signal, ({ type }) => type === "text_delta" && setTimeout(() => controller.abort(), 1))
    expect(error.failure).toMatchObject({ kind: "cancelled", terminalReason: "cancelled", retryable: false })
    expect(error.partial).toMatchObject({ text: "Half an ans", terminalReason: "cancelled" })
    expect(signal?.aborted).toBe(true)
  })

  test("shows nothing after the abort", async () => {
    const controller = new AbortController()
    const shown: string[] = []
    await refused(mock(version, [...said("One"), ...said("Two", "2"), FINISH]).model, {}, HI, controller.signal, (event) => {
      if (event.type === "text_delta") shown.push(event.content)
      controller.abort()
    })
    expect(shown).toEqual(["One"])
  })

  test("that is not one, and a result that is not one, are malformed", async () => {
    expect((await refused(mock(version, () => "text").model)).failure).toMatchObject({ code: "malformed_response" })
    expect((await refused(mock(version, () => streamOf([])).model, { stream: false })).failure.terminalReason).toBe("provider_error")
  })

  test("that was cancelled before it began is not asked for", async () => {
    const controller = new AbortController()
    controller.abort()
    const { model } = mock(version, [...said("Hi"), FINISH])
    expect((await refused(model, {}, HI, controller.signal)).failure.kind).toBe("cancelled")
  })
})

describe("what is not a model", () => {
  test.each([
    [{ specificationVersion: "v2", doGenerate: () => {}, doStream: () => {} }, 'the versions v3 (ai 6) and v4 (ai 7), not "v2"'],
    ["openai/gpt-5", "takes a language model, such as openai"],
    [{}, "takes a language model of the AI SDK"],
    [undefined, "takes a language model of the AI SDK"],
  ])("is refused: %j", (model, message) => {
    expect(() => aiSdkModel(model as never)).toThrow(expect.objectContaining({ name: "TypeError", message: expect.stringContaining(message) }))
  })

  test("from a provider fails the call", async () => {
    const noModel = (name: string): never => {
      throw new NoSuchModelError({ modelId: name, modelType: "languageModel" })
    }
    expect((await refused(noModel)).failure).toMatchObject({ kind: "invalid_request", code: "no_such_model" })
    expect((await refused((() => ({})) as never)).failure.message).toContain("takes a language model of the AI SDK")
  })
})

describe("options", () => {
  test.each([
    [{ timeout: 5 }, TypeError, 'unknown option "timeout"; did you mean "timeoutMs"?'],
    [{ idleTimeoutMs: Number.NaN }, RangeError, "idleTimeoutMs must be a number"],
    [{ maxRetries: -1 }, RangeError, "maxRetries must be a number"],
    [{ providerTools: { search: {} } }, TypeError, 'provider tool "search" has no id and args'],
  ])("that are wrong are refused: %j", (options, kind, message) => {
    const { model } = mock("v3", [])
    expect(() => aiSdkModel(model, options as never)).toThrow(kind)
    expect(() => aiSdkModel(model, options as never)).toThrow(message)
  })
})

describe("secrets", () => {
  const KEY = "sk-very-secret-key"
  const HEADER = "Bearer header-secret-1"
  const options = { headers: { authorization: HEADER }, secrets: [KEY], maxRetries: 0 }

  test.each(VERSIONS)("are in no error, %s", async (version) => {
    // The end of the text that is kept lies within the key.
    const padded = `${"x".repeat(1_990)} ${KEY} and header-secret-1`
    const quoting = [
      apiError(401, { message: `Incorrect API key provided: ${KEY}; ${HEADER}`, code: KEY }),
      apiError(400, { message: padded }),
      new TypeError(`fetch failed: ${KEY}`),
      new TypeValidationError({ value: KEY, cause: new Error(KEY) }),
      new LoadAPIKeyError({ message: KEY }),
      `Failed with ${KEY}`,
      { type: "overloaded_error", message: KEY },
    ]
    for (const error of quoting) {
      const thrown = await refused(mock(version, throws(error)).model, options)
      const inStream = await refused(mock(version, [{ type: "error", error }]).model, options)
      for (const { failure } of [thrown, inStream]) expect(JSON.stringify(failure)).not.toMatch(/very-sec|header-secret/)
    }
  })

  test.each(VERSIONS)("are in no diagnostic, and in no body of a failed call, %s", async (version) => {
    const warning = { type: "other", message: `Sent ${KEY}.` }
    const odd = { type: `odd-${KEY}` }
    const finish = { ...FINISH, finishReason: { unified: "unknown-word", raw: `word ${KEY}` } }
    const { events, response } = await ask(mock(version, [{ type: "stream-start", warnings: [warning] }, odd, ...said("Hi"), finish]).model, options)
    expect(events.filter(({ type }) => type === "message")).toHaveLength(2)
    expect(response.terminalDiagnostic).toContain("[secret]")
    expect(JSON.stringify([events, response])).not.toContain("very-secret")
    const model = mock(version, [{ type: "error", error: "No." }], { request: { body: { key: KEY } } }).model
    const { failure } = await refused(model, { ...options, keepRequestBody: true })
    expect(failure.requestBody).toBe('{"key":"[secret]"}')
  })

  test("must be texts", () => {
    expect(() => aiSdkModel(mock("v3", []).model, { secrets: KEY as never })).toThrow("secrets must be a list of texts.")
  })
})
