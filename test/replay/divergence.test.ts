import { expect, test } from "vitest"
import { differences } from "../../src/replay/divergence.ts"

test.each<readonly [string, unknown, unknown]>([
  ["the order of keys", { a: 1, b: [true, null] }, { b: [true, null], a: 1 }],
  ["the sign of zero", { a: 0 }, { a: -0 }],
  ["undefined instead of a missing key", { a: 1 }, { a: 1, b: undefined }],
])("%s is not a difference", (_what, expected, received) => {
  expect(differences(expected, received)).toEqual([])
})

test("a list and an object differ as a whole, even with equal keys", () => {
  expect(differences({ a: ["x"] }, { a: { 0: "x" } })).toEqual([{ path: "/a", expected: ["x"], received: { 0: "x" } }])
  expect(differences({ 0: "x" }, ["x"])).toEqual([{ path: "", expected: { 0: "x" }, received: ["x"] }])
  expect(differences([], {})).toEqual([{ path: "", expected: [], received: {} }])
})

test("null and an object differ as a whole", () => {
  expect(differences({ a: null }, { a: { b: 1 } })).toEqual([{ path: "/a", expected: null, received: { b: 1 } }])
  expect(differences({ a: { b: 1 } }, { a: null })).toEqual([{ path: "/a", expected: { b: 1 }, received: null }])
})

test("paths are JSON pointers, with their escapes", () => {
  const paths = differences({ "a/b": 1, "m~n": 1, "~1/": 1, "": 1, list: [0, { x: 1 }] }, { list: [0, { x: 2 }] }).map(({ path }) => path)
  expect(paths).toEqual(["/a~1b", "/m~0n", "/~01~1", "/", "/list/1/x"])
  expect(differences({ "a/~": { b: 1 } }, { "a/~": { b: 2 } }, "/results/0")).toEqual([{ path: "/results/0/a~1~0/b", expected: 1, received: 2 }])
})

test("every place is found, in the order of the expected value and then of the received one", () => {
  expect(differences({ b: 1, a: [1, 2] }, { c: 3, a: [1, 3, 4], b: 2 })).toEqual([
    { path: "/b", expected: 1, received: 2 },
    { path: "/a/1", expected: 2, received: 3 },
    { path: "/a/2", expected: undefined, received: 4 },
    { path: "/c", expected: undefined, received: 3 },
  ])
})

test("inherited members do not count", () => {
  expect(differences({}, JSON.parse('{"toString":1,"__proto__":2}'))).toEqual([
    { path: "/toString", expected: undefined, received: 1 },
    { path: "/__proto__", expected: undefined, received: 2 },
  ])
})
