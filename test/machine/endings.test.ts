import { describe, expect, test } from "vitest"
import type { HostCommand } from "../../src/machine/step.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { AnswerableEffect, Effect } from "../../src/schemas/effect.ts"
import type { Outcome } from "../../src/schemas/event.ts"
import type { LlmResponse } from "../../src/schemas/llm.ts"
import type { Response } from "../../src/schemas/response.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import {
  callsAndResults,
  callsTools,
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
  says,
  startedWith,
  userMessage,
} from "./support.ts"

const OUTCOME: Outcome = { type: "finished", finish: { type: "submitted_value", value: 1 } }
const FAILURE = { type: "error", message: "The host is shutting down." } as const
const USED = { inputTokens: 10, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }
const PARTIAL: LlmResponse = { text: "Half", parts: [{ type: "text", text: "Half" }], usage: USED, terminalReason: "stop" }

/** Every command that ends a turn: with its own effects before the end, and the words that open calls and code get. */
const WAYS: readonly (readonly [name: string, command: HostCommand, own: readonly string[], reason: string])[] = [
  ["cancel", { type: "cancel", reason: "Stop." }, ["emit message"], "Stop."],
  ["fail", { type: "fail", event: FAILURE }, ["emit error"], "The turn ended with an error."],
  ["finish", { type: "finish", outcome: OUTCOME }, [], "The turn was ended."],
  ["apply with a finish", { type: "apply", actions: [{ type: "finish", outcome: OUTCOME }] }, [], "The turn was ended."],
]
const END = ["emit turn_outcome", "emit done", "done"]

function chat(): TurnMachine {
  return new TurnMachine(configOf(), { messages: [userMessage("hello")] })
}

function waitingForTools(...callIds: readonly string[]): TurnMachine {
  const machine = chat()
  pollAll(machine)
  respond(machine, callsTools(1, callIds))
  return machine
}

describe.each(WAYS)("%s leaves the work of the turn as every end does", (_name, command, own, reason) => {
  test("a running model call is cancelled", () => {
    const machine = chat()
    pollAll(machine)
    machine.command(command)
    expect(effectNames(pollAll(machine))).toEqual(["cancel_llm 1", ...own, ...END])
  })

  test("a model call that the host never polled is withdrawn, and not cancelled", () => {
    const machine = chat()
    machine.poll()
    machine.command(command)
    expect(effectNames(pollAll(machine))).toEqual([...own, ...END])
    expect(machine.handle(says(1, "late"))).toEqual({ status: "stale" })
  })

  test("the redelivery of a restored turn is withdrawn, and cancelled, because another process may have polled it", () => {
    const machine = chat()
    pollAll(machine)
    const restored = moved(machine, configOf())
    restored.command(command)
    expect(effectNames(pollAll(restored))).toEqual(["cancel_llm 1", ...own, ...END])
  })

  test("finished calls of a batch keep their results, and open ones get one", () => {
    const machine = waitingForTools("a", "b", "c")
    respond(machine, results(2, completed("b", "kept")))
    machine.command(command)
    expect(effectNames(pollAll(machine))).toEqual([...own, "progress", ...END].sort(progressLast))
    const open = `[Tool execution cancelled]\n${reason}`
    expect(machine.messages.at(-1)?.parts.map((part) => part.type === "tool_result" && [part.callId, part.text])).toEqual([
      ["a", open],
      ["b", "kept"],
      ["c", open],
    ])
    expect(callsAndResults(machine.messages)).toEqual(["call a", "call b", "call c", "result a", "result b", "result c"])
    expect(machine.handle(results(2, completed("a")))).toEqual({ status: "stale" })
  })

  test("a batch that was answered in part and restored keeps its results, and is not emitted again", () => {
    const machine = waitingForTools("a", "b")
    respond(machine, results(2, completed("a", "kept")))
    const restored = moved(machine, configOf())
    restored.command(command)
    expect(pollAll(restored).map(({ type }) => type)).not.toContain("tool_calls")
    expect(callsAndResults(restored.messages)).toEqual(["call a", "call b", "result a", "result b"])
  })

  test("results that a driver settled stay in their places", () => {
    const machine = startedWith([{ type: "start_tools", calls: [pending("a"), pending("b")], settled: [completed("b", "settled")] }])
    machine.command(command)
    expect(machine.messages.at(-1)?.parts).toMatchObject([{ callId: "a" }, { callId: "b", text: "settled" }])
  })

  test("the driver says what stays of running code", () => {
    const asked: unknown[] = []
    const machine = startedWith([{ type: "start_exec", code: "1", driverState: 7 }], {
      onExecCancelled: (_context, waiting, why) => {
        asked.push(waiting.driverState, why)
        return [{ type: "append_events", events: [{ type: "protocol", event: "code" }] }]
      },
    })
    machine.command(command)
    expect(asked).toEqual([7, reason])
    expect(machine.history).toEqual([{ type: "protocol", event: "code" }])
  })

  test.each<readonly [string, (machine: TurnMachine) => void]>([
    ["a batch", (machine) => machine.handle(callsTools(1, ["a"]))],
    ["a checkpoint", (machine) => machine.handle(says(1, "Hi."))],
  ])("%s that was queued and not polled is withdrawn", (_what, lead) => {
    const machine = chat()
    pollAll(machine)
    lead(machine)
    machine.command(command)
    expect(pollAll(machine).filter(isWork)).toEqual([])
  })

  test("a call that was answered before it was polled is withdrawn, too", () => {
    const machine = chat()
    machine.poll()
    machine.handle(callsTools(1, ["a"]))
    machine.command(command)
    expect(pollAll(machine).filter(isWork)).toEqual([])
    expect(callsAndResults(machine.messages)).toEqual(["call a", "result a"])
  })
})

