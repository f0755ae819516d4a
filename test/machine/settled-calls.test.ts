import { describe, expect, test } from "vitest"
import type { DriverContext, ProtocolDriver } from "../../src/machine/driver.ts"
import { addUsage } from "../../src/machine/limits.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { TokenUsage } from "../../src/schemas/llm.ts"
import type { CompletedToolCall } from "../../src/schemas/tool.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import {
  completed,
  configOf,
  delivers,
  driverOf,
  effectNames,
  moved,
  pending,
  pollAll,
  respond,
  results,
  startedWith,
  userMessage,
} from "./support.ts"

const FINISH: DriverAction = { type: "finish", outcome: { type: "agent_frame_switch", frameId: "f" } }
const ONE: TokenUsage = { inputTokens: 1, cachedInputTokens: 2, outputTokens: 3, reasoningTokens: 4 }
const TEN: TokenUsage = { inputTokens: 10, cachedInputTokens: 20, outputTokens: 30, reasoningTokens: 40, cacheWriteTokens: 5, estimated: true }
const BOTH: TokenUsage = { inputTokens: 11, cachedInputTokens: 22, outputTokens: 33, reasoningTokens: 44, cacheWriteTokens: 5, estimated: true }

function starts(callIds: readonly string[], settled?: readonly CompletedToolCall[]): DriverAction {
  return { type: "start_tools", calls: callIds.map((callId) => pending(callId)), ...(settled !== undefined && { settled }) }
}

interface Asked {
  readonly results: readonly CompletedToolCall[]
  readonly usage: TokenUsage
}

/** A machine whose driver starts the batch and finishes on its results, and what the driver is shown. */
function batch(action: DriverAction): { readonly machine: TurnMachine; readonly asked: readonly Asked[]; readonly driver: ProtocolDriver } {
  const asked: Asked[] = []
  const driver = driverOf({
    prepareIteration: () => [action],
    onToolResults(context, found) {
      asked.push({ results: found, usage: context.usage })
      return [FINISH]
    },
  })
  return { machine: new TurnMachine(configOf({ driver }), { messages: [] }), asked, driver }
}

describe("the usage of tool results", () => {
  const first = completed("a", 1, { usage: ONE })
  const second = completed("b", 2, { usage: TEN })

  test("counts in the turn, and the driver sees it with the results", () => {
    const { machine, asked } = batch(starts(["a", "b", "c"]))
    pollAll(machine)
    const effects = respond(machine, results(1, second, completed("c"), first))
    expect(machine.usage).toEqual(BOTH)
    expect(asked.map(({ usage }) => usage)).toEqual([BOTH])
    expect(effectNames(effects).slice(0, 3)).toEqual(["emit tool_call", "emit tool_call", "emit tool_call"])
    expect(effects.at(-1)).toMatchObject({ type: "done", usage: BOTH })
  })

  test("counts once for each result, when they come in two deliveries", () => {
    const { machine, asked, driver } = batch(starts(["a", "b"]))
    pollAll(machine)
    respond(machine, results(1, second))
    expect(machine.usage).toEqual(TEN)
    const restored = moved(machine, configOf({ driver }))
    for (const each of [machine, restored]) {
      respond(each, results(1, first))
      expect(each.usage).toEqual(BOTH)
    }
    expect(asked.map(({ usage }) => usage)).toEqual([BOTH, BOTH])
  })

  test("that the driver settled counts with the batch", () => {
    const { machine, asked } = batch(starts(["a", "b"], [first]))
    pollAll(machine)
    expect(machine.usage).toEqual(ONE)
    respond(machine, results(1, second))
    expect([machine.usage, asked[0]?.usage]).toEqual([BOTH, BOTH])
  })

  test("of a batch that is settled as a whole counts before the driver is asked", () => {
    const { machine, asked } = batch(starts(["a", "b"], [second, first]))
    pollAll(machine)
    expect([machine.usage, asked[0]?.usage]).toEqual([BOTH, BOTH])
  })

  test("of a cancelled batch stays counted", () => {
    const { machine } = batch(starts(["a", "b", "c"], [first]))
    pollAll(machine)
    respond(machine, results(1, second))
    machine.cancel()
    expect(machine.usage).toEqual(addUsage(ONE, TEN))
  })
})

