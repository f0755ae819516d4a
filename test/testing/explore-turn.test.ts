import { describe, expect, test } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import { wrapDriver } from "../../src/drivers/wrap-driver.ts"
import { ProtocolError } from "../../src/errors.ts"
import type { DriverContext, ProtocolDriver } from "../../src/machine/driver.ts"
import { isAnswerable } from "../../src/machine/transitions.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { AnswerableEffect, Effect } from "../../src/schemas/effect.ts"
import type { LlmRequest, OutputPart } from "../../src/schemas/llm.ts"
import type { Message, Part } from "../../src/schemas/message.ts"
import type { Response } from "../../src/schemas/response.ts"
import { answerTo } from "../../src/testing/answers.ts"
import { type ExploreTurnOptions, exploreTurn } from "../../src/testing/explore-turn.ts"
import { possibleAnswers } from "../../src/testing/possible-answers.ts"
import type { ExploredStep } from "../../src/testing/step-checker.ts"
import type { TestedMachineClass } from "../../src/testing/turn-input.ts"
import { ExplorationError } from "../../src/testing/witness.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { REQUEST } from "./turns.ts"

function says(effect: AnswerableEffect, ...parts: readonly OutputPart[]): Response {
  const text = parts.map((part) => (part.type === "text" ? part.text : "")).join("")
  const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }
  return answerTo(effect, { llm: { ok: true, response: { text, parts, usage, terminalReason: "stop" } } })
}

/** The chat driver, with some callbacks changed. */
function changed(patch: Omit<Parameters<typeof wrapDriver>[1], "name">): ProtocolDriver {
  return wrapDriver(chatDriver(), { name: "changed", ...patch })
}

/** A machine whose effects are changed when they are polled. */
function emitting(change: (effect: Effect) => Effect): TestedMachineClass {
  return class extends TurnMachine {
    override poll(): Effect | undefined {
      const effect = super.poll()
      return effect === undefined ? undefined : change(effect)
    }
  }
}

function emit(content: string): DriverAction {
  return { type: "emit", event: { type: "text_delta", content } }
}

function mapAnswers(actions: readonly DriverAction[], change: (part: Part) => Part): readonly DriverAction[] {
  return actions.map((action) => {
    if (action.type !== "append_events") return action
    return {
      ...action,
      events: action.events.map((record) =>
        record.type === "conversation" && record.message.role === "assistant"
          ? { ...record, message: { ...record.message, parts: record.message.parts.map(change) } }
          : record,
      ),
    }
  })
}

/** What is wrong, the law that finds it, the number of inputs of the shortest path, and the options that are explored. */
type Breach = readonly [what: string, law: string, inputs: number, message: RegExp, options: () => ExploreTurnOptions]

