import { describe, expect, test } from "vitest"
import { DriverError } from "../../src/errors.ts"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import { NO_USAGE } from "../../src/machine/limits.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { Effect } from "../../src/schemas/effect.ts"
import type { ToolSpec } from "../../src/schemas/tool.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import {
  completed,
  configOf,
  delivers,
  driverOf,
  effectNames,
  pending,
  plain,
  pollAll,
  REQUEST,
  respond,
  results,
  says,
  startedWith,
  userMessage,
} from "./support.ts"

const RUNTIME_ERROR = { type: "stopped", stop: { type: "runtime_error" } }
const FINISH: DriverAction = { type: "finish", outcome: { type: "agent_frame_switch", frameId: "f" } }
const LLM: DriverAction = { type: "start_llm", request: REQUEST }
const TOOLS: DriverAction = { type: "start_tools", calls: [pending("a")] }
const SETTLED: DriverAction = { type: "start_tools", calls: [pending("a")], settled: [completed("a")] }
const EXEC: DriverAction = { type: "start_exec", code: "1", driverState: { n: 1 } }
const CHECKPOINT: DriverAction = { type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } }
const EMIT: DriverAction = { type: "emit", event: { type: "message", text: "hi", kind: "note" } }
const APPEND: DriverAction = { type: "append_events", events: [{ type: "protocol", event: 1 }] }

function errorOf(effects: readonly Effect[]): { readonly message: string; readonly code: string | undefined } {
  for (const effect of effects) {
    if (effect.type === "emit" && effect.event.type === "error") return { message: effect.event.message, code: effect.event.envelope?.code }
  }
  throw new Error("No error was emitted.")
}

