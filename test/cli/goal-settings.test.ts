import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { parseContract } from "../../src/cli/goal/contract.ts"
import { fill, newFolder, newShop, type Ran, runCli, serve } from "./harness.ts"

const goal = (base: string, ...args: readonly string[]): Promise<Ran> => runCli(["goal", ...args], { cwd: base })
const ON_SHOP = ["--dir", "shop"] as const

/** An endpoint that answers every call with a text, and lists the bodies and keys of its requests. */
async function talker(usage: object | undefined = { prompt_tokens: 100, completion_tokens: 10 }): Promise<{
  readonly url: string
  readonly bodies: { readonly model: string; readonly temperature?: number; readonly messages: readonly unknown[] }[]
  readonly keys: (string | undefined)[]
}> {
  const bodies: { model: string; messages: readonly unknown[] }[] = []
  const keys: (string | undefined)[] = []
  const url = await serve((body, response, request) => {
    bodies.push(JSON.parse(body) as (typeof bodies)[number])
    keys.push(request.headers.authorization)
    const content = `Answer ${bodies.length}.`
    response
      .setHeader("content-type", "application/json")
      .end(JSON.stringify({ choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content } }], usage }))
  })
  return { url, bodies, keys }
}

describe("the commands of turn-machine goal", () => {
  it("are found after flags, and begin no goal", async () => {
    const { base } = newShop()
    await goal(base, ...ON_SHOP, "--state", "st", "--max-continuations", "1")
    const shown = await goal(base, "--state", "st", "status")
    expect(shown).toMatchObject({ exitCode: 0, stderr: "" })
    expect(shown.stdout).toContain("\nstatus   paused\n")
    expect(readdirSync(base).sort()).toEqual(["shop", "st", "turn-machine-out"])
  })

  it.each([
    ["stauts", "status"],
    ["resum", "resume"],
    ["Paus", "pause"],
    ["wacth", "watch"],
  ])("are suggested for %s, which begins no goal", async (word, meant) => {
    const { base } = newShop()
    expect(await goal(base, word)).toMatchObject({
      exitCode: 2,
      stdout: "",
      stderr: `turn-machine: Unknown command goal ${word}. Did you mean ${meant}? If it is an objective: turn-machine goal -- ${word}\n`,
    })
    expect(readdirSync(base)).toEqual(["shop"])
  })

  it("are not looked for after -- or among more words", async () => {
    const { base } = newShop()
    expect((await goal(base, ...ON_SHOP, "--state", "s1", "--max-continuations", "1", "--", "stauts")).stdout).toContain("\ngoal     stauts\n")
    const words = await goal(base, ...ON_SHOP, "--state", "s2", "--max-continuations", "1", "stauts", "report")
    expect(words.stdout).toContain("\ngoal     stauts report\n")
    expect((await goal(base, "clear", "the", "desk")).stderr).toContain("goal clear takes no words. If they are an objective: turn-machine goal --")
  })

  it.each([
    [["status", "--add-tokens", "5"], "--add-tokens is a flag of goal resume, not of goal status. See: turn-machine goal status --help"],
    [["--now", "Do it."], "--now is a flag of goal pause, not of goal. See: turn-machine goal --help"],
    [["pause", "--dir", "x"], "--dir is a flag of goal and goal resume, not of goal pause. See: turn-machine goal pause --help"],
    [["pause", "--nwo"], "Unknown flag --nwo. Did you mean --now? See: turn-machine goal pause --help"],
  ])("refuse %j and say where the flag belongs", async (args, message) => {
    expect(await goal(newFolder(), ...args)).toMatchObject({ exitCode: 2, stdout: "", stderr: `turn-machine: ${message}\n` })
  })

  it.each(["status", "watch", "pause", "say", "queue", "retract", "resume", "edit", "clear"])("have a help of their own: %s", async (name) => {
    const { stdout, exitCode } = await goal(newFolder(), name, "--help")
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(new RegExp(`^turn-machine goal ${name}: `))
    expect(stdout.split("\n").length).toBeLessThan(34)
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(120)
  })

  it.each(["list", "add", "done", "impossible", "undo", "remove", "clear"])("of the checklist, too: subgoal %s", async (name) => {
    const { stdout, exitCode } = await runCli(["subgoal", name, "--help"], { cwd: newFolder() })
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(new RegExp(`^turn-machine subgoal ${name}: `))
  })
})

