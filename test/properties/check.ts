import * as fc from "fast-check"

/** How many cases a property tries, relative to the number it states: 0.1 in `npm test`, 1 in `test:full`, 100 in `test:deep`. */
export const FACTOR = Number(process.env["FC_RUNS_FACTOR"] ?? "1")
const PATH = process.env["FC_PATH"]

/**
 * Checks a property over `runs` random cases, multiplied by `FC_RUNS_FACTOR`. A failure prints fast-check's seed, path and shrunk
 * case; `FC_SEED` and `FC_PATH` run that case again.
 */
export function check<Values>(runs: number, property: fc.IProperty<Values>): void {
  fc.assert(property, parameters(runs, FACTOR))
}

/** Checks an asynchronous property. Each of its cases is expensive, so `mostFactor` limits `FC_RUNS_FACTOR`. */
export async function checkAsync<Values>(runs: number, property: fc.IAsyncProperty<Values>, mostFactor: number): Promise<void> {
  await fc.assert(property, parameters(runs, Math.min(FACTOR, mostFactor)))
}

function parameters<Values>(runs: number, factor: number): fc.Parameters<Values> {
  return {
    numRuns: Math.ceil(runs * factor),
    ...(PATH !== undefined && { path: PATH }),
  }
}

/** The time limit of a property test grows with its number of cases. It leaves room for a busy machine. */
export const SLOW = { timeout: 600_000 * Math.max(1, FACTOR) }
