/**
 * npx tsx bench/threads.ts [--turns 1000]
 *
 * Prints what threads of long turns store, in relation to what is said in them, how long one takes to open, beside `JSON.parse` of the same
 * lines, and what a late turn costs beside an early one.
 */
import { parseArgs } from "node:util"
import { memoryJournalStore } from "../src/hosts/journal/memory.ts"
import { textOf } from "../src/hosts/journal/parts.ts"
import { Thread, type ThreadOptions } from "../src/hosts/thread/index.ts"
import { LONG_THREAD, longHost, playTurns, storedChars } from "../test/support/long-thread.ts"
import { median } from "./rounds.ts"

const { values } = parseArgs({ options: { turns: { type: "string", default: "1000" } } })
const TURNS = Number(values.turns)

const KINDS: Readonly<Record<string, { readonly options: ThreadOptions; readonly calls?: true; readonly goal?: true }>> = {
  "user and answer": { options: LONG_THREAD },
  "with a tool call": { options: LONG_THREAD, calls: true },
  "with a goal": { options: { ...LONG_THREAD, policy: { maxIdleContinuations: 0 } }, goal: true },
}

for (const [kind, { options, calls = false, goal = false }] of Object.entries(KINDS)) {
  for (const retain of ["journals", "log"] as const) {
    const store = memoryJournalStore()
    const thread = await Thread.open(store, "t", { ...options, retain })
    if (goal) await thread.command({ type: "set", objective: "Talk about foxes." })
    const host = longHost(calls)
    const times: number[] = []
    let said = 0
    for (let turn = 0; turn < TURNS; turn += 1) {
      const start = performance.now()
      said += await playTurns(thread, host, 1, calls)
      times.push(performance.now() - start)
    }
    await thread.close()
    const around = (number: number): string => median(times.slice(Math.max(0, number - 25), number + 25)).toFixed(2)
    const stored = await storedChars(store, "t.")
    console.log(`${kind}, retain: "${retain}": ${said} characters said, ${stored} stored: ${(stored / said).toFixed(2)} times.`)
    console.log(`  a turn near 50 takes ${around(50)} ms, near ${TURNS} ${around(TURNS)} ms`)
    const text = await textOf(await store.read("t.thread"))
    const [opened, parsed]: [number[], number[]] = [[], []]
    for (let round = 0; round < 15; round += 1) {
      const start = performance.now()
      const again = await Thread.open(store, "t", { ...options, retain })
      opened.push(performance.now() - start)
      await again.close()
      const lines = text.trimEnd().split("\n")
      const parse = performance.now()
      for (const line of lines) JSON.parse(line)
      parsed.push(performance.now() - parse)
    }
    console.log(`  opened in ${median(opened).toFixed(1)} ms; JSON.parse of the log ${median(parsed).toFixed(1)} ms (${text.length} characters)`)
  }
}
