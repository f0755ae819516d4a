import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { lockHolder } from "../../src/hosts/node/file-lock.ts"
import { fill, newFolder, newShop, type Ran, runCli, serve } from "./harness.ts"

interface Line {
  readonly type: string
  readonly [key: string]: unknown
}

function linesOf(stdout: string): readonly Line[] {
  expect(stdout.endsWith("\n")).toBe(true)
  const lines = stdout.slice(0, -1).split("\n")
  return lines.map((line) => JSON.parse(line) as Line)
}

/** Runs `turn-machine goal` on the sample folder. */
function goal(base: string, ...args: readonly string[]): Promise<Ran> {
  return runCli(["goal", ...args], { cwd: base })
}

const ON_SHOP = ["--dir", "shop"]

describe("turn-machine goal", () => {
  it("completes the default objective, one part in each turn, and shows its progress", async () => {
    const { base } = newShop()
    const ran = await goal(base, ...ON_SHOP)
    expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
    expect(readdirSync(join(base, "turn-machine-out/survey")).sort()).toEqual(["data.md", "overview.md", "src.md", "top.md"])
    expect(readFileSync(join(base, "turn-machine-out/survey/overview.md"), "utf8")).toBe(`# Survey of shop

6 files, 613 B, in 3 parts.

| Part | Files | Size | Section |
|---|---:|---:|---|
| the top | 2 | 116 B | \`top.md\` |
| data | 1 | 23 B | \`data.md\` |
| src | 3 | 474 B | \`src.md\` |
`)
    expect(ran.stdout).toContain(`folder   ${base}/shop\ngoal     Survey this folder part by part`)
    expect(ran.stdout.match(/^Turn \d/gm)).toEqual(["Turn 1", "Turn 2", "Turn 3", "Turn 4"])
    expect(ran.stdout).toMatch(
      /\nstatus {3}complete\nwork {5}4 turns, 4 continuations\nused {5}[\d,]+ tokens, [\w ]+ \(tokens estimated\)\nwritten {2}turn-machine-out\/survey\/top.md\n/,
    )
  })

  it("skips its own folders when it works in the current folder", async () => {
    const { shop } = newShop()
    expect((await goal(shop)).exitCode).toBe(0)
    expect(readdirSync(join(shop, "turn-machine-out/survey")).sort()).toEqual(["data.md", "overview.md", "src.md", "top.md"])
    expect(readFileSync(join(shop, "turn-machine-out/survey/overview.md"), "utf8")).toContain("6 files, 613 B, in 3 parts.")
  })

  it("skips the journals of runs in the folder", async () => {
    const { shop } = newShop()
    expect((await runCli(["run", "--state", "run.json"], { cwd: shop })).exitCode).toBe(0)
    expect((await runCli(["journal", "fork", "run.json", "--at", "5", "--out", "data/other.json"], { cwd: shop })).exitCode).toBe(0)
    fill(shop, {
      "data/torn.json": readFileSync(join(shop, "run.json")).subarray(0, 60),
      "data/short.json": readFileSync(join(shop, "run.json")).subarray(0, 59),
    })
    expect((await goal(shop)).exitCode).toBe(0)
    expect(readFileSync(join(shop, "turn-machine-out/survey/overview.md"), "utf8")).toContain("7 files, 672 B, in 3 parts.")
  })

  it("surveys a folder with one part", async () => {
    const base = newFolder()
    fill(base, { "src/cart.js": "// TODO: say what a cart is\n" })
    const ran = await goal(base)
    expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
    expect(ran.stdout).toContain("The folder has only one part. In this turn I cover src: 1 file.")
    expect(ran.stdout).toContain("The section is written: src, 1 file, 28 B, 1 line found.")
    expect(ran.stdout).toContain("The only section is written. I write the overview.")
    expect(ran.stdout).toContain("The survey is complete: 1 section and an overview.")
  })

  it("refuses a second goal while one is open, and reports on resume that a goal is complete", async () => {
    const { base } = newShop()
    await goal(base, ...ON_SHOP, "--max-continuations", "1")
    const again = await goal(base, ...ON_SHOP, "Something else.")
    expect(again).toMatchObject({ exitCode: 2, stdout: "" })
    expect(again.stderr).toContain(
      "already has a goal (paused). Resume it with goal resume, change it with goal edit or remove it with goal clear, or pass another folder with --state.",
    )
    await goal(base, "clear")
    await goal(base, ...ON_SHOP)
    const log = readFileSync(join(base, "turn-machine-goal/goal-2.thread"), "utf8")
    expect(await goal(base, "resume")).toMatchObject({ exitCode: 0, stdout: "The goal is complete.\n" })
    expect(readFileSync(join(base, "turn-machine-goal/goal-2.thread"), "utf8")).toBe(log)
  })

  it("stops cleanly at a small budget, and continues with a larger one", async () => {
    const { base } = newShop()
    const short = await goal(base, ...ON_SHOP, "--budget-tokens", "2700")
    expect(short).toMatchObject({ exitCode: 1, stderr: "" })
    expect(short.stdout).toContain(
      "The budget is used up, so I stop here.\n   Written so far: the top → survey/top.md.\n   Left: data; src; the overview.",
    )
    expect(short.stdout).toMatch(/\nstatus {3}budget limited\nwhy {6}Stopped: the token budget is used up \(tokens: \d+ of 2700(?:, \d+ over)?\)\./)
    expect(short.stdout.endsWith("Extend the budget with: turn-machine goal resume --add-tokens N\n")).toBe(true)

    const still = await goal(base, "resume")
    expect(still.exitCode).toBe(1)
    expect(still.stdout).not.toContain("Turn 3")
    const more = await goal(base, "resume", "--add-tokens", "20000")
    expect(more).toMatchObject({ exitCode: 0, stderr: "" })
    expect(more.stdout).toContain("\nstatus   complete\n")
    expect(existsSync(join(base, "turn-machine-out/survey/overview.md"))).toBe(true)
  })

  it("stops at a cost budget and at the limit of continuations, and shows the reason", async () => {
    const { base } = newShop()
    const costly = await goal(base, ...ON_SHOP, "--state", "costly", "--budget-cost", "0.002", "--price", "1,2")
    expect(costly.exitCode).toBe(1)
    expect(costly.stdout).toMatch(/why {6}Stopped: the cost budget is used up \(cost in micro-units: \d+ of 2000(?:, \d+ over)?\)/)
    expect(costly.stdout).toContain("turn-machine goal resume --add-cost 0.50 --state costly\n")
    const capped = await goal(base, ...ON_SHOP, "--state", "capped", "--out", "o2", "--max-continuations", "2")
    expect(capped.exitCode).toBe(1)
    expect(capped.stdout).toContain(
      "\nstatus   paused\nwhy      Paused: 2 continuations have run, which is the limit. Resume to allow as many again.\n",
    )
    expect((await goal(base, "resume", "--state", "capped")).exitCode).toBe(0)
  })

  it("reports its progress as JSON lines", async () => {
    const { base } = newShop()
    const ran = await goal(base, ...ON_SHOP, "--json", "--budget-tokens", "50000")
    const lines = linesOf(ran.stdout)
    expect(lines[0]).toMatchObject({
      type: "goal_started",
      dir: `${base}/shop`,
      judge: "none",
      resumed: false,
      goal: { status: "active", tokenBudget: 50000 },
    })
    expect(lines.filter(({ type }) => type === "turn_started").map(({ turnId, origin }) => `${turnId} ${origin}`)).toEqual(
      [1, 2, 3, 4].map((number) => `goal.${number} continuation`),
    )
    expect(lines.filter(({ type }) => type === "turn_outcome")).toHaveLength(4)
    expect(lines.filter(({ type, name }) => type === "metric" && name === "goal.completed")).toHaveLength(1)
    expect(lines.findLast(({ type }) => type === "goal_updated")).toMatchObject({ goal: { status: "complete" }, cause: "update_goal" })
    expect(lines.at(-1)).toMatchObject({ type: "goal_ended", status: "complete", exitCode: 0, turns: 4 })
    expect(lines.at(-1)?.["files"]).toEqual(["survey/top.md", "survey/data.md", "survey/src.md", "survey/overview.md"])
  })

  it("stops on Ctrl-C in mid-turn, releases its files, and resumes that turn", async () => {
    const { base } = newShop()
    let pressed = false
    const stopped = await runCli(["goal", ...ON_SHOP], {
      cwd: base,
      onOutput(stdout, interrupt) {
        if (pressed || !stdout.includes("In this turn I cover data")) return
        pressed = true
        interrupt()
      },
    })
    expect(stopped).toMatchObject({ exitCode: 1, stderr: "" })
    expect(stopped.stdout).toContain("\nstatus   stopped, can be resumed\n")
    expect(stopped.stdout.endsWith("Resume with: turn-machine goal resume\n")).toBe(true)
    expect(await lockHolder(join(base, "turn-machine-goal/goal.thread"))).toBeUndefined()
    expect(await lockHolder(join(base, "turn-machine-goal/goal.2"))).toBeUndefined()
    expect((await goal(base, "status")).stdout).toContain("; turn 2 is open\nrun by   no process\n")

    const resumed = await goal(base, "resume")
    expect(resumed).toMatchObject({ exitCode: 0, stderr: "" })
    expect(resumed.stdout).toContain("\nTurn 2 (resumed)")
    expect(resumed.stdout).toContain("work     4 turns, 4 continuations")
  })

  it("waits after a transient failure, and can be stopped while it waits", async () => {
    const base = fill(newFolder(), { "dir/a.txt": "a" })
    const url = await serve((_body, response) => void response.writeHead(503).end("busy"))
    let pressed = false
    const ran = await runCli(["goal", "--dir", "dir", "--base-url", url, "--model", "tiny", "--retries", "0", "Do it."], {
      cwd: base,
      onOutput(stdout, interrupt) {
        if (pressed || !stdout.includes("The next turn starts at")) return
        pressed = true
        interrupt()
      },
    })
    expect(ran).toMatchObject({ exitCode: 1, stderr: "" })
    expect(ran.stdout).toContain("   LLM error: The endpoint answered 503: busy.\nwait     The next turn starts at")
    expect(ran.stdout).toContain("work     1 turn, 1 continuation\n")
    expect((await goal(base, "status")).stdout).toContain("\nstatus   active\n")
  })

  it.each([
    [["--budget-tokens", "0"], '--budget-tokens takes a whole number from 1 to 1000000000000, not "0".'],
    [["--budget-time", "10"], '--budget-time takes a duration with a unit, such as 90s, 10m or 1h30m, not "10".'],
    [
      ["--budget-cost", "1"],
      "--budget-cost needs the prices of the model: --price input,output[,cached[,written]], in US dollars per million tokens.",
    ],
    [
      ["--price", "1"],
      '--price takes the prices of a million tokens in US dollars, as input,output, input,output,cached or input,output,cached,written, such as 1.25,10,0.125, not "1".',
    ],
    [["--judge", "me"], '--judge takes checklist, freeform or none, not "me".'],
    [["--state", "none/x"], "/none/x cannot be used: it does not exist. Create it, or pass another path with --state."],
    [["  "], "The objective is empty. Describe what to achieve, or omit it for the default."],
  ])("refuses %j before it creates files", async (args, message) => {
    const { base } = newShop()
    const ran = await goal(base, ...ON_SHOP, ...args)
    expect(ran).toMatchObject({ exitCode: 2, stdout: "" })
    expect(ran.stderr).toContain(message)
    expect(readdirSync(base)).toEqual(["shop"])
  })

  it("does not change a folder whose log is damaged or of another program", async () => {
    const { base } = newShop()
    await goal(base, ...ON_SHOP, "--budget-tokens", "3000")
    const path = join(base, "turn-machine-goal/goal.thread")
    const text = readFileSync(path, "utf8")
    writeFileSync(path, text.replace("Survey this", "survey this"))
    const ran = await goal(base, "resume")
    expect(ran).toMatchObject({ exitCode: 2, stdout: "" })
    expect(ran.stderr).toMatch(/The goal's folder .* cannot be used: record \d+ of the thread's log is damaged/)
    writeFileSync(path, "hello\n")
    expect((await goal(base, "status")).stderr).toContain("cannot be used: record 1 of the thread's log is damaged")
  })
})

