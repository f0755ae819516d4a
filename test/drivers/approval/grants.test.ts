import { describe, expect, test } from "vitest"
import { toolDigest } from "../../../src/drivers/approval/digests.ts"
import { approvalGrant, grantsOf, revokeGrant } from "../../../src/drivers/approval/grants.ts"
import type { ApprovalPolicy } from "../../../src/drivers/approval/policy.ts"
import type { Json } from "../../../src/schemas/json.ts"
import type { HistoryRecord } from "../../../src/schemas/message.ts"
import type { TurnMachine } from "../../../src/validated-turn-machine.ts"
import type { ApprovalGrant } from "../../../src/wire/approval.ts"
import { delivers, driverOf, pending, respond, results } from "../../machine/support.ts"
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
} from "./support.ts"

const CONFIG = configWith(HOLD_PAY)
const HOLD_ALL: ApprovalPolicy = () => ({ hold: {} })

function record(event: Json): HistoryRecord {
  return { type: "protocol", event }
}

/** Answers the batch, passes the checkpoint, and lets the model call again. */
function nextBatch(machine: TurnMachine, delivery: readonly Json[], ...parts: Parameters<typeof asks>[1][]): ReturnType<typeof respond> {
  const { id, calls } = batch(machine)
  respond(machine, results(id, ...calls.map(({ callId, toolName }) => ran(callId, toolName))))
  respond(machine, delivers(id + 1, delivery.length === 0 ? {} : { events: delivery }))
  return respond(machine, asks(id + 2, ...parts))
}

