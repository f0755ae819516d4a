import { describe, expect, test } from "vitest"
import type { ApprovalPolicy } from "../../../src/drivers/approval/policy.ts"
import type { SayResult } from "../../../src/hosts/restate/thread.ts"
import type { InputReceipt } from "../../../src/hosts/thread/thread.ts"
import { says, shown } from "../thread/support.ts"
import type { FakeEngine } from "./thread-engine.ts"
import { engineOf, gate, settled, statusOf, useClock, worldOf } from "./thread-support.ts"

// An operator, or a script, clears state of the objects of a thread.

useClock()

const say = (engine: FakeEngine, input: string, key?: string): Promise<SayResult> =>
  settled(engine, engine.call<SayResult>("agent", "t1", "say", { input, ...(key !== undefined && { key }) }))

/** A thread that has had two turns, so that its inbox has counted. */
async function spokenTo(world = worldOf((calls) => says(`Answer ${calls}.`))) {
  const engine = engineOf(world)
  await say(engine, "One.")
  await say(engine, "Two.")
  return { engine, world }
}

const text = (result: SayResult): unknown => (result.outcome?.type === "finished" ? result.outcome.finish : undefined)

describe("an inbox whose state is cleared", () => {
  test("between two inputs receives the next one", async () => {
    const { engine, world } = await spokenTo()
    engine.stateOf("agent/t1/inbox").clear()
    expect(text(await say(engine, "Three."))).toMatchObject({ text: "Answer 2." })
    expect(shown(world.requests[2])).toContain("Two.")
    expect(text(await say(engine, "Four."))).toMatchObject({ text: "Answer 3." })
    expect(await statusOf(engine)).toMatchObject({ turns: 4, queue: [], arrived: 0 })
  })

  test("while a turn waits for a person still wakes the turn with the next input", async () => {
    const hold: ApprovalPolicy = () => ({ hold: {} })
    const world = worldOf((calls) => (calls === 0 ? says("", "a=count") : says("Done.")))
    const engine = engineOf(world, { approvals: { policy: hold } })
    const saying = engine.call<SayResult>("agent", "t1", "say", "Begin.")
    await expect(settled(engine, saying)).rejects.toThrow("Nothing happens any more.")
    engine.stateOf("agent/t1/inbox").clear()
    const [held] = (await statusOf(engine)).held
    const decisions = [{ requestId: held?.requestId, digest: held?.digest, decision: "reject", message: "No." }]
    expect(await settled(engine, engine.call("agent", "t1", "decide", { decisions }))).toMatchObject([{ status: "accepted" }])
    expect(text(await settled(engine, saying))).toMatchObject({ text: "Done." })
  })

  test("while an input waits in it refuses that input, and says so; the same key then works", async () => {
    const { engine, world } = await spokenTo()
    // The input arrives, and the run that would receive it does not begin.
    engine.killsAt = (step) => {
      if (!step.startsWith("run get head")) return false
      engine.killsAt = undefined
      engine.stateOf("agent/t1/inbox").clear()
      return false
    }
    await expect(say(engine, "Three.", "k3")).rejects.toMatchObject({ name: "TerminalError", code: 500, metadata: { code: "request_lost" } })
    expect(world.requests).toHaveLength(2)
    expect(text(await say(engine, "Three.", "k3"))).toMatchObject({ text: "Answer 2." })
    expect(await statusOf(engine)).toMatchObject({ turns: 3, queue: [], arrived: 0 })
  })

  test("of one item refuses that one, and hands out the others", async () => {
    const { engine, world } = await spokenTo()
    let lost = false
    engine.killsAt = (step) => {
      if (lost || !step.startsWith("take get item:")) return false
      lost = true
      engine.stateOf("agent/t1/inbox").delete(step.slice("take get ".length))
      return false
    }
    const [three, four] = await Promise.allSettled([say(engine, "Three."), engine.call<InputReceipt>("agent", "t1", "steer", "Four.")])
    expect(three).toMatchObject({ status: "rejected", reason: { metadata: { code: "request_lost" } } })
    expect(four).toMatchObject({ status: "fulfilled" })
    expect(text(await say(engine, "Five."))).toBeDefined()
    expect(shown(world.requests.at(-1))).toContain("Four.")
  })
})

