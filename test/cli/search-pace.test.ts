import { execFileSync } from "node:child_process"
import { linkSync, mkdirSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import fc from "fast-check"
import { describe, expect, it, onTestFinished } from "vitest"
import { Folder } from "../../src/cli/workspace/folder.ts"
import { type FoundLine, LineMatcher, LineSearch } from "../../src/cli/workspace/line-search.ts"
import { OutFolder } from "../../src/cli/workspace/out-folder.ts"
import { Pace } from "../../src/cli/workspace/pace.ts"
import { type SearchResult, searchFolder } from "../../src/cli/workspace/text-search.ts"
import { fileTools } from "../../src/cli/workspace/tools.ts"
import type { ToolAnswer } from "../../src/hosts/host.ts"
import { toolbox } from "../../src/hosts/tools/toolbox.ts"
import type { Json } from "../../src/json.ts"
import { CONTEXT, fill, newFolder } from "./harness.ts"

const MEGABYTE = 1024 * 1024

function call(dir: string, toolName: string, args: Json, signal: AbortSignal = CONTEXT.signal): Promise<ToolAnswer["output"]> {
  const tools = toolbox(fileTools(new Folder(dir), new OutFolder(join(dir, "..", "out"))))
  return tools.call({ callId: "c", toolName, args }, { ...CONTEXT, signal }).then(({ output }) => output)
}

/** Counts how often other work gets its turn until a promise settles. */
async function turnsDuring<Value>(work: () => Promise<Value>, onTurn: (turns: number) => void = () => {}): Promise<{ turns: number; value: Value }> {
  let [turns, isOver] = [0, false]
  const count = (): void => {
    if (isOver) return
    turns += 1
    onTurn(turns)
    setImmediate(count)
  }
  setImmediate(count)
  const value = await work().finally(() => {
    isOver = true
  })
  return { turns, value }
}

/** Texts that almost occur at every place of a line of one letter: a matcher that starts again at each place is slow. */
const HARD = Array.from({ length: 20 }, (_, index) => `${"a".repeat(180 + (index % 19))}${index === 0 ? "c" : "b"}`)
/** A minified file: one line. */
const LONG_LINE = "a".repeat(MEGABYTE)
const SLICES = MEGABYTE / Pace.slice

/** Searches one file without any input or output, so that nothing but the search lets other work run. */
function searchIn(text: string, texts: readonly string[], signal: AbortSignal): Promise<SearchResult> {
  const content = Buffer.from(text)
  const files = [{ path: "app.min.js", bytes: content.length }]
  const folder = { walk: async () => ({ files, skippedFolders: [], links: 0, unreadable: 0, cut: false }), read: async () => content }
  return searchFolder(folder as unknown as Folder, ".", new LineMatcher(texts, { ignoreCase: true, wholeWord: false }), signal)
}

describe("search_text in files that are hard to search", () => {
  it("lets other work run within one line", async () => {
    const { turns, value } = await turnsDuring(() => searchIn(LONG_LINE, HARD, CONTEXT.signal))
    expect(value).toMatchObject({ totalMatches: 0, filesSearched: 1 })
    expect(turns).toBeGreaterThanOrEqual(SLICES)
  })

  it("stops within one line when its signal is aborted", async () => {
    const controller = new AbortController()
    const stopped = turnsDuring(
      () => searchIn(LONG_LINE, HARD, controller.signal),
      (turn) => {
        if (turn === SLICES / 2) controller.abort(new Error("stopped here"))
        expect(turn).toBeLessThanOrEqual(SLICES / 2 + 2)
      },
    )
    await expect(stopped).rejects.toThrow("stopped here")
  })

  it("lets other work run among thousands of small files", async () => {
    const content = Buffer.from("nothing\n")
    const files = Array.from({ length: 6_400 }, (_, index) => ({ path: `f${index}`, bytes: 8 }))
    const folder = { walk: async () => ({ files, skippedFolders: [], links: 0, unreadable: 0, cut: false }), read: async () => content }
    const matcher = new LineMatcher(["TODO"], { ignoreCase: false, wholeWord: true })
    const { turns, value } = await turnsDuring(() => searchFolder(folder as unknown as Folder, ".", matcher, CONTEXT.signal))
    expect(value).toMatchObject({ filesSearched: 6_400 })
    expect(turns).toBeGreaterThanOrEqual(100)
  })

  it("visits each character once, whatever the texts and the line are", () => {
    const matcher = new LineMatcher(["aab", "ab", "b".repeat(50)], { ignoreCase: true, wholeWord: false })
    const states = matcher.next.length / matcher.classCount
    // A table of all steps: there is none that tries a second one.
    expect(states).toBe(3 + 2 + 50 + 1)
    expect([...matcher.next].every((state) => state < states)).toBe(true)
  })
})

describe("LineMatcher", () => {
  const found = (text: string, texts: readonly string[], options: { ignoreCase: boolean; wholeWord: boolean }, slice = 3): FoundLine[] => {
    const search = new LineSearch(new LineMatcher(texts, options), text)
    const lines: FoundLine[] = []
    while (!search.isDone) search.advance(slice, (line) => lines.push(line))
    return lines
  }
  /** The pattern that the matcher stands for. */
  const pattern = (texts: readonly string[], { ignoreCase, wholeWord }: { ignoreCase: boolean; wholeWord: boolean }): RegExp => {
    const either = texts.map((text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")).join("|")
    return new RegExp(wholeWord ? `(?<![\\p{L}\\p{N}_])(?:${either})(?![\\p{L}\\p{N}_])` : either, ignoreCase ? "iu" : "u")
  }
  const letters = fc.constantFrom(
    "a",
    "b",
    "A",
    "ß",
    "ẞ",
    "ſ",
    "s",
    "k",
    "\u212a",
    "ı",
    "i",
    "İ",
    "σ",
    "ς",
    "Σ",
    "😀",
    "\u{10400}",
    "\u{10428}",
    "_",
    "1",
    ".",
    " ",
  )
  const words = fc.array(letters, { minLength: 1, maxLength: 4 }).map((parts) => parts.join(""))
  const texts = fc.array(fc.oneof({ weight: 6, arbitrary: letters }, { weight: 1, arbitrary: fc.constantFrom("\n", "\r\n", "\r") }), {
    maxLength: 60,
  })

  it("finds the lines that a regular expression finds, in slices of any size", () => {
    fc.assert(
      fc.property(
        texts,
        fc.array(words, { minLength: 1, maxLength: 5 }),
        fc.boolean(),
        fc.boolean(),
        fc.integer({ min: 1, max: 7 }),
        (parts, wanted, ignoreCase, wholeWord, slice) => {
          const text = parts.join("")
          const regex = pattern(wanted, { ignoreCase, wholeWord })
          const expected = text.split(/\r\n|\n|\r/).flatMap((line, index) => (regex.test(line) ? [{ line: index + 1, text: line }] : []))
          expect(found(text, wanted, { ignoreCase, wholeWord }, slice)).toMatchObject(expected)
          expect(found(text, wanted, { ignoreCase, wholeWord }, slice)).toHaveLength(expected.length)
        },
      ),
      { numRuns: 1_000, seed: 18 },
    )
  })

  it("says where in the line the text starts", () => {
    expect(found("x\nyy TODO z", ["todo"], { ignoreCase: true, wholeWord: true })).toEqual([{ line: 2, text: "yy TODO z", index: 3 }])
  })

  it("folds every character as a regular expression does", () => {
    const cased: string[] = []
    for (let point = 0; point <= 0x1ffff; point += 1) {
      if (point >= 0xd800 && point <= 0xdfff) continue
      const character = String.fromCodePoint(point)
      if (character.toLowerCase() !== character || character.toUpperCase() !== character) cased.push(character)
    }
    expect(cased.length).toBeGreaterThan(2_500)
    const all = cased.join("\n")
    for (const character of cased) {
      const same = [...all.matchAll(new RegExp(`^${character}$`, "gimu"))].map(([match]) => match)
      const lines = found(same.join("\n"), [character], { ignoreCase: true, wholeWord: false }, 1_000).map(({ text }) => text)
      expect(lines, `U+${character.codePointAt(0)?.toString(16)}`).toEqual(same)
    }
    // And no others: each is found by exactly one class of characters.
    const matcherFinds = (character: string): string =>
      found(all, [character], { ignoreCase: true, wholeWord: false }, 1_000_000)
        .map(({ text }) => text)
        .join("")
    for (const character of ["s", "k", "i", "ı", "İ", "ß", "ς", "µ", "\u{10400}", "Ꭰ", "ǆ"])
      expect(matcherFinds(character)).toBe([...all.matchAll(new RegExp(`^${character}$`, "gimu"))].map(([match]) => match).join(""))
  })
})

describe("the tools in a folder of odd files", () => {
  it("skips pipes, sockets and devices, and reads none of them", async () => {
    const dir = fill(newFolder(), { "in/a.txt": "TODO\n" })
    execFileSync("mkfifo", [join(dir, "in/pipe")])
    const server = createServer().listen(join(dir, "in/socket"))
    onTestFinished(() => void server.close())
    await new Promise((resolve) => server.once("listening", resolve))
    expect(await call(join(dir, "in"), "list_files", {})).toMatchObject({ value: { files: [{ path: "a.txt" }], unreadable: 0 } })
    expect(await call(join(dir, "in"), "search_text", { texts: ["TODO"] })).toMatchObject({ value: { totalMatches: 1 } })
    for (const path of ["pipe", "socket"]) expect(await call(join(dir, "in"), "read_file", { path })).toMatchObject({ status: "failure" })
    mkdirSync(join(dir, "out"))
    execFileSync("mkfifo", [join(dir, "out/pipe")])
    expect(await call(join(dir, "in"), "write_file", { path: "pipe", content: "x" })).toMatchObject({
      status: "failure",
      failure: { code: "not_a_file" },
    })
  })

  it.runIf(process.platform === "linux")("reads files that say that they are empty", async () => {
    expect(await call(`/proc/${process.pid}`, "read_file", { path: "status" })).toMatchObject({ value: { text: expect.stringContaining("Pid:") } })
  })

  it("does not read a huge file before it replaces or refuses it", async () => {
    const dir = newFolder()
    mkdirSync(join(dir, "out"))
    // A file with a hole: it takes no space.
    execFileSync("truncate", ["-s", "20G", join(dir, "out/huge.md")])
    mkdirSync(join(dir, "in"))
    expect(await call(join(dir, "in"), "write_file", { path: "huge.md", content: "x" })).toMatchObject({ failure: { code: "file_exists" } })
    expect(await call(join(dir, "out"), "read_file", { path: "huge.md" })).toMatchObject({ failure: { code: "too_large" } })
    expect(await new OutFolder(join(dir, "out"), { replaceAny: true }).write("huge.md", "x")).toMatchObject({ status: "written" })
  })

  it("lists a folder with more entries than it keeps, in order, and lets other work run", async () => {
    const dir = fill(newFolder(), { "in/z": "" })
    // The names are in no order, so that the first of them come late too.
    for (let number = 0; number < 60_000; number += 1)
      linkSync(join(dir, "in/z"), join(dir, `in/${String((number * 7_919) % 60_000).padStart(5, "0")}`))
    const { turns, value } = await turnsDuring(() => call(join(dir, "in"), "list_files", {}))
    expect(value).toMatchObject({ value: { totalFiles: 20_000, cut: expect.stringContaining("only the first 20000") } })
    const files = (value as unknown as { value: { files: { path: string }[] } }).value.files
    expect(files.map(({ path }) => path)).toEqual(Array.from({ length: 1_000 }, (_, index) => String(index).padStart(5, "0")))
    expect(turns).toBeGreaterThan(100)
  })

  it("stops listing when its signal is aborted", async () => {
    const dir = fill(newFolder(), { "in/z": "" })
    for (let number = 0; number < 3_000; number += 1) writeFileSync(join(dir, `in/${number}`), "")
    const controller = new AbortController()
    const { value } = await turnsDuring(
      () => call(join(dir, "in"), "list_files", {}, controller.signal),
      (turn) => {
        if (turn === 1) controller.abort()
      },
    )
    expect(value.status).not.toBe("success")
  })
})
