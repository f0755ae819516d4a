import { describe, expect, test } from "vitest"
import { type EffectContext, LlmCallError } from "../../../src/hosts/host.ts"
import { type RetryOptions, withRetry } from "../../../src/hosts/models/with-retry.ts"
import type { TurnEvent } from "../../../src/wire/event.ts"
import type { LlmFailure, LlmRequest, LlmResponse } from "../../../src/wire/llm.ts"

const REQUEST: LlmRequest = { model: "m", messages: [], attachments: [], tools: [], toolChoice: "none", generation: {} }
const USAGE = { inputTokens: 10, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }
const ANSWER: LlmResponse = { text: "Hi", parts: [{ type: "text", text: "Hi" }], usage: USAGE, terminalReason: "stop" }
const NOW = 1_000_000

function failure(more: Partial<LlmFailure> = {}): LlmFailure {
  return { message: "It failed.", retryable: true, terminalReason: "provider_error", ...more }
}

/** Calls a client that fails with these errors, one after the other, and then answers. */
async function call(errors: readonly unknown[], options: RetryOptions = {}, more: Partial<EffectContext> = {}, shown = "") {
  const events: TurnEvent[] = []
  const waits: number[] = []
  let calls = 0
  const model = withRetry(
    {
      llmCall: async (_effect, { emit }) => {
        const error = errors[calls]
        calls += 1
        if (shown !== "") emit({ type: "text_delta", content: shown })
        if (error !== undefined) throw error
        return ANSWER
      },
    },
    { now: () => NOW, random: () => 0, sleep: async (ms) => void waits.push(ms), ...options },
  )
  const context: EffectContext = {
    effectId: 1,
    idempotencyKey: undefined,
    signal: new AbortController().signal,
    emit: (event) => void events.push(event),
    ...more,
  }
  const result = await model.llmCall({ type: "llm_call", id: 1, request: REQUEST }, context).catch((error: unknown) => error)
  return { events, waits, calls, result }
}

const fails = (more: Partial<LlmFailure> = {}, partial?: LlmResponse): LlmCallError => new LlmCallError(failure(more), { partial })

describe("a failed call", () => {
  test("is repeated, with waits that double, and its usage counts", async () => {
    const { calls, events, result, waits } = await call([fails({ usage: USAGE }), fails({}, ANSWER)])
    expect([calls, waits]).toEqual([3, [500, 1_000]])
    expect(result).toEqual({ ...ANSWER, retriedUsage: { ...USAGE, inputTokens: 20, outputTokens: 2 } })
    expect(events.map((event) => event.type === "retry_status" && [event.attempt, event.maxAttempts, event.waitSeconds])).toEqual([
      [1, 4, 0.5],
      [2, 4, 1],
    ])
  })

  test("is repeated when the provider says, and not at all if that is too late", async () => {
    expect((await call([fails({ retryAt: NOW + 7_000 })])).waits).toEqual([7_000])
    const { calls, result } = await call([fails({ retryAt: NOW + 60_001 })])
    expect(calls).toBe(1)
    expect((result as LlmCallError).failure).toMatchObject({ kind: "usage_limit", retryable: false, retryAt: NOW + 60_001 })
  })

  test("is not repeated without reason, after text was shown, or too often", async () => {
    expect((await call([fails({ retryable: false })])).calls).toBe(1)
    expect((await call([fails()], {}, {}, "Hel")).calls).toBe(1)
    const last = await call([fails(), fails(), fails({ message: "Again." })], { maxRetries: 2 })
    expect(last.calls).toBe(3)
    expect((last.result as LlmCallError).failure.message).toBe("Again.")
  })

  test("is repeated after text was shown if the host wants that; what was shown is counted", async () => {
    const partial: LlmResponse = { ...ANSWER, text: "Hel", usage: { ...USAGE, outputTokens: 7 }, terminalReason: "provider_error" }
    const { calls, events, result } = await call([fails({}, partial)], { afterText: "restart" }, {}, "Hel")
    expect(calls).toBe(2)
    expect(events.map(({ type }) => type)).toEqual(["text_delta", "retry_status", "text_delta"])
    expect(result).toEqual({ ...ANSWER, retriedUsage: { ...USAGE, outputTokens: 7 } })
  })

  test("of which the host says that it ends the run, and any other error, pass through", async () => {
    const fatal = fails()
    expect((await call([fatal], {}, { isFatal: (error) => error === fatal })).result).toBe(fatal)
    const bug = new Error("A bug.")
    expect(await call([bug])).toMatchObject({ calls: 1, result: bug })
  })

  test("is not repeated once the turn is cancelled, also while it waits", async () => {
    const controller = new AbortController()
    const { calls, result } = await call([fails({ usage: USAGE })], { sleep: async () => controller.abort() }, { signal: controller.signal })
    expect(calls).toBe(1)
    expect((result as LlmCallError).failure).toMatchObject({ kind: "cancelled", retriedUsage: USAGE })
  })
})

test.each([
  [{ retries: 1 }, TypeError, 'did you mean "maxRetries"?'],
  [{ afterText: "go" }, TypeError, 'afterText must be "stop" or "restart", not "go".'],
  [{ maxRetries: Number.NaN }, RangeError, "maxRetries must be a number of at least 0"],
])("wrong options are refused: %j", (options, kind, message) => {
  const make = () => withRetry({ llmCall: async () => ANSWER }, options as never)
  expect(make).toThrow(kind)
  expect(make).toThrow(message)
})
