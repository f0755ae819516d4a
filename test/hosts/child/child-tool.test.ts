import { describe, expect, test } from "vitest"
import * as z from "zod"
import { approvalDriver } from "../../../src/drivers/approval/driver.ts"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { childTool, turnTree } from "../../../src/hosts/child/index.ts"
import { UsageCount } from "../../../src/hosts/child/turn-usage.ts"
import { type Host, pending, type Suspended } from "../../../src/hosts/host.ts"
import { journaled } from "../../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { pendingApprovals } from "../../../src/hosts/journal/pending-approvals.ts"
import { readTurnJournal } from "../../../src/hosts/journal/read-journal.ts"
import { type JournalStore, JournalStoreError } from "../../../src/hosts/journal/store.ts"
import { TurnJournal } from "../../../src/hosts/journal/turn-journal.ts"
import { childPlace } from "../../../src/hosts/run/child-place.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { redirectRun } from "../../../src/hosts/run/wake-run.ts"
import { defineTool } from "../../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../../src/hosts/tools/toolbox.ts"
import { tokensOf } from "../../../src/machine/limits.ts"
import { TurnMachine } from "../../../src/machine/turn-machine.ts"
import { userMessage } from "../../../src/machine/user-message.ts"
import type { Done } from "../../../src/wire/effect.ts"
import type { TurnEvent } from "../../../src/wire/event.ts"
import type { JournalRecord } from "../../../src/wire/journal.ts"
import { asked, configOf, family, START, says, USAGE } from "./support.ts"

const times = (count: number) => ({
  inputTokens: 10 * count,
  cachedInputTokens: count,
  outputTokens: 5 * count,
  reasoningTokens: 2 * count,
})
const resultsOf = ({ messages }: Pick<Done, "messages">): readonly string[] =>
  messages.flatMap(({ parts }) => parts.flatMap((part) => (part.type === "tool_result" ? [part.text] : [])))

/** What the journal of the parent has. */
async function recordsOf(store: JournalStore): Promise<readonly JournalRecord[]> {
  return (await readTurnJournal(store, "t"))?.entries.map(({ record }) => record) ?? []
}

function grantsOf(records: readonly JournalRecord[]): object {
  return Object.fromEntries(records.flatMap((record) => (record.type === "child_granted" ? [[record.callId, record.lease]] : [])))
}

type Fails = (name: string, text: string) => Promise<boolean>

/** A store that is not available for some journals, or some of their records. */
function failing(inner: JournalStore, opening: Fails, writing: Fails = async () => false): JournalStore {
  const gone = () => new JournalStoreError("unavailable", "The store is gone.")
  return {
    ...inner,
    open: async (name, options) => {
      if (await opening(name, "")) throw gone()
      const stored = await inner.open(name, options)
      const append = async (text: string): Promise<void> => {
        if (await writing(name, text)) throw gone()
        return stored.append(text)
      }
      return { read: () => stored.read(), append, replace: (text) => stored.replace(text), close: () => stored.close() }
    },
  }
}

/** The parent asks each of the tasks at once, then ends. A child answers at once. */
const asking =
  (...calls: readonly string[]): Host["llmCall"] =>
  async (effect) => {
    const { task, answers } = asked(effect)
    if (task !== "parent") return says(`did ${task}`)
    return answers === 0 ? says("", ...calls) : says("done")
  }

