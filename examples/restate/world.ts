import type { Work } from "./agent.ts"

/** What is wrong with the work that was done, in sentences; empty if nothing is. `killed`: the processes that were killed. */
export function faultsOf(work: readonly Work[], killed: ReadonlySet<number>): readonly string[] {
  const faults: string[] = []
  const byKey = new Map<string, Work[]>()
  const last = new Map<string, number>()
  for (const one of work) {
    byKey.set(one.key, [...(byKey.get(one.key) ?? []), one])
    const [turn = "", effect = ""] = one.key.split(":")
    const effectId = Number(effect)
    // An effect follows from the answers to those before it. One that is done again after a later one was lost.
    if (effectId < (last.get(turn) ?? 0)) faults.push(`${one.key} (${one.what}) was done again after effect ${last.get(turn)} of the turn had begun.`)
    last.set(turn, Math.max(effectId, last.get(turn) ?? 0))
  }
  for (const [key, times] of byKey) {
    const [{ what } = { what: "" }] = times
    if (times.length > 1 && ONCE.has(what)) faults.push(`${key} (${what}) was done ${times.length} times, and must be done once.`)
    // Work is done again only where the process that did it was killed: it was in flight.
    for (const { pid } of times.slice(0, -1))
      if (!killed.has(pid)) faults.push(`${key} (${what}) was done again, although process ${pid} was not killed.`)
  }
  return faults
}

const ONCE: ReadonlySet<string> = new Set(["pay", "ring", "send"])

/** How often work was repeated. */
export function repeatsOf(work: readonly Work[]): number {
  return work.length - new Set(work.map(({ key }) => key)).size
}
