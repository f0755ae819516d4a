/** What holds a signal: an `AbortController`, or a context. */
export interface SignalSource {
  readonly signal: AbortSignal
}

/** What a context has its signal from. Not enumerable, so that copies do not have it. `of`: the context, which is not the proxy of a host around it. */
const MADE = Symbol("made")

interface Made {
  readonly of: object
  source: SignalSource
}

interface Signalled extends SignalSource {
  readonly [MADE]: Made
}

/** An own property, so that copies have it. One for all: with an accessor each, every context would have a shape of its own. */
const SIGNAL: PropertyDescriptor & ThisType<Signalled> = {
  enumerable: true,
  configurable: true,
  get() {
    return this[MADE].source.signal
  },
  set(signal: AbortSignal) {
    const made = this[MADE]
    if (made.of === this) made.source = { signal }
    else Object.defineProperty(this, "signal", { value: signal, enumerable: true, configurable: true, writable: true })
  },
}

/** Copies the members but the signal, also those of a prototype. */
function copyInto(to: object, from: object): void {
  for (const key in from) if (key !== "signal") (to as Record<string, unknown>)[key] = (from as Record<string, unknown>)[key]
}

/**
 * Gives an object the signal of a source, which is read when the executor reads it, and returns it. Most executors never do, and in Node making an
 * `AbortSignal` costs as much as all else around a call. A copy (`{ ...context }`) holds the signal itself.
 */
export function withSignal<Context extends object>(members: Context, source: SignalSource): Context & SignalSource {
  Object.defineProperty(members, MADE, { value: { of: members, source } satisfies Made })
  return Object.defineProperty(members, "signal", SIGNAL) as Context & SignalSource
}

/** A copy of a context with other members and the same signal, which is not read. Of what a host put around a context, the signal is read. */
export function withMembers<Context extends SignalSource, Members extends object>(context: Context, members: Members): Context & Members {
  const made = (context as Partial<Signalled>)[MADE]
  const isOurs = made?.of === context
  const copy: object = isOurs ? {} : { signal: context.signal }
  copyInto(copy, context)
  Object.assign(copy, members)
  return (isOurs ? withSignal(copy, made.source) : copy) as Context & Members
}
