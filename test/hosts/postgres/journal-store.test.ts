import { connect as connectTo, createServer, type Socket } from "node:net"
import { join } from "node:path"
import pg from "pg"
import { describe, expect, onTestFinished, test, vi } from "vitest"
import type { JournalStore, JournalStoreError, StoredJournal } from "../../../src/hosts/journal/store.ts"
import { postgresJournalStore } from "../../../src/hosts/postgres/journal-store.ts"
import { until } from "../../cli/harness.ts"
import { describeWithPostgres, newDatabase, newPool, startServer } from "../../support/postgres.ts"
import { opened, readText, textIn } from "../../support/stored-text.ts"
import { bundle, run } from "../harness.ts"

async function refusal(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "not refused",
    (error: JournalStoreError) => `${error.code}: ${error.message}`,
  )
}

async function eventually(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20))
}

/** A proxy before a server's socket, whose connections a test can cut off, before or after the server gets what a client sends. */
async function proxyOf({ host, port }: pg.PoolConfig) {
  const sockets = new Set<Socket>()
  /** What happens with the data of clients: `"drop answers"` lets the server get it, but cuts off its answer. */
  const state = { mode: "pass" as "pass" | "drop answers" | "refuse", cut: 0 }
  const server = createServer((client) => {
    if (state.mode === "refuse") return void client.destroy()
    const upstream = connectTo(join(`${host}`, `.s.PGSQL.${port}`))
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on("error", () => {})
      socket.on("close", () => {
        sockets.delete(socket)
        client.destroy()
        upstream.destroy()
      })
    }
    client.on("data", (data) => upstream.write(data))
    upstream.on("data", (data) => {
      if (state.mode === "pass") return void client.write(data)
      state.cut += 1
      client.destroy()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const cut = (): void => sockets.forEach((socket) => void socket.destroy())
  onTestFinished(() => {
    cut()
    server.close()
  })
  const address = server.address()
  return { state, cut, port: typeof address === "object" ? (address?.port ?? 0) : 0 }
}

describeWithPostgres("a PostgreSQL store", async () => {
  const server = await startServer()
  const programs = await bundle({
    /** Appends numbered lines. Prints each number when it is stored, and at the end why it stopped. */
    appends: `
      import pg from ${JSON.stringify(import.meta.resolve("pg"))}
      import { postgresJournalStore } from "../../src/hosts/postgres/journal-store.ts"
      const say = (line) => new Promise((resolve) => process.stdout.write(line + "\\n", resolve))
      const pool = new pg.Pool(JSON.parse(process.argv[2]))
      pool.on("error", () => {})
      const journal = await postgresJournalStore(pool, { leaseMs: Number(process.argv[3]), retryMs: 30_000 }).open("turn", { waitMs: 30_000 })
      const append = async (number) => {
        await journal.append(number + ":" + "x".repeat(number % 700) + "\\n")
        await say(number)
        await append(number + 1)
      }
      await append(0).catch((error) => say(error.code))
      process.exit(0)`,
    /** Opens a journal, unless another process does. */
    opens: `
      import pg from ${JSON.stringify(import.meta.resolve("pg"))}
      import { postgresJournalStore } from "../../src/hosts/postgres/journal-store.ts"
      const pool = new pg.Pool(JSON.parse(process.argv[2]))
      await new Promise((resolve) => process.stdin.once("data", resolve))
      console.log(await postgresJournalStore(pool).open("turn").then(() => "opened", (error) => error.code))
      process.exit(0)`,
  })

  /** Lines as the program `appends` stores them. */
  const lines = (count: number): string => Array.from({ length: count }, (_, number) => `${number}:${"x".repeat(number % 700)}\n`).join("")
  /** Moves the time of the database, as far as the leases go. */
  const pass = (pool: pg.Pool, ms: number): Promise<unknown> =>
    pool.query("UPDATE turn_machine_journals SET expires = expires - $1::int * interval '1 millisecond'", [ms])
  const answerOf = async (pool: pg.Pool, sql: string): Promise<unknown> => Object.values((await pool.query(sql)).rows[0] as object)[0]

  test("creates its tables in a schema, leaves other data unchanged, and is read where there are none", async () => {
    const pool = newPool(await newDatabase(server))
    const store = postgresJournalStore(pool, { schema: 'The "journals"' })
    expect(await store.read("turn")).toBeUndefined()
    await store.delete("turn")
    for await (const name of store.list()) expect(name).toBe("none")
    expect(await answerOf(pool, "SELECT count(*)::int FROM pg_namespace WHERE nspname LIKE 'The%'")).toBe(0)
    await (await store.open("turn")).close()
    const { rows } = await pool.query("SELECT schemaname, tablename FROM pg_tables WHERE schemaname !~ '^(pg_|information)' ORDER BY 2")
    expect(rows).toEqual(
      ["turn_machine_journal_schema", "turn_machine_journal_texts", "turn_machine_journals"].map((tablename) => ({
        schemaname: 'The "journals"',
        tablename,
      })),
    )
  })

  test("refuses tables of a later version, options out of range, and what is not a client", async () => {
    const pool = newPool(await newDatabase(server))
    await (await postgresJournalStore(pool).open("turn")).close()
    await pool.query("UPDATE turn_machine_journal_schema SET version = 2")
    for (const call of ["open", "read", "delete"] as const)
      expect(await refusal(postgresJournalStore(pool)[call]("turn"))).toMatch(
        /^unavailable: .*: its tables have version 2, but this package supports version 1\.$/,
      )
    for (const options of [{ leaseMs: 299 }, { leaseMs: 1_000.5 }, { retryMs: -1 }, { retryMs: Number.NaN }, { schema: "" }])
      expect(() => postgresJournalStore(pool, options)).toThrow(RangeError)
    expect(() => postgresJournalStore("postgres://127.0.0.1/" as unknown as pg.Pool)).toThrow(TypeError)
  })

  test("refuses a name that is too long for an index, and accepts shorter ones that do not compress", async () => {
    const store = postgresJournalStore(newPool(await newDatabase(server)))
    const name = Array.from({ length: 1_300 }, (_, index) => String.fromCharCode(0x3000 + ((index * 7919) % 20_000))).join("")
    const journal = await store.open(name)
    await journal.append("a\n")
    await journal.close()
    expect(await readText(store, name)).toBe("a\n")
    for (const call of [store.open, store.read, store.delete])
      expect(await refusal(call(`${name}x`))).toMatch(/^invalid_name: .* it has more than 1300 characters\. Choose another name\.$/)
  })

  test("works with a client of one connection", async () => {
    const client = new pg.Client(await newDatabase(server))
    await client.connect()
    onTestFinished(() => client.end())
    const journal = await postgresJournalStore(client).open("turn")
    await Promise.all([journal.append("a\n"), journal.append("b\n"), journal.replace(journal.read()), journal.append("c\n")])
    expect(await textIn(journal)).toBe("a\nb\nc\n")
    await journal.close()
  })

  test.each([1, 60])("has stored each of %i appends of a killed process, whose journal is free when its lease has expired", async (count) => {
    const database = await newDatabase(server)
    const running = run(programs.appends, [JSON.stringify(database), "30000"])
    await until(() => running.lines.length >= count)
    running.child.kill("SIGKILL")
    expect(await running.ended).toBe("SIGKILL")
    const pool = newPool(database)
    const store = postgresJournalStore(pool)
    expect(await refusal(store.open("turn"))).toMatch(/^in_use: .* If its owner is gone, it can be opened in \d+ s: /)
    expect(await refusal(store.delete("turn"))).toMatch(/^in_use: /)
    await pass(pool, 30_000)
    const { text } = await opened(store, "turn")
    const stored = text.split("\n").length - 1
    expect(text).toBe(lines(stored))
    expect(stored).toBeGreaterThanOrEqual(running.lines.length)
  })

  test("has one owner of two processes that open it at the same time, also when they create the tables", async () => {
    const database = await newDatabase(server)
    const racing = Array.from({ length: 4 }, () => run(programs.opens, [JSON.stringify({ ...database, max: 1 })]))
    for (const { child } of racing) child.stdin?.write("go\n")
    for (const { ended } of racing) expect(await ended).toBe(0)
    expect(racing.flatMap(({ lines }) => lines).sort()).toEqual(["in_use", "in_use", "in_use", "opened"])
  })

  test("fences off a process that was suspended for longer than its lease, in the middle of its appends", async () => {
    const database = await newDatabase(server)
    const running = run(programs.appends, [JSON.stringify(database), "600"])
    await until(() => running.lines.length >= 20)
    running.child.kill("SIGSTOP")
    const store = postgresJournalStore(newPool(database), { leaseMs: 600 })
    const taken = await opened(store, "turn", { waitMs: 30_000 })
    await taken.append("ours\n")
    running.child.kill("SIGCONT")
    expect(await running.ended).toBe(0)
    expect(running.lines.at(-1)).toBe("fenced")
    expect(await textIn(taken)).toBe(`${taken.text}ours\n`)
    expect(taken.text.split("\n").length - 1).toBeGreaterThanOrEqual(running.lines.length - 1)
    await taken.close()
  })

  test("continues after its server was killed in the middle of writes, and has each write once", async () => {
    const own = await startServer({ fsync: "on" }, onTestFinished)
    const database = { ...own.connection, connectionTimeoutMillis: 2_000 }
    const running = run(programs.appends, [JSON.stringify(database), "30000"])
    for (const count of [30, 60, 90]) {
      await until(() => running.lines.length >= count)
      await own.kill()
      const before = running.lines.length
      await own.restart()
      await until(() => running.lines.length > before + 5)
    }
    running.child.kill("SIGKILL")
    await running.ended
    const { text } = await opened(postgresJournalStore(newPool(database)), "turn", { takeOver: true })
    const stored = text.split("\n").length - 1
    expect(text).toBe(lines(stored))
    expect(stored).toBeGreaterThanOrEqual(running.lines.length)
  })

  test("stores a write once whose answer was lost, and all that follow", async () => {
    const database = await newDatabase(server)
    const proxy = await proxyOf(database)
    const journal = await postgresJournalStore(newPool({ ...database, host: "127.0.0.1", port: proxy.port })).open("turn")
    const steps: readonly (() => Promise<void>)[] = [
      () => journal.append("a\n"),
      () => journal.append("b\n"),
      () => journal.replace("c\n"),
      () => journal.append(`${"d".repeat(3_000_000)}\n`),
      () => journal.append("e\n"),
      () => journal.replace(journal.read()),
    ]
    for (const step of steps) {
      proxy.state.mode = "drop answers"
      const cut = proxy.state.cut
      const done = step()
      await until(() => proxy.state.cut > cut)
      proxy.state.mode = "pass"
      await done
    }
    expect((await textIn(journal)) === `c\n${"d".repeat(3_000_000)}\ne\n`).toBe(true)
    await journal.close()
    const direct = postgresJournalStore(newPool(database))
    expect((await readText(direct, "turn"))?.length).toBe(3_000_005)
  })

  /** A journal behind a proxy that loses the answers of a write for longer than it is repeated. The server has committed it. */
  async function withUnknownWrite(write: (journal: StoredJournal) => Promise<void>): Promise<{ journal: StoredJournal; direct: JournalStore }> {
    const database = await newDatabase(server)
    const proxy = await proxyOf(database)
    const pool = newPool({ ...database, host: "127.0.0.1", port: proxy.port })
    const journal = await postgresJournalStore(pool, { retryMs: 2_000 }).open("turn")
    const direct = postgresJournalStore(newPool(database))
    await journal.append("a\n")
    proxy.state.mode = "drop answers"
    expect(await refusal(write(journal))).toMatch(/^unavailable: Journal "turn" cannot be written: /)
    proxy.state.mode = "pass"
    await eventually(async () => (await readText(direct, "turn")) !== "a\n")
    return { journal, direct }
  }

  test.each<readonly [string, (journal: StoredJournal) => Promise<void>, committed: string]>([
    ["an append", (journal) => journal.append("lost\n"), "a\nlost\n"],
    ["a replacement", (journal) => journal.replace("lost\n"), "lost\n"],
  ])("removes what the server committed of %s that failed, with the next write or at its close", async (_what, write, committed) => {
    const repeated = await withUnknownWrite(write)
    expect(await readText(repeated.direct, "turn")).toBe(committed)
    expect(await textIn(repeated.journal)).toBe("a\n")
    await repeated.journal.append("b\n")
    expect(await readText(repeated.direct, "turn")).toBe("a\nb\n")
    await repeated.journal.replace("c\n")
    expect(await readText(repeated.direct, "turn")).toBe("c\n")
    await repeated.journal.close()

    const closed = await withUnknownWrite(write)
    await closed.journal.close()
    expect(await readText(closed.direct, "turn")).toBe("a\n")
    const again = await opened(closed.direct, "turn")
    await again.append("b\n")
    expect(await textIn(again)).toBe("a\nb\n")
    await again.close()
  })

  test("does not store a write again that a connection delivers late, after the owner wrote on another one", async () => {
    const database = await newDatabase(server)
    const pool = newPool(database)
    const sent: (readonly [string, unknown[]])[] = []
    const client = {
      query: (text: string, values: unknown[] = []) => {
        sent.push([text, values])
        return pool.query(text, values)
      },
    }
    const journal = await postgresJournalStore(client).open("turn")
    await journal.append("a\n")
    const [late] = sent.slice(-1)
    await journal.append("b\n")
    await journal.replace("c\n")
    await journal.append("d\n")
    if (late !== undefined) await pool.query(...late)
    expect(await readText(postgresJournalStore(pool), "turn")).toBe("c\nd\n")
    await journal.close()
  })

  test("fails as `unavailable` while its server cannot be reached, and works when it can be again", async () => {
    const database = await newDatabase(server)
    const proxy = await proxyOf(database)
    const store = postgresJournalStore(newPool({ ...database, host: "127.0.0.1", port: proxy.port }), { retryMs: 3_000 })
    const journal = await store.open("turn")
    proxy.state.mode = "refuse"
    proxy.cut()
    const calls = [
      ...[journal.append("a\n"), journal.replace("b\n"), textIn(journal), store.open("other"), store.delete("other")],
      store.list()[Symbol.asyncIterator]().next(),
    ]
    expect(await Promise.all(calls.map(refusal))).toEqual([
      expect.stringMatching(/^unavailable: Journal "turn" cannot be written: /),
      expect.stringMatching(/^unavailable: Journal "turn" cannot be written: /),
      expect.stringMatching(/^unavailable: Journal "turn" cannot be read: /),
      expect.stringMatching(/^unavailable: Journal "other" cannot be opened: /),
      expect.stringMatching(/^unavailable: Journal "other" cannot be deleted: /),
      expect.stringMatching(/^unavailable: The journals cannot be listed: /),
    ])
    proxy.state.mode = "pass"
    await journal.append("c\n")
    expect(await textIn(journal)).toBe("c\n")
    await journal.close()
  })

  test("says so when the server cannot store more, stores none of it, and works when there is space again", async () => {
    const pool = newPool(await newDatabase(server))
    const journal = await postgresJournalStore(pool, { retryMs: 60_000 }).open("turn")
    await journal.append("a\n")
    await pool.query(`
      CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'could not extend file "base/1": No space left on device' USING ERRCODE = 'disk_full';
      END $$;
      CREATE TRIGGER full_disk BEFORE INSERT ON turn_machine_journal_texts FOR EACH ROW WHEN (length(NEW.text) > 4) EXECUTE FUNCTION full_disk()`)
    const begun = performance.now()
    const message = 'unavailable: Journal "turn" cannot be written: could not extend file "base/1": No space left on device.'
    expect(await refusal(journal.append("too long\n"))).toBe(message)
    expect(await refusal(journal.replace("too long\n"))).toBe(message)
    expect(performance.now() - begun).toBeLessThan(50_000)
    await journal.append("b\n")
    expect(await textIn(journal)).toBe("a\nb\n")
    await pool.query("DROP TRIGGER full_disk ON turn_machine_journal_texts")
    await journal.append("too long\n")
    expect(await textIn(journal)).toBe("a\nb\ntoo long\n")
    await journal.close()
  })

  test("does not wait without limit for a row that a connection without a client has locked", async () => {
    const pool = newPool(await newDatabase(server))
    const store = postgresJournalStore(pool, { retryMs: 3_000 })
    const journal = await store.open("turn")
    const other = await pool.connect()
    await other.query("BEGIN; SELECT 1 FROM turn_machine_journals FOR UPDATE")
    expect(await refusal(journal.append("lost\n"))).toMatch(/^unavailable: .*(?:did not answer|lock timeout)/)
    await other.query("ROLLBACK")
    other.release()
    await journal.append("a\n")
    expect(await textIn(journal)).toBe("a\n")
    await journal.close()
  })

  test("reads long texts by pages, and says so if one was replaced long ago or deleted meanwhile", async () => {
    const pool = newPool(await newDatabase(server))
    const store = postgresJournalStore(pool)
    const journal = await store.open("turn")
    const line = `${"語".repeat(350_000)}\n`
    for (let index = 0; index < 6; index += 1) await journal.append(line)
    const sizes: number[] = []
    const counting = {
      query: async (text: string, values?: unknown[]) => {
        const result = await pool.query(text, values)
        sizes.push(result.rows.reduce((sum: number, row: { text?: Uint8Array }) => sum + (row.text?.length ?? 0), 0))
        return result
      },
    }
    let text = ""
    for await (const part of (await postgresJournalStore(counting).read("turn")) ?? []) {
      if (text === "") await journal.replace("short\n")
      text += part
    }
    expect(text === line.repeat(6)).toBe(true)
    expect(Math.max(...sizes)).toBeLessThan(3_200_000)
    expect(sizes.filter((size) => size > 0).length).toBeGreaterThan(2)

    await journal.replace(line.repeat(6))
    await journal.close()
    const parts = (await store.read("turn"))?.[Symbol.asyncIterator]()
    await parts?.next()
    await store.delete("turn")
    const rest = async (): Promise<void> => {
      while ((await parts?.next())?.done === false);
    }
    expect(await refusal(rest())).toMatch(/^unavailable: Journal "turn" cannot be read: it was deleted, or replaced more than a minute ago/)
    expect(await answerOf(pool, "SELECT count(*)::int FROM turn_machine_journal_texts")).toBe(0)
  })

  test("deletes replaced texts after a minute: those of its open journals, and those of closed ones", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "Date"] })
    onTestFinished(() => void vi.useRealTimers())
    const pool = newPool(await newDatabase(server))
    const store = postgresJournalStore(pool)
    const rows = (): Promise<unknown> => answerOf(pool, "SELECT count(*)::int FROM turn_machine_journal_texts")
    const [open, closed] = [await store.open("open"), await store.open("closed")]
    for (const journal of [open, closed]) {
      await journal.append("a\n")
      await journal.replace("b\n")
    }
    await closed.close()
    expect(await rows()).toBe(4)
    vi.advanceTimersByTime(70_000)
    await eventually(async () => (await rows()) === 3)
    // The sweep goes by the clock of the database.
    await pool.query("UPDATE turn_machine_journals SET stale = stale - interval '1 minute'")
    await (await store.open("third")).close()
    await eventually(async () => (await rows()) === 2)
    expect(await textIn(open)).toBe("b\n")
    expect(await readText(store, "closed")).toBe("b\n")
    await open.append("c\n")
    expect(await textIn(open)).toBe("b\nc\n")
    await open.close()
  })

  describe("whose lease", () => {
    test("has expired can be opened and deleted by others; its owner stores nothing more", async () => {
      const pool = newPool(await newDatabase(server))
      const [ours, theirs] = [postgresJournalStore(pool), postgresJournalStore(pool)]
      const first = await ours.open("turn")
      await first.append("a\n")
      await pass(pool, 10_000)
      const [error] = await Promise.allSettled([theirs.open("turn")])
      expect(error).toMatchObject({ status: "rejected", reason: { code: "in_use" } })
      const { retryAfterMs } = (error as PromiseRejectedResult).reason as JournalStoreError
      expect(retryAfterMs).toBeGreaterThan(0)
      expect(retryAfterMs).toBeLessThanOrEqual(20_000)
      await first.append("b\n")
      expect(await refusal(theirs.open("turn"))).toMatch(/ it can be opened in (?:2\d|30) s: /)
      await pass(pool, 30_000)
      const second = await theirs.open("turn")
      expect(await refusal(first.append("late\n"))).toMatch(/^fenced: /)
      expect(await refusal(first.replace("late\n"))).toMatch(/^fenced: /)
      expect(await refusal(textIn(first))).toMatch(/^fenced: /)
      await first.close()
      expect(await refusal(ours.open("turn"))).toMatch(/^in_use: /)
      expect(await textIn(second)).toBe("a\nb\n")
      await pass(pool, 30_000)
      await ours.delete("turn")
      const third = await ours.open("turn")
      expect(await refusal(second.append("late\n"))).toMatch(/^fenced: /)
      expect(await textIn(third)).toBe("")
      await third.close()
    })

    test("has expired is renewed by a write, if no other owner has opened the journal", async () => {
      const pool = newPool(await newDatabase(server))
      const journal = await postgresJournalStore(pool).open("turn")
      await pass(pool, 3_600_000)
      await journal.append("a\n")
      expect(await refusal(postgresJournalStore(pool).open("turn"))).toMatch(/^in_use: /)
      await journal.close()
    })

    test("does not last longer because the clock was set back", async () => {
      const pool = newPool(await newDatabase(server))
      await postgresJournalStore(pool).open("turn")
      await pass(pool, -3_600_000)
      await expect(postgresJournalStore(pool).open("turn")).rejects.toMatchObject({ code: "in_use", retryAfterMs: 30_000 })
      await pass(pool, 30_000)
      await (await postgresJournalStore(pool).open("turn")).close()
    })

    test("is stolen in the middle of an append or a replacement of several rows: none of it is stored", async () => {
      const pool = newPool(await newDatabase(server))
      for (const name of ["append", "replace"] as const) {
        let taken: StoredJournal | undefined
        let writes = 0
        const stealing = {
          async query(text: string, values: unknown[] = []) {
            if (text.includes("stored AS")) writes += 1
            if (writes === 4 && taken === undefined) {
              await pool.query("UPDATE turn_machine_journals SET expires = clock_timestamp() WHERE name = $1", [name])
              taken = await postgresJournalStore(pool).open(name)
            }
            return pool.query(text, values)
          },
        }
        const journal = await postgresJournalStore(stealing).open(name)
        await journal.append("a\n")
        expect(await refusal(journal[name]("x".repeat(5_000_000)))).toMatch(/^fenced: /)
        await taken?.append("b\n")
        if (taken !== undefined) expect(await textIn(taken)).toBe("a\nb\n")
        await taken?.replace("c\n")
        await taken?.append("d\n")
        expect(await readText(postgresJournalStore(pool), name)).toBe("c\nd\n")
        await taken?.close()
        await journal.close()
      }
    })

    test("is renewed by a timer, and each owner has a higher epoch", async () => {
      const pool = newPool(await newDatabase(server))
      const store = postgresJournalStore(pool, { leaseMs: 1_500 })
      const journal = await store.open("turn")
      const end = (): Promise<unknown> => answerOf(pool, "SELECT expires::text FROM turn_machine_journals")
      for (let renewals = 0; renewals < 2; renewals += 1) {
        const before = await end()
        await eventually(async () => (await end()) !== before)
      }
      await journal.close()
      for (const epoch of ["2", "3"]) {
        const next = await store.open("turn", { takeOver: true })
        expect(await answerOf(pool, "SELECT epoch FROM turn_machine_journals")).toBe(epoch)
        await next.close()
      }
    })
  })
})
