import { castDraft, Immer } from "immer"
import { DriverError } from "../errors.ts"
import type { DriverAction } from "../wire/action.ts"
import type { AnswerableEffect, Effect } from "../wire/effect.ts"
import type { LogEvent, Outcome } from "../wire/event.ts"
import type { TokenUsage } from "../wire/llm.ts"
import type { HistoryRecord, Message, TurnCause } from "../wire/message.ts"
import type { CompletedToolCall, ToolSpec } from "../wire/tool.ts"
import type { CompleteTurnConfig } from "./config.ts"
import { doneEffect, progressEffect } from "./effects.ts"
import type { History } from "./history.ts"
import { limitReached } from "./limits.ts"
import type { StateOf, Turn, TurnPosition, TurnRecord, TurnState } from "./turn.ts"

/** What the machine itself does to a turn, in one list with what its driver orders. */
export type MachineAction =
  | DriverAction
  | { readonly type: "log"; readonly event: LogEvent }
  | { readonly type: "count_usage"; readonly cumulative: TokenUsage }
  | { readonly type: "keep_results"; readonly arrived: readonly ArrivedResult[] }
  | { readonly type: "append_messages"; readonly messages: readonly Message[] }
  | { readonly type: "add_turn_causes"; readonly turnCauses: readonly TurnCause[] }
  | { readonly type: "start_sync"; readonly updateMachineConfig: boolean }
  | { readonly type: "take_surface"; readonly update: { readonly systemPrompt: string; readonly tools: readonly ToolSpec[] } | undefined }
  | { readonly type: "prepare_iteration" }
  | { readonly type: "cancel_llm"; readonly id: number }

/** A result with its place in the batch. */
export interface ArrivedResult {
  readonly index: number
  readonly result: CompletedToolCall
}

/** What a step changes besides what its actions say: the time seen, and the message ids drawn. */
export interface StepFacts {
  readonly at: number | undefined
  readonly nextMessageNumber: number
}

type WaitingState = Extract<TurnState, { outstanding: AnswerableEffect }>

// Auto-freezing would walk what it is given, tool results of any size; turns are readonly by type.
const { produce } = new Immer({ autoFreeze: false })

/**
 * Applies one list of actions and gives the turn after it with the list's effects, in order. The one place that makes a
 * next turn. What became durable is told in one `progress`: right before the work that the list starts, else before its
 * end, else last.
 * @throws {DriverError} the list starts two pieces of work, goes on after a finish, or holds no known action
 */
