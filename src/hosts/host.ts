import type { Json } from "../json.ts"
import type { HostCommand } from "../machine/step.ts"
import type { TurnMachine } from "../machine/turn-machine.ts"
import type { Checkpoint, Done, ExecCode, LlmCall, Progress, SyncExecutionSurface } from "../wire/effect.ts"
import type { LogEvent, TurnEvent } from "../wire/event.ts"
import type { LlmFailure, LlmResponse } from "../wire/llm.ts"
import type { CheckpointDelivery } from "../wire/message.ts"
import type { Response } from "../wire/response.ts"
import type { CompletedToolCall, ExecResponse, PendingToolCall, ToolFailure, ToolOutput, ToolSpec } from "../wire/tool.ts"
import { type Change, wrapMembers } from "../wrap.ts"

/** The context that every executor receives with its effect. */
export interface EffectContext {
  /** The effect's id. It stays the same when the effect is redelivered after a crash. */
  readonly effectId: number
  /**
   * Identifies this work among all work of the host: `turnId:effectId`, or `turnId:effectId:callId` for a tool call. It stays the same
   * when the work runs again after a crash, so a service that stores the key can detect a repetition. `undefined` if the run has no
   * `turnId`.
   */
  readonly idempotencyKey: string | undefined
  /** Aborted when the turn is cancelled, or when the result of this effect is no longer needed. */
  readonly signal: AbortSignal
  /**
   * Emits an event at once. Does nothing after the effect has ended. A `text_delta` marks the answer as streamed, so that its text is
   * not emitted twice.
   */
  emit(event: TurnEvent): void
}

/** The result of a tool executor, with the type of its value if known. The run loop adds call id, name, arguments and duration. */
export interface ToolAnswer<Value extends Json = Json> extends Pick<CompletedToolCall, "modelReturn"> {
  readonly output:
    | Exclude<ToolOutput, { status: "success" }>
    | (Omit<Extract<ToolOutput, { status: "success" }>, "value"> & { readonly value: Value })
}

/**
 * What a tool does to the world. It decides what happens to a call that a crash interrupted:
 *
 * - `none`: the tool only reads. The call runs again.
 * - `idempotent`: two runs with the same idempotency key have the effect of one. The call runs again.
 * - `once`: the call must not run twice. `HostTools.recover` finds out what happened; otherwise the call fails as `outcome_unknown`.
 */
export type ToolEffects = "none" | "idempotent" | "once"

/** What is known about a call that a crash interrupted. `undefined`: nothing. */
export type Recovered = { readonly ran: true; readonly answer: ToolAnswer } | { readonly ran: false } | undefined

/**
 * The tools of a host: how a call runs, what it does to the world, and how to recover a call that a crash interrupted. They are one
 * member of a host, so that a loop that runs calls always knows which of them must not run twice.
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
 * The I/O of a turn: one async function for each effect that needs an answer. An executor that throws, or returns a value that cannot be
 * serialized, never loses the turn: its effect fails, and the turn continues or ends in order.
 *
 * After a crash the outstanding effect is performed again, with the same id and idempotency key. Of a tool batch, only calls without a
 * result run again. A `once` call that may have started does not.
 */
export interface Host {
  /**
   * Calls the model. Throw {@link LlmCallError} to classify a failure, and to report what the model said before it: text that was emitted
   * stays in the transcript. Any other error fails the call with code `executor_threw`; a value
   * that is not an `LlmResponse` fails it with code `invalid_llm_response`.
   */
  llmCall(effect: LlmCall, context: EffectContext): Promise<LlmResponse>
  /** Runs tool calls. Create it with `toolbox([...])`. Absent: every call fails with class `unavailable`, code `no_tools`. */
  readonly tools?: HostTools
  /** Runs code. If it is absent or throws, the code fails with the error's message. */
  execCode?(effect: ExecCode, context: EffectContext): Promise<ExecResponse>
  /** Delivers messages and events at a checkpoint. Absent or `undefined`: nothing is delivered. Thrown: the same, with an `error` event. */
  checkpoint?(effect: Checkpoint, context: EffectContext): Promise<CheckpointDelivery | undefined>
  /** Returns the system prompt and tools for the next iteration if they changed. If it throws, the turn stops as `runtime_error`. */
  syncExecutionSurface?(
    effect: SyncExecutionSurface,
    context: EffectContext,
  ): Promise<{ readonly systemPrompt: string; readonly tools: readonly ToolSpec[] } | undefined>
  /** Receives committed history and the end of the turn. Awaited before the next work is performed. If it throws, `runTurn` rejects. */
  progress?(effect: Progress | Done): Promise<void> | void
  /**
   * Called before work is performed, after each accepted answer, and after `done`. Save `machine.checkpoint()` here. Awaited. If it
   * throws, `runTurn` rejects.
   */
  save?(machine: TurnMachine): Promise<void> | void
}

