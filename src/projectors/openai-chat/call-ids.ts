import { CallIds, type FittedId, idOf, readableId } from "../wires/call-ids.ts"
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

const FITTED: { readonly [Form in CallIdForm]: FittedId } = {
  openai: readableId(30),
  mistral: (callId, repeat) => shortHash(idOf(callId, repeat), 9),
}

/** The ids of the calls of one request, in the form that its endpoint wants. */
export class ChatCallIds {
  readonly #form: CallIdForm
  readonly #ids: CallIds

  constructor(form: CallIdForm) {
    this.#form = form
    this.#ids = new CallIds(FITTED[form])
  }

  /** Returns the id to send for the next call. It depends only on the calls so far. */
  next(callId: string, from: Origin): string {
    return this.#ids.next(callId, this.#form === "mistral" ? MISTRAL_ID : FITS[from])
  }
}
