/**
 * A running hash of text and numbers, in two lanes of 32 bits. It detects accidental changes; about one in four billion slips
 * through. It does not stop deliberate collisions.
 *
 * Each step is a bijection of the lane that it changes. So two inputs that differ in one step never have the same hash, and a
 * change to a single code unit is always detected.
 *
 * `charCodeAt` is the main cost. A CRC needs a table lookup per byte on top of it; here one multiplication takes two code
 * units. bench/checksums.ts measures both.
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
    this.a = Math.imul((((this.a << 13) | (this.a >>> 19)) + this.b) ^ value, PRIME_1)
    this.b = Math.imul((((this.b << 13) | (this.b >>> 19)) + this.a) ^ kind, PRIME_1)
    return this
  }

  /** Adds the UTF-16 code units of a text from `start` up to `end`, with their count. A range is cheaper to read than a slice. */
  text(kind: number, text: string, start: number = 0, end: number = text.length): this {
    this.number(kind, end - start)
    let { a, b } = this
    let at = start
    for (; at + 4 <= end; at += 4) {
      a = Math.imul(((a << 13) | (a >>> 19)) ^ (text.charCodeAt(at) | (text.charCodeAt(at + 1) << 16)), PRIME_1)
      b = Math.imul(((b << 13) | (b >>> 19)) ^ (text.charCodeAt(at + 2) | (text.charCodeAt(at + 3) << 16)), PRIME_1)
    }
    for (; at < end; at += 1) a = Math.imul(((a << 13) | (a >>> 19)) ^ text.charCodeAt(at), PRIME_1)
    this.a = a
    this.b = b
    return this
  }

  /** Both lanes as 16 hexadecimal digits. */
  long(): string {
    return hexadecimal(mixed(this.a)) + hexadecimal(mixed(this.b))
  }

  /** Both lanes folded into 8 hexadecimal digits. A change that reached one lane alone is always in them. */
  short(): string {
    return hexadecimal(mixed(this.a + ((this.b << 16) | (this.b >>> 16))))
  }
}

const PRIME_1 = 0x9e3779b1 | 0
const PRIME_2 = 0x85ebca77 | 0
const PRIME_3 = 0xc2b2ae3d | 0

/** Spreads every bit over all 32, as xxHash ends: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md (2026-11) */
function mixed(lane: number): number {
  let bits = Math.imul(lane ^ (lane >>> 15), PRIME_2)
  bits = Math.imul(bits ^ (bits >>> 13), PRIME_3)
  return bits ^ (bits >>> 16)
}

function hexadecimal(bits: number): string {
  return (bits >>> 0).toString(16).padStart(8, "0")
}
