/** The turn as pure functions: {@link begin}, {@link advance}, {@link handle} and {@link command} each return the next turn. */

import { DriverError, ProtocolError, SchemaError } from "../errors.ts"
import { textOf } from "../text.ts"
import type { DriverAction } from "../wire/action.ts"
import type { TurnStart } from "../wire/config.ts"
import type { AnswerableEffect, Effect } from "../wire/effect.ts"
import type { Outcome, TurnEvent } from "../wire/event.ts"
import type { LlmResponse } from "../wire/llm.ts"
import type { Message } from "../wire/message.ts"
import type { Response } from "../wire/response.ts"
import type { CompletedToolCall, PendingToolCall } from "../wire/tool.ts"
import { applyActions, type MachineAction } from "./apply-actions.ts"
import { lateResults, leftBatch, resultsByCall } from "./batch.ts"
import { type CompleteTurnConfig, checkedConfig, completeConfig, type TurnConfig } from "./config.ts"
import { TurnContext } from "./context.ts"
import type { ProtocolDriver } from "./driver.ts"
import { checkedActions, refuseForeign, refuseUnstorable } from "./driver-actions.ts"
import { addKnown, addUsage, MAX_COUNT } from "./limits.ts"
import { cancelledCall, ENDED_WITH_ERROR, errorEvent, failWith, resultsAction, stopped, toolCallEvent } from "./terminal.ts"
import { ANSWERS, isAnswerTo, PREPARATION, REDIRECTION, type RuleResult, TRANSITIONS, withoutDecisions } from "./transitions.ts"
import { newTurn, type StateName, type StateOf, type Step, type Turn, type TurnState } from "./turn.ts"
import { withinLimits } from "./turn-limits.ts"

/**
 * Begins a turn. The driver is not asked yet: {@link advance} lets it start. Pure.
 * @throws {SchemaError} `invalid_config`; `invalid_start`, where `config.validation` is given
 */
export function begin(config: TurnConfig, start: TurnStart): Step {
  const complete = checkedConfig(config)
  const checked = complete.validation?.start(start) ?? start
  if ((checked.iterationOffset ?? 0) > MAX_COUNT) {
    const issue = { path: "/iterationOffset", message: `it is higher than ${MAX_COUNT}, so iterations could not be counted from it` }
    throw new SchemaError("invalid_start", `Not a valid start of a turn: "${issue.path}": ${issue.message}.`, [issue])
  }
  return unchanged(newTurn(complete, checked))
}

/** Lets the driver prepare the next iteration if the turn waits for that; otherwise changes nothing. Pure. */
export function advance(config: TurnConfig, turn: Turn): Step {
  const complete = completeConfig(config)
  const { state } = turn.position
  if (state.type !== "preparing" && state.type !== "prepare_iteration") return unchanged(turn)
  const rule = PREPARATION[state.type]
  return step(complete, turn, rule.run(complete, turn), rule.next)
}

/**
 * Feeds one response to a turn and returns the turn after it with every effect it raised, in order. Pure.
 * `response.id` answers the outstanding effect; one already answered returns `status: "stale"`, the same turn and no effects.
 * A decision that repeats an earlier one is `stale`, too.
 * @throws {SchemaError} `invalid_response`, where `config.validation` is given. The turn is unchanged.
 * @throws {ProtocolError} `unexpected_response`, `unknown_effect`, `unknown_call`, `call_already_answered`, `call_is_held`,
 *   `call_is_pending`, `call_not_unique`, `unknown_request`, `digest_mismatch`, `decision_not_allowed`, `call_already_decided`. The turn is
 *   unchanged.
 * @see docs/protocol.md
 */
export function handle(config: TurnConfig, turn: Turn, response: Response): Step {
  const complete = completeConfig(config)
  return handleChecked(complete, turn, complete.validation === undefined ? response : complete.validation.response(response))
}

