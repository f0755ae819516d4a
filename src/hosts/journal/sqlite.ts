import { closed, fenced, inUse, type JournalOwner, type JournalStore, JournalStoreError, type OpenOptions, type StoredJournal } from "./store.ts"

/** A synchronous SQLite connection: a `Database` of better-sqlite3 or libsql, or a `DatabaseSync` of node:sqlite. */
export interface SqliteDatabase {
  exec(sql: string): unknown
  prepare(sql: string): SqliteStatement
}

/** A prepared statement of a {@link SqliteDatabase}. */
export interface SqliteStatement {
  run(...values: (string | Uint8Array)[]): { readonly changes: number | bigint }
  get(...values: (string | Uint8Array)[]): unknown
  all(...values: (string | Uint8Array)[]): unknown[]
}

/** Options of {@link sqliteJournalStore}. */
export interface SqliteJournalStoreOptions {
  /**
   * `extra` sets `PRAGMA synchronous = EXTRA`: when `append` resolves, its text is on the disk and survives a power cut.
   * `unchanged` leaves durability to the connection's own setting. Default `extra`.
   */
  readonly synchronous?: "extra" | "unchanged"
  /**
   * How long a call may wait for another connection's transaction before it fails as `unavailable`, in milliseconds. The wait
   * blocks the thread. If the connection's own `busy_timeout` is longer, that applies. Default 5000.
   */
  readonly busyTimeoutMs?: number
}

const VERSION = 1

/** The tables have a version of their own, because `user_version` belongs to the application that created the database. */
const TABLES = `
  CREATE TABLE IF NOT EXISTS turn_machine_journal_schema (version INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS turn_machine_journals (name TEXT PRIMARY KEY, owner TEXT) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS turn_machine_journal_texts (
    name TEXT NOT NULL, position INTEGER NOT NULL, text BLOB NOT NULL, PRIMARY KEY (name, position)
  ) WITHOUT ROWID;
  INSERT INTO turn_machine_journal_schema SELECT ${VERSION} WHERE NOT EXISTS (SELECT 1 FROM turn_machine_journal_schema);
`

/**
 * Creates a store that keeps journals in a SQLite database, in three tables `turn_machine_journal…` that are created if needed. Each
 * append is one row, in UTF-8. SQLite does not know whether an owner is still alive: after a process was killed, open its journal
 * with `takeOver`.
 *
 * Give the store a connection of its own: each write is a transaction and fails as `unavailable` inside another transaction.
 * The store does not set the journal mode. With `PRAGMA journal_mode = WAL` appends are faster, and readers on other connections do
 * not block writers.
 * @throws {RangeError} `busyTimeoutMs` is not a whole number of at least 0
 */
export function sqliteJournalStore(
  database: SqliteDatabase,
  { synchronous = "extra", busyTimeoutMs = 5000 }: SqliteJournalStoreOptions = {},
): JournalStore {
  if (!Number.isInteger(busyTimeoutMs) || busyTimeoutMs < 0)
    throw new RangeError(`busyTimeoutMs must be a whole number of at least 0, not ${busyTimeoutMs}.`)
  let tables: Tables | undefined
  return {
    async open(name: string, { takeOver = false }: OpenOptions = {}): Promise<StoredJournal> {
      try {
        tables ??= new Tables(database, synchronous === "extra", busyTimeoutMs)
        const owner = JSON.stringify({ id: crypto.randomUUID(), since: Date.now() })
        return new SqliteJournal(name, owner, tables, tables.claim(name, owner, takeOver))
      } catch (error) {
        throw error instanceof JournalStoreError ? error : unavailable(name, "opened", error)
      }
    },
  }
}

class SqliteJournal implements StoredJournal {
  readonly text: string
  readonly #name: string
  readonly #owner: string
  readonly #tables: Tables
  #closed = false

  constructor(name: string, owner: string, tables: Tables, text: string) {
    this.text = text
    this.#name = name
    this.#owner = owner
    this.#tables = tables
  }

  async append(text: string): Promise<void> {
    this.#write(() => this.#tables.append(this.#name, this.#owner, text))
  }

  async replace(text: string): Promise<void> {
    this.#write(() => this.#tables.replace(this.#name, this.#owner, text))
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    try {
      this.#tables.release(this.#name, this.#owner)
    } catch {
      // The same as a process that ends here: the next owner opens the journal with `takeOver`.
    }
  }

