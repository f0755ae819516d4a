import type { Json } from "../json.ts"
import type { HeldCall, Verdict } from "./approval.ts"
import type { ErrorEnvelope, Outcome, PluginEvent } from "./event.ts"
import type { Goal, GoalCause, TurnOrigin } from "./goal.ts"
import type { LlmFailureKind, TerminalReason } from "./llm.ts"
import type { Message } from "./message.ts"
import type { ExecResponse, ToolOutput } from "./tool.ts"
import type { TokenUsage } from "./usage.ts"

/** What every durable event has. */
export type ThreadEventPlace = {
  /** The place after this event. A reader that continues from it receives every later event once. Greater than the cursors before it. */
  readonly cursor: string
  /** When it was recorded, in milliseconds since the epoch. Absent: the record has no time. */
  readonly at?: number
}

/** An input of the user was accepted, and waits for its turn. When a turn receives it, its message is completed under the same id. */
export type InputQueued = ThreadEventPlace & {
  readonly type: "input_queued"
  readonly inputId: string
  readonly message: Message
  /** Given by the sender. */
  readonly key?: string
  /** When a turn receives it. Absent: `now`. */
  readonly when?: "turn_end" | "next_turn"
}

/** An input was taken back before a turn received it. */
export type InputRetracted = ThreadEventPlace & {
  readonly type: "input_retracted"
  readonly inputId: string
  /** An interrupt returned it. Absent: its sender took it back. */
  readonly by?: "interrupt"
}

/** An input has another place among those that wait for the same time. */
export type InputReordered = ThreadEventPlace & {
  readonly type: "input_reordered"
  readonly inputId: string
  /** The input that follows it. Absent: none does. */
  readonly before?: string
}

/** A turn began. */
export type TurnStarted = ThreadEventPlace & {
  readonly type: "turn_started"
  readonly turnId: string
  readonly origin: TurnOrigin
}

/** A turn ended. Every turn that started ends once. */
export type TurnEnded = ThreadEventPlace & {
  readonly type: "turn_ended"
  readonly turnId: string
  readonly outcome: Outcome
  /** The tokens of the whole turn. Absent: unknown. */
  readonly usage?: TokenUsage
}

/** A message is complete and belongs to the conversation: of the user, of the model with all its parts, or results of tools. */
export type MessageCompleted = ThreadEventPlace & {
  readonly type: "message"
  /** Absent: it was added between turns. */
  readonly turnId?: string
  readonly message: Message
}

/** A model call ended: with an answer, with an error, or because the turn left it. */
export type ModelCallEnded = ThreadEventPlace & {
  readonly type: "model_call_ended"
  readonly turnId: string
  readonly effectId: number
  readonly terminalReason: TerminalReason
  /** Absent: unknown. */
  readonly usage?: TokenUsage
  /** Absent: the call did not fail. */
  readonly error?: { readonly message: string; readonly code?: string; readonly kind?: LlmFailureKind }
}

/** A tool call starts. A held call starts when it is approved. */
export type ToolCallStarted = ThreadEventPlace & {
  readonly type: "tool_call_started"
  readonly turnId: string
  readonly effectId: number
  readonly callId: string
  readonly toolName: string
  readonly args: Json
}

/** A tool call has its result. Also of calls that never started, such as a rejected one. */
export type ToolCallEnded = ThreadEventPlace & {
  readonly type: "tool_call_ended"
  readonly turnId: string
  /** Absent: the driver answered a call without an id. */
  readonly callId?: string
  readonly toolName: string
  readonly status: ToolOutput["status"]
  /** Absent: the turn left the call. The message with its result says what the model reads. */
  readonly output?: ToolOutput
  /** Milliseconds. */
  readonly durationMs?: number
}

/** A call waits for a person's decision. */
export type ApprovalRequested = ThreadEventPlace & {
  readonly type: "approval_requested"
  readonly turnId: string
  readonly held: HeldCall
}

/** A held call has its decision. */
export type ApprovalDecided = ThreadEventPlace & {
  readonly type: "approval_decided"
  readonly turnId: string
  readonly requestId: string
  readonly callId: string
  readonly toolName: string
  readonly decision: Verdict["decision"]
  /** The arguments that the call runs with, if they were edited. */
  readonly args?: Json
  readonly by?: string
}

