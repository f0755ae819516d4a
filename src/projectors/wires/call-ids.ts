import { shortHash } from "./short-hash.ts"

/** Returns an id that a provider accepts for one that it does not. `repeat`: how many calls before it have the same id. */
export type FittedId = (callId: string, repeat: number) => string

/** The ids of the calls of one request, in order. All differ: an id that was used before is replaced, because providers refuse it. */
export class CallIds {
  readonly #used = new Set<string>()
  readonly #fitted: FittedId

  constructor(fitted: FittedId) {
    this.#fitted = fitted
  }

  /**
   * Returns the id to send for the next call. It depends only on the calls so far.
   * @param fits which ids the provider accepts
   */
  next(callId: string, fits: RegExp): string {
    let id = fits.test(callId) ? callId : this.#fitted(callId, 0)
    for (let repeat = 1; this.#used.has(id); repeat += 1) id = this.#fitted(callId, repeat)
    this.#used.add(id)
    return id
  }
}

/** Keeps the beginning of an id, so many characters, which people recognize; a hash makes it unique. */
export function readableId(length: number): FittedId {
  return (callId, repeat) => {
    const readable = callId.replace(/[^a-zA-Z0-9_-]/g, "_").slice(0, length) || "call"
    return `${readable}_${shortHash(idOf(callId, repeat), 8)}`
  }
}

/** The text to hash for an id that comes again. */
export function idOf(callId: string, repeat: number): string {
  return repeat === 0 ? callId : `${callId} ${repeat}`
}
