import { TurnError } from "../../errors.ts"
import type { HostCommand } from "../../machine/step.ts"
import { refuseModelWords } from "../../machine/step.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { AnswerableEffect } from "../../wire/effect.ts"
import type { LlmResponse } from "../../wire/llm.ts"
import type { Message } from "../../wire/message.ts"
import type { Response } from "../../wire/response.ts"
import type { Host, TurnLog } from "../host.ts"
import { handleAnswer, isTooLong, save, stop } from "./answers.ts"
import type { Work, WorkOptions } from "./effect-run.ts"
import { checkedAnswer } from "./execute.ts"
import { LeftCalls } from "./left-calls.ts"
import { cancelledResponses } from "./task.ts"
import type { Redirection, RedirectMessages } from "./wake-run.ts"

/** What a cancellation needs of its run. */
export interface Cancelled {
  readonly host: Host
  readonly work: Work | undefined
  readonly journal: TurnLog | undefined
  readonly signal: AbortSignal
  readonly cancelGraceMs: number
  readonly workOptions: WorkOptions
}

/** Cancels a turn whose signal was aborted. What its executors report in time is stored. */
export async function cancelTurn(machine: TurnMachine, run: Cancelled): Promise<void> {
  const reason = reasonOf(run.signal)
  await commandWith(machine, run.journal, { type: "cancel", ...(reason !== undefined && { reason }) }, await leave(machine, run))
  await save(machine, run.host)
}

/**
 * Redirects a turn: what its executors report in time is stored, and it continues with other messages. Returns whether the work was stopped.
 * A redirection that cannot be carried out rejects alone; the turn continues as if it had not been asked for, and its run does not reject.
 */
export async function redirectTurn(
  machine: TurnMachine,
  run: Omit<Cancelled, "signal">,
  { messages, settle }: Redirection,
  now: () => number | Promise<number>,
): Promise<boolean> {
  let given: readonly Message[]
  try {
    given = taken(machine, messages)
  } catch (error) {
    settle(Promise.reject(error))
    return false
  }
  if (machine.done || given.length === 0) {
    settle(false)
    return false
  }
  const reason = new DOMException("The user redirected the turn.", "AbortError")
  run.work?.leave(reason)
  try {
    const left = await leave(machine, { ...run, signal: AbortSignal.abort(reason) })
    // An answer that arrived in the meantime may have ended the turn.
    const isDone = machine.done
    if (!isDone) await redirectWith(machine, run.journal, { type: "redirect", messages: given, at: Math.floor(await now()) }, left)
    await save(machine, run.host)
    settle(!isDone)
  } catch (error) {
    const isEnded = isTurnFinished(error)
    settle(isEnded ? false : Promise.reject(error))
    if (!isEnded && !isTooLong(error)) throw error
    await save(machine, run.host)
  }
  return true
}

/** Whether a turn was ended from outside while it was about to be redirected. */
function isTurnFinished(error: unknown): boolean {
  return error instanceof TurnError && error.code === "turn_finished"
}

/** The messages in the form of the wire, which their owner cannot change any more. @throws {SchemaError} a turn cannot be redirected with them */
function taken(machine: TurnMachine, messages: RedirectMessages): readonly Message[] {
  const userMessages = typeof messages === "function" ? messages() : messages
  if (userMessages.length === 0) return []
  const response = machine.check({ type: "checkpoint_delivery", id: 1, delivery: { userMessages } })
  const checked = (response.type === "checkpoint_delivery" && response.delivery.userMessages) || []
  refuseModelWords(checked)
  return checked
}

/** Messages that are too long to be recorded leave a result that arrived with them as an ordinary one. */
async function redirectWith(machine: TurnMachine, journal: TurnLog | undefined, command: LeavingCommand, left: Left): Promise<void> {
  try {
    await commandWith(machine, journal, command, left)
  } catch (error) {
    const { answer } = left
    if (isTooLong(error) && answer !== undefined) await handleAnswer(machine, { response: answer, instead: () => answer }, journal)
    throw error
  }
}

