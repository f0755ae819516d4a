import { expect, test } from "vitest"
import { memoryJournalStore } from "../../src/hosts/journal/memory.ts"
import type { JournalStore, StoredJournal } from "../../src/hosts/journal/store.ts"
import { TurnJournal } from "../../src/hosts/journal/turn-journal.ts"
import { runTurn } from "../../src/hosts/run/run-turn.ts"
import { readJournal } from "../../src/replay/journal.ts"
import { answer, configOf, userMessage } from "../machine/support.ts"
import { opened } from "../support/stored-text.ts"

const CONFIG = configOf()
const START = { messages: [userMessage("Look.")] }

/** A model that requests one call, and then ends the turn. */
const llmCall = async ({ id }: { readonly id: number }) => {
  const parts = id === 1 ? [{ type: "tool_call" as const, callId: "a", toolName: "look", inputJson: "{}" }] : []
  const { result } = answer(id, parts, { text: id === 1 ? "" : "Seen.", terminalReason: id === 1 ? "tool_use" : "stop" })
  if (!result.ok) throw new Error("Not scripted.")
  return result.response
}

const toolCall = async () => ({ output: { status: "success", value: "seen" } }) as const

test("the effects of a result are emitted, even if the turn was cancelled and the process killed before", async () => {
  const store = memoryJournalStore()
  const journal = await TurnJournal.open(store, "turn")
  const machine = await journal.begin(CONFIG, START, { turnId: "turn-1" })
  while (machine.poll() !== undefined);
  await llmCall({ id: 1 }).then(async (response) => {
    const complete = { type: "llm_complete", id: 1, result: { ok: true, response } } as const
    await journal.response(machine, complete)
    machine.handle(complete)
  })
  while (machine.poll() !== undefined);
  const results = {
    type: "tool_results",
    id: 2,
    results: [{ callId: "a", toolName: "look", args: {}, ...(await toolCall()), durationMs: 0 }],
  } as const
  await journal.response(machine, results)
  machine.handle(results)
  // Killed here: the command is persisted, and nothing of the result was emitted.
  await journal.command(machine, { type: "cancel" })
  await journal.close()

  const emitted: string[] = []
  const second = await TurnJournal.open(store, "turn")
  const done = await runTurn(
    await second.resume(CONFIG),
    {
      llmCall,
      progress: ({ eventDelta }) => void emitted.push(...eventDelta.map((event) => (event.type === "conversation" ? event.message.id : ""))),
    },
    { journal: second },
  )
  expect(done.outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
  expect(emitted).toEqual(["m_0_tools_2"])
})

test("a command that arrives while the journal is compacted leaves it intact", async () => {
  const inner = memoryJournalStore()
  let sendCommand = (): void => {}
  // The command arrives while the new text is written.
  const store: JournalStore = {
    ...inner,
    async open(name, options) {
      const stored = await inner.open(name, options)
      const replace: StoredJournal["replace"] = (text) => {
        sendCommand()
        return stored.replace(text)
      }
      return { read: () => stored.read(), append: (text) => stored.append(text), close: () => stored.close(), replace }
    },
  }
  const journal = await TurnJournal.open(store, "turn", { snapshotEveryRecords: 1, compactAboveChars: 1 })
  const machine = await journal.begin(CONFIG, START, { turnId: "turn-1" })
  const commands: Promise<void>[] = []
  sendCommand = () => void commands.push(journal.command(machine, { type: "apply", actions: [] }))
  await runTurn(machine, { llmCall, tools: { call: toolCall, effects: () => "idempotent" }, checkpoint: async () => undefined }, { journal })
  await Promise.all(commands)
  await journal.close()
  const { text } = await opened(inner, "turn")
  expect(commands.length).toBeGreaterThan(0)
  expect(readJournal(text).entries.map(({ record }) => record.type)).toContain("end")
})
