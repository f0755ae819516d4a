import * as fc from "fast-check"
import { afterAll, describe, expect, test } from "vitest"
import { JournalStoreError } from "../../src/hosts/journal-store.ts"
import * as arbitrary from "../../src/testing/arbitraries.ts"
import { checkAsync, SLOW } from "./check.ts"
import {
  type Ended,
  type Fault,
  type Memory,
  NOTHING,
  noViolations,
  type ProcessOptions,
  type Script,
  type ScriptedCall,
  type Violations,
} from "./crash-process.ts"
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
  // An attachment is a part of its own in the transcript, which a call of unknown outcome has not.
  .map((scripted) =>
    scripted.effects === "once" && JSON.stringify(scripted.value).includes("$attachment") ? { ...scripted, value: "seen" } : scripted,
  )

/** A look at the world that ends the turn with its value. */
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
  keepTicks: fc.constantFrom(0, 2, 30),
  tear: fc.double({ min: 0, max: 1, noNaN: true }),
})

/** What came of all crashes. */
interface Counts extends Violations {
  /** Processes that were taken up after a crash. */
  crashes: number
  /** Those that did not end as the one without a crash. */
  differs: number
  /** Those that left out something that is to be told, or told it in another order. */
  untold: number
  /** `once` calls that ended as of unknown outcome. */
  unknown: number
  /** The moments that the crashes stand for. */
  readonly moments: Map<string, number>
}

const newCounts = (): Counts => ({ ...noViolations(), crashes: 0, differs: 0, untold: 0, unknown: 0, moments: new Map() })

interface CrashOptions {
  readonly fault?: Fault
  /** The moment at which the first process cancels its turn; then only crashes after the cancellation was kept are judged. */
  readonly cancelAt?: number
}

/** Runs a script without a crash, and from every moment of that run; and from each such run once more from one of its moments. */
async function crashEverywhere(scripted: Script, counts: Counts, { fault, cancelAt }: CrashOptions = {}): Promise<void> {
  const run = (memory: Memory, more: Partial<ProcessOptions> = {}): Promise<Ended> =>
    new World(scripted, memory).process({ fault, violations: counts, ...more })
  const whole = await run(NOTHING, { ...(cancelAt !== undefined && { cancelAt }) })
  expect(whole.memory.told[0]?.flatMap((delta): unknown[] => JSON.parse(delta))).toEqual(
    (JSON.parse(whole.end) as { readonly events: unknown }).events,
  )
  const resume = async (memory: Memory): Promise<Ended | undefined> => {
    counts.crashes += 1
    try {
      const ended = await run(memory)
      if (cancelAt !== undefined && !CANCELLATION.test(memory.text)) return undefined
      if (!sameEnd(scripted, whole, ended, counts)) counts.differs += 1
      if (!allTold(whole.memory.told[0] ?? [], ended.memory.told)) counts.untold += 1
      return ended
    } catch {
      counts.differs += 1
      return undefined
    }
  }
  let place = Math.floor(scripted.tear * 1_000)
  for (const { memory, kinds } of distinct(whole)) {
    for (const kind of kinds) count(counts.moments, kind)
    const resumed = await resume(memory)
    if (resumed === undefined) continue
    const later = distinct(resumed)
    place += 7
    const second = later[place % Math.max(1, later.length)]
    if (second === undefined) continue
    for (const kind of second.kinds) count(counts.moments, `in a resumed process, ${kind}`)
    await resume(second.memory)
  }
}