/** Ends the work that is outstanding, and hands in what it reports in time. */
async function leave(machine: TurnMachine, { host, work, journal, signal, cancelGraceMs, workOptions }: Cancelled): Promise<Left> {
  // The work may be an earlier one, whose answer was handled.
  const running = work?.effectId === machine.outstanding?.id ? work : undefined
  await running?.finish(cancelGraceMs)
  const partial = running?.partial
  if (running === undefined) await stop(machine, work, journal)
  const left = new LeftCalls(host, running, signal, cancelGraceMs, workOptions)
  return { partial, answer: await handInLate(machine, running, journal, left) }
}

/** What the outstanding work had done when the turn left it. */
interface Left {
  readonly partial: LlmResponse | undefined
  readonly answer: Response | undefined
}

type LeavingCommand = Extract<HostCommand, { type: "cancel" | "redirect" }>

async function commandWith(machine: TurnMachine, journal: TurnLog | undefined, given: LeavingCommand, { partial, answer }: Left): Promise<void> {
  const command: LeavingCommand = {
    ...given,
    ...(partial !== undefined && { partial }),
    ...(answer !== undefined && { answer }),
  }
  if (journal === undefined) return machine.command(command)
  try {
    await journal.command(machine, command)
  } catch (error) {
    if (!isTooLong(error)) throw error
    // Otherwise the turn could not be cancelled or redirected. The tokens still count, and a call that took effect does not read as one that did not.
    const short = partial && { ...partial, text: "", parts: [] }
    const unknown = answer && machine.outstanding && cancelledResponses(machine.outstanding, () => true)[0]
    if (isSame(short, partial) && isSame(unknown, answer)) throw error
    await commandWith(machine, journal, given, { partial: short, answer: unknown })
  }
}

function isSame(left: unknown, right: unknown): boolean {
  return JSON.stringify(left) === JSON.stringify(right)
}

/**
 * Hands in the results of a cancelled effect: those that came in time, and for `once` calls that had begun, that they may have taken effect.
 * Returns the one after which nothing would be open, which belongs to the cancellation: the driver is not asked what follows.
 */
async function handInLate(
  machine: TurnMachine,
  work: Work | undefined,
  journal: TurnLog | undefined,
  left: LeftCalls,
): Promise<Response | undefined> {
  const { outstanding } = machine
  const answers = [...(work?.stop() ?? [])]
  const open = new OpenCalls(outstanding)
  for (const answer of answers) {
    // A decision that arrives after the cancellation must not release a call.
    if (answer.response.type === "tool_decisions") continue
    const response = checkedAnswer(answer, (response) => machine.check(response))
    const isWork = response.type === "tool_results" || response.type === "exec_result"
    if (isWork && open.completedBy(response)) return response
    await handleAnswer(machine, answer, journal)
  }
  for (const answer of await left.end(machine.outstanding)) {
    const response = checkedAnswer(answer, (response) => machine.check(response))
    if (open.completedBy(response)) return response
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
export class OpenCalls {
  readonly #open = new Map<string, number>()
  #count = 0

  constructor(effect: AnswerableEffect | undefined) {
    if (effect?.type !== "tool_calls") return
    const { calls, held = [], pending = [] } = effect
    for (const { callId } of [...calls, ...held, ...pending]) this.#open.set(callId, (this.#open.get(callId) ?? 0) + 1)
    this.#count = calls.length + held.length + pending.length
  }

  /** Whether nothing is open after a response. */
  completedBy(response: Response): boolean {
    if (response.type === "tool_pending") return false
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

/** The reason that the caller gave; `undefined` without one, for which the machine has a default text. */
export function reasonOf({ reason }: AbortSignal): string | undefined {
  if (typeof reason === "string") return reason
  return reason instanceof Error && reason.name !== "AbortError" ? reason.message : undefined
}