/** {@link handle} for a response that was checked before. */
export function handleChecked(config: CompleteTurnConfig, turn: Turn, answer: Response): Step {
  const { state } = turn.position
  const outstanding = "outstanding" in state ? state.outstanding : undefined
  if (answer.id !== outstanding?.id) {
    if (answer.id >= 1 && answer.id < turn.position.nextEffectId) return { turn, effects: [], status: "stale" }
    throw new ProtocolError("unknown_effect", `No effect has the id ${answer.id}; a turn in "${state.type}" accepts ${accepted(outstanding)}.`)
  }
  const rule = ruleFor(state, answer)
  if (rule !== undefined) {
    const result = rule.run(config, turn, state, answer)
    return result.isStale ? { turn, effects: [], status: "stale" } : step(config, turn, result, rule.next)
  }
  throw new ProtocolError("unexpected_response", `A turn in "${state.type}" does not accept "${answer.type}"; it accepts ${accepted(outstanding)}.`)
}

/** A rule of the table, after its state and response were matched. */
interface MatchedRule {
  readonly run: (config: CompleteTurnConfig, turn: Turn, state: TurnState, response: Response) => RuleResult
  readonly next: readonly StateName[]
}

function ruleFor(state: TurnState, response: Response): MatchedRule | undefined {
  const rules = TRANSITIONS[state.type]
  return Object.hasOwn(rules, response.type) ? ((rules as Record<string, unknown>)[response.type] as MatchedRule) : undefined
}

function accepted(outstanding: AnswerableEffect | undefined): string {
  return outstanding === undefined ? "no response now" : `${ANSWERS[outstanding.type].join(", ")} for effect ${outstanding.id}`
}

/**
 * What a host applies to a turn from outside, in addition to its responses. `partial`: what the outstanding model call had said. `answer`:
 * the results that came while the work was being stopped, of tools or of code; they are stored, and the driver is not asked what follows.
 * Both are ignored if the turn waits for something else.
 *
 * `redirect` does not end the turn: it stops what runs, appends the `messages`, which must not be the model's own words, and continues. Its
 * model is asked again in a new iteration, except between two iterations and at a side call. `at`: milliseconds since the epoch.
 */
export type HostCommand =
  | { readonly type: "cancel"; readonly reason?: string; readonly partial?: LlmResponse; readonly answer?: Response }
  | { readonly type: "fail"; readonly event: TurnEvent; readonly partial?: LlmResponse }
  | { readonly type: "finish"; readonly outcome: Outcome; readonly partial?: LlmResponse }
  | { readonly type: "apply"; readonly actions: readonly DriverAction[] }
  | {
      readonly type: "redirect"
      readonly messages: readonly Message[]
      readonly at?: number
      readonly partial?: LlmResponse
      readonly answer?: Response
    }

/**
 * Ends a turn from outside, redirects it, or applies a host's own actions to it. Ending a finished turn changes nothing. Pure.
 *
 * Every command that ends or redirects a turn leaves its work alike: a running model call gets `cancel_llm`, and its partial answer is stored; the
 * results of a batch are stored, and its open calls get a cancelled one; for running code the driver's `onExecCancelled` is asked.
 * @throws {SchemaError} `invalid_actions`, where `config.validation` is given: an action, outcome, event or reason is not valid;
 *   `invalid_response`: the partial answer is not, or a turn cannot be redirected with the messages. The turn is unchanged.
 * @throws {ProtocolError} `turn_finished` (apply, redirect), `action_starts_work` (apply). The turn is unchanged.
 * @throws {DriverError} as {@link applyActions} (apply); `second_end`: the event is one of the end, which only the machine emits. The turn
 *   is unchanged.
 */
