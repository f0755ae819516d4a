import type { Json } from "../json.ts"
import type { OnEmpty } from "../wire/action.ts"
import type { CompleteTurnConfigData, TurnStart } from "../wire/config.ts"
import type { AnswerableEffect, Checkpoint, Effect, ExecCode, LlmCall, SyncExecutionSurface, ToolCalls } from "../wire/effect.ts"
import type { Outcome } from "../wire/event.ts"
import type { TokenUsage } from "../wire/llm.ts"
import type { HistoryRecord, Message, TurnCause } from "../wire/message.ts"
import type { CompletedToolCall, ToolSpec } from "../wire/tool.ts"
import { History } from "./history.ts"
import { NO_USAGE } from "./limits.ts"

/** Where a turn stands. A waiting state carries the whole effect it waits for. */
export type TurnState =
  | { readonly type: "preparing" }
  | { readonly type: "prepare_iteration" }
  | { readonly type: "waiting_execution_surface"; readonly outstanding: SyncExecutionSurface }
  | { readonly type: "waiting_llm"; readonly outstanding: LlmCall; readonly driverState?: Json }
  /** `results` stand in call order; null where a call is not answered yet. */
  | { readonly type: "waiting_tools"; readonly outstanding: ToolCalls; readonly results: readonly (CompletedToolCall | null)[] }
  | { readonly type: "waiting_exec"; readonly outstanding: ExecCode; readonly driverState: Json }
  | { readonly type: "waiting_checkpoint"; readonly outstanding: Checkpoint; readonly onEmpty: OnEmpty }
  | { readonly type: "finished"; readonly outcome: Outcome }

/** The tag of a state. */
export type StateName = TurnState["type"]
/** The state of that name, with what it carries. */
export type StateOf<Name extends StateName> = Extract<TurnState, { type: Name }>

/** One turn as an immutable value, in three groups that are replaced as wholes. Keeping an old one is time travel. */
export interface Turn {
  readonly position: TurnPosition
  readonly record: TurnRecord
  readonly surface: ExecutionSurface
}

/** What was said and done. */
export interface TurnRecord {
  /** The transcript: what the model may be shown. */
  readonly messages: History<Message>
  /** The history: conversation and the driver's own events. Delivered messages are in the transcript only. */
  readonly events: History<HistoryRecord>
  readonly turnCauses: readonly TurnCause[]
  /** How many history records were told by `progress`; those of the start count as told. */
  readonly reportedEvents: number
}

/** Where a turn stands. Ids and message numbers are counted here, so that they are the same in every replay. */
export interface TurnPosition {
  readonly state: TurnState
  readonly iteration: number
  readonly iterationOffset: number
  /** The iteration for which the execution surface was last synced. */
  readonly syncedIteration: number | undefined
  readonly turnLimitScheduled: boolean
  readonly nextEffectId: number
  readonly nextMessageNumber: number
  readonly usage: TokenUsage
  /** The latest time seen on any response, in milliseconds since the epoch. */
  readonly at: number | undefined
}

/** What the model is given to work with, as last synced; at first the config's. */
export interface ExecutionSurface {
  readonly systemPrompt: string
  readonly tools: readonly ToolSpec[]
}

/** What one input made of a turn. `stale`: it answered what was already answered, and changed nothing. */
export interface Step {
  readonly turn: Turn
  readonly effects: readonly Effect[]
  readonly status: "accepted" | "stale"
}

/** A turn that has not begun: the driver is asked when the host first polls. */
export function newTurn(config: CompleteTurnConfigData, start: TurnStart): Turn {
  const { messages, events = [], turnCauses = [], iterationOffset = 0 } = start
  return {
    record: { messages: History.of(messages), events: History.of(events), turnCauses, reportedEvents: events.length },
    position: {
      state: { type: "preparing" },
      iteration: iterationOffset,
      iterationOffset,
      syncedIteration: undefined,
      turnLimitScheduled: false,
      nextEffectId: 1,
      nextMessageNumber: messages.length,
      usage: NO_USAGE,
      at: undefined,
    },
    surface: { systemPrompt: config.systemPrompt, tools: config.tools },
  }
}

/** The effect that waits for its answer, as it is handed out again: of a tool batch only the calls still missing. */
export function outstandingEffect(state: TurnState): AnswerableEffect | undefined {
  if (!("outstanding" in state)) return undefined
  if (state.type !== "waiting_tools" || state.results.every((result) => result === null)) return state.outstanding
  const { outstanding, results } = state
  return { ...outstanding, calls: outstanding.calls.filter((_, index) => results[index] === null) }
}