describe("a child", () => {
  test("runs a turn of its own, and its result and tokens are those of the call", async () => {
    const store = memoryJournalStore()
    const events: TurnEvent[] = []
    const { run, turn } = family(store, asking("sub:c1:look", "sub:c2:read"))
    const done = await run("t", turn, { onEvent: (event) => events.push(event) })
    expect(resultsOf(done)).toEqual(["did look", "did read"])
    expect(done.usage).toEqual(times(4))
    expect(events.filter(({ type }) => type === "child_token_usage")).toMatchObject([
      { sessionId: "T:2:c1", source: "sub", usage: USAGE },
      { sessionId: "T:2:c2", source: "sub", usage: USAGE },
    ])
    const tree = await turnTree(store, "t")
    expect(tree?.children.map(({ turnId, parent }) => [turnId, parent])).toEqual(
      expect.arrayContaining([
        ["T:2:c1", { turnId: "T", effectId: 2, callId: "c1", depth: 1 }],
        ["T:2:c2", { turnId: "T", effectId: 2, callId: "c2", depth: 1 }],
      ]),
    )
    expect(tree).toMatchObject({ usage: times(4), total: times(4) })
    expect(tree?.outcome?.type).toBe("finished")
  })

  test("runs in memory where its parent has no journal", async () => {
    const { host, turn } = family(memoryJournalStore(), asking("sub:c1:look"))
    const done = await runTurn(new TurnMachine(turn.config, turn.start), host)
    expect(resultsOf(done)).toEqual(["did look"])
    expect(done.usage).toEqual(times(3))
  })

  test("in memory counts in the total of its own turn", async () => {
    const { host, turn } = family(memoryJournalStore(), asking("sub:c1:a", "sub:c2:b"), { child: { budget: { tokens: 20, total: 20 } } })
    for (const turnId of ["A", "B:2"]) {
      const done = await runTurn(new TurnMachine(turn.config, turn.start), host, { turnId })
      expect(resultsOf(done)).toEqual(["did a", expect.stringContaining("budget of this turn's subagents")])
    }
  })

  test("has no children at the default depth, and the model reads why", async () => {
    const store = memoryJournalStore()
    const model: Host["llmCall"] = async (effect) => {
      const { task, answers, results } = asked(effect)
      if (answers > 0) return says(results.join())
      return task === "grandchild" ? says("deep") : says("", `sub:c-${task}:${task === "parent" ? "child" : "grandchild"}`)
    }
    const nested = (maxDepth?: number) => {
      const inner = childTool({ name: "sub", description: "", config: configOf([]), host: { llmCall: model }, ...(maxDepth && { maxDepth }) })
      return family(store, model, {
        child: { config: configOf([inner]), host: { llmCall: model, tools: toolbox([inner]) }, ...(maxDepth && { maxDepth }) },
      })
    }
    const one = nested()
    expect(resultsOf(await one.run("t1", one.turn))[0]).toMatch(/nested 1 deep/)
    const two = nested(2)
    const done = await two.run("t2", { ...two.turn, turnId: "T2" })
    expect(resultsOf(done)).toEqual(["deep"])
    expect(done.usage).toEqual(times(5))
    const tree = await turnTree(store, "t2")
    expect(tree?.children[0]?.children[0]).toMatchObject({ parent: { depth: 2 }, usage: times(1) })
    expect(tree?.total).toEqual(times(5))
  })

  test("fails its call as a value if it stops without a result", async () => {
    const { run, turn } = family(memoryJournalStore(), asking("sub:c1:look", "sub:c2: "), {
      child: { host: { llmCall: async () => Promise.reject(new Error("down")) } },
    })
    const [stopped, wrong] = resultsOf(await run("t", turn))
    expect(stopped).toContain("[Tool execution failed]")
    expect(stopped).toContain("provider_error")
    expect(wrong).toContain('{ "task": "…" }')
  })

  test("refuses options that would not do what they say", () => {
    const options = { name: "sub", description: "", config: configOf([]), host: { llmCall: asking() } }
    expect(() => childTool({ ...options, maxDepth: 0 })).toThrow(RangeError)
    expect(() => childTool({ ...options, budget: { tokens: 0 } })).toThrow(RangeError)
    expect(() => childTool({ ...options, bugdet: { tokens: 5 } } as typeof options)).toThrow(/budget/)
    expect(() => childTool({ ...options, name: "" })).toThrow(/needs a name/)
  })
})

