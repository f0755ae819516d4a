import fc from "fast-check"
import { describe, expect, test } from "vitest"
import * as z from "zod"
import { approvalDriver } from "../../src/drivers/approval/driver.ts"
import { chatDriver } from "../../src/drivers/chat.ts"
import { childTool, turnTree } from "../../src/hosts/child/index.ts"
import type { Host, Suspended } from "../../src/hosts/host.ts"
import { journaled } from "../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../src/hosts/journal/memory.ts"
import { textOf } from "../../src/hosts/journal/parts.ts"
import { pendingApprovals } from "../../src/hosts/journal/pending-approvals.ts"
import type { JournalStore } from "../../src/hosts/journal/store.ts"
import { TurnJournal } from "../../src/hosts/journal/turn-journal.ts"
import { defineTool } from "../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../src/hosts/tools/toolbox.ts"
import { tokensOf } from "../../src/machine/limits.ts"
import { readJournal } from "../../src/replay/journal.ts"
import type { Done } from "../../src/wire/effect.ts"
import { asked, configOf, START, says, USAGE } from "../hosts/child/support.ts"
import { dyingStore } from "../support/dying-store.ts"
import { checkAsync, SLOW } from "./check.ts"

/** What one child does: answers with so many payments in a row, each asked about, and may have children of its own. */
interface Plan {
  readonly pays: number
  readonly children: readonly Plan[]
}

const leaf: fc.Arbitrary<Plan> = fc.record({ pays: fc.integer({ min: 0, max: 2 }), children: fc.constant([]) })
const branch: fc.Arbitrary<Plan> = fc.record({ pays: fc.integer({ min: 0, max: 1 }), children: fc.array(leaf, { maxLength: 2 }) })
const family: fc.Arbitrary<readonly Plan[]> = fc.array(branch, { minLength: 1, maxLength: 2 })

/** A world that outlives its processes: what was paid, and how often each model call was made. */
class World {
  readonly paid: string[] = []
  readonly store: JournalStore = memoryJournalStore()
  readonly plans: readonly Plan[]
  readonly budget: { readonly tokens: number; readonly total: number } | undefined

  constructor(plans: readonly Plan[], budget?: World["budget"]) {
    this.plans = plans
    this.budget = budget
  }

  /** The plan of a task: `0.1` is the second child of the first child. */
  planOf(task: string): Plan {
    let plan: Plan = { pays: 0, children: this.plans }
    for (const index of task === "parent" ? [] : task.split(".")) plan = plan.children[Number(index)] as Plan
    return plan
  }

  host(): { readonly host: Host; readonly config: ReturnType<typeof configOf> } {
    const llmCall: Host["llmCall"] = async (effect) => {
      const { task, answers, results } = asked(effect)
      const { pays, children } = this.planOf(task)
      if (answers < pays) return says("", `pay:p${answers}:${task} ${answers}`)
      const under = task === "parent" ? "" : `${task}.`
      if (answers === pays && children.length > 0) return says("", ...children.map((_child, index) => `sub:c${index}:${under}${index}`))
      return says(`end of ${task}: ${results.length}`)
    }
    const pay = defineTool({
      name: "pay",
      description: "",
      input: z.object({ task: z.string() }),
      effects: "once",
      execute: async ({ task }) => {
        this.paid.push(task)
        return `paid ${task}`
      },
    })
    const driver = approvalDriver(chatDriver(), { policy: (call) => (call.toolName === "pay" ? { hold: {} } : "run") })
    const options = { name: "sub", description: "", maxDepth: 2, ...(this.budget !== undefined && { budget: this.budget }), cancelGraceMs: 200 }
    const inner = childTool({ ...options, config: configOf([pay], { driver }), host: { llmCall, tools: toolbox([pay]) } })
    const outer = childTool({ ...options, config: configOf([pay, inner], { driver }), host: { llmCall, tools: toolbox([pay, inner]) } })
    return { host: { llmCall, tools: toolbox([pay, outer]) }, config: configOf([pay, outer], { driver }) }
  }

  /** A process that runs the turn. */
  async run(store: JournalStore, signal?: AbortSignal): Promise<Done | Suspended> {
    const { host, config } = this.host()
    const options = { suspend: true, ...(signal !== undefined && { signal }) } as const
    return journaled(host, store).run("t", { config, start: START, turnId: "T" }, options)
  }

  /** A process that decides about one held call. */
  async decide(store: JournalStore): Promise<boolean> {
    for await (const found of pendingApprovals(store)) {
      const [held] = found.error === undefined ? found.held : []
      if (held === undefined) continue
      const journal = await TurnJournal.open(store, found.name, { takeOver: true })
      const [result] = await journal.decide([{ requestId: held.requestId, digest: held.digest, decision: "approve" }])
      await journal.close()
      expect(result?.status).toBe("accepted")
      return true
    }
    return false
  }

