import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import Database from "libsql"
import { describe, test } from "vitest"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { sqliteJournalStore } from "../../../src/hosts/journal/sqlite.ts"
import { fileJournalStore } from "../../../src/hosts/node/file-journal-store.ts"
import { type HostConformanceOptions, hostConformance, type MakeHost } from "../../../src/testing/index.ts"
import { journaledHost, savingHost, threadHost, workflowHost } from "./hosts.ts"

function conforms(name: string, makeHost: MakeHost, options?: HostConformanceOptions): void {
  describe(name, () => {
    for (const check of hostConformance(makeHost, options)) test(check.name, check.run, 60_000)
  })
}

conforms("journaled, in memory", () => {
  const store = memoryJournalStore()
  return journaledHost(() => store)
})

conforms(
  "journaled, in memory, with snapshots and compaction",
  () => {
    const store = memoryJournalStore()
    return journaledHost(() => store, { snapshotEveryRecords: 3, compactAboveChars: 3_000 })
  },
  { promises: { linear: false } },
)

conforms("a thread", threadHost)

conforms("a loop of its own over performEffect", () => workflowHost(), { promises: { deliveries: true } })

conforms("runTurn with Host.save alone", savingHost, { promises: { once: false, exclusive: false, linear: false } })
