import { describe, expect, test } from "vitest"
import { type Host, LlmCallError } from "../../../src/hosts/host.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { JournalStore } from "../../../src/hosts/journal/store.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { Thread, type ThreadOptions } from "../../../src/hosts/thread/thread.ts"
import type { Message } from "../../../src/wire/message.ts"
import { CONFIG as BASE } from "../../replay/support.ts"
import { dyingStore } from "../../support/dying-store.ts"
import { says, shown, World } from "./support.ts"

const CONFIG = { ...BASE, tools: ["pay", "look"].map((name) => ({ name, description: name, inputSchema: { type: "object" } })) }
const APPROVALS: ThreadOptions["approvals"] = ({ toolName }) => (toolName === "pay" ? { hold: {} } : "run")

const messagesOf = (thread: Thread): readonly Message[] =>
  thread.history.flatMap((record) => (record.type === "conversation" ? [record.message] : []))

/** Each message as its role and what it is made of. */
const told = (thread: Thread): readonly string[] =>
  messagesOf(thread).map(
    ({ role, parts }) => `${role}: ${parts.map((part) => ("text" in part && part.type !== "tool_result" ? part.text : part.type)).join(" | ")}`,
  )

/** A call that an abort ends, as a model client's does. */
const untilAborted = (signal: AbortSignal, error?: () => unknown): Promise<never> =>
  new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(error?.() ?? signal.reason)))

const hanging = (): Promise<never> => new Promise(() => {})

describe("a redirected thread", () => {
  test("stops the model call, keeps what was said and continues the same turn; inputs before it come first, those for later wait", async () => {
    const world = new World(() => says("Done."))
    let calls = 0
    const host: Host = {
      ...world.host,
      async llmCall(effect, context) {
        calls += 1
        if (calls > 1) return world.host.llmCall(effect, context)
        context.emit({ type: "text_delta", content: "I will dance" })
        await thread.say("By the way.")
        await thread.say("At the end.", { when: "turn_end" })
        await thread.say("Next.", { when: "next_turn" })
        expect(await thread.redirect("Sing instead.")).toEqual({ inputId: "user-5", status: "queued" })
        expect(thread.queue().map(({ inputId }) => inputId)).toEqual(["user-3", "user-4"])
        expect(await thread.retract("user-5")).toBe("delivered")
        return untilAborted(context.signal)
      },
    }
    const thread = await Thread.open(memoryJournalStore(), "t", world.options({ goals: false }))
    await thread.say("Dance.")
    await world.run(thread, {}, host)
    expect(told(thread)).toEqual([
      "user: Dance.",
      "assistant: I will dance | interrupted",
      "user: By the way.",
      "user: Sing instead.",
      "assistant: Done.",
      "user: At the end.",
      "assistant: Done.",
      "user: Next.",
      "assistant: Done.",
    ])
    expect(thread.turns).toBe(2)
    await thread.close()
  })

  test("stops tool calls: each has a result, and a call that may have run says so", async () => {
    const world = new World((calls) => (calls === 0 ? says("", "a=look", "b=look") : says("Done.")))
    const host: Host = {
      ...world.host,
      tools: {
        effects: ({ callId }) => (callId === "a" ? "once" : "idempotent"),
        call: async ({ callId }) => {
          if (callId === "b") await thread.redirect("Stop that.")
          return hanging()
        },
      },
    }
    const thread = await Thread.open(memoryJournalStore(), "t", world.options({ config: CONFIG, goals: false }))
    await thread.say("Look twice.")
    await world.run(thread, {}, host)
    const results = messagesOf(thread).flatMap(({ parts }) => parts.flatMap((part) => (part.type === "tool_result" ? [part] : [])))
    expect(results.map(({ callId, isError }) => [callId, isError])).toEqual([
      ["a", true],
      ["b", true],
    ])
    expect(results[0]?.text).toContain("may have taken effect")
    expect(told(thread).slice(-2)).toEqual(["user: Stop that.", "assistant: Done."])
    expect(thread.turns).toBe(1)
    await thread.close()
  })

  test("without an open turn begins one, as an input does", async () => {
    const world = new World(() => says("Done."))
    const thread = await Thread.open(memoryJournalStore(), "t", world.options({ goals: false }))
    await thread.redirect("Dance.")
    expect(thread.queue().map(({ inputId, when }) => [inputId, when])).toEqual([["user-1", "now"]])
    await world.run(thread)
    expect(told(thread)).toEqual(["user: Dance.", "assistant: Done."])
    await thread.close()
  })

  test("is redirected once by inputs with the same key", async () => {
    const world = new World(async (calls, _request, signal) => {
      if (calls > 0) return says("Done.")
      const receipts = await Promise.all([1, 2, 3].map(() => thread.redirect("Sing instead.", { key: "k" })))
      expect(new Set(receipts.map(({ inputId }) => inputId)).size).toBe(1)
      return untilAborted(signal)
    })
    const thread = await Thread.open(memoryJournalStore(), "t", world.options({ goals: false }))
    await thread.say("Dance.")
    await world.run(thread)
    expect(await thread.redirect("Sing instead.", { key: "k" })).toEqual({ inputId: "user-2", status: "queued" })
    await world.run(thread)
    expect(told(thread)).toEqual(["user: Dance.", "user: Sing instead.", "assistant: Done."])
    await thread.close()
  })

  test("keeps its goal, which is charged what the stopped call used: as reported, or an estimate", async () => {
    for (const report of [true, false]) {
      const world = new World(async (calls, _request, signal) => {
        if (calls > 1) return says("Done.")
        if (calls === 1) return says("", 'u=update_goal {"status":"complete"}')
        await thread.redirect("Sing instead.")
        if (!report) return hanging()
        const usage = { inputTokens: 30, cachedInputTokens: 0, outputTokens: 3, reasoningTokens: 0 }
        return untilAborted(signal, () => new LlmCallError({ message: "Stopped.", retryable: false, terminalReason: "cancelled", usage }))
      })
      const lostUsage = () => ({ inputTokens: 70, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 })
      const thread = await Thread.open(memoryJournalStore(), "t", world.options({ lostUsage }))
      await thread.command({ type: "set", objective: "Dance." })
      await world.run(thread)
      const { requests } = world
      expect(thread.goal).toMatchObject({ status: "complete", tokensUsed: report ? 43 : 80 })
      expect(shown(requests[1])).toContain("Sing instead.")
      await thread.close()
    }
  })
})

