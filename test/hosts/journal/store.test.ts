import { createRequire } from "node:module"
import { hostname } from "node:os"
import { join } from "node:path"
import Database from "libsql"
import { onTestFinished } from "vitest"
import { durableObjectJournalStore } from "../../../src/hosts/cloudflare/durable-object-journal-store.ts"
import { encryptedJournalStore } from "../../../src/hosts/journal/encrypted-store.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { type SqliteDatabase, sqliteJournalStore } from "../../../src/hosts/journal/sqlite.ts"
import type { JournalStore } from "../../../src/hosts/journal/store.ts"
import { fileJournalStore } from "../../../src/hosts/node/file-journal-store.ts"
import { newFolder } from "../../cli/harness.ts"
import { aesGcm } from "../../support/aes.ts"
import { storesInPostgres } from "../../support/postgres.ts"
import { FakeStorage } from "../cloudflare/fake-storage.ts"
import { describeStore, type Kind } from "./store-rules.ts"

const ENCRYPTION = await aesGcm("a key of the tests")

const KINDS: readonly Kind[] = [
  {
    name: "memory",
    knows: {},
    make: () => {
      const store = memoryJournalStore()
      return () => store
    },
  },
  {
    name: "files",
    knows: { pid: process.pid, host: hostname() },
    make: () => {
      const folder = newFolder()
      return () => closedAfterTest(fileJournalStore(folder))
    },
  },
  {
    name: "files, encrypted",
    knows: { pid: process.pid, host: hostname() },
    make: () => {
      const folder = newFolder()
      return () => closedAfterTest(encryptedJournalStore(fileJournalStore(folder), ENCRYPTION))
    },
  },
  {
    name: "memory, encrypted",
    knows: {},
    make: () => {
      const store = memoryJournalStore()
      return () => encryptedJournalStore(store, ENCRYPTION)
    },
  },
  {
    name: "a Durable Object",
    knows: {},
    make: () => {
      const storage = new FakeStorage()
      onTestFinished(() => void storage.database.close())
      return () => durableObjectJournalStore(storage)
    },
  },
  { name: "SQLite, by libsql", knows: {}, make: () => inSqlite((path) => new Database(path)) },
  ...sqliteOfNode(),
  ...(await storesInPostgres()),
]

/** Each store has a connection of its own to one file. */
function inSqlite(connect: (path: string) => SqliteDatabase & { close(): void }): () => JournalStore {
  const path = join(newFolder(), "journals.db")
  return () => {
    const database = connect(path)
    onTestFinished(() => database.close())
    database.exec("PRAGMA journal_mode = WAL")
    return sqliteJournalStore(database)
  }
}

/** Node has had SQLite since version 22. */
function sqliteOfNode(): readonly Kind[] {
  try {
    type OfNode = { readonly DatabaseSync: new (path: string) => SqliteDatabase & { close(): void } }
    const { DatabaseSync } = createRequire(import.meta.url)("node:sqlite") as OfNode
    return [{ name: "SQLite, by Node", knows: {}, make: () => inSqlite((path) => new DatabaseSync(path)) }]
  } catch {
    return []
  }
}

/** A store whose journals are closed after the test. An owner that was taken over and does not write again still has its file open. */
function closedAfterTest(store: JournalStore): JournalStore {
  return {
    ...store,
    async open(name, options) {
      const journal = await store.open(name, options)
      onTestFinished(() => journal.close())
      return journal
    },
  }
}

for (const kind of KINDS) describeStore(kind)
