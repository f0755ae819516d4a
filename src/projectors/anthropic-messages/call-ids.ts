import { shortHash } from "../wires/short-hash.ts"

const FITS = /^[a-zA-Z0-9_-]{1,64}$/

/** The ids of the calls of one request, in order. All differ, and all match `[a-zA-Z0-9_-]{1,64}`: the provider refuses any others. */
export class CallIds {
  readonly #used = new Set<string>()

  /** Returns the id to send for the next call. It depends only on the calls so far. */
  next(callId: string): string {
    let id = FITS.test(callId) ? callId : fitted(callId, 0)
    for (let repeat = 1; this.#used.has(id); repeat += 1) id = fitted(callId, repeat)
    this.#used.add(id)
    return id
  }
}

function fitted(callId: string, repeat: number): string {
  const readable = callId.replace(/[^a-zA-Z0-9_-]/g, "_").slice(0, 40) || "call"
  return `${readable}_${shortHash(repeat === 0 ? callId : `${callId} ${repeat}`, 8)}`
}
