import { describe, expect, test } from "vitest"
import { NO_USAGE } from "../../src/machine/limits.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { Effect } from "../../src/schemas/effect.ts"
import type { LlmResponse } from "../../src/schemas/llm.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import {
  callsAndResults,
  callsTools,
  completed,
  configOf,
  delivers,
  driverOf,
  effectNames,
  expectRefused,
  moved,
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

const CANCELLED = { type: "stopped", stop: { type: "cancelled" } }
const RUNTIME_ERROR = { type: "stopped", stop: { type: "runtime_error" } }
const NOTICE = { type: "emit", event: { type: "message", text: "The turn was cancelled.", kind: "cancelled" } }
const END = ["emit turn_outcome", "emit done", "done"]

/** A chat turn, begun but not polled. */
function chat(): TurnMachine {
  return new TurnMachine(configOf(), { messages: [userMessage("hello")] })
}

function waitingForTools(...callIds: readonly string[]): TurnMachine {
  const machine = chat()
  pollAll(machine)
  respond(machine, callsTools(1, callIds))
  return machine
}

describe("cancel", () => {
  test("before the start: the notice and the end", () => {
    const machine = chat()
    machine.cancel()
    const effects = pollAll(machine)
    expect(effects[0]).toEqual(NOTICE)
    expect(effectNames(effects)).toEqual(["emit message", ...END])
    expect(effects[3]).toEqual({
      type: "done",
      outcome: CANCELLED,
      messages: [userMessage("hello")],
      eventDelta: [],
      recordsFrom: 0,
      iteration: 0,
      usage: NO_USAGE,
    })
    expect(machine.poll()).toBeUndefined()
  })

  test("while a model call runs: cancel_llm with its id", () => {
    const machine = chat()
    pollAll(machine)
    machine.cancel("User pressed stop.")
    const effects = pollAll(machine)
    expect(effects.slice(0, 2)).toEqual([
      { type: "cancel_llm", id: 1 },
      { type: "emit", event: { type: "message", text: "User pressed stop.", kind: "cancelled" } },
    ])
    expect(effectNames(effects).slice(2)).toEqual(END)
    expect(machine.handle(says(1, "too late"))).toEqual({ status: "stale" })
    expect(machine.messages).toEqual([userMessage("hello")])
  })

  test("a model call that the host never polled is neither emitted nor cancelled", () => {
    const machine = chat()
    expect(machine.poll()?.type).toBe("emit")
    machine.cancel()
    expect(effectNames(pollAll(machine))).toEqual(["emit message", ...END])
  })

  test("after a restore it is unknown whether the call was polled, so it is cancelled, and not emitted again", () => {
    const machine = chat()
    pollAll(machine)
    const restored = moved(machine, configOf())
    restored.cancel()
    expect(effectNames(pollAll(restored))).toEqual(["cancel_llm 1", "emit message", ...END])
  })

  test("while tools run: each call without a result gets a cancelled one, finished calls keep theirs", () => {
    const machine = waitingForTools("a", "b", "c")
    respond(machine, results(2, completed("b", "kept")))
    machine.cancel("Stop.")
    const effects = pollAll(machine)
    expect(effectNames(effects)).toEqual(["emit message", "progress", ...END])
    const message = {
      id: "m_0_cancelled_2",
      role: "user",
      parts: [
        { id: "m_0_cancelled_2.p0", type: "tool_result", callId: "a", toolName: "look", text: "[Tool execution cancelled]\nStop.", isError: true },
        { id: "m_0_cancelled_2.p1", type: "tool_result", callId: "b", toolName: "look", text: "kept" },
        { id: "m_0_cancelled_2.p2", type: "tool_result", callId: "c", toolName: "look", text: "[Tool execution cancelled]\nStop.", isError: true },
      ],
    }
    expect(machine.messages.at(-1)).toEqual(message)
    expect(effects[1]).toMatchObject({ type: "progress", eventDelta: [{ type: "conversation", message }] })
    expect(callsAndResults(machine.messages)).toEqual(["call a", "call b", "call c", "result a", "result b", "result c"])
    expect(machine.handle(results(2, completed("a")))).toEqual({ status: "stale" })
  })

  test("while tools run: a finished call's long text is cut to the limit of the turn", () => {
    const machine = new TurnMachine(configOf({ maxResultTokens: 25 }), { messages: [userMessage("hello")] })
    pollAll(machine)
    respond(machine, callsTools(1, ["a", "b"]))
    respond(machine, results(2, completed("a", "x".repeat(1_000))))
    machine.cancel()
    expect(machine.messages.at(-1)?.parts).toMatchObject([
      { callId: "a", text: `${"x".repeat(50)}\n\n... (900 chars omitted) ...\n\n${"x".repeat(50)}` },
      { callId: "b" },
    ])
  })

  test("a batch that the host never polled is not emitted, and its calls have results", () => {
    const machine = chat()
    pollAll(machine)
    machine.handle(callsTools(1, ["a"]))
    machine.cancel()
    const effects = pollAll(machine)
    expect(effects.map((effect) => effect.type)).not.toContain("tool_calls")
    expect(callsAndResults(machine.messages)).toEqual(["call a", "result a"])
  })

  test("a batch answered in part and restored: the same", () => {
    const machine = waitingForTools("a", "b")
    respond(machine, results(2, completed("a", "kept")))
    const restored = moved(machine, configOf())
    restored.cancel()
    expect(effectNames(pollAll(restored))).toEqual(["emit message", "progress", ...END])
    expect(restored.messages.at(-1)?.parts.map((part) => part.type === "tool_result" && part.text)).toEqual([
      "kept",
      "[Tool execution cancelled]\nThe turn was cancelled.",
    ])
  })

  test.each<readonly [string, readonly DriverAction[]]>([
    ["an empty batch", [{ type: "start_tools", calls: [] }]],
    ["code", [{ type: "start_exec", code: "1", driverState: null }]],
    ["a checkpoint after work", [{ type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } }]],
    ["a checkpoint before completion", [{ type: "start_checkpoint", checkpoint: "before_completion", onEmpty: { type: "prepare_iteration" } }]],
  ])("while %s is awaited: the notice and the end", (_, actions) => {
    const machine = startedWith(actions)
    machine.cancel()
    expect(effectNames(pollAll(machine))).toEqual(["emit message", ...END])
    expect(machine.outcome).toEqual(CANCELLED)
  })

  test("while the execution surface is awaited", () => {
    const machine = new TurnMachine(configOf({ syncExecutionSurface: true }), { messages: [] })
    pollAll(machine)
    machine.cancel()
    expect(effectNames(pollAll(machine))).toEqual(["emit message", ...END])
  })

  test("between two iterations", () => {
    const machine = startedWith([{ type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } }])
    machine.handle(delivers(1))
    expect(machine.state).toBe("prepare_iteration")
    machine.cancel()
    expect(effectNames(pollAll(machine))).toEqual(["emit message", ...END])
  })

  test("a finished turn: nothing happens", () => {
    const machine = chat()
    pollAll(machine)
    respond(machine, says(1, "Hi."))
    respond(machine, delivers(2))
    const before = JSON.stringify(machine.checkpoint())
    machine.cancel()
    expect(machine.poll()).toBeUndefined()
    expect(JSON.stringify(machine.checkpoint())).toBe(before)
  })

  test("a reason that is not a string is refused: it would enter the transcript", () => {
    const machine = waitingForTools("a")
    expectRefused(machine, () => machine.cancel(new Error("aborted") as never), "invalid_actions")
    expect(machine.state).toBe("waiting_tools")
  })
})

