import { describe, expect, test } from "vitest"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { snapshotThread } from "../../../src/hosts/thread/snapshot.ts"
import { Thread } from "../../../src/hosts/thread/thread.ts"
import { CONFIG } from "../../replay/support.ts"
import { opened } from "../../support/stored-text.ts"
import { says, shown, World } from "./support.ts"

const hanging = (): Promise<never> => new Promise(() => {})
const goalTools = ["create_goal", "get_goal", "update_goal"]

describe("a thread without goals", () => {
  test("shows the model no goal tools, and has no records and no text of a goal", async () => {
    const store = memoryJournalStore()
    const world = new World((calls) => (calls === 0 ? says("", "a=look") : says("Hello.")))
    const thread = await Thread.open(store, "t", world.options({ goals: false }))
    await thread.say("Hello?")
    expect(await world.run(thread)).toMatchObject({ reason: "No input waits.", outcome: { type: "finished" } })
    await thread.say("And?")
    await world.run(thread)
    await thread.close()
    expect(world.requests.flatMap(({ tools }) => tools.map(({ name }) => name)).filter((name) => goalTools.includes(name))).toEqual([])
    expect(thread.history.filter(({ type }) => type === "protocol")).toEqual([])
    expect(thread.goal).toBeNull()
    expect(world.reported).toEqual([])
    for (const name of ["t.thread", "t.1", "t.2"]) expect((await opened(store, name)).text).not.toMatch(/goal(?!s":false)/)
  })

  test("with goals, the model is shown goal tools: the test before would notice them", async () => {
    const world = new World(() => says("Hello."))
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.say("Hello?")
    await world.run(thread)
    expect(world.requests[0]?.tools.map(({ name }) => name)).toEqual(expect.arrayContaining(goalTools))
    await thread.close()
  })

  test("refuses commands, events and inputs of a goal, and records nothing; records of the host's own are noted", async () => {
    const thread = await Thread.open(memoryJournalStore(), "t", new World(() => says("Hello.")).options({ goals: false }))
    await expect(thread.command({ type: "set", objective: "Dance." })).rejects.toMatchObject({ code: "without_goals" })
    await expect(thread.event("rain")).rejects.toMatchObject({ code: "without_goals" })
    await expect(thread.note([{ type: "turn_interrupted", at: 1 }])).rejects.toMatchObject({ code: "without_goals" })
    await thread.note([], [{ type: "protocol", event: { mine: true } }])
    expect(thread.history).toEqual([{ type: "protocol", event: { mine: true } }])
    expect(thread.isCommanded).toBe(false)
    await thread.close()
  })

  test("leaves the goal that it has from before as it is; with goals again, the goal continues and is charged none of it", async () => {
    const store = memoryJournalStore()
    const world = new World((calls) => (calls === 3 ? says("", 'u=update_goal {"status":"complete"}') : says(`Answer ${calls}.`)))
    const first = await Thread.open(store, "t", world.options({ policy: { maxContinuations: 1 } }))
    await first.command({ type: "set", objective: "Dance." })
    await world.run(first)
    const before = first.goal
    expect(before).toMatchObject({ status: "paused", tokensUsed: 10 })
    await first.close()

    const second = await Thread.open(store, "t", world.options({ goals: false }))
    expect(await world.run(second)).toMatchObject({ reason: "No input waits." })
    await second.say("What is the weather?")
    world.at += 1_000_000
    await world.run(second)
    expect(world.requests).toHaveLength(2)
    expect(world.requests[1]?.tools.filter(({ name }) => goalTools.includes(name))).toEqual([])
    expect(second.goal).toEqual(before)
    await second.close()

    const third = await Thread.open(store, "t", world.options())
    await third.command({ type: "resume" })
    await world.run(third)
    expect(third.goal).toMatchObject({ status: "complete", tokensUsed: 30 })
    expect(third.goal?.secondsUsed).toBeLessThan(60)
    await third.close()
  })

  test("a turn that a crash left open ends as it began, with its goal or without", async () => {
    for (const goals of [true, false]) {
      const store = memoryJournalStore()
      const crashing = new World(hanging)
      const first = await Thread.open(store, "t", crashing.options({ goals }))
      await first.say("Look.")
      void crashing.run(first)
      while (crashing.requests.length === 0) await new Promise((resolve) => setImmediate(resolve))

      const other = { goals: !goals, takeOver: true }
      expect(await snapshotThread(store, "t", crashing.options(other))).toMatchObject({ openTurn: { turnId: "t.1" } })
      const world = new World(() => says("Done."))
      const second = await Thread.open(store, "t", world.options(other))
      await second.say("Again.", { when: "next_turn" })
      await world.run(second)
      const offered = world.requests.map(({ tools }) => tools.some(({ name }) => goalTools.includes(name)))
      expect(offered).toEqual([goals, !goals])
      expect(shown(world.requests[1])).toContain("Again.")
      await second.close()
    }
  })
})

test("executors see their turn: its usage, its iteration and its messages", async () => {
  const seen: unknown[] = []
  const world = new World((calls) => (calls === 0 ? says("", "a=look") : says("Done.")))
  const config = { ...CONFIG, tools: [{ name: "look", description: "Looks.", inputSchema: { type: "object" } }] }
  const thread = await Thread.open(memoryJournalStore(), "t", world.options({ goals: false, config }))
  await thread.say("Look.")
  await world.run(
    thread,
    {},
    {
      ...world.host,
      tools: {
        effects: () => "none",
        call: async (_call, { turn }) => {
          seen.push([turn?.usage.inputTokens, turn?.usage.outputTokens, turn?.iteration, turn?.messages.map(({ role }) => role)])
          expect(() => Object.assign(turn ?? {}, { iteration: 7 })).toThrow(TypeError)
          expect(Object.isFrozen(turn?.messages)).toBe(true)
          return { output: { status: "success", value: "seen" } }
        },
      },
    },
  )
  expect(seen).toEqual([[8, 2, 0, ["user", "assistant"]]])
  await thread.close()
})
