import type { PendingToolCall } from "../../wire/tool.ts"
import type { Past } from "./task.ts"

/** How the work of a batch starts a call. */
export interface CallStarter {
  /** Whether the effect was cancelled or its run has ended. */
  isOver(): boolean
  /** Whether the start of a call is recorded before it begins. */
  mustRecord(call: PendingToolCall): boolean
  recordStart(callId: string): Promise<Past>
  /** Called for a call that does not begin although its start was recorded. */
  skip(past: Past | undefined, callId: string): void
  now(): number | Promise<number>
  run(call: PendingToolCall, past: Past, startedAt: number): Promise<void>
  fail(error: unknown): void
}

/** Starts the calls of a batch in their order, each as soon as a place is free. Calls that are released later join the end. */
export class CallQueue {
  readonly #starter: CallStarter
  readonly #places: Places
  readonly #calls: PendingToolCall[] = []
  /** The first call that has not begun. */
  #next = 0
  #isStarting = false
  #isPaused = false
  /** Resolves when the calls so far have begun; `undefined` while none has to wait. */
  #begun: Promise<void> | undefined

  constructor(toolConcurrency: number, starter: CallStarter) {
    this.#places = new Places(toolConcurrency)
    this.#starter = starter
  }

  /** Resolves when the calls have ended, or earlier if calls that were added before them have not begun: their promise then covers all. */
  async add(calls: readonly PendingToolCall[]): Promise<void> {
    for (const call of calls) this.#calls.push(call)
    if (this.#isStarting) return
    this.#isStarting = true
    const running: Promise<void>[] = []
    try {
      await this.#startAll(running)
    } finally {
      this.#isStarting = false
    }
    await this.#begun
    await Promise.all(running)
  }

  /** No more calls begin, but those whose start is being recorded. */
  pause(): void {
    this.#isPaused = true
  }

  async #startAll(running: Promise<void>[]): Promise<void> {
    const { isOver, mustRecord, recordStart, now, fail } = this.#starter
    for (; this.#next < this.#calls.length; this.#next += 1) {
      if (this.#places.isFull) await this.#places.freed()
      if (isOver() || this.#isPaused) return
      const call = this.#calls[this.#next] as PendingToolCall
      this.#places.take()
      const records = mustRecord(call)
      const startedAt = records || this.#begun !== undefined ? undefined : now()
      if (typeof startedAt === "number") {
        this.#start(call, "first", startedAt, running)
        continue
      }
      // Not awaited: a journal stores the starts of several calls with one write.
      const begun = this.#begin(call, records ? recordStart(call.callId) : undefined, this.#begun, startedAt, running)
      this.#begun = begun
      begun.catch(fail)
    }
  }

  async #begin(
    call: PendingToolCall,
    recorded: Promise<Past> | undefined,
    before: Promise<void> | undefined,
    time: Promise<number> | undefined,
    running: Promise<void>[],
  ): Promise<void> {
    const { isOver, now, skip } = this.#starter
    // All at once: each may fail while another still waits.
    const [past = "first", , known] = await Promise.all([recorded, before, time])
    const startedAt = known ?? (isOver() ? 0 : await now())
    if (!isOver()) return this.#start(call, past, startedAt, running)
    skip(recorded && past, call.callId)
    this.#places.free()
  }

  #start(call: PendingToolCall, past: Past, startedAt: number, running: Promise<void>[]): void {
    running.push(this.#starter.run(call, past, startedAt).catch(this.#starter.fail).then(this.#places.free))
  }
}

/** Lets a number of calls run at the same time. One caller at a time may wait for a place. */
class Places {
  #left: number
  #waiting: (() => void) | undefined

  constructor(count: number) {
    this.#left = count
  }

  get isFull(): boolean {
    return this.#left < 1
  }

  take(): void {
    this.#left -= 1
  }

  /** Waits until there is a place. */
  freed(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting = resolve
    })
  }

  readonly free = (): void => {
    this.#left += 1
    this.#waiting?.()
    this.#waiting = undefined
  }
}