describe("a driver's list without a way forward, or with two, ends the turn and gives the reason", () => {
  const lists: readonly (readonly [string, unknown, string, string])[] = [
    ["nothing at all", [], "no_way_forward", 'The driver "test" neither started work nor finished a turn in "preparing".'],
    ["only something to show", [EMIT], "no_way_forward", 'The driver "test" neither started work nor finished a turn in "preparing".'],
    [
      "only something to keep",
      [APPEND, { type: "advance_iteration" }],
      "no_way_forward",
      'The driver "test" neither started work nor finished a turn in "preparing".',
    ],
    ["two pieces of work", [LLM, TOOLS], "two_starts", "One list starts llm_call and tool_calls; a turn waits for one effect at a time."],
    [
      "the same work twice",
      [CHECKPOINT, CHECKPOINT],
      "two_starts",
      "One list starts checkpoint and checkpoint; a turn waits for one effect at a time.",
    ],
    ["work and an end", [EXEC, FINISH], "two_starts", "One list of actions starts exec_code and finishes the turn."],
    ["an end and work", [FINISH, LLM], "action_after_finish", "A list of actions has start_llm after finish."],
    ["an end and more", [FINISH, EMIT], "action_after_finish", "A list of actions has emit after finish."],
    ["two ends", [FINISH, FINISH], "action_after_finish", "A list of actions has finish after finish."],
    ["work and a settled batch", [LLM, SETTLED], "two_starts", "One list starts llm_call and a batch of tool calls."],
    [
      "a settled batch and work",
      [SETTLED, CHECKPOINT],
      "two_starts",
      "One list starts a batch of tool calls and checkpoint; a turn waits for one effect at a time.",
    ],
    [
      "a settled batch and an open one",
      [SETTLED, TOOLS],
      "two_starts",
      "One list starts a batch of tool calls and tool_calls; a turn waits for one effect at a time.",
    ],
    ["two settled batches", [SETTLED, SETTLED], "two_starts", "One list starts a batch of tool calls and a batch of tool calls."],
    ["a settled batch and an end", [SETTLED, FINISH], "two_starts", "One list of actions starts a batch of tool calls and finishes the turn."],
    ["an end and a settled batch", [FINISH, SETTLED], "action_after_finish", "A list of actions has start_tools after finish."],
    [
      "a settled result of no call",
      [{ ...TOOLS, settled: [completed("x")] }],
      "unknown_settled_call",
      'A batch has a settled result for "x", which is none of its calls.',
    ],
    [
      "a settled result of no call, beside one that is expected",
      [{ ...TOOLS, settled: [completed("a"), completed("x")] }],
      "unknown_settled_call",
      'A batch has a settled result for "x", which is none of its calls.',
    ],
    [
      "two settled results of one call",
      [{ ...TOOLS, settled: [completed("a"), completed("a")] }],
      "unknown_settled_call",
      'A batch has a settled result for "a", which is none of its calls.',
    ],
    ["an unknown action", [{ type: "explode" }], "unknown_action", "A list has an action of an unknown type: explode."],
    ["a prototype's key", [{ type: "constructor" }], "unknown_action", "A list has an action of an unknown type: constructor."],
  ]

  test.each(lists)("%s", (_, actions, code, message) => {
    const machine = new TurnMachine(configOf({ driver: driverOf({ prepareIteration: () => actions as readonly DriverAction[] }) }), {
      messages: [userMessage("hello")],
    })
    const effects = pollAll(machine)
    expect(effects[0]).toEqual({ type: "emit", event: { type: "error", message, envelope: { kind: "driver", code, userMessage: message } } })
    expect(effectNames(effects)).toEqual(["emit error", "emit turn_outcome", "emit done", "done"])
    const outcome = { type: "stopped", stop: { type: "runtime_error", error: { kind: "driver", code, userMessage: message } } }
    expect(effects[3]).toEqual({
      ...{ type: "done", outcome, messages: [userMessage("hello")], eventDelta: [], recordsFrom: 0, iteration: 0 },
      usage: NO_USAGE,
    })
    expect(machine.outcome).toEqual(outcome)
    expect(machine.poll()).toBeUndefined()
  })

  test.each([
    ["no list", undefined, "driver_threw"],
    ["null", null, "driver_threw"],
    ["an object", { actions: [] }, "driver_threw"],
    ["a list with a hole", Object.assign([EMIT], { length: 2 }), "unknown_action"],
    ["a list with null", [null], "unknown_action"],
    ["a list with null after work", [LLM, null], "unknown_action"],
  ])("%s is no answer, and ends the turn", (_, actions, expected) => {
    const machine = new TurnMachine(configOf({ driver: driverOf({ prepareIteration: () => actions as never }) }), { messages: [] })
    const { code } = errorOf(pollAll(machine))
    expect(code).toBe(expected)
    expect(machine.outcome).toMatchObject(RUNTIME_ERROR)
  })

  test.each([
    ["an error", () => new TypeError("x is not a function"), 'The driver "test" threw: TypeError: x is not a function'],
    ["a text", () => "no idea", 'The driver "test" threw: no idea'],
    ["nothing", () => undefined, 'The driver "test" threw: undefined'],
    ["a symbol", () => Symbol("s"), 'The driver "test" threw: Symbol(s)'],
    ["what cannot even be said", () => Object.create(null), 'The driver "test" threw: a value that has no text'],
    [
      "what throws when it is said",
      () => ({
        toString() {
          throw new Error("again")
        },
      }),
      'The driver "test" threw: a value that has no text',
    ],
  ])("a driver that throws %s", (_, make, message) => {
    const prepareIteration = (): never => {
      throw make()
    }
    const machine = new TurnMachine(configOf({ driver: driverOf({ prepareIteration }) }), { messages: [] })
    expect(errorOf(pollAll(machine))).toEqual({ message, code: "driver_threw" })
  })

  test("an error of ours that a driver throws keeps its code", () => {
    const prepareIteration = (): never => {
      throw new DriverError("two_starts", "I cannot decide.")
    }
    const machine = new TurnMachine(configOf({ driver: driverOf({ prepareIteration }) }), { messages: [] })
    expect(errorOf(pollAll(machine))).toEqual({ message: "I cannot decide.", code: "two_starts" })
  })

  test("a driver that starts code but has no onExecResult", () => {
    const { onExecResult: _, ...driver } = driverOf({ prepareIteration: () => [EXEC] })
    const machine = new TurnMachine(configOf({ driver: driver as ProtocolDriver }), { messages: [] })
    pollAll(machine)
    const effects = respond(machine, { type: "exec_result", id: 1, result: { ok: false, error: "e" } })
    expect(errorOf(effects)).toEqual({ message: 'The driver "test" starts exec_code but has no onExecResult.', code: "missing_callback" })
  })
})

