import { describe, expect, test } from "vitest"
import { type Host, LlmCallError, type TurnLog } from "../../../src/hosts/host.ts"
import { journaled } from "../../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { TurnJournal } from "../../../src/hosts/journal/turn-journal.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { type RedirectMessages, redirectRun } from "../../../src/hosts/run/wake-run.ts"
import type { TurnMachine } from "../../../src/machine/turn-machine.ts"
import type { LlmCall } from "../../../src/wire/effect.ts"
import type { TurnEvent } from "../../../src/wire/event.ts"
import type { Message } from "../../../src/wire/message.ts"
import { userMessage } from "../../machine/support.ts"
import { approve, Counted, heldTurn } from "./held-support.ts"
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
  test("stops its model call, stores what was said, and asks again with the message", async () => {
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

  test("carries out several redirections in order, and asks for their messages only then", async () => {
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

  test("resolves with false for a machine that does not run, and for one that ends first", async () => {
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

  test("is false for a turn that a command ends while its journal or its clock is waited for, and the run does not reject", async () => {
    const journal = await TurnJournal.open(memoryJournalStore(), "t")
    const recorded = await journal.begin(configOf(), start)
    const results: boolean[] = []
    const redirected = async (machine: TurnMachine): Promise<void> => void results.push(await redirectRun(machine, [OTHER]))
    const stoppedBy = (machine: TurnMachine, cancel: () => void): Host => ({
      async llmCall(_effect, { signal }) {
        void redirected(machine)
        return untilAborted(signal, () => {
          cancel()
          return signal.reason
        })
      },
    })
    const host = stoppedBy(recorded, () => void journal.command(recorded, { type: "cancel" }))
    expect((await runTurn(recorded, host, { journal })).outcome).toMatchObject({ type: "stopped", stop: { type: "cancelled" } })
    await journal.close()

    const machine = newTurn()
    let isLeft = false
    const now = async (): Promise<number> => {
      if (isLeft) machine.cancel()
      return 1
    }
    const left = stoppedBy(machine, () => {
      isLeft = true
    })
    const { outcome, messages } = await runTurn(machine, left, { now })
    expect(outcome).toMatchObject({ type: "stopped", stop: { type: "cancelled" } })
    expect(texts(messages)).toEqual(["user: Where is it?"])
    expect(results).toEqual([false, false])
  })

  test("a cancellation wins", async () => {
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
  })
})

describe("a redirection that cannot be carried out", () => {
  test.each<readonly [what: string, messages: RedirectMessages, code: string]>([
    ["messages that are none", [{ id: "u2" } as never], "invalid_response"],
    ["a message of the model", [{ ...OTHER, role: "assistant" }], "invalid_response"],
    [
      "a function that throws",
      () => {
        throw Object.assign(new Error("The log is closed."), { code: "closed" })
      },
      "closed",
    ],
  ])("%s: it rejects alone, and the model is not interrupted", async (_what, messages, code) => {
    const machine = newTurn()
    let refused: Promise<unknown> | undefined
    const done = await runTurn(machine, {
      async llmCall(_effect, { signal }) {
        refused = redirectRun(machine, messages).catch((error: unknown) => (error as { code?: string }).code)
        await refused
        return says(signal.aborted ? "Aborted." : "It is here.")
      },
    })
    expect([await refused, texts(done.messages).at(-1)]).toEqual([code, "assistant: It is here."])
  })

  test("is one that the journal has no room for: the call is made again, and results that arrived are stored", async () => {
    const store = memoryJournalStore()
    let machine: TurnMachine | undefined
    let refused: Promise<unknown> | undefined
    const ran: string[] = []
    const answers = [calls(["a", "x"], ["b", "x"]), says("Both.")]
    const done = await journaled(
      {
        llmCall: async () => answers.shift() ?? says("No more."),
        save: (saved) => {
          machine = saved
        },
        tools: {
          effects: () => "idempotent",
          async call({ callId }, { signal }) {
            ran.push(callId)
            if (callId === "b" && refused === undefined && machine !== undefined) {
              const long = [userMessage("h".repeat(30_000), "u2")]
              refused = redirectRun(machine, long).catch((error: unknown) => (error as { code?: string }).code)
              await untilAborted(signal).catch(() => {})
            }
            return { output: { status: "success", value: callId } }
          },
        },
      },
      store,
      { maxLineChars: 20_000 },
    ).run("t", { config: configOf(), start, turnId: "t" }, { cancelGraceMs: 50 })
    expect([await refused, texts(done.messages).at(-1)]).toEqual(["record_too_long", "assistant: Both."])
    expect(ran).toEqual(["a", "b"])
  })

  test("is one that the journal has no room for, during a model call: the model is asked again", async () => {
    let machine: TurnMachine | undefined
    let refused: Promise<unknown> | undefined
    let asked = 0
    const host: Host = {
      save: (saved) => {
        machine = saved
      },
      async llmCall(_effect, { signal }) {
        asked += 1
        if (asked === 2 || machine === undefined) return says("It is here.")
        refused = redirectRun(machine, [userMessage("h".repeat(30_000), "u2")]).catch((error: unknown) => (error as { code?: string }).code)
        return untilAborted(signal)
      },
    }
    const turn = { config: configOf(), start, turnId: "t" }
    const done = await journaled(host, memoryJournalStore(), { maxLineChars: 20_000 }).run("t", turn)
    expect([await refused, asked, texts(done.messages).at(-1)]).toEqual(["record_too_long", 2, "assistant: It is here."])
  })

  test("rejects with the error of the host that ends the run at the same time", async () => {
    const machine = newTurn()
    let failed: Promise<unknown> | undefined
    let saves = 0
    const run = runTurn(machine, {
      async llmCall(_effect, { signal }) {
        failed = redirectRun(machine, [OTHER]).catch((error: Error) => error.message)
        return untilAborted(signal)
      },
      save() {
        saves += 1
        if (saves === 2) throw new Error("The disk is full.")
      },
    })
    await expect(run).rejects.toThrow("The disk is full.")
    expect(await failed).toBe("The disk is full.")
  })
})

describe("a redirection at the same moment as", () => {
  test("the answer: what the answer began is left, and the answer stays", async () => {
    const machine = newTurn()
    const answers = [calls(["a", "x"]), says("Redirected.")]
    const ran: string[] = []
    const done = await runTurn(machine, {
      async llmCall() {
        const next = answers.shift() ?? says("No more.")
        if (answers.length === 1) void redirectRun(machine, [OTHER])
        return next
      },
      tools: {
        effects: () => "none",
        async call({ callId }) {
          ran.push(callId)
          return { output: { status: "success", value: 1 } }
        },
      },
    })
    expect(ran).toEqual([])
    expect(texts(done.messages)).toEqual([
      "user: Where is it?",
      "assistant: tool_call",
      "user: The user redirected the turn before this was done.",
      "user: Read the other one.",
      "assistant: Redirected.",
    ])
  })

  test("an answer that ends the turn: it is false, and the run does not reject", async () => {
    const machine = newTurn()
    let redirected: Promise<boolean> | undefined
    const done = await runTurn(machine, {
      async llmCall() {
        redirected = redirectRun(machine, [OTHER])
        return { ...says("No."), terminalReason: "refusal" as const }
      },
    })
    expect([await redirected, done.outcome.type]).toEqual([false, "stopped"])
    expect(texts(done.messages)).not.toContain("user: Read the other one.")
  })

  test("the approval of a held call: the call does not run", async () => {
    const machine = heldTurn()
    const answers = [calls(["p1", "pay"]), says("Not paid.")]
    const counted = new Counted()
    await runTurn(machine, {
      llmCall: async () => answers.shift() ?? says("No more."),
      tools: counted.tools,
      async decide(held) {
        void redirectRun(machine, [OTHER])
        return held.map(approve)
      },
    })
    expect(counted.all).toEqual({})
    expect(texts(machine.messages).at(-1)).toBe("assistant: Not paid.")
  })

  test("a pause: the turn is redirected, and suspends before its model is asked", async () => {
    const machine = newTurn()
    const pause = new AbortController()
    let redirected: Promise<boolean> | undefined
    let asked = 0
    const host = {
      async llmCall(_effect: LlmCall, { signal }: { readonly signal: AbortSignal }) {
        asked += 1
        if (asked === 2) return says("Redirected.")
        redirected = redirectRun(machine, [OTHER])
        pause.abort()
        return untilAborted(signal)
      },
    }
    const result = await runTurn(machine, host, { pause: pause.signal })
    expect([result.type, await redirected, asked]).toEqual(["suspended", true, 1])
    expect(texts((await runTurn(machine, host)).messages).slice(-2)).toEqual(["user: Read the other one.", "assistant: Redirected."])
  })

  test("a cancellation while the work is stopped: the message is stored, and the turn ends as cancelled", async () => {
    const machine = newTurn()
    const controller = new AbortController()
    let redirected: Promise<boolean> | undefined
    const done = await runTurn(
      machine,
      {
        async llmCall(_effect, { signal }) {
          redirected = redirectRun(machine, [OTHER])
          return untilAborted(signal).catch((error: unknown) => {
            controller.abort("Enough.")
            throw error
          })
        },
      },
      { signal: controller.signal },
    )
    expect([await redirected, done.outcome]).toEqual([true, { type: "stopped", stop: { type: "cancelled" } }])
    expect(texts(done.messages)).toContain("user: Read the other one.")
  })
})

describe("a turn that waits", () => {
  test("for decisions, and suspended, is redirected when it runs again; the calls never run", async () => {
    const machine = heldTurn()
    const answers = [calls(["p1", "pay"]), says("Not paid.")]
    const counted = new Counted()
    const host = { llmCall: async () => answers.shift() ?? says("No more."), tools: counted.tools }
    expect((await runTurn(machine, host, { suspend: true })).type).toBe("suspended")
    expect(await redirectRun(machine, [OTHER])).toBe(false)

    const running = runTurn(machine, host, { suspend: true })
    expect(await redirectRun(machine, [OTHER])).toBe(true)
    expect(texts((await running).messages).slice(-2)).toEqual(["user: Read the other one.", "assistant: Not paid."])
    expect(counted.all).toEqual({})
  })

  test("for work outside: its tools end that work, and what they say is the result", async () => {
    const machine = newTurn()
    const answers = [calls(["job", "x"]), says("Stopped.")]
    const cancelled: string[] = []
    const host = {
      llmCall: async () => answers.shift() ?? says("No more."),
      tools: {
        effects: () => "none" as const,
        async call() {
          return { output: { status: "pending" as const, token: "job-1" } }
        },
        async cancel({ callId }: { readonly callId: string }) {
          cancelled.push(callId)
          return { output: { status: "success" as const, value: "half of it" } }
        },
      },
    }
    expect((await runTurn(machine, host, { suspend: true })).type).toBe("suspended")
    const running = runTurn(machine, host, { suspend: true })
    expect(await redirectRun(machine, [OTHER])).toBe(true)
    const { messages } = await running
    expect(cancelled).toEqual(["job"])
    expect(texts(messages).slice(-3)).toEqual(["user: half of it", "user: Read the other one.", "assistant: Stopped."])
  })
})

describe("what a user interface receives of a redirected run", () => {
  test("one event that says so, the end of each call, and nothing that the stopped executors emit later", async () => {
    const machine = newTurn()
    const answers = [calls(["a", "x"]), says("Redirected.")]
    const events: TurnEvent[] = []
    await runTurn(
      machine,
      {
        llmCall: async () => answers.shift() ?? says("No more."),
        tools: {
          effects: () => "none",
          async call(_call, { signal, emit }) {
            void redirectRun(machine, [OTHER])
            await untilAborted(signal).catch(() => {})
            emit({ type: "text_delta", content: "too late" })
            throw new Error("Aborted.")
          },
        },
      },
      { onEvent: (event) => events.push(event) },
    )
    expect(events.filter(({ type }) => type === "tool_call_start" || type === "tool_call" || type === "message").map(({ type }) => type)).toEqual([
      "tool_call_start",
      "tool_call",
      "message",
    ])
    expect(events).toContainEqual({ type: "message", text: "The user redirected the turn.", kind: "redirected" })
    expect(JSON.stringify(events)).not.toContain("too late")
  })
})

test("a process that dies at any write of a redirected turn leaves one that continues, with the message once or not at all", async () => {
  const config = configOf()
  let writes = 0
  /** `isAfter`: it dies when the record is stored, before it is handled. */
  const run = async (dieAt: number, isAfter: boolean): Promise<readonly string[]> => {
    const store = memoryJournalStore()
    writes = 0
    const dies = new Error("The process is gone.")
    const process = async (redirects: boolean, limit: number): Promise<readonly string[]> => {
      let redirected = !redirects
      const journal = await TurnJournal.open(store, "t", { takeOver: true })
      const write = async <Result>(record: () => Promise<Result>): Promise<Result> => {
        writes += 1
        if (limit > 0 && writes >= limit && !isAfter) throw dies
        const result = await record()
        if (limit > 0 && writes >= limit) throw dies
        return result
      }
      const turn = redirects ? await journal.begin(config, start, { turnId: "t" }) : await journal.resume(config)
      const log: TurnLog = {
        turnId: "t",
        response: (machine, response) => write(() => journal.response(machine, response)),
        command: (machine, command) => write(() => journal.command(machine, command)),
        callStarted: (effectId, callId) => write(() => journal.callStarted(effectId, callId)),
        mayHaveRun: (effectId, callId) => journal.mayHaveRun(effectId, callId),
        settled: (machine) => journal.settled(machine),
      }
      try {
        const done = await runTurn(
          turn,
          {
            async llmCall({ request }) {
              const said = request.messages.filter(({ role }) => role === "assistant").length
              return said === 0 ? calls(["a", "x"], ["once", "x"]) : says("Done.")
            },
            tools: {
              effects: ({ callId }) => (callId === "once" ? "once" : "none"),
              async call({ callId }, { signal }) {
                if (redirected) return { output: { status: "success", value: callId } }
                if (callId === "once") {
                  redirected = true
                  void redirectRun(turn, [OTHER]).catch(() => {})
                }
                return untilAborted(signal)
              },
            },
          },
          { journal: log, cancelGraceMs: 5 },
        )
        return texts(done.messages)
      } finally {
        await journal.close()
      }
    }
    try {
      return await process(true, dieAt)
    } catch (error) {
      if (error !== dies) throw error
    }
    return process(false, 0)
  }
  const whole = await run(0, false)
  expect(whole.at(-2)).toBe("user: Read the other one.")
  const all = writes
  expect(all).toBeGreaterThan(3)
  const times: number[] = []
  for (let dieAt = 1; dieAt <= all; dieAt += 1) {
    for (const isAfter of [false, true]) {
      const said = await run(dieAt, isAfter)
      const where = `died at write ${dieAt}`
      expect(said.at(-1), where).toBe("assistant: Done.")
      expect(
        said.filter((text) => text.includes("tool_call")),
        where,
      ).toHaveLength(1)
      times.push(said.filter((text) => text === "user: Read the other one.").length)
    }
  }
  // A redirection that was stored counts, and one that was not is the caller's to ask for again.
  expect([...new Set(times)].sort()).toEqual([0, 1])
})
