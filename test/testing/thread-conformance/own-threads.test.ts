import { describe, test } from "vitest"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { storedThread } from "../../../src/testing/thread-conformance/stored-thread.ts"
import { threadConformance } from "../../../src/testing/thread-conformance/thread-conformance.ts"

describe("memory", () => {
  const makeHost = () => {
    const store = memoryJournalStore()
    return { start: (process: never, thread: never) => storedThread(store, process, thread) }
  }
  for (const { name, run } of threadConformance(makeHost as never)) test(name, run, 100_000)
})
