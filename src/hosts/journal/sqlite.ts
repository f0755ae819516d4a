import { closed, fenced, inUse } from "./refusals.ts"
import { type JournalStore, JournalStoreError, type OpenOptions, type StoredJournal } from "./store.ts"

/** A synchronous SQLite connection: a `Database` of better-sqlite3 or libsql, or a `DatabaseSync` of node:sqlite. */
export interface SqliteDatabase {
  exec(sql: string): unknown
  prepare(sql: string): SqliteStatement
}

/** A prepared statement of such a connection. */
export interface SqliteStatement {
  run(...values: (string | Uint8Array)[]): { readonly changes: number | bigint }
  get(...values: (string | Uint8Array)[]): unknown
  all(...values: (string | Uint8Array)[]): unknown[]
}

/** How the store uses its connection. */
export interface SqliteJournalStoreOptions {
  /**
   * "extra": the store sets `PRAGMA synchronous = EXTRA`, so that what was appended is on the disk when `append` resolves, and
   * outlives a power cut. "unchanged": as durable as the connection was set. Default "extra".
   */
  readonly synchronous?: "extra" | "unchanged"
  /**
   * Milliseconds for which a call may wait for another connection's transaction, and hold up its thread; then it is refused
   * as `unavailable`. The connection's own `busy_timeout` counts where it is longer. Default 5000.
   */
  readonly busyTimeoutMs?: number
}

const VERSION = 1

/** The version of the tables is theirs alone: `user_version` belongs to whoever made the database. */
const TABLES = `
  CREATE TABLE IF NOT EXISTS turn_machine_journal_schema (version INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS turn_machine_journals (name TEXT PRIMARY KEY, owner TEXT) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS turn_machine_journal_texts (
    name TEXT NOT NULL, position INTEGER NOT NULL, text BLOB NOT NULL, PRIMARY KEY (name, position)
  ) WITHOUT ROWID;
  INSERT INTO turn_machine_journal_schema SELECT ${VERSION} WHERE NOT EXISTS (SELECT 1 FROM turn_machine_journal_schema);
`

/**
 * Keeps journals in a SQLite database, in three tables `turn_machine_journal…` that are made if they are not there. Each append is a row, in
 * UTF-8. SQLite cannot tell whether an owner is gone: what a killed process held is opened with `takeOver`.
 *
 * The connection should be the store's own: each write is a transaction, which is refused as `unavailable` within another.
 * The journal mode is the caller's: with `PRAGMA journal_mode = WAL` appends are faster, and readers of other
 * connections hold nobody up.
 */
export function sqliteJournalStore(
  database: SqliteDatabase,
  { synchronous = "extra", busyTimeoutMs = 5000 }: SqliteJournalStoreOptions = {},
): JournalStore {
  if (!Number.isInteger(busyTimeoutMs) || busyTimeoutMs < 0) throw new RangeError(`busyTimeoutMs is a whole number from 0, not ${busyTimeoutMs}.`)
  let tables: Tables | undefined
  return {
    async open(name: string, { takeOver = false }: OpenOptions = {}): Promise<StoredJournal> {
      try {
        tables ??= new Tables(database, synchronous === "extra", busyTimeoutMs)
        const owner = crypto.randomUUID()
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
      // As if its process had ended here: the journal is opened again with `takeOver`.
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

/** The statements. Each writes only for the owner, and in one transaction: who was the owner then is kept before a next one reads. */
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
      if (version !== VERSION) throw new Error(`its tables have version ${version}, and this package knows version ${VERSION}`)
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

  /** Makes somebody the owner, and gives what is kept. */
  claim(name: string, owner: string, takeOver: boolean): string {
    return this.#transaction(() => {
      if (!takeOver && this.#owner.get(name) !== undefined) throw inUse(name)
      this.#claim.run(name, owner)
      return decode(this.#read.all(name) as readonly { readonly text: Uint8Array }[])
    })
  }

  /** False, and nothing is kept, where somebody else is the owner. Likewise below. */
  append(name: string, owner: string, text: string): boolean {
    return this.#transaction(() => Number(this.#append.run(encode(text), name, owner).changes) === 1)
  }

  replace(name: string, owner: string, text: string): boolean {
    return this.#transaction(() => {
      this.#clear.run(name, name, owner)
      return Number(this.#append.run(encode(text), name, owner).changes) === 1
    })
  }

  release(name: string, owner: string): void {
    this.#transaction(() => this.#release.run(name, owner))
  }

  /** Even for one statement: within a transaction of somebody else it would be kept only when that ends, if at all. */
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
        // SQLite has done so itself.
      }
      throw error
    }
  }
}

function numberOf(database: SqliteDatabase, sql: string): number {
  const [value] = Object.values(database.prepare(sql).get() as Readonly<Record<string, unknown>>)
  return Number(value)
}

/** As bytes, since some of the libraries end a text at its first zero character. */
function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

function decode(rows: readonly { readonly text: Uint8Array }[]): string {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
  return rows.map(({ text }) => decoder.decode(text)).join("")
}

function unavailable(name: string, what: string, cause: unknown): JournalStoreError {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new JournalStoreError("unavailable", `The journal ${JSON.stringify(name)} cannot be ${what}: ${why}.`, { cause })
}
