import { wireValidation } from "../../checks/validation.ts"
import type { DurableThreadEvent, LiveThreadEvent, ThreadEvent } from "../../wire/thread-event.ts"
import type { JournalStore } from "../journal/store.ts"
import { sleep } from "../timers.ts"
import { type GoalTurnOptions, goalConfig } from "./config.ts"
import type { EventHub, LiveCall } from "./event-hub.ts"
import { EventCursor, type EventSource, recordedEvents } from "./event-records.ts"

/** Options of `Thread.events`. */
export interface ThreadEventsOptions {
  /** The `cursor` of the last event that was received. Default: from the beginning of the thread. */
  readonly after?: string | undefined
  /** Aborting it ends the iteration. */
  readonly signal?: AbortSignal | undefined
  /** False: the iteration ends after the events that are recorded. Default true: it ends when the thread closes. */
  readonly live?: boolean
}

/** Options of {@link threadEvents}. */
export interface ReadThreadEventsOptions extends Omit<ThreadEventsOptions, "live"> {
  /**
   * The options of the thread. Without them, the journals of its turns are not replayed: the messages of a turn, and nothing else of it, come when
   * the turn has ended.
   */
  readonly thread?: GoalTurnOptions | undefined
  /** Reads the records again every so many milliseconds, until `signal` is aborted. Default: the iteration ends after the events that are recorded. */
  readonly pollMs?: number
}

/** How the events of a thread are read. */
export function eventSource(store: Pick<JournalStore, "read">, threadId: string, options: GoalTurnOptions | undefined): EventSource {
  return {
    store,
    threadId,
    configOf: ({ goals, ...turn }) => {
      if (options === undefined) return undefined
      // A turn is replayed as it began: with its goal or without.
      const given = { ...options, goals: goals !== false }
      const config = goalConfig(threadId, turn, given)
      return { ...config, validation: config.validation ?? wireValidation }
    },
  }
}

/**
 * Reads the events of a thread without opening it, also while another process runs it. Nothing is written. There are no live events: with
 * `pollMs`, an event comes at the next poll after it was recorded. Each poll reads the log, and the journal of the open turn.
 *
 *     for await (const event of threadEvents(store, "thread-1", { after: lastCursor, thread: { config } })) send(event)
 *
 * A thread that does not exist has no events.
 * @throws {ThreadCursorError} `invalid_cursor`, `cursor_of_other_thread`, `cursor_beyond_end`
 * @throws {JournalError} the log, or the journal of the open turn, is damaged
 * @throws {JournalStoreError} `invalid_name`, `unavailable`
 * @throws {RangeError} `pollMs` is not at least 1
 */
export async function* threadEvents(
  store: Pick<JournalStore, "read">,
  threadId: string,
  { after, signal, thread, pollMs }: ReadThreadEventsOptions = {},
): AsyncGenerator<DurableThreadEvent, void, undefined> {
  if (pollMs !== undefined && !(pollMs >= 1)) throw new RangeError(`pollMs must be at least 1, not ${pollMs}.`)
  const source = eventSource(store, threadId, thread)
  const cursor = new EventCursor(after)
  while (signal?.aborted !== true) {
    yield* recordedEvents(source, cursor, signal)
    if (pollMs === undefined) return
    await sleep(pollMs, signal)
  }
}

/** The events of an open thread: those that are recorded, then those that come. */
export async function* followEvents(
  hub: EventHub,
  { after, signal, live = true }: ThreadEventsOptions,
): AsyncGenerator<ThreadEvent, void, undefined> {
  const cursor = new EventCursor(after)
  if (!live) return yield* recordedEvents(hub.source, cursor, signal)
  hub.follow()
  try {
    yield* followed(hub, cursor, signal)
  } finally {
    hub.unfollow()
  }
}

async function* followed(hub: EventHub, cursor: EventCursor, signal: AbortSignal | undefined): AsyncGenerator<ThreadEvent, void, undefined> {
  const shown = new LiveView(hub)
  let isRead = false
  while (signal?.aborted !== true) {
    const isReady = hub.isReady
    if (isRead && !isReady && !hub.isClosed) {
      await hub.changed(signal)
      continue
    }
    const recent = isRead && isReady ? hub.after((position) => cursor.includes(position)) : undefined
    if (recent === undefined) {
      const isLast = hub.isClosed
      yield* recordedEvents(hub.source, cursor, signal)
      if (isLast) return
      isRead = true
      continue
    }
    const next = recent.find((placed) => cursor.isNew(placed))
    if (next !== undefined) {
      const { content } = next
      // The last text of a call comes before its end.
      if (content.type === "model_call_ended") yield* shown.call(hub.runningCall(content))
      const event = cursor.next(next)
      if (event !== undefined) yield event
      continue
    }
    const [live] = shown.next()
    if (live !== undefined) {
      yield live
      continue
    }
    if (hub.isClosed) return
    await hub.changed(signal)
  }
}

/** What a reader has seen of the live events. It keeps numbers only, so a slow reader costs no memory: what it has not seen is joined, or lost. */
class LiveView {
  readonly #hub: EventHub
  #number = 0
  #piece = 0
  #length = 0
  #shown: number

  constructor(hub: EventHub) {
    this.#hub = hub
    this.#shown = hub.shownCount
  }

  /** The live events that the reader has not seen. */
  *next(): Generator<LiveThreadEvent, void, undefined> {
    yield* this.call(this.#hub.runningCall())
    for (const { number, event } of this.#hub.shownAfter(this.#shown)) {
      this.#shown = number
      yield event
    }
  }

  /** The text of a call that the reader has not seen, each piece as one delta. */
  *call(call: LiveCall | undefined): Generator<LiveThreadEvent, void, undefined> {
    if (call === undefined) return
    const { turnId, effectId, pieces } = call
    if (this.#number !== call.number) {
      this.#number = call.number
      this.#piece = 0
      this.#length = 0
      yield { type: "model_call_started", turnId, effectId }
    }
    for (let piece = pieces[this.#piece]; piece !== undefined && this.#number === call.number; piece = pieces[this.#piece]) {
      const delta = piece.text.slice(this.#length)
      this.#length = piece.text.length
      if (delta !== "") yield { type: piece.type, turnId, effectId, delta }
      if (this.#length < piece.text.length) continue
      if (this.#piece + 1 >= pieces.length) return
      this.#piece += 1
      this.#length = 0
    }
  }
}
