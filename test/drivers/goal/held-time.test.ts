import { describe, expect, test } from "vitest"
import { approvalDriver } from "../../../src/drivers/approval/driver.ts"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { goalInputEvent, heldRecord, stopRecord } from "../../../src/drivers/goal/deliveries.ts"
import { goalDriver } from "../../../src/drivers/goal/driver.ts"
import { readGoal } from "../../../src/drivers/goal/history.ts"
import { changeGoal, endGoalTurn } from "../../../src/drivers/goal/thread.ts"
import type { TurnConfig } from "../../../src/machine/config.ts"
import type { Goal } from "../../../src/schemas/goal.ts"
import type { HistoryRecord } from "../../../src/schemas/message.ts"
import type { Response } from "../../../src/schemas/response.ts"
import type { TurnMachine } from "../../../src/validated-turn-machine.ts"
import type { Verdict } from "../../../src/wire/approval.ts"
import { answer, configOf, delivers, moved, pollAll, respond, results } from "../../machine/support.ts"
import { batch, begun, call, decision, HOLD_PAY, LOOK, PAY, ran } from "../approval/support.ts"

const OPTIONS = { threadId: "t1", turnId: "turn-1", startedAt: 10_000 }
const ORDERS: readonly (readonly [string, TurnConfig])[] = [
  ["approval around goal", config(approvalDriver(goalDriver(chatDriver(), OPTIONS), { policy: HOLD_PAY }))],
  ["goal around approval", config(goalDriver(approvalDriver(chatDriver(), { policy: HOLD_PAY }), OPTIONS))],
]

function config(driver: TurnConfig["driver"]): TurnConfig {
  return configOf({ driver, tools: [PAY, LOOK] })
}

/** The configuration of the next turn, which begins at 600,000. */
function nextOf(around: TurnConfig): TurnConfig {
  const options = { ...OPTIONS, turnId: "turn-2", startedAt: 600_000 }
  return around.driver.name.startsWith("goal")
    ? config(goalDriver(approvalDriver(chatDriver(), { policy: HOLD_PAY }), options))
    : config(approvalDriver(goalDriver(chatDriver(), options), { policy: HOLD_PAY }))
}

function withGoal(): readonly HistoryRecord[] {
  return changeGoal({ threadId: "t1", history: [] }, { type: "command", at: 10_000, command: { type: "set", objective: "ship" } }).records
}

function at<Value extends Response>(time: number, response: Value): Value {
  return { ...response, at: time }
}

function asksAt(time: number, id: number, ...parts: readonly ReturnType<typeof call>[]): Response {
  return at(time, answer(id, parts, { terminalReason: "tool_use" }))
}

function decidesAt(machine: TurnMachine, time: number, callId: string, verdict: Verdict = { decision: "approve" }): void {
  respond(machine, { type: "tool_decisions", id: batch(machine).id, at: time, decisions: [decision(machine, callId, verdict)] })
}

function goalOf(history: Iterable<HistoryRecord>): Goal {
  const { goal } = readGoal([...history], "t1").state
  if (goal === null) throw new Error("There is no goal.")
  return goal
}

function endedAt(machine: TurnMachine, time: number): Goal {
  const { outcome, usage, history } = machine
  if (outcome === undefined) throw new Error("The turn has not ended.")
  const ended = endGoalTurn({ threadId: "t1", history }, { turnId: "turn-1", outcome, usage, waits: machine.turn.position }, time)
  return goalOf([...history, ...ended.records])
}

