import { expect, test } from "vitest"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { runThread, Thread } from "../../../src/hosts/thread/index.ts"
import type { TurnConfig } from "../../../src/machine/config.ts"
import { requestPrefix } from "../../../src/replay/prefix.ts"
import type { LlmRequest } from "../../../src/schemas/llm.ts"
import { CONFIG } from "../../replay/support.ts"

const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }
const tool = (name: string) => ({ name, description: name, inputSchema: { type: "object" } })

/** The requests of three turns of one thread, the last one under other settings, and the resets in its history. */
async function talk(changes: Partial<TurnConfig>): Promise<{ readonly requests: readonly LlmRequest[]; readonly resets: readonly unknown[] }> {
  const store = memoryJournalStore()
  const requests: LlmRequest[] = []
  const resets: unknown[] = []
  for (const [index, config] of [CONFIG, CONFIG, { ...CONFIG, ...changes }].entries()) {
    const thread = await Thread.open(store, "t", { config })
    await thread.say(`question ${index}`)
    await runThread(thread, {
      async llmCall({ request }) {
        requests.push(request)
        return { text: `answer ${index}`, parts: [], usage, terminalReason: "stop" }
      },
    })
    // The history has the records of the earlier turns, too.
    resets.splice(0, resets.length, ...thread.history.flatMap((record) => (record.type === "protocol" ? [record.event] : [])))
    await thread.close()
  }
  return { requests, resets: resets.filter((event) => (event as { type?: string }).type === "surface_change") }
}

test.each([
  ["a prompt", { systemPrompt: "You count backwards." }, "system"],
  ["a tool list", { tools: [tool("other")] }, "tools"],
] as const)("%s that changes between two turns of a thread is marked where the new request begins", async (_, changes, reason) => {
  const { requests, resets } = await talk(changes)
  const [first, second, third] = requests as readonly [LlmRequest, LlmRequest, LlmRequest]
  expect(requestPrefix(first, second)).toEqual({ stable: true })
  expect(requestPrefix(second, third)).toMatchObject({ stable: false, reason })
  expect(resets).toEqual([{ type: "surface_change", contextReset: true, iteration: 2 }])
})

test("a prompt and tools that are the same in other objects are no change", async () => {
  const { requests, resets } = await talk({ tools: structuredClone(CONFIG.tools) as typeof CONFIG.tools })
  expect(requestPrefix(requests[1] as LlmRequest, requests[2] as LlmRequest)).toEqual({ stable: true })
  expect(resets).toEqual([])
})
