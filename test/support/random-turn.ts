import * as fc from "fast-check"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { TurnStart } from "../../src/schemas/config.ts"
import { callbacks, configData, moves, script, start } from "../../src/testing/arbitraries.ts"
import { scriptedDriver } from "../../src/testing/scripted-driver.ts"
import { scriptedHost } from "../../src/testing/scripted-host.ts"
import type { TurnInput } from "../../src/testing/turn-input.ts"

/** A turn of a random script, and the inputs that a random host gave it. */
export interface RandomTurn {
  readonly config: TurnConfig
  readonly start: TurnStart
  readonly inputs: readonly TurnInput[]
}

/** Turns of random scripts on random hosts. Playing one is part of drawing it. */
export const randomTurn: fc.Arbitrary<RandomTurn> = fc
  .tuple(configData, start, script, callbacks, moves)
  .map(([data, begin, answers, optional, played]) => {
    const driver = scriptedDriver(answers, { callbacks: optional })
    const projector: TurnConfig["projector"] = () => {
      throw new Error("A scripted driver's requests are data.")
    }
    const config = { ...data, driver, projector }
    return { config, start: begin, inputs: scriptedHost(played).play(config, begin) }
  })
