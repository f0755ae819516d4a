import { shortHash } from "../wires/short-hash.ts"

/** An id is any text for Gemini. One that is long, or has odd characters, comes from elsewhere. */
const FITS = /^[\x21-\x7e]{1,256}$/

/** The ids of the calls of one request, in order. All differ: an id that was used before is replaced. */
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
  const readable = callId.replace(/[^a-zA-Z0-9_-]/g, "_").slice(0, 30) || "call"
  return `${readable}_${shortHash(repeat === 0 ? callId : `${callId} ${repeat}`, 8)}`
}
