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
  const reported = reportAtOnce(machine, host, options, release)
  return reported.received === undefined ? reported.end : reportRest(reported, () => reportAtOnce(machine, host, options, release))
}

/** How the turn ended; `undefined` while it waits for an answer. */
type End = Done | undefined

interface Reported {
  readonly end: End
  /** Present: a receiver has to be waited for. If there is no end, more may follow. */
  readonly received: Promise<void> | undefined
}

async function reportRest(first: Reported, next: () => Reported): Promise<End> {
  for (let reported = first; ; reported = next()) {
    const { received, end } = reported
    if (received === undefined) return end
    await received
    if (end !== undefined) return end
  }
}

/** Reports until the turn ends or waits, or a receiver has to be waited for. */
function reportAtOnce(machine: TurnMachine, host: Host, options: RunOptions, release: Release): Reported {
  for (;;) {
    const effect = nextOf(machine)
    if (effect === undefined) return { end: endOf(machine, machine.outcome), received: undefined }
    if (effect.type === "tool_calls_released") release(effect)
    const received = reportOne(machine, effect, host, options)
    const end = effect.type === "done" ? effect : undefined
    if (received !== undefined || end !== undefined) return { end, received }
  }
}

function nextOf(machine: TurnMachine): Effect | undefined {
  return UNREPORTED.get(machine) ?? machine.poll()
}

/** Reports one effect. Returns a promise if its receiver has to be waited for. */
function reportOne(machine: TurnMachine, effect: Effect, host: Host, options: RunOptions): Promise<void> | undefined {
  switch (effect.type) {
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
