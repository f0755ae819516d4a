import { cpSync, existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { ROOT } from "../built.ts"
import { packed, UserFolder } from "./support.ts"

// Each example is a project of its own: copied to another folder, with the tarball installed over it, it compiles and its tests pass.

/** Examples whose tests run only here, because they need packages of their own. They run in full. */
const INSTALLED = ["cloudflare", "restate"]

/** What the others do where they are in this repository, they do here only a few times. */
const FEW = { KILL_EVERY: "1000", RANDOM_KILLS: "1", ORDERS: "20", KILLS: "3" }

/** The servers of these examples do the same on every version of Node, and take minutes. */
const SERVERS = process.env["SERVER_EXAMPLES"] === "0" ? [...INSTALLED, "workers"] : []

const EXAMPLES = join(ROOT, "examples")
const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { readonly version: string }
await packed()

describe.each(readdirSync(EXAMPLES).filter((name) => existsSync(join(EXAMPLES, name, "package.json"))))("examples/%s", (name) => {
  test("depends on this version of the package", () => {
    const { dependencies } = JSON.parse(readFileSync(join(EXAMPLES, name, "package.json"), "utf8")) as { dependencies: Record<string, string> }
    expect(dependencies["turn-machine"]).toBe(`^${version}`)
  })

  test.skipIf(SERVERS.includes(name))("compiles and passes its tests where it was copied to", { timeout: 600_000 }, async () => {
    const user = new UserFolder()
    cpSync(join(EXAMPLES, name), user.path, { recursive: true, filter: (path) => !path.includes("node_modules") })
    await user.install("turn-machine")
    expect(await user.run("tsc", "--pretty", "false")).toEqual({ failed: false, output: "" })
    const { failed, output } = await user.runWith(INSTALLED.includes(name) ? {} : FEW, "vitest", "run")
    expect(failed, output).toBe(false)
    expect(output).toMatch(/Tests .*passed/)
  })
})
