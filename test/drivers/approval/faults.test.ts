import { describe, expect, test } from "vitest"
import { approvalDriver } from "../../../src/drivers/approval/driver.ts"
import type { ApprovalPolicy } from "../../../src/drivers/approval/policy.ts"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { goalDriver } from "../../../src/drivers/goal/driver.ts"
import { requestPrefix } from "../../../src/replay/prefix.ts"
import type { LlmRequest } from "../../../src/schemas/llm.ts"
import { configOf, delivers, moved, pollAll, refusal, respond, results, userMessage } from "../../machine/support.ts"
import {
  approvals,
  approves,
  asks,
  batch,
  batchOf,
  begun,
  call,
  callIds,
  configWith,
  decides,
  decision,
  failures,
  HOLD_PAY,
  heldIds,
  LOOK,
  PAY,
  ran,
  released,
  resultTexts,
} from "./support.ts"

const CONFIG = configWith(HOLD_PAY)

describe("what went wrong for others", () => {
  test("decisions matched by position: each decision names its call, in any order", () => {
    const machine = batchOf(CONFIG, call("a", "pay", { eur: 1 }), call("b", "pay", { eur: 2 }), call("c", "pay", { eur: 3 }))
    const effects = decides(machine, [
      decision(machine, "c", { decision: "approve" }),
      decision(machine, "a", { decision: "reject" }),
      decision(machine, "b", { decision: "approve" }),
    ])
    expect(released(effects)).toEqual([
      { callId: "c", args: { eur: 3 } },
      { callId: "b", args: { eur: 2 } },
    ])
    expect(failures(effects)).toEqual({ a: "rejected" })
  })

  test("all or nothing: each call is decided by itself, and those that may run do not wait", () => {
    const machine = batchOf(CONFIG, call("a"), call("b"), call("c", "look"))
    expect(callIds(machine)).toEqual(["c"])
    respond(machine, results(2, ran("c", "look")))
    approves(machine, "b")
    respond(machine, results(2, ran("b")))
    expect([callIds(machine), heldIds(machine)]).toEqual([[], ["a"]])
  })

  test("a sticky decision that loses to an older exact one: a call follows the decision about itself, and others the grant", () => {
    const machine = batchOf(CONFIG, call("a"), call("b"), call("c"))
    decides(machine, [decision(machine, "a", { decision: "reject" })])
    const effects = approves(machine, "b", { scope: "thread" } as never)
    expect(released(effects).map(({ callId }) => callId)).toEqual(["b", "c"])
    expect(resultTexts(machine)).toEqual({})
    respond(machine, results(2, ran("b"), ran("c")))
    respond(machine, delivers(3))
    respond(machine, asks(4, call("d")))
    expect(callIds(machine)).toEqual(["d"])
  })

  test("a policy that is asked again on resume, and answers otherwise", () => {
    const other = (answer: "run" | { readonly deny: string }): ApprovalPolicy => {
      return () => answer
    }
    for (const answer of ["run", { deny: "No." }] as const) {
      const machine = moved(batchOf(CONFIG, call("a"), call("b", "look")), configWith(other(answer)))
      pollAll(machine)
      expect([callIds(machine), heldIds(machine)]).toEqual([["b"], ["a"]])
      expect(released(approves(machine, "a")).map(({ callId }) => callId)).toEqual(["a"])
    }
  })

  test("arguments that change between approval and run: a decision names a digest of them", () => {
    const machine = batchOf(CONFIG, call("a", "pay", { eur: 5 }))
    const shown = batchOf(CONFIG, call("a", "pay", { eur: 1 }))
    expect(refusal(() => decides(machine, [decision(shown, "a", { decision: "approve" })])).code).toBe("digest_mismatch")
    expect(heldIds(machine)).toEqual(["a"])
  })

  test("an edit that escapes the policy: it is asked once more, a denial wins, and a hold counts as granted", () => {
    const asked: unknown[] = []
    const policy: ApprovalPolicy = ({ args }, { edited }) => {
      const { eur } = args as { readonly eur: number }
      asked.push([eur, edited])
      return eur > 100 ? { deny: "At most 100." } : { hold: {} }
    }
    const machine = batchOf(configWith(policy), call("a", "pay", { eur: 5 }), call("b", "pay", { eur: 6 }))
    const effects = decides(machine, [
      decision(machine, "a", { decision: "edit", args: { eur: 500 } }),
      decision(machine, "b", { decision: "edit", args: { eur: 50 } }),
    ])
    expect(released(effects)).toEqual([{ callId: "b", args: { eur: 50 } }])
    expect(failures(effects)).toEqual({ a: "denied_by_policy" })
    expect(asked).toEqual([
      [5, undefined],
      [6, undefined],
      [500, true],
      [50, true],
    ])
    respond(machine, results(2, ran("b")))
    expect(resultTexts(machine)["a"]).toContain("At most 100.")
    expect(resultTexts(machine)["a"]).not.toContain("Ran with")
  })

  test("a policy that fails at an edit: nothing runs", () => {
    const policy: ApprovalPolicy = (_call, { edited }) => {
      if (edited) throw new Error("boom")
      return { hold: {} }
    }
    const machine = batchOf(configWith(policy), call("a"))
    const effects = decides(machine, [decision(machine, "a", { decision: "edit", args: {} })])
    expect(released(effects)).toEqual([])
    expect(machine.outcome).toMatchObject({ stop: { type: "runtime_error", error: { code: "policy_threw" } } })
  })

  test("a model that repeats the unedited call: it reads what ran, and its new call is asked about", () => {
    const machine = batchOf(CONFIG, call("a", "pay", { eur: 500 }))
    decides(machine, [decision(machine, "a", { decision: "edit", args: { eur: 5 } })])
    respond(machine, results(2, ran("a")))
    expect(resultTexts(machine)["a"]).toContain('changed by the user: {"eur":5}')
    respond(machine, delivers(3))
    respond(machine, asks(4, call("b", "pay", { eur: 500 })))
    expect(heldIds(machine)).toEqual(["b"])
  })

  test("an edit that rewrites the transcript: the next request begins with the last one", () => {
    const machine = begun(CONFIG)
    const requests: LlmRequest[] = []
    const request = (): void => {
      if (machine.outstanding?.type === "llm_call") requests.push(machine.outstanding.request)
    }
    request()
    respond(machine, asks(1, call("a", "pay", { eur: 500 })))
    decides(machine, [decision(machine, "a", { decision: "edit", args: { eur: 5 } })])
    respond(machine, results(2, ran("a")))
    respond(machine, delivers(3))
    request()
    const [before, after] = requests
    if (before === undefined || after === undefined) throw new Error("Two requests are needed.")
    expect(requestPrefix(before, after)).toEqual({ stable: true })
    expect(JSON.stringify(after.messages)).toContain("500")
  })

  test("a denial that reads as success: every call that did not run is an error, and says so", () => {
    const policy: ApprovalPolicy = ({ callId }) => (callId === "p" ? { deny: "Not at night." } : { hold: {} })
    const machine = batchOf(configWith(policy), call("p"), call("r"), call("e"), call("c"), call("g"), call("s"))
    decides(machine, [
      decision(machine, "r", { decision: "reject" }),
      decision(machine, "e", { decision: "expired" }),
      decision(machine, "c", { decision: "cancelled" }),
      decision(machine, "g", { decision: "reject", scope: "turn" }),
    ])
    const parts = machine.messages.flatMap((message) => message.parts.flatMap((part) => (part.type === "tool_result" ? [part] : [])))
    expect(parts.map(({ callId, isError }) => [callId, isError])).toEqual(["p", "r", "e", "c", "g", "s"].map((callId) => [callId, true]))
    for (const { text } of parts) expect(text).toMatch(/did not run/)
  })

  test("expiry by a wall clock: only the time of a response counts", () => {
    const config = configWith(HOLD_PAY, { ttlMs: 100 })
    const undated = batchOf(config, call("a"), call("b"))
    const response = { type: "tool_decisions", id: 2, decisions: [decision(undated, "a", { decision: "approve" })] } as const
    expect(released(respond(undated, response)).map(({ callId }) => callId)).toEqual(["a"])
    expect(failures(approves(undated, "b", {}, 1_100))).toEqual({ b: "approval_expired" })
    const inTime = batchOf(config, call("a"))
    expect(released(approves(inTime, "a", {}, 1_099))).toHaveLength(1)
  })

  test("free text that is taken for an answer: a message decides nothing", () => {
    const machine = batchOf(CONFIG, call("a"))
    machine.apply([{ type: "append_events", events: [{ type: "conversation", message: userMessage("Yes, approve it. Go ahead.", "u2") }] }])
    pollAll(machine)
    expect(heldIds(machine)).toEqual(["a"])
    expect(refusal(() => respond(machine, results(2, ran("a")))).code).toBe("call_is_held")
  })

  test("nested approvals that are lost: a decision reaches the call through every wrapper and process", () => {
    const goal = { threadId: "t1", turnId: "turn-1", startedAt: 0 }
    const driver = goalDriver(approvalDriver(goalDriver(chatDriver(), { ...goal, threadId: "t2" }), { policy: HOLD_PAY }), goal)
    const config = configOf({ driver, tools: [PAY, LOOK] })
    let machine = begun(config)
    respond(machine, asks(1, call("a"), call("b")))
    machine = moved(machine, config)
    pollAll(machine)
    expect(released(approves(machine, "b")).map(({ callId }) => callId)).toEqual(["b"])
    expect(heldIds(machine)).toEqual(["a"])
  })

  test("state in memory only: a turn continues between any two decisions in another process", () => {
    let machine = batchOf(CONFIG, call("a"), call("b"), call("c"), call("d", "look"))
    const move = (): void => {
      machine = moved(machine, configWith(HOLD_PAY))
      pollAll(machine)
    }
    move()
    approves(machine, "c", { by: "ann" })
    move()
    expect(callIds(machine)).toEqual(["c", "d"])
    decides(machine, [decision(machine, "a", { decision: "edit", args: { eur: 1 } })])
    move()
    expect(batch(machine).calls.map(({ callId, args }) => [callId, args])).toEqual([
      ["a", { eur: 1 }],
      ["c", {}],
      ["d", {}],
    ])
    decides(machine, [decision(machine, "b", { decision: "reject", scope: "thread" })])
    move()
    respond(machine, results(2, ran("a"), ran("c"), ran("d", "look")))
    move()
    expect(Object.keys(resultTexts(machine))).toEqual(["a", "b", "c", "d"])
    expect(approvals(machine)).toHaveLength(4)
  })

  test("two deciders: the first decision counts, and a contrary one is refused with the name of the first", () => {
    const machine = batchOf(CONFIG, call("a"))
    const first = decision(machine, "a", { decision: "reject" }, { by: "ann" })
    const second = decision(machine, "a", { decision: "approve" }, { by: "ben" })
    const other = batchOf(CONFIG, call("a"), call("x"))
    decides(other, [first])
    expect(other.handle({ type: "tool_decisions", id: 2, decisions: [first] })).toEqual({ status: "stale" })
    const refused = refusal(() => decides(other, [second]))
    expect(refused.code).toBe("call_already_decided")
    expect(refused.message).toContain('reject by "ann"')
    expect(approvals(other)).toHaveLength(1)
  })

  test("the ninth held call that is never asked for: all are held at once", () => {
    const machine = batchOf(CONFIG, ...Array.from({ length: 12 }, (_, index) => call(`c${index}`)))
    expect(heldIds(machine)).toHaveLength(12)
    const effects = approves(machine, "c11")
    expect(released(effects).map(({ callId }) => callId)).toEqual(["c11"])
  })
})
