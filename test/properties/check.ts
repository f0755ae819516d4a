import * as fc from "fast-check"

/** How many times as long as usual the properties are tried. */
export const FACTOR = Number(process.env["FC_RUNS_FACTOR"] ?? "1")
const SEED = process.env["FC_SEED"]
const PATH = process.env["FC_PATH"]

/**
 * Checks a property over `runs` random cases, times `FC_RUNS_FACTOR`. A failure prints fast-check's seed, path and shrunk
 * case; `FC_SEED` and `FC_PATH` run that case again.
 */
export function check<Values>(runs: number, property: fc.IProperty<Values>): void {
  fc.assert(property, parameters(runs, FACTOR))
}

/** The same for a property that waits. Each of its cases being many, `mostFactor` limits `FC_RUNS_FACTOR`. */
export async function checkAsync<Values>(runs: number, property: fc.IAsyncProperty<Values>, mostFactor: number): Promise<void> {
  await fc.assert(property, parameters(runs, Math.min(FACTOR, mostFactor)))
}

function parameters<Values>(runs: number, factor: number): fc.Parameters<Values> {
  return {
    numRuns: Math.ceil(runs * factor),
    ...(SEED !== undefined && { seed: Number(SEED) }),
    ...(PATH !== undefined && { path: PATH }),
  }
}

/** For tests of properties: they take as long as their runs take, and longer where others use the machine. */
export const SLOW = { timeout: 120_000 * FACTOR }
