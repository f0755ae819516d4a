import { expect, test } from "vitest"
import { readFences } from "../../src/drivers/fences.ts"

const blocks = (text: string): readonly (readonly [string, string, boolean])[] =>
  readFences(text).map(({ language, code, closed }) => [language, code, closed])

test("a block is the text between two fences; its language is the first word after the opening one", () => {
  expect(blocks("So:\n```ts title=a\nlet a = 1\n\nprint(a)\n```\nDone.")).toEqual([["ts", "let a = 1\n\nprint(a)", true]])
  expect(blocks("```TypeScript\nx\n```")).toEqual([["typescript", "x", true]])
  expect(blocks("~~~js\nx\n~~~")).toEqual([["js", "x", true]])
  expect(blocks("``` \nx\n```")).toEqual([["", "x", true]])
})

test("a shorter or different fence inside a block is code", () => {
  expect(blocks("````ts\n```\ninner\n```\n````")).toEqual([["ts", "```\ninner\n```", true]])
  expect(blocks("```ts\n~~~\n```")).toEqual([["ts", "~~~", true]])
  expect(blocks("```ts\n``` not a closing fence\n```")).toEqual([["ts", "``` not a closing fence", true]])
})

test("a closing fence may be longer and indented by three spaces, not by four", () => {
  expect(blocks("```ts\nx\n   `````  \nafter")).toEqual([["ts", "x", true]])
  expect(blocks("```ts\nx\n    ```")).toEqual([["ts", "x\n    ```", false]])
})

test("backticks within a line do not open a block", () => {
  expect(blocks("Use ```ts x``` here")).toEqual([])
  expect(blocks("```ts `x`\ny\n```")).toEqual([["", "", false]])
})

test("the indentation of the opening fence is removed from the code", () => {
  expect(blocks("  ```ts\n  a\n    b\n c\n  ```")).toEqual([["ts", "a\n  b\nc", true]])
})

test("Windows line ends are not part of the code", () => {
  expect(blocks("```ts\r\na\r\nb\r\n```\r\n")).toEqual([["ts", "a\nb", true]])
})

test("a block cut off by the end of the text is not closed, and offsets locate each of several blocks", () => {
  const text = "```ts\na\n```\nand\n```js\nb"
  expect(readFences(text)).toEqual([
    { info: "ts", language: "ts", marker: "```", code: "a", start: 0, end: 11, closed: true },
    { info: "js", language: "js", marker: "```", code: "b", start: 16, end: text.length, closed: false },
  ])
})