describe("the goals of a folder", () => {
  it("follow one another in threads of their own, and the earlier ones stay readable", async () => {
    const { base } = newShop()
    await goal(base, ...ON_SHOP, 'Find "cart"')
    const first = readFileSync(join(base, "turn-machine-goal/goal.thread"), "utf8")
    // A complete goal makes room, also for other settings.
    const second = await goal(base, "--dir", "shop/src", "--out", "o2", "--max-continuations", "1", 'Find "qty"')
    expect(second.stdout).toContain("\nTurn 1")
    expect(readFileSync(join(base, "turn-machine-goal/goal.thread"), "utf8")).toBe(first)
    expect((await goal(base, "clear")).exitCode).toBe(0)
    const third = await goal(base, ...ON_SHOP, "--judge", "checklist", "--max-continuations", "1", "Third.")
    expect(third.stdout).toContain("\ngoal     Third.\n")
    const log = readFileSync(join(base, "turn-machine-goal/goal-3.thread"), "utf8")
    for (const earlier of ["cart", "qty"]) expect(log).not.toContain(`Find \\\\"${earlier}`)
    const status = (await goal(base, "status")).stdout
    expect(status).toContain("\nearlier  2 goals (goal status --all shows them)\n")
    expect((await goal(base, "status", "--all")).stdout).toMatch(/\nearlier {2}2 goals\n {3}complete: Find "cart"\n {8}.*\n {3}cleared: Find "qty"\n/)
  })

  it("leave nothing behind if they are refused", async () => {
    const { base } = newShop()
    const long = await goal(base, ...ON_SHOP, "x".repeat(4_001))
    expect(long).toMatchObject({ exitCode: 2, stdout: "" })
    expect(long.stderr).toContain("4000 characters")
    expect(readdirSync(base)).toEqual(["shop"])
    await goal(base, ...ON_SHOP, 'Find "cart"')
    const before = readdirSync(join(base, "turn-machine-goal")).sort()
    expect((await goal(base, ...ON_SHOP, "x".repeat(4_001))).exitCode).toBe(2)
    expect(readdirSync(join(base, "turn-machine-goal")).sort()).toEqual(before)
  })

  it("do not receive requests that waited before they began", async () => {
    const { base } = newShop()
    const inbox = join(base, "turn-machine-goal/inbox")
    mkdirSync(inbox, { recursive: true })
    writeFileSync(
      join(inbox, "000000000000001-1-00000000.json"),
      JSON.stringify({ format: "turn-machine/request", version: 1, order: { type: "edit", objective: "Send the keys." } }),
    )
    const ran = await goal(base, ...ON_SHOP, 'Find "cart"')
    expect(ran.exitCode).toBe(0)
    expect(ran.stdout).not.toContain("Send the keys.")
  })
})

describe("the folders of a goal", () => {
  it.each([
    [["--state", "shop"], "--dir"],
    [["--state", "."], "--dir"],
    [["--state", "out/state", "--out", "out"], "--state"],
    [["--state", "st", "--out", "st/out"], "--out"],
    [["--state", "st", "--out", "st"], "--out"],
    [["--out", "shop"], "--dir"],
    [["--out", "."], "--state"],
  ])("must not overlap: %j", async (args, named) => {
    const { base } = newShop()
    mkdirSync(join(base, "out"))
    const ran = await goal(base, ...ON_SHOP, ...args)
    expect(ran).toMatchObject({ exitCode: 2, stdout: "" })
    expect(ran.stderr).toContain(`turn-machine: ${named} `)
    expect(ran.stderr).toContain("must not overlap")
    expect(readdirSync(base).sort()).toEqual(["out", "shop"])
  })
})