describe("budgets", () => {
  test("a lease is the child's limit, and is in its header", async () => {
    const store = memoryJournalStore()
    const look = defineTool({ name: "look", description: "", input: z.object({}), execute: async () => "seen" })
    const model: Host["llmCall"] = async (effect) => {
      const { task, answers } = asked(effect)
      if (task === "parent") return answers === 0 ? says("", "sub:c1:long") : says("done")
      return says(`step ${answers}`, `look:l${answers}`)
    }
    const { run, turn } = family(store, model, { own: [look], child: { budget: { tokens: 40 } } })
    const [text] = resultsOf(await run("t", turn))
    expect(text).toMatch(/max_tokens/)
    expect(text).toMatch(/step 2/)
    const tree = await turnTree(store, "t")
    expect(tree?.children[0]?.parent?.lease).toBe(40)
    expect(tree?.children[0]?.usage).toEqual(times(3))
  })

  test("children of one turn never get more together than the total, however many begin at once", async () => {
    const store = memoryJournalStore()
    const barrier = { open: 0, all: () => {} }
    const opened = new Promise<void>((resolve) => {
      barrier.all = resolve
    })
    const model: Host["llmCall"] = async (effect, context) => {
      if (asked(effect).task !== "parent") {
        barrier.open += 1
        if (barrier.open === 3) barrier.all()
        await opened
      }
      return asking(...[1, 2, 3, 4].map((n) => `sub:c${n}:task ${n}`))(effect, context)
    }
    const { run, turn } = family(store, model, { child: { budget: { tokens: 30, total: 70 } } })
    const results = resultsOf(await run("t", turn))
    const leases = (await turnTree(store, "t"))?.children.map(({ parent }) => parent?.lease ?? 0) ?? []
    expect(leases.toSorted()).toEqual([10, 30, 30])
    expect(results.filter((text) => text.includes("budget of this turn's subagents"))).toHaveLength(1)
  })

  test.each([
    ["a budget of their own", { budget: { tokens: 1_000 } }],
    ["no budget", {}],
  ])("children of a child share its lease, with %s", async (_case, budget) => {
    const store = memoryJournalStore()
    const model: Host["llmCall"] = async (effect) => {
      const { task, answers } = asked(effect)
      if (task === "parent") return answers === 0 ? says("", "sub:c:child") : says("done")
      if (task === "child") return answers === 0 ? says("", "sub:g1:one", "sub:g2:two") : says("done")
      return says("deep")
    }
    const options = { name: "sub", description: "", maxDepth: 2, host: { llmCall: model } }
    const inner = childTool({ ...options, ...budget, config: configOf([]) })
    const { run, turn } = family(store, model, {
      child: { ...options, budget: { tokens: 50 }, config: configOf([inner]), host: { llmCall: model, tools: toolbox([inner]) } },
    })
    await run("t", turn)
    const child = (await turnTree(store, "t"))?.children[0]
    expect(child?.parent?.lease).toBe(50)
    // The child's own call took 15. What is left goes to the first of its children, and the other is refused.
    expect(child?.children.map(({ parent }) => parent?.lease)).toEqual([35])
    expect(tokensOf(child?.total ?? USAGE)).toBe(15 * 3)
  })

  test("a turn that has the name of a deleted one shares its total anew", async () => {
    const store = memoryJournalStore()
    const model: Host["llmCall"] = async (effect) => {
      const { task, answers } = asked(effect)
      if (task !== "parent") return says("did it")
      return [says("", "sub:c1:one", "sub:c2:two"), says("", "sub:c3:three")][answers] ?? says("done")
    }
    const { run, turn } = family(store, model, { child: { budget: { tokens: 30, total: 50 } } })
    const leases = async () => (await turnTree(store, "t"))?.children.map(({ parent }) => parent?.lease ?? 0).toSorted()
    await run("t", turn)
    const first = await leases()
    const names: string[] = []
    for await (const name of store.list()) names.push(name)
    for (const name of names) await store.delete(name)
    await run("t", turn)
    expect(first).toEqual([20, 20, 30])
    expect(await leases()).toEqual(first)
  })

  test("are in the journal of the parent before a child begins, and stay there when it is compacted", async () => {
    const store = memoryJournalStore()
    let isKilled = true
    const seen: object[] = []
    const model: Host["llmCall"] = async (effect) => {
      const { task, answers } = asked(effect)
      if (task === "parent") return answers === 0 ? says("", "sub:c1:one", "sub:c2:two") : says("done")
      const records = await recordsOf(store)
      seen.push({ compacted: records[0]?.type !== "llm_complete", ...grantsOf(records) })
      if (isKilled && seen.length === 2) throw new Error("killed")
      return says("did it")
    }
    const { run, turn } = family(store, model, { child: { budget: { tokens: 30, total: 50 } } })
    await expect(run("t", turn, { isFatal: () => true })).rejects.toThrow("killed")
    expect(seen).toEqual([
      { compacted: false, c1: 30 },
      { compacted: false, c1: 30, c2: 20 },
    ])
    isKilled = false
    const next = family(store, model, { child: { budget: { tokens: 30, total: 50 } }, journal: { compactAboveChars: 1, snapshotEveryRecords: 1 } })
    await next.run("t", turn)
    expect(seen.at(-1)).toEqual({ compacted: true, c1: 30, c2: 20 })
  })

  const startOfGood = ({ task }: { readonly task: string }) => ({ messages: task === "bad" ? [{ id: 1 } as never] : [userMessage(task)] })
  const ofAll = { start: startOfGood, maxOpen: 1, budget: { tokens: 50, total: 50 } }

  test("a child that cannot begin leaves its tokens and its place to the others", async () => {
    const store = memoryJournalStore()
    const { run, turn } = family(store, asking("sub:c1:bad", "sub:c2:good"), { child: ofAll })
    expect(resultsOf(await run("t", turn))).toEqual([expect.stringContaining("could not run"), "did good"])
    expect(grantsOf(await recordsOf(store))).toEqual({ c1: 50, c2: 50 })
  })

  test("a child that could not begin leaves them also to those that begin after a crash", async () => {
    const inner = memoryJournalStore()
    const opened = new Set<string>()
    let isBroken = true
    const hasResult = async () => (await recordsOf(inner)).some(({ type }) => type === "tool_results")
    const store = failing(inner, async (name) => {
      if (!isBroken || !name.includes(".child-") || opened.add(name).size < 2) return false
      while (!(await hasResult())) await new Promise((resolve) => setTimeout(resolve, 1))
      return true
    })
    const { run, turn } = family(store, asking("sub:c1:bad", "sub:c2:good"), { child: ofAll })
    await expect(run("t", turn)).rejects.toMatchObject({ code: "unavailable" })
    expect(grantsOf(await recordsOf(inner))).toEqual({ c1: 50 })
    isBroken = false
    expect(resultsOf(await run("t", turn))).toEqual([expect.stringContaining("could not run"), "did good"])
  })

  test("what an earlier process granted stays, also if nothing limits it any more", async () => {
    let isBroken = true
    const store = failing(
      memoryJournalStore(),
      async () => false,
      async (name) => isBroken && name.includes(".child-"),
    )
    const first = family(store, asking("sub:c1:a"), { child: { budget: { tokens: 30, total: 50 } } })
    await expect(first.run("t", first.turn)).rejects.toMatchObject({ code: "unavailable" })
    isBroken = false
    const next = family(store, asking("sub:c1:a"))
    await next.run("t", next.turn)
    expect(grantsOf(await recordsOf(store))).toEqual({ c1: 30 })
    expect((await turnTree(store, "t"))?.children.map(({ parent }) => parent?.lease)).toEqual([30])
  })

  test("a child beyond the capacity is refused, and may be asked for later", async () => {
    const store = memoryJournalStore()
    const { run, turn } = family(store, asking("sub:c1:a", "sub:c2:b"), { child: { maxOpen: 1 } })
    const results = resultsOf(await run("t", turn))
    expect(results[0]).toBe("did a")
    expect(results[1]).toMatch(/1 of at most 1/)
  })
})