/** The work of a call continues outside the host. */
export type ToolCallPending = ThreadEventPlace & {
  readonly type: "tool_call_pending"
  readonly turnId: string
  readonly callId: string
  readonly toolName: string
  readonly token: string
  readonly note?: string
}

/** Code starts. */
export type CodeStarted = ThreadEventPlace & {
  readonly type: "code_started"
  readonly turnId: string
  readonly effectId: number
  readonly code: string
  readonly language?: string
}

/** Code ended. */
export type CodeEnded = ThreadEventPlace & {
  readonly type: "code_ended"
  readonly turnId: string
  readonly effectId: number
  /** Absent: it did not run. */
  readonly result?: ExecResponse
  /** Why it did not run, or how it failed. */
  readonly error?: string
}

/** The turn left its work and continues with other messages, which follow as `message`. */
export type TurnRedirected = ThreadEventPlace & {
  readonly type: "redirected"
  readonly turnId: string
}

/** The goal changed: its status, its budgets or what it used. */
export type GoalUpdated = ThreadEventPlace & {
  readonly type: "goal_updated"
  readonly turnId?: string
  readonly cause: GoalCause
  /** `null`: it was cleared. */
  readonly goal: Goal | null
}

/** Something that a user may be shown: a diagnostic, or an event of a driver, such as a compaction. */
export type ThreadNotice = ThreadEventPlace & {
  readonly type: "notice"
  readonly turnId?: string
  /** The kind of a diagnostic, or the type of the history's event: `compaction`, `compaction_failed`, `surface_change`, … */
  readonly kind: string
  readonly text?: string
  /** The event as the history has it. */
  readonly event?: Json
}

/** An error of a turn. */
export type TurnErrorShown = ThreadEventPlace & {
  readonly type: "error"
  readonly turnId: string
  readonly message: string
  readonly envelope?: ErrorEnvelope
}

/** An event that is recorded: no reader misses it, and none receives it twice. */
export type DurableThreadEvent =
  | InputQueued
  | InputRetracted
  | InputReordered
  | TurnStarted
  | TurnEnded
  | MessageCompleted
  | ModelCallEnded
  | ToolCallStarted
  | ToolCallEnded
  | ApprovalRequested
  | ApprovalDecided
  | ToolCallPending
  | CodeStarted
  | CodeEnded
  | TurnRedirected
  | GoalUpdated
  | ThreadNotice
  | TurnErrorShown

/** A model call started. Again after a crash, under the same id: text that was shown for it is void. */
export type ModelCallStarted = {
  readonly type: "model_call_started"
  readonly turnId: string
  readonly effectId: number
}

/** More text, or more reasoning, of the running model call. The completed message has all of it. */
export type MessageDelta = {
  readonly type: "text_delta" | "reasoning_delta"
  readonly turnId: string
  readonly effectId: number
  readonly delta: string
}

/** How far a running tool call has come. */
export type ToolCallProgress = {
  readonly type: "tool_progress"
  readonly turnId: string
  readonly callId: string
  readonly toolName: string
  readonly message?: string
  /** How much is done, in a unit of the tool's own. */
  readonly progress?: number
  /** How much there is to do, in the same unit. Absent: unknown. */
  readonly total?: number
}

/** A model call failed and is tried again. */
export type ModelCallRetry = {
  readonly type: "retry"
  readonly turnId: string
  readonly effectId: number
  readonly waitSeconds: number
  readonly attempt: number
  readonly maxAttempts: number
  readonly reason: string
}

/** An event of a plugin of the host. */
export type PluginShown = {
  readonly type: "plugin_event"
  readonly turnId: string
  readonly pluginId: string
  readonly event: PluginEvent
}

/** An event of the process that runs the turn. It has no cursor, and may be lost or repeated. */
export type LiveThreadEvent = ModelCallStarted | MessageDelta | ToolCallProgress | ModelCallRetry | PluginShown

/** What a user interface shows of a thread. */
export type ThreadEvent = DurableThreadEvent | LiveThreadEvent