describe("a goal that no process runs", () => {
  it("can be shown, paused, edited, resumed, extended and cleared", async () => {
    const { base } = newShop()
    expect(await goal(base, "status")).toMatchObject({ exitCode: 2 })
    await goal(base, ...ON_SHOP, "--budget-tokens", "3000")
    const shown = await goal(base, "status")
    expect(shown.exitCode).toBe(0)
    expect(shown.stdout).toMatch(
      /\nstatus {3}budget limited\nwhy {6}Stopped: .*\nused {5}[\d,]+ of 3,000 tokens, \d+ over, [\w ]+ \(tokens estimated\)\nleft {5}0 tokens\nwork {5}2 turns, 2 continuations\nrun by {3}no process\n/,
    )

    expect(await goal(base, "pause")).toMatchObject({
      exitCode: 1,
      stderr: "turn-machine: Only an active goal can be paused; this one is budget_limited.\n",
    })
    expect(await goal(base, "resume", "--add-time", "5m", "--no-run")).toMatchObject({
      exitCode: 1,
      stderr: "turn-machine: The goal has no time budget, so --add-time has nothing to extend.\n",
    })
    const more = await goal(base, "resume", "--no-run", "--add-tokens", "100000")
    expect(more.stdout).toMatch(/^Resumed\. The budget is 103,(?!000)\d{3} tokens now\.\n$/)
    expect(await goal(base, "pause")).toMatchObject({ exitCode: 0, stdout: "Paused.\n" })
    expect(await goal(base, "edit", "Find", '"qty"')).toMatchObject({ exitCode: 0, stdout: 'The objective is now: Find "qty"\n' })
    expect(linesOf((await goal(base, "status", "--json")).stdout)[0]).toMatchObject({
      type: "goal_status",
      goal: { status: "paused", objective: 'Find "qty"' },
      runner: null,
      requests: 0,
      turns: 2,
    })
    const done = await goal(base, "resume")
    expect(done.exitCode).toBe(0)
    expect(done.stdout).toContain("turn-machine-out/survey-qty/overview.md\n")
    expect(await goal(base, "clear")).toMatchObject({ exitCode: 0, stdout: "Cleared. The folder has no goal now.\n" })
    expect((await goal(base, "status")).stdout).toBe('goal     none\nrun by   no process\nStart one: turn-machine goal "what to achieve"\n')
    for (const command of ["clear", "pause"])
      expect(await goal(base, command)).toMatchObject({ exitCode: 1, stderr: `turn-machine: The folder has no goal to ${command}.\n` })
    expect((await goal(base, ...ON_SHOP, 'Find "cart"')).exitCode).toBe(0)
  })

  it("becomes active when its objective is edited after it was complete", async () => {
    const { base } = newShop()
    await goal(base, ...ON_SHOP, 'Find "cart"')
    expect(await goal(base, "edit", 'Find "qty"')).toMatchObject({ exitCode: 0, stdout: 'The objective is now: Find "qty"\n' })
    expect(linesOf((await goal(base, "status", "--json")).stdout)[0]).toMatchObject({ goal: { status: "active", objective: 'Find "qty"' } })
    const done = await goal(base, "resume")
    expect(done).toMatchObject({ exitCode: 0, stderr: "" })
    expect(done.stdout).toContain("turn-machine-out/survey-qty/overview.md\n")
  })

  it("is not started with an empty objective, and resumes with --resume and the same objective", async () => {
    const { base } = newShop()
    expect(await goal(base, "")).toMatchObject({ exitCode: 2, stderr: expect.stringMatching(/^turn-machine: The objective is empty\./) })
    expect(existsSync(join(base, "turn-machine-goal"))).toBe(false)
    expect((await goal(base, ...ON_SHOP, "--budget-tokens", "1000", "--state", "Find", "Find", '"qty"')).exitCode).toBe(1)
    const still = await goal(base, "--resume", "--state", "Find", "Find", '"qty"')
    expect(still).toMatchObject({ exitCode: 1, stderr: "" })
    expect(still.stdout).toContain("status   budget limited\n")
    const spaced = await goal(base, "--resume", "--state", "Find", ' Find "qty" ')
    expect(spaced).toMatchObject({ exitCode: 1, stderr: "" })
  })
})

