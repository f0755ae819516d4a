/** Where the results of a batch belong. */
import { expect, test } from "vitest"
import { advance, begin, handle } from "../../src/machine/step.ts"
import { TurnMachine as BareTurnMachine } from "../../src/machine/turn-machine.ts"
import type { CompletedToolCall, PendingToolCall } from "../../src/schemas/tool.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { about, batchOf, decides, holdingConfig, outstandingBatch, resultsOf, shape, waiting } from "./held-support.ts"
import { completed, configOf, driverOf, pending, plain, pollAll, respond, results, set } from "./support.ts"

test.each<readonly [string, readonly (readonly number[])[]]>([
  ["one by one", [[1], [2], [3]]],
  ["together", [[1, 2, 3]]],
  ["two first", [[1, 2], [3]]],
  ["two last", [[1], [2, 3]]],
])("results of calls with the same id belong to the first of them that has none, %s", (_how, parts) => {
  const machine = waiting(batchOf(["a", "b", "a", "a"], []))
  respond(machine, results(1, completed("b", 0)))
  for (const part of parts) respond(machine, results(1, ...part.map((value) => completed("a", value))))
  expect(resultsOf(machine)).toEqual([
    ["a", 1],
    ["b", 0],
    ["a", 2],
    ["a", 3],
  ])
})

test.each([["abc"], ["cab"], ["cba"], ["bca"]])("results that arrive together, as %s, are shown in call order", (order) => {
  const machine = waiting(batchOf(["a", "b", "c", "d"], []))
  const shown = respond(machine, results(1, ...Array.from(order, (callId) => completed(callId)))).flatMap((effect) =>
    effect.type === "emit" && effect.event.type === "tool_call" ? [effect.event.callId] : [],
  )
  expect(shown).toEqual(["a", "b", "c"])
})

test("a saved batch may have the result of the second of two calls with one id", () => {
  const batch = batchOf(["a", "a", "a"], [])
  const checkpoint = plain(waiting(batch).checkpoint())
  set("/state/results", [null, completed("a", "saved"), null])(checkpoint)
  const machine = TurnMachine.restore(holdingConfig(batch), checkpoint)
  respond(machine, results(1, completed("a", "first")))
  respond(machine, results(1, completed("a", "third")))
  expect(resultsOf(machine)).toEqual([
    ["a", "first"],
    ["a", "saved"],
    ["a", "third"],
  ])
})

test("a turn that is resumed from an earlier point does not know the results that came after it", () => {
  const config = configOf({ driver: driverOf({ prepareIteration: () => [batchOf(["a", "b", "c"], [])] }) })
  const { turn: early } = advance(config, begin(config, { messages: [] }).turn)
  const { turn: later } = handle(config, early, results(1, completed("a")))
  const { turn: latest } = handle(config, later, results(1, completed("b")))
  const again = handle(config, early, results(1, completed("a", "another")))
  expect(again.status).toBe("accepted")
  for (const turn of [again.turn, latest]) expect(() => handle(config, turn, results(1, completed("a")))).toThrow("already has its result")
})

test("the batch that is left of held calls is plain JSON, with those that still wait", () => {
  const machine = waiting(batchOf(["a", "b", "c"]))
  respond(machine, decides(about("b")))
  const left = plain(outstandingBatch(machine))
  expect(shape(left)).toEqual({ calls: ["b"], held: ["a", "c"] })
})

test("what a driver settles is not changed in its own list", () => {
  const settled: readonly CompletedToolCall[] = Object.freeze([completed("a", 1), completed("a", 2), completed("b", 3)])
  const calls: readonly PendingToolCall[] = ["a", "b", "a", "c"].map((callId) => pending(callId))
  const machine = new BareTurnMachine(configOf({ driver: driverOf({ prepareIteration: () => [{ type: "start_tools", calls, settled }] }) }), {
    messages: [],
  })
  pollAll(machine)
  expect(machine.outstanding).toMatchObject({ type: "tool_calls", calls: [{ callId: "c" }] })
  expect(settled.map(({ output }) => output)).toEqual([1, 2, 3].map((value) => ({ status: "success", value })))
})
