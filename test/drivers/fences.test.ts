import { expect, test } from "vitest"
import { readFences } from "../../src/drivers/fences.ts"

const blocks = (text: string): readonly (readonly [string, string, boolean])[] =>
  readFences(text).map(({ language, code, closed }) => [language, code, closed])

test("a block is what stands between two fences, with the first word behind the opening one as its language", () => {
  expect(blocks("So:\n```ts title=a\nlet a = 1\n\nprint(a)\n```\nDone.")).toEqual([["ts", "let a = 1\n\nprint(a)", true]])
  expect(blocks("```TypeScript\nx\n```")).toEqual([["typescript", "x", true]])
  expect(blocks("~~~js\nx\n~~~")).toEqual([["js", "x", true]])
  expect(blocks("``` \nx\n```")).toEqual([["", "x", true]])
})

test("a fence inside a longer or another fence is code", () => {
  expect(blocks("````ts\n```\ninner\n```\n````")).toEqual([["ts", "```\ninner\n```", true]])
  expect(blocks("```ts\n~~~\n```")).toEqual([["ts", "~~~", true]])
  expect(blocks("```ts\n``` not a closing fence\n```")).toEqual([["ts", "``` not a closing fence", true]])
})

test("a closing fence may be longer and indented by three spaces, not by four", () => {
  expect(blocks("```ts\nx\n   `````  \nafter")).toEqual([["ts", "x", true]])
  expect(blocks("```ts\nx\n    ```")).toEqual([["ts", "x\n    ```", false]])
})

test("backticks within a line open nothing", () => {
  expect(blocks("Use ```ts x``` here")).toEqual([])
  expect(blocks("```ts `x`\ny\n```")).toEqual([["", "", false]])
})

test("the indentation of the opening fence is taken off the code", () => {
  expect(blocks("  ```ts\n  a\n    b\n c\n  ```")).toEqual([["ts", "a\n  b\nc", true]])
})

test("line ends of Windows are no part of the code", () => {
  expect(blocks("```ts\r\na\r\nb\r\n```\r\n")).toEqual([["ts", "a\nb", true]])
})

test("a block that the text's end cuts off is not closed, and several blocks are told apart by where they stand", () => {
  const text = "```ts\na\n```\nand\n```js\nb"
  expect(readFences(text)).toEqual([
    { language: "ts", code: "a", start: 0, end: 11, closed: true },
    { language: "js", code: "b", start: 16, end: text.length, closed: false },
  ])
})