/** Changes for {@link wrapHost}: for each member, a function that receives the host's own as `next`, then the member's arguments. */
export type HostPatch = Change<Host>

/** The behavior of absent optional members. Without `tools` or `execCode` the effect fails, so they have no entry. */
const ABSENT: Partial<Host> = {
  checkpoint: async () => undefined,
  syncExecutionSurface: async () => undefined,
  progress: () => {},
  save: () => {},
}

/**
 * Wraps a host. The patch changes some members; all others pass through, including members that a later version adds.
 *
 *     const logged = wrapHost(host, {
 *       llmCall: async (next, effect, context) => {
 *         console.log(effect.request.model)
 *         return next(effect, context)
 *       },
 *     })
 *
 * If the host lacks an optional member, its wrapper receives a `next` that does nothing. Wrappers of `tools` and `execCode` are left
 * out instead.
 */
export function wrapHost(host: Host, patch: HostPatch): Host {
  return wrapMembers(host, patch, ABSENT as { readonly [name: string]: unknown })
}

/** Options of {@link LlmCallError}. */
export interface LlmCallErrorOptions extends ErrorOptions {
  /** What the model said before the call failed or was aborted, and the tokens that it used. */
  readonly partial?: LlmResponse | undefined
}

/** A failed or aborted model call, with its details. Thrown by `llmCall`. */
export class LlmCallError extends Error {
  readonly failure: LlmFailure
  /** What the model said before. Absent: `runTurn` uses the text that the call emitted. */
  readonly partial: LlmResponse | undefined

  constructor(failure: LlmFailure, { partial, ...options }: LlmCallErrorOptions = {}) {
    super(failure.message, options)
    this.name = "LlmCallError"
    this.failure = failure
    this.partial = partial
  }
}

/** The details of a failed tool call. Default: `source` is `tool`, and `retry` is `{ type: "never" }`. */
export type ToolErrorFacts = Omit<ToolFailure, "source" | "retry"> & Partial<Pick<ToolFailure, "source" | "retry">>

/** A failed tool call, with its details. Thrown by `HostTools.call` or by a tool. The model sees the message. */
export class ToolError extends Error {
  readonly failure: ToolFailure

  constructor(facts: ToolErrorFacts, options?: ErrorOptions) {
    super(facts.message, options)
    this.name = "ToolError"
    this.failure = { source: "tool", retry: { type: "never" }, ...facts }
  }
}

/**
 * Records what happens to a turn before the turn acts on it, so that no answer is lost. `TurnJournal` of `turn-machine/hosts/journal`
 * implements it. If a method rejects, `runTurn` rejects with the same error.
 */
export interface TurnLog {
  /** Id of the turn, unique among all turns of the host. */
  readonly turnId: string
  /** Records a response. The machine receives it only after this resolves. */
  response(machine: TurnMachine, response: Response): Promise<void>
  /** Records a host command. The machine receives it only after this resolves. */
  command(machine: TurnMachine, command: HostCommand): Promise<void>
  /** Records that a `once` call is about to run. The call runs only after this resolves. */
  callStarted(effectId: number, callId: string): Promise<void>
  /** Whether `callStarted` was recorded for the call, by this process or an earlier one. */
  mayHaveRun(effectId: number, callId: string): boolean
  /** Called when the machine has emitted everything, before the next work or at the end. Record a snapshot or the end here. */
  settled(machine: TurnMachine): Promise<void>
}

/** Options of `runTurn`. */
export interface RunOptions {
  /** Records every answer before it is acted on. Absent: only `Host.save` stores anything. */
  readonly journal?: TurnLog
  /** Id of the turn, unique among all turns of the host; part of its idempotency keys. Default: the journal's. */
  readonly turnId?: string
  /** Aborting it cancels the turn, which still ends in order with `done`. A reason that is a string or an error is shown. */
  readonly signal?: AbortSignal
  /**
   * How long a cancelled model call may take to end, in milliseconds. What it said and used until then is stored; after that, the text
   * that it emitted. Default 2,000.
   */
  readonly cancelGraceMs?: number
  /** Receives every event for a user interface, including those that executors emit. If it throws, `runTurn` rejects. */
  readonly onEvent?: (event: TurnEvent) => void
  /** Receives every log entry. If it throws, `runTurn` rejects. */
  readonly onLog?: (event: LogEvent) => void
  /** How many calls of one batch run concurrently. At least 1; default 8. */
  readonly toolConcurrency?: number
  /** The host's clock, milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number
}
