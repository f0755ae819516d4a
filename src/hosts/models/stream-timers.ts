import type { WireStream } from "../../projectors/wires/wire.ts"
import type { LlmFailure } from "../../wire/llm.ts"
import { timerMs } from "../timers.ts"
import { silent } from "./network-failures.ts"

/** How long a stream is waited for. */
export interface StreamTimes {
  /** Milliseconds without a byte after which a stream fails. */
  readonly idleTimeoutMs: number
  /** Milliseconds after the finish reason in which a stream may still send its usage. */
  readonly usageWaitMs: number
}

/** Milliseconds that a stream may stay open after its finish reason and its usage. */
const END_WAIT_MS = 500

/**
 * The timers of a stream: silence, and the wait for the usage after the end of the answer. Heartbeats do not extend that wait. If the
 * answer grows after its finish reason, the endpoint sends one in each chunk, and only silence counts.
 */
export class StreamTimers {
  readonly #times: StreamTimes
  readonly #stop: (failure: LlmFailure) => void
  #timer: ReturnType<typeof setTimeout> | undefined
  /** What the timer was set to. */
  #ms: number | undefined
  #state: "open" | "complete" | "has usage" = "open"
  #piecesAtEnd: number | undefined

  constructor(times: StreamTimes, stop: (failure: LlmFailure) => void) {
    this.#times = times
    this.#stop = stop
  }

  start(): void {
    this.#restart(this.#times.idleTimeoutMs)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  onBytes(stream: WireStream | undefined): void {
    if (stream?.ended === true) this.#piecesAtEnd ??= stream.pieces
    if (stream?.ended !== true || stream.pieces !== this.#piecesAtEnd) {
      this.start()
      return
    }
    const { idleTimeoutMs, usageWaitMs } = this.#times
    const waitMs = Math.min(idleTimeoutMs, usageWaitMs)
    if (stream.hasUsage && this.#state !== "has usage") {
      this.#state = "has usage"
      this.#restart(Math.min(waitMs, END_WAIT_MS))
    } else if (this.#state === "open") {
      this.#state = "complete"
      this.#restart(waitMs)
    }
  }

  #restart(ms: number): void {
    if (this.#timer !== undefined && ms === this.#ms && refreshed(this.#timer)) return
    this.#ms = ms
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#stop(silent(this.#times.idleTimeoutMs)), timerMs(ms))
  }
}

/** Node restarts a timer in place, which costs a third of making another. Returns false elsewhere. */
function refreshed(timer: unknown): boolean {
  const { refresh } = timer as { readonly refresh?: () => void }
  refresh?.call(timer)
  return refresh !== undefined
}
