import { TurnError } from "../errors.ts"
import type { Json } from "../json.ts"
import type { HostCommand } from "../machine/step.ts"
import type { TurnMachine } from "../machine/turn-machine.ts"
import type { Decision, ExternalCall, HeldCall } from "../wire/approval.ts"
import type { Checkpoint, Done, ExecCode, LlmCall, Progress, SyncExecutionSurface } from "../wire/effect.ts"
import type { LogEvent, TurnEvent } from "../wire/event.ts"
import type { ChildGrant, JournalParent } from "../wire/journal.ts"
import type { LlmFailure, LlmResponse, TokenUsage } from "../wire/llm.ts"
import type { CheckpointDelivery, Message, TurnCause } from "../wire/message.ts"
import type { Response } from "../wire/response.ts"
import type { CompletedToolCall, ExecResponse, PendingToolCall, ToolFailure, ToolOutput, ToolSpec } from "../wire/tool.ts"
import { type Change, wrapMembers } from "../wrap.ts"
import type { JournalStore } from "./journal/store.ts"

/** The context that every executor receives with its effect. */
export interface EffectContext {
  /** The effect's id. It stays the same when the effect is redelivered after a crash. */
  readonly effectId: number
  /**
   * Identifies this work among all work of the host: `turnId:effectId`, or `turnId:effectId:callId` for a tool call. It stays the same
   * when the work runs again after a crash, so a service that stores the key can detect a repetition. In an id, `%` is written `%25` and
   * `:` is written `%3A`, so that no two pieces of work have the same key. `undefined` if the run has no `turnId`.
   */
  readonly idempotencyKey: string | undefined
  /** Aborted when the turn is cancelled, or when the result of this effect is no longer needed. */
  readonly signal: AbortSignal
  /**
   * Emits an event at once. Does nothing after the effect has ended. A `text_delta` marks the answer as streamed, so that its text is
   * not emitted twice.
   */
  emit(event: TurnEvent): void
  /** A model client says what it sends, once for each attempt. For telemetry; absent: the host has none. */
  sent?(request: SentRequest): void
  /** A model client says that a piece of a streamed answer has arrived, once for each. For telemetry; absent: the host has none. */
  received?(): void
  /** The turn that the effect belongs to. Absent: the loop that performs the effect has no turn, as `performEffect`. */
  readonly turn?: TurnView
  /**
   * Aborted when the run pauses: work that can continue in another run may stop here, and answer {@link pending}. Absent: the run does not
   * pause.
   */
  readonly pause?: AbortSignal
  /**
   * Returns where a child of this tool call belongs: its id, its journal and its signal, the same when the call runs again. `name` tells several
   * children of one call apart. Absent: the effect is not a tool call, or the run has no journal.
   */
  child?(name?: string): ChildPlace
  /** The run's own `isFatal`. An executor that turns errors into failures must throw an error for which it returns true. */
  readonly isFatal?: (error: unknown) => boolean
}

/** What a model client sends in one attempt. */
export interface SentRequest {
  /** Whether a streamed answer is asked for. */
  readonly stream: boolean
  /** The name or address of the server. Absent: unknown. */
  readonly address?: string
  readonly port?: number
}

/** A turn as its executors see it. Each member is read when it is used, and cannot be changed. */
export interface TurnView {
  /** The tokens of all answers so far. */
  readonly usage: TokenUsage
  /** The current iteration, counted from the first of the thread. */
  readonly iteration: number
  /** The transcript so far. */
  readonly messages: readonly Message[]
  /** The tools as the model was last shown them, without those that drivers add. */
  readonly tools: readonly ToolSpec[]
}

/** Where the children of a turn are recorded. */
export interface TurnChildren {
  readonly store: JournalStore
  /** The name of the turn's own journal. */
  readonly name: string
  /** How many turns are above the turn: 0 for one that is not a child. */
  readonly depth: number
  /** The tokens that were granted to the turn, if it is a child. Absent: no limit. */
  readonly lease?: number
  /** What the turn has left of its lease now. Absent: no limit. */
  readonly left?: () => TokensLeft | undefined
  /** Records the tokens of children. Absent: only the headers of the children say what they have. */
  readonly grants?: ChildGrants
}

/** The tokens that children of a turn were given, in the journal of the turn. */
export interface ChildGrants {
  /** Of the children of an effect whose calls have no result, by this process or an earlier one. */
  of(effectId: number): readonly ChildGrant[]
  /** Records one, before its child begins. @throws {JournalStoreError} `fenced`: the turn was taken over. Nothing is reserved. */
  add(grant: ChildGrant): Promise<void>
  /** Frees the tokens of a child that could not begin. Its call fails; until that is recorded, the next process grants them again. */
  drop(grant: ChildGrant): void
}