describe("an error of the store of a child", () => {
  test.each(["fenced", "unavailable"] as const)("%s: ends the parent's run, and the next one continues the child", async (code) => {
    const inner = memoryJournalStore()
    let isBroken = true
    const store: JournalStore = {
      ...inner,
      open: async (name, options) => {
        const stored = await inner.open(name, options)
        const append = (text: string): Promise<void> =>
          isBroken && name.includes(".child-") && text.includes("tool_results")
            ? Promise.reject(new JournalStoreError(code, "The store is gone."))
            : stored.append(text)
        return { read: () => stored.read(), append, replace: (text) => stored.replace(text), close: () => stored.close() }
      },
    }
    const look = defineTool({ name: "look", description: "", input: z.object({}), execute: async () => "seen" })
    const model: Host["llmCall"] = async (effect) => {
      const { task, answers } = asked(effect)
      if (task === "parent") return answers === 0 ? says("", "sub:c1:one") : says("done")
      return answers === 0 ? says("", "look:l1") : says("did it")
    }
    const { run, turn } = family(store, model, { own: [look] })
    await expect(run("t", turn)).rejects.toMatchObject({ code })
    expect((await recordsOf(inner)).map(({ type }) => type)).not.toContain("tool_results")
    isBroken = false
    const done = await run("t", turn)
    expect(resultsOf(done)).toEqual(["did it"])
    // Two calls of the parent, and two of the child.
    expect(done.usage).toEqual(times(4))
  })
})

