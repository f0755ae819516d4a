import { castDraft, Immer } from "immer"
import { DriverError } from "../errors.ts"
import type { DriverAction, ReleaseCalls, SettleCalls, StartTools } from "../wire/action.ts"
import type { Decision, ExternalCall } from "../wire/approval.ts"
import type { SettledCall } from "../wire/checkpoint.ts"
import type { AnswerableEffect, Effect, ToolCalls, ToolCallsReleased } from "../wire/effect.ts"
import type { LogEvent, Outcome } from "../wire/event.ts"
import type { TokenUsage } from "../wire/llm.ts"
import type { HistoryRecord, Message, TurnCause } from "../wire/message.ts"
import type { CompletedToolCall, ToolSpec } from "../wire/tool.ts"
import { type Batch, completeBatch, divideBatch, placeSettled, WaitingTools } from "./batch.ts"
import type { CompleteTurnConfig } from "./config.ts"
import { heldUntil } from "./context.ts"
import { doneEffect, progressEffect } from "./effects.ts"
import { type ConcludedDecisions, concludeDecisions, holdCalls } from "./held.ts"
import type { History } from "./history.ts"
import { addKnown, limitReached } from "./limits.ts"
import { toolCallEvent } from "./terminal.ts"
import type { ExecutionSurface, Turn, TurnPosition, TurnRecord, TurnState } from "./turn.ts"

/** The machine's own actions on a turn, in one list with its driver's. */
export type MachineAction =
  | DriverAction
  | { readonly type: "log"; readonly event: LogEvent }
  | { readonly type: "count_usage"; readonly cumulative: TokenUsage }
  | { readonly type: "store_results"; readonly arrived: readonly SettledCall[] }
  | { readonly type: "take_decisions"; readonly decisions: readonly Decision[] }
  | { readonly type: "store_pending"; readonly call: ExternalCall }
  | { readonly type: "append_messages"; readonly messages: readonly Message[] }
  | { readonly type: "add_turn_causes"; readonly turnCauses: readonly TurnCause[] }
  | { readonly type: "start_sync"; readonly updateMachineConfig: boolean }
  | { readonly type: "set_surface"; readonly update: { readonly systemPrompt: string; readonly tools: readonly ToolSpec[] } | undefined }
  | { readonly type: "prepare_iteration" }
  | { readonly type: "cancel_llm"; readonly id: number }

/** What a step changes in addition to its actions: the latest time, and the counter of message ids. */
export interface StepFacts {
  readonly at: number | undefined
  readonly nextMessageNumber: number
}

type WaitingState = Extract<TurnState, { outstanding: AnswerableEffect }>

/**
 * Applies one list of actions and returns the next turn with the effects of the list, in order. The only place that makes a
 * next turn. One `progress` reports what became durable: right before the work that the list starts, else before the end of
 * the turn, else last.
 * @throws {DriverError} `two_starts`, `action_after_finish`, `unknown_action`, `unknown_settled_call`, `invalid_hold`, `invalid_decision`,
 *   `missing_callback`
 */