export function command(config: TurnConfig, turn: Turn, hostCommand: HostCommand): Step {
  const complete = completeConfig(config)
  const ends = hostCommand.type !== "apply" && hostCommand.type !== "redirect"
  if (turn.position.state.type === "finished" && ends) return unchanged(turn)
  const partial = hostCommand.type === "apply" ? undefined : checkedPartial(complete, turn, hostCommand.partial)
  const answer = hostCommand.type === "cancel" || hostCommand.type === "redirect" ? checkedAnswer(complete, turn, hostCommand.answer) : undefined
  const results = answer?.type === "tool_results" ? answer.results : []
  const spent = addKnown(partial?.usage, partial?.retriedUsage, ...results.map(({ usage }) => usage))
  const contextAt = (at: number | undefined): TurnContext =>
    new TurnContext(complete, turn, at ?? answer?.at, spent && addUsage(turn.position.usage, spent))
  if (hostCommand.type === "redirect") {
    const messages = checkedRedirection(complete, hostCommand)
    return redirect(contextAt(hostCommand.at), turn, messages, { partial, answer })
  }
  const context = contextAt(undefined)
  return accept(applyActions(complete, turn, commandedActions(context, turn, hostCommand, { partial, answer }), context))
}

/** What the outstanding work had done when the turn left it. */
interface Left {
  readonly partial: LlmResponse | undefined
  readonly answer: Response | undefined
}

/** An answer to the outstanding effect; `undefined` if the turn waits for something else. */
function checkedAnswer({ validation }: CompleteTurnConfig, turn: Turn, answer: Response | undefined): Response | undefined {
  const { state } = turn.position
  const checkedOne = answer && (validation?.response(answer) ?? answer)
  const { outstanding = undefined } = "outstanding" in state ? state : {}
  return outstanding !== undefined && checkedOne?.id === outstanding.id && isAnswerTo(outstanding, checkedOne) ? checkedOne : undefined
}

/** The partial answer of the outstanding model call, cut off by the command; `undefined` if the turn waits for something else. */
function checkedPartial({ validation }: CompleteTurnConfig, turn: Turn, partial: LlmResponse | undefined): LlmResponse | undefined {
  const { state } = turn.position
  if (partial === undefined || state.type !== "waiting_llm") return undefined
  const answer: Response = { type: "llm_complete", id: state.outstanding.id, result: { ok: true, response: partial } }
  const checked = validation?.response(answer) ?? answer
  return checked.type === "llm_complete" && checked.result.ok ? { ...checked.result.response, terminalReason: "cancelled" } : undefined
}

type Redirect = Extract<HostCommand, { type: "redirect" }>

/** The messages, checked as a delivery with them at this time is. */
function checkedRedirection({ validation }: CompleteTurnConfig, { messages: userMessages, at }: Redirect): readonly Message[] {
  const delivery: Response = { type: "checkpoint_delivery", id: 1, ...(at !== undefined && { at }), delivery: { userMessages } }
  const response = validation?.response(delivery) ?? delivery
  const messages = (response.type === "checkpoint_delivery" && response.delivery.userMessages) || []
  if (messages.length === 0) throw notRedirectable("/messages", "a turn is redirected with at least one message")
  refuseModelWords(messages)
  return messages
}

/**
 * Refuses messages that claim to be the model's or to answer a tool call: a host does not speak for the model, and each call has one result.
 * @throws {SchemaError} `invalid_response`
 */
export function refuseModelWords(messages: readonly Message[]): void {
  for (const [index, { role, parts }] of messages.entries()) {
    if (role === "assistant") throw notRedirectable(`/messages/${index}/role`, "a message of the user cannot be the model's")
    const place = parts.findIndex(({ type }) => type === "tool_call" || type === "tool_result")
    if (place >= 0) throw notRedirectable(`/messages/${index}/parts/${place}`, "a message of the user has no tool calls and no results")
  }
}

function notRedirectable(path: string, message: string): SchemaError {
  return new SchemaError("invalid_response", `A turn cannot be redirected with these messages: "${path}": ${message}.`, [{ path, message }])
}

/** Leaves what the turn waits for, as an end would, so that its driver sees the messages in a turn with nothing outstanding. */
function redirect(context: TurnContext, turn: Turn, messages: readonly Message[], done: Left): Step {
  const { config } = context
  const { state } = turn.position
  if (state.type === "finished") throw new ProtocolError("turn_finished", "A finished turn cannot be redirected: begin another one.")
  const notice: MachineAction = { type: "emit", event: { type: "message", text: "The user redirected the turn.", kind: "redirected" } }
  const left = applyActions(config, turn, [...leaveWork(context, turn, done, REDIRECTED), notice, { type: "prepare_iteration" }], context)
  return step(config, left.turn, REDIRECTION.run(config, left.turn, state, messages), REDIRECTION.next, left.effects)
}

