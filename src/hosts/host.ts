import type { Checkpoint, Done, ExecCode, LlmCall, Progress, SyncExecutionSurface } from "../schemas/effect.ts"
import type { TurnEvent } from "../schemas/event.ts"
import type { LlmFailure, LlmResponse } from "../schemas/llm.ts"
import type { CheckpointDelivery } from "../schemas/message.ts"
import type { CompletedToolCall, ExecResponse, PendingToolCall, ToolSpec } from "../schemas/tool.ts"
import type { TurnMachine } from "../machine/turn-machine.ts"

/** What every executor is given besides its effect. */
export interface EffectContext {
  /** The effect's id: the same when the effect is handed out again after a crash. */
  readonly effectId: number
  /** Aborted when the turn is cancelled, or when nobody waits for this effect any more. */
  readonly signal: AbortSignal
  /** Shows an event at once. A `text_delta` sent here marks the answer as streamed, so that it is not shown twice. */
  emit(event: TurnEvent): void
}

/** What a tool executor answers; call id, name, arguments and duration are the run loop's to fill in. */
export type ToolAnswer = Pick<CompletedToolCall, "output" | "modelReturn">

/**
 * The I/O: one async function per answerable effect. An executor that throws never loses the turn: a model call fails
 * (`LlmFailure`), a tool call fails (`ToolFailure`), and so on; the model is told.
 */
export interface Host {
  /** Calls the model. Throw {@link LlmCallError} to say what kind of failure it was. */
  llmCall(effect: LlmCall, context: EffectContext): Promise<LlmResponse>
  /** Runs one tool call of a batch. Absent: every call fails as `unavailable`. */
  toolCall?(call: PendingToolCall, context: EffectContext): Promise<ToolAnswer>
  /** Runs code. Absent: the code fails. */
  execCode?(effect: ExecCode, context: EffectContext): Promise<ExecResponse>
  /** Delivers at a checkpoint. Absent, or no answer: nothing is delivered. */
  checkpoint?(effect: Checkpoint, context: EffectContext): Promise<CheckpointDelivery | undefined>
  /** Gives the system prompt and tools for the coming iteration, if they changed. */
  syncExecutionSurface?(effect: SyncExecutionSurface, context: EffectContext): Promise<{ readonly systemPrompt: string; readonly tools: readonly ToolSpec[] } | undefined>
  /** Told what became durable. Awaited before the work that follows is performed. */
  progress?(effect: Progress | Done): Promise<void> | void
  /** Called with the machine before work is performed and after each answer was taken: the moment to save `machine.checkpoint()`. Awaited. */
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

/** How {@link runTurn} is to run. */
export interface RunOptions {
  /** Aborting cancels the turn; it still ends in order, with its `done`. */
  readonly signal?: AbortSignal
  /** Every event for a user interface, the executors' own included. */
  readonly onEvent?: (event: TurnEvent) => void
  /** How many calls of one batch run at a time. Default 8. */
  readonly toolConcurrency?: number
  /** The host's clock, milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number
}
