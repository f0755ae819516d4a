import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { Message } from "../../wire/message.ts"

/** The messages of a redirection, or a function that returns them when it is carried out. */
export type RedirectMessages = readonly Message[] | (() => readonly Message[])

/** A redirection that a run has not carried out yet. */
export interface Redirection {
  readonly messages: RedirectMessages
  readonly settle: (isRedirected: boolean | Promise<never>) => void
}

interface Watch {
  readonly wake: () => void
  readonly redirections: Redirection[]
}

const RUNS = new WeakMap<TurnMachine, Set<Watch>>()

/**
 * Lets the running `runTurn` of a machine look at its turn again. Call it after handing the machine a decision, a result or a command from
 * outside the run; without it, the run notices that only when one of its executors ends. Does nothing if the machine is not running.
 */
export function wakeRun(machine: TurnMachine): void {
  for (const { wake } of RUNS.get(machine) ?? []) wake()
}

/**
 * Stops what the running `runTurn` of a machine does, and continues its turn with these messages. What the model said until then is stored,
 * and every open call of a batch gets a result: one that arrived in time, `outcome_unknown` for a `once` call that had begun, or a cancelled
 * one. A function is called when the run carries the redirection out; if it returns no messages, nothing is stopped.
 *
 * Resolves with true once the turn is redirected and that is recorded, and with false if the machine is not running, or its turn ends or
 * suspends before. Rejects if the messages cannot be used: the turn then continues as if it had not been redirected. Also rejects with an
 * error that ends the run while it carries the redirection out.
 *
 * Pass the messages of one user, with ids that the thread does not have yet: two redirections are two, even with the same messages.
 */
export function redirectRun(machine: TurnMachine, messages: RedirectMessages): Promise<boolean> {
  const [run] = RUNS.get(machine) ?? []
  if (run === undefined) return Promise.resolve(false)
  return new Promise((resolve) => {
    run.redirections.push({ messages, settle: resolve })
    run.wake()
  })
}

/** What a run receives from outside. */
export interface RunWatch {
  /** The next redirection to carry out, which is then no longer waiting. */
  nextRedirection(): Redirection | undefined
  readonly isRedirected: boolean
  /** Ends the watch. Redirections that were not carried out are answered with false. */
  end(): void
}

/** Calls `wake` for each {@link wakeRun} and {@link redirectRun} until the watch is ended. */
export function watchRun(machine: TurnMachine, wake: () => void): RunWatch {
  const runs = RUNS.get(machine) ?? new Set()
  const redirections: Redirection[] = []
  const watch: Watch = { wake, redirections }
  RUNS.set(machine, runs.add(watch))
  return {
    nextRedirection: () => redirections.shift(),
    get isRedirected() {
      return redirections.length > 0
    },
    end() {
      runs.delete(watch)
      if (runs.size === 0) RUNS.delete(machine)
      for (const { settle } of redirections.splice(0)) settle(false)
    },
  }
}
