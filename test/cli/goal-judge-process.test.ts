import { existsSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { type ChatBody, startStrictServer } from "../support/strict-server.ts"
import { bundleCli, fill, newFolder, type Ran, runCli, serve, spawnCli, until } from "./harness.ts"

const bundled = await bundleCli()

const isJudge = ({ messages }: ChatBody): boolean => JSON.stringify(messages).includes("Is the goal reached?")
const verdict = (word: string): string => JSON.stringify({ verdict: word, reason: "As the answer says." })
const flags = (url: string): readonly string[] => ["--dir", "dir", "--base-url", url, "--model", "tiny", "--retries", "0"]
const newBase = (): string => fill(newFolder(), { "dir/a.txt": "a" })
const goal = (base: string, ...args: readonly string[]): Promise<Ran> => runCli(["goal", ...args], { cwd: base })
const statusOf = async (base: string): Promise<Record<string, unknown>> =>
  JSON.parse((await goal(base, "status", "--json")).stdout) as Record<string, unknown>

describe("a judged goal, from another terminal", () => {
  it("pauses at once with pause --now during a call of the judge, and judges the turn when it resumes", async () => {
    const base = newBase()
    let judged = 0
    const server = await startStrictServer((body) => {
      if (!isJudge(body)) return "A part is written."
      judged += 1
      return judged === 1 ? { text: verdict("continue"), firstByteMs: 150_000 } : verdict("done")
    })
    const running = spawnCli(bundled, ["goal", ...flags(server.url), "--judge", "freeform", "Look around."], { cwd: base })
    await until(() => judged === 1)
    const since = Date.now()
    expect(await spawnCli(bundled, ["goal", "pause", "--now"], { cwd: base })).toMatchObject({ exitCode: 0, stdout: "Paused.\n" })
    expect(await running).toMatchObject({ exitCode: 1, stderr: "" })
    expect(Date.now() - since).toBeLessThan(120_000)
    expect(await statusOf(base)).toMatchObject({ goal: { status: "paused" }, turns: 1 })
    expect(await spawnCli(bundled, ["goal", "resume"], { cwd: base })).toMatchObject({ exitCode: 0 })
    expect(await statusOf(base)).toMatchObject({ goal: { status: "complete" }, turns: 1 })
    expect(judged).toBe(2)
    await server.close()
  })
})

describe("a goal that waits for an event", () => {
  it("is shown as waiting, also to watchers, and continues after goal resume from another terminal", async () => {
    const base = newBase()
    let judged = 0
    const server = await startStrictServer((body) => {
      if (!isJudge(body)) return "A part is written."
      judged += 1
      return judged === 1 ? JSON.stringify({ verdict: "wait", wait_for: "build done", reason: "A build runs." }) : verdict("done")
    })
    const running = spawnCli(bundled, ["goal", ...flags(server.url), "--judge", "freeform", "Look around."], { cwd: base })
    let shown = ""
    running.child.stdout?.on("data", (data: Buffer) => (shown += data.toString()))
    await until(() => shown.includes("wait     "))
    const watching = spawnCli(bundled, ["goal", "watch"], { cwd: base })
    let watched = ""
    watching.child.stdout?.on("data", (data: Buffer) => (watched += data.toString()))
    await until(() => watched.includes("wait     The next turn starts when build done happens, or after goal say or goal resume."))
    expect(await goal(base, "resume")).toMatchObject({ exitCode: 0, stdout: "Resumed.\n" })
    expect((await running).exitCode).toBe(0)
    expect((await watching).exitCode).toBe(0)
    await server.close()
  })
})

describe("goal edit", () => {
  it("replaces the contract, removes it, and needs one of the two", async () => {
    const base = fill(newBase(), { "contract.txt": "outcome: all parts\nstop when: never" })
    expect(await goal(base, "--dir", "dir", "--max-continuations", "1", "Look around.")).toMatchObject({ exitCode: 1 })
    expect(await goal(base, "edit", "--contract", "contract.txt")).toMatchObject({ exitCode: 0, stdout: "The contract is replaced.\n" })
    expect(await statusOf(base)).toMatchObject({ goal: { objective: "Look around.", contract: { outcome: "all parts", stopWhen: "never" } } })
    expect(await goal(base, "edit", "--contract", "none", "Look again.")).toMatchObject({
      exitCode: 0,
      stdout: "The objective is now: Look again. The goal has no contract now.\n",
    })
    expect((await statusOf(base))["goal"]).not.toHaveProperty("contract")
    expect(await goal(base, "edit")).toMatchObject({ exitCode: 2 })
    expect((await goal(base, "edit", "x", "--check", "true")).stderr).toContain("goal resume --check")
  })

  it("does not bring a cleared goal back", async () => {
    const base = newBase()
    expect(await goal(base, "--dir", "dir", "--max-continuations", "1", "--judge", "checklist", "Look around.")).toMatchObject({ exitCode: 1 })
    expect(await goal(base, "clear")).toMatchObject({ exitCode: 0 })
    expect(await goal(base, "edit", "Another one.")).toMatchObject({ exitCode: 1, stderr: "turn-machine: The folder has no goal to edit.\n" })
    const { stdout } = await goal(base, "status")
    expect(stdout).toContain("none")
    expect(stdout).not.toContain("items settled")
  })
})

describe("an endpoint that accepts no temperature", () => {
  it("judges without one", async () => {
    const base = newBase()
    const temperatures: unknown[] = []
    const url = await serve((text, response) => {
      const body = JSON.parse(text) as ChatBody
      if (isJudge(body)) temperatures.push(body.temperature)
      response.setHeader("content-type", "application/json")
      if (body.temperature !== undefined) {
        const message = "Unsupported value: 'temperature' does not support 0 with this model."
        response.writeHead(400).end(JSON.stringify({ error: { message, code: "unsupported_value" } }))
        return
      }
      const content = isJudge(body) ? verdict(temperatures.length < 3 ? "continue" : "done") : `Part ${temperatures.length}.`
      const choices = [{ index: 0, finish_reason: "stop", message: { role: "assistant", content } }]
      response.end(JSON.stringify({ choices, usage: { prompt_tokens: 100, completion_tokens: 10 } }))
    })
    const { exitCode, stdout } = await goal(base, ...flags(url), "--judge", "freeform", "Look around.")
    expect(stdout).not.toContain("failed")
    expect(exitCode).toBe(0)
    expect(temperatures).toEqual([0, undefined, undefined])
  })
})

describe("what a goal prints", () => {
  it("names the flag that extends a hard budget with tokens left, and does not print zeros where nothing is reported", async () => {
    const base = newBase()
    const server = await startStrictServer(() => "A part is written.", { noUsage: true })
    const hard = await goal(base, ...flags(server.url), "--hard", "--budget-tokens", "1000", "Look around.")
    expect(hard.stdout).toContain("Extend the budget with: turn-machine goal resume --add-tokens N")
    const { stdout } = await goal(base, "resume", "--add-tokens", "9000")
    expect(stdout).toContain("tokens not reported")
    expect(stdout).not.toContain("0 in, 0 cached")
    await server.close()
  })

  it("shows in each turn of a watched goal what was used before it", async () => {
    const base = newBase()
    let release: () => void = () => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    const server = await startStrictServer(async (_body, number) => {
      if (number === 1) await held
      return `Part ${number} is written.`
    })
    const running = spawnCli(bundled, ["goal", ...flags(server.url), "--max-continuations", "2", "Look around."], { cwd: base })
    await until(() => existsSync(join(base, "turn-machine-goal/goal.1")))
    const watching = spawnCli(bundled, ["goal", "watch"], { cwd: base })
    await new Promise((resolve) => setTimeout(resolve, 2_000))
    release()
    const headers = (text: string): readonly string[] => text.split("\n").filter((line) => line.startsWith("Turn 2"))
    const shown = headers((await watching).stdout)
    expect(shown).toHaveLength(1)
    expect(shown).toEqual(headers((await running).stdout))
    await server.close()
  })

  it.each([40, 60, 80, 120])("fits into %i columns", async (columns) => {
    const base = newBase()
    const NO_COLOUR = { NO_COLOR: "1" }
    const tty = (...args: readonly string[]): Promise<Ran> => runCli(args, { cwd: base, isTTY: true, columns, env: NO_COLOUR })
    const objective = "Survey the docs and all the other parts, with a long objective that needs several lines."
    const ran = await tty("goal", "--dir", "dir", "--judge", "checklist", "--budget-tokens", "90000", "--max-continuations", "2", objective)
    const shown = [ran, await tty("goal", "status"), await tty("subgoal", "list")].map(({ stdout }) => stdout).join("")
    // Commands and paths stay on one line, to be copied.
    const lines = shown.split("\n").filter((line) => !/^Resume with: |turn-machine-out/.test(line))
    expect(lines.filter((line) => line.length > columns)).toEqual([])
  })

  it("does not call a goal resumed that is only watched, and marks estimates in the status", async () => {
    const base = newBase()
    await goal(base, "--dir", "dir", "Look around.")
    expect((await goal(base, "watch")).stdout).not.toContain("(resumed)")
    expect((await goal(base, "status")).stdout).toContain("(tokens estimated)")
  })
})

describe("a goal with checks", () => {
  it.each([
    ["npm test | cat", "a pipe"],
    ["ls 'a", "a quote that is not closed"],
    ["X=1 make", "an assignment"],
  ])("is refused at its start with the command %s", async (command, what) => {
    const base = newBase()
    const { exitCode, stderr } = await goal(base, "--dir", "dir", "--check", command, "Look around.")
    expect(exitCode).toBe(2)
    expect(stderr).toContain(what)
    expect(stderr).toContain("sh -c")
    expect(existsSync(join(base, "turn-machine-goal"))).toBe(false)
  })

  it("shows them as passed when it is complete", async () => {
    const base = newBase()
    expect(await goal(base, "--dir", "dir", "--check", "true", "Look around.")).toMatchObject({ exitCode: 0 })
    expect((await goal(base, "status")).stdout).toContain("true: passed")
  })

  it.skipIf(process.platform === "win32")("reads a contract without an end only up to its limit", async () => {
    const { exitCode, stderr } = await goal(newBase(), "--contract", "/dev/zero", "Look around.")
    expect({ exitCode, stderr }).toEqual({
      exitCode: 2,
      stderr: "turn-machine: The contract cannot be used: it has more than 4000 characters.\n",
    })
  })

  it("that another user left complete does not ask the next goal for its checks", async () => {
    const base = newBase()
    const env = { XDG_STATE_HOME: newFolder() }
    await runCli(["goal", "--dir", "dir", "--check", "true", "Look around."], { cwd: base })
    const { exitCode, stderr } = await runCli(["goal", "Another one."], { cwd: base, env })
    expect(exitCode).toBe(2)
    expect(stderr).toContain("To start a new goal in it, give them again: --dir and --out.")
    expect(stderr).not.toContain("runs")
  })
})

describe("a damaged state of a judge", () => {
  it("is named with the file to remove", async () => {
    const base = newBase()
    await goal(base, "--dir", "dir", "--judge", "freeform", "--max-continuations", "2", "Look around.")
    writeFileSync(join(base, "turn-machine-goal/goal.judge"), "garbage")
    for (const command of ["status", "resume", "pause", "clear"]) {
      const { exitCode, stderr } = await goal(base, command)
      expect(exitCode).toBe(2)
      expect(stderr).toContain(`To let the judge begin anew, remove ${join(base, "turn-machine-goal/goal.judge")}.`)
    }
    rmSync(join(base, "turn-machine-goal/goal.judge"))
    expect(await goal(base, "clear")).toMatchObject({ exitCode: 0 })
  })
})
