import { LLMock } from "@copilotkit/aimock"
import { afterEach, describe, expect, test } from "vitest"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { type Host, LlmCallError } from "../../../src/hosts/host.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { type FallbackOptions, fallback } from "../../../src/hosts/models/fallback.ts"
import { openAiCompatible } from "../../../src/hosts/models/openai-compatible.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { Thread } from "../../../src/hosts/thread/thread.ts"
import { userMessage } from "../../../src/machine/user-message.ts"
import { chatProjector } from "../../../src/projectors/chat.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import type { TurnEvent } from "../../../src/wire/event.ts"
import type { LlmFailure, LlmResponse, TokenUsage } from "../../../src/wire/llm.ts"

type Model = Pick<Host, "llmCall">

const CONFIG = { driver: chatDriver(), projector: chatProjector, model: "m" }
const START = { messages: [userMessage("Hi", { id: "u" })] }

function used(inputTokens: number, outputTokens = 1): TokenUsage {
  return { inputTokens, cachedInputTokens: 0, outputTokens, reasoningTokens: 0 }
}

function response(text: string, more: Partial<LlmResponse> = {}): LlmResponse {
  const producer = { provider: text, api: "test", model: "m" }
  return { text, parts: [{ type: "text", text }], usage: used(10), producer, terminalReason: "stop", ...more }
}

function failure(more: Partial<LlmFailure> = {}): LlmFailure {
  return { message: "It failed.", retryable: false, terminalReason: "provider_error", ...more }
}

/** A model that shows a text and then fails, and counts its calls. */
function fails(more: Partial<LlmFailure>, partial?: LlmResponse, shown = ""): Model & { calls: number } {
  const model = {
    calls: 0,
    llmCall: async (_effect: unknown, { emit }: { emit(event: TurnEvent): void }): Promise<LlmResponse> => {
      model.calls += 1
      if (shown !== "") emit({ type: "text_delta", content: shown })
      throw new LlmCallError(failure(more), { partial })
    },
  }
  return model
}

function answers(text: string, streamed = false, more: Partial<LlmResponse> = {}): Model & { calls: number } {
  const model = {
    calls: 0,
    llmCall: async (_effect: unknown, { emit }: { emit(event: TurnEvent): void }): Promise<LlmResponse> => {
      model.calls += 1
      if (streamed) emit({ type: "text_delta", content: text })
      return response(text, more)
    },
  }
  return model
}

/** Runs a turn of one answer. */
async function run(models: readonly Model[], options: FallbackOptions = {}, signal?: AbortSignal) {
  const events: TurnEvent[] = []
  const machine = new TurnMachine(CONFIG, START)
  const done = await runTurn(machine, fallback(models, options), { onEvent: (event) => void events.push(event), ...(signal && { signal }) })
  const [, answer] = done.messages
  const shown = events.map((event) => (event.type === "text_delta" ? event.content : event.type === "retry_status" ? "↻" : "")).join("")
  return { done, events, shown, answer, stop: done.outcome.type === "stopped" ? done.outcome.stop : undefined }
}

