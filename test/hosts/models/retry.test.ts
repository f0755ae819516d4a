import { describe, expect, test } from "vitest"
import { orAborted, retryAfterMs, retryWaitMs } from "../../../src/hosts/models/retry.ts"

const POLICY = { firstWaitMs: 500, maxWaitMs: 60_000 }

describe("how long to wait", () => {
  test("doubles with each attempt up to the longest wait, shortened by up to half at random", () => {
    expect([1, 2, 3, 4, 8, 2_000].map((attempt) => retryWaitMs(attempt, undefined, 0, POLICY))).toEqual([500, 1_000, 2_000, 4_000, 60_000, 60_000])
    expect([1, 2].map((attempt) => retryWaitMs(attempt, undefined, 0.5, POLICY))).toEqual([375, 750])
    // In whole milliseconds, which people can read.
    expect(retryWaitMs(1, undefined, 0.333, POLICY)).toBe(417)
  })

  test("is what the server asks for, up to the longest wait", () => {
    expect(retryWaitMs(1, 7_000, 0.9, POLICY)).toBe(7_000)
    expect(retryWaitMs(3, 0, 0.9, POLICY)).toBe(0)
    expect(retryWaitMs(1, 3_600_000, 0.9, POLICY)).toBe(60_000)
  })

  const now = Date.UTC(2026, 10, 20, 12, 0, 0)
  test.each<[Record<string, string>, number | undefined]>([
    [{}, undefined],
    [{ "retry-after": "20" }, 20_000],
    [{ "retry-after": "1.5" }, 1_500],
    [{ "retry-after": "0" }, 0],
    [{ "retry-after-ms": "250" }, 250],
    [{ "retry-after-ms": "250", "retry-after": "20" }, 250],
    [{ "retry-after-ms": "soon", "retry-after": "20" }, 20_000],
    [{ "retry-after": "Fri, 20 Nov 2026 12:00:30 GMT" }, 30_000],
    [{ "retry-after": "Fri, 20 Nov 2026 11:00:00 GMT" }, 0],
    [{ "retry-after": "-5" }, undefined],
    [{ "retry-after": "tomorrow" }, undefined],
    [{ "retry-after": "" }, undefined],
    [{ "retry-after": "1e3" }, undefined],
  ])("the headers %j ask for %s ms", (headers, expected) => {
    expect(retryAfterMs(new Headers(headers), now)).toBe(expected)
  })
})

describe("a promise under a signal", () => {
  test("rejects as soon as the signal is aborted, also if it never settles", async () => {
    const controller = new AbortController()
    const left = orAborted(new Promise(() => undefined), controller.signal)
    controller.abort(new Error("enough"))
    await expect(left).rejects.toThrow("enough")
    await expect(orAborted(new Promise(() => undefined), controller.signal)).rejects.toThrow("enough")
    await expect(orAborted(Promise.resolve(4), new AbortController().signal)).resolves.toBe(4)
    await expect(orAborted(Promise.reject(new Error("own")), new AbortController().signal)).rejects.toThrow("own")
  })
})
