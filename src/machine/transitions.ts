/**
 * Rule 1: everything that decides which state follows is in this file.
 * Rule 2: nothing in this file knows which host or model is on the other side.
 */
import { DriverError, ProtocolError } from "../errors.ts"
import { quoted } from "../text.ts"
import type { DriverAction } from "../wire/action.ts"
import type { AnswerableEffect, Effect, ToolCalls } from "../wire/effect.ts"
import type { CheckpointKind } from "../wire/event.ts"
import type { CheckpointDelivery, Message } from "../wire/message.ts"
import type { Response } from "../wire/response.ts"
import type { MachineAction } from "./apply-actions.ts"
import { completeBatch, leftBatch, pendingCall, placeResults, type RefusedCall } from "./batch.ts"
import type { CompleteTurnConfig } from "./config.ts"
import { TurnContext } from "./context.ts"
import { deliveryActions, isSilent } from "./delivery.ts"
import type { WaitingDecisions } from "./driver.ts"
import { placeDecisions, undecidedCalls } from "./held.ts"
import { addKnown, addUsage, refineTerminalReason } from "./limits.ts"
import {
  cancelledCall,
  debugLog,
  ENDED_WITH_ERROR,
  errorEvent,
  errorLog,
  failureActions,
  failWith,
  resultsAction,
  shownActions,
  stopped,
  terminalActions,
  toolCallEvent,
} from "./terminal.ts"
import type { StateName, StateOf, Turn, TurnState } from "./turn.ts"
import { endAtLimit, reachedLimit } from "./turn-limits.ts"

/** The tag of a response. */
export type ResponseType = Response["type"]
/** The response with that tag. */
export type ResponseOf<Type extends ResponseType> = Extract<Response, { type: Type }>

/** The result of a rule: the machine's own actions, and then the driver's, if it is asked. */
export interface RuleResult {
  readonly context: TurnContext
  readonly actions: readonly MachineAction[]
  readonly ask?: () => readonly MachineAction[]
  /** What to store if the driver fails when it is asked. */
  readonly rescue?: () => readonly MachineAction[]
  /** The response repeats what the turn knows, and changes nothing. */
  readonly isStale?: true
}

/** One rule: what runs, and the states that may follow. */
export interface Rule<State extends StateName, Type extends ResponseType> {
  readonly run: (config: CompleteTurnConfig, turn: Turn, state: StateOf<State>, response: ResponseOf<Type>) => RuleResult
  readonly next: readonly StateName[]
}
/** A row for each state; in it, a rule for each response that the state accepts. */
export type TransitionTable = { readonly [State in StateName]: { readonly [Type in ResponseType]?: Rule<State, Type> } }

/** A driver that is asked may start any work, or end the turn. */
export const DRIVER_CHOICE = ["waiting_llm", "waiting_tools", "waiting_exec", "waiting_checkpoint", "finished"] as const

/** The whole protocol. A response that its state has no rule for is refused. */
export const TRANSITIONS = {
  preparing: {}, // left when the host polls: see PREPARATION
  waiting_execution_surface: {
    execution_surface_synced: { run: syncSurface, next: ["prepare_iteration", "finished"] },
  },
  prepare_iteration: {}, // left when the host polls: see PREPARATION
  waiting_llm: {
    llm_complete: { run: completeModelCall, next: DRIVER_CHOICE },
  },
  waiting_tools: {
    tool_results: { run: collectResults, next: DRIVER_CHOICE },
    tool_decisions: { run: decideCalls, next: DRIVER_CHOICE },
    tool_pending: { run: awaitCall, next: ["waiting_tools"] },
  },
  waiting_exec: {
    exec_result: { run: completeExec, next: DRIVER_CHOICE },
  },
  waiting_checkpoint: {
    checkpoint_delivery: { run: deliver, next: ["prepare_iteration", ...DRIVER_CHOICE] },
  },
  finished: {},
} as const satisfies TransitionTable

/** The two states that a poll leaves, and the states that may follow. */
export const PREPARATION = {
  preparing: { run: prepare, next: ["waiting_execution_surface", ...DRIVER_CHOICE] },
  prepare_iteration: { run: prepare, next: ["waiting_execution_surface", ...DRIVER_CHOICE] },
} as const satisfies { readonly [State in StateName]?: { run: (config: CompleteTurnConfig, turn: Turn) => RuleResult; next: readonly StateName[] } }

