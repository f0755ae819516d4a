import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { newShop, type Ran, runCli } from "./harness.ts"

const goal = (base: string, ...args: readonly string[]): Promise<Ran> => runCli(["goal", ...args], { cwd: base })
const subgoal = (base: string, ...args: readonly string[]): Promise<Ran> => runCli(["subgoal", ...args], { cwd: base })
const START = ["--dir", "shop", "--judge", "checklist"] as const

const DONE = `list     5 of 5 items settled
   ✓  1 Every part of the folder has a section of its own.
        The answer names a section for each part and says that nothing is left.
   ✓  2 An overview names all sections.
        The answer names it as written: survey/overview.md
   ✓  3 There is a section about the top.
        The answer names it as written: survey/top.md
   ✓  4 There is a section about data.
        The answer names it as written: survey/data.md
   ✓  5 There is a section about src.
        The answer names it as written: survey/src.md
`

describe("turn-machine goal --judge checklist", () => {
  it("is completed by its judge, whose list grows with the work and whose tokens count", async () => {
    const { base } = newShop()
    const ran = await goal(base, ...START)
    expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
    expect(ran.stdout.match(/^judge {4}\d of .*$/gm)).toEqual([
      "judge    0 of 2 items settled. The goal was split into 2 items.",
      "judge    0 of 5 items settled. Left: src; the overview.",
      "judge    3 of 5 items settled. Left: the overview.",
      "judge    5 of 5 items settled. Nothing is left.",
    ])
    expect(ran.stdout).not.toContain("update_goal")
    expect(ran.stdout).toContain("list     5 of 5 items settled\n")
    expect((await subgoal(base, "list")).stdout).toBe(DONE)
    const { goal: stored } = JSON.parse((await goal(base, "status", "--json")).stdout) as { goal: Record<string, number> }
    expect(stored).toMatchObject({ status: "complete" })
    expect(stored["childTokensUsed"]).toBeGreaterThan(1_000)
    expect(readdirSync(join(base, "turn-machine-goal")).sort()).toEqual(["goal.1", "goal.2", "goal.3", "goal.4", "goal.judge", "goal.thread"])
  })

  it("reports the list and the rulings as JSON", async () => {
    const { base } = newShop()
    const lines = (await goal(base, ...START, "--json")).stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { type: string; decision?: { verdict: string }; items?: readonly { status: string }[] })
    const judged = lines.filter(({ type, decision }) => type === "checklist" && decision !== undefined)
    expect(judged.map(({ decision, items = [] }) => `${decision?.verdict} ${items.map(({ status }) => status[0]).join("")}`)).toEqual([
      "decompose pp",
      "continue ppppp",
      "continue ppccc",
      "done ccccc",
    ])
    expect(lines.filter(({ type }) => type === "judging")).toHaveLength(4)
  })

  it("is blocked by an item that the planner cannot do, and completes when a user settles it", async () => {
    const { base } = newShop()
    expect((await goal(base, ...START, "--max-continuations", "1")).exitCode).toBe(1)
    expect(await subgoal(base, "add", "Ask", "the owner.")).toMatchObject({ exitCode: 0, stdout: "Added: [ ] Ask the owner.\n" })
    let ran: Ran | undefined
    // Each resume runs one continuation.
    for (let turns = 2; turns <= 5; turns += 1) ran = await goal(base, "resume")
    expect(ran?.exitCode).toBe(1)
    expect(ran?.stdout).toContain(
      "\nstatus   blocked\nwhy      Blocked by the judge: The planner cannot do: Ask the owner. Clear the blocker, then resume.\n",
    )
    const [, number = ""] = / (\d+) Ask the owner\./.exec((await subgoal(base, "list")).stdout) ?? []
    // Only changed items are shown.
    expect(ran?.stdout).not.toContain(`${number} Ask the owner.`)
    expect(await subgoal(base, "done", "9")).toMatchObject({
      exitCode: 1,
      stderr: "turn-machine: There is no item 9. The list has items 1 to 6.\n",
    })
    expect((await subgoal(base, "impossible", number)).stdout).toBe("[!] Ask the owner. (impossible: marked by the user)\n")
    expect((await goal(base, "status")).stdout).toContain("\nlist     6 of 6 items settled\n")
    expect((await goal(base, "status")).stdout).toContain("\nstatus   complete\n")
    expect(await goal(base, "resume")).toMatchObject({ exitCode: 0 })
  })

  it("resumes a complete goal after a user reopens an item", async () => {
    const { base } = newShop()
    await goal(base, ...START)
    expect((await goal(base, "resume")).stdout).toBe("The goal is complete.\n")
    expect(await subgoal(base, "undo", "3")).toMatchObject({ exitCode: 0, stdout: "Reopened: [ ] There is a section about the top.\n" })
    expect(await goal(base, "resume", "--no-run")).toMatchObject({ exitCode: 0, stdout: "Resumed.\n" })
    const ran = await goal(base, "resume")
    expect(ran.stdout).toContain("\nTurn 5 ")
    expect((await subgoal(base, "done", "3")).exitCode).toBe(0)
    expect(await goal(base, "resume")).toMatchObject({ exitCode: 0 })
    expect((await goal(base, "status")).stdout).toContain("\nstatus   complete\n")
  })

  it("applies changes of the list while it runs, in order and once each", async () => {
    const { base } = newShop()
    const inbox = join(base, "turn-machine-goal/inbox")
    const requests = [
      { type: "subgoal_add", text: "Say who asked." },
      { type: "subgoal_remove", index: "1" },
      { type: "subgoal_undo", index: "7" },
    ]
    let posted = false
    const ran = await runCli(["goal", ...START], {
      cwd: base,
      onOutput(stdout) {
        // Posts requests as other processes would, while the list has two items.
        if (posted || !stdout.includes("An overview names all sections.")) return
        posted = true
        mkdirSync(inbox, { recursive: true })
        for (const [number, request] of requests.entries())
          writeFileSync(
            join(inbox, `00000000000000${number}-${process.pid}-00000000.json`),
            JSON.stringify({ format: "turn-machine/request", version: 1, order: request }),
          )
      },
    })
    expect(ran.exitCode).toBe(1)
    expect(ran.stdout).toContain("\nrequest  Added: [ ] Say who asked.\n")
    const answers = requests.map((_request, number) => readFileSync(join(inbox, `00000000000000${number}-${process.pid}-00000000.answer`), "utf8"))
    expect(answers.map((answer) => JSON.parse(answer) as unknown)).toEqual([
      { ok: true, message: "Added: [ ] Say who asked." },
      { ok: true, message: "Removed: [ ] Every part of the folder has a section of its own." },
      { ok: false, message: "There is no item 7. The list has items 1 to 2." },
    ])
    expect(readdirSync(inbox).filter((name) => name.endsWith(".json"))).toEqual([])
    const list = (await subgoal(base, "list")).stdout
    expect(list.match(/Say who asked\./g)).toHaveLength(1)
    expect(list).not.toContain("Every part")
  })

  it("has a list only if it was started with a judge", async () => {
    const { base } = newShop()
    await goal(base, "--dir", "shop", "--max-continuations", "1")
    expect(await subgoal(base, "list")).toMatchObject({
      exitCode: 2,
      stderr: "turn-machine: This goal has no checklist: it was started without --judge checklist.\n",
    })
    expect(await subgoal(base, "ad", "x")).toMatchObject({ exitCode: 2 })
    expect((await goal(base, "resume", "--judge", "checklist")).stderr).toContain("The goal was started with another judge.")
    expect((await subgoal(base)).stdout).toContain("turn-machine subgoal: edits the checklist")
  })
})
