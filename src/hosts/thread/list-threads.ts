import { JournalError, TurnError } from "../../errors.ts"
import type { Json } from "../../json.ts"
import { THREAD_FORMAT } from "../../wire/thread.ts"
import type { JournalStore, ListOptions } from "../journal/store.ts"
import { ThreadLog } from "../journal/thread-log.ts"
import type { ThreadTurn } from "./config.ts"

/** What a thread's log says of it. */
export interface ListedThread {
  readonly threadId: string
  /** The turn that has begun and not ended. Absent: there is none. */
  readonly openTurn?: ThreadTurn
  /** How many turns have begun. */
  readonly turns: number
  /** When the last record of the log was written. Milliseconds since the epoch. */
  readonly updatedAt: number
  /** The host's own data from the header. */
  readonly meta?: Json
  /** Whether a message, a goal command or an event waits. While a turn is open, it may have received them. */
  readonly hasInput: boolean
  readonly error?: undefined
}

/** A thread whose log cannot be read. `deleted_thread`: its deletion was interrupted; `Thread.delete` completes it. */
export interface UnreadableThread {
  readonly threadId: string
  readonly error: Error
  readonly openTurn?: undefined
  readonly turns?: undefined
  readonly updatedAt?: undefined
  readonly meta?: undefined
  readonly hasInput?: undefined
}

/** What the names of logs end in. */
const SUFFIX = ".thread"

/**
 * Lists the threads of a store, as `Thread.list` does.
 * @throws {JournalStoreError} `unavailable`: the journals cannot be listed
 */
export async function* listThreads(
  store: Pick<JournalStore, "list" | "read">,
  options: ListOptions = {},
): AsyncGenerator<ListedThread | UnreadableThread, void, undefined> {
  for await (const name of store.list(options)) {
    if (!name.endsWith(SUFFIX)) continue
    const threadId = name.slice(0, -SUFFIX.length)
    try {
      const log = await readLog(store, name)
      if (log?.header === undefined) continue
      checkLog(log, threadId)
      yield { threadId, ...factsOf(log, log.header.meta) }
    } catch (error) {
      if (!(error instanceof TurnError)) throw error
      yield { threadId, error }
    }
  }
}

/** Reads a log; `undefined`: there is none, or the text is of something else. @throws {JournalError} it is damaged */
async function readLog(store: Pick<JournalStore, "read">, name: string): Promise<ThreadLog | undefined> {
  const text = await store.read(name)
  if (text === undefined) return undefined
  let beginning = ""
  const seen = async function* (): AsyncGenerator<string, void, undefined> {
    for await (const part of text) {
      if (beginning.length < BEGINNING_CHARS) beginning += part.slice(0, BEGINNING_CHARS)
      yield part
    }
  }
  try {
    return await ThreadLog.read(seen())
  } catch (error) {
    if (error instanceof JournalError && error.record === 1 && !beginning.includes(`"format":"${THREAD_FORMAT}"`)) return undefined
    throw error
  }
}

const BEGINNING_CHARS = 100

/** Refuses the log of another thread, and that of a thread whose deletion has begun. @throws {JournalError} `invalid_record`, `deleted_thread` */
export function checkLog({ header, isDeleted, place }: ThreadLog, threadId: string): void {
  const known = header?.threadId ?? threadId
  if (known !== threadId)
    throw new JournalError("invalid_record", 1, 0, `The log belongs to thread ${JSON.stringify(known)}, not to ${JSON.stringify(threadId)}.`)
  if (isDeleted)
    throw new JournalError(
      "deleted_thread",
      place.records,
      0,
      `The deletion of thread ${JSON.stringify(threadId)} was interrupted. Call Thread.delete again to complete it.`,
    )
}

function factsOf({ turn, turns, at, undelivered, commands, events }: ThreadLog, meta: Json | undefined): Omit<ListedThread, "threadId"> {
  return {
    ...(turn !== undefined && { openTurn: { turnId: turn.turnId, origin: turn.origin, startedAt: turn.at } }),
    turns,
    updatedAt: at,
    ...(meta !== undefined && { meta }),
    hasInput: undelivered.length > 0 || commands.length > 0 || events.length > 0,
  }
}
