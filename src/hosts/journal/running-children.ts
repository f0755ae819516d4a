import type { JournalStore } from "./store.ts"
import type { TurnJournal } from "./turn-journal.ts"

/** The journals of children that run in this process, by name. */
const RUNNING = new WeakMap<JournalStore, Map<string, TurnJournal>>()

/** Notes that a child runs with this journal. Returns what is to be called before the journal is closed. */
export function noteRunningChild(store: JournalStore, name: string, journal: TurnJournal): () => void {
  const journals = RUNNING.get(store) ?? new Map<string, TurnJournal>()
  RUNNING.set(store, journals.set(name, journal))
  return () => {
    if (journals.get(name) === journal) journals.delete(name)
  }
}

/** The journal of a child that runs in this process. */
export function runningChild(store: JournalStore, name: string): TurnJournal | undefined {
  return RUNNING.get(store)?.get(name)
}