/** A redirection by the host leaves every state but `finished`, in a turn whose work was stopped before. */
export const REDIRECTION = { run: redirect, next: ["prepare_iteration", ...DRIVER_CHOICE] } as const

/** Which responses answer which effect. */
export const ANSWERS = {
  sync_execution_surface: ["execution_surface_synced"],
  llm_call: ["llm_complete"],
  tool_calls: ["tool_results", "tool_decisions", "tool_pending"],
  exec_code: ["exec_result"],
  checkpoint: ["checkpoint_delivery"],
} as const satisfies Record<AnswerableEffect["type"], readonly ResponseType[]>

/** Whether an effect waits for an answer. A release of calls and a `cancel_llm` have an id, too, but it is that of another effect. */
export function isAnswerable(effect: Effect | undefined): effect is AnswerableEffect {
  return effect !== undefined && Object.hasOwn(ANSWERS, effect.type)
}

/** Whether a response may answer an effect, by their types. */
export function isAnswerTo(effect: AnswerableEffect, { type }: Pick<Response, "type">): boolean {
  return (ANSWERS[effect.type] as readonly ResponseType[]).includes(type)
}

function prepare(config: CompleteTurnConfig, turn: Turn): RuleResult {
  const context = new TurnContext(config, turn)
  const limit = reachedLimit(context)
  if (limit !== undefined) return { context, actions: endAtLimit(context, limit) }
  if (config.syncExecutionSurface && turn.position.syncedIteration !== turn.position.iteration) {
    // At the start of a turn the config is up to date; the effect only notifies the host that a turn begins.
    return { context, actions: [{ type: "start_sync", updateMachineConfig: turn.position.state.type !== "preparing" }] }
  }
  return { context, actions: [], ask: () => config.driver.prepareIteration(context) }
}

function syncSurface(config: CompleteTurnConfig, turn: Turn, _state: TurnState, { at, result }: ResponseOf<"execution_surface_synced">): RuleResult {
  const context = new TurnContext(config, turn, at)
  if (result.ok) {
    return { context, actions: [{ type: "set_surface", update: result.update }, { type: "prepare_iteration" }] }
  }
  const message = `Execution surface not refreshed: ${result.error}`
  const event = errorEvent(message, { kind: "execution_surface", code: "reconfigure_failed", raw: result.error })
  return { context, actions: failWith(event) }
}

function completeModelCall(config: CompleteTurnConfig, turn: Turn, state: StateOf<"waiting_llm">, answer: ResponseOf<"llm_complete">): RuleResult {
  const { driver, sessionId, emitLlmTrace } = config
  const { iteration } = turn.position
  const { result } = answer
  // A failed call may have used tokens.
  const usage = result.ok ? result.response.usage : (result.error.usage ?? result.partial?.usage)
  const retried = result.ok ? result.response.retriedUsage : (result.error.retriedUsage ?? result.partial?.retriedUsage)
  const counted = addKnown(usage, retried)
  const cumulative = counted === undefined ? turn.position.usage : addUsage(turn.position.usage, counted)
  const context = new TurnContext(config, turn, answer.at, cumulative)
  const actions: MachineAction[] = [{ type: "count_usage", cumulative }]
  if (usage !== undefined) actions.push({ type: "emit", event: { type: "token_usage", iteration, usage, cumulative } })
  const textStreamed = answer.textStreamed === true
  // Its text is not an answer to the user.
  const isSideCall = state.outstanding.purpose !== undefined
  if (!result.ok) {
    const { error, partial } = result
    if (emitLlmTrace) actions.push({ type: "log", event: errorLog(sessionId, iteration, error) })
    if (partial !== undefined && !isSideCall) actions.push(...shownActions(partial, textStreamed, iteration))
    const ask = (): readonly DriverAction[] => {
      const stored = partial === undefined ? [] : withoutDecisions(driver.onLlmCutOff?.(context, { ...state, failed: true }, partial))
      return [...stored, ...(driver.onLlmFailed?.(context, state, error) ?? failureActions(error))]
    }
    return { context, actions, ask }
  }

  const response = refineTerminalReason(config, result.response)
  if (emitLlmTrace) actions.push({ type: "log", event: debugLog(sessionId, iteration, response) })
  const ending = terminalActions(response)
  if (ending === undefined) {
    const rescue = (): readonly MachineAction[] => withoutDecisions(driver.onLlmCutOff?.(context, state, response))
    return { context, actions, rescue, ask: () => driver.onLlmComplete(context, state, response, textStreamed) }
  }
  if (!isSideCall) actions.push(...shownActions(response, textStreamed, iteration))
  return { context, actions, ask: () => orElse(driver.onLlmCutOff?.(context, state, response) ?? [], ending) }
}

