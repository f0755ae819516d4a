const DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

/**
 * Returns a hash of a text as lower-case letters and digits, at most ten. It tells odd names and ids apart; equal texts have
 * equal hashes, so that the beginning of a request stays the same while it grows.
 * @see https://github.com/bryc/code/blob/master/jshash/experimental/cyrb53.js (2026-11): the mixing steps
 */
export function shortHash(text: string, length: number): string {
  let high = 0xdeadbeef
  let low = 0x41c6ce57
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index)
    high = Math.imul(high ^ unit, 2654435761)
    low = Math.imul(low ^ unit, 1597334677)
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909)
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909)
  let rest = 4294967296 * (2097151 & low) + (high >>> 0)
  let hash = ""
  for (let index = 0; index < length; index += 1) {
    hash += DIGITS.charAt(rest % DIGITS.length)
    rest = Math.floor(rest / DIGITS.length)
  }
  return hash
}
