import { createRequire } from "node:module"
import { hostname } from "node:os"
import { join } from "node:path"
import Database from "libsql"
import { describe, expect, onTestFinished, test } from "vitest"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { type SqliteDatabase, sqliteJournalStore } from "../../../src/hosts/journal/sqlite.ts"
import { type JournalOwner, type JournalStore, JournalStoreError } from "../../../src/hosts/journal/store.ts"
import { fileJournalStore } from "../../../src/hosts/node/file-journal-store.ts"
import { newFolder, until } from "../../cli/harness.ts"
import { opened, openedText } from "../../support/stored-text.ts"

/** Makes the means to open a store of a kind: two stores that are opened of the same means hold the same journals. */
interface Kind {
  readonly name: string
  /** What the store knows about an owner besides the time. */
  readonly knows: Pick<JournalOwner, "pid" | "host">
  /** Returns a function that opens the same storage each time. */
  readonly make: () => () => JournalStore
}

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
  { name: "SQLite, by libsql", knows: {}, make: () => inSqlite((path) => new Database(path)) },
  ...sqliteOfNode(),
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

/** The code that something is refused with. */
async function refusal(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "not refused",
    (error: unknown) => (error instanceof JournalStoreError ? error.code : String(error)),
  )
}

/** The owner that a refusal names. */
async function ownerOf(work: Promise<unknown>): Promise<JournalOwner | undefined> {
  return work.then(
    () => undefined,
    (error: unknown) => (error instanceof JournalStoreError ? error.owner : undefined),
  )
}

/** The stored text of a journal, read through a store of its own. */
async function storedText(store: JournalStore, name = "turn"): Promise<string> {
  return openedText(store, name, { takeOver: true })
}

