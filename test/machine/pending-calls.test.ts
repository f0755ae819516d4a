import { describe, expect, test } from "vitest"
import type { Response } from "../../src/schemas/response.ts"
import type { TurnMachine } from "../../src/validated-turn-machine.ts"
import { about, answered, batchOf, decides, goesOn, holdingConfig, letRun, outstandingBatch, resultsOf, shape, waiting } from "./held-support.ts"
import { completed, effectNames, expectRefused, moved, pending, pollAll, respond, results } from "./support.ts"

const FREE = batchOf(["a", "b"], [])

describe("a call that continues outside", () => {
  test("is reported, and is not to be run again, also after a restore", () => {
    const machine = waiting(FREE)
    const effects = respond(machine, goesOn("a", "job-1", "takes a day"))
    expect(effects).toEqual([{ type: "emit", event: { type: "tool_pending", callId: "a", name: "look", token: "job-1", note: "takes a day" } }])
    const call = { ...pending("a"), token: "job-1", note: "takes a day" }
    expect(machine.outstanding).toEqual({ type: "tool_calls", id: 1, calls: [pending("b")], pending: [call] })
    const later = moved(machine, holdingConfig(FREE))
    expect(pollAll(later)).toEqual([{ type: "tool_calls", id: 1, calls: [pending("b")], pending: [call] }])
  })

  test("is not asked about: the driver is not called", () => {
    const machine = waiting(FREE, {
      onToolDecisions: () => {
        throw new Error("Called.")
      },
    })
    respond(machine, goesOn("a"))
    expect(machine.state).toBe("waiting_tools")
  })

  test("is answered later, by its result", () => {
    const machine = waiting(FREE)
    respond(machine, goesOn("a"))
    respond(machine, goesOn("b"))
    expect(shape(outstandingBatch(machine))).toEqual({ calls: [], pending: ["a", "b"] })
    respond(machine, results(1, completed("b", 2)))
    expect(shape(outstandingBatch(machine))).toEqual({ calls: [], pending: ["a"] })
    const later = moved(machine, holdingConfig(FREE))
    respond(later, results(1, completed("a", 1)))
    expect(resultsOf(later)).toEqual([
      ["a", 1],
      ["b", 2],
    ])
  })

  test("reported again under its token changes nothing", () => {
    const machine = waiting(FREE)
    respond(machine, goesOn("a", "job-1"))
    const later = moved(machine, holdingConfig(FREE))
    for (const again of [machine, later]) {
      const before = JSON.stringify(again.checkpoint())
      expect(again.handle({ ...goesOn("a", "job-1", "another note"), at: 9 } as Response)).toEqual({ status: "stale" })
      expect(JSON.stringify(again.checkpoint())).toBe(before)
    }
  })

  test("may have been held: it runs once it is approved", () => {
    const machine = waiting(batchOf(["a"]))
    refused(machine, goesOn("a"), "call_is_held", 'The call "a" of effect 1 waits for a decision; it must not have run.')
    respond(machine, decides(about("a")))
    respond(machine, goesOn("a"))
    expect(machine.handle(decides(about("a"))).status).toBe("stale")
    refused(machine, decides(about("a", "reject")), "call_already_decided")
    respond(machine, results(1, completed("a")))
    expect(machine.done).toBe(true)
  })

  test("before its batch was polled is left out of it", () => {
    const machine = waiting(FREE)
    const later = moved(machine, holdingConfig(FREE))
    later.handle(goesOn("a"))
    const effects = pollAll(later)
    expect(effectNames(effects)).toEqual(["tool_calls 1", "emit tool_pending"])
    expect(letRun(effects)).toEqual(["b"])
  })

  test("under another token, an unknown one, one that was answered, and one of two with its id are refused", () => {
    const machine = waiting(FREE)
    respond(machine, goesOn("a", "job-1"))
    refused(machine, goesOn("a", "job-2"), "call_is_pending", 'The call "a" of effect 1 is pending under another token.')
    refused(machine, goesOn("x"), "unknown_call", 'Effect 1 has no call "x".')
    respond(machine, results(1, completed("b")))
    refused(machine, goesOn("b"), "call_already_answered", 'The call "b" of effect 1 already has its result.')
    const twins = waiting(batchOf(["a", "a"], []))
    refused(twins, goesOn("a"), "call_not_unique", 'Effect 1 has several calls "a", so a report cannot name one of them.')
    respond(twins, results(1, completed("a")))
    refused(twins, goesOn("a"), "call_not_unique")
  })

  test("of a batch whose driver settled its twin is the only one with its id", () => {
    const machine = waiting(batchOf(["a", "a"], [], { settled: [completed("a", "mine")] }))
    respond(machine, goesOn("a"))
    respond(machine, results(1, completed("a", "outside")))
    expect(resultsOf(machine)).toEqual([
      ["a", "mine"],
      ["a", "outside"],
    ])
  })

  test("gets a cancelled result when the turn ends, as any other", () => {
    const machine = waiting(FREE)
    respond(machine, goesOn("a"))
    machine.cancel("Enough.")
    expect(answered(machine)).toEqual([
      ["a", "[Tool execution cancelled]\nEnough."],
      ["b", "[Tool execution cancelled]\nEnough."],
    ])
    expect(machine.handle(goesOn("a")).status).toBe("stale")
  })

  function refused(machine: TurnMachine, response: Response, code: string, message?: string): void {
    const error = expectRefused(machine, () => machine.handle(response), code)
    if (message !== undefined) expect(error.message).toBe(message)
  }
})
