import { canonicalJson } from "../../json.ts"
import type { GoalWait } from "../../wire/goal.ts"
import { sleep } from "../timers.ts"
import type { ThreadLoopOptions } from "./loop-options.ts"
import type { ThreadState } from "./thread-state.ts"

/** How long a run waits before it rests, in milliseconds. */
export const DEFAULT_MAX_WAIT_MS = 600_000

/** The longest time between two reports of a wait, in milliseconds. */
const REPORT_EVERY_MS = 1_800_000

/** What the loop waits for before it decides again. */
export interface Awaited {
  /** Identifies the wait among all that the loop comes to. */
  readonly key: string
  readonly wait: GoalWait
}

/** The wait of a goal. */
export function goalWait(wait: GoalWait): Awaited {
  return { key: canonicalJson(wait), wait }
}

/** The wait before a continuation that must not start yet. */
export function delay(since: number, until: number): Awaited {
  return { key: `until ${until}`, wait: { since, until, reason: "The goal waits before it continues." } }
}

/** The wait for children whose calls do not wait for them. The end of one is an input. */
export function childrenWait(since: number): Awaited {
  return { key: "children", wait: { since, event: "subagent_ended", reason: "Subagents work in the background." } }
}

/** The waits of one run: how long each has lasted, and when it was reported. */
export class Waits {
  readonly #thread: ThreadState
  readonly #options: Pick<ThreadLoopOptions, "signal" | "wait" | "maxWaitMs" | "onWaiting">
  #current: { readonly key: string; readonly since: number; reportedAt: number } | undefined

  constructor(thread: ThreadState, options: ThreadLoopOptions) {
    this.#thread = thread
    this.#options = options
  }

  /**
   * Waits until the time of the wait, new input, the next report, or the end of the longest wait. Returns false instead if the run should
   * not wait for it: its time is too far off, or the run has waited for its event as long as it may.
   */
  async hold({ key, wait }: Awaited): Promise<boolean> {
    const { signal, maxWaitMs = DEFAULT_MAX_WAIT_MS, wait: sleepUntil = waitUntil, onWaiting } = this.#options
    const now = this.#thread.now()
    const { until = Number.POSITIVE_INFINITY, event } = wait
    if (event === undefined && until - now > maxWaitMs) return false
    if (this.#current?.key !== key) this.#current = { key, since: now, reportedAt: Number.NEGATIVE_INFINITY }
    const current = this.#current
    const end = Math.min(until, current.since + maxWaitMs)
    if (now >= end) return false
    if (now - current.reportedAt >= REPORT_EVERY_MS) {
      current.reportedAt = now
      await onWaiting?.({ type: "waiting", wait })
    }
    const next = Math.min(end, current.reportedAt + REPORT_EVERY_MS)
    await this.#thread.waitForInput(signal, (woken) => sleepUntil(next, woken))
    return true
  }
}

/** Waits until a time, or until the signal is aborted. */
export function waitUntil(until: number, signal: AbortSignal | undefined): Promise<void> {
  return sleep(until - Date.now(), signal)
}
