import * as fc from "fast-check"
import { afterAll, describe, expect, test } from "vitest"
import { JournalStoreError } from "../../src/hosts/journal/store.ts"
import * as arbitrary from "../../src/testing/arbitraries.ts"
import { checkAsync, FACTOR, SLOW } from "./check.ts"
import { add, type Counts, crashEverywhere, newCounts, sameEnd } from "./crash-everywhere.ts"
import { type Fault, NOTHING, noViolations, type Script, type ScriptedCall } from "./crash-process.ts"
import { World } from "./crash-world.ts"

const few = fc.nat({ max: 4 })

const call: fc.Arbitrary<ScriptedCall> = fc
  .record<ScriptedCall>({
    effects: fc.constantFrom("none", "idempotent", "once", "once"),
    recover: fc.constantFrom(undefined, "finds", "finds", "knows_nothing", "throws"),
    answer: fc.oneof({ weight: 8, arbitrary: fc.constant("value" as const) }, { weight: 1, arbitrary: fc.constant("throws" as const) }),
    value: fc.oneof({ weight: 5, arbitrary: fc.constantFrom("seen", 3, { done: true }) }, { weight: 1, arbitrary: arbitrary.json }),
    before: few,
    after: few,
  })
  // An attachment is a separate part of the transcript, which a call of unknown outcome does not have.
  .map((scripted) =>
    scripted.effects === "once" && JSON.stringify(scripted.value).includes("$attachment") ? { ...scripted, value: "seen" } : scripted,
  )

/** A read-only call that ends the turn with its value. */
const ending = call.map((scripted): ScriptedCall => ({ ...scripted, effects: "none", answer: "ends_turn" }))

const batch = fc.array(fc.oneof({ weight: 19, arbitrary: call }, { weight: 1, arbitrary: ending }), { minLength: 1, maxLength: 4 })

const script: fc.Arbitrary<Script> = fc.record({
  driver: fc.constantFrom("chat", "chat", "chat", "chat", "code"),
  batches: fc.array(batch, { minLength: 1, maxLength: 3 }),
  modelFails: fc.integer({ min: 0, max: 9 }).map((number) => number === 0),
  streams: fc.boolean(),
  syncs: fc.boolean(),
  deliverAt: fc.subarray([3, 4, 6, 7, 9, 10, 11], { maxLength: 2 }),
  toolConcurrency: fc.integer({ min: 1, max: 4 }),
  snapshotEveryRecords: fc.constantFrom(0, 1, 3, 300),
  compactAboveChars: fc.constantFrom(0, 0, 1, 3_000),
  writeTicks: fc.constantFrom(0, 2, 30),
  tear: fc.double({ min: 0, max: 1, noNaN: true }),
})

const NONE_WRONG = { askedAgain: 0, ranAgain: 0, actedEarly: 0, beyondPromise: 0, differs: 0, notEmitted: 0 }

const total = newCounts()
let scripts = 0

/** Adds to the totals, and checks one script against the promise. */
function judge(counts: Counts): void {
  scripts += 1
  add(total, counts)
  const { crashes: _crashes, unknown: _unknown, moments: _moments, ...wrong } = counts
  expect(wrong).toEqual(NONE_WRONG)
}

const SCRIPTS = 85

const crashing = fc.asyncProperty(script, async (scripted) => {
  const counts = newCounts()
  await crashEverywhere(scripted, counts)
  judge(counts)
})

test(
  "a turn that crashes at any point, and again at a second one, ends as without a crash, and repeats nothing beyond the promise",
  SLOW,
  async () => {
    await checkAsync(SCRIPTS, crashing, MOST_FACTOR)
    expect(total.crashes).toBeGreaterThan(50 * scripts)
    expect(total.unknown).toBeGreaterThan(0)
  },
)

/** In the deep run, a hundred times as many scripts would take an hour. */
const MOST_FACTOR = 10

test("a turn that crashes after its cancellation was persisted is cancelled, and everything is emitted", SLOW, async () => {
  const property = fc.asyncProperty(script, fc.nat({ max: 60 }), async (scripted, cancelAt) => {
    const counts = newCounts()
    await crashEverywhere(scripted, counts, { cancelAt })
    judge(counts)
  })
  await checkAsync(10, property, MOST_FACTOR)
})

