import { describe, expect, test } from "vitest"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { CheckRunner } from "../../../src/hosts/thread/check-runner.ts"
import { Thread } from "../../../src/hosts/thread/thread.ts"
import type { GoalCheck, GoalCheckResult } from "../../../src/wire/goal.ts"
import { dyingStore } from "../../support/dying-store.ts"
import { says, shown, World } from "./support.ts"

const tests: GoalCheck = { name: "tests", command: "npm test" }
const lint: GoalCheck = { name: "lint", tool: "lint" }
const set = (checks: readonly GoalCheck[]) => ({ type: "set", objective: "Count.", checks }) as const

/** Completes the goal in its first call of each turn. */
const claiming = (calls: number) => (calls % 2 === 0 ? says("", `u${calls}=update_goal {"status":"complete"}`) : says(`Done ${calls}.`))

const results = (...given: readonly boolean[]): { readonly ran: string[]; readonly runner: CheckRunner } => {
  const ran: string[] = []
  const left = given.slice()
  return {
    ran,
    runner: async ({ turnId, checks }) => {
      ran.push(turnId)
      const ok = left.shift() ?? true
      return checks.map(({ name }) => ({ name, ok, exitCode: ok ? 0 : 1, tail: ok ? "" : `1 failed: ${ran.length}` }))
    },
  }
}

