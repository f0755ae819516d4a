import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

/** What a run holds after an amount of work. */
export interface Sample {
  /** How much was done: turns, records, or hours. */
  readonly work: number
  /** The heap after a full collection, in bytes. */
  readonly heapBytes: number
  /** What the store has, in bytes. */
  readonly storedBytes?: number
}

/** The heap of this process after a full collection, in bytes. */
export function heapBytes(): number {
  collect()
  return process.memoryUsage().heapUsed
}

/** Works without a flag of the command line, so that a test can measure, too. */
const collect: () => void = (() => {
  setFlagsFromString("--expose-gc")
  const gc: () => void = runInNewContext("gc")
  return () => {
    // What a finalizer released is collected by the second.
    gc()
    gc()
  }
})()

/**
 * How much a value grows for each unit of work: the median of the slopes between any two samples, so that a few odd samples do not
 * count. The first fifth is left out, in which caches fill and code is compiled. `NaN`: fewer than three samples are left.
 */
export function slopeOf(samples: readonly Sample[], value: "heapBytes" | "storedBytes"): number {
  const settled = samples.slice(Math.floor(samples.length / 5))
  if (settled.length < 3) return Number.NaN
  const slopes: number[] = []
  settled.forEach((from, index) => {
    for (const to of settled.slice(index + 1)) slopes.push(((to[value] ?? 0) - (from[value] ?? 0)) / (to.work - from.work))
  })
  slopes.sort((a, b) => a - b)
  return slopes[Math.floor(slopes.length / 2)] as number
}

/** What a byte of a store in memory takes there, with the array of parts around it. */
export const MEMORY_STORE_FACTOR = 1.3

/** Why the heap is not flat: it grows by more than `mostBytes` for each unit of work. `undefined`: it is flat. */
export function heapFault(samples: readonly Sample[], mostBytes: number): string | undefined {
  const slope = slopeOf(samples, "heapBytes")
  return slope <= mostBytes ? undefined : `The heap grows by ${slope.toFixed(1)} bytes for each unit of work; ${mostBytes} are allowed.`
}

/** Why a value does not grow by the same amount for each unit of work, early and late. `tolerance`: by what part late may cost more. */
export function linearFault(samples: readonly Sample[], value: "heapBytes" | "storedBytes", tolerance: number): string | undefined {
  const { early, late } = halves(samples, value)
  if (late <= early * (1 + tolerance)) return undefined
  const what = value === "heapBytes" ? "The heap" : "The store"
  return `${what} grows by ${late.toFixed(1)} bytes for each unit of work in the second half, and by ${early.toFixed(1)} in the first.`
}

/** The growth for each unit of work in both halves of a run, from its first, middle and last sample. */
export function halves(samples: readonly Sample[], value: "heapBytes" | "storedBytes"): { readonly early: number; readonly late: number } {
  const [first, middle, last] = [samples[0], samples[Math.floor((samples.length - 1) / 2)], samples.at(-1)]
  if (samples.length < 3 || first === undefined || middle === undefined || last === undefined) return { early: Number.NaN, late: Number.NaN }
  const growth = (from: Sample, to: Sample): number => ((to[value] ?? 0) - (from[value] ?? 0)) / (to.work - from.work)
  return { early: growth(first, middle), late: growth(middle, last) }
}
