import { ProtocolError, TurnError } from "../../errors.ts"
import { placeDecisions } from "../../machine/held.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { Decision, HeldCall } from "../../wire/approval.ts"
import type { AnswerableEffect } from "../../wire/effect.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { Response, ToolDecisions } from "../../wire/response.ts"
import type { Host, RunOptions, TurnLog } from "../host.ts"
import { changedTool } from "./changed-tool.ts"
import type { Work } from "./effect-run.ts"
import { type Answer, checkedAnswer } from "./execute.ts"

/** Machines with answers that `Host.save` has not saved, because it or something before it rejected. A later run saves them first. */
export const UNSAVED: WeakSet<TurnMachine> = new WeakSet()

/** Lets the host save the machine. Returns a promise only if there is something to wait for. */
export function save(machine: TurnMachine, host: Host): Promise<void> | undefined {
  if (host.save !== undefined) return saveWith(host.save.bind(host), machine)
  UNSAVED.delete(machine)
  return undefined
}

async function saveWith(saved: NonNullable<Host["save"]>, machine: TurnMachine): Promise<void> {
  UNSAVED.add(machine)
  await saved(machine)
  UNSAVED.delete(machine)
}

/** Whether an effect is a checkpoint of a host that delivers nothing. It is not work: the run answers it, and saves when its answer led to work. */
export function deliversNothing(effect: AnswerableEffect | undefined, host: Host): boolean {
  return effect?.type === "checkpoint" && host.checkpoint === undefined
}

/** The answer to a checkpoint of a host that delivers nothing; `undefined`: an executor has to answer. */
export function answerInPlace(effect: AnswerableEffect, host: Host, now: RunOptions["now"] = Date.now): Answer | undefined | Promise<Answer> {
  if (!deliversNothing(effect, host)) return undefined
  const { id } = effect
  const answerAt = (time: number): Answer => {
    const response: Response = { type: "checkpoint_delivery", id, at: Math.floor(time), delivery: {} }
    return { response, instead: () => response }
  }
  const time = now()
  return typeof time === "number" ? answerAt(time) : time.then(answerAt)
}

/** As {@link answerInPlace}, in the write of the answer before. With a clock that is not immediate, the checkpoint is answered on its own. */
export function emptyDelivery(machine: TurnMachine, host: Host, now: RunOptions["now"]): Response | undefined {
  const { outstanding } = machine
  const given = outstanding && answerInPlace(outstanding, host, now)
  if (given === undefined) return undefined
  if ("response" in given) return machine.check(given.response)
  given.catch(() => {})
  return undefined
}

/** Receives an event of the run itself. */
export type Show = (event: TurnEvent) => Promise<void>

/**
 * Records an answer, then handles it. An answer that the turn refuses fails its effect; a refused decision is shown, and its call stays held.
 * Returns whether the turn accepted anything; a promise only if something has to be written or shown. `follows`: the response to the effect that
 * comes next, if no work has to be performed for it; it is recorded in the same write.
 */
export function handleAnswer(
  machine: TurnMachine,
  answer: Answer,
  journal: TurnLog | undefined,
  show: Show = nowhere,
  follows: () => Response | undefined = nothing,
): boolean | Promise<boolean> {
  if (answer.response.type === "tool_decisions") return handleDecisions(machine, answer.response, journal, show)
  const checked = checkedAnswer(answer, (response) => machine.check(response))
  return journal === undefined ? handleHere(machine, answer, checked) : handleRecorded(machine, answer, checked, journal, follows)
}

function handleHere(machine: TurnMachine, answer: Answer, checked: Response): boolean {
  const handled = handle(machine, checked)
  const instead = insteadOf(machine, answer, handled)
  return accepted(instead === undefined ? handled : handle(machine, instead))
}

async function handleRecorded(
  machine: TurnMachine,
  answer: Answer,
  checked: Response,
  journal: TurnLog,
  follows: () => Response | undefined,
): Promise<boolean> {
  let handled: Handled
  try {
    handled = await recordAndHandle(machine, checked, journal, follows)
  } catch (error) {
    // One that is too long to be read again fails its effect, which would otherwise fail with each resume.
    if (!isTooLong(error)) throw error
    handled = await recordAndHandle(machine, machine.check(withoutPartial(answer.instead(error))), journal, follows)
  }
  const instead = insteadOf(machine, answer, handled)
  return accepted(instead === undefined ? handled : await recordAndHandle(machine, instead, journal, follows))
}

/** The response that fails an effect whose answer the turn refused; `undefined`: it refused nothing, or the answer came from elsewhere. */
function insteadOf(machine: TurnMachine, answer: Answer, { refusal }: Handled): Response | undefined {
  return refusal === undefined || isAnsweredElsewhere(refusal.error) ? undefined : machine.check(answer.instead(refusal.error))
}

