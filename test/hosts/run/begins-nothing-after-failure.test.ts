import { describe, expect, test, vi } from "vitest"
import type { Host } from "../../../src/hosts/host.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { TurnJournal } from "../../../src/hosts/journal/turn-journal.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { heldTurn } from "./held-support.ts"
import { calls, configOf, neverCalled, newTurn, script, start } from "./support.ts"

const crash = new Error("The process was killed.")
const isFatal = (error: unknown): boolean => error === crash

function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, 5)
  })
}

describe("after an error that ends the run", () => {
  test("the next call of the batch does not begin, although a place is free", async () => {
    const began: string[] = []
    const host: Host = {
      llmCall: script(calls(["c1", "a"], ["c2", "a"], ["c3", "a"])),
      tools: {
        effects: () => "none",
        async call({ callId }) {
          began.push(callId)
          throw crash
        },
      },
    }
    await expect(runTurn(newTurn(), host, { isFatal, toolConcurrency: 1 })).rejects.toBe(crash)
    await nextTask()
    expect(began).toEqual(["c1"])
  })

  test("a cancellation that ends so leaves no timer behind", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
    try {
      const cancel = async (): Promise<never> => {
        throw crash
      }
      const host: Host = { llmCall: neverCalled, tools: { effects: () => "none", call: neverCalled, cancel } }
      const turn = newTurn()
      const stopped = runTurn(turn, {
        llmCall: script(calls(["c1", "a"])),
        save: () => turn.outstanding?.type === "tool_calls" && Promise.reject(crash),
      } as never)
      await expect(stopped).rejects.toBe(crash)
      await expect(runTurn(turn, host, { isFatal, signal: AbortSignal.abort() })).rejects.toBe(crash)
      expect(vi.getTimerCount()).toBe(0)
    } finally {
      vi.useRealTimers()
    }
  })

  test("nor does one whose place is freed by a call that ends at the same time", async () => {
    const began: string[] = []
    const host: Host = {
      llmCall: script(calls(["c1", "a"], ["c2", "a"], ["c3", "a"])),
      tools: {
        effects: () => "none",
        async call({ callId }) {
          began.push(callId)
          if (callId === "c1") throw crash
          return { output: { status: "success", value: "fine" } }
        },
      },
    }
    await expect(runTurn(newTurn(), host, { isFatal, toolConcurrency: 2 })).rejects.toBe(crash)
    await nextTask()
    expect(began).toEqual(["c1", "c2"])
  })

  test("no start of a call is recorded: the next run knows that it did not begin", async () => {
    const store = memoryJournalStore()
    let fails = false
    const host: Host = {
      llmCall: script(calls(["c1", "look"], ["c2", "pay"])),
      tools: {
        effects: ({ callId }) => {
          fails ||= callId === "c1"
          return callId === "c2" ? "once" : "none"
        },
        call: neverCalled,
      },
    }
    const now = async (): Promise<number> => {
      if (fails) throw new Error("The clock is gone.")
      return 1
    }
    const journal = await TurnJournal.open(store, "t")
    const machine = await journal.begin(configOf(), start)
    await expect(runTurn(machine, host, { journal, now, toolConcurrency: 1 })).rejects.toThrow("The clock is gone.")
    await nextTask()
    expect(journal.mayHaveRun(machine.outstanding?.id ?? 0, "c2")).toBe(false)
  })
})

test("a host is not asked for decisions once the turn was cancelled while its clock was read", async () => {
  const controller = new AbortController()
  let asked = 0
  let isHeld = false
  const host: Host = {
    llmCall: script(calls(["c1", "pay"])),
    tools: { effects: () => "none", call: neverCalled },
    save({ outstanding }) {
      isHeld = outstanding?.type === "tool_calls"
    },
    async decide() {
      asked += 1
      return []
    },
  }
  const now = async (): Promise<number> => {
    if (isHeld) controller.abort("Stop.")
    return 1
  }
  const done = await runTurn(heldTurn(), host, { signal: controller.signal, now, cancelGraceMs: 5 })
  expect([done.outcome, asked]).toEqual([{ type: "stopped", stop: { type: "cancelled" } }, 0])
})