const BREACHES: readonly Breach[] = [
  [
    "a driver counts in a variable of its own",
    "replay",
    0,
    /the start: the effects the second time, and the first time \(0\), first difference at "\/event\/content"/,
    () => {
      let count = 0
      return {
        driver: changed({
          prepareIteration(next, context) {
            count += 1
            return [emit(String(count)), ...next(context)]
          },
        }),
      }
    },
  ],
  [
    "a driver remembers values of the running turn, which a restore does not have",
    "cut",
    1,
    /respond llm_complete to effect 1: the effects after a restore, and without one/,
    () => {
      const known = new WeakSet<LlmRequest>()
      return {
        driver: changed({
          prepareIteration(next, context) {
            const actions = next(context)
            for (const action of actions) if (action.type === "start_llm") known.add(action.request)
            return actions
          },
          onLlmComplete: (next, context, waiting, response, streamed) => [
            emit(known.has(waiting.outstanding.request) ? "known" : "new"),
            ...next(context, waiting, response, streamed),
          ],
        }),
      }
    },
  ],
  [
    "a driver has a state that is not JSON",
    "driver",
    0,
    /not valid at "\/0\/driverState\/own": it is a number that is not finite/,
    () => ({
      driver: changed({
        ownState: () => Number.POSITIVE_INFINITY,
        onLlmComplete: (next, context, waiting, response, streamed) => [
          emit(String((waiting.driverState as { readonly own: unknown }).own)),
          ...next(context, waiting, response, streamed),
        ],
      }),
    }),
  ],
  [
    "a driver appends a message that no checkpoint may have",
    "driver",
    1,
    /not valid at .*\/events\/0\/message\/parts\/0\/at": it is an instance of a class/,
    () => ({
      driver: changed({
        onLlmComplete: (next, context, waiting, response, streamed) =>
          mapAnswers(next(context, waiting, response, streamed), (part) => ({ ...part, at: new Date(0) }) as Part & { readonly at: unknown }),
      }),
    }),
  ],
  [
    "a machine accepts an answer twice",
    "duplicates",
    1,
    /the verdict on the repeated answer/,
    () => ({
      driver: chatDriver(),
      machine: class extends TurnMachine {
        override handle(response: Response): { readonly status: "accepted" | "stale" } {
          return super.handle(response).status === "stale" && response.type === "llm_complete" ? { status: "accepted" } : { status: "accepted" }
        }
      },
    }),
  ],
  [
    "a machine ignores answers to effects that do not exist",
    "refusal",
    0,
    /the verdict on an id that was never issued/,
    () => ({
      driver: chatDriver(),
      machine: class extends TurnMachine {
        override handle(response: Response): { readonly status: "accepted" | "stale" } {
          try {
            return super.handle(response)
          } catch (error) {
            if (error instanceof ProtocolError && error.code === "unknown_effect") return { status: "stale" }
            throw error
          }
        }
      },
    }),
  ],
  [
    "a machine skips an id",
    "outstanding",
    1,
    /effect 3 was returned after effect 1; ids rise by one/,
    () => ({
      driver: chatDriver(),
      machine: emitting((effect) => (isAnswerable(effect) && effect.id === 2 ? { ...effect, id: 3 } : effect)),
    }),
  ],
  [
    "a driver ends the turn for user interfaces, and continues",
    "driver",
    1,
    /emitted "done", which only the machine emits/,
    () => ({
      driver: changed({
        onLlmComplete: (next, ...given) => [{ type: "emit", event: { type: "done" } }, ...next(...given)],
      }),
    }),
  ],
  [
    "a machine ends the turn for user interfaces, and continues",
    "ending",
    1,
    /the end was emitted by a turn that is not done/,
    () => ({
      driver: chatDriver(),
      machine: emitting((effect) =>
        effect.type === "emit" && effect.event.type === "llm_response" ? { type: "emit", event: { type: "done" } } : effect,
      ),
    }),
  ],
  [
    "a machine loses the records of a progress",
    "progress",
    1,
    /the deltas of progress and done, joined, and the events appended/,
    () => ({ driver: chatDriver(), machine: emitting((effect) => (effect.type === "progress" ? { ...effect, eventDelta: [] } : effect)) }),
  ],
  [
    "a machine treats results that come alone differently",
    "tools",
    2,
    /results? .*the last first/,
    () => ({
      driver: chatDriver(),
      machine: class extends TurnMachine {
        override handle(response: Response): { readonly status: "accepted" | "stale" } {
          const result = super.handle(response)
          const part = response.type === "tool_results" && result.status === "accepted" && this.state === "waiting_tools"
          if (part) this.apply([{ type: "append_events", events: [{ type: "protocol", event: "part" }] }])
          return result
        }
      },
    }),
  ],
  [
    "a driver drops the results of tools",
    "orphans",
    2,
    /the call "call_1_0" has no result at the end of the request/,
    () => ({
      driver: changed({
        prepareIteration: (_next, context) => [{ type: "start_llm", request: context.projectRequest({ tools: true }) }],
        onToolResults: (_next, context) => [
          { type: "advance_iteration" },
          context.limitReached()
            ? { type: "finish", outcome: { type: "stopped", stop: { type: "max_iterations" } } }
            : { type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } },
        ],
      }),
    }),
  ],
  [
    "a driver has the number of the iteration in its prompt",
    "prefix",
    2,
    /the request of effect 3 does not begin with the one before it \(system\), first difference at "\/messages\/0/,
    () => ({
      driver: changed({
        prepareIteration: (next, context) =>
          next(context).map((action) => {
            if (action.type !== "start_llm") return action
            const { request } = action
            const blocks = [{ type: "text", text: `Iteration ${context.iteration}.` }] as const
            return { ...action, request: { ...request, messages: [{ role: "system", blocks }, ...request.messages] } }
          }),
      }),
    }),
  ],
  [
    "a driver trims answers",
    "verbatim",
    1,
    /the parts stored and the parts of the answer, first difference at "\/0\/text"/,
    () => ({
      driver: changed({
        onLlmComplete: (next, ...given) => mapAnswers(next(...given), (part) => (part.type === "text" ? { ...part, text: part.text.trim() } : part)),
      }),
      answers: (effect, defaults) => (effect.type === "llm_call" ? [...defaults, says(effect, { type: "text", text: "A line.\n" })] : defaults),
    }),
  ],
  [
    "a driver forgets what it had shown when the user cancels",
    "verbatim",
    1,
    /cancel: the parts stored and the parts of the answer/,
    () => ({
      driver: changed({
        onLlmCutOff: (next, context, waiting, response) => (response.terminalReason === "cancelled" ? [] : next(context, waiting, response)),
      }),
      answers: () => [],
    }),
  ],
  [
    "a driver has no answer to a pause",
    "driver",
    1,
    /neither started work nor finished/,
    () => ({
      driver: changed({
        onLlmComplete: (next, context, waiting, response, streamed) =>
          response.terminalReason === "paused" ? [] : next(context, waiting, response, streamed),
      }),
    }),
  ],
  [
    "a driver changes the transcript in place, which is frozen",
    "driver",
    1,
    /object is not extensible/,
    () => ({
      driver: changed({
        onToolResults(next, context: DriverContext, results) {
          const [first] = context.messages.toArray() as readonly [Message]
          ;(first.parts as Part[]).push({ id: "added", type: "text", text: "changed" })
          return next(context, results)
        },
      }),
    }),
  ],
  [
    "a law of the caller: one batch of tools in a turn",
    "one batch of tools in a turn",
    3,
    /respond llm_complete to effect 3: 2 batches/,
    () => ({
      driver: chatDriver(),
      bounds: { calls: 1, deliveries: 0 },
      laws: {
        "one batch of tools in a turn": ({ after }) => {
          const batches = after.messages.filter(({ parts }) => parts.some(({ type }) => type === "tool_call")).length
          return batches <= 1 ? undefined : `${batches} batches`
        },
      },
    }),
  ],
]

