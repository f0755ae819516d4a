/**
 * Runs one contender in this process: `node contender.ts FILE EXPORT fresh|steady|heap STEPS`. Prints one line of JSON.
 * `fresh`: the first turn of the process. `steady`: the best and the median of many turns, after others. `heap`: what a turn allocates.
 */
import { type Contender, Work } from "./script.ts"

const [file = "", name = "", mode = "", count = "0"] = process.argv.slice(2)
const steps = Number(count)
const beforeImport = performance.now()
const { [name]: contender } = (await import(`./contenders/${file}.ts`)) as { readonly [name: string]: Contender }
const importMs = performance.now() - beforeImport
if (contender === undefined) throw new Error(`contenders/${file}.ts exports no ${name}.`)

async function turn(): Promise<number> {
  const work = new Work(steps)
  const start = performance.now()
  await (contender as Contender)(work)
  const us = (performance.now() - start) * 1000
  if (work.modelCalls !== steps + 1 || work.toolCalls !== steps)
    throw new Error(`Not the same work: ${work.modelCalls} model calls, ${work.toolCalls} tool calls.`)
  return us / steps
}

if (mode === "fresh") console.log(JSON.stringify({ importMs, us: await turn() }))
else if (mode === "heap") {
  await turn()
  globalThis.gc?.()
  const before = process.memoryUsage().heapUsed
  await turn()
  console.log(JSON.stringify({ kb: (process.memoryUsage().heapUsed - before) / 1000 / steps }))
} else {
  const times: number[] = []
  const end = performance.now() + 4_000
  while (times.length < 8 || performance.now() < end) times.push(await turn())
  const later = times.slice(Math.ceil(times.length / 4)).sort((left, right) => left - right)
  console.log(JSON.stringify({ best: later[0], median: later[Math.floor(later.length / 2)] }))
}
