import { ProtocolError, TurnError } from "../../errors.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { AnswerableEffect, Done, Progress } from "../../wire/effect.ts"
import type { LlmResponse } from "../../wire/llm.ts"
import type { Response } from "../../wire/response.ts"
import type { Host, RunOptions, RunToEndOptions, Suspended, SuspendingRunOptions, TurnLog } from "../host.ts"
import { settledInTime } from "../timers.ts"
import { checkGrace, checkHost, checkToolConcurrency, DEFAULT_CANCEL_GRACE_MS, refuseOnce, refuseOnceTools } from "./checks.ts"
import { isThenable, Work, type WorkOptions } from "./effect-run.ts"
import { type Answer, checkedAnswer } from "./execute.ts"
import { cancelledResponses } from "./task.ts"

/**
 * Runs a turn to its end: polls effects, emits events, performs work and handles the answers. Accepts a machine in any state: new,
 * restored, mid-turn, with some tool calls done, or finished. A finished machine returns its `done`; if that was emitted before, with an
 * empty `eventDelta`.
 *
 * A failure of an executor is part of the turn and never rejects, unless `isFatal` says so. The promise rejects with an error of the host's
 * own `journal`, `save`, `progress`, `onEvent`, `onLog` or `now`, because the run can no longer keep its guarantees. The machine stays
 * usable: run it again, and the unreported effect is reported and the outstanding effect performed again; or continue from the last saved
 * checkpoint.
 *
 * Do not run a machine twice at the same time. Stop it with `options.signal`: a `machine.cancel()` from elsewhere is noticed only when the
 * running executor has ended.
 * @throws {RunError} `once_without_log`: a tool or code with `effects: "once"`, and no `journal`. Nothing was performed.
 * @throws {RangeError} `toolConcurrency` is less than 1, or `cancelGraceMs` is not at least 0
 * @throws {TypeError} the host has no `llmCall`, or tools are spread into it
 */
export async function runTurn(machine: TurnMachine, host: Host, options?: RunToEndOptions): Promise<Done>
export async function runTurn(machine: TurnMachine, host: Host, options?: SuspendingRunOptions): Promise<Done | Suspended>
export async function runTurn(machine: TurnMachine, host: Host, options: SuspendingRunOptions = {}): Promise<Done | Suspended> {
  const { cancelGraceMs = DEFAULT_CANCEL_GRACE_MS, signal, toolConcurrency, journal } = options
  checkHost(host)
  checkToolConcurrency(toolConcurrency)
  checkGrace(cancelGraceMs)
  if (journal === undefined && !machine.done) refuseOnceTools(host, machine.turn.surface.tools)
  const workOptions = workOptionsOf(options)
  let work: Work | undefined
  try {
    if (UNSAVED.has(machine)) await save(machine, host)
    for (;;) {
      if (signal?.aborted === true && !machine.done) {
        // The work may be an earlier one, whose answer was handled.
        const running = work?.effectId === machine.outstanding?.id ? work : undefined
        await running?.finish(cancelGraceMs)
        const partial = running?.partial
        if (running === undefined) await stop(machine, work, journal)
        const answer = await handInLate(machine, running, journal)
        await cancel(machine, journal, reasonOf(signal), { partial, answer })
        await save(machine, host)
      }

      const done = await report(machine, host, options)
      if (done !== undefined) {
        await journal?.settled(machine)
        await save(machine, host)
        return done
      }

      if (work === undefined || work.effectId !== machine.outstanding?.id) {
        await stop(machine, work, journal)
        await journal?.settled(machine)
        await save(machine, host)
        // Read again after the await: only the effect that is outstanding now is performed.
        const { outstanding } = machine
        const stopped = outstanding === undefined || signal?.aborted === true
        if (!stopped && journal === undefined) refuseOnce(host, outstanding)
        work = stopped ? undefined : new Work(outstanding, host, workOptions, (partial) => validPartial(machine, partial))
      } else {
        const answer = await work.next()
        if (answer !== undefined && (await handleAnswer(machine, answer, journal))) await save(machine, host)
      }
    }
  } finally {
    // The caller receives the error that ended the run, even if recording the last answers fails afterwards.
    await stop(machine, work, journal).catch(() => {})
  }
}