/** Accepts results in any order and split. The driver is asked once, when none is missing, and gets them in call order. */
function collectResults(config: CompleteTurnConfig, turn: Turn, state: StateOf<"waiting_tools">, response: ResponseOf<"tool_results">): RuleResult {
  const { arrived, refused } = placeResults(state, response.results)
  if (refused !== undefined) throw callRefused(state.outstanding, refused)

  const usage = addKnown(...arrived.map(({ result }) => result.usage))
  const cumulative = usage === undefined ? turn.position.usage : addUsage(turn.position.usage, usage)
  const context = new TurnContext(config, turn, response.at, cumulative)
  const events = arrived.map(({ result }): MachineAction => ({ type: "emit", event: toolCallEvent(result) }))
  const actions: readonly MachineAction[] = [...events, { type: "count_usage", cumulative }]
  const all = completeBatch(state, arrived)
  if (all === undefined) return { context, actions: [...actions, { type: "store_results", arrived }] }
  return { context, actions, ask: () => config.driver.onToolResults(context, all), rescue: () => [resultsAction(context, "tools", all)] }
}

const REFUSED: { readonly [Why in RefusedCall["why"]]: (call: string, id: number) => string } = {
  unknown_call: (call, id) => `Effect ${id} has no call ${call}.`,
  call_already_answered: (call, id) => `The call ${call} of effect ${id} already has its result.`,
  call_is_held: (call, id) => `The call ${call} of effect ${id} waits for a decision; it must not have run.`,
  call_is_pending: (call, id) => `The call ${call} of effect ${id} is pending under another token.`,
  call_not_unique: (call, id) => `Effect ${id} has several calls ${call}, so a report cannot name one of them.`,
}

function callRefused({ id }: ToolCalls, { callId, why }: RefusedCall): ProtocolError {
  return new ProtocolError(why, REFUSED[why](quoted(callId), id))
}

/** Accepts decisions about held calls in any order and split. The driver is asked which calls they release, and which they settle. */
function decideCalls(config: CompleteTurnConfig, turn: Turn, state: StateOf<"waiting_tools">, response: ResponseOf<"tool_decisions">): RuleResult {
  const context = new TurnContext(config, turn, response.at)
  const { decisions, refused } = placeDecisions(state, response.decisions, context.at)
  if (refused !== undefined) throw new ProtocolError(refused.why, refused.message)
  if (decisions.length === 0) return { context, actions: [], isStale: true }
  const { driver } = config
  const waiting = waitingDecisions(state)
  const ask = (): readonly DriverAction[] => {
    if (driver.onToolDecisions !== undefined) return driver.onToolDecisions(context, waiting, decisions)
    throw new DriverError("missing_callback", `The driver "${driver.name}" holds calls but has no onToolDecisions.`)
  }
  const rescue = (): readonly MachineAction[] => [
    resultsAction(
      context,
      "tools",
      leftBatch(state, (call) => cancelledCall(call, ENDED_WITH_ERROR)),
    ),
  ]
  return { context, actions: [{ type: "take_decisions", decisions }], ask, rescue }
}

/** The list is built when it is first read: one decision about a batch of thousands need not go through all of them. */
function waitingDecisions(state: StateOf<"waiting_tools">): WaitingDecisions {
  let held: WaitingDecisions["held"] | undefined
  return {
    id: state.outstanding.id,
    get held() {
      held ??= undecidedCalls(state)
      return held
    },
  }
}

function awaitCall(config: CompleteTurnConfig, turn: Turn, state: StateOf<"waiting_tools">, response: ResponseOf<"tool_pending">): RuleResult {
  const context = new TurnContext(config, turn, response.at)
  const call = pendingCall(state, response)
  if (call === "known") return { context, actions: [], isStale: true }
  if ("why" in call) throw callRefused(state.outstanding, call)
  const { callId, toolName: name, token, note } = call
  const event = { type: "tool_pending", callId, name, token, ...(note !== undefined && { note }) } as const
  return {
    context,
    actions: [
      { type: "store_pending", call },
      { type: "emit", event },
    ],
  }
}

