import { inChunks } from "../journal/parts.ts"
import {
  checkName,
  closed,
  fenced,
  inUse,
  type JournalStore,
  JournalStoreError,
  type ListOptions,
  type OpenOptions,
  openWaiting,
  type StoredJournal,
} from "../journal/store.ts"
import { WriteQueue } from "../journal/write-queue.ts"
import type { DurableObjectSqlStorage } from "./platform.ts"
import { Tables } from "./tables.ts"

/**
 * The longest text of a row, in UTF-16 units. One unit takes at most 3 bytes in UTF-8, so a row is below 790 kB; the platform's limit is 2 MB.
 */
const ROW_CHARS = 2 ** 18

/**
 * Creates a store that keeps journals in the SQL database of a Durable Object, in three tables `turn_machine_do_…` that are created if needed.
 * The class of the object needs SQLite storage: `new_sqlite_classes` in its migration.
 *
 *     const store = durableObjectJournalStore(this.ctx.storage)
 *
 * A text is stored in rows of at most 262,144 characters, below the platform's limit of 2 MB. An append of less is one row and one statement;
 * a longer one, or a replacement, is one transaction. Reading loads a few rows at a time. Only 10 GB limit a journal.
 *
 * A write is durable before the object's next message leaves it, such as a response, a `fetch` or the message of a WebSocket: the platform holds
 * these back until its storage has confirmed all writes before them. If it cannot, it resets the object, and nothing that followed the write was seen
 * outside.
 *
 * The object is the only writer of its storage, so owners are known in memory: all stores of one `ctx.storage` share them, and a journal that
 * is open cannot be opened a second time within the object. When the object is evicted or restarts, its journals have no owner, and need no takeOver.
 * @throws {TypeError} the storage has no SQL database
 */
export function durableObjectJournalStore(storage: DurableObjectSqlStorage): JournalStore {
  const journals = journalsOf(storage)
  const attempt = <Result>(name: string, action: string, act: () => Result): Result => {
    checkName(name)
    return attempted(`Journal ${JSON.stringify(name)}`, action, act)
  }
  return {
    async open(name: string, { takeOver = false, waitMs }: OpenOptions = {}): Promise<StoredJournal> {
      return openWaiting(() => attempt(name, "opened", () => journals.open(name, takeOver)), waitMs)
    },
    async read(name: string): Promise<AsyncIterable<string> | undefined> {
      const id = attempt(name, "read", () => journals.tables.find(name))
      return id === undefined ? undefined : journals.read(name)
    },
    async *list({ prefix = "" }: ListOptions = {}): AsyncGenerator<string, void, undefined> {
      for (let after: string | undefined; ; ) {
        const names: readonly string[] = attempted("The journals", "listed", () => journals.tables.names(prefix, after))
        for (const name of names) {
          if (!name.startsWith(prefix)) return
          yield name
        }
        after = names.at(-1)
        if (after === undefined) return
      }
    },
    async delete(name: string): Promise<void> {
      attempt(name, "deleted", () => journals.delete(name))
    },
  }
}

/** What the stores of a storage share. The old instance of an object that restarted has another storage. */
const OPENED = new WeakMap<DurableObjectSqlStorage, Journals>()

function journalsOf(storage: DurableObjectSqlStorage): Journals {
  if (typeof storage?.transactionSync !== "function" || typeof sqlOf(storage)?.exec !== "function")
    throw new TypeError(
      "durableObjectJournalStore takes the ctx.storage of a Durable Object with SQLite storage. Declare its class in new_sqlite_classes.",
    )
  const journals = OPENED.get(storage) ?? new Journals(storage)
  OPENED.set(storage, journals)
  return journals
}

/** Without SQLite storage, reading the property throws. */
function sqlOf(storage: DurableObjectSqlStorage): DurableObjectSqlStorage["sql"] | undefined {
  try {
    return storage.sql
  } catch {
    return undefined
  }
}

/** The journals of a storage, with their owners and readers, which are all in this object. */
class Journals {
  readonly tables: Tables
  readonly #owners = new Map<string, DurableObjectJournal>()
  /** How many readers each stored text has. */
  readonly #readers = new Map<number, number>()
  /** The replaced texts that still have readers. */
  readonly #replaced = new Set<number>()

  constructor(storage: DurableObjectSqlStorage) {
    this.tables = new Tables(storage)
  }

  open(name: string, takeOver: boolean): StoredJournal {
    const owner = this.#owners.get(name)
    if (owner !== undefined && !takeOver) throw inUse(name, { since: owner.since })
    const journal = new DurableObjectJournal(name, this.tables.findOrCreate(name), this)
    this.#owners.set(name, journal)
    return journal
  }

  isOwner(name: string, journal: DurableObjectJournal): boolean {
    return this.#owners.get(name) === journal
  }

  release(name: string, journal: DurableObjectJournal): void {
    if (this.isOwner(name, journal)) this.#owners.delete(name)
  }

  delete(name: string): void {
    const owner = this.#owners.get(name)
    if (owner !== undefined) throw inUse(name, { since: owner.since })
    const text = this.tables.find(name)
    if (text === undefined) return
    const isRead = this.#readers.has(text)
    this.tables.delete(name, isRead ? undefined : text)
    if (isRead) this.#replaced.add(text)
  }

