import { existsSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import * as z from "zod"
import { refresh, staleRegions } from "../scripts/docs.ts"
import * as schemas from "../src/schemas/index.ts"
import { ROOT } from "./built.ts"
import { type Block, option, place, readDocs } from "./docs/blocks.ts"
import { commandsProblem } from "./docs/commands.ts"
import { diagramProblem } from "./docs/diagrams.ts"
import { errorNames } from "./docs/error-codes.ts"
import { pageProblem } from "./docs/pages.ts"
import { Programs, type Run } from "./docs/programs.ts"
import { approvalScreen } from "./docs/screens.ts"

/**
 * Checks every block of README.md, CONTRIBUTING.md and docs/ against the sources. The words after the language on the opening line say how:
 *
 *     ts                     a complete program: it compiles and runs, and prints the `text output` block that follows
 *     ts file=name.ts        the same, and later programs of the page may import it; vitest runs a `.test.ts`
 *     ts killed-at=word      the same, run twice: the first process is killed when it prints the word
 *     ts needs=postgres      a complete program that needs a product: it compiles, and does not run
 *     ts excerpt=src/x.ts    lines of that file, in its order; a line with … replaces omitted lines
 *     tsx                    a component of a page: its syntax is right, and this package exports what it imports; see pages.ts
 *     text output            the output of the program before it
 *     text screen            what the command line asks in a terminal of 80 columns; see screens.ts
 *     text files             a drawing: the files of src/ that it names exist, and contain the names beside them
 *     sh                     commands: scripts, flags and files exist; see commands.ts
 *     json [Schema]          parses, and matches that schema of turn-machine/schemas
 *     mermaid                a state diagram whose states, effects and responses exist
 */
const docs = readDocs(ROOT)
const programs = new Programs(ROOT, docs)
let complaints: ReadonlyMap<string, string>
let runs: ReadonlyMap<string, Run>

beforeAll(async () => {
  ;[complaints, runs] = await Promise.all([programs.typecheck(), programs.run()])
}, 240_000)
afterAll(() => programs.remove())

describe.each(docs.filter(({ blocks }) => blocks.length > 0))("$path", ({ blocks }) => {
  test.each(blocks.map((block, index) => ({ at: place(block), kind: block.language, block, next: blocks[index + 1], before: blocks[index - 1] })))(
    "$at $kind",
    async ({ block, next, before }) => {
      switch (block.language) {
        case "ts":
          if (option(block, "excerpt") !== undefined) return checkExcerpt(block)
          return checkProgram(block, next)
        case "text":
          if (block.words[0] === "output" && before?.language === "ts" && option(before, "excerpt") === undefined) return
          if (block.words[0] === "files") return checkFiles(block)
          if (block.words[0] === "screen") return expect(block.text.trimEnd()).toBe((await approvalScreen()).trimEnd())
          break
        case "sh":
          return expect(await commandsProblem(block, blocks)).toBeUndefined()
        case "tsx":
          return expect(await pageProblem(ROOT, block.text)).toBeUndefined()
        case "json":
          return checkJson(block)
        case "mermaid":
          return expect(diagramProblem(block.text)).toBeUndefined()
      }
      expect.unreachable(
        `${place(block)}: no check exists for "${[block.language, ...block.words].join(" ")}"; the top of test/docs.test.ts lists the kinds of blocks.`,
      )
    },
  )
})

function checkProgram(block: Block, next: Block | undefined): void {
  expect(complaints.get(place(block)) ?? "").toBe("")
  if (option(block, "needs") !== undefined) return
  const run = runs.get(place(block)) ?? { failure: "It did not run." }
  if ("failure" in run) expect.unreachable(`${place(block)}: ${run.failure}`)
  const stated = next?.language === "text" && next.words[0] === "output" ? next.text : ""
  expect(run.output.trimEnd()).toBe(stated.trimEnd())
}

function checkExcerpt(block: Block): void {
  const file = option(block, "excerpt") ?? ""
  const lines = readFileSync(join(ROOT, file), "utf8").split("\n")
  let position = 0
  for (const line of block.text.split("\n")) {
    if (line.trim() === "" || line.trim().startsWith("// …")) continue
    const found = lines.indexOf(line, position)
    if (found < 0) expect.unreachable(`${place(block)}: ${file} does not contain, at this point: ${line}`)
    position = found + 1
  }
}

/** `machine/turn-machine.ts   handle(response)`: the file exists and contains the name. */
function checkFiles(block: Block): void {
  const named = block.text.split("\n").flatMap((line) => {
    const file = /[\w-]+\/[\w/-]+\.ts/.exec(line)?.[0]
    return file === undefined ? [] : [{ file, names: [...line.matchAll(/\b([A-Za-z]\w+)[([]/g)].map(([, name]) => name) }]
  })
  expect(named.length).toBeGreaterThan(0)
  for (const { file, names } of named) {
    const source = readFileSync(join(ROOT, "src", file), "utf8")
    for (const name of names) expect(source, `${file} has no ${name}`).toMatch(new RegExp(`\\b${name}\\b`))
  }
}

function checkJson(block: Block): void {
  const value: unknown = JSON.parse(block.text)
  const [name] = block.words
  if (name === undefined) return
  const schema: unknown = (schemas as Record<string, unknown>)[name]
  if (!(schema instanceof z.ZodType)) expect.unreachable(`${place(block)}: turn-machine/schemas has no ${name}`)
  expect((schema as z.ZodType).parse(value)).toEqual(value)
}

describe("links", () => {
  test.each(docs.map(({ path, prose }) => ({ path, prose })))("of $path resolve", ({ path, prose }) => {
    for (const [, target = ""] of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue
      const [file = "", anchor] = target.split("#")
      const linked = file === "" ? path : join(dirname(path), file)
      expect(existsSync(join(ROOT, linked)), `${path}: ${target}`).toBe(true)
      if (anchor !== undefined) expect(anchorsOf(linked), `${path}: ${target}`).toContain(anchor)
    }
  })
})

/** The anchors that GitHub gives to headings. */
function anchorsOf(path: string): readonly string[] {
  const prose = docs.find((doc) => doc.path === path)?.prose ?? ""
  return [...prose.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  )
}

describe("docs/protocol.md", () => {
  const text = docs.find(({ path }) => path === "docs/protocol.md")?.text ?? ""

  test("matches the transition table", () => {
    expect(staleRegions(text)).toEqual([])
    expect(refresh(text)).toBe(text)
  })

  test("is stale if a row differs", () => {
    const changed = text.replace("| `execution_surface_synced` | `prepare_iteration` · `finished` |", "| `execution_surface_synced` | `finished` |")
    expect(changed).not.toBe(text)
    expect(staleRegions(changed)).toEqual(["transitions"])
    expect(staleRegions(text.replace("driver --> waiting_exec: exec_code\n", ""))).toEqual(["diagram"])
  })

  test("has a heading for every state", () => {
    expect(() => refresh(text.replace("### `waiting_exec`", "### Code"))).toThrow("waiting_exec")
  })
})

describe("docs/goals.md", () => {
  const text = docs.find(({ path }) => path === "docs/goals.md")?.text ?? ""

  test("matches the tables", () => {
    expect(staleRegions(text, "docs/goals.md")).toEqual([])
  })

  test("is stale if a status or a default differs", () => {
    expect(staleRegions(text.replace("| a brake acts | — | paused |", "| a brake acts | — | blocked |"), "docs/goals.md")).toEqual(["statuses"])
    expect(staleRegions(text.replace("| `maxContinuations` | 50 |", "| `maxContinuations` | 500 |"), "docs/goals.md")).toEqual(["policy"])
  })
})

describe("docs/errors.md", () => {
  const prose = docs.find(({ path }) => path === "docs/errors.md")?.prose ?? ""
  const rows = readTables(prose)
  const namesIn = (head: string): readonly string[] =>
    rows.filter((row) => row.head === head).map(({ cells: [name = ""] }) => name.replaceAll("`", ""))
  const { codes, kinds } = errorNames(join(ROOT, "src"))

  test("lists exactly the codes in the sources", () => {
    expect([...new Set(namesIn("code"))].sort()).toEqual([...codes].sort())
  })

  test("lists exactly the kinds of error events", () => {
    expect([...namesIn("kind")].sort()).toEqual([...kinds].sort())
  })

  test("gives a meaning and an action for each", () => {
    for (const { head, cells } of rows) {
      expect(cells.every((cell) => /\w/.test(cell)) && cells.length === (head === "kind" ? 2 : 3), cells.join(" | ")).toBe(true)
    }
  })
})

/** Returns the rows of all tables, each with the heading of its first column. */
function readTables(prose: string): readonly { readonly head: string; readonly cells: readonly string[] }[] {
  let head: string | undefined
  return prose.split("\n").flatMap((line) => {
    const cells = line.startsWith("|")
      ? line
          .split("|")
          .slice(1, -1)
          .map((cell) => cell.trim())
      : undefined
    if (cells === undefined) {
      head = undefined
      return []
    }
    if (head === undefined) head = cells[0] ?? ""
    else if (cells[0] !== "---") return [{ head, cells }]
    return []
  })
}
