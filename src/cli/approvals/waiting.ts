import { pendingApprovals } from "../../hosts/journal/pending-approvals.ts"
import type { JournalStore } from "../../hosts/journal/store.ts"
import type { ExternalCall, HeldCall } from "../../wire/approval.ts"
import type { JournalParent } from "../../wire/journal.ts"
import { oneLine } from "../terminal/format.ts"

/** An open turn whose calls wait. */
export interface WaitingTurn {
  /** The name of its journal in its store. */
  readonly name: string
  readonly turnId: string
  readonly held: readonly HeldCall[]
  readonly pending: readonly ExternalCall[]
  /** The call that the turn runs for, if it is the child of another turn. */
  readonly parent?: JournalParent
  /** Since when it waits. Milliseconds since the epoch. */
  readonly since?: number
}

/** The turns of a store whose calls wait. `problems`: its journals that cannot be read. */
export interface WaitingTurns {
  readonly turns: readonly WaitingTurn[]
  readonly problems: readonly string[]
}

/**
 * Reads which calls wait, also while a process works on them. `prefix`: only of journals whose names begin with it.
 * @throws {JournalStoreError} `unavailable`
 */
export async function readWaiting(store: JournalStore, prefix?: string): Promise<WaitingTurns> {
  const turns: WaitingTurn[] = []
  const problems: string[] = []
  for await (const found of pendingApprovals(store, prefix === undefined ? {} : { prefix })) {
    if (found.error !== undefined) problems.push(`${oneLine(found.name)}: ${oneLine(found.error.message)}`)
    else turns.push(found)
  }
  return { turns: withoutChildren(turns), problems }
}

/** A call that continues in a child is not answered from outside: the child has calls of its own that wait. */
function withoutChildren(turns: readonly WaitingTurn[]): readonly WaitingTurn[] {
  const children = new Set(turns.flatMap(({ turnId, parent }) => (parent === undefined ? [] : [turnId])))
  return children.size === 0 ? turns : turns.map((turn) => ({ ...turn, pending: turn.pending.filter(({ token }) => !children.has(token)) }))
}
