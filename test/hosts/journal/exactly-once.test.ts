import { describe, expect, test } from "vitest"
import type { Host } from "../../../src/hosts/host.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { JournalStore } from "../../../src/hosts/journal/store.ts"
import { TurnJournal, type TurnJournalOptions } from "../../../src/hosts/journal/turn-journal.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { Thread, type ThreadOptions } from "../../../src/hosts/thread/thread.ts"
import type { OutputPart } from "../../../src/schemas/llm.ts"
import type { HistoryRecord } from "../../../src/schemas/message.ts"
import { CONFIG as BASE } from "../../replay/support.ts"

// A host that stores the records of a turn itself, at the places that `recordsFrom` gives them. It is killed at every moment: before and
// after each write of a store and each report, and once more while the next process resumes.

const spec = (name: string) => ({ name, description: name, inputSchema: { type: "object" } })
const CONFIG = { ...BASE, tools: ["a", "b"].map(spec) }
const START = {
  messages: [{ id: "u", role: "user" as const, parts: [{ id: "u.p0", type: "text" as const, text: "Go." }] }],
  events: [{ type: "protocol", event: { before: "the turn" } }] as const,
}
const USAGE = { inputTokens: 5, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }
const BATCHES = [["a1", "b1"]]

class Killed extends Error {}

/** What one process does: each moment is one at which it can be killed. Nothing that it does later has an effect. */
class Process {
  readonly #killAt: number
  moments = 0

  constructor(killAt: number) {
    this.#killAt = killAt
  }

  moment(): void {
    this.moments += 1
    if (this.moments >= this.#killAt) throw new Killed()
  }

  async around<Result>(act: () => Promise<Result> | Result): Promise<Result> {
    this.moment()
    const result = await act()
    this.moment()
    return result
  }

  store(inner: JournalStore): JournalStore {
    return {
      ...inner,
      open: async (name, options) => {
        const stored = await inner.open(name, { ...options, takeOver: true })
        return {
          read: () => stored.read(),
          append: (text) => this.around(() => stored.append(text)),
          replace: (text) => this.around(() => stored.replace(text)),
          close: async () => {},
        }
      },
    }
  }
}

/** The five lines of docs/durability.md. Throws if a record is missing. */
function storing(records: HistoryRecord[], process: Process): NonNullable<Host["progress"]> {
  return ({ eventDelta, recordsFrom }) =>
    process.around(() => {
      if (recordsFrom > records.length) throw new Error(`The records from ${records.length} to ${recordsFrom} were never reported.`)
      records.push(...structuredClone(eventDelta.slice(records.length - recordsFrom)))
    })
}

function host(progress: NonNullable<Host["progress"]>, onCall: (effectId: number) => void = () => {}): Host {
  return {
    async llmCall({ id, request }) {
      onCall(id)
      const said = request.messages.filter(({ role, blocks }) => role === "assistant" && blocks.some(({ type }) => type === "tool_call")).length
      const calls = BATCHES[said % 2] ?? []
      const parts = calls.map(
        (callId): OutputPart => ({ type: "tool_call", callId: `${callId}.${said}`, toolName: callId.slice(0, 1), inputJson: "{}" }),
      )
      return { text: parts.length === 0 ? "Done." : "", parts, usage: USAGE, terminalReason: parts.length === 0 ? "stop" : "tool_use" }
    },
    tools: {
      effects: () => "idempotent",
      async call({ callId }) {
        onCall(0)
        return { output: { status: "success", value: callId } }
      },
    },
    progress,
  }
}

/** Runs processes until one ends: the first two are killed at the given moments. Returns how many moments the first two had. */
async function runKilled(kills: readonly [number, number], run: (process: Process) => Promise<void>): Promise<readonly number[]> {
  const moments: number[] = []
  for (const killAt of [...kills, Number.POSITIVE_INFINITY]) {
    const process = new Process(killAt)
    try {
      await run(process)
      moments.push(process.moments)
      return moments
    } catch (error) {
      if (!(error instanceof Killed)) throw error
      moments.push(process.moments)
    }
  }
  return moments
}

/** Kills at every moment, and after every third also at one of the next process. */
async function killEverywhere(once: (kills: readonly [number, number]) => Promise<readonly number[]>): Promise<number> {
  let crashes = 0
  for (let first = 1; ; first += 1) {
    const [, second] = await once([first, Number.POSITIVE_INFINITY])
    if (second === undefined) return crashes
    crashes += 1
    if (first % 3 > 0) continue
    await once([first, 1 + ((first * 5) % second)])
    crashes += 1
  }
}

describe("records that are stored by their place are stored once, in order, wherever a process is killed", () => {
  const keeping: readonly TurnJournalOptions[] = [
    { snapshotEveryRecords: 0 },
    { snapshotEveryRecords: 1 },
    { snapshotEveryRecords: 2, compactAboveChars: 1 },
  ]

  test.concurrent.each(keeping)("in a journaled turn: %j", async (options) => {
    const crashes = await killEverywhere(async (kills) => {
      const store = memoryJournalStore()
      const records: HistoryRecord[] = [...START.events]
      let history: readonly HistoryRecord[] = []
      const moments = await runKilled(kills, async (process) => {
        const journal = await TurnJournal.open(process.store(store), "t", { ...options, takeOver: true })
        const machine = journal.recorded === undefined ? await journal.begin(CONFIG, START, { turnId: "t" }) : await journal.resume(CONFIG)
        // The host adds records of its own, before, during and after the work.
        const commands: Promise<void>[] = []
        const note = (what: string): void => {
          const command = journal.command(machine, {
            type: "apply",
            actions: [{ type: "append_events", events: [{ type: "protocol", event: { noted: what } }] }],
          })
          command.catch(() => {})
          commands.push(command)
        }
        if (!machine.done) note("at the start")
        await runTurn(
          machine,
          host(storing(records, process), (id) => note(`during ${id}`)),
          { journal },
        )
        await Promise.allSettled(commands)
        history = machine.history
      })
      expect(records).toEqual(structuredClone(history))
      return moments
    })
    expect(crashes).toBeGreaterThan(40)
  })

  test.concurrent.each([{}, { snapshotEveryRecords: 1 }])("in a thread with a goal: %j", async (options: Partial<ThreadOptions>) => {
    const crashes = await killEverywhere(async (kills) => {
      const store = memoryJournalStore()
      const records: HistoryRecord[] = []
      let history: readonly HistoryRecord[] = []
      let said = 0
      const moments = await runKilled(kills, async (process) => {
        let at = 1_000
        const now = (): number => (at += 1)
        const policy = { maxConsecutiveContinuations: 2 } as never
        const thread = await Thread.open(process.store(store), "t", { config: CONFIG, takeOver: true, now, policy, ...options })
        if (thread.history.length === 0 && thread.turns === 0 && said === 0) await thread.say("Go.")
        said = 1
        if (thread.goal === null && thread.turns === 0) await thread.command({ type: "set", objective: "Go on.", tokenBudget: 10 })
        await thread.run(host(storing(records, process)))
        if (thread.turns < 3) {
          if (thread.openTurn === undefined) await thread.note([], [{ type: "protocol", event: { noted: "between" } }])
          await thread.say("And more.")
          await thread.run(host(storing(records, process)))
        }
        history = thread.history
        await thread.close()
      })
      expect(records).toEqual(structuredClone(history))
      return moments
    })
    expect(crashes).toBeGreaterThan(40)
  })
})
