import { describe, expect, test } from "vitest"
import { ReplayDivergence } from "../../src/errors.ts"
import { type EffectContext, LlmCallError } from "../../src/hosts/host.ts"
import { runTurn } from "../../src/hosts/run/run-turn.ts"
import { readJournal } from "../../src/replay/journal.ts"
import { Recorder } from "../../src/replay/recorder.ts"
import type { AnswerableEffect, LlmCall } from "../../src/schemas/effect.ts"
import type { TurnEvent } from "../../src/schemas/event.ts"
import type { Response } from "../../src/schemas/response.ts"
import { recordedModel, recordedTools } from "../../src/testing/recorded-model.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { answerOf, CONFIG, journalOf, START } from "../replay/support.ts"

function contextOf(effectId: number, shown: TurnEvent[] = []): EffectContext {
  return { effectId, idempotencyKey: undefined, signal: new AbortController().signal, emit: (event) => void shown.push(event) }
}

async function divergenceOf(asked: Promise<unknown>): Promise<ReplayDivergence> {
  const error = await asked.then(
    () => new Error("It was answered"),
    (thrown: unknown) => thrown,
  )
  if (error instanceof ReplayDivergence) return error
  throw error
}

/** The effects of the turn in order, each after the answers to the previous ones. */
function effectsOf(config = CONFIG): readonly AnswerableEffect[] {
  const machine = new TurnMachine(config, START)
  const effects: AnswerableEffect[] = []
  for (;;) {
    while (machine.poll() !== undefined);
    if (machine.outstanding === undefined) return effects
    effects.push(machine.outstanding)
    machine.handle(answerOf(machine.outstanding, machine.iteration, 1))
  }
}

/** The journal of a turn that was given these responses after its first model call was polled. */
function journalOfResponses(...responses: readonly Response[]) {
  const machine = new TurnMachine(CONFIG, START)
  const { recorder, line } = Recorder.begin(CONFIG, START, "t")
  let text = line
  for (const response of responses) {
    while (machine.poll() !== undefined);
    text += recorder.response(machine, response)
    try {
      machine.handle(response)
    } catch {
      // Refused, but recorded.
    }
  }
  return readJournal(text)
}

const USAGE = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }

