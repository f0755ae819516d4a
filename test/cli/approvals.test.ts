import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { newColours, type SuspendedCommand, suspendedCommand, textOf } from "./colours.ts"
import { bundleCli, fill, newFolder, type Ran, runCli, spawnCli, TestTerminal } from "./harness.ts"

const bundled = await bundleCli()

const TASK = 'Replace "colour" with "color".'
const EDIT_RUN = ["run", "--dir", "shop", "--edit", "--state", "s.json"] as const

/** A run whose three changes are held. */
function suspended(...more: readonly string[]): Promise<SuspendedCommand> {
  return suspendedCommand([...EDIT_RUN, ...more, TASK])
}

describe("a run without a terminal", () => {
  it("suspends with exit code 3, and says the commands that decide and continue", async () => {
    const { base, ran } = await suspended()
    expect(ran).toMatchObject({ exitCode: 3, stderr: "" })
    expect(ran.stdout).toContain("outcome  waits for 3 decisions\nwork     2 iterations, 2 model calls, 1 tool call")
    expect(ran.stdout).toContain('\n  call_2  replace_line {"path":"a.txt","line":1,"oldText":"the colour of x","newTex')
    expect(ran.stdout.split("\n").slice(-4)).toEqual([
      "Look at them with: turn-machine approvals s.json",
      "Decide with: turn-machine decide s.json call_2 approve (or edit, or reject)",
      "Then continue with: turn-machine resume s.json (or the same command with --resume)",
      "",
    ])
    expect(textOf(base, "a.txt")).toBe("the colour of x\nb\ncolour again\n")
    expect(existsSync(join(base, "s.json.lock"))).toBe(false)
  })

  it("reports the suspension to programs", async () => {
    const { base } = { base: newColours() }
    const { exitCode, stdout } = await runCli([...EDIT_RUN, "--json", TASK], { cwd: base })
    expect(exitCode).toBe(3)
    const last = JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "")
    expect(last).toMatchObject({ type: "run_suspended", state: join(base, "s.json"), exitCode: 3, pending: [], toolCalls: 1 })
    expect(last.held).toHaveLength(3)
    expect(last.held[0]).toMatchObject({
      requestId: "5:call_2",
      callId: "call_2",
      toolName: "replace_line",
      commands: { approve: `turn-machine decide ${join(base, "s.json")} call_2 approve` },
    })
  })

  it("suspends again as long as nothing is decided", async () => {
    const { run, base } = await suspended()
    expect(await run("resume", "s.json")).toMatchObject({ exitCode: 3, stderr: "" })
    expect(textOf(base, "b.txt")).toBe("colour\r\nkeep\r\n")
  })

  it("continues with the same command and --resume, and journal show says what it waits for", async () => {
    const { base, run } = await suspended()
    const { stdout } = await run("journal", "show", "s.json")
    expect(stdout).toContain(
      "\nstate    unfinished: waiting for 3 decisions (effect 5)\ndecide   turn-machine approvals s.json\nresume   turn-machine resume s.json\n",
    )
    for (const call of ["call_2", "call_3", "call_4"]) await run("decide", "s.json", call, "approve")
    expect(await run(...EDIT_RUN, "--resume", TASK)).toMatchObject({ exitCode: 0, stderr: "" })
    expect(textOf(base, "a.txt")).toBe("the color of x\nb\ncolor again\n")
  })

  it("is refused without a state file, in which it could suspend", async () => {
    const base = newColours()
    expect(await runCli(["run", "--dir", "shop", "--edit", TASK], { cwd: base })).toMatchObject({
      exitCode: 2,
      stdout: "",
      stderr:
        "turn-machine: --edit asks before each change, and there is no terminal to ask in. To decide later, pass --state FILE; otherwise --approve auto or --approve never.\n",
    })
  })
})

