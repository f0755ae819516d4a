import { closed, fenced, inUse, type JournalStore, type OpenOptions, type StoredJournal } from "./store.ts"

interface Entry {
  text: string
  owner: MemoryJournal | undefined
}

/** Creates a store that holds journals in memory: for tests, and for turns that need not outlive their process. */
export function memoryJournalStore(): JournalStore {
  const entries = new Map<string, Entry>()
  return {
    async open(name: string, { takeOver = false }: OpenOptions = {}): Promise<StoredJournal> {
      const entry = entries.get(name) ?? { text: "", owner: undefined }
      if (entry.owner !== undefined && !takeOver) throw inUse(name, { since: entry.owner.since })
      entries.set(name, entry)
      entry.owner = new MemoryJournal(name, entry)
      return entry.owner
    },
  }
}

class MemoryJournal implements StoredJournal {
  readonly text: string
  readonly since: number = Date.now()
  readonly #name: string
  readonly #entry: Entry
  #closed = false

  constructor(name: string, entry: Entry) {
    this.text = entry.text
    this.#name = name
    this.#entry = entry
  }

  async append(text: string): Promise<void> {
    this.#requireOwner()
    this.#entry.text += text
  }

  async replace(text: string): Promise<void> {
    this.#requireOwner()
    this.#entry.text = text
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#entry.owner === this) this.#entry.owner = undefined
  }

  #requireOwner(): void {
    if (this.#closed) throw closed(this.#name)
    if (this.#entry.owner !== this) throw fenced(this.#name)
  }
}
