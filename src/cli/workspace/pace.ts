import { setImmediate } from "node:timers/promises"

/** Work of about a millisecond: characters to search, or entries of a folder. */
const SLICE = 16_384

/** Divides a long computation into slices, between which timers, signals and other work are handled. */
export class Pace {
  /** How much work fits into a slice. */
  static readonly slice: number = SLICE
  readonly #signal: AbortSignal | undefined
  #done = 0

  constructor(signal?: AbortSignal) {
    this.#signal = signal
  }

  /** Counts work. Returns true when the slice is used up: then `await pace.pause()`. */
  spend(amount: number): boolean {
    this.#done += amount
    return this.#done >= SLICE
  }

  /** Lets other work run, and starts a slice. @throws the signal's reason, if it is aborted */
  async pause(): Promise<void> {
    this.#done = 0
    await setImmediate()
    this.#signal?.throwIfAborted()
  }
}
