import { describe, expect, test } from "vitest"
import { type EffectContext, LlmCallError } from "../../src/hosts/host.ts"
import { runTurn } from "../../src/hosts/run/run-turn.ts"
import type { LlmCall } from "../../src/schemas/effect.ts"
import type { LlmMessage, LlmRequest, LlmResponse } from "../../src/schemas/llm.ts"
import { type ScriptedModelAnswer, scriptedModel } from "../../src/testing/scripted-model.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { CONFIG, START } from "../replay/support.ts"

const CONTEXT: EffectContext = { effectId: 1, idempotencyKey: undefined, signal: new AbortController().signal, emit() {} }
const USER: LlmMessage = { role: "user", blocks: [{ type: "text", text: "Hello" }] }
const ASSISTANT: LlmMessage = { role: "assistant", blocks: [{ type: "text", text: "Hello" }] }

/** A model call whose request contains the given number of model messages. */
function call(id: number, answers: number): LlmCall {
  const messages = Array.from({ length: answers }, () => [USER, ASSISTANT]).flat()
  return {
    type: "llm_call",
    id,
    request: { model: "m", messages: [...messages, USER], attachments: [], tools: [], toolChoice: "auto", generation: {} },
  }
}

const USAGE = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
const FAILURE = { message: "busy", retryable: true, code: "busy", terminalReason: "provider_error" } as const

describe("answers", () => {
  const whole: LlmResponse = { text: "whole", parts: [], usage: { ...USAGE, outputTokens: 3 }, terminalReason: "output_limit" }

  test.each<readonly [string, ScriptedModelAnswer, LlmResponse]>([
    ["words", "Hi.", { text: "Hi.", parts: [{ type: "text", text: "Hi." }], usage: USAGE, terminalReason: "stop" }],
    ["no words", "", { text: "", parts: [], usage: USAGE, terminalReason: "stop" }],
    [
      "tool calls, with ids counted or given",
      {
        text: "Look.",
        toolCalls: [
          { toolName: "a", args: { n: 1 } },
          { toolName: "b", args: [], callId: "mine" },
          { toolName: "c", args: null },
        ],
      },
      {
        text: "Look.",
        parts: [
          { type: "text", text: "Look." },
          { type: "tool_call", callId: "call_1_1", toolName: "a", inputJson: '{"n":1}' },
          { type: "tool_call", callId: "mine", toolName: "b", inputJson: "[]" },
          { type: "tool_call", callId: "call_1_3", toolName: "c", inputJson: "null" },
        ],
        usage: USAGE,
        terminalReason: "tool_use",
      },
    ],
    ["a whole response", whole, whole],
    [
      "a function of the request",
      ({ messages }) => `You said ${messages.length} things.`,
      { text: "You said 1 things.", parts: [{ type: "text", text: "You said 1 things." }], usage: USAGE, terminalReason: "stop" },
    ],
    ["a function that waits", async () => whole, whole],
  ])("%s", async (_what, answer, response) => {
    expect(await scriptedModel([answer]).llmCall(call(1, 0), CONTEXT)).toEqual(response)
  })

  test.each<readonly [string, ScriptedModelAnswer]>([
    ["a failure", { failure: FAILURE }],
    ["a function that fails", () => ({ failure: FAILURE })],
  ])("%s is thrown with its facts", async (_what, answer) => {
    const error = await scriptedModel([answer])
      .llmCall(call(1, 0), CONTEXT)
      .catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(LlmCallError)
    expect((error as LlmCallError).failure).toEqual(FAILURE)
  })

  test("a function may show text while it answers", async () => {
    const shown: unknown[] = []
    const model = scriptedModel([
      (_request, { emit }) => {
        emit({ type: "text_delta", content: "H" })
        return "H"
      },
    ])
    await model.llmCall(call(1, 0), { ...CONTEXT, emit: (event) => shown.push(event) })
    expect(shown).toEqual([{ type: "text_delta", content: "H" }])
  })
})

/** The number of the answer that each of these calls gets. */
async function given(
  script: readonly ScriptedModelAnswer[],
  calls: readonly LlmCall[],
  start?: Parameters<typeof scriptedModel>[1],
): Promise<readonly number[]> {
  const model = scriptedModel(script, start)
  for (const effect of calls) await model.llmCall(effect, CONTEXT).catch(() => undefined)
  return model.calls.map(({ answer }) => answer + 1)
}

describe("the next answer", () => {
  const SCRIPT = ["one", "two", "three", "four"]

  test("comes next in the script, whatever the transcript contains", async () => {
    expect(await given(SCRIPT, [call(1, 0), call(4, 1), call(7, 0), call(1, 9)])).toEqual([1, 2, 3, 4])
  })

  test("is the same for a redelivered call; a different request under its id belongs to another turn", async () => {
    expect(await given(SCRIPT, [call(1, 0), call(1, 0), call(4, 1), call(1, 0), call(4, 1), call(1, 2)])).toEqual([1, 1, 2, 1, 2, 3])
  })

  test("continues from a redelivered call, as when the turn is resumed from an earlier point", async () => {
    expect(await given(SCRIPT, [call(1, 0), call(4, 1), call(7, 2), call(1, 0), call(4, 5)])).toEqual([1, 2, 3, 1, 2])
  })

  test("of a new script comes after as many answers as its first request contains", async () => {
    expect(await given(SCRIPT, [call(7, 2), call(10, 3)])).toEqual([3, 4])
  })

  test("of a new script does not count failures, and is a failure if that comes next", async () => {
    const failure = { failure: FAILURE }
    expect(await given([failure, "a", failure, "b"], [call(1, 0)])).toEqual([1])
    expect(await given([failure, "a", failure, "b"], [call(1, 1), call(4, 1)])).toEqual([3, 4])
    expect(await given([failure, "a", failure, "b", "c"], [call(1, 2)])).toEqual([5])
  })

  test("does not count the messages that the turn began with", async () => {
    const messages = [...START.messages, { id: "a", role: "assistant", parts: [] }] as const
    expect(await given(SCRIPT, [call(1, 1), call(4, 2)], { start: { messages } })).toEqual([1, 2])
    expect(await given(SCRIPT, [call(4, 2)], { start: { messages } })).toEqual([2])
  })

  test("after a failure is remembered like any other", async () => {
    expect(await given([{ failure: FAILURE }, "a"], [call(1, 0), call(1, 0), call(2, 0)])).toEqual([1, 1, 2])
  })
})

