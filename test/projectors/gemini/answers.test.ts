import { describe, expect, test } from "vitest"
import { geminiWire } from "../../../src/projectors/gemini/index.ts"
import { answer, body, decode, events, failure, NO_USAGE, OURS, stream } from "./support.ts"

const usage = (figures: object) => answer(decode(body([{ text: "Hi." }], "STOP", { usageMetadata: figures }))).usage

describe("an answer", () => {
  test("has its parts in the order in which the model said them", () => {
    const parts = [
      { text: " Hm.\n", thought: true },
      { text: "One. " },
      { functionCall: { name: "look", args: { q: "x" }, id: "i1" } },
      { text: "Two." },
      { functionCall: { name: "read" } },
    ]
    expect(answer(decode(body(parts, "STOP", { responseId: "r1" }), { producer: OURS, firstCallNumber: 4 }))).toEqual({
      text: "One. Two.",
      parts: [
        { type: "reasoning", text: " Hm.\n" },
        { type: "text", text: "One. " },
        { type: "tool_call", callId: "i1", toolName: "look", inputJson: '{"q":"x"}' },
        { type: "text", text: "Two." },
        { type: "tool_call", callId: "call_4", toolName: "read", inputJson: "{}" },
      ],
      usage: NO_USAGE,
      producer: { ...OURS, responseId: "r1" },
      terminalReason: "tool_use",
    })
  })

  test("joins adjacent unsigned texts, and leaves out empty ones", () => {
    expect(answer(decode(body([{ text: "a" }, { text: "" }, { text: "b" }]))).parts).toEqual([{ type: "text", text: "ab" }])
  })

  test("has the own names of tools", () => {
    const toolNames = new Map([["fs_read", "fs.read"]])
    expect(answer(decode(body([{ functionCall: { name: "fs_read" } }]), { toolNames })).parts).toMatchObject([{ toolName: "fs.read" }])
  })

  test("keeps broken arguments as they came", () => {
    const parts = [
      { functionCall: { name: "a", args: "{" } },
      { functionCall: { name: "b", args: [1] } },
      { functionCall: { name: "c", args: null } },
    ]
    expect(answer(decode(body(parts))).parts).toMatchObject([{ inputJson: "{" }, { inputJson: "[1]" }, { inputJson: "{}" }])
  })

  test("gives two calls with one id two ids", () => {
    const parts = [1, 2].map((n) => ({ functionCall: { id: "x", name: "look", args: { n } } }))
    expect(answer(decode(body(parts))).parts).toMatchObject([{ callId: "x" }, { callId: "call_1" }])
  })

  test("keeps equal calls of one chunk: the model may roll a die twice", () => {
    const parts = [1, 2].map(() => ({ functionCall: { name: "roll", args: {} } }))
    expect(answer(decode(body(parts))).parts).toMatchObject([{ callId: "call_1" }, { callId: "call_2" }])
  })

  test("keeps grounding and citations with its last part", () => {
    const given = {
      candidates: [{ content: { parts: [{ text: "Deep." }] }, finishReason: "STOP", groundingMetadata: { a: 1 }, citationMetadata: {} }],
    }
    expect(answer(decode(given)).parts).toEqual([{ type: "text", text: "Deep.", providerMetadata: { groundingMetadata: { a: 1 } } }])
  })

  test("keeps what a part has besides, for the same model", () => {
    const [part, called] = answer(
      decode(
        body([
          { text: "Hi.", partMetadata: { a: 1 } },
          { functionCall: { name: "x" }, partMetadata: { b: 2 } },
        ]),
      ),
    ).parts
    expect(part).toEqual({ type: "text", text: "Hi.", providerMetadata: { partMetadata: { a: 1 } } })
    expect(called).toMatchObject({ providerMetadata: { partMetadata: { b: 2 } } })
  })

  test("of several candidates is the first", () => {
    const candidate = (text: string, index: number) => ({ content: { parts: [{ text }] }, finishReason: "STOP", index })
    expect(answer(decode({ candidates: [candidate("a", 0), candidate("b", 1)] })).text).toBe("a")
    expect(answer(stream([{ candidates: [candidate("a", 0), candidate("b", 1)] }]).result).text).toBe("a")
  })

  test("as a list of chunks, which is what the endpoint sends without alt=sse", () => {
    expect(decode(events("thinking-tools"), { producer: OURS })).toEqual(stream(events("thinking-tools"), { producer: OURS }).result)
  })
})

