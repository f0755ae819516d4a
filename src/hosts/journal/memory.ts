import { closed, fenced, inUse } from "./refusals.ts"
import type { JournalStore, OpenOptions, StoredJournal } from "./store.ts"

/** One journal, with whoever holds it at this moment. */
interface Kept {
  text: string
  owner: StoredJournal | undefined
}

/** Keeps journals for as long as the store itself is kept: for tests, and for turns that need not outlive their process. */
export function memoryJournalStore(): JournalStore {
  const journals = new Map<string, Kept>()
  return {
    async open(name: string, { takeOver = false }: OpenOptions = {}): Promise<StoredJournal> {
      const kept = journals.get(name) ?? { text: "", owner: undefined }
      if (kept.owner !== undefined && !takeOver) throw inUse(name)
      journals.set(name, kept)
      kept.owner = new MemoryJournal(name, kept)
      return kept.owner
    },
  }
}

class MemoryJournal implements StoredJournal {
  readonly text: string
  readonly #name: string
  readonly #kept: Kept
  #closed = false

  constructor(name: string, kept: Kept) {
    this.text = kept.text
    this.#name = name
    this.#kept = kept
  }

  async append(text: string): Promise<void> {
    this.#check()
    this.#kept.text += text
  }

  async replace(text: string): Promise<void> {
    this.#check()
    this.#kept.text = text
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#kept.owner === this) this.#kept.owner = undefined
  }

  #check(): void {
    if (this.#closed) throw closed(this.#name)
    if (this.#kept.owner !== this) throw fenced(this.#name)
  }
}