describe("a suspended turn that is redirected", () => {
  const open = (world: World, store = memoryJournalStore(), more: Partial<ThreadOptions> = {}) =>
    Thread.open(store, "t", world.options({ config: CONFIG, approvals: APPROVALS, goals: false, ...more }))
  const payThenDone = (): World => new World((calls) => (calls === 0 ? says("", "p=pay") : says("Done.")))
  const end = ["assistant: tool_call", "user: tool_result", "user: Look instead.", "assistant: Done."]

  test("continues while its run waits: its calls are cancelled, and none has run", async () => {
    const world = payThenDone()
    const ran: string[] = []
    const thread = await open(world)
    await thread.say("Pay.")
    await world.run(
      thread,
      {
        onSuspended: () => {
          setTimeout(() => void thread.redirect("Look instead."), 5)
        },
        wait: (_until, signal) => new Promise((resolve) => signal?.addEventListener("abort", () => resolve())),
      },
      { ...world.host, tools: { effects: () => "once", call: async ({ callId }) => ({ output: { status: "success", value: ran.push(callId) } }) } },
    )
    expect(told(thread)).toEqual(["user: Pay.", ...end])
    expect([ran, thread.turns]).toEqual([[], 1])
    await thread.close()
  })

  test("continues in its next run, also with a loop that begins later than it is called", async () => {
    for (const isLate of [false, true]) {
      const world = payThenDone()
      const thread = await open(world)
      await thread.say("Pay.")
      expect(await world.run(thread, { suspend: true })).toMatchObject({ type: "suspended" })
      await thread.redirect("Look instead.")
      await world.run(thread, {
        suspend: true,
        ...(isLate && {
          runTurn: async (machine, host, options) => {
            await new Promise((resolve) => setTimeout(resolve, 2))
            return runTurn(machine, host, options)
          },
        }),
      })
      expect(told(thread)).toEqual(["user: Pay.", ...end])
      await thread.close()
    }
  })

  test("continues in another process, if its process died after the input was stored", async () => {
    const store = memoryJournalStore()
    const world = payThenDone()
    const first = await open(world, store)
    await first.say("Pay.")
    await world.run(first, { suspend: true })
    await first.redirect("Look instead.")
    const second = await open(world, store, { takeOver: true })
    await world.run(second, { suspend: true })
    expect(told(second)).toEqual(["user: Pay.", ...end])
    await second.close()
  })

  test("ends if it has passed its deadline, and the input begins the next turn", async () => {
    const world = payThenDone()
    const thread = await open(world, memoryJournalStore(), { turnDeadlineMs: 60_000 })
    await thread.say("Pay.")
    await world.run(thread, { suspend: true })
    world.at += 100_000
    await thread.redirect("Look instead.")
    await world.run(thread, { suspend: true })
    expect(told(thread).slice(-2)).toEqual(["user: Look instead.", "assistant: Done."])
    expect([thread.turns, thread.openTurn]).toEqual([2, undefined])
    await thread.close()
  })
})