test("at least 1,000 crashes were simulated in the fast lane, 10,000 in the full lane and 100,000 in the deep run", SLOW, async () => {
  // Scripts are long or short by chance.
  const least = Math.max(1_000, 10_000 * Math.min(FACTOR, MOST_FACTOR))
  while (total.crashes < least) await checkAsync(5, crashing, MOST_FACTOR)
})

test("a process whose journal was taken over changes nothing more, and no once call happens twice", SLOW, async () => {
  let hung = 0
  const property = fc.asyncProperty(script, fc.nat(), async (scripted, place) => {
    const violations = noViolations()
    const whole = await new World(scripted, NOTHING).process({ violations })

    const world = new World(scripted, NOTHING)
    const gate = gateAt(place % whole.moments.length)
    const first = world.process({ violations: noViolations(), hang: gate.hang }).then(
      () => "ended",
      (error: unknown) => (error instanceof JournalStoreError ? error.code : String(error)),
    )
    if ((await Promise.race([gate.reached, first])) !== "hangs") return
    hung += 1
    const second = await world.process({ violations: noViolations(), hang: () => undefined })
    const { text } = world.memory
    gate.open()
    expect(["fenced", "ended"]).toContain(await first)
    expect(world.memory.text).toBe(text)
    expect(sameEnd(scripted, whole, second, newCounts())).toBe(true)
    const once = world.memory.performed.filter((done) => done.startsWith("once "))
    expect(new Set(once).size).toBe(once.length)
  })
  await checkAsync(200, property, MOST_FACTOR)
  expect(hung).toBeGreaterThan(50 * Math.min(FACTOR, 1))
})

/** Blocks from the given moment on until it is opened. */
function gateAt(moment: number): { readonly reached: Promise<"hangs">; hang(moment: number): Promise<void> | undefined; open(): void } {
  let [reach, open] = [(_what: "hangs"): void => {}, (): void => {}]
  const reached = new Promise<"hangs">((resolve) => {
    reach = resolve
  })
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  const hang = (number: number): Promise<void> | undefined => {
    if (number < moment) return undefined
    reach("hangs")
    return opened
  }
  return { reached, hang, open: () => open() }
}

const some: ScriptedCall = { effects: "once", recover: undefined, answer: "value", value: "done", before: 0, after: 1 }

/** Three iterations with a call of each kind. */
const PLAIN: Script = {
  driver: "chat",
  batches: [
    [{ ...some, effects: "none" }, { ...some, effects: "idempotent" }, some],
    [{ ...some, recover: "finds" }, some],
  ],
  modelFails: false,
  streams: false,
  syncs: false,
  deliverAt: [],
  toolConcurrency: 3,
  snapshotEveryRecords: 0,
  compactAboveChars: 0,
  writeTicks: 10,
  tear: 0.5,
}

describe("the counts see", () => {
  async function countsWith(fault?: Fault): Promise<Counts> {
    const counts = newCounts()
    await crashEverywhere(PLAIN, counts, { ...(fault !== undefined && { fault }) })
    return counts
  }

  test("nothing wrong with the journal as it is", async () => {
    expect(await countsWith()).toMatchObject(NONE_WRONG)
  })

  test("answers that are persisted only after they were acted on", async () => {
    expect((await countsWith("answers_persisted_late")).actedEarly).toBeGreaterThan(0)
  })

  test("starts of once calls that are not persisted", async () => {
    expect((await countsWith("starts_not_persisted")).beyondPromise).toBeGreaterThan(0)
  })

  test("a journal that is not folded before the turn continues", async () => {
    const { askedAgain, ranAgain } = await countsWith("journal_not_folded")
    expect([askedAgain > 0, ranAgain > 0]).toEqual([true, true])
  })
})

afterAll(() => {
  const { moments, unknown, crashes, ...wrong } = total
  console.info(`${crashes} crashes in ${scripts} scripts; ${unknown} once calls of unknown outcome; wrong: ${JSON.stringify(wrong)}`)
  console.info([...moments].map(([kind, number]) => `${String(number).padStart(8)}  ${kind}`).join("\n"))
})
