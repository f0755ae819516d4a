import { describe, expect, test } from "vitest"
import type { GoalDriverOptions } from "../../../src/drivers/goal/driver.ts"
import { type Host, LlmCallError } from "../../../src/hosts/host.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { runThread, Thread } from "../../../src/hosts/thread/thread.ts"
import type { LlmFailure, LlmResponse, TokenUsage } from "../../../src/schemas/llm.ts"
import { CONFIG } from "../../replay/support.ts"

const USAGE: TokenUsage = { inputTokens: 8, cachedInputTokens: 90, outputTokens: 2, reasoningTokens: 1 }
const START = 1_000_000
const HOUR = 3_600_000

function says(text: string, usage = USAGE): LlmResponse {
  return { text, parts: text === "" ? [] : [{ type: "text", text }], usage, terminalReason: "stop" }
}

function fails(facts: Partial<LlmFailure>): LlmCallError {
  return new LlmCallError({ message: "You have hit your usage limit.", retryable: false, terminalReason: "provider_error", ...facts })
}

/** Pursues a goal; the model's answers are a function of the number of its call. */
async function pursue(model: (call: number) => LlmResponse, more: Pick<GoalDriverOptions, "costMicros"> = {}) {
  const clock = { at: START }
  const waits: number[] = []
  let calls = 0
  const host: Host = {
    llmCall: async () => {
      calls += 1
      return model(calls)
    },
  }
  const thread = await Thread.open(memoryJournalStore(), "th", { config: CONFIG, now: () => clock.at, ...(more.costMicros && { goal: more }) })
  await thread.command({ type: "set", objective: "Tidy the shed." })
  const wait = async (until: number) => {
    waits.push(until)
    clock.at = until
  }
  const run = () => runThread(thread, host, { now: () => clock.at, wait })
  return { thread, rest: await run(), run, clock, waits, calls: () => calls }
}

describe("a usage limit of the account", () => {
  test("stops the goal after the first turn, and the thread rests until the limit ends", async () => {
    const { thread, rest, calls } = await pursue(() => {
      throw fails({ kind: "usage_limit", retryAt: START + 3 * HOUR })
    })
    expect(thread.goal).toMatchObject({ status: "usage_limited" })
    expect(rest).toMatchObject({ notBefore: START + 3 * HOUR })
    expect(rest.reason).toMatch(/^The usage limit of the account is reached: You have hit your usage limit/)
    expect([thread.turns, calls()]).toEqual([1, 1])
  })

  test("also stops it if the failure is retryable, and without a time", async () => {
    const { thread, rest } = await pursue(() => {
      throw fails({ kind: "usage_limit", retryable: true })
    })
    expect([thread.goal?.status, thread.turns, rest.notBefore]).toEqual(["usage_limited", 1, undefined])
  })

  test("delays the continuation of a goal that is resumed before the limit ends", async () => {
    const ends = START + 60_000
    const { thread, run, waits, clock } = await pursue((call) => {
      if (call === 1) throw fails({ kind: "usage_limit", retryAt: ends })
      return says("")
    })
    await thread.command({ type: "resume" })
    await run()
    expect(waits[0]).toBe(ends)
    expect(clock.at).toBeGreaterThanOrEqual(ends)
    expect(thread.turns).toBe(2)
  })

  test("rests a resumed goal whose limit ends after the longest wait", async () => {
    const { thread, run, waits, calls } = await pursue(() => {
      throw fails({ kind: "usage_limit", retryAt: START + 3 * HOUR })
    })
    await thread.command({ type: "resume" })
    expect(await run()).toMatchObject({ notBefore: START + 3 * HOUR })
    expect([waits, calls(), thread.goal?.status]).toEqual([[], 1, "active"])
  })
})

describe("a failure of a model call", () => {
  test("that is transient is retried no earlier than the provider says", async () => {
    const { thread, waits } = await pursue((call) => {
      if (call === 1) throw fails({ kind: "rate_limit", retryable: true, retryAt: START + 120_000 })
      return says("")
    })
    expect(waits).toEqual([START + 120_000])
    expect([thread.goal?.status, thread.turns]).toEqual(["blocked", 2])
  })

  test("of any other kind blocks the goal at once", async () => {
    for (const kind of ["auth", "invalid_request", "context_overflow", "other"] as const) {
      const { thread, calls } = await pursue(() => {
        throw fails({ kind, message: "no" })
      })
      expect([kind, thread.goal?.status, thread.goal?.reason, calls()]).toEqual([
        kind,
        "blocked",
        "Blocked: the turn failed with: no. Resume to try again.",
        1,
      ])
    }
  })

  test("charges what it used, with its failed attempts", async () => {
    const { thread } = await pursue(() => {
      throw fails({ kind: "other", usage: USAGE, retriedUsage: { ...USAGE, outputTokens: 12 } })
    })
    expect(thread.goal?.tokensUsed).toBe(10 + 20)
  })
})

describe("an answer", () => {
  test("that is empty after the model has paused ends the goal's turns with the reason", async () => {
    const { thread, calls } = await pursue((call) => says(call === 1 ? "I pause here until you tell me." : ""))
    expect([thread.goal?.status, calls()]).toEqual(["blocked", 2])
    expect(thread.goal?.reason).toMatch(/neither text nor a tool call/)
  })

  test("that the model refuses gives its reason to the goal", async () => {
    const { thread } = await pursue(() => ({ ...says("I will not."), terminalReason: "refusal", terminalDiagnostic: "The model declined." }))
    expect(thread.goal).toMatchObject({ status: "blocked", reason: "Blocked: the turn failed with: The model declined. Resume to try again." })
  })

  test("charges the attempts before it, and a cost budget sees cache writes and estimates", async () => {
    const priced: TokenUsage[] = []
    const usage: TokenUsage = { ...USAGE, inputTokens: 100, cacheWriteTokens: 60 }
    const { thread } = await pursue(
      (call) => (call === 1 ? { ...says("One.", usage), retriedUsage: { ...USAGE, cacheWriteTokens: 5 } } : says("", { ...USAGE, estimated: true })),
      {
        costMicros: (delta) => {
          priced.push(delta)
          return delta.inputTokens + (delta.cacheWriteTokens ?? 0)
        },
      },
    )
    expect(thread.goal?.tokensUsed).toBe(102 + 10 + 10)
    expect(thread.goal?.costUsedMicros).toBe(108 + 65 + 8)
    const charged = priced.filter(({ inputTokens }) => inputTokens > 0)
    expect(charged).toContainEqual({ inputTokens: 108, cachedInputTokens: 180, cacheWriteTokens: 65, outputTokens: 4, reasoningTokens: 2 })
    expect(charged).toContainEqual({ ...USAGE, estimated: true })
  })
})
