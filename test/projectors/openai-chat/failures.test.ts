import { expect, test } from "vitest"
import { openAiChatWire } from "../../../src/projectors/openai-chat/index.ts"
import { fixture } from "./support.ts"

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
  ["error-google", 400, { message: "The endpoint answered 400: Request contains an invalid argument.", retryable: false, code: "INVALID_ARGUMENT" }],
  ["error-fastapi", 404, { message: "The endpoint answered 404: Not Found.", retryable: false, code: "http_404" }],
  ["openrouter-error", 429, { retryable: true, code: "http_429" }],
])("a recorded refusal is read: %s", (name, status, expected) => {
  const body = fixture(`${name}.json`)
  expect(openAiChatWire().failure(status, body)).toMatchObject({ ...expected, raw: body })
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
])("status %i is retryable: %s", (status, retryable) => {
  expect(openAiChatWire().failure(status, "").retryable).toBe(retryable)
})

test("the endpoint may decide whether to retry, but not if the quota is used up", () => {
  expect(openAiChatWire().failure(500, "", { shouldRetry: false }).retryable).toBe(false)
  expect(openAiChatWire().failure(400, "", { shouldRetry: true }).retryable).toBe(true)
  expect(openAiChatWire().failure(429, fixture("error-openai-quota.json"), { shouldRetry: true }).retryable).toBe(false)
})

test.each([
  ["", "The endpoint answered 503 with an empty body."],
  ["<html><head><title>502 Bad Gateway</title></head></html>", 'The endpoint answered 503 with a page instead of an answer ("502 Bad Gateway").'],
  ["<!doctype html><p>hm", "The endpoint answered 503 with a page instead of an answer."],
  ["upstream connect error", "The endpoint answered 503: upstream connect error."],
  ['{"error":"model not found"}', "The endpoint answered 503: model not found."],
  ['{"error":{"message":"","code":null}}', 'The endpoint answered 503: {"error":{"message":"","code":null}}.'],
  ['{"detail":[{"loc":["body"],"msg":"bad"}]}', 'The endpoint answered 503: [{"loc":["body"],"msg":"bad"}].'],
])("the message for the body %j", (body, message) => {
  expect(openAiChatWire().failure(503, body).message).toBe(message)
})

test("long bodies are shortened", () => {
  const { message, raw } = openAiChatWire().failure(500, JSON.stringify({ error: { message: "x".repeat(100_000) } }))
  expect(message.length).toBeLessThan(2_200)
  expect(raw?.length).toBeLessThan(8_100)
})
