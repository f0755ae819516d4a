import type { ExternalCall, HeldCall } from "./approval.ts"
import type { CheckpointKind, LogEvent, Outcome, TurnEvent } from "./event.ts"
import type { LlmRequest } from "./llm.ts"
import type { HistoryRecord, Message } from "./message.ts"
import type { PendingToolCall } from "./tool.ts"
import type { TokenUsage } from "./usage.ts"

/** Asks the host for the system prompt and tools of the next iteration. Answer: `execution_surface_synced`. */
export type SyncExecutionSurface = {
  readonly type: "sync_execution_surface"
  readonly id: number
  /** False at the start of a turn, where the config is already up to date. */
  readonly updateMachineConfig: boolean
}

/** Asks for a model call. Answer: `llm_complete`. */
export type LlmCall = {
  readonly type: "llm_call"
  readonly id: number
  readonly request: LlmRequest
  /**
   * Why a driver makes a side call, such as `compaction`. Its text is not an answer to the user, so it is not emitted, and its request need
   * not begin with the one before it. Absent: the call answers the conversation.
   */
  readonly purpose?: string
}

/** The turn no longer waits for the `llm_call` with this id. No answer. */
export type CancelLlm = {
  readonly type: "cancel_llm"
  readonly id: number
}

/** Asks for tool calls to be run. Answer: `tool_results`, all at once or in parts; `tool_decisions` for held calls. */
export type ToolCalls = {
  readonly type: "tool_calls"
  readonly id: number
  /** The calls to run. Emitted again: those that have no result yet. */
  readonly calls: readonly PendingToolCall[]
  /** The calls that wait for a decision. Absent: none. */
  readonly held?: readonly HeldCall[]
  /** The calls whose work continues outside. They are not to be run again. Absent: none. */
  readonly pending?: readonly ExternalCall[]
}

/** Held calls of the outstanding batch that may run now. No answer of its own: their results answer the batch. */
export type ToolCallsReleased = {
  readonly type: "tool_calls_released"
  /** The id of the batch. */
  readonly id: number
  readonly calls: readonly PendingToolCall[]
}

/** Asks for code to be run. Answer: `exec_result`. */
export type ExecCode = {
  readonly type: "exec_code"
  readonly id: number
  readonly code: string
  readonly language?: string
}

/** Asks the host to save the turn, and to deliver what there is to deliver. Answer: `checkpoint_delivery`. */
export type Checkpoint = {
  readonly type: "checkpoint"
  readonly id: number
  readonly checkpoint: CheckpointKind
}

/** Reports what became durable since the last `progress`. No answer. */
export type Progress = {
  readonly type: "progress"
  /** The whole transcript. */
  readonly messages: readonly Message[]
  /** The records that are new in the history. */
  readonly eventDelta: readonly HistoryRecord[]
  /** The place of the first of them in the whole history, from 0. A host that stores by place stores each record once. */
  readonly recordsFrom: number
  readonly iteration: number
}

/** The turn is over. The last effect of every turn; no answer. */
export type Done = {
  readonly type: "done"
  readonly outcome: Outcome
  /** The whole transcript. */
  readonly messages: readonly Message[]
  /** The records that are new in the history since the last `progress`. */
  readonly eventDelta: readonly HistoryRecord[]
  /** The place of the first of them in the whole history, from 0. */
  readonly recordsFrom: number
  readonly iteration: number
  /** The tokens of the whole turn: of its answers, its failed calls and its tools. */
  readonly usage: TokenUsage
}

/** An event for a user interface. May be lost or repeated. No answer. */
export type Emit = {
  readonly type: "emit"
  readonly event: TurnEvent
}

/** An entry for a log. No answer. */
export type Log = {
  readonly type: "log"
  readonly event: LogEvent
}

/** An effect that waits for its answer. At most one is outstanding at a time. */
export type AnswerableEffect = SyncExecutionSurface | LlmCall | ToolCalls | ExecCode | Checkpoint

/** Everything that a turn asks of its host or reports to it. */
export type Effect = AnswerableEffect | ToolCallsReleased | CancelLlm | Progress | Done | Emit | Log
