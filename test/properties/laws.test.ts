import * as fc from "fast-check"
import { describe, test } from "vitest"
import { expectTurn } from "../../src/testing/expect-turn.ts"
import { randomTurn } from "../support/random-turn.ts"
import { check, SLOW } from "./check.ts"

describe("laws 1 to 8", () => {
  test("hold for random scripts and random hosts", SLOW, () => {
    check(
      60,
      fc.property(randomTurn, ({ config, start, inputs }) => {
        expectTurn(config, start, inputs)
      }),
    )
  })
})