describe("cancel with a partial answer", () => {
  const used = { inputTokens: 10, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }
  const retriedUsage = { inputTokens: 100, cachedInputTokens: 1, outputTokens: 20, reasoningTokens: 3 }
  const partial: LlmResponse = { text: "Half", parts: [{ type: "text", text: "Half" }], usage: used, terminalReason: "stop" }
  const LLM: DriverAction = { type: "start_llm", request: REQUEST }
  const APPEND: DriverAction = { type: "append_events", events: [{ type: "protocol", event: 1 }] }

  test("counts its usage and that of its failed attempts; the event has its own and the sum of the turn", () => {
    const machine = chat()
    pollAll(machine)
    machine.cancel(undefined, { ...partial, retriedUsage })
    const cumulative = { inputTokens: 110, cachedInputTokens: 1, outputTokens: 22, reasoningTokens: 3 }
    expect(pollAll(machine)[1]).toEqual({ type: "emit", event: { type: "token_usage", iteration: 0, usage: used, cumulative } })
    expect(machine.usage).toEqual(cumulative)
  })

  test("adds its usage to that of the iterations before", () => {
    const machine = waitingForTools("a")
    respond(machine, results(2, completed("a")))
    respond(machine, delivers(3))
    expect(machine.outstanding?.type).toBe("llm_call")
    machine.cancel(undefined, { ...partial, retriedUsage })
    const cumulative = { inputTokens: 120, cachedInputTokens: 1, outputTokens: 24, reasoningTokens: 3 }
    expect(pollAll(machine)).toContainEqual({ type: "emit", event: { type: "token_usage", iteration: 1, usage: used, cumulative } })
    expect(machine.usage).toEqual(cumulative)
  })

  test("asks the driver what to store, with the usage counted and as cancelled; work that it starts is left out", () => {
    const asked: unknown[] = []
    const machine = startedWith([{ ...LLM, driverState: 7 }], {
      onLlmCutOff: (context, waiting, response) => {
        asked.push(context.usage, waiting.driverState, response)
        return [APPEND, LLM, { type: "finish", outcome: { type: "agent_frame_switch", frameId: "f" } }]
      },
    })
    machine.cancel(undefined, partial)
    expect(asked).toEqual([used, 7, { ...partial, terminalReason: "cancelled" }])
    expect(effectNames(pollAll(machine))).toEqual(["cancel_llm 1", "emit token_usage", "emit message", "progress", ...END])
    expect(machine.history).toEqual([{ type: "protocol", event: 1 }])
    expect(machine.outcome).toEqual(CANCELLED)
  })

  test("a driver that throws is reported, and the turn is cancelled all the same", () => {
    const machine = startedWith([LLM], {
      onLlmCutOff: () => {
        throw new Error("boom")
      },
    })
    machine.cancel(undefined, partial)
    const effects = pollAll(machine)
    expect(effectNames(effects)).toEqual(["cancel_llm 1", "emit token_usage", "emit error", "emit message", ...END])
    expect(effects[2]).toMatchObject({ event: { message: 'The driver "test" threw: Error: boom', envelope: { code: "driver_threw" } } })
    expect(machine.outcome).toEqual(CANCELLED)
    expect(machine.usage).toEqual(used)
  })

  const EXEC: DriverAction = { type: "start_exec", code: "1", driverState: null }
  const WAIT: DriverAction = { type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } }
  const TOOLS: DriverAction = { type: "start_tools", calls: [pending("a")] }

  test.each<readonly [string, () => TurnMachine]>([
    ["preparing", chat],
    [
      "waiting_execution_surface",
      () => {
        const machine = new TurnMachine(configOf({ syncExecutionSurface: true }), { messages: [] })
        pollAll(machine)
        return machine
      },
    ],
    ["waiting_tools", () => startedWith([TOOLS], { onLlmCutOff: () => [APPEND] })],
    ["waiting_exec", () => startedWith([EXEC], { onLlmCutOff: () => [APPEND] })],
    ["waiting_checkpoint", () => startedWith([WAIT], { onLlmCutOff: () => [APPEND] })],
    [
      "prepare_iteration",
      () => {
        const machine = startedWith([WAIT])
        machine.handle(delivers(1))
        return machine
      },
    ],
    [
      "finished",
      () => {
        const machine = chat()
        machine.finish({ type: "agent_frame_switch", frameId: "f" })
        return machine
      },
    ],
  ])("changes nothing about the cancellation of a turn in %s, not even if it is invalid", (state, make) => {
    const expected = make()
    expect(expected.state).toBe(state)
    expected.cancel()
    for (const given of [partial, { text: 5 } as never]) {
      const machine = make()
      machine.cancel(undefined, given)
      expect(plain(machine.checkpoint())).toEqual(plain(expected.checkpoint()))
      expect(machine.usage).toEqual(NO_USAGE)
    }
  })
})

