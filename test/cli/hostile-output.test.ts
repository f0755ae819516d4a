import { mkdirSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { columnsOf, cutToColumns, padToColumns } from "../../src/cli/terminal/columns.ts"
import { plainJson } from "../../src/cli/terminal/format.ts"
import { bundleCli, fill, newFolder, type Ran, runCli, spawnCli } from "./harness.ts"

/** A name that moves the cursor, colours, hides and reorders text, and fakes a line of output. */
const EVIL = "e\u001b[2J\u001b]0;x\u0007\u007f\u009b31m\u202egnp\u2066\u2028\nturn-machine: fake"
/** Everything that must not reach a terminal. Newlines separate our own lines; a faked one starts with the text of the name. */
const BAD = /(?![\n\t])[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]|^turn-machine: fake/mu

function newEvil(): { readonly base: string; readonly dir: string } {
  const base = join(newFolder(), EVIL)
  mkdirSync(base)
  fill(base, { [`dir ${EVIL}/${EVIL}.ts`]: `// TODO ${EVIL.replace("\n", " ")}\n`, [`dir ${EVIL}/${EVIL}/a.md`]: "TODO: x\n" })
  return { base, dir: `dir ${EVIL}` }
}

function clean({ stdout, stderr }: Ran, what: string): void {
  expect(stdout, what).not.toMatch(BAD)
  expect(stderr, what).not.toMatch(BAD)
}

describe("names with escape sequences", () => {
  const state = `s ${EVIL}.json`
  const folder = `g ${EVIL}`

  it.each([
    { to: "a file", json: [], isTTY: false },
    { to: "a terminal", json: [], isTTY: true },
    { to: "a program", json: ["--json"], isTTY: false },
  ])("do not reach the output of any command to $to", async ({ json, isTTY }) => {
    const { base, dir } = newEvil()
    const ran = async (...args: readonly string[]): Promise<Ran> => {
      const result = await runCli([...args, ...json], { cwd: base, isTTY, env: { NO_COLOR: "1" } })
      clean(result, JSON.stringify(args))
      return result
    }
    expect((await ran("run", "--dir", dir, "--out", `out ${EVIL}`)).exitCode).toBe(0)
    expect((await ran("run", "--dir", dir, "--out", "out", "--state", state, "--max-iterations", "2")).exitCode).toBe(1)
    await ran("resume", state)
    const stranger = { XDG_STATE_HOME: newFolder(), NO_COLOR: "1" }
    clean(await runCli(["resume", state, ...json], { cwd: base, isTTY, env: stranger }), "resume of another user's state")
    await ran("resume", `no ${EVIL}`)
    await ran("run", "--dir", `no ${EVIL}`)
    await ran("run", "--out", join(dir, `${EVIL}.ts`))
    await ran("run", "--dir", dir, `find "${EVIL.slice(0, 9)}"`)
    await ran("journal", "show", state)
    await ran("journal", "show", `no ${EVIL}`)
    await ran("journal", "replay", state)
    await ran("journal", "diff", state, state)
    await ran("journal", "fork", state, "--at", "2", "--out", `f ${EVIL}.json`)
    await ran("journal", "compact", state)
    await ran("goal", "--dir", dir, "--out", `o ${EVIL}`, "--state", folder, "--judge", "checklist", `Find ${EVIL}`)
    clean(await runCli(["goal", "resume", "--state", folder, ...json], { cwd: base, isTTY, env: stranger }), "resume of another user's goal")
    await ran("goal", "status", "--state", folder)
    await ran("goal", "resume", "--state", folder)
    await ran("goal", "pause", "--state", folder)
    await ran("subgoal", "list", "--state", folder)
    await ran("subgoal", "add", "--state", folder, EVIL)
    await ran("goal", "clear", "--state", folder)
    await ran(EVIL)
    await ran("run", `--${EVIL}`)
    expect(readdirSync(base).length).toBeGreaterThan(3)
  })

  it("are escaped in JSON, and read back as they are", () => {
    expect(plainJson({ name: EVIL })).not.toMatch(BAD)
    expect(plainJson({ name: EVIL })).toContain("\\u001b[2J\\u001b]0;x\\u0007\\u007f\\u009b31m\\u202egnp\\u2066\\u2028\\nturn")
    expect(JSON.parse(plainJson({ name: EVIL }))).toEqual({ name: EVIL })
  })
})

describe("a current folder that was removed", async () => {
  const bundled = await bundleCli()

  it("is named in one line, with exit code 2", async () => {
    const base = newFolder()
    const gone = join(base, "gone")
    mkdirSync(gone)
    const ran = spawnCli(["-e", GONE, "--", gone, bundled[0] ?? ""], [], { cwd: gone })
    expect(await ran).toMatchObject({
      exitCode: 2,
      stdout: "",
      stderr: "turn-machine: The current folder no longer exists. Change to another folder, and try again.\n",
    })
  })
})

/** Removes the current folder, then starts the command line as a shell would. */
const GONE = `
  const { rmdirSync } = require("node:fs")
  const { spawnSync } = require("node:child_process")
  const [gone, main] = process.argv.slice(1)
  rmdirSync(gone)
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, "run"], { encoding: "utf8" })
  process.stdout.write(stdout)
  process.stderr.write(stderr)
  process.exitCode = status
`

describe("terminals of 40 columns", () => {
  const WIDE = "日本語のとても長いフォルダーの名前"

  it.each([40, 60, 100])("fit into %i columns, with wide characters too", async (columns) => {
    const base = fill(newFolder(), {
      [`${WIDE}/${WIDE}.ts`]: `// TODO ${WIDE}を直す 👩‍👩‍👧 of a long comment that goes on and on\n`,
      [`${WIDE}/b.ts`]: "// FIXME b\n",
    })
    const ran = await runCli(["run", "--dir", WIDE, "--out", "o"], { cwd: base, isTTY: true, columns, env: { NO_COLOR: "1" } })
    expect(ran.exitCode).toBe(0)
    // A path or a word that is longer than the terminal stays whole, so that it can be copied.
    const tooWide = ran.stdout.split("\n").filter((line) => columnsOf(line) > columns && line.trim().includes(" ") && !/^folder |^ +\S+$/.test(line))
    expect(tooWide).toEqual([])
    const shown = await runCli(["run", "--dir", WIDE, "--state", "s.json"], { cwd: base })
    expect(shown.exitCode).toBe(0)
    const journal = await runCli(["journal", "show", "s.json"], { cwd: base, isTTY: true, columns, env: { NO_COLOR: "1" } })
    // So does an id, after the name of its field.
    expect(journal.stdout.split("\n").filter((line) => columnsOf(line) > columns && !/^\w+ +\S+$/.test(line))).toEqual([])
  })

  it("are measured in columns", () => {
    expect(columnsOf("ab")).toBe(2)
    expect(columnsOf("日本")).toBe(4)
    expect(columnsOf("e\u0301")).toBe(1)
    expect(columnsOf("👍")).toBe(2)
    expect(columnsOf("\u001b[1mab\u001b[22m")).toBe(2)
    expect(cutToColumns("日本語", 5)).toBe("日本…")
    expect(cutToColumns("日本語", 4)).toBe("日…")
    expect(cutToColumns("abc", 3)).toBe("abc")
    expect(padToColumns("日本", 6)).toBe("日本  ")
  })
})
