import { describe, test } from "vitest"
import { hostConformance } from "../../../src/testing/index.ts"
import { restateHost } from "./tested-restate.ts"

const IS_FAST = process.env["TEST_LANE"] === "fast"

describe("a turn in a handler of Restate", () => {
  const mostPlaces = IS_FAST ? { mostPlaces: 9 } : {}
  for (const { name, run } of hostConformance(() => restateHost(), { promises: { held: true }, timeoutMs: 60_000, ...mostPlaces }))
    test(name, run, IS_FAST ? 60_000 : 600_000)
})