describe("--approve", () => {
  it("auto changes the lines without a question", async () => {
    const base = newColours()
    const ran = await runCli(["run", "--dir", "shop", "--edit", "--approve", "auto", TASK], { cwd: base })
    expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
    expect([textOf(base, "a.txt"), textOf(base, "b.txt")]).toEqual(["the color of x\nb\ncolor again\n", "color\r\nkeep\r\n"])
  })

  it("never refuses every change, and the model reads why", async () => {
    const base = newColours()
    const ran = await runCli(["run", "--dir", "shop", "--edit", "--approve", "never", TASK], { cwd: base })
    expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
    expect(ran.stdout).toContain("The user refuses every change outside of the output folder (--approve never).")
    expect(textOf(base, "a.txt")).toBe("the colour of x\nb\ncolour again\n")
  })

  it("needs --edit to matter: the output folder is written without a question", async () => {
    const base = newColours()
    const ran = await runCli(["run", "--dir", "shop", "--approve", "ask", "Find TODO"], { cwd: base })
    expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
    expect(existsSync(join(base, "turn-machine-out/todo-report.md"))).toBe(true)
  })

  it("explains an unknown mode", async () => {
    expect(await runCli(["run", "--approve", "nevr"], { cwd: newFolder() })).toMatchObject({
      exitCode: 2,
      stderr: 'turn-machine: --approve takes never, ask or auto, not "nevr". Did you mean never?\n',
    })
  })

  it("cannot change on resume", async () => {
    const { run } = await suspended()
    expect(await run("resume", "s.json", "--approve", "auto")).toMatchObject({
      exitCode: 2,
      stderr:
        "turn-machine: The state file was written for another way of approving (ask). To resume it, omit --approve; for a new run, pass another --state path.\n",
    })
  })
})

describe("the settings of a run that the user did not start", () => {
  it("must be given again, with --edit among them", async () => {
    const { base } = await suspended("--approve-within", "1h")
    const stranger = { XDG_STATE_HOME: newFolder() }
    const refused = await runCli(["resume", "s.json", "--dir", "shop", "--out", "turn-machine-out"], { cwd: base, env: stranger })
    expect(refused.exitCode).toBe(2)
    expect(refused.stderr).toContain("To resume it, give them again: --edit and --approve-within.\n")
    expect(refused.stderr).toContain("   changes  files in the folder that it reads\n")
    const confirmed = await runCli(["resume", "s.json", "--dir", "shop", "--out", "turn-machine-out", "--edit", "--approve-within", "1h"], {
      cwd: base,
      env: stranger,
    })
    expect(confirmed.exitCode).toBe(3)
    expect(confirmed.stderr).toContain(", changes files in the folder that it reads after asking.\n")
  })
})