const CANCELLATION = /,\{"type":"interruption".*\n/

function count(counts: Map<string, number>, kind: string, more = 1): void {
  counts.set(kind, (counts.get(kind) ?? 0) + more)
}

function add(to: Counts, from: Counts): void {
  for (const key of ["askedAgain", "ranAgain", "actedEarly", "beyondPromise", "crashes", "differs", "untold", "unknown"] as const)
    to[key] += from[key]
  for (const [kind, more] of from.moments) count(to.moments, kind, more)
}

interface Crash {
  readonly memory: Memory
  readonly kinds: readonly string[]
}

/** Moments between which nothing happened in the world are one crash. */
function distinct({ moments }: Ended): readonly Crash[] {
  const crashes: { readonly memory: Memory; readonly kinds: string[] }[] = []
  for (const { kind, memory } of moments) {
    const last = crashes.at(-1)
    const same = last?.memory.text === memory.text && last.memory.performed === memory.performed && last.memory.told === memory.told
    if (same) last.kinds.push(kind)
    else crashes.push({ memory, kinds: [kind] })
  }
  return crashes
}

const CUT_OFF = "The call was cut off by a crash"

/** A `once` call that nobody can look up may end as unknown; nothing else may differ. */
function sameEnd(scripted: Script, whole: Ended, ended: Ended, counts: Counts): boolean {
  const { unknown, begun, performed } = ended.memory
  counts.unknown += unknown.size
  for (const key of unknown) if (!begun.has(key)) return false
  for (const done of new Set(whole.memory.performed)) {
    const times = performed.filter((other) => other === done).length
    const [what, key = ""] = done.split(" ")
    if (times === 0 && !unknown.has(key)) return false
    if (what === "once" && times > 1) return false
  }
  if (new Set(performed).size > new Set(whole.memory.performed).size) return false
  const lookedUp = scripted.batches.flat().some(({ effects, recover }) => effects === "once" && recover !== "finds")
  if (unknown.size === 0 || !lookedUp) return ended.end === whole.end && unknown.size === 0
  return alike(JSON.parse(whole.end), JSON.parse(ended.end))
}

function alike(one: unknown, other: unknown): boolean {
  if (typeof one !== "object" || one === null || typeof other !== "object" || other === null) return one === other
  const [left, right] = [one as Readonly<Record<string, unknown>>, other as Readonly<Record<string, unknown>>]
  const unknown = right["type"] === "tool_result" && String(right["text"]).includes(CUT_OFF)
  const keys = new Set([...Object.keys(left), ...Object.keys(right)])
  return [...keys].every((key) => (unknown && key === "text") || alike(left[key], right[key]))
}

/** Each process tells on from somewhere that was told, and nothing is left out. */
function allTold(whole: readonly string[], told: Memory["told"]): boolean {
  const fits = (at: number, delta: string): boolean =>
    whole[at] === delta || (whole[at] !== undefined && alike(JSON.parse(whole[at]), JSON.parse(delta)))
  let covered = 0
  for (const list of told) {
    if (list.length === 0) continue
    let begin = covered
    while (begin >= 0 && !list.every((delta, index) => fits(begin + index, delta))) begin -= 1
    if (begin < 0) return false
    covered = Math.max(covered, begin + list.length)
  }
  return covered === whole.length
}

const NONE_WRONG = { askedAgain: 0, ranAgain: 0, actedEarly: 0, beyondPromise: 0, differs: 0, untold: 0 }

const total = newCounts()
let scripts = 0

/** Counts for all, and holds one script to the promise. */
function judge(counts: Counts): void {
  scripts += 1
  add(total, counts)
  const { crashes: _crashes, unknown: _unknown, moments: _moments, ...wrong } = counts
  expect(wrong).toEqual(NONE_WRONG)
}

const SCRIPTS = 85

test("a turn that crashes at any moment, and at a second one, ends as if it had not, and does nothing twice beyond the promise", SLOW, async () => {
  const property = fc.asyncProperty(script, async (scripted) => {
    const counts = newCounts()
    await crashEverywhere(scripted, counts)
    judge(counts)
  })
  await checkAsync(SCRIPTS, property, MOST_FACTOR)
  expect(total.crashes).toBeGreaterThan(50 * scripts)
  expect(total.unknown).toBeGreaterThan(0)
})

/** Of the deep run: a hundred times as many scripts would take an hour. */
const MOST_FACTOR = 10

test("a turn that crashes after its cancellation was kept is cancelled, and all is told", SLOW, async () => {
  const property = fc.asyncProperty(script, fc.nat({ max: 60 }), async (scripted, cancelAt) => {
    const counts = newCounts()
    await crashEverywhere(scripted, counts, { cancelAt })
    judge(counts)
  })
  await checkAsync(10, property, MOST_FACTOR)
})

test("a process that was taken over and lives on changes nothing, and makes no once call happen twice", SLOW, async () => {
  const property = fc.asyncProperty(script, fc.nat(), async (scripted, place) => {
    const violations = noViolations()
    const whole = await new World(scripted, NOTHING).process({ violations })
    const atMoment = place % whole.moments.length

    const world = new World(scripted, NOTHING)
    let wake = (): void => {}
    const awake = new Promise<void>((resolve) => {
      wake = resolve
    })
    const hanging = new Promise<"hangs">((resolve) => {
      const hang = (moment: number): Promise<void> | undefined => {
        if (moment < atMoment) return undefined
        resolve("hangs")
        return awake
      }
      first = world.process({ violations: noViolations(), hang }).then(
        () => "ended",
        (error: unknown) => (error instanceof JournalStoreError ? error.code : String(error)),
      )
    })
    var first: Promise<string> = Promise.resolve("")
    if ((await Promise.race([hanging, first])) !== "hangs") return
    const second = await world.process({ violations: noViolations(), hang: () => undefined })
    const { text } = world.memory
    wake()
    expect(["fenced", "ended"]).toContain(await first)
    expect(world.memory.text).toBe(text)
    expect(sameEnd(scripted, whole, second, newCounts())).toBe(true)
    const once = world.memory.performed.filter((done) => done.startsWith("once "))
    expect(new Set(once).size).toBe(once.length)
  })
  await checkAsync(200, property, MOST_FACTOR)
})

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
  keepTicks: 10,
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

  test("answers that are kept only after they were acted on", async () => {
    expect((await countsWith("answers_kept_late")).actedEarly).toBeGreaterThan(0)
  })

  test("beginnings of once calls that are not kept", async () => {
    expect((await countsWith("beginnings_not_kept")).beyondPromise).toBeGreaterThan(0)
  })

  test("a journal that is not folded before the turn goes on", async () => {
    const { askedAgain, ranAgain } = await countsWith("journal_not_folded")
    expect([askedAgain > 0, ranAgain > 0]).toEqual([true, true])
  })
})

afterAll(() => {
  const { moments, unknown, crashes, ...wrong } = total
  console.info(`${crashes} crashes in ${scripts} scripts; ${unknown} once calls of unknown outcome; wrong: ${JSON.stringify(wrong)}`)
  console.info([...moments].map(([kind, number]) => `${String(number).padStart(8)}  ${kind}`).join("\n"))
})
