import type { Json } from "../json.ts"
import type { OnEmpty } from "./action.ts"
import type { DecidedCall, ExternalCall } from "./approval.ts"
import type { AnswerableEffect, CancelLlm, Checkpoint, Emit, ExecCode, LlmCall, Log, SyncExecutionSurface, ToolCalls } from "./effect.ts"
import type { Outcome } from "./event.ts"
import type { TokenUsage } from "./llm.ts"
import type { HistoryRecord, Message, TurnCause } from "./message.ts"
import type { CompletedToolCall, ToolSpec } from "./tool.ts"

/** A call that the driver answered itself when it started the batch. */
export type SettledCall = {
  /** The place of the call in the whole batch, from 0. */
  readonly index: number
  readonly result: CompletedToolCall
}

/** The state of a saved turn. */
export type SavedState =
  | { readonly type: "preparing" | "prepare_iteration" }
  | { readonly type: "waiting_execution_surface"; readonly outstanding: SyncExecutionSurface }
  | { readonly type: "waiting_llm"; readonly outstanding: LlmCall; readonly driverState?: Json }
  | {
      readonly type: "waiting_tools"
      readonly outstanding: ToolCalls
      /** In call order, of the calls that may run and of those that are held; null where a call has no result yet. */
      readonly results: readonly (CompletedToolCall | null)[]
      readonly settled?: readonly SettledCall[]
      /** The decisions about held calls, in the order in which they came. */
      readonly decided?: readonly DecidedCall[]
      readonly pending?: readonly ExternalCall[]
    }
  | { readonly type: "waiting_exec"; readonly outstanding: ExecCode; readonly driverState: Json }
  | { readonly type: "waiting_checkpoint"; readonly outstanding: Checkpoint; readonly onEmpty: OnEmpty }
  | { readonly type: "finished"; readonly outcome: Outcome }

/** A history record. One whose message is in the transcript is saved as that message's index, so that it is saved once. */
export type SavedRecord = HistoryRecord | { readonly type: "message"; readonly index: number }

/** A saved `progress`. */
export type SavedProgress = {
  readonly type: "progress"
  /** The first so many of `messages`. */
  readonly messageCount: number
  /** The records of `events` from this index on. */
  readonly eventsFrom: number
  /** The index after the last record. */
  readonly eventsTo: number
  readonly iteration: number
}

/** A saved `done`. */
export type SavedDone = {
  readonly type: "done"
  /** The first so many of `messages`. */
  readonly messageCount: number
  /** The records of `events` from this index on. */
  readonly eventsFrom: number
  /** The index after the last record. */
  readonly eventsTo: number
  readonly iteration: number
  readonly outcome: Outcome
}

/** An effect that was not polled yet. `outstanding`: the outstanding effect of the state. */
export type SavedEffect = AnswerableEffect | CancelLlm | Emit | Log | { readonly type: "outstanding" } | SavedProgress | SavedDone

/** A saved turn: plain JSON. Unknown keys are refused. */
export type TurnCheckpoint = {
  readonly format: "turn-machine/checkpoint"
  readonly version: 2
  /** The driver that the turn ran under; it is restored only under the same one. */
  readonly driver: { readonly name: string; readonly version: number }
  readonly state: SavedState
  /** The effects that the host has not polled yet. */
  readonly unpolled: readonly SavedEffect[]
  readonly messages: readonly Message[]
  readonly events: readonly SavedRecord[]
  readonly turnCauses: readonly TurnCause[]
  /** How many of `events` were reported by `progress`. */
  readonly reportedEvents: number
  readonly iteration: number
  readonly iterationOffset: number
  /** How many of `messages` the turn began with. */
  readonly startLength: number
  /** When the turn has to end, in milliseconds since the epoch. */
  readonly deadlineAt?: number
  /** The system prompt or the tools changed since the last model request. */
  readonly surfaceChanged?: true
  readonly usage: TokenUsage
  readonly nextEffectId: number
  readonly nextMessageNumber: number
  readonly syncedIteration?: number
  readonly turnLimitScheduled: boolean
  /** Since when the turn waits for nothing but people, in milliseconds since the epoch. */
  readonly heldSince?: number
  /** How long it did so before, in milliseconds. */
  readonly heldMs?: number
  /** As last synced. */
  readonly systemPrompt: string
  /** As last synced. */
  readonly tools: readonly ToolSpec[]
  /** The latest time of any response, in milliseconds since the epoch. */
  readonly at?: number
}
