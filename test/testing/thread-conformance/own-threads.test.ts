import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import Database from "libsql"
import { describe, test } from "vitest"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { sqliteJournalStore } from "../../../src/hosts/journal/sqlite.ts"
import type { JournalStore, StoredJournal } from "../../../src/hosts/journal/store.ts"
import { fileJournalStore } from "../../../src/hosts/node/file-journal-store.ts"
import type { ThreadOptions } from "../../../src/hosts/thread/thread.ts"
import { type MakeThreadHost, storedThread, type TestedThreadHost, threadConformance } from "../../../src/testing/index.ts"
import { wrapMembers } from "../../../src/wrap.ts"
import { inLane, LANE } from "../../lane.ts"

const IS_FAST = LANE === "fast"

/** Checks a host at `fast` places of each thread in the fast lane, at `full` in the full lane, and at 40 in the deep lane. Without `fast`, not in the fast lane. */
function conforms(name: string, makeHost: MakeThreadHost, { fast = 0, full }: { readonly fast?: number; readonly full: number }): void {
  describe.skipIf(IS_FAST && fast === 0)(name, () => {
    for (const { name: check, run } of threadConformance(makeHost, { timeoutMs: 60_000, mostPlaces: inLane({ fast, full, deep: 40 }) }))
      test(check, run, IS_FAST ? 60_000 : 600_000)
  })
}

const inMemory =
  (options: Partial<ThreadOptions> = {}): MakeThreadHost =>
  () => {
    const store = memoryJournalStore()
    return { start: (process, thread) => storedThread(store, process, thread, options) }
  }

/** Threads in a new folder. `storeIn`: makes the store of one process. */
async function inFolder(storeIn: (folder: string) => JournalStore, close: () => void = () => {}): Promise<TestedThreadHost> {
  const folder = await mkdtemp(join(tmpdir(), "thread-conformance-"))
  const opened: StoredJournal[] = []
  return {
    start(process, thread) {
      const store = wrapMembers(storeIn(folder), {
        async open(next: JournalStore["open"], ...given: Parameters<JournalStore["open"]>): Promise<StoredJournal> {
          const stored = await next(...given)
          opened.push(stored)
          return stored
        },
      })
      return storedThread(store, process, thread)
    },
    async remove() {
      // Those of killed processes are open, because they were killed in this one.
      for (const stored of opened) await stored.close()
      close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

conforms("threads in memory", inMemory(), { fast: 5, full: 15 })

conforms("threads in memory that keep no journals of ended turns", inMemory({ retain: "log" }), { full: 4 })

conforms("threads in files", () => inFolder((folder) => fileJournalStore(folder)), { fast: 1, full: 3 })

conforms(
  "threads in SQLite",
  () => {
    const connections: Database.Database[] = []
    const store = (folder: string): JournalStore => {
      const database = new Database(join(folder, "journals.db"))
      // Only processes are killed here, and never the machine.
      database.exec("PRAGMA synchronous = OFF")
      connections.push(database)
      return sqliteJournalStore(database, { synchronous: "unchanged" })
    }
    return inFolder(store, () => connections.forEach((database) => void database.close()))
  },
  { full: 2 },
)