const ENDED = { type: "stopped", stop: { type: "plugin_abort" } } as const

describe("a law that is broken gives the shortest inputs that lead there", () => {
  test.each(BREACHES)("%s: %s", (_what, law, inputs, message, options) => {
    const error = violationOf(options())
    expect(error).toMatchObject({ law, message: expect.stringMatching(message) })
    expect(error.path.filter(({ type }) => type !== "poll")).toHaveLength(inputs)
    const path = JSON.parse(JSON.stringify(error.path)) as ExplorationError["path"]
    expect(violationOf({ ...options(), path })).toMatchObject({ law, where: error.where, path: error.path })
  })
})

function violationOf(options: ExploreTurnOptions): ExplorationError {
  try {
    exploreTurn(options)
  } catch (error) {
    if (error instanceof ExplorationError) return error
    throw error
  }
  return expect.unreachable("Every law holds.")
}

describe("bounds", () => {
  const bounds = { iterations: 1, calls: 1, deliveries: 0 }

  test("an exploration within its bounds is complete", () => {
    const explored = exploreTurn({ driver: chatDriver(), bounds, answers: (_, defaults) => defaults.filter((answer) => !delivers(answer)) })
    expect(explored).toMatchObject({ complete: true, cutOff: [] })
  })

  test.each([
    ["deliveries", 0, {}],
    ["depth", 1, { depth: 1 }],
    ["states", 3, { states: 3 }],
    ["calls", 0, { calls: 0 }],
    ["iterations", 0, { iterations: 0, deliveries: 1 }],
  ] as const)("what %s leaves out is reported", (bound, limit, changes) => {
    const answers: ExploreTurnOptions["answers"] = (effect, defaults) =>
      effect.type === "llm_call" ? [...defaults, says(effect, { type: "tool_call", callId: "call", toolName: "tool", inputJson: "{}" })] : defaults
    const { complete, cutOff } = exploreTurn({ driver: chatDriver(), config: { maxIterations: 1 }, bounds: { ...bounds, ...changes }, answers })
    expect(complete).toBe(false)
    expect(cutOff).toContainEqual({ bound, limit, states: expect.any(Number) })
  })

  test("a path is not complete, and visits only its states", () => {
    const [answer] = possibleAnswers({ type: "llm_call", id: 1, request: { ...REQUEST } }) as readonly [Response]
    const path = [{ type: "poll" }, { type: "respond", response: answer }, { type: "poll" }, { type: "cancel" }, { type: "poll" }] as const
    expect(exploreTurn({ driver: chatDriver(), path })).toMatchObject({
      states: 3,
      transitions: 2,
      complete: false,
      outcomes: { "stopped cancelled": 1 },
    })
  })
})

