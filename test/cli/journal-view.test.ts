import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { expect, it } from "vitest"
import type { ViewerData } from "../../src/viewer/data.ts"
import { fill, newFolder, newShop, runCli } from "./harness.ts"

/** What a page has. */
function dataIn(path: string): ViewerData {
  const html = readFileSync(path, "utf8")
  return JSON.parse(/<script type="application\/json" id="data">([^<]*)<\/script>/.exec(html)?.[1] ?? "null") as ViewerData
}

// The page is a file of the build, so these run where the package was built.

it("writes a private page beside the reader, with what it needs to replay the run", async () => {
  const cwd = newShop().shop
  await runCli(["run", "--state", "run.json"], { cwd })
  const ran = await runCli(["journal", "view", "run.json"], { cwd })
  expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
  expect(ran.stdout).toMatch(/^Wrote run\.html: 1 turn, \d+ kB\.\n$/)
  const path = join(cwd, "run.html")
  expect(statSync(path).mode & 0o777).toBe(0o600)
  const data = dataIn(path)
  expect(data).toMatchObject({ title: "run.json", turns: [{ file: "run.json", agent: { driver: "chat", projector: "chat" }, model: "embedded" }] })
  expect(data.turns[0]?.entries.length).toBeGreaterThan(10)
  // A page is replaced, any other file is not.
  expect((await runCli(["journal", "view", "run.json"], { cwd })).exitCode).toBe(0)
  writeFileSync(path, "notes")
  const refused = await runCli(["journal", "view", "run.json"], { cwd })
  expect([refused.exitCode, refused.stderr, readFileSync(path, "utf8")]).toEqual([
    2,
    expect.stringContaining("is not a page of this program"),
    "notes",
  ])
})

it("names the missing folder of a page", async () => {
  const cwd = newShop().shop
  await runCli(["run", "--state", "run.json"], { cwd })
  expect(await runCli(["journal", "view", "run.json", "--out", "none/run.html"], { cwd })).toMatchObject({
    exitCode: 2,
    stderr: "turn-machine: none/run.html cannot be written: its folder does not exist. Pass another path with --out.\n",
  })
})

it("is not read by later runs, and neither is a goal's folder; a page that others wrote is", async () => {
  const cwd = newFolder()
  fill(cwd, { "a.js": "// TODO: one\n", "other.html": "<!doctype html>\n<p>TODO</p>\n" })
  await runCli(["run", "--state", "run.json"], { cwd })
  await runCli(["goal"], { cwd })
  await runCli(["journal", "view", "run.json"], { cwd })
  await runCli(["journal", "view", "turn-machine-goal"], { cwd })
  const { stdout } = await runCli(["run", "--dir", "."], { cwd })
  expect(stdout).toMatch(/list_files +2 files/)
  expect(stdout).toMatch(/search_text TODO wholeWord +2 lines in 2 files/)
})

it("redacts what was said, and computes the steps before", async () => {
  const cwd = newShop().shop
  await runCli(["run", "--state", "run.json"], { cwd })
  const ran = await runCli(["journal", "view", "run.json", "--redact", "--out", "safe.html"], { cwd })
  expect(ran.stdout).toContain("Texts and arguments are redacted.")
  const data = dataIn(join(cwd, "safe.html"))
  expect(data).toMatchObject({ redacted: true, turns: [{ steps: { verdict: { type: "agrees" } } }] })
  const html = readFileSync(join(cwd, "safe.html"), "utf8")
  for (const secret of [cwd, "TODO and FIXME", "cart.js"]) expect(html, secret).not.toContain(secret)
})

it("shows all turns of a goal, in their order, with the thread's history once", async () => {
  const cwd = newShop().shop
  await runCli(["goal", "--judge", "checklist"], { cwd })
  expect((await runCli(["journal", "view", "turn-machine-goal", "--out", "goal.html"], { cwd })).exitCode).toBe(0)
  const { turns, threads } = dataIn(join(cwd, "goal.html"))
  expect(turns.map(({ header }) => header.turnId)).toEqual(turns.map((_, index) => `goal.${index + 1}`))
  expect(turns.length).toBeGreaterThan(1)
  expect(turns.every(({ agent }) => agent?.goal?.threadId === "goal")).toBe(true)
  expect(threads).toMatchObject([{ threadId: "goal", checklist: { goal: { status: "done" } } }])
})

it("takes the configuration of a module, and says where a file is wrong", async () => {
  const cwd = fill(newShop().shop, {
    "agent.mjs": "export default 7",
    "thrower.mjs": "export default () => { throw new Error('no such agent') }",
    "notes.txt": "no journal",
  })
  await runCli(["run", "--state", "run.json"], { cwd })
  expect(await runCli(["journal", "view", "run.json", "--agent", "agent.mjs"], { cwd })).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining("needs a default export"),
  })
  expect(await runCli(["journal", "view", "run.json", "--agent", "thrower.mjs"], { cwd })).toMatchObject({
    exitCode: 2,
    stderr: "turn-machine: The function of the module thrower.mjs of --agent threw: no such agent.\n",
  })
  expect(await runCli(["journal", "view", "notes.txt"], { cwd })).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("not a journal") })
  expect(await runCli(["journal", "view"], { cwd })).toMatchObject({ exitCode: 2 })
  expect(await runCli(["journal", "view", "."], { cwd: newFolder() })).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining("no journal in ."),
  })
  expect((await runCli(["journal", "view", "--help"], { cwd })).stdout).toContain("--redact")
})

it("shows what can be read in a folder, and says what cannot", async () => {
  const cwd = newShop().shop
  await runCli(["goal", "--judge", "checklist"], { cwd })
  const folder = join(cwd, "turn-machine-goal")
  const names = readdirSync(folder).filter((name) => /^goal\.\d+$/.test(name))
  expect(names.length).toBeGreaterThan(1)
  const text = readFileSync(join(folder, "goal.2"), "utf8")
  writeFileSync(join(folder, "goal.2"), text.replace('"driver"', '"xriver"'))
  const ran = await runCli(["journal", "view", "turn-machine-goal", "--out", "goal.html"], { cwd })
  expect([ran.exitCode, ran.stderr]).toEqual([0, "turn-machine-goal/goal.2 cannot be read as a journal: its first record is damaged.\n"])
  expect(dataIn(join(cwd, "goal.html")).turns.map(({ header }) => header.turnId)).not.toContain("goal.2")
  // Given by its own path, it is an error.
  expect(await runCli(["journal", "view", "turn-machine-goal/goal.2"], { cwd })).toMatchObject({ exitCode: 2 })

  writeFileSync(join(folder, "goal.2"), text)
  rmSync(join(folder, "goal.thread"))
  const bare = await runCli(["journal", "view", "turn-machine-goal", "--out", "goal.html"], { cwd })
  const others = names.length === 2 ? "1 other" : `${names.length - 1} others`
  expect(bare.stderr).toBe(
    `turn-machine-goal/goal.1 and ${others}: The log of its thread is not beside it, cannot be read, or does not have this turn. Pass --agent to show states and requests, too.\n`,
  )
})
