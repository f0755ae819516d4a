import { expect, test } from "vitest"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { Thread, type ThreadOptions } from "../../../src/hosts/thread/thread.ts"
import type { HeldCall } from "../../../src/wire/approval.ts"
import { CONFIG } from "../../replay/support.ts"
import { dyingStore } from "../../support/dying-store.ts"
import { says, World } from "./support.ts"

const OPTIONS: Partial<ThreadOptions> = {
  config: { ...CONFIG, tools: [{ name: "pay", description: "Pays.", inputSchema: { type: "object" } }] },
  goals: false,
  approvals: () => ({ hold: {} }),
}

/** The calls that a page shows as waiting: those of the events. */
async function shown(thread: Thread): Promise<readonly HeldCall[]> {
  const waiting = new Map<string, HeldCall>()
  for await (const event of thread.events({ live: false })) {
    if (event.type === "approval_requested") waiting.set(event.held.requestId, event.held)
    if (event.type === "approval_decided") waiting.delete(event.requestId)
  }
  return [...waiting.values()]
}

test("after a kill at any write, a call that the events show as waiting is one that the thread has, and that can be decided at once", async () => {
  let found = 0
  let isWhole = false
  for (let writes = 1; !isWhole; writes += 1) {
    const store = memoryJournalStore()
    const world = new World((_calls, { messages }) =>
      messages.some(({ blocks }) => blocks.some(({ type }) => type === "tool_result")) ? says("Done.") : says("I pay.", "c1=pay", "c2=pay"),
    )
    try {
      const thread = await Thread.open(dyingStore(store, writes), "t", world.options(OPTIONS))
      await thread.say("Pay twice.")
      await world.run(thread, { suspend: true })
      isWhole = true
    } catch (error) {
      expect(error).toHaveProperty("message", "killed")
    }
    const thread = await Thread.open(store, "t", { ...world.options(OPTIONS), takeOver: true })
    const waiting = await shown(thread)
    expect((await thread.pendingApprovals())?.held ?? [], `after ${writes} writes`).toEqual(waiting)
    if (waiting.length > 0) {
      found += 1
      const [first] = waiting
      const decision = { requestId: first?.requestId ?? "", digest: first?.digest ?? "", decision: "approve" as const }
      expect(await thread.decide([decision], { turnId: "t.1" })).toMatchObject([{ status: "accepted" }])
      expect(await thread.decide([decision], { turnId: "t.1" })).toMatchObject([{ status: "stale" }])
      expect(await shown(thread)).toEqual(waiting.slice(1))
      expect((await thread.pendingApprovals())?.held).toEqual(waiting.slice(1))
    }
    await world.run(thread, { suspend: true })
    const left = (await thread.pendingApprovals())?.held ?? []
    expect(left.length, `after ${writes} writes`).toBe(waiting.length > 0 ? 1 : writes < 2 ? 0 : 2)
    await thread.decide(left.map(({ requestId, digest }) => ({ requestId, digest, decision: "approve" })))
    await world.run(thread)
    expect(thread.openTurn).toBeUndefined()
    await thread.close()
  }
  // After the model's answer.
  expect(found).toBeGreaterThanOrEqual(1)
})
