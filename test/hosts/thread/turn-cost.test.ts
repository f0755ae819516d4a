import { describe, expect, test } from "vitest"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { runThread, Thread, type ThreadOptions } from "../../../src/hosts/thread/thread.ts"
import { History } from "../../../src/machine/history.ts"
import type { LlmMessage } from "../../../src/schemas/llm.ts"
import { LONG_THREAD, longHost, playTurns } from "../../support/long-thread.ts"

// Law 9 for the turns of a thread, without a clock: what a turn renders, hashes and reads is counted.

const WITH_GOAL: ThreadOptions = { ...LONG_THREAD, policy: { maxIdleContinuations: 0 } }
const WITHOUT_GOALS: ThreadOptions = { ...LONG_THREAD, goals: false }

/** Counts the calls of a method while `run` runs. */
async function countCalls(prototype: object, method: string, run: () => Promise<unknown>): Promise<number> {
  const methods = prototype as Record<string, (this: unknown, ...given: unknown[]) => unknown>
  const original = methods[method] as (typeof methods)[string]
  let calls = 0
  methods[method] = function (...given) {
    calls += 1
    return original.apply(this, given)
  }
  try {
    await run()
  } finally {
    methods[method] = original
  }
  return calls
}

/** The lists that histories are copied to while `run` runs. */
async function listsMade(run: () => Promise<unknown>): Promise<(readonly unknown[])[]> {
  const { toArray } = History.prototype
  const made = new Set<readonly unknown[]>()
  History.prototype.toArray = function (this: History<unknown>) {
    const list = toArray.call(this)
    made.add(list)
    return list
  }
  try {
    await run()
  } finally {
    History.prototype.toArray = toArray
  }
  return [...made]
}

describe("the cost of a thread's turn does not depend on earlier turns (law 9)", () => {
  describe.each([
    ["a message and an answer", LONG_THREAD, false],
    ["a tool call", LONG_THREAD, true],
    ["a goal", WITH_GOAL, false],
    ["no goal driver", WITHOUT_GOALS, true],
  ] as const)("with %s", (kind, options, calls) => {
    async function opened(): Promise<Thread> {
      const thread = await Thread.open(memoryJournalStore(), "t", options)
      if (kind === "a goal") await thread.command({ type: "set", objective: "Talk about foxes." })
      return thread
    }

    test("a request has the very messages of the request before it: each is rendered once", async () => {
      const thread = await opened()
      const requests: (readonly LlmMessage[])[] = []
      const host = longHost(calls)
      for (let turn = 0; turn < 8; turn += 1) {
        const llmCall: typeof host.llmCall = (effect, context) => {
          requests.push(effect.request.messages)
          return host.llmCall(effect, context)
        }
        await playTurns(thread, { ...host, llmCall }, 1, calls)
      }
      expect(requests.length).toBeGreaterThanOrEqual(calls ? 16 : 8)
      for (const [index, messages] of requests.entries()) {
        const before = requests[index - 1] ?? []
        expect(messages.length).toBeGreaterThan(before.length)
        expect(before.filter((message, place) => message !== messages[place])).toEqual([])
      }
      await thread.close()
    })

    test.each([
      ["characters are hashed", String.prototype, "charCodeAt"],
      ["records are read of a history", History.prototype, "at"],
      ["items of arrays are read by `at`", Array.prototype, "at"],
    ] as const)("as many %s in turn 30 as in turn 10", async (_what, prototype, method) => {
      const thread = await opened()
      const host = longHost(calls)
      const numbers = async (from: number): Promise<number> => {
        await playTurns(thread, host, from - thread.turns, calls)
        return countCalls(prototype, method, () => playTurns(thread, host, 4, calls))
      }
      const early = await numbers(10)
      const late = await numbers(30)
      expect(early).toBeGreaterThan(0)
      // A goal counts with numbers that grow.
      expect(late / early).toBeLessThan(1.02)
      await thread.close()
    })
  })

  test.each([
    ["a goal", WITH_GOAL],
    ["no goal driver", WITHOUT_GOALS],
  ] as const)("with %s: a turn copies the history of the thread no more often for having more model calls", async (kind, options) => {
    const copies = async (calls: boolean): Promise<number> => {
      const thread = await Thread.open(memoryJournalStore(), "t", options)
      if (kind === "a goal") await thread.command({ type: "set", objective: "Talk about foxes." })
      const host = longHost(calls)
      await playTurns(thread, host, 4, calls)
      const { length } = thread.history
      const made = await listsMade(() => playTurns(thread, host, 4, calls))
      await thread.close()
      return made.filter((list) => list.length >= length).length
    }
    expect(await copies(true)).toBe(await copies(false))
  })

  test("nor does it after the thread was opened again, but for its first turn", async () => {
    const store = memoryJournalStore()
    const first = await Thread.open(store, "t", LONG_THREAD)
    await playTurns(first, longHost(), 30)
    await first.close()
    const thread = await Thread.open(store, "t", LONG_THREAD)
    await playTurns(thread, longHost(), 1)
    const late = await countCalls(String.prototype, "charCodeAt", () => playTurns(thread, longHost(), 1))
    expect(late).toBeLessThan(20_000)
    await thread.close()
  })

  test("a turn with a message that only it has shares nothing with the log, and the next one continues", async () => {
    const thread = await Thread.open(memoryJournalStore(), "t", LONG_THREAD)
    await playTurns(thread, longHost(), 3)
    const transient = { type: "plugin", pluginId: "note", transient: true } as const
    await thread.say("And now?")
    const requests: (readonly LlmMessage[])[] = []
    const host = longHost()
    await runThread(thread, {
      ...host,
      llmCall(effect, context) {
        requests.push(effect.request.messages)
        return host.llmCall(effect, context)
      },
      checkpoint: async ({ checkpoint }) =>
        checkpoint === "before_completion" && requests.length === 1
          ? { transientMessages: [{ role: "system", content: "Only now.", origin: transient }], userMessages: [] }
          : undefined,
    })
    await playTurns(thread, longHost(), 1)
    expect(JSON.stringify(thread.history)).not.toContain("Only now.")
    const again = thread.history.flatMap((record) => (record.type === "conversation" ? [record.message.id] : []))
    expect(new Set(again).size).toBe(again.length)
    await thread.close()
  })
})