describe("a finish reason", () => {
  test.each([
    ["STOP", "stop"],
    ["MAX_TOKENS", "output_limit"],
    ["SAFETY", "content_filter"],
    ["RECITATION", "content_filter"],
    ["BLOCKLIST", "content_filter"],
    ["PROHIBITED_CONTENT", "content_filter"],
    ["SPII", "content_filter"],
    ["IMAGE_SAFETY", "content_filter"],
    ["IMAGE_PROHIBITED_CONTENT", "content_filter"],
    ["IMAGE_RECITATION", "content_filter"],
    ["OTHER", "unknown"],
    ["LANGUAGE", "unknown"],
    ["SOMETHING_NEW", "unknown"],
    ["FINISH_REASON_UNSPECIFIED", "unknown"],
    [undefined, "unknown"],
  ])("%s means %s", (reason, meaning) => {
    const { parts, terminalReason } = answer(decode(body([{ text: "Hi." }], reason ?? "")))
    expect([parts.length, terminalReason]).toEqual([1, meaning])
  })

  test("that is not known is in the diagnostic", () => {
    expect(answer(decode(body([], "SOMETHING_NEW"))).terminalDiagnostic).toBe('The provider ended the answer with the finish reason "SOMETHING_NEW".')
  })

  test.each(["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE", "MALFORMED_RESPONSE"])(
    "%s is a failure that may pass, with what was said",
    (finishReason) => {
      const given = {
        candidates: [{ content: { parts: [{ text: "I call." }] }, finishReason, finishMessage: "print(default_api.look(" }],
        usageMetadata: { promptTokenCount: 3 },
      }
      expect(decode(given)).toMatchObject({
        ok: false,
        error: { code: finishReason, retryable: true, terminalReason: "provider_error", raw: "print(default_api.look(" },
        partial: { text: "I call.", usage: { inputTokens: 3 } },
      })
      expect(decode({ ...given, candidates: [{ finishReason }] })).toMatchObject({ ok: false, error: { usage: { inputTokens: 3 } } })
    },
  )

  test("MAX_TOKENS leaves whole calls for the driver to judge", () => {
    expect(answer(decode(body([{ text: "a" }, { functionCall: { name: "x" } }], "MAX_TOKENS")))).toMatchObject({
      terminalReason: "output_limit",
      terminalDiagnostic: "The answer was cut off at the limit of output tokens.",
    })
  })

  test("SAFETY without content is an empty answer, whose usage counts", () => {
    expect(answer(decode({ candidates: [{ finishReason: "SAFETY" }], usageMetadata: { promptTokenCount: 5 } }))).toMatchObject({
      text: "",
      parts: [],
      terminalReason: "content_filter",
      usage: { inputTokens: 5 },
    })
  })
})

describe("a blocked prompt", () => {
  const given = { promptFeedback: { blockReason: "PROHIBITED_CONTENT" }, usageMetadata: { promptTokenCount: 7 } }
  const expected = {
    ok: false,
    error: { code: "PROHIBITED_CONTENT", kind: "other", retryable: false, terminalReason: "content_filter", usage: { inputTokens: 7 } },
  }

  test("is a failure by the content filter, and its usage counts", () => {
    expect(decode(given)).toMatchObject(expected)
    expect(stream([given]).result).toMatchObject(expected)
    expect(stream([given]).reader.complete).toBe(true)
  })

  test("does not hide an answer", () => {
    expect(answer(decode({ ...body([{ text: "Hi." }]), promptFeedback: { blockReason: "OTHER" } })).text).toBe("Hi.")
    expect(failure(decode({ promptFeedback: { blockReason: "BLOCK_REASON_UNSPECIFIED" } })).code).toBe("malformed_response")
  })
})