describe("a partial answer is stored whichever command ends the turn", () => {
  test.each(["cancel", "fail", "finish"] as const)("%s", (type) => {
    const machine = chat()
    pollAll(machine)
    if (type === "cancel") machine.cancel("Stop.", PARTIAL)
    else if (type === "fail") machine.fail(FAILURE, PARTIAL)
    else machine.finish(OUTCOME, PARTIAL)
    expect(machine.usage).toEqual(USED)
    expect(machine.messages.at(-1)).toMatchObject({ role: "assistant", parts: [{ text: "Half" }, { type: "interrupted", reason: "cancelled" }] })
  })
})

describe("an end from inside leaves no work to perform", () => {
  const FINISH: DriverAction = { type: "finish", outcome: OUTCOME }

  test.each<readonly [string, () => readonly DriverAction[]]>([
    ["finishes", () => [FINISH]],
    ["fails", () => []],
  ])("a driver that %s while the answered call was not polled", (_what, onLlmComplete) => {
    const machine = new TurnMachine(configOf({ driver: driverOf({ onLlmComplete }) }), { messages: [] })
    machine.poll()
    machine.handle(says(1, "early"))
    expect(machine.done).toBe(true)
    expect(pollAll(machine).filter(isWork)).toEqual([])
  })

  test("an answer that ends the turn, of a call that was not polled", () => {
    const machine = chat()
    machine.poll()
    machine.handle(says(1, "cut", { terminalReason: "output_limit" }))
    expect(pollAll(machine).filter(isWork)).toEqual([])
  })

  test("tools and code that were answered before they were polled", () => {
    for (const [start, response] of [
      [{ type: "start_tools", calls: [pending("a")] }, results(1, completed("a"))],
      [
        { type: "start_exec", code: "1", driverState: null },
        { type: "exec_result", id: 1, result: { ok: false, error: "no" } },
      ],
    ] as const) {
      const machine = new TurnMachine(
        configOf({ driver: driverOf({ prepareIteration: () => [{ type: "emit", event: FAILURE }, start], onExecResult: () => [FINISH] }) }),
        {
          messages: [],
        },
      )
      machine.poll()
      machine.handle(response as Response)
      expect(machine.done).toBe(true)
      expect(pollAll(machine).filter(isWork)).toEqual([])
    }
  })

  test("a failed list of a driver keeps what code may have done", () => {
    const machine = startedWith([{ type: "start_exec", code: "1", driverState: null }], {
      onExecResult: () => [],
      onExecCancelled: (_context, _waiting, why) => [{ type: "append_events", events: [{ type: "protocol", event: why }] }],
    })
    respond(machine, { type: "exec_result", id: 1, result: { ok: false, error: "no" } })
    expect(machine.history).toEqual([{ type: "protocol", event: "The turn ended with an error." }])
  })

  test("an answered checkpoint still comes out: the host saves at it", () => {
    const machine = chat()
    pollAll(machine)
    machine.handle(says(1, "Hi."))
    machine.handle(delivers(2))
    expect(effectNames(pollAll(machine)).slice(-4)).toEqual(["checkpoint 2", ...END])
  })
})

