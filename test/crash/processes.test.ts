import { copyFileSync, cpSync, existsSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, describe, expect, test, vi } from "vitest"
import { readJournal } from "../../src/replay/journal.ts"
import { inLane, LANE, LIMIT_MS } from "../lane.ts"
import { boundariesOf, bundled, folderForAll, inParallel, linesOf, Matrix, type Ran, run, textOf } from "./harness.ts"

// Real processes, killed at every boundary of what they do to files (see kill.ts), and the same command run again.

// Starting processes is slow on a busy machine.
vi.setConfig({ testTimeout: LIMIT_MS })

const folder = folderForAll()
const [worker = "", killer = ""] = await bundled(folder, "worker.ts", "kill.ts")
const matrix = new Matrix()
afterAll(() => console.info(matrix.toString()))

/** Processes at a time. */
const PARALLEL = 3
/** Kill at the first boundary of each kind, and at every how-manieth one: of a turn, and of one that was killed before. */
const EVERY = inLane({ fast: 7, full: 1, deep: 1 })
const EVERY_AGAIN = inLane({ fast: 11, full: 3, deep: 1 })
const IS_DEEP = LANE === "deep"

/** One journal, with the file that records its effects on the world. */
class Place {
  static #count = 0
  readonly #base = join(folder, `${Place.#count++}`)
  readonly journal = `${this.#base}.journal`
  readonly effects = `${this.#base}.effects`
  readonly go = `${this.#base}.go`

  constructor() {
    writeFileSync(this.effects, "")
  }

  /** Copies the journal and its effects to a new place. */
  copy(): Place {
    const copy = new Place()
    for (const file of ["journal", "effects"] as const) copyFileSync(this[file], copy[file])
    // The lock that a killed process left.
    cpSync(`${this.journal}.lock`, `${copy.journal}.lock`, { recursive: true })
    return copy
  }

  run(env: Readonly<Record<string, string>> = {}): Promise<Ran> {
    return run([worker, this.journal], { CRASH_EFFECTS: this.effects, ...env })
  }

  /** Runs until the n-th boundary. */
  kill(at: number | "list", env: Readonly<Record<string, string>> = {}): Promise<Ran> {
    return run(["--import", killer, worker, this.journal], { CRASH_EFFECTS: this.effects, CRASH_AT: `${at}`, ...env })
  }

  /** Returns whether the persisted journal answers the work of a line. The snapshot of a compacted journal covers all lower effect ids. */
  answered(): (line: string) => boolean {
    const text = textOf(this.journal)
    if (!text.includes("\n")) return () => false
    const keys = new Set<string>()
    let below = 0
    for (const { record } of readJournal(text).entries) {
      if (record.type === "snapshot") below = record.checkpoint.nextEffectId - ("outstanding" in record.checkpoint.state ? 1 : 0)
      else if (record.type === "tool_results") for (const { callId } of record.results) keys.add(`${record.id}:${callId}`)
      else if ("id" in record) keys.add(`${record.id}`)
    }
    return (line) => {
      const key = line.slice(line.indexOf(" turn-1:") + 8)
      return keys.has(key) || Number.parseInt(key, 10) < below
    }
  }
}

/** The effects of one run without a crash. */
const WHOLE = [
  ...["model turn-1:1", "a turn-1:2:a", "b turn-1:2:b", "c turn-1:2:c", "d turn-1:2:d", "checkpoint turn-1:3"],
  ...["model turn-1:4", "e turn-1:5:e", "checkpoint turn-1:6", "model turn-1:7", "checkpoint turn-1:8"],
]
const UNKNOWN = /"text":"\[Tool execution failed\]\\nThe call was cut off by a crash[^"]*","isError":true/

const whole = await new Place().run()

/** Whether a run ended as the one that was not killed; only `c`, a once call without a recover function, may have an unknown outcome. */
function endsAlike({ exitCode, stdout }: Ran, lines: readonly string[]): boolean {
  const unknown = UNKNOWN.test(stdout)
  const done = new Set(lines)
  if (exitCode !== 0 || stdout.replace(UNKNOWN, '"text":"did c"') !== whole.stdout) return false
  return WHOLE.every((line) => done.has(line) || (unknown && line.startsWith("c "))) && done.size <= WHOLE.length
}

/** The number of lines that the promise forbids: once calls that ran twice, and work that ran although its answer was persisted. */
function beyondPromise(
  lines: readonly string[],
  resumes: readonly { readonly from: number; readonly answered: (line: string) => boolean }[],
): number {
  const again = lines.filter((line, index) => /^[cd] /.test(line) && lines.indexOf(line) !== index).length
  const repeated = resumes.reduce((sum, { from, answered }, index) => sum + lines.slice(from, resumes[index + 1]?.from).filter(answered).length, 0)
  return again + repeated
}