describe("a redirected parent", () => {
  test("cancels its children, counts what they used and said, and continues", async () => {
    const store = memoryJournalStore()
    let redirected: Promise<boolean> | undefined
    let parent: TurnMachine | undefined
    const model: Host["llmCall"] = async (effect, { signal, emit }) => {
      const { task, answers } = asked(effect)
      if (task === "parent") return answers === 0 ? says("", "sub:c1:slow", "sub:c2:slow") : says("done")
      emit({ type: "text_delta", content: "half of it" })
      if (parent !== undefined) redirected ??= redirectRun(parent, [userMessage("Do something else.", { id: "u2" })])
      return new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
    }
    const { host, turn } = family(store, model)
    const save: Host["save"] = (machine) => {
      parent = machine
    }
    const { run } = journaled({ ...host, save }, store)
    const done = await run("t", turn)
    expect([await redirected, done.outcome.type]).toEqual([true, "finished"])
    expect(resultsOf(done)).toHaveLength(2)
    for (const text of resultsOf(done)) expect(text).toMatch(/cancelled.*half of it/s)
    const tree = await turnTree(store, "t")
    expect(tree?.children).toHaveLength(2)
    for (const child of tree?.children ?? []) expect(child.outcome).toMatchObject({ type: "stopped", stop: { type: "cancelled" } })
    expect(tree?.usage).toEqual(done.usage)
  })
})

describe("a cancelled parent", () => {
  test("cancels its children, and counts what they used and said", async () => {
    const store = memoryJournalStore()
    const controller = new AbortController()
    let running = 0
    const model: Host["llmCall"] = async (effect, { signal }) => {
      const { task, answers } = asked(effect)
      if (task === "parent") return says("", "sub:c1:a", "sub:c2:b")
      if (answers === 0) return says(`begun ${task}`, "nothing:n:x")
      running += 1
      if (running === 2) controller.abort("enough")
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve))
      throw signal.reason
    }
    const { run, turn } = family(store, model)
    const done = await run("t", turn, { signal: controller.signal })
    expect(done.outcome).toMatchObject({ type: "stopped", stop: { type: "cancelled" } })
    expect(resultsOf(done)).toEqual([expect.stringContaining("begun a"), expect.stringContaining("begun b")])
    expect(done.usage).toEqual(times(3))
    const tree = await turnTree(store, "t")
    expect(tree?.children).toHaveLength(2)
    for (const child of tree?.children ?? []) expect(child.outcome).toMatchObject({ type: "stopped", stop: { type: "cancelled" } })
    expect(tree?.total).toEqual(times(3))
  })

  test("waits for the children of its children: each depth has less time to end", async () => {
    const store = memoryJournalStore()
    const controller = new AbortController()
    const model: Host["llmCall"] = async (effect) => {
      const { task, answers } = asked(effect)
      if (task !== "grandchild") return says("", `sub:c-${task}:${task === "parent" ? "child" : "grandchild"}`)
      if (answers === 0) return says("begun", "nothing:n:x")
      controller.abort("enough")
      return new Promise(() => {})
    }
    const options = { name: "sub", description: "", maxDepth: 2, host: { llmCall: model } }
    const inner = childTool({ ...options, config: configOf([]) })
    const { run, turn } = family(store, model, {
      child: { ...options, config: configOf([inner]), host: { llmCall: model, tools: toolbox([inner]) } },
    })
    expect((await run("t", turn, { signal: controller.signal })).usage).toEqual(times(3))
  })

  test("cancels its children where it is redirected, and counts what they used", async () => {
    const store = memoryJournalStore()
    const redirect = { now: (): void => {} }
    const model: Host["llmCall"] = async (effect, { signal }) => {
      const { task, answers } = asked(effect)
      if (task === "parent") return answers === 0 ? says("", "sub:c1:a") : says("done")
      if (answers === 0) return says("begun", "nothing:n:x")
      redirect.now()
      await new Promise((resolve) => signal.addEventListener("abort", resolve))
      throw signal.reason
    }
    const { host, turn } = family(store, model)
    const journal = await TurnJournal.open(store, "t")
    const machine = await journal.begin(turn.config, turn.start, { turnId: "T" })
    redirect.now = () => void redirectRun(machine, [{ ...userMessage("instead"), id: "other" }])
    const done = await runTurn(machine, host, { journal })
    await journal.close()
    expect(done.outcome.type).toBe("finished")
    expect(resultsOf(done)).toEqual([expect.stringContaining("begun")])
    expect(done.usage).toEqual(times(3))
    const tree = await turnTree(store, "t")
    expect(tree?.children[0]?.outcome).toMatchObject({ type: "stopped", stop: { type: "cancelled" } })
    expect(tree?.total).toEqual(times(3))
  })
})

