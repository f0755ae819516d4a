import { AsyncLocalStorage } from "node:async_hooks"
import { readdirSync, readFileSync } from "node:fs"
import type { FileHandle } from "node:fs/promises"
import { join } from "node:path"
import fc from "fast-check"
import { describe, expect, test, vi } from "vitest"
import type { JournalStoreError, StoredJournal } from "../../../src/hosts/journal/store.ts"
import { fileJournalStore } from "../../../src/hosts/node/file-journal-store.ts"
import { ownIdentity } from "../../../src/hosts/node/process-id.ts"
import { fill, newFolder } from "../../cli/harness.ts"
import { opened, textIn } from "../../support/stored-text.ts"

/** Runs before each disk operation. It may wait, or throw instead of the operation. */
type Steps = (step: string, path: string) => Promise<void> | void
const actors = vi.hoisted(() => ({ steps: undefined as AsyncLocalStorage<Steps> | undefined }))

vi.mock("node:fs/promises", async (importOriginal) => {
  const real = await importOriginal<typeof import("node:fs/promises")>()
  const before = async (step: string, path: unknown): Promise<void> => actors.steps?.getStore()?.(step, String(path))
  const stepped =
    <Args extends readonly unknown[], Value>(step: string, work: (...args: Args) => Promise<Value>) =>
    async (...args: Args): Promise<Value> => {
      await before(step, args[0])
      return work(...args)
    }
  const open = async (...args: Parameters<typeof real.open>): Promise<FileHandle> => {
    await before("open", args[0])
    const handle = await real.open(...args)
    const { appendFile, truncate, datasync, sync, close, read } = handle
    return Object.assign(handle, {
      // In two steps, between which others see the half of it.
      async appendFile(bytes: Buffer) {
        const half = Math.ceil(bytes.length / 2)
        await before("write", args[0])
        await appendFile.call(handle, bytes.subarray(0, half))
        await before("write the rest", args[0])
        await appendFile.call(handle, bytes.subarray(half))
      },
      truncate: stepped("truncate", truncate.bind(handle)),
      datasync: stepped("datasync", datasync.bind(handle)),
      sync: stepped("sync", sync.bind(handle)),
      close: stepped("close", close.bind(handle)),
      read: stepped("read", read.bind(handle) as (...args: readonly unknown[]) => Promise<unknown>),
    })
  }
  const { mkdir, readdir, readFile, rename, rmdir, stat, unlink } = real
  const names = { mkdir, readdir, readFile, rename, rmdir, stat, unlink } as Readonly<Record<string, (...args: unknown[]) => Promise<unknown>>>
  return { ...real, open, ...Object.fromEntries(Object.entries(names).map(([name, work]) => [name, stepped(name, work)])) }
})

const steps = new AsyncLocalStorage<Steps>()
actors.steps = steps

/** The result of a call: its value, or the code of its refusal. */
type Result<Value> = { readonly value: Value } | { readonly code: string }
async function resultOf<Value>(work: Promise<Value>): Promise<Result<Value>> {
  return work.then(
    (value) => ({ value }),
    (error: JournalStoreError) => ({ code: error.code ?? String(error) }),
  )
}

/** Something that was stopped before one of its steps, or that had ended before it came to that. */
interface Stopped<Value> {
  readonly stopped: boolean
  /** Continues it and returns its result. */
  wake(): Promise<Result<Value>>
}

/** Starts something, and stops it before one of its steps, counted from 0. */
async function stoppedBefore<Value>(count: number, work: () => Promise<Value>): Promise<Stopped<Value>> {
  let taken = 0
  let go = (): void => {}
  let stop = (): void => {}
  const gate = new Promise<void>((resolve) => {
    go = resolve
  })
  const stopped = new Promise<true>((resolve) => {
    stop = () => resolve(true)
  })
  const atStep = async (): Promise<void> => {
    if (taken++ !== count) return
    stop()
    await gate
  }
  const result = steps.run(atStep, () => resultOf(work()))
  return {
    stopped: await Promise.race([stopped, result.then(() => false)]),
    wake() {
      go()
      return result
    },
  }
}

/** Does something for every step at which it can be stopped, and at last where it is not stopped; gives how many steps there are. */
async function atEachStep(check: (count: number) => Promise<boolean>): Promise<number> {
  let count = 0
  while (await check(count)) count += 1
  return count
}