  /** The text of a journal as it is when the iteration begins; empty if the journal was deleted. */
  async *read(name: string, check: () => void = () => {}): AsyncGenerator<string, void, undefined> {
    check()
    const act = <Result>(read: () => Result): Result => attempted(`Journal ${JSON.stringify(name)}`, "read", read)
    const text = act(() => this.tables.find(name))
    if (text === undefined) return
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
    this.#readers.set(text, (this.#readers.get(text) ?? 0) + 1)
    try {
      const end = act(() => this.tables.lastPosition(text))
      for (let position = 0; position < end; ) {
        const rows = act(() => this.tables.rows(text, position, end))
        if (rows.length === 0) return
        for (const row of rows) {
          yield decoder.decode(row.text)
          position = row.position
        }
      }
    } finally {
      this.#endRead(text)
    }
  }

  /** Makes what `write` stores the text of a journal, in one transaction. Returns its id. */
  switch(name: string, old: number, write: () => number): number {
    // A text that has readers is deleted after the last of them.
    const isRead = this.#readers.has(old)
    const next = this.tables.transaction(() => {
      const text = write()
      this.tables.switch(name, text, isRead ? undefined : old)
      return text
    })
    if (isRead) this.#replaced.add(old)
    return next
  }

  #endRead(text: number): void {
    const others = (this.#readers.get(text) ?? 1) - 1
    if (others > 0) {
      this.#readers.set(text, others)
      return
    }
    this.#readers.delete(text)
    if (!this.#replaced.delete(text)) return
    try {
      this.tables.drop(text)
    } catch {
      // The next instance of the object deletes texts that no journal has.
    }
  }
}

class DurableObjectJournal implements StoredJournal {
  readonly since: number = Date.now()
  readonly #name: string
  readonly #journals: Journals
  readonly #queue: WriteQueue
  #text: number
  /** The last position of the text; `undefined` before the first write. No other owner writes. */
  #position: number | undefined
  #isClosed = false

  constructor(name: string, text: number, journals: Journals) {
    this.#name = name
    this.#text = text
    this.#journals = journals
    this.#queue = new WriteQueue(name)
  }

  read(): AsyncIterable<string> {
    return this.#journals.read(this.#name, () => {
      // A replacement by parts of this journal may begin after `close` was called.
      if (this.#isClosed) throw closed(this.#name)
      this.#requireOwner()
    })
  }

  append(text: string): Promise<void> {
    return this.#queue.write(() => {
      this.#requireOwner()
      const rows = rowsOf(text)
      this.#attempt(() => {
        const { tables } = this.#journals
        const position = this.#position ?? tables.lastPosition(this.#text)
        tables.append(this.#text, position, rows)
        this.#position = position + rows.length
      })
    })
  }

  replace(text: string | AsyncIterable<string>): Promise<void> {
    return this.#queue.write(() => {
      this.#requireOwner()
      if (typeof text !== "string") return this.#replaceBy(text)
      const rows = rowsOf(text)
      this.#switch(rows.length, () => {
        const { tables } = this.#journals
        const next = tables.newText()
        tables.append(next, 0, rows)
        return next
      })
    })
  }

  close(): Promise<void> {
    return this.#queue.close(() => {
      this.#isClosed = true
      this.#journals.release(this.#name, this)
    })
  }

  /** Stores the parts as they come, as a text of their own, and then makes it the text of the journal. */
  async #replaceBy(text: AsyncIterable<string>): Promise<void> {
    const { tables } = this.#journals
    const next = this.#attempt(() => tables.newText())
    let position = 0
    try {
      for await (const part of inChunks(text)) {
        const rows = rowsOf(part)
        this.#attempt(() => tables.append(next, position, rows))
        position += rows.length
      }
      this.#requireOwner()
      this.#switch(position, () => next)
    } catch (error) {
      try {
        tables.drop(next)
      } catch {
        // The next instance of the object deletes texts that no journal has.
      }
      throw error
    }
  }

  #switch(position: number, write: () => number): void {
    this.#text = this.#attempt(() => this.#journals.switch(this.#name, this.#text, write))
    this.#position = position
  }

  #requireOwner(): void {
    if (!this.#journals.isOwner(this.#name, this)) throw fenced(this.#name)
  }

  #attempt<Result>(act: () => Result): Result {
    return attempted(`Journal ${JSON.stringify(this.#name)}`, "written", act)
  }
}

/** The rows of a text, in UTF-8. A row does not end within a surrogate pair. */
function rowsOf(text: string): Uint8Array<ArrayBuffer>[] {
  const encoder = new TextEncoder()
  const rows: Uint8Array<ArrayBuffer>[] = []
  for (let start = 0; start < text.length; ) {
    let end = Math.min(start + ROW_CHARS, text.length)
    if (end < text.length && /[\ud800-\udbff]/.test(text.charAt(end - 1))) end -= 1
    rows.push(encoder.encode(text.slice(start, end)))
    start = end
  }
  return rows
}

function attempted<Result>(what: string, action: string, act: () => Result): Result {
  try {
    return act()
  } catch (error) {
    if (error instanceof JournalStoreError) throw error
    const why = error instanceof Error ? error.message : String(error)
    throw new JournalStoreError("unavailable", `${what} cannot be ${action}: ${why}.`, { cause: error })
  }
}
