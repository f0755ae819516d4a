import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import Database from "libsql"
import { describe, test } from "vitest"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { sqliteJournalStore } from "../../../src/hosts/journal/sqlite.ts"
import type { JournalStore } from "../../../src/hosts/journal/store.ts"
import { fileJournalStore } from "../../../src/hosts/node/file-journal-store.ts"
import { type HostConformanceOptions, hostConformance, type MakeHost, type TestedHost } from "../../../src/testing/index.ts"
import { journaledHost, savingHost, threadHost, workflowHost } from "./hosts.ts"

function conforms(name: string, makeHost: MakeHost, options?: HostConformanceOptions): void {
  describe(name, () => {
    for (const check of hostConformance(makeHost, options)) test(check.name, check.run, 120_000)
  })
}

conforms("journaled, in memory", () => {
  const store = memoryJournalStore()
  return journaledHost(() => store)
})

describe("journaled with snapshots and compaction", () => {
  const makeHost: MakeHost = () => {
    const store = memoryJournalStore()
    return journaledHost(() => store, { snapshotEveryRecords: 3, compactAboveChars: 3_000 })
  }
  for (const check of hostConformance(makeHost, { promises: { linear: false } }))
    if (check.name.startsWith("killed")) test(check.name, check.run, 120_000)
})

async function inFolder(storeIn: (folder: string) => () => JournalStore, close: () => void = () => {}): Promise<TestedHost> {
  const folder = await mkdtemp(join(tmpdir(), "host-conformance-"))
  const remove = (): Promise<void> => {
    close()
    return rm(folder, { recursive: true, force: true })
  }
  return { ...journaledHost(storeIn(folder)), remove }
}

/** Files and databases are slow, and their own tests have every kind of crash. */
const SLOW: HostConformanceOptions = process.env["TEST_LANE"] === "fast" ? { mostPlaces: 8 } : { mostPlaces: 100 }

conforms("journaled, in files", () => inFolder((folder) => () => fileJournalStore(folder)), SLOW)

conforms(
  "journaled, in SQLite",
  () => {
    const connections: Database.Database[] = []
    return inFolder(
      (folder) => () => {
        const database = new Database(join(folder, "journals.db"))
        connections.push(database)
        return sqliteJournalStore(database)
      },
      () => connections.forEach((database) => void database.close()),
    )
  },
  SLOW,
)

conforms("a thread", threadHost)

conforms("a loop of its own over performEffect", () => workflowHost(), { promises: { deliveries: true } })

// Nothing stops two processes from running one turn, `once` calls are refused, and each checkpoint holds the whole turn.
conforms("runTurn with Host.save alone", savingHost, { promises: { once: false, exclusive: false, linear: false } })
