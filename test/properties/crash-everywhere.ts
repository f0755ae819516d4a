import { expect } from "vitest"
import { type Ended, type Fault, type Memory, NOTHING, noViolations, type ProcessOptions, type Script, type Violations } from "./crash-process.ts"
import { World } from "./crash-world.ts"

/** The results of all crashes. */
export interface Counts extends Violations {
  /** Processes that were resumed after a crash. */
  crashes: number
  /** Resumed processes that ended differently from the run without a crash. */
  differs: number
  /** Resumed processes that did not emit everything, or emitted it in another order. */
  notEmitted: number
  /** `once` calls that ended with an unknown outcome. */
  unknown: number
  /** The moments that each crash represents. */
  readonly moments: Map<string, number>
}

export const newCounts = (): Counts => ({ ...noViolations(), crashes: 0, differs: 0, notEmitted: 0, unknown: 0, moments: new Map() })

export interface CrashOptions {
  readonly fault?: Fault
  /** The moment at which the first process cancels its turn; then only crashes after the cancellation was persisted are judged. */
  readonly cancelAt?: number
}

/** Runs a script without a crash, then resumes it from every moment of that run, and each resumed run from one of its own moments. */
export async function crashEverywhere(scripted: Script, counts: Counts, { fault, cancelAt }: CrashOptions = {}): Promise<void> {
  const run = (memory: Memory, more: Partial<ProcessOptions> = {}): Promise<Ended> =>
    new World(scripted, memory).process({ fault, violations: counts, ...more })
  const whole = await run(NOTHING, { ...(cancelAt !== undefined && { cancelAt }) })
  expect(whole.memory.emitted[0]?.flatMap((delta): unknown[] => JSON.parse(delta))).toEqual(
    (JSON.parse(whole.end) as { readonly events: unknown }).events,
  )
  const resume = async (memory: Memory): Promise<Ended | undefined> => {
    counts.crashes += 1
    try {
      const ended = await run(memory)
      if (cancelAt !== undefined && !CANCELLATION.test(memory.text)) return undefined
      if (!sameEnd(scripted, whole, ended, counts)) counts.differs += 1
      if (!allEmitted(whole.memory.emitted[0] ?? [], ended.memory.emitted)) counts.notEmitted += 1
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

export function add(to: Counts, from: Counts): void {
  for (const key of ["askedAgain", "ranAgain", "actedEarly", "beyondPromise", "crashes", "differs", "notEmitted", "unknown"] as const)
    to[key] += from[key]
  for (const [kind, more] of from.moments) count(to.moments, kind, more)
}

interface Crash {
  readonly memory: Memory
  readonly kinds: readonly string[]
}

/** Moments between which the world did not change are one crash. */
function distinct({ moments }: Ended): readonly Crash[] {
  const crashes: { readonly memory: Memory; readonly kinds: string[] }[] = []
  for (const { kind, memory } of moments) {
    const last = crashes.at(-1)
    const same = last?.memory.text === memory.text && last.memory.performed === memory.performed && last.memory.emitted === memory.emitted
    if (same) last.kinds.push(kind)
    else crashes.push({ memory, kinds: [kind] })
  }
  return crashes
}

const CUT_OFF = "The call was cut off by a crash"

/** A `once` call without a recover function may end as unknown; nothing else may differ. */
export function sameEnd(scripted: Script, whole: Ended, ended: Ended, counts: Counts): boolean {
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
  return [...keys].every((key) => (unknown && (key === "text" || key === "isError")) || alike(left[key], right[key]))
}

/** Whether each process emitted from a position already emitted, without gaps. */
function allEmitted(whole: readonly string[], emitted: Memory["emitted"]): boolean {
  const fits = (at: number, delta: string): boolean =>
    whole[at] === delta || (whole[at] !== undefined && alike(JSON.parse(whole[at]), JSON.parse(delta)))
  let covered = 0
  for (const list of emitted) {
    if (list.length === 0) continue
    let begin = covered
    while (begin >= 0 && !list.every((delta, index) => fits(begin + index, delta))) begin -= 1
    if (begin < 0) return false
    covered = Math.max(covered, begin + list.length)
  }
  return covered === whole.length
}
