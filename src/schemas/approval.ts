import * as z from "zod"
import type * as wire from "../wire/approval.ts"
import { Count, exact, Json, type Schema, type Tagged, Timestamp } from "./json.ts"
import { pendingCall } from "./tool.ts"

/** How far a decision reaches: this call, every call of the turn with the same tool, or every such call of the thread. */
export type ApprovalScope = wire.ApprovalScope
export const ApprovalScope: Schema<ApprovalScope> = exact(z.enum(["call", "turn", "thread"]))

/** What a person is asked about a held call. */
export type Ask = wire.Ask
export const Ask: Tagged<Ask> = exact(
  z.object({
    summary: z.string().exactOptional(),
    risk: z.enum(["low", "medium", "high"]).exactOptional(),
    allow: z.array(z.enum(["approve", "edit", "reject"])),
    scopes: z.array(ApprovalScope),
    expiresAt: Timestamp.exactOptional(),
  }),
)

/** A call that does not run before a person decides, as a driver starts it. */
export type HoldCall = wire.HoldCall
export const HoldCall: Tagged<HoldCall> = exact(z.object({ callId: z.string(), digest: z.string(), ask: Ask }))

/** A held call as its host sees it. */
export type HeldCall = wire.HeldCall
export const HeldCall: Tagged<HeldCall> = exact(z.object({ ...pendingCall, requestId: z.string(), index: Count, digest: z.string(), ask: Ask }))

/** A call whose work continues outside the host, such as a job that reports by a webhook. Its result comes later. */
export type ExternalCall = wire.ExternalCall
export const ExternalCall: Tagged<ExternalCall> = exact(z.object({ ...pendingCall, token: z.string(), note: z.string().exactOptional() }))

/** The word for what was decided. */
export const VerdictName: Schema<wire.Verdict["decision"]> = exact(z.enum(["approve", "edit", "reject", "expired", "cancelled"]))

const facts = { requestId: z.string(), digest: z.string(), by: z.string().exactOptional(), note: z.string().exactOptional() }
const scope = { scope: ApprovalScope.exactOptional() }

/** A decision about one held call. */
export type Decision = wire.Decision
export const Decision: Tagged<Decision> = exact(
  z.discriminatedUnion("decision", [
    z.object({ ...facts, decision: z.literal("approve"), ...scope }),
    z.object({ ...facts, decision: z.literal("edit"), args: Json }),
    z.object({ ...facts, decision: z.literal("reject"), message: z.string().exactOptional(), ...scope }),
    z.object({ ...facts, decision: z.literal("expired") }),
    z.object({ ...facts, decision: z.literal("cancelled") }),
  ]),
)

/** The decision that a held call has, as its turn keeps it. */
export type DecidedCall = wire.DecidedCall
export const DecidedCall: Tagged<DecidedCall> = exact(
  z.object({ requestId: z.string(), decision: VerdictName, args: Json.exactOptional(), by: z.string().exactOptional() }),
)

/** History record: a decision about a held call. */
export type ApprovalRecord = wire.ApprovalRecord
export const ApprovalRecord: Tagged<ApprovalRecord> = exact(
  z.object({
    type: z.literal("approval"),
    ...facts,
    callId: z.string(),
    toolName: z.string(),
    decision: VerdictName,
    args: Json.exactOptional(),
    ...scope,
    byGrant: z.literal(true).exactOptional(),
    message: z.string().exactOptional(),
    at: Timestamp.exactOptional(),
  }),
)

const grant = { key: z.object({ toolName: z.string(), toolDigest: z.string() }), by: z.string().exactOptional(), at: Timestamp.exactOptional() }

/** History record: from now on, calls of a tool run, or are denied, without a question. */
export type ApprovalGrant = wire.ApprovalGrant
export const ApprovalGrant: Tagged<ApprovalGrant> = exact(
  z.object({
    type: z.literal("approval_grant"),
    ...grant,
    effect: z.enum(["allow", "deny"]),
    scope: z.enum(["turn", "thread"]),
    turn: Count.exactOptional(),
  }),
)

/** History record: the grants of this key end. */
export type ApprovalGrantRevoked = wire.ApprovalGrantRevoked
export const ApprovalGrantRevoked: Tagged<ApprovalGrantRevoked> = exact(z.object({ type: z.literal("approval_grant_revoked"), ...grant }))
