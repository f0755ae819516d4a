import { cpSync, existsSync, mkdirSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, expect, test, vi } from "vitest"
import { readJournal } from "../../src/replay/journal.ts"
import { bundled, counted, folderForAll, inParallel, Matrix, run, textOf } from "./harness.ts"

// Kills the command line at every boundary of its file operations (see kill.ts), then runs the same command with --resume.

vi.setConfig({ testTimeout: 600_000 })

const FIXTURES = fileURLToPath(new URL("../fixtures/folders/", import.meta.url))
const REPORT = textOf(join(FIXTURES, "shop.todo-report.md"))
/** `CRASH_DEEP=1`: every boundary. Otherwise: boundaries of its own files, and partial writes of its journal. */
const ONLY = process.env["CRASH_DEEP"] === undefined ? { CRASH_ONLY: "in mid-append;another file" } : {}

const folder = folderForAll()
const [main = "", killer = ""] = await bundled(folder, "../../src/cli/main.ts", "kill.ts")
const matrix = new Matrix()
afterAll(() => console.info(matrix.toString()))

test("the command line, killed at every boundary, resumes and writes the same report", async () => {
  await inParallel(counted(), 3, async (at) => {
    const base = join(folder, `${at}`)
    mkdirSync(base)
    cpSync(join(FIXTURES, "shop"), join(base, "shop"), { recursive: true })
    const args = [main, "run", "--dir", "shop", "--state", "s.journal"]
    const killed = await run(["--import", killer, ...args], { CRASH_AT: `${at}`, ...ONLY }, base)
    if (killed.exitCode !== null) {
      expect(killed).toMatchObject({ exitCode: 0, stderr: "" })
      expect(isComplete(base)).toBe(true)
      return false
    }
    const resumed = await run([...args, "--resume"], {}, base)
    const row = matrix.row(`the command line: ${killed.stderr}`)
    row.kills += 1
    if (resumed.exitCode !== 0 || !resumed.stdout.includes("outcome  finished") || !isComplete(base)) row.differs += 1
    row.repeated += answeredTwice(base)
    return true
  })
  const rows = [...matrix.rows.values()]
  expect(rows.reduce((sum, { kills }) => sum + kills, 0)).toBeGreaterThan(20)
  expect(rows.filter(({ differs, repeated }) => differs > 0 || repeated > 0)).toEqual([])
})

/** Whether the folder contains the report and only the files that the command normally leaves. */
function isComplete(base: string): boolean {
  const out = join(base, "turn-machine-out")
  if (!existsSync(out) || existsSync(join(base, "s.journal.lock"))) return false
  const shown = readdirSync(out).filter((name) => !name.startsWith("."))
  return (
    shown.join() === "todo-report.md" &&
    textOf(join(out, "todo-report.md")) === REPORT &&
    readdirSync(base).sort().join() === "s.journal,shop,turn-machine-out"
  )
}

/** Counts the answers in the journal to effects or calls that already had an answer. */
function answeredTwice(base: string): number {
  const keys = readJournal(textOf(join(base, "s.journal"))).entries.flatMap(({ record }) => {
    if (record.type === "tool_results") return record.results.map(({ callId }) => `${record.id}:${callId}`)
    return "id" in record ? [`${record.id}`] : []
  })
  return keys.length - new Set(keys).size
}
