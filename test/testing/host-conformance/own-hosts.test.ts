import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import Database from "libsql"
import { describe, expect, test } from "vitest"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { sqliteJournalStore } from "../../../src/hosts/journal/sqlite.ts"
import type { JournalStore, StoredJournal } from "../../../src/hosts/journal/store.ts"
import type { TurnJournalOptions } from "../../../src/hosts/journal/turn-journal.ts"
import { fileJournalStore } from "../../../src/hosts/node/file-journal-store.ts"
import { endOf } from "../../../src/testing/host-conformance/laboratory.ts"
import { RICH } from "../../../src/testing/host-conformance/scripts.ts"
import { type HostPromises, hostConformance, type MakeHost, type TestedHost } from "../../../src/testing/index.ts"
import { wrapMembers } from "../../../src/wrap.ts"
import { inLane, LANE } from "../../lane.ts"
import { journaledHost, savingHost, threadHost, workflowHost } from "./hosts.ts"

const IS_FAST = LANE === "fast"

/** Checks a host at `fast` places of each turn in the fast lane, and at `full` in the full lane; by default, and in the deep lane, at every place. */
function conforms(name: string, makeHost: MakeHost, { fast, full, promises = {} }: { fast: number; full?: number; promises?: HostPromises }): void {
  const mostPlaces = inLane({ fast, full, deep: undefined })
  describe(name, () => {
    for (const check of hostConformance(makeHost, { promises, timeoutMs: 60_000, ...(mostPlaces !== undefined && { mostPlaces }) }))
      if (!(IS_FAST && fast < 10 && check.name.startsWith("1,000"))) test(check.name, check.run, IS_FAST ? 60_000 : 600_000)
  })
}

const inMemory =
  (options?: TurnJournalOptions): MakeHost =>
  () => {
    const store = memoryJournalStore()
    return journaledHost(() => store, options)
  }

test("the chat turn of the harness has calls of every kind, failures, and deliveries at both kinds of checkpoint", async () => {
  const { outcome, messages } = await endOf(RICH)
  expect(outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "All of 3 done." } })
  const texts = messages.map(({ role, parts }) => [
    role,
    ...parts.map((part) =>
      part.type === "tool_call" ? part.toolName : part.type === "tool_result" && part.isError ? "failed" : "text" in part ? part.text : "",
    ),
  ])
  expect(texts).toEqual([
    ["user", "Go."],
    ["assistant", "read", "pay", "pay", "set", "pay"],
    ["user", '{"seen":[1,2]}', "paid", "paid", "failed", "paid"],
    ["user", "And 4."],
    ["assistant", "pay", "set"],
    ["user", "paid", "3"],
    ["assistant", "All of 2 done."],
    ["user", "And 11."],
    ["assistant", "All of 3 done."],
  ])
})

conforms("journaled, in memory", inMemory(), { fast: 30, promises: { held: true } })

conforms("journaled, in memory, with a snapshot after every third record", inMemory({ snapshotEveryRecords: 3, compactAboveChars: 3_000 }), {
  fast: 9,
  promises: { linear: false, held: true },
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

conforms("journaled, in files", () => inFolder((folder) => fileJournalStore(folder)), { fast: 3, full: 15, promises: { held: true } })

conforms(
  "journaled, in SQLite",
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
  { fast: 3, full: 8, promises: { held: true } },
)

conforms("a thread", threadHost, { fast: 9 })

conforms("a loop of its own over performEffect", () => workflowHost(), { fast: 30, promises: { deliveries: true } })

// Nothing stops two processes from running one turn, `once` calls are refused, and each checkpoint holds the whole turn.
conforms("runTurn with Host.save alone", savingHost, { fast: 9, promises: { once: false, exclusive: false, linear: false, held: true } })
