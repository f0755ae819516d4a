import type { Json } from "../json.ts"
import type { HostCommand } from "../machine/step.ts"
import type { TurnMachine } from "../machine/turn-machine.ts"
import type { Checkpoint, Done, ExecCode, LlmCall, Progress, SyncExecutionSurface } from "../schemas/effect.ts"
import type { LogEvent, TurnEvent } from "../schemas/event.ts"
import type { LlmFailure, LlmResponse } from "../schemas/llm.ts"
import type { CheckpointDelivery } from "../schemas/message.ts"
import type { Response } from "../schemas/response.ts"
import type { CompletedToolCall, ExecResponse, PendingToolCall, ToolFailure, ToolOutput, ToolSpec } from "../schemas/tool.ts"
import { type Change, wrapMembers } from "../wrap.ts"

/** What every executor is given besides its effect. */
export interface EffectContext {
  /** The effect's id: the same when the effect is handed out again after a crash. */
  readonly effectId: number
  /**
   * Names this piece of work among all that a host ever does, also when it is done again after a crash: `turnId:effectId`,
   * of a tool call `turnId:effectId:callId`. What is asked to keep it can tell a repetition from something new.
   * `undefined` where the run has no `turnId`.
   */
  readonly idempotencyKey: string | undefined
  /** Aborted when the turn is cancelled, or when nobody waits for this effect any more. */
  readonly signal: AbortSignal
  /**
   * Shows an event at once; after the effect ended it does nothing. A `text_delta` sent here marks the answer as
   * streamed, so that it is not shown twice.
   */
  emit(event: TurnEvent): void
}

/** What a tool executor returns, its value typed where it is known. The run loop adds call id, name, arguments and duration. */
export interface ToolAnswer<Value extends Json = Json> extends Pick<CompletedToolCall, "modelReturn"> {
  readonly output:
    | Exclude<ToolOutput, { status: "success" }>
    | (Omit<Extract<ToolOutput, { status: "success" }>, "value"> & { readonly value: Value })
}

/**
 * What a tool does to the world, and so what may be done about a call that a crash cut off. `none`: it only looks; it is
 * run again. `idempotent`: done twice under one idempotency key it is done once; it is run again. `once`: it must not
 * happen twice; it is looked up (`HostTools.recover`), or reported as of unknown outcome.
 */
export type ToolEffects = "none" | "idempotent" | "once"

/** What was found out about a call that a crash cut off. `undefined`: nothing. */
export type Recovered = { readonly ran: true; readonly answer: ToolAnswer } | { readonly ran: false } | undefined

/**
 * The tools of a host: how a call runs, what it does to the world, and how to recover a call that a crash cut off. One member of
 * a host, so that calls are never run by a loop that does not know which of them must not run twice.
 */
export interface HostTools {
  /**
   * Runs one tool call of a batch. Throw {@link ToolError} to classify a failure. Any other error fails the call with code
   * `tool_threw`; a value that is not a `ToolAnswer`, or is not JSON, fails it with code `invalid_tool_result`.
   */
  call(call: PendingToolCall, context: EffectContext): Promise<ToolAnswer>
  /** What a call does to the world. Must not throw. */
  effects(call: PendingToolCall): ToolEffects
  /**
   * Finds out whether a `once` call that may have started before a crash took effect. Absent, or if it throws or returns
   * `undefined`: the call fails as `outcome_unknown` and does not run.
   */
  recover?(call: PendingToolCall, context: EffectContext): Promise<Recovered>
}

/**
 * The I/O: one async function per answerable effect. An executor that throws, or answers what has no place on the wire,
 * never loses the turn: its effect fails, and the turn goes on or ends in order. After a crash the effect that was
 * outstanding is performed again, under the same id and idempotency key; of a tool batch, only the calls without a
 * result, and none that `HostTools.effects` says must happen `once` and that may have been begun.
 */
export interface Host {
  /**
   * Calls the model. Throw {@link LlmCallError} to say what kind of failure it was; anything else fails the call with
   * code `executor_threw`, and an answer that is no `LlmResponse` with code `invalid_llm_response`.
   */
  llmCall(effect: LlmCall, context: EffectContext): Promise<LlmResponse>
  /** Runs tool calls. `toolbox([...])` makes one. Absent: every call fails as `unavailable`. */
  readonly tools?: HostTools
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

/** What {@link wrapHost} changes: for each member, a function that gets the host's own as `next`, then the member's arguments. */
export type HostPatch = { readonly [Name in keyof Omit<Host, "tools">]?: Change<NonNullable<Host[Name]>> } & {
  readonly tools?: { readonly [Name in keyof HostTools]?: Change<NonNullable<HostTools[Name]>> }
}

/** What a host does that lacks an optional member. A missing `tools` or `execCode` is a failure of its effect, so it has no entry. */
const ABSENT: Partial<Host> = {
  checkpoint: async () => undefined,
  syncExecutionSurface: async () => undefined,
  progress: () => {},
  save: () => {},
}

/**
 * Wraps a host: the patch changes some members, all others pass through, also those of a later version of this interface.
 *
 *     const logged = wrapHost(host, {
 *       llmCall: async (next, effect, context) => {
 *         console.log(effect.request.model)
 *         return next(effect, context)
 *       },
 *     })
 *
 * A wrapper of an optional member that the host lacks gets a `next` that does nothing; one of `tools` or `execCode` is left out
 * where the host has none.
 */
export function wrapHost(host: Host, { tools, ...patch }: HostPatch): Host {
  const changes = tools === undefined || host.tools === undefined ? patch : { ...patch, tools: wrapMembers(host.tools, tools) }
  return wrapMembers(host, changes, ABSENT as { readonly [name: string]: unknown })
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

/** A failed tool call with its facts, thrown by `HostTools.call` or by a tool. The model reads the message. */
export class ToolError extends Error {
  readonly failure: ToolFailure

  constructor(facts: ToolErrorFacts, options?: ErrorOptions) {
    super(facts.message, options)
    this.name = "ToolError"
    this.failure = { source: "tool", retry: { type: "never" }, ...facts }
  }
}

/**
 * Keeps what happens to a turn before the turn is told, so that no answer that was acted on is lost. `TurnJournal` in
 * `turn-machine/hosts/journal` is one. What a method rejects with, {@link runTurn} rejects with.
 */
export interface TurnLog {
  /** Names the turn among all of the host's. */
  readonly turnId: string
  /** Resolves when the response is kept; only then the machine is given it. */
  response(machine: TurnMachine, response: Response): Promise<void>
  /** Resolves when the order is kept; only then the machine is given it. */
  command(machine: TurnMachine, command: HostCommand): Promise<void>
  /** Resolves when it is kept that a `once` call is about to be run; only then it is run. */
  callStarted(effectId: number, callId: string): Promise<void>
  /** Whether `callStarted` was told of a call, in this process or in one before it. */
  mayHaveRun(effectId: number, callId: string): boolean
  /** Everything that the machine had to tell was told: a moment for a snapshot, or the end. */
  settled(machine: TurnMachine): Promise<void>
}

/** How {@link runTurn} is to run. */
export interface RunOptions {
  /** Keeps each answer before it is acted on. Absent: nothing is kept but by `Host.save`. */
  readonly journal?: TurnLog
  /** Names the turn among all of the host's, for idempotency keys. Default: the journal's. */
  readonly turnId?: string
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