describe("what the machine did before it asked a failing driver stays", () => {
  const throwing = (): never => {
    throw new Error("boom")
  }

  test("a model's answer: the tokens were spent", () => {
    const machine = new TurnMachine(configOf({ driver: driverOf({ onLlmComplete: throwing }), emitLlmTrace: true }), { messages: [] })
    pollAll(machine)
    const effects = respond(machine, says(1, "Hi."))
    expect(effectNames(effects)).toEqual(["emit token_usage", "log llm_debug", "emit error", "emit turn_outcome", "emit done", "done"])
    expect(machine.usage).toEqual({ inputTokens: 10, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 })
  })

  const notes = (note: string): DriverAction => ({ type: "append_events", events: [{ type: "protocol", event: { note } }] })
  const driverError = ["emit token_usage", "emit error", "progress", "emit turn_outcome", "emit done", "done"]

  test("a model's answer: the driver is asked what to store of it, as of one that was cut off", () => {
    const asked: unknown[] = []
    const machine = startedWith([{ ...LLM, driverState: 7 }], {
      onLlmComplete: throwing,
      onLlmCutOff: (context, waiting, response) => {
        asked.push(waiting.driverState, response.text, response.terminalReason, context.usage.inputTokens)
        return [notes("kept"), LLM]
      },
    })
    const effects = respond(machine, says(1, "Hi."))
    expect(asked).toEqual([7, "Hi.", "stop", 10])
    // Work that it starts is left out: the turn ends.
    expect(effectNames(effects)).toEqual(driverError)
    expect(errorOf(effects)).toEqual({ message: 'The driver "test" threw: Error: boom', code: "driver_threw" })
    expect(machine.history).toEqual([{ type: "protocol", event: { note: "kept" } }])
  })

  test("a model's answer, also if the driver's list is at fault: what it lists is not stored twice", () => {
    const machine = startedWith([LLM], { onLlmComplete: () => [notes("mine"), LLM, TOOLS], onLlmCutOff: () => [notes("kept")] })
    expect(errorOf(respond(machine, says(1, "Hi."))).code).toBe("two_starts")
    expect(machine.history).toEqual([{ type: "protocol", event: { note: "kept" } }])
  })

  test.each<readonly [string, ProtocolDriver["onLlmCutOff"]]>([
    ["throws, too", throwing],
    ["returns an unknown action", () => [notes("kept"), { type: "explode" } as never]],
    ["returns no list", () => "kept" as never],
    ["returns undefined", () => undefined],
    ["is absent", undefined],
  ])("a model's answer: if onLlmCutOff %s, the first error ends the turn, and the tokens count", (_what, onLlmCutOff) => {
    const machine = startedWith([LLM], { onLlmComplete: throwing, ...(onLlmCutOff !== undefined && { onLlmCutOff }) })
    const effects = respond(machine, says(1, "Hi."))
    expect(effectNames(effects)).toEqual(driverError.filter((name) => name !== "progress"))
    expect(errorOf(effects).message).toBe('The driver "test" threw: Error: boom')
    expect(machine.history).toEqual([])
    expect(machine.usage.inputTokens).toBe(10)
    expect(machine.outcome).toMatchObject(RUNTIME_ERROR)
  })

  const resultOfA = {
    type: "conversation",
    message: {
      id: "m_0_tools_1",
      role: "user",
      parts: [{ id: "m_0_tools_1.p0", type: "tool_result", callId: "a", toolName: "look", text: "result of a" }],
    },
  }

  test("tool results: the calls were run, so their results stay", () => {
    const machine = startedWith([TOOLS], { onToolResults: () => [EMIT] })
    const effects = respond(machine, results(1, completed("a")))
    expect(effectNames(effects)).toEqual(["emit tool_call", "emit error", "progress", "emit turn_outcome", "emit done", "done"])
    expect(machine.history).toEqual([resultOfA])
    expect(errorOf(effects).code).toBe("no_way_forward")
  })

  test("a delivery: what was delivered is in the transcript", () => {
    const machine = startedWith([CHECKPOINT], { onDelivery: throwing })
    const effects = respond(machine, delivers(1, { userMessages: [userMessage("more", "u2")], events: [{ mine: 1 }] }))
    expect(effectNames(effects)).toEqual(["emit error", "progress", "emit turn_outcome", "emit done", "done"])
    expect(plain(machine.history)).toEqual([
      { type: "conversation", message: userMessage("more", "u2") },
      { type: "protocol", event: { mine: 1 } },
    ])
    expect(machine.outcome).toMatchObject(RUNTIME_ERROR)
  })

  test("the failing list itself is dropped whole", () => {
    const machine = startedWith([TOOLS], { onToolResults: () => [APPEND, { type: "advance_iteration" }, LLM, TOOLS] })
    respond(machine, results(1, completed("a")))
    expect(machine.history).toEqual([resultOfA])
    expect(machine.iteration).toBe(0)
    expect(machine.checkpoint().nextEffectId).toBe(2)
  })

  test("such an end can be saved and restored like any other", () => {
    const machine = startedWith([TOOLS], { onToolResults: throwing })
    machine.handle(results(1, completed("a")))
    const config = configOf({ driver: driverOf() })
    const restored = TurnMachine.restore(config, JSON.stringify(machine.checkpoint()))
    expect(effectNames(pollAll(restored))).toEqual(["emit tool_call", "emit error", "progress", "emit turn_outcome", "emit done", "done"])
  })
})