describe("cancel while code runs", () => {
  const EXEC: DriverAction = { type: "start_exec", code: "1", driverState: 7 }
  const APPEND: DriverAction = { type: "append_events", events: [{ type: "protocol", event: 1 }] }

  test("asks the driver what to store; work that it starts is left out", () => {
    const asked: unknown[] = []
    const machine = startedWith([EXEC], {
      onExecCancelled: (_context, waiting, reason) => {
        asked.push(waiting.driverState, reason)
        return [APPEND, EXEC]
      },
    })
    machine.cancel("Stop.")
    expect(asked).toEqual([7, "Stop."])
    expect(effectNames(pollAll(machine))).toEqual(["emit message", "progress", ...END])
    expect(machine.history).toHaveLength(1)
    expect(machine.outcome).toEqual(CANCELLED)
  })

  test("a driver that throws is reported, and the turn is cancelled all the same", () => {
    const machine = startedWith([EXEC], {
      onExecCancelled: () => {
        throw new Error("boom")
      },
    })
    machine.cancel()
    const effects = pollAll(machine)
    expect(effectNames(effects)).toEqual(["emit error", "emit message", ...END])
    expect(effects[0]).toMatchObject({ event: { envelope: { code: "driver_threw" } } })
    expect(machine.outcome).toEqual(CANCELLED)
  })
})

