import { runInNewContext } from "node:vm"
import { describe, expect, test } from "vitest"
import { MAX_JSON_DEPTH, parseJson } from "../../src/json.ts"
import { Count, Json, Timestamp } from "../../src/schemas/index.ts"

function nested(depth: number): string {
  return "[".repeat(depth) + "]".repeat(depth)
}

class Point {
  readonly x = 1
}

describe("free JSON", () => {
  test.each([
    ["null", null],
    ["a boolean", false],
    ["a text", "a\u0000\ud800"],
    ["a number", -1.5e300],
    ["minus zero", -0],
    ["a list", [1, [2], {}]],
    ["an object", { a: { b: [null] } }],
    ["an object without a prototype", Object.assign(Object.create(null) as object, { a: 1 })],
    ["an object of another realm", runInNewContext("({ a: [1] })")],
    ["keys that other languages find odd", JSON.parse('{"__proto__":{"a":1},"constructor":1,"toString":2,"":3}')],
  ])("%s is, and is passed on as the same value", (_, value) => {
    expect(Json.parse(value)).toBe(value)
  })

  test.each([
    ["undefined", undefined],
    ["undefined in a list", [undefined]],
    ["undefined in an object", { a: undefined }],
    ["a hole", Object.assign([], { length: 2 })],
    ["NaN", Number.NaN],
    ["an infinity", [Number.NEGATIVE_INFINITY]],
    ["a BigInt", 1n],
    ["a symbol", Symbol("s")],
    ["a function", { f: () => 1 }],
    ["a Date", new Date(0)],
    ["a Map", { m: new Map() }],
    ["a Set", new Set()],
    ["bytes", new Uint8Array(2)],
    ["an instance of a class", new Point()],
    ["an error", new Error("e")],
    ["an object that inherits from a plain one", Object.create({ a: 1 })],
    ["an object that says itself what its JSON is", { toJSON: () => 1 }],
    ["a proxy that does", new Proxy({}, { get: (_, key) => (key === "toJSON" ? () => 1 : undefined) })],
    ["a list that does", Object.assign([], { toJSON: () => 1 })],
  ])("%s is not", (_, value) => {
    expect(Json.safeParse(value).success).toBe(false)
  })

  test("the error gives the reason", () => {
    expect(Json.safeParse([1n]).error?.issues[0]?.message).toBe("Expected JSON, received a value of type bigint")
    expect(Json.safeParse(new Date(0)).error?.issues[0]?.message).toBe("Expected JSON, received an instance of a class")
    expect(Json.safeParse(JSON.parse(nested(129))).error?.issues[0]?.message).toBe("Expected JSON, received JSON nested deeper than 128")
  })

  test("128 levels are accepted, 129 are refused, and 10,000 do not overflow the stack", () => {
    expect(MAX_JSON_DEPTH).toBe(128)
    expect(Json.safeParse(JSON.parse(nested(128))).success).toBe(true)
    expect(Json.safeParse(JSON.parse(nested(129))).success).toBe(false)
    expect(Json.safeParse(JSON.parse(nested(10_000))).success).toBe(false)
    expect(Json.safeParse(JSON.parse(`${'{"a":'.repeat(10_000)}1${"}".repeat(10_000)}`)).success).toBe(false)
  })

  test("a value that contains itself is not JSON", () => {
    const list: unknown[] = []
    list.push({ list })
    expect(Json.safeParse(list).success).toBe(false)
  })
})

describe("parseJson", () => {
  test("returns the value, or undefined for text that is not JSON or nested too deeply", () => {
    expect(parseJson('{"a":[1]}')).toEqual({ a: [1] })
    expect(parseJson("null")).toBeNull()
    expect(parseJson("")).toBeUndefined()
    expect(parseJson("{'a':1}")).toBeUndefined()
    expect(parseJson("1e999")).toBeUndefined()
    expect(parseJson(nested(128))).toBeDefined()
    expect(parseJson(nested(129))).toBeUndefined()
    expect(parseJson(nested(100_000))).toBeUndefined()
  })
})

describe("counts and times", () => {
  test.each([0, 1, Number.MAX_SAFE_INTEGER])("%d is a count", (value) => {
    expect(Count.parse(value)).toBe(value)
  })

  test.each([-1, 0.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY, "1", 1n, null, undefined, [1], true])("%s is not", (value) => {
    expect(Count.safeParse(value).success).toBe(false)
  })

  test("a time is a whole number, also before the epoch", () => {
    expect(Timestamp.parse(-1)).toBe(-1)
    expect(Timestamp.safeParse(1.5).success).toBe(false)
    expect(Timestamp.safeParse(new Date(0)).success).toBe(false)
    expect(Timestamp.safeParse("2024-01-01").success).toBe(false)
  })
})
