import type { Json } from "../../json.ts"
import { isRecord, jsonOf } from "../../projectors/wires/values.ts"

/** Provider metadata: JSON by the name of the provider. */
export type Metadata = { readonly [provider: string]: Json }

/** Reads the metadata of a part; `undefined` if there is none, or if it is not JSON. */
export function metadataOf(value: unknown): Metadata | undefined {
  return mergedMetadata(undefined, value)
}

/**
 * Adds the metadata of a later piece to that of a part. What is empty in it does not overwrite: a signature comes once, and a later piece may
 * have none.
 */
export function mergedMetadata(before: Metadata | undefined, value: unknown): Metadata | undefined {
  if (!isRecord(value)) return before
  const merged = new Map<string, Json>(Object.entries(before ?? {}))
  for (const [provider, given] of Object.entries(value)) {
    const later = jsonOf(definedOnly(given))
    if (later === undefined || later === null) continue
    const earlier = merged.get(provider)
    merged.set(provider, isRecord(earlier) && isRecord(later) ? mergedKeys(earlier, later) : later)
  }
  return merged.size === 0 ? before : Object.fromEntries(merged)
}

function mergedKeys(before: Readonly<Record<string, unknown>>, later: Readonly<Record<string, unknown>>): Json {
  const merged = new Map(Object.entries(before))
  for (const [key, value] of Object.entries(later)) if (!(isEmpty(value) && merged.has(key))) merged.set(key, value)
  return Object.fromEntries(merged) as Json
}

/** Keys that are `undefined`, which JSON does not have. */
function definedOnly(value: unknown): unknown {
  if (!isRecord(value)) return value
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined))
}

function isEmpty(value: unknown): boolean {
  return value === null || value === ""
}
