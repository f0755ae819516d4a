import type { TurnMachine } from "../../machine/turn-machine.ts"

const RUNS = new WeakMap<TurnMachine, Set<() => void>>()

/**
 * Lets the running `runTurn` of a machine look at its turn again. Call it after handing the machine a decision, a result or a command from
 * outside the run; without it, the run notices that only when one of its executors ends. Does nothing if the machine is not running.
 */
export function wakeRun(machine: TurnMachine): void {
  for (const wake of RUNS.get(machine) ?? []) wake()
}

/** Calls `wake` for each {@link wakeRun} until the returned function is called. */
export function watchRun(machine: TurnMachine, wake: () => void): () => void {
  const runs = RUNS.get(machine) ?? new Set()
  const entry = (): void => wake()
  RUNS.set(machine, runs.add(entry))
  return () => {
    runs.delete(entry)
    if (runs.size === 0) RUNS.delete(machine)
  }
}
