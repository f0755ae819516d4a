import CRC32 from "crc-32"
import type { Json } from "../json.ts"

/**
 * A short digest of JSON values, one behind the other: the CRC-32 of their canonical texts, and how long these are. One
 * that is not empty can be gone on with, and then costs what is new. It is there to find changes that nobody meant; it
 * does not keep out anybody who wants two values to look the same.
 */
export interface Digest {
  readonly crc: number
  readonly length: number
}

export const EMPTY: Digest = { crc: 0, length: 0 }

/** The digest of what `before` is of, and of one more text. */
export function extend({ crc, length }: Digest, text: string): Digest {
  return { crc: CRC32.str(text, crc), length: length + text.length }
}

/** As it stands in a journal: the checksum as eight hexadecimal digits, and the length in base 36. */
export function digestString({ crc, length }: Digest): string {
  return `${(crc >>> 0).toString(16).padStart(8, "0")}-${length.toString(36)}`
}

/** The digest of one JSON value. Equal values have equal digests, whatever the order of their keys. */
export function digest(value: Json): string {
  return digestString(extend(EMPTY, canonicalJson(value)))
}

/** JSON text with object keys in the order of their UTF-16 code units and no white space. What has no value is left out. */
export function canonicalJson(value: Json): string {
  if (typeof value === "string") return JSON.stringify(value)
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null"
  let text = ""
  if (isList(value)) {
    for (const item of value) text += text === "" ? canonicalJson(item) : `,${canonicalJson(item)}`
    return `[${text}]`
  }
  for (const key of sorted(Object.keys(value))) {
    const field = value[key]
    if (field !== undefined) text += `${text === "" ? "" : ","}${quoted(key)}:${canonicalJson(field)}`
  }
  return `{${text}}`
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value)
}

/** In place, by insertion: objects have few keys, and for these it takes a third of the time that `sort` does. */
function sorted(keys: string[]): readonly string[] {
  if (keys.length > MOST_INSERTED) return keys.sort()
  for (let index = 1; index < keys.length; index += 1) {
    const key = keys[index] as string
    let place = index - 1
    for (; place >= 0 && (keys[place] as string) > key; place -= 1) keys[place + 1] = keys[place] as string
    keys[place + 1] = key
  }
  return keys
}

const MOST_INSERTED = 20
const PLAIN_KEY = /^[\w-]*$/

function quoted(key: string): string {
  return PLAIN_KEY.test(key) ? `"${key}"` : JSON.stringify(key)
}
