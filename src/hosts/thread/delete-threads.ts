import { readGoal } from "../../drivers/goal/history.ts"
import { JournalError } from "../../errors.ts"
import { type JournalStore, JournalStoreError, type ListOptions, type OpenOptions } from "../journal/store.ts"
import { ThreadLog } from "../journal/thread-log.ts"
import { judgeName, logName } from "../journal/thread-names.ts"
import { listThreads } from "./list-threads.ts"
import { isAwaited, isOpen, turnNumber } from "./trim.ts"

/** Options of {@link deleteThreads}. */
export interface DeleteThreadsOptions extends ListOptions {
  /** The age of a thread's last record from which it is deleted, in milliseconds. */
  readonly olderThanMs: number
  /** The clock, milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number
}

/**
 * Deletes the threads of a store that rest and whose last record is old enough, and completes deletions that were interrupted. A thread with an
 * open turn, with input, with a child in the background whose end it has not received, or with a goal that is active stays, as does one that is in
 * use or whose log is damaged.
 * @returns the ids of the deleted threads, in the order of their names
 * @throws {RangeError} `olderThanMs` is not a number of at least 0
 * @throws {JournalStoreError} `unavailable`
 */
export async function deleteThreads(store: JournalStore, { olderThanMs, now = Date.now, ...list }: DeleteThreadsOptions): Promise<readonly string[]> {
  if (!(olderThanMs >= 0)) throw new RangeError(`olderThanMs must be at least 0, not ${olderThanMs}.`)
  const before = now() - olderThanMs
  const isDue = async (log: ThreadLog, names: readonly string[]): Promise<boolean> => {
    if (log.isDeleted) return true
    if (log.at > before || !rests(log)) return false
    for (const name of names) if (await isAwaited(store, log, name)) return false
    return true
  }
  const due: string[] = []
  for await (const found of listThreads(store, list)) {
    const { threadId, error } = found
    if (error === undefined ? found.updatedAt <= before : error instanceof JournalError && error.code === "deleted_thread") due.push(threadId)
  }
  const deleted: string[] = []
  for (const threadId of due) {
    try {
      if (await deleteThread(store, threadId, {}, isDue)) deleted.push(threadId)
    } catch (error) {
      if (!(error instanceof JournalStoreError) || error.code !== "in_use") throw error
    }
  }
  return deleted
}

function rests({ header, records, turn, undelivered, commands, events }: ThreadLog): boolean {
  if (turn !== undefined || undelivered.length > 0 || commands.length > 0 || events.length > 0) return false
  return readGoal(records, header?.threadId ?? "").state.goal?.status !== "active"
}

/**
 * Deletes a thread, as `Thread.delete` does, if it is due. The log is opened first, so that no other process runs the thread. Its last record then says
 * that the thread is deleted, and the log is the last to go: whatever a crash leaves is never resumed, and the next call completes it.
 * @returns whether there was a thread to delete
 */
export async function deleteThread(
  store: JournalStore,
  threadId: string,
  options: OpenOptions = {},
  isDue: (log: ThreadLog, names: readonly string[]) => boolean | Promise<boolean> = () => true,
): Promise<boolean> {
  const name = logName(threadId)
  if ((await store.read(name)) === undefined) return false
  const log = await openLog(store, name, options)
  try {
    const names = await journalsOf(store, threadId)
    if (log instanceof ThreadLog && !(await isDue(log, names))) return false
    await refuseUsed(store, names, options)
    // A damaged log is refused as it is.
    if (log instanceof ThreadLog && log.header !== undefined && !log.isDeleted) await log.append({ type: "deleted", at: log.at })
    for (const journal of names) await store.delete(journal)
  } finally {
    await log.close()
  }
  await store.delete(name)
  return true
}

async function openLog(store: JournalStore, name: string, options: OpenOptions): Promise<ThreadLog | { close(): Promise<void> }> {
  try {
    return await ThreadLog.open(store, name, options)
  } catch (error) {
    if (!(error instanceof JournalError)) throw error
    return store.open(name, options)
  }
}

/** The journals of a thread's turns and of their children, and the one of its judge. */
async function journalsOf(store: JournalStore, threadId: string): Promise<readonly string[]> {
  const names: string[] = []
  for await (const name of store.list({ prefix: `${threadId}.` }))
    if (turnNumber(name, threadId) !== undefined || name === judgeName(threadId)) names.push(name)
  return names
}

/** Refuses before anything is deleted. Only a turn that has not ended can be in use for long. @throws {JournalStoreError} `in_use` */
async function refuseUsed(store: JournalStore, names: readonly string[], options: OpenOptions): Promise<void> {
  for (const name of names) {
    if (!(await isOpen(store, name))) continue
    const stored = await store.open(name, options)
    await stored.close()
  }
}
