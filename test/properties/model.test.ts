import * as fc from "fast-check"
import { describe, test } from "vitest"
import type { TurnConfig } from "../../src/machine/config.ts"
import { toolResultParts } from "../../src/machine/tool-results.ts"
import type { TurnConfigData, TurnStart } from "../../src/schemas/config.ts"
import type { Response } from "../../src/schemas/response.ts"
import { callbacks, completedToolCall, configData, moves, script, start } from "../../src/testing/arbitraries.ts"
import { describeDifference, firstDifference } from "../../src/testing/difference.ts"
import { scriptedDriver } from "../../src/testing/scripted-driver.ts"
import { type HostMove, inputOf } from "../../src/testing/scripted-host.ts"
import { describeInput, give, type TurnInput } from "../../src/testing/turn-input.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { check, SLOW } from "./check.ts"
import { DRIVER_ERROR, ReferenceMachine, resultParts } from "./reference-model.ts"

describe("the machine and a reference model of it", () => {
  test("behave the same, step by step, restores included", SLOW, () => {
    const restores = fc.infiniteStream(fc.oneof({ weight: 3, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }))
    check(
      250,
      fc.property(configData, start, script, callbacks, moves, restores, (data, begin, answers, optional, played, restore) => {
        compare(configOf(data, scriptedDriver(answers, { callbacks: optional })), begin, played, () => restore.next().value)
      }),
    )
  })
})

test("the parts that answer a batch are those of the model", SLOW, () => {
  check(
    300,
    fc.property(fc.array(completedToolCall, { maxLength: 3 }), (results) => {
      expectSame("the parts", toolResultParts("m", results), resultParts("m", results))
    }),
  )
})

function compare(config: TurnConfig, start: TurnStart, moves: readonly HostMove[], restore: () => boolean): void {
  let machine = new TurnMachine(config, start)
  const model = new ReferenceMachine(config, start)
  const answered: Response[] = []
  moves.forEach((move, index) => {
    if (restore()) {
      machine = TurnMachine.restore(config, JSON.stringify(machine.checkpoint()))
      model.restore()
      expectSame(`move ${index}, restored`, seen(machine), model.seen)
    }
    const input = inputOf(move, machine, answered)
    if (input === undefined) return
    const where = `move ${index} (${describeInput(input)})`
    if (input.type === "poll") poll(where, machine, model, input.most)
    else if (move.type === "offend") expectSame(where, give(machine, input), "expect" in input ? input.expect : undefined)
    else expectSame(`${where}: the result`, give(machine, input), giveModel(model, input))
    if (input.type === "respond" && input.expect === undefined) answered.unshift(input.response)
    expectSame(`${where}: the turn`, seen(machine), model.seen)
  })
}

function poll(where: string, machine: TurnMachine, model: ReferenceMachine, most = Number.POSITIVE_INFINITY): void {
  for (let count = 0; count < most; count += 1) {
    const effect = machine.poll()
    expectSame(`${where}, poll ${count}`, effect, model.poll())
    if (effect === undefined) return
  }
}

function giveModel(model: ReferenceMachine, input: Exclude<TurnInput, { type: "poll" }>): string {
  switch (input.type) {
    case "respond":
      return model.respond(input.response)
    case "apply":
      return model.apply(input.actions)
    case "redirect":
      return model.redirect(input)
    case "cancel":
      model.cancel(input.reason, input.partial)
      return "accepted"
    case "fail":
      model.fail(input.event, input.partial)
      return "accepted"
    case "finish":
      model.finish(input.outcome, input.partial)
      return "accepted"
  }
}

function seen(machine: TurnMachine): unknown {
  const { state, done, messages, events, turnCauses, iteration, usage, outcome, outstanding } = machine
  return { state, done, messages, events, turnCauses, iteration, usage, outcome, outstanding }
}

function configOf(data: TurnConfigData, driver: TurnConfig["driver"]): TurnConfig {
  return {
    ...data,
    driver,
    projector: () => {
      throw new Error("A scripted driver's requests are data.")
    },
    turnLimitMessage: (id, maxIterations, when) => ({
      id,
      role: "system",
      parts: [{ id: `${id}.p0`, type: "text", text: `limit ${maxIterations} ${when}` }],
    }),
  }
}

function expectSame(where: string, received: unknown, expected: unknown): void {
  const difference = firstDifference(worded(received), worded(expected))
  if (difference !== undefined) throw new Error(`${where}, ${describeDifference(difference)}`)
}

/** Removes the messages about driver errors: the model knows only their codes. */
function worded(value: unknown): unknown {
  const text = JSON.stringify(value, (_key, item: unknown) => {
    const found = item as { type?: unknown; kind?: unknown; userMessage?: unknown; envelope?: { kind?: unknown } } | null
    if (found?.kind === "driver" && typeof found.userMessage === "string") return { ...found, userMessage: DRIVER_ERROR }
    return found?.type === "error" && found.envelope?.kind === "driver" ? { ...found, message: DRIVER_ERROR } : item
  })
  return text === undefined ? undefined : JSON.parse(text)
}
