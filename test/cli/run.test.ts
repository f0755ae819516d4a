import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { RunScreen } from "../../src/cli/run/run-screen.ts"
import type { TurnEvent } from "../../src/schemas/event.ts"
import { FIXTURES, fill, newFolder, newShop, type Ran, runCli, serve } from "./harness.ts"

const SHOP_REPORT = readFileSync(join(FIXTURES, "shop.todo-report.md"), "utf8")
const DEFAULT_TASK = "Find the TODO and FIXME comments in this folder, read around each, and write a report."

interface Line {
  readonly type: string
  readonly [key: string]: unknown
}

function linesOf(stdout: string): readonly Line[] {
  expect(stdout.endsWith("\n")).toBe(true)
  return stdout
    .slice(0, -1)
    .split("\n")
    .map((line) => JSON.parse(line) as Line)
}

/** Removes from output what differs between runs: times, and the order in which parallel tools end. */
function steady(stdout: string): string {
  const lines = stdout
    .replace(/[\d.]+ k?B, [\d.]+ m?s$/gm, "…")
    .replace(/, [\d.]+ m?s$/gm, ", …")
    .split("\n")
  const sorted: string[] = []
  let batch: string[] = []
  for (const line of lines) {
    if (line.startsWith("   ✓")) batch.push(line)
    else {
      sorted.push(...batch.sort(), line)
      batch = []
    }
  }
  return sorted.join("\n")
}

/** Presses Ctrl-C once, when the output satisfies a condition. */
function once(isSeen: (stdout: string) => boolean): (stdout: string, interrupt: () => void) => void {
  let pressed = false
  return (stdout, interrupt) => {
    if (pressed || !isSeen(stdout)) return
    pressed = true
    interrupt()
  }
}

