import { digest } from "../../replay/digest.ts"
import type { ChildPlace, TurnChildren } from "../host.ts"
import { idempotencyKey } from "./idempotency-key.ts"

/** The tool call that a child belongs to. */
export interface ChildCall {
  readonly turnId: string | number
  readonly effectId: number
  readonly callId: string
  readonly signal: AbortSignal
}

/** Returns where the child of a tool call belongs. A call id of a model may be anything, so the journal's name has a digest of it. */
export function childPlace(
  { store, name, depth, left, grants }: TurnChildren,
  { turnId, effectId, callId, signal }: ChildCall,
  child?: string,
): ChildPlace {
  const id = idempotencyKey(turnId, effectId, callId, ...(child === undefined ? [] : [child]))
  const parent = { turnId: String(turnId), effectId, callId, ...(child !== undefined && { name: child }), depth: depth + 1 }
  return {
    turnId: id,
    store,
    name: `${childrenPrefix(name)}${effectId}-${digest(id)}`,
    parent,
    signal,
    ...(left !== undefined && { left }),
    ...(grants !== undefined && { grants }),
  }
}

/** What the names of the journals of a turn's children begin with, and those of their children. */
export function childrenPrefix(name: string): string {
  return `${name}.child-`
}

/** Whether a journal has the name of a child of a turn, or of a child of a child. `name`: the journal of the turn. */
export function isBelow(name: string, found: string): boolean {
  return found.startsWith(name) && /^(?:\.child-\d+-[0-9a-f]{16})+$/.test(found.slice(name.length))
}

/** The name of the journal of a child's parent. */
export function parentName({ name }: Pick<ChildPlace, "name">): string {
  return name.slice(0, name.lastIndexOf(".child-"))
}
