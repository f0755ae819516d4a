import { read } from "../../checks/checking.ts"
import { decision as decisionCheck } from "../../checks/generated/turn.ts"
import { TurnError } from "../../errors.ts"
import { quoted } from "../../text.ts"
import type { Decision, HeldCall } from "../../wire/approval.ts"

/** Why a signed decision is refused. */
export type ApprovalSignatureErrorCode =
  | "invalid_secret"
  | "invalid_request"
  | "invalid_decision"
  | "bad_signature"
  | "other_request"
  | "request_expired"
  | "decision_not_allowed"

/** A signed decision that must not be recorded, or a request that cannot be signed. */
export class ApprovalSignatureError extends TurnError<ApprovalSignatureErrorCode> {}

/** A held call as an untrusted client gets it, and sends it back with its decision. JSON. */
export type SignedRequest = {
  readonly turnId: string
  readonly requestId: string
  readonly toolName: string
  readonly digest: string
  /** Milliseconds since the epoch. Absent: it does not expire. */
  readonly expiresAt?: number
  /** HMAC-SHA256, in hex. */
  readonly signature: string
}

/** What a client sends. Both values are checked, so they may be anything. */
export interface SignedDecision {
  /** The {@link SignedRequest} as the client got it. */
  readonly request: unknown
  readonly decision: unknown
}

/** Options of {@link verifyDecision}. */
export interface VerifyOptions {
  /** Milliseconds since the epoch. */
  readonly now: number
  /** Who decides, as the host knows it. It replaces what the client says. Absent: the decision has no name. */
  readonly by?: string
}

/** A verified decision, and the turn that it is for. */
export interface VerifiedDecision {
  readonly turnId: string
  readonly decision: Decision
}

/** A secret of at least 16 bytes; a text counts as UTF-8. */
export type ApprovalSecret = string | Uint8Array

const VERSION = "turn-machine-approval-v1"
const LEAST_SECRET_BYTES = 16

/**
 * Signs a held call for a client that is not trusted, such as a browser. The client cannot make a signature for another call, another turn or
 * other arguments: the digest covers them.
 * @throws {ApprovalSignatureError} `invalid_secret`
 */
export async function signRequest(
  secret: ApprovalSecret,
  { turnId, held }: { readonly turnId: string; readonly held: Pick<HeldCall, "requestId" | "toolName" | "digest" | "ask"> },
): Promise<SignedRequest> {
  const { requestId, toolName, digest } = held
  const { expiresAt } = held.ask
  const request = { turnId, requestId, toolName, digest, ...(expiresAt !== undefined && { expiresAt }) }
  const signature = await crypto.subtle.sign("HMAC", await keyOf(secret), bytesOf(request))
  return { ...request, signature: hexOf(new Uint8Array(signature)) }
}

/**
 * Verifies a client's decision about a signed request, before it is recorded with `TurnJournal.decide` or `Thread.decide`. The decision is for
 * that request, an approval or an edit comes in time, and its `by` is the host's. Whether the call is still undecided, and allows the
 * decision, is checked where it is recorded.
 * @throws {ApprovalSignatureError} `invalid_secret`, `invalid_request`, `invalid_decision`, `bad_signature`, `other_request`,
 *   `request_expired`, `decision_not_allowed`
 */
export async function verifyDecision(
  secret: ApprovalSecret,
  { request, decision }: SignedDecision,
  { now, by }: VerifyOptions,
): Promise<VerifiedDecision> {
  const key = await keyOf(secret)
  const { signature, ...signed } = readRequest(request)
  // Compares in constant time.
  const isGenuine = await crypto.subtle.verify("HMAC", key, signature, bytesOf(signed))
  if (!isGenuine) throw new ApprovalSignatureError("bad_signature", `The request ${quoted(signed.requestId)} was not signed with this secret.`)
  const { turnId, requestId, digest, expiresAt } = signed
  const given = readDecision(decision)
  if (given.requestId !== requestId || given.digest !== digest)
    throw new ApprovalSignatureError(
      "other_request",
      `The decision is about ${quoted(given.requestId)}, and the signed request is ${quoted(requestId)}.`,
    )
  const kind = given.decision
  if (kind === "expired" || kind === "cancelled")
    throw new ApprovalSignatureError("decision_not_allowed", `A client may not decide ${kind}; only a host does.`)
  // Negated, so that a time that is not a number is refused.
  if (kind !== "reject" && expiresAt !== undefined && !(now < expiresAt))
    throw new ApprovalSignatureError("request_expired", `The request ${quoted(requestId)} expired at ${expiresAt}; it is ${now}.`)
  const { by: _claimed, ...rest } = given
  return { turnId, decision: by === undefined ? rest : { ...rest, by } }
}

type RequestFacts = Omit<SignedRequest, "signature">

/** The signed text: a JSON array, so that no two requests have the same one. */
function bytesOf({ turnId, requestId, toolName, digest, expiresAt }: RequestFacts): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify([VERSION, turnId, requestId, toolName, digest, expiresAt ?? null]))
}

async function keyOf(secret: ApprovalSecret): Promise<CryptoKey> {
  const bytes = typeof secret === "string" ? new TextEncoder().encode(secret) : secret
  if (!(bytes instanceof Uint8Array) || bytes.length < LEAST_SECRET_BYTES)
    throw new ApprovalSignatureError("invalid_secret", `The secret must be a text or a Uint8Array of at least ${LEAST_SECRET_BYTES} bytes.`)
  // A copy: the bytes may be a view of shared memory, which WebCrypto refuses.
  return crypto.subtle.importKey("raw", new Uint8Array(bytes), { name: "HMAC", hash: "SHA-256" }, false, ["sign", "verify"])
}

function readRequest(value: unknown): RequestFacts & { readonly signature: Uint8Array<ArrayBuffer> } {
  const { turnId, requestId, toolName, digest, expiresAt, signature } = (typeof value === "object" && value !== null ? value : {}) as {
    readonly [Key in keyof SignedRequest]?: unknown
  }
  const bytes = typeof signature === "string" ? bytesOfHex(signature) : undefined
  if (typeof turnId !== "string" || typeof requestId !== "string" || typeof toolName !== "string" || typeof digest !== "string")
    throw new ApprovalSignatureError("invalid_request", "The request must have turnId, requestId, toolName and digest as texts.")
  if (bytes === undefined) throw new ApprovalSignatureError("invalid_request", "The signature must be 64 hexadecimal digits.")
  if (expiresAt !== undefined && !Number.isSafeInteger(expiresAt))
    throw new ApprovalSignatureError("invalid_request", "expiresAt must be in milliseconds since the epoch.")
  return { turnId, requestId, toolName, digest, ...(expiresAt !== undefined && { expiresAt: expiresAt as number }), signature: bytes }
}

function readDecision(value: unknown): Decision {
  const result = read<Decision>(decisionCheck, value)
  if (result.ok) return result.value
  const [issue] = result.issues
  const where = issue === undefined || issue.path === "" ? "" : ` at "${issue.path}"`
  throw new ApprovalSignatureError("invalid_decision", `The decision is not valid${where}: ${issue?.message ?? "unknown problem"}.`)
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")
}

function bytesOfHex(hex: string): Uint8Array<ArrayBuffer> | undefined {
  if (!/^[\da-f]{64}$/.test(hex)) return undefined
  return Uint8Array.from({ length: 32 }, (_, index) => Number.parseInt(hex.slice(2 * index, 2 * index + 2), 16))
}
