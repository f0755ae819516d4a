import { execFileSync } from "node:child_process"
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { hostname } from "node:os"
import { join } from "node:path"
import { describe, expect, onTestFinished, test, vi } from "vitest"
import { fileJournalStore } from "../../../src/hosts/node/file-journal-store.ts"
import { birthOf, bootId, isRunning } from "../../../src/hosts/node/process-id.ts"
import { fill, newFolder, until } from "../../cli/harness.ts"
import { opened } from "../../support/stored-text.ts"
import { bundle, run } from "../harness.ts"

// Starting processes takes its time on a busy machine.
vi.setConfig({ testTimeout: 120_000 })

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
async function refusal(work: Promise<{ close(): Promise<void> }>): Promise<string> {
  return work.then(
    (journal) => journal.close().then(() => "not refused"),
    (error: Error & { readonly code: string }) => `${error.code}: ${error.message}`,
  )
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

  test("is synced `always` or `never`", () => {
    expect(() => fileJournalStore("f", { fsync: "sometimes" as "always" })).toThrow(
      new TypeError('fsync must be "always" or "never", not "sometimes".'),
    )
  })
})

describe("the lock of a journal", () => {
  const MINE_AS_OWNER = { pid: process.pid, host: hostname(), since: 1_764_000_000_000 }
  const PARENT_AS_OWNER = { pid: process.ppid, host: hostname(), since: 1_764_000_000_000 }
  const MINE = { ...MINE_AS_OWNER, birth: birthOf(process.pid), boot: bootId() }
  const PARENT = { ...PARENT_AS_OWNER, birth: birthOf(process.ppid), boot: bootId() }
  const IF_GONE = "Close it, or pass takeOver if that process is gone."

  test.each([
    ["of this process", MINE, `already open in this process (pid ${process.pid}). Close it first, or pass takeOver.`, MINE_AS_OWNER],
    ["of another running process", PARENT, `open in another process (pid ${process.ppid}). ${IF_GONE}`, PARENT_AS_OWNER],
    [
      "of a process with fewer facts",
      { pid: process.ppid, host: hostname() },
      `open in another process (pid ${process.ppid}). ${IF_GONE}`,
      { pid: process.ppid, host: hostname() },
    ],
    [
      "of another host",
      { ...PARENT, host: "elsewhere" },
      `open on host "elsewhere" (pid ${process.ppid}). ${IF_GONE}`,
      { ...PARENT_AS_OWNER, host: "elsewhere" },
    ],
    ["that cannot be read", "", "already open. Close it, or pass takeOver if its owner is gone.", undefined],
    ["of an impossible process id", { ...MINE, pid: -1 }, "already open. Close it, or pass takeOver if its owner is gone.", undefined],
  ])("%s is respected, unless it is taken over", async (_whose, mark, text, owner) => {
    const folder = fill(newFolder(), { turn: "a\n" })
    lock(folder, mark)
    const store = fileJournalStore(folder)
    expect(await refusal(store.open("turn"))).toBe(`in_use: Journal "turn" is ${text}`)
    await expect(store.open("turn")).rejects.toMatchObject({ owner })
    expect(readdirSync(folder)).toEqual(["turn", "turn.lock"])
    expect(readdirSync(join(folder, "turn.lock"))).toEqual(["0123456789abcdef"])

    const journal = await opened(store, "turn", { takeOver: true })
    expect(journal.text).toBe("a\n")
    await journal.close()
    expect(readdirSync(folder)).toEqual(["turn"])
  })

  test.each([
    ["of a process that is gone", { ...MINE, pid: 999_999_999 }],
    ["of an earlier process with this process's id", { ...MINE, birth: "1" }],
    ["of a process before a reboot", { ...MINE, boot: "00000000-0000-0000-0000-000000000000" }],
  ])("%s is taken over", async (_whose, mark) => {
    const folder = fill(newFolder(), { turn: "a\n" })
    lock(folder, mark)
    const journal = await fileJournalStore(folder).open("turn")
    await journal.append("b\n")
    await journal.close()
    expect(readdirSync(folder)).toEqual(["turn"])
    expect(readFileSync(join(folder, "turn"), "utf8")).toBe("a\nb\n")
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
      if (before !== "no owner") lock(folder, { pid: 999_999_999, host: hostname() })
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
})
