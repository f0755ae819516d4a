import { mkdtemp, readdir, rm, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import Database from "libsql"
import { memoryJournalStore } from "../../src/hosts/journal/memory.ts"
import { sqliteJournalStore } from "../../src/hosts/journal/sqlite.ts"
import type { JournalStore } from "../../src/hosts/journal/store.ts"
import { fileJournalStore } from "../../src/hosts/node/file-journal-store.ts"

export const STORE_KINDS = ["memory", "sqlite", "file"] as const

export type StoreKind = (typeof STORE_KINDS)[number]

/** A store for one run, and what it takes. */
export interface SoakedStore {
  readonly store: JournalStore
  /** What the store has, in bytes: of the texts, the pages of the database, or the files. */
  storedBytes(): Promise<number>
  /** Deletes everything. */
  end(): Promise<void>
}

/** Makes an empty store. Its writes are not synced: a soak is about growth. */
export async function soakedStore(kind: StoreKind): Promise<SoakedStore> {
  if (kind === "memory") return countedStore(memoryJournalStore())
  const folder = await mkdtemp(join(tmpdir(), "turn-machine-soak-"))
  const deleteFolder = (): Promise<void> => rm(folder, { recursive: true, force: true })
  if (kind === "file") return { store: fileJournalStore(folder, { fsync: "never" }), storedBytes: () => bytesIn(folder), end: deleteFolder }
  const database = new Database(join(folder, "journals.db"))
  database.exec("PRAGMA journal_mode = WAL")
  database.exec("PRAGMA synchronous = OFF")
  const pragma = (name: string): number => Object.values(database.prepare(`PRAGMA ${name}`).get() as Record<string, number>)[0] as number
  return {
    store: sqliteJournalStore(database, { synchronous: "unchanged" }),
    storedBytes: async () => pragma("page_count") * pragma("page_size"),
    end: async () => {
      database.close()
      await deleteFolder()
    },
  }
}

/** Counts what is written, because a sum over all texts of a large store takes long. All of a journal is ASCII, so a character is a byte. */
function countedStore(store: JournalStore): SoakedStore {
  const sizes = new Map<string, number>()
  let total = 0
  const resize = (name: string, size: number): void => {
    total += size - (sizes.get(name) ?? 0)
    sizes.set(name, size)
  }
  return {
    store: {
      ...store,
      async open(name, options) {
        const journal = await store.open(name, options)
        return {
          read: () => journal.read(),
          close: () => journal.close(),
          append: async (text) => {
            await journal.append(text)
            resize(name, (sizes.get(name) ?? 0) + text.length)
          },
          replace: async (content) => {
            await journal.replace(content)
            let size = 0
            for await (const part of journal.read()) size += part.length
            resize(name, size)
          },
        }
      },
      async delete(name) {
        await store.delete(name)
        resize(name, 0)
        sizes.delete(name)
      },
    },
    storedBytes: async () => total,
    end: async () => {},
  }
}

async function bytesIn(folder: string): Promise<number> {
  let bytes = 0
  for (const { name, parentPath } of await readdir(folder, { withFileTypes: true, recursive: true }))
    bytes += (await stat(join(parentPath, name)).catch(() => undefined))?.size ?? 0
  return bytes
}
