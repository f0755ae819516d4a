import { expect, it } from "vitest"
import * as z from "zod"
import { approvalDriver } from "../../src/drivers/approval/driver.ts"
import { chatDriver } from "../../src/drivers/chat.ts"
import type { Host } from "../../src/hosts/host.ts"
import { fileJournalStore } from "../../src/hosts/node/file-journal-store.ts"
import { defineTool } from "../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../src/hosts/tools/toolbox.ts"
import { asked, configOf, family, says } from "../hosts/child/support.ts"
import { newFolder, runCli } from "./harness.ts"

it("approvals and decide find the held calls of children: in the folder, and beside the file of their parent", async () => {
  const cwd = newFolder()
  const paid: string[] = []
  const pay = defineTool({
    name: "pay",
    description: "",
    input: z.object({ task: z.string() }),
    effects: "once",
    execute: async ({ task }) => {
      paid.push(task)
      return "paid"
    },
  })
  const llmCall: Host["llmCall"] = async (effect) => {
    const { task, answers } = asked(effect)
    if (task === "parent") return answers === 0 ? says("", "sub:c1:bill") : says("done")
    return answers === 0 ? says("", "pay:p1:tea", "pay:p2:cake") : says("paid")
  }
  const driver = approvalDriver(chatDriver(), { policy: () => ({ hold: {} }) })
  const { run, turn } = family(fileJournalStore(cwd, { fsync: "never" }), llmCall, {
    child: { config: configOf([pay], { driver }), host: { llmCall, tools: toolbox([pay]) } },
  })
  await run("run.json", turn, { suspend: true })

  for (const place of ["run.json", "."]) {
    const listed = await runCli(["approvals", place], { cwd })
    expect(listed).toMatchObject({ exitCode: 0, stderr: "" })
    expect(listed.stdout).toContain("in a subagent of T")
    expect(listed.stdout).toContain("p1 approve")
    // The parent's call continues in its child: nothing is to be answered.
    expect(listed.stdout).not.toContain("answer")
  }
  const json = await runCli(["approvals", "run.json", "--json"], { cwd })
  expect(JSON.parse(json.stdout.split("\n")[0] ?? "")).toMatchObject({ type: "held", turnId: "T:2:c1", parent: { turnId: "T", callId: "c1" } })

  expect(await runCli(["decide", "run.json", "p1", "approve"], { cwd })).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("Approved") })
  expect((await runCli(["decide", "run.json", "p1", "approve"], { cwd })).stdout).toContain("The same was decided before")
  expect(await runCli(["decide", ".", "p2", "reject"], { cwd })).toMatchObject({ exitCode: 0 })
  expect((await run("run.json", turn, { suspend: true })).type).toBe("done")
  expect(paid).toEqual(["tea"])
})
