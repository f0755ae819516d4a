import pg from "pg"
import { afterAll, expect, test, vi } from "vitest"
import type { JournalStore, StoredJournal } from "../../../src/hosts/journal/store.ts"
import { postgresJournalStore } from "../../../src/hosts/postgres/journal-store.ts"
import { hostConformance, type TestedHost } from "../../../src/testing/index.ts"
import { wrapMembers } from "../../../src/wrap.ts"
import { describeWithPostgres, startServer } from "../../support/postgres.ts"
import { journaledHost } from "../../testing/host-conformance/hosts.ts"

vi.setConfig({ testTimeout: 600_000, hookTimeout: 120_000 })

// `CONFORMANCE_PLACES=1000` kills at every place of each turn.
const mostPlaces = Number(process.env["CONFORMANCE_PLACES"] ?? "4")

describeWithPostgres("journaled, in PostgreSQL", async () => {
  const server = await startServer({ synchronous_commit: "off" })

  const pool = new pg.Pool({ ...server.connection, max: 4 })
  pool.on("error", () => {})
  afterAll(() => pool.end())
  let hosts = 0

  function makeHost(): TestedHost {
    hosts += 1
    const schema = `host_${hosts}`
    const opened: StoredJournal[] = []
    const store = (): JournalStore =>
      wrapMembers(postgresJournalStore(pool, { schema }), {
        async open(next: JournalStore["open"], ...given: Parameters<JournalStore["open"]>): Promise<StoredJournal> {
          const stored = await next(...given)
          opened.push(stored)
          return stored
        },
      })
    const remove = async (): Promise<void> => {
      // Those of killed processes are open, because they were killed in this one.
      for (const stored of opened) await stored.close()
    }
    return { ...journaledHost(store), remove }
  }

  const checks = hostConformance(makeHost, { promises: { held: true }, timeoutMs: 60_000, mostPlaces })
  test("is checked", () => expect(checks.length).toBeGreaterThan(20))
  for (const { name, run } of checks) test(name, run)
})