describe("a script reports", () => {
  test("the requests, and how many answers are left", async () => {
    const model = scriptedModel(["one", "two", "three"])
    expect(model).toMatchObject({ calls: [], remaining: 3 })
    const effect = call(4, 1)
    await model.llmCall(effect, CONTEXT)
    expect(model.calls).toEqual([{ effectId: 4, request: effect.request, answer: 1 }])
    expect(model.remaining).toBe(1)
    expect(() => model.check()).toThrow(/^1 of 3 scripted answers was not used: answer 3, "three"$/)
    await model.llmCall(call(7, 2), CONTEXT)
    expect(model.remaining).toBe(0)
    model.check()
  })

  test("that it was never called", () => {
    expect(() => scriptedModel([() => "a"]).check()).toThrow(/^1 of 1 scripted answer was not used: answer 1, a function$/)
    expect(() => scriptedModel(["one", "two"]).check()).toThrow(/^2 of 2 scripted answers were not used, from answer 1 on: "one"$/)
    scriptedModel([]).check()
  })

  test("that it has ended, and again when it is checked", async () => {
    const model = scriptedModel(["one"])
    await model.llmCall(call(1, 0), CONTEXT)
    const asked = { role: "user", blocks: [{ type: "text", text: "Hello" }] }
    const message = `The script has no answers left, but the model was called again. The request of effect 4 ends with ${JSON.stringify(asked)}.`
    await expect(model.llmCall(call(4, 1), CONTEXT)).rejects.toThrow(message)
    await expect(model.llmCall(call(7, 2), CONTEXT)).rejects.toThrow("effect 7")
    expect(() => model.check()).toThrow(message)
    expect(model.remaining).toBe(0)
  })

  test("that a first request is far past its end: the thread did not begin with this script", async () => {
    await expect(scriptedModel(["one", "two"]).llmCall(call(1, 4), CONTEXT)).rejects.toThrow(
      "The script has 2 answers, but its first request contains 4 model messages, so it would have to continue at answer 5. If the turn started with some of them, give the script its `start`.",
    )
  })
})

describe("a turn", () => {
  const SCRIPT: readonly ScriptedModelAnswer[] = [
    { toolCalls: [{ toolName: "count", args: { n: 1 } }] },
    { text: "Once more.", toolCalls: [{ toolName: "count", args: { n: 2 } }] },
    "Done.",
  ]
  const toolCall = async () => ({ output: { status: "success", value: "counted" } }) as const
  const texts = ({ messages }: LlmRequest): readonly string[] =>
    messages.map(({ blocks: [block] }) => (block?.type === "tool_call" ? block.callId : (block?.type ?? "")))

  test("runs with a script", async () => {
    const model = scriptedModel(SCRIPT)
    const { outcome } = await runTurn(new TurnMachine(CONFIG, START), { ...model, tools: { call: toolCall, effects: () => "idempotent" } })
    expect(outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Done." } })
    expect(model.calls.map(({ request }) => texts(request))).toEqual([
      ["text", "text"],
      ["text", "text", "call_1_1", "tool_result"],
      ["text", "text", "call_1_1", "tool_result", "text", "tool_result"],
    ])
    model.check()
  })

  test("that is interrupted anywhere reaches the same end with a new script in another process", async () => {
    const saved: string[] = []
    const whole = new TurnMachine(CONFIG, START)
    await runTurn(
      whole,
      {
        llmCall: scriptedModel(SCRIPT).llmCall,
        tools: { call: toolCall, effects: () => "idempotent" },
        save: (machine) => void saved.push(JSON.stringify(machine.checkpoint())),
      },
      { now: () => 1 },
    )
    for (const checkpoint of saved) {
      const model = scriptedModel(SCRIPT)
      const machine = TurnMachine.restore(CONFIG, checkpoint)
      await runTurn(machine, { llmCall: model.llmCall, tools: { call: toolCall, effects: () => "idempotent" } }, { now: () => 1 })
      expect(machine.checkpoint()).toEqual(whole.checkpoint())
      if (model.calls.length > 0) model.check()
    }
    expect(saved.length).toBeGreaterThan(8)
  })

  test("and the next turn of its thread share one script", async () => {
    const model = scriptedModel(["Hello.", "Goodbye."])
    const first = await runTurn(new TurnMachine(CONFIG, START), model)
    const messages = [...first.messages, { id: "u2", role: "user", parts: [{ id: "u2.p0", type: "text", text: "Bye" }] }] as const
    const { outcome } = await runTurn(new TurnMachine(CONFIG, { messages }), model)
    expect(outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Goodbye." } })
    model.check()
  })
})
