import { describe, expect, test } from "vitest"
import { LlmCallError } from "../../../src/hosts/host.ts"
import { journaled } from "../../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { TurnJournal } from "../../../src/hosts/journal/turn-journal.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { redirectRun } from "../../../src/hosts/run/wake-run.ts"
import type { TurnMachine } from "../../../src/machine/turn-machine.ts"
import type { LlmCall } from "../../../src/wire/effect.ts"
import type { Message } from "../../../src/wire/message.ts"
import { userMessage } from "../../machine/support.ts"
import { heldTurn } from "./held-support.ts"
import { calls, configOf, newTurn, says, start } from "./support.ts"

const OTHER = userMessage("Read the other one.", "u2")

function texts(messages: readonly Message[]): readonly string[] {
  return messages.map(({ role, parts }) => `${role}: ${parts.map((part) => ("text" in part ? part.text.split("\n").at(-1) : part.type)).join(" | ")}`)
}

/** A promise that an abort rejects, as a model client's does. */
function untilAborted(signal: AbortSignal, error: () => unknown = () => signal.reason): Promise<never> {
  return new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(error())))
}

describe("a run that is redirected", () => {
  test("stops its model call, keeps what was said, and asks again with the message", async () => {
    const machine = newTurn()
    let asked = 0
    const requests: LlmCall[] = []
    const done = await runTurn(machine, {
      async llmCall(effect, { emit, signal }) {
        requests.push(effect)
        asked += 1
        if (asked === 2) return says("It is here.")
        emit({ type: "text_delta", content: "I will read" })
        void redirectRun(machine, [OTHER])
        return untilAborted(signal)
      },
    })
    expect(texts(done.messages)).toEqual([
      "user: Where is it?",
      "assistant: I will read | interrupted",
      "user: Read the other one.",
      "assistant: It is here.",
    ])
    expect([asked, done.outcome.type]).toEqual([2, "finished"])
    expect(requests[1]?.request.messages.slice(0, 2)).toEqual(requests[0]?.request.messages)
  })

  test("counts the tokens that the stopped call reports", async () => {
    const machine = newTurn()
    let asked = 0
    const done = await runTurn(machine, {
      async llmCall(_effect, { signal }) {
        asked += 1
        if (asked === 2) return says("Fine.")
        void redirectRun(machine, [OTHER])
        const partial = { ...says("Half"), usage: { inputTokens: 100, cachedInputTokens: 0, outputTokens: 7, reasoningTokens: 0 } }
        const failure = { message: "aborted", retryable: false, terminalReason: "cancelled" } as const
        return untilAborted(signal, () => new LlmCallError(failure, { partial }))
      },
    })
    expect([done.usage.inputTokens, done.usage.outputTokens]).toEqual([101, 8])
  })

  test("gives each open call a result: one that came in time, one that may have run, and a cancelled one", async () => {
    const store = memoryJournalStore()
    const turn = { config: configOf(), start, turnId: "t" }
    let machine: TurnMachine | undefined
    const answers = [calls(["quick", "x"], ["once", "x"], ["slow", "x"]), says("Redirected.")]
    const done = await journaled(
      {
        llmCall: async () => answers.shift() ?? says("No more."),
        save: (saved) => {
          machine = saved
        },
        tools: {
          effects: ({ callId }) => (callId === "once" ? "once" : "none"),
          async call({ callId }, { signal }) {
            if (callId === "slow" && machine !== undefined) void redirectRun(machine, [OTHER])
            if (callId === "quick") {
              await untilAborted(signal).catch(() => {})
              return { output: { status: "success", value: "in time" } }
            }
            return new Promise(() => {})
          },
        },
      },
      store,
    ).run("t", turn, { cancelGraceMs: 20 })
    const results = done.messages.flatMap(({ parts }) =>
      parts.flatMap((part) => (part.type === "tool_result" ? [`${part.callId}: ${part.text}`] : [])),
    )
    expect(results).toEqual([
      "quick: in time",
      expect.stringMatching(/^once: .*may have taken effect/s),
      expect.stringMatching(/^slow: .*cancelled.*redirected/s),
    ])
    expect(texts(done.messages).slice(-2)).toEqual(["user: Read the other one.", "assistant: Redirected."])

    // The journal has the redirection: another process folds the same turn.
    const journal = await TurnJournal.open(store, "t")
    const resumed = await journal.resume(turn.config)
    expect(resumed.messages).toEqual(done.messages)
    await journal.close()
  })

  test("leaves calls that wait for a person: they are cancelled and never run", async () => {
    const machine = heldTurn()
    const answers = [calls(["p1", "pay"]), says("Not paid.")]
    const ran: string[] = []
    const done = await runTurn(
      machine,
      {
        llmCall: async () => answers.shift() ?? says("No more."),
        tools: {
          effects: () => "none",
          async call({ callId }) {
            ran.push(callId)
            return { output: { status: "success", value: "paid" } }
          },
        },
        async decide() {
          void redirectRun(machine, [OTHER])
          return new Promise(() => {})
        },
      },
      { cancelGraceMs: 20 },
    )
    expect(ran).toEqual([])
    expect(texts(done.messages).slice(-2)).toEqual(["user: Read the other one.", "assistant: Not paid."])
  })

  test("takes several redirections in order, and their messages when it takes them", async () => {
    const machine = newTurn()
    let asked = 0
    const taken: Promise<boolean>[] = []
    const done = await runTurn(machine, {
      async llmCall(_effect, { signal }) {
        asked += 1
        if (asked === 2) return says("Both.")
        if (asked === 1) {
          taken.push(redirectRun(machine, [OTHER]))
          taken.push(redirectRun(machine, () => [userMessage(`The third, after ${machine.messages.length}.`, "u3")]))
          taken.push(redirectRun(machine, () => []))
        }
        return untilAborted(signal)
      },
    })
    expect(texts(done.messages)).toEqual(["user: Where is it?", "user: Read the other one.", "user: The third, after 2.", "assistant: Both."])
    expect(await Promise.all(taken)).toEqual([true, true, false])
  })

  test("is false for a machine that does not run, and for one that ends first", async () => {
    const machine = newTurn()
    expect(await redirectRun(machine, [OTHER])).toBe(false)
    let late: Promise<boolean> | undefined
    await runTurn(
      machine,
      { llmCall: async () => says("Done.") },
      {
        onEvent({ type }) {
          if (type === "done") late = redirectRun(machine, [OTHER])
        },
      },
    )
    expect(await late).toBe(false)
    expect(texts(machine.messages)).toEqual(["user: Where is it?", "assistant: Done."])
  })

  test("rejects with what the run rejects with, and a cancellation wins", async () => {
    const machine = newTurn()
    const controller = new AbortController()
    let redirected: Promise<boolean> | undefined
    const done = await runTurn(
      machine,
      {
        async llmCall(_effect, { signal }) {
          redirected = redirectRun(machine, [OTHER])
          controller.abort("Enough.")
          return untilAborted(signal)
        },
      },
      { signal: controller.signal },
    )
    expect([done.outcome, await redirected]).toEqual([{ type: "stopped", stop: { type: "cancelled" } }, false])

    const broken = newTurn()
    let failed: Promise<boolean> | undefined
    const run = runTurn(broken, {
      async llmCall(_effect, { signal }) {
        failed = redirectRun(broken, [{ id: "u2" } as never])
        failed.catch(() => {})
        return untilAborted(signal)
      },
    })
    await expect(run).rejects.toMatchObject({ code: "invalid_response" })
    await expect(failed).rejects.toMatchObject({ code: "invalid_response" })
  })
})
