import { describe, expect, it, onTestFinished } from "vitest"
import { type ChatBody, type ScriptedAnswer, type StrictServer, startStrictServer } from "../support/strict-server.ts"
import { bundleCli, fill, newFolder, type Ran, type Spawned, spawnCli, until } from "./harness.ts"

// Several processes control one goal while its model takes long for one answer.

const bundled = await bundleCli()

/** Calls list_files, then ends the turn; the judge writes a list of two items, then settles one after each turn. */
function answer({ messages, tools = [] }: ChatBody): ScriptedAnswer {
  const names = tools.map((tool) => tool.function.name)
  if (names.includes("submit_checklist")) return { calls: [{ name: "submit_checklist", args: { items: [{ text: "One." }, { text: "Two." }] } }] }
  if (names.includes("update_checklist")) {
    const open = Number(/(\d)\. \[ \]/.exec(JSON.stringify(messages))?.[1])
    const updates = [{ index: open, status: "completed", evidence: `Item ${open} is shown.` }]
    return { calls: [{ name: "update_checklist", args: { updates, new_items: [], reason: `Item ${open} is settled.` } }] }
  }
  const last = messages.findLastIndex(({ role, tool_calls = [] }) => role === "assistant" && tool_calls.length === 0)
  const turn = messages.slice(0, last + 1).filter(({ role, tool_calls = [] }) => role === "assistant" && tool_calls.length === 0).length + 1
  const isWorked = messages.slice(last + 1).some(({ role }) => role === "tool")
  return isWorked ? { text: `Part ${turn} is done.` } : { calls: [{ name: "list_files", args: {} }] }
}

/** The first call of the second turn: the turn before it is two calls and the judge's list. */
const SLOW = 4

interface World {
  readonly base: string
  readonly server: StrictServer
  /** The process that runs the goal, in the slow call. */
  readonly running: Spawned
  /** Lets the slow call be answered. */
  readonly release: () => void
  /** Runs a command in another process. */
  readonly goal: (...args: readonly string[]) => Spawned
  readonly flags: readonly string[]
  readonly status: () => Promise<Status>
}

interface Status {
  readonly goal: { readonly status: string; readonly objective: string; readonly tokensUsed: number; readonly childTokensUsed: number } | null
  readonly runner: string | null
}

/** Starts a goal, and returns while its model takes long for an answer: until it is released, and then `slowMs` milliseconds more. */
async function inSlowCall(slowMs: number, { isHeld = true } = {}): Promise<World> {
  const base = fill(newFolder(), { "dir/a.txt": "a" })
  let release: () => void = () => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  const script = async (body: ChatBody, number: number): Promise<ScriptedAnswer> => {
    // Slower than `goal watch` looks at the goal, so that it sees each verdict before the next.
    if (number !== SLOW) return { ...answer(body), ...(number > SLOW && { firstByteMs: 600 }) }
    if (isHeld) await released
    return { ...answer(body), firstByteMs: slowMs }
  }
  const server = await startStrictServer(script, { rules: ["user_before_calls", "system_only_first"] })
  onTestFinished(() => server.close())
  const flags = ["--dir", "dir", "--base-url", server.url, "--model", "tiny", "--judge", "checklist"]
  const goal = (...args: readonly string[]): Spawned => spawnCli(bundled, ["goal", ...args], { cwd: base })
  const running = goal(...flags, "--budget-tokens", "100000", "Look around.")
  await until(() => server.requests.length === SLOW)
  const status = async (): Promise<Status> => JSON.parse((await goal("status", "--json")).stdout) as Status
  return { base, server, running, release, goal, flags, status }
}

const agents = ({ requests }: StrictServer) => requests.filter(({ body }) => body.tools?.some((tool) => tool.function.name === "list_files"))
const DONE: Partial<Ran> = { exitCode: 0, stderr: "" }