/** Where a child turn belongs: a turn that a tool call of another turn runs. */
export interface ChildPlace {
  /** Id of the child's turn: the parent's turn, effect and call. */
  readonly turnId: string
  readonly store: JournalStore
  /** The name of its journal, which begins with that of its parent. */
  readonly name: string
  /** For the header of its journal. */
  readonly parent: JournalParent
  /** Aborted when the call is cancelled, and so the child. */
  readonly signal: AbortSignal
  /** What the goal of the parent's thread, or the parent's own lease, has left now. Absent or `undefined`: no limit. */
  readonly left?: () => TokensLeft | undefined
  /** Records its tokens in the journal of the parent. Absent: only the header of the child says what it has. */
  readonly grants?: ChildGrants
}

/** The tokens that a goal or a lease has left. */
export interface TokensLeft {
  /** What neither the goal nor the running turn has used, and no child of an earlier turn has reserved. */
  readonly tokens: number
  /** How much of what a child of the running turn used is left out of `tokens` already. */
  counted(child: { readonly turnId: string; readonly parent: JournalParent; readonly usage: TokenUsage }): number
}

/** A child turn that waits for decisions, or for work outside. */
export interface SuspendedChild {
  /** The name of its journal. */
  readonly name: string
  readonly turnId: string
  readonly parent?: JournalParent
  readonly held: readonly HeldCall[]
  readonly pending: readonly ExternalCall[]
}

/** How far a child is whose call does not wait for it. */
export interface ChildReport {
  /** Id of the child's turn. */
  readonly childId: string
  /** The name of its journal. */
  readonly name: string
  readonly parent: JournalParent
  /** When it began. Milliseconds since the epoch; absent if unknown. */
  readonly startedAt?: number
  /** All tokens that it has used so far. */
  readonly usage: TokenUsage
  /** Its end, for the model, always with the same id. Absent: it has not ended. */
  readonly end?: TurnCause
}

/** The children of a process whose calls do not wait for them: `detachedChildren` of `turn-machine/hosts/child` makes one. */
export interface DetachedChildren {
  /**
   * Continues the open children of turns, and reports those that have ended once more. `prefix`: what the names of their journals begin with.
   * `isKnown`: whether the end of a child was received. A child whose parent was cancelled is cancelled.
   * Resolves when all have begun. Call it when a process starts, and after a decision about a call of a child.
   */
  resume(store: JournalStore, options: { readonly prefix: string; readonly isKnown?: (name: string) => boolean }): Promise<void>
  /** Calls `receive` with each change of a child, until the returned function is called. An end is reported as often as it is found. */
  watch(store: JournalStore, prefix: string, receive: (report: ChildReport) => unknown): () => void
  /** Whether children run in this process whose journals have names that begin with `prefix`, and that `isMeant`. */
  isRunning(store: JournalStore, prefix: string, isMeant?: (name: string) => boolean): boolean
  /** Cancels the children that run in this process. Each still ends in order, and its end is reported. */
  cancel(store: JournalStore, options: { readonly prefix: string; readonly reason?: string }): void
  /**
   * The ends of the children of a turn, by the name of its journal, for `Host.checkpoint` of a turn without a thread. The machine leaves out those
   * that it knows.
   */
  deliver(store: JournalStore, name: string): CheckpointDelivery
  /** Resolves when no child runs. */
  idle(): Promise<void>
  /** Suspends all children, and resolves when they have stopped. Another process, or another `detachedChildren`, can continue them. */
  close(): Promise<void>
}

/**
 * The result of a tool executor, with the type of its value if known. The run loop adds call id, name, arguments and duration. A call whose
 * work continues elsewhere answers with {@link pending}.
 */
export interface ToolAnswer<Value extends Json = Json> extends Pick<CompletedToolCall, "modelReturn" | "usage"> {
  readonly output:
    | Exclude<ToolOutput, { status: "success" }>
    | (Omit<Extract<ToolOutput, { status: "success" }>, "value"> & { readonly value: Value })
    | PendingOutput
}

/** Where the work of a call continues, such as a job that reports by a webhook. */
export interface PendingFacts {
  /** Identifies the work where it continues. Not empty. */
  readonly token: string
  /** One line for people who look at the turn. */
  readonly note?: string
}

/** The call has begun, and its result comes later. */
export interface PendingOutput extends PendingFacts {
  readonly status: "pending"
}

/** What {@link pending} returns: a {@link ToolAnswer} without a result. */
export class PendingAnswer implements ToolAnswer<never> {
  readonly output: PendingOutput

