/** Ids that come from clients. */

import { quoted } from "../../text.ts"
import type { RestateSdk } from "./context.ts"
import { turnError } from "./entries.ts"

/** Half of a surrogate pair: it has no form in UTF-8, so two ids with different ones are the same in the state. */
const LONE_SURROGATE = /\p{Surrogate}/u

/** The longest id of a turn, in UTF-16 units: it is a part of the keys of the state. */
const MAX_TURN_ID_CHARS = 2_000

/** Why an id cannot be stored. `undefined`: it can. */
export function whyNotId(id: unknown, maxChars: number): string | undefined {
  if (typeof id !== "string") return "it is not a text"
  if (id === "") return "it is empty"
  if (id.length > maxChars) return `it has more than ${maxChars} characters`
  if (id.includes("\0")) return "it contains a zero character"
  return LONE_SURROGATE.test(id) ? "it contains half of a surrogate pair" : undefined
}

/** An error that Restate does not retry: the id may come from a client. @throws {TerminalError} `invalid_turn_id` */
export function checkTurnId(sdk: RestateSdk, turnId: unknown): void {
  const why = whyNotId(turnId, MAX_TURN_ID_CHARS)
  if (why !== undefined) throw turnError(sdk, "invalid_turn_id", `${quoted(String(turnId))} cannot be the id of a turn: ${why}.`, 400)
}
