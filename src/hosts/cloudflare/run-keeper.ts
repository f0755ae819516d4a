import { sleep } from "../timers.ts"
import type { TurnObjectStorage } from "./platform.ts"

/** How long a run that failed waits before it is tried again: doubled with each failure in a row. */
const FIRST_RETRY_MS = 1_000
const LONGEST_RETRY_MS = 300_000

/** What a {@link RunKeeper} runs. */
export interface KeptRun {
  readonly recoverAfterMs: () => number
  /** Runs until there is nothing to do. Returns when to run again, in milliseconds since the epoch. */
  readonly run: () => Promise<number | undefined>
  /** Called when a run has failed, with the time of the next one. */
  readonly onFailed: (error: unknown, retryAt: number) => Promise<void>
}

/**
 * Keeps an object running until its work is done, over evictions and failures: whenever there may be work, an alarm is set. It is set before an
 * input is stored and before a run begins, again each time it comes while the run lasts, and removed when the work is done.
 */
export class RunKeeper {
  readonly #storage: Pick<TurnObjectStorage, "setAlarm" | "deleteAlarm">
  readonly #kept: KeptRun
  /** The alarm as this instance has set it; `undefined`: unknown. */
  #alarmAt: number | undefined
  /** How many inputs are being recorded. */
  #recording = 0
  /** Whether there may be work that the current run has not seen. */
  #isAsked = false
  #running: Promise<void> | undefined
  #failures = 0
  /** Why the last alarm could not be set. */
  #alarmFailure: { readonly error: unknown } | undefined
  #stopped = 0

  constructor(storage: Pick<TurnObjectStorage, "setAlarm" | "deleteAlarm">, kept: KeptRun) {
    this.#storage = storage
    this.#kept = kept
  }

  get isRunning(): boolean {
    return this.#running !== undefined
  }

  get isStopped(): boolean {
    return this.#stopped > 0
  }

  /** Records an input. There is an alarm before it is stored, and a run after it. */
  async whileGuarded<Result>(record: () => Promise<Result>): Promise<Result> {
    this.#recording += 1
    try {
      await this.#guard()
      return await record()
    } finally {
      this.#recording -= 1
      this.start()
    }
  }

  /** Runs what there is to do. While a run lasts, another one follows it. */
  start(): void {
    this.#isAsked = true
    if (!this.isStopped) this.#running ??= this.#runAll()
  }

  /**
   * Continues after an alarm. Does not resolve before the run has ended, or the next alarm is due: an object that handles an event is not evicted.
   * @throws the next alarm could not be set: the platform repeats this one
   */
  async onAlarm(): Promise<void> {
    this.#alarmAt = undefined
    await this.#guard().catch(() => {})
    this.start()
    const ended = new AbortController()
    const run = this.#running?.finally(() => ended.abort())
    await Promise.race([run, sleep(this.#kept.recoverAfterMs(), ended.signal)])
    if (this.#alarmFailure !== undefined) throw this.#alarmFailure.error
  }

  /** Waits for the run, and does something while there is none. Removes the alarm, which is there as long as that is not done. */
  async stop(act: () => Promise<void>): Promise<void> {
    this.#stopped += 1
    try {
      await this.#running
      // What is done may free the storage in which no alarm can be stored.
      await this.#guard().catch(() => {})
      await act()
      await this.#clearAlarm()
    } finally {
      this.#stopped -= 1
      // An input that was recorded in the meantime.
      if (this.#isAsked) this.start()
    }
  }

  async #runAll(): Promise<void> {
    while (this.#isAsked && !this.isStopped) {
      this.#isAsked = false
      try {
        await this.#guard()
        const again = await this.#kept.run()
        this.#failures = 0
        if (!this.#isBusy) await (again === undefined ? this.#clearAlarm() : this.#setAlarm(again))
      } catch (error) {
        await this.#onFailed(error)
      }
    }
    this.#running = undefined
  }

  /** Whether an input is being recorded, or was recorded since the run ended: the alarm stays. */
  get #isBusy(): boolean {
    return this.#isAsked || this.#recording > 0
  }

  async #onFailed(error: unknown): Promise<void> {
    this.#failures += 1
    const delay = Math.min(FIRST_RETRY_MS * 2 ** (this.#failures - 1), LONGEST_RETRY_MS)
    const retryAt = Date.now() + delay
    await this.#kept.onFailed(error, retryAt).catch(() => {
      // The run is tried again in any case.
    })
    if (this.isStopped) return
    try {
      await this.#setAlarm(retryAt)
    } catch {
      // An earlier alarm is still set, unless it has come. As long as the object is in memory, it tries again without.
      void sleep(delay).then(() => this.start())
    }
  }

  /** Sets an alarm, unless one is set that comes in time. */
  async #guard(): Promise<void> {
    const now = Date.now()
    const at = now + this.#kept.recoverAfterMs()
    if (this.#alarmAt !== undefined && this.#alarmAt > now && this.#alarmAt <= at) return
    await this.#setAlarm(at)
  }

  async #setAlarm(at: number): Promise<void> {
    try {
      // Known before it is set: an input that comes now must not set it again in vain.
      this.#alarmAt = at
      await this.#storage.setAlarm(at)
      this.#alarmFailure = undefined
    } catch (error) {
      this.#alarmAt = undefined
      this.#alarmFailure = { error }
      throw error
    }
  }

  async #clearAlarm(): Promise<void> {
    this.#alarmAt = undefined
    await this.#storage.deleteAlarm()
  }
}