describe("a goal in a slow model call, controlled from other processes", () => {
  it("hears what is said, is extended twice and is watched to its end", async () => {
    const { server, running, release, goal, status } = await inSlowCall(500)
    const watching = goal("watch")
    const results = await Promise.all([
      goal("say", "Look behind the door."),
      goal("resume", "--add-tokens", "1000"),
      goal("resume", "--add-tokens", "1000"),
    ])
    for (const result of results) expect(result).toMatchObject(DONE)
    expect(server.requests).toHaveLength(SLOW)
    release()
    expect(await running).toMatchObject(DONE)
    expect((await status()).goal).toMatchObject({ status: "complete", tokenBudget: 102_000 })
    const heard = agents(server).map(({ body }) => JSON.stringify(body.messages).split("Look behind the door.").length - 1)
    expect(heard).toEqual([0, 0, 0, 1, 1, 1])
    const watched = await watching
    expect(watched).toMatchObject(DONE)
    for (const shown of ["\nTurn 2", "✓ list_files", "\nTurn 3", "Item 1 is settled.", "\nstatus   complete\n"])
      expect(watched.stdout).toContain(shown)
    expect(watched.stdout).not.toContain("\nTurn 1")
  })

  it("returns what a turn that is paused at once has not received, and receives a message of its own turn after that", async () => {
    const { server, running, release, goal } = await inSlowCall(500)
    expect(await goal("say", "Behind the door.")).toMatchObject({
      ...DONE,
      stdout: "Recorded as user-1. The running turn receives it at its next step.\n",
    })
    expect((await goal("say", "--when", "turn_end", "Up.")).stdout).toContain("Recorded as user-2. The running turn receives it when it would end.")
    expect((await goal("say", "Down.")).stdout).toContain("Recorded as user-3.")
    expect((await goal("say", "--when", "next_turn", "Then look left.")).stdout).toContain(
      "A turn of its own begins with it, before the goal continues.",
    )
    expect(await goal("retract", "user-3")).toMatchObject({ ...DONE, stdout: "Taken back: no turn receives user-3.\n" })
    expect((await goal("queue")).stdout.split("\n").map((line) => line.slice(0, 6))).toEqual(["user-1", "user-2", "user-4", ""])
    expect(await goal("pause", "--now")).toMatchObject({
      ...DONE,
      stdout: 'Paused. Not delivered, and taken back: "Behind the door.", "Up.".\n',
    })
    release()
    await running
    const last = JSON.stringify(agents(server).at(-1)?.body.messages)
    expect(last).toContain("Then look left.")
    expect(last).not.toContain("Behind the door.")
  })

  it("has a new objective, and pauses at the next step, with all usage charged", async () => {
    const { server, running, release, goal, status } = await inSlowCall(500)
    expect(await goal("edit", "Look up.")).toMatchObject(DONE)
    expect(await goal("pause")).toMatchObject({ ...DONE, stdout: "Paused.\n" })
    expect(server.requests).toHaveLength(SLOW)
    release()
    const ran = await running
    expect(ran).toMatchObject({ exitCode: 1, stderr: "", signal: null })
    expect(ran.stdout).toContain("\nstatus   paused\n")
    expect(server.requests).toHaveLength(SLOW)
    const { goal: paused, runner } = await status()
    expect({ runner, paused }).toMatchObject({ runner: null, paused: { status: "paused", objective: "Look up." } })
    expect((paused?.tokensUsed ?? 0) + (paused?.childTokensUsed ?? 0)).toBe(server.bill.fullPriceTokens)
    expect(await goal("resume")).toMatchObject(DONE)
    expect(JSON.stringify(agents(server).at(-1)?.body.messages)).toContain("Look up.")
    const { goal: complete } = await status()
    expect((complete?.tokensUsed ?? 0) + (complete?.childTokensUsed ?? 0)).toBe(server.bill.fullPriceTokens)
    expect(complete?.status).toBe("complete")
  })

  it("pauses at once with --now, and charges an estimate of the call that it gave up", async () => {
    const { server, running, goal, status } = await inSlowCall(100_000, { isHeld: false })
    const earlier = agents(server).slice(0, 2)
    expect(await goal("pause", "--now")).toMatchObject({ ...DONE, stdout: "Paused.\n" })
    expect(await running).toMatchObject({ exitCode: 1, stderr: "", signal: null })
    const { goal: paused } = await status()
    const estimate = (paused?.tokensUsed ?? 0) - earlier.reduce((sum, { bill }) => sum + bill.fullPriceTokens, 0)
    const prompt = server.requests[SLOW - 1]?.bill.promptTokens ?? 0
    expect([paused?.status, estimate > prompt * 0.6, estimate < prompt * 1.6]).toEqual(["paused", true, true])
    const before = server.bill.fullPriceTokens
    expect(await goal("resume")).toMatchObject(DONE)
    const { goal: complete } = await status()
    expect(complete?.status).toBe("complete")
    const all = (of: Status["goal"]): number => (of?.tokensUsed ?? 0) + (of?.childTokensUsed ?? 0)
    expect(all(complete) - all(paused)).toBe(server.bill.fullPriceTokens - before)
  })

  it("is cleared, and the folder takes the next goal once its process has ended", async () => {
    const { server, running, release, goal, flags, status } = await inSlowCall(500)
    expect(await goal("clear")).toMatchObject({ ...DONE, stdout: "Cleared. The folder has no goal now.\n" })
    const early = await goal(...flags, "Look elsewhere.")
    expect(early).toMatchObject({ exitCode: 2, stdout: "" })
    expect(early.stderr).toContain(`process ${running.child.pid}`)
    release()
    expect(await running).toMatchObject({ exitCode: 1, stderr: "", signal: null })
    expect(server.requests).toHaveLength(SLOW)
    expect(await goal(...flags, "Look elsewhere.")).toMatchObject(DONE)
    expect((await status()).goal).toMatchObject({ status: "complete", objective: "Look elsewhere." })
    // The new goal begins afresh.
    expect(JSON.stringify(agents(server).at(-1)?.body.messages)).not.toContain("Look around.")
    expect((await goal("status", "--all")).stdout).toContain("cleared: Look around.")
  })
})
