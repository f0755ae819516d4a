import * as fc from "fast-check"
import { afterAll, expect, test } from "vitest"
import { checkAsync, SLOW } from "../properties/check.ts"
import { countingRejections, fuzz } from "./fuzz.ts"
import { script } from "./script.ts"
import { newFigures } from "./world.ts"

const figures = newFigures()
const startedAt = performance.now()

test("whatever goes wrong in the host and the store, a turn ends once and keeps its promises", SLOW, async () => {
  await countingRejections(() =>
    checkAsync(
      300,
      fc.asyncProperty(script, async (scripted) => {
        expect(await fuzz(scripted, figures)).toEqual([])
      }),
      100,
    ),
  )
})

afterAll(() => {
  console.info(`${Math.round((performance.now() - startedAt) / 100) / 10} s: ${JSON.stringify(figures)}`)
})
