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
