import { describe, expect, test } from "vitest"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { Thread } from "../../../src/hosts/thread/thread.ts"
import { opened } from "../../support/stored-text.ts"
import { says, World } from "./support.ts"

describe("an input with a key", () => {
  test("is recorded once, also by another process and after it was settled", async () => {
    const store = memoryJournalStore()
    const world = new World(() => says("Hm."))
    const first = await Thread.open(store, "t", world.options({ policy: { maxIdleContinuations: 1 } }))
    const set = { type: "set", objective: "Count.", tokenBudget: 1_000 } as const
    expect(await first.command(set, { key: "a" })).not.toEqual([])
    expect(await first.command(set, { key: "a" })).toEqual([])
    await Promise.all([first.say("Quickly.", { key: "a" }), first.say("Quickly.", { key: "a" })])
    await first.event("rain", { key: "a" })
    await first.event("rain", { key: "a" })
    await world.run(first)
    await first.close()

    const second = await Thread.open(store, "t", world.options())
    await second.say("Quickly.", { key: "a" })
    expect(await second.command({ type: "clear" }, { key: "a" })).toEqual([])
    await second.settle()
    expect(second.goal).toMatchObject({ objective: "Count." })
    await second.close()
    const lines = (await opened(store, "t.thread")).text.split("\n")
    for (const type of ["said", "commanded", "happened"]) expect(lines.filter((line) => line.includes(`{"type":"${type}"`))).toHaveLength(1)
  })

  test("that was refused is not recorded, so that it can be sent again", async () => {
    const world = new World(() => says("Hm."))
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    expect(await thread.command({ type: "pause" }, { key: "p" })).toMatchObject([{ type: "refused" }])
    await thread.command({ type: "set", objective: "Count." }, { key: "s" })
    expect((await thread.command({ type: "pause" }, { key: "p" })).at(-1)).toMatchObject({ goal: { status: "paused" } })
    await thread.close()
  })

  test("a repetition resolves when the first one is stored, and rejects as it does", async () => {
    const store = memoryJournalStore()
    let fails = false
    const failing = {
      ...store,
      open: async (...given: Parameters<typeof store.open>) => {
        const journal = await store.open(...given)
        return {
          ...journal,
          read: () => journal.read(),
          append: async (text: string) => {
            await new Promise((resolve) => setTimeout(resolve, 5))
            if (fails) throw new Error("The disk is full.")
            await journal.append(text)
          },
          close: () => journal.close(),
        }
      },
    }
    const thread = await Thread.open(failing, "t", new World(() => says("Hm.")).options())
    fails = true
    const [one, two] = await Promise.allSettled([thread.say("Hello.", { key: "a" }), thread.say("Hello.", { key: "a" })])
    expect([one.status, two.status]).toEqual(["rejected", "rejected"])
  })
})
