import { describe, expect, test } from "vitest"
import { sleep, timerMs } from "../../src/hosts/timers.ts"

test("a delay is limited to what a timer can wait", () => {
  expect([-1, 5, 1e12, Number.POSITIVE_INFINITY].map(timerMs)).toEqual([0, 5, 2_147_483_647, 2_147_483_647])
})

describe("sleep", () => {
  test("ends at once when the signal is aborted, before or during the wait", async () => {
    const controller = new AbortController()
    const waiting = sleep(3_600_000, controller.signal)
    controller.abort()
    await waiting
    await sleep(3_600_000, controller.signal)
  })

  test("ends after its time", async () => {
    await sleep(1, new AbortController().signal)
  })
})