  #write(work: () => boolean): void {
    if (this.#closed) throw closed(this.#name)
    let held: boolean
    try {
      held = work()
    } catch (error) {
      throw unavailable(this.#name, "written", error)
    }
    if (!held) throw fenced(this.#name)
  }
}

/**
 * The prepared statements. Each one writes in one transaction and only for the current owner, so a write is either stored before the
 * next owner reads, or not at all.
 */
class Tables {
  readonly #database: SqliteDatabase
  readonly #owner: SqliteStatement
  readonly #claim: SqliteStatement
  readonly #release: SqliteStatement
  readonly #read: SqliteStatement
  readonly #append: SqliteStatement
  readonly #clear: SqliteStatement

  constructor(database: SqliteDatabase, durable: boolean, busyTimeoutMs: number) {
    this.#database = database
    if (numberOf(database, "PRAGMA busy_timeout") < busyTimeoutMs) database.exec(`PRAGMA busy_timeout = ${busyTimeoutMs}`)
    if (durable) database.exec("PRAGMA synchronous = EXTRA")
    this.#transaction(() => {
      database.exec(TABLES)
      const version = numberOf(database, "SELECT version FROM turn_machine_journal_schema")
      if (version !== VERSION) throw new Error(`its tables have version ${version}, but this package supports version ${VERSION}`)
    })
    this.#owner = database.prepare("SELECT owner FROM turn_machine_journals WHERE name = ? AND owner IS NOT NULL")
    this.#claim = database.prepare(
      "INSERT INTO turn_machine_journals (name, owner) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET owner = excluded.owner",
    )
    this.#release = database.prepare("UPDATE turn_machine_journals SET owner = NULL WHERE name = ? AND owner = ?")
    this.#read = database.prepare("SELECT text FROM turn_machine_journal_texts WHERE name = ? ORDER BY position")
    this.#append = database.prepare(`
      INSERT INTO turn_machine_journal_texts (name, position, text)
      SELECT name, (SELECT COALESCE(MAX(position), 0) + 1 FROM turn_machine_journal_texts AS texts WHERE texts.name = journals.name), ?
      FROM turn_machine_journals AS journals WHERE name = ? AND owner = ?
    `)
    this.#clear = database.prepare(`
      DELETE FROM turn_machine_journal_texts
      WHERE name = ? AND EXISTS (SELECT 1 FROM turn_machine_journals AS journals WHERE journals.name = ? AND owner = ?)
    `)
  }

  /** Sets the owner of a journal and returns the stored text. */
  claim(name: string, owner: string, takeOver: boolean): string {
    return this.#transaction(() => {
      const row = takeOver ? undefined : (this.#owner.get(name) as { readonly owner: string } | undefined)
      if (row !== undefined) throw inUse(name, readOwner(row.owner))
      this.#claim.run(name, owner)
      return decode(this.#read.all(name) as readonly { readonly text: Uint8Array }[])
    })
  }

  /** Returns false and stores nothing if the journal has another owner. */
  append(name: string, owner: string, text: string): boolean {
    return this.#transaction(() => Number(this.#append.run(encode(text), name, owner).changes) === 1)
  }

  /** Returns false and stores nothing if the journal has another owner. */
  replace(name: string, owner: string, text: string): boolean {
    return this.#transaction(() => {
      this.#clear.run(name, name, owner)
      return Number(this.#append.run(encode(text), name, owner).changes) === 1
    })
  }

  release(name: string, owner: string): void {
    this.#transaction(() => this.#release.run(name, owner))
  }

  /** Used even for one statement: inside a transaction of the application, the write would be stored when that commits, if at all. */
  #transaction<Value>(work: () => Value): Value {
    this.#database.exec("BEGIN IMMEDIATE")
    try {
      const value = work()
      this.#database.exec("COMMIT")
      return value
    } catch (error) {
      try {
        this.#database.exec("ROLLBACK")
      } catch {
        // SQLite has already rolled back.
      }
      throw error
    }
  }
}

/** The time at which an owner opened its journal; `undefined` if the row does not say. */
function readOwner(text: string): JournalOwner | undefined {
  try {
    const { since } = JSON.parse(text) as { readonly since?: unknown }
    return typeof since === "number" ? { since } : undefined
  } catch {
    return undefined
  }
}

function numberOf(database: SqliteDatabase, sql: string): number {
  const [value] = Object.values(database.prepare(sql).get() as Readonly<Record<string, unknown>>)
  return Number(value)
}

/** Text is stored as bytes, because some SQLite libraries cut a text at its first zero character. */
function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

function decode(rows: readonly { readonly text: Uint8Array }[]): string {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
  return rows.map(({ text }) => decoder.decode(text)).join("")
}

function unavailable(name: string, action: string, cause: unknown): JournalStoreError {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new JournalStoreError("unavailable", `Journal ${JSON.stringify(name)} cannot be ${action}: ${why}.`, { cause })
}
