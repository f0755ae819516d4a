import { describe, expect, test } from "vitest"
import { type Host, pending } from "../../../src/hosts/host.ts"
import type { RestateContext } from "../../../src/hosts/restate/context.ts"
import { restoreSegment } from "../../../src/hosts/restate/segments.ts"
import type { SayResult } from "../../../src/hosts/restate/thread.ts"
import { calls, configOf, says as saysInTurn } from "../run/support.ts"
import { says, shown } from "../thread/support.ts"
import { TerminalError } from "./fake-errors.ts"
import { fakeSdk } from "./fake-restate.ts"
import type { FakeEngine } from "./thread-engine.ts"
import { engineOf, settled, statusOf, useClock, worldOf } from "./thread-support.ts"
import { doneOf, fine, model, Story } from "./turn-support.ts"

// Keys, ids and requests come from clients, and answers from models and tools: any value may come.

useClock()

const STRANGE = [
  "/",
  "//",
  "__proto__",
  "constructor",
  "head",
  "cursor",
  "piece:0:x",
  "turn x 1",
  "inbox",
  "a/inbox/",
  "a/INBOX",
  "a.1",
  "a b",
  "a%2Finbox",
  "..",
  "日本",
  "👩‍👩‍👧",
  "\n",
  "x".repeat(1_000),
]
const REFUSED = ["", "/inbox", "a/inbox", "a/inbox/inbox", "x".repeat(1_001), "a\0b", "\ud800", "a\udc00b"]

describe("the key of a thread", () => {
  test.each(STRANGE)("%j is one of its own", async (key) => {
    const world = worldOf((number) => says(`Answer ${number}.`))
    const engine = engineOf(world)
    await settled(engine, engine.call("agent", "a", "say", "To another thread."))
    for (const [turns, input] of [
      [1, "One."],
      [2, "Two."],
    ] as const) {
      expect(await settled(engine, engine.call<SayResult>("agent", key, "say", input))).toMatchObject({ outcome: { type: "finished" } })
      expect(await statusOf(engine, key)).toMatchObject({ turns, arrived: 0, queue: [], lastTurn: { turnId: `agent/${key}.${turns}` } })
      expect(shown(world.requests.at(-1))).not.toContain("To another thread.")
    }
    expect(await statusOf(engine, "a")).toMatchObject({ turns: 1 })
  })

  test.each(REFUSED)("%j is refused by every handler", async (key) => {
    const engine = engineOf(worldOf(() => says("Hm.")))
    const decision = { requestId: "r", digest: "d", decision: "approve" }
    const requests: readonly [Parameters<FakeEngine["call"]>[2], unknown][] = [
      ["say", "Hi"],
      ["steer", "Hi"],
      ["command", { command: { type: "pause" } }],
      ["event", { event: "e" }],
      ["decide", { decisions: [decision] }],
      ["answer", { callId: "c", answer: { output: { status: "success", value: 1 } } }],
      ["retract", { inputId: "user-1" }],
      ["cancel", {}],
      ["status", undefined],
      ["run", {}],
    ]
    for (const [handler, request] of requests)
      await expect(settled(engine, engine.call("agent", key, handler, request))).rejects.toMatchObject({
        code: 400,
        metadata: { code: "invalid_key" },
      })
    expect([...engine.state.values()].filter(({ size }) => size > 0)).toEqual([])
  })

  test("that belongs to the inbox of another thread is refused, and the other thread keeps what has arrived", async () => {
    const engine = engineOf(worldOf(() => says("Hello.")))
    await settled(engine, engine.call("agent", "a", "say", "Hi"))
    const before = JSON.stringify([...engine.stateOf("agent/a/inbox")])
    await expect(engine.call("agent", "a/inbox", "say", "Hi")).rejects.toThrow("invalid_key")
    expect(JSON.stringify([...engine.stateOf("agent/a/inbox")])).toBe(before)
  })
})