test("a redirection and an interrupt at once: the turn ends or continues, and the input is delivered once", async () => {
  for (const isFirst of [true, false]) {
    const world = new World(async (calls, _request, signal) => {
      if (calls > 0) return says("Done.")
      await thread.say("By the way.", { when: "turn_end" })
      if (isFirst) {
        void thread.redirect("Sing.")
        expect((await thread.interrupt()).returned.map(({ inputId }) => inputId)).toEqual(["user-2"])
      } else {
        const interrupted = thread.interrupt()
        await thread.redirect("Sing.")
        expect((await interrupted).returned.map(({ inputId }) => inputId)).toEqual(["user-2"])
      }
      return untilAborted(signal)
    })
    const thread = await Thread.open(memoryJournalStore(), "t", world.options({ goals: false }))
    await thread.say("Dance.")
    await world.run(thread)
    expect(told(thread).filter((line) => line.startsWith("user"))).toEqual(["user: Dance.", "user: Sing."])
    expect(told(thread).at(-1)).toBe("assistant: Done.")
    await thread.close()
  }
})

test("wherever the process dies, the input of a redirection is delivered exactly once, in this turn or first in the next", async () => {
  const isKilled = (error: unknown): boolean => error instanceof Error && error.message === "killed"
  let redirected = 0
  for (let writes = 1; writes < 24; writes += 1) {
    const store = memoryJournalStore()
    let isStored = false
    let calls = 0
    const world = new World(async (_calls, _request, signal) => {
      calls += 1
      if (calls > 1) return says(`Done ${calls}.`)
      await opened?.say("By the way.")
      await opened?.redirect("Sing instead.")
      isStored = true
      return untilAborted(signal)
    })
    let opened: Thread | undefined
    try {
      opened = await Thread.open(dyingStore(store, writes), "t", world.options({ goals: false }))
      await opened.say("Dance.")
      await world.run(opened, { isFatal: isKilled })
    } catch (error) {
      if (!isKilled(error)) throw error
    }
    const later = await Thread.open(store, "t", world.options({ goals: false, takeOver: true }))
    await world.run(later)
    const users = told(later).filter((line) => line.startsWith("user"))
    expect([writes, users.filter((line) => line === "user: Sing instead.").length]).toEqual([
      writes,
      users.includes("user: Sing instead.") || isStored ? 1 : 0,
    ])
    if (isStored) expect(users).toEqual(["user: Dance.", "user: By the way.", "user: Sing instead."])
    if (isStored) redirected += 1
    expect(later.queue()).toEqual([])
    await later.close()
  }
  expect(redirected).toBeGreaterThan(5)
})

test("a redirection that arrives while a checkpoint delivers inputs, at any moment of that, delivers none of them twice", async () => {
  for (let ticks = 0; ticks < 60; ticks += 1) {
    const base = memoryJournalStore()
    const texts: string[] = []
    const store: JournalStore = {
      ...base,
      open: async (...given) => {
        const stored = await base.open(...given)
        return {
          read: () => stored.read(),
          replace: (text) => stored.replace(text),
          close: () => stored.close(),
          append: async (text) => {
            // The inputs are assigned to the turn, which has not received them.
            if (text.includes('{"type":"assigned"') && texts.length === 0) {
              texts.push(text)
              void (async () => {
                for (let tick = 0; tick < ticks; tick += 1) await undefined
                await thread.redirect("Sing instead.")
              })()
            }
            await stored.append(text)
          },
        }
      },
    }
    const world = new World(async (calls, _request, signal) => {
      if (calls === 0) await thread.say("By the way.")
      if (calls === 0) return says("", "a=look")
      await new Promise((resolve) => setTimeout(resolve, 1))
      signal.throwIfAborted()
      return says("Done.")
    })
    const thread: Thread = await Thread.open(store, "t", world.options({ goals: false }))
    await thread.say("Dance.")
    await world.run(thread)
    const users = told(thread).filter((line) => line.startsWith("user: ") && line !== "user: tool_result")
    expect([ticks, users]).toEqual([ticks, ["user: Dance.", "user: By the way.", "user: Sing instead."]])
    await thread.close()
  }
})
