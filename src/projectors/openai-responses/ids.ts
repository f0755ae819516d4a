import { CallIds, readableId } from "../wires/call-ids.ts"
import type { Origin } from "../wires/origin.ts"

/**
 * An endpoint accepts its own call ids, which may be long: Copilot's have hundreds of characters. OpenAI refuses more than 64 in others.
 * @see https://github.com/vercel/ai/issues/5171 (2026-11)
 */
const CALL_IDS: { readonly [From in Origin]: RegExp } = {
  same: /^[\x21-\x7e]{1,450}$/,
  unknown: /^[a-zA-Z0-9_-]{1,64}$/,
  other: /^[a-zA-Z0-9_-]{1,64}$/,
}

/** @see https://github.com/NousResearch/hermes-agent/issues/27038 (2026-11): "string too long. Expected max 64" */
const ITEM_ID = /^[a-zA-Z0-9_-]{1,64}$/

/** The beginning of the ids of items: OpenAI refuses any other. */
export type ItemPrefix = "msg_" | "rs_" | "fc_"

/** The ids in one request: of calls, and of items. No id is sent twice. */
export class SentIds {
  readonly #calls = new CallIds(readableId(50))
  readonly #items = new Set<string>()

  /** Returns the id to send for the next call. It depends only on the calls so far. */
  call(callId: string, from: Origin): string {
    return this.#calls.next(callId, CALL_IDS[from])
  }

  /** Whether an item may be sent with this id: it fits, and no item before had it. The id of another model's item does not fit. */
  accepts(id: string | undefined, from: Origin, prefix: ItemPrefix): id is string {
    if (id === undefined || from === "other" || !ITEM_ID.test(id) || this.has(id)) return false
    return from === "same" || id.startsWith(prefix)
  }

  /** Whether an item was sent with this id. */
  has(id: string): boolean {
    return this.#items.has(id)
  }

  add(id: string): void {
    this.#items.add(id)
  }
}
