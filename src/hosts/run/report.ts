import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { Done, Progress, ToolCallsReleased } from "../../wire/effect.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { Host, RunOptions } from "../host.ts"
import { settledInTime } from "../timers.ts"
import { DEFAULT_CANCEL_GRACE_MS } from "./checks.ts"
import { isThenable } from "./effect-run.ts"

/** The effect whose report failed, by machine. It is reported first when the machine runs again. */
const UNREPORTED = new WeakMap<TurnMachine, Progress | Done>()

/** Polls and reports until the turn waits for an answer. Returns `done` at the end. `release`: receives calls that may run now. */
export async function report(machine: TurnMachine, host: Host, options: RunOptions, release: Release): Promise<Done | undefined> {
  for (;;) {
    const effect = UNREPORTED.get(machine) ?? machine.poll()
    switch (effect?.type) {
      case undefined:
        return machine.outcome === undefined ? undefined : endOf(machine, machine.outcome)
      case "emit":
        if (options.onEvent !== undefined) await show(effect.event, options)
        break
      case "log":
        if (options.onLog !== undefined) await inTime(options.onLog(effect.event), options)
        break
      case "tool_calls_released":
        release(effect)
        break
      case "progress":
      case "done":
        if (host.progress !== undefined) {
          UNREPORTED.set(machine, effect)
          await host.progress(effect)
        }
        // Also one that an earlier run with another host could not report.
        UNREPORTED.delete(machine)
        if (effect.type === "done") return effect
    }
  }
}

/** The `done` of a turn that has reported it before. */
function endOf({ messages, history, iteration, usage }: TurnMachine, outcome: Done["outcome"]): Done {
  return { type: "done", outcome, messages, eventDelta: [], recordsFrom: history.length, iteration, usage }
}

/** Receives calls that may run now. */
export type Release = (released: ToolCallsReleased) => void

/** Passes an event on, and waits for its receiver. */
export async function show(event: TurnEvent, options: RunOptions): Promise<void> {
  await inTime(options.onEvent?.(event), options)
}

async function inTime(received: unknown, { signal, cancelGraceMs = DEFAULT_CANCEL_GRACE_MS }: RunOptions): Promise<void> {
  if (isThenable(received)) await settledInTime(received, signal, cancelGraceMs)
}