describe("the checks of a goal", () => {
  test("run after each turn; their output is in the next continuation, and the goal is complete when they pass", async () => {
    const world = new World(claiming)
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command(set([tests]))
    const { ran, runner } = results(false, true)
    await world.run(thread, { checks: runner })
    expect(ran).toEqual(["t.1", "t.2"])
    expect(shown(world.requests[2])).toContain("1 failed: 1")
    expect(thread.goal).toMatchObject({ status: "complete" })
    await thread.close()
  })

  test("complete nothing that the model claimed before the user spoke in the same turn", async () => {
    const world = new World(async (calls) => {
      if (calls === 0) return claiming(0)
      if (calls === 1) {
        await thread.say("One more thing.")
        return says("Done.")
      }
      return says(`Sure ${calls}.`)
    })
    const thread = await Thread.open(memoryJournalStore(), "t", world.options({ policy: { maxIdleContinuations: 1 } }))
    await thread.command(set([tests]))
    const { ran, runner } = results(true, true)
    await world.run(thread, { checks: runner })
    expect(shown(world.requests[2])).toContain("One more thing.")
    expect(ran.length).toBeGreaterThan(0)
    expect(thread.goal?.status).toBe("paused")
    await thread.close()
  })

  test("that are commands need a runner; without one the goal rests and says so", async () => {
    const world = new World(claiming)
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command(set([tests]))
    const rest = await world.run(thread)
    expect(rest.reason).toMatch(/checks that run commands \("tests"\), and this host runs none\. Pass a runner as `checks`/)
    expect(thread.goal).toMatchObject({ status: "active" })
    await thread.close()
  })

  test("that are tools run with the tools of the host; one that must not run twice is refused", async () => {
    const world = new World(claiming)
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command(set([lint, { name: "deploy", tool: "deploy" }]))
    const seen: (readonly GoalCheckResult[])[] = []
    const keys: (string | undefined)[] = []
    const host = {
      ...world.host,
      tools: {
        call: async (_call: unknown, { idempotencyKey }: { readonly idempotencyKey: string | undefined }) => {
          keys.push(idempotencyKey)
          return { output: { status: "success", value: "clean" } } as const
        },
        effects: ({ toolName }: { readonly toolName: string }) => (toolName === "deploy" ? ("once" as const) : ("none" as const)),
      },
    }
    await world.run(thread, { onChecks: (checks) => checks.type === "checked" && seen.push(checks.results) }, host)
    expect(seen[0]).toEqual([
      { name: "lint", ok: true, tail: "clean" },
      { name: "deploy", ok: false, tail: expect.stringContaining("must not run twice") },
    ])
    expect(keys[0]).toBe("t.1:check:lint")
    expect(thread.goal).toMatchObject({ status: "paused" })
    await thread.close()
  })

  test.each<[what: string, runner: CheckRunner, tail: string | RegExp]>([
    ["a runner that throws", () => Promise.reject(new Error("No disk.")), "No disk."],
    ["no result", async () => [], /has no result/],
    ["no list", async () => "fine" as never, /did not return a list/],
    ["a result that is not valid", async () => [{ name: "tests", ok: "yes", tail: "" } as never], /not valid/],
    [
      "two results, one of them failed",
      async () => [
        { name: "tests", ok: true, tail: "" },
        { name: "tests", ok: false, tail: "no" },
      ],
      "no",
    ],
    ["too much output", async () => [{ name: "tests", ok: false, tail: `${"x".repeat(9_000)}end` }], /^x{3997}end$/],
  ])("%s is a failed check", async (_what, runner, tail) => {
    const world = new World(claiming)
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command(set([tests]))
    const seen: (readonly GoalCheckResult[])[] = []
    await world.run(thread, { checks: runner, onChecks: (checks) => checks.type === "checked" && seen.push(checks.results) })
    expect(seen[0]).toMatchObject([{ name: "tests", ok: false, tail: typeof tail === "string" ? tail : expect.stringMatching(tail) }])
    await thread.close()
  })

  test("a fatal error of a runner ends the run, and the checks run again", async () => {
    const world = new World(claiming)
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command(set([tests]))
    const checks: CheckRunner = () => Promise.reject(new Error("suspended"))
    await expect(world.run(thread, { checks, isFatal: () => true })).rejects.toThrow("suspended")
    const { ran, runner } = results(true)
    await world.run(thread, { checks: runner })
    expect(ran).toEqual(["t.1"])
    expect(thread.goal).toMatchObject({ status: "complete" })
    await thread.close()
  })

  test("that an interrupt ends report nothing and run again after a resume; the pause before it counts", async () => {
    const world = new World(claiming)
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command(set([tests]))
    const aborted: boolean[] = []
    const hanging: CheckRunner = async (_request, { signal }) => {
      await thread.command({ type: "pause" })
      thread.interrupt()
      aborted.push(signal.aborted)
      return [{ name: "tests", ok: true, tail: "" }]
    }
    await world.run(thread, { checks: hanging })
    expect(aborted).toEqual([true])
    expect(thread.goal).toMatchObject({ status: "paused" })
    await thread.command({ type: "resume" })
    const { ran, runner } = results(true)
    await world.run(thread, { checks: runner })
    expect(ran).toEqual(["t.1"])
    await thread.close()
  })

  test.each([
    [
      "an edit: the goal is not complete by what passed before it",
      { type: "set", objective: "Count twice." },
      { status: "active", objective: "Count twice." },
    ],
    ["a pause: they run again after a resume", { type: "pause" }, { status: "paused" }],
    ["other checks: what passed is not what is asked for", { type: "set", checks: [{ name: "more", command: "more" }] }, { status: "active" }],
    ["a new goal: it has not passed anything", { type: "start", objective: "Sail." }, { status: "active", objective: "Sail." }],
  ] as const)("that a command reaches while they run: %s", async (_what, command, goal) => {
    const world = new World(claiming)
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command(set([tests]))
    const controller = new AbortController()
    await world.run(thread, {
      signal: controller.signal,
      onChecks: ({ type }) => void (type === "checked" && controller.abort()),
      checks: async ({ checks }) => {
        await thread.command(command)
        return checks.map(({ name }) => ({ name, ok: true, tail: "" }))
      },
    })
    expect(thread.goal).toMatchObject(goal)
    expect(thread.isCommanded).toBe(false)
    await thread.close()
  })

  test("a message that arrives while they run is handled after them", async () => {
    const world = new World((calls) => (calls < 2 ? claiming(calls) : says("Sure.")))
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command(set([tests]))
    await world.run(thread, {
      checks: async ({ checks }) => {
        await thread.say("Thanks.")
        return checks.map(({ name }) => ({ name, ok: true, tail: "" }))
      },
    })
    expect(thread.goal).toMatchObject({ status: "complete" })
    expect(shown(world.requests[2])).toContain("Thanks.")
    await thread.close()
  })

  test("run again after a crash before their results are stored, and are reported once", async () => {
    let crashes = 0
    for (let writes = 2; ; writes += 1) {
      const store = memoryJournalStore()
      const first = new World(claiming)
      const { ran, runner } = results(true)
      const begun = await Thread.open(dyingStore(store, writes), "t", first.options())
      const died = await begun
        .command(set([tests]))
        .then(() => first.run(begun, { checks: runner }))
        .then(
          () => false,
          (error: Error) => error.message === "killed",
        )
      if (!died) break
      crashes += 1
      const second = new World((_calls, request) => claiming(request.messages.filter(({ role }) => role === "assistant").length))
      second.at = first.at
      const taken = await Thread.open(store, "t", second.options({ takeOver: true }))
      await second.run(taken, { checks: runner })
      expect(taken.goal).toMatchObject({ status: "complete" })
      expect(new Set(ran)).toEqual(new Set(["t.1"]))
      await taken.close()
    }
    expect(crashes).toBeGreaterThan(8)
  })
})
