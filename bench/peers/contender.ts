/**
 * Runs one contender in this process: `node contender.ts FILE EXPORT fresh|steady|heap|saved|deltas|crash STEPS`. Prints one line of JSON.
 * `fresh`: the first turn of the process, and what the process takes more after it. `steady`: the best and the median of many turns, after others. `heap`: what a turn allocates.
 * `saved`: the bytes that a host saves, and the time to make and to restore them. `deltas`: the time of a piece of streamed text. `crash`:
 * which tools ran in a batch of three that was killed after two.
 */
import { type Contender, type Crash, PIECE, type Saved, type Streamer, Work } from "./script.ts"

const [file = "", name = "", mode = "", count = "0"] = process.argv.slice(2)
const steps = Number(count)
const beforeImport = performance.now()
const { [name]: exported } = (await import(`./contenders/${file}.ts`)) as { readonly [name: string]: unknown }
const importMs = performance.now() - beforeImport
if (exported === undefined) throw new Error(`contenders/${file}.ts exports no ${name}.`)

async function turn(): Promise<number> {
  const work = new Work(steps)
  const start = performance.now()
  await (exported as Contender)(work)
  const us = (performance.now() - start) * 1000
  if (work.modelCalls !== steps + 1 || work.toolCalls !== steps)
    throw new Error(`Not the same work: ${work.modelCalls} model calls, ${work.toolCalls} tool calls.`)
  return us / steps
}

if (mode === "fresh") {
  const before = process.memoryUsage.rss()
  const us = await turn()
  console.log(JSON.stringify({ importMs, us, mib: (process.memoryUsage.rss() - before) / 2 ** 20 }))
} else if (mode === "heap") {
  await turn()
  globalThis.gc?.()
  const before = process.memoryUsage().heapUsed
  await turn()
  console.log(JSON.stringify({ kb: (process.memoryUsage().heapUsed - before) / 1000 / steps }))
} else if (mode === "saved") {
  const save = (await (exported as (work: Work) => Promise<() => Saved>)(new Work(steps))) as () => Saved
  const saveUs = await best(save)
  const saved = save()
  console.log(JSON.stringify({ bytes: saved.bytes / steps, saveUs: saveUs / steps, restoreUs: (await best(() => saved.restore())) / steps }))
} else if (mode === "deltas") {
  let length = 0
  const stream = async (): Promise<number> => {
    length = 0
    const start = performance.now()
    await (exported as Streamer)(steps, (text) => {
      length += text.length
    })
    if (length !== steps * PIECE.length) throw new Error(`Not the same work: ${length} characters.`)
    return ((performance.now() - start) * 1000) / steps
  }
  const times: number[] = []
  while (times.length < 30) times.push(await stream())
  console.log(JSON.stringify({ first: times[0], best: Math.min(...times) }))
} else if (mode === "crash") {
  console.log(JSON.stringify({ ran: await (exported as Crash)() }))
} else {
  const times: number[] = []
  const end = performance.now() + 4_000
  while (times.length < 8 || performance.now() < end) times.push(await turn())
  const later = times.slice(Math.ceil(times.length / 4)).sort((left, right) => left - right)
  console.log(JSON.stringify({ best: later[0], median: later[Math.floor(later.length / 2)] }))
}

async function best(act: () => unknown): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  for (let round = 0; round < 60; round += 1) {
    const start = performance.now()
    await act()
    least = Math.min(least, performance.now() - start)
  }
  return least * 1000
}
