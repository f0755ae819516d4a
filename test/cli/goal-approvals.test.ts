import { describe, expect, it, vi } from "vitest"
import { newColours, type SuspendedCommand, suspendedCommand, textOf } from "./colours.ts"
import { bundleCli, type Ran, runCli, spawnCli, TestTerminal, until } from "./harness.ts"
import { hasPty, Pty } from "./pty.ts"

const bundled = await bundleCli()
const TASK = 'Replace "colour" with "color".'
const GOAL = ["goal", "--dir", "shop", "--edit", "--state", "g"] as const
const KEYS = "[?] help"

function suspended(...more: readonly string[]): Promise<SuspendedCommand> {
  return suspendedCommand([...GOAL, ...more, TASK])
}

describe("a goal without a terminal", () => {
  it("suspends with exit code 3, is decided in other processes, and continues", async () => {
    const base = newColours()
    const run = (...args: readonly string[]): Promise<Ran> => spawnCli(bundled, args, { cwd: base })
    const stopped = await run(...GOAL, TASK)
    expect(stopped).toMatchObject({ exitCode: 3, stderr: "" })
    expect(stopped.stdout).toContain("status   waits for 3 decisions\n")
    expect(stopped.stdout.split("\n").slice(-4)).toEqual([
      "Look at them with: turn-machine approvals g",
      "Decide with: turn-machine decide g call_2 approve (or edit, or reject)",
      "Then continue with: turn-machine goal resume --state g",
      "",
    ])
    const approved = await run("decide", "g", "call_2", "approve", "--by", "ann")
    expect(approved).toMatchObject({ exitCode: 0, stderr: "" })
    expect(approved.stdout).toBe("Approved: replace_line (call_2).\n2 more calls wait for a decision: turn-machine approvals g\n")
    const refused = await run("decide", "g", "call_2", "reject")
    expect(refused).toMatchObject({ exitCode: 1, stdout: "" })
    expect(refused.stderr).toMatch(/already: approve by "?ann"?\.\n$/)
    await run("decide", "g", "call_3", "reject", "--message", "Leave it.")
    const last = await run("decide", "g", "call_4", "edit", "--args", '{"path":"b.txt","line":1,"oldText":"colour","newText":"hue"}')
    expect(last.stdout).toContain("\nContinue with: turn-machine goal resume --state g\n")
    expect(textOf(base, "a.txt")).toBe("the colour of x\nb\ncolour again\n")

    const resumed = await run("goal", "resume", "--state", "g")
    expect(resumed).toMatchObject({ exitCode: 0, stderr: "" })
    expect(resumed.stdout).toContain("status   complete\n")
    expect([textOf(base, "a.txt"), textOf(base, "b.txt")]).toEqual(["the color of x\nb\ncolour again\n", "hue\r\nkeep\r\n"])
  })

  it("reports the suspension to programs", async () => {
    const { ran } = await suspended("--json")
    expect(ran.exitCode).toBe(3)
    expect(JSON.parse(ran.stdout.trimEnd().split("\n").at(-1) ?? "")).toMatchObject({
      type: "goal_suspended",
      status: "active",
      held: [{ callId: "call_2" }, { callId: "call_3" }, { callId: "call_4" }],
      exitCode: 3,
    })
  })

  it("shows in its status what waits, since when, and the command that decides", async () => {
    const { run } = await suspended()
    const { stdout } = await run("goal", "status", "--state", "g")
    expect(stdout).toMatch(/\nheld {5}turn 1 waits for 3 decisions, since .*\n/)
    expect(stdout).toContain("\nDecide with: turn-machine decide g call_2 approve (or edit, or reject)\n")
    const status = JSON.parse((await run("goal", "status", "--state", "g", "--json")).stdout)
    expect(status).toMatchObject({ held: [{ requestId: "5:call_2" }, {}, {}], pending: [], heldSince: expect.any(Number) })
    expect((await run("approvals", "g")).stdout).toContain("Waits for a decision 3 of 3, since ")
  })

  it("keeps what was approved for the thread: later turns and processes do not ask", async () => {
    const { base, run } = await suspended()
    await run("decide", "g", "call_2", "approve", "--scope", "thread")
    expect((await run("approvals", "g")).stdout).toBe("No call in g waits for a decision.\n")
    expect(await run("goal", "resume", "--state", "g")).toMatchObject({ exitCode: 0 })
    expect(textOf(base, "a.txt")).toBe("the color of x\nb\ncolor again\n")
  })

  it("is not charged for the time in which it waits", async () => {
    // The clock stands still while the commands run, however long the machine takes for them.
    vi.useFakeTimers({ toFake: ["Date"] })
    try {
      const { run } = await suspended()
      vi.setSystemTime(Date.now() + 3_600_000)
      for (const call of ["call_2", "call_3", "call_4"]) await run("decide", "g", call, "approve")
      expect(await run("goal", "resume", "--state", "g")).toMatchObject({ exitCode: 0 })
      const status = JSON.parse((await run("goal", "status", "--state", "g", "--json")).stdout)
      expect(status.goal.secondsUsed).toBeLessThanOrEqual(1)
    } finally {
      vi.useRealTimers()
    }
  })

  it("--approve never and auto ask nothing", async () => {
    const never = await suspended("--approve", "never")
    expect(never.ran.exitCode).toBe(0)
    expect(textOf(never.base, "a.txt")).toBe("the colour of x\nb\ncolour again\n")
    const auto = await suspended("--approve", "auto")
    expect(auto.ran.exitCode).toBe(0)
    expect(textOf(auto.base, "a.txt")).toBe("the color of x\nb\ncolor again\n")
  })

  it("that was cleared runs none of the held calls", async () => {
    const { base, run } = await suspended()
    expect(await run("goal", "clear", "--state", "g")).toMatchObject({ exitCode: 0 })
    await run("goal", "resume", "--state", "g")
    expect(textOf(base, "a.txt")).toBe("the colour of x\nb\ncolour again\n")
  })

  it("refuses a decision about a turn that has ended", async () => {
    const { run } = await suspended()
    await run("decide", "g", "call_2", "approve", "--scope", "thread")
    await run("goal", "resume", "--state", "g")
    expect(await run("decide", "g", "call_2", "reject")).toMatchObject({
      exitCode: 1,
      stdout: "",
      stderr: "turn-machine: The turn of the call has ended.\n",
    })
    expect(await run("decide", "g", "call_8", "reject")).toMatchObject({ exitCode: 2, stderr: "turn-machine: No call in g waits for a decision.\n" })
  })
})

