import { execFileSync } from "node:child_process"
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs"
import { hostname } from "node:os"
import { join } from "node:path"
import { describe, expect, onTestFinished, test } from "vitest"
import type { JournalStoreError } from "../../../src/hosts/journal/store.ts"
import { fileJournalStore, fileJournalStoreOn } from "../../../src/hosts/node/file-journal-store.ts"
import { type LockSystem, SYSTEM } from "../../../src/hosts/node/file-lock.ts"
import { birthOf, isRunning, ownIdentity, type ProcessIdentity } from "../../../src/hosts/node/process-id.ts"
import { fill, newFolder, until } from "../../cli/harness.ts"
import { opened, readText } from "../../support/stored-text.ts"
import { bundle, run } from "../harness.ts"

const STORE = 'import { fileJournalStore } from "../../src/hosts/node/index.ts"\nconst store = fileJournalStore(process.argv[2])'
const SAY = "const say = (line) => new Promise((resolve) => process.stdout.write(line + '\\n', resolve))"
const programs = await bundle({
  /** Opens the journal at the first input, prints the result, and keeps it open. */
  opens: `${STORE}\n${SAY}
    await say("ready")
    process.stdin.once("data", () => store.open("turn").then(() => say("won"), (error) => say(error.code)))`,
  /** Appends numbered lines of growing length. Prints each number when it is stored, and at the end why it stopped. */
  appends: `${STORE}\n${SAY}
    const journal = await store.open("turn")
    const append = async (number) => {
      await journal.append(number + ":" + "x".repeat(number % 700) + "\\n")
      await say(number)
      await append(number + 1)
    }
    await append(0).catch((error) => say(error.code))`,
  /** Opens the journal, and appends a line for each input. Prints `ready`, and then how each append ended. */
  obeys: `${STORE}\n${SAY}
    const journal = await store.open("turn")
    await say("ready")
    process.stdin.on("data", () => journal.append("theirs\\n").then(() => say("stored"), (error) => say(error.code)))`,
  /** Prints what is known of this process. */
  tells: `import { birthOf, isRunning } from "../../src/hosts/node/process-id.ts"\n${SAY}
    await say([process.pid, typeof birthOf(process.pid), isRunning(process.pid)].join(" "))`,
  /** Opens a journal and ends without closing it. */
  leaves: `${STORE}\nawait store.open("turn")`,
  /** Appends texts of 1000 characters until one is refused, then a short one. */
  fills: `${STORE}\n${SAY}
    const journal = await store.open("turn")
    try {
      for (;;) await journal.append("x".repeat(999) + "\\n")
    } catch (error) {
      await say(error.code + " " + error.message)
    }
    await journal.append("end\\n")
    await journal.replace("x".repeat(5000)).catch((error) => say(error.code))
    await journal.append("of all\\n")
    await journal.close()
    await say("closed")`,
})

/** What an open is refused with: code and message. */
async function refusal(work: Promise<{ close(): Promise<void> } | void>): Promise<string> {
  return work.then(
    async (journal) => {
      await journal?.close()
      return "not refused"
    },
    (error: Error & { readonly code: string }) => `${error.code}: ${error.message}`,
  )
}

/** The system with some parts replaced. Time does not pass. */
function systemOf(changes: Partial<LockSystem>): LockSystem {
  return { ...SYSTEM, every: () => () => {}, wait: () => Promise.reject(new Error("No test waits.")), ...changes }
}

/** A lock as another process has left it. */
function lock(folder: string, mark: object | string, name = "turn"): void {
  mkdirSync(join(folder, `${name}.lock`))
  writeFileSync(join(folder, `${name}.lock/0123456789abcdef`), typeof mark === "string" ? mark : JSON.stringify(mark))
}

