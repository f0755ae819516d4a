import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { type EffectContext, type Host, LlmCallError } from "../../../src/hosts/host.ts"
import { journaled } from "../../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { addUsage, NO_USAGE } from "../../../src/machine/limits.ts"
import { readJournal } from "../../../src/replay/journal.ts"
import { replay } from "../../../src/replay/replay.ts"
import type { Done } from "../../../src/schemas/effect.ts"
import type { TurnEvent } from "../../../src/schemas/event.ts"
import type { LlmFailure, LlmResponse } from "../../../src/schemas/llm.ts"
import type { Part } from "../../../src/schemas/message.ts"
import type { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { opened } from "../../support/stored-text.ts"
import { calls, configOf, deferred, neverCalled, newTurn, says, script, start, succeed, ticks, toolTexts, usage, watchTimers } from "./support.ts"

const CANCELLED = { type: "stopped", stop: { type: "cancelled" } }
const FAILURE: LlmFailure = { message: "The call was aborted.", retryable: false, terminalReason: "cancelled" }
const TWICE = addUsage(usage, usage)

type Call = (context: EffectContext) => Promise<unknown>

interface Cancelled {
  readonly done: Done
  readonly events: readonly TurnEvent[]
}

/** Runs a turn whose model emits this text, and aborts it. Then the call does what the test says. */
async function abortAfter(text: string, call: Call, machine: TurnMachine = newTurn(), cancelGraceMs = 60_000): Promise<Cancelled> {
  const controller = new AbortController()
  const events: TurnEvent[] = []
  const done = await runTurn(
    machine,
    {
      async llmCall(_effect, context) {
        if (text !== "") context.emit({ type: "text_delta", content: text })
        controller.abort("Stop.")
        return (await call(context)) as LlmResponse
      },
    },
    { signal: controller.signal, cancelGraceMs, onEvent: (event) => void events.push(event) },
  )
  return { done, events }
}

const hangs = (): Promise<never> => new Promise(() => {})

/** What the last message of the turn says, without ids. */
function lastParts({ messages }: Pick<Done, "messages">): readonly unknown[] {
  return (messages.at(-1)?.parts ?? []).map(({ id: _, ...part }: Part) => part)
}

const emitted = [
  { type: "text", text: "Half an" },
  { type: "interrupted", reason: "cancelled" },
]

describe("a cancelled model call has a time to end", () => {
  let timers: ReturnType<typeof watchTimers>
  beforeEach(() => {
    vi.useFakeTimers()
    timers = watchTimers()
  })
  afterEach(() => {
    timers.end()
    vi.useRealTimers()
  })

  test.each([
    ["cancelGraceMs", 50, 50],
    ["2,000 ms by default", undefined, 2_000],
  ])("of %s; then the turn ends without it", async (_what, cancelGraceMs, expected) => {
    const controller = new AbortController()
    let done: Done | undefined
    const options = { signal: controller.signal, ...(cancelGraceMs !== undefined && { cancelGraceMs }) }
    void runTurn(newTurn(), { llmCall: hangs }, options).then((result) => {
      done = result
    })
    await ticks(20)
    controller.abort()
    await vi.advanceTimersByTimeAsync(expected - 1)
    expect(done).toBeUndefined()
    expect(timers.left(expected)).toBe(1)
    await vi.advanceTimersByTimeAsync(1)
    expect(done?.outcome).toEqual(CANCELLED)
    expect(timers.left(expected)).toBe(0)
  })

  test("of nothing with 0", async () => {
    const turn = abortAfter("Half an", hangs, newTurn(), 0)
    await vi.advanceTimersByTimeAsync(0)
    expect(lastParts((await turn).done)).toEqual(emitted)
  })

  test("and the turn does not wait for the rest of it, and leaves no timer", async () => {
    let during = 0
    const call: Call = async ({ signal }) => {
      expect(signal.aborted).toBe(true)
      await ticks(20)
      during = timers.left(60_000)
      throw new Error("aborted")
    }
    const { done } = await abortAfter("", call)
    expect([during, done.outcome, timers.left(60_000)]).toEqual([1, CANCELLED, 0])
  })

  test("an answer after that time is dropped", async () => {
    const late = deferred<LlmResponse>()
    const turn = abortAfter("Half an", () => late.promise, newTurn(), 50)
    await vi.advanceTimersByTimeAsync(50)
    const { done, events } = await turn
    const before = JSON.stringify([done, events])
    late.resolve(says("Half an hour."))
    await ticks(20)
    expect(JSON.stringify([done, events])).toBe(before)
    expect(lastParts(done)).toEqual(emitted)
  })

  test("a checkpoint gets none", async () => {
    const controller = new AbortController()
    const host: Host = {
      llmCall: script(says("Here.")),
      checkpoint() {
        controller.abort()
        return hangs()
      },
    }
    const done = await runTurn(newTurn(), host, { signal: controller.signal, cancelGraceMs: 60_000 })
    expect([done.outcome, timers.left(60_000)]).toEqual([CANCELLED, 0])
  })
})

test.each([-1, Number.NaN])("a cancelGraceMs of %d is refused before anything is polled", async (cancelGraceMs) => {
  const machine = newTurn()
  await expect(runTurn(machine, { llmCall: script(says("Hi.")) }, { cancelGraceMs })).rejects.toThrow(RangeError)
  expect(machine.state).toBe("preparing")
})

describe("a whole answer that comes just after the abort", () => {
  test("is stored as it is, without an interruption, and its usage counts once", async () => {
    const parts = [
      { type: "reasoning", text: "Hm. " },
      { type: "text", text: "Half an hour." },
    ] as const
    const answer: LlmResponse = { text: "Half an hour.", parts, usage, retriedUsage: usage, terminalReason: "stop" }
    const { done, events } = await abortAfter("Half an", async () => answer)
    expect(done.outcome).toEqual(CANCELLED)
    expect(lastParts(done)).toEqual(parts)
    expect(done.usage).toEqual(TWICE)
    expect(events.filter(({ type }) => type === "token_usage")).toEqual([{ type: "token_usage", iteration: 0, usage, cumulative: TWICE }])
    expect(events).toContainEqual({ type: "message", text: "Stop.", kind: "cancelled" })
  })

  test("gives each of its calls a cancelled result, and runs none", async () => {
    const { done } = await abortAfter("", async () => calls(["c1", "look"], ["c2", "look"]))
    expect(done.outcome).toEqual(CANCELLED)
    expect(done.messages.map(({ role }) => role)).toEqual(["user", "assistant", "user"])
    expect(toolTexts(done)).toEqual(["[Tool execution cancelled]\nStop.", "[Tool execution cancelled]\nStop."])
    expect(done.usage).toEqual(usage)
  })

  test.each([
    ["nothing", undefined],
    ["text that is not a string", { ...says("Half an hour."), text: 5 }],
    ["a usage that throws when it is read", Object.defineProperty(says("Half an hour."), "usage", { enumerable: true, get: neverCalled })],
    ["a reason that throws when it is read", Object.defineProperty(says("Half an hour."), "terminalReason", { enumerable: true, get: neverCalled })],
  ])("with %s is not an answer: what was emitted is stored", async (_what, answer) => {
    const { done, events } = await abortAfter("Half an", async () => answer)
    expect(done.outcome).toEqual(CANCELLED)
    expect(lastParts(done)).toEqual(emitted)
    expect(events.filter(({ type }) => type === "error")).toEqual([])
  })

  test("that leads to another model call is not the partial answer of that call", async () => {
    const reasons: LlmResponse = { text: "", parts: [{ type: "reasoning", text: "Hm." }], usage, terminalReason: "stop" }
    const late = async (): Promise<LlmResponse> => {
      await new Promise((resolve) => setTimeout(resolve, 5))
      return reasons
    }
    const { done } = await abortAfter("", late, newTurn({ driver: chatDriver({ retryEmptyAnswer: true }) }))
    expect([done.outcome, done.usage]).toEqual([CANCELLED, usage])
    expect(done.messages.map(({ role }) => role)).toEqual(["user", "assistant"])
  })

  test("without a reason why it ended is a partial answer", async () => {
    const { done } = await abortAfter("Half an", async () => ({ ...says("Half an hour."), terminalReason: undefined }))
    expect(lastParts(done)).toEqual([
      { type: "text", text: "Half an hour." },
      { type: "interrupted", reason: "cancelled" },
    ])
    expect(done.usage).toEqual(usage)
  })
})

describe("a cancelled model call that fails with an LlmCallError", () => {
  const fails =
    (failure: Partial<LlmFailure>, partial?: unknown): Call =>
    async () => {
      throw new LlmCallError({ ...FAILURE, ...failure }, { partial: partial as LlmResponse | undefined })
    }

  test("stores the partial answer of the error, without its calls, and not what was emitted", async () => {
    const parts = [{ type: "reasoning", text: "Hm. " }, { type: "text", text: "Half an h" }, ...calls(["c1", "look"]).parts]
    const { done } = await abortAfter("Half an", fails({}, { ...says("Half an h"), parts, retriedUsage: usage }))
    expect(done.outcome).toEqual(CANCELLED)
    expect(lastParts(done)).toEqual([...parts.slice(0, 2), { type: "interrupted", reason: "cancelled" }])
    expect(done.usage).toEqual(TWICE)
  })

  test.each([
    ["usage", { usage }, usage],
    ["usage of failed attempts", { retriedUsage: usage }, usage],
    ["both", { usage, retriedUsage: usage }, TWICE],
    ["neither", {}, NO_USAGE],
  ])("with %s alone: it counts, and what was emitted is stored", async (_what, failure, expected) => {
    const spoken = await abortAfter("Half an", fails(failure))
    expect(lastParts(spoken.done)).toEqual(emitted)
    expect(spoken.done.usage).toEqual(expected)
    const silent = await abortAfter("", fails(failure))
    expect(silent.done.messages).toHaveLength(1)
    expect(silent.done.usage).toEqual(expected)
    expect([spoken.done.outcome, silent.done.outcome]).toEqual([CANCELLED, CANCELLED])
    expect(silent.events.some(({ type }) => type === "token_usage")).toBe(expected !== NO_USAGE)
  })

  test("counts the usage of the failure, not that of the partial answer", async () => {
    const { done } = await abortAfter("", fails({ usage: TWICE, retriedUsage: usage }, { ...says("Half"), retriedUsage: TWICE }))
    expect(done.usage).toEqual(addUsage(TWICE, usage))
  })

  test.each([
    ["an object that is not an answer", { text: 5 }, NO_USAGE],
    ["a list", [], NO_USAGE],
    ["null", null, NO_USAGE],
    ["a text", "Half", NO_USAGE],
    ["parts of an unknown type", { ...says("Half"), parts: [{ type: "poem" }] }, usage],
    ["counts that are not numbers", { ...says("Half"), parts: 1, usage: { inputTokens: "many" } }, NO_USAGE],
    ["a function in its metadata", { ...says("Half"), parts: [{ type: "text", text: "Half", providerMetadata: { at: () => 1 } }] }, usage],
    ["a getter that throws", Object.defineProperty(says("Half"), "text", { enumerable: true, get: neverCalled }), NO_USAGE],
  ])("whose partial answer is %s: the turn ends as cancelled, with what was emitted", async (_what, partial, expected) => {
    const { done, events } = await abortAfter("Half an", fails({}, partial))
    expect(done.outcome).toEqual(CANCELLED)
    expect(lastParts(done)).toEqual(emitted)
    expect(done.usage).toEqual(expected)
    expect(events.filter(({ type }) => type === "error")).toEqual([])
    const silent = await abortAfter("", fails({}, partial))
    expect([silent.done.outcome, silent.done.messages.length, silent.done.usage]).toEqual([CANCELLED, 1, expected])
  })

  test("whose partial answer has dates and undefined: it is stored as JSON", async () => {
    const part = { type: "text", text: "Half", responseMeta: undefined, providerMetadata: { at: new Date(0), none: undefined } }
    const { done } = await abortAfter("", fails({}, { ...says("Half"), parts: [part], producer: undefined, durationMs: undefined }))
    expect(lastParts(done)).toStrictEqual([
      { type: "text", text: "Half", providerMetadata: { at: "1970-01-01T00:00:00.000Z" } },
      { type: "interrupted", reason: "cancelled" },
    ])
  })
})

describe("what a cancelled model call emitted is stored if the call says nothing else", () => {
  test("as text and reasoning, in order", async () => {
    const { done } = await abortAfter("", async ({ emit }) => {
      // The abort has come already.
      emit({ type: "text_delta", content: "late" })
      throw new Error("aborted")
    })
    expect(done.messages).toHaveLength(1)

    const controller = new AbortController()
    const spoken = await runTurn(
      newTurn(),
      {
        async llmCall(_effect, { emit }) {
          emit({ type: "reasoning_delta", content: "H" })
          emit({ type: "reasoning_delta", content: "m." })
          emit({ type: "text_delta", content: "Half " })
          emit({ type: "text_delta", content: "an" })
          controller.abort()
          throw new Error("aborted")
        },
      },
      { signal: controller.signal },
    )
    expect(lastParts(spoken)).toEqual([
      { type: "reasoning", text: "Hm." },
      { type: "text", text: "Half an" },
      { type: "interrupted", reason: "cancelled" },
    ])
  })

  test("events that are emitted after the abort are dropped", async () => {
    const { done, events } = await abortAfter("Half an", async ({ emit }) => {
      emit({ type: "text_delta", content: " hour." })
      emit({ type: "message", text: "still here", kind: "late" })
      throw new Error("aborted")
    })
    expect(events.filter(({ type }) => type === "text_delta")).toEqual([{ type: "text_delta", content: "Half an" }])
    expect(events.filter(({ type }) => type === "message")).toEqual([{ type: "message", text: "Stop.", kind: "cancelled" }])
    expect(lastParts(done)).toEqual(emitted)
  })
})

describe("an answer counts once, whenever the abort comes", () => {
  const MOMENTS = Array.from({ length: 40 }, (_, moment) => moment)

  /** Aborts so many microtasks after the first model call has begun. */
  async function abortAt(moment: number, answers: readonly (LlmResponse | LlmCallError)[], machine: TurnMachine): Promise<Done> {
    const controller = new AbortController()
    const left = [...answers]
    return runTurn(
      machine,
      {
        async llmCall() {
          if (left.length === answers.length) void ticks(moment).then(() => controller.abort())
          const answer = left.shift()
          if (answer === undefined) return new Promise(() => {})
          if (answer instanceof LlmCallError) throw answer
          return answer
        },
        tools: { call: succeed, effects: () => "idempotent" },
      },
      { signal: controller.signal, cancelGraceMs: 0 },
    )
  }

  test("whether it was not there yet, not read yet, or handled", async () => {
    const outcomes = new Set<string>()
    for (const moment of MOMENTS) {
      const done = await abortAt(moment, [says("Hi.")], newTurn())
      outcomes.add(done.outcome.type)
      expect([moment, done.messages.length, lastParts(done), done.usage]).toEqual([moment, 2, [{ type: "text", text: "Hi." }], usage])
    }
    expect([...outcomes]).toEqual(["stopped", "finished"])
  })

  test("with calls: each has one result", async () => {
    for (const moment of MOMENTS) {
      const done = await abortAt(moment, [calls(["c1", "look"])], newTurn())
      expect(done.outcome).toEqual(CANCELLED)
      expect(done.usage).toEqual(usage)
      expect(toolTexts(done)).toHaveLength(1)
    }
  })

  test("between an empty answer and the call that asks again", async () => {
    const reasons: LlmResponse = { text: "", parts: [{ type: "reasoning", text: "Hm." }], usage, terminalReason: "stop" }
    for (const moment of MOMENTS) {
      const done = await abortAt(moment, [reasons], newTurn({ driver: chatDriver({ retryEmptyAnswer: true }) }))
      expect([moment, done.outcome, done.usage]).toEqual([moment, CANCELLED, usage])
      expect(done.messages.filter(({ role }) => role === "assistant")).toHaveLength(1)
    }
  })

  test("between a failed call and the call that repeats it", async () => {
    const driver = chatDriver()
    const repeats = {
      ...driver,
      onLlmFailed: (_context: unknown, { outstanding: { request } }: { outstanding: { request: never } }) => [{ type: "start_llm", request }],
    }
    const failed = new LlmCallError({ ...FAILURE, terminalReason: "provider_error" }, { partial: says("Half an") })
    for (const moment of MOMENTS) {
      const done = await abortAt(moment, [failed], newTurn({ driver: repeats as never }))
      expect([moment, done.outcome, done.usage]).toEqual([moment, CANCELLED, usage])
      expect(done.messages.filter(({ role }) => role === "assistant")).toHaveLength(1)
    }
  })
})

describe("a journal records what a cancelled model call said", () => {
  const config = configOf()
  const partial: LlmResponse = { ...says("Half an h"), retriedUsage: usage, terminalReason: "cancelled" }

  test("with the cancellation, so that a replay says and counts the same", async () => {
    const store = memoryJournalStore()
    const controller = new AbortController()
    const host: Host = {
      async llmCall() {
        controller.abort("Stop.")
        throw new LlmCallError(FAILURE, { partial })
      },
    }
    const done = await journaled(host, store).run("t", { config, start, turnId: "turn-1" }, { signal: controller.signal })
    const { text } = await opened(store, "t", { takeOver: true })
    const journal = readJournal(text)
    expect(journal.entries.map(({ record }) => record)).toMatchObject([
      { type: "interruption", interruption: { type: "cancel", reason: "Stop.", partial } },
      { type: "end" },
    ])
    const { messages, usage: counted, outcome } = replay(journal, config)
    expect({ messages, usage: counted, outcome }).toEqual({ messages: done.messages, usage: TWICE, outcome: CANCELLED })
    expect(lastParts(done)).toEqual([
      { type: "text", text: "Half an h" },
      { type: "interrupted", reason: "cancelled" },
    ])
  })

  test("and a whole late answer as an ordinary one, before the cancellation", async () => {
    const store = memoryJournalStore()
    const controller = new AbortController()
    const host: Host = {
      async llmCall() {
        controller.abort()
        return says("Hi.")
      },
    }
    const done = await journaled(host, store).run("t", { config, start, turnId: "turn-1" }, { signal: controller.signal })
    const journal = readJournal((await opened(store, "t", { takeOver: true })).text)
    expect(journal.entries.map(({ record }) => record.type)).toEqual(["llm_complete", "interruption", "end"])
    expect(replay(journal, config).messages).toEqual(done.messages)
  })
})
