import { chatDriver, chatProjector, userMessage } from "turn-machine"
import { defineTool, type JournalStore, memoryJournalStore, type StoredJournal, toolbox } from "turn-machine/hosts"
import { type JournaledTurn, journaled } from "turn-machine/hosts/journal"
import { scriptedModel } from "turn-machine/testing"
import * as z from "zod"
import { describe, expect, record, test } from "./registry.ts"

/** What the tools of the turn changed in the world. */
class World {
  readonly paid = new Map<string, number>()
  reads = 0
}

const MODEL = [
  {
    text: "I look.",
    toolCalls: [
      { toolName: "read_bill", args: { month: "May" } },
      { toolName: "read_bill", args: { month: "Juni" } },
    ],
  },
  { toolCalls: [{ toolName: "pay", args: { cents: 8_050 } }] },
  { toolCalls: [{ toolName: "read_bill", args: { month: "Mai 🌤" } }] },
  "All bills are paid.",
] as const

function turnIn(world: World): { readonly host: Parameters<typeof journaled>[0]; readonly turn: JournaledTurn } {
  const tools = toolbox([
    defineTool({
      name: "read_bill",
      description: "Reads the bill of a month.",
      input: z.object({ month: z.enum(["May", "Mai 🌤"]) }),
      output: z.object({ cents: z.number(), due: z.string() }),
      effects: "none",
      async execute({ month }) {
        world.reads += 1
        return { cents: 8_050, due: `the end of ${month}` }
      },
    }),
    defineTool({
      name: "pay",
      description: "Pays an amount.",
      input: z.object({ cents: z.int().positive() }),
      effects: "once",
      async execute({ cents }, { idempotencyKey = "" }) {
        if (world.paid.has(idempotencyKey)) throw new Error(`Paid twice under ${idempotencyKey}.`)
        world.paid.set(idempotencyKey, cents)
        return `paid ${cents}`
      },
      async recover(_input, { idempotencyKey = "" }) {
        const cents = world.paid.get(idempotencyKey)
        return cents === undefined ? { ran: false } : { ran: true, value: `paid ${cents}` }
      },
    }),
  ])
  const config = {
    driver: chatDriver(),
    projector: chatProjector,
    model: "scripted",
    systemPrompt: "You pay bills.",
    tools: tools.specs,
    maxIterations: 9,
  }
  const turn = { config, start: { messages: [userMessage("Pay my bills.")] }, turnId: "bills" }
  return { host: { llmCall: scriptedModel(MODEL).llmCall, tools }, turn }
}

/** A store whose process is killed at the n-th write: before it, or in the middle of it. */
function dyingStore(store: JournalStore, writes: number, torn: boolean): { readonly store: JournalStore; readonly killed: Promise<"killed"> } {
  let left = writes
  let kill = (_killed: "killed"): void => {}
  const killed = new Promise<"killed">((resolve) => {
    kill = resolve
  })
  const open: JournalStore["open"] = async (name) => {
    const stored = await store.open(name)
    const append: StoredJournal["append"] = async (text) => {
      left -= 1
      if (left > 0) return stored.append(text)
      if (left === 0 && torn) await stored.append(text.slice(0, Math.floor(text.length / 2)))
      kill("killed")
      return new Promise(() => {})
    }
    return { read: () => stored.read(), append, replace: (text) => stored.replace(text), close: () => stored.close() }
  }
  return { store: { ...store, open }, killed }
}

/** The number of records in the journal of the turn. */
const RECORDS = 15
/** How many writes they are: the empty delivery after the results of a batch, and the end after the last answer, come with the record before. */
const WRITES = 11

async function textOf(store: JournalStore): Promise<string> {
  let text = ""
  for await (const part of (await store.read("bills.jsonl")) ?? []) text += part
  return text
}

describe("a journaled turn with tools", () => {
  test("runs to its end", async () => {
    const world = new World()
    const { host, turn } = turnIn(world)
    const store = memoryJournalStore()
    const done = await journaled(host, store).run("bills.jsonl", turn, { now: () => 1_000 })
    expect(done.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "All bills are paid." } })
    expect([...world.paid]).toEqual([["bills:5:call_2_1", 8_050]])
    record(done.messages)
    const text = await textOf(store)
    expect(text.split("\n").length - 1).toBe(RECORDS)
    record(text)
  })

  for (const torn of [false, true])
    for (let write = 1; write <= WRITES; write += 1)
      test(`resumes after it was killed ${torn ? "in the middle of" : "before"} write ${write}`, async () => {
        const world = new World()
        const { host, turn } = turnIn(world)
        const store = memoryJournalStore()
        const dying = dyingStore(store, write, torn)
        const first = journaled(host, dying.store).run("bills.jsonl", turn, { now: () => 1_000 })
        expect(await Promise.race([first.then(() => "ended"), dying.killed])).toBe("killed")
        const again = turnIn(world)
        const done = await journaled(again.host, store, { takeOver: true }).run("bills.jsonl", again.turn, { now: () => 2_000 })
        expect(done.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "All bills are paid." } })
        expect([...world.paid.values()]).toEqual([8_050])
        record(done.messages)
      })
})
