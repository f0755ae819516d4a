import { JournalStoreError } from "./store.ts"

/** Said to whoever asks for a journal that has an owner. `by` goes on behind "in use": ` by process 7`. */
export function inUse(name: string, by = ""): JournalStoreError {
  return new JournalStoreError("in_use", `The journal ${JSON.stringify(name)} is in use${by}. Wait until it is closed, or open it with takeOver.`)
}

/** Said to an owner that is the owner no more. */
export function fenced(name: string): JournalStoreError {
  return new JournalStoreError("fenced", `Somebody else took over the journal ${JSON.stringify(name)}; what is written here counts no more.`)
}

/** Said to whoever writes what it has closed. */
export function closed(name: string): JournalStoreError {
  return new JournalStoreError("closed", `The journal ${JSON.stringify(name)} was closed. Open it again to write on.`)
}