describe("a grant", () => {
  test("reaches held siblings of the same tool at once, and no other call", () => {
    const machine = batchOf(configWith(HOLD_ALL), call("a"), call("b", "look"), call("c"))
    const effects = decides(machine, [decision(machine, "a", { decision: "approve", scope: "turn" }, { by: "ann" })])
    expect(released(effects).map(({ callId }) => callId)).toEqual(["a", "c"])
    expect(heldIds(machine)).toEqual(["b"])
    expect(approvals(machine)).toMatchObject([
      { type: "approval", callId: "a", decision: "approve", scope: "turn", by: "ann", at: 2_000 },
      {
        type: "approval_grant",
        key: { toolName: "pay", toolDigest: toolDigest(PAY) },
        effect: "allow",
        scope: "turn",
        turn: 0,
        by: "ann",
        at: 2_000,
      },
      { type: "approval", callId: "c", decision: "approve", scope: "turn", byGrant: true, by: "ann", at: 2_000 },
    ])
    expect(effects.flatMap((effect) => (effect.type === "emit" && effect.event.type === "approval_decided" ? [effect.event] : []))).toMatchObject([
      { callId: "a", decision: "approve", by: "ann" },
      { callId: "c", decision: "approve", by: "ann" },
    ])
  })

  test("lets later calls of the tool run without a question", () => {
    const machine = batchOf(CONFIG, call("a"))
    approves(machine, "a", { scope: "turn" } as never)
    nextBatch(machine, [], call("b"), call("c", "look"))
    expect(callIds(machine)).toEqual(["b", "c"])
    expect(batch(machine).held).toBeUndefined()
  })

  test("of a rejection denies siblings and later calls, also those that the policy lets run", () => {
    let holds = true
    const config = configWith(() => (holds ? { hold: {} } : "run"))
    const machine = batchOf(config, call("a"), call("b"), call("x", "look"))
    const effects = decides(machine, [decision(machine, "a", { decision: "reject", scope: "thread", message: "Never." })])
    expect(failures(effects)).toEqual({ a: "rejected", b: "denied_by_grant" })
    approves(machine, "x")
    holds = false
    expect(failures(nextBatch(machine, [], call("c"), call("y", "look")))).toEqual({ c: "denied_by_grant" })
    expect(callIds(machine)).toEqual(["y"])
  })

  test("gives way to a decision of the same response about a call itself", () => {
    for (const reversed of [false, true]) {
      const machine = batchOf(CONFIG, call("a"), call("b"), call("c"))
      const given = [decision(machine, "a", { decision: "approve", scope: "thread" }), decision(machine, "b", { decision: "reject" })]
      const effects = decides(machine, reversed ? given.reverse() : given)
      expect(released(effects).map(({ callId }) => callId)).toEqual(["a", "c"])
      expect(failures(effects)).toEqual({ b: "rejected" })
    }
  })

  test("the last of two for one tool in the same response counts", () => {
    const machine = batchOf(CONFIG, call("a"), call("b"), call("c"))
    const effects = decides(machine, [
      decision(machine, "a", { decision: "approve", scope: "turn" }),
      decision(machine, "b", { decision: "reject", scope: "turn" }),
    ])
    expect(released(effects).map(({ callId }) => callId)).toEqual(["a"])
    expect(failures(effects)).toEqual({ b: "rejected", c: "denied_by_grant" })
  })

  test("does not reach a call that may be decided only by itself", () => {
    const policy: ApprovalPolicy = ({ args }) => ({ hold: (args as { readonly eur: number }).eur > 100 ? { scopes: ["call"] } : {} })
    const machine = batchOf(configWith(policy), call("a", "pay", { eur: 5 }), call("b", "pay", { eur: 500 }))
    expect(released(approves(machine, "a", { scope: "thread" } as never)).map(({ callId }) => callId)).toEqual(["a"])
    expect(heldIds(machine)).toEqual(["b"])
    approves(machine, "b")
    nextBatch(machine, [], call("c", "pay", { eur: 600 }), call("d", "pay", { eur: 6 }))
    expect([callIds(machine), heldIds(machine)]).toEqual([["d"], ["c"]])
  })

  test("is not made by an approval that comes too late", () => {
    const machine = batchOf(configWith(HOLD_PAY, { ttlMs: 500 }), call("a"), call("b"))
    expect(failures(approves(machine, "a", { scope: "turn" } as never, 1_500))).toEqual({ a: "approval_expired" })
    expect(heldIds(machine)).toEqual(["b"])
    expect(grantsOf(machine.history, 0)).toEqual([])
  })

  test("does not match a tool with another description or schema", () => {
    const granted = record(approvalGrant({ tool: { ...PAY, description: "Pays less." }, effect: "allow" }))
    const machine = begun(CONFIG, { events: [granted] })
    respond(machine, asks(1, call("a")))
    expect(heldIds(machine)).toEqual(["a"])
  })

  test("of the thread holds in later turns; one of a turn ends with it", () => {
    const first = batchOf(CONFIG, call("a"), call("x"))
    approves(first, "a", { scope: "turn" } as never)
    const second = begun(CONFIG, { events: [...first.history], iterationOffset: 1 })
    respond(second, asks(1, call("b")))
    expect(heldIds(second)).toEqual(["b"])
    approves(second, "b", { scope: "thread" } as never)
    const third = begun(CONFIG, { events: [...second.history], iterationOffset: 2 })
    respond(third, asks(1, call("c")))
    expect(callIds(third)).toEqual(["c"])
  })

  test("of a turn ends with it, also where a host gives the next turn the same number", () => {
    const first = batchOf(CONFIG, call("a"))
    approves(first, "a", { scope: "turn" } as never)
    const second = begun(CONFIG, { events: [...first.history] })
    respond(second, asks(1, call("b")))
    expect(heldIds(second)).toEqual(["b"])
    approves(second, "b", { scope: "turn" } as never)
    nextBatch(second, [], call("c"))
    expect(callIds(second)).toEqual(["c"])
  })

  test("of an earlier turn with the same number does not reach calls that start the turn", () => {
    const inner = driverOf({ prepareIteration: () => [{ type: "start_tools", calls: [pending("a", "pay")] }] })
    const events = [record(approvalGrant({ tool: PAY, effect: "allow", turn: 0 }))]
    expect(heldIds(begun(configWith(HOLD_PAY, { inner }), { events }))).toEqual(["a"])
  })

  test("is delivered by a host at a checkpoint, and revoked there", () => {
    const machine = batchOf(CONFIG, call("a"))
    approves(machine, "a")
    const grant = approvalGrant({ tool: PAY, effect: "allow", by: "ann", at: 5 })
    expect(grant).toEqual({
      type: "approval_grant",
      key: { toolName: "pay", toolDigest: toolDigest(PAY) },
      effect: "allow",
      scope: "thread",
      by: "ann",
      at: 5,
    })
    nextBatch(machine, [grant], call("b"))
    expect(callIds(machine)).toEqual(["b"])
    nextBatch(machine, [revokeGrant(grant.key, { by: "ben", at: 6 })], call("c"))
    expect(heldIds(machine)).toEqual(["c"])
  })

  test("is appended by a host during a turn, and reaches calls that are not held yet", () => {
    const machine = batchOf(CONFIG, call("a"), call("b"))
    const turn = machine.turn.position.iterationOffset
    machine.apply([{ type: "append_events", events: [record(approvalGrant({ tool: PAY, effect: "allow", turn }))] }])
    expect(heldIds(machine)).toEqual(["a", "b"])
    approves(machine, "a")
    approves(machine, "b")
    nextBatch(machine, [], call("c"))
    expect(callIds(machine)).toEqual(["c"])
  })
})

