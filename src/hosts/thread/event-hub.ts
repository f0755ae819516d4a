import { JournalError } from "../../errors.ts"
import { START, type ThreadPosition } from "../../replay/thread-cursor.ts"
import type { PlacedEvent } from "../../replay/thread-events.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { LiveThreadEvent } from "../../wire/thread-event.ts"
import { wrapMembers } from "../../wrap.ts"
import { type EffectContext, type Host, wrapHost } from "../host.ts"
import type { JournalStore, StoredJournal } from "../journal/store.ts"
import type { ThreadLog } from "../journal/thread-log.ts"
import { logName } from "../journal/thread-names.ts"
import { EventRecords, type EventSource } from "./event-records.ts"

/** How many durable events are kept for readers that are live. A reader that falls further behind reads the records again. */
const RECENT_EVENTS = 256

/** How many events of plugins, and of retries, are kept. */
const RECENT_SHOWN = 64

/** How often in a row the records are read anew because what was appended does not follow them. */
const MOST_RESTARTS = 100

/** A model call of this process, with what it has said so far. */
export interface LiveCall {
  readonly number: number
  readonly turnId: string
  readonly effectId: number
  readonly pieces: { readonly type: "text_delta" | "reasoning_delta"; text: string }[]
  isOver: boolean
}

/** An event of an executor with its number. */
export interface ShownEvent {
  readonly number: number
  readonly event: LiveThreadEvent
}

/**
 * What an open thread knows of its events: the last durable ones, in memory and bounded, and what the executors of this process show. It watches
 * the store of its thread, and computes nothing while there is no reader.
 */
export class EventHub {
  #source: EventSource
  readonly #most: number
  #readers = 0
  #isClosed = false
  #failure: { readonly error: unknown } | undefined
  /** The records up to now; `undefined`: they are being read, or there is no reader. */
  #records: EventRecords | undefined
  /** What was appended while the records are read; `undefined` while they are not. */
  #appended: { readonly name: string; readonly text: string }[] | undefined
  #restarts = 0
  #isStale = false
  /** The last events, and the position before the first of them. */
  #recent: PlacedEvent[] = []
  #base: ThreadPosition = START
  #waiting = new Set<() => void>()
  #call: LiveCall | undefined
  #calls = 0
  #shown: ShownEvent[] = []
  /** The last progress of each running tool call. */
  readonly #progress = new Map<string, ShownEvent>()
  #shownCount = 0

  constructor(source: EventSource, most: number = RECENT_EVENTS) {
    this.#source = source
    this.#most = most
  }

  /** Where the events are read from. */
  get source(): EventSource {
    return this.#source
  }

  /** The log is open: what is in memory of it need not be read. */
  opened(log: ThreadLog): void {
    this.#source = { ...this.#source, log }
  }

  /** The same store, of which the hub sees what is appended to the log and to the journal of the open turn. */
  watched(store: JournalStore): JournalStore {
    return wrapMembers(store, {
      open: async (next: JournalStore["open"], ...given: Parameters<JournalStore["open"]>) => {
        const [name] = given
        return wrapMembers(await next(...given), {
          append: async (append: StoredJournal["append"], text: string) => {
            await append(text)
            this.#onAppended(name, text)
          },
          replace: async (replace: StoredJournal["replace"], text: string | AsyncIterable<string>) => {
            await replace(text)
            this.#onReplaced(name)
          },
        })
      },
    })
  }