const pay = () => {
  const paid: string[] = []
  const tool = defineTool({
    name: "pay",
    description: "Pays.",
    input: z.object({ task: z.string() }),
    effects: "once",
    execute: async ({ task }) => {
      paid.push(task)
      return `paid ${task}`
    },
  })
  return { paid, tool }
}

/** A child that pays, and is asked before. The parent may not pay. */
function paying(store = memoryJournalStore()) {
  const { paid, tool } = pay()
  const model: Host["llmCall"] = async (effect) => {
    const { task, answers, results } = asked(effect)
    if (task === "parent") return answers === 0 ? says("", "sub:c1:bill", "sub:c2:free") : says(results.join("; "))
    if (task === "free") return says("nothing to pay")
    return answers === 0 ? says("", "pay:p1:10 euros") : says(results.join())
  }
  const driver = approvalDriver(chatDriver(), { policy: () => ({ hold: {} }) })
  const made = family(store, model, { child: { config: configOf([tool], { driver }), host: { llmCall: model, tools: toolbox([tool]) } } })
  return { store, paid, ...made }
}

describe("a child that waits for a decision", () => {
  test("lets its parent suspend; decided in its journal, both continue in another process", async () => {
    const { store, paid, run, turn } = paying()
    const first = (await run("t", turn, { suspend: true })) as Suspended
    expect(first).toMatchObject({ type: "suspended", held: [], pending: [{ callId: "c1", token: "T:2:c1" }] })
    const [child] = first.children ?? []
    expect(child).toMatchObject({ turnId: "T:2:c1", parent: { turnId: "T", callId: "c1" }, held: [{ requestId: "2:p1", toolName: "pay" }] })
    expect(paid).toEqual([])

    const listed = []
    for await (const found of pendingApprovals(store)) listed.push([found.name, found.error === undefined ? found.held.length : "error"])
    expect(listed).toEqual([
      ["t", 0],
      [child?.name, 1],
    ])

    const again = (await paying(store).run("t", turn, { suspend: true })) as Suspended
    expect(again.children).toEqual(first.children)

    const journal = await TurnJournal.open(store, child?.name ?? "")
    const [held] = child?.held ?? []
    const decision = { requestId: held?.requestId ?? "", digest: held?.digest ?? "", decision: "approve", by: "ada" } as const
    expect(await journal.decide([decision])).toMatchObject([{ status: "accepted" }])
    await journal.close()

    const other = paying(store)
    const done = (await other.run("t", turn, { suspend: true })) as Done
    expect(done.type).toBe("done")
    expect(other.paid).toEqual(["10 euros"])
    expect(resultsOf(done)).toEqual(["paid 10 euros", "nothing to pay"])
    expect(done.usage).toEqual(times(5))
    expect((await turnTree(store, "t"))?.total).toEqual(times(5))
  })

  test("is cancelled with its parent, in another process", async () => {
    const { store, paid, run, turn } = paying()
    await run("t", turn, { suspend: true })
    const other = paying(store)
    const done = await other.run("t", turn, { signal: AbortSignal.abort("no") })
    expect(done.outcome).toMatchObject({ type: "stopped", stop: { type: "cancelled" } })
    const tree = await turnTree(store, "t")
    expect(tree?.children.map(({ outcome }) => outcome?.type).toSorted()).toEqual(["finished", "stopped"])
    expect([...paid, ...other.paid]).toEqual([])
    expect(done.usage).toEqual(times(3))
    expect(tree?.total).toEqual(times(3))
  })

  test("refuses a run that may not suspend, and the turn is as before", async () => {
    const { run, turn } = paying()
    await expect(run("t", turn)).rejects.toMatchObject({ code: "pending_without_suspend" })
    expect(((await run("t", turn, { suspend: true })) as Suspended).children).toHaveLength(1)
  })

  test("is decided by its own host at once, where that has a decider", async () => {
    const store = memoryJournalStore()
    const { paid, tool } = pay()
    const model: Host["llmCall"] = async (effect) => {
      const { task, answers, results } = asked(effect)
      if (task === "parent") return answers === 0 ? says("", "sub:c1:bill") : says("done")
      return answers === 0 ? says("", "pay:p1:10 euros") : says(results.join())
    }
    const driver = approvalDriver(chatDriver(), { policy: () => ({ hold: {} }) })
    const decide: Host["decide"] = async (held) => held.map(({ requestId, digest }) => ({ requestId, digest, decision: "approve" }))
    const { run, turn } = family(store, model, {
      child: { config: configOf([tool], { driver }), host: { llmCall: model, tools: toolbox([tool]), decide } },
    })
    expect(resultsOf(await run("t", turn))).toEqual(["paid 10 euros"])
    expect(paid).toEqual(["10 euros"])
  })
})

