import { readFileSync } from "node:fs"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { RunScreen } from "../../src/cli/run/run-screen.ts"
import { Screen } from "../../src/cli/terminal/screen.ts"
import type { TurnEvent } from "../../src/wire/event.ts"
import { newShop, runCli } from "./harness.ts"

const ESCAPE = "\u001b"

describe("--quiet", () => {
  test("writes only the answer of a run, and where it ended otherwise, why, on standard error", async () => {
    const { base } = newShop()
    const loud = await runCli(["run", "--dir", "shop", "--out", "a"], { cwd: base })
    const quiet = await runCli(["run", "--dir", "shop", "--out", "b", "--quiet"], { cwd: base, isTTY: true })
    expect({ exitCode: quiet.exitCode, stderr: quiet.stderr }).toEqual({ exitCode: 0, stderr: "" })
    expect(quiet.stdout).toMatch(/^I found 5 comments [^\n]* The report is in todo-report\.md\.\n$/)
    expect(loud.stdout.length).toBeGreaterThan(5 * quiet.stdout.length)

    const stopped = await runCli(["run", "--dir", "shop", "--out", "c", "-q", "--max-iterations", "1"], { cwd: base })
    expect(stopped).toMatchObject({ exitCode: 1, stdout: "", stderr: expect.stringContaining("--max-iterations") })
  })

  test("says on standard error how to resume a run that was stopped, and what waits for a decision", async () => {
    const { base } = newShop()
    const onOutput = (_stdout: string, interrupt: () => void): void => interrupt()
    const args = ["run", "--dir", "shop", "--edit", "--state", "s.json", "--quiet", 'Replace "TODO" with "LATER"']
    const held = await runCli(args, { cwd: base, onOutput })
    expect(held).toMatchObject({ exitCode: 3, stdout: "" })
    expect(held.stderr).toContain("turn-machine decide s.json")
    expect(held.stderr).toContain("turn-machine resume s.json")
  })

  test("writes only how a goal ended", async () => {
    const { base } = newShop()
    const ended = await runCli(["goal", "--dir", "shop", "--quiet"], { cwd: base, isTTY: true, columns: 60, env: { NO_COLOR: "1" } })
    expect(ended).toMatchObject({ exitCode: 0, stderr: "" })
    const fields = ended.stdout.split("\n").flatMap((line) => (/^\S/.test(line) ? [line.split(" ")[0]] : []))
    expect(fields).toEqual(["status", "work", "used", "written"])
    expect(ended.stdout).toMatch(/^\s*status +complete$/m)
  })
})

test("--plain writes lines that are never written over, without colours, also to a terminal", async () => {
  const { base } = newShop()
  const env = { FORCE_COLOR: "1", TERM: "xterm" }
  const coloured = await runCli(["run", "--dir", "shop", "--out", "a"], { cwd: base, isTTY: true, env })
  expect(coloured.stdout).toContain(ESCAPE)
  for (const args of [
    ["run", "--dir", "shop", "--out", "b", "--plain"],
    ["goal", "--dir", "shop", "--out", "c", "--plain"],
    ["goal", "watch", "--plain"],
  ]) {
    const { stdout, exitCode } = await runCli(args, { cwd: base, isTTY: true, columns: 40, env })
    expect(exitCode).toBe(0)
    expect(stdout.length).toBeGreaterThan(100)
    expect(stdout).not.toContain(ESCAPE)
    expect(stdout).not.toContain("\r")
  }
})

test.each([
  [["run", "--json", "--quiet"], "--json and --quiet"],
  [["run", "--plain", "-q"], "--plain and --quiet"],
  [["goal", "--json", "--plain"], "--json and --plain"],
])("%j is refused, because only one form of the output can be had", async (args, named) => {
  const { base } = newShop()
  expect(await runCli([...args, "--dir", "shop"], { cwd: base })).toMatchObject({ exitCode: 2, stdout: "", stderr: expect.stringContaining(named) })
})

