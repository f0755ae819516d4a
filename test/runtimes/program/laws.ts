import * as fc from "fast-check"
import { chatDriver, codeDriver, type TurnConfig } from "turn-machine"
import { approvalDriver } from "turn-machine/drivers/approval"
import { type ExploreTurnOptions, expectTurn, exploreTurn, scriptedDriver, scriptedHost } from "turn-machine/testing"
import { callbacks, configData, moves, script, start } from "turn-machine/testing/arbitraries"
import { describe, expect, record, test } from "./registry.ts"

const TURNS = 10
const SEED = 20_261_127

describe("laws of a turn (expectTurn)", () => {
  const projector: TurnConfig["projector"] = () => {
    throw new Error("A scripted driver's requests are data.")
  }
  for (let number = 0; number < TURNS; number += 1)
    test(`random turn ${number + 1}`, () => {
      const [drawn] = fc.sample(fc.tuple(configData, start, script, callbacks, moves), { numRuns: 1, seed: SEED + number })
      if (drawn === undefined) throw new Error("Nothing was drawn.")
      const [data, begin, answers, optional, played] = drawn
      const config = { ...data, driver: scriptedDriver(answers, { callbacks: optional }), projector }
      const { effects, verdicts, checkpoint, cuts } = expectTurn(config, begin, scriptedHost(played).play(config, begin))
      record({ effects, verdicts, checkpoint, cuts })
    })
})

describe("laws in every state (exploreTurn)", () => {
  const explored: readonly ExploreTurnOptions[] = [
    { driver: chatDriver(), bounds: { iterations: 1, calls: 1 } },
    // It drops the tool calls of a model, which acts by writing code.
    { driver: codeDriver(), bounds: { iterations: 1, calls: 1 }, without: ["verbatim"] },
    { driver: approvalDriver(chatDriver(), { policy: () => ({ hold: {} }) }), bounds: { iterations: 1, calls: 1 } },
  ]
  for (const options of explored)
    test(options.driver.name, () => {
      const exploration = exploreTurn(options)
      expect(exploration.states).toBeGreaterThan(10)
      record(exploration)
    })
})
