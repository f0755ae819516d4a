import type { PendingToolCall } from "../../wire/tool.ts"
import type { Past } from "./task.ts"

/** How the work of a batch starts a call. */
export interface CallStarter {
  /** Whether the effect was cancelled, or its run has ended or ends with an error. */
  isOver(): boolean
  /** Whether the start of a call is recorded before it begins. */
  mustRecord(call: PendingToolCall): boolean
  recordStart(callId: string): Promise<Past>
  /** Called for a call that does not begin although its start was recorded. */
  skip(past: Past | undefined, callId: string): void
  now(): number | Promise<number>
  /** Called when a call takes a place, before anything of it begins. */
  take(): void
  /** Called once when its place is free again. */
  free(): void
  /** Calls `end` once, later. Must not throw. */
  run(call: PendingToolCall, past: Past, startedAt: number, end: () => void): void
  fail(error: unknown): void
}

/** Starts the calls of a batch in their order, each as soon as a place is free. Calls that are released later join the end. */
export class CallQueue {
  readonly #starter: CallStarter
  readonly #calls: PendingToolCall[] = []
  /** How many calls may run at the same time. */
  #places: number
  /** The first call that has not begun. */
  #next = 0
  /** Paused, or broken by an error. */
  #isClosed = false
  /** Resolves when the calls so far have begun; `undefined` while none has to wait. */
  #begun: Promise<void> | undefined

  constructor(toolConcurrency: number, starter: CallStarter) {
    this.#places = toolConcurrency
    this.#starter = starter
  }

  add(calls: readonly PendingToolCall[]): void {
    for (const call of calls) this.#calls.push(call)
    this.#startCalls()
  }

  /** No more calls begin, but those whose start is being recorded. */
  pause(): void {
    this.#isClosed = true
  }

  #startCalls(): void {
    const { isOver, fail } = this.#starter
    while (this.#next < this.#calls.length && this.#places > 0) {
      if (isOver() || this.#isClosed) return
      const call = this.#calls[this.#next] as PendingToolCall
      this.#next += 1
      this.#places -= 1
      this.#starter.take()
      try {
        this.#start(call)
      } catch (error) {
        this.#isClosed = true
        fail(error)
        this.#end()
      }
    }
  }

  #start(call: PendingToolCall): void {
    const { mustRecord, recordStart, now, run, fail } = this.#starter
    const records = mustRecord(call)
    const startedAt = records || this.#begun !== undefined ? undefined : now()
    if (typeof startedAt === "number") {
      run(call, "first", startedAt, this.#end)
      return
    }
    // Not awaited: a journal stores the starts of several calls with one write.
    this.#begun = this.#begin(call, records ? recordStart(call.callId) : undefined, this.#begun, startedAt)
    this.#begun.catch((error) => {
      fail(error)
      this.#end()
    })
  }

  /** Rejects, and with it the calls after it, where a start cannot be recorded. */
  async #begin(
    call: PendingToolCall,
    recorded: Promise<Past> | undefined,
    before: Promise<void> | undefined,
    time: Promise<number> | undefined,
  ): Promise<void> {
    const { isOver, now, skip, run } = this.#starter
    // All at once: each may fail while another still waits.
    const [past = "first", , known] = await Promise.all([recorded, before, time])
    const startedAt = known ?? (isOver() ? 0 : await now())
    if (isOver()) {
      skip(recorded && past, call.callId)
      this.#end()
    } else run(call, past, startedAt, this.#end)
  }

  readonly #end = (): void => {
    this.#places += 1
    this.#startCalls()
    this.#starter.free()
  }
}