describe("an owner that resumes late", () => {
  test.each([
    ["append", "old\nlate\n", (journal: StoredJournal) => journal.append("late\n")],
    ["replace", "late\n", (journal: StoredJournal) => journal.replace("late\n")],
    ["close", "old\n", (journal: StoredJournal) => journal.close()],
  ])("changes nothing that the new owner reads, at any step of %s", async (what, done, act) => {
    const count = await atEachStep(async (at) => {
      const folder = newFolder()
      const store = fileJournalStore(folder)
      const old = await store.open("turn")
      await old.append("old\n")
      const late = await stoppedBefore(at, () => act(old))
      const taken = await opened(store, "turn", { takeOver: true })
      await taken.append("new\n")
      const result = await late.wake()
      await taken.append("newer\n")
      expect(readFileSync(join(folder, "turn"), "utf8")).toBe(`${taken.text}new\nnewer\n`)
      await taken.replace(`${taken.text}new\nnewer\n`)
      await taken.append("newest\n")
      await old.close()
      expect(await resultOf(store.open("turn"))).toEqual({ code: "in_use" })
      await taken.close()

      // The old one's own text may have been there before the new owner read, in whole or in part.
      if (what === "append") expect(["old\n", "old\nlat", "old\nlate\n"]).toContain(taken.text)
      else expect(["old\n", done]).toContain(taken.text)
      if (!late.stopped) expect(taken.text).toBe(done)
      expect(result).toEqual(late.stopped && what !== "close" ? { code: "fenced" } : { value: undefined })
      const again = await opened(store, "turn")
      expect(again.text).toBe(`${taken.text}new\nnewer\nnewest\n`)
      await again.close()
      return late.stopped
    })
    expect(count).toBeGreaterThanOrEqual(3)
  })

  test("during its own takeover finds that another owner was faster", async () => {
    const count = await atEachStep(async (at) => {
      const folder = newFolder()
      const store = fileJournalStore(folder)
      const first = await store.open("turn")
      await first.append("first\n")
      const late = await stoppedBefore(at, () => store.open("turn", { takeOver: true }))
      const taken = await store.open("turn", { takeOver: true })
      await taken.append("taken\n")
      const result = await late.wake()
      // Either it had not taken the lock yet, and takes it from the other one now, or it is refused.
      const owner = late.stopped && "value" in result ? result.value : taken
      if (owner !== taken) expect(await resultOf(taken.append("lost\n"))).toEqual({ code: "fenced" })
      else if (late.stopped) expect(result).toEqual({ code: "in_use" })
      await owner.append("owner\n")
      await Promise.all([first.close(), taken.close(), owner.close(), "value" in result && result.value.close()])
      expect(readFileSync(join(folder, "turn"), "utf8")).toBe("first\ntaken\nowner\n")
      expect(readdirSync(folder)).toEqual(["turn"])
      return late.stopped
    })
    expect(count).toBeGreaterThanOrEqual(12)
  })

  test("after finding a dead owner's lock leaves the journal to the process that was first", async () => {
    const mark = JSON.stringify({ ...ownIdentity(), pid: 999_999_999 })
    const count = await atEachStep(async (at) => {
      const folder = fill(newFolder(), { "turn.lock/0123456789abcdef": mark })
      const store = fileJournalStore(folder)
      const late = await stoppedBefore(at, () => store.open("turn"))
      const results = [await resultOf(store.open("turn")), await late.wake()]
      expect(results).toContainEqual({ code: "in_use" })
      const [owner] = results.flatMap((result) => ("value" in result ? [result.value] : []))
      await owner?.append("owner\n")
      await owner?.close()
      expect(readFileSync(join(folder, "turn"), "utf8")).toBe("owner\n")
      return late.stopped
    })
    expect(count).toBeGreaterThanOrEqual(12)
  })
})

/** Schedules several actors one step at a time, in a given order. Each runs until its next step. */
class Turns {
  readonly #waiting: (readonly [actor: number, go: () => void])[] = []
  #running = 0
  #idle = (): void => {}

