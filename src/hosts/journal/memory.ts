import { inChunks } from "./parts.ts"
import { checkName, closed, fenced, inUse, type JournalStore, type ListOptions, type OpenOptions, openWaiting, type StoredJournal } from "./store.ts"
import { WriteQueue } from "./write-queue.ts"

interface Entry {
  parts: string[]
  owner: MemoryJournal | undefined
}

/**
 * Creates a store that holds journals in memory: for tests, and for turns that need not outlive their process. It does not know
 * whether an owner is still alive: open the journal of one that did not close it with `takeOver`.
 */
export function memoryJournalStore(): JournalStore {
  const entries = new Map<string, Entry>()
  const open = (name: string, takeOver: boolean): StoredJournal => {
    const entry = entries.get(name) ?? { parts: [], owner: undefined }
    if (entry.owner !== undefined && !takeOver) throw inUse(name, { since: entry.owner.since })
    entries.set(name, entry)
    entry.owner = new MemoryJournal(name, entry)
    return entry.owner
  }
  return {
    async open(name: string, { takeOver = false, waitMs }: OpenOptions = {}): Promise<StoredJournal> {
      checkName(name)
      return openWaiting(() => open(name, takeOver), waitMs)
    },
    async read(name: string): Promise<AsyncIterable<string> | undefined> {
      checkName(name)
      const entry = entries.get(name)
      return entry && partsOf(entry)
    },
    async *list({ prefix = "" }: ListOptions = {}): AsyncGenerator<string, void, undefined> {
      yield* [...entries.keys()].filter((name) => name.startsWith(prefix)).sort()
    },
    async delete(name: string): Promise<void> {
      checkName(name)
      const owner = entries.get(name)?.owner
      if (owner !== undefined) throw inUse(name, { since: owner.since })
      entries.delete(name)
    },
  }
}

async function* partsOf(entry: Entry): AsyncGenerator<string, void, undefined> {
  yield* entry.parts.slice()
}

class MemoryJournal implements StoredJournal {
  readonly since: number = Date.now()
  readonly #name: string
  readonly #entry: Entry
  readonly #queue: WriteQueue

  constructor(name: string, entry: Entry) {
    this.#name = name
    this.#entry = entry
    this.#queue = new WriteQueue(name)
  }

  async *read(): AsyncGenerator<string, void, undefined> {
    // A replacement by parts of this journal may begin after `close` was called.
    if (this.#entry.owner !== this && this.#queue.isClosing) throw closed(this.#name)
    this.#requireOwner()
    yield* partsOf(this.#entry)
  }

  append(text: string): Promise<void> {
    return this.#queue.write(() => {
      this.#requireOwner()
      this.#entry.parts.push(text)
    })
  }

  replace(text: string | AsyncIterable<string>): Promise<void> {
    return this.#queue.write(() => {
      this.#requireOwner()
      if (typeof text !== "string") return this.#replaceBy(text)
      this.#entry.parts = [text]
    })
  }

  close(): Promise<void> {
    return this.#queue.close(() => {
      if (this.#entry.owner === this) this.#entry.owner = undefined
    })
  }

  async #replaceBy(text: AsyncIterable<string>): Promise<void> {
    const parts: string[] = []
    for await (const part of inChunks(text)) parts.push(part)
    this.#requireOwner()
    this.#entry.parts = parts
  }

  #requireOwner(): void {
    if (this.#entry.owner !== this) throw fenced(this.#name)
  }
}