/** Kills a process at its boundaries; then runs the same command to the end. Returns how often it was killed. */
async function killEverywhere(name: string, every: number, env: Readonly<Record<string, string>> = {}, before = new Place()): Promise<number> {
  let kills = 0
  const placeBefore = (): Place => (existsSync(before.journal) ? before.copy() : new Place())
  await inParallel(await boundariesOf(() => placeBefore().kill("list", env), every), PARALLEL, async (at) => {
    const place = placeBefore()
    const resumes: { from: number; answered: (line: string) => boolean }[] = []
    const resuming = (): void => void resumes.push({ from: linesOf(place.effects).length, answered: place.answered() })
    resuming()
    const killed = await place.kill(at, env)
    if (killed.exitCode !== null) {
      expect(killed).toMatchObject({ exitCode: 0, stderr: "" })
      return false
    }
    kills += 1
    resuming()
    // An ended journal is read without its lock, which then stays as the killed process left it.
    const hadEnded = textOf(place.journal).includes('"type":"end"')
    const resumed = await place.run(env)
    const lines = linesOf(place.effects)
    const row = matrix.row(`${name}: ${killed.stderr}`)
    row.kills += 1
    if (!endsAlike(resumed, lines) || (!hadEnded && existsSync(`${place.journal}.lock`))) row.differs += 1
    row.repeated += beyondPromise(lines, resumes)
    return true
  })
  return kills
}

/** Every kind of boundary. */
const KINDS = [
  ...["acquiring or releasing the lock", "after the rename", "another file", "appended, not synced", "before an append", "before performing"],
  ...["before the rename", "in mid-append", "performed, answer not persisted", "persisted, the process does not know", "temporary file empty"],
  ...["temporary file half written", "temporary file written, not renamed"],
]

/** The kinds of boundaries at which a process was killed. */
function kindsOf(name: string): readonly string[] {
  return [...matrix.rows.keys()].flatMap((row) => (row.startsWith(`${name}: `) ? [row.slice(name.length + 2)] : [])).toSorted()
}

function expectNoneWrong(): void {
  const wrong = [...matrix.rows].filter(([, { differs, repeated }]) => differs > 0 || repeated > 0)
  expect(wrong).toEqual([])
}

test("a process that is not killed does each thing once", async () => {
  const place = new Place()
  expect(await place.run()).toEqual(whole)
  expect(whole).toMatchObject({ exitCode: 0, stderr: "" })
  expect(linesOf(place.effects)).toEqual(WHOLE)
})

describe("killed at every boundary, a turn is resumed and ends the same", () => {
  test("with a journal that grows", async () => {
    expect(await killEverywhere("a turn", EVERY)).toBeGreaterThan(80 / EVERY)
    expect(kindsOf("a turn")).toEqual(KINDS)
    expectNoneWrong()
  })

  test("with a journal that is compacted", async () => {
    const only = IS_DEEP
      ? undefined
      : "temporary file empty;temporary file half written;temporary file written, not renamed;before the rename;after the rename"
    const env = { CRASH_COMPACT: "1", ...(only !== undefined && { CRASH_ONLY: only }) }
    expect(await killEverywhere("with compactions", EVERY, env)).toBeGreaterThanOrEqual(EVERY === 1 ? 15 : 5)
    expectNoneWrong()
  })

  test("also when it is killed again while it resumes", async () => {
    // In the middle of the first batch: started once calls without results.
    for (const at of IS_DEEP ? [25, 32, 38, 42, 46, 50, 54, 58, 62, 70] : [46]) {
      const before = new Place()
      expect((await before.kill(at)).exitCode).toBeNull()
      expect(await killEverywhere("a resumed turn", EVERY_AGAIN, {}, before)).toBeGreaterThan(40 / EVERY_AGAIN)
    }
    expect(kindsOf("a resumed turn")).toEqual(KINDS)
    expectNoneWrong()
  })
})

describe("two processes", () => {
  const ROUNDS = inLane({ fast: 2, full: 4, deep: 100 })

  test("that resume the same journal at once: one runs it, the other reports that it is in use", async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const place = new Place()
      const first = round % 2 === 0 ? 48 : 20
      expect((await place.kill(first)).exitCode).toBeNull()
      // The owner of the journal waits in its model call until the other is refused.
      const both = [0, 1].map(() => place.run({ CRASH_HOLD: place.go }))
      const refused = await Promise.race(both)
      expect(refused).toMatchObject({ exitCode: 3, stdout: '{"refused":"in_use"}' })
      writeFileSync(place.go, "")
      const ran = (await Promise.all(both)).filter((other) => other !== refused)
      const lines = linesOf(place.effects)
      expect(ran.map((other) => endsAlike(other, lines))).toEqual([true])
      expect(lines.filter((line) => /^[cd] /.test(line)).length).toBeLessThanOrEqual(2)
    }
  })

  test("of which one takes over the journal: the other is fenced off, and changes nothing more", async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const place = new Place()
      const old = place.run({ CRASH_HOLD: place.go })
      while (linesOf(place.effects).length === 0) await new Promise((resolve) => setTimeout(resolve, 2))
      const newOwner = await place.run({ CRASH_TAKE_OVER: "1" })
      const [lines, text] = [linesOf(place.effects), textOf(place.journal)]
      expect(endsAlike(newOwner, lines)).toBe(true)
      writeFileSync(place.go, "")
      expect(await old).toMatchObject({ exitCode: 3, stdout: '{"refused":"fenced"}' })
      expect(textOf(place.journal)).toBe(text)
      expect(linesOf(place.effects)).toEqual(lines)
    }
  })
})
