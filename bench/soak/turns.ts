import { setImmediate } from "node:timers/promises"
import * as fc from "fast-check"
import { checkCut } from "../../src/testing/cut-law.ts"
import { checkEffects } from "../../src/testing/effect-laws.ts"
import { expectTurn } from "../../src/testing/expect-turn.ts"
import { checkReplay, checkToolOrder } from "../../src/testing/run-laws.ts"
import { traceTurn } from "../../src/testing/turn-trace.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { type RandomTurn, randomTurn } from "../../test/support/random-turn.ts"
import { heapBytes, heapFault, type Sample, slopeOf } from "./growth.ts"
import { Progress, type Say } from "./progress.ts"

export interface TurnsOptions {
  readonly turns: number
  /** Of each turn, the first is drawn from this seed, and the next from the one after it. */
  readonly seed: number
  /** Every which turn gets all laws, with refused inputs and cuts before every step. The others get the laws that cost little. */
  readonly allLawsEvery: number
  /** Bytes by which the heap may grow for each turn. */
  readonly mostHeapBytes: number
  readonly say: Say
  /** Checks a turn. Default: the laws of turns. */
  readonly check?: (turn: RandomTurn, number: number) => void
  /** Stops the run before its next turn. */
  readonly signal?: AbortSignal
}

export interface TurnsFigures {
  readonly part: "turns"
  readonly turns: number
  /** Turns with all laws. */
  readonly allLaws: number
  readonly inputs: number
  readonly seconds: number
  readonly heapBytesPerTurn: number
  readonly heapMebibytes: readonly [first: number, last: number]
  readonly faults: readonly string[]
}

/**
 * Checks the laws on random turns, and that the heap stays flat. The first turn that breaks a law ends the run; its fault names the
 * seed, which `--seed` runs alone with `--turns 1`.
 */
export async function soakTurns({ turns, seed, allLawsEvery, mostHeapBytes, say, check, signal }: TurnsOptions): Promise<TurnsFigures> {
  const progress = new Progress("turns", turns, say)
  const samples: Sample[] = []
  const faults: string[] = []
  const sampleEvery = Math.max(1, Math.ceil(turns / SAMPLES))
  let [done, inputs, allLaws] = [0, 0, 0]
  while (done < turns && faults.length === 0 && signal?.aborted !== true) {
    const [turn] = fc.sample(randomTurn, { seed: seed + done, numRuns: 1 }) as [RandomTurn]
    const hasAllLaws = done % allLawsEvery === 0
    try {
      if (check !== undefined) check(turn, done)
      else if (hasAllLaws) expectTurn(turn.config, turn.start, turn.inputs)
      else checkCheapLaws(turn, seed + done)
    } catch (error) {
      faults.push(`The turn of seed ${seed + done} breaks a law. ${error instanceof Error ? error.message : String(error)}`)
    }
    inputs += turn.inputs.length
    if (hasAllLaws) allLaws += 1
    done += 1
    if (done % sampleEvery === 0) samples.push({ work: done, heapBytes: heapBytes() })
    progress.at(done)
    // A signal of the user is received between two turns.
    await setImmediate()
  }
  // A few turns, such as that of one seed, say nothing about the heap.
  const fault = turns < FEW || signal?.aborted === true ? undefined : heapFault(samples, mostHeapBytes)
  if (fault !== undefined) faults.push(fault)
  const mebibytes = (sample: Sample | undefined): number => (sample?.heapBytes ?? Number.NaN) / 2 ** 20
  return {
    part: "turns",
    turns: done,
    allLaws,
    inputs,
    seconds: progress.seconds,
    heapBytesPerTurn: slopeOf(samples, "heapBytes"),
    heapMebibytes: [mebibytes(samples[0]), mebibytes(samples.at(-1))],
    faults,
  }
}

const SAMPLES = 50

/** Fewer turns are not judged by the heap. */
const FEW = 10

/** Laws 1, 2 at one place, 5 to 8, and that no value changes: about a third of the cost of all. */
function checkCheapLaws({ config, start, inputs }: RandomTurn, number: number): void {
  const subject = { machine: TurnMachine, config, start }
  const trace = traceTurn(subject, inputs, 20_000)
  checkEffects(subject, trace)
  checkReplay(subject, trace)
  checkToolOrder(subject, trace)
  checkCut(subject, trace, number % (trace.steps.length + 1))
}
