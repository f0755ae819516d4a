import { describe, expect, test } from "vitest"
import type { ApprovalPolicy } from "../../../src/drivers/approval/policy.ts"
import { signRequest, verifyDecision } from "../../../src/hosts/approval/sign.ts"
import { type Host, pending } from "../../../src/hosts/host.ts"
import type { DecisionResult } from "../../../src/hosts/journal/outside-answers.ts"
import type { RestateThreadOptions, SayResult } from "../../../src/hosts/restate/thread.ts"
import type { HeldCall } from "../../../src/wire/approval.ts"
import type { LlmResponse } from "../../../src/wire/llm.ts"
import { CONFIG } from "../../replay/support.ts"
import { says, shown } from "../thread/support.ts"
import type { FakeEngine } from "./thread-engine.ts"
import { engineOf, optionsOf, statusOf, until, useClock, worldOf } from "./thread-support.ts"

useClock()

const spec = (name: string) => ({ name, description: name, inputSchema: { type: "object" } })
const HOLD_PAY: ApprovalPolicy = ({ toolName }) => (toolName === "pay" ? { hold: {} } : "run")
const PAYS = says("", 'p1=pay {"for":"tea"}', "l1=look")

interface Story {
  readonly engine: FakeEngine
  readonly world: ReturnType<typeof worldOf>
  readonly ran: string[]
  readonly saying: Promise<SayResult>
  readonly held: HeldCall
  readonly options: RestateThreadOptions
}

/** A turn that waits for a decision about its first call. */
async function heldStory(
  more: Partial<RestateThreadOptions> = {},
  first: LlmResponse = PAYS,
  begin: (engine: FakeEngine) => Promise<unknown> = (engine) => engine.call<SayResult>("agent", "t1", "say", "Pay."),
): Promise<Story> {
  const ran: string[] = []
  const world = worldOf((calls) => (calls === 0 ? first : says("Done.")))
  const host: Host = {
    ...world.host,
    tools: {
      effects: () => "once",
      call: async ({ callId, args }) => {
        ran.push(`${callId} ${JSON.stringify(args)}`)
        return { output: { status: "success", value: "done" } }
      },
    },
  }
  const options = optionsOf(world, { config: { ...CONFIG, tools: ["pay", "look"].map(spec) }, host, approvals: { policy: HOLD_PAY }, ...more })
  const engine = engineOf(world, options)
  const saying = begin(engine) as Promise<SayResult>
  saying.catch(() => {})
  await until(async () => (await statusOf(engine)).held.length === 1)
  const [held] = (await statusOf(engine)).held
  return { engine, world, ran, saying, held: held as HeldCall, options }
}

const approve = ({ requestId, digest }: HeldCall, more: object = {}) => ({ requestId, digest, decision: "approve", ...more })

