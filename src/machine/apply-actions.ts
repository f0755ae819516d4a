import { Immer } from "immer"
import { DriverError } from "../errors.ts"
import type { DriverAction } from "../schemas/action.ts"
import type { AnswerableEffect, Effect } from "../schemas/effect.ts"
import type { LogEvent, Outcome } from "../schemas/event.ts"
import type { TokenUsage } from "../schemas/llm.ts"
import type { HistoryRecord, Message, TurnCause } from "../schemas/message.ts"
import type { CompletedToolCall, ToolSpec } from "../schemas/tool.ts"
import { doneEffect, progressEffect } from "./effects.ts"
import type { History } from "./history.ts"
import { limitReached } from "./limits.ts"
import type { Turn, TurnConfig, TurnState } from "./turn.ts"

/** What the machine itself does to a turn, in one list with what its driver orders. */
export type MachineAction =
  | DriverAction
  | { readonly type: "log"; readonly event: LogEvent }
  | { readonly type: "count_usage"; readonly cumulative: TokenUsage }
  | { readonly type: "keep_results"; readonly results: readonly (CompletedToolCall | null)[] }
  | { readonly type: "append_messages"; readonly messages: readonly Message[] }
  | { readonly type: "add_turn_causes"; readonly turnCauses: readonly TurnCause[] }
  | { readonly type: "start_sync"; readonly updateMachineConfig: boolean }
  | { readonly type: "take_surface"; readonly update: { readonly systemPrompt: string; readonly tools: readonly ToolSpec[] } | undefined }
  | { readonly type: "prepare_iteration"; readonly tellProgress?: true }
  | { readonly type: "cancel_llm"; readonly id: number }

/** What a step changes besides what its actions say: the time seen, and the message ids drawn. */
export interface StepFacts {
  readonly at: number | undefined
  readonly nextMessageNumber: number
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] }

// Auto-freezing would walk every appended message; turns are readonly by type, and histories are append-only by design.
const { produce } = new Immer({ autoFreeze: false })

/**
 * Applies one list of actions and gives the turn after it with the list's effects, in order. The one place that makes a
 * next turn. What became durable is told in one `progress`: right before the work that the list starts, else before its
 * end, else last.
 * @throws {DriverError} the list starts two pieces of work, goes on after a finish, or holds no known action
 */
