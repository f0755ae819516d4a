import { describe, expect, test } from "vitest"
import { durableObjectJournalStore } from "../../../src/hosts/cloudflare/durable-object-journal-store.ts"
import type { DurableObjectSqlStorage } from "../../../src/hosts/cloudflare/platform.ts"
import type { JournalStore, JournalStoreError } from "../../../src/hosts/journal/store.ts"
import { opened, readText } from "../../support/stored-text.ts"
import { FakeStorage } from "./fake-storage.ts"

const FULL = "database or disk is full: SQLITE_FULL"

/** The storage of a new instance of the object. */
function restarted(storage: FakeStorage): FakeStorage {
  return new FakeStorage(storage.database)
}

async function refusal(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "not refused",
    (error: JournalStoreError) => `${error.code}: ${error.message}`,
  )
}

function rowsIn({ database }: FakeStorage): readonly { readonly text: number; readonly rows: number }[] {
  return database.prepare("SELECT text, COUNT(*) AS rows FROM turn_machine_do_texts GROUP BY text ORDER BY text").all() as {
    readonly text: number
    readonly rows: number
  }[]
}

describe("a store in a Durable Object", () => {
  test("does not need takeOver after the object has restarted, and fences owners within it", async () => {
    const storage = new FakeStorage()
    const old = await durableObjectJournalStore(storage).open("turn")
    await old.append("a\n")
    expect(await refusal(durableObjectJournalStore(storage).open("turn"))).toMatch(/^in_use: /)

    const again = await opened(durableObjectJournalStore(restarted(storage)), "turn")
    expect(again.text).toBe("a\n")
    await again.append("b\n")
    await again.close()
    expect(await readText(durableObjectJournalStore(storage), "turn")).toBe("a\nb\n")
  })

  test.each<readonly [string, string]>([
    ["letters", "a"],
    ["signs of three bytes", "語"],
    ["signs of four bytes, which no row cuts", "🦎"],
    ["half of a pair before each row's end", "x🦎"],
  ])("stores a text of 3 million characters below the platform's limits: %s", async (_what, sign) => {
    const storage = new FakeStorage()
    const store = durableObjectJournalStore(storage)
    const text = sign.repeat(3_000_000 / sign.length)
    const journal = await store.open("turn")
    await journal.append(text)
    await journal.replace(text)
    await journal.replace(journal.read())
    expect((await readText(store, "turn")) === text).toBe(true)
    expect(storage.greatest).toBeLessThan(800_000)
    const decoder = new TextDecoder("utf-8", { fatal: true })
    for (const { content } of storage.database.prepare("SELECT content FROM turn_machine_do_texts").all() as { content: Uint8Array }[])
      expect(() => decoder.decode(content)).not.toThrow()
  })

  test("appends a short text with one statement", async () => {
    const storage = new FakeStorage()
    const journal = await durableObjectJournalStore(storage).open("turn")
    await journal.append("a\n")
    const before = storage.statements
    for (let count = 0; count < 100; count += 1) await journal.append("b\n")
    expect(storage.statements - before).toBe(100)
  })

  test("reads a long journal a few rows at a time", async () => {
    const storage = new FakeStorage()
    const store = durableObjectJournalStore(storage)
    const journal = await store.open("turn")
    for (let count = 0; count < 100; count += 1) await journal.append("a\n")
    const before = storage.statements
    const parts = (await store.read("turn"))?.[Symbol.asyncIterator]()
    await parts?.next()
    expect(storage.statements - before).toBeLessThan(5)
  })

  test.each(["append", "replace", "replace by parts"] as const)("stores nothing of a write that fails at any statement: %s", async (how) => {
    const long = "0123456789".repeat(80_000)
    const write = async (store: JournalStore): Promise<void> => {
      const journal = await store.open("turn", { takeOver: true })
      const parts = async function* (): AsyncGenerator<string> {
        yield long
        yield "end\n"
      }
      if (how === "append") await journal.append(long)
      else await journal.replace(how === "replace" ? long : parts())
    }
    for (let failAt = 1; ; failAt += 1) {
      const storage = new FakeStorage()
      const store = durableObjectJournalStore(storage)
      const first = await store.open("turn")
      await first.append("old\n")
      await first.close()
      let left = failAt
      storage.onStatement = (query) => {
        if (!/^\s*(?:INSERT|UPDATE|DELETE)/.test(query)) return
        left -= 1
        if (left === 0) throw new Error(FULL)
      }
      const refused = await refusal(write(store))
      if (left > 0) {
        expect(refused).toBe("not refused")
        expect(failAt).toBeGreaterThan(3)
        return
      }
      storage.onStatement = () => {}
      expect(refused).toBe(`unavailable: Journal "turn" cannot be written: ${FULL}.`)
      expect(await readText(store, "turn")).toBe("old\n")
      // The same call again, by the owner that it failed for or by the next one.
      await write(store)
      const text = (await readText(store, "turn")) ?? ""
      expect(text.length).toBe(how === "append" ? 800_004 : how === "replace" ? 800_000 : 800_004)
    }
  })

  test("deletes what a replacement left that a restart interrupted", async () => {
    const storage = new FakeStorage()
    const journal = await durableObjectJournalStore(storage).open("turn")
    await journal.append("old\n")
    const reached = new Promise<void>((resolve) => {
      const parts = async function* (): AsyncGenerator<string> {
        yield "x".repeat(300_000)
        resolve()
        await new Promise(() => {})
      }
      void journal.replace(parts())
    })
    await reached
    expect(rowsIn(storage)).toHaveLength(2)
    const store = durableObjectJournalStore(restarted(storage))
    expect(await readText(store, "turn")).toBe("old\n")
    expect(rowsIn(storage)).toHaveLength(1)
  })

  test("deletes a replaced text when its last reader has ended", async () => {
    const storage = new FakeStorage()
    const store = durableObjectJournalStore(storage)
    const journal = await store.open("turn")
    await journal.append("old\n")
    const [one, two] = [(await store.read("turn"))?.[Symbol.asyncIterator](), (await store.read("turn"))?.[Symbol.asyncIterator]()]
    await one?.next()
    await two?.next()
    await journal.replace("new\n")
    expect(rowsIn(storage)).toHaveLength(2)
    await one?.return?.()
    expect(rowsIn(storage)).toHaveLength(2)
    await two?.return?.()
    expect(rowsIn(storage)).toHaveLength(1)
    expect(await readText(store, "turn")).toBe("new\n")
    await journal.replace("newer\n")
    expect(rowsIn(storage)).toEqual([{ text: 3, rows: 1 }])
  })

  test("leaves other tables unchanged, and refuses tables of a later version", async () => {
    const storage = new FakeStorage()
    storage.database.exec("CREATE TABLE own (a); INSERT INTO own VALUES (1)")
    await (await durableObjectJournalStore(storage).open("turn")).close()
    expect(storage.database.prepare("SELECT a FROM own").all()).toEqual([{ a: 1 }])
    storage.database.exec("UPDATE turn_machine_do_schema SET version = 2")
    expect(await refusal(durableObjectJournalStore(restarted(storage)).open("turn"))).toBe(
      'unavailable: Journal "turn" cannot be opened: its tables have version 2, but this package supports version 1.',
    )
  })

  test("refuses a storage without SQL", () => {
    const withoutSql = {
      transactionSync: () => {},
      get sql(): never {
        throw new Error("SQL is not enabled for this Durable Object class.")
      },
    } as unknown as DurableObjectSqlStorage
    for (const storage of [withoutSql, {} as DurableObjectSqlStorage, undefined as unknown as DurableObjectSqlStorage])
      expect(() => durableObjectJournalStore(storage)).toThrow(/new_sqlite_classes/)
  })
})