  /** The same host, of which the hub sees what the executors of a turn emit. */
  shownBy(turnId: string, host: Host): Host {
    return wrapHost(host, {
      llmCall: (next, effect, context) => {
        this.#calls += 1
        const call: LiveCall = { number: this.#calls, turnId, effectId: effect.id, pieces: [], isOver: false }
        this.#call = call
        this.#wake()
        const emitting = this.#emitting(context, (event) => this.#onModelEvent(call, event))
        return untilEnd(
          () => next(effect, emitting),
          () => {
            call.isOver = true
          },
        )
      },
      tools: {
        call: (next, pending, context) => {
          const { callId } = pending
          let isOver = false
          const emitting = this.#emitting(context, (event) => {
            if (!isOver) this.#onToolEvent(turnId, callId, event)
          })
          return untilEnd(
            () => next(pending, emitting),
            () => {
              isOver = true
              this.#progress.delete(callId)
            },
          )
        },
      },
    })
  }

  /** Begins to follow the thread for one more reader. */
  follow(): void {
    this.#readers += 1
    if (this.#records === undefined && this.#appended === undefined && this.#failure === undefined) void this.#start()
  }

  /** Forgets everything with the last reader. */
  unfollow(): void {
    this.#readers -= 1
    if (this.#readers > 0) return
    this.#records = undefined
    this.#failure = undefined
    this.#recent = []
  }

  /** No more events will come. Readers end when they have received those that are recorded. */
  close(): void {
    this.#isClosed = true
    // Another process may write to the log from now on.
    const { log: _log, ...source } = this.#source
    this.#source = source
    this.#wake()
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Whether the records are read up to now. @throws why they cannot be read */
  get isReady(): boolean {
    if (this.#failure !== undefined) throw this.#failure.error
    return this.#records !== undefined
  }

  /** The events after a position, the oldest first; `undefined`: the position is too far back, and the records have to be read. */
  after(includes: (position: ThreadPosition) => boolean): readonly PlacedEvent[] | undefined {
    return includes(this.#base) ? this.#recent : undefined
  }

  /** The model call that runs, unless its end is recorded. `ended`: the call whose end is about to be shown. */
  runningCall(ended?: { readonly turnId: string; readonly effectId: number }): LiveCall | undefined {
    const call = this.#call
    if (call === undefined) return undefined
    if (ended !== undefined) return call.turnId === ended.turnId && call.effectId === ended.effectId ? call : undefined
    const { openTurn, answeredModelCall = 0 } = this.#records ?? {}
    return openTurn?.turnId === call.turnId && answeredModelCall < call.effectId && !call.isOver ? call : undefined
  }

  /** What executors have shown after a number: the last progress of each running tool call, and the last other events. */
  shownAfter(number: number): readonly ShownEvent[] {
    const shown = [...this.#shown, ...this.#progress.values()].filter((event) => event.number > number)
    return shown.sort((left, right) => left.number - right.number)
  }

  get shownCount(): number {
    return this.#shownCount
  }

  /** Resolves at the next change. */
  changed(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake)
        signal?.removeEventListener("abort", wake)
        resolve()
      }
      this.#waiting.add(wake)
      signal?.addEventListener("abort", wake)
      if (signal?.aborted === true) wake()
    })
  }

  #wake(): void {
    for (const wake of this.#waiting) wake()
  }

  #emitting(context: EffectContext, see: (event: TurnEvent) => void): EffectContext {
    return {
      ...context,
      emit: (event) => {
        if (!context.signal.aborted) see(event)
        context.emit(event)
      },
    }
  }

  #onModelEvent(call: LiveCall, event: TurnEvent): void {
    if (call.isOver) return
    const { turnId, effectId } = call
    switch (event.type) {
      case "text_delta":
      case "reasoning_delta": {
        const last = call.pieces.at(-1)
        if (last?.type === event.type) last.text += event.content
        else call.pieces.push({ type: event.type, text: event.content })
        this.#wake()
        break
      }
      case "retry_status": {
        const { type: _type, envelope: _envelope, ...retry } = event
        this.#show({ type: "retry", turnId, effectId, ...retry })
        break
      }
      case "plugin_event":
        this.#show({ turnId, ...event })
    }
  }

  #onToolEvent(turnId: string, callId: string, event: TurnEvent): void {
    if (event.type === "plugin_event") this.#show({ turnId, ...event })
    if (event.type !== "tool_progress") return
    const { name: toolName, ...progress } = event
    this.#shownCount += 1
    this.#progress.set(callId, { number: this.#shownCount, event: { turnId, toolName, ...progress, callId } })
    this.#wake()
  }

  #show(event: LiveThreadEvent): void {
    this.#shownCount += 1
    this.#shown = [...this.#shown, { number: this.#shownCount, event }].slice(-RECENT_SHOWN)
    this.#wake()
  }

  #onAppended(name: string, text: string): void {
    if (this.#appended !== undefined) {
      this.#appended.push({ name, text })
      return
    }
    if (this.#records === undefined) return
    try {
      this.#add(this.#records.appended(name, text))
      this.#restarts = 0
    } catch (error) {
      this.#onBroken(error)
    }
  }

  /** The text has changed: an incomplete line was removed, or an older journal was rewritten. */
  #onReplaced(name: string): void {
    const isOwn = name === logName(this.#source.threadId) || name === this.#records?.openTurn?.turnId
    if (this.#appended !== undefined) this.#isStale = true
    else if (this.#records !== undefined && isOwn) void this.#start()
  }

  #onBroken(error: unknown): void {
    // Another process wrote to a journal, or a line was read before its write was reported.
    if (error instanceof JournalError && this.#restarts < MOST_RESTARTS) {
      this.#restarts += 1
      void this.#start()
    } else {
      this.#fail(error)
    }
  }

  #fail(error: unknown): void {
    this.#records = undefined
    this.#appended = undefined
    this.#failure = { error }
    this.#wake()
  }

  async #start(): Promise<void> {
    const appended: { readonly name: string; readonly text: string }[] = []
    this.#records = undefined
    this.#appended = appended
    this.#isStale = false
    try {
      const records = (await EventRecords.ofTail(this.#source)) ?? (await EventRecords.ofLog(this.#source))
      for await (const _event of records.read(records.lastTurn));
      if (this.#appended !== appended) return
      this.#appended = undefined
      if (this.#readers === 0) return
      if (this.#isStale) {
        this.#onBroken(new JournalError("damaged_record", 0, 0, "The text was replaced while it was read."))
        return
      }
      this.#records = records
      this.#recent = []
      this.#base = records.position
      for (const { name, text } of unread(appended, records)) this.#onAppended(name, text)
    } catch (error) {
      if (this.#appended === appended) this.#fail(error)
    }
    this.#wake()
  }

  #add(events: readonly PlacedEvent[]): void {
    if (events.length === 0) return
    this.#recent.push(...events)
    for (const { content } of events) if (content.type === "tool_call_ended" && content.callId !== undefined) this.#progress.delete(content.callId)
    const dropped = this.#recent.splice(0, Math.max(0, this.#recent.length - this.#most)).at(-1)
    if (dropped !== undefined) this.#base = dropped.position
    this.#wake()
  }
}

/** The texts that were appended after the records were read. */
function unread(
  appended: readonly { readonly name: string; readonly text: string }[],
  records: EventRecords,
): readonly { readonly name: string; readonly text: string }[] {
  return appended.filter(({ name }, index) => {
    const later = appended.slice(index).filter((other) => other.name === name)
    return !later.slice(1).some(({ text }) => records.endsIn(name, text))
  })
}

/** Runs `end` when the work has ended. The promise is the work's own: a later one would give an executor time to change what it returned. */
function untilEnd<Result>(work: () => Promise<Result>, end: () => void): Promise<Result> {
  try {
    const result = work()
    void Promise.resolve(result).then(end, end)
    return result
  } catch (error) {
    end()
    throw error
  }
}
