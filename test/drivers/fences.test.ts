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
  ["an item that begins with two blank lines: the block is not in it", "-\n\n  ```js\n  a\nb\n  ```", [["js", "a\nb", true]]],
  ["an item that begins with a blank line, after another blank line", "-\n  a\n\n  ```js\n  b\nc", [["js", "b", false]]],
  ["a thematic break, which has no items", "- - -\n      ```js\n      a\n      ```", []],
  ["a quote, with three spaces after the mark and its own", ">    ```js\n>    a\n>    ```", [["js", "a", true]]],
  ["a quote, with four spaces after the mark and its own: indented code", ">     ```js\n>     a\n>     ```", []],
  ["an item that a heading ends", "10. a\n# h\n    ```js\n    b\n    ```", []],
  ["an item that a thematic break ends", "10. a\n***\n    ```js\n    b\n    ```", []],
  ["a number other than one after a heading that is underlined", "a\n===\n2. ```js\n   b\n   ```", [["js", "b", true]]],
  ["a text: the rest of a tab that is in part its indentation", " ```js\n\ta\n ```", [["js", "   a", true]]],
  ["tabs that are divided between an item and its code", "-\t```js\n\t\ta\n\t```", [["js", "\ta", true]]],
  ["a closing fence with other indentation", "1. ```js\n   a\n      ```\nb", [["js", "a", true]]],
  ["an item after a paragraph", "a\n- ```js\n  b\n  ```", [["js", "b", true]]],
  ["an item of the number one after a paragraph", "a\n1. ```js\n   b\n   ```", [["js", "b", true]]],
  ["an item of another number in an item after a paragraph", "a\n- 2. ```js\n     b\n     ```", [["js", "b", true]]],
  ["an item of another number after indented code", "    a\n2. ```js\n   b\n   ```", [["js", "b", true]]],
  [
    "an item of another number after a block",
    "```\n```\n2. ```js\n   b\n   ```",
    [
      ["", "", true],
      ["js", "b", true],
    ],
  ],
  ["a paragraph that only looks underlined: the number is a word", "===\n2. ```js\n   b\n   ```", [["", "", false]]],
  ["a paragraph that goes on with four spaces: the number is a word", "a\n    ===\n2. ```js\n   b\n   ```", [["", "", false]]],
  ["indented code with the mark of an item", "    - ```js\n      a\n      ```", []],
  ["indented code with the mark of a quote", "    > ```js\n    > a\n    > ```", []],
  ["an item that ends where its content does not begin", "-    ```js\n     a\n  b", [["js", "a", false]]],
  ["an item that begins with blanks", "-  \n  ```js\n  a\nb", [["js", "a", false]]],
  ["an item that a line of an item after it ends", "100. a\n- b\n  ```js\n  c\nd", [["js", "c", false]]],
  ["an item that indented code in an inner item ends with", "a\n- 1.     b\nc\n     ```js\n     d\n     ```", []],
  ["an item with a lazy line that is not a heading", "100. a\n    # h\n     ```js\n     b\n     ```", [["js", "b", true]]],
  ["a text: the rest of a tab after a space", "  ```js\n \ta\n  ```", [["js", "  a", true]]],
  ["an item whose content begins at a tab", "-\t```js\n\ta\n  b", [["js", "a", false]]],
  ["a quote with a tab and two spaces: indented code", ">\t  ```js\n>\t  a\n>\t  ```", []],
  ["all of them", "> 1. - > ```js\n>      > a\n>      > ```", [["js", "a", true]]],
] as const)("a block in %s", (_what, text, expected) => {
  expect(blocks(text)).toEqual(expected)
})

test("markers nested deeper than 100 are text, on whatever lines the containers open", () => {
  const inQuotes = (depth: number): string => `${"> ".repeat(60)}a\n${"> ".repeat(depth)}\`\`\`js\n${"> ".repeat(depth)}b`
  expect(blocks(inQuotes(100))).toEqual([["js", "b", false]])
  expect(blocks(inQuotes(101))).toEqual([])
})

