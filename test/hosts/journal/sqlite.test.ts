import { join } from "node:path"
import Database from "libsql"
import { describe, expect, onTestFinished, test, vi } from "vitest"
import { type SqliteDatabase, sqliteJournalStore } from "../../../src/hosts/journal/sqlite.ts"
import type { JournalStore, JournalStoreError } from "../../../src/hosts/journal/store.ts"
import { newFolder, until } from "../../cli/harness.ts"
import { opened, readText, textIn } from "../../support/stored-text.ts"
import { bundle, run } from "../harness.ts"

const programs = await bundle({
  /** Appends numbered lines. Prints each number when it is stored, and at the end why it stopped. */
  appends: `
    import Database from ${JSON.stringify(import.meta.resolve("libsql"))}
    import { sqliteJournalStore } from "../../src/hosts/journal/sqlite.ts"
    const say = (line) => new Promise((resolve) => process.stdout.write(line + "\\n", resolve))
    const database = new Database(process.argv[2])
    database.exec("PRAGMA journal_mode = WAL")
    const journal = await sqliteJournalStore(database).open("turn")
    const append = async (number) => {
      await journal.append(number + ":" + "x".repeat(number % 700) + "\\n")
      await say(number)
      await append(number + 1)
    }
    await append(0).catch((error) => say(error.code))`,
  /** Opens a journal and ends without closing it. */
  leaves: `
    import Database from ${JSON.stringify(import.meta.resolve("libsql"))}
    import { sqliteJournalStore } from "../../src/hosts/journal/sqlite.ts"
    await sqliteJournalStore(new Database(process.argv[2])).open("turn")
    console.log("open")`,
})

function connect(path: string): Database.Database {
  const database = new Database(path)
  onTestFinished(() => void database.close())
  return database
}

function newPath(): string {
  return join(newFolder(), "journals.db")
}

async function refusal(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "not refused",
    (error: JournalStoreError) => `${error.code}: ${error.message}`,
  )
}

function answerOf(database: SqliteDatabase, sql: string): unknown {
  return Object.values(database.prepare(sql).get() as object)[0]
}

