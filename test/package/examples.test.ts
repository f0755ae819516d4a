import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs"
import { dirname, join } from "node:path"
import { beforeAll, describe, expect, test } from "vitest"
import { ROOT } from "../built.ts"
import { LIMIT_MS } from "../lane.ts"
import { packed, UserFolder } from "./support.ts"

// Each example is a project of its own: copied to another folder, with the tarball and the packages that it names, it compiles and its tests
// pass. In the full lane they run only here.

const EXAMPLES = join(ROOT, "examples")
const NAMES = readdirSync(EXAMPLES).filter((name) => existsSync(join(EXAMPLES, name, "package.json")))
const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { readonly version: string }

/** The packages that an example names, with their ranges. */
function packagesOf(name: string): Readonly<Record<string, string>> {
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(EXAMPLES, name, "package.json"), "utf8")) as {
    readonly dependencies: Readonly<Record<string, string>>
    readonly devDependencies: Readonly<Record<string, string>>
  }
  return { ...dependencies, ...devDependencies }
}

const prepared = new UserFolder()
await packed()

// Installed once, because most of the packages are those of several examples.
beforeAll(async () => {
  const ranges = new Map(NAMES.flatMap((name) => Object.entries(packagesOf(name))).filter(([name]) => name !== "turn-machine"))
  await prepared.install("turn-machine", ...Array.from(ranges, ([name, range]) => `${name}@${range}`))
}, 600_000)

/** An example in a folder of its own, in which exactly the packages that it names are installed. */
function copyOf(name: string): UserFolder {
  const user = new UserFolder()
  cpSync(join(EXAMPLES, name), user.path, { recursive: true, filter: (path) => !path.includes("node_modules") })
  const [from, to] = [prepared.path, user.path].map((path) => join(path, "node_modules")) as [string, string]
  for (const each of [...Object.keys(packagesOf(name)), ".bin"]) {
    mkdirSync(dirname(join(to, each)), { recursive: true })
    symlinkSync(join(from, each), join(to, each), "junction")
  }
  return user
}

test("examples name the same version of a package", () => {
  const named = NAMES.flatMap((name) => Object.entries(packagesOf(name)))
  const ranges = new Set(named.map(([name, range]) => `${name} ${range}`))
  expect([...ranges].toSorted()).toEqual([...new Map(named)].map(([name, range]) => `${name} ${range}`).toSorted())
})

describe.each(NAMES)("examples/%s", (name) => {
  test("depends on this version of the package", () => {
    expect(packagesOf(name)["turn-machine"]).toBe(`^${version}`)
  })

  test("compiles and passes its tests where it was copied to", { timeout: LIMIT_MS }, async () => {
    const user = copyOf(name)
    expect(await user.run("tsc", "--pretty", "false")).toEqual({ failed: false, output: "" })
    const { failed, output } = await user.run("vitest", "run")
    expect(failed, output).toBe(false)
    expect(output).toMatch(/Tests .*passed/)
  })
})
