import { describe, expect, test } from "vitest"
import type { Response } from "../../src/schemas/response.ts"
import type { TurnMachine } from "../../src/validated-turn-machine.ts"
import { about, batchOf, decides, decidesAt, follow, goesOn, holdingConfig, waiting } from "./held-support.ts"
import { completed, driverOf, expectRefused, moved, plain, pollAll, REQUEST, respond, results, says, startedWith } from "./support.ts"

const at = (time: number, response: Response): Response => ({ ...response, at: time })

/** Since when a turn waits for nothing but people, and how long it did before, as its checkpoint has it. */
function heldIn(machine: TurnMachine): readonly [since: number | undefined, before: number | undefined] {
  const { heldSince, heldMs } = plain(machine.checkpoint())
  return [heldSince, heldMs]
}

describe("the time that a turn waits for people", () => {
  const mixed = batchOf(["held", "free"], ["held"])

  test("begins when no call is left to run, and ends with the decision", () => {
    const seen: number[] = []
    const machine = waiting(mixed, {
      onToolDecisions: (context, ...rest) => {
        seen.push(context.heldMs)
        return follow(context, ...rest)
      },
      onToolResults: (context) => {
        seen.push(context.heldMs)
        return [{ type: "finish", outcome: { type: "agent_frame_switch", frameId: "f" } }]
      },
    })
    expect(heldIn(machine)).toEqual([undefined, undefined])
    respond(machine, at(1_000, results(1, completed("free"))))
    expect(heldIn(machine)).toEqual([1_000, undefined])
    respond(machine, decidesAt(61_000, about("held")))
    expect(heldIn(machine)).toEqual([undefined, 60_000])
    respond(machine, at(62_000, results(1, completed("held"))))
    expect(seen).toEqual([60_000, 60_000])
    expect(heldIn(machine)).toEqual([undefined, 60_000])
  })

  test("goes on from answer to answer while only people are waited for", () => {
    const machine = waiting(batchOf(["a", "b", "c"], ["a", "b"]))
    respond(machine, at(10, goesOn("c")))
    expect(heldIn(machine)).toEqual([10, undefined])
    respond(machine, decidesAt(25, about("a", "reject")))
    expect(heldIn(machine)).toEqual([25, 15])
    respond(machine, decidesAt(30, about("b", "reject")))
    expect(heldIn(machine)).toEqual([30, 20])
    respond(machine, at(100, results(1, completed("c"))))
    expect(heldIn(machine)).toEqual([undefined, 90])
  })

  test("stops while a released call runs", () => {
    const machine = waiting(batchOf(["a", "b"]))
    respond(machine, decidesAt(10, about("a")))
    expect(heldIn(machine)).toEqual([undefined, undefined])
    respond(machine, at(50, results(1, completed("a"))))
    expect(heldIn(machine)).toEqual([50, undefined])
    respond(machine, decidesAt(70, about("b")))
    expect(heldIn(machine)).toEqual([undefined, 20])
  })

  test("counts over restores: a process that sleeps for days is not the agent's time", () => {
    const machine = waiting(mixed)
    respond(machine, at(1_000, results(1, completed("free"))))
    const days = 3 * 24 * 3_600_000
    const later = moved(moved(machine, holdingConfig(mixed)), holdingConfig(mixed))
    respond(later, decidesAt(1_000 + days, about("held")))
    expect(heldIn(later)).toEqual([undefined, days])
    expect(heldIn(moved(later, holdingConfig(mixed)))).toEqual([undefined, days])
  })

  test("is not known without times, and begins where the first time is known", () => {
    const machine = waiting(batchOf(["a", "b"]))
    expect(heldIn(machine)).toEqual([undefined, undefined])
    respond(machine, decides(about("a", "reject")))
    expect(heldIn(machine)).toEqual([undefined, undefined])
    machine.apply([])
    respond(machine, decidesAt(500, about("b", "reject")))
    expect(heldIn(machine)).toEqual([undefined, undefined])
  })

  test("never goes back: an earlier time, and one that a stale or refused response carries, change nothing", () => {
    const machine = waiting(batchOf(["a", "b"]))
    respond(machine, decidesAt(100, about("a", "reject")))
    machine.handle(decidesAt(900, about("a", "reject")))
    expectRefused(machine, () => machine.handle(decidesAt(900, about("a"))), "call_already_decided")
    expect(heldIn(machine)).toEqual([100, undefined])
    respond(machine, decidesAt(50, about("b")))
    expect(heldIn(machine)).toEqual([undefined, undefined])
  })

  test("stops at what a checkpoint can hold", () => {
    const batch = batchOf(["a", "b", "c"])
    const machine = waiting(batch)
    respond(machine, decidesAt(-Number.MAX_SAFE_INTEGER, about("a", "reject")))
    respond(machine, decidesAt(Number.MAX_SAFE_INTEGER, about("b", "reject")))
    expect(heldIn(moved(machine, holdingConfig(batch)))).toEqual([Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER])
  })

  test("is nothing in a turn without held calls", () => {
    const seen: number[] = []
    const machine = startedWith([{ type: "start_tools", calls: [] }], {})
    expect(heldIn(machine)).toEqual([undefined, undefined])
    const plainOne = waiting(batchOf(["a"], []), {
      onToolResults: (context) => {
        seen.push(context.heldMs)
        return [{ type: "finish", outcome: { type: "agent_frame_switch", frameId: "f" } }]
      },
    })
    respond(plainOne, at(5, results(1, completed("a"))))
    expect([seen, heldIn(plainOne)]).toEqual([[0], [undefined, undefined]])
    const model = startedWith([{ type: "start_llm", request: REQUEST }], driverOf())
    respond(model, at(5, says(1, "Hi.")))
    expect(heldIn(model)).toEqual([undefined, undefined])
  })

  test("ends with the turn, where the end has a time; otherwise its host can tell how long it was", () => {
    const machine = waiting(mixed)
    respond(machine, at(1_000, results(1, completed("free"))))
    const timed = moved(machine, holdingConfig(mixed))
    timed.command({ type: "cancel", answer: at(61_000, results(1, completed("held"))) })
    expect([timed.done, ...heldIn(timed)]).toEqual([true, undefined, 60_000])
    machine.cancel()
    pollAll(machine)
    expect([machine.done, ...heldIn(machine)]).toEqual([true, 1_000, undefined])
    expect(heldIn(moved(machine, holdingConfig(mixed)))).toEqual([1_000, undefined])
  })
})
