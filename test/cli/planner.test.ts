import { describe, expect, it } from "vitest"
import { readNote } from "../../src/cli/planner/comments.ts"
import { readIntent } from "../../src/cli/planner/intent.ts"
import { plan } from "../../src/cli/planner/planner.ts"
import { windowsAround } from "../../src/cli/planner/windows.ts"
import type { Json } from "../../src/json.ts"
import type { Block, LlmMessage, LlmRequest } from "../../src/schemas/llm.ts"

const TOOLS = ["list_files", "read_file", "search_text", "write_file"].map((name) => ({ name, description: "", inputSchema: {} }))

/** A conversation with the planner. */
class Talk {
  readonly #messages: LlmMessage[]

  constructor(task: string) {
    this.#messages = [
      { role: "system", blocks: [{ type: "text", text: "You work on files." }] },
      { role: "user", blocks: [{ type: "text", text: task }] },
    ]
  }

  get request(): LlmRequest {
    return { model: "embedded", messages: this.#messages, attachments: [], tools: TOOLS, toolChoice: "auto", generation: {} }
  }

  ask(): { readonly text: string; readonly calls: readonly { readonly callId: string; readonly toolName: string; readonly input: Json }[] } {
    const { text, parts } = plan(this.request)
    const calls = parts.flatMap((part) =>
      part.type === "tool_call" ? [{ callId: part.callId, toolName: part.toolName, input: JSON.parse(part.inputJson) as Json }] : [],
    )
    return { text, calls }
  }

  /** Answers the planner's calls in order; a text is a failure. */
  answer(...results: readonly (Json | string)[]): this {
    const { parts } = plan(this.request)
    const calls = parts.filter((part) => part.type === "tool_call")
    expect(calls).toHaveLength(results.length)
    this.#messages.push({ role: "assistant", blocks: parts as Block[] })
    this.#messages.push({
      role: "user",
      blocks: calls.map((call, index): Block => {
        const result = results[index]
        const text = typeof result === "string" ? `[Tool execution failed]\n${result}` : JSON.stringify(result)
        return { type: "tool_result", callId: call.callId, toolName: call.toolName, text }
      }),
    })
    return this
  }
}

const LIST = {
  root: "shop",
  folder: ".",
  files: [{ path: "a.js", bytes: 9 }],
  totalFiles: 1,
  totalBytes: 9,
  skippedFolders: [],
  skippedLinks: 0,
  unreadable: 0,
}
const SKIPPED = { binary: 0, tooLarge: [], unreadable: 0 }
const NOTHING = { matches: [], totalMatches: 0, filesWithMatches: 0, filesSearched: 1, skipped: SKIPPED }

function found(...matches: readonly { readonly path: string; readonly line: number; readonly text: string }[]): Json {
  return {
    matches,
    totalMatches: matches.length,
    filesWithMatches: new Set(matches.map((match) => match.path)).size,
    filesSearched: 7,
    skipped: SKIPPED,
  }
}

/** The content that a call writes. */
function contentOf(call: { readonly input: Json } | undefined): string {
  return (call as { readonly input: { readonly content: string } }).input.content
}