export function applyActions(config: CompleteTurnConfig, turn: Turn, actions: readonly MachineAction[], facts: StepFacts): Applied {
  const effects: Effect[] = []
  let { state, iteration, syncedIteration, turnLimitScheduled, surfaceChanged, nextEffectId, usage } = turn.position
  let { messages, events, turnCauses } = turn.record
  let { surface } = turn
  let work: AnswerableEffect | undefined
  let settled: readonly CompletedToolCall[] | undefined
  let outcome: Outcome | undefined
  let hasUnreported = false
  let decisions: readonly Decision[] | undefined
  const verdicts: (ReleaseCalls | SettleCalls)[] = []

  for (const action of actions) {
    if (outcome !== undefined) throw new DriverError("action_after_finish", `A list of actions has ${action.type} after finish.`)
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
        hasUnreported = true
        break
      case "append_messages":
        // Also when no message of a delivery remains: the delivery counted, so it is reported.
        messages = messages.append(action.messages)
        hasUnreported = true
        break
      case "add_turn_causes":
        turnCauses = turnCauses.append(action.turnCauses)
        break
      case "count_usage":
        usage = action.cumulative
        break
      case "store_results":
        if (state.type === "waiting_tools") state = state.withResults(action.arrived)
        break
      case "store_pending":
        if (state.type === "waiting_tools") state = state.with({ pending: [...state.pending, action.call] })
        break
      case "take_decisions":
        decisions = action.decisions
        break
      case "release_calls":
      case "settle_calls":
        verdicts.push(action)
        break
      case "set_surface":
        syncedIteration = iteration
        if (action.update === undefined) break
        surface = synced(surface, action.update)
        surfaceChanged ||= surface !== turn.surface
        break
      case "advance_iteration":
        iteration += 1
        syncedIteration = undefined
        hasUnreported = true
        break
      case "schedule_turn_limit_final":
        if (turnLimitScheduled || !limitReached(config, turn.position.iterationOffset, iteration)) break
        turnLimitScheduled = true
        messages = messages.append([action.message])
        hasUnreported = true
        break
      case "prepare_iteration":
        // A new value also where the turn prepares already: it was decided anew.
        state = { type: "prepare_iteration" }
        break
      case "start_sync": {
        const { updateMachineConfig } = action
        started = { type: "waiting_execution_surface", outstanding: { type: "sync_execution_surface", id: nextEffectId, updateMachineConfig } }
        break
      }
      case "start_llm": {
        const tools = surface.tools.map((tool) => tool.name)
        const purpose = action.purpose === undefined ? undefined : { purpose: action.purpose }
        effects.push({ type: "emit", event: { type: "llm_request", iteration, messageCount: messages.length, tools, ...purpose } })
        const waiting = { type: "waiting_llm", outstanding: { type: "llm_call", id: nextEffectId, request: action.request, ...purpose } } as const
        started = action.driverState === undefined ? waiting : { ...waiting, driverState: action.driverState }
        surfaceChanged = false
        break
      }
      case "start_tools": {
        const batch = divideBatch(action.calls, action.settled)
        for (const { result } of batch.settled) effects.push({ type: "emit", event: toolCallEvent(result) })
        usage = addKnown(usage, ...batch.settled.map(({ result }) => result.usage)) ?? usage
        if (batch.settled.length > 0 && batch.open.length === 0) {
          if (work !== undefined || settled !== undefined)
            throw new DriverError("two_starts", `One list starts ${work?.type ?? "a batch of tool calls"} and a batch of tool calls.`)
          settled = batch.settled.map(({ result }) => result)
          break
        }
        const outstanding: ToolCalls = { type: "tool_calls", id: nextEffectId, ...openBatch(config, nextEffectId, action, batch) }
        for (const call of outstanding.held ?? []) effects.push({ type: "emit", event: { type: "approval_requested", held: call } })
        started = new WaitingTools(outstanding, batch.settled.length === 0 ? {} : { settled: batch.settled })
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
        if (work !== undefined || settled !== undefined)
          throw new DriverError("two_starts", `One list of actions starts ${work?.type ?? "a batch of tool calls"} and finishes the turn.`)
        outcome = action.outcome
        state = { type: "finished", outcome }
        break
      default:
        throw new DriverError("unknown_action", `A list has an action of an unknown type: ${String((action as { type?: unknown }).type)}.`)
    }
    if (started === undefined) continue
    if (work !== undefined || settled !== undefined)
      throw new DriverError(
        "two_starts",
        `One list starts ${work?.type ?? "a batch of tool calls"} and ${started.outstanding.type}; a turn waits for one effect at a time.`,
      )
    nextEffectId += 1
    state = started
    work = started.outstanding
    effects.push(work)
  }

  let released: ToolCallsReleased | undefined
  if (decisions !== undefined || verdicts.length > 0) {
    const concluded = conclude(turn, decisions, verdicts, settled === undefined ? (work ?? outcome) : { type: "tool_calls" })
    const decided = concluded.state.with({ decided: concluded.decided })
    const arrived = placeSettled(decided, concluded.settled)
    const waiting = decided.withResults(arrived)
    for (const event of concluded.events) effects.push({ type: "emit", event })
    for (const { result } of arrived) effects.push({ type: "emit", event: toolCallEvent(result) })
    usage = addKnown(usage, ...arrived.map(({ result }) => result.usage)) ?? usage
    settled = completeBatch(waiting, [])
    state = waiting
    // One without calls is left out when it is polled, as is one whose calls were all answered in the meantime.
    released = { type: "tool_calls_released", id: waiting.outstanding.id, calls: concluded.released }
    effects.push(released)
  }

  const { at, nextMessageNumber } = facts
  const { reportedEvents, startLength } = turn.record
  const { iterationOffset, deadlineAt } = turn.position
  const position: TurnPosition = {
    state,
    iteration,
    iterationOffset,
    deadlineAt,
    syncedIteration,
    turnLimitScheduled,
    surfaceChanged,
    nextEffectId,
    nextMessageNumber,
    usage,
    at,
    heldSince: (state.type === "waiting_tools" && state.isHeld) || endedHeld(turn, state, at) ? at : undefined,
    heldMs: heldUntil(turn.position, at),
  }
  // Turn causes come with the messages of their delivery.
  const record: TurnRecord = hasUnreported ? { messages, events, turnCauses, reportedEvents: events.length, startLength } : turn.record
  const next: Turn = { position, record, surface }
  if (hasUnreported) insertProgress(effects, reportedEvents, next, work ?? released)
  if (outcome !== undefined) appendEnd(effects, next, outcome)
  return { turn: next, effects, settled }
}

