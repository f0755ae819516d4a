import { describe, expect, test } from "vitest"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { Thread } from "../../../src/hosts/thread/thread.ts"
import { dyingStore } from "../../support/dying-store.ts"
import { says, shown, World } from "./support.ts"

const hanging = (): Promise<never> => new Promise(() => {})

describe("an interrupt", () => {
  test("ends the running turn at once, pauses the goal, and the run continues with the user's message", async () => {
    const world = new World(async (calls) => {
      if (calls > 0) return says("Singing.")
      await thread.say("Sing instead.", { when: "next_turn" })
      await thread.interrupt("Enough.")
      return hanging()
    })
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command({ type: "set", objective: "Dance." })
    const rest = await world.run(thread)
    expect(rest.reason).toBe("Paused by an interrupt. Resume to continue.")
    expect(rest.outcome).toMatchObject({ type: "finished" })
    expect(thread.turns).toBe(2)
    expect(shown(world.requests[1])).toContain("Sing instead.")
    await thread.close()
  })

  test("after a pause: the pause of the user counts, and is not refused because the interrupt paused the goal", async () => {
    const world = new World(async () => {
      await thread.command({ type: "pause" })
      thread.interrupt()
      return hanging()
    })
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command({ type: "set", objective: "Dance." })
    await world.run(thread)
    expect(thread.goal).toMatchObject({ status: "paused" })
    expect(thread.goal?.reason ?? "").not.toContain("interrupt")
    expect(world.reported.map(({ type }) => type)).not.toContain("refused")
    expect(world.requests).toHaveLength(1)
    await thread.close()
  })

  test("a command that follows it takes effect after it", async () => {
    const world = new World(async (calls) => {
      if (calls === 1) return says("", 'u=update_goal {"status":"complete"}')
      if (calls > 1) return says("Done.")
      thread.interrupt()
      await thread.command({ type: "resume" })
      return hanging()
    })
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command({ type: "set", objective: "Dance." })
    await world.run(thread)
    expect(thread.goal).toMatchObject({ status: "complete" })
    expect(thread.turns).toBe(2)
    await thread.close()
  })

  test("charges what the call used before a pause; without a report, an estimate of its prompt", async () => {
    const pausing = (usage?: object): World =>
      new World(async (calls, _request, signal) => {
        if (calls === 0) return says("", "a=look")
        await opened.command({ type: "pause" })
        opened.interrupt()
        if (usage === undefined) return hanging()
        if (!signal.aborted) throw new Error("The call is not aborted.")
        throw Object.assign(new Error("aborted"), { partial: { text: "Half", parts: [{ type: "text", text: "Half" }], usage } })
      })
    let opened: Thread
    const first = pausing()
    opened = await Thread.open(memoryJournalStore(), "t", first.options())
    await opened.command({ type: "set", objective: "Dance." })
    await first.run(opened)
    const { tokensUsed = 0 } = opened.goal ?? {}
    // The first call, and a request of some hundred characters.
    expect(tokensUsed).toBeGreaterThan(10 + 50)
    await opened.close()

    const priced = pausing()
    const lostUsage = () => ({ inputTokens: 7, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 })
    opened = await Thread.open(memoryJournalStore(), "t", priced.options({ lostUsage, goal: { costMicros: ({ inputTokens }) => inputTokens } }))
    await opened.command({ type: "set", objective: "Dance.", costBudgetMicros: 1_000 })
    await priced.run(opened)
    expect(opened.goal).toMatchObject({ status: "paused", tokensUsed: 17, costUsedMicros: 15 })
    await opened.close()
  })

  test("before a run ends the turn that a crash left open when it is resumed, and only that turn", async () => {
    const store = memoryJournalStore()
    const crashing = new World(hanging)
    const first = await Thread.open(store, "t", crashing.options())
    await first.say("Look.")
    void crashing.run(first)
    while (crashing.requests.length === 0) await new Promise((resolve) => setImmediate(resolve))

    const world = new World(() => says("Done."))
    const thread = await Thread.open(store, "t", world.options({ takeOver: true }))
    thread.interrupt()
    await thread.say("Again.")
    const { outcome } = await world.run(thread)
    expect(world.requests).toHaveLength(1)
    expect(shown(world.requests[0])).toContain("Again.")
    expect(outcome).toMatchObject({ type: "finished" })
    await thread.close()
  })

  test("without an open turn does nothing", async () => {
    const world = new World(() => says("Done."))
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    thread.interrupt()
    await thread.say("Look.")
    expect(await thread.interrupt()).toEqual({ returned: [] })
    expect(thread.queue()).toHaveLength(1)
    expect((await world.run(thread)).outcome).toMatchObject({ type: "finished" })
    await thread.close()
  })
})

