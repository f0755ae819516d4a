import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { readDocs } from "./docs/blocks.ts"
import { AVOIDED, avoidedIn, markdownPassages, passagesOf, sourcePassages } from "./docs/language.ts"

const ROOT = join(import.meta.dirname, "..")
const DOCS = [...readDocs(ROOT).map(({ path }) => path), "CHANGELOG.md", "examples/testing/README.md"]
const GLOSSARY = "docs/glossary.md"

/** Files whose texts are not ours to reword. */
const ALLOWED: { readonly [file: string]: string } = {
}

describe("docs avoid the phrases of the glossary", () => {
  test.each(DOCS)("%s", (path) => {
    const passages = markdownPassages(ROOT, path)
    // The glossary quotes the phrases in its last table.
    const own = path === GLOSSARY ? passages.map(({ text, ...rest }) => ({ ...rest, text: text.split("## Phrases to avoid")[0] ?? "" })) : passages
    expect(avoidedIn(own)).toEqual([])
  })
})

describe("sources avoid them in comments and messages", () => {
  test.each(["src", "examples", "bench", "scripts"])("%s", (folder) => {
    const passages = sourcePassages(ROOT, folder, (file) => Object.hasOwn(ALLOWED, file))
    expect(avoidedIn(passages)).toEqual([])
  })
})