describe("a SQLite store", () => {
  test("leaves other data in the database unchanged", async () => {
    const database = connect(newPath())
    database.exec("PRAGMA user_version = 7; CREATE TABLE other (a); INSERT INTO other VALUES ('kept')")
    const journal = await sqliteJournalStore(database).open("turn")
    await journal.append("a\n")
    await journal.close()
    expect(answerOf(database, "PRAGMA user_version")).toBe(7)
    expect(answerOf(database, "PRAGMA journal_mode")).toBe("delete")
    expect(answerOf(database, "SELECT a FROM other")).toBe("kept")
    const tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").all() as { name: string }[]
    expect(tables.map(({ name }) => name)).toEqual(["other", "turn_machine_journal_schema", "turn_machine_journal_texts", "turn_machine_journals"])
  })

  test("syncs its writes, unless `synchronous` is `unchanged`", async () => {
    const [synced, unchanged] = [connect(newPath()), connect(newPath())]
    for (const database of [synced, unchanged]) database.exec("PRAGMA synchronous = OFF")
    await (await sqliteJournalStore(synced).open("turn")).close()
    await (await sqliteJournalStore(unchanged, { synchronous: "unchanged" }).open("turn")).close()
    expect(answerOf(synced, "PRAGMA synchronous")).toBe(3)
    expect(answerOf(unchanged, "PRAGMA synchronous")).toBe(0)
  })

  test("waits for other connections as long as `busyTimeoutMs`, or longer if the connection does", async () => {
    const [short, long] = [connect(newPath()), connect(newPath())]
    short.exec("PRAGMA busy_timeout = 10")
    long.exec("PRAGMA busy_timeout = 60000")
    for (const database of [short, long]) await (await sqliteJournalStore(database, { busyTimeoutMs: 1234 }).open("turn")).close()
    expect(answerOf(short, "PRAGMA busy_timeout")).toBe(1234)
    expect(answerOf(long, "PRAGMA busy_timeout")).toBe(60000)
    expect(() => sqliteJournalStore(short, { busyTimeoutMs: -1 })).toThrow(
      new RangeError("busyTimeoutMs must be a whole number of at least 0, not -1."),
    )
  })

  test("is `unavailable` while another connection writes, and works afterwards", async () => {
    const path = newPath()
    const [other, own] = [connect(path), connect(path)]
    const store = sqliteJournalStore(own, { busyTimeoutMs: 0 })
    other.exec("BEGIN IMMEDIATE")
    expect(await refusal(store.open("turn"))).toBe('unavailable: Journal "turn" cannot be opened: database is locked.')
    other.exec("ROLLBACK")
    const journal = await store.open("turn")
    other.exec("BEGIN IMMEDIATE")
    expect(await refusal(journal.append("lost\n"))).toBe('unavailable: Journal "turn" cannot be written: database is locked.')
    other.exec("ROLLBACK")
    await journal.append("kept\n")
    await journal.close()
    expect((await opened(store, "turn")).text).toBe("kept\n")
  })

  test("stores nothing inside a transaction of the application", async () => {
    const database = connect(newPath())
    const journal = await sqliteJournalStore(database).open("turn")
    database.exec("BEGIN")
    expect(await refusal(journal.append("lost\n"))).toMatch(/^unavailable: .* cannot start a transaction within a transaction\.$/)
    database.exec("COMMIT")
    await journal.append("kept\n")
    await journal.close()
    expect((await opened(sqliteJournalStore(database), "turn")).text).toBe("kept\n")
  })

  test("leaves a journal unchanged if it cannot be replaced", async () => {
    const database = connect(newPath())
    const journal = await sqliteJournalStore(database).open("turn")
    await journal.append("before\n")
    database.exec("CREATE TRIGGER full BEFORE INSERT ON turn_machine_journal_texts BEGIN SELECT RAISE(ABORT, 'full'); END")
    expect(await refusal(journal.replace("lost\n"))).toBe('unavailable: Journal "turn" cannot be written: full.')
    database.exec("DROP TRIGGER full")
    await journal.append("after\n")
    await journal.close()
    expect((await opened(sqliteJournalStore(database), "turn")).text).toBe("before\nafter\n")
  })

  test("is read where nothing can be written, and while another connection writes", async () => {
    const path = newPath()
    const writer = connect(path)
    const journal = await sqliteJournalStore(writer).open("turn")
    await journal.append("a\n")
    await journal.close()
    const readOnly = new Database(path, { readonly: true })
    onTestFinished(() => void readOnly.close())
    writer.exec("BEGIN IMMEDIATE")
    for (const database of [readOnly, connect(path)]) {
      const store = sqliteJournalStore(database, { busyTimeoutMs: 0 })
      expect(await readText(store, "turn")).toBe("a\n")
      for await (const name of store.list()) expect(name).toBe("turn")
    }
    writer.exec("COMMIT")
  })

  test("refuses tables of a later version", async () => {
    const database = connect(newPath())
    await (await sqliteJournalStore(database).open("turn")).close()
    database.exec("UPDATE turn_machine_journal_schema SET version = 3")
    expect(await refusal(sqliteJournalStore(database).open("turn"))).toBe(
      'unavailable: Journal "turn" cannot be opened: its tables have version 3, but this package supports version 2.',
    )
  })

  test("opens a journal that was deleted, and fences off its owner", async () => {
    const database = connect(newPath())
    const store = sqliteJournalStore(database)
    const old = await store.open("turn")
    database.exec("DELETE FROM turn_machine_journals; DELETE FROM turn_machine_journal_texts")
    const journal = await store.open("turn")
    expect(await refusal(old.append("late\n"))).toMatch(/^fenced: /)
    await journal.append("new\n")
    await journal.close()
    expect((await opened(store, "turn")).text).toBe("new\n")
  })

  test.each([1, 60])("has stored each of %i appends of a killed process, whose journal is free when its lease has expired", async (count) => {
    const path = newPath()
    const running = run(programs.appends, [path])
    await until(() => running.lines.length >= count)
    running.child.kill("SIGKILL")
    expect(await running.ended).toBe("SIGKILL")

    const database = connect(path)
    expect(await refusal(sqliteJournalStore(database).open("turn"))).toMatch(/^in_use: .* If its owner is gone, it can be opened in (?:30|2\d) s: /)
    const store = sqliteJournalStore(database, { now: () => Date.now() + 30_001 })
    const lines = (await opened(store, "turn")).text.split("\n")
    expect(lines.pop()).toBe("")
    expect(lines.map((line, number) => line === `${number}:${"x".repeat(number % 700)}`)).not.toContain(false)
    expect(lines.length).toBeGreaterThanOrEqual(running.lines.length)
  })

  test("fences off a process during its appends", async () => {
    const path = newPath()
    const running = run(programs.appends, [path])
    await until(() => running.lines.length >= 20)
    const store = sqliteJournalStore(connect(path))
    const taken = await opened(store, "turn", { takeOver: true })
    expect(await running.ended).toBe(0)
    expect(running.lines.at(-1)).toBe("fenced")
    expect(taken.text.split("\n")).toHaveLength(running.lines.length)
    await taken.append("ours\n")
    await taken.close()
    expect((await opened(store, "turn")).text).toBe(`${taken.text}ours\n`)
  })
})

