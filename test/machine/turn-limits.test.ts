import { describe, expect, test } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import { codeDriver } from "../../src/drivers/code.ts"
import { goalDriver } from "../../src/drivers/goal/index.ts"
import { wrapDriver } from "../../src/drivers/wrap-driver.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import { resultsAction } from "../../src/machine/terminal.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { Effect } from "../../src/schemas/effect.ts"
import type { LlmComplete, Response } from "../../src/schemas/response.ts"
import { expectTurn } from "../../src/testing/expect-turn.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { about, batchOf, decides, holdingDriver, letRun } from "./held-support.ts"
import {
  answer,
  callsAndResults,
  callsTools,
  completed,
  configOf,
  delivers,
  driverOf,
  expectRefused,
  moved,
  pending,
  pollAll,
  REQUEST,
  respond,
  results,
  says,
  userMessage,
} from "./support.ts"

// Each answer of these helpers uses 10 input tokens and 2 output tokens.

const MAX_TOKENS = { type: "stopped", stop: { type: "max_tokens" } }
const DEADLINE = { type: "stopped", stop: { type: "deadline" } }
const LOOK = { name: "look", description: "Looks.", inputSchema: {} }

/** A way to reach a limit with the first answer: the config and start that set it, and the outcome. */
const LIMITS: readonly (readonly [string, Partial<TurnConfig>, { readonly deadlineAt?: number }, object, RegExp])[] = [
  ["maxTokens", { maxTokens: 12 }, {}, MAX_TOKENS, /its limit of 12 tokens/],
  ["deadlineAt", {}, { deadlineAt: 500 }, DEADLINE, /its deadline/],
]

const DRIVERS: readonly (readonly [string, ProtocolDriver])[] = [
  ["chat", chatDriver()],
  ["a wrapped chat", wrapDriver(chatDriver(), { name: "wrapped" })],
  ["goal", goalDriver(chatDriver(), { turnId: "t", threadId: "thread", startedAt: 0 } as never)],
]