function completeExec(config: CompleteTurnConfig, turn: Turn, state: StateOf<"waiting_exec">, { at, result }: ResponseOf<"exec_result">): RuleResult {
  const context = new TurnContext(config, turn, at)
  const { driver } = config
  const ask = (): readonly DriverAction[] => {
    if (driver.onExecResult !== undefined) return driver.onExecResult(context, state, result)
    throw new DriverError("missing_callback", `The driver "${driver.name}" starts exec_code but has no onExecResult.`)
  }
  const rescue = (): readonly MachineAction[] => withoutDecisions(driver.onExecCancelled?.(context, state, ENDED_WITH_ERROR))
  return { context, actions: [], ask, rescue }
}

function deliver(
  config: CompleteTurnConfig,
  turn: Turn,
  state: StateOf<"waiting_checkpoint">,
  response: ResponseOf<"checkpoint_delivery">,
): RuleResult {
  const context = new TurnContext(config, turn, response.at)
  const { delivery } = response
  const silent = isSilent(context, delivery)
  if (silent && !delivery.events?.length) return { context, actions: [state.onEmpty] }

  const { checkpoint } = state.outstanding
  // Events alone do not lead to another model call, unless the driver starts one.
  if (silent) {
    const ask = (): readonly DriverAction[] => config.driver.onDelivery?.(context, checkpoint, delivery) ?? []
    return { context, actions: deliveryActions(context, delivery), ask: () => orElse(ask(), [state.onEmpty]) }
  }
  return continueWith(context, turn, { checkpoint, delivery, isNewIteration: checkpoint === "before_completion" })
}

/** The messages are delivered as between two iterations. `left`: the state that the turn was in. */
function redirect(config: CompleteTurnConfig, turn: Turn, left: TurnState, userMessages: readonly Message[]): RuleResult {
  // Before its first effect, at its surface, at a side call and at a checkpoint after work, the iteration has not begun.
  const isCompleting = left.type === "waiting_checkpoint" && left.outstanding.checkpoint === "before_completion"
  const isAnswering = left.type === "waiting_llm" && left.outstanding.purpose === undefined
  const isNewIteration = isCompleting || isAnswering || left.type === "waiting_tools" || left.type === "waiting_exec"
  return continueWith(new TurnContext(config, turn), turn, { checkpoint: "after_work", delivery: { userMessages }, isNewIteration })
}

/** What a turn continues with. */
interface Continuation {
  readonly checkpoint: CheckpointKind
  readonly delivery: CheckpointDelivery
  /** The iteration of the turn is over. At the turn's limit one more follows, with a message that says so, and no second one. */
  readonly isNewIteration: boolean
}

/** Continues a turn with what was delivered: the driver is asked what it means. If it starts nothing, the turn prepares anew. */
function continueWith(context: TurnContext, turn: Turn, { checkpoint, delivery, isNewIteration }: Continuation): RuleResult {
  const { driver } = context.config
  const actions: MachineAction[] = [...deliveryActions(context, delivery)]
  if (isNewIteration) {
    actions.push({ type: "advance_iteration" })
    if (turn.position.turnLimitScheduled) return { context, actions: [...actions, { type: "finish", outcome: stopped("max_iterations") }] }
  }
  const announce = isNewIteration && context.limitReached(1)
  // If the driver starts work or finishes, that replaces preparing.
  const prepare = (): readonly MachineAction[] => [
    ...(announce ? [{ type: "schedule_turn_limit_final" as const, message: context.turnLimitMessage("last_iteration") }] : []),
    { type: "prepare_iteration" },
  ]
  return { context, actions, ask: () => [...prepare(), ...(driver.onDelivery?.(context, checkpoint, delivery) ?? [])] }
}

/** The driver's actions if they start work or finish; otherwise `next` follows them. */
function orElse(actions: readonly DriverAction[], next: readonly MachineAction[]): readonly MachineAction[] {
  return actions.some(decides) ? actions : [...actions, ...next]
}

/** Whether an action decides how the turn continues: it starts work, or finishes. */
function decides({ type }: DriverAction): boolean {
  return type === "finish" || type.startsWith("start_")
}

/** What a driver stores where it is not asked how the turn continues. */
export function withoutDecisions(actions: readonly DriverAction[] | undefined): readonly DriverAction[] {
  return (actions ?? []).filter((action) => !decides(action))
}
