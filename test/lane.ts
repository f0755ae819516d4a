/** The lane of this run, see vitest.config.ts. `--mode node` runs what depends on the version of Node as the fast lane does. */
export const LANE: "fast" | "full" | "deep" = laneOf(process.env["TEST_LANE"])

/** The value for the lane of this run. */
export function inLane<Value>(values: { readonly fast: Value; readonly full: Value; readonly deep: Value }): Value {
  return values[LANE]
}

/** The limit in milliseconds of a test that starts many processes. It only ends what hangs. */
export const LIMIT_MS: number = inLane({ fast: 900_000, full: 900_000, deep: 7_200_000 })

function laneOf(name: string | undefined): "fast" | "full" | "deep" {
  return name === "fast" || name === "deep" ? name : "full"
}