describe("the budget of a goal at an endpoint", () => {
  it("has a default that is shown, and that can be changed or left out", async () => {
    const base = fill(newFolder(), { "dir/a.txt": "a" })
    const { url } = await talker()
    const at = ["--dir", "dir", "--base-url", url, "--model", "tiny"]
    expect((await goal(base, ...at, "Do it.")).stdout).toContain("\nbudget   200,000 tokens (default; change it with --budget-tokens N or none)\n")
    expect((await goal(base, ...at, "--state", "s2", "--budget-tokens", "none", "Do it.")).stdout).not.toContain("budget ")
    expect((await goal(base, ...at, "--state", "s3", "--budget-time", "10m", "Do it.")).stdout).toContain("\nbudget   10 min\n")
    expect((await goal(base, ...at, "--state", "s4", "--budget-tokens", "none", "--hard", "Do it.")).stderr).toBe(
      "turn-machine: --hard needs a token budget: --budget-tokens N.\n",
    )
  })
})

describe("a goal that is started again with --resume", () => {
  it("accepts the budgets and the contract that it has, also those it had before it was extended, and no others", async () => {
    const base = fill(newFolder(), { "dir/a.txt": "a", "one.txt": "outcome: A report.\n", "two.txt": "outcome: Another report.\n" })
    const { url } = await talker()
    const at = ["--dir", "dir", "--base-url", url, "--model", "tiny", "--resume", "--price", "1,1"]
    const again = async (contract: string, ...budgets: readonly string[]): Promise<Ran> =>
      goal(base, ...at, "--contract", contract, ...budgets, "Do it.")
    const begun = ["--budget-tokens", "none", "--budget-cost", "0.5", "--budget-time", "10m"]
    await again("one.txt", ...begun)
    expect(await again("one.txt", ...begun)).toMatchObject({ exitCode: 1, stderr: "" })
    await goal(base, "resume", "--add-cost", "1")
    expect(await again("one.txt", ...begun)).toMatchObject({ exitCode: 1, stderr: "" })
    expect(await again("one.txt")).toMatchObject({ exitCode: 1, stderr: "" })
    const budgets = "turn-machine: The budgets of a started goal cannot be replaced. To extend them: --add-tokens, --add-time, --add-cost.\n"
    for (const other of [
      ["--budget-tokens", "7"],
      ["--budget-cost", "0.7"],
      ["--budget-time", "1m"],
    ])
      expect(await again("one.txt", ...other)).toMatchObject({ exitCode: 2, stdout: "", stderr: budgets })
    const contract = "turn-machine: The goal has another contract. To replace it: turn-machine goal edit --contract FILE.\n"
    expect(await again("two.txt", ...begun)).toMatchObject({ exitCode: 2, stdout: "", stderr: contract })
  })
})

