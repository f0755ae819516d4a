import { describe, expect, test } from "vitest"
import { addUsage, limitReached, NO_USAGE, refineTerminalReason, resultLimit } from "../../src/machine/limits.ts"
import type { LlmResponse, TerminalReason, TokenUsage } from "../../src/schemas/llm.ts"
import { configOf } from "./support.ts"

function usage(inputTokens: number, cachedInputTokens = 0, outputTokens = 0, reasoningTokens = 0): TokenUsage {
  return { inputTokens, cachedInputTokens, outputTokens, reasoningTokens }
}

function response(terminalReason: TerminalReason, counted: TokenUsage): LlmResponse {
  return { text: "", parts: [], usage: counted, terminalReason }
}

describe("addUsage", () => {
  test("adds bucket by bucket", () => {
    expect(addUsage(usage(1, 2, 3, 4), usage(10, 20, 30, 40))).toEqual(usage(11, 22, 33, 44))
    expect(addUsage(NO_USAGE, NO_USAGE)).toEqual(usage(0, 0, 0, 0))
  })

  test("of tokens written to a cache, adds those that are known; an estimate on either side makes an estimate", () => {
    const written = { ...usage(1), cacheWriteTokens: 3 }
    const estimated = { ...usage(1), estimated: true } as const
    expect(addUsage(written, { ...usage(1), cacheWriteTokens: 0 })).toEqual({ ...usage(2), cacheWriteTokens: 3 })
    for (const [left, right] of [
      [written, estimated],
      [estimated, written],
    ] as const)
      expect(addUsage(left, right)).toStrictEqual({ ...usage(2), cacheWriteTokens: 3, estimated: true })
    expect(addUsage(usage(1), usage(1))).toStrictEqual(usage(2))
  })

  test("stops at the largest safe integer, so that the sum can still be saved", () => {
    const most = Number.MAX_SAFE_INTEGER
    expect(addUsage(usage(most, most - 1, 1, 0), usage(most, 1, most, 1))).toEqual(usage(most, most, most, 1))
  })
})

describe("limitReached", () => {
  test.each([
    { offset: 0, max: 2, iteration: 1, reached: false },
    { offset: 0, max: 2, iteration: 2, reached: true },
    { offset: 0, max: 2, iteration: 3, reached: true },
    { offset: 7, max: 2, iteration: 8, reached: false },
    { offset: 7, max: 2, iteration: 9, reached: true },
    { offset: 5, max: 0, iteration: 5, reached: true },
  ])("offset $offset, at most $max: iteration $iteration → $reached", ({ offset, max, iteration, reached }) => {
    expect(limitReached(configOf({ maxIterations: max }), offset, iteration)).toBe(reached)
  })

  test("without a limit it is never reached", () => {
    expect(limitReached(configOf(), 0, Number.MAX_SAFE_INTEGER)).toBe(false)
  })
})

describe("resultLimit", () => {
  test.each([
    { maxResultTokens: 7, maxContextTokens: 1_000, characters: 28 },
    { maxResultTokens: 0, maxContextTokens: 1_000, characters: Number.POSITIVE_INFINITY },
    // Half of the window, rounded down, at four characters a token.
    { maxContextTokens: 100, characters: 200 },
    { maxContextTokens: 101, characters: 200 },
    { maxContextTokens: 0, characters: Number.POSITIVE_INFINITY },
    { characters: Number.POSITIVE_INFINITY },
  ])("$maxResultTokens tokens in a window of $maxContextTokens are $characters characters", ({ characters, ...limits }) => {
    expect(resultLimit(limits)).toBe(characters)
  })
})

describe("an output limit without output", () => {
  const NO_OUTPUT = "No output: the prompt fills the context window."

  test.each([
    { prompt: usage(95), window: 100, overflow: true },
    { prompt: usage(94), window: 100, overflow: false },
    { prompt: usage(0, 95), window: 100, overflow: true },
    { prompt: usage(50, 45), window: 100, overflow: true },
    { prompt: usage(50, 44), window: 100, overflow: false },
    // 95% of 101 is 95.95, rounded down.
    { prompt: usage(95), window: 101, overflow: true },
    { prompt: usage(94), window: 101, overflow: false },
    { prompt: usage(200), window: 100, overflow: true },
    { prompt: usage(100, 0, 1), window: 100, overflow: false },
    { prompt: usage(0), window: 1, overflow: true },
    { prompt: usage(100), window: 0, overflow: false },
    { prompt: usage(100), window: undefined, overflow: false },
  ])("$prompt of a window of $window: overflow $overflow", ({ prompt, window, overflow }) => {
    const config = configOf(window === undefined ? {} : { maxContextTokens: window })
    const given = { ...response("output_limit", prompt), terminalDiagnostic: "the provider's words" }
    const refined = refineTerminalReason(config, given)
    if (overflow) expect(refined).toEqual({ ...given, terminalReason: "context_overflow", terminalDiagnostic: NO_OUTPUT })
    else expect(refined).toBe(given)
  })

  test.each(["stop", "tool_use", "context_overflow", "content_filter", "provider_error", "cancelled", "unknown"] as const)(
    "%s is left alone",
    (reason) => {
      const given = response(reason, usage(100))
      expect(refineTerminalReason(configOf({ maxContextTokens: 100 }), given)).toBe(given)
    },
  )
})
