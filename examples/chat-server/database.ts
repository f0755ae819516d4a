import { mkdirSync } from "node:fs"
import { join } from "node:path"
import Database from "libsql"
import { type JournalStore, sqliteJournalStore } from "turn-machine/hosts"

export type { Database } from "libsql"

/** Where a server keeps everything. */
export interface Storage {
  /** The threads. */
  readonly store: JournalStore
  /** The list of chats, and the notes. */
  readonly database: Database.Database
  close(): void
}

const TABLES = `
  CREATE TABLE IF NOT EXISTS chats (id TEXT PRIMARY KEY, title TEXT NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL, key TEXT UNIQUE);
`

/**
 * Opens the databases of a folder for this process alone.
 * @throws {Error} another process has them open
 */
export function openStorage(folder: string): Storage {
  mkdirSync(folder, { recursive: true })
  const database = new Database(join(folder, "chats.db"))
  try {
    // The system releases the lock when the process ends, in whatever way. So the next process knows that the one before is gone, and need not wait.
    database.exec(`PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL; BEGIN EXCLUSIVE; ${TABLES} COMMIT`)
  } catch (error) {
    database.close()
    if (error instanceof Error && "code" in error && error.code === "SQLITE_BUSY") throw new Error(`Another server uses the folder ${folder}.`)
    throw error
  }
  // The store has transactions of its own, and so a connection of its own.
  const journals = new Database(join(folder, "threads.db"))
  journals.exec("PRAGMA journal_mode = WAL")
  return {
    store: sqliteJournalStore(journals),
    database,
    close() {
      journals.close()
      database.close()
    },
  }
}
