import { mkdirSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { isDeepStrictEqual } from "node:util"
import { afterAll, expect, test, vi } from "vitest"
import { GoalFolder, type StoredGoal } from "../../src/cli/goal/goal-folder.ts"
import { OwnStates } from "../../src/cli/trust/own-states.ts"
import type { Goal, GoalMemory } from "../../src/wire/goal.ts"
import type { TokenUsage } from "../../src/wire/llm.ts"
import { inLane, LIMIT_MS } from "../lane.ts"
import type { SeenRequest } from "../support/strict-server.ts"
import { bundled, counted, folderForAll, inParallel, linesOf, type Ran, run, type Started, seeded, start, textOf } from "./harness.ts"

// Kills judged goals with checks at random moments, and resumes each until it is complete. `CRASH_SEED=…` repeats a run; the moments also
// depend on the machine. `CRASH_KILLS=…` sets how often to kill.
//
// What a goal is charged, with the figures of the server:
//   tokensUsed      = the sum over the agent's answers in the history (prompt - cached + output), and the estimates of its lost calls
//   childTokensUsed = the sum over the judge's recorded answers (prompt - cached + output), and the estimates of its lost calls
// A call is lost if its answer is not recorded. Each lost call that reached the server has an estimate; a call that was recorded, and not
// yet sent when the process was killed, has one, too.

vi.setConfig({ testTimeout: LIMIT_MS })

const SEED = Number(process.env["CRASH_SEED"] ?? Date.now() % 1_000_000)
const KILLS = Number(process.env["CRASH_KILLS"] ?? inLane({ fast: 20, full: 60, deep: 400 }))
const GOALS_AT_A_TIME = inLane({ fast: 1, full: 2, deep: 3 })
const ITEMS = 8

const folder = folderForAll()
const [main = "", server = "", script = "", check = ""] = await bundled(
  folder,
  "../../src/cli/main.ts",
  "../support/strict-server-process.ts",
  "goal-script.ts",
  "goal-check.ts",
)

const sum = { goals: 0, kills: 0, agentCalls: 0, judgeCalls: 0, lostAgentCalls: 0, lostJudgeCalls: 0, checks: 0, said: 0 }
afterAll(() => console.info(`seed ${SEED}: ${JSON.stringify(sum)}`))

test("a judged goal with checks, killed at random moments, is judged once per turn, skips no check and counts each token", async () => {
  const failures: Error[] = []
  await inParallel(counted(), GOALS_AT_A_TIME, async (number) => {
    const story = await playGoal(number)
    sum.goals += 1
    try {
      examine(story)
    } catch (error) {
      const { base, events, ran } = story
      failures.push(new Error(`Goal ${number} of seed ${SEED} (${base}):\n${events.join("\n")}\n${ran.stdout}`, { cause: error }))
    }
    return failures.length === 0 && sum.kills < KILLS
  })
  for (const failure of failures) throw failure
  expect(sum.kills).toBeGreaterThanOrEqual(KILLS)
})

test("the embedded model's goal, killed at random moments, ends as one that was not killed", async () => {
  const random = seeded(SEED)
  const base = newBase("embedded")
  const argsOf = (name: string): readonly string[] => [
    ...["goal", "--dir", "dir", "--state", name, "--out", `${name}-out`, "--judge", "checklist"],
    ...["--check", `${process.execPath} ${check} ${join(base, `${name}.events`)} overview`],
  ]
  const whole = await run([main, ...argsOf("whole")], {}, base)
  expect(whole).toMatchObject({ exitCode: 0, stderr: "" })
  let ran: Ran | undefined
  let kills = 0
  while (ran === undefined) {
    const isBegun = kills > 0
    // A resumed goal first shows its settings, in some ten lines.
    const lines = 8 + Math.floor(random() * 16)
    const life = start([main, ...(isBegun ? ["goal", "resume", "--state", "parts"] : argsOf("parts"))], {}, base, (stdout) => {
      // The first life has its goal when it says so.
      if (stdout.split("\n").length > lines && (isBegun || stdout.includes("\nTurn 1"))) setTimeout(() => life.child.kill("SIGKILL"), random() * 20)
    })
    const ended = await life.ended
    if (ended.exitCode === null) kills += 1
    else ran = ended
  }
  expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
  expect(kills).toBeGreaterThan(3)
  const [one, other] = [await readStored(join(base, "whole")), await readStored(join(base, "parts"))]
  expect(summaryOf(other)).toEqual(summaryOf(one))
  // A call that ran before the kill and runs again may report its result in other words, so the estimates may differ a little.
  expect(Math.abs((other.goal?.tokensUsed ?? 0) - (one.goal?.tokensUsed ?? 0))).toBeLessThanOrEqual(20)
  const checksOf = (name: string): readonly string[] => linesOf(join(base, `${name}.events`))
  expect(checksOf("whole")).toContain("check 0 failed")
  expect(checksOf("parts").length).toBeGreaterThanOrEqual(checksOf("whole").length)
  expect(repeatedKeys(other)).toEqual([])
  sum.kills += kills
  for (const name of ["top", "overview"])
    expect(textOf(join(base, `parts-out/survey/${name}.md`))).toBe(textOf(join(base, `whole-out/survey/${name}.md`)))
})

function summaryOf({ goal, turns, checklist }: StoredGoal): unknown {
  const { continuations, status } = goal ?? ({} as Partial<Goal>)
  const items = checklist?.goal?.checklist.map(({ text, status: mark, evidence }) => ({ text, mark, evidence }))
  return { continuations, status, turns, items }
}

interface Story {
  readonly base: string
  readonly kills: number
  /** The process that ended by itself. */
  readonly ran: Ran
  readonly events: readonly string[]
  readonly requests: readonly SeenRequest[]
  readonly stored: StoredGoal
  /** What was said and confirmed, and what was said by a process that was killed. */
  readonly said: readonly string[]
  readonly maybeSaid: readonly string[]
}

function newBase(name: string): string {
  const base = join(folder, name)
  mkdirSync(join(base, "dir"), { recursive: true })
  for (const file of ["a.md", "b.md", "sub/c.md"]) {
    mkdirSync(join(base, "dir", "sub"), { recursive: true })
    writeFileSync(join(base, "dir", file), `The file ${file}.\nTODO: finish it.\n`)
  }
  return base
}

async function readStored(path: string): Promise<StoredGoal> {
  return (await GoalFolder.find(path, new OwnStates({}))).readExisting()
}

const sizeOf = (path: string): number => statSync(path).size
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Runs a goal in many lives. */
async function playGoal(number: number): Promise<Story> {
  const random = seeded(SEED + number)
  const base = newBase(`${number}`)
  const path = join(base, "events")
  writeFileSync(path, "")
  const env = { GOAL_EVENTS: path, GOAL_ITEMS: `${ITEMS}` }
  const rules = JSON.stringify({ rules: ["user_before_calls", "system_only_first", "offered_tools"] })
  let url = ""
  const serving = start([server, script, rules], env, base, (stdout) => {
    url = stdout.trim()
  })
  try {
    while (url === "") await sleep(5)
    const flags = ["--dir", "dir", "--base-url", url, "--model", "tiny", "--judge", "checklist", "--budget-tokens", "none"]
    const checks = ["--check", `${process.execPath} ${check} ${path} ${2 + (number % 2)}`]
    const [said, maybeSaid]: [string[], string[]] = [[], []]
    let kills = 0
    for (;;) {
      const isBegun = sizeOf(path) > 0
      const args = isBegun ? ["goal", "resume"] : ["goal", "--resume", ...flags, ...checks, "Write eight parts."]
      const life = start([main, ...args], env, base)
      const saying = isBegun && random() < 0.3 ? say(`Note ${number}.${said.length + maybeSaid.length + 1}!`, random, base) : undefined
      const ended = await killed(life, path, random, isBegun)
      const heard = await saying
      if (heard?.isSure === true) said.push(heard.text)
      else if (heard !== undefined) maybeSaid.push(heard.text)
      // A process that says something holds the goal for a moment.
      if (ended.exitCode === 2 && saying !== undefined && ended.stderr.includes("is in use by process")) continue
      if (ended.exitCode !== null) {
        const { requests } = (await (await fetch(url)).json()) as { readonly requests: readonly SeenRequest[] }
        const stored = await readStored(join(base, "turn-machine-goal"))
        return { base, kills, ran: ended, events: linesOf(path), requests, stored, said, maybeSaid }
      }
      kills += 1
      sum.kills += 1
    }
  } finally {
    serving.child.kill("SIGKILL")
    await serving.ended
  }
}

/** Kills a life at a random moment: some time after its start, or after some requests and checks of it. */
async function killed({ child, ended }: Started, path: string, random: () => number, isBegun: boolean): Promise<Ran> {
  let isOver = false
  void ended.then(() => {
    isOver = true
  })
  const seen = sizeOf(path)
  const ofStart = random() < (isBegun ? 0.15 : 0.5)
  const after = Math.floor(random() * 4)
  const delay = ofStart ? 100 + random() * 400 : random() * 70
  if (!ofStart) while (!isOver && linesSince(path, seen) <= after) await sleep(3)
  await Promise.race([sleep(delay), ended])
  child.kill("SIGKILL")
  return ended
}

function linesSince(path: string, size: number): number {
  return sizeOf(path) === size ? 0 : textOf(path).slice(size).split("\n").length - 1
}

/** Says something from another process, which is sometimes killed. */
async function say(text: string, random: () => number, base: string): Promise<{ readonly text: string; readonly isSure: boolean }> {
  await sleep(random() * 400)
  const asking = start([main, "goal", "say", text], {}, base)
  if (random() < 0.2) void sleep(100 + random() * 400).then(() => asking.child.kill("SIGKILL"))
  const { exitCode, stdout, stderr } = await asking.ended
  if (exitCode === 1) expect(stderr + stdout).toMatch(/The goal is complete|No answer yet/)
  else if (exitCode !== null) expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" })
  return { text, isSure: exitCode === 0 }
}

/** Checks everything that a killed goal promises. */
function examine({ ran, events, requests, stored, said, maybeSaid, kills }: Story): void {
  expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
  expect(stored).toMatchObject({ goal: { status: "complete" }, openTurn: undefined, commands: [] })
  expect(requests.flatMap(({ refusal = [] }) => refusal)).toEqual([])
  expect(kills).toBeGreaterThan(0)
  const agents = requests.flatMap((request, index) => (isAgent(request) ? [{ ...request, number: index + 1 }] : []))
  const judges = requests.flatMap((request, index) => (isAgent(request) ? [] : [{ ...request, number: index + 1 }]))
  sum.agentCalls += agents.length
  sum.judgeCalls += judges.length
  sum.said += said.length
  sum.checks += events.filter((event) => event.startsWith("check")).length

  // Requests only grow.
  agents.forEach(({ body }, index) => {
    const before = agents[index - 1]?.body
    if (before === undefined) return
    expect(isDeepStrictEqual(body.tools, before.tools)).toBe(true)
    expect([index, isDeepStrictEqual(body.messages.slice(0, before.messages.length), before.messages)]).toEqual([index, true])
  })
  const shown = agents.at(-1)?.body.messages.filter(({ role }) => role === "user") ?? []
  const count = (text: string): number => shown.filter(({ content }) => JSON.stringify(content).includes(text)).length
  expect(said.map((text) => [text, count(text)])).toEqual(said.map((text) => [text, 1]))
  expect(maybeSaid.filter((text) => count(text) > 1)).toEqual([])

  examineOrder(events, agents, stored)
  examineTokens(stored, agents, judges)
}

interface Numbered extends SeenRequest {
  /** The number of the request. */
  readonly number: number
}

function isAgent({ body }: SeenRequest): boolean {
  return body.tools?.some((tool) => tool.function.name === "list_files") === true
}

/** Checks run after each ended turn, and before a continuation or the judge. No turn is judged after its verdict. */
function examineOrder(events: readonly string[], agents: readonly Numbered[], { history, threadId }: StoredGoal): void {
  let ended: { readonly answer: string; check?: string } | undefined
  for (const event of events) {
    const [type, first = "", second = "", third = ""] = event.split(" ")
    if (type === "check" && ended !== undefined) ended.check = second
    if (type === "judge" && first !== "" && second !== "0") expect([event, ended]).toEqual([event, { answer: second, check: "passed" }])
    if (type === "judge" && second === "0") expect([event, ended?.check]).toEqual([event, "passed"])
    if (type !== "agent") continue
    const request = agents.find(({ number }) => number === Number(first))
    // What the user says comes before the checks, and makes them due again.
    if (ended !== undefined && third === "step" && !beginsWithUser(request))
      expect([event, ended.check === undefined ? "unchecked" : "checked"]).toEqual([event, "checked"])
    ended = third === "end" ? { answer: first } : undefined
  }

  let passed: string | undefined
  const verdicts: string[] = []
  for (const record of history) {
    if (record.type !== "protocol") continue
    const found = record.event as { readonly type?: string; readonly key?: string; readonly goal?: Goal | null; readonly memory?: GoalMemory }
    // The verdict that completes the goal ends its checks, and its record follows.
    if (found.type === "goal" && found.goal?.status !== "complete") passed = found.memory?.checks?.passed
    if (found.type !== "judged" || found.key === undefined) continue
    const [turnId = "", , kind] = found.key.split(":")
    expect([found.key, passed]).toEqual([found.key, turnId])
    expect(turnId.startsWith(`${threadId}.`)).toBe(true)
    expect(verdicts).not.toContain(turnId)
    if (kind === "verdict") verdicts.push(turnId)
  }
  // One verdict writes the list, and each of the others settles one item.
  expect(verdicts).toHaveLength(ITEMS + 1)
}

/** Whether the first message after the last text of the agent is the user's own. */
function beginsWithUser(request: Numbered | undefined): boolean {
  const messages = request?.body.messages ?? []
  const last = messages.findLastIndex(({ role, tool_calls = [] }) => role === "assistant" && tool_calls.length === 0)
  return JSON.stringify(messages[last + 1]?.content ?? "").includes("Note ")
}

function examineTokens({ goal, history }: StoredGoal, agents: readonly Numbered[], judges: readonly Numbered[]): void {
  const end = history.findIndex((record) => record.type === "protocol" && (record.event as { goal?: Goal | null }).goal?.status === "complete")
  const messages = JSON.stringify(history.slice(0, end).filter(({ type }) => type === "conversation"))
  const later = JSON.stringify(history.slice(end).filter(({ type }) => type === "conversation"))
  const isIn = (text: string, { number }: Numbered): boolean => text.includes(`"call_${number}"`) || text.includes(`answer ${number} says`)
  const recorded = agents.filter((request) => isIn(messages, request))
  const lost = agents.filter((request) => !isIn(messages, request) && !isIn(later, request))
  const estimatesIn = (records: typeof history): readonly number[] =>
    records.flatMap((record) => {
      if (record.type !== "protocol") return []
      const { type, usage } = record.event as unknown as { readonly type: string; readonly usage: TokenUsage }
      return type === "goal_unreported_usage" ? [usage.inputTokens + usage.outputTokens] : []
    })
  expect(goal?.tokensUsed).toBe(billOf(recorded) + total(estimatesIn(history.slice(0, end))))
  // What the user says may begin a turn after the goal is complete. Its calls are estimated, and not charged.
  expect(estimatesIn(history).length).toBeGreaterThanOrEqual(lost.length)
  sum.lostAgentCalls += lost.length

  // The judge's, turn by turn.
  const open = [...judges]
  let charged = 0
  let lostCalls = 0
  let child = 0
  for (const record of history) {
    if (record.type !== "protocol") continue
    const event = record.event as { readonly type?: string; readonly key?: string; readonly goal?: Goal | null }
    if (event.type === "goal") child = event.goal?.childTokensUsed ?? child
    if (event.type !== "judged" || event.key === undefined) continue
    const [, , kind] = event.key.split(":")
    const tokens = child - charged
    charged = child
    if (kind === "verdict") expect(tokens).toBe(0)
    else if (kind === "lost") lostCalls += 1
    else {
      const index = open.findIndex(({ bill }) => bill.fullPriceTokens === tokens)
      expect([event.key, tokens, index >= 0]).toEqual([event.key, tokens, true])
      open.splice(index, 1)
    }
  }
  expect(charged).toBe(goal?.childTokensUsed)
  // The calls that are not charged with their bill were lost, and are estimated.
  expect(lostCalls).toBeGreaterThanOrEqual(open.length)
  sum.lostJudgeCalls += open.length
}

function billOf(requests: readonly SeenRequest[]): number {
  return total(requests.map(({ bill }) => bill.fullPriceTokens))
}

function total(values: readonly number[]): number {
  return values.reduce((whole, value) => whole + value, 0)
}

/** The keys of the judge's records that are in the history more than once. */
function repeatedKeys({ history }: StoredGoal): readonly string[] {
  const keys = history.flatMap((record) => {
    const { type, key = "" } = (record.type === "protocol" ? record.event : {}) as { readonly type?: string; readonly key?: string }
    return type === "judged" ? [key] : []
  })
  return keys.filter((key, index) => keys.indexOf(key) !== index)
}
