import { readHeader } from "../child/turn-tree.ts"
import { lastLine } from "../journal/parts.ts"
import { END } from "../journal/pending-approvals.ts"
import { type JournalStore, JournalStoreError } from "../journal/store.ts"
import type { ThreadLog } from "../journal/thread-log.ts"
import { childrenPrefix, isBelow } from "../run/child-place.ts"
import { isSettled } from "./children.ts"

/** Which turns a trim reaches: those whose numbers are lower. */
interface TrimmedTurns {
  readonly threadId: string
  readonly below: number
  readonly log: ThreadLog
}

/**
 * Deletes the journals of turns that have ended, with those of their children. Used at the opening of a thread: a crash may have left several.
 * @throws {JournalStoreError} `unavailable`
 */
export async function trimTurns(store: JournalStore, { threadId, below, log }: TrimmedTurns): Promise<void> {
  if (below <= 1) return
  const names: string[] = []
  for await (const name of store.list({ prefix: `${threadId}.` })) {
    const number = turnNumber(name, threadId)
    if (number !== undefined && number < below) names.push(name)
  }
  await deleteEnded(store, log, names)
}

/** Deletes the journal of one turn that has ended. `hasChildren`: its tool calls may have begun turns of their own. */
export async function trimTurn(store: JournalStore, log: ThreadLog, turnId: string, hasChildren: boolean): Promise<void> {
  const names: string[] = []
  if (hasChildren) for await (const name of store.list({ prefix: childrenPrefix(turnId) })) if (isBelow(turnId, name)) names.push(name)
  await deleteEnded(store, log, [turnId, ...names])
}

/** A child may run longer than the turn that began it. Its journal stays until it has ended, too, and the thread has received its end. */
async function deleteEnded(store: JournalStore, log: ThreadLog, names: readonly string[]): Promise<void> {
  const open = new Set<string>()
  for (const name of names) if (name.includes(CHILD) && ((await isOpen(store, name)) || (await isAwaited(store, log, name)))) open.add(name)
  for (const name of names) {
    // The children of an open turn are needed to resume it.
    if (open.has(name) || [...open].some((parent) => name.startsWith(childrenPrefix(parent)))) continue
    try {
      await store.delete(name)
    } catch (error) {
      // Another process records a decision in it. The next opening of the thread deletes it.
      if (!(error instanceof JournalStoreError) || error.code !== "in_use") throw error
    }
  }
}

/** Whether a journal is that of a child in the background whose end the thread has not received, or not charged. It may have ended. */
export async function isAwaited(store: Pick<JournalStore, "read">, log: ThreadLog, name: string): Promise<boolean> {
  const first = name.indexOf(CHILD)
  if (first < 0 || first !== name.lastIndexOf(CHILD) || isSettled(log, name)) return false
  return (await readHeader(store, name))?.parent?.detached !== undefined
}

/** Whether a turn has begun and not ended, as its journal says. */
export async function isOpen(store: Pick<JournalStore, "read">, name: string): Promise<boolean> {
  const text = await store.read(name)
  return text !== undefined && !END.test(await lastLine(text))
}

/** What the names of the journals of children have. */
const CHILD = childrenPrefix("")

/** The number of the turn that a journal belongs to: its own, or that of the turn that it is a child of. `undefined`: it is of no turn of the thread. */
export function turnNumber(name: string, threadId: string): number | undefined {
  if (!name.startsWith(`${threadId}.`)) return undefined
  const [, digits] = /^([1-9]\d*)(?:\.child-\d+-[0-9a-f]{16})*$/.exec(name.slice(threadId.length + 1)) ?? []
  return digits === undefined ? undefined : Number(digits)
}