describe("results that the driver settles with a batch", () => {
  const settled = (...callIds: readonly string[]): readonly CompletedToolCall[] => callIds.map((callId) => completed(callId, `settled ${callId}`))
  const shown = (asked: readonly Asked[]): readonly unknown[] =>
    asked.map(({ results: found }) => found.map(({ callId, output }) => [callId, output.status === "success" && output.value]))

  test("are shown at once, and the host is asked for the others only", () => {
    const { machine, asked } = batch(starts(["a", "b", "c", "d"], settled("d", "a")))
    const effects = pollAll(machine)
    expect(effectNames(effects)).toEqual(["emit tool_call", "emit tool_call", "tool_calls 1"])
    expect(effects[0]).toMatchObject({ event: { callId: "a" } })
    expect(effects[2]).toMatchObject({ calls: [pending("b"), pending("c")] })
    respond(machine, results(1, completed("c", "run c"), completed("b", "run b")))
    expect(shown(asked)).toEqual([
      [
        ["a", "settled a"],
        ["b", "run b"],
        ["c", "run c"],
        ["d", "settled d"],
      ],
    ])
  })

  test("come in call order if they are all there is, in whatever order they are given", () => {
    const { machine, asked } = batch(starts(["a", "b", "c"], settled("c", "a", "b")))
    const effects = pollAll(machine)
    expect(shown(asked)).toEqual([
      [
        ["a", "settled a"],
        ["b", "settled b"],
        ["c", "settled c"],
      ],
    ])
    expect(effects.flatMap((effect) => (effect.type === "emit" && effect.event.type === "tool_call" ? [effect.event.callId] : []))).toEqual([
      "a",
      "b",
      "c",
    ])
    expect(machine.done).toBe(true)
  })

  test("belong to the first calls of their id", () => {
    const { machine, asked } = batch(starts(["a", "b", "a", "a"], [completed("a", 1), completed("a", 2)]))
    expect(pollAll(machine).at(-1)).toMatchObject({ calls: [pending("b"), pending("a")] })
    respond(machine, results(1, completed("a", 3), completed("b", 0)))
    expect(shown(asked)).toEqual([
      [
        ["a", 1],
        ["b", 0],
        ["a", 2],
        ["a", 3],
      ],
    ])
  })

  test("stay after a cancellation, and the other calls get cancelled results", () => {
    const { machine } = batch(starts(["a", "b", "c"], settled("c", "a")))
    pollAll(machine)
    machine.cancel("Stop.")
    expect(machine.messages.at(-1)?.parts).toMatchObject([
      { callId: "a", text: "settled a" },
      { callId: "b", text: "[Tool execution cancelled]\nStop.", isError: true },
      { callId: "c", text: "settled c" },
    ])
  })

  test("a batch settled as a whole asks the driver once: a second such batch ends the turn", () => {
    const effects: string[] = []
    const machine = new TurnMachine(
      configOf({
        driver: driverOf({
          prepareIteration: () => [starts(["a"], settled("a"))],
          onToolResults: () => [starts(["b"], settled("b"))],
        }),
      }),
      { messages: [] },
    )
    for (const effect of pollAll(machine))
      effects.push(effect.type === "emit" && effect.event.type === "error" ? `error ${effect.event.envelope?.code}` : effect.type)
    expect(effects).toEqual(["emit", "error no_way_forward", "progress", "emit", "emit", "done"])
    expect(machine.outcome).toMatchObject({ type: "stopped", stop: { type: "runtime_error" } })
  })

  test("a second such batch also ends the turn after a delivery, where the turn would prepare anew", () => {
    const machine = startedWith([{ type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } }], {
      onDelivery: () => [starts(["a"], settled("a"))],
      onToolResults: () => [starts(["b"], settled("b"))],
    })
    const effects = respond(machine, delivers(1, { userMessages: [userMessage("more", "u2")] }))
    expect(effects).toContainEqual(
      expect.objectContaining({ event: expect.objectContaining({ envelope: expect.objectContaining({ code: "no_way_forward" }) }) }),
    )
    expect(machine.outcome).toMatchObject({ type: "stopped", stop: { type: "runtime_error" } })
    expect(machine.messages).toContainEqual(userMessage("more", "u2"))
    expect(machine.messages.at(-1)?.parts).toMatchObject([{ type: "tool_result", callId: "a" }])
  })

  test("they stay, and their usage counts, if the driver fails when it is asked what follows", () => {
    const record: DriverAction = { type: "append_events", events: [{ type: "conversation", message: userMessage("before", "u3") }] }
    for (const onToolResults of [
      (): never => {
        throw new Error("boom")
      },
      () => [],
    ]) {
      const driver = driverOf({ prepareIteration: () => [record, starts(["a"], [completed("a", 1, { usage: ONE })])], onToolResults })
      const machine = new TurnMachine(configOf({ driver }), { messages: [] })
      const effects = pollAll(machine)
      expect(machine.outcome).toMatchObject({ type: "stopped", stop: { type: "runtime_error" } })
      expect(machine.usage).toEqual(ONE)
      expect(machine.messages.map(({ parts }) => parts[0]?.type)).toEqual(["text", "tool_result"])
      expect(effects.flatMap((effect) => ("eventDelta" in effect ? effect.eventDelta : []))).toEqual(machine.history)
    }
  })

  test("the messages before and after a batch that is settled as a whole have ids of their own", () => {
    const says = (context: DriverContext, role: "assistant" | "user"): DriverAction => ({
      type: "append_events",
      events: [{ type: "conversation", message: { id: context.newMessageId("m"), role, parts: [] } }],
    })
    const driver = driverOf({
      prepareIteration: (context) => [says(context, "assistant"), starts(["a"], settled("a"))],
      onToolResults: (context) => [says(context, "user"), FINISH],
    })
    const machine = new TurnMachine(configOf({ driver }), { messages: [] })
    pollAll(machine)
    expect(machine.messages.map(({ id, role }) => `${role} ${id}`)).toEqual(["assistant m_0_m_0", "user m_0_m_1"])
  })

  test("a batch settled as a whole may follow results of the host", () => {
    let asked = 0
    const machine = startedWith([starts(["a"])], {
      onToolResults: () => {
        asked += 1
        return asked === 1 ? [starts(["b"], settled("b"))] : [FINISH]
      },
    })
    expect(effectNames(respond(machine, results(1, completed("a"))))).toEqual([
      "emit tool_call",
      "emit tool_call",
      "emit turn_outcome",
      "emit done",
      "done",
    ])
    expect(asked).toBe(2)
  })
})