describe("turn-machine approvals", () => {
  it("lists what waits, with the commands that decide", async () => {
    const { run } = await suspended("--approve-within", "2h")
    const { exitCode, stdout } = await run("approvals", "s.json")
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(/^Waits for a decision 1 of 3, since .*\nreplace_line {2}medium risk\n {2}Changes line 1 of a\.txt\.\n/)
    expect(stdout).toContain('\n  path     "a.txt"\n  line     1\n  oldText  "the colour of x"\n  newText  "the color of x"\n')
    expect(stdout).toMatch(/\nExpires .*, in 2 h\.\n/)
    expect(stdout).toContain("\n  turn-machine decide s.json call_2 approve\n  turn-machine decide s.json call_2 edit --args JSON\n")
    const one = await run("approvals", "s.json", "call_3")
    expect(one.stdout).toContain('oldText  "colour again"')
    expect(one.stdout).not.toContain('"the colour of x"')
  })

  it("writes JSON, and a last line with totals", async () => {
    const { base, run } = await suspended()
    const lines = (await run("approvals", "s.json", "--json")).stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line))
    expect(lines.map(({ type }) => type)).toEqual(["held", "held", "held", "approvals"])
    expect(lines[0]).toMatchObject({ requestId: "5:call_2", digest: expect.stringMatching(/^[0-9a-f]{64}$/), ask: { risk: "medium" } })
    expect(lines[3]).toEqual({ type: "approvals", path: join(base, "s.json"), held: 3, pending: 0, problems: [] })
  })

  it("says that nothing waits", async () => {
    const base = newColours()
    await runCli(["run", "--dir", "shop", "--state", "s.json", "Find TODO"], { cwd: base })
    expect(await runCli(["approvals", "s.json"], { cwd: base })).toMatchObject({ exitCode: 0, stdout: "No call in s.json waits for a decision.\n" })
  })

  it("lists a folder of journals, and names those that cannot be read", async () => {
    const { base, run } = await suspended()
    fill(base, { "all/one": readFileSync(join(base, "s.json")), "all/two": `${readFileSync(join(base, "s.json"), "utf8").slice(0, 9_000)}x\n` })
    const { exitCode, stdout, stderr } = await run("approvals", "all")
    expect(exitCode).toBe(1)
    expect(stdout).toContain("turn-machine decide all/one call_2 approve\n")
    expect(stderr).toMatch(/^turn-machine: 1 journal in all cannot be read\.\n {3}two: /)
    expect(await run("decide", "all", "call_2", "approve")).toMatchObject({ exitCode: 0 })
  })

  it.each([
    [["approvals"], "approvals takes a state file of a run or a folder of a goal, and at most one call. See: turn-machine approvals --help"],
    [["approvals", "nowhere"], "nowhere cannot be read: it does not exist. Pass the state file of a run, or the folder of a goal."],
    [["approvals", "shop/a.txt"], "shop/a.txt is not a journal of a turn. Pass the path of a journal."],
    [["approvals", "s.json", "--jsn"], "Unknown flag --jsn. Did you mean --json? See: turn-machine approvals --help"],
    [
      ["approval", "s.json"],
      "Unknown command approval. Did you mean approvals? The commands are: run, resume, goal, subgoal, approvals, decide, answer, journal. See: turn-machine --help",
    ],
    [
      ["decide", "s.json", "call_2"],
      "decide takes a state file or a goal's folder, a call and a decision: turn-machine decide FILE CALL approve|reject|edit.",
    ],
    [["decide", "s.json", "call_2", "aprove"], "Unknown decision aprove. Did you mean approve? The decisions are: approve, reject, edit."],
    [
      ["decide", "s.json", "call_2", "approve", "--message", "x"],
      "--message belongs to reject: it tells the model why. For the record of any decision: --note TEXT.",
    ],
    [["decide", "s.json", "call_2", "reject", "--args", "{}"], "--args belongs to edit: turn-machine decide FILE CALL edit --args JSON."],
    [["decide", "s.json", "call_2", "edit", "--scope", "turn"], "--scope belongs to approve and reject: edited arguments are for one call."],
    [["decide", "s.json", "call_2", "approve", "--scope", "tread"], '--scope takes call, turn, thread, not "tread". Did you mean thread?'],
    [["decide", "s.json", "call_2", "edit"], "edit needs the arguments: --args JSON, --args @FILE, or --args - to read them from standard input."],
    [["decide", "s.json", "call_2", "edit", "--args", "[1]"], "--args cannot be used. The arguments of a call are a JSON object: { … }."],
    [["decide", "s.json", "call_2", "edit", "--args", "@no.json"], "--args @no.json cannot be read: it does not exist."],
    [
      ["decide", "s.json", "cal_2", "approve"],
      "No call in s.json that waits for a decision is named cal_2. Did you mean call_2? To list them: turn-machine approvals s.json",
    ],
    [["answer", "s.json", "call_2", "--value", "1"], "No call in s.json waits for a result from outside."],
    [["answer", "s.json", "call_2"], "answer needs the result of the call: either --value JSON or --error TEXT."],
  ])("%j is explained", async (args, message) => {
    const { base, run } = await suspended()
    const before = readFileSync(join(base, "s.json"), "utf8")
    expect(await run(...args)).toEqual({ exitCode: 2, stdout: "", stderr: `turn-machine: ${message}\n` })
    expect(readFileSync(join(base, "s.json"), "utf8")).toBe(before)
  })

  it.each(["approvals", "decide", "answer"])("%s has help", async (command) => {
    const { exitCode, stdout } = await runCli([command, "--help"], { cwd: newFolder() })
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(new RegExp(`^turn-machine ${command}: `))
    for (const line of stdout.split("\n")) expect(line.length, line).toBeLessThanOrEqual(120)
  })
})

