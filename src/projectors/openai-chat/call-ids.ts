import type { Origin } from "../wires/origin.ts"
import { shortHash } from "../wires/short-hash.ts"

/** The form of call ids: `mistral` is exactly nine letters and digits. */
export type CallIdForm = "openai" | "mistral"

/** @see https://github.com/anomalyco/opencode/issues/1680 (2026-11): "must be a-z, A-Z, 0-9, with a length of 9" */
const MISTRAL_ID = /^[a-zA-Z0-9]{9}$/

/**
 * An endpoint accepts its own ids, whatever they are: some encode signatures in them, and Kimi's `functions.<name>:<n>` must come
 * back. OpenAI refuses more than 40 characters, and other models' endpoints refuse other characters than these.
 * @see https://github.com/vercel/ai/issues/5171, https://github.com/anomalyco/opencode/issues/12653 (2026-11)
 */
const FITS: { readonly [From in Origin]: RegExp } = {
  same: /^[\x21-\x7e]{1,1000}$/,
  unknown: /^[\x21-\x7e]{1,40}$/,
  other: /^[a-zA-Z0-9_-]{1,40}$/,
}

/** The ids of the calls of one request, in order. All differ: an id that was used before is replaced, because some endpoints refuse it. */
export class CallIds {
  readonly #used = new Set<string>()
  readonly #form: CallIdForm

  constructor(form: CallIdForm) {
    this.#form = form
  }

  /** Returns the id to send for the next call. It depends only on the calls so far. */
  next(callId: string, from: Origin): string {
    const fits = this.#form === "mistral" ? MISTRAL_ID : FITS[from]
    let id = fits.test(callId) ? callId : this.#fitted(callId, 0)
    for (let repeat = 1; this.#used.has(id); repeat += 1) id = this.#fitted(callId, repeat)
    this.#used.add(id)
    return id
  }

  #fitted(callId: string, repeat: number): string {
    const source = repeat === 0 ? callId : `${callId} ${repeat}`
    if (this.#form === "mistral") return shortHash(source, 9)
    const readable = callId.replace(/[^a-zA-Z0-9_-]/g, "_").slice(0, 30) || "call"
    return `${readable}_${shortHash(source, 8)}`
  }
}