describe.each(ORDERS)("%s", (_name, around) => {
  test("a wait for a decision is not charged", () => {
    const machine = begun(around, { events: withGoal() })
    respond(machine, asksAt(11_000, 1, call("a")))
    decidesAt(machine, 500_000, "a")
    respond(machine, at(502_000, results(2, ran("a"))))
    expect(goalOf(machine.history).secondsUsed).toBe(3)
  })

  test("a wait in which another call still runs is charged until that call ends", () => {
    const machine = begun(around, { events: withGoal() })
    respond(machine, asksAt(11_000, 1, call("a"), call("b", "look")))
    respond(machine, at(15_000, results(2, ran("b", "look"))))
    decidesAt(machine, 500_000, "a", { decision: "reject" })
    expect(goalOf(machine.history).secondsUsed).toBe(5)
  })

  test("several waits in one turn, across processes", () => {
    let machine = begun(around, { events: withGoal() })
    const move = (): void => {
      machine = moved(machine, around)
      pollAll(machine)
    }
    respond(machine, asksAt(11_500, 1, call("a"), call("b")))
    move()
    decidesAt(machine, 100_000, "a")
    move()
    respond(machine, at(100_250, results(2, ran("a"))))
    move()
    decidesAt(machine, 200_000, "b")
    respond(machine, at(200_250, results(2, ran("b"))))
    respond(machine, at(200_500, delivers(3)))
    move()
    respond(machine, asksAt(201_000, 4, call("c")))
    decidesAt(machine, 300_000, "c")
    respond(machine, at(300_500, results(5, ran("c"))))
    // 1.5 + 0.25 + 1 + 0.5 seconds.
    expect(goalOf(machine.history).secondsUsed).toBe(3)
  })

  test("a process that dies while its turn is held leaves nothing to exclude twice", () => {
    const machine = begun(around, { events: withGoal() })
    respond(machine, asksAt(11_000, 1, call("a")))
    const resumed = moved(machine, around)
    pollAll(resumed)
    expect(stopRecord(resumed.history, "t1", 90_000, resumed.turn.position)).toBeUndefined()
    decidesAt(resumed, 100_000, "a")
    respond(resumed, at(102_000, results(2, ran("a"))))
    expect(goalOf(resumed.history).secondsUsed).toBe(3)
  })

  test("downtime after a decision is excluded once", () => {
    const machine = begun(around, { events: withGoal() })
    respond(machine, asksAt(11_000, 1, call("a")))
    decidesAt(machine, 100_000, "a")
    const resumed = moved(machine, around)
    pollAll(resumed)
    const stop = stopRecord(resumed.history, "t1", 900_000, resumed.turn.position)
    resumed.apply([{ type: "append_events", events: stop === undefined ? [] : [stop] }])
    respond(resumed, at(902_000, results(2, ran("a"))))
    expect(goalOf(resumed.history).secondsUsed).toBe(3)
  })

  test("a turn that is cancelled while it is held is not charged for the wait", () => {
    const machine = begun(around, { events: withGoal() })
    respond(machine, asksAt(11_000, 1, call("a")))
    machine.cancel()
    pollAll(machine)
    expect(endedAt(machine, 500_000).secondsUsed).toBe(1)
    // A host without the time of the wait charges it, as every turn that was left.
    const { outcome, history } = machine
    if (outcome === undefined) throw new Error("The turn has not ended.")
    const ended = endGoalTurn({ threadId: "t1", history }, { turnId: "turn-1", outcome }, 20_000)
    expect(goalOf([...history, ...ended.records]).secondsUsed).toBe(10)
  })

  test("a turn that is cancelled after a wait is charged for the time since the decision", () => {
    const machine = begun(around, { events: withGoal() })
    respond(machine, asksAt(11_000, 1, call("a")))
    decidesAt(machine, 100_000, "a")
    machine.cancel()
    pollAll(machine)
    expect(endedAt(machine, 102_000).secondsUsed).toBe(3)
  })

  test("a command after a cancelled wait does not charge it", () => {
    const machine = begun(around, { events: withGoal() })
    respond(machine, asksAt(11_000, 1, call("a")))
    machine.cancel()
    pollAll(machine)
    const waited = heldRecord(machine.history, "t1", machine.turn.position, 500_000)
    if (waited === undefined) throw new Error("Nothing to exclude.")
    const history = [...machine.history, waited]
    const { records } = changeGoal(
      { threadId: "t1", history },
      { type: "command", at: 500_000, turnId: "turn-1", command: { type: "pause" } as never },
    )
    expect(goalOf([...history, ...records]).secondsUsed).toBeLessThanOrEqual(1)
    expect(heldRecord(history, "t1", machine.turn.position, 500_000)).toBeUndefined()
  })

  test("a goal that begins after a wait is charged from its beginning", () => {
    const machine = begun(around)
    respond(machine, asksAt(11_000, 1, call("a")))
    decidesAt(machine, 100_000, "a")
    respond(machine, at(102_000, results(2, ran("a"))))
    respond(machine, at(103_000, delivers(3)))
    respond(machine, asksAt(104_000, 4, call("g", "create_goal", { objective: "ship" }), call("b", "look")))
    respond(machine, at(109_000, results(5, ran("b", "look"))))
    expect(goalOf(machine.history).secondsUsed).toBe(5)
  })

  test("a continuation within the turn does not exclude an earlier wait again", () => {
    const machine = begun(around, { events: withGoal() })
    respond(machine, asksAt(11_000, 1, call("a")))
    decidesAt(machine, 100_000, "a")
    respond(machine, at(102_000, results(2, ran("a"))))
    const turn = { turnId: "turn-1", mode: "default", origin: "continuation" } as const
    const events = [
      goalInputEvent("t1", { type: "turn_finished", at: 102_000, turnId: "turn-1", toolCalls: 1 }),
      goalInputEvent("t1", {
        type: "turn_started",
        at: 102_000,
        ...turn,
        usage: readGoal(machine.history, "t1").state.turn?.reported ?? machine.usage,
      }),
    ]
    respond(
      machine,
      at(102_000, delivers(3, { events, userMessages: [{ id: "u2", role: "user", parts: [], origin: { type: "plugin", pluginId: "goal" } }] })),
    )
    respond(machine, asksAt(110_000, 4, call("b", "look")))
    respond(machine, at(112_000, results(5, ran("b", "look"))))
    expect(goalOf(machine.history).secondsUsed).toBe(13)
  })

  test("the waits of an earlier turn do not count as those of the next", () => {
    const machine = begun(around, { events: withGoal() })
    respond(machine, asksAt(11_000, 1, call("a")))
    machine.cancel()
    pollAll(machine)
    const { outcome, history } = machine
    if (outcome === undefined) throw new Error("The turn has not ended.")
    const waits = machine.turn.position
    const ended = endGoalTurn({ threadId: "t1", history }, { turnId: "turn-1", outcome, waits }, 500_000)
    const { records } = changeGoal(
      { threadId: "t1", history: [...history, ...ended.records] },
      { type: "command", at: 600_000, command: { type: "set", status: "active" } },
    )
    const next = nextOf(around)
    const second = begun(next, { events: [...history, ...ended.records, ...records], iterationOffset: 1 })
    respond(second, asksAt(601_000, 1, call("b")))
    decidesAt(second, 700_000, "b")
    respond(second, at(702_000, results(2, ran("b"))))
    // One second of the first turn, and of the second turn one before its wait and two after it.
    expect(goalOf(second.history).secondsUsed).toBe(4)
  })

  test("a wait starts no clock that does not run", () => {
    const paused = changeGoal({ threadId: "t1", history: withGoal() }, { type: "command", at: 10_000, command: { type: "set", status: "paused" } })
    const machine = begun(around, { events: [...withGoal(), ...paused.records] })
    respond(machine, asksAt(11_000, 1, call("a")))
    decidesAt(machine, 500_000, "a")
    respond(machine, at(502_000, results(2, ran("a"))))
    expect(readGoal(machine.history, "t1").state.clock.markedAt).toBeNull()
  })

  test("without a wait, nothing is recorded for it", () => {
    const machine = begun(around, { events: withGoal() })
    respond(machine, asksAt(11_000, 1, call("b", "look")))
    respond(machine, at(12_000, results(2, ran("b", "look"))))
    const { length } = machine.history
    respond(machine, at(13_000, delivers(3)))
    expect(machine.history).toHaveLength(length)
    expect(JSON.stringify(machine.history)).not.toContain("heldMs")
  })
})
