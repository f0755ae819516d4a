import { expect, test } from "vitest"
import { fenceLanguage, readFences } from "../../src/drivers/fences.ts"

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

test.each([
  ["an item", "- ```js\n  a\n   b\n  ```", [["js", "a\n b", true]]],
  ["an item whose content begins further right", "-    ```js\n     a\n     ```", [["js", "a", true]]],
  ["an item that is followed by five spaces: indented code", "-     ```js\n      a\n      ```", []],
  ["an item that begins with a blank line", "-\n  ```js\n  a\n  ```", [["js", "a", true]]],
  ["an item that begins with two blank lines has ended", "-\n\n   ```js\n   a\n   ```", [["js", "a", true]]],
  ["a number of nine digits", "123456789. ```js\n           a\n           ```", [["js", "a", true]]],
  ["a number of ten digits is a word", "1234567890. ```js\na\n```", [["", "", false]]],
  ["a number other than one within a paragraph is a word", "a\n2. ```js\n   b\n   ```", [["", "", false]]],
  ["a number after a list", "1. a\n2. ```js\n   b\n   ```", [["js", "b", true]]],
  ["a thematic break is not an item", "* * *\n```js\na\n```", [["js", "a", true]]],
  [
    "an item that ends with its indentation",
    "- ```js\n  a\nb\n```\nc",
    [
      ["js", "a", false],
      ["", "c", false],
    ],
  ],
  ["a quote that ends with its marks", "> ```js\n> a\nb", [["js", "a", false]]],
  ["a quote whose line is blank", "> ```js\n>\n> a\n> ```", [["js", "\na", true]]],
  [
    "a quote that ends at a blank line",
    "> ```js\n\n> a\n> ```",
    [
      ["js", "", false],
      ["", "", false],
    ],
  ],
  ["blank lines in an item, which need no indentation", "1. ```js\n   a\n\n   b\n   ```", [["js", "a\n\nb", true]]],
  ["a lazy line: a fence is not one", "> a\n```js\nb\n```", [["js", "b", true]]],
  ["a lazy line in an item, which continues after it", "10. a\nlazy\n    ```js\n    b\n    ```", [["js", "b", true]]],
  ["tabs that are divided between an item and its code", "-\t```js\n\t\ta\n\t```", [["js", "\ta", true]]],
  ["a closing fence with other indentation", "1. ```js\n   a\n      ```\nb", [["js", "a", true]]],
  ["all of them", "> 1. - > ```js\n>      > a\n>      > ```", [["js", "a", true]]],
] as const)("a block in %s", (_what, text, expected) => {
  expect(blocks(text)).toEqual(expected)
})

test.each([
  ["", ""],
  ["js", "js"],
  ["C++", "c++"],
  ["objective-c x", "objective-c"],
  ["js:run.js", "js"],
  ["js,ignore", "js"],
  ["js;a", "js"],
  ["js{1,3-5}", "js"],
  ["js(a)", "js"],
  ["js[a]", "js"],
  [".js", "js"],
  ["run.js", "run.js"],
  ["language-js", "js"],
  ["lang=js", "js"],
  ["{.js}", "js"],
  ["{ .js }", "js"],
  ["{#id .numberLines .js}", "numberlines"],
  ["{key=value .js}", "js"],
  ["{python}", "python"],
  ["{r, echo=FALSE}", "r"],
  ["{python echo=FALSE}", "python"],
  ["{=html}", ""],
  ["{}", ""],
  ["{.js", "js"],
])("the info string %j names the language %j", (info, language) => {
  expect(fenceLanguage(info)).toBe(language)
})
