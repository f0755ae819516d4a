/** The longest delay of a timer in milliseconds, about 24.8 days. A timer with a longer delay fires at once. */
export const MAX_TIMER_MS: number = 2 ** 31 - 1

/** Limits a delay in milliseconds to what a timer can wait. */
export function timerMs(ms: number): number {
  return Math.min(Math.max(0, ms), MAX_TIMER_MS)
}

/** Waits, or until the signal is aborted. Never rejects. A delay longer than {@link MAX_TIMER_MS} is cut to that. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve()
    const wake = (): void => {
      clearTimeout(timer)
      stopWaiting()
      resolve()
    }
    const timer = setTimeout(wake, timerMs(ms))
    const stopWaiting = onAbort(signal, wake)
  })
}

/** Calls `act` again and again until the returned function is called. The timer does not keep a process alive. */
export function every(ms: number, act: () => void): () => void {
  const timer = setInterval(act, timerMs(ms))
  // In Node, a timer is an object. Elsewhere it is a number, and there is nothing to do.
  const { unref } = timer as { readonly unref?: () => void }
  unref?.call(timer)
  return () => clearInterval(timer)
}

/** What waits for a signal, and the one listener that calls it. */
interface Waiting {
  readonly callbacks: Set<() => void>
  readonly listener: () => void
}

const WAITING = new WeakMap<AbortSignal, Waiting>()

/**
 * Calls back when a signal is aborted, at once if it is already. Returns a function that stops waiting. A signal gets one listener for all
 * of its callbacks: Node warns of a leak at more than ten listeners, and many turns may share a signal.
 */
export function onAbort(signal: AbortSignal | undefined, callback: () => void): () => void {
  if (signal === undefined) return () => {}
  if (signal.aborted) {
    callback()
    return () => {}
  }
  const waiting = WAITING.get(signal) ?? listenTo(signal)
  // Made here, because the same callback may be given twice.
  const entry = (): void => callback()
  waiting.callbacks.add(entry)
  return () => {
    waiting.callbacks.delete(entry)
    if (waiting.callbacks.size > 0 || WAITING.get(signal) !== waiting) return
    WAITING.delete(signal)
    signal.removeEventListener("abort", waiting.listener)
  }
}

function listenTo(signal: AbortSignal): Waiting {
  const callbacks = new Set<() => void>()
  const listener = (): void => {
    WAITING.delete(signal)
    for (const callback of callbacks) callback()
  }
  const waiting = { callbacks, listener }
  WAITING.set(signal, waiting)
  signal.addEventListener("abort", listener, { once: true })
  return waiting
}

/** Waits for a promise; once the signal is aborted, at most as long as given. Rejects as the promise does, if that is in time. */
export async function settledInTime(pending: PromiseLike<unknown>, signal: AbortSignal | undefined, graceMs: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined
  let stopWaiting: () => void = () => {}
  const late = new Promise<void>((resolve) => {
    stopWaiting = onAbort(signal, () => {
      timer = setTimeout(resolve, timerMs(graceMs))
    })
  })
  try {
    await Promise.race([pending, late])
  } finally {
    clearTimeout(timer)
    stopWaiting()
  }
}
