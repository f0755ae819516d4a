import { readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { expect, it } from "vitest"
import { fileJournalStore } from "../../src/hosts/node/file-journal-store.ts"
import { asked, family, says } from "../hosts/child/support.ts"
import { newFolder, runCli } from "./harness.ts"

it("journal show lists the children of a turn, and names the parent of a child", async () => {
  const cwd = newFolder()
  const { run, turn } = family(fileJournalStore(cwd, { fsync: "never" }), async (effect) => {
    const { task, answers } = asked(effect)
    return task === "parent" && answers === 0 ? says("", "sub:c1:look") : says(`did ${task}`)
  })
  await run("run.json", turn)
  const [file = ""] = readdirSync(cwd).filter((name) => name.includes(".child-"))
  writeFileSync(join(cwd, "run.json.child-9-broken"), '["00000000",{"type":"header"}]\n["x"]\n')

  const shown = await runCli(["journal", "show", "run.json"], { cwd })
  expect(shown).toMatchObject({ exitCode: 0, stderr: "" })
  expect(shown.stdout).toContain(`child    call c1: finished, `)
  expect(shown.stdout).toContain(file)
  expect(shown.stdout).toContain("child    cannot be read, run.json.child-9-broken")

  const child = await runCli(["journal", "show", file], { cwd })
  expect(child.stdout).toContain("parent   turn T, call c1 of effect 2")
  expect(child.stdout).not.toContain("child    ")

  const json = await runCli(["journal", "show", "run.json", "--json"], { cwd })
  const lines = json.stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { readonly type: string })
  expect(lines.filter(({ type }) => type === "child")).toMatchObject([
    { file, turnId: "T:2:c1", callId: "c1", state: "finished", usage: { inputTokens: 10 } },
    { state: "cannot be read" },
  ])
})