function accepted({ isAccepted, refusal }: Handled): boolean {
  if (refusal !== undefined && !isAnsweredElsewhere(refusal.error)) throw refusal.error
  return isAccepted
}

interface Handled {
  readonly isAccepted: boolean
  /** Why the turn refused the response. */
  readonly refusal?: { readonly error: unknown }
}

/** Records a response and those that follow from it, and handles them. */
async function recordAndHandle(machine: TurnMachine, response: Response, journal: TurnLog, follows: () => Response | undefined): Promise<Handled> {
  let handled: Handled | undefined
  if (journal.responses === undefined) await journal.response(machine, response)
  else
    await journal.responses(machine, response, (recorded) => {
      const now = handle(machine, recorded)
      handled ??= now
      return now.isAccepted ? follows() : undefined
    })
  return handled ?? handle(machine, response)
}

function handle(machine: TurnMachine, response: Response): Handled {
  UNSAVED.add(machine)
  try {
    return { isAccepted: machine.handle(response).status === "accepted" }
  } catch (error) {
    return { isAccepted: false, refusal: { error } }
  }
}

function nothing(): undefined {}

/** Whether a result or a report came after another one about the same call, from outside the run. */
function isAnsweredElsewhere(error: unknown): boolean {
  return error instanceof ProtocolError && (error.code === "call_already_answered" || error.code === "call_is_pending")
}

async function nowhere(): Promise<void> {}

/** Records decisions, then hands them in. Nothing that the turn refuses is recorded. */
async function handleDecisions(machine: TurnMachine, given: ToolDecisions, journal: TurnLog | undefined, show: Show): Promise<boolean> {
  const { state } = machine.turn.position
  // The batch was answered or left while the host decided.
  if (state.type !== "waiting_tools") return false
  try {
    const response = machine.check(given) as ToolDecisions
    const { decisions, refused } = placeDecisions(state, response.decisions, response.at)
    if (refused !== undefined) throw new ProtocolError(refused.why, refused.message)
    if (decisions.length === 0) return false
    const changed = whyChanged(machine, state.outstanding.held, decisions)
    if (changed !== undefined) {
      await show({ type: "message", kind: "diagnostic", text: refusedText(given.decisions, { code: "tool_changed", message: changed }) })
      return false
    }
    await journal?.response(machine, response)
    UNSAVED.add(machine)
    return machine.handle(response).status === "accepted"
  } catch (error) {
    if (!(error instanceof TurnError) || !REFUSALS.has(error.code)) throw error
    await show({ type: "message", kind: "diagnostic", text: refusedText(given.decisions, error) })
    return false
  }
}

/** Why a decision is refused. Other errors are those of the journal. */
const REFUSALS: ReadonlySet<string> = new Set([
  ...["invalid_response", "record_too_long"],
  ...["unknown_request", "digest_mismatch", "decision_not_allowed", "call_already_decided"],
])

function whyChanged(machine: TurnMachine, held: readonly HeldCall[] = [], decisions: readonly Decision[]): string | undefined {
  const tools = { shown: machine.turn.surface.tools, now: machine.configuredTools }
  for (const decision of decisions) {
    const call = held.find(({ requestId }) => requestId === decision.requestId)
    const changed = call && changedTool(call, decision, tools)
    if (changed !== undefined) return changed
  }
  return undefined
}

function refusedText(decisions: readonly Decision[], error: { readonly code: string; readonly message: string }): string {
  const requests = decisions.map((decision: Partial<Decision> | null) => String(decision?.requestId)).join(", ")
  return `A decision about ${requests} was refused (${error.code}): ${error.message}`
}

export function isTooLong(error: unknown): boolean {
  return error instanceof TurnError && error.code === "record_too_long"
}

/** A failure without what the model said before it: that was streamed, and is about as long as the answer. */
function withoutPartial(response: Response): Response {
  if (response.type !== "llm_complete" || response.result.ok) return response
  const { partial: _partial, ...result } = response.result
  return { ...response, result }
}

/**
 * Stops running executors and handles the answers that have arrived, so that their work is not repeated. Returns a promise if there are any. `isOpen`:
 * as {@link Work.stop}.
 */
export function stop(machine: TurnMachine, work: Work | undefined, journal: TurnLog | undefined, isOpen = false): Promise<void> | undefined {
  const answers = work?.stop(isOpen) ?? []
  return answers.length === 0 ? undefined : handleAll(machine, answers, journal)
}

async function handleAll(machine: TurnMachine, answers: readonly Answer[], journal: TurnLog | undefined): Promise<void> {
  for (const answer of answers) await handleAnswer(machine, answer, journal)
}
