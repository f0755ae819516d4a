import type { Json } from "../json.ts"
import type { Transcript } from "../projectors/projector.ts"
import type { DriverAction } from "../wire/action.ts"
import type { Decision, HeldCall } from "../wire/approval.ts"
import type { CompleteTurnConfigData } from "../wire/config.ts"
import type { ExecCode, LlmCall } from "../wire/effect.ts"
import type { CheckpointKind } from "../wire/event.ts"
import type { LlmFailure, LlmRequest, LlmResponse, TokenUsage } from "../wire/llm.ts"
import type { CheckpointDelivery, HistoryRecord, Message, TurnCause } from "../wire/message.ts"
import type { ExecResult } from "../wire/response.ts"
import type { CompletedToolCall, ToolSpec } from "../wire/tool.ts"

/**
 * Pure policy: what the model's answer means and what to do next. A driver changes nothing; it returns actions.
 * It keeps its own state as `protocol` records in the history, or as `driverState` on the work it starts; never in
 * itself, because a restored turn has only the checkpoint.
 *
 * Every action list must start one piece of work or finish the turn. A list that does neither ends the turn as `runtime_error`.
 * @see docs/write-a-driver.md
 */
export interface ProtocolDriver {
  /** Written into checkpoints; a turn is restored only under the driver it was saved under. */
  readonly name: string
  /** Raised when the meaning of `driverState` or of the driver's own records changes. */
  readonly version: number
  /** A new iteration begins. Most drivers project a request and start the model call. */
  prepareIteration(context: DriverContext): readonly DriverAction[]
  /** The model answered with `stop`, `tool_use`, `paused` or `unknown`. Any other answer goes to `onLlmCutOff`. */
  onLlmComplete(context: DriverContext, waiting: WaitingLlm, response: LlmResponse, textStreamed: boolean): readonly DriverAction[]
  /** All calls of a batch are answered; `results` are in the order of the calls. */
  onToolResults(context: DriverContext, results: readonly CompletedToolCall[]): readonly DriverAction[]
  /**
   * People decided about held calls: each call is named once, and the decision is one that its ask allows. Answer with `release_calls` and
   * `settle_calls` for all of them, and for others that the decisions reach. Actions that start work or finish are not allowed here.
   * Needed by drivers that hold calls.
   */
  onToolDecisions?(context: DriverContext, waiting: WaitingDecisions, decisions: readonly Decision[]): readonly DriverAction[]
  /** Needed by drivers that start `exec_code`. */
  onExecResult?(context: DriverContext, waiting: WaitingExec, result: ExecResult["result"]): readonly DriverAction[]
  /**
   * The host cancels the turn while code runs, which may have had any part of its effects. A driver appends what is to stay in the
   * transcript; actions that start work or finish are left out. No such callback, or `undefined`: nothing is stored.
   */
  onExecCancelled?(context: DriverContext, waiting: WaitingExec, reason: string): readonly DriverAction[] | undefined
  /**
   * An answer was cut off: by its `terminalReason` (a limit, a filter, a refusal, an overflow), by a host that cancels the turn, or by a
   * failure in mid-answer. `response` has what the model said until then; its last tool call may be half of one. A driver appends what is
   * to stay in the transcript. If its actions start work or finish, they replace the end of the turn, except after a cancellation or a
   * failure, which end as they would. No such callback, or `undefined`: nothing is stored.
   */
  onLlmCutOff?(context: DriverContext, waiting: WaitingLlm, response: LlmResponse): readonly DriverAction[] | undefined
  /** The model call failed. `undefined`, or no such callback: the turn stops as `provider_error`. */
  onLlmFailed?(context: DriverContext, waiting: WaitingLlm, error: LlmFailure): readonly DriverAction[] | undefined
  /** A host delivered something. The actions follow what was delivered; if they start nothing, the turn prepares anew. */
  onDelivery?(context: DriverContext, checkpoint: CheckpointKind, delivery: CheckpointDelivery): readonly DriverAction[]
}

/** The held calls that have no decision yet, those that are decided now included. */
export interface WaitingDecisions {
  /** The id of the batch. */
  readonly id: number
  readonly held: readonly HeldCall[]
}

/** The model call that was answered, with the state that the driver set when it started the call. */
export interface WaitingLlm {
  readonly outstanding: LlmCall
  readonly driverState?: Json
  /** Given to `onLlmCutOff` where the call failed in mid-answer: `onLlmFailed` is asked after it. */
  readonly failed?: true
}

/** The code that was executed, with the state that the driver set when it started the code. */
export interface WaitingExec {
  readonly outstanding: ExecCode
  readonly driverState: Json
}

/** The turn as its driver sees it: before the actions that the driver returns are applied. */
export interface DriverContext {
  readonly config: CompleteTurnConfigData
  readonly tools: readonly ToolSpec[]
  /** Those of the tools that the host runs: all but the ones that wrappers added with `withTools`. */
  readonly hostTools: readonly ToolSpec[]
  readonly messages: Transcript<Message>
  readonly events: Transcript<HistoryRecord>
  readonly turnCauses: readonly TurnCause[]
  readonly iteration: number
  readonly iterationOffset: number
  readonly maxIterations: number | undefined
  /** Whether the message about the reached limit is already in the transcript. */
  readonly turnLimitScheduled: boolean
  /**
   * Whether the system prompt or the tools changed since the thread's last model request. A provider's cache of that request is lost; a
   * driver records it with `surfaceChangeRecord()`.
   */
  readonly surfaceChanged: boolean
  readonly usage: TokenUsage
  /** The latest time seen on any response, in milliseconds since the epoch. Absent until a response carries one. */
  readonly at: number | undefined
  /** How long the turn has waited for nothing but people until `at`, in milliseconds. That time is not the agent's. */
  readonly heldMs: number
  /**
   * Renders the transcript as it is now, without what the same action list appends. `ownTools`: tools that the driver answers
   * itself. Requests that show tools show them after the host's.
   */
  projectRequest(options: { readonly tools: boolean; readonly ownTools?: readonly ToolSpec[] }): LlmRequest
  /** The next message id, `m_<iterationOffset>_<scope>_<n>`. Counted, so the same in every replay. */
  newMessageId(scope: string): string
  /** Whether the iteration `ahead` of this one (default 0) is at or past the turn's limit. */
  limitReached(ahead?: number): boolean
  /**
   * The host's message for a reached limit, under a new id. `ended` (default): the turn ends with it, and the model reads it in a later turn.
   * `last_iteration`: one model call follows.
   */
  turnLimitMessage(when?: "ended" | "last_iteration"): Message
  /**
   * Returns this context with more tools, for the inner driver of a wrapper. `tools` includes them, and every request that shows
   * tools shows them last. A tool whose name is already in use is left out: requests show the existing tool, and
   * the wrapper answers its calls.
   */
  withTools(tools: readonly ToolSpec[]): DriverContext
}
