import { memoryJournalStore } from "turn-machine/hosts"
import { journaled, TurnJournal } from "turn-machine/hosts/journal"
import { hostConformance, storedThread, type TestedHost, type TestedThreadHost, testedStore, threadConformance } from "turn-machine/testing"
import { describe, record, test } from "./registry.ts"

/** The tests in Node disturb every place; here, a few of each kind are enough to see a difference between runtimes. */
const OPTIONS = { mostPlaces: 1, timeoutMs: 60_000 }

describe("hostConformance of journaled, in memory", () => {
  const makeHost = (): TestedHost => {
    const memory = memoryJournalStore()
    return {
      start(process) {
        const store = testedStore(memory, process)
        const { takeOver } = process
        return {
          run: (turn, executors, { deliveries: _deliveries, ...options }) =>
            journaled(executors, store, { takeOver }).run(turn.turnId, turn, options),
          async answer({ turnId, config }, results) {
            const journal = await TurnJournal.open(store, turnId, { takeOver })
            try {
              const machine = await journal.resume(config)
              const response = machine.check({ type: "tool_results", id: machine.outstanding?.id, results })
              await journal.response(machine, response)
              machine.handle(response)
            } finally {
              await journal.close()
            }
          },
          async decide({ turnId }, decisions, now) {
            const journal = await TurnJournal.open(store, turnId, { takeOver, now })
            try {
              return await journal.decide(decisions)
            } finally {
              await journal.close()
            }
          },
        }
      },
    }
  }
  for (const { name, run } of hostConformance(makeHost, { ...OPTIONS, promises: { held: true } }))
    test(name, async () => {
      await run()
      record(`${name}: holds`)
    })
})

describe("threadConformance of Thread, in memory", () => {
  const makeHost = (): TestedThreadHost => {
    const store = memoryJournalStore()
    return { start: (process, thread) => storedThread(store, process, thread) }
  }
  for (const { name, run } of threadConformance(makeHost, OPTIONS))
    test(name, async () => {
      await run()
      record(`${name}: holds`)
    })
})
