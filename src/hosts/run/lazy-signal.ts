/** What holds a signal: an `AbortController`, or a context. */
export interface SignalSource {
  readonly signal: AbortSignal
}

/** How a context was made. Not enumerable, so that copies do not have it. */
const MADE = Symbol("made")

class Signalled implements SignalSource {
  declare readonly signal: AbortSignal
  declare readonly [MADE]: { readonly parts: readonly object[]; readonly source: SignalSource }

  constructor(parts: readonly object[], source: SignalSource) {
    for (const part of parts) Object.assign(this, part)
    Object.defineProperty(this, MADE, { value: { parts, source } })
    Object.defineProperty(this, "signal", SIGNAL)
  }
}

/** An own property, so that copies have it. One for all: with an accessor each, every context would have a shape of its own. */
const SIGNAL: PropertyDescriptor & ThisType<Signalled> = {
  enumerable: true,
  configurable: true,
  get() {
    return this[MADE].source.signal
  },
}

/**
 * A context with the signal of a source, which is read when the executor reads it. Most executors never do, and in Node making an
 * `AbortSignal` costs as much as all else around a call. A copy (`{ ...context }`) holds the signal itself.
 */
export function withSignal<Context extends object>(members: Context, source: SignalSource): Context & SignalSource {
  return new Signalled([members], source) as Signalled & Context
}

/** A copy of a context with other members and the same signal, which is not read. */
export function withMembers<Context extends SignalSource, Members extends object>(context: Context, members: Members): Context & Members {
  const made = (context as Partial<Signalled>)[MADE]
  if (made === undefined) return { ...context, ...members }
  return new Signalled([...made.parts, members], made.source) as unknown as Context & Members
}