describe("fail", () => {
  const event = { type: "error", message: "The host is shutting down." } as const

  test("emits the event and ends the turn as runtime_error", () => {
    const machine = chat()
    pollAll(machine)
    machine.fail(event)
    const effects = pollAll(machine)
    expect(effects[1]).toEqual({ type: "emit", event })
    expect(effectNames(effects)).toEqual(["cancel_llm 1", "emit error", ...END])
    expect(machine.outcome).toMatchObject(RUNTIME_ERROR)
  })

  test("the outcome has the envelope of the event without its raw data, or one of the host's own", () => {
    const machine = chat()
    machine.fail(event)
    const error = { kind: "host", userMessage: "The host is shutting down." }
    expect(machine.outcome).toEqual({ type: "stopped", stop: { type: "runtime_error", error } })
    const enveloped = chat()
    enveloped.fail({ ...event, envelope: { kind: "power", userMessage: "No power.", code: "p1", raw: "0 V" } })
    expect(enveloped.outcome).toMatchObject({ stop: { error: { kind: "power", userMessage: "No power.", code: "p1" } } })
    expect(JSON.stringify(enveloped.outcome)).not.toContain("0 V")
  })

  test("a finished turn stays as it ended", () => {
    const machine = chat()
    machine.cancel()
    pollAll(machine)
    machine.fail(event)
    expect(machine.poll()).toBeUndefined()
    expect(machine.outcome).toEqual(CANCELLED)
  })

  test.each([
    ["nothing", undefined],
    ["null", null],
    ["a text", "no"],
    ["a number", 5],
    ["a list", []],
    ["an error without a message", { type: "error" }],
    ["an envelope that is not one", { type: "error", message: "no", envelope: "no" }],
    ["a prototype's key as type", { type: "constructor" }],
    ["a value with a function", { type: "error", message: "no", envelope: { kind: "host", userMessage: () => "no" } }],
    [
      "a value that throws when it is read",
      Object.defineProperty({}, "type", {
        enumerable: true,
        get: () => {
          throw new Error("read")
        },
      }),
    ],
  ])("%s is refused, and the turn is unchanged", (_what, given) => {
    const machine = chat()
    pollAll(machine)
    expectRefused(machine, () => machine.fail(given as never), "invalid_actions")
    respond(machine, says(1, "Hi."))
    expect(machine.state).toBe("waiting_checkpoint")
  })

  test("an invalid event is refused", () => {
    const machine = chat()
    expectRefused(machine, () => machine.fail({ type: "error", message: 5 } as never), "invalid_actions")
    expectRefused(machine, () => machine.fail(new Error("no") as never), "invalid_actions")
  })
})

describe("finish", () => {
  const outcome = { type: "finished", finish: { type: "submitted_value", value: { n: 1 } } } as const

  test("ends the turn with the host's outcome", () => {
    const machine = chat()
    machine.finish(outcome)
    expect(effectNames(pollAll(machine))).toEqual(END)
    expect(machine.outcome).toEqual(outcome)
  })

  test("twice: the second does nothing", () => {
    const machine = chat()
    machine.finish(outcome)
    machine.finish({ type: "agent_frame_switch", frameId: "f" })
    expect(effectNames(pollAll(machine))).toEqual(END)
    expect(machine.outcome).toEqual(outcome)
  })

  test("work that was queued is withdrawn", () => {
    const machine = chat()
    machine.poll()
    machine.finish(outcome)
    expect(effectNames(pollAll(machine))).toEqual(END)
    expect(machine.handle(says(1, "late"))).toEqual({ status: "stale" })
  })

  test("a redelivery that was not polled is withdrawn", () => {
    const machine = chat()
    pollAll(machine)
    const restored = moved(machine, configOf())
    restored.finish(outcome)
    // The process before the restore may have polled the call.
    expect(effectNames(pollAll(restored))).toEqual(["cancel_llm 1", ...END])
  })

  test("an outcome that is invalid, or could not be saved, is refused", () => {
    const machine = chat()
    for (const bad of [{ type: "won" }, null, "finished", { type: "finished", finish: { type: "submitted_value", value: 1n } }]) {
      expectRefused(machine, () => machine.finish(bad as never), "invalid_actions")
    }
    expect(machine.state).toBe("preparing")
  })
})