describe("a paused parent", () => {
  test("suspends its children, and the next run continues them where they were", async () => {
    const store = memoryJournalStore()
    const pause = new AbortController()
    const calls: string[] = []
    const look = defineTool({ name: "look", description: "", input: z.object({}), execute: async () => "seen" })
    const model: Host["llmCall"] = async (effect) => {
      const { task, answers } = asked(effect)
      calls.push(`${task}${answers}`)
      if (task === "parent") return answers === 0 ? says("", "sub:c1:a") : says("done")
      if (answers === 0) pause.abort()
      return answers === 0 ? says("first", "look:l:x") : says("second")
    }
    const one = family(store, model, { own: [look] })
    expect(await one.run("t", one.turn, { pause: pause.signal })).toMatchObject({ type: "suspended", pending: [{ callId: "c1" }] })
    expect(calls).toEqual(["parent0", "a0"])
    const done = await one.run("t", one.turn)
    expect(resultsOf(done)).toEqual(["second"])
    expect(calls).toEqual(["parent0", "a0", "a1", "parent1"])
  })
})

describe("a run that ends early", () => {
  test("leaves its children open: the next run continues them, and does not find them cancelled", async () => {
    const store = memoryJournalStore()
    let isBroken = true
    const model: Host["llmCall"] = async (effect) => {
      const { task, answers } = asked(effect)
      if (task === "parent") return answers === 0 ? says("", "sub:c1:a") : says("done")
      if (isBroken) await new Promise((resolve) => setTimeout(resolve, 30))
      return says("whole")
    }
    const { run, turn } = family(store, model)
    const onEvent = (event: TurnEvent): void => {
      if (isBroken && event.type === "tool_call_start") throw new Error("screen is gone")
    }
    await expect(run("t", turn, { onEvent })).rejects.toThrow("screen is gone")
    isBroken = false
    expect(resultsOf(await run("t", turn))).toEqual(["whole"])
  })
})

test("a tool's own usage counts in the turn", async () => {
  const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }
  const tool = {
    spec: { name: "own", description: "", inputSchema: { type: "object" } },
    call: async () => ({ output: { status: "success" as const, value: 1 }, usage }),
  }
  const model: Host["llmCall"] = async (effect) => (asked(effect).answers === 0 ? says("", "own:o:x") : says("done"))
  const host = { llmCall: model, tools: toolbox([tool]) }
  const done = await runTurn(new TurnMachine(configOf([tool]), START), host)
  expect(done.usage).toMatchObject({ inputTokens: 21, outputTokens: 12 })
})

