import { memoryJournalStore } from "turn-machine/hosts"
import { journaled } from "turn-machine/hosts/journal"
import { hostConformance, type TestedHost, testedStore } from "turn-machine/testing"
import { describe, record, test } from "./registry.ts"

describe("hostConformance of journaled, in memory", () => {
  const makeHost = (): TestedHost => {
    const store = memoryJournalStore()
    return {
      start: (process) => ({
        run(turn, executors, { deliveries: _deliveries, ...options }) {
          return journaled(executors, testedStore(store, process), { takeOver: process.takeOver }).run(turn.turnId, turn, options)
        },
      }),
    }
  }
  for (const { name, run } of hostConformance(makeHost, { mostPlaces: 3, timeoutMs: 60_000 }))
    test(name, async () => {
      await run()
      record(`${name}: holds`)
    })
})
