/** The fastest and the median round of a contender in microseconds per unit, and the median ratio to the baseline of the same round. */
export interface Figure {
  readonly bestUs: number
  readonly medianUs: number
  readonly ratio: number
}

/**
 * Runs the contenders alternately for several rounds and compares each with the first, the baseline. `units` is the number
 * of units in one run: the iterations of a turn, or 1.
 */
export function measureRounds<Name extends string>(
  rounds: number,
  units: number,
  contenders: { readonly [Key in Name]: () => unknown },
): { readonly [Key in Name]: Figure } {
  const names = Object.keys(contenders) as Name[]
  const times = new Map<Name, number[]>(names.map((name) => [name, []]))
  const warmUps = Math.max(2, Math.ceil(rounds / 5))
  for (let round = -warmUps; round < rounds; round += 1) {
    for (const name of names) {
      const start = performance.now()
      sink = contenders[name]()
      const took = ((performance.now() - start) * 1000) / units
      if (round >= 0) times.get(name)?.push(took)
    }
  }
  const floor = times.get(names[0] as Name) ?? []
  const figure = (name: Name): Figure => {
    const own = times.get(name) ?? []
    return { bestUs: Math.min(...own), medianUs: median(own), ratio: median(own.map((took, round) => took / (floor[round] ?? Number.NaN))) }
  }
  return Object.fromEntries(names.map((name) => [name, figure(name)])) as { [Key in Name]: Figure }
}

/** Uses the results, so that the engine does not eliminate the work. */
export let sink: unknown

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