describe("a held call", () => {
  test("is decided from outside, and runs once", async () => {
    const { engine, ran, saying, held, world } = await heldStory()
    expect(ran).toEqual(["l1 {}"])
    expect(held).toMatchObject({ callId: "p1", toolName: "pay" })
    const decide = (decisions: readonly object[]) => engine.call<readonly DecisionResult[]>("agent", "t1", "decide", { decisions })
    expect(await decide([{ ...approve(held), digest: "0-0" }])).toMatchObject([{ status: "refused", code: "digest_mismatch" }])
    expect(await decide([{ ...approve(held), requestId: "r9" }])).toMatchObject([{ status: "refused", code: "unknown_request" }])
    expect(await decide([approve(held)])).toMatchObject([{ requestId: held.requestId, status: "accepted" }])
    expect(await saying).toMatchObject({ outcome: { finish: { text: "Done." } } })
    expect(ran).toEqual(["l1 {}", 'p1 {"for":"tea"}'])
    expect(world.requests).toHaveLength(2)
    expect(await decide([approve(held)])).toMatchObject([{ status: "stale" }])
    expect(await decide([approve(held, { decision: "reject" })])).toMatchObject([{ status: "refused" }])
    expect(ran).toHaveLength(2)
  })

  test("waits over kills of the service, and nothing runs twice", async () => {
    const { engine, ran, saying, held } = await heldStory()
    for (let kill = 0; kill < 3; kill += 1) {
      engine.crash()
      await until(async () => (await statusOf(engine)).held.length === 1)
    }
    engine.killsAt = (step) => {
      if (step !== "run set progress") engine.killsAt = undefined
      return true
    }
    expect(await engine.call("agent", "t1", "decide", { decisions: [approve(held)] })).toMatchObject([{ status: "accepted" }])
    await saying
    expect(ran).toEqual(["l1 {}", 'p1 {"for":"tea"}'])
  })

  test("of a turn that is cancelled does not run", async () => {
    const { engine, ran, saying } = await heldStory()
    expect(await engine.call("agent", "t1", "cancel", { reason: "No." })).toMatchObject({ wasRunning: true })
    expect(await saying).toMatchObject({ outcome: { type: "stopped", stop: { type: "cancelled" } } })
    expect(ran).toEqual(["l1 {}"])
  })

  test("of a goal that is paused does not run, and the turn ends", async () => {
    const { engine, ran } = await heldStory({}, PAYS, async (own) => {
      await own.call("agent", "t1", "command", { command: { type: "set", objective: "Pay for tea." } })
    })
    await engine.call("agent", "t1", "command", { command: { type: "pause" } })
    await until(async () => (await statusOf(engine)).rest !== undefined)
    expect(await statusOf(engine)).toMatchObject({ goal: { status: "paused" }, held: [], lastTurn: { outcome: { type: "stopped" } } })
    expect(ran).toEqual(["l1 {}"])
  })

  test("expires", async () => {
    const { saying, ran, world } = await heldStory({ approvals: { policy: HOLD_PAY, ttlMs: 60_000 } })
    expect(await saying).toMatchObject({ outcome: { finish: { text: "Done." } } })
    expect(ran).toEqual(["l1 {}"])
    expect(shown(world.requests[1])).toContain("did not come in time")
  })

  test("takes only decisions that are verified", async () => {
    const secret = "0123456789abcdef"
    const { engine, ran, saying, held } = await heldStory({
      approvals: {
        policy: HOLD_PAY,
        verify: async (given, { now }) => {
          const { turnId, decision } = await verifyDecision(secret, given as never, { now, by: "ann" })
          return { turnId, decisions: [decision] }
        },
      },
    })
    const request = await signRequest(secret, { turnId: "agent/t1.1", held })
    await expect(engine.call("agent", "t1", "decide", { request: { ...request, turnId: "x" }, decision: approve(held) })).rejects.toMatchObject({
      code: 403,
    })
    await expect(engine.call("agent", "t1", "decide", { decisions: [approve(held)] })).rejects.toThrow("invalid_request")
    expect(ran).toEqual(["l1 {}"])
    expect(await engine.call("agent", "t1", "decide", { request, decision: approve(held) })).toMatchObject([{ status: "accepted" }])
    await saying
    expect(ran).toHaveLength(2)
  })
})

test("a call that continues outside gets its result from outside, also after a kill", async () => {
  const world = worldOf((calls) => (calls === 0 ? says("", "j1=job") : says("Done.")))
  const host: Host = { ...world.host, tools: { effects: () => "once", call: async () => pending({ token: "job-7" }) } }
  const engine = engineOf(world, { host, config: { ...CONFIG, tools: [spec("job")] } })
  const saying = engine.call<SayResult>("agent", "t1", "say", "Begin.")
  await until(async () => (await statusOf(engine)).pending.length === 1)
  engine.crash()
  const answer = { output: { status: "success", value: 42 } }
  expect(await engine.call("agent", "t1", "answer", { callId: "j2", answer })).toMatchObject({ status: "refused", code: "unknown_call" })
  expect(await engine.call("agent", "t1", "answer", { callId: "j1", answer })).toMatchObject({ status: "accepted" })
  expect(await saying).toMatchObject({ outcome: { finish: { text: "Done." } } })
  expect(shown(world.requests[1])).toContain("42")
})
