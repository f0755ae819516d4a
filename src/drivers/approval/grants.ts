import type { Json } from "../../json.ts"
import { storageOf } from "../../lazy.ts"
import type { ApprovalGrant, ApprovalGrantRevoked, GrantKey } from "../../wire/approval.ts"
import type { HistoryRecord } from "../../wire/message.ts"
import type { ToolSpec } from "../../wire/tool.ts"
import type { RecordList } from "../goal/history.ts"
import { grantKey } from "./digests.ts"

/** The driver's own record: grants for the turn with this number that come before it were made in another turn. */
interface ApprovalTurnStarted {
  readonly type: "approval_turn_started"
  readonly turn: number
}

/** A grant that a host makes. */
export interface GrantFacts {
  /** The tool as the model is shown it. Another description or schema needs another grant. */
  readonly tool: ToolSpec
  readonly effect: ApprovalGrant["effect"]
  /** The `iterationOffset` of the only turn that the grant reaches; it must have begun. Absent: every turn of the thread. */
  readonly turn?: number
  readonly by?: string
  /** Milliseconds since the epoch. */
  readonly at?: number
}

/**
 * Creates the record of a grant: from now on, calls of the tool run, or are denied, without a question. Deliver it at a checkpoint as one of
 * the delivery's `events`, or append it to the history of a thread as `{ type: "protocol", event }`. It does not reach calls that are held
 * already.
 */
export function approvalGrant({ tool, effect, turn, by, at }: GrantFacts): ApprovalGrant {
  return {
    type: "approval_grant",
    key: grantKey(tool.name, tool),
    effect,
    ...(turn === undefined ? { scope: "thread" } : { scope: "turn", turn }),
    ...(by !== undefined && { by }),
    ...(at !== undefined && { at }),
  }
}

/** Creates the record that ends all grants of a key. Deliver or append it as that of {@link approvalGrant}. */
export function revokeGrant(key: GrantKey, { by, at }: { readonly by?: string; readonly at?: number } = {}): ApprovalGrantRevoked {
  const { toolName, toolDigest } = key
  return { type: "approval_grant_revoked", key: { toolName, toolDigest }, ...(by !== undefined && { by }), ...(at !== undefined && { at }) }
}

interface CachedGrants {
  readonly seen: number
  readonly grants: readonly ApprovalGrant[]
}

const cache = new WeakMap<readonly HistoryRecord[], CachedGrants>()

/**
 * Returns the grants that hold, oldest first: those of the thread and, with `turn` (its `iterationOffset`), those of that turn. Of several
 * with one key the last counts. It continues after the records read last, so the cost does not grow with the history.
 */
export function grantsOf(history: RecordList, turn?: number): readonly ApprovalGrant[] {
  const storage = storageOf(history)
  const last = storage === undefined ? undefined : cache.get(storage)
  const from = last !== undefined && last.seen <= history.length ? last : NOTHING_READ
  let { grants } = from
  for (let index = from.seen; index < history.length; index += 1) grants = withRecord(grants, history.at(index))
  if (storage !== undefined) cache.set(storage, { seen: history.length, grants })
  return grants.filter((grant) => grant.scope === "thread" || (turn !== undefined && grant.turn === turn))
}

const NOTHING_READ: CachedGrants = { seen: 0, grants: [] }

/** Returns the grant that counts for a key: the last one. */
export function grantFor(grants: readonly ApprovalGrant[], key: GrantKey): ApprovalGrant | undefined {
  for (let index = grants.length - 1; index >= 0; index -= 1) {
    const grant = grants[index]
    if (grant !== undefined && isSameKey(grant.key, key)) return grant
  }
  return undefined
}

/** Returns the record that ends the turn's grants, if there are any before the turn begins: a host gave two turns the same number. */
export function endedGrants(history: RecordList, turn: number): readonly HistoryRecord[] {
  if (!grantsOf(history, turn).some(({ scope }) => scope === "turn")) return []
  const event: ApprovalTurnStarted & { readonly [key: string]: Json } = { type: "approval_turn_started", turn }
  return [{ type: "protocol", event }]
}

function withRecord(grants: readonly ApprovalGrant[], record: HistoryRecord | undefined): readonly ApprovalGrant[] {
  if (record?.type !== "protocol") return grants
  const { event } = record
  if (typeof event !== "object" || event === null || !("type" in event)) return grants
  switch ((event as { readonly type?: Json }).type) {
    case "approval_grant": {
      const grant = event as unknown as ApprovalGrant
      // A host may deliver anything. What is not a grant allows nothing.
      return isGrant(grant) ? [...grants.filter((other) => !isReplaced(other, grant)), grant] : grants
    }
    case "approval_grant_revoked": {
      const { key } = event as unknown as ApprovalGrantRevoked
      return isKey(key) ? grants.filter((grant) => !isSameKey(grant.key, key)) : grants
    }
    case "approval_turn_started": {
      const { turn } = event as unknown as ApprovalTurnStarted
      return grants.filter((grant) => grant.scope === "thread" || grant.turn !== turn)
    }
    default:
      return grants
  }
}

function isGrant({ key, effect, scope, turn }: ApprovalGrant): boolean {
  if (!isKey(key) || (effect !== "allow" && effect !== "deny")) return false
  return scope === "thread" || (scope === "turn" && typeof turn === "number")
}

function isKey(key: GrantKey | undefined): key is GrantKey {
  return typeof key === "object" && key !== null && typeof key.toolName === "string" && typeof key.toolDigest === "string"
}

export function isSameKey(left: GrantKey, right: GrantKey): boolean {
  return left.toolName === right.toolName && left.toolDigest === right.toolDigest
}

/** A grant replaces an earlier one that reaches just as far. */
function isReplaced(before: ApprovalGrant, after: ApprovalGrant): boolean {
  return isSameKey(before.key, after.key) && before.scope === after.scope && before.turn === after.turn
}
