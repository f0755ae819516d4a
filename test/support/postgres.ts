import pg from "pg"
import { afterAll, describe, onTestFinished, test } from "vitest"
import { findPostgres, type LocalPostgres, startPostgres } from "../../examples/workers/local-postgres.ts"
import type { JournalStore } from "../../src/hosts/journal/store.ts"
import { postgresJournalStore } from "../../src/hosts/postgres/journal-store.ts"

const bin = findPostgres()
if (bin === undefined && process.env["CI"] === "true") throw new Error("PostgreSQL is not installed: apt-get install postgresql")

/** Describes tests that need PostgreSQL. Where it is not installed, they are skipped on a contributor's machine, and fail in CI. */
export function describeWithPostgres(name: string, define: () => void | Promise<void>): void {
  if (bin !== undefined) describe(name, define)
  else describe.skipIf(true)(`${name} (PostgreSQL is not installed: apt-get install postgresql)`, () => test("is tested", () => {}))
}

/** A server for the tests of a file, or for one test. Its writes are not synced, because only processes are killed. */
export async function startServer(
  settings: Readonly<Record<string, string>> = {},
  atEnd: (end: () => Promise<void>) => void = afterAll,
): Promise<LocalPostgres> {
  if (bin === undefined) throw new Error("PostgreSQL is not installed.")
  const server = await startPostgres(bin, { fsync: "off", ...settings })
  atEnd(() => server.stop())
  return server
}

let databases = 0

/** Creates an empty database. Resolves to how pg connects to it. */
export async function newDatabase({ connection }: LocalPostgres): Promise<pg.PoolConfig> {
  databases += 1
  const database = `test_${databases}`
  const client = new pg.Client(connection)
  await client.connect()
  await client.query(`CREATE DATABASE ${database}`)
  await client.end()
  return { ...connection, database }
}

/** A pool that ends with its test, or earlier. */
export function newPool(config: pg.PoolConfig): pg.Pool {
  const pool = new pg.Pool({ max: 4, ...config })
  // An idle connection that is lost is no failure: the pool makes another one.
  pool.on("error", () => {})
  onTestFinished(() => (pool.ending ? undefined : pool.end()))
  return pool
}

/** The store for the tests that all stores run, in the full lane. Each store has connections of its own, to one schema. */
export async function storesInPostgres(): Promise<
  readonly { readonly name: string; readonly knows: object; readonly make: () => () => JournalStore }[]
> {
  if (process.env["TEST_LANE"] === "fast") return []
  const name = "PostgreSQL"
  if (bin === undefined) {
    describeWithPostgres(`journals in ${name}`, () => {})
    return []
  }
  const { connection } = await startServer()
  let schemas = 0
  const make = (): (() => JournalStore) => {
    schemas += 1
    const schema = `Suite "${schemas}"`
    return () => postgresJournalStore(newPool({ ...connection, max: 2 }), { schema })
  }
  return [{ name, knows: {}, make }]
}