describe("apply", () => {
  test("emits and appends, in any state, and the turn continues", () => {
    const machine = chat()
    pollAll(machine)
    const record = { type: "protocol", event: { note: 1 } } as const
    machine.apply([
      { type: "emit", event: { type: "message", text: "hi", kind: "note" } },
      { type: "append_events", events: [record, { type: "conversation", message: userMessage("aside", "u2") }] },
    ])
    const effects = pollAll(machine)
    expect(effectNames(effects)).toEqual(["emit message", "progress"])
    expect((effects[1] as Extract<Effect, { type: "progress" }>).eventDelta).toEqual([
      record,
      { type: "conversation", message: userMessage("aside", "u2") },
    ])
    expect(machine.messages.map((message) => message.id)).toEqual(["u1", "u2"])
    respond(machine, says(1, "Hi."))
    expect(machine.state).toBe("waiting_checkpoint")
  })

  test("may end the turn", () => {
    const machine = chat()
    machine.apply([{ type: "finish", outcome: { type: "agent_frame_switch", frameId: "f" } }])
    expect(effectNames(pollAll(machine))).toEqual(END)
  })

  test("an empty list does nothing", () => {
    const machine = chat()
    machine.apply([])
    expect(machine.state).toBe("preparing")
    expect(effectNames(pollAll(machine))).toEqual(["emit llm_request", "llm_call 1"])
  })

  test.each<readonly [string, DriverAction]>([
    ["start_llm", { type: "start_llm", request: REQUEST }],
    ["start_tools", { type: "start_tools", calls: [pending("a")] }],
    ["start_exec", { type: "start_exec", code: "1", driverState: null }],
    ["start_checkpoint", { type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } }],
  ])("%s is work, and refused with the whole list", (name, action) => {
    const machine = chat()
    pollAll(machine)
    const error = expectRefused(machine, () => machine.apply([{ type: "advance_iteration" }, action]), "action_starts_work")
    expect(error.message).toBe(`Only a driver may ${name}; apply accepts actions that do not start work.`)
  })

  test("anything after a finish is refused with the whole list", () => {
    const machine = chat()
    const finish: DriverAction = { type: "finish", outcome: { type: "agent_frame_switch", frameId: "f" } }
    expectRefused(machine, () => machine.apply([finish, { type: "advance_iteration" }]), "action_after_finish")
    expectRefused(machine, () => machine.apply([finish, finish]), "action_after_finish")
  })

  test("a finished turn does not accept actions", () => {
    const machine = chat()
    machine.cancel()
    const error = expectRefused(machine, () => machine.apply([{ type: "emit", event: { type: "done" } }]), "turn_finished")
    expect(error.message).toBe("A finished turn does not accept actions.")
  })

  test.each([
    ["no list", { type: "advance_iteration" }],
    ["an unknown action", [{ type: "explode" }]],
    [
      "one of the machine's own",
      [{ type: "count_usage", cumulative: { inputTokens: 9, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 } }],
    ],
    ["a record that is none", [{ type: "append_events", events: [{ type: "protocol", event: undefined }] }]],
    ["nothing", undefined],
  ])("%s is refused", (_, actions) => {
    expectRefused(chat(), () => chat().apply(actions as never), "invalid_actions")
  })
})

test("cancel and finish do not call the driver", () => {
  const driver = driverOf({
    onToolResults: () => {
      throw new Error("asked")
    },
  })
  const machine = new TurnMachine(configOf({ driver: { ...driver, prepareIteration: () => [{ type: "start_tools", calls: [pending("a")] }] } }), {
    messages: [],
  })
  pollAll(machine)
  machine.cancel()
  expect(machine.outcome).toEqual(CANCELLED)
})