export function applyActions(config: TurnConfig, turn: Turn, actions: readonly MachineAction[], facts: StepFacts): { turn: Turn; effects: Effect[] } {
  const effects: Effect[] = []
  let work: AnswerableEffect | undefined
  let ended = false
  let untold = false

  const next = produce(turn, (draftTurn) => {
    // Every field is a whole value that is replaced, never edited in place, so the draft may be typed as a plain turn.
    const draft = draftTurn as unknown as Mutable<Turn>
    if (facts.at !== turn.at) draft.at = facts.at
    if (facts.nextMessageNumber !== turn.nextMessageNumber) draft.nextMessageNumber = facts.nextMessageNumber
    let { nextEffectId, messages, events, iteration } = turn

    const wait = (state: Extract<TurnState, { outstanding: AnswerableEffect }>): void => {
      if (work !== undefined) throw new DriverError("two_starts", `One list of actions starts both ${work.type} and ${state.outstanding.type}; a turn waits for one effect at a time.`)
      nextEffectId += 1
      work = state.outstanding
      effects.push(work)
      draft.state = state
    }

    for (const action of actions) {
      if (ended) throw new DriverError("action_after_finish", `A list of actions goes on with ${action.type} after finish.`)
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
          messages = messages.append(action.messages)
          untold = true
          break
        case "add_turn_causes":
          draft.turnCauses = [...turn.turnCauses, ...action.turnCauses]
          break
        case "count_usage":
          draft.usage = action.cumulative
          break
        case "keep_results":
          if (turn.state.type === "waiting_tools") draft.state = { ...turn.state, results: action.results }
          break
        case "take_surface":
          draft.syncedIteration = iteration
          if (action.update === undefined) break
          draft.systemPrompt = action.update.systemPrompt
          draft.tools = action.update.tools
          break
        case "advance_iteration":
          iteration += 1
          draft.syncedIteration = undefined
          untold = true
          break
        case "schedule_turn_limit_final":
          if (turn.turnLimitScheduled || !limitReached(config, turn.iterationOffset, iteration)) break
          draft.turnLimitScheduled = true
          messages = messages.append([action.message])
          untold = true
          break
        case "prepare_iteration":
          draft.state = { type: "prepare_iteration" }
          untold ||= action.tellProgress === true
          break
        case "start_sync":
          wait({
            type: "waiting_execution_surface",
            outstanding: { type: "sync_execution_surface", id: nextEffectId, updateMachineConfig: action.updateMachineConfig },
          })
          break
        case "start_llm": {
          const tools = turn.tools.map((tool) => tool.name)
          effects.push({ type: "emit", event: { type: "llm_request", iteration, messageCount: messages.length, tools } })
          const outstanding = { type: "llm_call", id: nextEffectId, request: action.request } as const
          wait(action.driverState === undefined ? { type: "waiting_llm", outstanding } : { type: "waiting_llm", outstanding, driverState: action.driverState })
          break
        }
        case "start_tools":
          wait({
            type: "waiting_tools",
            outstanding: { type: "tool_calls", id: nextEffectId, calls: action.calls },
            results: action.calls.map(() => null),
          })
          break
        case "start_exec":
          wait({
            type: "waiting_exec",
            outstanding: { type: "exec_code", id: nextEffectId, code: action.code, ...(action.language !== undefined && { language: action.language }) },
            driverState: action.driverState,
          })
          break
        case "start_checkpoint":
          wait({
            type: "waiting_checkpoint",
            outstanding: { type: "checkpoint", id: nextEffectId, checkpoint: action.checkpoint },
            onEmpty: action.onEmpty,
          })
          break
        case "finish":
          if (work !== undefined) throw new DriverError("two_starts", `One list of actions starts ${work.type} and finishes the turn.`)
          ended = true
          draft.state = { type: "finished", outcome: action.outcome }
          break
        default:
          throw new DriverError("unknown_action", `A driver returned an action of unknown type: ${JSON.stringify((action as { type?: unknown })?.type)}.`)
      }
    }

    if (messages !== turn.messages) draft.messages = messages
    if (events !== turn.events) draft.events = events
    if (iteration !== turn.iteration) draft.iteration = iteration
    if (nextEffectId !== turn.nextEffectId) draft.nextEffectId = nextEffectId
    if (untold) draft.reportedEvents = events.length
  })

  if (untold) tellProgress(effects, turn, next, work)
  if (next.state.type === "finished" && turn.state.type !== "finished") tellEnd(effects, next, next.state.outcome)
  return { turn: next, effects }
}

function appendConversation(messages: History<Message>, records: readonly HistoryRecord[]): History<Message> {
  const said: Message[] = []
  for (const record of records) if (record.type === "conversation") said.push(record.message)
  return messages.append(said)
}

/** Puts one `progress` right before the work that waits for its answer; last, if no work was started. */
function tellProgress(effects: Effect[], before: Turn, after: Turn, work: AnswerableEffect | undefined): void {
  const progress = progressEffect(after.messages, after.events.slice(before.reportedEvents), after.iteration)
  if (work === undefined) effects.push(progress)
  else effects.splice(effects.lastIndexOf(work), 0, progress)
}

function tellEnd(effects: Effect[], { messages, iteration }: Turn, outcome: Outcome): void {
  effects.push({ type: "emit", event: { type: "turn_outcome", outcome } }, { type: "emit", event: { type: "done" } })
  effects.push(doneEffect(outcome, messages, [], iteration))
}
