import { copyFileSync, cpSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { expect, test, vi } from "vitest"
import { inLane, LIMIT_MS } from "../lane.ts"
import { boundariesOf, bundled, folderForAll, inParallel, linesOf, type Ran, run } from "./harness.ts"

// A turn asks to pay three times. One process runs it until it waits for a person, a second decides, and a third finishes. Each is killed at
// every boundary of what it does to files, and started again.

vi.setConfig({ testTimeout: LIMIT_MS })

const folder = folderForAll()
const [worker = "", killer = ""] = await bundled(folder, "held-worker.ts", "kill.ts")
const PARALLEL = 3
/** Kill at the first boundary of each kind, and at every how-manieth one. */
const EVERY = inLane({ fast: 9, full: 2, deep: 1 })
const STEPS = ["run", "decide", "run"] as const
const PAID = ['p1 {"amount":9} turn-1:2:p1', 'p3 {"amount":1} turn-1:2:p3']

class Place {
  static #count = 0
  readonly folder = join(folder, `${Place.#count++}`)
  readonly effects = `${this.folder}.effects`

  constructor() {
    mkdirSync(this.folder)
    writeFileSync(this.effects, "")
  }

  /** Copies what is stored to a new place. */
  copy(): Place {
    const copy = new Place()
    cpSync(this.folder, copy.folder, { recursive: true })
    copyFileSync(this.effects, copy.effects)
    return copy
  }

  run(act: string, env: Readonly<Record<string, string>> = {}): Promise<Ran> {
    return run([worker, this.folder, act], { CRASH_EFFECTS: this.effects, ...env })
  }

  kill(act: string, at: number | "list"): Promise<Ran> {
    return run(["--import", killer, worker, this.folder, act], { CRASH_EFFECTS: this.effects, CRASH_AT: `${at}` })
  }
}

test.each(STEPS.map((act, step) => [step + 1, act] as const))(
  "process %i (%s), killed at every boundary: each call that was allowed runs once",
  async (step) => {
    let kills = 0
    const before = new Place()
    for (const act of STEPS.slice(0, step - 1)) expect(await before.run(act)).toMatchObject({ exitCode: 0 })
    const act = STEPS[step - 1] as string
    await inParallel(await boundariesOf(() => before.copy().kill(act, "list"), EVERY), PARALLEL, async (at) => {
      const place = before.copy()
      const killed = await place.kill(act, at)
      if (killed.exitCode !== null) {
        expect(killed).toMatchObject({ exitCode: 0, stderr: "" })
        return false
      }
      kills += 1
      if (step < 3) expect(linesOf(place.effects), killed.stderr).toEqual([])
      let last: Ran | undefined
      for (const again of STEPS.slice(step - 1)) {
        last = await place.run(again)
        expect(last, killed.stderr).toMatchObject({ exitCode: 0, stderr: "" })
      }
      expect(linesOf(place.effects).toSorted(), killed.stderr).toEqual(PAID)
      const { outcome, messages } = JSON.parse(last?.stdout ?? "null") as { readonly outcome: unknown; readonly messages: unknown }
      expect(outcome).toMatchObject({ type: "finished" })
      expect(JSON.stringify(messages)).not.toContain("cut off")
      return true
    })
    expect(kills).toBeGreaterThan(EVERY === 1 ? 16 : 8)
  },
)

test("of two processes that decide at once, one wins, and the other reads who was first", async () => {
  for (let round = 0; round < 4; round += 1) {
    const place = new Place()
    await place.run("run")
    const both = await Promise.all(["ada", "bob"].map(async (by) => ({ by, ran: await place.run("decide", { CRASH_BY: by }) })))
    const results = both.map(({ by, ran }) => ({
      by,
      results: JSON.parse(ran.stdout) as readonly { readonly status: string; readonly message?: string }[],
    }))
    const won = results.filter((each) => each.results.length > 0 && each.results.every(({ status }) => status === "accepted"))
    expect(won).toHaveLength(1)
    const [lost] = results.filter((each) => each !== won[0])
    // One that came late finds nothing to decide any more.
    for (const { status, message } of lost?.results ?? []) {
      expect(status).toBe("refused")
      expect(message).toContain(`by "${won[0]?.by}"`)
    }
    await place.run("run")
    expect(linesOf(place.effects).toSorted()).toEqual(won[0]?.by === "ada" ? PAID : ['p2 {"amount":9} turn-1:2:p2', 'p3 {"amount":2} turn-1:2:p3'])
  }
})
