/**
 * A running hash of text and numbers, in two lanes of 32 bits. It detects accidental changes; about one in four billion slips
 * through. It does not stop deliberate collisions.
 *
 * Each step adds one word to a lane: a number, or up to two code units of a text. Two inputs that differ in one step never have
 * the same lanes, so a change to a single code unit is always detected. Changes in several steps can cancel, with the odds above.
 *
 * `charCodeAt` is the main cost. A CRC needs a table lookup per byte on top of it; here one round adds two code units.
 * bench/checksums.ts measures both.
 */
export class Hash {
  /** The first lane. */
  a: number
  /** The second lane. */
  b: number

  constructor(a: number = PRIME_1, b: number = PRIME_2) {
    this.a = a
    this.b = b
  }

  /** Adds a number of 32 bits. `kind` keeps apart what would otherwise be the same number. Mixes both lanes. */
  number(kind: number, value: number): this {
    this.a = round(this.a + this.b, value)
    this.b = round(this.b + this.a, kind)
    return this
  }

  /** Adds the UTF-16 code units of a text from `start` up to `end`, with their count. A range is cheaper to read than a slice. */
  text(kind: number, text: string, start: number = 0, end: number = text.length): this {
    this.number(kind, end - start)
    let { a, b } = this
    let at = start
    for (; at + 4 <= end; at += 4) {
      a = round(a, text.charCodeAt(at) | (text.charCodeAt(at + 1) << 16))
      b = round(b, text.charCodeAt(at + 2) | (text.charCodeAt(at + 3) << 16))
    }
    for (; at < end; at += 1) a = round(a, text.charCodeAt(at))
    this.a = a
    this.b = b
    return this
  }

  /** As {@link text} for a text of ASCII characters only, in about a fifth of the time. `start` is a multiple of 4. */
  ascii(kind: number, { bytes, words, length }: AsciiText, start: number): this {
    this.number(kind, length - start)
    let { a, b } = this
    const end = length >> 2
    let index = start >> 2
    // Two words in a round: the test of the bounds is a third of the time.
    for (; index + 2 <= end; index = (index + 2) | 0) {
      const first = words[index] as number
      const second = words[index + 1] as number
      a = round(round(a, lowHalf(first)), lowHalf(second))
      b = round(round(b, highHalf(first)), highHalf(second))
    }
    for (; index < end; index += 1) {
      const word = words[index] as number
      a = round(a, lowHalf(word))
      b = round(b, highHalf(word))
    }
    for (let at = Math.max(start, 4 * end); at < length; at += 1) a = round(a, bytes[at] as number)
    this.a = a
    this.b = b
    return this
  }

  /** Both lanes as 16 hexadecimal digits. */
  long(): string {
    return hexadecimal(mixed(this.a)) + hexadecimal(mixed(this.b))
  }

  /** Both lanes folded into 8 hexadecimal digits. A change to only one lane always changes them. */
  short(): string {
    return hexadecimal(mixed(this.a + ((this.b << 16) | (this.b >>> 16))))
  }
}

/** A text of ASCII characters only, with one byte for each. */
export interface AsciiText {
  readonly bytes: Uint8Array
  /** The same memory, four bytes in a word, the first in its lowest bits. */
  readonly words: Int32Array
  /** How many bytes it has. The memory may be longer. */
  readonly length: number
}

/** Returns the bytes of a text, which are valid until it is called again. `undefined`: the text has other characters, or is too long. */
export type EncodeAscii = (text: string) => AsciiText | undefined

const PRIME_1 = 0x9e3779b1 | 0
const PRIME_2 = 0x85ebca77 | 0
const PRIME_3 = 0xc2b2ae3d | 0

/**
 * Adds a word to a lane: the round of xxHash32, https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md (2026-11). It is a
 * bijection of the lane, and of the word. The rotation follows the addition: it moves the word's upper bits down, and the
 * multiplication spreads them. Unmoved, they would reach only upper bits of the lane, where a change to a later word can cancel them.
 */
function round(lane: number, word: number): number {
  const sum = (lane + Math.imul(word, PRIME_2)) | 0
  return Math.imul((sum << 13) | (sum >>> 19), PRIME_1)
}

/** The first two bytes of a word as two code units. */
function lowHalf(word: number): number {
  return (word & 0xff) | ((word & 0xff00) << 8)
}

/** The last two bytes of a word as two code units. */
function highHalf(word: number): number {
  return ((word >>> 16) & 0xff) | ((word >>> 24) << 16)
}

/** Spreads every bit over all 32, as xxHash32 ends. */
function mixed(lane: number): number {
  let bits = Math.imul(lane ^ (lane >>> 15), PRIME_2)
  bits = Math.imul(bits ^ (bits >>> 13), PRIME_3)
  return bits ^ (bits >>> 16)
}

/** The code units of the hexadecimal digits. */
const DIGITS = Uint8Array.from("0123456789abcdef", (digit) => digit.charCodeAt(0))

/** Eight digits. `toString(16).padStart(8, "0")` takes four times as long. */
function hexadecimal(bits: number): string {
  const digit = (shift: number): number => DIGITS[(bits >>> shift) & 15] as number
  return String.fromCharCode(digit(28), digit(24), digit(20), digit(16), digit(12), digit(8), digit(4), digit(0))
}