describe("the usage", () => {
  test.each<[string, object, object]>([
    ["includes cached tokens in the prompt", { promptTokenCount: 100, cachedContentTokenCount: 60 }, { inputTokens: 40, cachedInputTokens: 60 }],
    [
      "has thoughts beside the candidates",
      { promptTokenCount: 1, candidatesTokenCount: 5, thoughtsTokenCount: 30, totalTokenCount: 36 },
      { inputTokens: 1, outputTokens: 35, reasoningTokens: 30 },
    ],
    [
      "has thoughts in the candidates where the total says so",
      { promptTokenCount: 1, candidatesTokenCount: 35, thoughtsTokenCount: 30, totalTokenCount: 36 },
      { inputTokens: 1, outputTokens: 35, reasoningTokens: 30 },
    ],
    [
      "has results of server-side tools beside the prompt",
      { promptTokenCount: 10, toolUsePromptTokenCount: 4, totalTokenCount: 14 },
      { inputTokens: 14 },
    ],
    [
      "never has more cached tokens than the prompt",
      { promptTokenCount: 10, cachedContentTokenCount: 40 },
      { inputTokens: 0, cachedInputTokens: 10 },
    ],
    ["ignores what is no count", { promptTokenCount: "9", candidatesTokenCount: -1, thoughtsTokenCount: null }, {}],
  ])("%s", (_, figures, expected) => expect(usage(figures)).toEqual({ ...NO_USAGE, ...expected }))
})

describe("errors inside an answer", () => {
  test("are failures by their code", () => {
    const error = { code: 503, message: "The model is overloaded. Please try again later.", status: "UNAVAILABLE" }
    const expected = { kind: "overloaded", retryable: true, terminalReason: "provider_error" }
    expect(failure(decode({ error }))).toMatchObject(expected)
    expect(failure(decode([{ error }]))).toMatchObject(expected)
    expect(stream([body([{ text: "Hi" }], null), { error }]).result).toMatchObject({ error: expected, partial: { text: "Hi" } })
  })

  test("that are empty do not hide an answer", () => {
    expect(answer(decode({ ...body([{ text: "Hi." }]), error: {} })).text).toBe("Hi.")
  })
})

describe("a refused request", () => {
  const wire = geminiWire()
  const google = (code: number, status: string, message: string, details: readonly object[] = []) =>
    JSON.stringify({ error: { code, message, status, details } })

  test.each<[string, number, string, object]>([
    [
      "a limit per minute, with its time",
      429,
      google(429, "RESOURCE_EXHAUSTED", "Quota exceeded.", [{ "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "34s" }]),
      { kind: "rate_limit", retryable: true, retryAt: 35_000 },
    ],
    [
      "a limit per day",
      429,
      google(429, "RESOURCE_EXHAUSTED", "Quota exceeded.", [{ violations: [{ quotaId: "GenerateRequestsPerDayPerProjectPerModel-FreeTier" }] }]),
      { kind: "usage_limit", retryable: false },
    ],
    [
      "a full context",
      400,
      google(400, "INVALID_ARGUMENT", "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
      { kind: "context_overflow", retryable: false, terminalReason: "context_overflow" },
    ],
    ["a wrong key", 400, google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."), { kind: "auth", retryable: false }],
    [
      "a missing signature",
      400,
      google(400, "INVALID_ARGUMENT", "Function call is missing a thought_signature"),
      { kind: "invalid_request", retryable: false },
    ],
    ["an overload", 503, google(503, "UNAVAILABLE", "The model is overloaded."), { kind: "overloaded", retryable: true }],
    ["a deadline", 504, google(504, "DEADLINE_EXCEEDED", "Deadline expired."), { kind: "timeout", retryable: true }],
    [
      "a list with one error, as of a stream without alt=sse",
      500,
      `[${google(500, "INTERNAL", "Internal.")}]`,
      { code: "INTERNAL", retryable: true },
    ],
  ])("%s", (_, status, text, expected) => expect(wire.failure(status, text, { nowMs: 1_000 })).toMatchObject(expected))
})

describe("what is not an answer", () => {
  test.each<[unknown]>([
    [null],
    [undefined],
    [1],
    ["x"],
    [[]],
    [{}],
    [{ candidates: [] }],
    [{ candidates: {} }],
    [{ candidates: [null] }],
    [{ candidates: [{ content: [] }] }],
    [body([{ functionCall: { args: { a: 1 } } }])],
  ])("%j is malformed", (given) => expect(failure(decode(given))).toMatchObject({ code: "malformed_response", retryable: false }))

  test("a chunk that is none is malformed, unless the answer is complete", () => {
    expect(failure(stream([1]).result).code).toBe("malformed_response")
    expect(answer(stream([body([{ text: "Hi." }]), 1]).result).text).toBe("Hi.")
  })

  test("odd parts are ignored: null, empty, of unknown keys", () => {
    expect(answer(decode(body([null, 1, {}, { thought: true }, { unknown: 1 }, { text: 3 }, { text: "Hi." }]))).parts).toEqual([
      { type: "text", text: "Hi." },
    ])
  })
})