  /** @throws {TypeError} the token is not a string, or is empty */
  constructor({ token, note }: PendingFacts) {
    if (typeof token !== "string" || token === "") throw new TypeError("pending needs a token that identifies the work: pending({ token: job.id }).")
    this.output = Object.freeze({ status: "pending", token, ...(note !== undefined && { note }) })
  }
}

/**
 * The answer of a tool whose work continues outside this process: a job, a webhook, a person's task. The turn waits; a run with `suspend`
 * resolves. The call has begun and never runs again. Its result is handed in later, as with `TurnJournal.answer`.
 *
 *     execute: async ({ report }, { idempotencyKey }) => pending({ token: await jobs.start(report, idempotencyKey) })
 *
 * @throws {TypeError} the token is not a string, or is empty
 */
export function pending(facts: PendingFacts): PendingAnswer {
  return new PendingAnswer(facts)
}

/**
 * What a tool, or code, does to the world. It decides what happens to a call that a crash or a cancellation interrupted:
 *
 * - `none`: the tool only reads. The call runs again.
 * - `idempotent`: two runs with the same idempotency key have the effect of one. The call runs again.
 * - `once`: the call must not run twice. After a crash, `recover` finds out what happened; otherwise the call fails as `outcome_unknown`,
 *   as does a cancelled call that had begun. The run needs a journal, which records that the call begins.
 */
export type ToolEffects = "none" | "idempotent" | "once"

/** What is known about a call that a crash interrupted. `undefined`: nothing. The answer may be {@link pending}: its work continues outside. */
export type Recovered<Answer = ToolAnswer> = { readonly ran: true; readonly answer: Answer } | { readonly ran: false } | undefined

/**
 * The tools of a host: how a call runs, what it does to the world, and how to recover a call that a crash interrupted. They are one
 * member of a host, so that a loop that runs calls always knows which of them must not run twice.
 */
export interface HostTools {
  /**
   * Runs one tool call of a batch. Return {@link pending} if its work continues outside. Throw {@link ToolError} to classify a failure. Any other error fails the call with code
   * `tool_threw`; a value that is not a `ToolAnswer`, or is not JSON, fails it with code `invalid_tool_result`.
   */
  call(call: PendingToolCall, context: EffectContext): Promise<ToolAnswer>
  /** What a call does to the world. Must not throw. */
  effects(call: PendingToolCall): ToolEffects
  /**
   * Whether a person may be asked before a call of this tool runs, or a policy may deny it. `runTurn` refuses such a tool in a turn whose
   * driver cannot hold calls: every call would run. Must not throw. Absent: no tool asks.
   */
  asks?(toolName: string): boolean
  /**
   * Finds out whether a `once` call that may have started before a crash took effect. Absent, or if it throws or returns
   * `undefined`: the call fails as `outcome_unknown` and does not run.
   */
  recover?(call: PendingToolCall, context: EffectContext): Promise<Recovered>
  /**
   * Resumes the work of a call that continues outside, if this host can: called once for each when a run begins. Resolves to its result;
   * `undefined` or {@link pending}: it still continues. Absent, or if it throws: the call stays as it is.
   */
  resume?(call: ExternalCall, context: EffectContext): Promise<ToolAnswer | undefined>
  /**
   * Ends what is left of a call that this run did not begin, because the turn is cancelled: work that continues outside, or that a crash
   * interrupted. Resolves to its result; `undefined`: nothing is known. The signal is aborted, and `RunOptions.cancelGraceMs` is the time limit.
   */
  cancel?(call: PendingToolCall, context: EffectContext): Promise<ToolAnswer | undefined>
}

/** How a host runs code, what the code does to the world, and how to recover a run that a crash interrupted: one member, as {@link HostTools}. */
export interface HostCode {
  /** Runs code. If it throws, the code fails with the error's message. */
  run(effect: ExecCode, context: EffectContext): Promise<ExecResponse>
  /** What code does to the world. Default `idempotent`: it runs again after a crash. */
  readonly effects?: ToolEffects
  /** Finds out whether `once` code that may have started before a crash ran to its end. Absent, or nothing known: the code fails. */
  recover?(effect: ExecCode, context: EffectContext): Promise<Recovered<ExecResponse>>
}

