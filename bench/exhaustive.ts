/**
 * Explores small turns of every driver of this package, the checklist judge, and the model of threads in several processes, as the full lane does,
 * and prints the tables of docs/performance.md: npx tsx bench/exhaustive.ts [NAME]. With a name, only what begins with it. Seconds are those of
 * the processor.
 */
import { exploreTurn } from "../src/testing/explore-turn.ts"
import { explore } from "../test/models/explore.ts"
import { exploreModel } from "../test/models/explore-model.ts"
import { LeaseModel } from "../test/models/lease-model.ts"
import { LEASE_MODELS, MODELS } from "../test/models/models.ts"
import { ThreadModel } from "../test/models/thread-model.ts"
import { EXPLORED } from "../test/testing/explored-drivers.ts"
import { exploreJudge, JUDGES } from "../test/testing/explored-judge.ts"

const [, , only = ""] = process.argv

interface Counts {
  readonly states: number
  readonly transitions: number
}

function measure(name: string, explore: () => Counts): void {
  if (!name.startsWith(only)) return
  const before = process.cpuUsage()
  const { states, transitions } = explore()
  const { user } = process.cpuUsage(before)
  console.log(`| ${name} | ${states.toLocaleString("en-US")} | ${transitions.toLocaleString("en-US")} | ${(user / 1e6).toFixed(1)} |`)
}

console.log("| turns | states | transitions | s |\n| --- | --- | --- | --- |")
for (const { name, options, bounds } of EXPLORED) measure(name, () => exploreTurn({ ...options, bounds: bounds.full }))
for (const judge of JUDGES) measure(judge.name, () => exploreJudge(judge))
console.log("\n| threads and subagents | states | transitions | s |\n| --- | --- | --- | --- |")
for (const { name, options } of MODELS) measure(name, () => exploreModel(new ThreadModel(options)))
for (const { name, options } of LEASE_MODELS) measure(name, () => explore(new LeaseModel(options)))