/** An endpoint that answers each call with the next of some messages. */
function endpoint(...answers: readonly object[]): Promise<string> {
  let requests = 0
  return serve((_body, response) => {
    const answer = answers[Math.min(requests, answers.length - 1)] ?? {}
    requests += 1
    if ("status" in answer) response.statusCode = 401
    const body =
      "status" in answer
        ? { error: { message: "No such key." } }
        : {
            choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", ...answer } }],
            usage: { prompt_tokens: 100, completion_tokens: 10 },
          }
    response.setHeader("content-type", "application/json").end(JSON.stringify(body))
  })
}

const call = (name: string, args: object): object => ({
  tool_calls: [{ id: "c1", type: "function", function: { name, arguments: JSON.stringify(args) } }],
})

describe("a goal that stops shows the reason", () => {
  it.each([
    [
      "the model calls no tools",
      [{ content: "One." }, { content: "Two." }, { content: "Three." }],
      "paused",
      "Paused: 3 continuations in a row called no tool.",
    ],
    [
      "the model repeats itself",
      [call("list_files", {}), { content: "Hm." }, call("list_files", {}), { content: "Hm." }, call("list_files", {}), { content: "Hm." }],
      "paused",
      "Paused: 3 continuations in a row ended with the same answer.",
    ],
    [
      "the model call fails for good",
      [{ status: 401 }],
      "blocked",
      "Blocked: the turn failed with: The endpoint answered 401: No such key. Resume to try again.",
    ],
    [
      "the model is blocked three turns in a row",
      [
        call("update_goal", { status: "blocked" }),
        { content: "A key is missing." },
        call("update_goal", { status: "blocked" }),
        { content: "It is still missing." },
        call("update_goal", { status: "blocked" }),
        { content: "And still." },
      ],
      "blocked",
      "The goal is blocked",
    ],
  ])("%s", async (_name, answers, status, why) => {
    const base = fill(newFolder(), { "dir/a.txt": "a" })
    const ran = await goal(base, "--dir", "dir", "--base-url", await endpoint(...answers), "--model", "tiny", "Do it.")
    expect(ran).toMatchObject({ exitCode: 1, stderr: "" })
    expect(ran.stdout).toContain(`\nstatus   ${status}\nwhy      ${why}`)
    expect(ran.stdout.endsWith("Resume with: turn-machine goal resume\n")).toBe(true)
  })

  it("each turn has its own limit of model calls", async () => {
    const base = fill(newFolder(), { "dir/a.txt": "a" })
    const url = await endpoint(call("list_files", {}))
    const ran = await goal(base, "--dir", "dir", "--base-url", url, "--model", "tiny", "--max-iterations", "3", "--max-continuations", "2", "Do it.")
    expect(ran.exitCode).toBe(1)
    expect(ran.stdout).toContain("work     2 turns, 2 continuations")
  })
})
