/**
 * Measures the journal stores in one run, where their writes are durable: npx tsx bench/stores.ts [APPENDS]. Prints microseconds for each
 * append that is awaited, by its 10th percentile (about that of an idle machine), median and 99th percentile, and the time to read what was appended. Without PostgreSQL, it is left out.
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import Database from "libsql"
import pg from "pg"
import { findPostgres, startPostgres } from "../examples/workers/local-postgres.ts"
import { sqliteJournalStore } from "../src/hosts/journal/sqlite.ts"
import type { JournalStore } from "../src/hosts/journal/store.ts"
import { fileJournalStore } from "../src/hosts/node/file-journal-store.ts"
import { postgresJournalStore } from "../src/hosts/postgres/journal-store.ts"

const appends = Number(process.argv[2] ?? "1000")
const line = `${"x".repeat(899)}\n`
const folder = await mkdtemp(join(tmpdir(), "turn-machine-stores-"))

const database = new Database(join(folder, "journals.db"))
database.exec("PRAGMA journal_mode = WAL")
const bin = findPostgres()
const server = bin === undefined ? undefined : await startPostgres(bin)
const pool = server && new pg.Pool(server.connection)

const stores: readonly (readonly [string, JournalStore])[] = [
  ["file, fsync always", fileJournalStore(join(folder, "files"), { fsync: "always" })],
  ["SQLite by libsql, WAL", sqliteJournalStore(database)],
  ...(pool === undefined ? [] : [["PostgreSQL by pg, local socket", postgresJournalStore(pool)] as const]),
]
const times = new Map(stores.map(([name]) => [name, [] as number[]]))
const ROUNDS = 5
// In turns, so that what else the machine does meets all of them.
for (let round = 0; round < ROUNDS; round += 1)
  for (const [name, store] of stores) {
    const journal = await store.open("turn", { takeOver: true })
    for (let append = 0; append < appends / ROUNDS; append += 1) {
      const started = performance.now()
      await journal.append(line)
      times.get(name)?.push(performance.now() - started)
    }
    await journal.close()
  }
for (const [name, store] of stores) {
  const sorted = (times.get(name) ?? []).sort((a, b) => a - b)
  const at = (part: number): string => (1000 * (sorted[Math.floor(part * sorted.length)] ?? 0)).toFixed(0)
  const started = performance.now()
  let chars = 0
  for await (const part of (await store.read("turn")) ?? []) chars += part.length
  console.log(
    `${name.padEnd(32)} 10%: ${at(0.1).padStart(5)} µs   50%: ${at(0.5).padStart(5)} µs   99%: ${at(0.99).padStart(6)} µs   read ${chars} characters: ${(performance.now() - started).toFixed(1)} ms`,
  )
}
await pool?.end()
await server?.stop()
database.close()
await rm(folder, { recursive: true, force: true })