describe("turn-machine run", () => {
  it("finds the TODO comments of a folder, writes a report, and shows its progress", async () => {
    const { base } = newShop()
    const ran = await runCli(["run", "--dir", "shop"], { cwd: base })
    expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
    expect(readFileSync(join(base, "turn-machine-out/todo-report.md"), "utf8")).toBe(SHOP_REPORT)
    expect(steady(ran.stdout).replace(/\d[\d,]* (in|cached|out)/g, "… $1")).toBe(`folder   ${base}/shop
task     ${DEFAULT_TASK}
model    embedded planner, no network

1  I start by listing the files in this folder.
   ✓ list_files                                   6 files, 613 B         …
   tokens … in, … cached, … out

2  The folder has 6 files. I search for TODO and FIXME in comments.
   ✓ search_text FIXME wholeWord                  2 lines in 2 files     …
   ✓ search_text TODO wholeWord                   6 lines in 4 files     …
   tokens … in, … cached, … out

3  5 lines in 4 files are worth a look. I read around them.
   ✓ read_file README.md                          lines 2-5 of 5         …
   ✓ read_file src/cart.js                        lines 1-8 of 9         …
   ✓ read_file src/checkout.py                    lines 1-6 of 8         …
   ✓ read_file src/deep/er/styles.css             lines 1-2 of 2         …
   tokens … in, … cached, … out

4  I have what I need, so I write the report.
   ✓ write_file todo-report.md 2.5 kB             written                …
   tokens … in, … cached, … out

5  I found 5 comments (3 TODO, 2 FIXME) in 4 of the 5 files I searched. Most urgent: src/cart.js:5 (FIXME, says "crash", has a "!"). The report is in todo-report.md.
   tokens … in, … cached, … out

outcome  finished
work     5 iterations, 5 model calls, 8 tool calls, …
tokens   … in, … cached, … out (estimated)
written  turn-machine-out/todo-report.md
`)
  })

  it.each(["out", "shop/src/out", "shop"])("writes the same report twice into %s, and does not search its own files", async (out) => {
    const { base } = newShop()
    for (let time = 1; time <= 2; time += 1) {
      expect((await runCli(["run", "--dir", "shop", "--out", out, "--state", `shop/s${time}.json`], { cwd: base })).exitCode).toBe(0)
      expect(readFileSync(join(base, out, "todo-report.md"), "utf8")).toBe(SHOP_REPORT)
      rmSync(join(base, "shop", `s${time}.json`))
    }
  })

  it("does not search its output folder", async () => {
    const { base, shop } = newShop()
    fill(shop, { "out/remarks.txt": "TODO: read the report" })
    await runCli(["run", "--dir", "shop", "--out", "shop/out"], { cwd: base })
    expect(readFileSync(join(shop, "out/todo-report.md"), "utf8")).toBe(SHOP_REPORT)
  })

  it("does not search reports of earlier runs in other folders", async () => {
    const { base } = newShop()
    for (const out of ["shop/first", "shop/second"]) await runCli(["run", "--dir", "shop", "--out", out], { cwd: base })
    expect(readFileSync(join(base, "shop/second/todo-report.md"), "utf8")).toBe(SHOP_REPORT)
  })

  it("replaces its own report, and does not replace an edited one", async () => {
    const { base, shop } = newShop()
    const report = join(base, "turn-machine-out/todo-report.md")
    await runCli(["run", "--dir", "shop"], { cwd: base })
    writeFileSync(join(shop, "notes.txt"), "TODO: say more\n")
    await runCli(["run", "--dir", "shop"], { cwd: base })
    expect(readFileSync(report, "utf8")).toContain("**6 comments**")

    writeFileSync(report, "my own words")
    const ran = await runCli(["run", "--dir", "shop"], { cwd: base })
    expect(ran.exitCode).toBe(0)
    expect(ran.stdout).toContain("Another file has that name. I write to todo-report-2.md instead.")
    expect(readFileSync(report, "utf8")).toBe("my own words")
    expect(readFileSync(join(base, "turn-machine-out/todo-report-2.md"), "utf8")).toContain("**6 comments**")

    await runCli(["run", "--dir", "shop", "--force"], { cwd: base })
    expect(readFileSync(report, "utf8")).toContain("**6 comments**")
  })

  it("searches for the text that a task quotes", async () => {
    const { base } = newShop()
    const ran = await runCli(["run", "--dir", "shop", 'Where is "price" used?'], { cwd: base })
    expect(ran.exitCode).toBe(0)
    expect(ran.stdout).toContain("I am the embedded planner, not a language model")
    expect(ran.stdout).toContain('I searched 5 files for "price" (1 line in 1 file).')
    expect(readFileSync(join(base, "turn-machine-out/search-report.md"), "utf8")).toContain("| `price` | 1 | 1 |")
  })

  it("reports an empty folder, and writes no files", async () => {
    const base = newFolder()
    mkdirSync(join(base, "empty"))
    const ran = await runCli(["run", "--dir", "empty"], { cwd: base })
    expect(ran.exitCode).toBe(0)
    expect(ran.stdout).toContain("There are no files to search in this folder. I wrote no report.")
    expect(readdirSync(base)).toEqual(["empty"])
  })

  it("handles thousands of hits, and reports what it omits", async () => {
    const base = fill(newFolder(), { "dir/many.js": "// TODO one more\n".repeat(3_000), "dir/few.py": "# FIXME it is broken\n" })
    const ran = await runCli(["run", "--dir", "dir"], { cwd: base })
    expect(ran.exitCode).toBe(0)
    expect(ran.stdout).toContain(
      'I found 501 comments (500 TODO, 1 FIXME) in 2 of the 2 files I searched; 2,500 more lines with a marker were not examined. Most urgent: few.py:1 (FIXME, says "broken"). The search was not complete; the report lists what was omitted.',
    )
    const report = readFileSync(join(base, "turn-machine-out/todo-report.md"), "utf8")
    expect(report).toContain("- The first 500 of 3000 lines are listed.")
    expect(report.match(/^\*\*Line \d+, TODO:\*\*/gm)).toHaveLength(500)
    expect(report.match(/^```text$/gm)).toHaveLength(200)
  })

  it("stops at its limit of iterations with exit code 1", async () => {
    const { base } = newShop()
    const ran = await runCli(["run", "--dir", "shop", "--max-iterations", "2"], { cwd: base })
    expect(ran.exitCode).toBe(1)
    expect(ran.stdout).toContain("outcome  stopped: max iterations\nwork     2 iterations, 2 model calls, 3 tool calls")
    const line = "turn-machine: The turn reached its limit of 2 iterations before it finished. Start a new run with a higher --max-iterations.\n"
    expect(ran.stderr).toBe(line)

    // A saved turn that reached its limit stays ended, and a resume shows the same message.
    await runCli(["run", "--dir", "shop", "--max-iterations", "2", "--state", "s.json"], { cwd: base })
    const again = await runCli(["run", "--state", "s.json", "--resume", "--max-iterations", "9"], { cwd: base })
    expect(again).toMatchObject({ exitCode: 1, stderr: line })
    expect(again.stdout).toContain("work     2 iterations, 2 model calls, 3 tool calls")
  })

  it("prints no control characters from names or contents of files", async () => {
    const base = newFolder()
    fill(base, { "dir/e\u001b[2Jvil.js": "// TODO \u001b]0;owned\u0007 \u202etxt\n" })
    const ran = await runCli(["run", "--dir", "dir"], { cwd: base })
    const report = readFileSync(join(base, "turn-machine-out/todo-report.md"), "utf8")
    for (const shown of [ran.stdout, report]) {
      expect(shown).toContain("e\ufffd[2Jvil.js")
      expect(/(?!\n)[\p{Cc}\u202e]/u.test(shown)).toBe(false)
    }
  })

  it("aligns tool calls in columns, except on a narrow terminal", async () => {
    const { base } = newShop()
    const shown = async (columns: number): Promise<string> =>
      (await runCli(["run", "--dir", "shop"], { cwd: base, isTTY: true, columns, env: { NO_COLOR: "1" } })).stdout
    expect(await shown(100)).toMatch(/^ {3}✓ list_files {35}6 files, 613 B {9}\d+ B, \d+ ms$/m)
    expect(await shown(80)).toMatch(/^ {3}✓ list_files {27}6 files, 613 B {9}\d+ B, \d+ ms$/m)
    expect((await shown(80)).split("\n").filter((line) => line.length > 80)).toEqual([])
    expect(await shown(60)).toMatch(/^ {3}✓ list_files {2}6 files, 613 B {2}\d+ B, \d+ ms$/m)
    expect(await shown(30)).toMatch(/^ {3}✓ list_files\n {5}6 files,.* {2}\d+ B, \d+ ms$/m)
  })

  it("separates every iteration number from the text", () => {
    let stdout = ""
    const screen = new RunScreen({ stdout: { write: (text) => (stdout += text) }, env: {}, cwd: "/" })
    for (const iteration of [8, 98, 998]) {
      screen.event({ type: "llm_request", iteration } as TurnEvent)
      screen.event({ type: "text_delta", content: "I look." } as TurnEvent)
    }
    expect(stdout.match(/^\d.*$/gm)).toEqual(["9  I look.", "99 I look.", "999 I look."])
  })

  it("uses colours on a terminal, unless NO_COLOR, TERM or FORCE_COLOR disable them", async () => {
    const { base } = newShop()
    const coloured = async (env: Record<string, string>, isTTY: boolean): Promise<boolean> =>
      (await runCli(["run", "--dir", "shop"], { cwd: base, env, isTTY })).stdout.includes("\u001b[")
    expect(await coloured({}, false)).toBe(false)
    expect(await coloured({}, true)).toBe(true)
    expect(await coloured({ NO_COLOR: "1" }, true)).toBe(false)
    expect(await coloured({ NO_COLOR: "" }, true)).toBe(true)
    expect(await coloured({ TERM: "dumb" }, true)).toBe(false)
    expect(await coloured({ FORCE_COLOR: "1" }, false)).toBe(true)
    expect(await coloured({ FORCE_COLOR: "0" }, true)).toBe(false)
  })
})

describe("--json", () => {
  it("prints one object per line: the start, the events, and last the outcome with usage", async () => {
    const { base, shop } = newShop()
    const ran = await runCli(["run", "--dir", "shop", "--json"], { cwd: base })
    expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
    const lines = linesOf(ran.stdout)
    expect(lines[0]).toEqual({
      type: "run_started",
      task: DEFAULT_TASK,
      dir: shop,
      out: join(base, "turn-machine-out"),
      model: "embedded",
      maxIterations: 30,
      resumed: false,
    })
    expect(new Set(lines.map((line) => line.type))).toEqual(
      new Set([
        "run_started",
        "llm_request",
        "token_usage",
        "text_delta",
        "llm_response",
        "tool_call_start",
        "tool_call",
        "turn_outcome",
        "done",
        "run_ended",
      ]),
    )
    expect(lines.filter((line) => line.type === "tool_call")).toHaveLength(8)
    const usages = lines.filter((line) => line.type === "token_usage")
    expect(lines.at(-1)).toEqual({
      type: "run_ended",
      outcome: {
        type: "finished",
        finish: { type: "assistant_message", text: expect.stringMatching(/^I found 5 comments \(3 TODO, 2 FIXME\) in 4 of the 5 files/) as string },
      },
      iterations: 5,
      modelCalls: 5,
      toolCalls: 8,
      usage: usages.at(-1)?.["cumulative"],
      files: ["todo-report.md"],
      durationMs: expect.any(Number) as number,
      exitCode: 0,
    })
  })

  it("prints errors on stderr only", async () => {
    const ran = await runCli(["run", "--dir", "nowhere", "--json"], { cwd: newFolder() })
    expect(ran).toMatchObject({ exitCode: 2, stdout: "" })
  })
})

describe("--state and --resume", () => {
  it("show the answer of a finished turn again, and repeat no work", async () => {
    const { base } = newShop()
    const first = await runCli(["run", "--dir", "shop", "--state", "s.json"], { cwd: base })
    expect(first.stdout).toContain("state    s.json\n")
    const saved = readFileSync(join(base, "s.json"), "utf8")
    writeFileSync(join(base, "turn-machine-out/todo-report.md"), "edited")

    const again = await runCli(["run", "--state", "s.json", "--resume"], { cwd: base })
    expect(again).toMatchObject({ exitCode: 0, stderr: "" })
    expect(again.stdout).toContain("I found 5 comments (3 TODO, 2 FIXME)")
    expect(again.stdout).toContain("work     5 iterations, 5 model calls, 8 tool calls")
    expect(again.stdout).not.toContain("✓")
    expect(readFileSync(join(base, "s.json"), "utf8")).toBe(saved)
    expect(readFileSync(join(base, "turn-machine-out/todo-report.md"), "utf8")).toBe("edited")
    expect(readdirSync(base).sort()).toEqual(["s.json", "shop", "turn-machine-out"])
  })

  it.each(["list_files", "search_text", "5 lines in 4 files", "write the report"])(
    "stop cleanly on Ctrl-C at %j, and continue with the same command",
    async (place) => {
      const { base } = newShop()
      const args = ["run", "--dir", "shop", "--state", "s.json"]
      const stopped = await runCli(args, { cwd: base, onOutput: once((stdout) => stdout.includes(place)) })
      expect(stopped).toMatchObject({ exitCode: 1, stderr: "" })
      expect(stopped.stdout).toContain("outcome  stopped, can be resumed\n")
      expect(stopped.stdout).toContain("Resume with: turn-machine resume s.json (or the same command with --resume)\n")
      expect(existsSync(join(base, "turn-machine-out/todo-report.md"))).toBe(false)

      const resumed = await runCli([...args, "--resume"], { cwd: base })
      expect(resumed).toMatchObject({ exitCode: 0, stderr: "" })
      expect(resumed.stdout).toMatch(/^state {4}s\.json \(resumed at iteration [1-4]\)$/m)
      expect(resumed.stdout).toContain("work     5 iterations, 5 model calls, 8 tool calls")
      expect(readFileSync(join(base, "turn-machine-out/todo-report.md"), "utf8")).toBe(SHOP_REPORT)
    },
  )

  it("exit immediately on a second Ctrl-C", async () => {
    const { base } = newShop()
    const ran = await runCli(["run", "--dir", "shop", "--state", "s.json"], {
      cwd: base,
      onOutput: (stdout, interrupt) => {
        if (!stdout.includes("list_files")) return
        interrupt()
        interrupt()
      },
    })
    expect(ran.exitedAtOnceWith).toBe(1)
  })

  it("end --json with a run_paused line on Ctrl-C", async () => {
    const { base } = newShop()
    const ran = await runCli(["run", "--dir", "shop", "--state", "s.json", "--json"], {
      cwd: base,
      onOutput: once((stdout) => stdout.includes('"name":"search_text"')),
    })
    expect(ran.exitCode).toBe(1)
    expect(linesOf(ran.stdout).at(-1)).toMatchObject({ type: "run_paused", state: join(base, "s.json"), modelCalls: 2, toolCalls: 1, files: [] })
  })

  it("do not start a turn that cannot be saved", async () => {
    const { base } = newShop()
    writeFileSync(join(base, "s.json.lock"), "no lock")
    const ran = await runCli(["run", "--dir", "shop", "--state", "s.json"], { cwd: base })
    expect(ran).toMatchObject({ exitCode: 1, stdout: "" })
    expect(ran.stderr).toMatch(
      /^turn-machine: The state file .+ cannot be written: "s\.json\.lock" is at the path of its lock and is not a lock folder\. .+\n$/,
    )
    expect(readdirSync(base).sort()).toEqual(["s.json.lock", "shop"])
  })

  it("start the turn if there is no state file yet, and report it", async () => {
    const { base } = newShop()
    const ran = await runCli(["run", "--dir", "shop", "--state", "s.json", "--resume"], { cwd: base })
    expect(ran).toMatchObject({ exitCode: 0, stderr: "turn-machine: s.json has no turn yet; starting a new one.\n" })
  })

  it("cancel the turn without a state file", async () => {
    const { base } = newShop()
    const ran = await runCli(["run", "--dir", "shop"], {
      cwd: base,
      onOutput: once((stdout) => stdout.endsWith("search for TODO and FIXME in comments.")),
    })
    expect(ran).toMatchObject({ exitCode: 1, stderr: "turn-machine: The turn was cancelled. To stop and resume a turn, use --state FILE.\n" })
    expect(ran.stdout).toContain("   The user stopped the turn.\n")
    expect(ran.stdout).toContain("outcome  stopped: cancelled\nwork     2 iterations, 2 model calls, 3 tool calls")
    expect(existsSync(join(base, "turn-machine-out"))).toBe(false)
  })
})

describe("a state file that does not match the command", () => {
  async function stoppedShop(): Promise<{ readonly base: string; readonly saved: string }> {
    const { base } = newShop()
    mkdirSync(join(base, "other"))
    await runCli(["run", "--dir", "shop", "--state", "s.json"], {
      cwd: base,
      onOutput: once((stdout) => stdout.includes("list_files")),
    })
    return { base, saved: readFileSync(join(base, "s.json"), "utf8") }
  }

  it.each([
    [["another task"], `another task ("${DEFAULT_TASK}"). To resume it, omit the task; for a new run, pass another --state path.`],
    [["--dir", "other"], "another folder (BASE/shop). To resume it, omit --dir; for a new run, pass another --state path."],
    [["--out", "other"], "another output folder (BASE/turn-machine-out). To resume it, omit --out; for a new run, pass another --state path."],
    [["--model", "gpt"], "another model (embedded). To resume it, omit --model; for a new run, pass another --state path."],
    [["--base-url", "http://localhost/v1"], "another endpoint (none). To resume it, omit --base-url; for a new run, pass another --state path."],
    [["--max-iterations", "9"], "another limit (30 iterations). To resume it, omit --max-iterations; for a new run, pass another --state path."],
  ])("is refused and not changed: %j", async (args, line) => {
    const { base, saved } = await stoppedShop()
    const ran = await runCli(["run", "--state", "s.json", "--resume", ...args], { cwd: base })
    expect(ran).toEqual({ exitCode: 2, stdout: "", stderr: `turn-machine: The state file was written for ${line.replace("BASE", base)}\n` })
    expect(readFileSync(join(base, "s.json"), "utf8")).toBe(saved)
    expect(readdirSync(base).sort()).toEqual(["other", "s.json", "shop"])
  })

  it("is not changed if its folder does not exist, and the message does not suggest --dir", async () => {
    const { base, saved } = await stoppedShop()
    renameSync(join(base, "shop"), join(base, "moved"))
    expect(await runCli(["run", "--state", "s.json", "--resume"], { cwd: base })).toEqual({
      exitCode: 2,
      stdout: "",
      stderr: `turn-machine: The folder ${base}/shop cannot be read: it does not exist. The state file needs this folder: restore it, or pass another --state path.\n`,
    })
    expect(readFileSync(join(base, "s.json"), "utf8")).toBe(saved)
  })

  it("is accepted with another path of the same folder", async () => {
    const { base } = await stoppedShop()
    symlinkSync("shop", join(base, "linked"))
    expect((await runCli(["run", "--state", "s.json", "--resume", "--dir", "linked", DEFAULT_TASK], { cwd: base })).exitCode).toBe(0)
  })

  it("is not overwritten by a new run", async () => {
    const { base, saved } = await stoppedShop()
    const ran = await runCli(["run", "--dir", "shop", "--state", "s.json"], { cwd: base })
    expect(ran).toMatchObject({ exitCode: 2, stdout: "" })
    expect(ran.stderr).toMatch(
      /^turn-machine: The state file \S+\/s\.json already exists and was not changed\. Add --resume to resume that run, or pass another path\.\n$/,
    )
    expect(readFileSync(join(base, "s.json"), "utf8")).toBe(saved)
  })

  it("is refused if it is damaged, with the command that recovers the records before the damage", async () => {
    const { base, saved } = await stoppedShop()
    // Changes the second line, the model's answer.
    const damagedText = saved.replace("I start by", "I started by")
    expect(damagedText).not.toBe(saved)
    writeFileSync(join(base, "s.json"), damagedText)
    const ran = await runCli(["run", "--state", "s.json", "--resume"], { cwd: base })
    expect(ran).toEqual({
      exitCode: 2,
      stdout: "",
      stderr: `turn-machine: The state file ${base}/s.json cannot be resumed: record 2 is damaged, missing or out of place. The file was not changed. To resume from the records before the damage: turn-machine journal fork ${base}/s.json --at 2 --out NEW\n`,
    })
    expect(readFileSync(join(base, "s.json"), "utf8")).toBe(damagedText)
    expect(readdirSync(base).sort()).toEqual(["other", "s.json", "shop"])
  })

  it("is resumed if only its last line is incomplete", async () => {
    const { base, saved } = await stoppedShop()
    writeFileSync(join(base, "s.json"), saved.slice(0, -20))
    expect(await runCli(["resume", "s.json"], { cwd: base })).toMatchObject({ exitCode: 0, stderr: "" })
    expect(readFileSync(join(base, "turn-machine-out/todo-report.md"), "utf8")).toBe(SHOP_REPORT)
  })
})

describe("a command that cannot run as given prints one line and exits with 2", () => {
  it.each([
    [
      ["rnu"],
      "Unknown command rnu. Did you mean run? The commands are: run, resume, goal, subgoal, approvals, decide, answer, journal. See: turn-machine --help",
    ],
    [
      ["constructor"],
      "Unknown command constructor. The commands are: run, resume, goal, subgoal, approvals, decide, answer, journal. See: turn-machine --help",
    ],
    [["--verison"], "Unknown flag --verison. Did you mean --version? See: turn-machine --help"],
    [["run", "--jsno"], "Unknown flag --jsno. Did you mean --json? See: turn-machine run --help"],
    [["run", "--modle=x"], "Unknown flag --modle. Did you mean --model? See: turn-machine run --help"],
    [["run", "-x"], "Unknown flag -x. See: turn-machine run --help"],
    [["run", "--__proto__"], "Unknown flag --__proto__. See: turn-machine run --help"],
    [["run", "--dir"], "--dir needs a value. See: turn-machine run --help"],
    [["run", "--dir", "--json"], "--dir needs a value. See: turn-machine run --help"],
    [["run", "--out="], "--out needs a value. See: turn-machine run --help"],
    [["run", "--json=yes"], "--json takes no value. See: turn-machine run --help"],
    [["run", ""], "The task is empty. Describe what to do, or omit it for the default task."],
    [["run", "sub"], '"sub" is a folder, not a task. To work on it, use: --dir sub'],
    [["run", "--dir", "nowhere"], "The folder nowhere cannot be read: it does not exist. Pass a readable folder with --dir."],
    [["run", "--dir", "file.txt"], "--dir file.txt is a file, not a folder. Pass the folder that contains it."],
    [
      ["run", "--out", "file.txt"],
      "The output folder BASE/file.txt cannot be written to: a part of its path is not a folder. Pass another one with --out.",
    ],
    [
      ["run", "--out", "file.txt/out"],
      "The output folder BASE/file.txt/out cannot be written to: a part of its path is not a folder. Pass another one with --out.",
    ],
    [["run", "--resume"], "--resume needs the state file: --state FILE."],
    [["run", "--no-check", "--state", "s.json"], "--no-check applies only to a resumed turn; add --resume."],
    [["run", "--compact"], "--compact needs a state file: --state FILE."],
    [["run", "--take-over"], "--take-over needs a state file: --state FILE."],
    [["resume"], "resume needs the state file: turn-machine resume FILE."],
    [["resume", "s.json", "--state", "t.json"], "resume takes one state file: turn-machine resume FILE."],
    [["resume", "s.json"], "There is no turn to resume in BASE/s.json. Start one: turn-machine run --state FILE."],
    [["resume", "s.json", "--jsno"], "Unknown flag --jsno. Did you mean --json? See: turn-machine resume --help"],
    [
      ["resume", "file.txt"],
      "The state file BASE/file.txt cannot be resumed: it is not the state of a run. The file was not changed. Start a new run with another --state path.",
    ],
    [
      ["journal", "shwo"],
      "Unknown command journal shwo. Did you mean show? The commands are: show, view, replay, diff, fork, compact. See: turn-machine journal --help",
    ],
    [["journal", "file.txt"], "Unknown command journal file.txt. To show that file: turn-machine journal show file.txt"],
    [["journal", "show"], "journal show takes the path of one journal. See: turn-machine journal show --help"],
    [["journal", "show", "s.json"], "s.json cannot be read: it does not exist."],
    [["journal", "show", "sub"], "sub is not a file. Pass the path of a journal."],
    [["journal", "show", "file.txt"], "file.txt is not a journal of a turn. Pass the path of a journal."],
    [["journal", "diff", "file.txt"], "journal diff takes the paths of two journals. See: turn-machine journal diff --help"],
    [
      ["journal", "fork", "file.txt", "--out", "x"],
      "journal fork needs the record to fork at: --at N. To list the records: turn-machine journal show FILE",
    ],
    [["journal", "fork", "file.txt", "--at", "2"], "journal fork needs the path of the new journal: --out NEW."],
    [
      ["journal", "fork", "file.txt", "--at", "2", "--out", "x", "--text", "a", "--answer", "{}"],
      "Pass only one of --text, --answer and --answer-file.",
    ],
    [["run", "--state", "sub"], "The state file BASE/sub is not a file. Pass the path of a file with --state."],
    [
      ["run", "--state", "no/s.json"],
      "The folder of the state file BASE/no/s.json cannot be used: it does not exist. Create it, or pass another path.",
    ],
    [["run", "--max-iterations", "0"], '--max-iterations takes a whole number from 1 to 10000, not "0".'],
    [["run", "--max-iterations", "2.5"], '--max-iterations takes a whole number from 1 to 10000, not "2.5".'],
    [
      ["run", "--model", "gpt"],
      "--model gpt needs an endpoint: --provider openai|openai-responses|anthropic|gemini, or --base-url URL. Without one, use --model embedded.",
    ],
    [
      ["run", "--api-key-env", "KEY"],
      "--api-key-env applies only to a model at an endpoint. Add --provider or --base-url, and --model, or omit --api-key-env.",
    ],
    [["run", "--base-url", "http://localhost/v1"], "--base-url needs the model's name at the endpoint: --model NAME."],
    [
      ["run", "--base-url", "localhost:1", "--model", "m"],
      "--base-url localhost:1 is not an http or https URL. Pass one like http://localhost:11434/v1.",
    ],
    [["run", "--base-url", "nonsense", "--model", "m"], "--base-url nonsense is not an http or https URL. Pass one like http://localhost:11434/v1."],
    [
      ["run", "--base-url", "http://me:hunter2@localhost/v1", "--model", "m"],
      "--base-url must not contain a user name or password. Put the key into an environment variable and pass its name with --api-key-env.",
    ],
    [
      ["run", "--base-url", "http://localhost/v1", "--model", "m", "--api-key-env", "NO_KEY"],
      "The environment variable NO_KEY is not set or is empty. Set it to the key: export NO_KEY=…",
    ],
    [
      ["run", "--base-url", "http://localhost/v1", "--model", "m", "--api-key-env", "sk-secret-1"],
      "--api-key-env takes the name of an environment variable, such as OPENAI_API_KEY, not the key itself.",
    ],
    [
      ["run", "--base-url", "http://localhost/v1", "--model", "m", "--api-key-env", "BAD_KEY"],
      "The environment variable BAD_KEY contains characters that keys do not have. Set it to the key alone.",
    ],
    [["run", "--base-url", "http://localhost/v1", "--model", "m", "--retries", "many"], '--retries takes a whole number from 0 to 100, not "many".'],
  ])("%j", async (args, line) => {
    const base = fill(newFolder(), { "file.txt": "theirs", "sub/x": "" })
    const ran = await runCli(args, { cwd: base, env: { BAD_KEY: "a b" } })
    expect(ran).toEqual({ exitCode: 2, stdout: "", stderr: `turn-machine: ${line.replace("BASE", base)}\n` })
    expect(readdirSync(base).sort()).toEqual(["file.txt", "sub"])
    expect(readFileSync(join(base, "file.txt"), "utf8")).toBe("theirs")
  })
})

describe("help and version", () => {
  it.each([[[]], [["--help"]], [["-h"]], [["help"]]])("are printed for %j", async (args) => {
    const ran = await runCli(args, { cwd: newFolder() })
    expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
    expect(ran.stdout).toContain("turn-machine run [flags]")
  })

  it("list every flag of run, within 120 columns", async () => {
    const { stdout, exitCode } = await runCli(["run", "--help"], { cwd: newFolder() })
    expect(exitCode).toBe(0)
    for (const flag of "dir out force edit approve approve-within model base-url api-key-env timeout-ms retries max-iterations state resume compact no-check take-over json help".split(
      " ",
    )) {
      expect(stdout).toMatch(new RegExp(`^ {2}--${flag}\\b`, "m"))
    }
    expect(Math.max(...stdout.split("\n").map((line) => line.length))).toBeLessThanOrEqual(120)
  })

  it("print the version of the package", async () => {
    const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string }
    expect(await runCli(["--version"], { cwd: newFolder() })).toEqual({ exitCode: 0, stdout: `${version}\n`, stderr: "" })
  })
})

describe("a model at an endpoint", () => {
  /** Answers like a model that lists, writes a file and finishes. The number of earlier answers selects the next one. */
  function scripted(body: string): object {
    const { messages } = JSON.parse(body) as { messages: readonly { role: string }[] }
    const answered = messages.filter((message) => message.role === "assistant").length
    const call = (name: string, args: object): object => ({
      content: `Step ${answered + 1}.`,
      tool_calls: [{ id: `c${answered}`, type: "function", function: { name, arguments: JSON.stringify(args) } }],
    })
    const steps = [call("list_files", {}), call("write_file", { path: "answer.md", content: "An answer.\n" }), { content: "Done." }]
    return {
      choices: [{ index: 0, finish_reason: answered < 2 ? "tool_calls" : "stop", message: { role: "assistant", ...steps[answered] } }],
      usage: { prompt_tokens: 100, completion_tokens: 10, prompt_tokens_details: { cached_tokens: 40 } },
    }
  }

  function runAgainst(baseUrl: string, base: string, ...more: readonly string[]): Promise<Ran> {
    const env = { MY_KEY: "sk-very-secret-1" }
    return runCli(["run", "--dir", "shop", "--base-url", baseUrl, "--model", "tiny", "--api-key-env", "MY_KEY", "--retries", "0", ...more], {
      cwd: base,
      env,
    })
  }

  it("receives the key and the tools, and its tool calls are run", async () => {
    const { base } = newShop()
    const requests: { readonly authorization: string | undefined; readonly body: { model: string; tools: { function: { name: string } }[] } }[] = []
    const url = await serve((body, response, request) => {
      requests.push({ authorization: request.headers.authorization, body: JSON.parse(body) as (typeof requests)[number]["body"] })
      response.setHeader("content-type", "application/json").end(JSON.stringify(scripted(body)))
    })
    const ran = await runAgainst(url, base, "--state", "s.json", "Do it.")
    expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
    expect(ran.stdout).toContain(`model    tiny at ${url}\n`)
    expect(ran.stdout).toContain("3  Done.\n")
    expect(ran.stdout).toContain("tokens   180 in, 120 cached, 30 out\n")
    expect(readFileSync(join(base, "turn-machine-out/answer.md"), "utf8")).toBe("An answer.\n")
    expect(requests.map((request) => request.authorization)).toEqual(Array.from({ length: 3 }, () => "Bearer sk-very-secret-1"))
    expect(requests[0]?.body.model).toBe("tiny")
    expect(requests[0]?.body.tools.map((tool) => tool.function.name)).toEqual(["list_files", "read_file", "search_text", "write_file"])
    expect(ran.stdout + readFileSync(join(base, "s.json"), "utf8")).not.toContain("sk-very-secret-1")
  })

  it("receives the query of its URL, which may contain a key and is not printed", async () => {
    const { base } = newShop()
    let requested: string | undefined
    const url = await serve((_body, response, request) => {
      requested = request.url
      response.writeHead(404).end()
    })
    for (const flags of [[], ["--json"]]) {
      const ran = await runAgainst(`${url}?key=sk-other-secret-2`, base, ...flags)
      expect(requested).toBe("/v1/chat/completions?key=sk-other-secret-2")
      expect(ran.stdout + ran.stderr).toContain(url)
      expect(ran.stdout + ran.stderr).not.toContain("sk-other")
    }
  })

  it("that refuses the connection stops the turn, which can be resumed later", async () => {
    const { base } = newShop()
    let broken = true
    const url = await serve((body, response) => {
      if (broken) response.destroy()
      else response.setHeader("content-type", "application/json").end(JSON.stringify(scripted(body)))
    })
    const first = await runAgainst(url, base, "--state", "s.json", "Do it.")
    expect(first.exitCode).toBe(1)
    expect(first.stderr).toMatch(
      new RegExp(
        `^turn-machine: The model call to ${url} failed\\. .+ Check the URL, --model and the key, then run the same command with --resume\\.\\n$`,
      ),
    )
    broken = false
    const second = await runAgainst(url, base, "--state", "s.json", "--resume")
    expect(second).toMatchObject({ exitCode: 0, stderr: "" })
    expect(readFileSync(join(base, "turn-machine-out/answer.md"), "utf8")).toBe("An answer.\n")
  })

  it.each([
    ["a limit that ends later", 429, { "retry-after": "7200" }, /Slow down\. After \d.+, run the command again\.\n$/],
    ["no capacity", 503, {}, /Slow down\. Later, run the command again\.\n$/],
  ])("that has %s is not reported as a wrong URL", async (_, status, headers, advice) => {
    const { base } = newShop()
    const url = await serve((_body, response) => void response.writeHead(status, headers).end('{"error":{"message":"Slow down."}}'))
    expect((await runAgainst(url, base)).stderr).toMatch(advice)
  })

  it("whose stream breaks is not reported as a wrong URL", async () => {
    const { base } = newShop()
    const url = await serve((_body, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" })
      response.end('data: {"choices":[{"index":0,"delta":{"content":"Well"}}]}\n\n')
    })
    expect((await runAgainst(url, base)).stderr).toMatch(/before the answer was complete\. To try it once more, run the command again\.\n$/)
  })

  it.each([
    ["an HTML page with an error status", 500, "text/html", "<html><body>Oops</body></html>", /500/],
    ["an HTML page with status 200", 200, "text/html", "<html></html>", /it is a page, not JSON; check the base URL/],
    ["invalid JSON", 200, "application/json", "{]", /it is not JSON; check the base URL/],
    ["an empty body", 200, "application/json", "", /it is empty/],
    ["JSON of another shape", 200, "application/json", '{"hello":"world"}', /turn-machine: The model call to .+ failed\. \S+/],
    ["an error about the key", 401, "application/json", '{"error":{"message":"Incorrect API key provided: sk-very-secret-1"}}', /Incorrect API key/],
  ])("that answers with %s stops the turn with one line on stderr", async (_, status, type, answer, reason) => {
    const { base } = newShop()
    const url = await serve((_body, response) => void response.writeHead(status, { "content-type": type }).end(answer))
    const ran = await runAgainst(url, base)
    expect(ran.exitCode).toBe(1)
    expect(ran.stderr).toMatch(reason)
    expect(ran.stderr).toContain(url)
    expect(ran.stderr).toMatch(/Check the URL, --model and the key, then run the command again\.\n$/)
    expect(ran.stderr.split("\n")).toHaveLength(2)
    expect(ran.stdout).toContain("\n1  \n\noutcome  stopped: provider error\n")
    expect(ran.stdout + ran.stderr).not.toContain("sk-very-secret-1")
    expect(existsSync(join(base, "turn-machine-out"))).toBe(false)
  })

  it.each([
    [
      "refuses",
      { finish_reason: "stop", message: { role: "assistant", content: null, refusal: "I will not." } },
      "The model refused to answer. Rephrase the task in a new run.",
    ],
    [
      "is cut off by a filter",
      { finish_reason: "content_filter", message: { role: "assistant", content: "Well" } },
      "The provider's content filter cut the answer off. Rephrase the task in a new run.",
    ],
    [
      "answers with nothing",
      { finish_reason: "stop", message: { role: "assistant", content: "" } },
      "The model answered with neither text nor a tool call. A retry may help: run the command again.",
    ],
  ])("that %s is not reported as a wrong URL", async (_, choice, line) => {
    const { base } = newShop()
    const url = await serve((_body, response) => {
      response.setHeader("content-type", "application/json").end(JSON.stringify({ choices: [{ index: 0, ...choice }] }))
    })
    expect(await runAgainst(url, base)).toMatchObject({ exitCode: 1, stderr: `turn-machine: ${line}\n` })
  })

  it("whose context is too small for the task stops with advice", async () => {
    const { base } = newShop()
    const error = { message: "This model's maximum context length is 10 tokens.", code: "context_length_exceeded" }
    const url = await serve((_body, response) => void response.writeHead(400).end(JSON.stringify({ error })))
    expect((await runAgainst(url, base)).stderr).toMatch(
      / failed\. .+maximum context length.+ Ask for less in one task, or use a model with a larger context\.\n$/,
    )
  })

  it("that cannot be reached or does not answer in time stops the turn with advice", async () => {
    const { base } = newShop()
    const refused = await runAgainst("http://127.0.0.1:1/v1", base)
    expect(refused.exitCode).toBe(1)
    expect(refused.stderr).toMatch(/^turn-machine: The model call to http:\/\/127\.0\.0\.1:1\/v1 failed\. .*could not be reached.+\n$/)

    const url = await serve(() => {})
    const silent = await runAgainst(url, base, "--timeout-ms", "50", "--json")
    expect(silent.exitCode).toBe(1)
    expect(silent.stderr).toMatch(
      /did not complete its answer within 0\.05 seconds\. Raise --timeout-ms or check the URL, then run the command again\.\n$/,
    )
    expect(linesOf(silent.stdout).at(-1)).toMatchObject({
      type: "run_ended",
      outcome: { type: "stopped", stop: { type: "provider_error" } },
      exitCode: 1,
    })
  })

  it("may fail at times: failed calls are retried and reported", async () => {
    const { base } = newShop()
    let calls = 0
    const url = await serve((body, response) => {
      calls += 1
      if (calls === 1) response.writeHead(503, { "retry-after": "0" }).end()
      else response.setHeader("content-type", "application/json").end(JSON.stringify(scripted(body)))
    })
    const ran = await runCli(["run", "--dir", "shop", "--base-url", url, "--model", "tiny"], { cwd: base })
    expect(ran.exitCode).toBe(0)
    expect(ran.stdout).toMatch(/ {3}The model call failed: .+\n {3}Attempt 2 of 3 in \d+ ms\.\n/)
  })

  it("cannot read or write files outside of the folders, and gets an error for each call", async () => {
    const { base } = newShop()
    fill(base, { "secret.txt": "SECRET" })
    const results: string[] = []
    const url = await serve((body, response) => {
      const { messages } = JSON.parse(body) as { messages: readonly { role: string; content: string }[] }
      results.push(...messages.filter((message) => message.role === "tool").map((message) => message.content))
      const message =
        results.length > 0
          ? { content: "I cannot." }
          : {
              content: null,
              tool_calls: [
                { id: "a", type: "function", function: { name: "read_file", arguments: '{"path":"../secret.txt"}' } },
                { id: "b", type: "function", function: { name: "write_file", arguments: '{"path":"../shop/notes.txt","content":"gone"}' } },
                { id: "c", type: "function", function: { name: "delete_all", arguments: "{}" } },
              ],
            }
      response
        .setHeader("content-type", "application/json")
        .end(JSON.stringify({ choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", ...message } }] }))
    })
    const ran = await runAgainst(url, base)
    expect(ran.exitCode).toBe(0)
    expect(results).toEqual([
      '[Tool execution failed]\n"../secret.txt" is outside the folder. Give a path inside it, relative to it, without "..".',
      '[Tool execution failed]\n"../shop/notes.txt" is not a path inside the output folder. Give a path relative to it, without "..".',
      '[Tool execution failed]\nThere is no tool "delete_all". The tools are: list_files, read_file, search_text, write_file. Nothing was run.',
    ])
    expect(readFileSync(join(base, "shop/notes.txt"), "utf8")).toBe("Nothing to do here.\n")
    expect(ran.stdout).toContain("✗ read_file ../secret.txt")
  })
})
