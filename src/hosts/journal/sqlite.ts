import { every } from "../timers.ts"
import { journalNamed, LEASE_MS, leased, RENEW_MS, unavailable } from "./lease.ts"
import { inChunks } from "./parts.ts"
import {
  checkName,
  closed,
  fenced,
  type JournalOwner,
  type JournalStore,
  JournalStoreError,
  type ListOptions,
  type OpenOptions,
  openWaiting,
  type StoredJournal,
} from "./store.ts"
import { WriteQueue } from "./write-queue.ts"

/** A synchronous SQLite connection: a `Database` of better-sqlite3 or libsql, or a `DatabaseSync` of node:sqlite. */
export interface SqliteDatabase {
  exec(sql: string): unknown
  prepare(sql: string): SqliteStatement
}

/** A prepared statement of a {@link SqliteDatabase}. */
export interface SqliteStatement {
  run(...values: (string | number | Uint8Array)[]): { readonly changes: number | bigint }
  get(...values: (string | number | Uint8Array)[]): unknown
  all(...values: (string | number | Uint8Array)[]): unknown[]
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
  /** The clock of the leases, in milliseconds. All processes that use the database need the same one. Default `Date.now`. */
  readonly now?: () => number
}

const VERSION = 2

/**
 * The tables have a version of their own, because `user_version` belongs to the application that created the database. `sort` has
 * the order of names in UTF-16; SQLite would sort them by their bytes in UTF-8. `epoch` counts the owners.
 */
const TABLES = `
  CREATE TABLE IF NOT EXISTS turn_machine_journals (
    name TEXT PRIMARY KEY, sort TEXT NOT NULL UNIQUE, owner TEXT, epoch INTEGER NOT NULL, expires INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS turn_machine_journal_texts (
    name TEXT NOT NULL, position INTEGER NOT NULL, text BLOB NOT NULL, PRIMARY KEY (name, position)
  ) WITHOUT ROWID;
`
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS turn_machine_journal_schema (version INTEGER NOT NULL);
  INSERT INTO turn_machine_journal_schema SELECT ${VERSION} WHERE NOT EXISTS (SELECT 1 FROM turn_machine_journal_schema);
