import { describe, expect, it } from "vitest"
import { newFolder, newShop, type Ran, runCli, serve } from "./harness.ts"

const goal = (base: string, ...args: readonly string[]): Promise<Ran> => runCli(["goal", ...args], { cwd: base })

describe("what is said to a goal", () => {
  it("waits for its time, is shown in the order of delivery, and can be taken back", async () => {
    const { base } = newShop()
    const bodies: string[] = []
    const url = await serve((body, response) => {
      bodies.push(body)
      const message = { role: "assistant", content: `Answer ${bodies.length}.` }
      const usage = { prompt_tokens: 100, completion_tokens: 10 }
      response.setHeader("content-type", "application/json").end(JSON.stringify({ choices: [{ index: 0, finish_reason: "stop", message }], usage }))
    })
    await goal(base, "--dir", "shop", "--base-url", url, "--model", "m", "--max-continuations", "1", "Look around.")
    const resume = "No process runs the goal; the next run"
    expect(await goal(base, "say", "--when", "next_turn", "Next.")).toMatchObject({
      exitCode: 0,
      stdout: `Recorded as user-1. ${resume} comes to it: turn-machine goal resume\n`,
    })
    expect((await goal(base, "say", "--when", "turn_end", "At the end.")).stdout).toContain("Recorded as user-2.")
    expect((await goal(base, "say", "Now.")).stdout).toBe(`Recorded as user-3. ${resume} begins with it: turn-machine goal resume\n`)
    expect((await goal(base, "say", "--when", "now", "Or \u001b[31mnot.")).stdout).toContain("Recorded as user-4.")
    const queue = await goal(base, "queue")
    expect(queue).toMatchObject({ exitCode: 0, stderr: "" })
    expect(queue.stdout.split("\n").map((line) => line.split(/ +/).slice(0, 3).join(" "))).toEqual([
      "user-3 now Now.",
      "user-4 now Or",
      "user-2 turn_end At",
      "user-1 next_turn Next.",
      "",
    ])
    expect(queue.stdout).not.toContain("\u001b")
    expect(await goal(base, "retract", "user-4")).toMatchObject({ exitCode: 0, stdout: "Taken back: no turn receives user-4.\n" })
    expect(JSON.parse((await goal(base, "queue", "--json")).stdout)).toMatchObject({
      type: "goal_queue",
      inputs: [
        { inputId: "user-3", when: "now" },
        { inputId: "user-2", when: "turn_end" },
        { inputId: "user-1", when: "next_turn" },
      ],
    })
    const before = bodies.length
    expect((await goal(base, "resume", "--max-continuations", "1")).stdout).toContain("Answer")
    const said = bodies.slice(before).map((body) => ["Now.", "At the end.", "Next.", "Or "].filter((text) => body.includes(`"${text}`)))
    expect(said.slice(0, 3)).toEqual([["Now."], ["Now.", "At the end."], ["Now.", "At the end.", "Next."]])
    expect(said.flat()).not.toContain("Or ")
    expect(await goal(base, "queue")).toMatchObject({ stdout: "Nothing waits for a turn.\n" })
    expect(await goal(base, "retract", "user-3")).toMatchObject({
      exitCode: 1,
      stderr: "turn-machine: A turn has received user-3, so it cannot be taken back.\n",
    })
    expect((await goal(base, "retract", "user-9")).stderr).toContain("Nothing that was said has the id user-9. See: turn-machine goal queue")
  })

  it("is refused if the command is wrong", async () => {
    const { base } = newShop()
    expect((await goal(newFolder(), "queue")).stderr).toContain("There is no goal in")
    await goal(base, "--dir", "shop", "--max-continuations", "1")
    for (const [args, message] of [
      [["say", "--when", "later", "Hm."], "--when must be now, turn_end or next_turn, not later."],
      [["retract"], "goal retract needs one id"],
      [["retract", "user-1", "user-2"], "goal retract needs one id"],
      [["queue", "user-1"], "goal queue takes no words."],
      [["pause", "--when", "now"], "--when is a flag of goal say, not of goal pause."],
    ] as const)
      expect(await goal(base, ...args)).toMatchObject({ exitCode: 2, stdout: "", stderr: expect.stringContaining(message) as string })
  })
})
