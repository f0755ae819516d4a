import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import Database from "libsql"
import { describe, test } from "vitest"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { sqliteJournalStore } from "../../../src/hosts/journal/sqlite.ts"
import type { JournalStore, StoredJournal } from "../../../src/hosts/journal/store.ts"
import type { TurnJournalOptions } from "../../../src/hosts/journal/turn-journal.ts"
import { fileJournalStore } from "../../../src/hosts/node/file-journal-store.ts"
import { type HostPromises, hostConformance, type MakeHost, type TestedHost } from "../../../src/testing/index.ts"
import { wrapMembers } from "../../../src/wrap.ts"
import { journaledHost, savingHost, threadHost, workflowHost } from "./hosts.ts"

const IS_FAST = process.env["TEST_LANE"] === "fast"

/** Checks a host: in the fast lane at `mostPlaces` places of each turn, in the others at every place. */
function conforms(name: string, makeHost: MakeHost, mostPlaces: number, promises: HostPromises = {}): void {
  describe(name, () => {
    for (const check of hostConformance(makeHost, { promises, ...(IS_FAST && { mostPlaces }), timeoutMs: 60_000 }))
      if (!(IS_FAST && mostPlaces < 10 && check.name.startsWith("1,000"))) test(check.name, check.run, IS_FAST ? 60_000 : 600_000)
  })
}

const inMemory =
  (options?: TurnJournalOptions): MakeHost =>
  () => {
    const store = memoryJournalStore()
    return journaledHost(() => store, options)
  }

conforms("journaled, in memory", inMemory(), 30)

conforms("journaled, in memory, with a snapshot after every third record", inMemory({ snapshotEveryRecords: 3, compactAboveChars: 3_000 }), 9, {
  linear: false,
})

/** Journals in a new folder. `storeIn`: makes the store of one process. */
async function inFolder(storeIn: (folder: string) => JournalStore, close: () => void = () => {}): Promise<TestedHost> {
  const folder = await mkdtemp(join(tmpdir(), "host-conformance-"))
  const opened: StoredJournal[] = []
  const storeOfProcess = (): JournalStore =>
    wrapMembers(storeIn(folder), {
      async open(next: JournalStore["open"], ...given: Parameters<JournalStore["open"]>): Promise<StoredJournal> {
        const stored = await next(...given)
        opened.push(stored)
        return stored
      },
    })
  const remove = async (): Promise<void> => {
    // Those of killed processes are open, because they were killed in this one.
    for (const stored of opened) await stored.close()
    close()
    await rm(folder, { recursive: true, force: true })
  }
  return { ...journaledHost(storeOfProcess), remove }
}

conforms("journaled, in files", () => inFolder((folder) => fileJournalStore(folder)), 3)

conforms(
  "journaled, in SQLite",
  () => {
    const connections: Database.Database[] = []
    const store = (folder: string): JournalStore => {
      const database = new Database(join(folder, "journals.db"))
      connections.push(database)
      return sqliteJournalStore(database)
    }
    return inFolder(store, () => connections.forEach((database) => void database.close()))
  },
  3,
)

conforms("a thread", threadHost, 12)

conforms("a loop of its own over performEffect", () => workflowHost(), 30, { deliveries: true })

// Nothing stops two processes from running one turn, `once` calls are refused, and each checkpoint holds the whole turn.
conforms("runTurn with Host.save alone", savingHost, 12, { once: false, exclusive: false, linear: false })