test("a driver's own tools are shown after the host's, where tools are shown", () => {
  const tool = (name: string): ToolSpec => ({ name, description: "", inputSchema: {} })
  const driver = driverOf({
    prepareIteration: (context) => [{ type: "start_llm", request: context.projectRequest({ tools: true, ownTools: [tool("own")] }) }],
    onLlmComplete: (context) => [{ type: "start_llm", request: context.projectRequest({ tools: false, ownTools: [tool("own")] }) }],
  })
  const machine = new TurnMachine(configOf({ driver, tools: [tool("host")] }), { messages: [] })
  expect(pollAll(machine).at(-1)).toMatchObject({ request: { tools: [{ name: "host" }, { name: "own" }], toolChoice: "auto" } })
  expect(respond(machine, says(1, "on")).at(-1)).toMatchObject({ request: { tools: [], toolChoice: "none" } })
})

test("a driver that is shown an answer sees the usage with that answer in it", () => {
  const seen: unknown[] = []
  const machine = startedWith([LLM], {
    onLlmComplete: ({ usage }) => {
      seen.push(usage)
      return seen.length < 2 ? [LLM] : [FINISH]
    },
  })
  respond(machine, says(1, "one"))
  respond(machine, says(2, "two"))
  expect(seen).toEqual([
    { inputTokens: 10, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 },
    { inputTokens: 20, cachedInputTokens: 0, outputTokens: 4, reasoningTokens: 0 },
  ])
})

