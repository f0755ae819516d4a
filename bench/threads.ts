/**
 * npx tsx bench/threads.ts [--turns 1000]
 *
 * Prints what threads of long turns store, in relation to what is said in them (also by a goal that continues), what a late turn costs beside
 * an early one, and what it costs to open one, beside `JSON.parse` of the same lines. Costs are CPU times, which depend less on what else
 * runs on the machine.
 */
import { parseArgs } from "node:util"
import { memoryJournalStore } from "../src/hosts/journal/memory.ts"
import { textOf } from "../src/hosts/journal/parts.ts"
import { Thread, type ThreadOptions } from "../src/hosts/thread/index.ts"
import { LONG_THREAD, longHost, playTurns, saidChars, storedChars } from "../test/support/long-thread.ts"
import { median } from "./rounds.ts"

const { values } = parseArgs({ options: { turns: { type: "string", default: "1000" } } })
const TURNS = Number(values.turns)

const KINDS: Readonly<Record<string, { readonly options: ThreadOptions; readonly calls?: true; readonly goal?: true }>> = {
  "user and answer": { options: { ...LONG_THREAD, goals: false } },
  "with a tool call": { options: { ...LONG_THREAD, goals: false }, calls: true },
  "a goal that continues": { options: { ...LONG_THREAD, policy: { maxIdleContinuations: 0, maxContinuations: TURNS - 1 } }, goal: true },
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

for (const [kind, { options, calls = false, goal = false }] of Object.entries(KINDS)) {
  for (const retain of ["journals", "log"] as const) {
    const store = memoryJournalStore()
    const thread = await Thread.open(store, "t", { ...options, retain })
    if (goal) await thread.command({ type: "set", objective: "Talk about foxes." })
    const host = longHost(calls)
    const begun: number[] = []
    const timed: typeof host = {
      ...host,
      llmCall(effect, context) {
        if (begun.length < thread.turns) begun.push(cpuMs())
        return host.llmCall(effect, context)
      },
    }
    // A goal continues until its limit after one message of the user.
    await playTurns(thread, timed, goal ? 1 : TURNS, calls)
    if (thread.turns !== TURNS) throw new Error(`The thread had ${thread.turns} turns.`)
    const said = saidChars(thread.history)
    await thread.close()
    const times = begun.slice(1).map((at, index) => at - (begun[index] as number))
    const around = (number: number): string => median(times.slice(Math.max(0, number - 25), number + 25)).toFixed(2)
    const stored = await storedChars(store, "t.")
    console.log(`${kind}, retain: "${retain}": ${said} characters said, ${stored} stored: ${(stored / said).toFixed(2)} times.`)
    console.log(`  a turn near 50 takes ${around(50)} ms, near ${TURNS} ${around(TURNS)} ms`)
    const text = await textOf(await store.read("t.thread"))
    const [opened, parsed]: [number[], number[]] = [[], []]
    for (let round = 0; round < 25; round += 1) {
      const start = cpuMs()
      const again = await Thread.open(store, "t", { ...options, retain })
      opened.push(cpuMs() - start)
      await again.close()
      const lines = text.trimEnd().split("\n")
      const parse = cpuMs()
      for (const line of lines) JSON.parse(line)
      parsed.push(cpuMs() - parse)
    }
    const ratio = (median(opened) / median(parsed)).toFixed(1)
    console.log(
      `  opened in ${median(opened).toFixed(1)} ms; JSON.parse of the log ${median(parsed).toFixed(1)} ms (${text.length} characters): ${ratio} times`,
    )
  }
}