describe.each(KINDS)("journals in $name", ({ make, knows }) => {
  test("are created empty, and have the appended text when they are opened again", async () => {
    const open = make()
    const first = await opened(open(), "turn")
    expect(first.text).toBe("")
    await first.append("one\n")
    await first.append("two\n")
    expect(first.text).toBe("")
    await first.close()

    const second = await opened(open(), "turn")
    expect(second.text).toBe("one\ntwo\n")
    await second.append("three\n")
    await second.close()
    expect(await storedText(open())).toBe("one\ntwo\nthree\n")
  })

  test.each([
    ["line breaks of all kinds, none at the end", "a\r\nb\n\n\rc\u2028d\u0085e"],
    ["other alphabets, signs of four bytes, joined ones", "Ünïcödé 語 🦎 👩‍👩‍👧 e\u0301 \u200f"],
    ["escapes as JSON gives them", '["\\ud800","\\udc00\\ud800","\\u0000","\\\\n"]\n'],
    ["control characters, and a zero among them", "a\u0000b\u0001\u001f\u007fc\n"],
    ["a byte order mark at the beginning", "\ufeffa\n"],
    ["quotes and what SQL would read", "'; DROP TABLE journals; --\" `$1 ? :name\n"],
    ["a number", "42"],
    ["white space at the ends", " \t a \n \n"],
  ])("store their text unchanged: %s", async (_what, text) => {
    const open = make()
    const journal = await open().open("turn")
    await journal.append(text)
    await journal.append(text)
    await journal.close()
    expect(await storedText(open())).toBe(text + text)

    const replaced = await open().open("turn")
    await replaced.replace(text)
    await replaced.close()
    expect(await storedText(open())).toBe(text)
  })

  test("apply overlapping calls in order", async () => {
    const open = make()
    const journal = await open().open("turn")
    const order: string[] = []
    const through = (what: string) => (): void => void order.push(what)
    await Promise.all([
      journal.append("a").then(through("a")),
      journal.append("b").then(through("b")),
      journal.replace("C").then(through("C")),
      journal.append("d").then(through("d")),
      journal.append("").then(through("nothing")),
      journal.append("e").then(through("e")),
      journal.close().then(through("closed")),
    ])
    expect(order).toEqual(["a", "b", "C", "d", "nothing", "e", "closed"])
    expect(await storedText(open())).toBe("Cde")
  })

  test("are refused while they are open", async () => {
    const open = make()
    const first = await open().open("turn")
    await first.append("first\n")
    expect(await refusal(open().open("turn"))).toBe("in_use")
    expect(await refusal(open().open("turn", { takeOver: false }))).toBe("in_use")
    await first.append("still first\n")
    await first.close()
    const second = await opened(open(), "turn")
    expect(second.text).toBe("first\nstill first\n")
    await second.close()
  })

  test("that are refused name their owner, and the last one after a takeover", async () => {
    const open = make()
    const owners: (JournalOwner | undefined)[] = []
    const times = [Date.now()]
    for (const takeOver of [false, true]) {
      await open().open("turn", { takeOver })
      times.push(Date.now())
      owners.push(await ownerOf(open().open("turn")))
      await until(() => Date.now() > (times.at(-1) ?? 0))
    }
    for (const [index, owner] of owners.entries()) {
      expect(owner).toStrictEqual({ ...knows, since: expect.any(Number) })
      expect(owner?.since).toBeGreaterThanOrEqual(times[index] ?? 0)
      expect(owner?.since).toBeLessThanOrEqual(times[index + 1] ?? 0)
    }
    expect(owners[1]?.since).toBeGreaterThan(owners[0]?.since ?? Number.POSITIVE_INFINITY)
  })

  test("that are opened twice at once get one owner", async () => {
    const open = make()
    const opened = await Promise.allSettled([open().open("turn"), open().open("turn"), open().open("turn")])
    expect(opened.filter(({ status }) => status === "fulfilled")).toHaveLength(1)
    const refused = opened.flatMap((result) => (result.status === "rejected" ? [(result.reason as JournalStoreError).code] : []))
    expect(refused).toEqual(["in_use", "in_use"])
    for (const result of opened) if (result.status === "fulfilled") await result.value.close()
  })

  test("that are taken over accept no more writes of their old owner", async () => {
    const open = make()
    const old = await open().open("turn")
    await old.append("old\n")
    const taken = await opened(open(), "turn", { takeOver: true })
    expect(taken.text).toBe("old\n")

    expect(await refusal(old.append("late\n"))).toBe("fenced")
    expect(await refusal(old.replace("late\n"))).toBe("fenced")
    await taken.append("new\n")
    expect(await refusal(old.append("later\n"))).toBe("fenced")
    await old.close()
    expect(await refusal(open().open("turn"))).toBe("in_use")
    await taken.append("newer\n")
    await taken.close()
    expect(await storedText(open())).toBe("old\nnew\nnewer\n")
  })

  test("that are taken over repeatedly belong to the last owner", async () => {
    const open = make()
    const owners = [await open().open("turn")]
    for (let index = 1; index < 5; index += 1) {
      owners.push(await open().open("turn", { takeOver: true }))
      const refusals = await Promise.all(owners.map((owner) => refusal(owner.append(`${index}\n`))))
      expect(refusals).toEqual([...owners.slice(1).map(() => "fenced"), "not refused"])
    }
    expect(await storedText(open())).toBe("1\n2\n3\n4\n")
  })

  test("can be taken over while they are closed", async () => {
    const open = make()
    const journal = await open().open("turn", { takeOver: true })
    await journal.append("a\n")
    await journal.close()
    expect(await storedText(open())).toBe("a\n")
  })

  test("accept nothing once they are closed; closing is idempotent", async () => {
    const open = make()
    const first = await open().open("turn")
    await Promise.all([first.close(), first.close()])
    expect(await refusal(first.append("late\n"))).toBe("closed")
    expect(await refusal(first.replace("late\n"))).toBe("closed")

    const second = await open().open("turn")
    await first.close()
    expect(await refusal(open().open("turn"))).toBe("in_use")
    expect(await refusal(first.append("late\n"))).toBe("closed")
    await second.append("kept\n")
    await second.close()
    expect(await storedText(open())).toBe("kept\n")
  })

  test("are closed after all pending writes", async () => {
    const open = make()
    const first = await open().open("turn")
    const appended = [first.append("a"), first.replace("b"), first.append("c")]
    await first.close()
    expect(await storedText(open())).toBe("bc")
    await Promise.all(appended)
  })

  test("of two names are independent", async () => {
    const open = make()
    const store = open()
    const one = await store.open("one")
    const two = await store.open("two")
    await Promise.all([one.append("1\n"), two.append("2\n"), one.append("11\n"), two.replace("22\n")])
    await one.close()
    await two.append("222\n")
    expect(await refusal(store.open("two"))).toBe("in_use")
    await two.close()
    expect(await storedText(open(), "one")).toBe("1\n11\n")
    expect(await storedText(open(), "two")).toBe("22\n222\n")
  })

  test("that are replaced have only the new text, and what is appended after it", async () => {
    const open = make()
    const journal = await open().open("turn")
    await journal.append("much\nthat is\nnot needed\n")
    await journal.replace("little\n")
    await journal.append("more\n")
    expect(await storedText(open())).toBe("little\nmore\n")

    const emptied = await open().open("turn", { takeOver: true })
    await emptied.replace("")
    await emptied.append("again\n")
    await emptied.close()
    expect(await storedText(open())).toBe("again\n")
  })

  test("may be long", async () => {
    const open = make()
    const long = `${"0123456789 語🦎\n".repeat(300_000)}`
    const journal = await open().open("turn")
    await journal.append(long)
    await journal.append("end\n")
    await journal.close()
    expect((await storedText(open())) === `${long}end\n`).toBe(true)
    const replaced = await open().open("turn")
    await replaced.replace(`${long}replaced\n`)
    await replaced.close()
    expect((await storedText(open())) === `${long}replaced\n`).toBe(true)
  })

  test("may have many appends", async () => {
    const open = make()
    const journal = await open().open("turn")
    const numbers = Array.from({ length: 400 }, (_, index) => index)
    await Promise.all(numbers.map((number) => journal.append(`${number}\n`)))
    for (const number of numbers.slice(0, 20)) await journal.append(`again ${number}\n`)
    await journal.close()
    expect(await storedText(open())).toBe(
      [...numbers, ...numbers.slice(0, 20).map((number) => `again ${number}`)].map((line) => `${line}\n`).join(""),
    )
  })

  test.each(["a b", 'it\'s "so"', "%2F", "?", "名前", "__proto__", "constructor", "a.locks", "a.tmp2", "-- ", "'; DROP TABLE x;", "A\\B"])(
    "may be called %j",
    async (name) => {
      const open = make()
      const journal = await open().open(name)
      await journal.append("a\n")
      expect(await refusal(open().open(name))).toBe("in_use")
      await journal.close()
      expect(await storedText(open(), name)).toBe("a\n")
      expect(await storedText(open(), `${name}2`)).toBe("")
    },
  )
})