describe("the planner", () => {
  it("lists, searches for all markers in one step, reads around the hits, writes a report and summarizes it", () => {
    const talk = new Talk("Find all TODO and FIXME comments.")
    expect(talk.ask()).toEqual({
      text: "I start by listing the files in this folder.",
      calls: [{ callId: "call_1", toolName: "list_files", input: {} }],
    })
    talk.answer({ ...LIST, totalFiles: 7 })
    expect(talk.ask()).toEqual({
      text: "The folder has 7 files. I search for TODO and FIXME in comments.",
      calls: [
        { callId: "call_2", toolName: "search_text", input: { texts: ["TODO"], wholeWord: true, ignoreCase: false } },
        { callId: "call_3", toolName: "search_text", input: { texts: ["FIXME"], wholeWord: true, ignoreCase: false } },
      ],
    })
    talk.answer(
      found(
        { path: "a.js", line: 20, text: "// TODO one" },
        { path: "a.js", line: 25, text: "// TODO two" },
        { path: "b.js", line: 1, text: 'x = "TODO"' },
      ),
      found({ path: "c.py", line: 2, text: "# FIXME it leaks" }),
    )
    expect(talk.ask()).toEqual({
      text: "3 lines in 2 files are worth a look. I read around them.",
      calls: [
        { callId: "call_4", toolName: "read_file", input: { path: "c.py", fromLine: 1, toLine: 5 } },
        { callId: "call_5", toolName: "read_file", input: { path: "a.js", fromLine: 17, toLine: 28 } },
      ],
    })
    talk.answer({ path: "c.py", fromLine: 1, toLine: 2, totalLines: 2, text: "x = 1\n# FIXME it leaks" }, "the disk is on fire")
    const [write] = talk.ask().calls
    expect(write).toMatchObject({ callId: "call_6", toolName: "write_file", input: { path: "todo-report.md" } })
    const content = contentOf(write)
    expect(content).toContain("**3 comments** (2 TODO, 1 FIXME) in 2 of 7 files.")
    expect(content).toContain('1. `c.py:2` it leaks (FIXME, says "leaks")')
    expect(content).toContain("- A tool failed: `the disk is on fire`")
    expect(content).toContain('- `b.js:1` `x = "TODO"`')
    talk.answer({ path: "todo-report.md", bytes: 3, status: "written" })
    expect(talk.ask()).toEqual({
      text: 'I found 3 comments (2 TODO, 1 FIXME) in 2 of the 7 files I searched. Most urgent: c.py:2 (FIXME, says "leaks"). The report is in todo-report.md.',
      calls: [],
    })
  })

  it("reports an empty folder, and writes nothing", () => {
    const talk = new Talk("todo").answer({ ...LIST, totalFiles: 0, skippedFolders: ["node_modules"], skippedLinks: 2 })
    expect(talk.ask()).toEqual({
      text: "There are no files to search in this folder (skipped: the folder node_modules, 2 links). I wrote no report.",
      calls: [],
    })
  })

  it("does not say that something is absent if the search for it failed", () => {
    for (const hits of [[], [{ path: "c.py", line: 2, text: "# FIXME it leaks" }]]) {
      const talk = new Talk("Find all TODO and FIXME comments.").answer({ ...LIST, totalFiles: 7 })
      talk.ask()
      talk.answer("the disk is on fire", found(...hits))
      if (hits.length > 0) {
        talk.ask()
        talk.answer({ path: "c.py", fromLine: 1, toLine: 2, totalLines: 2, text: "x = 1\n# FIXME it leaks" })
      }
      const content = contentOf(talk.ask().calls[0])
      const total = hits.length === 0 ? "No FIXME comment in 7 files." : "**1 comment** (1 FIXME) in 1 of 7 files."
      expect(content).toContain(`${total} The search for TODO failed.`)
      expect(content).toContain("- A tool failed: `the disk is on fire`")
      talk.answer({ path: "todo-report.md", bytes: 3, status: "written" })
      const { text } = talk.ask()
      expect(text).toContain(" The search for TODO failed. The report is in todo-report.md.")
      expect(text).not.toMatch(/no TODO|0 TODO/)
    }
  })

  it("writes a report that nothing was found", () => {
    const talk = new Talk("todo").answer(LIST)
    expect(talk.ask().calls).toHaveLength(1)
    talk.answer(NOTHING)
    expect(contentOf(talk.ask().calls[0])).toContain("No comment in 1 file.")
    talk.answer({ path: "todo-report.md", bytes: 3, status: "unchanged" })
    expect(talk.ask().text).toBe("There is no TODO comment in the 1 file I searched. The report in todo-report.md is already up to date.")
  })

  it("stops if a tool fails, and names the failure", () => {
    expect(new Talk("todo").answer("no permission").ask()).toEqual({
      text: "I could not list the folder, so I stopped: no permission",
      calls: [],
    })
    expect(new Talk("todo fixme").answer(LIST).answer("broken", "broken too").ask().text).toBe(
      "Every search failed, so there is nothing to report. broken broken too",
    )
  })

  it("chooses another name if a file of another author has it, up to five times", () => {
    const talk = new Talk("todo").answer(LIST).answer(NOTHING)
    const names: string[] = []
    for (let time = 1; time <= 10; time += 1) {
      const [call] = talk.ask().calls
      if (call === undefined) break
      const { path } = call.input as { path: string }
      names.push(path)
      talk.answer(`A file with this name exists that this program did not write, or that was edited: "${path}". Take another name.`)
    }
    expect(names).toEqual(["todo-report.md", "todo-report-2.md", "todo-report-3.md", "todo-report-4.md", "todo-report-5.md"])
    expect(talk.ask().text).toBe(
      'There is no TODO comment in the 1 file I searched. I could not write the report: A file with this name exists that this program did not write, or that was edited: "todo-report-5.md". Take another name.',
    )
    const full = new Talk("todo").answer(LIST).answer(NOTHING).answer("the disk is full")
    expect(full.ask()).toEqual({
      text: "There is no TODO comment in the 1 file I searched. I could not write the report: the disk is full",
      calls: [],
    })
  })

  it("reads around the 40 most important places, eight at a time, and reports the rest as unread", () => {
    const many = Array.from({ length: 60 }, (_, index) => ({ path: `f${String(index).padStart(2, "0")}.js`, line: 9, text: "// TODO later" }))
    many[59] = { path: "z.js", line: 9, text: "// TODO this is urgent" }
    const talk = new Talk("todo").answer(LIST).answer({ ...(found(...many) as object), totalMatches: 1_060 })
    expect(talk.ask().text).toBe("60 lines in 60 files are worth a look. I read around them, at the 40 most important places.")
    expect(talk.ask().calls.map((call) => (call.input as { path: string }).path)).toEqual([
      "z.js",
      "f00.js",
      "f01.js",
      "f02.js",
      "f03.js",
      "f04.js",
      "f05.js",
      "f06.js",
    ])
    for (let batch = 1; batch <= 5; batch += 1) talk.answer(...Array.from({ length: 8 }, () => "unreadable"))
    const content = contentOf(talk.ask().calls[0])
    expect(content).toContain("**60 comments** (60 TODO) in 60 of 7 files; 1,000 more lines with a marker were not examined")
    expect(content).toContain("- 20 places more are listed without surrounding lines.")
  })

  it("depends only on the request, so any process gets the same answers", () => {
    const talk = new Talk("todo").answer(LIST)
    expect(plan(JSON.parse(JSON.stringify(talk.request)) as LlmRequest)).toEqual(plan(talk.request))
  })

  it("estimates four characters per token, and counts the previous request as cached", () => {
    const talk = new Talk("todo")
    const toolLength = JSON.stringify(TOOLS).length
    // "You work on files." has 18 characters, "todo" 4; the answer has 44 and calls list_files (10) with {} (2).
    expect(plan(talk.request).usage).toEqual({
      inputTokens: Math.ceil((toolLength + 22) / 4),
      cachedInputTokens: 0,
      outputTokens: 14,
      reasoningTokens: 0,
    })
    talk.answer("xx")
    const before = Math.ceil((toolLength + 22) / 4)
    // The answer has 56 characters, the failure 26 with its heading.
    expect(plan(talk.request).usage).toMatchObject({ cachedInputTokens: before, inputTokens: Math.ceil((toolLength + 22 + 56 + 26) / 4) - before })
  })

  it("describes its limits if a task names nothing to search for", () => {
    expect(new Talk("What is this?").ask()).toEqual({
      text: 'I am the embedded planner, not a language model: I can find words in files and report where they are, but I do not understand them. This task names no word to search for. Name TODO or FIXME, put a search text in "quotes", or use a language model with --base-url and --model.',
      calls: [],
    })
  })

  it("does not work without its tools", () => {
    const request = { ...new Talk("todo").request, tools: TOOLS.slice(1) }
    expect(plan(request)).toMatchObject({ terminalReason: "stop", text: expect.stringContaining("I have no tool list_files.") as string })
  })

  it("searches for other words, and reports the hits of each", () => {
    const talk = new Talk('Where is "max items" or "cart" used?').answer(LIST)
    expect(talk.ask()).toMatchObject({
      text: 'The folder has 1 file. I search for "max items", "cart".',
      calls: [
        { input: { texts: ["max items"], wholeWord: false, ignoreCase: true } },
        { input: { texts: ["cart"], wholeWord: false, ignoreCase: true } },
      ],
    })
    talk.answer(NOTHING, found({ path: "a.js", line: 2, text: "the | Cart" }))
    talk.answer({ path: "a.js", fromLine: 1, toLine: 3, totalLines: 3, text: "one\nthe | Cart\n```" })
    expect(talk.ask().calls[0]?.input).toEqual({
      path: "search-report.md",
      content: `# Search in shop

Task: Where is "max items" or "cart" used?

The search ignored case. Files searched: 1.

| Searched | Lines | Files |
|---|---:|---:|
| \`max items\` | 0 | 0 |
| \`cart\` | 1 | 1 |

## \`a.js\`

**Line 2**

\`\`\`\`text
  1 | one
> 2 | the | Cart
  3 | \`\`\`
\`\`\`\`
`,
    })
    talk.answer({ path: "search-report.md", bytes: 3, status: "written" })
    expect(talk.ask().text).toBe(
      'I am the embedded planner, not a language model: I can find words in files and report where they are, but I do not understand them. I searched 1 file for "max items" (not found), "cart" (1 line in 1 file). The report is in search-report.md.',
    )
  })
})