describe("grantsOf", () => {
  const key = { toolName: "pay", toolDigest: "d" }
  const thread = (effect: "allow" | "deny"): ApprovalGrant => ({ type: "approval_grant", key, effect, scope: "thread" })
  const turn = (number: number, effect: "allow" | "deny" = "allow"): ApprovalGrant => ({
    type: "approval_grant",
    key,
    effect,
    scope: "turn",
    turn: number,
  })

  test("returns the grants of the thread, and of one turn", () => {
    const history = [thread("allow"), turn(1), turn(2, "deny")].map(record)
    expect(grantsOf(history)).toEqual([thread("allow")])
    expect(grantsOf(history, 2)).toEqual([thread("allow"), turn(2, "deny")])
  })

  test("a later grant replaces an earlier one that reaches as far", () => {
    expect(grantsOf([thread("allow"), turn(1), thread("deny")].map(record), 1)).toEqual([turn(1), thread("deny")])
  })

  test("a revocation ends all grants of its key", () => {
    const other = { ...thread("allow"), key: { toolName: "pay", toolDigest: "e" } }
    expect(grantsOf([thread("allow"), turn(1), other, revokeGrant(key)].map(record), 1)).toEqual([other])
  })

  test.each<[string, Json]>([
    ["no key", { type: "approval_grant", effect: "allow", scope: "thread" }],
    ["a key without a digest", { type: "approval_grant", key: { toolName: "pay" }, effect: "allow", scope: "thread" }],
    ["another effect", { type: "approval_grant", key, effect: "maybe", scope: "thread" }],
    ["another scope", { type: "approval_grant", key, effect: "allow", scope: "world" }],
    ["no turn", { type: "approval_grant", key, effect: "allow", scope: "turn" }],
    ["a list", ["approval_grant"]],
    ["null", null],
  ])("ignores a record with %s", (_name, event) => {
    expect(grantsOf([record(event)], 0)).toEqual([])
  })

  test("continues after the records read last, also for an earlier point of the same history", () => {
    const machine = batchOf(configWith(HOLD_ALL), call("a"), call("b", "look"))
    const before = machine.turn.record.events
    approves(machine, "a", { scope: "thread" } as never)
    const after = machine.turn.record.events
    expect(grantsOf(after)).toHaveLength(1)
    expect(grantsOf(before)).toHaveLength(0)
    expect(grantsOf(after)).toHaveLength(1)
  })
})

test("a policy knows the grants that hold", () => {
  const seen: unknown[] = []
  const config = configWith((_call, { grants }) => {
    seen.push(grants.map(({ effect }) => effect))
    return "run"
  })
  const events = [record(approvalGrant({ tool: LOOK, effect: "deny" })), record(approvalGrant({ tool: PAY, effect: "allow", turn: 7 }))]
  respond(begun(config, { events }), asks(1, call("a")))
  expect(seen).toEqual([["deny"]])
})
