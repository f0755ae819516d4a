import { describe, expect, test } from "vitest"
import { firstChars } from "../../../src/hosts/journal/parts.ts"
import { type JournalOwner, type JournalStore, JournalStoreError, type StoredJournal } from "../../../src/hosts/journal/store.ts"
import { opened, openedText, readText, textIn } from "../../support/stored-text.ts"

/** Makes the means to open a store of a kind: two stores that are opened of the same means hold the same journals. */
export interface Kind {
  readonly name: string
  /** What the store knows about an owner besides the time. */
  readonly knows: Pick<JournalOwner, "pid" | "host">
  /** Returns a function that opens the same storage each time. */
  readonly make: () => () => JournalStore
}

/** Waits until something is true. */
async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 1))
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

/** The rules of {@link JournalStore}, as tests of a kind of stores. They run in Node, and within other runtimes. */
export function describeStore({ name, make, knows }: Kind): void {
  describe(`journals in ${name}`, () => {
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

    test("are read without being opened, also while they have an owner, and unchanged by it", async () => {
      const open = make()
      expect(await open().read("turn")).toBeUndefined()
      expect(await namesIn(open())).toEqual([])
      const journal = await open().open("turn")
      expect(await readText(open(), "turn")).toBe("")
      await journal.append("one 語\n")
      await journal.append('["0badc0')
      expect(await readText(open(), "turn")).toBe('one 語\n["0badc0')
      await journal.append("de\n")
      await journal.replace("two\n")
      expect(await readText(open(), "turn")).toBe("two\n")
      await journal.close()
      expect(await readText(open(), "turn")).toBe("two\n")
      expect(await readText(open(), "tur")).toBeUndefined()
    })

    test("are read as of one moment, while their owner writes and replaces", async () => {
      const open = make()
      const journal = await open().open("turn")
      const line = `${"x".repeat(999)}\n`
      for (let index = 0; index < 3; index += 1) await journal.append(line.repeat(900))
      const parts: string[] = []
      for await (const part of (await open().read("turn")) ?? []) {
        if (parts.length === 0) {
          await journal.append("later\n")
          await journal.replace("replaced\n")
        }
        parts.push(part)
      }
      expect(parts.length).toBeGreaterThan(1)
      expect(parts.join("") === line.repeat(2700)).toBe(true)
      await journal.close()
    })

    test("are read by their owner, with what it has written, until they are taken over or closed", async () => {
      const open = make()
      const first = await open().open("turn")
      await first.append("a\n")
      expect(await textIn(first)).toBe("a\n")
      await first.replace("b\n")
      await first.append("c\n")
      expect(await textIn(first)).toBe("b\nc\n")
      const second = await open().open("turn", { takeOver: true })
      await second.replace("d\n")
      expect(await refusal(textIn(first))).toBe("fenced")
      expect(await textIn(second)).toBe("d\n")
      await second.close()
      expect(await refusal(textIn(second))).toBe("closed")
    })

    test("are replaced by parts, also by parts of themselves, in the order of the calls", async () => {
      const open = make()
      const journal = await open().open("turn")
      const slowly = async function* (): AsyncGenerator<string> {
        for (const part of ["one\n", "", "tw", "o\n", "語🦎\n"]) {
          await new Promise((resolve) => setTimeout(resolve, 1))
          yield part
        }
      }
      await Promise.all([
        journal.append("zero\n"),
        journal.replace(slowly()),
        journal.append("three\n"),
        journal.replace(firstChars(journal.read(), 8)),
      ])
      expect(await readText(open(), "turn")).toBe("one\ntwo\n")
      await Promise.all([journal.append("three\n"), journal.replace(journal.read()), journal.append("four\n"), journal.close()])
      expect(await readText(open(), "turn")).toBe("one\ntwo\nthree\nfour\n")
    })

    test("are unchanged if the parts of the new text cannot be read, and can still be written to", async () => {
      const open = make()
      const journal = await open().open("turn")
      await journal.append("a\n")
      const failing = async function* (): AsyncGenerator<string> {
        yield "b\n"
        throw new TypeError("lost")
      }
      await expect(journal.replace(failing())).rejects.toThrow(new TypeError("lost"))
      await journal.append("c\n")
      expect(await readText(open(), "turn")).toBe("a\nc\n")
      await journal.close()
    })

    test("of an owner that is taken over during a replacement keep the text of the new one", async () => {
      const open = make()
      const old = await open().open("turn")
      await old.append("old\n")
      let taken: StoredJournal | undefined
      const parts = async function* (): AsyncGenerator<string> {
        yield "late\n"
        taken = await open().open("turn", { takeOver: true })
        await taken.append("new\n")
        yield "later\n"
      }
      expect(await refusal(old.replace(parts()))).toBe("fenced")
      await taken?.append("newer\n")
      await taken?.close()
      expect(await readText(open(), "turn")).toBe("old\nnew\nnewer\n")
    })

    test("are listed in the order of their code units, by prefix", async () => {
      const open = make()
      const store = open()
      // The first of the last two is smaller in UTF-16, and greater in UTF-8.
      const names = ["A", "a", "a b", "a-b", "a.1", "a.10", "a.2", "aB", "b", "\u{1f98e}", "\ufb01"]
      for (const name of [...names].reverse()) await (await store.open(name)).close()
      expect(await namesIn(open())).toEqual(names)
      expect(await namesIn(open(), "a")).toEqual(["a", "a b", "a-b", "a.1", "a.10", "a.2", "aB"])
      expect(await namesIn(open(), "a.")).toEqual(["a.1", "a.10", "a.2"])
      expect(await namesIn(open(), "\u{1f98e}")).toEqual(["\u{1f98e}"])
      expect(await namesIn(open(), "c")).toEqual([])
    })

    test("are listed page by page", async () => {
      const open = make()
      const store = open()
      const names = Array.from({ length: 450 }, (_, index) => `n${1000 + index}`)
      await Promise.all(names.map(async (name) => (await store.open(name)).close()))
      expect(await namesIn(open())).toEqual(names)
      expect(await namesIn(open(), "n11")).toEqual(names.slice(100, 200))
    })

    test("are deleted, unless they have an owner; their former owner can no longer write", async () => {
      const open = make()
      await open().delete("turn")
      const old = await open().open("turn")
      await old.append("old\n")
      expect(await refusal(open().delete("turn"))).toBe("in_use")
      expect(await readText(open(), "turn")).toBe("old\n")
      const taken = await open().open("turn", { takeOver: true })
      await taken.close()
      await (await open().open("turn 2")).close()
      await open().delete("turn")
      expect(await open().read("turn")).toBeUndefined()
      expect(await namesIn(open())).toEqual(["turn 2"])
      expect(await refusal(old.append("late\n"))).toBe("fenced")

      const again = await opened(open(), "turn")
      expect(again.text).toBe("")
      expect(await refusal(old.append("late\n"))).toBe("fenced")
      await again.append("new\n")
      await old.close()
      await again.close()
      expect(await readText(open(), "turn")).toBe("new\n")
    })

    test.each<readonly [name: string, why: string]>([
      ["", "it is empty"],
      ["a\u0000b", "it contains a zero character"],
      ["a\ud800", "it contains half of a surrogate pair"],
      ["\udc00\ud800", "it contains half of a surrogate pair"],
      ...["victim.lock", "victim.lock/x", "a/victim.lock/x", "victim.LOCK/x", "victim.lock.", "victim.lock /x", "victim.loc\u212a/x"].map(
        (name) => [name, "is a name of control files"] as const,
      ),
      ...["victim.lock.0123456789abcdef", "a/victim.lock.0123456789abcdef/y", "a.tmp", "a.Tmp/b", ".lock", ".tmp"].map(
        (name) => [name, "is a name of control files"] as const,
      ),
    ])("cannot be called %j", async (name, why) => {
      const store = make()()
      const victim = await store.open("victim")
      for (const call of [store.open, store.read, store.delete]) {
        const error = await call(name).then(
          () => undefined,
          (thrown: unknown) => thrown,
        )
        expect(error).toMatchObject({ code: "invalid_name" })
        expect((error as Error).message).toBe(
          `${JSON.stringify(name)} cannot be the name of a journal: ${why.startsWith("is") ? `${JSON.stringify(name.split("/").find((part) => /lock|loc\u212a|tmp/i.test(part)))} ` : ""}${why}. Choose another name.`,
        )
      }
      await victim.append("safe\n")
      await victim.close()
      expect(await namesIn(store)).toEqual(["victim"])
    })

    test("that are open are waited for, up to waitMs", async () => {
      const open = make()
      const first = await open().open("turn")
      const started = performance.now()
      expect(await refusal(open().open("turn", { waitMs: 50 }))).toBe("in_use")
      expect(performance.now() - started).toBeGreaterThan(45)
      const waiting = open().open("turn", { waitMs: 60_000 })
      await first.append("a\n")
      await first.close()
      const second = await waiting
      expect(await textIn(second)).toBe("a\n")
      await second.close()
      for (const waitMs of [-1, Number.NaN]) await expect(open().open("turn", { waitMs })).rejects.toThrow(RangeError)
    })
  })
}

/** The names that a store lists. */
async function namesIn(store: JournalStore, prefix?: string): Promise<readonly string[]> {
  const names: string[] = []
  for await (const name of store.list(prefix === undefined ? {} : { prefix })) names.push(name)
  return names
}
