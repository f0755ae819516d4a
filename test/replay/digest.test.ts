import fc from "fast-check"
import { expect, test } from "vitest"
import type { Json } from "../../src/json.ts"
import { canonicalJson } from "../../src/json.ts"
import { digest, digestString, EMPTY, extend } from "../../src/replay/digest.ts"

test.each([
  ["", "ee8f6ed61082db6a"],
  ["a", "030cef10d4140dcf"],
  ["123456789", "76d90a45e8602dc3"],
])("the digest of a text is stable, because journals store it: %j", (text, expected) => {
  expect(digest(text)).toBe(expected)
  expect(digestString(extend(EMPTY, text))).toBe(expected)
})

test("a digest is continued with one more value, in order", () => {
  const both = digestString(extend(extend(EMPTY, { a: 1 }), "2"))
  expect(digestString(extend(extend(EMPTY, { a: 1 }), "2"))).toBe(both)
  for (const other of [extend(extend(EMPTY, "2"), { a: 1 }), extend(EMPTY, { a: 1 }), extend(EMPTY, [{ a: 1 }, "2"])])
    expect(digestString(other)).not.toBe(both)
})

test("canonical JSON sorts keys by code unit and has one form for each value", () => {
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

test("equal values have equal digests in any order of keys, and different values have different ones", () => {
  expect(digest({ a: 1, b: { c: 2, d: 3 } })).toBe(digest({ b: { d: 3, c: 2 }, a: 1 }))
  expect(digest({ a: 1 })).not.toBe(digest({ a: "1" }))
  expect(digest([1, 2])).not.toBe(digest([[1, 2]]))
  expect(digest([1, 2])).not.toBe(digest([2, 1]))
  const all: readonly Json[] = [
    null,
    true,
    false,
    0,
    1,
    -1,
    2 ** 31,
    0.5,
    1e21,
    "",
    "1",
    "0.5",
    "null",
    [],
    {},
    [[]],
    [{}],
    { "": {} },
    { a: null },
    [null],
  ]
  expect(new Set(all.map((value) => digest(value))).size).toBe(all.length)
})

test("two values have equal digests exactly if their canonical texts are equal", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (left, right) => {
      const [first, second] = [left as Json, right as Json]
      expect(digest(first) === digest(second)).toBe(canonicalJson(first) === canonicalJson(second))
      expect(digest(JSON.parse(canonicalJson(first)))).toBe(digest(first))
    }),
  )
})

test("what JSON leaves out or writes as null has the digest of what JSON writes", () => {
  expect(digest({ a: 1, b: undefined } as never)).toBe(digest({ a: 1 }))
  expect(digest([Number.NaN, Number.POSITIVE_INFINITY, undefined, -0] as never)).toBe(digest([null, null, null, 0]))
})
