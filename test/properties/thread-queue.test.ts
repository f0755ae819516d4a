import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { checkAsync, FACTOR, SLOW } from "./check.ts"
import { newQueueCounts, playQueue, step } from "./queue-stories.ts"

describe("the queue of a thread, compared with a model through kills, races, redirections and interrupts", () => {
  test(
    "every input is delivered exactly once and in order, or is taken back; queue, retract, reorder and interrupt say what the model says",
    SLOW,
    async () => {
      const counts = newQueueCounts()
      await checkAsync(
        400,
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), async (steps) => {
          await playQueue({ steps, isCompacted: false }, counts)
        }),
        10,
      )
      for (const [name, count] of Object.entries({ ...counts, compactions: 1 })) expect([name, count > 0]).toEqual([name, true])
    },
  )

  test("also where the conversation is compacted again and again", SLOW, async () => {
    const counts = newQueueCounts()
    await checkAsync(
      100,
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 8 }), async (steps) => {
        await playQueue({ steps, isCompacted: true }, counts)
      }),
      10,
    )
    for (const [name, count] of Object.entries(counts)) expect([name, count > 0]).toEqual([name, true])
  })

  const turns = FACTOR >= 1 ? 500 : 40
  test(`a conversation of ${turns} turns`, SLOW, async () => {
    const counts = newQueueCounts()
    const steps = fc.sample(step, { numRuns: 4 * turns, seed: 14 })
    expect(await playQueue({ steps, isCompacted: false }, counts, turns)).toBeGreaterThanOrEqual(turns)
    expect(counts.kills).toBeGreaterThan(turns / 10)
    expect(counts.redirects).toBeGreaterThan(turns / 10)
  })
})