function workOptionsOf({ turnId, journal, signal, onEvent, now, isFatal, toolConcurrency }: RunOptions): WorkOptions {
  const id = turnId ?? journal?.turnId
  return {
    keyIds: id === undefined ? undefined : [id],
    ...(signal !== undefined && { signal }),
    ...(onEvent !== undefined && { onEvent }),
    ...(now !== undefined && { now }),
    ...(isFatal !== undefined && { isFatal }),
    ...(toolConcurrency !== undefined && { toolConcurrency }),
    ...(journal !== undefined && { callStarted: (effectId, callId) => journal.callStarted(effectId, callId) }),
  }
}

/** Machines with answers that `Host.save` has not saved, because it or something before it rejected. A later run saves them first. */
const UNSAVED = new WeakSet<TurnMachine>()

async function save(machine: TurnMachine, host: Host): Promise<void> {
  UNSAVED.add(machine)
  await host.save?.(machine)
  UNSAVED.delete(machine)
}

/** The effect whose report failed, by machine. It is reported first when the machine runs again. */
const UNREPORTED = new WeakMap<TurnMachine, Progress | Done>()

/** Polls and reports until the turn waits for an answer. Returns `done` at the end. */
async function report(machine: TurnMachine, host: Host, options: RunOptions): Promise<Done | undefined> {
  const { onEvent, onLog, signal, cancelGraceMs = DEFAULT_CANCEL_GRACE_MS } = options
  for (;;) {
    const effect = UNREPORTED.get(machine) ?? machine.poll()
    switch (effect?.type) {
      case undefined:
        return machine.outcome === undefined ? undefined : endOf(machine, machine.outcome)
      case "emit":
      case "log": {
        const received: unknown = effect.type === "emit" ? onEvent?.(effect.event) : onLog?.(effect.event)
        if (isThenable(received)) await settledInTime(received, signal, cancelGraceMs)
        break
      }
      case "progress":
      case "done":
        UNREPORTED.set(machine, effect)
        await host.progress?.(effect)
        UNREPORTED.delete(machine)
        if (effect.type === "done") return effect
    }
  }
}

/** The `done` of a turn that has reported it before. */
function endOf({ messages, history, iteration, usage }: TurnMachine, outcome: Done["outcome"]): Done {
  return { type: "done", outcome, messages, eventDelta: [], recordsFrom: history.length, iteration, usage }
}

/** Records an answer, then handles it. An answer that the turn refuses fails its effect. Returns whether the turn accepted anything. */
async function handleAnswer(machine: TurnMachine, answer: Answer, journal: TurnLog | undefined): Promise<boolean> {
  const response = await record(
    machine,
    answer,
    checkedAnswer(answer, (response) => machine.check(response)),
    journal,
  )
  UNSAVED.add(machine)
  try {
    return machine.handle(response).status === "accepted"
  } catch (error) {
    if (error instanceof ProtocolError && error.code === "call_already_answered") return false
    const instead = machine.check(answer.instead(error))
    await journal?.response(machine, instead)
    return machine.handle(instead).status === "accepted"
  }
}

/** Records a response. One that is too long to be read again fails its effect, which would otherwise fail with each resume. */
async function record(machine: TurnMachine, answer: Answer, response: Response, journal: TurnLog | undefined): Promise<Response> {
  try {
    await journal?.response(machine, response)
    return response
  } catch (error) {
    if (!isTooLong(error)) throw error
    const instead = machine.check(withoutPartial(answer.instead(error)))
    await journal?.response(machine, instead)
    return instead
  }
}

function isTooLong(error: unknown): boolean {
  return error instanceof TurnError && error.code === "record_too_long"
}

/** A failure without what the model said before it: that was streamed, and is about as long as the answer. */
function withoutPartial(response: Response): Response {
  if (response.type !== "llm_complete" || response.result.ok) return response
  const { partial: _partial, ...result } = response.result
  return { ...response, result }
}

/** What the outstanding work had done when the turn was cancelled. */
interface Left {
  readonly partial: LlmResponse | undefined
  readonly answer: Response | undefined
}