describe("the loop of the README performs nothing of a turn that ended", () => {
  /** Polls and answers; ends the turn after so many polls. Returns the work that was performed, and that of them after the end. */
  function play(machine: TurnMachine, command: HostCommand, polls: number) {
    const performed: AnswerableEffect[] = []
    let late = 0
    let count = 0
    for (let effect = machine.poll(); effect !== undefined; effect = machine.poll()) {
      count += 1
      if (isWork(effect)) {
        performed.push(effect)
        if (machine.done) late += 1
      }
      if (count === polls && !machine.done) machine.command(command)
      const response = isWork(effect) ? responseTo(effect) : undefined
      if (response !== undefined) machine.handle(response)
    }
    return { performed, late, done: machine.done, count }
  }

  test.each(WAYS)("%s after every poll", (_name, command) => {
    const whole = play(chat(), command, -1).count
    expect(whole).toBeGreaterThan(15)
    for (let polls = 1; polls <= whole; polls += 1) {
      const { late, done } = play(chat(), command, polls)
      expect(done).toBe(true)
      expect(late).toBe(0)
    }
  })

  function responseTo(effect: AnswerableEffect): Response | undefined {
    switch (effect.type) {
      case "llm_call":
        return effect.id === 1 ? callsTools(1, ["a", "b"]) : says(effect.id, "Done.")
      case "tool_calls":
        return results(effect.id, ...effect.calls.map(({ callId }) => completed(callId)))
      case "checkpoint":
        return delivers(effect.id)
      default:
        return undefined
    }
  }
})

describe("command", () => {
  test("is what cancel, fail, finish and apply call, so that a subclass overrides it alone", () => {
    const commands: HostCommand[] = []
    class Watched extends TurnMachine {
      override command(command: HostCommand): void {
        commands.push(command)
      }
    }
    const machine = new Watched(configOf(), { messages: [] })
    machine.cancel()
    machine.cancel("Stop.", PARTIAL)
    machine.fail(FAILURE)
    machine.finish(OUTCOME, PARTIAL)
    machine.apply([])
    expect(commands).toEqual([
      { type: "cancel" },
      { type: "cancel", reason: "Stop.", partial: PARTIAL },
      { type: "fail", event: FAILURE },
      { type: "finish", outcome: OUTCOME, partial: PARTIAL },
      { type: "apply", actions: [] },
    ])
    expect(machine.state).toBe("preparing")
  })

  test("an apply that ends the turn and is refused changes nothing", () => {
    const machine = waitingForTools("a")
    const before = JSON.stringify(machine.checkpoint())
    expect(() => machine.apply([{ type: "finish", outcome: OUTCOME }, { type: "advance_iteration" }])).toThrow(/after finish/)
    expect(JSON.stringify(machine.checkpoint())).toBe(before)
  })
})

test("a request that follows in a later turn pairs every call, whichever command ended the turn", () => {
  for (const [, command] of WAYS) {
    const machine = waitingForTools("a", "b")
    respond(machine, results(2, completed("a", "kept")))
    machine.command(command)
    const next = new TurnMachine(configOf(), { messages: [...machine.messages, userMessage("go on", "u9")] })
    const [call] = pollAll(next).filter(isWork)
    const blocks = call?.type === "llm_call" ? call.request.messages.flatMap((message) => message.blocks) : []
    expect(blocks.filter(({ type }) => type === "tool_call" || type === "tool_result")).toHaveLength(4)
  }
})

function isWork(effect: Effect): effect is AnswerableEffect {
  return ["llm_call", "tool_calls", "exec_code", "checkpoint", "sync_execution_surface"].includes(effect.type)
}

/** Orders effects as an end does: progress is right before it. */
function progressLast(left: string, right: string): number {
  const rank = (name: string): number => (END.includes(name) ? 2 + END.indexOf(name) : name === "progress" ? 1 : 0)
  return rank(left) - rank(right)
}