describe("the intent of a task", () => {
  it.each([
    ["Find the TODO and FIXME comments in this folder", { type: "todo", markers: ["TODO", "FIXME"] }],
    ["any todos left?", { type: "todo", markers: ["TODO"] }],
    ['list the "fixme" notes', { type: "todo", markers: ["FIXME"] }],
    ["HACK and XXX, please", { type: "todo", markers: ["HACK", "XXX"] }],
    ['where is "TODO list" used?', { type: "search", phrases: ["TODO list"] }],
    ["where's `max_items` set, don't you know?", { type: "search", phrases: ["max_items"] }],
    ["find 'a b' and “c d”", { type: "search", phrases: ["a b", "c d"] }],
    ["Explain how the checkout uses maxItems and db.url", { type: "search", phrases: ["checkout", "maxItems", "db.url"] }],
    ["Wo wird die Bestellung geprüft?", { type: "search", phrases: ["wird", "Bestellung", "geprüft"] }],
    ["one two three four five six seven eight", { type: "search", phrases: ["three", "four", "five", "seven", "eight"] }],
    ["What does this project do?", { type: "unclear" }],
    ["", { type: "unclear" }],
  ])("%s", (task, intent) => {
    expect(readIntent(task)).toEqual(intent)
  })
})

describe("a marker in a line", () => {
  it.each([
    // path, line, in a comment, text
    ["a.js", "  // TODO: one", true, "one"],
    ["a.js", "foo() // see TODO two", true, "two"],
    ["a.js", "foo();//TODO three", true, "three"],
    ["a.js", " * TODO(ann): four */", true, "(ann) four"],
    ["a.js", "/* TODO five */", true, "five"],
    ["a.js", 'const a = "// TODO"', false, '"'],
    ["a.js", 'const a = "it\'s" // TODO six', true, "six"],
    ["a.js", "don't() // TODO seven", true, "seven"],
    ["a.js", "open('http://x.org/TODO')", false, "')"],
    ["a.js", "open(http://x.org/TODO)", false, ")"],
    ["a.js", "const TODO = 1", false, "= 1"],
    ["a.js", "TODO = 1", false, "= 1"],
    ["a.js", "# TODO", true, ""],
    ["a.js", "x = y # TODO", false, ""],
    ["a.py", "x = y # TODO", true, ""],
    ["a.py", 'x = "#TODO"', false, '"'],
    ["a.py", "    TODO: in a docstring", true, "in a docstring"],
    ["a.sql", "select 1 -- TODO eight", true, "eight"],
    ["a.sql", "select 1--TODO", false, ""],
    ["a.css", ".a { color: red } /* TODO nine */", true, "nine"],
    ["a.html", "<p>TODO</p>", false, "</p>"],
    ["a.html", "<!-- TODO ten -->", true, "ten"],
    ["Makefile", "all: # TODO eleven", true, "eleven"],
    ["a.tex", "50% TODO twelve", true, "twelve"],
    ["a.unknown", "x ; TODO thirteen", true, "thirteen"],
    ["README.md", "- [ ] TODO fourteen", true, "fourteen"],
    ["README.md", "## TODO", true, ""],
    ["README.md", "Later, TODO: fifteen", true, "fifteen"],
    ["README.md", "It finds TODO comments.", false, "comments."],
    ["NOTES", "It finds TODO comments.", false, "comments."],
    ["a.js", 'say("TODO") // TODO sixteen', true, "sixteen"],
  ])("%s: %s", (path, line, inComment, text) => {
    expect(readNote(path, line, ["TODO"])).toEqual({ marker: "TODO", inComment, text })
  })

  it("is not part of a longer word", () => {
    expect(readNote("a.js", "// TODOS, MYTODO, TODO_LIST, TODOé", ["TODO"])).toBeUndefined()
  })

  it.each([`${"-".repeat(300)}x TODO`, `${"[ ]".repeat(100)}TODO`, `${"'".repeat(299)} TODO`, `TODO ${" ".repeat(300)}x`])(
    "is found quickly in a line made for backtracking: %#",
    (line) => {
      // A pattern that backtracks would take years.
      expect(readNote("a.js", line, ["TODO"])?.marker).toBe("TODO")
    },
  )
})

describe("the lines around hits", () => {
  it("are merged where they touch, and start at line 1 or later", () => {
    const hit = (path: string, line: number) => ({ path, line, text: "" })
    expect(windowsAround([hit("a", 2), hit("b", 50), hit("a", 9), hit("a", 17)], 3)).toEqual([
      { path: "a", fromLine: 1, toLine: 12 },
      { path: "b", fromLine: 47, toLine: 53 },
      { path: "a", fromLine: 14, toLine: 20 },
    ])
  })

  it("are at most 200 in one window", () => {
    const hits = Array.from({ length: 100 }, (_, index) => ({ path: "a", line: 4 + index * 5, text: "" }))
    const sizes = windowsAround(hits, 3).map((window) => window.toLine - window.fromLine + 1)
    expect(sizes).toEqual([197, 197, 112])
  })
})
