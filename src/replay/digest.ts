import { sha256 } from "@noble/hashes/sha2.js"
import type { Json } from "../json.ts"

/**
 * A short digest of a JSON value: the first 48 bits of the SHA-256 of its canonical text, as 8 characters of base64url.
 * Equal values have equal digests, whatever the order of their keys.
 */
export function digest(value: Json): string {
  return digestText(canonicalJson(value))
}

/** The digest of a text that is canonical already, or that is made of digests. */
export function digestText(text: string): string {
  return base64Url(sha256(utf8(text)))
}

/** JSON text with object keys in the order of their UTF-16 code units and no white space. What has no value is left out. */
export function canonicalJson(value: Json): string {
  if (value === null || typeof value !== "object") return JSON.stringify(value)
  if (isList(value)) return `[${value.map(canonicalJson).join(",")}]`
  const fields: string[] = []
  for (const key of Object.keys(value).sort()) {
    const field = value[key]
    if (field !== undefined) fields.push(`${JSON.stringify(key)}:${canonicalJson(field)}`)
  }
  return `{${fields.join(",")}}`
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value)
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

function base64Url(bytes: Uint8Array): string {
  let text = ""
  for (let index = 0; index < 6; index += 3) {
    const group = ((bytes[index] as number) << 16) | ((bytes[index + 1] as number) << 8) | (bytes[index + 2] as number)
    for (let shift = 18; shift >= 0; shift -= 6) text += ALPHABET.charAt((group >> shift) & 63)
  }
  return text
}

/** UTF-8 without `TextEncoder`, which is no part of the language. A lone surrogate is written like any other code unit. */
function utf8(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length * 3)
  let length = 0
  for (let index = 0; index < text.length; index += 1) {
    let code = text.codePointAt(index) as number
    if (code < 0x80) {
      bytes[length++] = code
      continue
    }
    if (code > 0xffff) {
      index += 1
      bytes[length++] = 0xf0 | (code >> 18)
      bytes[length++] = 0x80 | ((code >> 12) & 63)
    } else if (code > 0x7ff) bytes[length++] = 0xe0 | (code >> 12)
    if (code <= 0x7ff) bytes[length++] = 0xc0 | (code >> 6)
    else {
      code &= 0xfff
      bytes[length++] = 0x80 | (code >> 6)
    }
    bytes[length++] = 0x80 | (code & 63)
  }
  return bytes.subarray(0, length)
}