async function cancel(machine: TurnMachine, journal: TurnLog | undefined, reason: string | undefined, { partial, answer }: Left): Promise<void> {
  const command = {
    type: "cancel",
    ...(reason !== undefined && { reason }),
    ...(partial !== undefined && { partial }),
    ...(answer !== undefined && { answer }),
  } as const
  if (journal === undefined) return machine.command(command)
  try {
    await journal.command(machine, command)
  } catch (error) {
    if (!isTooLong(error)) throw error
    // Otherwise the turn could not be cancelled. The tokens still count, and a call that took effect does not read as one that did not.
    const short = partial && { ...partial, text: "", parts: [] }
    const unknown = answer && machine.outstanding && cancelledResponses(machine.outstanding, () => true)[0]
    if (isSame(short, partial) && isSame(unknown, answer)) throw error
    await cancel(machine, journal, reason, { partial: short, answer: unknown })
  }
}

function isSame(left: unknown, right: unknown): boolean {
  return JSON.stringify(left) === JSON.stringify(right)
}

/**
 * Hands in the results of a cancelled effect: those that came in time, and for `once` calls that had begun, that they may have taken effect.
 * Returns the one after which nothing would be open, which belongs to the cancellation: the driver is not asked what follows.
 */
async function handInLate(machine: TurnMachine, work: Work | undefined, journal: TurnLog | undefined): Promise<Response | undefined> {
  const { outstanding } = machine
  const answers = [...(work?.stop() ?? [])]
  const open = new OpenCalls(outstanding)
  for (const answer of answers) {
    const response = checkedAnswer(answer, (response) => machine.check(response))
    const isWork = response.type === "tool_results" || response.type === "exec_result"
    if (isWork && open.completedBy(response)) return response
    await handleAnswer(machine, answer, journal)
  }
  if (outstanding === undefined || journal === undefined) return undefined
  const hasBegun = (callId?: string): boolean => journal.mayHaveRun(outstanding.id, callId) && work?.isNotBegun(callId) !== true
  for (const response of cancelledResponses(machine.outstanding ?? outstanding, hasBegun)) {
    if (response.type !== "tool_results") return response
    const results = response.results.slice()
    const last = open.completedBy(response) ? results.pop() : undefined
    if (results.length > 0) await handleInParts(machine, { ...response, results }, journal)
    if (last !== undefined) return { ...response, results: [last] }
  }
  return undefined
}

/** The calls of an effect that have no result yet, by id. */
class OpenCalls {
  readonly #open = new Map<string, number>()
  #count = 0

  constructor(effect: AnswerableEffect | undefined) {
    if (effect?.type !== "tool_calls") return
    for (const { callId } of effect.calls) this.#open.set(callId, (this.#open.get(callId) ?? 0) + 1)
    this.#count = effect.calls.length
  }

  /** Whether nothing is open after a response. */
  completedBy(response: Response): boolean {
    if (response.type !== "tool_results") return true
    for (const { callId } of response.results) {
      const open = this.#open.get(callId) ?? 0
      if (open === 0) continue
      this.#open.set(callId, open - 1)
      this.#count -= 1
    }
    return this.#count === 0
  }
}

/** Records and handles the results of a batch together, or each on its own if they are too long together. */
async function handleInParts(machine: TurnMachine, response: Response, journal: TurnLog): Promise<void> {
  try {
    await journal.response(machine, response)
  } catch (error) {
    if (response.type !== "tool_results" || response.results.length < 2 || !isTooLong(error)) throw error
    for (const result of response.results) await handleInParts(machine, { ...response, results: [result] }, journal)
    return
  }
  machine.handle(response)
}

/** A partial answer that the machine accepts. One that it does not is left out: neither a cancellation nor a failure fails for it. */
function validPartial(machine: TurnMachine, partial: unknown): LlmResponse | undefined {
  const { outstanding } = machine
  if (outstanding?.type !== "llm_call") return undefined
  try {
    const answer = machine.check({ type: "llm_complete", id: outstanding.id, result: { ok: true, response: partial } })
    return answer.type === "llm_complete" && answer.result.ok ? answer.result.response : undefined
  } catch {
    return undefined
  }
}

/** Stops running executors and handles the answers that have arrived, so that their work is not repeated. */
async function stop(machine: TurnMachine, work: Work | undefined, journal: TurnLog | undefined): Promise<void> {
  for (const answer of work?.stop() ?? []) await handleAnswer(machine, answer, journal)
}

/** The reason that the caller gave; `undefined` without one, for which the machine has a default text. */
function reasonOf({ reason }: AbortSignal): string | undefined {
  if (typeof reason === "string") return reason
  return reason instanceof Error && reason.name !== "AbortError" ? reason.message : undefined
}
