import type { Json } from "../json.ts"
import type { PendingToolCall } from "./tool.ts"

/** How far a decision reaches: this call, every call of the turn with the same tool, or every such call of the thread. */
export type ApprovalScope = "call" | "turn" | "thread"

/** What a person may do with a held call. */
export type ApprovalChoice = "approve" | "edit" | "reject"

/** What a person is asked about a held call. */
export type Ask = {
  /** One line that says what the call would do. */
  readonly summary?: string
  readonly risk?: "low" | "medium" | "high"
  readonly allow: readonly ApprovalChoice[]
  /** How far an approval or a rejection may reach. `call` is always allowed. */
  readonly scopes: readonly ApprovalScope[]
  /** From then on an approval counts as `expired`; milliseconds since the epoch. */
  readonly expiresAt?: number
}

/** A call that does not run before a person decides. A driver starts it with {@link StartTools}. */
export type HoldCall = {
  readonly callId: string
  /** Identifies what is decided: the tool as the model was shown it, and the arguments. A decision repeats it. */
  readonly digest: string
  readonly ask: Ask
}

/** A held call as its host sees it. */
export type HeldCall = PendingToolCall & {
  /** Unique in the turn: the effect's id and the call's id. */
  readonly requestId: string
  /** The place of the call in its batch, from 0. */
  readonly index: number
  readonly digest: string
  readonly ask: Ask
}

/** A call whose work continues outside the host, such as a job that reports by a webhook. Its result comes later. */
export type ExternalCall = PendingToolCall & {
  /** Identifies the work where it continues. */
  readonly token: string
  readonly note?: string
}

/** What a decision is about, and who made it. */
export type DecisionFacts = {
  readonly requestId: string
  /** The digest of the held call that was shown. Another one is refused. */
  readonly digest: string
  readonly by?: string
  readonly note?: string
}

/** What was decided. `edit`: the call runs with these arguments. `expired` and `cancelled` come from a host; the call does not run. */
export type Verdict =
  | { readonly decision: "approve"; readonly scope?: ApprovalScope }
  | { readonly decision: "edit"; readonly args: Json }
  | { readonly decision: "reject"; readonly message?: string; readonly scope?: ApprovalScope }
  | { readonly decision: "expired" }
  | { readonly decision: "cancelled" }

/** A decision about one held call. */
export type Decision = DecisionFacts & Verdict

/** The decision that a held call has, as its turn keeps it. */
export type DecidedCall = {
  readonly requestId: string
  readonly decision: Verdict["decision"]
  /** The arguments that the call runs with, if they were edited. */
  readonly args?: Json
  readonly by?: string
}

/** History record: a decision about a held call. Nothing else is needed to show who allowed what. */
export type ApprovalRecord = {
  readonly type: "approval"
  readonly requestId: string
  readonly callId: string
  readonly toolName: string
  readonly digest: string
  readonly decision: Verdict["decision"]
  /** The arguments that the call runs with, if they were edited. */
  readonly args?: Json
  readonly scope?: ApprovalScope
  /** The decision came from a grant, and not from a person who saw this call. */
  readonly byGrant?: true
  readonly by?: string
  readonly note?: string
  /** What the model reads about a rejection. */
  readonly message?: string
  /** Milliseconds since the epoch. */
  readonly at?: number
}

/** What a grant is about: a tool as the model was shown it. A tool whose description or schema changes has another digest. */
export type GrantKey = { readonly toolName: string; readonly toolDigest: string }

/** History record: from now on, calls of a tool run, or are denied, without a question. */
export type ApprovalGrant = {
  readonly type: "approval_grant"
  readonly key: GrantKey
  readonly effect: "allow" | "deny"
  readonly scope: "turn" | "thread"
  /** The turn that a grant with the scope `turn` reaches: its `iterationOffset`. */
  readonly turn?: number
  readonly by?: string
  /** Milliseconds since the epoch. */
  readonly at?: number
}

/** History record: the grants of this key end. */
export type ApprovalGrantRevoked = {
  readonly type: "approval_grant_revoked"
  readonly key: GrantKey
  readonly by?: string
  /** Milliseconds since the epoch. */
  readonly at?: number
}
