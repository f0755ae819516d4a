import { describe, expect, test } from "vitest"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { Thread } from "../../../src/hosts/thread/thread.ts"
import { says, World } from "./support.ts"

describe("runs of one thread at the same time", () => {
  test("follow one another, and each input is answered once, also one that arrives as a run ends", async () => {
    for (let ticks = 0; ticks < 40; ticks += 1) {
      let [running, most] = [0, 0]
      const world = new World(async (calls) => {
        running += 1
        await undefined
        most = Math.max(most, running)
        running -= 1
        return says(`Answer ${calls}.`)
      })
      const thread = await Thread.open(memoryJournalStore(), "t", world.options({ goals: false }))
      const handle = async (text: string): Promise<unknown> => {
        await thread.say(text, { when: "next_turn" })
        return world.run(thread)
      }
      const first = handle("One.")
      for (let tick = 0; tick < ticks * 10; tick += 1) await undefined
      const rests = await Promise.all([first, handle("Two."), handle("Three.")])
      expect(rests).toMatchObject([{ reason: "No input waits." }, { reason: "No input waits." }, { reason: "No input waits." }])
      expect([ticks, thread.turns, thread.queue().length, world.requests.length, most]).toEqual([ticks, 3, 0, 3, 1])
      await thread.close()
    }
  })

  test("do not begin after the thread was closed", async () => {
    const world = new World(() => new Promise(() => {}))
    const store = memoryJournalStore()
    const thread = await Thread.open(store, "t", world.options({ goals: false }))
    await thread.say("Hello.")
    const stop = new AbortController()
    const [first, second] = [world.run(thread, { signal: stop.signal }), world.run(thread)].map((run) => run.catch((error: unknown) => error))
    await expect.poll(() => world.requests.length).toBe(1)
    await thread.close()
    stop.abort()
    expect(await first).toMatchObject({ code: "closed" })
    expect(await second).toMatchObject({ code: "closed" })
    expect(await world.run(thread).catch((error: unknown) => error)).toMatchObject({ code: "closed" })
    expect(world.requests).toHaveLength(1)
  })
})
