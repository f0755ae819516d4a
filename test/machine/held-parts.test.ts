/** What the parts of held calls return, down to the keys: a checkpoint and an event have no key without a value. */
import { describe, expect, test } from "vitest"
import type { WaitingTools } from "../../src/machine/batch.ts"
import { concludeDecisions, decidedBy, heldCall, isReached, isWide, placeDecisions, undecidedCalls } from "../../src/machine/held.ts"
import type { Ask, Decision, HeldCall } from "../../src/wire/approval.ts"
import { about, batchOf, hold, rejected, waiting } from "./held-support.ts"
import { pending } from "./support.ts"

function held(callId: string, ask: Partial<Ask> = {}): HeldCall {
  return { ...pending(callId), ...hold(callId, ask), requestId: `1:${callId}`, index: 0 }
}

/** A turn that waits for decisions about `a` and `b`. */
function state(ask: Partial<Ask> = {}): WaitingTools {
  const { position } = waiting({ ...batchOf(["a", "b"]), held: [hold("a", ask), hold("b", ask)] }).turn
  if (position.state.type !== "waiting_tools") throw new Error("The turn does not wait.")
  return position.state
}

test("heldCall: the call as its model made it", () => {
  expect(heldCall(held("a"))).toStrictEqual({ callId: "a", toolName: "look", args: {} })
  expect(heldCall({ ...held("a"), replay: { id: "r" } } as never)).toStrictEqual({ callId: "a", toolName: "look", args: {}, replay: { id: "r" } })
})

test.each<readonly [Partial<Decision>, boolean]>([
  [{}, false],
  [{ scope: undefined } as never, false],
  [{ scope: "call" }, false],
  [{ scope: "turn" }, true],
  [{ scope: "thread" } as never, true],
])("isWide: a decision with %j: %s", (more, wide) => {
  expect(isWide(about("a", "approve", more))).toBe(wide)
})

test.each<readonly [Partial<Ask>, "allow" | "deny", boolean]>([
  [{ allow: ["approve"], scopes: ["turn"] }, "allow", true],
  [{ allow: ["approve"], scopes: [] }, "allow", false],
  [{ allow: ["reject"], scopes: ["turn"] }, "allow", false],
  [{ allow: ["reject"], scopes: [] }, "allow", false],
  [{ allow: ["reject"], scopes: [] }, "deny", true],
  [{ allow: ["approve"], scopes: ["turn"] }, "deny", true],
])("isReached: a call that may be answered with %j by a grant that says %s: %s", (ask, effect, reached) => {
  expect(isReached(held("a", ask), { effect, scope: "turn" })).toBe(reached)
})

test("undecidedCalls: those of a batch that has no decision; a batch without held calls has none", () => {
  expect(undecidedCalls(state()).map(({ callId }) => callId)).toEqual(["a", "b"])
  const { position } = waiting(batchOf(["a"], [], { held: undefined as never })).turn
  if (position.state.type === "waiting_tools") expect(undecidedCalls(position.state)).toEqual([])
  expect(position.state.type).toBe("waiting_tools")
})

test("decidedBy: what was decided, by whom, and the arguments of an edit", () => {
  expect(decidedBy(about("a"))).toStrictEqual({ requestId: "1:a", decision: "approve" })
  expect(decidedBy(about("a", "reject", { by: "anna", note: "No." }))).toStrictEqual({ requestId: "1:a", decision: "reject", by: "anna" })
  expect(decidedBy(about("a", { decision: "edit", args: { n: 1 } }))).toStrictEqual({ requestId: "1:a", decision: "edit", args: { n: 1 } })
})

describe("placeDecisions", () => {
  test("an approval after its time has expired, and keeps only who it was and what was noted", () => {
    const late = { requestId: "1:a", digest: "digest of a", decision: "expired" }
    const place = (more: Partial<Decision>): unknown => placeDecisions(state({ expiresAt: 100 }), [about("a", "approve", more)], 100).decisions[0]
    expect(place({ scope: "turn" })).toStrictEqual(late)
    expect(place({ by: "anna" })).toStrictEqual({ ...late, by: "anna" })
    expect(place({ note: "Yes." })).toStrictEqual({ ...late, note: "Yes." })
  })

  test.each<readonly [Decision, string, RegExp]>([
    [about("x"), "unknown_request", /holds no call with the request "1:x"/],
    [about("b", "approve", { digest: "other" }), "digest_mismatch", /about "b" was made for another call/],
    [about("b", { decision: "edit", args: undefined as never }), "decision_not_allowed", /The edit of "b" has no arguments/],
    [about("b", "approve", { scope: "thread" } as never), "decision_not_allowed", /about "b" may not reach the thread/],
    [about("a", "reject"), "call_already_decided", /The call "a" is decided already: approve/],
  ])("no decision counts beside one that is refused: %j", (refused, why, message) => {
    const placed = placeDecisions(state(), [about("a"), refused], undefined)
    expect(placed).toEqual({ decisions: [], refused: { requestId: refused.requestId, why, message: expect.stringMatching(message) } })
  })
})

describe("concludeDecisions", () => {
  test("lists what it releases and what it settles, with an event for each", () => {
    const concluded = concludeDecisions(
      state(),
      [about("a", "approve", { by: "anna" })],
      [
        { type: "release_calls", requestIds: ["1:a"] },
        { type: "settle_calls", results: [rejected("b")] },
      ],
    )
    const [a, b] = [{ requestId: "1:a", decision: "approve", by: "anna" } as const, { requestId: "1:b", decision: "reject" } as const]
    expect([...concluded.decided]).toStrictEqual([a, b])
    expect(concluded.released).toStrictEqual([pending("a")])
    expect(concluded.settled).toStrictEqual([rejected("b")])
    expect(concluded.events).toStrictEqual([
      { type: "approval_decided", callId: "a", name: "look", ...a },
      { type: "approval_decided", callId: "b", name: "look", ...b },
    ])
  })
})