describe("what a client sends", () => {
  const ANYTHING: readonly unknown[] = [
    undefined,
    null,
    0,
    5,
    true,
    "",
    "text",
    [],
    [null],
    {},
    { input: null },
    { input: 5 },
    { input: [null] },
    { input: [{ type: "nothing" }] },
    { input: { role: "assistant", parts: [] } },
    { input: { role: "user", parts: null } },
    { input: { role: "user", id: 5, parts: [{ type: "text", text: 5 }] } },
    { input: [{ type: "text" }] },
    { input: "x", attachments: "x" },
    { input: "x", attachments: [null] },
    { input: "x", attachments: [{ mediaType: 5 }] },
    { input: "x", key: 5 },
    { input: "x", when: "__proto__" },
    { command: null },
    { command: { type: "set" } },
    { command: { type: "__proto__" } },
    { command: { type: "pause" }, key: {} },
    { event: 5 },
    { event: { toString: 1 } },
    { decisions: null },
    { decisions: "x" },
    { decisions: [null] },
    { decisions: [{}] },
    { decisions: [{ requestId: "r", digest: "d", decision: "approve" }], turnId: 5 },
    { callId: "c", answer: null },
    { callId: "c", answer: { output: null } },
    { callId: "c", answer: { output: {} } },
    { callId: "c", answer: { output: { status: "pending" } } },
    { callId: "c", answer: { output: { status: "success" } }, turnId: 5 },
    { callId: "c", answer: { output: { status: "success", value: 1 }, usage: "x" }, turnId: "agent/t1.1" },
    { inputId: null },
    { inputId: 5 },
    { inputId: "__proto__" },
    { reason: {} },
    { after: 5 },
    { after: { inbox: "x", number: "y" } },
    { after: null },
  ]
  const HANDLERS = ["say", "steer", "command", "event", "decide", "answer", "retract", "cancel", "run"] as const

  test.each(HANDLERS)(
    "to %s has an answer, or is refused with a code, and the thread continues",
    async (handler) => {
      // The turn of the thread waits for a person, and for a call that continues outside.
      const world = worldOf((number) => (number === 0 ? says("", "c=count", "d=count") : says("Done.")))
      const host: Host = { ...world.host, tools: { effects: () => "none", call: async () => pending({ token: "t" }) } }
      const engine = engineOf(world, { host, approvals: { policy: ({ callId }) => (callId === "d" ? { hold: {} } : "run") } })
      const saying = engine.call<SayResult>("agent", "t1", "say", "Begin.")
      saying.catch(() => {})
      await expect(settled(engine, saying)).rejects.toThrow("Nothing happens any more.")
      for (const request of ANYTHING) {
        const sent = engine.call("agent", "t1", handler, request)
        // What waits for the rest of the thread may wait: the turn is open.
        const [answer] = await Promise.allSettled([settled(engine, sent)])
        sent.catch(() => {})
        if (answer.status === "fulfilled" || String(answer.reason).includes("Nothing happens any more.")) continue
        expect([request, answer.reason]).toEqual([request, expect.any(TerminalError)])
        expect([request, answer.reason]).toMatchObject([request, { code: 400, metadata: { code: expect.stringMatching(/^[a-z_]+$/) } }])
      }
      await settled(engine, engine.call("agent", "t1", "cancel"))
      expect(await settled(engine, engine.call<SayResult>("agent", "t1", "say", "End."))).toMatchObject({ outcome: { type: "finished" } })
      expect(engine.faults).toEqual([])
      expect(engine.invocations.filter(({ failures }) => failures > 0)).toEqual([])
    },
    120_000,
  )

  test("and verify of the user returns nothing for is refused", async () => {
    const engine = engineOf(
      worldOf(() => says("Hm.")),
      { approvals: { verify: (() => undefined) as never } },
    )
    await expect(settled(engine, engine.call("agent", "t1", "decide", {}))).rejects.toMatchObject({ code: 400 })
  })
})

describe("the id of a turn", () => {
  test.each(["/", "__proto__", "constructor", "a rest 0", "a%20b", "日本", "x".repeat(2_000)])(
    "%j works, and its segments are its own",
    async (turnId) => {
      const story = new Story(
        { llmCall: model(calls(["a", "look"]), saysInTurn("Done.")), tools: fine },
        configOf(),
        { turnId, segment: { effects: 1 } },
        "key",
      )
      expect(await story.attempt()).toMatchObject({ type: "ended", value: { type: "suspended" } })
      const state = story.engine.stateOf("key")
      expect(state.size).toBeGreaterThan(0)
      const ctx = { get: async (name: string) => (state.has(name) ? JSON.parse(state.get(name) as string) : null) }
      expect((await restoreSegment(fakeSdk, ctx, configOf(), turnId))?.outstanding).toBeDefined()
      if (turnId.length < 1_000) expect(await restoreSegment(fakeSdk, ctx, configOf(), `${turnId} rest 0`)).toBeUndefined()
    },
  )

  test.each([undefined, null, 5, "", "a\0b", "\ud800", "x".repeat(2_001)])("%j is refused before anything is performed", async (turnId) => {
    const story = new Story({ llmCall: model(saysInTurn("Done.")) }, configOf(), { turnId: turnId as never })
    await expect(story.attempt().then(doneOf)).rejects.toMatchObject({ code: 400, metadata: { code: "invalid_turn_id" } })
    expect(story.invocation.commands).toEqual([])
  })
})

test("a token or an id of a call that is a name of every object waits for its signal as any other", async () => {
  const host: Host = {
    llmCall: model(calls(["__proto__", "look"]), saysInTurn("Done.")),
    tools: { effects: () => "none", call: async () => pending({ token: "__proto__" }) },
  }
  const waiting: unknown[] = []
  const story = new Story(host, configOf(), { onWaiting: (waits) => void waiting.push(waits) })
  const withoutSignals = {
    contextOf: (ctx: RestateContext): RestateContext => ({
      run: (name, action) => ctx.run(name, action),
      sleep: (ms) => ctx.sleep(ms),
      awakeable: () => ctx.awakeable(),
      request: () => ctx.request(),
    }),
  }
  expect(await story.attempt(withoutSignals)).toMatchObject({ type: "suspended" })
  expect(Object.entries((waiting[0] as { awakeables: object }).awakeables)).toEqual([["__proto__", expect.any(String)]])
})
