import { cpSync, existsSync, mkdirSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, expect, test, vi } from "vitest"
import { readJournal } from "../../src/replay/journal.ts"
import { inLane, LANE, LIMIT_MS } from "../lane.ts"
import { boundariesOf, bundled, folderForAll, inParallel, Matrix, run, textOf } from "./harness.ts"

// Kills the command line at every boundary of its file operations (see kill.ts), then runs the same command with --resume.

vi.setConfig({ testTimeout: LIMIT_MS })

const FIXTURES = fileURLToPath(new URL("../fixtures/folders/", import.meta.url))
const REPORT = textOf(join(FIXTURES, "shop.todo-report.md"))
/** In the deep lane, every boundary. Otherwise: boundaries of its own files, and partial writes of its journal. */
const ONLY = LANE === "deep" ? {} : { CRASH_ONLY: "in mid-append;another file" }
/** Kill at the first boundary of each kind, and at every how-manieth one. */
const EVERY = inLane({ fast: 5, full: 1, deep: 1 })

const folder = folderForAll()
const [main = "", killer = ""] = await bundled(folder, "../../src/cli/main.ts", "kill.ts")
const matrix = new Matrix()
afterAll(() => console.info(matrix.toString()))

test("the command line, killed at every boundary, resumes and writes the same report", async () => {
  const args = [main, "run", "--dir", "shop", "--state", "s.journal"]
  const baseFor = (name: string): string => {
    const base = join(folder, name)
    mkdirSync(base)
    cpSync(join(FIXTURES, "shop"), join(base, "shop"), { recursive: true })
    return base
  }
  const list = () => run(["--import", killer, ...args], { CRASH_AT: "list", ...ONLY }, baseFor("list"))
  await inParallel(await boundariesOf(list, EVERY), 3, async (at) => {
    const base = baseFor(`${at}`)
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
  expect(rows.reduce((sum, { kills }) => sum + kills, 0)).toBeGreaterThan(20 / EVERY)
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