describe("a driver's answer to a model's answer that was cut off", () => {
  const half = says(1, "Half an", { terminalReason: "output_limit" })

  test("may start work, which replaces the end of the turn", () => {
    const machine = startedWith([LLM], { onLlmCutOff: () => [APPEND, LLM] })
    const effects = respond(machine, half)
    expect(effectNames(effects)).toEqual(["emit token_usage", "emit text_delta", "emit llm_response", "emit llm_request", "progress", "llm_call 2"])
    expect(machine.state).toBe("waiting_llm")
  })

  test("may finish the turn in its own way", () => {
    const machine = startedWith([LLM], { onLlmCutOff: () => [FINISH] })
    respond(machine, half)
    expect(machine.outcome).toEqual({ type: "agent_frame_switch", frameId: "f" })
  })

  test.each<readonly [string, Partial<ProtocolDriver>]>([
    ["only stores", { onLlmCutOff: () => [APPEND] }],
    ["is undefined", { onLlmCutOff: () => undefined }],
    ["is absent", {}],
  ])("that %s leaves the end of the turn", (_what, callbacks) => {
    const machine = startedWith([LLM], callbacks)
    expect(errorOf(respond(machine, half)).code).toBe("output_limit")
    expect(machine.outcome).toMatchObject({ type: "stopped", stop: { type: "incomplete" } })
  })

  test("is asked for text that was streamed, which is not shown again", () => {
    const machine = startedWith([LLM], { onLlmCutOff: () => [APPEND] })
    expect(effectNames(respond(machine, { ...half, textStreamed: true })).slice(0, 2)).toEqual(["emit token_usage", "emit llm_response"])
    const failed = startedWith([LLM], { onLlmCutOff: () => [APPEND] })
    const error = { message: "lost", retryable: true, terminalReason: "provider_error" } as const
    const result = { ok: false, error, ...(half.result.ok && { partial: half.result.response }) } as const
    const effects = respond(failed, { type: "llm_complete", id: 1, textStreamed: true, result })
    expect(effectNames(effects).slice(0, 3)).toEqual(["emit token_usage", "emit llm_response", "emit error"])
  })

  test("sees the partial answer of a failed call as one, with its driver state; a driver without onLlmCutOff stores nothing of it", () => {
    const error = { message: "lost", retryable: true, terminalReason: "provider_error" } as const
    const response = { text: "Half an", parts: [], usage: NO_USAGE, terminalReason: "stop" } as const
    const failed = { type: "llm_complete", id: 1, result: { ok: false, error, partial: response } } as const
    const seen: unknown[] = []
    const machine = startedWith([{ ...LLM, driverState: 7 }], {
      onLlmCutOff: (_context, waiting) => void seen.push(waiting.driverState, waiting.failed),
    })
    respond(machine, failed)
    const cutOff = startedWith([{ ...LLM, driverState: 8 }], {
      onLlmCutOff: (_context, waiting) => void seen.push(waiting.driverState, waiting.failed),
    })
    respond(cutOff, half)
    expect(seen).toEqual([7, true, 8, undefined])
    const without = startedWith([LLM])
    respond(without, failed)
    expect(without.history).toEqual([])
    for (const { outcome } of [machine, without]) expect(outcome).toMatchObject({ type: "stopped", stop: { type: "provider_error" } })
  })

  test("to a side call, or to a failed one, is not shown: it is no answer to the user", () => {
    const side: DriverAction = { ...LLM, purpose: "compaction" }
    const error = { message: "lost", retryable: true, terminalReason: "provider_error" } as const
    const [cutOff, failed] = [startedWith([side]), startedWith([side])]
    expect(effectNames(respond(cutOff, half)).slice(0, 2)).toEqual(["emit token_usage", "emit error"])
    const result = { ok: false, error, ...(half.result.ok && { partial: half.result.response }) } as const
    expect(effectNames(respond(failed, { type: "llm_complete", id: 1, result })).slice(0, 2)).toEqual(["emit token_usage", "emit error"])
  })

  test("cannot start work for the partial answer of a failed call", () => {
    const error = { message: "lost", retryable: true, terminalReason: "provider_error" } as const
    const machine = startedWith([LLM], { onLlmCutOff: () => [APPEND, LLM, FINISH] })
    const { result } = half
    const partial = result.ok ? result.response : undefined
    const effects = respond(machine, { type: "llm_complete", id: 1, result: { ok: false, error, ...(partial !== undefined && { partial }) } })
    expect(effectNames(effects).slice(0, 5)).toEqual(["emit token_usage", "emit text_delta", "emit llm_response", "emit error", "progress"])
    expect(machine.outcome).toMatchObject({ type: "stopped", stop: { type: "provider_error" } })
    expect(machine.history).toHaveLength(1)
  })
})

