import * as fc from "fast-check"
import { describe, test } from "vitest"
import type { TurnConfig } from "../../src/machine/config.ts"
import { callbacks, configData, moves, script, start } from "../../src/testing/arbitraries.ts"
import { expectTurn } from "../../src/testing/expect-turn.ts"
import { scriptedDriver } from "../../src/testing/scripted-driver.ts"
import { scriptedHost } from "../../src/testing/scripted-host.ts"
import { check, SLOW } from "./check.ts"

describe("laws 1 to 8", () => {
  test("hold for random scripts and random hosts", SLOW, () => {
    check(
      60,
      fc.property(configData, start, script, callbacks, moves, (data, begin, answers, optional, played) => {
        const driver = scriptedDriver(answers, { callbacks: optional })
        const projector: TurnConfig["projector"] = () => {
          throw new Error("A scripted driver's requests are data.")
        }
        const config = { ...data, driver, projector }
        expectTurn(config, begin, scriptedHost(played).play(config, begin))
      }),
    )
  })
})