`

const VERSION_OF_TABLES = "SELECT version FROM turn_machine_journal_schema"

/** How many names are read at once. */
const PAGE = 200

/**
 * Creates a store that keeps journals in a SQLite database, in three tables `turn_machine_journal…` that are created if needed. Each
 * append is one row, in UTF-8. Reading a journal loads its rows at once.
 *
 * An owner has a lease of 30 seconds, which its writes renew, and a timer every 10 seconds. After a crash, the journal can be opened
 * when the lease has expired. Each owner has a higher epoch than the last, and every write checks it in its transaction, so an owner
 * that was suspended for longer than its lease can no longer write once another one has opened the journal. The clock of the machine
 * measures leases: if it is set forward by more than 20 seconds, a journal of a living owner may be opened. That owner is then fenced
 * off, and the text stays whole.
 *
 * Give the store a connection of its own: each write is a transaction and fails as `unavailable` inside another transaction.
 * Close the journals before the connection. The store does not set the journal mode. With `PRAGMA journal_mode = WAL` appends are
 * faster, and readers on other connections do not block writers.
 * @throws {RangeError} `busyTimeoutMs` is not a whole number of at least 0
 * @throws {TypeError} the connection is not one, for example a path
 */
export function sqliteJournalStore(
  database: SqliteDatabase,
  { synchronous = "extra", busyTimeoutMs = 5000, now = Date.now }: SqliteJournalStoreOptions = {},
): JournalStore {
  if (!Number.isInteger(busyTimeoutMs) || busyTimeoutMs < 0)
    throw new RangeError(`busyTimeoutMs must be a whole number of at least 0, not ${busyTimeoutMs}.`)
  if (typeof database?.prepare !== "function" || typeof database.exec !== "function")
    throw new TypeError("sqliteJournalStore takes an open connection, such as new Database(path) of better-sqlite3.")
  let tables: Tables | undefined
  const connected = (): Tables => {
    tables ??= new Tables(database, synchronous === "extra", busyTimeoutMs, now)
    return tables
  }
  const attempt = <Result>(name: string, action: string, act: () => Result): Result => {
    checkName(name)
    try {
      return act()
    } catch (error) {
      throw error instanceof JournalStoreError ? error : unavailable(journalNamed(name), action, error)
    }
  }
  return {
    async open(name: string, { takeOver = false, waitMs }: OpenOptions = {}): Promise<StoredJournal> {
      return openWaiting(() => attempt(name, "opened", () => new SqliteJournal(name, connected(), connected().claim(name, takeOver))), waitMs)
    },
    async read(name: string): Promise<AsyncIterable<string> | undefined> {
      const exists = attempt(name, "read", () => connected().exists(name))
      return exists ? readRows(() => attempt(name, "read", () => connected().read(name))) : undefined
    },
    async *list({ prefix = "" }: ListOptions = {}): AsyncGenerator<string, void, undefined> {
      for (let after: string | undefined; ; ) {
        let names: readonly string[]
        try {
          names = connected().names(prefix, after)
        } catch (error) {
          throw unavailable("The journals", "listed", error)
        }
        for (const name of names) {
          if (!name.startsWith(prefix)) return
          yield name
        }
        after = names.at(-1)
        if (names.length < PAGE) return
      }
    },
    async delete(name: string): Promise<void> {
      attempt(name, "deleted", () => connected().delete(name))
    },
  }
}

/** The rows of one statement, which are of one moment. */
async function* readRows(read: () => Uint8Array[]): AsyncGenerator<string, void, undefined> {
  const rows = read()
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
  for (let index = 0; index < rows.length; index += 1) {
    yield decoder.decode(rows[index])
    // A long text need not be in memory as a whole any longer.
    rows[index] = NOTHING
  }
}

const NOTHING = new Uint8Array()

class SqliteJournal implements StoredJournal {
  readonly #name: string
  readonly #tables: Tables
  readonly #lease: Lease
  readonly #endRenewal: () => void
  #renewed: number
  readonly #queue: WriteQueue
  #isClosed = false

  constructor(name: string, tables: Tables, lease: Lease) {
    this.#name = name
    this.#tables = tables
    this.#lease = lease
    this.#queue = new WriteQueue(name)
    this.#renewed = tables.now()
    this.#endRenewal = every(RENEW_MS, () => this.#renew())
  }

  read(): AsyncIterable<string> {
    return readRows(() => {
      // A replacement by parts of this journal may begin after `close` was called.
      if (this.#isClosed) throw closed(this.#name)
      return this.#attempt("read", () => this.#tables.readOwn(this.#name, this.#lease))
    })
  }

  append(text: string): Promise<void> {
    return this.#queue.write(() => this.#store([encode(text)], false))
  }

  replace(text: string | AsyncIterable<string>): Promise<void> {
    return this.#queue.write(() => {
      if (typeof text === "string") return this.#store([encode(text)], true)
      return this.#replaceBy(text)
    })
  }

  close(): Promise<void> {
    return this.#queue.close(() => {
      this.#endRenewal()
      this.#isClosed = true
      try {
        this.#tables.release(this.#name, this.#lease)
      } catch {
        // The same as a process that ends here: the lease expires.
      }
    })
  }

  async #replaceBy(text: AsyncIterable<string>): Promise<void> {
    const rows: Uint8Array[] = []
    for await (const part of inChunks(text)) rows.push(encode(part))
    this.#store(rows, true)
  }

  #store(rows: readonly Uint8Array[], replaces: boolean): void {
    const isOwner = this.#attempt("written", () => this.#tables.write(this.#name, this.#lease, rows, replaces))
    if (!isOwner) throw this.#fence()
    this.#renewed = this.#tables.now()
  }

  #renew(): void {
    try {
      if (!this.#tables.renew(this.#name, this.#lease)) this.#fence()
      this.#renewed = this.#tables.now()
    } catch {
      // Another connection writes for long, or this one was closed. Once the lease has expired, only a write renews it.
      if (this.#tables.now() - this.#renewed > LEASE_MS) this.#endRenewal()
    }
  }

  #fence(): JournalStoreError {
    this.#endRenewal()
    return fenced(this.#name)
  }

  #attempt<Result>(action: string, act: () => Result): Result {
    try {
      return act()
    } catch (error) {
      throw error instanceof JournalStoreError ? error : unavailable(journalNamed(this.#name), action, error)
    }
  }
}

/** One ownership of a journal. */
interface Lease {
  /** The owner as JSON, with a unique id: a journal that is deleted and created again counts its epochs from 1. */
  readonly owner: string
  readonly epoch: number
}

interface Row {
  readonly owner: string | null
  readonly epoch: number | bigint
  readonly expires: number | bigint
}

/**
 * The prepared statements. Each one writes in one transaction and only for the current owner, so a write is either stored before the
 * next owner reads, or not at all.
 */
class Tables {
  readonly now: () => number
  readonly #database: SqliteDatabase
  readonly #find: SqliteStatement
  readonly #claim: SqliteStatement
  readonly #limit: SqliteStatement
  readonly #renew: SqliteStatement
  readonly #release: SqliteStatement
  readonly #read: SqliteStatement
  readonly #append: SqliteStatement
  readonly #clear: SqliteStatement
  readonly #delete: SqliteStatement
  readonly #names: SqliteStatement
  readonly #namesAfter: SqliteStatement

  constructor(database: SqliteDatabase, durable: boolean, busyTimeoutMs: number, now: () => number) {
    this.now = now
    this.#database = database
    if (numberOf(database.prepare("PRAGMA busy_timeout")) < busyTimeoutMs) database.exec(`PRAGMA busy_timeout = ${busyTimeoutMs}`)
    if (durable) database.exec("PRAGMA synchronous = EXTRA")
    if (!this.#isCurrent())
      this.#transaction(() => {
        database.exec(SCHEMA)
        const version = numberOf(database.prepare(VERSION_OF_TABLES))
        if (version > VERSION) throw new Error(`its tables have version ${version}, but this package supports version ${VERSION}`)
        if (version === 1) this.#migrate(now() + LEASE_MS)
        database.exec(TABLES)
      })
    this.#find = database.prepare("SELECT owner, epoch, expires FROM turn_machine_journals WHERE name = ?")
    this.#claim = database.prepare(`
      INSERT INTO turn_machine_journals (name, sort, owner, epoch, expires) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, epoch = excluded.epoch, expires = excluded.expires
    `)
    this.#limit = database.prepare("UPDATE turn_machine_journals SET expires = ? WHERE name = ?")
    this.#renew = database.prepare("UPDATE turn_machine_journals SET expires = ? WHERE name = ? AND owner = ? AND epoch = ?")
    this.#release = database.prepare("UPDATE turn_machine_journals SET owner = NULL WHERE name = ? AND owner = ? AND epoch = ?")
    this.#read = database.prepare("SELECT text FROM turn_machine_journal_texts WHERE name = ? ORDER BY position")
    this.#append = database.prepare(`
      INSERT INTO turn_machine_journal_texts (name, position, text)
      VALUES (?, (SELECT COALESCE(MAX(position), 0) + 1 FROM turn_machine_journal_texts WHERE name = ?), ?)
    `)
    this.#clear = database.prepare("DELETE FROM turn_machine_journal_texts WHERE name = ?")
    this.#delete = database.prepare("DELETE FROM turn_machine_journals WHERE name = ?")
    this.#names = database.prepare(`SELECT name FROM turn_machine_journals WHERE sort >= ? ORDER BY sort LIMIT ${PAGE}`)
    this.#namesAfter = database.prepare(`SELECT name FROM turn_machine_journals WHERE sort > ? ORDER BY sort LIMIT ${PAGE}`)
  }

  /** Whether the tables exist already. Reading does not wait for a writer then, and a database that is read-only can be read. */
  #isCurrent(): boolean {
    return this.#reading(() => {
      const found = this.#database.prepare("SELECT count(*) FROM sqlite_master WHERE name = 'turn_machine_journal_schema'")
      return numberOf(found) === 1 && numberOf(this.#database.prepare(VERSION_OF_TABLES)) === VERSION
    })
  }

  /** From version 1, which had no leases. An owner of it that is still alive is fenced off by the next one. */
  #migrate(expires: number): void {
    const rows = this.#database.prepare("SELECT name, owner FROM turn_machine_journals").all() as {
      readonly name: string
      readonly owner: string | null
    }[]
    this.#database.exec(`DROP TABLE turn_machine_journals; ${TABLES}`)
    const insert = this.#database.prepare("INSERT INTO turn_machine_journals (name, sort, owner, epoch, expires) VALUES (?, ?, ?, 0, ?)")
    for (const { name, owner } of rows)
      if (owner === null) insert.run(name, sortKey(name), "", 0)
      else insert.run(name, sortKey(name), owner, expires)
    this.#database.exec(`UPDATE turn_machine_journals SET owner = NULL WHERE owner = ''; UPDATE turn_machine_journal_schema SET version = ${VERSION}`)
  }

  /** Makes the caller the owner of a journal. @throws {JournalStoreError} `in_use` */
  claim(name: string, takeOver: boolean): Lease {
    const now = this.now()
    const owner = JSON.stringify({ id: crypto.randomUUID(), since: now })
    return this.#unlessOwned(name, takeOver, now, (row) => {
      const epoch = Number(row?.epoch ?? 0) + 1
      this.#claim.run(name, sortKey(name), owner, epoch, now + LEASE_MS)
      return { owner, epoch }
    })
  }

  exists(name: string): boolean {
    return this.#reading(() => this.#row(name) !== undefined)
  }

  read(name: string): Uint8Array[] {
    return this.#reading(() => this.#rows(name))
  }

  /** @throws {JournalStoreError} `fenced` */
  readOwn(name: string, { owner, epoch }: Lease): Uint8Array[] {
    return this.#reading(() => {
      const row = this.#row(name)
      if (row?.owner !== owner || Number(row?.epoch) !== epoch) throw fenced(name)
      return this.#rows(name)
    })
  }

  /** Returns false and stores nothing if the journal has another owner. */
  write(name: string, lease: Lease, rows: readonly Uint8Array[], replaces: boolean): boolean {
    return this.#transaction(() => {
      if (!this.#extend(name, lease)) return false
      if (replaces) this.#clear.run(name)
      for (const row of rows) if (row.length > 0) this.#append.run(name, name, row)
      return true
    })
  }

  /** Returns false if the journal has another owner. */
  renew(name: string, lease: Lease): boolean {
    return this.#transaction(() => this.#extend(name, lease))
  }

  release(name: string, { owner, epoch }: Lease): void {
    this.#transaction(() => this.#release.run(name, owner, epoch))
  }

  /** @throws {JournalStoreError} `in_use` */
  delete(name: string): void {
    this.#unlessOwned(name, false, this.now(), () => {
      this.#clear.run(name)
      this.#delete.run(name)
    })
  }

  /** The first names that begin with a prefix or are greater, or those after a name. */
  names(prefix: string, after: string | undefined): readonly string[] {
    const rows = this.#reading(() => (after === undefined ? this.#names.all(sortKey(prefix)) : this.#namesAfter.all(sortKey(after))))
    return (rows as { readonly name: string }[]).map(({ name }) => name)
  }

  #unlessOwned<Result>(name: string, takeOver: boolean, now: number, act: (row: Row | undefined) => Result): Result {
    const result = this.#transaction<Result | JournalStoreError>(() => {
      const row = this.#row(name)
      const expires = Number(row?.expires ?? 0)
      if (takeOver || row === undefined || row.owner === null || expires <= now) return act(row)
      // The clock was set back. A living owner renews its lease by the new clock; a dead one does not have it for longer than usual.
      if (expires > now + LEASE_MS) this.#limit.run(now + LEASE_MS, name)
      const retryAfterMs = Math.min(expires - now, LEASE_MS)
      return leased(name, readOwner(row.owner), retryAfterMs)
    })
    if (result instanceof JournalStoreError) throw result
    return result
  }

  #extend(name: string, { owner, epoch }: Lease): boolean {
    return Number(this.#renew.run(this.now() + LEASE_MS, name, owner, epoch).changes) === 1
  }

  #rows(name: string): Uint8Array[] {
    return (this.#read.all(name) as { readonly text: Uint8Array }[]).map(({ text }) => text)
  }

  #row(name: string): Row | undefined {
    // Some libraries return `null` for no row.
    return (this.#find.get(name) as Row | null | undefined) ?? undefined
  }

  #reading<Result>(work: () => Result): Result {
    return this.#transaction(work, "BEGIN")
  }

  /** A closed connection refuses to begin. Some libraries abort the process if a statement runs without one. */
  #transaction<Result>(work: () => Result, begin = "BEGIN IMMEDIATE"): Result {
    this.#database.exec(begin)
    try {
      const result = work()
      this.#database.exec("COMMIT")
      return result
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

function numberOf(statement: SqliteStatement): number {
  const [value] = Object.values(statement.get() as Readonly<Record<string, unknown>>)
  return Number(value)
}

/** Text is stored as bytes, because some SQLite libraries cut a text at its first zero character. */
function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

/** A text that has the order of a name's UTF-16 code units, in the order of SQLite. */
function sortKey(name: string): string {
  let key = ""
  for (let index = 0; index < name.length; index += 1) key += name.charCodeAt(index).toString(16).padStart(4, "0")
  return key
}