const REDIRECTED = "The user redirected the turn before this was done."

function commandedActions(context: TurnContext, turn: Turn, hostCommand: Exclude<HostCommand, Redirect>, done: Left): readonly MachineAction[] {
  const left = (reason: string) => leaveWork(context, turn, done, reason)
  switch (hostCommand.type) {
    case "cancel": {
      const { reason = "The turn was cancelled." } = hostCommand
      const notice = checked(context, [{ type: "emit", event: { type: "message", text: reason, kind: "cancelled" } }])
      return [...left(reason), ...notice, { type: "finish", outcome: stopped("cancelled") }]
    }
    case "fail": {
      const failed = failWith(checkedEvent(context, hostCommand.event))
      return [...left(ENDED_WITH_ERROR), ...failed]
    }
    case "finish": {
      const finish = checked(context, [{ type: "finish", outcome: hostCommand.outcome }])
      return [...left(ENDED), ...finish]
    }
    case "apply": {
      const actions = checked(context, hostCommand.actions)
      refuseForeign(actions)
      if (turn.position.state.type === "finished") throw new ProtocolError("turn_finished", "A finished turn does not accept actions.")
      const start = actions.find(({ type }) => type.startsWith("start_") || type === "release_calls" || type === "settle_calls")
      if (start !== undefined)
        throw new ProtocolError("action_starts_work", `Only a driver may ${start.type}; apply accepts actions that do not start work.`)
      for (const [index, action] of actions.entries()) refuseUnstorable("The host", action, index)
      return actions.some(({ type }) => type === "finish") ? [...left(ENDED), ...actions] : actions
    }
  }
}

const ENDED = "The turn was ended."

/**
 * Returns the actions that leave the work which a turn waits for, when it ends or is redirected. The driver is asked what to store of an
 * answer or of code.
 */
function leaveWork(context: TurnContext, turn: Turn, { partial, answer }: Left, reason: string): readonly MachineAction[] {
  const { state } = turn.position
  switch (state.type) {
    case "waiting_llm": {
      const said = partial === undefined ? [] : cutOff(context, turn, state, partial)
      return [{ type: "cancel_llm", id: state.outstanding.id }, ...said]
    }
    case "waiting_exec":
      return stored(context, turn, (driver) =>
        answer?.type === "exec_result" ? driver.onExecResult?.(context, state, answer.result) : driver.onExecCancelled?.(context, state, reason),
      )
    case "waiting_tools": {
      const given = resultsByCall(lateResults(state, answer?.type === "tool_results" ? answer.results : []))
      const shown: CompletedToolCall[] = []
      const resultOf = (call: PendingToolCall): CompletedToolCall => {
        const late = given.get(call.callId)?.pop()
        const result = late ?? cancelledCall(call, reason)
        // The end of a turn ends its open calls. A turn that continues says that they ended.
        if (late !== undefined || reason === REDIRECTED) shown.push(result)
        return result
      }
      const results = leftBatch(state, resultOf)
      if (results.length === 0) return []
      const events = shown.map((result): MachineAction => ({ type: "emit", event: toolCallEvent(result) }))
      return [...events, { type: "count_usage", cumulative: context.usage }, resultsAction(context, "cancelled", results)]
    }
    default:
      return []
  }
}

/** Counts the usage of a model call that is left and lets the driver store what it said. */
function cutOff(context: TurnContext, turn: Turn, waiting: StateOf<"waiting_llm">, partial: LlmResponse): readonly MachineAction[] {
  const { iteration, usage: cumulative } = context
  const counted: MachineAction[] = [
    { type: "count_usage", cumulative },
    { type: "emit", event: { type: "token_usage", iteration, usage: partial.usage, cumulative } },
  ]
  return counted.concat(stored(context, turn, (driver) => driver.onLlmCutOff?.(context, waiting, partial)))
}

