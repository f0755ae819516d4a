import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { Done, Effect, Progress, ToolCallsReleased } from "../../wire/effect.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { Host, RunOptions } from "../host.ts"
import { settledInTime } from "../timers.ts"
import { DEFAULT_CANCEL_GRACE_MS } from "./checks.ts"
import { isThenable } from "./effect-run.ts"

/** The effect whose report failed, by machine. It is reported first when the machine runs again. */
const UNREPORTED = new WeakMap<TurnMachine, Progress | Done>()

/**
 * Polls and reports until the turn waits for an answer. Returns `done` at the end. `release`: receives calls that may run now. A promise only where
 * a receiver has to be waited for: a turn has several effects a step, and most hosts receive none of them, or receive them at once.
 */
export function report(machine: TurnMachine, host: Host, options: RunOptions, release: Release): End | Promise<End> {
  for (;;) {
    const effect = nextOf(machine)
    if (effect?.type === "tool_calls_released") release(effect)
    const received = reportOne(machine, effect, host, options)
    if (received !== undefined) return reportRest(received, effect, machine, host, options, release)
    if (effect === undefined) return endOf(machine, machine.outcome)
    if (effect.type === "done") return effect
  }
}

/** How the turn ended; `undefined` while it waits for an answer. */
type End = Done | undefined

async function reportRest(
  first: Promise<void>,
  reported: Effect | undefined,
  machine: TurnMachine,
  host: Host,
  options: RunOptions,
  release: Release,
): Promise<End> {
  let [received, effect]: [Promise<void> | undefined, Effect | undefined] = [first, reported]
  for (;;) {
    if (received !== undefined) await received
    if (effect?.type === "done") return effect
    effect = nextOf(machine)
    if (effect === undefined) return endOf(machine, machine.outcome)
    if (effect.type === "tool_calls_released") release(effect)
    received = reportOne(machine, effect, host, options)
  }
}

function nextOf(machine: TurnMachine): Effect | undefined {
  return UNREPORTED.get(machine) ?? machine.poll()
}

/** Reports one effect. Returns a promise if its receiver has to be waited for. */
function reportOne(machine: TurnMachine, effect: Effect | undefined, host: Host, options: RunOptions): Promise<void> | undefined {
  switch (effect?.type) {
    case "emit":
      return options.onEvent === undefined ? undefined : inTime(options.onEvent(effect.event), options)
    case "log":
      return options.onLog === undefined ? undefined : inTime(options.onLog(effect.event), options)
    case "progress":
    case "done":
      if (host.progress !== undefined) return reportProgress(machine, effect, host.progress.bind(host))
      // Also one that an earlier run with another host could not report.
      UNREPORTED.delete(machine)
      return undefined
    default:
      return undefined
  }
}

async function reportProgress(machine: TurnMachine, effect: Progress | Done, progress: NonNullable<Host["progress"]>): Promise<void> {
  UNREPORTED.set(machine, effect)
  await progress(effect)
  UNREPORTED.delete(machine)
}

/** The `done` of a turn that has reported it before; `undefined` if the turn has not ended. */
function endOf(machine: TurnMachine, outcome: Done["outcome"] | undefined): End {
  // Its lists are made when they are read.
  if (outcome === undefined) return undefined
  const { messages, history, iteration, usage } = machine
  return { type: "done", outcome, messages, eventDelta: [], recordsFrom: history.length, iteration, usage }
}

/** Receives calls that may run now. */
export type Release = (released: ToolCallsReleased) => void

/** Passes an event on, and waits for its receiver. */
export async function show(event: TurnEvent, options: RunOptions): Promise<void> {
  await inTime(options.onEvent?.(event), options)
}

function inTime(received: unknown, { signal, cancelGraceMs = DEFAULT_CANCEL_GRACE_MS }: RunOptions): Promise<void> | undefined {
  return isThenable(received) ? settledInTime(received, signal, cancelGraceMs) : undefined
}
