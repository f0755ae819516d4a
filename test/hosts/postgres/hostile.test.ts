import { expect, test } from "vitest"
import type { JournalStoreError } from "../../../src/hosts/journal/store.ts"
import { postgresJournalStore } from "../../../src/hosts/postgres/journal-store.ts"
import { postgresWorkQueue } from "../../../src/hosts/postgres/work-queue.ts"
import { describeWithPostgres, newDatabase, newPool, startServer } from "../../support/postgres.ts"
import { readText, textIn } from "../../support/stored-text.ts"

/** Characters of three bytes that do not compress. */
function wide(length: number): string {
  return Array.from({ length }, (_, index) => String.fromCharCode(0x3000 + ((index * 7919) % 20_000))).join("")
}

describeWithPostgres("PostgreSQL with hostile names and late statements", async () => {
  const server = await startServer()

  test.each([
    ["dollars", "a$$b$&c$'d"],
    ["a dollar quote", '$turn_machine$; DROP TABLE victim; DO $turn_machine$BEGIN END"'],
    ["a backslash and quotes", `\\'; DROP TABLE victim; --"'`],
    ["braces", "{}{}"],
    ["63 bytes", "ä".repeat(31)],
  ])("keeps its tables in a schema whose name has %s", async (_what, schema) => {
    const database = await newDatabase(server)
    for (const options of ["-c standard_conforming_strings=on", "-c standard_conforming_strings=off"]) {
      const pool = newPool({ ...database, options })
      await pool.query("CREATE TABLE IF NOT EXISTS victim ()")
      const store = postgresJournalStore(pool, { schema })
      const journal = await store.open("turn")
      await journal.append("a\n")
      await journal.close()
      expect(await readText(postgresJournalStore(pool, { schema }), "turn")).toMatch(/^a\n/)
      const queue = postgresWorkQueue(pool, { schema })
      await queue.enqueue("key")
      await (await queue.claim())?.complete()
      const { rows } = await pool.query("SELECT DISTINCT schemaname FROM pg_tables WHERE schemaname !~ '^(pg_|information)' ORDER BY 1")
      expect(rows.map(({ schemaname }) => schemaname as unknown).sort()).toEqual(["public", schema].sort())
    }
  })

  test("refuses a schema whose name PostgreSQL would cut", () => {
    for (const make of [postgresJournalStore, postgresWorkQueue])
      expect(() => make({ query: async () => ({ rows: [] }) }, { schema: "ä".repeat(32) })).toThrow(RangeError)
  })

  test("fences off an owner whose opening arrives a second time, after another one", async () => {
    const pool = newPool(await newDatabase(server))
    const sent: (readonly [string, unknown[]])[] = []
    const client = {
      query: (text: string, values: unknown[] = []) => {
        sent.push([text, values])
        return pool.query(text, values)
      },
    }
    const first = await postgresJournalStore(client).open("turn", { takeOver: true })
    const late = sent.find(([text]) => text.includes("ON CONFLICT (key)")) as readonly [string, unknown[]]
    await first.append("a\n")
    const store = postgresJournalStore(pool)
    const second = await store.open("turn", { takeOver: true })
    await second.append("b\n")
    await pool.query(...late)
    for (const write of [() => first.append("c\n"), () => first.replace("d\n"), () => textIn(first)])
      expect(
        await write().then(
          () => "stored",
          ({ code }: JournalStoreError) => code,
        ),
      ).toBe("fenced")
    await first.close()
    expect(await readText(store, "turn")).toBe("a\nb\n")
  })

  test("opens a journal once, however often its statement arrives", async () => {
    const pool = newPool(await newDatabase(server))
    const twice = {
      query: async (text: string, values: unknown[] = []) => {
        const result = await pool.query(text, values)
        if (text.includes("ON CONFLICT (key)")) await pool.query(text, values)
        return result
      },
    }
    const journal = await postgresJournalStore(twice).open("turn")
    await journal.append("a\n")
    await journal.replace("b\n")
    expect(await textIn(journal)).toBe("b\n")
    await journal.close()
  })

  test("says that a journal was deleted while it was read", async () => {
    const pool = newPool(await newDatabase(server))
    const store = postgresJournalStore(pool)
    const journal = await store.open("turn")
    await journal.append("x".repeat(5_000_000))
    await journal.close()
    const reading = (await store.read("turn"))?.[Symbol.asyncIterator]()
    await reading?.next()
    await store.delete("turn")
    const rest = (async () => {
      while ((await reading?.next())?.done === false);
    })()
    await expect(rest).rejects.toThrow(/^Journal "turn" cannot be read: it was deleted, or replaced more than a minute ago, while it was read\./)
  })

  test("accepts the longest names of a queue and its work, which do not compress, and refuses longer ones", async () => {
    const pool = newPool(await newDatabase(server))
    const queue = postgresWorkQueue(pool, { queue: wide(80) })
    await queue.enqueue(wide(800))
    expect((await queue.claim())?.key).toBe(wide(800))
    expect(() => postgresWorkQueue(pool, { queue: "q".repeat(81) })).toThrow(RangeError)
    await expect(queue.enqueue("k".repeat(801))).rejects.toThrow(RangeError)
  })

  test("a worker that is stopped while it claims leaves that work to others", async () => {
    const pool = newPool(await newDatabase(server))
    let arrive = (): void => {}
    const claiming = new Promise<void>((resolve) => {
      arrive = resolve
    })
    let answer = (): void => {}
    const answered = new Promise<void>((resolve) => {
      answer = resolve
    })
    const slow = {
      query: async (text: string, values?: unknown[]) => {
        const result = await pool.query(text, values)
        if (text.includes("SKIP LOCKED")) {
          arrive()
          await answered
        }
        return result
      },
    }
    await postgresWorkQueue(pool).enqueue("a")
    let performed = 0
    const worker = postgresWorkQueue(slow).work(async () => {
      performed += 1
    })
    await claiming
    const stopped = worker.stop()
    answer()
    await stopped
    expect(performed).toBe(0)
    expect(await postgresWorkQueue(pool).count()).toEqual({ due: 1, claimed: 0, later: 0 })
  })

  test.each<readonly [string, object]>([
    ["whose delay is no number", { retryDelayMs: () => Number.NaN }],
    [
      "whose delay throws",
      {
        retryDelayMs: () => {
          throw new Error("no delay")
        },
      },
    ],
    [
      "whose onError throws",
      {
        onError: () => {
          throw new Error("no log")
        },
      },
    ],
  ])("a worker %s continues, and its work is due again", async (_what, options) => {
    const pool = newPool(await newDatabase(server))
    const queue = postgresWorkQueue(pool)
    await queue.enqueue("a")
    let failures = 0
    const done: string[] = []
    const worker = queue.work(
      async ({ key }) => {
        if (key === "a") {
          failures += 1
          throw new Error("failed")
        }
        done.push(key)
      },
      { pollMs: 10, ...options },
    )
    while (failures === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    await queue.enqueue("b")
    while (done.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    await worker.stop()
    expect(await queue.count()).toMatchObject({ claimed: 0 })
  })
})