describe("a goal whose terminal shows the question", () => {
  it("asks for all turns with a, and says so", async () => {
    const base = newColours()
    const terminal = new TestTerminal(["a"])
    const ran = await runCli([...GOAL, TASK], { cwd: base, terminal })
    expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
    expect(terminal.shown).toContain("approved, and every later call of this tool for this goal\n")
    expect(textOf(base, "a.txt")).toBe("the color of x\nb\ncolor again\n")
  })

  it.skipIf(!hasPty)("takes a decision from another terminal, says who decided, and asks about the next call", async () => {
    const base = newColours()
    const pty = new Pty(bundled, [...GOAL, TASK], { cwd: base })
    await pty.waitFor(KEYS)
    const watching = spawnCli(bundled, ["goal", "watch", "--state", "g"], { cwd: base })
    let watched = ""
    watching.child.stdout?.on("data", (data: Buffer) => (watched += data.toString()))
    await until(() => watched.includes("The turn waits for 3 decisions. Decide with: turn-machine decide "))
    expect((await runCli(["goal", "status", "--state", "g"], { cwd: base })).stdout).toContain("held     turn 1 waits for 3 decisions")

    const decided = await spawnCli(bundled, ["decide", "g", "call_2", "approve", "--by", "ann"], { cwd: base })
    expect(decided).toMatchObject({
      exitCode: 0,
      stdout: "Approved: replace_line (call_2).\n2 more calls wait for a decision: turn-machine approvals g\n",
    })
    await pty.waitFor("Decided by ann: approved.")
    await pty.waitFor("approval 2 of 3")
    await pty.waitFor(KEYS)
    expect((await runCli(["decide", "g", "call_2", "reject", "--by", "bob"], { cwd: base })).exitCode).toBe(1)
    // Not the call that is asked about now.
    await runCli(["decide", "g", "call_4", "reject", "--by", "bob", "--message", "No."], { cwd: base })
    pty.type("y")
    expect(await pty.ended).toBe(0)
    expect(pty.shown).not.toContain("approval 3 of 3")
    expect([textOf(base, "a.txt"), textOf(base, "b.txt")]).toEqual(["the color of x\nb\ncolor again\n", "colour\r\nkeep\r\n"])
    expect(await watching).toMatchObject({ exitCode: 0 })
    expect(watched).toContain("call_2  replace_line approved by ann\n")
    expect(watched).toContain("call_4  replace_line rejected by bob\n")
  })

  it.skipIf(!hasPty)("closes the question when another terminal pauses the goal at once, and runs nothing", async () => {
    const base = newColours()
    const pty = new Pty(bundled, [...GOAL, TASK], { cwd: base })
    await pty.waitFor(KEYS)
    expect(await spawnCli(bundled, ["goal", "pause", "--now", "--state", "g"], { cwd: base })).toMatchObject({ exitCode: 0 })
    await pty.waitFor("The turn ended.")
    expect(await pty.ended).toBe(1)
    expect(textOf(base, "a.txt")).toBe("the colour of x\nb\ncolour again\n")
  })

  it.skipIf(!hasPty)("suspends with Ctrl-D, and asks again on resume", async () => {
    const base = newColours()
    const pty = new Pty(bundled, [...GOAL, TASK], { cwd: base })
    await pty.waitFor(KEYS)
    pty.type("\u0004")
    expect(await pty.ended).toBe(3)
    const again = new Pty(bundled, ["goal", "resume", "--state", "g"], { cwd: base })
    await again.waitFor("approval 1 of 3")
    await again.waitFor(KEYS)
    again.type("a")
    expect(await again.ended).toBe(0)
    expect(textOf(base, "a.txt")).toBe("the color of x\nb\ncolor again\n")
  })
})
