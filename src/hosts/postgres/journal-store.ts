import { journalNamed, LEASE_MS, unavailable } from "../journal/lease.ts"
import { inChunks } from "../journal/parts.ts"
import {
  checkName,
  closed,
  fenced,
  type JournalStore,
  JournalStoreError,
  type ListOptions,
  type OpenOptions,
  openWaiting,
  type StoredJournal,
} from "../journal/store.ts"
import { WriteQueue } from "../journal/write-queue.ts"
import { every } from "../timers.ts"
import type { PostgresClient, PostgresOptions } from "./client.ts"
import { type Claimed, JournalTables, NAMES_A_PAGE, type Row, type TextPlace } from "./journal-tables.ts"

/** Options of {@link postgresJournalStore}. */
export interface PostgresJournalStoreOptions extends PostgresOptions {
  /**
   * How long an owner has a journal without a sign of life, in milliseconds. Each write renews the lease, and a timer three times as often
   * as it ends. After a crash, the journal can be opened when it has expired. Default 30,000; at least 300.
   */
  readonly leaseMs?: number
}

/** How long the text before a replacement remains for those who read it. */
const RETAIN_MS = 60_000

/** How long `close` tries to end its lease, which otherwise expires. */
const CLOSE_MS = 2_000

/** The largest row. A longer text is several rows. */
const ROW_BYTES = 2 ** 20

/**
 * Creates a store that keeps journals in PostgreSQL 13 or later, in tables `turn_machine_journal…` that are created if needed. An append is
 * one statement and one row, or more rows if it is longer than 1 MB. Reading is by pages of about 2 MB.
 *
 * An owner has a lease, measured by the clock of the database. Each owner has a higher epoch than the last, and each write checks in its own
 * statement that the journal still has this owner. So an owner that was suspended for longer than its lease stores nothing more once another
 * one has opened the journal. A crash needs no `takeOver`.
 *
 * A statement whose connection was lost is repeated on another one: writes are numbered, so a write that had been committed is not stored
 * twice. If that takes longer than `retryMs`, the call fails as `unavailable`. None of it is stored then: should the server commit it
 * after all, the next write of the owner, or its `close`, removes it.
 *
 * The client runs each statement in a transaction of its own: do not pass one that is inside a transaction. Poolers in transaction mode
 * work. The database must have the encoding UTF-8. Durability is that of the connection's `synchronous_commit`.
 * @throws {RangeError} an option is out of its range
 * @throws {TypeError} the client is not one, for example a connection string
 */
export function postgresJournalStore(
  client: PostgresClient,
  { schema, retryMs = 10_000, leaseMs = LEASE_MS }: PostgresJournalStoreOptions = {},
): JournalStore {
  const tables = new JournalTables(client, { schema, retryMs, leaseMs })
  const attempt = async <Result>(name: string, action: string, act: () => Promise<Result>): Promise<Result> => {
    checkJournalName(name)
    return attempted(name, action, act)
  }
  return {
    async open(name: string, { takeOver = false, waitMs }: OpenOptions = {}): Promise<StoredJournal> {
      checkJournalName(name)
      const owner = crypto.randomUUID()
      const claimed = await openWaiting(() => attempt(name, "opened", () => tables.claim(name, owner, takeOver)), waitMs)
      return new PostgresJournal(name, tables, claimed, leaseMs)
    },
    async read(name: string): Promise<AsyncIterable<string> | undefined> {
      const place = await attempt(name, "read", () => tables.find(name))
      return place && readText(name, tables, place)
    },
    async *list({ prefix = "" }: ListOptions = {}): AsyncGenerator<string, void, undefined> {
      for (let after: string | undefined; ; ) {
        let names: readonly string[]
        try {
          names = await tables.names(prefix, after)
        } catch (error) {
          throw unavailable("The journals", "listed", error)
        }
        for (const name of names) {
          if (!name.startsWith(prefix)) return
          yield name
        }
        after = names.at(-1)
        if (names.length < NAMES_A_PAGE) return
      }
    },
    async delete(name: string): Promise<void> {
      await attempt(name, "deleted", () => tables.delete(name))
    },
  }
}

/** The longest name in UTF-16 code units, so that it fits into an index. */
const MOST_NAME_UNITS = 1_300

/** @throws {JournalStoreError} `invalid_name` */
function checkJournalName(name: string): void {
  checkName(name)
  if (name.length <= MOST_NAME_UNITS) return
  const start = `${JSON.stringify(name.slice(0, 40))}…`
  throw new JournalStoreError(
    "invalid_name",
    `${start} cannot be the name of a journal: it has more than ${MOST_NAME_UNITS} characters. Choose another name.`,
  )
}

async function attempted<Result>(name: string, action: string, act: () => Promise<Result>): Promise<Result> {
  try {
    return await act()
  } catch (error) {
    throw error instanceof JournalStoreError ? error : unavailable(journalNamed(name), action, error)
  }
}