  /** Runs and decides until the turn ends. */
  async finish(store: JournalStore): Promise<Done> {
    for (let round = 0; round < 50; round += 1) {
      const end = await this.run(store)
      if (end.type === "done") return end
      expect(end.held.length + end.pending.length).toBeGreaterThan(0)
      expect(await this.decide(store)).toBe(true)
    }
    throw new Error("The turn does not end.")
  }

  /** The answers of models that are stored, in all journals: counted without the code that is tested. */
  async stored(): Promise<{ readonly answers: number; readonly results: readonly string[]; readonly open: number }> {
    let answers = 0
    let open = 0
    const results: string[] = []
    for await (const name of this.store.list()) {
      const text = await textOf(await this.store.read(name))
      if (!text.includes("\n")) continue
      const { entries } = readJournal(text)
      if (entries.at(-1)?.record.type !== "end") open += 1
      for (const { record } of entries) {
        if (record.type === "llm_complete") answers += 1
        if (record.type === "tool_results") for (const { callId } of record.results) results.push(`${name} ${record.id} ${callId}`)
      }
    }
    return { answers, results, open }
  }
}

/** What must hold at every cut. */
async function expectLaws(world: World): Promise<void> {
  const tree = await turnTree(world.store, "t")
  const { answers, results } = await world.stored()
  expect(tokensOf(tree?.total ?? { ...USAGE, inputTokens: 0, outputTokens: 0 })).toBe(answers * tokensOf(USAGE))
  expect(new Set(results).size).toBe(results.length)
  expect(new Set(world.paid).size).toBe(world.paid.length)
  const { budget } = world
  for (const { children } of budget === undefined ? [] : [tree, ...(tree?.children ?? [])].flatMap((node) => node ?? [])) {
    // A child may cross its lease with the call that reaches it.
    const used = children.map(({ parent, outcome, usage }) =>
      outcome === undefined ? (parent?.lease ?? 0) : Math.min(tokensOf(usage), parent?.lease ?? 0),
    )
    expect(used.reduce((sum, tokens) => sum + tokens, 0)).toBeLessThanOrEqual(budget?.total ?? 0)
  }
}

/** How many writes a run with all its decisions needs. */
async function writesOf(plans: readonly Plan[]): Promise<number> {
  for (let writes = 4; ; writes *= 2) {
    const world = new World(plans)
    const store = dyingStore(world.store, writes)
    if ((await world.finish(store).catch(() => undefined)) !== undefined) return writes
  }
}

describe("a tree of turns", SLOW, () => {
  test("dies at any write of any of its turns, and continues: every token counted once, every result returned once", async () => {
    await checkAsync(
      60,
      fc.asyncProperty(family, fc.nat(), fc.nat(), async (plans, first, second) => {
        const whole = new World(plans)
        const expected = await whole.finish(whole.store)
        const most = await writesOf(plans)
        const world = new World(plans)
        for (const writes of [first % most, second % most]) {
          await world.finish(dyingStore(world.store, writes)).catch((error: unknown) => expect(String(error)).toContain("killed"))
          // What a dead process still does in the background writes nothing.
          await expectLaws(world)
        }
        const done = await world.finish(dyingStore(world.store, Number.POSITIVE_INFINITY))
        await expectLaws(world)
        expect(done.outcome.type).toBe(expected.outcome.type)
        const tree = await turnTree(world.store, "t")
        expect(tree?.total).toEqual(done.usage)
        expect((await world.stored()).open).toBe(0)
      }),
      10,
    )
  })

  test("is cancelled at any write, and no turn of it stays open", async () => {
    await checkAsync(
      60,
      fc.asyncProperty(family, fc.nat(), async (plans, cut) => {
        const most = await writesOf(plans)
        const world = new World(plans)
        await world.finish(dyingStore(world.store, cut % most)).catch((error: unknown) => expect(String(error)).toContain("killed"))
        const end = await world.run(dyingStore(world.store, Number.POSITIVE_INFINITY), AbortSignal.abort("enough"))
        expect(end.type).toBe("done")
        await expectLaws(world)
        expect((await world.stored()).open).toBe(0)
      }),
      10,
    )
  })

  test("never grants more than its budget, also when it dies between two grants", async () => {
    await checkAsync(
      60,
      fc.asyncProperty(family, fc.nat(), fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 120 }), async (plans, cut, tokens, total) => {
        const world = new World(plans, { tokens, total })
        await world.finish(dyingStore(world.store, cut % 40)).catch((error: unknown) => expect(String(error)).toContain("killed"))
        await expectLaws(world)
        await world.finish(dyingStore(world.store, Number.POSITIVE_INFINITY))
        await expectLaws(world)
      }),
      10,
    )
  })
})
