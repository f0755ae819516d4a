import { expect, test } from "vitest"
import { costOf, pricesOf } from "../../../src/hosts/models/prices.ts"

test.each([
  ["gpt-5", { input: 1.25, cachedInput: 0.125, output: 10 }],
  ["gpt-5-2025-08-07", { input: 1.25, cachedInput: 0.125, output: 10 }],
  ["gpt-5-mini", { input: 0.25, cachedInput: 0.025, output: 2 }],
  ["claude-haiku-4-5-20251001", { input: 1, cachedInput: 0.1, output: 5, cacheWrite: 1.25 }],
  ["claude-opus-5-5", { input: 4, cachedInput: 0.2, output: 20, cacheWrite: 5 }],
  ["models/gemini-3.5-flash", { input: 1.5, cachedInput: 0.15, output: 9 }],
])("%s has the published prices, with their day and page", (model, prices) => {
  const { asOf, source, ...found } = pricesOf(model) ?? { asOf: "", source: "" }
  expect(found).toEqual(prices)
  expect(asOf).toMatch(/^\d{4}-\d{2}-\d{2}$/)
  expect(source).toMatch(/^https:\/\//)
})

test.each([
  "",
  "gpt",
  "gpt-5-",
  "gpt-5-turbo",
  "gpt-5-2025",
  "openai/gpt-5",
  "GPT-5",
  "qwen3",
  "constructor",
  // These depend on the length of the prompt.
  "claude-haiku-5-5",
  "gpt-6-sol",
  "gemini-3.1-pro-preview",
])("%j has no known price", (model) => {
  expect(pricesOf(model)).toBeUndefined()
})

const PRICES = { input: 2, cachedInput: 0.2, output: 10, cacheWrite: 2.5 }

test("each token is charged once, in millionths", () => {
  const usage = { inputTokens: 1_000, cachedInputTokens: 5_000, cacheWriteTokens: 400, outputTokens: 300, reasoningTokens: 200 }
  // 600 × 2 + 400 × 2.5 + 5,000 × 0.2 + 300 × 10
  expect(costOf(usage, PRICES)).toBe(6_200)
  // 1,000 × 2 + 5,000 × 0.2 + 300 × 10
  expect(costOf(usage, { input: 2, cachedInput: 0.2, output: 10 })).toBe(6_000)
})

test("a million tokens cost their price", () => {
  expect(costOf({ inputTokens: 1_000_000, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }, PRICES)).toBe(2_000_000)
  expect(costOf({ inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }, PRICES)).toBe(0)
})

test("what is less than a millionth is rounded, and more written tokens than there are do not count", () => {
  expect(costOf({ inputTokens: 0, cachedInputTokens: 3, outputTokens: 0, reasoningTokens: 0 }, PRICES)).toBe(1)
  expect(costOf({ inputTokens: 10, cachedInputTokens: 0, cacheWriteTokens: 99, outputTokens: 0, reasoningTokens: 0 }, PRICES)).toBe(25)
})