describe("the next model answers", () => {
  test.each(["rate_limit", "usage_limit", "overloaded", "network", "timeout", "auth"] as const)("after a failure of the kind %s", async (kind) => {
    const second = answers("Second.")
    const { done, answer, events } = await run([fails({ kind, code: "c" }), second])
    expect(done.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Second." } })
    expect(answer?.producer?.provider).toBe("Second.")
    expect(events.find(({ type }) => type === "retry_status")).toEqual({
      type: "retry_status",
      waitSeconds: 0,
      attempt: 1,
      maxAttempts: 2,
      reason: "It failed. Another model answers.",
      envelope: { kind: "llm_provider", code: "c", terminalReason: "provider_error", failureKind: kind, userMessage: "It failed." },
    })
  })

  test("after a retryable failure of any other kind, and the third after the second", async () => {
    const { shown } = await run([fails({ retryable: true, kind: "other" }), fails({ retryable: true }), answers("Third.")])
    expect(shown).toBe("↻↻Third.")
  })

  test("after a full context window only if that is asked for, as a failure and as an answer", async () => {
    const full = { kind: "context_overflow", terminalReason: "context_overflow" } as const
    const asAnswer = answers("", false, { parts: [], terminalReason: "context_overflow", usage: used(900, 0) })
    expect((await run([fails(full), answers("Second.")])).stop).toMatchObject({ type: "provider_error" })
    expect((await run([asAnswer, answers("Second.")])).stop).toMatchObject({ type: "provider_error" })
    const on = ["context_overflow"] as const
    expect((await run([fails(full), answers("Second.")], { on })).shown).toBe("↻Second.")
    const { done, shown } = await run([asAnswer, answers("Second.")], { on })
    expect(shown).toBe("↻Second.")
    expect(done.usage).toMatchObject({ inputTokens: 910 })
  })

  test("never after a cancellation, a refused request, or an error of the executor", async () => {
    const second = answers("Second.")
    for (const kind of ["cancelled", "invalid_request"] as const) await run([fails({ kind, retryable: true }), second])
    await run([{ llmCall: () => Promise.reject(new Error("A bug.")) }, second])
    expect(second.calls).toBe(0)
    const fatal = new LlmCallError(failure({ kind: "network" }))
    const machine = new TurnMachine(CONFIG, START)
    const model = fallback([{ llmCall: () => Promise.reject(fatal) }, second])
    await expect(runTurn(machine, model, { isFatal: (error) => error === fatal })).rejects.toBe(fatal)
    expect(second.calls).toBe(0)
  })

  test("never after the turn was cancelled meanwhile", async () => {
    const controller = new AbortController()
    const second = answers("Second.")
    const first: Model = {
      llmCall: async () => {
        controller.abort()
        throw new LlmCallError(failure({ kind: "network" }))
      },
    }
    expect((await run([first, second], {}, controller.signal)).stop).toMatchObject({ type: "cancelled" })
    expect(second.calls).toBe(0)
  })
})

describe("usage", () => {
  test("of the failed models counts, as they report it or as an estimate", async () => {
    const began = response("A long answer that was begun.", { usage: used(0, 0) })
    const models = [
      fails({ kind: "network", usage: used(100, 7), retriedUsage: used(1000, 0) }),
      fails({ kind: "network" }, response("Begun.", { usage: used(20, 2) })),
      answers("Third.", false, { retriedUsage: used(5000, 0) }),
    ]
    const { done } = await run(models)
    expect(done.usage).toEqual(used(6130, 10))
    expect((await run([fails({ kind: "network" }, began), answers("Second.")])).done.usage).toMatchObject({ estimated: true })
  })

  test("of all models is in the failure of the last", async () => {
    const { done } = await run([fails({ kind: "network", usage: used(100) }), fails({ kind: "network", usage: used(20) })])
    expect(done.usage).toEqual(used(120, 2))
  })
})

describe("after a part of an answer was shown", () => {
  const begun = response("The answ", { usage: used(20, 3), producer: { provider: "first", api: "test", model: "m" } })

  test("the next model answers from the beginning; what was shown stays in the transcript, and no model reads it", async () => {
    const { done, answer, events, shown } = await run([fails({ kind: "network" }, begun, "The answ"), answers("Second.", true)])
    expect(shown).toBe("The answ↻Second.")
    expect(events.find(({ type }) => type === "retry_status")).toMatchObject({ reason: "It failed. Another model answers, from the beginning." })
    expect(done.outcome).toMatchObject({ finish: { text: "Second." } })
    expect(answer?.parts).toEqual([
      {
        id: "m_0_assistant_1.p0",
        type: "opaque",
        provider: "turn-machine",
        kind: "abandoned_answer",
        data: { producer: begun.producer, parts: [{ type: "text", text: "The answ" }] },
      },
      { id: "m_0_assistant_1.p1", type: "text", text: "Second." },
    ])
  })

  test("a model that does not stream is shown too", async () => {
    expect((await run([fails({ kind: "network" }, undefined, "The answ"), answers("Second.")])).shown).toBe("The answ↻Second.")
  })

  test("and no model answers, it is stored as the answer that was cut off", async () => {
    const { answer, stop, done } = await run([fails({ kind: "network" }, begun, "The answ"), fails({ kind: "network", usage: used(1) })])
    expect(stop).toMatchObject({ type: "provider_error" })
    expect(answer?.parts.map((part) => ("text" in part ? part.text : part.type))).toEqual(["The answ", "interrupted"])
    expect(done.usage).toEqual(used(21, 4))
  })

  test("and the last model is cut off as well, both stay", async () => {
    const { answer } = await run([fails({ kind: "network" }, begun, "The answ"), fails({ kind: "network" }, response("Sec"), "Sec")])
    expect(answer?.parts.map((part) => ("text" in part ? part.text : part.type))).toEqual(["opaque", "Sec", "interrupted"])
  })

  test("the failure counts, with afterText: stop", async () => {
    const second = answers("Second.")
    const { answer, shown, stop } = await run([fails({ kind: "network" }, begun, "The answ"), second], { afterText: "stop" })
    expect([shown, second.calls, stop?.type]).toEqual(["The answ", 0, "provider_error"])
    expect(answer?.parts[0]).toMatchObject({ type: "text", text: "The answ" })
    expect((await run([fails({ kind: "network" }), second], { afterText: "stop" })).shown).toBe("↻Second.")
  })

  test("a cancellation that the next model ignores stores only what was shown last", async () => {
    const controller = new AbortController()
    const deaf: Model = {
      llmCall: (_effect, { emit }) => {
        emit({ type: "text_delta", content: "Sec" })
        controller.abort()
        return new Promise(() => undefined)
      },
    }
    const machine = new TurnMachine(CONFIG, START)
    const model = fallback([fails({ kind: "network" }, begun, "The answ"), deaf])
    const done = await runTurn(machine, model, { signal: controller.signal, cancelGraceMs: 1 })
    expect(done.messages[1]?.parts[0]).toMatchObject({ text: "Sec" })
  })
})

describe("a model that said when it can be used again", () => {
  test("is not asked before, and is asked after", async () => {
    let now = 1_000
    const first = fails({ kind: "usage_limit", retryAt: 5_000 })
    const second = answers("Second.")
    const { llmCall } = fallback([first, second], { now: () => now })
    const ask = () => runTurn(new TurnMachine(CONFIG, START), { llmCall })
    await ask()
    now = 4_999
    await ask()
    expect([first.calls, second.calls]).toEqual([1, 2])
    now = 5_000
    await ask()
    expect([first.calls, second.calls]).toEqual([2, 3])
  })

  test("is asked all the same if no other is left", async () => {
    const models = [fails({ kind: "usage_limit", retryAt: 5_000 }), fails({ kind: "rate_limit", retryAt: 9_000 })] as const
    const { llmCall } = fallback(models, { now: () => 0 })
    for (let turn = 0; turn < 2; turn += 1) await runTurn(new TurnMachine(CONFIG, START), { llmCall })
    expect(models.map(({ calls }) => calls)).toEqual([2, 2])
  })
})

describe("endpoints", () => {
  const mocks: LLMock[] = []
  afterEach(() => Promise.all(mocks.splice(0).map((mock) => mock.stop())))

  async function endpoint(content: string): Promise<LLMock> {
    const mock = new LLMock({ port: 0, host: "127.0.0.1", logLevel: "silent" })
    mock.onMessage(/.*/, { content })
    await mock.start()
    mocks.push(mock)
    return mock
  }

  test("a thread goes on with another endpoint, and returns to the first", async () => {
    const [one, two] = [await endpoint("One."), await endpoint("Two.")]
    const client = (mock: LLMock, provider: string) => openAiCompatible({ baseUrl: `${mock.url}/v1`, apiKey: "k", provider, maxRetries: 0 })
    const model = fallback([client(one, "one"), client(two, "two")])
    const thread = await Thread.open(memoryJournalStore(), "t", { config: CONFIG, goals: false })
    const answeredBy = async (text: string) => {
      thread.say(text)
      await thread.run(model)
      return thread.lastTurn?.messages.at(-1)?.producer?.provider
    }
    one.nextRequestError(503, { message: "Overloaded", type: "overloaded_error" })
    expect([await answeredBy("Hi"), await answeredBy("Again")]).toEqual(["two", "one"])
    expect(two.getRequests()).toHaveLength(1)
    await thread.close()
  })
})

describe("options", () => {
  test.each([
    [[], {}, "a list of models"],
    [[{}], {}, "The model 0 of a fallback has no llmCall."],
    [[answers("")], { on: ["cancelled"] }, "does not help"],
    [[answers("")], { afterText: "mix" }, "afterText must be"],
    [[answers("")], { kinds: [] }, 'unknown option "kinds"'],
  ])("that are wrong are refused: %#", (models, options, message) => {
    expect(() => fallback(models as never, options as never)).toThrow(
      expect.objectContaining({ name: "TypeError", message: expect.stringContaining(message) }),
    )
  })
})