describe("inputs", () => {
  const bounds = { iterations: 1, calls: 0, deliveries: 0 }

  test("commands replaces the commands of the host", () => {
    const { outcomes } = exploreTurn({ driver: chatDriver(), bounds, commands: () => [] })
    expect(Object.keys(outcomes)).toEqual([
      "finished assistant_message",
      "stopped cancelled",
      "stopped incomplete",
      "stopped max_iterations",
      "stopped provider_error",
    ])
  })

  test("an answer that the turn refuses breaks the law of inputs", () => {
    const wrong = says({ type: "llm_call", id: 7, request: REQUEST }, { type: "text", text: "" })
    const error = violationOf({ driver: chatDriver(), bounds, answers: (effect, defaults) => (effect.type === "llm_call" ? [wrong] : defaults) })
    expect(error).toMatchObject({ law: "inputs", message: expect.stringContaining("its verdict is unknown_effect") })
  })

  test("an error of the machine has the path to it", () => {
    class Thrower extends TurnMachine {
      override cancel(): void {
        throw new TypeError("This machine cannot be cancelled.")
      }
    }
    const error = violationOf({ driver: chatDriver(), bounds, machine: Thrower, answers: () => [] })
    expect(error).toMatchObject({ law: "inputs", path: [{ type: "poll" }, { type: "cancel" }, { type: "poll" }], cause: expect.any(TypeError) })
  })

  test("what a law throws is its violation", () => {
    const laws = {
      "no pauses": ({ input }: ExploredStep) => {
        expect(input).not.toMatchObject({ response: { result: { response: { terminalReason: "paused" } } } })
        return undefined
      },
    }
    expect(violationOf({ driver: chatDriver(), bounds, laws })).toMatchObject({ law: "no pauses", cause: { cause: { name: "AssertionError" } } })
  })

  test("a law that is left out is not checked", () => {
    const forgetful = changed({ onLlmCutOff: () => [] })
    expect(violationOf({ driver: forgetful, bounds })).toMatchObject({ law: "verbatim" })
    expect(exploreTurn({ driver: forgetful, bounds, without: ["verbatim"] }).states).toBeGreaterThan(20)
  })

  test("a config that is not valid is refused", () => {
    expect(() => exploreTurn({ driver: chatDriver as never })).toThrow("call it, as in driver: chatDriver()")
    expect(() => exploreTurn({ driver: chatDriver(), config: { maxIterations: -1 } })).toThrow("/maxIterations")
  })
})

describe("a path in words", () => {
  test("names each input", () => {
    const { message } = violationOf({
      driver: chatDriver(),
      bounds: { calls: 2 },
      laws: {
        "never two results and a delivery": ({ input, before }) => {
          const delivered =
            input?.type === "respond" && input.response.type === "checkpoint_delivery" && input.response.delivery.turnCauses !== undefined
          const results = before?.messages.at(-1)?.parts.filter(({ type }) => type === "tool_result") ?? []
          return delivered && results.length === 2 && !results.some((part) => "isError" in part) ? "both came" : undefined
        },
      },
    })
    expect(message.split("To replay")[0]).toBe(
      [
        "Broken: never two results and a delivery.",
        "respond checkpoint_delivery to effect 3: both came",
        "",
        "The shortest way there:",
        "  The turn starts.",
        '  1. The model says "An answer." and calls tool({}), tool({}) (tool_use).',
        "  2. Results: call_1_0 success, call_1_1 success.",
        "  3. The checkpoint delivers 1 turnCauses.",
        "",
      ].join("\n"),
    )
  })
})

function delivers(response: Response): boolean {
  return response.type === "checkpoint_delivery" && Object.keys(response.delivery).length > 0
}

test("the default answers have every reason for which an answer may end, and the kinds of failure that drivers distinguish", () => {
  const answers = possibleAnswers({ type: "llm_call", id: 1, request: REQUEST })
  const reasons = answers.map((answer) => (answer.type === "llm_complete" && answer.result.ok ? answer.result.response.terminalReason : "failure"))
  expect(Array.from(new Set(reasons)).sort()).toEqual([
    "cancelled",
    "content_filter",
    "context_overflow",
    "failure",
    "output_limit",
    "paused",
    "provider_error",
    "refusal",
    "stop",
    "tool_use",
    "unknown",
  ])
  expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(answers.length)
})

test("the answer to a side call need not be in the transcript", () => {
  const side: ProtocolDriver = changed({
    prepareIteration: (next, context) =>
      next(context).map((action) => (action.type === "start_llm" && context.messages.length === 1 ? { ...action, purpose: "title" } : action)),
    onLlmComplete: (next, context, waiting, response, streamed) =>
      waiting.outstanding.purpose === undefined ? next(context, waiting, response, streamed) : [{ type: "finish", outcome: ENDED }],
    onLlmCutOff: () => [{ type: "finish", outcome: ENDED }],
  })
  const bounds = { iterations: 1, calls: 0, deliveries: 0 }
  expect(Object.keys(exploreTurn({ driver: side, bounds }).outcomes)).toContain("stopped plugin_abort")
})
