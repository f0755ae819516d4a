import { describe, expect, test } from "vitest"
import { soakGoal } from "../bench/soak/goal.ts"
import { heapFault, linearFault, type Sample, slopeOf } from "../bench/soak/growth.ts"
import { soakThread } from "../bench/soak/thread.ts"
import { soakTurns } from "../bench/soak/turns.ts"

// `npm run soak` for seconds instead of hours: its laws hold, and each of its checks can fail.

const say = (): void => {}

function samples(heap: (work: number) => number, stored: (work: number) => number = () => 0): readonly Sample[] {
  return Array.from({ length: 21 }, (_, index) => ({ work: index * 10, heapBytes: heap(index * 10), storedBytes: stored(index * 10) }))
}

describe("growth", () => {
  test("the slope ignores the beginning and single outliers", () => {
    expect(
      slopeOf(
        samples((work) => 1_000 + 3 * work),
        "heapBytes",
      ),
    ).toBe(3)
    expect(
      slopeOf(
        samples((work) => (work < 40 ? 90_000 : 1_000 + 3 * work)),
        "heapBytes",
      ),
    ).toBe(3)
    expect(
      slopeOf(
        samples((work) => (work === 100 ? 90_000 : 1_000 + 3 * work)),
        "heapBytes",
      ),
    ).toBe(3)
  })

  test("a heap that grows is a fault, and one that is measured too seldom", () => {
    expect(
      heapFault(
        samples(() => 5_000),
        2,
      ),
    ).toBeUndefined()
    expect(
      heapFault(
        samples((work) => 2 * work),
        2,
      ),
    ).toBeUndefined()
    expect(
      heapFault(
        samples((work) => 3 * work),
        2,
      ),
    ).toBe("The heap grows by 3.0 bytes for each unit of work; 2 are allowed.")
    expect(heapFault(samples(() => 0).slice(0, 2), 2)).toBe("The heap grows by NaN bytes for each unit of work; 2 are allowed.")
  })

  test("storage is linear, or its second half grows more", () => {
    const linear = samples(
      () => 0,
      (work) => 700 * work,
    )
    expect(linearFault(linear, "storedBytes", 0.02)).toBeUndefined()
    // From 0 to 100: 100 × 100 bytes, from 100 to 200: 300 × 100 bytes.
    const quadratic = samples(
      () => 0,
      (work) => work * work,
    )
    expect(linearFault(quadratic, "storedBytes", 0.02)).toBe(
      "The store grows by 300.0 bytes for each unit of work in the second half, and by 100.0 in the first.",
    )
    expect(linearFault(linear.slice(0, 2), "storedBytes", 0.02)).toBe(
      "The store grows by NaN bytes for each unit of work in the second half, and by NaN in the first.",
    )
  })
})

describe("random turns", () => {
  // As few turns as these are all within the time in which caches fill.
  const options = { turns: 40, seed: 1, allLawsEvery: 10, mostHeapBytes: 150_000, say }

  test("hold the laws, and leave nothing in memory", async () => {
    expect(await soakTurns(options)).toMatchObject({ part: "turns", turns: 40, allLaws: 4, faults: [] })
  })

  test("that leave something in memory are a fault", async () => {
    const left: number[][] = []
    const { faults } = await soakTurns({ ...options, check: () => left.push(new Array(50_000).fill(1)) })
    expect(left).toHaveLength(40)
    expect(faults).toEqual([expect.stringMatching(/^The heap grows by \d+\.\d bytes for each unit of work; 150000 are allowed\.$/)])
  })

  test("that break a law are a fault with their seed, which runs alone", async () => {
    const check = (_turn: unknown, number: number): void => {
      if (number === 7) throw new Error("Broken.")
    }
    const { turns, faults } = await soakTurns({ ...options, check })
    expect(turns).toBe(8)
    expect(faults[0]).toBe("The turn of seed 8 breaks a law. Broken.")
  })
})

describe("a long thread", () => {
  test.each(["memory", "sqlite", "file"] as const)("in a store of %s: each record takes as much as every other", async (kind) => {
    // A turn of 10 calls has 22 records.
    expect(await soakThread({ records: 880, calls: 10, kind, say, heapTolerance: 4 })).toMatchObject({ turns: 40, records: 880, faults: [] })
  })

  test("with more records than its turns have is a fault", async () => {
    const message = { id: "extra", role: "user", parts: [] } as const
    const figures = await soakThread({
      records: 880,
      calls: 10,
      kind: "memory",
      say,
      heapTolerance: 4,
      afterTurn: (thread) => (thread.turns === 3 ? thread.note([], [{ type: "conversation", message }]) : undefined),
    })
    expect(figures.faults).toEqual(["881 of 880 records are there when the thread is opened again."])
  })
})

describe("a goal", () => {
  test("of two simulated days waits, is stopped by its budget and continues over restarts", async () => {
    const figures = await soakGoal({ days: 2, kind: "memory", say, heapTolerance: 4 })
    expect(figures.faults).toEqual([])
    expect(figures.hours).toBeGreaterThanOrEqual(48)
    // Every six hours but the first.
    expect(figures.restarts).toBe(7)
    expect(figures.waits).toBeGreaterThan(0)
    expect(figures.extensions).toBeGreaterThan(0)
    expect(figures.tokens % 102).toBe(0)
  })

  test("that is charged what no model used is a fault", async () => {
    let charged = false
    const { faults } = await soakGoal({
      days: 1,
      kind: "memory",
      say,
      heapTolerance: 4,
      afterTurn: async (thread) => {
        if (charged || thread.turns < 2) return
        charged = true
        const usage = { inputTokens: 7, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
        await thread.note([{ type: "child_usage_reported", at: Date.UTC(2026, 0, 5), childId: "unknown", usage }])
      },
    })
    expect(faults[0]).toMatch(/^The goal was charged \d+ tokens, and its models used \d+\.$/)
  })
})
