import { createHmac } from "node:crypto"
import { describe, expect, test } from "vitest"
import {
  ApprovalSignatureError,
  type ApprovalSignatureErrorCode,
  type SignedRequest,
  signRequest,
  verifyDecision,
} from "../../../src/hosts/approval/index.ts"
import type { HeldCall } from "../../../src/wire/approval.ts"

const SECRET = "a secret of 32 bytes, more or less"
const HELD: HeldCall = {
  callId: "a",
  toolName: "pay",
  args: { eur: 5 },
  requestId: "2:a",
  index: 0,
  digest: "d1",
  ask: { allow: ["approve", "edit", "reject"], scopes: ["call"], expiresAt: 1_000 },
}
const APPROVE = { requestId: "2:a", digest: "d1", decision: "approve" }
const NOW = { now: 500 }

async function signed(changes: Partial<HeldCall> = {}, turnId = "turn-1"): Promise<SignedRequest> {
  return signRequest(SECRET, { turnId, held: { ...HELD, ...changes } })
}

async function refused(verify: Promise<unknown>): Promise<ApprovalSignatureErrorCode> {
  const error = await verify.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof ApprovalSignatureError)) throw new Error(`Not refused: ${String(error)}`)
  return error.code
}

describe("signRequest", () => {
  test("signs the JSON array of version, turn, request, tool, digest and expiry with HMAC-SHA256", async () => {
    const hmac = (expiresAt: number | null): string =>
      createHmac("sha256", SECRET)
        .update(JSON.stringify(["turn-machine-approval-v1", "turn-1", "2:a", "pay", "d1", expiresAt]))
        .digest("hex")
    expect(await signed()).toEqual({ turnId: "turn-1", requestId: "2:a", toolName: "pay", digest: "d1", expiresAt: 1_000, signature: hmac(1_000) })
    const { expiresAt: _, ...ask } = HELD.ask
    expect(await signed({ ask })).toEqual({ turnId: "turn-1", requestId: "2:a", toolName: "pay", digest: "d1", signature: hmac(null) })
  })

  test("takes bytes as a secret, also a view of shared memory", async () => {
    const shared = new Uint8Array(new SharedArrayBuffer(34))
    shared.set(new TextEncoder().encode(SECRET))
    const { signature } = await signRequest(shared, { turnId: "turn-1", held: HELD })
    expect(signature).toBe((await signed()).signature)
  })

  test.each([[""], ["short"], [new Uint8Array(15)], [undefined], [5]])("refuses a weak or missing secret: %j", async (secret) => {
    expect(await refused(signRequest(secret as never, { turnId: "t", held: HELD }))).toBe("invalid_secret")
    expect(await refused(verifyDecision(secret as never, { request: await signed(), decision: APPROVE }, NOW))).toBe("invalid_secret")
  })
})

describe("verifyDecision", () => {
  test("returns the turn and the decision, without unknown keys, and with the host's name for who decided", async () => {
    const request = JSON.parse(JSON.stringify(await signed())) as unknown
    const decision = { ...APPROVE, scope: "turn", note: "fine", by: "root", admin: true }
    expect(await verifyDecision(SECRET, { request, decision }, { ...NOW, by: "ann" })).toEqual({
      turnId: "turn-1",
      decision: { ...APPROVE, scope: "turn", note: "fine", by: "ann" },
    })
    expect((await verifyDecision(SECRET, { request, decision }, NOW)).decision).not.toHaveProperty("by")
    const edit = { ...APPROVE, decision: "edit", args: { eur: 1 } }
    expect((await verifyDecision(SECRET, { request, decision: edit }, NOW)).decision).toEqual(edit)
  })

  test.each([
    ["another secret", {}, "another secret of 32 bytes"],
    ["another turn", { turnId: "turn-2" }, SECRET],
    ["another tool", { toolName: "look" }, SECRET],
    ["another digest", { digest: "d2" }, SECRET],
    ["another request", { requestId: "2:b" }, SECRET],
    ["a later expiry", { expiresAt: 9_000 }, SECRET],
    ["no expiry", { expiresAt: undefined }, SECRET],
    ["another signature", { signature: "0".repeat(64) }, SECRET],
  ])("refuses %s", async (_name, changes, secret) => {
    const request = { ...(await signed()), ...changes }
    const decision = { ...APPROVE, requestId: request.requestId, digest: request.digest }
    expect(await refused(verifyDecision(secret, { request, decision }, NOW))).toBe("bad_signature")
  })

  test("refuses a request whose parts are the same text in another division", async () => {
    const request = { ...(await signed({ requestId: '2:a","pay' })), requestId: "2:a", toolName: 'pay","pay' }
    expect(await refused(verifyDecision(SECRET, { request, decision: APPROVE }, NOW))).toBe("bad_signature")
  })

  test("refuses a decision about another call, with a genuine request of its own", async () => {
    const request = await signed()
    expect(await refused(verifyDecision(SECRET, { request, decision: { ...APPROVE, requestId: "2:b" } }, NOW))).toBe("other_request")
    expect(await refused(verifyDecision(SECRET, { request, decision: { ...APPROVE, digest: "d2" } }, NOW))).toBe("other_request")
  })

  test.each([
    [999, undefined],
    [1_000, "request_expired"],
    [Number.NaN, "request_expired"],
  ])("at %d", async (now, code) => {
    const request = await signed()
    const edit = { ...APPROVE, decision: "edit", args: {} }
    for (const decision of [APPROVE, edit]) {
      const verified = verifyDecision(SECRET, { request, decision }, { now })
      if (code === undefined) await verified
      else expect(await refused(verified)).toBe(code)
    }
    // A rejection is safe at any time.
    await verifyDecision(SECRET, { request, decision: { ...APPROVE, decision: "reject" } }, { now })
  })

  test.each(["expired", "cancelled"])("refuses %s of a client", async (decision) => {
    expect(await refused(verifyDecision(SECRET, { request: await signed(), decision: { ...APPROVE, decision } }, NOW))).toBe("decision_not_allowed")
  })

  test.each([
    ["nothing", undefined],
    ["null", null],
    ["no request", {}],
    ["a number for a name", { toolName: 5 }],
    ["no signature", { signature: undefined }],
    ["a short signature", { signature: "00" }],
    ["a signature that is not hexadecimal", { signature: "x".repeat(64) }],
    ["an expiry that is not a number", { expiresAt: "1000" }],
  ])("refuses a request with %s", async (_name, changes) => {
    const request = typeof changes === "object" && changes !== null && Object.keys(changes).length > 0 ? { ...(await signed()), ...changes } : changes
    expect(await refused(verifyDecision(SECRET, { request, decision: APPROVE }, NOW))).toBe("invalid_request")
  })

  test.each([
    ["nothing", undefined],
    ["a text", "approve"],
    ["an unknown verdict", { ...APPROVE, decision: "allow" }],
    ["an edit without arguments", { ...APPROVE, decision: "edit" }],
    ["an unknown scope", { ...APPROVE, scope: "world" }],
    ["no digest", { requestId: "2:a", decision: "approve" }],
  ])("refuses a decision that is %s", async (_name, decision) => {
    expect(await refused(verifyDecision(SECRET, { request: await signed(), decision }, NOW))).toBe("invalid_decision")
  })
})