/**
 * The I/O of a turn: one async function for each effect that needs an answer. An executor that throws, or returns a value that cannot be
 * serialized, never loses the turn: its effect fails, and the turn continues or ends in order.
 *
 * After a crash the outstanding effect is performed again, with the same id and idempotency key. Of a tool batch, only calls without a
 * result run again. A `once` call that may have started does not.
 *
 * What an executor receives is frozen or its own copy, and what it returns is copied: changing either later does not change the turn.
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
  /** Runs code. Absent: all code fails. */
  readonly code?: HostCode
  /** Delivers messages and events at a checkpoint. Absent or `undefined`: nothing is delivered. Thrown: the same, with an `error` event. */
  checkpoint?(effect: Checkpoint, context: EffectContext): Promise<CheckpointDelivery | undefined>
  /**
   * Decides about held calls, and runs beside the calls of the batch that are not held. Each decision repeats the `requestId` and `digest` of
   * its call. Decisions are handed in one by one; one that the turn refuses is reported as a `message` event with the kind `diagnostic`, and
   * its call stays held. As long as a call gives at least one new decision, it is called again with the calls that are still undecided.
   *
   * `undefined` or an empty list: the calls are not decided here. The run then suspends, or rejects with `held_without_decider`. If it throws,
   * the same, with an `error` event. The signal is aborted when the turn is cancelled or the run ends; a later decision is dropped.
   */
  decide?(held: readonly HeldCall[], context: EffectContext): Promise<readonly Decision[] | undefined>
  /** Returns the system prompt and tools for the next iteration if they changed. If it throws, the turn stops as `runtime_error`. */
  syncExecutionSurface?(
    effect: SyncExecutionSurface,
    context: EffectContext,
  ): Promise<{ readonly systemPrompt: string; readonly tools: readonly ToolSpec[] } | undefined>
  /** Receives committed history and the end of the turn. Awaited before the next work is performed. If it throws, `runTurn` rejects. */
  progress?(effect: Progress | Done): Promise<void> | void
  /**
   * Called before work is performed, after each accepted answer to it, and after `done`: four times in an iteration that calls a tool. A checkpoint
   * of a host without `checkpoint` is not work. Save `machine.checkpoint()` here. Awaited. If it throws, `runTurn` rejects.
   */
  save?(machine: TurnMachine): Promise<void> | void
}

/** Changes for {@link wrapHost}: for each member, a function that receives the host's own as `next`, then the member's arguments. */
export type HostPatch = Change<Host>

/**
 * The behavior of absent optional members. Without `tools` or `code` the effect fails, and a host without `decide` is refused where calls may
 * be held, so they have no entry.
 */
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
 * If the host lacks an optional member, its wrapper receives a `next` that does nothing. Wrappers of `tools`, `code` and
 * `decide` are left out instead.
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
 * Why a run was refused. `approval_without_driver`: a tool asks before its calls run, and the turn's driver cannot hold them. `held_without_decider`: a call is held, or may be, and the run has neither `Host.decide` nor `suspend` or `pause`; or
 * `Host.decide` decided nothing and the run may not suspend. `pending_without_suspend`: a call continues outside, and the run may not suspend.
 */
export type RunErrorCode = "once_without_log" | "approval_without_driver" | "held_without_decider" | "pending_without_suspend"

/** A run that was refused. The turn is unchanged. */
export class RunError extends TurnError<RunErrorCode> {}

/**
 * Records what happens to a turn before the turn acts on it, so that no answer is lost. `TurnJournal` of `turn-machine/hosts/journal`
 * implements it. If a method rejects, `runTurn` rejects with the same error.
 */
export interface TurnLog {
  /** Id of the turn, unique among all turns of the host. */
  readonly turnId: string
  /**
   * Records a response. The machine receives it only after this resolves. If it rejects with the code `record_too_long`, nothing was
   * recorded, and the effect fails instead.
   */
  response(machine: TurnMachine, response: Response): Promise<void>
  /**
   * Records a response, and those that follow from it without any work, in one write: `handle` passes each to the machine when its record is
   * made, and returns the next one, if there is one. Resolves when all are stored; nothing that they led to may be performed or reported before.
   * Absent: each response is recorded on its own.
   */
  responses?(machine: TurnMachine, first: Response, handle: (response: Response) => Response | undefined): Promise<void>
  /** Records a host command, and then applies it to the machine. */
  command(machine: TurnMachine, command: HostCommand): Promise<void>
  /**
   * Records that a `once` call is about to begin; without `callId`, the code of the effect. It begins only after this resolves. `again`: a
   * start was recorded before, by this process or an earlier one, so the call may have run.
   */
  callStarted(effectId: number, callId?: string): Promise<"first" | "again">
  /** Whether a start was recorded for the call, by this process or an earlier one. Asked when a turn is cancelled. */
  mayHaveRun(effectId: number, callId?: string): boolean
  /** Where children of the turn are recorded. Absent: tools receive no `child`. */
  readonly children?: TurnChildren
  /** The call that the turn runs for, if it is the child of another turn. */
  readonly parent?: JournalParent | undefined
  /** The children that wait for decisions, or for work outside. Asked when a run suspends while calls continue outside. */
  suspendedChildren?(): Promise<readonly SuspendedChild[]>
  /** The W3C `traceparent` of the span in which an earlier run of the turn ran last, as {@link traced} recorded it. Absent: unknown. */
  readonly lastTrace?: string | undefined
  /** Records in which span this run is, for the next one. The run does not wait, and a failure shows at the next record. */
  traced?(trace: string): void
  /** Called when the machine has emitted everything, before the next work or at the end. Record a snapshot or the end here. */
  settled(machine: TurnMachine): Promise<void>
}

