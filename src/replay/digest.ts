import type { Json } from "../json.ts"
import { isList, sortedKeys } from "../json.ts"
import { Hash } from "./hash.ts"

/** A digest of JSON values in order, from which the digest of one more value is made without reading the earlier ones again. */
export type Digest = Readonly<Pick<Hash, "a" | "b">>

/** The digest of no values. */
export const EMPTY: Digest = new Hash()

/** The digest of the values before, and of one more. */
export function extend({ a, b }: Digest, value: Json): Digest {
  return added(new Hash(a, b), value)
}

/** The form that a journal stores: 16 hexadecimal digits. */
export function digestString({ a, b }: Digest): string {
  return new Hash(a, b).long()
}

/**
 * A short digest of one JSON value, 16 hexadecimal digits. Equal values have equal digests, whatever the order of their keys.
 * It detects accidental changes; about one in four billion slips through. It does not stop deliberate collisions.
 */
export function digest(value: Json): string {
  return added(new Hash(), value).long()
}

/** What comes next in the hash, so that `"1"`, `1` and `[1]` differ. */
const KIND = { string: 1, integer: 2, number: 3, literal: 4, list: 5, object: 6, end: 7 } as const

/** Hashes a value key by key: making its canonical text first would take six times as long. */
function added(hash: Hash, value: Json | undefined): Hash {
  if (typeof value === "string") return hash.text(KIND.string, value)
  // -0 is 0, as in JSON.
  if (typeof value === "number" && (value | 0) === value) return hash.number(KIND.integer, value)
  if (typeof value === "number" && Number.isFinite(value)) return hash.text(KIND.number, String(value))
  if (typeof value === "boolean") return hash.number(KIND.literal, value ? 1 : 2)
  // What JSON has no text for is null in JSON.
  if (typeof value !== "object" || value === null) return hash.number(KIND.literal, 0)
  if (isList(value)) {
    hash.number(KIND.list, value.length)
    for (const item of value) added(hash, item)
    return hash
  }
  hash.number(KIND.object, 0)
  for (const key of sortedKeys(value)) {
    const field = value[key]
    if (field !== undefined) added(hash.text(KIND.string, key), field)
  }
  return hash.number(KIND.end, 0)
}
