import { expect, test } from "vitest"
import { wireValidation } from "../../../src/checks/validation.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { readTurnJournal } from "../../../src/hosts/journal/read-journal.ts"
import { goalConfig, type ThreadTurn } from "../../../src/hosts/thread/config.ts"
import { runThread, Thread, type ThreadOptions } from "../../../src/hosts/thread/thread.ts"
import type { Journal } from "../../../src/replay/journal.ts"
import { verifyReplay } from "../../../src/replay/verify.ts"
import type { LlmRequest, LlmResponse, OutputPart } from "../../../src/schemas/llm.ts"
import { CONFIG } from "../../replay/support.ts"

const call = (callId: string, toolName: string, inputJson = "{}"): OutputPart => ({ type: "tool_call", callId, toolName, inputJson })

/** By how much the model has said before: two turns, with goal tools among others. */
const ANSWERS: readonly (string | readonly OutputPart[])[] = [
  [call("a", "count"), call("b", "get_goal"), call("c", "count")],
  "First part.",
  [call("d", "update_goal", '{"status":"blocked"}'), call("e", "count")],
  [call("f", "update_goal", '{"status":"complete"}')],
  "All done.",
]

function answer({ messages }: LlmRequest): LlmResponse {
  const said = ANSWERS[messages.filter(({ role }) => role === "assistant").length] ?? "What else?"
  const usage = { inputTokens: 8, cachedInputTokens: 90, outputTokens: 2, reasoningTokens: 1 }
  if (typeof said === "string") return { text: said, parts: [], usage, terminalReason: "stop" }
  return { text: "", parts: [...said], usage, terminalReason: "tool_use" }
}

test("every turn of a thread replays from its journal, also one that crashed, was resumed and received commands", async () => {
  const store = memoryJournalStore()
  const turns: ThreadTurn[] = []
  let at = 1_000_000
  const options: ThreadOptions = {
    config: CONFIG,
    now: () => at,
    takeOver: true,
    goal: { costMicros: ({ inputTokens, outputTokens }) => 3 * inputTokens + 15 * outputTokens },
    lostUsage: () => ({ inputTokens: 100, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }),
  }
  const open = (): Promise<Thread> => Thread.open(store, "t", options)
  let asked = 0
  const run = (thread: Thread, hangs?: number): ReturnType<typeof runThread> =>
    runThread(
      thread,
      {
        llmCall: async ({ request }) => {
          at += 1000
          asked += 1
          return asked === hangs ? new Promise<never>(() => {}) : answer(request)
        },
        tools: { call: async () => ({ output: { status: "success", value: 1 } }), effects: () => "idempotent" },
      },
      { now: () => at, onTurn: (turn) => void (turn.resumed || turns.push(turn)) },
    )
  const first = await open()
  await first.command({ type: "set", objective: "Count.", tokenBudget: 1000 })
  void run(first, 2)
  while (asked < 2) await new Promise((resolve) => setImmediate(resolve))

  const second = await open()
  await second.command({ type: "set", tokenBudget: 900 })
  expect((await run(second)).reason).toBe("The goal is complete.")
  // Four calls before the goal is complete, of 10 tokens each, and the one that was lost.
  expect(second.goal).toMatchObject({ tokenBudget: 900, tokensUsed: 140, costUsedMicros: 516, continuations: 2 })
  await second.close()

  expect(turns.map(({ turnId }) => turnId)).toEqual(["t.1", "t.2"])
  for (const { turnId, origin, startedAt } of turns) {
    const journal = await readTurnJournal(store, turnId)
    const config = { validation: wireValidation, ...goalConfig("t", { turnId, origin, startedAt }, options) }
    expect(verifyReplay(journal as Journal, config).iterations).toBeGreaterThan(0)
  }
})
