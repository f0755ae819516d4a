import fc from "fast-check"
import { expect, test } from "vitest"
import { Hash } from "../../src/replay/hash.ts"

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
  let [a, b] = [one, two]
  for (const text of texts) {
    a = ((((rotated(a, 13n) + b) % size) ^ BigInt(text.length)) * one) % size
    b = ((((rotated(b, 13n) + a) % size) ^ 7n) * one) % size
    const units = [...Array(text.length).keys()].map((index) => BigInt(text.charCodeAt(index)))
    while (units.length >= 4) {
      const [first, second, third, fourth] = units.splice(0, 4) as [bigint, bigint, bigint, bigint]
      a = ((rotated(a, 13n) ^ (first | (second << 16n))) * one) % size
      b = ((rotated(b, 13n) ^ (third | (fourth << 16n))) * one) % size
    }
    for (const unit of units) a = ((rotated(a, 13n) ^ unit) * one) % size
  }
  return { short: hex(mixed((a + rotated(b, 16n)) % size)), long: hex(mixed(a)) + hex(mixed(b)) }
}

function hashOf(texts: readonly string[]): Hash {
  const hash = new Hash()
  for (const text of texts) hash.text(7, text)
  return hash
}

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
