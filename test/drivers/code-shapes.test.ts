import fc from "fast-check"
import { describe, expect, test } from "vitest"
import type { CodeDriverOptions } from "../../src/drivers/code.ts"
import { check } from "../properties/check.ts"
import { Talk } from "./code-talk.ts"

const JS: CodeDriverOptions = { languages: ["js"] }

/** What an answer leads to: the code that runs, a repair, or the end of the turn. */
function resultOf(answer: string, options: CodeDriverOptions = JS): { code: string } | { repair: string } | "answer" {
  const { machine } = new Talk(options).says(answer)
  const { outstanding } = machine
  if (outstanding?.type === "exec_code") return { code: outstanding.code }
  if (outstanding?.type === "checkpoint" && outstanding.checkpoint === "before_completion") return "answer"
  const part = machine.messages.at(-1)?.parts[0]
  return { repair: part !== undefined && "text" in part ? (part.text ?? "") : "" }
}

describe("blocks that run", () => {
  test.each([
    ["in a numbered list", "1. run:\n   ```js\n   print(1)\n   ```"],
    ["in a later item of a list", "9. think\n10. run:\n\n    ```js\n    print(1)\n    ```\n11. read"],
    ["with a bracket after the number", "1) run:\n   ```js\n   print(1)\n   ```"],
    ["on the line of a bullet", "- ```js\n  print(1)\n  ```"],
    ["on the line of a number", "1. ```js\n   print(1)\n   ```"],
    ["on the line of a wide bullet", "*   ```js\n    print(1)\n    ```"],
    ["in a list with tabs", "-\tcode:\n\n\t```js\n\tprint(1)\n\t```"],
    ["in a quote", "> ```js\n> print(1)\n> ```"],
    ["in a quote without spaces", ">```js\n>print(1)\n>```"],
    ["in a quote in a quote", "> > ```js\n> > print(1)\n> > ```"],
    ["in a list in a list", "- a\n  - b\n\n    ```js\n    print(1)\n    ```"],
    ["in a list in a quote", "> 1. ```js\n>    print(1)\n>    ```"],
    ["in a quote in a list", "- > ```js\n  > print(1)\n  > ```"],
    ["indented less than the content of its item", "1. run:\n  ```js\n  print(1)\n  ```"],
    ["after a lazy line", "> I run\nthis:\n> ```js\n> print(1)\n> ```"],
    ["with a Pandoc class", "```{.js}\nprint(1)\n```"],
    ["with more Pandoc attributes", "```{.js .numberLines startFrom=1}\nprint(1)\n```"],
    ["with a Pandoc id first", "``` {#it .js}\nprint(1)\n```"],
    ["as a Quarto cell", "```{js, echo=FALSE}\nprint(1)\n```"],
    ["with a file name", "```js:run.js\nprint(1)\n```"],
    ["with a title", '```js title="run.js"\nprint(1)\n```'],
    ["with a comment as title", "```js // run.js\nprint(1)\n```"],
    ["with a comment that looks like code", "```js  // print(2);\nprint(1)\n```"],
    ["with a comment in the way of the shell", "```js # print(2);\nprint(1)\n```"],
    ["with a file name that has a bracket", "```js:run(2).js\nprint(1)\n```"],
    ["with marked lines", "```js{1,3-4}\nprint(1)\n```"],
    ["with marked lines apart", "```js {1} showLineNumbers\nprint(1)\n```"],
    ["with a flag", "```js,no_check\nprint(1)\n```"],
    ["with an HTML class", "```language-js\nprint(1)\n```"],
    ["with a named attribute", "```lang=js\nprint(1)\n```"],
    ["in capitals", "```JS\nprint(1)\n```"],
    ["after a space", "```  js  \nprint(1)\n```"],
    ["with tildes", "~~~js\nprint(1)\n~~~"],
    ["with a longer fence", "````js\nprint(1)\n`````"],
    ["with Windows lines", "So:\r\n```js\r\nprint(1)\r\n```\r\n"],
    ["with the lines of an old Mac", "So:\r```js\rprint(1)\r```\r"],
    ["after a block in another language", "```json\n{}\n```\n```js\nprint(1)\n```"],
    ["after an unlabelled block", "```\n1\n```\n```js\nprint(1)\n```"],
    ["after a quoted block", "````md\n```js\nno\n```\n````\n```js\nprint(1)\n```"],
  ])("%s", (_shape, answer) => {
    expect(resultOf(answer)).toEqual({ code: "print(1)" })
  })

  test.each([
    ["keeps its own indentation", "- ```js\n  if (a) {\n    print(1)\n\n  }\n  ```", "if (a) {\n  print(1)\n\n}"],
    ["keeps tabs", "1. x\n   ```js\n   f(\n   \t1)\n   ```", "f(\n\t1)"],
    ["keeps a quoted mark", "> ```js\n> a\n> > b\n> ```", "a\n> b"],
    ["keeps shorter fences", "````js\nf(`\n```\n`)\n````", "f(`\n```\n`)"],
  ])("code in a container %s", (_what, answer, code) => {
    expect(resultOf(answer)).toEqual({ code })
  })
})

