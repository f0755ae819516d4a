import fc from "fast-check"
import { expect, test } from "vitest"
import { encodeAscii } from "../../src/hosts/journal/encode-ascii.ts"
import { Hash } from "../../src/replay/hash.ts"

/** Pairs of texts that each case compares. Random values would share one of the 2³² short forms in about one run of a thousand. */
const PAIRS = process.env["TEST_LANE"] === "fast" ? 150_000 : 3_000_000

/** A whole number from 0, below the limit. */
type Random = (limit: number) => number

/** The same numbers in every run, from a 32-bit xorshift. */
function seeded(seed: number): Random {
  let bits = seed
  return (limit) => {
    bits ^= bits << 13
    bits ^= bits >>> 17
    bits ^= bits << 5
    return (bits >>> 0) % limit
  }
}

/** A second implementation of the hash, with whole-number arithmetic, one pair of code units after the other. */
function reference(texts: readonly string[]): { readonly short: string; readonly long: string } {
  const [one, two, three, size] = [0x9e3779b1n, 0x85ebca77n, 0xc2b2ae3dn, 1n << 32n]
  const rotated = (lane: bigint, bits: bigint): bigint => ((lane << bits) | (lane >> (32n - bits))) % size
  const mixed = (lane: bigint): bigint => {
    const first = ((lane ^ (lane >> 15n)) * two) % size
    const second = ((first ^ (first >> 13n)) * three) % size
    return second ^ (second >> 16n)
  }
  const hex = (lane: bigint): string => lane.toString(16).padStart(8, "0")
  const stepped = (lane: bigint, word: bigint): bigint => (rotated((lane + word * two) % size, 13n) * one) % size
  let [a, b] = [one, two]
  for (const text of texts) {
    a = stepped(a + b, BigInt(text.length))
    b = stepped(b + a, 7n)
    const units = [...Array(text.length).keys()].map((index) => BigInt(text.charCodeAt(index)))
    while (units.length >= 4) {
      const [first, second, third, fourth] = units.splice(0, 4) as [bigint, bigint, bigint, bigint]
      a = stepped(a, first | (second << 16n))
      b = stepped(b, third | (fourth << 16n))
    }
    for (const unit of units) a = stepped(a, unit)
  }
  return { short: hex(mixed((a + rotated(b, 16n)) % size)), long: hex(mixed(a)) + hex(mixed(b)) }
}

function hashOf(texts: readonly string[]): Hash {
  const hash = new Hash()
  for (const text of texts) hash.text(7, text)
  return hash
}

test("a text of ASCII characters has the same hash from its bytes", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary-ascii", maxLength: 60 }), fc.constantFrom(0, 4, 12), (text, start) => {
      fc.pre(text.length >= start)
      const ascii = encodeAscii(text)
      expect(ascii?.length).toBe(text.length)
      if (ascii !== undefined) expect(new Hash().ascii(7, ascii, start).long()).toBe(reference([text.slice(start)]).long)
    }),
  )
})

test.each([
  ["ü", "a character of Latin-1"],
  ["文", "a character of three bytes"],
  ["🦊", "a pair"],
  ["\ud800", "half a pair"],
  ["a".repeat(2 ** 20), "one, at the end of a long text"],
])("a text with other characters is not encoded", (other, end) => {
  expect(encodeAscii(`abcd${other}`)).toBeUndefined()
  expect(encodeAscii(`${"abcd".repeat(10_000)}ü ${end}`)).toBeUndefined()
  expect(encodeAscii("abcd")?.length).toBe(4)
})

test("agrees with a reference in whole-number arithmetic", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)) })), (texts) => {
      const hash = hashOf(texts)
      expect({ short: hash.short(), long: hash.long() }).toEqual(reference(texts))
    }),
  )
})

test("a range of a text hashes as the slice does", () => {
  const text = "The quick brown fox"
  for (let start = 0; start <= text.length; start += 1)
    for (let end = start; end <= text.length; end += 1)
      expect(new Hash().text(0, text, start, end).long()).toBe(new Hash().text(0, text.slice(start, end)).long())
})

test("every changed bit of a text changes the short and the long form, at any length and place", () => {
  const text = '{"type":"end","ü語":[1]}'
  for (let length = 1; length <= text.length; length += 1) {
    const [short, long] = [hashOf([text.slice(0, length)]).short(), hashOf([text.slice(0, length)]).long()]
    for (let place = 0; place < length; place += 1) {
      for (let bit = 1; bit <= 0x8000; bit *= 2) {
        const changed = `${text.slice(0, place)}${String.fromCharCode(text.charCodeAt(place) ^ bit)}${text.slice(place + 1, length)}`
        expect(hashOf([changed]).short()).not.toBe(short)
        expect(hashOf([changed]).long()).not.toBe(long)
      }
    }
  }
})

test("changes in the upper halves of two words do not cancel", () => {
  expect(hashOf(["MJnEQKZ2KGtJ4M9P"]).long()).not.toBe(hashOf(["MJnEQcZ26GtJ4M9P"]).long())
})

test.each([
  ["one flipped bit each", (unit: number, random: Random) => unit ^ (1 << random(16))],
  ["another printable character each", (unit: number, random: Random) => 32 + ((unit - 32 + 1 + random(94)) % 95)],
])("two or three changed code units, the first two 1 to 8 apart, change the short form: %s", (_, change) => {
  const random = seeded(20_261_126)
  const collisions: string[] = []
  for (let count = 0; count < PAIRS; ) {
    const units = Array.from({ length: 12 + random(9) }, () => 32 + random(95))
    const text = String.fromCharCode(...units)
    const short = new Hash().text(7, text).short()
    for (const next = count + 100; count < next; count += 1) {
      const changed = [...units]
      const distance = 1 + random(8)
      const first = random(units.length - distance)
      // In half of the cases only two places change.
      const third = random(2) === 0 ? first : random(units.length)
      for (const place of [first, first + distance, third]) changed[place] = change(units[place] as number, random)
      const other = String.fromCharCode(...changed)
      if (new Hash().text(7, other).short() === short) collisions.push(`${JSON.stringify(text)} and ${JSON.stringify(other)}`)
    }
  }
  expect(collisions.slice(0, 5)).toEqual([])
})

test("200,000 similar texts have 200,000 long forms, and as many short ones as random values would", () => {
  const [short, long] = [new Set<string>(), new Set<string>()]
  for (let count = 0; count < 200_000; count += 1) {
    const hash = hashOf([`{"id":${count}}`])
    short.add(hash.short())
    long.add(hash.long())
  }
  expect(long.size).toBe(200_000)
  // 200,000² / 2³³ pairs, about 4.7, are expected to share one of the 2³² short forms.
  expect(short.size).toBeGreaterThan(200_000 - 20)
})

test("texts in a row differ from their joined text, and from another split", () => {
  const hashes = [["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""], ["", "abc"]].map((texts) => hashOf(texts).long())
  expect(new Set(hashes).size).toBe(5)
})
