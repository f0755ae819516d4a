import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { readDocs } from "./docs/blocks.ts"
import { AVOIDED, avoidedIn, markdownPassages, type Passage, passagesOf, sourcePassages } from "./docs/language.ts"

const ROOT = join(import.meta.dirname, "..")
const DOCS = [...readDocs(ROOT).map(({ path }) => path), "CHANGELOG.md", "examples/testing/README.md"]

/** Files whose texts are prompts: models read them, and a changed word may change what a model does. Their comments are checked. */
const PROMPTS: readonly string[] = [
  "src/drivers/checklist/judge-request.ts", // describes the fields of the judge's tools
  "src/drivers/checklist/prompts.ts",
  "src/drivers/goal/prompts.ts",
  "src/drivers/goal/tools.ts", // describes the goal tools
  "src/cli/workspace/tools.ts", // describes the tools of the command line
]

describe("docs avoid the phrases that CONTRIBUTING.md lists", () => {
  test.each(DOCS)("%s", (path) => {
    expect(avoidedIn(markdownPassages(ROOT, path))).toEqual([])
  })
})

const FOLDERS = [
  ...readdirSync(join(ROOT, "src"), { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [`src/${entry.name}`] : [])),
  "examples",
  "bench",
  "scripts",
]

describe("comments, messages and help texts avoid them", () => {
  for (const folder of FOLDERS) test(folder, () => expect(avoidedIn(readableIn(folder))).toEqual([]))

  test("files at the top of src", () => {
    expect(avoidedIn(readableIn("src").filter(({ file }) => /^src\/[^/]+$/.test(file)))).toEqual([])
  })

  test("every exception is a file with such a phrase", () => {
    for (const file of PROMPTS) expect(avoidedIn(passagesOf(file, readFileSync(join(ROOT, file), "utf8"))), file).not.toEqual([])
  })
})

function readableIn(folder: string): readonly Passage[] {
  return sourcePassages(ROOT, folder).filter(({ kind, file }) => kind === "comment" || !PROMPTS.includes(file))
}

describe("the rule", () => {
  const [, table = ""] = readFileSync(join(ROOT, "CONTRIBUTING.md"), "utf8").split("### Phrases to avoid")
  const rows = [...table.matchAll(/^\| (`.+`) \| (.+) \|$/gm)].map(([, phrases = "", instead]) => ({
    phrases: [...phrases.matchAll(/`([^`]+)`/g)].map(([, phrase]) => phrase),
    instead,
  }))

  test("is the list of phrases in CONTRIBUTING.md", () => {
    expect(rows.map(({ instead }) => instead)).toEqual(AVOIDED.map(({ instead }) => instead))
  })

  test.each(rows)("finds $phrases", ({ phrases, instead }) => {
    for (const text of phrases) expect(avoidedIn([{ kind: "text", file: "a.md", line: 1, text: text ?? "" }]).join(), text).toContain(`→ ${instead}`)
  })

  test.each([
    "There is no tool of that name.",
    "It is no longer outstanding, and no more than one.",
    "Results arrive in the order of the calls.",
    "The word stands for a turn.",
    "The journal has not been opened.",
    "The model is kept in sync.",
    "Take the next one, and look up the call.",
    "Use another driver.",
  ])("lets plain English pass: %s", (text) => {
    expect(avoidedIn([{ kind: "text", file: "a.md", line: 1, text }])).toEqual([])
  })

  test("is not for packages that an example has installed, nor for what a link leads to", () => {
    const root = mkdtempSync(join(tmpdir(), "language-"))
    try {
      for (const folder of ["examples/one/web", "examples/one/node_modules/other", "elsewhere"]) {
        mkdirSync(join(root, folder), { recursive: true })
        writeFileSync(join(root, folder, "a.tsx"), "// It goes on.")
      }
      symlinkSync(join(root, "elsewhere"), join(root, "examples/one/linked"), "junction")
      expect(sourcePassages(root, "examples").map(({ file }) => file)).toEqual(["examples/one/web/a.tsx"])
    } finally {
      rmSync(root, { recursive: true, force: true })
    }
  })

  test("reads comments, messages and templates, across lines, and names the line", () => {
    const source = [
      "// An ordinary comment.",
      "/**",
      " * Nothing to see here; a turn is taken",
      " * up. `told` is a name.",
      " */",
      `export const told = \`one \${2} that nobody wants\``,
      "// It goes",
      "// on here.",
      'throw new Error("Please mend it.")',
      'const mend = "mend"',
      "const one = 1 // nobody counts",
      "call(one, /* told once */ two)",
    ].join("\n")
    const found = avoidedIn(passagesOf("a.ts", source)).map((line) => line.replace(/ .*→/, ""))
    expect(found.sort()).toEqual([
      "a.ts:11 name the actor: the host, the caller, another process",
      "a.ts:12 emit, report, notify",
      "a.ts:3 resume, restore",
      "a.ts:6 name the actor: the host, the caller, another process",
      "a.ts:7 continue, resume, fork",
      "a.ts:9 fix",
    ])
  })
})
