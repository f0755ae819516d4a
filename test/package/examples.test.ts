import { cpSync, existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { ROOT } from "../built.ts"
import { packed, UserFolder } from "./support.ts"

// Each example is a project of its own: copied to another folder, with the tarball installed over it, it compiles and its tests pass.
// Where it is in this repository, its tests kill its processes as often as they do by default; here, once of each kind is enough.
const FEW_KILLS = { KILL_EVERY: "1000", RANDOM_KILLS: "1" }

const EXAMPLES = join(ROOT, "examples")
const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { readonly version: string }
await packed()

describe.each(readdirSync(EXAMPLES).filter((name) => existsSync(join(EXAMPLES, name, "package.json"))))("examples/%s", (name) => {
  test("depends on this version of the package", () => {
    const { dependencies } = JSON.parse(readFileSync(join(EXAMPLES, name, "package.json"), "utf8")) as { dependencies: Record<string, string> }
    expect(dependencies["turn-machine"]).toBe(`^${version}`)
  })

  test("compiles and passes its tests where it was copied to", { timeout: 600_000 }, async () => {
    const user = new UserFolder()
    cpSync(join(EXAMPLES, name), user.path, { recursive: true, filter: (path) => !path.includes("node_modules") })
    await user.install("turn-machine")
    expect(await user.run("tsc", "--pretty", "false")).toEqual({ failed: false, output: "" })
    const { failed, output } = await user.runWith(FEW_KILLS, "vitest", "run")
    expect(failed, output).toBe(false)
    expect(output).toMatch(/Tests .*passed/)
  })
})
