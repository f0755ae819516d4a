import type { Json } from "../json.ts"
import type { OnEmpty } from "../wire/action.ts"
import type { CompleteTurnConfigData, TurnStart } from "../wire/config.ts"
import type { AnswerableEffect, Checkpoint, Effect, ExecCode, LlmCall, SyncExecutionSurface } from "../wire/effect.ts"
import type { Outcome } from "../wire/event.ts"
import type { TokenUsage } from "../wire/llm.ts"
import type { HistoryRecord, Message, TurnCause } from "../wire/message.ts"
import type { ToolSpec } from "../wire/tool.ts"
import { openCalls, type WaitingTools } from "./batch.ts"
import { History } from "./history.ts"
import { NO_USAGE } from "./limits.ts"

/** The state of a turn. A waiting state carries the whole effect that it waits for. */
export type TurnState =
  | { readonly type: "preparing" }
  | { readonly type: "prepare_iteration" }
  | { readonly type: "waiting_execution_surface"; readonly outstanding: SyncExecutionSurface }
  | { readonly type: "waiting_llm"; readonly outstanding: LlmCall; readonly driverState?: Json }
  | WaitingTools
  | { readonly type: "waiting_exec"; readonly outstanding: ExecCode; readonly driverState: Json }
  | { readonly type: "waiting_checkpoint"; readonly outstanding: Checkpoint; readonly onEmpty: OnEmpty }
  | { readonly type: "finished"; readonly outcome: Outcome }

/** The tag of a state. */
export type StateName = TurnState["type"]
/** The state of that name, with what it carries. */
export type StateOf<Name extends StateName> = Extract<TurnState, { type: Name }>

/** One turn as an immutable value, in three groups that are replaced as a whole. An old turn stays usable: time travel. */
export interface Turn {
  readonly position: TurnPosition
  readonly record: TurnRecord
  readonly surface: ExecutionSurface
}

/** The transcript and the history. */
export interface TurnRecord {
  /** The transcript: what the model may be shown. */
  readonly messages: History<Message>
  /** The history: conversation and the driver's own events. Delivered messages are in the transcript only. */
  readonly events: History<HistoryRecord>
  readonly turnCauses: History<TurnCause>
  /** How many history records were reported by `progress`. Those of the start count as reported. */
  readonly reportedEvents: number
  /** How many messages the turn began with. */
  readonly startLength: number
}

/** The state of a turn with its counters. Ids and message numbers are counted, so that they are the same in every replay. */
export interface TurnPosition {
  readonly state: TurnState
  readonly iteration: number
  readonly iterationOffset: number
  /** When the turn has to end, in milliseconds since the epoch. */
  readonly deadlineAt: number | undefined
  /** The iteration for which the execution surface was last synced. */
  readonly syncedIteration: number | undefined
  readonly turnLimitScheduled: boolean
  /** Whether the system prompt or the tools changed since the last model request. */
  readonly surfaceChanged: boolean
  readonly nextEffectId: number
  readonly nextMessageNumber: number
  readonly usage: TokenUsage
  /** The latest time seen on any response, in milliseconds since the epoch. */
  readonly at: number | undefined
  /** Since when the turn waits for nothing but people, in milliseconds since the epoch. `undefined`: it does not, or the time is not known. */
  readonly heldSince: number | undefined
  /** How long it did so before, in milliseconds. */
  readonly heldMs: number
}

/** The system prompt and tools as last synced; at first those of the config. */
export interface ExecutionSurface {
  readonly systemPrompt: string
  readonly tools: readonly ToolSpec[]
}

/** The result of one input. `stale`: the input answered an effect that was already answered, and changed nothing. */
export interface Step {
  readonly turn: Turn
  readonly effects: readonly Effect[]
  readonly status: "accepted" | "stale"
}

/** Makes a turn that is still to be prepared: its driver is asked when the host first polls. */
export function newTurn(config: CompleteTurnConfigData, start: TurnStart): Turn {
  const { messages, events = [], turnCauses = [], iterationOffset = 0, surfaceChanged = false, deadlineAt } = start
  return {
    record: {
      messages: History.of(messages),
      events: History.of(events),
      turnCauses: History.of(turnCauses),
      reportedEvents: events.length,
      startLength: messages.length,
    },
    position: {
      state: { type: "preparing" },
      iteration: iterationOffset,
      iterationOffset,
      deadlineAt,
      syncedIteration: undefined,
      turnLimitScheduled: false,
      surfaceChanged,
      nextEffectId: 1,
      nextMessageNumber: messages.length,
      usage: NO_USAGE,
      at: undefined,
      heldSince: undefined,
      heldMs: 0,
    },
    surface: { systemPrompt: config.systemPrompt, tools: config.tools },
  }
}

/** Returns the outstanding effect as it is emitted again: of a tool batch, only the calls without a result. */
export function outstandingEffect(state: TurnState): AnswerableEffect | undefined {
  if (!("outstanding" in state)) return undefined
  return state.type === "waiting_tools" ? openCalls(state) : state.outstanding
}
