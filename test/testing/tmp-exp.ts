import { exploreTurn } from "/work/wt/h-models/src/testing/explore-turn.ts"
import { EXPLORED } from "/work/wt/h-models/test/testing/explored-drivers.ts"

const lane = process.argv[2] as "fast" | "full"
for (const { name, options, bounds } of EXPLORED) {
  if (process.argv[3] && !name.includes(process.argv[3])) continue
  const t = performance.now()
  try {
    const e = exploreTurn({ ...options, bounds: bounds[lane] })
    console.log(
      name,
      e.states,
      e.transitions,
      ((performance.now() - t) / 1000).toFixed(2),
      JSON.stringify(e.cutOff.map((c) => c.bound)),
      Object.keys(e.outcomes).join(", "),
    )
  } catch (error) {
    console.log(name, "FAILED", (error as Error).message.slice(0, 3000))
  }
}
