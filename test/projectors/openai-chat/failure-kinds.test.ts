import fc from "fast-check"
import { expect, test } from "vitest"
import { openAiChatWire } from "../../../src/projectors/openai-chat/index.ts"
import { LlmFailure } from "../../../src/schemas/llm.ts"
import { chatAnswer, chatStream } from "../../support/openai-chat.ts"
import { failure, response } from "./support.ts"

const NOW = Date.UTC(2026, 10, 20, 12)

const DAILY_QUOTA = {
  code: 429,
  message: "You exceeded your current quota, please check your plan and billing details.",
  status: "RESOURCE_EXHAUSTED",
  details: [
    {
      "@type": "type.googleapis.com/google.rpc.QuotaFailure",
      violations: [
        { quotaId: "GenerateRequestsPerMinutePerProjectPerModel-FreeTier" },
        { quotaId: "GenerateRequestsPerDayPerProjectPerModel-FreeTier" },
      ],
    },
    { "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "34s" },
  ],
}

const MINUTE_QUOTA = {
  ...DAILY_QUOTA,
  details: [{ violations: [{ quotaId: "GenerateContentInputTokensPerModelPerMinute" }] }, { retryDelay: "34.5s" }],
}

/** What is described, the status, the error, its kind, whether it is retried, and the time to wait in seconds. */
test.each<[string, number, unknown, string, boolean, number?]>([
  ["an invalid key", 401, { message: "Incorrect API key provided", code: "invalid_api_key" }, "auth", false],
  ["a region", 403, { message: "Country, region, or territory not supported", code: "unsupported_country_region_territory" }, "auth", false],
  ["a model that does not exist", 404, { message: "The model does not exist", code: "model_not_found" }, "invalid_request", false],
  ["a body that is not valid", 400, { message: "Invalid value", type: "invalid_request_error" }, "invalid_request", false],
  ["a filtered prompt", 400, { message: "The response was filtered.", code: "content_filter" }, "other", false],
  ["a short limit", 429, { message: "Rate limit reached", code: "rate_limit_exceeded" }, "rate_limit", true],
  ["a short limit with a time in words", 429, { message: "Rate limit reached. Please try again in 20s." }, "rate_limit", true, 20],
  [
    "Groq's time",
    429,
    { message: "Rate limit reached on tokens per minute (TPM): Limit 6000, Used 5034. Please try again in 4.77s. Need more?" },
    "rate_limit",
    true,
    4.77,
  ],
  ["a time in milliseconds", 429, { message: "Please try again in 350ms." }, "rate_limit", true, 0.35],
  ["a time in minutes and seconds", 429, { message: "Please try again in 1m30.5s." }, "rate_limit", true, 90.5],
  ["a time in full words", 429, { message: "Too many requests, retry after 2 minutes and 5 seconds" }, "rate_limit", true, 125],
  ["a message without a time", 429, { message: "Slow down and try again in a few minutes." }, "rate_limit", true],
  ["Google's limit per minute", 429, MINUTE_QUOTA, "rate_limit", true, 34.5],
  ["Google's limit per day, whose delay is the one per minute", 429, DAILY_QUOTA, "usage_limit", false],
  [
    "Groq's limit per day",
    429,
    { message: "Rate limit reached on tokens per day (TPD): Limit 100000, Used 97050, Requested 3619. Please try again in 9m38.016s." },
    "usage_limit",
    false,
    578.016,
  ],
  [
    "OpenAI's limit per day",
    429,
    { message: "Rate limit reached for gpt-4o on requests per day (RPD): Limit 200. Please try again in 7m12s.", code: "rate_limit_exceeded" },
    "usage_limit",
    false,
    432,
  ],
  [
    "OpenRouter's limit per day",
    429,
    {
      message: "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day",
      code: 429,
      metadata: { headers: { "X-RateLimit-Limit": "50", "X-RateLimit-Reset": String(NOW + 3_600_000) } },
    },
    "usage_limit",
    false,
    3_600,
  ],
  [
    "OpenAI's empty account",
    429,
    { message: "You exceeded your current quota, please check your plan and billing details.", code: "insufficient_quota" },
    "usage_limit",
    false,
  ],
  [
    "Anthropic's empty account",
    400,
    { message: "Your credit balance is too low to access the Anthropic API.", type: "invalid_request_error" },
    "usage_limit",
    false,
  ],
  ["DeepSeek's empty account", 402, { message: "Insufficient Balance", type: "unknown_error", code: "invalid_request_error" }, "usage_limit", false],
  ["OpenRouter's empty account", 402, { message: "This request requires more credits, or fewer max_tokens.", code: 402 }, "usage_limit", false],
  ["Moonshot's empty account", 429, { message: "Your account is suspended", type: "exceeded_current_quota_error" }, "usage_limit", false],
  [
    "a plan that is used up",
    429,
    { message: "The usage limit has been reached", type: "usage_limit_reached", resets_in_seconds: 13_872 },
    "usage_limit",
    false,
    13_872,
  ],
  [
    "a plan that is used up, with a time",
    429,
    { type: "usage_limit_reached", resets_at: NOW / 1_000 + 60, resets_in_seconds: 50 },
    "usage_limit",
    false,
    60,
  ],
  ["a short limit in words of usage", 429, { message: "Usage limit reached for tokens per minute, retry in 12s" }, "rate_limit", true, 12],
  ["an overload", 503, { message: "The engine is currently overloaded" }, "overloaded", true],
  ["Anthropic's overload", 529, { message: "Overloaded", type: "overloaded_error" }, "overloaded", true],
  ["a gateway without a server", 502, { message: "Bad gateway" }, "overloaded", true],
  ["a gateway's timeout", 504, { message: "Gateway timeout" }, "timeout", true],
  ["a fault of the server", 500, { message: "The server had an error", type: "server_error" }, "other", true],
  [
    "a call that Groq could not read",
    400,
    { message: "Failed to call a function. See 'failed_generation'.", type: "invalid_request_error", code: "tool_use_failed" },
    "other",
    true,
  ],
  [
    "a call that Groq could not validate",
    400,
    { message: "tool call validation failed", type: "invalid_request_error", code: "tool_use_failed" },
    "other",
    true,
  ],
])("%s", (_what, status, error, kind, retryable, waitSeconds) => {
  const read = openAiChatWire().failure(status, JSON.stringify({ error }), { nowMs: NOW })
  expect({ kind: read.kind, retryable: read.retryable, retryAt: read.retryAt }).toEqual({
    kind,
    retryable,
    retryAt: waitSeconds === undefined ? undefined : NOW + Math.round(waitSeconds * 1_000),
  })
})

/** Limits of money, a plan or a day in words. Where each was reported (2026-11). */
test.each<[string, number, unknown, string, number?]>([
  [
    "xAI",
    429,
    {
      code: "resource-exhausted",
      error: "Your team 7c1 has either used all available credits or reached its monthly spending limit. Please purchase more.",
    },
    "https://github.com/continuedev/continue/issues/10373",
  ],
  [
    "xAI, as a lack of permission",
    403,
    { error: "Your team 7c1 has either used all available credits or reached its monthly spending limit." },
    "the same",
  ],
  [
    "LiteLLM",
    400,
    { error: { message: "Budget has been exceeded! Current cost: 3.02, Max budget: 3.0", type: "budget_exceeded", code: "400" } },
    "https://github.com/eigent-ai/eigent/issues/769",
  ],
  ["LiteLLM, of a user", 429, { error: { message: "ExceededBudget: User=kim over budget. Spend=2.1, Budget=2.0", code: 429 } }, "the same"],
  [
    "LiteLLM, of a model",
    429,
    { error: { message: "LiteLLM User: kim, exceeded budget for model=claude-opus-4-8", code: "429" } },
    "https://github.com/BerriAI/litellm/issues/14144",
  ],
  [
    "Google",
    429,
    { error: { code: 429, message: "Your project has exceeded its monthly spending cap.", status: "RESOURCE_EXHAUSTED" } },
    "https://ai.google.dev/gemini-api/docs/rate-limits",
  ],
  [
    "Ollama, a week",
    429,
    { error: "you (kim) have reached your weekly usage limit, upgrade for higher limits" },
    "https://github.com/diegosouzapw/OmniRoute/issues/3709",
  ],
  ["Ollama, a session", 429, { error: "you (kim) have reached your session usage limit" }, "https://github.com/continuedev/continue/issues/11444"],
  ["Ollama, an hour", 429, { error: "you've reached your hourly usage limit, please wait" }, "https://github.com/continuedev/continue/issues/9233"],
  [
    "Z.ai",
    429,
    { error: { code: "1308", message: "Usage limit reached for 5 hour. Your limit will reset at 2026-11-21 05:38:28" } },
    "https://github.com/hugalafutro/model-hotel/pull/955",
  ],
  [
    "Z.ai, a week",
    429,
    { error: { code: "1310", message: "Weekly/Monthly Limit Exhausted." } },
    "https://github.com/hugalafutro/model-hotel/pull/955",
  ],
  [
    "Z.ai, an unpaid account",
    429,
    { error: { code: "1113", message: "Your account is in arrears, please recharge." } },
    "https://docs.z.ai/api-reference/api-code",
  ],
  [
    "Cloudflare",
    429,
    { success: false, errors: [{ code: 4006, message: "you have used up your daily free allocation of 10,000 neurons" }] },
    "https://github.com/get-engram/engram/issues/34",
  ],
  [
    "Anthropic",
    400,
    {
      error: {
        type: "invalid_request_error",
        message: "You have reached your specified API usage limits. You will regain access on 2026-11-21 at 06:30 UTC.",
      },
    },
    "https://github.com/anthropics/claude-code/issues/38035",
    Date.UTC(2026, 10, 21, 6, 30),
  ],
  [
    "OpenRouter's key",
    403,
    { error: { code: 403, message: "Key limit exceeded (total limit). Manage it in the settings." } },
    "https://github.com/MCPJam/inspector/issues/1287",
  ],
  [
    "DashScope",
    403,
    { error: { code: "AllocationQuota.FreeTierOnly", message: "Access denied." } },
    "https://www.alibabacloud.com/help/en/model-studio/error-code",
  ],
  ["DashScope, an unpaid account", 400, { error: { code: "Arrearage", message: "Access denied." } }, "the same"],
  ["SiliconFlow", 403, { code: 30_001, message: "Sorry, your account balance is insufficient" }, "no public thread"],
  ["a body that is a text", 429, "You have hit your usage limit. Try again in 2 hours.", "a proxy", NOW + 7_200_000],
])("%s: the usage limit is reached", (_provider, status, body, _source, retryAt) => {
  const text = typeof body === "string" ? body : JSON.stringify(body)
  const { kind, retryable, retryAt: time } = openAiChatWire().failure(status, text, { nowMs: NOW, shouldRetry: true })
  expect({ kind, retryable, time }).toEqual({ kind: "usage_limit", retryable: false, time: retryAt })
})

test.each<[string, string, number]>([
  ["Slow down: try again in 20s", "rate_limit", 20],
  ['{"detail":"Too busy, please retry after 3 minutes"}', "rate_limit", 180],
  ['{"msg":"too many requests, wait 1500ms"}', "rate_limit", 1.5],
  ['{"error":{"type":"usage_limit_reached","resets_in_seconds":"90"}}', "usage_limit", 90],
])("the body %s says when to call again", (body, kind, seconds) => {
  expect(openAiChatWire().failure(429, body, { nowMs: NOW })).toMatchObject({ kind, retryAt: NOW + seconds * 1_000 })
})

test("a refusal without an envelope is described by its message", () => {
  const message = (body: object) => openAiChatWire().failure(400, JSON.stringify(body)).message
  expect(message({ message: "Too long", errors: [{ message: "tools.3" }] })).toBe("The endpoint answered 400: Too long.")
  expect(message({ errors: [{ message: "No such model", code: 7003 }] })).toBe("The endpoint answered 400: No such model.")
  expect(message({ base_resp: { status_code: 2013, status_msg: "invalid params" } })).toBe("The endpoint answered 400: invalid params.")
})

test("a time in UTC is read like any date, and one without a zone or with odd figures is not", () => {
  const limits = { min: new Date(0), max: new Date("2999-12-31T23:59:59Z"), noInvalidDate: true }
  const retryAt = (time: string) => openAiChatWire().failure(400, JSON.stringify({ error: { message: `Blocked until ${time}.` } })).retryAt
  fc.assert(
    fc.property(fc.date(limits), (date) => {
      const [day = "", clock = ""] = date.toISOString().split("T")
      const seconds = Math.floor(date.getTime() / 1_000) * 1_000
      expect(retryAt(`${day}T${clock}`)).toBe(seconds)
      expect(retryAt(`${day} at ${clock.slice(0, 5)} UTC`)).toBe(Math.floor(seconds / 60_000) * 60_000)
      expect(retryAt(`${day} ${clock.slice(0, 8)}`)).toBeUndefined()
    }),
  )
  expect(retryAt("2026-13-01 at 00:00 UTC")).toBeUndefined()
})

test.each<[string, unknown, object]>([
  [
    "MiniMax's limit",
    { base_resp: { status_code: 1039, status_msg: "TPM limit" }, choices: null },
    { code: "1039", kind: "rate_limit", retryable: true },
  ],
  ["MiniMax's key", { base_resp: { status_code: 2049, status_msg: "invalid api key" } }, { kind: "auth", retryable: false }],
  ["MiniMax's balance", { base_resp: { status_code: 1008, status_msg: "insufficient balance" } }, { kind: "usage_limit", retryable: false }],
  ["a code and a text", { code: 1_113, msg: "Your account is in arrears", success: false }, { kind: "usage_limit" }],
  ["a code that is a status", { code: 401, message: "token expired" }, { kind: "auth", message: "The endpoint reported an error: token expired." }],
  ["a detail", { detail: "Upstream died", status: 503 }, { kind: "overloaded", retryable: true }],
  ["a text alone", { error: "Rate limit exceeded, try again in 8s" }, { kind: "rate_limit", retryable: true, retryAt: NOW + 8_000 }],
])("%s in an answer with status 200", (_what, body, expected) => {
  expect(failure(chatAnswer(body, { now: () => NOW }))).toMatchObject(expected)
  const stream = chatStream({ now: () => NOW })
  stream.push(body)
  expect(failure(stream.finish())).toMatchObject(expected)
})

test.each([
  { error: {} },
  { error: { message: "", code: 0, type: null } },
  { base_resp: { status_code: 0, status_msg: "" } },
  { code: 0, message: "ok" },
  { code: "Success", msg: "ok" },
])("%j beside an answer is not an error", (more) => {
  const choices = [{ message: { content: "Hi" }, delta: { content: "Hi" }, finish_reason: "stop" }]
  expect(chatAnswer({ ...more, choices })).toMatchObject({ ok: true })
  const stream = chatStream()
  stream.push({ ...more, choices: [] })
  stream.push({ ...more, choices })
  expect(stream.finish()).toMatchObject({ ok: !("error" in more) })
})

test("the later time of headers and body counts", () => {
  const body = (seconds: number) => JSON.stringify({ error: { message: `Please try again in ${seconds}s.` } })
  expect(openAiChatWire().failure(429, body(20), { nowMs: NOW, retryAfterMs: 5_000 }).retryAt).toBe(NOW + 20_000)
  expect(openAiChatWire().failure(429, body(2), { nowMs: NOW, retryAfterMs: 5_000 }).retryAt).toBe(NOW + 5_000)
  expect(openAiChatWire().failure(503, "", { nowMs: NOW, retryAfterMs: 5_000 }).retryAt).toBe(NOW + 5_000)
  // The last time that a Date has: a later one could be neither stored nor shown.
  for (const retryAfterMs of [1e23, Number.POSITIVE_INFINITY])
    expect(LlmFailure.parse(openAiChatWire().failure(429, body(20), { nowMs: NOW, retryAfterMs })).retryAt).toBe(8_640_000_000_000_000)
  const never = JSON.stringify({ error: { message: "Wait.", resets_at: 8_640_000_000_000_001 } })
  expect(openAiChatWire().failure(429, never, { nowMs: NOW }).retryAt).toBeUndefined()
  expect(openAiChatWire().failure(429, body(20)).retryAt).toBeUndefined()
})

test("errors in answers have kinds and times, too", () => {
  const error = { message: "All keys are used up. Please retry in 30s.", code: 429 }
  expect(failure(chatAnswer({ error }, { now: () => NOW }))).toMatchObject({
    kind: "rate_limit",
    retryable: true,
    retryAt: NOW + 30_000,
  })
  const stream = chatStream({ now: () => NOW })
  stream.push({ error: { message: "Overloaded", type: "overloaded_error" } })
  expect(failure(stream.finish())).toMatchObject({ kind: "overloaded", retryable: true })
  expect(failure(response({ content: "" }, "network_error"))).toMatchObject({ kind: "network", retryable: true })
})

test("every failure has a kind and the wire's shape", () => {
  const status = fc.constantFrom(400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 429, 500, 502, 503, 504, 529)
  const error = fc.record(
    {
      message: fc.oneof(fc.string(), fc.constantFrom("try again in 1m", "retry in 99999999999999s", "wait 3 d"), fc.anything()),
      code: fc.anything(),
      type: fc.anything(),
      details: fc.oneof(fc.anything(), fc.array(fc.record({ retryDelay: fc.anything(), violations: fc.anything() }, { requiredKeys: [] }))),
      resets_at: fc.anything(),
      resets_in_seconds: fc.oneof(fc.double(), fc.anything()),
      metadata: fc.anything(),
    },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(status, fc.oneof(fc.anything(), fc.record({ error })), fc.double({ min: 0, max: 1e9, noNaN: true }), (code, body, retryAfterMs) => {
      const text = safeJson(body)
      const read = openAiChatWire().failure(code, text, { nowMs: NOW, retryAfterMs })
      expect(LlmFailure.parse(read)).toEqual(read)
      expect(read.kind).toBeDefined()
    }),
  )
})

test("a message is searched for a time in linear time", () => {
  for (const piece of ["try again in ", "again 1", "wait 1m", "in 1s, and ", "9"]) {
    const start = performance.now()
    openAiChatWire().failure(429, JSON.stringify({ error: { message: piece.repeat(100_000) } }), { nowMs: NOW })
    expect(performance.now() - start).toBeLessThan(20_000)
  }
})

function safeJson(value: unknown): string {
  try {
    return JSON.stringify(value) ?? ""
  } catch {
    return ""
  }
}
