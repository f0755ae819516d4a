import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

/** One fenced block of a document. `words`: the words after the language on the opening line. */
export interface Block {
  readonly doc: string
  /** The line of the opening fence, from 1. */
  readonly line: number
  readonly language: string
  readonly words: readonly string[]
  readonly text: string
}

export interface Doc {
  /** The path from the root of the repository. */
  readonly path: string
  readonly text: string
  /** The text without its blocks. */
  readonly prose: string
  readonly blocks: readonly Block[]
}

/** README.md, CONTRIBUTING.md and everything under docs/. */
export function readDocs(root: string): readonly Doc[] {
  const names = readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".md"))
  return ["README.md", "CONTRIBUTING.md", ...names.sort().map((name) => `docs/${name}`)].map((path) =>
    readDoc(path, readFileSync(join(root, path), "utf8")),
  )
}

/** Fences begin a line. A longer fence may contain shorter ones. */
export function readDoc(path: string, text: string): Doc {
  const blocks: Block[] = []
  const prose: string[] = []
  let open: { readonly line: number; readonly fence: string; readonly info: string; readonly lines: string[] } | undefined
  text.split("\n").forEach((content, index) => {
    const fence = /^(`{3,})(.*)$/.exec(content)
    if (open === undefined) {
      if (fence === null) prose.push(content)
      else open = { line: index + 1, fence: fence[1] ?? "", info: fence[2] ?? "", lines: [] }
    } else if (fence !== null && fence[2] === "" && (fence[1] ?? "").length >= open.fence.length) {
      const [language = "", ...words] = open.info.trim().split(/\s+/)
      blocks.push({ doc: path, line: open.line, language, words, text: open.lines.join("\n") })
      open = undefined
    } else {
      open.lines.push(content)
    }
  })
  if (open !== undefined) throw new Error(`${path}:${(open as { line: number }).line}: a block is never closed`)
  return { path, text, prose: prose.join("\n"), blocks }
}

/** The position of a block as `file:line`. */
export function place({ doc, line }: Block): string {
  return `${doc}:${line}`
}

/** The value of `name=value` after the language. */
export function option({ words }: Block, name: string): string | undefined {
  return words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1)
}
