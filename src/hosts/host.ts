import type { TurnMachine } from "../machine/turn-machine.ts"
import type { Checkpoint, Done, ExecCode, LlmCall, Progress, SyncExecutionSurface } from "../schemas/effect.ts"
import type { LogEvent, TurnEvent } from "../schemas/event.ts"
import type { LlmFailure, LlmResponse } from "../schemas/llm.ts"
import type { CheckpointDelivery } from "../schemas/message.ts"
import type { CompletedToolCall, ExecResponse, PendingToolCall, ToolFailure, ToolSpec } from "../schemas/tool.ts"

/** What every executor is given besides its effect. */
export interface EffectContext {
  /** The effect's id: the same when the effect is handed out again after a crash. */
  readonly effectId: number
  /** Aborted when the turn is cancelled, or when nobody waits for this effect any more. */
  readonly signal: AbortSignal
  /**
   * Shows an event at once; after the effect ended it does nothing. A `text_delta` sent here marks the answer as
   * streamed, so that it is not shown twice.
   */
  emit(event: TurnEvent): void
}

/** What a tool executor answers; call id, name, arguments and duration are the run loop's to fill in. */
export type ToolAnswer = Pick<CompletedToolCall, "output" | "modelReturn">

/**
 * The I/O: one async function per answerable effect. An executor that throws, or answers what has no place on the wire,
 * never loses the turn: its effect fails, and the turn goes on or ends in order. After a crash the effect that was
 * outstanding is performed again, under the same id: what must not happen twice has to look for `effectId` (of a tool
 * call: with its `callId`).
 */
export interface Host {
  /**
   * Calls the model. Throw {@link LlmCallError} to say what kind of failure it was; anything else fails the call with
   * code `executor_threw`, and an answer that is no `LlmResponse` with code `invalid_llm_response`.
   */
  llmCall(effect: LlmCall, context: EffectContext): Promise<LlmResponse>
  /**
   * Runs one tool call of a batch. Absent: every call fails as `unavailable`. Throw {@link ToolError} to say what kind of
   * failure it was; anything else fails the call with code `tool_threw`, and an answer that is no `ToolAnswer`, or holds
   * what is no JSON, with code `invalid_tool_result`.
   */
  toolCall?(call: PendingToolCall, context: EffectContext): Promise<ToolAnswer>
  /** Runs code. Absent, or thrown: the code fails, with the error's message. */
  execCode?(effect: ExecCode, context: EffectContext): Promise<ExecResponse>
  /** Delivers at a checkpoint. Absent, or no answer: nothing is delivered. Thrown: likewise, and an `error` event tells it. */
  checkpoint?(effect: Checkpoint, context: EffectContext): Promise<CheckpointDelivery | undefined>
  /** Gives the system prompt and tools for the coming iteration, if they changed. Thrown: the turn stops as `runtime_error`. */
  syncExecutionSurface?(
    effect: SyncExecutionSurface,
    context: EffectContext,
  ): Promise<{ readonly systemPrompt: string; readonly tools: readonly ToolSpec[] } | undefined>
  /** Told what became durable. Awaited before the work that follows is performed. Thrown: {@link runTurn} rejects. */
  progress?(effect: Progress | Done): Promise<void> | void
  /**
   * Called with the machine before work is performed, after each answer was taken, and when the end was told: the moment
   * to save `machine.checkpoint()`. Awaited. Thrown: {@link runTurn} rejects.
   */
  save?(machine: TurnMachine): Promise<void> | void
}

/** A failed model call with its facts, thrown by `llmCall`. */
export class LlmCallError extends Error {
  readonly failure: LlmFailure

  constructor(failure: LlmFailure, options?: ErrorOptions) {
    super(failure.message, options)
    this.name = "LlmCallError"
    this.failure = failure
  }
}

/** The facts of a failed tool call. Left out: `source` is `tool`, and trying again makes no sense. */
export type ToolErrorFacts = Omit<ToolFailure, "source" | "retry"> & Partial<Pick<ToolFailure, "source" | "retry">>

/** A failed tool call with its facts, thrown by `toolCall` or by a tool. The model reads the message. */
export class ToolError extends Error {
  readonly failure: ToolFailure

  constructor(facts: ToolErrorFacts, options?: ErrorOptions) {
    super(facts.message, options)
    this.name = "ToolError"
    this.failure = { source: "tool", retry: { type: "never" }, ...facts }
  }
}

/** How {@link runTurn} is to run. */
export interface RunOptions {
  /** Aborting cancels the turn; it still ends in order, with its `done`. A reason given as a text or an error is shown. */
  readonly signal?: AbortSignal
  /** Every event for a user interface, the executors' own included. Thrown: {@link runTurn} rejects. */
  readonly onEvent?: (event: TurnEvent) => void
  /** Every entry for a log. Thrown: {@link runTurn} rejects. */
  readonly onLog?: (event: LogEvent) => void
  /** How many calls of one batch run at a time. At least 1; default 8. */
  readonly toolConcurrency?: number
  /** The host's clock, milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number
}