describe("the judge's model", () => {
  const judgeFlags = (url: string): readonly string[] => ["--judge", "freeform", "--judge-base-url", url, "--judge-model", "strict"]

  it("has its own endpoint and key", async () => {
    const base = fill(newFolder(), { "dir/a.txt": "a" })
    const [agent, judge] = [await talker(), await talker()]
    const env = { AGENT_KEY: "agent", JUDGE_KEY: "judge" }
    const at = ["--dir", "dir", "--base-url", agent.url, "--model", "tiny", "--api-key-env", "AGENT_KEY"]
    const ran = await runCli(["goal", ...at, ...judgeFlags(judge.url), "--judge-api-key-env", "JUDGE_KEY", "--max-continuations", "2", "Do it."], {
      cwd: base,
      env,
    })
    expect(ran.stdout).toContain(`\njudge    freeform, strict at ${judge.url}\n`)
    expect(new Set(agent.bodies.map(({ model }) => model))).toEqual(new Set(["tiny"]))
    expect(new Set(judge.bodies.map(({ model }) => model))).toEqual(new Set(["strict"]))
    expect([new Set(agent.keys), new Set(judge.keys)]).toEqual([new Set(["Bearer agent"]), new Set(["Bearer judge"])])
  })

  it("gets no key without a variable of its own", async () => {
    const base = fill(newFolder(), { "dir/a.txt": "a" })
    const [agent, judge] = [await talker(), await talker()]
    const at = ["--dir", "dir", "--base-url", agent.url, "--model", "tiny", "--api-key-env", "AGENT_KEY"]
    await runCli(["goal", ...at, ...judgeFlags(judge.url), "--max-continuations", "2", "Do it."], { cwd: base, env: { AGENT_KEY: "agent" } })
    expect(new Set(judge.keys)).toEqual(new Set([undefined]))
  })

  it.each([
    [["--judge-model", "x"], "--judge-model needs a judge: --judge checklist or --judge freeform."],
    [["--judge", "freeform", "--judge-model", "x"], "--judge-model x needs an endpoint: --judge-provider NAME or --judge-base-url URL."],
    [["--judge", "freeform", "--judge-base-url", "ftp://x"], "--judge-base-url ftp://x is not an http or https URL."],
    [["--judge", "freeform", "--judge-base-url", "http://x"], "--judge-base-url needs the model's name at the endpoint: --judge-model NAME."],
    [
      ["--judge", "freeform", "--judge-api-key-env", "K"],
      "--judge-api-key-env needs the judge's endpoint: --judge-provider NAME or --judge-base-url URL.",
    ],
    [["--check", " "], '--check is empty. Pass a command, such as --check "npm test".'],
    [["--check", "a", "--check", "a"], "--check a was given twice."],
    [["--contract", "none.txt"], "none.txt cannot be read: it does not exist. Pass a readable file with --contract."],
  ])("refuses %j before it creates files", async (args, message) => {
    const { base } = newShop()
    const ran = await goal(base, ...ON_SHOP, ...args)
    expect(ran).toMatchObject({ exitCode: 2, stdout: "" })
    expect(ran.stderr).toContain(message)
    expect(readdirSync(base)).toEqual(["shop"])
  })

  it("refuses a damaged state of the judge, and changes nothing", async () => {
    const { base } = newShop()
    await goal(base, ...ON_SHOP, "--judge", "checklist", "--max-continuations", "1")
    const path = join(base, "turn-machine-goal/goal.judge")
    writeFileSync(path, readFileSync(path, "utf8").replace("section", "sektion"))
    const text = readFileSync(path, "utf8")
    for (const args of [["status"], ["resume"]]) {
      const ran = await goal(base, ...args)
      expect(ran).toMatchObject({ exitCode: 2, stdout: "" })
      expect(ran.stderr).toMatch(/^turn-machine: The goal's folder .* cannot be used: .*judge.*\. Nothing was changed\. .*\n$/)
    }
    expect(readFileSync(path, "utf8")).toBe(text)
    expect(existsSync(join(base, "turn-machine-goal/goal.2"))).toBe(false)
  })
})

describe("a contract", () => {
  it("is read from lines or JSON", () => {
    const text = "outcome: All tests pass,\n  also the slow ones.\nstop when: a test needs a network\nConstraints: no new packages\n"
    const contract = { outcome: "All tests pass,\nalso the slow ones.", stopWhen: "a test needs a network", constraints: "no new packages" }
    expect(parseContract(text)).toEqual(contract)
    expect(parseContract(JSON.stringify(contract))).toEqual(contract)
  })

  it.each([
    ["", "it has no outcome."],
    ["All tests pass.", 'line 1 has no field. Begin with a line such as "outcome: all tests pass".'],
    ["outcom: x", 'it has no field "outcom". Did you mean outcome?'],
    ["outcome: x\noutcome: y", "outcome is given twice."],
    ["outcome:", "outcome is empty."],
    ['{"outcome": 1}', "outcome is not a text."],
    ['{"outcome": ', 'it begins with "{" and is not valid JSON'],
  ])("is refused where it is wrong: %j", (text, message) => {
    expect(() => parseContract(text)).toThrow(message)
  })

  it("is shown, and the model sees it", async () => {
    const base = fill(newFolder(), { "dir/a.txt": "a", "contract.txt": "outcome: A report names a.txt.\nboundaries: nothing else\n" })
    const { url, bodies } = await talker()
    const ran = await goal(base, "--dir", "dir", "--base-url", url, "--model", "tiny", "--contract", "contract.txt", "Do it.")
    expect(ran.stdout).toContain("\noutcome  A report names a.txt.\nleave    nothing else\n")
    expect(JSON.stringify(bodies[0])).toContain("A report names a.txt.")
  })
})