describe("a thread whose state is cleared", () => {
  test("begins anew, also if its inbox is not cleared", async () => {
    const { engine, world } = await spokenTo()
    engine.stateOf("agent/t1").clear()
    expect(text(await say(engine, "Hello."))).toMatchObject({ text: "Answer 2." })
    expect(shown(world.requests[2])).not.toContain("Two.")
    expect(await statusOf(engine)).toMatchObject({ turns: 1, queue: [], arrived: 0 })
  })

  test("begins anew if both are cleared", async () => {
    const { engine } = await spokenTo()
    engine.state.clear()
    expect(text(await say(engine, "Hello."))).toMatchObject({ text: "Answer 2." })
    expect(await statusOf(engine)).toMatchObject({ turns: 1 })
  })

  test("while a turn runs is refused from then on: its log is not whole", async () => {
    const second = gate<void>()
    const world = worldOf(async (calls) => {
      if (calls === 1) await second.promise
      return says(`Answer ${calls}.`)
    })
    const engine = engineOf(world)
    await say(engine, "One.")
    const saying = engine.call<SayResult>("agent", "t1", "say", "Two.")
    await expect(Promise.race([saying, new Promise((resolve) => setTimeout(resolve, 50))])).resolves.toBeUndefined()
    engine.stateOf("agent/t1").clear()
    second.open()
    expect(text(await settled(engine, saying))).toMatchObject({ text: "Answer 1." })
    await expect(say(engine, "Three.")).rejects.toMatchObject({ name: "TerminalError", metadata: { code: "state_lost" } })
    await expect(settled(engine, engine.call("agent", "t1", "cancel"))).rejects.toMatchObject({ metadata: { code: "state_lost" } })
    expect(world.requests).toHaveLength(2)
  })

  test("of one piece of its log is refused, and nothing is recorded", async () => {
    const { engine, world } = await spokenTo()
    const state = engine.stateOf("agent/t1")
    const pieces = [...state.keys()].filter((key) => key.startsWith("piece:"))
    expect(pieces.length).toBeGreaterThan(2)
    for (const piece of [pieces[0], pieces.at(-1)] as string[]) {
      const kept = state.get(piece) as string
      state.delete(piece)
      await expect(say(engine, "Three.")).rejects.toMatchObject({ metadata: { code: "state_lost" } })
      state.set(piece, kept)
    }
    expect(world.requests).toHaveLength(2)
    // The inputs that were refused are in the inbox, and a thread that is whole again receives them.
    await say(engine, "Four.")
    expect(shown(world.requests.at(-1))).toContain("Four.")
  })

  test("of the reason why it rests runs again, and rests", async () => {
    const { engine } = await spokenTo()
    const state = engine.stateOf("agent/t1")
    for (const key of [...state.keys()]) if (key.startsWith("rest")) state.delete(key)
    expect(
      await settled(engine, engine.call("agent", "t1", "run", { after: { inbox: JSON.parse(state.get("cursor") as string).inbox, number: 0 } })),
    ).toMatchObject({
      type: "rested",
      rest: { outcome: { type: "finished" } },
    })
  })

  test("of a stored segment ends that turn, and no call runs again", async () => {
    const ran: string[] = []
    const world = worldOf((calls) => (calls < 3 ? says("", `c${calls}=count`) : says("Done.")))
    const engine = engineOf(world, {
      segment: { effects: 1 },
      host: {
        ...world.host,
        tools: {
          effects: () => "once",
          call: async (_call, { idempotencyKey = "" }) => {
            ran.push(idempotencyKey)
            return { output: { status: "success", value: 1 } }
          },
        },
      },
    })
    let cleared = false
    engine.killsAt = (step) => {
      if (cleared || !step.startsWith("run set begun") || !step.includes("null")) return false
      cleared = true
      setImmediate(() => {
        const state = engine.stateOf("agent/t1")
        for (const key of [...state.keys()]) if (key.startsWith("turn ")) state.delete(key)
      })
      return false
    }
    const result = await say(engine, "Count.")
    expect(cleared).toBe(true)
    expect(result.outcome).toMatchObject({ type: "stopped" })
    expect(new Set(ran).size).toBe(ran.length)
    expect(text(await say(engine, "Again."))).toBeDefined()
  })
})
