import { JournalError } from "../../errors.ts"
import { digest } from "../../replay/digest.ts"
import type { SuspendedChild } from "../host.ts"
import { childrenPrefix, isBelow } from "../run/child-place.ts"
import { pendingApprovals, pendingIn } from "./pending-approvals.ts"
import type { JournalStore } from "./store.ts"

/** Finds the journal of a child, or of a child of a child, below the turns whose journals begin with `prefix`. */
export async function findChild(store: Pick<JournalStore, "list">, prefix: string, turnId: string): Promise<string | undefined> {
  const ending = `-${digest(turnId)}`
  for await (const name of store.list({ prefix })) if (name.includes(childrenPrefix("")) && name.endsWith(ending)) return name
  return undefined
}

/** The children of all turns of a thread that wait, and their children. Only the journals of children are read. */
export async function waitingChildrenOf(store: Pick<JournalStore, "list" | "read">, threadId: string): Promise<readonly SuspendedChild[]> {
  const found: SuspendedChild[] = []
  for await (const name of store.list({ prefix: `${threadId}.` })) {
    const [, turn] = /^(\d+)\.child-/.exec(name.slice(threadId.length + 1)) ?? []
    if (turn === undefined || !isBelow(`${threadId}.${turn}`, name)) continue
    const child = await pendingIn(store, name).catch(nothingUnreadable)
    if (child !== undefined) found.push(child)
  }
  return found
}

function nothingUnreadable(error: unknown): undefined {
  if (!(error instanceof JournalError)) throw error
}

/** The children of a turn that wait for decisions, or for work outside, and their children. `name`: the journal of the turn. */
export async function waitingChildren(store: Pick<JournalStore, "list" | "read">, name: string): Promise<readonly SuspendedChild[]> {
  const found: SuspendedChild[] = []
  for await (const child of pendingApprovals(store, { prefix: childrenPrefix(name) }))
    if (child.error === undefined && isBelow(name, child.name)) found.push(child)
  return found
}
