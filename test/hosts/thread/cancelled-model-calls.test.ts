import { expect, test } from "vitest"
import { wireValidation } from "../../../src/checks/validation.ts"
import { LlmCallError } from "../../../src/hosts/host.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { readTurnJournal } from "../../../src/hosts/journal/read-journal.ts"
import { goalConfig, type ThreadTurn } from "../../../src/hosts/thread/config.ts"
import { runThread, Thread, type ThreadOptions } from "../../../src/hosts/thread/thread.ts"
import type { Journal } from "../../../src/replay/journal.ts"
import { verifyReplay } from "../../../src/replay/verify.ts"
import type { LlmRequest, LlmResponse } from "../../../src/schemas/llm.ts"
import { CONFIG } from "../../replay/support.ts"

const usage = { inputTokens: 8, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }
const partial: LlmResponse = { text: "Half an", parts: [{ type: "text", text: "Half an" }], usage, retriedUsage: usage, terminalReason: "cancelled" }
const options: ThreadOptions = { config: CONFIG, now: () => 1_000_000 }

test("what a cancelled model call said stays in the thread, its usage counts for the goal, and the turn replays", async () => {
  const store = memoryJournalStore()
  const turns: ThreadTurn[] = []
  const thread = await Thread.open(store, "t", options)
  await thread.command({ type: "set", objective: "Count.", tokenBudget: 1000 })
  const controller = new AbortController()
  await runThread(
    thread,
    {
      async llmCall() {
        controller.abort("Stop.")
        throw new LlmCallError({ message: "aborted", retryable: false, terminalReason: "cancelled" }, { partial })
      },
    },
    { now: options.now as () => number, signal: controller.signal, onTurn: (turn) => void turns.push(turn) },
  )
  expect(thread.goal).toMatchObject({ status: "paused", tokensUsed: 20 })
  const { goal, history } = thread
  await thread.close()

  const reopened = await Thread.open(store, "t", options)
  expect(reopened.goal).toEqual(goal)
  expect(reopened.history).toEqual(history)
  const requests: LlmRequest[] = []
  await reopened.say("And then?")
  await runThread(reopened, {
    async llmCall({ request }) {
      requests.push(request)
      return { text: "Done.", parts: [], usage, terminalReason: "stop" }
    },
  })
  expect(requests[0]?.messages.flatMap(({ role, blocks }) => (role === "assistant" ? blocks : []))[0]).toMatchObject({
    type: "text",
    text: expect.stringMatching(/^Half an/),
  })
  await reopened.close()

  const [{ turnId, origin, startedAt }] = turns as [ThreadTurn]
  const journal = (await readTurnJournal(store, turnId)) as Journal
  expect(journal.entries.map(({ record }) => record)).toMatchObject([
    { type: "interruption", interruption: { type: "cancel", partial } },
    { type: "end" },
  ])
  verifyReplay(journal, { validation: wireValidation, ...goalConfig("t", { turnId, origin, startedAt }, options) })
})