// The examples of CommonMark 0.31.2 with fences, or nearly so, in the sections that readFences follows: 4.5, 5.1, 5.2,
// and 5.3, with the info string and code of each block. Section 2.2 has no example with a fence; rows on tabs are above.
// https://spec.commonmark.org/0.31.2/
test.each<[number, string, readonly (readonly [string, string])[]]>([
  [119, "```\n<\n >\n```\n", [["", "<\n >"]]],
  [120, "~~~\n<\n >\n~~~\n", [["", "<\n >"]]],
  [121, "``\nfoo\n``\n", []],
  [122, "```\naaa\n~~~\n```\n", [["", "aaa\n~~~"]]],
  [123, "~~~\naaa\n```\n~~~\n", [["", "aaa\n```"]]],
  [124, "````\naaa\n```\n``````\n", [["", "aaa\n```"]]],
  [125, "~~~~\naaa\n~~~\n~~~~\n", [["", "aaa\n~~~"]]],
  [126, "```\n", [["", ""]]],
  [127, "`````\n\n```\naaa\n", [["", "\n```\naaa"]]],
  [128, "> ```\n> aaa\n\nbbb\n", [["", "aaa"]]],
  [129, "```\n\n  \n```\n", [["", "\n  "]]],
  [130, "```\n```\n", [["", ""]]],
  [131, " ```\n aaa\naaa\n```\n", [["", "aaa\naaa"]]],
  [132, "  ```\naaa\n  aaa\naaa\n  ```\n", [["", "aaa\naaa\naaa"]]],
  [133, "   ```\n   aaa\n    aaa\n  aaa\n   ```\n", [["", "aaa\n aaa\naaa"]]],
  [134, "    ```\n    aaa\n    ```\n", []],
  [135, "```\naaa\n  ```\n", [["", "aaa"]]],
  [136, "   ```\naaa\n  ```\n", [["", "aaa"]]],
  [137, "```\naaa\n    ```\n", [["", "aaa\n    ```"]]],
  [138, "``` ```\naaa\n", []],
  [139, "~~~~~~\naaa\n~~~ ~~\n", [["", "aaa\n~~~ ~~"]]],
  [140, "foo\n```\nbar\n```\nbaz\n", [["", "bar"]]],
  [141, "foo\n---\n~~~\nbar\n~~~\n# baz\n", [["", "bar"]]],
  [142, "```ruby\ndef foo(x)\n  return 3\nend\n```\n", [["ruby", "def foo(x)\n  return 3\nend"]]],
  [143, "~~~~    ruby startline=3 $%@#$\ndef foo(x)\n  return 3\nend\n~~~~~~~\n", [["ruby startline=3 $%@#$", "def foo(x)\n  return 3\nend"]]],
  [144, "````;\n````\n", [[";", ""]]],
  [145, "``` aa ```\nfoo\n", []],
  [146, "~~~ aa ``` ~~~\nfoo\n~~~\n", [["aa ``` ~~~", "foo"]]],
  [147, "```\n``` aaa\n```\n", [["", "``` aaa"]]],
  [
    237,
    "> ```\nfoo\n```\n",
    [
      ["", ""],
      ["", ""],
    ],
  ],
  [263, "1.  foo\n\n    ```\n    bar\n    ```\n\n    baz\n\n    > bam\n", [["", "bar"]]],
  [278, "-\n  foo\n-\n  ```\n  bar\n  ```\n-\n      baz\n", [["", "bar"]]],
  [318, "- a\n- ```\n  b\n\n\n  ```\n- c\n", [["", "b\n\n"]]],
  [321, "- a\n  > b\n  ```\n  c\n  ```\n- d\n", [["", "c"]]],
  [324, "1. ```\n   foo\n   ```\n\n   bar\n", [["", "foo"]]],
])("CommonMark 0.31.2, example %i", (_number, text, expected) => {
  expect(readFences(text).map(({ info, code }) => [info, code])).toEqual(expected)
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
  ["{python,echo=FALSE}", "python"],
  ["{echo=FALSE python}", "python"],
  ["{=html}", ""],
  ["{}", ""],
  ["{.js", "js"],
])("the info string %j names the language %j", (info, language) => {
  expect(fenceLanguage(info)).toBe(language)
})