describe("a journal in a file", () => {
  test("is the whole text of its file, and leaves no other files", async () => {
    const folder = newFolder()
    const journal = await fileJournalStore(folder).open("turn.jsonl")
    await journal.append("ä\n")
    expect(readdirSync(folder)).toEqual(["turn.jsonl", "turn.jsonl.lock"])
    await journal.append("b\n")
    await journal.close()
    expect(readdirSync(folder)).toEqual(["turn.jsonl"])
    expect(readFileSync(join(folder, "turn.jsonl"), "utf8")).toBe("ä\nb\n")
  })

  test("is readable by its owner only", async () => {
    const folder = fill(newFolder(), { turn: "a\n" })
    const journal = await fileJournalStore(folder).open("turn")
    expect(statSync(join(folder, "turn")).mode & 0o777).toBe(0o600)
    expect(statSync(join(folder, "turn.lock")).mode & 0o777).toBe(0o700)
    await journal.replace("b\n")
    expect(statSync(join(folder, "turn")).mode & 0o777).toBe(0o600)
    await journal.close()
  })

  test("is opened with an incomplete end unchanged, even in the middle of a character", async () => {
    const torn = Buffer.concat([Buffer.from('["0badc0de",{"a":"\ufeff語'), Buffer.from("🦎").subarray(0, 3)])
    const folder = fill(newFolder(), { turn: torn })
    const journal = await opened(fileJournalStore(folder), "turn")
    expect(journal.text).toBe('["0badc0de",{"a":"\ufeff語\ufffd')
    await journal.close()
    expect(readFileSync(join(folder, "turn")).equals(torn)).toBe(true)
  })

  test("behind links is replaced itself: the links remain, and all its names are one journal", async () => {
    const folder = fill(newFolder(), { "real/turn": "a\n" })
    symlinkSync("real/turn", join(folder, "link"))
    const store = fileJournalStore(folder)
    const journal = await store.open("link")
    expect(await refusal(store.open("real/turn"))).toBe(
      `in_use: Journal "real/turn" is already open in this process (pid ${process.pid}). Close it first, or pass takeOver.`,
    )
    await journal.replace("b\n")
    await journal.close()
    expect(lstatSync(join(folder, "link")).isSymbolicLink()).toBe(true)
    expect(readFileSync(join(folder, "real/turn"), "utf8")).toBe("b\n")
    expect(readdirSync(join(folder, "real"))).toEqual(["turn"])
  })

  test("must be a regular file; a pipe does not block", async () => {
    const folder = newFolder()
    mkdirSync(join(folder, "d"))
    execFileSync("mkfifo", [join(folder, "pipe")])
    symlinkSync("nowhere", join(folder, "lost"))
    const store = fileJournalStore(folder)
    expect(await refusal(store.open("d", { takeOver: true }))).toBe('unavailable: Journal "d" cannot be opened, because it is a folder.')
    expect(await refusal(store.open("pipe"))).toBe('unavailable: Journal "pipe" cannot be opened, because it is not a regular file.')
    expect(await refusal(store.open("lost"))).toBe(
      'unavailable: Journal "lost" cannot be opened, because it is a link where none is allowed, or its links form a loop.',
    )
    expect(readdirSync(folder).sort()).toEqual(["d", "lost", "pipe"])
  })

  test("needs only the folder of the store, which is created", async () => {
    const folder = join(newFolder(), "a/b")
    const store = fileJournalStore(folder)
    await (await store.open("turn")).close()
    expect(readdirSync(folder)).toEqual(["turn"])
    expect(await refusal(store.open("c/turn"))).toBe(
      'unavailable: Journal "c/turn" cannot be opened, because its folder cannot be used: it does not exist.',
    )
    writeFileSync(join(folder, "file"), "")
    expect(await refusal(fileJournalStore(join(folder, "file")).open("turn"))).toMatch(/^unavailable: .* a part of its path is not a folder\.$/)
    expect(await refusal(store.open("a\0b"))).toMatch(/^invalid_name: /)
  })

  test("is named by its path if the store has no folder", async () => {
    const folder = newFolder()
    const journal = await fileJournalStore().open(join(folder, "turn"))
    await journal.append("a\n")
    await journal.close()
    expect(readFileSync(join(folder, "turn"), "utf8")).toBe("a\n")
  })

  test.each(["../out", "/etc/out", "d/../../out", ".", "..", "away/out", "link"])("called %j is outside of the store's folder", async (name) => {
    const base = fill(newFolder(), { "in/d/x": "", outfile: "" })
    symlinkSync("..", join(base, "in/away"))
    symlinkSync("../outfile", join(base, "in/link"))
    expect(await refusal(fileJournalStore(join(base, "in")).open(name))).toBe(
      `unavailable: Journal ${JSON.stringify(name)} cannot be opened, because its name leads out of the journals' folder.`,
    )
    expect(readdirSync(base)).toEqual(["in", "outfile"])
    expect(readdirSync(join(base, "in")).sort()).toEqual(["away", "d", "link"])
  })

  test("is listed with those in the folders of the folder, without locks, links and temporary files", async () => {
    const folder = fill(newFolder(), {
      "a/b": "",
      "a-b": "x",
      "a.b": "",
      "a/c/d": "",
      "a/c.lock/0123456789abcdef": "",
      "gone.lock.0123456789abcdef/0123456789abcdef": "",
      "gone.lock/0123456789abcdef": "",
      "x.tmp": "",
      b: "",
    })
    symlinkSync("a", join(folder, "link"))
    symlinkSync("b", join(folder, "link 2"))
    const store = fileJournalStore(folder)
    const open = await store.open("a/b")
    const namesOf = async (prefix?: string): Promise<readonly string[]> => {
      const names: string[] = []
      for await (const name of store.list(prefix === undefined ? undefined : { prefix })) names.push(name)
      return names
    }
    expect(await namesOf()).toEqual(["a-b", "a.b", "a/b", "a/c/d", "b"])
    expect(await namesOf()).toEqual([...(await namesOf())].sort())
    expect(await namesOf("a/")).toEqual(["a/b", "a/c/d"])
    expect(await namesOf("a/c")).toEqual(["a/c/d"])
    expect(await namesOf("a/c/d/e")).toEqual([])
    await open.close()
    await store.delete("a/c/d")
    expect(await namesOf("a/")).toEqual(["a/b"])
    await expect(fileJournalStore().list()[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: "unavailable" })
    for await (const name of fileJournalStore(join(folder, "missing")).list()) expect(name).toBeUndefined()
    expect(existsSync(join(folder, "missing"))).toBe(false)
  })

  test("is read without a folder being made, and nothing but a file is read or deleted", async () => {
    const folder = newFolder()
    const store = fileJournalStore(join(folder, "missing"))
    expect(await store.read("turn")).toBeUndefined()
    expect(await store.read("d/turn")).toBeUndefined()
    await store.delete("turn")
    await store.delete("d/turn")
    expect(readdirSync(folder)).toEqual([])
    mkdirSync(join(folder, "d"))
    execFileSync("mkfifo", [join(folder, "pipe")])
    const whole = fileJournalStore(folder)
    for (const [name, why] of [
      ["d", "it is a folder"],
      ["pipe", "it is not a regular file"],
      ["../out", "its name leads out of the journals' folder"],
    ]) {
      const quoted = JSON.stringify(name)
      await expect(whole.read(name ?? "")).rejects.toThrow(`Journal ${quoted} cannot be read, because ${why}.`)
      await expect(whole.delete(name ?? "")).rejects.toThrow(`Journal ${quoted} cannot be deleted, because ${why}.`)
    }
  })

  test("is read on a disk without free space, whole or torn in the middle of a character", async () => {
    const torn = Buffer.concat([Buffer.from("語\n"), Buffer.from("🦎").subarray(0, 3)])
    const folder = fill(newFolder(), { turn: torn })
    chmodSync(folder, 0o500)
    onTestFinished(() => chmodSync(folder, 0o700))
    expect(await readText(fileJournalStore(folder), "turn")).toBe("語\n\ufffd")
    expect(readdirSync(folder)).toEqual(["turn"])
  })

  test("is synced `always` or `never`", () => {
    expect(() => fileJournalStore("f", { fsync: "sometimes" as "always" })).toThrow(
      new TypeError('fsync must be "always" or "never", not "sometimes".'),
    )
  })
})