describe("a driver's answer to a failed model call", () => {
  const failure = { message: "overloaded", retryable: true, code: "529", terminalReason: "provider_error" } as const
  const failed = { type: "llm_complete", id: 1, result: { ok: false, error: failure } } as const

  test("is used, and it sees the error and its driver state", () => {
    const seen: unknown[] = []
    const onLlmFailed: ProtocolDriver["onLlmFailed"] = (_, waiting, error) => {
      seen.push(waiting.driverState, waiting.outstanding.id, error)
      return [LLM]
    }
    const machine = startedWith([{ ...LLM, driverState: { attempt: 1 } }], { onLlmFailed })
    expect(effectNames(respond(machine, failed))).toEqual(["emit llm_request", "llm_call 2"])
    expect(seen).toEqual([{ attempt: 1 }, 1, failure])
    expect(machine.usage.inputTokens).toBe(0)
  })

  test("the tokens of a failed call are counted, reported, and seen by the driver, if the host knows them", () => {
    const usage = { inputTokens: 7, cachedInputTokens: 1, outputTokens: 3, reasoningTokens: 2 }
    const seen: unknown[] = []
    const machine = startedWith([LLM], { onLlmFailed: (context) => [LLM].filter(() => seen.push(context.usage)) })
    const effects = respond(machine, { ...failed, result: { ok: false, error: { ...failure, usage } } })
    expect(effects[0]).toEqual({ type: "emit", event: { type: "token_usage", iteration: 0, usage, cumulative: usage } })
    expect(seen).toEqual([usage])
    expect(machine.usage).toEqual(usage)
    respond(machine, says(2, "there"))
    expect(machine.usage).toEqual({ inputTokens: 17, cachedInputTokens: 1, outputTokens: 5, reasoningTokens: 2 })
  })

  const some = { inputTokens: 7, cachedInputTokens: 1, outputTokens: 3, reasoningTokens: 2 }
  const more = { inputTokens: 70, cachedInputTokens: 10, outputTokens: 30, reasoningTokens: 20 }
  const sum = { inputTokens: 77, cachedInputTokens: 11, outputTokens: 33, reasoningTokens: 22 }
  const partial = { text: "Half", parts: [], terminalReason: "provider_error" } as const

  test.each([
    ["the usage of the partial answer", {}, { ...partial, usage: some }, some, some],
    ["the usage of the failure, not of the partial answer", { usage: some }, { ...partial, usage: more }, some, some],
    ["failed attempts, which the event does not show as its own", { usage: some, retriedUsage: more }, undefined, some, sum],
    ["failed attempts of the partial answer", {}, { ...partial, usage: some, retriedUsage: more }, some, sum],
    ["failed attempts of the failure, not of the partial answer", { retriedUsage: more }, { ...partial, usage: some, retriedUsage: some }, some, sum],
    ["failed attempts alone, without an event", { retriedUsage: more }, undefined, undefined, more],
  ])("the tokens of a failed call: %s", (_what, facts, said, own, cumulative) => {
    const machine = startedWith([LLM], { onLlmFailed: () => [FINISH] })
    const result = { ok: false, error: { ...failure, ...facts }, ...(said !== undefined && { partial: said }) } as const
    const effects = respond(machine, { type: "llm_complete", id: 1, result })
    const shown = effects.flatMap((effect) => (effect.type === "emit" && effect.event.type === "token_usage" ? [effect.event] : []))
    expect(shown).toEqual(own === undefined ? [] : [{ type: "token_usage", iteration: 0, usage: own, cumulative }])
    expect(machine.usage).toEqual(cumulative)
  })

  test("undefined leaves the decision to the machine: stopped as provider_error", () => {
    for (const callbacks of [{ onLlmFailed: () => undefined }, {}]) {
      const machine = startedWith([LLM], callbacks)
      const effects = respond(machine, failed)
      expect(effectNames(effects)).toEqual(["emit error", "emit turn_outcome", "emit done", "done"])
      expect(errorOf(effects)).toEqual({ message: "LLM error: overloaded", code: "529" })
      expect(machine.outcome).toMatchObject({ type: "stopped", stop: { type: "provider_error" } })
    }
  })

  test("an empty list is an answer, without a way forward", () => {
    const machine = startedWith([LLM], { onLlmFailed: () => [] })
    expect(errorOf(respond(machine, failed)).code).toBe("no_way_forward")
  })

  test("the log has the failure before anything else", () => {
    const machine = new TurnMachine(configOf({ driver: driverOf({ onLlmFailed: () => [FINISH] }), emitLlmTrace: true }), { messages: [] })
    pollAll(machine)
    expect(effectNames(respond(machine, failed))).toEqual(["log llm_error", "emit turn_outcome", "emit done", "done"])
  })
})

describe("what one action list may contain", () => {
  test("progress is emitted right before the work that depends on it, wherever that is in the list", () => {
    const machine = new TurnMachine(configOf({ driver: driverOf({ prepareIteration: () => [EMIT, TOOLS, APPEND, EMIT] }) }), { messages: [] })
    expect(effectNames(pollAll(machine))).toEqual(["emit message", "progress", "tool_calls 1", "emit message"])
  })

  test("driver state travels with the work and comes back with its answer", () => {
    const seen: unknown[] = []
    const onExecResult: ProtocolDriver["onExecResult"] = (_, waiting, result) => {
      seen.push(plain(waiting), result)
      return [FINISH]
    }
    const machine = startedWith([{ type: "start_exec", code: "1+1", language: "js", driverState: { n: 1 } }], { onExecResult })
    const restored = TurnMachine.restore(configOf({ driver: driverOf({ onExecResult }) }), JSON.stringify(machine.checkpoint()))
    respond(restored, { type: "exec_result", id: 1, result: { ok: false, error: "e" } })
    expect(seen).toEqual([
      { type: "waiting_exec", outstanding: { type: "exec_code", id: 1, code: "1+1", language: "js" }, driverState: { n: 1 } },
      { ok: false, error: "e" },
    ])
  })

  test("a batch without calls is answered with no results, or with an empty part", () => {
    const machine = startedWith([{ type: "start_tools", calls: [] }])
    respond(machine, results(1))
    expect(machine.done).toBe(true)
  })
})
