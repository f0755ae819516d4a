import { describe, expect, test } from "vitest"
import { describeDifference, firstDifference } from "../../src/testing/difference.ts"

describe("the first difference", () => {
  test.each<readonly [string, unknown, unknown]>([
    ["the order of keys", { a: 1, b: 2 }, { b: 2, a: 1 }],
    ["-0", { zero: -0 }, { zero: 0 }],
    ["an undefined key", { a: 1, b: undefined }, { a: 1 }],
    ["nothing at all", undefined, undefined],
    ["an own key named __proto__", JSON.parse('{"__proto__":1}'), JSON.parse('{"__proto__":1}')],
    ["half a surrogate pair", "\ud800", "\ud800"],
  ])("%s makes none", (_what, received, expected) => {
    expect(firstDifference(received, expected)).toBeUndefined()
  })

  test.each<readonly [string, unknown, unknown, string]>([
    ["the whole value", 1, 2, ""],
    ["a missing value", undefined, null, ""],
    ["a missing key", { a: {} }, { a: { b: null } }, "/a/b"],
    ["a key too many", { a: { b: null } }, { a: {} }, "/a/b"],
    ["an item", { list: [1, { deep: "x" }] }, { list: [1, { deep: "y" }] }, "/list/1/deep"],
    ["a longer list", [1, 2], [1], "/1"],
    ["a list for an object", [], {}, ""],
    ["a text for a number", { n: "1" }, { n: 1 }, "/n"],
    ["an own key named __proto__", JSON.parse('{"__proto__":1}'), {}, "/__proto__"],
    ["an inherited name", {}, JSON.parse('{"constructor":1}'), "/constructor"],
    ["a key with a slash and a tilde", { "a/b~c": 1 }, { "a/b~c": 2 }, "/a~1b~0c"],
  ])("has a path: %s", (_what, received, expected, path) => {
    expect(firstDifference(received, expected)?.path).toBe(path)
  })

  test("is described with both values, long ones shortened", () => {
    expect(describeDifference({ path: "/a", received: undefined, expected: { b: 1 } })).toBe(
      'first difference at "/a":\n  expected {"b":1}\n  received nothing',
    )
    const long = describeDifference({ path: "", received: "x".repeat(1_000), expected: 1 })
    expect(long).toContain("… (1002 characters)")
    expect(long.length).toBeLessThan(700)
  })
})
