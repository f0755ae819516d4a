import type { JournalStore, StoredJournal } from "../../hosts/journal/store.ts"
import { wrapMembers } from "../../wrap.ts"
import type { TestedProcess } from "./tested-host.ts"

/**
 * Wraps a journal store for one process of {@link hostConformance}: the process can be killed before and after each write, and in the
 * middle of an append, where a part of the text is stored.
 */
export function testedStore(store: JournalStore, process: TestedProcess): JournalStore {
  return wrapMembers(store, {
    async open(next: JournalStore["open"], name: string, options?: Parameters<JournalStore["open"]>[1]): Promise<StoredJournal> {
      await process.reached(`before ${name} is opened`)
      const stored = await next(name, options)
      await process.reached(`after ${name} was opened`)
      return testedJournal(stored, name, process)
    },
  })
}

function testedJournal(stored: StoredJournal, name: string, process: TestedProcess): StoredJournal {
  return wrapMembers(stored, {
    async append(next: StoredJournal["append"], text: string): Promise<void> {
      await process.reached(`before an append to ${name}`)
      await process.reached(`in the middle of an append to ${name}`, { dying: () => next(text.slice(0, Math.floor(text.length / 2))) })
      await next(text)
      await process.reached(`after an append to ${name}, before the process knows`, { chars: text.length })
    },
    async replace(next: StoredJournal["replace"], text: Parameters<StoredJournal["replace"]>[0]): Promise<void> {
      await process.reached(`before ${name} is replaced`)
      await next(text)
      await process.reached(`after ${name} was replaced, before the process knows`, { chars: typeof text === "string" ? text.length : 0 })
    },
    async close(next: StoredJournal["close"]): Promise<void> {
      await process.reached(`before ${name} is closed`)
      await next()
      await process.reached(`after ${name} was closed`)
    },
  })
}