  async run(scripts: readonly (() => Promise<void>)[], order: readonly number[]): Promise<void> {
    this.#running = scripts.length
    const ended = scripts.map((script, actor) =>
      steps.run(
        () => this.#wait(actor),
        () => script().finally(() => this.#stop()),
      ),
    )
    for (let at = 0; ; at += 1) {
      if (this.#running > 0) {
        await new Promise<void>((resolve) => {
          this.#idle = resolve
        })
      }
      if (this.#waiting.length === 0) break
      this.#waiting.sort(([one], [other]) => one - other)
      const [[, go] = [0, () => {}]] = this.#waiting.splice((order[at % order.length] ?? 0) % this.#waiting.length, 1)
      this.#running += 1
      go()
    }
    await Promise.all(ended)
  }

  #wait(actor: number): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push([actor, resolve])
      this.#stop()
    })
  }

  #stop(): void {
    this.#running -= 1
    if (this.#running === 0) this.#idle()
  }
}

/** What one owner saw: the text at opening, and the text whose append resolved after that. */
interface Owned {
  readonly read: string
  kept: string
}

describe("several owners that open one journal", () => {
  const act = fc.constantFrom("append", "append", "replace" as const, "close" as const)
  const script = fc.array(act, { maxLength: 4 })

  test.each([
    ["with takeOver lose no stored text", true],
    ["without takeOver never lose it while it is open", false],
  ])("%s, for every order of their steps", async (_what, takeOver) => {
    let fenced = 0
    const property = fc.asyncProperty(
      fc.tuple(script, script, script),
      fc.array(fc.nat(2), { minLength: 150, maxLength: 250 }),
      async (scripts, order) => {
        const folder = fill(newFolder(), { turn: "begin\n", "turn.lock/0123456789abcdef": JSON.stringify({ ...ownIdentity(), pid: 999_999_999 }) })
        const store = fileJournalStore(folder, { fsync: "never" })
        const owned: Owned[] = []
        const codes: string[] = []
        const actor = (acts: readonly string[], name: number) => async (): Promise<void> => {
          const opened = await resultOf(store.open("turn", { takeOver: takeOver && name > 0 }))
          if (!("value" in opened)) return void codes.push(opened.code)
          const journal = opened.value
          const read = await resultOf(textIn(journal))
          if (!("value" in read)) codes.push(read.code)
          const own: Owned = { read: "value" in read ? read.value : "", kept: "" }
          owned.push(own)
          for (const [at, what] of acts.entries()) {
            const line = `${name}.${at}\n`
            if (what === "close") await journal.close()
            const text = own.read + own.kept + line
            const done = await resultOf(what === "replace" ? journal.replace(text) : journal.append(line))
            if ("value" in done) own.kept += line
            else codes.push(done.code)
          }
          await journal.close()
        }
        await new Turns().run(scripts.map(actor), order)

        const last = await opened(store, "turn")
        await last.close()
        expect(readdirSync(folder)).toEqual(["turn"])
        for (const { read, kept } of owned) expect(last.text.slice(0, read.length + kept.length)).toBe(read + kept)
        expect(owned.length).toBeGreaterThan(0)
        expect(["closed", "fenced", "in_use"]).toEqual(expect.arrayContaining([...new Set(codes)]))
        if (!takeOver) expect(codes).not.toContain("fenced")
        fenced += codes.filter((code) => code === "fenced").length
      },
    )
    await fc.assert(property, { numRuns: 60 * Math.max(1, Number(process.env["FC_RUNS_FACTOR"] ?? 1)) })
    // In so many random orders some owner is fenced.
    expect(fenced > 0).toBe(takeOver)
  })
})

