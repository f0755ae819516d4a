import { NO_USAGE, tokensOf } from "../../machine/limits.ts"
import type { ChildGrant, JournalParent } from "../../wire/journal.ts"
import type { TokenUsage } from "../../wire/usage.ts"
import type { ChildPlace, TokensLeft } from "../host.ts"
import type { JournalStore } from "../journal/store.ts"
import { childrenPrefix, parentName } from "../run/child-place.ts"
import { type ReadTurn, readTurn } from "./turn-tree.ts"

/** How many tokens children may use: `inputTokens` plus `outputTokens`, as `maxTokens` of a turn counts. */
export interface ChildBudget {
  /** For each child. It becomes the child's `maxTokens`, so that a child stops after the call that reaches it. At least 1. */
  readonly tokens: number
  /** For all children of the turn. A child gets what is left, if that is less than `tokens`. Default: no limit. */
  readonly total?: number
}

/** Which children a new one is counted with. */
export interface Siblings {
  /** How many have not ended. */
  readonly open: number
  /** What ended ones used, and what is reserved for the others, in tokens. */
  readonly reserved: number
  readonly children: readonly Sibling[]
}

interface Sibling {
  readonly turnId: string
  readonly parent: JournalParent
  readonly usage: TokenUsage
  /** What it used, or what is reserved for it, in tokens. */
  readonly reserved: number
}

/** What ended children used. They do not change any more. */
const ended = new WeakMap<JournalStore, Map<string, ReadTurn>>()

/** Forgets an earlier child of the same name: its journal was deleted, such as with its thread. */
export function forgetEnded({ store, name }: ChildPlace): void {
  ended.get(store)?.delete(name)
}

/** Reads the other children of a place's parent: those that have begun, and those of the same batch that have tokens and are about to begin. */
export async function siblingsOf(place: ChildPlace): Promise<Siblings> {
  const { store, name: own, parent } = place
  const known = ended.get(store) ?? new Map<string, ReadTurn>()
  ended.set(store, known)
  const prefix = childrenPrefix(parentName(place))
  let open = 0
  const children: Sibling[] = []
  for await (const name of store.list({ prefix })) {
    if (name === own || name.includes(".child-", prefix.length)) continue
    const child = known.get(name) ?? (await readTurn(store, name))
    if (child?.parent?.turnId !== parent.turnId) continue
    if (child.outcome !== undefined) known.set(name, child)
    else open += 1
    const used = tokensOf(child.usage)
    const reserved = child.outcome === undefined ? Math.max(used, child.parent.lease ?? 0) : used
    children.push({ turnId: child.turnId, parent: child.parent, usage: child.usage, reserved })
  }
  for (const grant of place.grants?.of(parent.effectId) ?? []) {
    if (isOf(grant, parent) || children.some((child) => isOf(grant, child.parent))) continue
    const { effectId, callId, lease } = grant
    open += 1
    children.push({ turnId: "", parent: { ...parent, effectId, callId, lease }, usage: NO_USAGE, reserved: lease })
  }
  return { open, reserved: children.reduce((sum, child) => sum + child.reserved, 0), children }
}

/** Whether tokens were given to that child. */
export function isOf({ effectId, callId, name }: Omit<ChildGrant, "lease">, parent: JournalParent): boolean {
  return effectId === parent.effectId && callId === parent.callId && name === parent.name
}

const turns = new WeakMap<JournalStore, Map<string, Promise<unknown>>>()

/** Lets one child of a parent begin at a time, so that no two are granted the same tokens. */
export async function oneByOne<Result>(place: ChildPlace, begin: () => Promise<Result>): Promise<Result> {
  const { store } = place
  const waiting = turns.get(store) ?? new Map<string, Promise<unknown>>()
  turns.set(store, waiting)
  const key = parentName(place)
  const result = (waiting.get(key) ?? Promise.resolve()).then(begin)
  const settled = result.catch(() => {})
  waiting.set(key, settled)
  try {
    return await result
  } finally {
    if (waiting.get(key) === settled) waiting.delete(key)
  }
}

/**
 * The tokens that a child may use. 0 or less: none are left; `undefined`: nothing limits it. `left`: what the goal of the thread, or the lease of
 * the parent, has left, as of now.
 */
export function leaseOf(budget: ChildBudget | undefined, { reserved, children }: Siblings, left?: TokensLeft): number | undefined {
  const { tokens = Number.POSITIVE_INFINITY, total = Number.POSITIVE_INFINITY } = budget ?? {}
  const ofTotal = Math.min(tokens, total - reserved)
  if (left === undefined) return ofTotal === Number.POSITIVE_INFINITY ? undefined : ofTotal
  const open = children.reduce((sum, child) => sum + Math.max(0, child.reserved - left.counted(child)), 0)
  return Math.min(ofTotal, left.tokens - open)
}
