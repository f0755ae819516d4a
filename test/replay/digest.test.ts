import { createHash } from "node:crypto"
import { expect, test } from "vitest"
import { canonicalJson, digest, digestText } from "../../src/replay/digest.ts"

const sha256Start = (text: string): string => createHash("sha256").update(text, "utf8").digest().subarray(0, 6).toString("base64url")

test.each(["", "a", "naïve café", "日本語", "🙂 ok", "a".repeat(5000), "\u0000\u007f\u0080\u07ff\u0800\uffff"])(
  "the digest of a text is the start of its SHA-256: %j",
  (text) => {
    expect(digestText(text)).toBe(sha256Start(text))
  },
)

test("lone surrogates have digests of their own", () => {
  expect(digestText("\ud800")).not.toBe(digestText("\udc00"))
})

test("canonical JSON sorts keys by code unit and leaves nothing to taste", () => {
  expect(canonicalJson({ b: [1, { d: null, c: "x\n" }], a: true, Z: -0 })).toBe('{"Z":0,"a":true,"b":[1,{"c":"x\\n","d":null}]}')
  expect(canonicalJson({ "\uffff": 1, "😀": 2 })).toBe('{"😀":2,"\uffff":1}')
})

test("equal values have equal digests whatever the order of their keys, others have others", () => {
  expect(digest({ a: 1, b: { c: 2, d: 3 } })).toBe(digest({ b: { d: 3, c: 2 }, a: 1 }))
  expect(digest({ a: 1 })).not.toBe(digest({ a: "1" }))
  expect(digest([1, 2])).not.toBe(digest([[1, 2]]))
})