/** Options of {@link RunOptions} that also apply to one effect performed on its own. */
export interface PerformOptions {
  /** Id of the turn, unique among all turns of the host; part of its idempotency keys. Default: the journal's. */
  readonly turnId?: string
  /** Aborting it cancels the turn, which still ends in order with `done`. A reason that is a string or an error is shown. */
  readonly signal?: AbortSignal
  /**
   * Receives every event for a user interface, including those that executors emit. Events of the turn are frozen, and the run waits for a
   * promise. If it throws or rejects, `runTurn` rejects.
   */
  readonly onEvent?: (event: TurnEvent) => unknown
  /** The host's clock, milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number | Promise<number>
  /**
   * Whether an executor's error is not a failure of its effect, but ends the run: `runTurn` rejects with it and nothing is recorded.
   * For the errors of an engine that suspends or aborts the code it runs. Default: none is.
   */
  readonly isFatal?: (error: unknown) => boolean
}

/** Options of `runTurn`. */
export interface RunOptions extends PerformOptions {
  /** Records every answer before it is acted on. Absent: only `Host.save` stores anything, and `once` calls are refused. */
  readonly journal?: TurnLog
  /**
   * How long the executors of a cancelled effect may take to end, in milliseconds. Until then, a result counts as if it had come before.
   * After that, a model call is stored as far as it was emitted, a `once` call that began fails as `outcome_unknown`, and any other call
   * reads as cancelled. Default 2,000.
   */
  readonly cancelGraceMs?: number
  /** Receives every log entry. The run waits for a promise. If it throws or rejects, `runTurn` rejects. */
  readonly onLog?: (event: LogEvent) => unknown
  /** How many calls of one batch run concurrently. At least 1; default 8. They start in the order of the batch. Held calls do not count. */
  readonly toolConcurrency?: number
  /** Id of the conversation, for telemetry. `runThread` passes the id of its thread. */
  readonly conversationId?: string
}

/** Lets a run stop before the end of its turn, with {@link Suspended}. */
export interface SuspendOptions {
  /**
   * Resolves with {@link Suspended} once nothing is left to perform but held calls without a decision, and calls that continue outside. Without
   * it, the run of a turn that waits for either rejects with a {@link RunError}.
   */
  readonly suspend?: true | undefined
  /**
   * Aborting it suspends the run at the next safe point, also in the middle of its work: running calls end and are recorded, and nothing more
   * begins. The next run continues. Nothing is cancelled. A turn that ends until then resolves with its `done`. For the shutdown of a process.
   * Such a run also suspends as with `suspend`.
   */
  readonly pause?: AbortSignal | undefined
}

/** Options of a run that may suspend. */
export type SuspendingRunOptions = RunOptions & SuspendOptions

/** Options of a run that ends with its turn. */
export interface RunToEndOptions extends RunOptions {
  readonly suspend?: undefined
  readonly pause?: undefined
}

/** A loop that runs a turn, such as `runTurn` of `turn-machine/hosts` or that of `openTelemetry`. */
export type RunLoop = (machine: TurnMachine, host: Host, options?: SuspendingRunOptions) => Promise<Done | Suspended>

/** A run that stopped before the end of its turn, with everything stored. Run the turn again to continue. */
export interface Suspended {
  readonly type: "suspended"
  /** The calls that wait for a decision. Empty only after `pause`, or where calls continue outside. */
  readonly held: readonly HeldCall[]
  /** The calls that continue outside. */
  readonly pending: readonly ExternalCall[]
  /** The children of those calls that wait, and their children. Decide about their calls in their own journals. Absent: none. */
  readonly children?: readonly SuspendedChild[]
  /** The transcript so far. */
  readonly messages: readonly Message[]
  /** The tokens of all answers so far. */
  readonly usage: TokenUsage
}