describe.each(LIMITS)("%s", (_limit, config, start, outcome, words) => {
  const begin = (changes: Partial<TurnConfig> = {}): TurnMachine => {
    const machine = new TurnMachine(configOf({ tools: [LOOK], ...config, ...changes }), { messages: [userMessage("hello")], ...start })
    pollAll(machine)
    return machine
  }
  const at = (response: Response, time = 500): Response => ({ ...response, at: time })

  test.each(DRIVERS)("under the %s driver: what was said is stored, and its calls get a result that says they did not run", (_name, driver) => {
    const machine = begin({ driver })
    const effects = respond(machine, at(callsTools(1, ["a", "b"], { text: "Let me look." })))
    expect(machine.outcome).toEqual(outcome)
    expect(effects.map(({ type }) => type)).not.toContain("tool_calls")
    expect(callsAndResults(machine.messages)).toEqual(["call a", "call b", "result a", "result b"])
    const shown = machine.messages.slice(-2).flatMap(({ parts }) => parts.map((part) => ("text" in part ? part.text : "")))
    expect(shown[0]).toMatch(/^\[Tool execution cancelled\]\nThe call was not run: the turn reached/)
    expect(shown[2]).toMatch(words)
    expect(machine.messages.at(-1)).toMatchObject({ role: "system", parts: [{ type: "error" }] })
  })

  test("an answer without calls finishes the turn: nothing new starts", () => {
    const machine = begin()
    respond(machine, at(says(1, "Hi.")))
    expect(machine.state).toBe("waiting_checkpoint")
    respond(machine, delivers(2))
    expect(machine.outcome).toMatchObject({ type: "finished" })
  })

  test("a message that is delivered after the last answer is stored, and gets no model call", () => {
    const machine = begin()
    respond(machine, at(says(1, "Hi.")))
    const effects = respond(machine, delivers(2, { userMessages: [userMessage("And?", "u2")] }))
    expect(machine.outcome).toEqual(outcome)
    expect(effects.map(({ type }) => type)).not.toContain("llm_call")
    expect(machine.history).toContainEqual({ type: "conversation", message: userMessage("And?", "u2") })
  })

  test("after tool results nothing follows, and they are stored", () => {
    const machine = begin({ maxTokens: config.maxTokens === undefined ? undefined : 13 })
    respond(machine, at(callsTools(1, ["a"]), 400))
    const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
    respond(machine, at(results(2, completed("a", "seen", { usage }))))
    expect(machine.state).toBe("waiting_checkpoint")
    respond(machine, delivers(3))
    expect(machine.outcome).toEqual(outcome)
    expect(callsAndResults(machine.messages)).toEqual(["call a", "result a"])
  })

  test("the driver is not asked for another iteration, and the surface is not synced for it", () => {
    let asked = 0
    const counting = wrapDriver(chatDriver(), {
      prepareIteration: (next, context) => {
        asked += 1
        return next(context)
      },
    })
    const machine = begin({ driver: counting, syncExecutionSurface: true })
    respond(machine, { type: "execution_surface_synced", id: 1, result: { ok: true } })
    respond(machine, at(says(2, "Hi.")))
    const effects = respond(machine, delivers(3, { userMessages: [userMessage("And?", "u2")] }))
    expect(machine.outcome).toEqual(outcome)
    expect(effects.map(({ type }) => type)).not.toContain("sync_execution_surface")
    expect(asked).toBe(1)
  })

  test("code is not run, and the transcript says so", () => {
    const machine = begin({ driver: codeDriver(), tools: [] })
    const effects = respond(machine, at(says(1, "Look:\n```ts\nprint(1)\n```\n")))
    expect(machine.outcome).toEqual(outcome)
    expect(effects.map(({ type }) => type)).not.toContain("exec_code")
    expect(JSON.stringify(machine.messages.at(-2))).toContain("print(1)")
    expect(JSON.stringify(machine.messages.at(-1))).toContain("The code of the last answer was not run.")
  })

  test("a model call that a driver starts at once is left out; its other actions stay", () => {
    const list: readonly DriverAction[] = [
      { type: "start_llm", request: REQUEST },
      { type: "append_events", events: [{ type: "protocol", event: "noted" }] },
    ]
    const machine = begin({ driver: driverOf({ onLlmComplete: () => list }), tools: [] })
    respond(machine, at(says(1, "Hi.")))
    expect(machine.outcome).toEqual(outcome)
    expect(machine.history[0]).toEqual({ type: "protocol", event: "noted" })
  })

  test("a batch that the driver settles keeps its results and their usage", () => {
    const usage = { inputTokens: 3, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
    const settle: DriverAction = { type: "start_tools", calls: [pending("a"), pending("b")], settled: [completed("b", "mine", { usage })] }
    const machine = begin({ driver: driverOf({ onLlmComplete: () => [settle] }), tools: [] })
    const effects = respond(machine, at(says(1, "Hi.")))
    expect(machine.outcome).toEqual(outcome)
    expect(effects).toContainEqual(expect.objectContaining({ event: expect.objectContaining({ type: "tool_call", callId: "b" }) as unknown }))
    expect(machine.messages.at(-2)?.parts).toMatchObject([
      { callId: "a", isError: true },
      { callId: "b", text: "mine" },
    ])
    expect(machine.usage.inputTokens).toBe(13)
  })

  test("a list at fault stays one", () => {
    const both: readonly DriverAction[] = [
      { type: "start_llm", request: REQUEST },
      { type: "start_llm", request: REQUEST },
    ]
    const machine = begin({ driver: driverOf({ onLlmComplete: () => both }), tools: [] })
    respond(machine, at(says(1, "Hi.")))
    expect(machine.outcome).toMatchObject({ stop: { type: "runtime_error", error: { kind: "driver" } } })
  })

  test("before it is reached, nothing changes", () => {
    const machine = begin({ maxTokens: config.maxTokens === undefined ? undefined : 13 })
    respond(machine, at(callsTools(1, ["a"]), 499))
    expect(machine.outstanding?.type).toBe("tool_calls")
  })

  test("the turn ends once and can be saved", () => {
    const machine = begin()
    const ends = respond(machine, at(callsTools(1, ["a"]))).filter((effect) => effect.type === "done" || isDone(effect))
    expect(ends).toHaveLength(2)
    expect(moved(machine, configOf(config)).outcome).toEqual(outcome)
  })

  test("obeys the laws of a turn", () => {
    const inputs = [at(callsTools(1, ["a"]), 400), at(results(2, completed("a"))), delivers(3), says(4, "late")]
    expectTurn(configOf({ tools: [LOOK], ...config }), { messages: [userMessage("hello")], ...start }, [
      { type: "poll" },
      ...inputs
        .slice(0, config.maxTokens === undefined ? 3 : 1)
        .flatMap((response) => [{ type: "respond", response } as const, { type: "poll" } as const]),
    ])
  })
})

function isDone(effect: Effect): boolean {
  return effect.type === "emit" && effect.event.type === "done"
}

describe("maxTokens", () => {
  test("counts input that was not cached and all output, also of failed calls and retries; not what a cache gave", () => {
    const used = (usage: object, retriedUsage?: object): LlmComplete =>
      callsTools(1, ["a"], {
        usage: { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0, ...usage },
        ...(retriedUsage && { retriedUsage }),
      } as never)
    const stops = (response: LlmComplete): boolean => {
      const machine = new TurnMachine(configOf({ maxTokens: 100 }), { messages: [userMessage("hello")] })
      pollAll(machine)
      respond(machine, response)
      return machine.done
    }
    expect(stops(used({ inputTokens: 60, outputTokens: 40 }))).toBe(true)
    expect(stops(used({ inputTokens: 60, outputTokens: 39, cachedInputTokens: 1_000, reasoningTokens: 39, cacheWriteTokens: 60 }))).toBe(false)
    const one = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
    expect(stops(used({ inputTokens: 60, outputTokens: 39 }, one))).toBe(true)
  })

  test("0 stops the turn before its first model call", () => {
    const machine = new TurnMachine(configOf({ maxTokens: 0 }), { messages: [userMessage("hello")] })
    expect(pollAll(machine).map(({ type }) => type)).not.toContain("llm_call")
    expect(machine.outcome).toEqual(MAX_TOKENS)
  })

  test("a restored turn has the limit of its config", () => {
    const machine = new TurnMachine(configOf({ maxTokens: 12 }), { messages: [userMessage("hello")] })
    pollAll(machine)
    const restored = moved(machine, configOf({ maxTokens: 100 }))
    pollAll(restored)
    respond(restored, callsTools(1, ["a"]))
    expect(restored.done).toBe(false)
  })

  test("a limit that is not a count is refused", () => {
    for (const maxTokens of [-1, 0.5, Number.NaN, "1"])
      expect(() => new TurnMachine(configOf({ maxTokens: maxTokens as never }), { messages: [] })).toThrow(/maxTokens/)
  })
})

describe("deadlineAt", () => {
  const start = { messages: [userMessage("hello")], deadlineAt: 500 }

  test("a restored turn keeps it", () => {
    const machine = new TurnMachine(configOf(), start)
    pollAll(machine)
    const restored = moved(machine, configOf())
    pollAll(restored)
    respond(restored, { ...callsTools(1, ["a"]), at: 501 })
    expect(restored.outcome).toEqual(DEADLINE)
  })

  test("without a time on any response it never passes", () => {
    const machine = new TurnMachine(configOf(), start)
    pollAll(machine)
    respond(machine, callsTools(1, ["a"]))
    expect(machine.done).toBe(false)
  })

  test("the latest time counts, also from a part of a batch", () => {
    const machine = new TurnMachine(configOf(), start)
    pollAll(machine)
    respond(machine, callsTools(1, ["a", "b"]))
    respond(machine, { ...results(2, completed("a")), at: 600 } as Response)
    expect(machine.state).toBe("waiting_tools")
    respond(machine, { ...results(2, completed("b")), at: 400 } as Response)
    respond(machine, delivers(3))
    expect(machine.outcome).toEqual(DEADLINE)
  })

  test("the execution surface is not synced after it", () => {
    const machine = new TurnMachine(configOf({ syncExecutionSurface: true }), start)
    pollAll(machine)
    respond(machine, { type: "execution_surface_synced", id: 1, result: { ok: true }, at: 500 } as Response)
    expect(machine.outcome).toEqual(DEADLINE)
  })

  test("a deadline that is not a time is refused", () => {
    for (const deadlineAt of [0.5, Number.NaN, "now"])
      expect(() => new TurnMachine(configOf(), { messages: [], deadlineAt: deadlineAt as never })).toThrow(/deadlineAt/)
  })
})

test("a refused answer leaves a turn at its limit unchanged", () => {
  const machine = new TurnMachine(configOf({ maxTokens: 1 }), { messages: [] })
  pollAll(machine)
  expectRefused(machine, () => machine.handle(answer(7, [])), "unknown_effect")
})

test("a list that starts the same batch twice is at fault at a limit, too", () => {
  const start: DriverAction = { type: "start_tools", calls: [pending("a")] }
  const driver = driverOf({ onLlmComplete: () => [start, start] })
  const machine = new TurnMachine(configOf({ driver, maxTokens: 12 }), { messages: [] })
  pollAll(machine)
  respond(machine, says(1, "Hi."))
  expect(machine.outcome).toMatchObject({ stop: { type: "runtime_error", error: { code: "two_starts" } } })
})

test("a held call that is approved after the deadline runs, its result is stored, and nothing follows", () => {
  const batch = batchOf(["a"])
  const request = { type: "start_llm", request: REQUEST } as const
  const driver = holdingDriver(batch, { onToolResults: (context, list) => [resultsAction(context, "tools", list), request] })
  const machine = new TurnMachine(configOf({ driver }), { messages: [userMessage("Pay.")], deadlineAt: 500 })
  pollAll(machine)
  expect(letRun(respond(machine, { ...decides(about("a")), at: 501 }))).toEqual(["a"])
  const effects = respond(machine, results(1, completed("a", "paid")))
  expect(effects.map(({ type }) => type)).not.toContain("llm_call")
  expect(machine.outcome).toEqual(DEADLINE)
  expect(JSON.stringify(machine.messages)).toContain("paid")
})

describe("what a turn that ended at a limit leaves", () => {
  const ended = (action: DriverAction): TurnMachine => {
    const driver = driverOf({ onLlmComplete: () => [action] })
    const machine = new TurnMachine(configOf({ maxTokens: 12, driver }), { messages: [userMessage("hello")] })
    pollAll(machine)
    respond(machine, says(1, "Hi."))
    expect(machine.outcome).toEqual(MAX_TOKENS)
    return machine
  }
  const limit = (id: string, more = ""): object => {
    const text = `This turn reached its limit of 12 tokens and ended here, before a final answer.${more}`
    return { id, role: "system", parts: [{ id: `${id}.p0`, type: "error", text }] }
  }

  test("is a message that says so, as the only one", () => {
    expect(ended({ type: "start_llm", request: REQUEST }).messages.slice(1)).toEqual([limit("m_0_turn_limit_1")])
    expect(ended({ type: "start_tools", calls: [] }).messages.slice(1)).toEqual([limit("m_0_turn_limit_1")])
    expect(ended({ type: "start_exec", code: "1", driverState: null }).messages.slice(1)).toEqual([
      limit("m_0_turn_limit_1", " The code of the last answer was not run."),
    ])
  })

  test("is a result for each call, those that the driver settled among them, and the usage of these", () => {
    const usage = { inputTokens: 3, cachedInputTokens: 0, outputTokens: 4, reasoningTokens: 0 }
    const machine = ended({ type: "start_tools", calls: [pending("a"), pending("b")], settled: [completed("b", "known", { usage })] })
    const notRun = "[Tool execution cancelled]\nThe call was not run: the turn reached its limit of 12 tokens."
    expect(machine.messages[1]).toMatchObject({
      id: "m_0_tools_1",
      parts: [
        { callId: "a", text: notRun },
        { callId: "b", text: "known" },
      ],
    })
    expect(machine.messages.slice(2)).toEqual([limit("m_0_turn_limit_2")])
    expect(machine.usage).toEqual({ inputTokens: 13, cachedInputTokens: 0, outputTokens: 6, reasoningTokens: 0 })
  })
})
