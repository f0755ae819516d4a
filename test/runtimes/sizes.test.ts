import { beforeAll, describe, expect, test } from "vitest"
import { type Bundle, bundle, isClose, PROGRAMS } from "../../scripts/sizes.ts"

const TOOL = "the same, with `import * as z`"

describe("a worker with the machine, runTurn and one tool", () => {
  let made: Bundle
  beforeAll(async () => {
    made = await bundle(PROGRAMS[TOOL] ?? "")
  })

  test("is smaller than 70 kB, compressed", () => {
    expect(made.gzipBytes).toBeLessThan(70_000)
  })

  test("has one language of zod", () => {
    expect(made.modules.filter((path) => path.startsWith("zod/v4/locales/"))).toEqual(["zod/v4/locales/en.js"])
  })

  test("has no schemas of this package, no driver and nothing that is imported", () => {
    expect(
      made.modules.filter((path) => /^src\/(?:schemas|checks|drivers|projectors|cli|testing|hosts\/(?:node|journal|thread|models))\//.test(path)),
    ).toEqual([])
    expect(made.imports).toEqual([])
  })
})

test("a worker whose tools have no zod schema does not bundle zod", async () => {
  const program = 'export { TurnMachine } from "turn-machine/machine"; export { runTurn, toolbox } from "turn-machine/hosts"'
  const { gzipBytes, modules } = await bundle(program)
  expect(modules.filter((path) => path.startsWith("zod/"))).toEqual([])
  expect(gzipBytes).toBeLessThan(41_000)
})

test("the machine with its checks, journals and threads bundle no zod and no schema", async () => {
  const program = ["", "/hosts/journal", "/hosts/thread", "/hosts/child", "/hosts/approval"]
    .map((path) => `export * from "turn-machine${path}"`)
    .join("\n")
  const { modules } = await bundle(program)
  expect(modules).toContain("src/checks/generated/turn.ts")
  expect(modules.filter((path) => /^(?:zod|src\/schemas)\//.test(path))).toEqual([])
})

test("with the named `z`, esbuild adds every language", async () => {
  const { gzipBytes, modules } = await bundle((PROGRAMS[TOOL] ?? "").replace("import * as z", "import { z }"))
  expect(modules.filter((path) => path.startsWith("zod/v4/locales/")).length).toBeGreaterThan(40)
  expect(gzipBytes).toBeGreaterThan(120_000)
})

describe("the tables of sizes in the docs", () => {
  const table = (size: string, more = ""): string => `| a program with | gzip |\n| --- | --- |\n| one | ${size} kB |${more}`

  test("may differ from the sources by a little", () => {
    expect(isClose(table("50.0"), table("51.9"))).toBe(true)
    expect(isClose(table("50.0"), table("48.1"))).toBe(true)
  })

  test("may not differ by more, or have other rows", () => {
    expect(isClose(table("50.0"), table("52.1"))).toBe(false)
    expect(isClose(table("50.0"), table("47.9"))).toBe(false)
    expect(isClose(table("50.0"), table("50.0", "\n| two | 1.0 kB |"))).toBe(false)
    expect(isClose(table("50.0"), table("50.0").replace("one", "another"))).toBe(false)
  })
})
