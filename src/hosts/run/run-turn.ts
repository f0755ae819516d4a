import { ProtocolError } from "../../errors.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { Done, Progress } from "../../schemas/effect.ts"
import type { Response } from "../../schemas/response.ts"
import type { Host, RunOptions, TurnLog } from "../host.ts"
import { type Answer, Work } from "./effect-run.ts"

/**
 * Runs a turn to its end: polls its effects, tells what is told, performs what waits for an answer, hands the answers in.
 * Takes a machine at any point: new, restored, in the middle, with tool calls half done, finished (then its `done` is
 * given back; if it was told before, with an empty `eventDelta`).
 *
 * What the world does, a failing executor included, is part of the turn and never rejects. It rejects with what the
 * host's own `journal`, `save`, `progress`, `onEvent`, `onLog` or `now` threw, because then nothing can be promised any more. The
 * machine is usable all the same: run it again, and what was not told is told and the outstanding effect is performed
 * again; or go on from what was saved last.
 *
 * Run a machine once at a time, and stop it by `options.signal`: `machine.cancel()` from elsewhere is only seen when the
 * executor that runs has ended.
 * @throws {RangeError} `toolConcurrency` is below 1
 * @throws {TypeError} the host has no `llmCall`, or tools are spread into it
 */
export async function runTurn(machine: TurnMachine, host: Host, options: RunOptions = {}): Promise<Done> {
  const { signal, toolConcurrency, journal } = options
  checkHost(host)
  if (toolConcurrency !== undefined && !(toolConcurrency >= 1)) throw new RangeError(`toolConcurrency is at least 1, not ${toolConcurrency}.`)
  // Somebody may have performed this before, in part; whatever becomes outstanding from here on, nobody has.
  const redelivered = machine.outstanding?.id
  let work: Work | undefined
  try {
    for (;;) {
      if (signal?.aborted === true && !machine.done) {
        await leave(machine, work, journal)
        await cancel(machine, journal, reasonOf(signal))
        await host.save?.(machine)
      }

      const done = await tell(machine, host, options)
      if (done !== undefined) {
        await journal?.settled(machine)
        await host.save?.(machine)
        return done
      }

      if (work === undefined || work.effectId !== machine.outstanding?.id) {
        await leave(machine, work, journal)
        await journal?.settled(machine)
        await host.save?.(machine)
        // Asked again after the wait: only what is outstanding now is performed, whatever was polled.
        const { outstanding } = machine
        const stopped = outstanding === undefined || signal?.aborted === true
        work = stopped ? undefined : new Work(outstanding, host, options, outstanding.id === redelivered)
      } else {
        const answer = await work.next()
        if (answer !== undefined && (await take(machine, answer, journal))) await host.save?.(machine)
      }
    }
  } finally {
    // What broke the run off is what the caller is told, also where keeping the last answers fails after it.
    await leave(machine, work, journal).catch(() => {})
  }
}

/** Two mistakes that a compiler may let pass: no model, and tools that are spread into the host, which would never run. */
function checkHost(host: Host): void {
  if (typeof host?.llmCall !== "function") throw new TypeError("The host needs an llmCall function.")
  if (host.tools === undefined && "call" in host && "effects" in host)
    throw new TypeError("Tools are spread into the host, so they would never run. Pass them as a member: { llmCall, tools }.")
}

/** What a host failed to take, by machine: told first when the machine is run again. */
const UNTOLD = new WeakMap<TurnMachine, Progress | Done>()

/** Polls until an answer is awaited, or to the end, which it gives back. */
async function tell(machine: TurnMachine, host: Host, { onEvent, onLog }: RunOptions): Promise<Done | undefined> {
  for (;;) {
    const effect = UNTOLD.get(machine) ?? machine.poll()
    switch (effect?.type) {
      case undefined:
        return machine.outcome === undefined ? undefined : endOf(machine, machine.outcome)
      case "emit":
        onEvent?.(effect.event)
        break
      case "log":
        onLog?.(effect.event)
        break
      case "progress":
      case "done":
        UNTOLD.set(machine, effect)
        await host.progress?.(effect)
        UNTOLD.delete(machine)
        if (effect.type === "done") return effect
    }
  }
}

/** The end of a turn whose `done` was told before. */
function endOf({ messages, iteration }: TurnMachine, outcome: Done["outcome"]): Done {
  return { type: "done", outcome, messages, eventDelta: [], iteration }
}

/** Keeps an answer, then hands it in; one that the turn refuses becomes a failure of its effect. Says whether anything was taken. */
async function take(machine: TurnMachine, answer: Answer, journal: TurnLog | undefined): Promise<boolean> {
  let response: Response
  try {
    response = machine.check(answer.response)
  } catch (error) {
    response = machine.check(answer.instead(error))
  }
  await journal?.response(machine, response)
  try {
    return machine.handle(response).status === "accepted"
  } catch (error) {
    if (error instanceof ProtocolError && error.code === "call_already_answered") return false
    const instead = machine.check(answer.instead(error))
    await journal?.response(machine, instead)
    return machine.handle(instead).status === "accepted"
  }
}

async function cancel(machine: TurnMachine, journal: TurnLog | undefined, reason: string | undefined): Promise<void> {
  await journal?.command(machine, { type: "cancel", ...(reason !== undefined && { reason }) })
  machine.cancel(reason)
}

/** Stops what runs. What was done before that is not lost, and so need not be done again. */
async function leave(machine: TurnMachine, work: Work | undefined, journal: TurnLog | undefined): Promise<void> {
  for (const answer of work?.leave() ?? []) await take(machine, answer, journal)
}

/** A caller's own words, if there are any; the machine has words for an abort without. */
function reasonOf({ reason }: AbortSignal): string | undefined {
  if (typeof reason === "string") return reason
  return reason instanceof Error && reason.name !== "AbortError" ? reason.message : undefined
}
