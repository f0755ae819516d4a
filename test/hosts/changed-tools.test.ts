import { expect, test } from "vitest"
import { approvalDriver } from "../../src/drivers/approval/driver.ts"
import { chatDriver } from "../../src/drivers/chat.ts"
import type { Host } from "../../src/hosts/host.ts"
import { journaled } from "../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../src/hosts/journal/memory.ts"
import { textOf } from "../../src/hosts/journal/parts.ts"
import type { JournalStore } from "../../src/hosts/journal/store.ts"
import { TurnJournal } from "../../src/hosts/journal/turn-journal.ts"
import { runTurn } from "../../src/hosts/run/run-turn.ts"
import { runThread, Thread } from "../../src/hosts/thread/thread.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import type { HeldCall } from "../../src/wire/approval.ts"
import type { TurnEvent } from "../../src/wire/event.ts"
import { calling, decide, USER_START } from "../support/held.ts"

// A person is asked about `pay`. Before they answer, a deployment changes the tool: what would run is not what they were asked about.

const ran: string[] = []
const host = (more: Partial<Host> = {}): Host => ({
  llmCall: async ({ request }) => (request.messages.some(({ role }) => role === "assistant") ? calling() : calling("pay:p1")),
  tools: {
    effects: () => "idempotent",
    call: async ({ callId }) => {
      ran.push(callId)
      return { output: { status: "success", value: "paid" } }
    },
  },
  ...more,
})

const spec = (name: string, description = name) => ({ name, description, inputSchema: { type: "object" } })
const BEFORE = [spec("look"), spec("pay")]
const CHANGED = [spec("pay", "Pays twice."), spec("look")]
const CASES: readonly (readonly [string, TurnConfig["tools"]])[] = [
  ["changed", CHANGED],
  ["is missing now", [spec("look")]],
]

function configOf(tools: TurnConfig["tools"] = BEFORE, more: Partial<TurnConfig> = {}): TurnConfig {
  const driver = approvalDriver(chatDriver(), { policy: ({ toolName }) => (toolName === "pay" ? { hold: {} } : "run") })
  return { driver, projector: chatProjector, model: "scripted", tools: tools ?? [], ...more }
}

async function suspended(store: JournalStore): Promise<HeldCall> {
  ran.length = 0
  const result = await journaled(host(), store).run("t", { config: configOf(), start: USER_START }, { suspend: true })
  return (result.type === "suspended" ? result.held[0] : undefined) as HeldCall
}

test.each(CASES)("TurnJournal.decide, tool %s: an approval and an edit are refused, a rejection counts", async (what, tools) => {
  const store = memoryJournalStore()
  const call = await suspended(store)
  const before = await textOf(await store.read("t"))
  const given = [decide(call), decide(call, { decision: "edit", args: { less: 1 } })]
  const refused = { status: "refused", code: "tool_changed", message: expect.stringContaining(`The tool "pay" ${what}`) }
  for (const options of [{ config: configOf(tools) }, { tools: tools ?? [] }]) {
    const journal = await TurnJournal.open(store, "t")
    expect(await journal.decide(given, options)).toMatchObject([refused, refused])
    await journal.close()
  }
  expect(await textOf(await store.read("t"))).toBe(before)

  const journal = await TurnJournal.open(store, "t")
  const machine = await journal.resume(configOf(tools))
  expect(await journal.decide(given)).toMatchObject([refused, refused])
  expect(await journal.decide([decide(call, { decision: "reject" })])).toMatchObject([{ status: "accepted" }])
  expect(await runTurn(machine, host(), { journal, suspend: true })).toMatchObject({ type: "done" })
  await journal.close()
  expect(ran).toEqual([])
})

test("tools in another order, with their keys in another order, are the same", async () => {
  const store = memoryJournalStore()
  const call = await suspended(store)
  const tools = BEFORE.map(({ name, description, inputSchema }) => ({ inputSchema, description, name })).reverse()
  const journal = await TurnJournal.open(store, "t")
  expect(await journal.decide([decide(call)], { config: configOf(tools) })).toMatchObject([{ status: "accepted" }])
  await journal.close()
})

test("tools that a host syncs during the turn are not compared with those of its configuration", async () => {
  const store = memoryJournalStore()
  const call = await suspended(store)
  const machine = await TurnJournal.open(store, "t")
  expect(await machine.decide([decide(call)], { tools: CHANGED })).toMatchObject([{ status: "refused" }])
  await machine.close()
  const restored = TurnMachine.of(configOf(CHANGED, { syncExecutionSurface: true }), new TurnMachine(configOf(), USER_START).turn)
  expect(restored.configuredTools).toBeUndefined()
})

test.each(CASES)("Host.decide, tool %s: an approval is shown as refused, and the call stays held", async (what, tools) => {
  const machine = new TurnMachine(configOf(), USER_START)
  await runTurn(machine, host(), { suspend: true })
  ran.length = 0
  const later = TurnMachine.restore(configOf(tools), JSON.stringify(machine.checkpoint()))
  const events: TurnEvent[] = []
  const approves = host({ decide: async (held) => held.map((call) => decide(call)) })
  const result = await runTurn(later, approves, { suspend: true, onEvent: (event) => void events.push(event) })
  expect(result).toMatchObject({ type: "suspended", held: [{ callId: "p1" }] })
  expect(events).toContainEqual({
    type: "message",
    kind: "diagnostic",
    text: expect.stringContaining(`was refused (tool_changed): The tool "pay" ${what}`),
  })
  const rejects = host({ decide: async (held) => held.map((call) => decide(call, { decision: "reject" })) })
  expect(await runTurn(later, rejects, { suspend: true })).toMatchObject({ type: "done" })
  expect(ran).toEqual([])
})

test.each(CASES)("Thread.decide, tool %s, in a process that only decides", async (_what, tools) => {
  ran.length = 0
  const store = memoryJournalStore()
  const first = await Thread.open(store, "th", { config: configOf() })
  await first.say("Pay.")
  const rest = await runThread(first, host(), { suspend: true })
  const [call] = rest.type === "suspended" ? rest.held : []
  await first.close()
  for (const config of [configOf(tools), () => configOf(tools)]) {
    const thread = await Thread.open(store, "th", { config })
    expect(await thread.decide([decide(call as HeldCall)])).toMatchObject([{ status: "refused", code: "tool_changed" }])
    await thread.close()
  }
  const thread = await Thread.open(store, "th", { config: configOf() })
  expect(await thread.decide([decide(call as HeldCall)])).toMatchObject([{ status: "accepted" }])
  await runThread(thread, host())
  await thread.close()
  expect(ran).toEqual(["p1"])
})