describe("the lease of a journal in SQLite", () => {
  /** Two stores of one database, as in two processes, with one clock. */
  function twoStores(): { readonly clock: { now: number }; readonly ours: JournalStore; readonly theirs: JournalStore } {
    const path = newPath()
    const clock = { now: 1_000_000 }
    const store = (): JournalStore => sqliteJournalStore(connect(path), { now: () => clock.now })
    return { clock, ours: store(), theirs: store() }
  }

  test("lasts 30 seconds after the last write, and can then be taken by anyone", async () => {
    const { clock, ours, theirs } = twoStores()
    const first = await ours.open("turn")
    clock.now += 20_000
    await first.append("a\n")
    clock.now += 29_999
    await expect(theirs.open("turn")).rejects.toMatchObject({ code: "in_use", retryAfterMs: 1, owner: { since: 1_000_000 } })
    await expect(theirs.delete("turn")).rejects.toMatchObject({ code: "in_use", retryAfterMs: 1 })
    clock.now += 1
    const second = await theirs.open("turn")
    expect(await refusal(first.append("late\n"))).toMatch(/^fenced: /)
    expect(await refusal(first.replace("late\n"))).toMatch(/^fenced: /)
    await first.close()
    expect(await refusal(ours.open("turn"))).toMatch(/^in_use: /)
    await second.append("b\n")
    expect(await textIn(second)).toBe("a\nb\n")
    await second.close()
  })

  test("that has expired is renewed by a write, if no other owner has opened the journal", async () => {
    const { clock, ours, theirs } = twoStores()
    const journal = await ours.open("turn")
    clock.now += 3_600_000
    await journal.append("a\n")
    expect(await refusal(theirs.open("turn"))).toMatch(/^in_use: /)
    await journal.close()
  })

  test("lets a journal be deleted when it has expired; its owner stores nothing in a new one of that name", async () => {
    const { clock, ours, theirs } = twoStores()
    const old = await ours.open("turn")
    clock.now += 30_000
    await theirs.delete("turn")
    expect(await refusal(old.append("late\n"))).toMatch(/^fenced: /)
    // The new journal counts its owners from 1 again.
    const journal = await theirs.open("turn")
    expect(await refusal(old.append("late\n"))).toMatch(/^fenced: /)
    expect(await textIn(journal)).toBe("")
    await journal.close()
  })

  test("does not last longer because the clock was set back, and a living owner keeps it", async () => {
    const { clock, ours, theirs } = twoStores()
    const first = await ours.open("turn")
    clock.now -= 3_600_000
    await expect(theirs.open("turn")).rejects.toMatchObject({ code: "in_use", retryAfterMs: 30_000 })
    clock.now += 20_000
    await first.append("a\n")
    clock.now += 29_999
    expect(await refusal(theirs.open("turn"))).toMatch(/^in_use: /)
    clock.now += 1
    await (await theirs.open("turn")).close()

    await ours.open("turn")
    clock.now -= 3_600_000
    await expect(theirs.open("turn")).rejects.toMatchObject({ code: "in_use", retryAfterMs: 30_000 })
    clock.now += 30_000
    await (await theirs.open("turn")).close()
  })

  test("is renewed every 10 seconds by a timer, which ends with the journal, or when the lease is lost", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] })
    onTestFinished(() => void vi.useRealTimers())
    const { clock, ours, theirs } = twoStores()
    const first = await ours.open("turn")
    for (let seconds = 0; seconds < 120; seconds += 10) {
      clock.now += 10_000
      vi.advanceTimersByTime(10_000)
    }
    clock.now += 29_999
    expect(await refusal(theirs.open("turn"))).toMatch(/^in_use: /)
    expect(vi.getTimerCount()).toBe(1)
    await first.close()
    expect(vi.getTimerCount()).toBe(0)

    const old = await ours.open("turn")
    const taken = await theirs.open("turn", { takeOver: true })
    expect(vi.getTimerCount()).toBe(2)
    vi.advanceTimersByTime(10_000)
    expect(vi.getTimerCount()).toBe(1)
    expect(await refusal(old.append("late\n"))).toMatch(/^fenced: /)
    await taken.close()
    await old.close()
    expect(vi.getTimerCount()).toBe(0)
  })

  test("is given up when its connection was closed", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] })
    onTestFinished(() => void vi.useRealTimers())
    const database = new Database(newPath())
    let now = 1_000_000
    const journal = await sqliteJournalStore(database, { now: () => now }).open("turn")
    database.close()
    for (let seconds = 0; seconds <= 30; seconds += 10) {
      now += 10_000
      vi.advanceTimersByTime(10_000)
    }
    expect(vi.getTimerCount()).toBe(0)
    expect(await refusal(journal.append("a\n"))).toMatch(/^unavailable: /)
    await journal.close()
  })

  test("counts owners: each has a higher epoch", async () => {
    const path = newPath()
    const database = connect(path)
    const store = sqliteJournalStore(database)
    for (const epoch of [1, 2, 3]) {
      const journal = await store.open("turn", { takeOver: epoch === 3 })
      expect(answerOf(database, "SELECT epoch FROM turn_machine_journals")).toBe(epoch)
      if (epoch !== 2) await journal.close()
    }
  })

  test("keeps no process alive", async () => {
    const running = run(programs.leaves, [newPath()])
    expect(await running.ended).toBe(0)
    expect(running.lines).toEqual(["open"])
  })
})