describe("turn-machine decide", () => {
  it("approves, rejects with a message, and edits, in several processes, and the run continues with that", async () => {
    const base = newColours()
    const run = (...args: readonly string[]): Promise<Ran> => spawnCli(bundled, args, { cwd: base })
    expect(await run(...EDIT_RUN, TASK)).toMatchObject({ exitCode: 3, stderr: "" })
    expect(await run("decide", "s.json", "call_4", "approve", "--by", "ann", "--note", "seen")).toEqual({
      exitCode: 0,
      signal: null,
      stderr: "",
      stdout: "Approved: replace_line (call_4).\n2 more calls wait for a decision: turn-machine approvals s.json\n",
    })
    expect(await run("decide", "s.json", "call_3", "reject", "--message", "Leave it.")).toMatchObject({ exitCode: 0 })
    const args = JSON.stringify({ path: "a.txt", line: 1, oldText: "the colour of x", newText: "the hue of x" })
    const edited = await run("decide", "s.json", "call_2", "edit", "--args", args)
    expect(edited.stdout).toBe("Approved with edited arguments: replace_line (call_2).\nContinue with: turn-machine resume s.json\n")
    expect(textOf(base, "a.txt")).toBe("the colour of x\nb\ncolour again\n")

    const resumed = await run("resume", "s.json")
    expect(resumed).toMatchObject({ exitCode: 0, stderr: "" })
    expect(resumed.stdout).toContain('3  I replaced "colour" with "color" in 2 lines of 3.\n')
    expect(resumed.stdout).toContain("call_4  replace_line approved by ann\n")
    expect([textOf(base, "a.txt"), textOf(base, "b.txt")]).toEqual(["the hue of x\nb\ncolour again\n", "color\r\nkeep\r\n"])
    expect(readFileSync(join(base, "s.json"), "utf8")).toContain("The user says: Leave it.")

    const shown = await run("journal", "show", "s.json")
    expect(shown.stdout).toMatch(/call_4 approved by ann \(note: seen\), after \d/)
    expect(shown.stdout).toMatch(/call_3 rejected by \S+: Leave it\., after \d/)
    expect(shown.stdout).toMatch(/call_2 approved with edited arguments \{"path":"a.txt".*"newText":"the hue of x"\} by \S+, after \d/)
    expect(await run("journal", "replay", "s.json")).toMatchObject({ exitCode: 0 })
  })

  it("reads arguments from a file and from standard input", async () => {
    const { base } = await suspended()
    fill(base, { "args.json": '{"path":"a.txt","line":1,"oldText":"the colour of x","newText":"one"}\n' })
    expect(await runCli(["decide", "s.json", "call_2", "edit", "--args", "@args.json"], { cwd: base })).toMatchObject({ exitCode: 0 })
    const input = '{"path":"a.txt","line":3,"oldText":"colour again","newText":"two"}'
    expect(await runCli(["decide", "s.json", "call_3", "edit", "--args", "-"], { cwd: base, input })).toMatchObject({ exitCode: 0 })
    await runCli(["decide", "s.json", "call_4", "reject"], { cwd: base })
    expect(await runCli(["resume", "s.json"], { cwd: base })).toMatchObject({ exitCode: 0 })
    expect(textOf(base, "a.txt")).toBe("one\nb\ntwo\n")
  })

  it("changes nothing the second time, and refuses another decision, naming the first", async () => {
    const { base, run } = await suspended()
    await run("decide", "s.json", "call_2", "approve", "--by", "ann")
    const before = readFileSync(join(base, "s.json"), "utf8")
    expect(await run("decide", "s.json", "call_2", "approve", "--by", "bob")).toMatchObject({
      exitCode: 0,
      stdout: "The same was decided before: approved (call_2). Nothing changed.\n2 more calls wait for a decision: turn-machine approvals s.json\n",
    })
    const refused = await run("decide", "s.json", "call_2", "reject", "--by", "bob")
    expect(refused).toMatchObject({ exitCode: 1, stdout: "" })
    expect(refused.stderr).toMatch(/^turn-machine: The call .*is decided already: approve by "?ann"?\.\n$/)
    const json = JSON.parse((await run("decide", "s.json", "5:call_2", "reject", "--json")).stdout)
    expect(json).toMatchObject({ type: "decision", status: "refused", code: "call_already_decided", requestId: "5:call_2", left: 2 })
    expect(readFileSync(join(base, "s.json"), "utf8")).toBe(before)
  })

  it.each(["", " "])("refuses the empty name %j, which every call begins with: nothing is approved that was not named", async (name) => {
    const { base, run } = await suspended()
    await run("decide", "s.json", "call_2", "reject")
    await run("decide", "s.json", "call_3", "reject")
    const before = readFileSync(join(base, "s.json"), "utf8")
    for (const args of [
      ["decide", "s.json", name, "approve"],
      ["answer", "s.json", name, "--value", "1"],
    ]) {
      const refused = await run(...args)
      expect(refused).toMatchObject({ exitCode: 2, stdout: "" })
      expect(refused.stderr).toBe("turn-machine: The name of the call is empty. To list the calls: turn-machine approvals s.json\n")
    }
    expect(readFileSync(join(base, "s.json"), "utf8")).toBe(before)
  })

  it("finds a call by a unique beginning, its request id or its digest, and explains what is ambiguous", async () => {
    const { run } = await suspended()
    const ambiguous = await run("decide", "s.json", "call", "approve")
    expect(ambiguous).toMatchObject({ exitCode: 2, stdout: "" })
    expect(ambiguous.stderr.split("\n").slice(0, 2)).toEqual([
      "turn-machine: call names 3 calls. Give more of the id, or the request id.",
      expect.stringMatching(/^ {3}5:call_2 {2}replace_line \{"path":"a\.txt"/),
    ])
    const [first, second] = (await run("approvals", "s.json", "--json")).stdout.split("\n").map((line) => JSON.parse(line || "{}"))
    expect(await run("decide", "s.json", first.digest.slice(0, 12), "reject")).toMatchObject({ exitCode: 0 })
    expect(await run("decide", "s.json", `${second.turnId}:${second.requestId}`, "reject")).toMatchObject({ exitCode: 0 })
    expect(await run("decide", "s.json", "call", "reject")).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining("Rejected: replace_line (call_4)."),
    })
  })

  it("for the turn decides about all calls of the tool", async () => {
    const { base, run } = await suspended()
    await run("decide", "s.json", "call_3", "reject")
    const { stdout } = await run("decide", "s.json", "call_2", "approve", "--scope", "turn")
    expect(stdout).toBe("Approved: replace_line (call_2).\nContinue with: turn-machine resume s.json\n")
    expect(await run("resume", "s.json")).toMatchObject({ exitCode: 0 })
    expect([textOf(base, "a.txt"), textOf(base, "b.txt")]).toEqual(["the color of x\nb\ncolour again\n", "color\r\nkeep\r\n"])
  })

  it("refuses an approval that comes too late, and the call does not run", async () => {
    const { base, run } = await suspended("--approve-within", "1s")
    await new Promise((resolve) => setTimeout(resolve, 1_100))
    expect((await run("approvals", "s.json")).stdout).toContain("Expired: an approval no longer counts.\n")
    expect(await run("decide", "s.json", "call_2", "approve")).toMatchObject({
      exitCode: 1,
      stderr: "turn-machine: Too late: the time to decide about replace_line (call_2) is over, so the call does not run.\n",
    })
    const json = await run("decide", "s.json", "call_3", "approve", "--json")
    expect(json.exitCode).toBe(1)
    expect(JSON.parse(json.stdout)).toMatchObject({ status: "accepted", decision: "expired", code: "approval_expired" })
    // The call that nobody decided about expires when the turn continues.
    const resumed = await run("resume", "s.json")
    expect(resumed).toMatchObject({ exitCode: 0, stderr: "" })
    expect(resumed.stdout).toContain('I replaced "colour" with "color" in 0 lines of 3.')
    expect(textOf(base, "a.txt")).toBe("the colour of x\nb\ncolour again\n")
  })

  it("of two processes at once lets one win, and the other says who was first", async () => {
    for (let time = 0; time < 3; time += 1) {
      const { base } = await suspended()
      const decide = (what: string, by: string): Promise<Ran> => spawnCli(bundled, ["decide", "s.json", "call_2", what, "--by", by], { cwd: base })
      const [approved, rejected] = await Promise.all([decide("approve", "ann"), decide("reject", "bob")])
      expect([approved.exitCode, rejected.exitCode].sort()).toEqual([0, 1])
      const lost = approved.exitCode === 0 ? rejected : approved
      expect(lost.stderr).toMatch(approved.exitCode === 0 ? /already: approve by "?ann/ : /already: reject by "?bob/)
      const records = readFileSync(join(base, "s.json"), "utf8").match(/"type":"tool_decisions"/g)
      expect(records).toHaveLength(1)
    }
  })

  it("never runs an approved call twice, also after kill -9 between two steps", async () => {
    const { base, run } = await suspended()
    for (const call of ["call_2", "call_3", "call_4"]) await run("decide", "s.json", call, "approve")
    const killed = spawnCli(bundled, ["resume", "s.json"], { cwd: base })
    await new Promise((resolve) => setTimeout(resolve, 150))
    killed.child.kill("SIGKILL")
    await killed
    expect(await spawnCli(bundled, ["resume", "s.json"], { cwd: base })).toMatchObject({ exitCode: 0 })
    expect([textOf(base, "a.txt"), textOf(base, "b.txt")]).toEqual(["the color of x\nb\ncolor again\n", "color\r\nkeep\r\n"])
  })

  it("finds nothing to decide after the turn has ended, but says what was decided", async () => {
    const { run } = await suspended()
    await run("decide", "s.json", "call_2", "approve", "--scope", "turn")
    await run("resume", "s.json")
    expect(await run("decide", "s.json", "call_9", "approve")).toMatchObject({
      exitCode: 2,
      stderr: "turn-machine: No call in s.json waits for a decision.\n",
    })
    expect((await run("decide", "s.json", "call_2", "reject")).exitCode).toBe(1)
  })

  it("edits in the editor without --args, where there is a terminal", async () => {
    const { base, run } = await suspended()
    const editor = join(base, "editor.sh")
    writeFileSync(editor, "#!/bin/sh\nexit 0\n", { mode: 0o755 })
    const terminal = new TestTerminal([])
    terminal.edits.push((text) => text.replace("the color", "the tint"))
    expect(await runCli(["decide", "s.json", "call_2", "edit"], { cwd: base, terminal, env: { EDITOR: editor } })).toMatchObject({ exitCode: 0 })
    await run("decide", "s.json", "call_3", "reject")
    await run("decide", "s.json", "call_4", "reject")
    await run("resume", "s.json")
    expect(textOf(base, "a.txt")).toBe("the tint of x\nb\ncolour again\n")
  })
})