/** Whether a command ended a turn that waited for people: a host that has the time of the end can compute how long. */
function endedHeld({ position }: Turn, state: TurnState, at: number | undefined): boolean {
  return state.type === "finished" && position.heldSince !== undefined && position.at === at
}

/** The next turn, with the effects of its list. */
export interface Applied {
  readonly turn: Turn
  readonly effects: Effect[]
  /** The results of a batch that the list starts or completes, and that needs no host any more. The driver is to be asked what follows. */
  readonly settled: readonly CompletedToolCall[] | undefined
}

/**
 * The calls of a batch that its driver did not settle: those that may run, and those that it holds.
 * @throws {DriverError} `invalid_hold`, `missing_callback`
 */
function openBatch(
  { driver }: CompleteTurnConfig,
  id: number,
  { calls, held: holds = [] }: StartTools,
  { settled, open }: Batch,
): Pick<ToolCalls, "calls" | "held"> {
  if (holds.length === 0) return { calls: open }
  const batch = holdCalls(id, calls, settled, holds)
  if (batch.held.length === 0) return { calls: batch.calls }
  if (driver.onToolDecisions === undefined)
    throw new DriverError("missing_callback", `The driver "${driver.name}" holds calls but has no onToolDecisions.`)
  return batch
}

/** @throws {DriverError} `invalid_decision` */
function conclude(
  { position: { state } }: Turn,
  decisions: readonly Decision[] | undefined,
  verdicts: readonly (ReleaseCalls | SettleCalls)[],
  end: { readonly type: string } | undefined,
): ConcludedDecisions & { readonly state: WaitingTools } {
  if (decisions === undefined || state.type !== "waiting_tools")
    throw new DriverError("invalid_decision", `A driver may use ${verdicts[0]?.type} only in answer to a decision.`)
  if (end !== undefined)
    throw new DriverError("invalid_decision", `In answer to a decision, a driver may not start or end anything, such as ${end.type}.`)
  return { state, ...concludeDecisions(state, decisions, verdicts) }
}

// Auto-freezing would walk schemas of any size.
const { produce } = new Immer({ autoFreeze: false })

/** The surface with what changed in it; the same one if nothing did. Tools are compared as JSON: a host may return new objects for them. */
function synced(surface: ExecutionSurface, { systemPrompt, tools }: ExecutionSurface): ExecutionSurface {
  return produce(surface, (draft) => {
    draft.systemPrompt = systemPrompt
    if (JSON.stringify(surface.tools) !== JSON.stringify(tools)) draft.tools = castDraft(tools)
  })
}

function appendConversation(messages: History<Message>, records: readonly HistoryRecord[]): History<Message> {
  const spoken: Message[] = []
  for (const record of records) if (record.type === "conversation") spoken.push(record.message)
  return messages.append(spoken)
}

/** Inserts one `progress` right before the work that is started or released; last, if there is none. */
function insertProgress(effects: Effect[], from: number, { record, position }: Turn, work: Effect | undefined): void {
  const progress = progressEffect(record.messages, record.events.slice(from), from, position.iteration)
  if (work === undefined) effects.push(progress)
  else effects.splice(effects.lastIndexOf(work), 0, progress)
}

function appendEnd(effects: Effect[], { record, position }: Turn, outcome: Outcome): void {
  effects.push({ type: "emit", event: { type: "turn_outcome", outcome } }, { type: "emit", event: { type: "done" } })
  effects.push(doneEffect(outcome, record.messages, [], record.events.length, position))
}