describe("while something takes long", () => {
  let shown = ""
  const start = (callId: string, name: string): TurnEvent => ({ type: "tool_call_start", callId, name, args: {} })
  const end = (callId: string, name: string): TurnEvent => ({
    type: "tool_call",
    callId,
    name,
    args: {},
    output: { status: "success", value: null },
    durationMs: 1,
  })
  const screenOf = (isTTY: boolean, columns = 60): RunScreen =>
    new RunScreen({ stdout: { isTTY, columns, write: (text) => (shown += text) }, env: { TERM: "xterm" }, cwd: "/" })
  /** What was written since the last look, without escape sequences. */
  const looked = (): string => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is removed
    const text = shown.replaceAll(/\u001b(?:[78]|\[[0-9;]*[A-Za-z])/g, "")
    shown = ""
    return text
  }

  beforeEach(() => {
    shown = ""
    vi.useFakeTimers({ now: 0 })
  })
  afterEach(() => void vi.useRealTimers())

  test("the status line says for how long, and how far it has come", () => {
    const screen = screenOf(true)
    screen.event(start("c1", "import"))
    expect(looked()).toBe("   running import …")
    vi.advanceTimersByTime(4_200)
    expect(looked()).toMatch(/ {3}running import … 4 s$/)
    screen.event({ type: "tool_progress", callId: "c1", name: "import", message: "copying", progress: 3, total: 10 })
    expect(looked()).toMatch(/ {3}running import … 4 s · 3 of 10, copying$/)
    screen.event(end("c1", "import"))
    looked()
    vi.advanceTimersByTime(60_000)
    expect(looked()).toBe("")
  })

  test("a flood of progress is shown with the next tick", () => {
    const screen = screenOf(true)
    screen.event(start("c1", "import"))
    vi.advanceTimersByTime(200)
    looked()
    for (let progress = 0; progress < 10_000; progress += 1) screen.event({ type: "tool_progress", callId: "c1", name: "import", progress })
    expect(looked()).toBe("   running import … · 0")
    vi.advanceTimersByTime(1_000)
    expect(looked()).toMatch(/· 9999$/)
  })

  test("the calls of a batch that still run are named when another ends, with the time of the oldest", () => {
    const screen = screenOf(true)
    screen.event(start("c1", "import"))
    vi.advanceTimersByTime(5_000)
    screen.event(start("c2", "export"))
    expect(looked()).toMatch(/running 2 calls: import, export … 5 s$/)
    screen.event(end("c2", "export"))
    expect(looked()).toMatch(/running import … 5 s$/)
  })

  test("a log gets a line after half a minute, then after twice as long, and so on", () => {
    const screen = screenOf(false)
    screen.event(start("c1", "import"))
    vi.advanceTimersByTime(29_000)
    expect(looked()).toBe("")
    vi.advanceTimersByTime(3_600_000 - 29_000)
    const lines = looked().trimEnd().split("\n")
    expect(lines.slice(0, 3)).toEqual(["   still running import, 30 s", "   still running import, 1 min 30 s", "   still running import, 3 min 30 s"])
    expect(lines.length).toBeLessThan(12)
    screen.event(end("c1", "import"))
    looked()
    vi.advanceTimersByTime(3_600_000)
    expect(looked()).toBe("")
  })

  test.each([20, 40, 80, 120])("no status is wider than a terminal of %i columns", (columns) => {
    const screen = new Screen({ stdout: { isTTY: true, columns, write: (text) => (shown += text) }, env: { TERM: "xterm" }, cwd: "/" })
    screen.wait(`running ${"数据".repeat(50)}`)
    screen.detail("👩‍💻".repeat(40))
    vi.advanceTimersByTime(10_000)
    for (const line of shown.split(`${ESCAPE}7`).slice(1)) {
      shown = line
      const [text = ""] = looked().split(`${ESCAPE}8`)
      // Each of these characters takes two columns at most.
      const wide = [...text].filter((character) => (character.codePointAt(0) ?? 0) > 0x2e80).length
      expect([...text].length + wide).toBeLessThanOrEqual(columns + 80 * Number(columns < 20))
    }
    screen.endText()
  })
})

describe("a tool call on a terminal", () => {
  const failed = (columns: () => number): { readonly shown: () => string; readonly fail: () => void } => {
    let shown = ""
    const stdout = {
      isTTY: true,
      get columns() {
        return columns()
      },
      write: (text: string) => (shown += text),
    }
    const screen = new RunScreen({ stdout, env: { NO_COLOR: "1" }, cwd: "/" })
    const failure = {
      class: "invalid_request",
      code: "no",
      message: "The file reports/2026.md does not exist.",
      source: "tool",
      retry: { type: "never" },
    } as const
    const fail = (): void =>
      screen.event({
        type: "tool_call",
        callId: "c",
        name: "read_file",
        args: { path: "reports/2026.md" },
        output: { status: "failure", failure },
        durationMs: 7,
      })
    return { shown: () => shown, fail }
  }

  test("that failed says why in full, however narrow it is", () => {
    const { shown, fail } = failed(() => 30)
    fail()
    expect(shown().replace(/\d+ B/, "… B")).toBe(
      "   ✗ read_file reports/2026.md\n     The file reports/2026.md\n     does not exist.\n     … B, 7 ms\n",
    )
  })

  test("has the width that the terminal has then", () => {
    let columns = 30
    const { shown, fail } = failed(() => columns)
    fail()
    const narrow = shown().trimEnd().split("\n").length
    columns = 120
    fail()
    expect([narrow, shown().trimEnd().split("\n").length]).toEqual([4, 5])
  })
})

test("the help names every form of the output", () => {
  for (const file of ["run", "goal"]) {
    const help = readFileSync(join(import.meta.dirname, `../../src/cli/${file}/help.ts`), "utf8")
    for (const flag of ["--json", "--quiet, -q", "--plain"]) expect(help).toContain(`  ${flag} `)
  }
})