describe("what looks like code to run, and does not run, asks for a repair", () => {
  test.each([
    ["a fence that is indented too far", "    ```js\n    print(1)\n    ```"],
    ["an unlabelled fence that is indented too far", "Run:\n\n    ```\n    print(1)\n    ```"],
    ["a fence indented by a tab", "\t```js\n\tprint(1)\n\t```"],
    ["a fence indented too far in a list", "- x\n      ```js\n      print(1)\n      ```"],
    ["a fence after words", "Here it is: ```js\nprint(1)\n```"],
    ["a fence after words, with more code after it", "Here: ```js\nprint(1)\n```\nAnd:\n```js\nprint(2)\n```\n"],
    ["a block in one line", "```js print(1)```"],
    ["a block in one line, in a list", "- ```js print(1)```"],
    ["a block in one line, within a sentence", "I run ```js print(1)``` now."],
    ["a block in one line without a language", "```print(1)```"],
    ["a statement in one line without a language", "```await submit(1)```"],
    ["a long block in one line", `\`\`\`${"print(1);".repeat(99)}\`\`\``],
    ["a block in one line, on an old Mac", "So:\r```print(1)```\r"],
    ["a block in a list in a block that is not closed", "```text\nfoo\n\n- ```js\n  print(1)\n  ```"],
    ["a block in one line of tildes", "~~~js print(1)~~~"],
    ["code on the line of the fence", "```js print(1)\n```"],
    ["some of the code on the line of the fence", "```js const a = 1\nprint(a)\n```"],
    ["code and a comment on the line of the fence", "```js print(1) // one\n```"],
    ["an unlabelled block", "```\nprint(1)\n```"],
    ["a block marked as code", "```code\nprint(1)\n```"],
    ["a block marked with what to do", "```run\nprint(1)\n```"],
    ["another name of the language", "```javascript\nprint(1)\n```"],
    ["a file in the language", "```src/run.js\nprint(1)\n```"],
    ["a block in a longer fence that is not closed", "````md\n```js\nprint(1)\n```"],
    ["a block in another fence that is not closed", "~~~md\n```js\nprint(1)\n```"],
    ["a block in a list that its lines leave", "1. run:\n   ```js\nprint(1)\n   ```"],
    ["a block in a quote that its lines leave", "> ```js\nprint(1)\n```"],
    ["a closing fence without an opening one", "print(1)\n```"],
    ["a block in another one that is not closed", "```text\nfoo\n\n```js\nprint(1)\n```"],
    ["a block in one of its own language", "```js\nprint(1)\n\n```js\nprint(2)\n```"],
    ["a block quoted by a fence of the same length", "```md\n```js\nprint(1)\n```\n```"],
    ["escaped backticks", "\\`\\`\\`js\nprint(1)\n\\`\\`\\`"],
    ["two backticks", "``js\nprint(1)\n``"],
    ["one backtick", "`js\nprint(1)\n`"],
    ["apostrophes", "'''js\nprint(1)\n'''"],
    ["quotation marks", '"""js\nprint(1)\n"""'],
    ["HTML", '<pre><code class="language-js">print(1)</code></pre>'],
    ["HTML with a language", '<code lang="js">\nprint(1)\n</code>'],
    ["a block without an end", "```js\nprint(1)"],
    ["a block that is closed by another character", "```js\nprint(1)\n~~~"],
    ["a block that is closed by a shorter fence", "````js\nprint(1)\n```"],
    ["an empty block", "```js\n```"],
  ])("%s", (_shape, answer) => {
    expect(resultOf(answer)).toEqual({
      repair: expect.stringMatching(/ Nothing was run\. Write one block that opens with ```js on a line of its own/),
    })
  })

  test.each([
    ["an unlabelled block", "```\nprint(1)\n```", "A block has no language: mark code to run ```js, and other text ```text."],
    ["a word that is not a language", "```run\nprint(1)\n```", '"run" is not a language: mark code to run ```js, and other text ```text.'],
    ["another name", "```node\nprint(1)\n```", 'A block is marked "node": mark code to run ```js, and code to show ```text.'],
    ["code on the line of the fence", "```js print(1)\n```", "The line of the opening fence has code, which is not read."],
    ["a fence in a line", "Run ```js x```.", '"```js x```." looks like a fence, but does not open a block'],
    ["a block in a block", "```js\na\n```js\nb\n```", 'A block of code opens inside of another block, which is not closed before it: "```js".'],
  ])("the repair of %s says what is wrong", (_what, answer, problem) => {
    expect(resultOf(answer)).toEqual({ repair: expect.stringContaining(problem) })
  })
})

test("a long name of a language in a tag is not searched from each tag before it", () => {
  const before = performance.now()
  resultOf(`${"<code ".repeat(35)}lang=${"a".repeat(200_000)}`)
  // A name of any length takes 20 s.
  expect(performance.now() - before).toBeLessThan(5_000)
})

test("a long line of an opening fence is read once, whatever it has", () => {
  for (const attributes of ["{".repeat(200_000), "'{\"".repeat(60_000)]) {
    const before = performance.now()
    resultOf(`\`\`\`js ${attributes}\nprint(1)\n\`\`\``)
    // A search from each brace takes minutes.
    expect(performance.now() - before).toBeLessThan(5_000)
  }
})

test.each([
  ["an attribute in braces", '{a: f(1)} "x;"', true],
  ["a brace without an end", "{a f(1)", false],
  ["a quotation mark without an end", '{a} "f(1)', false],
  ["an apostrophe in braces", "{it's (1)} a", true],
])("on the line of a fence, %s", (_what, rest, runs) => {
  expect("repair" in (resultOf(`\`\`\`js ${rest}\nprint(1)\n\`\`\``) as object)).toBe(!runs)
})

describe("answers in words", () => {
  test.each([
    ["words", "The sum is 3."],
    ["a block of JSON", 'It is:\n```json\n{ "a": 1 }\n```'],
    ["a block of text", "```text\nprint(1)\n```"],
    ["commands", "Now run\n```sh\nnpm i\n```\nyourself."],
    ["a block of another language in a list", "1. See\n   ```python\n   print(1)\n   ```"],
    ["a block of another language that is indented", "- See\n\n      ```yaml\n      a: 1\n      ```"],
    ["a block that is quoted by a longer fence", "````md\n```js\nprint(1)\n```\n````"],
    ["a block that is quoted by another fence", "~~~md\n```js\nprint(1)\n```\n~~~"],
    ["code within a line", "Call `print(1)` in `js`."],
    ["a language alone in a line", "The language is\n`js`\nas you said."],
    ["a command in three backticks", "Use ```npm install``` first."],
    ["a file in three backticks", "See ```src/run.js``` for it."],
    ["a block of another language in one line", '```json { "a": 1 }```'],
    ["HTML of another language", '<pre><code class="language-json">{}</code></pre>'],
    ["a language whose name begins alike", "```json5\n{}\n```\n```jsonl\n{}\n```"],
    ["indented code", "Write this:\n\n    print(1)"],
    ["a block of another language without an end", "```json\n{}"],
  ])("%s", (_shape, answer) => {
    expect(resultOf(answer)).toBe("answer")
  })
})

describe("unlabelled blocks", () => {
  const run: CodeDriverOptions = { ...JS, unlabelled: "run" }
  const ignore: CodeDriverOptions = { ...JS, unlabelled: "ignore" }

  test("run if the option says so", () => {
    expect(resultOf("So:\n```\nprint(1)\n```\n", run)).toEqual({ code: "print(1)" })
    expect(resultOf("```run\nprint(1)\n```\n", run)).toEqual({ code: "print(1)" })
    expect(resultOf("```\nprint(1)\n```\n```js\nprint(2)\n```", run)).toEqual({ code: "print(1)" })
    expect(resultOf("```text\nprint(1)\n```", run)).toBe("answer")
  })

  test("do not run if they may be the text between two other blocks", () => {
    expect(resultOf("Here: ```js\nprint(1)\n```\nand then\n```\n", run)).toEqual({ repair: expect.stringContaining('"```js" looks like a fence') })
    expect(resultOf("```\nprint(1)\n```js\nprint(2)\n```", run)).toEqual({ repair: expect.stringContaining("opens inside of another block") })
  })

  test("are text if the option says so, but marks of code in them or around them are not", () => {
    expect(resultOf("It printed\n```\n42\n```", ignore)).toBe("answer")
    expect(resultOf("```42```", ignore)).toBe("answer")
    expect(resultOf("```\n42\n```js\nprint(1)\n```", ignore)).toEqual({ repair: expect.stringContaining("opens inside of another block") })
    expect(resultOf("Run ```js\nprint(1)\n```", ignore)).toEqual({ repair: expect.stringContaining("looks like a fence") })
  })

  test("are the only ones that run if no language is listed", () => {
    const { machine } = new Talk({ languages: [] }).says("```\nprint(1)\n```")
    expect(machine.outstanding).toEqual({ type: "exec_code", id: 2, code: "print(1)" })
    expect(resultOf("```js\nprint(1)\n```", { languages: [] })).toBe("answer")
    expect(resultOf("```\n", { languages: [] })).toEqual({ repair: expect.stringContaining("one block that opens with ``` on a line of its own") })
  })

  test("a language without other names is meant by a file in it", () => {
    const lua = { languages: ["lua"] }
    expect(resultOf("```src/run.lua\nprint(1)\n```", lua)).toEqual({ repair: expect.stringContaining('A block is marked "src/run.lua"') })
    expect(resultOf("```run.luau\nprint(1)\n```", lua)).toBe("answer")
  })

  test("a language may have characters that end the language of an info string", () => {
    const shell = { languages: ["Tool:Shell"] }
    expect(resultOf("```tool:shell\nls\n```", shell)).toEqual({ code: "ls" })
    expect(resultOf("```tool:python\nls\n```", shell)).toBe("answer")
  })

  test("an empty word among the languages means unlabelled blocks", () => {
    expect(resultOf("```\nprint(1)\n```", { languages: ["js", ""] })).toEqual({ code: "print(1)" })
  })
})

describe("code that the model only thinks about", () => {
  const THOUGHT = "```js\nprint(1)\n```"
  const closed = [
    ["in think tags", `<think>\n${THOUGHT}\n</think>\n`],
    ["in tags in capitals, with attributes and a prefix", `\n <ant:Thinking type="x">\n${THOUGHT}\n</ant:Thinking >\n`],
    ["in brackets", `[THINK]\n${THOUGHT}\n[/THINK]\n`],
    ["in diamonds", `◁think▷\n${THOUGHT}\n◁/think▷\n`],
    ["in the channels of harmony", `<|channel|>analysis\n${THOUGHT}\n<|channel|>final\n`],
    ["before a closing tag alone at a line's start", `I would run\n${THOUGHT}\n</think>\n`],
    ["before an indented closing tag alone at a line's start", `${THOUGHT}\n\t</reasoning>\n`],
    ["unfinished", "<think>\n```js\nprint(1)\n</think>\n"],
  ] as const

  test.each(closed)("%s does not run: the answer in words after it ends the turn", (_what, reasoning) => {
    expect(resultOf(`${reasoning}The sum is 3.`)).toBe("answer")
  })

  test.each(closed)("%s does not run: the code after it runs, and the whole beginning is stored", (_what, reasoning) => {
    const answer = `${reasoning}So:\n\`\`\`js\nprint(2)\n\`\`\``
    const { machine } = new Talk(JS).says(`${answer}\nDone.`)
    expect(machine.outstanding).toMatchObject({ type: "exec_code", code: "print(2)" })
    expect(machine.messages.at(-1)?.parts).toMatchObject([{ type: "text", text: answer }])
  })

  test.each([
    ["tags", `<think>\n${THOUGHT}\nand so on`],
    ["brackets", `[THINK]\n${THOUGHT}`],
    ["diamonds", `◁think▷\n${THOUGHT}`],
    ["channels", `<|channel|>commentary\n${THOUGHT}`],
  ])("in %s that are not closed does not run", (_what, answer) => {
    expect(resultOf(answer)).toBe("answer")
  })

  test.each([
    ["tags after words", "I use\n<think>\n```js\nprint(1)\n```"],
    ["tags of another name", "<plan>\n```js\nprint(1)\n```\n</plan>"],
    ["a closing tag within a line", "```js\nprint(1)\n```\nIt prints </think> then."],
    ["a closing tag within a line of the code", "```js\nprint('</think>')\n```"],
  ])("%s are not reasoning at the beginning of the answer: the code runs", (_what, answer) => {
    expect(resultOf(answer)).toEqual({ code: expect.stringContaining("print(") })
  })
})

describe("whatever surrounds a block", () => {
  const words = fc.array(fc.constantFrom("So", "it", "is", "2.", "`x`", "a - b", "> 3", "(1)", "#"), { maxLength: 5 }).map((all) => all.join(" "))
  const code = fc.array(fc.constantFrom("print(1)", "  a", "", "if (a) {", "}", "// `x`", "- b", "> c", "1. d", "\te"), {
    minLength: 1,
    maxLength: 6,
  })
  const info = fc.constantFrom("js", "{.js}", "js:a.js", 'js title="x"', "JS", "js{1}")
  const prefix = fc.array(fc.constantFrom("> ", "- ", "1. ", "10) ", "* "), { maxLength: 4 })

  /** Puts a text into containers, the first line with their markers and the others with what continues them. */
  const within = (prefixes: readonly string[], lines: readonly string[]): string =>
    lines.map((line, index) => prefixes.map((each) => (index === 0 || each === "> " ? each : " ".repeat(each.length))).join("") + line).join("\n")

  test("a block in containers runs as it is written", () => {
    check(
      2_000,
      fc.property(words, prefix, code, info, (before, prefixes, lines, label) => {
        fc.pre(lines.some((line) => line.trim() !== ""))
        const block = within(prefixes, [`\`\`\`\`${label}`, ...lines, "````"])
        const result = resultOf(`${before}\n\n---\n\n${block}\n\n${before}`)
        // A blank line of a list item has no indentation to keep.
        const blank = (text: string): string => text.replace(/^[ \t]+$/gm, "")
        expect("code" in Object(result) ? blank((result as { code: string }).code) : result).toBe(blank(lines.join("\n")))
      }),
    )
  })

  test("no text with a fence of a listed language ends the turn without a word", () => {
    const noise = fc.constantFrom("", " ", "    ", "\t", "- ", "> ", "x ", "1. ", "```\n", "```json\n{}\n```\n", "~~~\n", "Run: ", "`a` ")
    const space = fc.constantFrom("", " ", "    ", "\t")
    const end = fc.constantFrom("\n```", "```", "\n", "", "\n~~~", "\n    ```", "\n> ```")
    check(
      5_000,
      fc.property(noise, noise, fc.constantFrom("```", "````", "~~~"), info, space, end, noise, (a, b, fence, label, gap, close, after) => {
        const answer = `${a}${b}${fence}${label}${gap}\nprint(1)${close}${after}`
        expect(resultOf(answer)).not.toBe("answer")
      }),
    )
  })

  test("a hostile text is read in time", () => {
    const size = 100_000
    const texts = ["`", "``` ", "```js ", "- ", "> ", "\\`", "~~~", "-\n", " ", "`\n", "<code ", "1. ", "```\n", "''' ", "\t"].map((piece) =>
      piece.repeat(size / piece.length),
    )
    const began = performance.now()
    for (const text of [...texts, `${"- ".repeat(40_000)}x${"\n".repeat(20_000)}`]) resultOf(text)
    expect(performance.now() - began).toBeLessThan(15_000)
  })
})
