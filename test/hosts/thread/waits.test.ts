import { describe, expect, test } from "vitest"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { Thread } from "../../../src/hosts/thread/thread.ts"
import { says, shown, World } from "./support.ts"

const HOUR = 3_600_000
const DONE = [says("", 'u=update_goal {"status":"complete"}'), says("Done.")]
const world = () => new World((calls) => DONE[calls] ?? says("More."))

async function waiting(given: World, wait: { readonly until?: number; readonly event?: string }): Promise<Thread> {
  const thread = await Thread.open(memoryJournalStore(), "t", given.options())
  await thread.command({ type: "set", objective: "Count." })
  await thread.command({ type: "wait", ...wait })
  return thread
}

describe("a goal that waits", () => {
  test("for a time is reported at the beginning and every 30 minutes, without a model call", async () => {
    const given = world()
    const thread = await waiting(given, { until: given.at + 2 * HOUR })
    const reports: number[] = []
    const from = given.at
    await given.run(thread, {
      maxWaitMs: 3 * HOUR,
      onWaiting: ({ wait }) => reports.push((given.at - from) / 60_000, wait.until === undefined ? 0 : 1),
    })
    expect(reports.filter((_value, index) => index % 2 === 0)).toEqual([0, 30, 60, 90])
    expect(given.at - from).toBeGreaterThanOrEqual(2 * HOUR)
    expect(thread.goal).toMatchObject({ status: "complete" })
    await thread.close()
  })

  test("longer than the run may wait rests with what it waits for", async () => {
    const given = world()
    const until = given.at + HOUR
    const thread = await waiting(given, { until })
    expect(await given.run(thread)).toMatchObject({ notBefore: until, wait: { until } })
    expect(given.requests).toEqual([])
    await thread.close()
  })

  test.each([
    ["its event", (thread: Thread) => thread.event("ci")],
    ["a message", (thread: Thread) => thread.say("Go on.")],
    ["a resume", (thread: Thread) => thread.command({ type: "resume" })],
  ])("for an event continues at once with %s", async (_what, act) => {
    const given = world()
    const thread = await waiting(given, { event: "ci" })
    // This wait ends only when it is aborted.
    const running = given.run(thread, { wait: (_until, signal) => new Promise((resolve) => signal?.addEventListener("abort", () => resolve())) })
    await new Promise((resolve) => setTimeout(resolve, 10))
    expect(given.requests).toEqual([])
    await act(thread)
    await running
    expect(thread.goal).toMatchObject({ status: "complete" })
    await thread.close()
  })

  test("for another event does not continue, and rests after the longest wait", async () => {
    const given = world()
    const thread = await waiting(given, { event: "ci" })
    await thread.event("rain")
    expect(await given.run(thread)).toMatchObject({ wait: { event: "ci" } })
    expect(given.waits).toEqual([600_000])
    expect(given.requests).toEqual([])
    await thread.close()
  })

  test("continues after an event that happened during the turn that began the wait", async () => {
    const given = new World(async (calls) => {
      if (calls > 0) return DONE[calls - 1] ?? says("More.")
      await thread.event("ci")
      await thread.command({ type: "wait", event: "ci" })
      return says("I started it.")
    })
    const thread = await Thread.open(memoryJournalStore(), "t", given.options())
    await thread.command({ type: "set", objective: "Count." })
    await given.run(thread)
    expect(given.waits).toEqual([])
    expect(shown(given.requests[1])).toContain("ci")
    expect(thread.goal).toMatchObject({ status: "complete" })
    await thread.close()
  })
})