describe("a disk that fails", () => {
  /** Throws in the stead of some steps. */
  const failing =
    (...which: readonly string[]): Steps =>
    (step) => {
      if (which.includes(step)) throw Object.assign(new Error("injected"), { code: "ENOSPC" })
    }

  test.each([
    ["append", "write", (journal: StoredJournal) => journal.append("lost\n")],
    ["append", "write the rest", (journal: StoredJournal) => journal.append("lost\n")],
    ["append", "datasync", (journal: StoredJournal) => journal.append("lost\n")],
    ["append", "stat", (journal: StoredJournal) => journal.append("lost\n")],
    ["replace", "open", (journal: StoredJournal) => journal.replace("lost\n")],
    ["replace", "write the rest", (journal: StoredJournal) => journal.replace("lost\n")],
    ["replace", "sync", (journal: StoredJournal) => journal.replace("lost\n")],
  ])("stores nothing of the %s that fails at %s, keeps all earlier text, and stores later writes", async (_what, step, act) => {
    const folder = newFolder()
    const journal = await fileJournalStore(folder).open("turn")
    await journal.append("before\n")
    let failed = false
    const once: Steps = (at) => {
      if (at !== step || failed) return
      failed = true
      failing(step)(at, "")
    }
    const message = `Journal "turn" cannot be written to ${join(folder, "turn")}, because the disk is full. Text that was stored before is unchanged.`
    await expect(steps.run(once, () => act(journal))).rejects.toMatchObject({ code: "unavailable", message })
    expect(readFileSync(join(folder, "turn"), "utf8")).toBe("before\n")
    expect(readdirSync(join(folder, "turn.lock"))).toHaveLength(1)
    await journal.append("after\n")
    await journal.close()
    expect(readFileSync(join(folder, "turn"), "utf8")).toBe("before\nafter\n")
  })

  test.each([
    ["what was written cannot be taken back", ["write the rest", "truncate"], "append"],
    ["it is not certain which file is the journal", ["rename"], "replace"],
    ["it is not certain whose the journal is", ["datasync", "stat"], "append"],
  ] as const)("so that %s has nothing more written to it", async (_why, broken, what) => {
    const folder = newFolder()
    const store = fileJournalStore(folder)
    const journal = await store.open("turn")
    await journal.append("before\n")
    expect(await resultOf(steps.run(failing(...broken), () => journal[what]("lost\n")))).toEqual({ code: "unavailable" })
    expect(await resultOf(journal.append("after\n"))).toEqual({ code: "unavailable" })
    await journal.close()
    const again = await opened(store, "turn")
    expect(again.text.startsWith("before\n")).toBe(true)
    expect(again.text).not.toContain("after")
    await again.close()
  })

  test.each(["mkdir", "write", "rename", "open", "sync", "read"])(
    "at %s, while a journal is opened, leaves it unchanged and without an owner",
    async (step) => {
      const folder = fill(newFolder(), { turn: "before\n" })
      const store = fileJournalStore(folder)
      expect(await resultOf(steps.run(failing(step), () => store.open("turn")))).toEqual({ code: "unavailable" })
      const journal = await opened(store, "turn")
      expect(journal.text).toBe("before\n")
      await journal.close()
      expect(readdirSync(folder)).toEqual(["turn"])
    },
  )

  test("reports `fenced` to an owner that was taken over during the failure", async () => {
    const store = fileJournalStore(newFolder())
    const old = await store.open("turn")
    let failed = false
    const takenOver = steps.run(
      async (step) => {
        if (step === "write the rest") await steps.exit(async () => (await store.open("turn", { takeOver: true })).close())
        if (step === "datasync" && !failed) {
          failed = true
          failing(step)(step, "")
        }
      },
      () => resultOf(old.append("late\n")),
    )
    expect(await takenOver).toEqual({ code: "fenced" })
  })
})

describe("syncing", () => {
  async function syncsOf(fsync: "always" | "never", act: (journal: StoredJournal) => Promise<unknown>): Promise<readonly string[]> {
    const journal = await fileJournalStore(newFolder(), { fsync }).open("turn")
    const taken: string[] = []
    await steps.run(
      (step) => void taken.push(step),
      () => act(journal),
    )
    await journal.close()
    return taken.filter((step) => /write$|sync|rename/.test(step))
  }

  test("happens before an append or a replacement resolves, unless it is turned off", async () => {
    expect(await syncsOf("always", (journal) => journal.append("a\n"))).toEqual(["write", "datasync"])
    expect(await syncsOf("always", (journal) => journal.replace("a\n"))).toEqual(["write", "sync", "rename", "sync"])
    expect(await syncsOf("never", (journal) => journal.append("a\n"))).toEqual(["write"])
    expect(await syncsOf("never", (journal) => journal.replace("a\n"))).toEqual(["write", "rename"])
  })

  test("happens once for all waiting appends", async () => {
    const all = Array.from({ length: 100 }, (_, index) => `${index}\n`)
    expect(await syncsOf("always", (journal) => Promise.all(all.map((line) => journal.append(line))))).toEqual(["write", "datasync"])
    const between = (journal: StoredJournal): Promise<unknown> => {
      const first = journal.append("first\n")
      const rest = Promise.resolve().then(() => Promise.resolve().then(() => Promise.all(all.map((line) => journal.append(line)))))
      return Promise.all([first, rest])
    }
    expect(await syncsOf("always", between)).toEqual(["write", "datasync", "write", "datasync"])
  })
})