test("the tokens of a turn are counted from its records as its machine counts them", () => {
  const count = new UsageCount()
  const answer = (id: number) => ({ type: "llm_complete", id, result: { ok: true, response: says("x") } }) as const
  const call = { callId: "c", toolName: "t", args: {}, output: { status: "success", value: 1 }, durationMs: 0, usage: USAGE } as const
  for (const record of [
    answer(1),
    answer(1),
    { type: "tool_results", id: 2, results: [call] } as const,
    { type: "tool_results", id: 2, results: [call] } as const,
  ])
    count.add(record)
  expect(count.usage).toEqual(times(2))
  const error = { message: "down", retryable: true, terminalReason: "provider_error", retriedUsage: USAGE } as const
  count.add({ type: "llm_complete", id: 3, result: { ok: false, error, partial: says("half") } })
  expect(count.usage).toEqual(times(4))
  count.add({ type: "interruption", interruption: { type: "cancel", partial: says("half") } })
  expect(count.usage).toEqual(times(5))
})

test("two calls with the same id do not share a child", async () => {
  const { sub } = family(memoryJournalStore(), asking())
  const context = { effectId: 2, idempotencyKey: "T:2:c1", signal: new AbortController().signal, emit: () => {} }
  const call = { callId: "c1", toolName: "sub", args: { task: "a" } }
  const [first, second] = await Promise.all([sub.call(call, context), sub.call(call, context)])
  expect(first.output).toEqual({ status: "success", value: "did a" })
  expect(second.output).toMatchObject({ status: "failure", failure: { code: "child_running" } })
})

test("a child's journal that its owner never closed is taken over", async () => {
  const store = memoryJournalStore()
  const { run, turn } = family(store, asking("sub:c1:a"))
  const place = { store, name: "t", depth: 0 }
  const { name } = childPlace(place, { turnId: "T", effectId: 2, callId: "c1", signal: new AbortController().signal })
  await store.open(name)
  expect(resultsOf(await run("t", turn))).toEqual(["did a"])
})

test("the journal of another turn is not continued", async () => {
  const store = memoryJournalStore()
  const { run, turn } = family(store, asking("sub:c1:a"))
  const { name } = childPlace({ store, name: "t", depth: 0 }, { turnId: "T", effectId: 2, callId: "c1", signal: new AbortController().signal })
  const other = await TurnJournal.open(store, name)
  await other.begin(turn.config, START, { turnId: "other" })
  await other.close()
  expect(resultsOf(await run("t", turn))).toEqual([expect.stringContaining("another child's turn")])
})

test("a compaction in the middle of a batch counts the child that has its result once", async () => {
  const store = memoryJournalStore()
  const model: Host["llmCall"] = async (effect) => {
    const { task, answers } = asked(effect)
    if (task !== "parent") return says(`did ${task} `.repeat(200))
    return answers === 0 ? says("", "sub:c1:a", "wait:w:x") : says("done")
  }
  const wait = { spec: { name: "wait", description: "", inputSchema: { type: "object" } }, call: async () => pending({ token: "job" }) }
  const { run, turn } = family(store, model, { own: [wait], journal: { compactAboveChars: 1, snapshotEveryRecords: 1 } })
  expect((await run("t", turn, { suspend: true })).type).toBe("suspended")
  // Another process: the snapshot of an open batch takes the place of the child's result.
  expect((await run("t", turn, { suspend: true })).type).toBe("suspended")
  expect((await turnTree(store, "t"))?.total).toEqual(times(2))
  const journal = await TurnJournal.open(store, "t")
  expect(journal.recorded?.header.dropped ?? 0).toBeGreaterThan(0)
  expect(journal.recorded?.entries.some(({ record }) => record.type === "tool_results")).toBe(false)
  await journal.answer("w", { output: { status: "success", value: 1 } })
  await journal.close()
  await run("t", turn, { suspend: true })
  expect((await turnTree(store, "t"))?.total).toEqual(times(3))
})