export function applyActions(
  config: CompleteTurnConfig,
  turn: Turn,
  actions: readonly MachineAction[],
  facts: StepFacts,
): { turn: Turn; effects: Effect[] } {
  const effects: Effect[] = []
  let { state, iteration, syncedIteration, turnLimitScheduled, nextEffectId, usage } = turn.position
  let { messages, events, turnCauses } = turn.record
  let { surface } = turn
  let work: AnswerableEffect | undefined
  let outcome: Outcome | undefined
  let untold = false

  for (const action of actions) {
    if (outcome !== undefined) throw new DriverError("action_after_finish", `A list of actions goes on with ${action.type} after finish.`)
    let started: WaitingState | undefined
    switch (action.type) {
      case "emit":
        effects.push({ type: "emit", event: action.event })
        break
      case "log":
        effects.push({ type: "log", event: action.event })
        break
      case "cancel_llm":
        effects.push({ type: "cancel_llm", id: action.id })
        break
      case "append_events":
        if (action.events.length === 0) break
        events = events.append(action.events)
        messages = appendConversation(messages, action.events)
        untold = true
        break
      case "append_messages":
        // Also where nothing is left of a delivery: it counted, and so it is told.
        messages = messages.append(action.messages)
        untold = true
        break
      case "add_turn_causes":
        turnCauses = [...turnCauses, ...action.turnCauses]
        break
      case "count_usage":
        usage = action.cumulative
        break
      case "keep_results":
        if (state.type === "waiting_tools") state = keepResults(state, action.arrived)
        break
      case "take_surface":
        syncedIteration = iteration
        if (action.update !== undefined) surface = { systemPrompt: action.update.systemPrompt, tools: action.update.tools }
        break
      case "advance_iteration":
        iteration += 1
        syncedIteration = undefined
        untold = true
        break
      case "schedule_turn_limit_final":
        if (turnLimitScheduled || !limitReached(config, turn.position.iterationOffset, iteration)) break
        turnLimitScheduled = true
        messages = messages.append([action.message])
        untold = true
        break
      case "prepare_iteration":
        state = PREPARE_ITERATION
        break
      case "start_sync": {
        const { updateMachineConfig } = action
        started = { type: "waiting_execution_surface", outstanding: { type: "sync_execution_surface", id: nextEffectId, updateMachineConfig } }
        break
      }
      case "start_llm": {
        const tools = surface.tools.map((tool) => tool.name)
        effects.push({ type: "emit", event: { type: "llm_request", iteration, messageCount: messages.length, tools } })
        const waiting = { type: "waiting_llm", outstanding: { type: "llm_call", id: nextEffectId, request: action.request } } as const
        started = action.driverState === undefined ? waiting : { ...waiting, driverState: action.driverState }
        break
      }
      case "start_tools": {
        const { calls } = action
        started = { type: "waiting_tools", outstanding: { type: "tool_calls", id: nextEffectId, calls }, results: calls.map(() => null) }
        break
      }
      case "start_exec": {
        const { code, language, driverState } = action
        const outstanding = { type: "exec_code", id: nextEffectId, code } as const
        started = { type: "waiting_exec", outstanding: language === undefined ? outstanding : { ...outstanding, language }, driverState }
        break
      }
      case "start_checkpoint": {
        const { checkpoint, onEmpty } = action
        started = { type: "waiting_checkpoint", outstanding: { type: "checkpoint", id: nextEffectId, checkpoint }, onEmpty }
        break
      }
      case "finish":
        if (work !== undefined) throw new DriverError("two_starts", `One list of actions starts ${work.type} and finishes the turn.`)
        outcome = action.outcome
        state = { type: "finished", outcome }
        break
      default:
        throw new DriverError("unknown_action", `A list holds an action of no known type: ${String((action as { type?: unknown } | null)?.type)}.`)
    }
    if (started === undefined) continue
    if (work !== undefined)
      throw new DriverError("two_starts", `One list starts ${work.type} and ${started.outstanding.type}; a turn waits for one effect at a time.`)
    nextEffectId += 1
    state = started
    work = started.outstanding
    effects.push(work)
  }

  const { at, nextMessageNumber } = facts
  const { reportedEvents } = turn.record
  const { iterationOffset } = turn.position
  const position: TurnPosition = {
    state,
    iteration,
    iterationOffset,
    syncedIteration,
    turnLimitScheduled,
    nextEffectId,
    nextMessageNumber,
    usage,
    at,
  }
  const changed = untold || turnCauses !== turn.record.turnCauses
  const record: TurnRecord = changed ? { messages, events, turnCauses, reportedEvents: untold ? events.length : reportedEvents } : turn.record
  const next: Turn = { position, record, surface }
  if (untold) tellProgress(effects, reportedEvents, next, work)
  if (outcome !== undefined) tellEnd(effects, next, outcome)
  return { turn: next, effects }
}

/** Puts results into their places; the batch itself and the results that came before are shared with the old state. */
function keepResults(state: StateOf<"waiting_tools">, arrived: readonly ArrivedResult[]): TurnState {
  return produce(state, (draft) => {
    for (const { index, result } of arrived) draft.results[index] = castDraft(result)
  })
}

const PREPARE_ITERATION: TurnState = { type: "prepare_iteration" }

function appendConversation(messages: History<Message>, records: readonly HistoryRecord[]): History<Message> {
  const said: Message[] = []
  for (const record of records) if (record.type === "conversation") said.push(record.message)
  return messages.append(said)
}

/** Puts one `progress` right before the work that waits for its answer; last, if no work was started. */
function tellProgress(effects: Effect[], from: number, { record, position }: Turn, work: AnswerableEffect | undefined): void {
  const progress = progressEffect(record.messages, record.events.slice(from), position.iteration)
  if (work === undefined) effects.push(progress)
  else effects.splice(effects.lastIndexOf(work), 0, progress)
}

function tellEnd(effects: Effect[], { record, position }: Turn, outcome: Outcome): void {
  effects.push({ type: "emit", event: { type: "turn_outcome", outcome } }, { type: "emit", event: { type: "done" } })
  effects.push(doneEffect(outcome, record.messages, [], position.iteration))
}