/** Reads a text page by page. Its rows do not change until a while after it was replaced. */
async function* readText(name: string, tables: JournalTables, place: TextPlace): AsyncGenerator<string, void, undefined> {
  // A row may end in the middle of a character.
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
  for (let position = 0; position < place.last; ) {
    const rows = await attempted(name, "read", () => tables.page(place, position))
    for (const row of rows) {
      position += 1
      if (row.position !== position) break
      const part = decoder.decode(row.text, { stream: true })
      if (part !== "") yield part
    }
    if (rows.at(-1)?.position !== position)
      throw unavailable(journalNamed(name), "read", "it was deleted, or replaced more than a minute ago, while it was read. Read it again")
  }
}

class PostgresJournal implements StoredJournal {
  readonly #name: string
  readonly #tables: JournalTables
  readonly #claimed: Claimed
  readonly #queue: WriteQueue
  readonly #endRenewal: () => void
  /** The text as this owner knows it: a write that failed may have changed what is stored, and the next one changes it back. */
  #text: TextPlace
  #nextGeneration: number
  #writes: number
  /** When rows of another generation were written or replaced. `undefined`: there are none. */
  #staleSince: number | undefined
  #isRenewing = false
  #isClosed = false

  constructor(name: string, tables: JournalTables, claimed: Claimed, leaseMs: number) {
    this.#name = name
    this.#tables = tables
    this.#claimed = claimed
    this.#text = claimed.text
    this.#nextGeneration = claimed.text.generation + 1
    this.#writes = claimed.writes
    this.#staleSince = claimed.isStale ? Date.now() : undefined
    this.#queue = new WriteQueue(name)
    this.#endRenewal = every(leaseMs / 3, () => void this.#renew())
  }

  async *read(): AsyncGenerator<string, void, undefined> {
    // A replacement by parts of this journal may begin after `close` was called.
    if (this.#isClosed) throw closed(this.#name)
    const text = this.#text
    if (!(await this.#attempt("read", () => this.#tables.isOwner(this.#claimed)))) throw this.#fence()
    yield* readText(this.#name, this.#tables, text)
  }

  append(text: string): Promise<void> {
    return this.#queue.write(() => this.#append(rowsOf([text])))
  }

  replace(text: string | AsyncIterable<string>): Promise<void> {
    return this.#queue.write(() => this.#replace(rowsOf(typeof text === "string" ? [text] : inChunks(text))))
  }

  close(): Promise<void> {
    return this.#queue.close(async () => {
      this.#endRenewal()
      this.#isClosed = true
      this.#writes += 1
      try {
        await this.#tables.release(this.#claimed, this.#writes, this.#text, CLOSE_MS)
      } catch {
        // The same as a process that ends here: the lease expires.
      }
    })
  }

  async #append(rows: AsyncIterable<Uint8Array>): Promise<void> {
    await this.#store(rows, this.#text)
  }

  async #replace(rows: AsyncIterable<Uint8Array>): Promise<void> {
    const generation = this.#nextGeneration
    this.#nextGeneration += 1
    this.#staleSince = Date.now()
    await this.#store(rows, { ...this.#text, generation, last: 0 })
    this.#staleSince = Date.now()
  }

  /** Adds rows to a text. It becomes the journal's text with the last of them. */
  async #store(rows: AsyncIterable<Uint8Array>, to: TextPlace): Promise<void> {
    let text = to
    let row: Row | undefined
    for await (const bytes of rows) {
      if (row !== undefined) await this.#write(row, this.#text)
      text = { ...text, last: text.last + 1 }
      row = { generation: text.generation, position: text.last, text: bytes }
    }
    await this.#write(row, text)
    this.#text = text
  }

  /** Writes a row, if any, and which text the journal has. */
  async #write(row: Row | undefined, text: TextPlace): Promise<void> {
    this.#writes += 1
    const isStale = text.generation !== this.#text.generation || (row !== undefined && row.generation !== text.generation)
    if (!(await this.#attempt("written", () => this.#tables.write(this.#claimed, this.#writes, text, row, isStale)))) throw this.#fence()
  }

  async #renew(): Promise<void> {
    if (this.#isRenewing) return
    this.#isRenewing = true
    try {
      if (!(await this.#tables.renew(this.#claimed))) this.#fence()
      else if (this.#staleSince !== undefined && Date.now() - this.#staleSince > RETAIN_MS) await this.#queue.write(() => this.#clean())
    } catch {
      // The server cannot be reached, or the pool has ended. The next write or renewal shows whether the journal still has this owner.
    } finally {
      this.#isRenewing = false
    }
  }

  async #clean(): Promise<void> {
    this.#writes += 1
    await this.#tables.clean(this.#claimed, this.#writes, this.#text)
    this.#staleSince = undefined
  }

  #fence(): JournalStoreError {
    this.#endRenewal()
    return fenced(this.#name)
  }

  #attempt<Result>(action: string, act: () => Promise<Result>): Promise<Result> {
    return attempted(this.#name, action, act)
  }
}

/** Text is stored as bytes, because a text of PostgreSQL cannot contain a zero character. */
async function* rowsOf(parts: AsyncIterable<string> | Iterable<string>): AsyncGenerator<Uint8Array, void, undefined> {
  const encoder = new TextEncoder()
  for await (const part of parts) {
    const bytes = encoder.encode(part)
    for (let start = 0; start < bytes.length; start += ROW_BYTES) yield bytes.subarray(start, start + ROW_BYTES)
  }
}