describe("the lock of a journal", () => {
  const SINCE = 1_764_000_000_000
  const MINE = { ...ownIdentity(), since: SINCE }
  const PARENT = { ...MINE, pid: process.ppid, birth: birthOf(process.ppid) }
  const GONE = { ...MINE, pid: 999_999_999 }
  const ownerIn = ({ pid, host, since }: { pid: number; host: string; since?: number }): object => ({
    pid,
    host,
    ...(since !== undefined && { since }),
  })
  const CLOSE = "Wait for it with waitMs, or pass takeOver if it hangs."
  const WAIT = "Close it. If its owner is gone, it can be opened in 30 s: wait with waitMs, or pass takeOver."
  const ELSEWHERE = { ...PARENT, boot: "00000000-0000-0000-0000-000000000000", host: "elsewhere" }

  test.each([
    ["of this process", MINE, `already open in this process (pid ${process.pid}). Close it first, or pass takeOver.`, ownerIn(MINE)],
    ["of another running process", PARENT, `open in another process (pid ${process.ppid}). ${CLOSE}`, ownerIn(PARENT)],
    [
      "of a running process that knew the host by another name",
      { ...PARENT, host: "renamed" },
      `open in another process (pid ${process.ppid}). ${CLOSE}`,
      ownerIn({ ...PARENT, host: "renamed" }),
    ],
    [
      "of a process with fewer facts",
      { pid: process.ppid, host: hostname() },
      `open in another process (pid ${process.ppid}). ${WAIT}`,
      { pid: process.ppid, host: hostname() },
    ],
    [
      "of a process in another PID namespace",
      { ...GONE, namespace: "pid:[1]" },
      `open in another process (pid 999999999). ${WAIT}`,
      ownerIn({ ...GONE }),
    ],
    [
      "of a process that runs, but whose start is unknown",
      { ...PARENT, birth: undefined },
      `open in another process (pid ${process.ppid}). ${WAIT}`,
      ownerIn(PARENT),
    ],
    ["of another host", ELSEWHERE, `open on host "elsewhere" (pid ${process.ppid} there). ${WAIT}`, ownerIn(ELSEWHERE)],
    ["that cannot be read", "", `already open. ${WAIT}`, undefined],
    ["of an impossible process id", { ...MINE, pid: -1 }, `already open. ${WAIT}`, undefined],
  ])("%s is respected, unless it is taken over", async (_whose, mark, text, owner) => {
    const folder = fill(newFolder(), { turn: "a\n" })
    lock(folder, mark)
    const store = fileJournalStore(folder)
    expect(await refusal(store.open("turn"))).toBe(`in_use: Journal "turn" is ${text}`)
    await expect(store.open("turn")).rejects.toMatchObject({ owner })
    expect(await refusal(store.delete("turn"))).toBe(`in_use: Journal "turn" is ${text}`)
    expect(readdirSync(folder)).toEqual(["turn", "turn.lock"])
    expect(readdirSync(join(folder, "turn.lock"))).toEqual(["0123456789abcdef"])

    const journal = await opened(store, "turn", { takeOver: true })
    expect(journal.text).toBe("a\n")
    await journal.close()
    expect(readdirSync(folder)).toEqual(["turn"])
  })

  test.each([
    ["of a process that is gone", GONE],
    ["of a process that is gone, on a host that was renamed", { ...GONE, host: "renamed" }],
    ["of an earlier process with this process's id", { ...MINE, birth: "1" }],
    ["of an earlier process in a namespace whose number is used again", { ...PARENT, birth: "1", host: "container" }],
  ])("%s is taken over", async (_whose, mark) => {
    const folder = fill(newFolder(), { turn: "a\n" })
    lock(folder, mark)
    const journal = await fileJournalStore(folder).open("turn")
    await journal.append("b\n")
    await journal.close()
    expect(readdirSync(folder)).toEqual(["turn"])
    expect(readFileSync(join(folder, "turn"), "utf8")).toBe("a\nb\n")
  })

  describe("whose owner is out of sight", () => {
    const WHOSE = [
      ["in another container", { ...PARENT, namespace: "pid:[1]" }],
      ["on another host", ELSEWHERE],
      ["before a reboot", { ...MINE, boot: "00000000-0000-0000-0000-000000000000" }],
      ["which cannot be read", ""],
    ] as const

    /** Sets the time of the last heartbeat, relative to now. */
    const beat = (folder: string, secondsAgo: number): void => {
      const at = Date.now() / 1000 - secondsAgo
      utimesSync(join(folder, "turn.lock/0123456789abcdef"), at, at)
    }

    test.each(WHOSE)("(%s) is respected for 30 seconds after its last heartbeat, and then taken over", async (_where, mark) => {
      for (const [secondsAgo, retryAfterMs] of [
        [0, 30_000],
        [28, 2_000],
      ] as const) {
        const folder = fill(newFolder(), { turn: "a\n" })
        lock(folder, mark)
        beat(folder, secondsAgo)
        const error = await fileJournalStoreOn(systemOf({}), folder)
          .open("turn")
          .catch((thrown: unknown) => thrown)
        expect(error).toMatchObject({ code: "in_use" })
        const { retryAfterMs: actual } = error as JournalStoreError
        expect(Math.abs((actual ?? 0) - retryAfterMs)).toBeLessThan(1_500)
      }
      const folder = fill(newFolder(), { turn: "a\n" })
      lock(folder, mark)
      beat(folder, 31)
      const waits: number[] = []
      const journal = await opened(fileJournalStoreOn(systemOf({ wait: async (ms) => void waits.push(ms) }), folder), "turn")
      expect(waits).toEqual([7_500])
      expect(journal.text).toBe("a\n")
      await journal.close()
      expect(readdirSync(folder)).toEqual(["turn"])
    })

    test.each([
      ["forward", 3600],
      ["back", -3600],
    ])("is respected if the clock was set %s and the owner then gives a sign of life, and taken over if not", async (_direction, secondsAgo) => {
      for (const lives of [true, false]) {
        const folder = fill(newFolder(), { turn: "a\n" })
        lock(folder, ELSEWHERE)
        beat(folder, secondsAgo)
        const system = systemOf({ wait: async () => (lives ? beat(folder, 0) : undefined) })
        expect(await refusal(fileJournalStoreOn(system, folder).open("turn"))).toMatch(lives ? /^in_use: / : /^not refused$/)
      }
    })

    test("is released while it is watched", async () => {
      const folder = fill(newFolder(), { turn: "a\n" })
      lock(folder, ELSEWHERE)
      beat(folder, 31)
      const wait = async (): Promise<void> => rmSync(join(folder, "turn.lock"), { recursive: true })
      expect(await refusal(fileJournalStoreOn(systemOf({ wait }), folder).open("turn"))).toBe("not refused")
    })

    test("is waited for, up to waitMs", async () => {
      const folder = fill(newFolder(), { turn: "a\n" })
      lock(folder, ELSEWHERE)
      let waited = 0
      const wait = async (ms: number): Promise<void> => {
        waited += ms
        beat(folder, waited / 1000)
      }
      const store = fileJournalStoreOn(systemOf({ wait }), folder)
      expect(await refusal(store.open("turn", { waitMs: 10_000 }))).toMatch(/^in_use: .* it can be opened in 2[01] s: /)
      expect(waited).toBe(10_000)
      waited = 0
      // Watching the mark counts as a heartbeat here, because `beat` sets its time.
      const journal = fileJournalStoreOn(systemOf({ wait: async (ms) => (ms === 7_500 ? undefined : wait(ms)) }), folder)
      expect(await refusal(journal.open("turn", { waitMs: 60_000 }))).toBe("not refused")
      expect(waited).toBeGreaterThan(29_000)
      expect(waited).toBeLessThan(32_000)
      await expect(store.open("turn", { waitMs: -1 })).rejects.toThrow(RangeError)
    })

    test("is judged also while another process removes the folders that killed processes prepared", async () => {
      for (let round = 0; round < 30; round += 1) {
        const folder = newFolder()
        lock(folder, { pid: 1, host: "other", boot: "other" })
        beat(folder, -60)
        let left = 3
        let isOpen = false
        const sweep = (): void => {
          if (isOpen || left === 0) return
          const prepared = readdirSync(folder).find((name) => name.startsWith("turn.lock."))
          if (prepared !== undefined) {
            try {
              rmSync(join(folder, prepared), { recursive: true, force: true })
              left -= 1
            } catch (error) {
              // The store's threads put a file into the folder while it was removed: its turn comes again with the next sweep.
              if (!(error instanceof Error && "code" in error && error.code === "ENOTEMPTY")) throw error
            }
          }
          setImmediate(sweep)
        }
        setImmediate(sweep)
        const opened = await refusal(fileJournalStoreOn(systemOf({ wait: async () => {} }), folder).open("turn"))
        isOpen = true
        expect(opened).toBe("not refused")
      }
    })

    test("without /proc: a process that is gone is known at once, and one that runs by its heartbeat", async () => {
      const bare = { pid: process.pid, host: hostname(), boot: undefined, namespace: undefined, birth: undefined }
      const system = systemOf({ identity: () => bare, birthOf: () => undefined, wait: async () => {} })
      for (const [mark, secondsAgo, expected] of [
        [{ ...bare, pid: 999_999_999 }, 0, /^not refused/],
        [{ ...bare, pid: 999_999_999, host: "elsewhere" }, 0, /^in_use: .* on host "elsewhere"/],
        [{ ...bare, pid: process.ppid }, 0, /^in_use: /],
        [{ ...bare, pid: process.ppid }, 31, /^not refused/],
      ] as const) {
        const folder = fill(newFolder(), { turn: "a\n" })
        lock(folder, mark)
        beat(folder, secondsAgo)
        expect(await refusal(fileJournalStoreOn(system, folder).open("turn"))).toMatch(expected)
      }
    })
  })

  test("is renewed every 5 seconds for as long as the journal is open, and its mark stays readable", async () => {
    const folder = newFolder()
    const timers: { readonly act: () => void; ended: boolean }[] = []
    const every = (ms: number, act: () => void): (() => void) => {
      expect(ms).toBe(5_000)
      const timer = { act, ended: false }
      timers.push(timer)
      return () => {
        timer.ended = true
      }
    }
    const store = fileJournalStoreOn(systemOf({ every }), folder)
    const journal = await store.open("turn")
    const [name = ""] = readdirSync(join(folder, "turn.lock"))
    const path = join(folder, "turn.lock", name)
    const text = readFileSync(path, "utf8")
    utimesSync(path, 1, 1)
    timers[0]?.act()
    await until(() => statSync(path).mtimeMs > 1_000)
    expect(Math.abs(statSync(path).mtimeMs - Date.now())).toBeLessThan(5_000)
    expect(readFileSync(path, "utf8")).toBe(text)
    expect(timers.map(({ ended }) => ended)).toEqual([false])
    await journal.close()
    expect(timers.map(({ ended }) => ended)).toEqual([true])

    // A heartbeat that comes too late leaves nothing, and one of an owner that was fenced off ends its timer.
    timers[0]?.act()
    const old = await store.open("turn")
    const taken = await store.open("turn", { takeOver: true })
    timers[1]?.act()
    await until(() => timers[1]?.ended === true)
    expect(timers[2]?.ended).toBe(false)
    await Promise.all([old.close(), taken.close()])
    expect(timers[2]?.ended).toBe(true)
    expect(readdirSync(folder)).toEqual(["turn"])
  })

  test("of this process is respected while its heartbeat is late", async () => {
    const folder = newFolder()
    const store = fileJournalStoreOn(systemOf({ birthOf: () => undefined, wait: async () => {} }), folder)
    const journal = await store.open("turn")
    const [name = ""] = readdirSync(join(folder, "turn.lock"))
    utimesSync(join(folder, "turn.lock", name), 1, 1)
    expect(await refusal(store.open("turn"))).toMatch(/^in_use: .* already open in this process/)
    await journal.close()
  })

  test("of a killed process is taken over, and its prepared files are removed", async () => {
    const folder = fill(newFolder(), { "turn.lock.fedcba9876543210/fedcba9876543210": "{}", "outside/file": "kept" })
    const killed = run(programs.appends, [folder])
    await until(() => killed.lines.length > 0)
    killed.child.kill("SIGKILL")
    await killed.ended
    writeFileSync(join(folder, "turn.lock/0000000000000000.tmp"), "prepared")
    symlinkSync(join(folder, "outside/file"), join(folder, "turn.lock/1111111111111111.tmp"))

    const journal = await opened(fileJournalStore(folder), "turn")
    expect(journal.text.startsWith("0:\n")).toBe(true)
    expect(readdirSync(join(folder, "turn.lock"))).toHaveLength(1)
    await journal.close()
    expect(readdirSync(folder)).toEqual(["outside", "turn"])
    expect(readFileSync(join(folder, "outside/file"), "utf8")).toBe("kept")
  })

  test("leaves files alone that have similar names", async () => {
    const folder = fill(newFolder(), { "turn.lock.fedcba9876543210": "a journal", "turn.lock.fedcba9876543210.lock/x": "", "turn.lock.d/x": "" })
    await (await fileJournalStore(folder).open("turn")).close()
    expect(readdirSync(folder)).toEqual(["turn", "turn.lock.d", "turn.lock.fedcba9876543210", "turn.lock.fedcba9876543210.lock"])
  })

  test.each(["a folder of the user's own", "a link to one"])(
    "cannot be acquired, also by taking it over, if %s is at its path; no file is touched",
    async (what) => {
      const files = { "mine/notes.txt": "kept", "mine/0123456789abcdef": "kept" }
      const folder = fill(newFolder(), files)
      if (what === "a link to one") symlinkSync(join(folder, "mine"), join(folder, "turn.lock"))
      else fill(folder, { "turn.lock/notes.txt": "kept", "turn.lock/0123456789abcdef": "kept" })
      const store = fileJournalStoreOn(systemOf({ wait: async () => {} }), folder)
      for (const takeOver of [false, true]) expect(await refusal(store.open("turn", { takeOver }))).toContain("is not a lock folder")
      const kept = what === "a link to one" ? "mine" : "turn.lock"
      expect(readdirSync(join(folder, kept)).sort()).toEqual(["0123456789abcdef", "notes.txt"])
    },
  )

  test("cannot be acquired if something else is at its path", async () => {
    const folder = fill(newFolder(), { "turn.lock": "", "away/x": "" })
    const store = fileJournalStore(folder)
    const refused = 'unavailable: Journal "turn" cannot be opened, because "turn.lock" is at the path of its lock and is not a lock folder.'
    expect(await refusal(store.open("turn", { takeOver: true }))).toBe(refused)
    mkdirSync(join(folder, "empty"))
    symlinkSync("empty", join(folder, "other.lock"))
    expect(await refusal(store.open("other", { takeOver: true }))).toBe(refused.replaceAll("turn", "other"))
    expect(readdirSync(folder).sort()).toEqual(["away", "empty", "other.lock", "turn.lock"])
  })

  test("is not released by an owner that lost it", async () => {
    const folder = newFolder()
    const store = fileJournalStore(folder)
    const old = await store.open("turn")
    const taken = await store.open("turn", { takeOver: true })
    const [mark] = readdirSync(join(folder, "turn.lock"))
    await old.close()
    expect(readdirSync(join(folder, "turn.lock"))).toEqual([mark])
    await taken.close()
  })

  test.runIf(existsSync("/proc/self/stat"))("of a zombie process is taken over", async () => {
    // The shell becomes a sleep, which never asks about the child of the shell.
    const { child, lines } = run("", [], { shell: "exec 3<&0; (read line <&3) & echo $!; exec sleep 600;" })
    await until(() => lines.length > 0 && readFileSync(`/proc/${child.pid}/comm`, "utf8") === "sleep\n")
    const pid = Number(lines[0])
    expect(isRunning(pid)).toBe(true)
    child.stdin?.write("end\n")
    await until(() => /\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8")))
    expect(isRunning(pid)).toBe(false)
    expect(isRunning(child.pid ?? 0)).toBe(true)
  })
})

describe("processes", () => {
  test.each(["no owner", "a dead owner"])("that open a journal with %s at once get one owner", async (before) => {
    for (let round = 0; round < 3; round += 1) {
      const folder = newFolder()
      if (before !== "no owner") lock(folder, { ...ownIdentity(), pid: 999_999_999 })
      const all = Array.from({ length: 4 }, () => run(programs.opens, [folder]))
      await until(() => all.every(({ lines }) => lines.length === 1))
      for (const { child } of all) child.stdin?.write("go\n")
      await until(() => all.every(({ lines }) => lines.length === 2))
      expect(all.map(({ lines }) => lines[1]).sort()).toEqual(["in_use", "in_use", "in_use", "won"])

      const winner = all.find(({ lines }) => lines[1] === "won")?.child
      expect(await refusal(fileJournalStore(folder).open("turn"))).toContain(`is open in another process (pid ${winner?.pid}).`)
      for (const { child } of all) child.kill("SIGKILL")
      await Promise.all(all.map(({ ended }) => ended))
      expect(await refusal(fileJournalStore(folder).open("turn"))).toBe("not refused")
    }
  })

  test.each([1, 10, 60, 200])("killed after %i appends have stored every append that resolved", async (count) => {
    const folder = newFolder()
    const running = run(programs.appends, [folder])
    await until(() => running.lines.length >= count)
    running.child.kill("SIGKILL")
    expect(await running.ended).toBe("SIGKILL")

    const journal = await opened(fileJournalStore(folder), "turn")
    const lines = journal.text.split("\n")
    const torn = lines.pop() ?? ""
    expect(lines.map((line, number) => line === `${number}:${"x".repeat(number % 700)}`)).not.toContain(false)
    expect(lines.length).toBeGreaterThanOrEqual(running.lines.length)
    expect(`${lines.length}:${"x".repeat(lines.length % 700)}`.startsWith(torn)).toBe(true)
    await journal.close()
  })

  test("that are fenced off receive `fenced`, and stop", async () => {
    const folder = newFolder()
    const running = run(programs.appends, [folder])
    await until(() => running.lines.length >= 20)
    const taken = await opened(fileJournalStore(folder), "turn", { takeOver: true })
    expect(await running.ended).toBe(0)
    expect(running.lines.at(-1)).toBe("fenced")
    const said = Number(running.lines.at(-2))
    expect(taken.text).toContain(`\n${said}:`)
    await taken.append("ours\n")
    await taken.close()
    expect(readFileSync(join(folder, "turn"), "utf8")).toBe(`${taken.text}ours\n`)
  })

  test("that reach a size limit leave the file intact, and continue when they can", async () => {
    const folder = newFolder()
    // Eight blocks of 512 bytes.
    const running = run(programs.fills, [folder], { shell: "ulimit -f 8;" })
    onTestFinished(() => void running.child.kill("SIGKILL"))
    expect(await running.ended).toBe(0)
    expect(running.lines).toEqual([
      `unavailable Journal "turn" cannot be written to ${join(folder, "turn")}, because it has reached its size limit. Text that was stored before is unchanged.`,
      "unavailable",
      "closed",
    ])
    expect(readFileSync(join(folder, "turn"), "utf8")).toBe(`${`${"x".repeat(999)}\n`.repeat(4)}end\nof all\n`)
    expect(readdirSync(folder)).toEqual(["turn"])
  })

  test("that were suspended for longer than a heartbeat may be late can no longer write, once another one has opened the journal", async () => {
    const folder = newFolder()
    const { child, lines } = run(programs.obeys, [folder])
    await until(() => lines.length === 1)
    child.stdin?.write("go\n")
    await until(() => lines.length === 2)
    child.kill("SIGSTOP")
    const [name = ""] = readdirSync(join(folder, "turn.lock"))
    const at = Date.now() / 1000 - 31
    utimesSync(join(folder, "turn.lock", name), at, at)
    const identity = (): ProcessIdentity => ({ ...ownIdentity(), namespace: "pid:[1]" })
    const journal = await opened(fileJournalStoreOn(systemOf({ identity, wait: async () => {} }), folder), "turn")
    expect(journal.text).toBe("theirs\n")
    child.kill("SIGCONT")
    child.stdin?.write("go\n")
    await until(() => lines.length === 3)
    expect(lines).toEqual(["ready", "stored", "fenced"])
    await journal.append("ours\n")
    await journal.close()
    expect(readFileSync(join(folder, "turn"), "utf8")).toBe("theirs\nours\n")
  })

  test("end although they did not close a journal: its heartbeat keeps none alive", async () => {
    const started = Date.now()
    expect(await run(programs.leaves, [newFolder()]).ended).toBe(0)
    expect(Date.now() - started).toBeLessThan(60_000)
  })
})

/** Runs a program in namespaces of its own, which needs Linux and the right to make them. */
const unshared = (what: string, setup = ""): { readonly shell: string } => ({
  shell: `set -- unshare ${what} --kill-child sh -c '${setup} exec "$@"' sh "$@";`,
})
const canUnshare = ((): boolean => {
  try {
    execFileSync("unshare", ["--pid", "--fork", "--mount-proc", "--uts", "true"], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
})()

describe.runIf(canUnshare)("processes in other namespaces", () => {
  /** The mark of the lock, as its owner wrote it. */
  const markOf = (folder: string): ProcessIdentity => {
    const [name = ""] = readdirSync(join(folder, "turn.lock"))
    return JSON.parse(readFileSync(join(folder, "turn.lock", name), "utf8")) as ProcessIdentity
  }
  const age = (folder: string, seconds: number): void => {
    const [name = ""] = readdirSync(join(folder, "turn.lock"))
    const at = Date.now() / 1000 - seconds
    utimesSync(join(folder, "turn.lock", name), at, at)
  }

  test.each([
    ["a /proc of its own", "--pid --fork --mount-proc"],
    ["the /proc of another one", "--pid --fork"],
  ])("(a PID namespace with %s) keep their journal while they live, and lose it 30 seconds after a crash", async (_what, namespaces) => {
    const folder = newFolder()
    const { child, lines, ended } = run(programs.obeys, [folder], unshared(namespaces))
    await until(() => lines.length === 1)
    // Process 1 of this namespace runs as well, and is another one.
    expect(markOf(folder)).toMatchObject({ pid: 1, host: hostname(), boot: ownIdentity().boot })
    expect(markOf(folder).namespace).not.toBe(ownIdentity().namespace)
    expect(await refusal(fileJournalStore(folder).open("turn"))).toMatch(
      /^in_use: .* can be opened in (?:30|29) s: wait with waitMs, or pass takeOver\.$/,
    )
    child.stdin?.write("go\n")
    await until(() => lines.length === 2)
    expect(lines[1]).toBe("stored")
    child.kill("SIGKILL")
    await ended
    expect(await refusal(fileJournalStore(folder).open("turn"))).toMatch(/^in_use: /)
    age(folder, 31)
    const journal = await opened(fileJournalStoreOn(systemOf({ wait: async () => {} }), folder), "turn")
    expect(journal.text).toBe("theirs\n")
    await journal.close()
  })

  test("(with the /proc of another one) do not mistake the processes there for their own", async () => {
    const own = run(programs.tells, [], unshared("--pid --fork --mount-proc"))
    await own.ended
    expect(own.lines).toEqual(["1 string true"])
    const foreign = run(programs.tells, [], unshared("--pid --fork"))
    await foreign.ended
    expect(foreign.lines).toEqual(["1 undefined true"])
  })

  test.each(["--pid --fork --mount-proc", "--pid --fork", "--time --boottime 100000 --fork"])(
    "(%s) do not open a journal that is open here",
    async (namespaces) => {
      const folder = newFolder()
      const journal = await fileJournalStore(folder).open("turn")
      const { child, lines } = run(programs.opens, [folder], unshared(namespaces))
      await until(() => lines.length === 1)
      child.stdin?.write("go\n")
      await until(() => lines.length === 2)
      expect(lines[1]).toBe("in_use")
      await journal.append("ours\n")
      await journal.close()
    },
  )

  test("(a renamed host) lose their journal as soon as they are killed", async () => {
    const folder = newFolder()
    const { child, lines, ended } = run(programs.obeys, [folder], { shell: `set -- unshare --uts sh -c 'hostname renamed; exec "$@"' sh "$@";` })
    await until(() => lines.length === 1)
    expect(markOf(folder)).toMatchObject({ pid: child.pid, host: "renamed" })
    expect(await refusal(fileJournalStore(folder).open("turn"))).toBe(
      `in_use: Journal "turn" is open in another process (pid ${child.pid}). Wait for it with waitMs, or pass takeOver if it hangs.`,
    )
    child.kill("SIGKILL")
    await ended
    expect(await refusal(fileJournalStore(folder).open("turn"))).toBe("not refused")
  })
})
