import { expect, test } from "vitest"
import { canonicalJson, digest, digestString, EMPTY, extend } from "../../src/replay/digest.ts"

// Published check values of CRC-32 (ISO-HDLC).
test.each([
  ["", "00000000-0"],
  ["a", "e8b7be43-1"],
  ["123456789", "cbf43926-9"],
  ["The quick brown fox jumps over the lazy dog", "414fa339-17"],
])("the digest of a text is its CRC-32 and its length in base 36: %j", (text, expected) => {
  expect(digestString(extend(EMPTY, text))).toBe(expected)
})

test("a text in parts has the digest of the whole", () => {
  expect(digestString(extend(extend(EMPTY, "1234"), "56789"))).toBe("cbf43926-9")
})

test("canonical JSON sorts keys by code unit and leaves nothing to taste", () => {
  expect(canonicalJson({ b: [1, { d: null, c: "x\n" }], a: true, Z: -0, 'q"': [], "": {} })).toBe(
    '{"":{},"Z":0,"a":true,"b":[1,{"c":"x\\n","d":null}],"q\\"":[]}',
  )
  expect(canonicalJson({ "\uffff": 1, "😀": 2 })).toBe('{"😀":2,"\uffff":1}')
  expect(canonicalJson(["\ud800", "", 1e21])).toBe('["\\ud800","",1e+21]')
})

test("keys are sorted however many there are", () => {
  const many = Object.fromEntries(Array.from({ length: 30 }, (_, index) => [`k${String(29 - index).padStart(2, "0")}`, index]))
  const expected = Array.from({ length: 30 }, (_, index) => `"k${String(index).padStart(2, "0")}":${29 - index}`)
  expect(canonicalJson(many)).toBe(`{${expected.join(",")}}`)
})

test("equal values have equal digests whatever the order of their keys, others have others", () => {
  expect(digest({ a: 1, b: { c: 2, d: 3 } })).toBe(digest({ b: { d: 3, c: 2 }, a: 1 }))
  expect(digest({ a: 1 })).not.toBe(digest({ a: "1" }))
  expect(digest([1, 2])).not.toBe(digest([[1, 2]]))
  expect(digest([1, 2])).not.toBe(digest([2, 1]))
})