describe("the inputs that a turn has not received", () => {
  /** A turn that is interrupted while inputs of all kinds wait. */
  const interrupted = async (store = memoryJournalStore(), stop: (thread: Thread, controller: AbortController) => unknown = () => {}) => {
    const controller = new AbortController()
    const world = new World(async (calls) => {
      if (calls > 0) return says("Done.")
      await thread.say("At the end.", { when: "turn_end", key: "k" })
      await thread.say("Next.", { when: "next_turn" })
      await thread.say("Now.")
      await stop(thread, controller)
      return hanging()
    })
    const thread = await Thread.open(store, "t", world.options({ goals: false }))
    await thread.say("Dance.")
    await world.run(thread, { signal: controller.signal })
    return { world, thread }
  }

  test("are returned, and never delivered, except for those that wait for the next turn", async () => {
    const store = memoryJournalStore()
    let returned: readonly unknown[] = []
    const { world, thread } = await interrupted(store, async (open) => {
      returned = (await open.interrupt()).returned
    })
    expect(returned).toMatchObject([
      { inputId: "user-4", when: "now", message: { parts: [{ text: "Now." }] } },
      { inputId: "user-2", when: "turn_end", key: "k", message: { parts: [{ text: "At the end." }] } },
    ])
    expect(world.requests).toHaveLength(2)
    expect(shown(world.requests[1])).toContain("Next.")
    expect(shown(world.requests[1])).not.toMatch(/Now\.|At the end\./)
    expect(await thread.retract("user-4")).toBe("retracted")
    expect((await thread.interrupt()).returned).toEqual([])
    await thread.close()

    const later = await Thread.open(store, "t", world.options({ goals: false }))
    expect(later.queue()).toEqual([])
    expect(await later.retract("user-2")).toBe("retracted")
    await later.close()
  })

  test("all stay if the signal of the run is aborted", async () => {
    const { world, thread } = await interrupted(memoryJournalStore(), (_thread, controller) => controller.abort())
    expect(thread.queue().map(({ inputId }) => inputId)).toEqual(["user-4", "user-2", "user-3"])
    await world.run(thread)
    expect(shown(world.requests.at(-1))).toMatch(/Now\..*At the end\..*Next\./)
    await thread.close()
  })

  test("are queued after a crash, unless the promise of the interrupt has resolved", async () => {
    const results = new Set<string>()
    for (let writes = 3; writes < 14; writes += 1) {
      const store = memoryJournalStore()
      let isReturned = false
      await interrupted(dyingStore(store, writes), async (open) => {
        await open.interrupt()
        isReturned = true
      }).catch((error: unknown) => expect(error).toMatchObject({ message: "killed" }))
      const world = new World(() => says("Done."))
      const later = await Thread.open(store, "t", world.options({ goals: false, takeOver: true }))
      const queue = later.queue().map(({ inputId }) => inputId)
      if (isReturned) expect(queue.filter((inputId) => inputId !== "user-3")).toEqual([])
      await world.run(later)
      const all = shown(world.requests.at(-1))
      const isDelivered = all.includes("Now.")
      if (isReturned) expect(isDelivered).toBe(false)
      expect(isDelivered).toBe(queue.includes("user-4"))
      results.add(`${isReturned} ${isDelivered}`)
      await later.close()
    }
    expect([...results].sort()).toEqual(["false false", "false true", "true false"])
  })
})
