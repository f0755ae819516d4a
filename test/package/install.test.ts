import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { beforeAll, describe, expect, test } from "vitest"
import { ROOT } from "../built.ts"
import { option, readDoc } from "../docs/blocks.ts"
import { NEEDED_BY, packed, pinned, UserFolder } from "./support.ts"

// What a user has after `npm init -y` and `npm install turn-machine zod` in an empty folder: no optional peer dependency.

const user = new UserFolder()
const installed = join(user.path, "node_modules/turn-machine")
await packed()

beforeAll(() => user.install("turn-machine", pinned("zod")), 180_000)

interface Manifest {
  readonly exports: Readonly<Record<string, unknown>>
  readonly dependencies: Readonly<Record<string, string>>
  readonly peerDependencies: Readonly<Record<string, string>>
  readonly peerDependenciesMeta: Readonly<Record<string, { readonly optional?: boolean }>>
}
const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as Manifest
const subpaths = Object.keys(manifest.exports)
  .filter((path) => path !== "./package.json")
  .map((path) => path.replace(".", "turn-machine"))

describe("installed with zod alone", () => {
  test("brings its three dependencies, and needs nothing else", () => {
    expect(Object.keys(manifest.dependencies)).toEqual(["@noble/hashes", "eventsource-parser", "immer"])
    const required = Object.keys(manifest.peerDependencies).filter((name) => manifest.peerDependenciesMeta[name]?.optional !== true)
    expect(required).toEqual(["zod"])
    expect(readdirSync(join(user.path, "node_modules")).filter((name) => !name.startsWith("."))).toEqual([
      "@noble",
      "eventsource-parser",
      "immer",
      "turn-machine",
      "zod",
    ])
  })

  test("its command prints its help, its version and runs", async () => {
    for (const args of [["--help"], ["run", "--help"], ["journal", "--help"]]) {
      const { failed, output } = await user.run("turn-machine", ...args)
      expect(failed, output).toBe(false)
      expect(output).toContain("turn-machine")
    }
    user.write("shop/cart.js", "// TODO: explain the cart\n")
    const { failed, output } = await user.run("turn-machine", "run", "--dir", "shop", "--state", "turn.journal")
    expect(failed, output).toBe(false)
    expect((await user.run("turn-machine", "journal", "show", "turn.journal")).failed).toBe(false)
  })

  const needsAPeer = Object.values(NEEDED_BY).flat()

  test.each(subpaths.filter((path) => !needsAPeer.includes(path)))("%s can be imported", async (path) => {
    expect(await user.runProgram(`await import("${path}")`)).toEqual({ failed: false, output: "" })
  })

  test.each(Object.entries(NEEDED_BY).flatMap(([peer, paths]) => paths.map((path) => ({ path, peer }))))(
    "$path asks for $peer",
    async ({ path, peer }) => {
      const { failed, output } = await user.runProgram(`await import("${path}")`)
      expect(failed).toBe(true)
      expect(output).toContain(`Cannot find package '${peer}'`)
    },
  )

  const readme = readDoc("README.md", readFileSync(join(ROOT, "README.md"), "utf8"))
  const programs = readme.blocks.flatMap((block, index) =>
    block.language === "ts" && option(block, "excerpt") === undefined ? [{ line: block.line, block, next: readme.blocks[index + 1] }] : [],
  )

  test("README.md has a program", () => {
    expect(programs.length).toBeGreaterThan(0)
  })

  test.each(programs)("the program in README.md:$line prints what README.md says", async ({ block, next }) => {
    const stated = next?.language === "text" && next.words[0] === "output" ? next.text : ""
    const { failed, output } = await user.runWithTsx(option(block, "file") ?? "program.mts", block.text)
    expect(failed, output).toBe(false)
    expect(output.trimEnd()).toBe(stated.trimEnd())
  })
})

describe("the tarball", () => {
  test("contains the documents and examples, and no tests or scripts", () => {
    for (const name of ["README.md", "CONTRIBUTING.md", "LICENSE", "CHANGELOG.md", "docs", "examples", "src"])
      expect(existsSync(join(installed, name)), name).toBe(true)
    for (const name of ["test", "bench", "scripts"]) expect(existsSync(join(installed, name)), name).toBe(false)
  })

  test("has no broken relative link", () => {
    const files = ["", "docs", "examples"].flatMap((folder) =>
      readdirSync(join(installed, folder), { recursive: folder !== "", encoding: "utf8" })
        .filter((name) => name.endsWith(".md"))
        .map((name) => join(folder, name)),
    )
    expect(files.length).toBeGreaterThan(10)
    const broken = files.flatMap((file) => {
      const { prose } = readDoc(file, readFileSync(join(installed, file), "utf8"))
      return Array.from(prose.matchAll(/\]\(([^)\s]+)\)/g), ([, target = ""]) => target)
        .filter((target) => !/^(?:https?:|mailto:|#)/.test(target))
        .filter((target) => !existsSync(join(installed, dirname(file), target.replace(/#.*$/, ""))))
        .map((target) => `${file}: ${target}`)
    })
    expect(broken).toEqual([])
  })
})