test("a turn runs again from its journal alone", async () => {
  const journal = journalOf(2)
  const model = recordedModel(journal)
  const tools = recordedTools(journal)
  const machine = new TurnMachine(CONFIG, START)
  const { outcome } = await runTurn(machine, { ...model, tools })
  expect(outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Done." } })
  expect(machine.messages).toHaveLength(6)
  model.check()
  tools.check()
})

describe("a recorded model", () => {
  const [first, , , second] = effectsOf() as [LlmCall, AnswerableEffect, AnswerableEffect, LlmCall]

  test("answers by the effect's id, in any order and any number of times", async () => {
    const model = recordedModel(journalOf(1))
    expect(await model.llmCall(second, contextOf(4))).toMatchObject({ text: "Done." })
    expect(await model.llmCall(first, contextOf(1))).toMatchObject({ parts: [{ toolName: "count", inputJson: '{"n":0}' }] })
    expect(await model.llmCall(second, contextOf(4))).toMatchObject({ text: "Done." })
    model.check()
  })

  test("rejects a request that is not the recorded one, and says so again when it is checked", async () => {
    const model = recordedModel(journalOf(1))
    const other: LlmCall = { ...first, request: { ...first.request, model: "other" } }
    const error = await divergenceOf(model.llmCall(other, contextOf(1)))
    expect(error).toMatchObject({
      code: "effect_differs",
      record: 2,
      effectId: 1,
      message: expect.stringContaining("the request of effect 1 is not the recorded one"),
    })
    expect(error.differences[0]).toMatchObject({ path: "", expected: { id: 1 }, received: { id: 1 } })
    await divergenceOf(model.llmCall({ ...second, id: 99 }, contextOf(99)))
    expect(() => model.check()).toThrow(error)
  })

  test("says what differs where the journal recorded the request", async () => {
    const other: LlmCall = { ...second, request: { ...second.request, model: "other" } }
    const error = await divergenceOf(recordedModel(journalOf(1, { keepEffects: true })).llmCall(other, contextOf(4)))
    expect(error).toMatchObject({ record: 9, effectId: 4, differences: [{ path: "/request/model", expected: "m", received: "other" }] })
  })

  test("rejects a call that the journal does not answer", async () => {
    const error = await divergenceOf(recordedModel(journalOf(1)).llmCall({ ...first, id: 2 }, contextOf(2)))
    expect(error).toMatchObject({
      code: "effect_differs",
      record: 7,
      effectId: 2,
      message: "The journal holds no answer to the model call of effect 2.",
    })
  })

  test("throws a recorded failure with its facts", async () => {
    const failure = { message: "busy", retryable: true, terminalReason: "provider_error" } as const
    const journal = journalOfResponses({ type: "llm_complete", id: 1, result: { ok: false, error: failure } })
    const error = await recordedModel(journal)
      .llmCall(first, contextOf(1))
      .catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(LlmCallError)
    expect((error as LlmCallError).failure).toEqual(failure)
  })

  test.each([
    [true, [{ type: "text_delta", content: "Hi." }]],
    [undefined, []],
  ] as const)("shows a text again that was streamed: %s", async (textStreamed, events) => {
    const response = { text: "Hi.", parts: [], usage: USAGE, terminalReason: "stop" } as const
    const journal = journalOfResponses({ type: "llm_complete", id: 1, ...(textStreamed && { textStreamed }), result: { ok: true, response } })
    const shown: TurnEvent[] = []
    expect(await recordedModel(journal).llmCall(first, contextOf(1, shown))).toEqual(response)
    expect(shown).toEqual(events)
  })

  test("uses the answer that the turn accepted, not late or unexpected ones", async () => {
    const answer = (id: number, text: string) =>
      ({ type: "llm_complete", id, result: { ok: true, response: { text, parts: [], usage: USAGE, terminalReason: "stop" } } }) as const
    const journal = journalOfResponses(answer(7, "nothing's"), answer(1, "the answer"), answer(1, "late"))
    expect(await recordedModel(journal).llmCall(first, contextOf(1))).toMatchObject({ text: "the answer" })
    const { message } = await divergenceOf(recordedModel(journal).llmCall({ ...first, id: 7 }, contextOf(7)))
    expect(message).toBe("The journal holds no answer to the model call of effect 7.")
  })
})

describe("recorded tools", () => {
  const call = { callId: "c0", toolName: "count", args: { n: 0 } }

  test("answer by effect and call", async () => {
    const tools = recordedTools(journalOf(2))
    expect(await tools.call(call, contextOf(2))).toEqual({ output: { status: "success", value: "counted 0" } })
    expect(await tools.call({ ...call, callId: "c1", args: { n: 1 } }, contextOf(5))).toEqual({
      output: { status: "success", value: "counted 1" },
    })
    tools.check()
  })

  test("reject a call with other arguments or another name", async () => {
    const tools = recordedTools(journalOf(1))
    const error = await divergenceOf(tools.call({ ...call, args: { n: 5 } }, contextOf(2)))
    expect(error).toMatchObject({ code: "effect_differs", record: 3, effectId: 2, differences: [{ path: "/args/n", expected: 0, received: 5 }] })
    expect((await divergenceOf(tools.call({ ...call, toolName: "add" }, contextOf(2)))).differences).toEqual([
      { path: "/toolName", expected: "count", received: "add" },
    ])
    expect(() => tools.check()).toThrow(error)
  })

  test("reject a call that the journal does not answer", async () => {
    expect(await divergenceOf(recordedTools(journalOf(1)).call(call, contextOf(5)))).toMatchObject({
      effectId: 5,
      message: 'The journal holds no answer to the tool call "c0" of effect 5.',
    })
  })

  test("ignore results that answered nothing", async () => {
    const result = { ...call, output: { status: "success", value: 1 }, durationMs: 1 } as const
    const journal = journalOfResponses({ type: "tool_results", id: 7, results: [result] })
    const { message } = await divergenceOf(recordedTools(journal).call(call, contextOf(7)))
    expect(message).toBe('The journal holds no answer to the tool call "c0" of effect 7.')
  })

  test("also return what the model was shown, and tell calls with the same id apart by their arguments", async () => {
    const parts = [1, 2].map((n) => ({ type: "tool_call", callId: "same", toolName: "count", inputJson: `{"n":${n}}` }) as const)
    const modelReturn = { parts: [{ type: "text", text: "shown" }] } as const
    const journal = journalOfResponses(
      { type: "llm_complete", id: 1, result: { ok: true, response: { text: "", parts, usage: USAGE, terminalReason: "tool_use" } } },
      {
        type: "tool_results",
        id: 2,
        results: [1, 2].map((n) => ({
          callId: "same",
          toolName: "count",
          args: { n },
          output: { status: "success", value: n },
          durationMs: 1,
          ...(n === 2 && { modelReturn }),
        })),
      },
    )
    const tools = recordedTools(journal)
    expect(await tools.call({ callId: "same", toolName: "count", args: { n: 2 } }, contextOf(2))).toEqual({
      output: { status: "success", value: 2 },
      modelReturn,
    })
    expect(await tools.call({ callId: "same", toolName: "count", args: { n: 1 } }, contextOf(2))).toEqual({
      output: { status: "success", value: 1 },
    })
  })
})
