/**
 * Explores small turns of every driver of this package, and the model of threads in several processes, as the full lane does, and prints the
 * table of docs/performance.md: npx tsx bench/exhaustive.ts. Seconds are those of the processor.
 */
import { exploreTurn } from "../src/testing/explore-turn.ts"
import { exploreModel } from "../test/models/explore-model.ts"
import { MODELS } from "../test/models/models.ts"
import { ThreadModel } from "../test/models/thread-model.ts"
import { EXPLORED } from "../test/testing/explored-drivers.ts"

interface Counts {
  readonly states: number
  readonly transitions: number
}

function measure(name: string, explore: () => Counts): void {
  const before = process.cpuUsage()
  const { states, transitions } = explore()
  const { user } = process.cpuUsage(before)
  console.log(`| ${name} | ${states.toLocaleString("en-US")} | ${transitions.toLocaleString("en-US")} | ${(user / 1e6).toFixed(1)} |`)
}

console.log("| turns | states | transitions | s |\n| --- | --- | --- | --- |")
for (const { name, options, bounds } of EXPLORED) measure(name, () => exploreTurn({ ...options, bounds: bounds.full }))
console.log("\n| threads | states | transitions | s |\n| --- | --- | --- | --- |")
for (const { name, options } of MODELS) measure(name, () => exploreModel(new ThreadModel(options)))