/** What the driver stores of work that is left. A driver that throws, or whose actions cannot be applied, does not stop the command. */
function stored(context: TurnContext, turn: Turn, ask: (driver: ProtocolDriver) => readonly DriverAction[] | undefined): readonly MachineAction[] {
  const { config } = context
  try {
    const actions = checkedActions(config, withoutDecisions(ask(config.driver)))
    applyActions(config, turn, actions, context)
    return actions
  } catch (error) {
    return [{ type: "emit", event: driverErrorEvent(config, error) }]
  }
}

/** A host's actions become part of the turn and its checkpoint, so they are checked as its responses are. */
function checked(context: TurnContext, actions: readonly DriverAction[]): readonly DriverAction[] {
  return context.config.validation?.actions(actions) ?? actions
}

/** Checked before it is read, because an event from outside may be anything. */
function checkedEvent(context: TurnContext, event: TurnEvent): TurnEvent {
  const [action = { type: "emit", event }] = checked(context, [{ type: "emit", event }])
  refuseUnstorable("The host", action, 0)
  return action.type === "emit" ? action.event : event
}

/**
 * Applies the result of a rule and the driver's actions that follow it; `first`: the effects before it. A driver that throws, contradicts itself, or neither
 * starts work nor finishes ends the turn as `runtime_error`: the response was accepted, and a turn that cannot continue must
 * not look as if it could.
 */
function step(config: CompleteTurnConfig, turn: Turn, rule: RuleResult, next: readonly StateName[], first: readonly Effect[] = []): Step {
  const { driver } = config
  let { context, actions, ask, rescue } = rule
  let reached = turn
  let before = first
  try {
    let result = applyActions(
      config,
      turn,
      ask === undefined ? actions : actions.concat(withinLimits(context, checkedActions(config, ask()))),
      context,
    )
    // The driver may follow results with one batch that it answers itself. Those that a decision completed are results like any other.
    for (let left = actions.some(({ type }) => type === "take_decisions") ? 2 : 1; left > 0 && result.settled !== undefined; left -= 1) {
      // A batch of which its driver answered what was left needs no host: the driver is asked at once what follows. If it fails, the results stay.
      const { settled } = result
      const after = new TurnContext(config, result.turn)
      context = after
      actions = []
      rescue = () => [resultsAction(after, "tools", settled)]
      reached = result.turn
      before = [...before, ...result.effects]
      result = applyActions(config, reached, withinLimits(after, checkedActions(config, driver.onToolResults(after, settled))), after)
    }
    const { state } = result.turn.position
    const continues = state !== reached.position.state
    if (continues && result.settled === undefined && next.includes(state.type)) return accept(result, before)
    throw new DriverError(
      "no_way_forward",
      `The driver "${driver.name}" neither started work nor finished a turn in "${reached.position.state.type}".`,
    )
  } catch (error) {
    const failed = failWith(driverErrorEvent(config, error))
    // Decisions mean nothing without what the driver makes of them.
    actions = actions.filter(({ type }) => type !== "take_decisions")
    try {
      const rescued = checkedActions(config, rescue?.() ?? [])
      return accept(applyActions(config, reached, [...actions, ...rescued, ...failed], context), before)
    } catch {
      // The driver has failed twice.
      return accept(applyActions(config, reached, [...actions, ...failed], context), before)
    }
  }
}

function driverErrorEvent({ driver }: CompleteTurnConfig, error: unknown): TurnEvent {
  const failure = error instanceof DriverError ? error : new DriverError("driver_threw", `The driver "${driver.name}" threw: ${textOf(error)}`)
  return errorEvent(failure.message, { kind: "driver", code: failure.code })
}

function accept({ turn, effects }: Pick<Step, "turn" | "effects">, before: readonly Effect[] = []): Step {
  return { turn, effects: before.length === 0 ? effects : before.concat(effects), status: "accepted" }
}

function unchanged(turn: Turn): Step {
  return { turn, effects: [], status: "accepted" }
}
