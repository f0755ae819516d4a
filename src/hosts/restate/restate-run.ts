import type { TurnMachine } from "../../machine/turn-machine.ts"
import { quoted } from "../../text.ts"
import type { ExternalCall, HeldCall } from "../../wire/approval.ts"
import type { AnswerableEffect, Checkpoint, Done, Progress, ToolCalls } from "../../wire/effect.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { LlmResponse } from "../../wire/llm.ts"
import type { Response } from "../../wire/response.ts"
import type { PendingToolCall } from "../../wire/tool.ts"
import { type EffectContext, type Host, type PerformOptions, type RunOptions, type Suspended, type ToolAnswer, ToolError } from "../host.ts"
import { handleAnswer } from "../run/answers.ts"
import { OpenCalls, reasonOf } from "../run/cancel.ts"
import { checkGrace, checkHost, checkToolConcurrency, DEFAULT_CANCEL_GRACE_MS, isOnce } from "../run/checks.ts"
import { execute } from "../run/execute.ts"
import { toolFailureOf } from "../run/failures.ts"
import { RunInterrupted } from "../run/interrupted.ts"
import { LeftCalls } from "../run/left-calls.ts"
import { performEffect } from "../run/perform-effect.ts"
import { report } from "../run/report.ts"
import { suspended } from "../run/suspend.ts"
import { cancelledResponses, decideTask, type Past, taskOf, toolTask } from "../run/task.ts"
import { onAbort } from "../timers.ts"
import { type DurablePromise, hasSignals, hasState, isCancellation, type RestateContext, type RestateSdk, throughCancellation } from "./context.ts"
import { checkCode, checkFingerprint, codeOf, fingerprintOf, jsonBytes, packed, type StoredAnswer, turnError, unpacked } from "./entries.ts"
import { checkTurnId } from "./ids.ts"
import { cutOffAgain, failedAgain, type RetryPolicy, retryDelay } from "./retry.ts"
import { clearSegment, storeSegment } from "./segments.ts"

/** Calls that wait for people, or for work outside. */
export interface WaitingCalls {
  /** The invocation that waits. Decisions and results are signals to it. */
  readonly invocationId: string
  /** The calls that wait for a decision, each for a signal with the name of its `requestId`. */
  readonly held: readonly HeldCall[]
  /** The calls that continue outside, each for a signal with the name of its `token`. */
  readonly pending: readonly ExternalCall[]
  /** With an SDK without named signals: the awakeable to resolve instead, by `requestId` or `token`. */
  readonly awakeables?: { readonly [name: string]: string }
}

/** Options of `restateTurn`. */
export interface RestateTurnOptions extends Pick<RunOptions, "toolConcurrency" | "cancelGraceMs">, Pick<PerformOptions, "isFatal"> {
  /** The clock that steps read: what it says is recorded with their results. Milliseconds since the epoch; default `Date.now`. */
  readonly now?: () => number
  /** Id of the turn, unique among all turns of the host; part of its idempotency keys. */
  readonly turnId: string
  /**
   * Calls the model again after a failure that says `retryable`, before anything was said. Each attempt is an entry of the journal, and the
   * wait between two is a durable timer. Absent: the failure is the answer.
   */
  readonly retry?: RetryPolicy
  /**
   * Ends the invocation after so many effects, at the next checkpoint or tool batch, and stores the turn in the state of the object: the
   * promise resolves with `type: "suspended"`. Restore the turn with `restoreTurn` in a new invocation. Absent: one invocation runs the whole turn.
   */
  readonly segment?: { readonly effects: number }
  /**
   * The largest result of a model or tool call, in bytes of JSON. The call of a larger one fails: the server refuses a message of 32 MiB, and Restate
   * would run the call again, for ever. Default 16,000,000; choose it below `worker.invoker.message_size_limit` of the server.
   */
  readonly maxResultBytes?: number
  /**
   * Receives events for a user interface. An event is emitted before the work that follows it, and what executors emit while they run. A replay
   * does not repeat them, but for those around an effect that a crash interrupted. If it rejects, Restate runs the attempt again.
   */
  readonly onEvent?: (event: TurnEvent) => unknown
  /** Called when calls begin to wait, as a step of the journal: to notify people. It may run again after a crash. */
  readonly onWaiting?: (waiting: WaitingCalls) => Promise<void> | void
}

/** What a thread adds to the run of a turn. What it does must be the same in all attempts. */
export interface RunHooks {
  /** Answers a checkpoint in the handler, outside of a step. */
  checkpoint(effect: Checkpoint): Promise<Response>
  /** Receives reports in the handler, outside of a step. */
  progress(effect: Progress | Done): Promise<void> | void
  /** Called before an effect is performed. */
  onEffect(machine: TurnMachine): Promise<void> | void
  /** Resolves when something arrives for the turn. `onMail` is then awaited: it may hand decisions and results to the machine. */
  mail(): DurablePromise<unknown>
  onMail(): Promise<void>
  /** How many messages and events of the turn are stored elsewhere: a segment does not repeat them. */
  readonly history?: { readonly messages: number; readonly events: number }
  /** Aborted by `onMail` or `checkpoint`: the turn is cancelled. Otherwise, a turn that waits for people or work outside suspends. */
  readonly signal?: AbortSignal
}

/** The result of something that the turn waits for. */
interface Settled {
  readonly key: string
  readonly value?: unknown
  readonly failure?: Error
}

/** Something that the turn waits for. */
interface Open {
  readonly promise: DurablePromise<Settled>
  /** Whether it is work of this process, which a cancelled turn waits for. */
  readonly isWork: boolean
  settle(value: unknown): Promise<void> | void
  /** Absent: a failure ends the invocation. */
  fail?(failure: Error): Promise<void> | void
}

/** A call of the outstanding batch that has no result. */
interface QueuedCall {
  readonly call: PendingToolCall
  readonly isOnce: boolean
  /** Whether the start of a `once` call is recorded. */
  start: "unknown" | "recording" | Past
}

/** One invocation that runs a turn, or a part of it. */
export class RestateRun {
  readonly #sdk: RestateSdk
  readonly #ctx: RestateContext
  readonly #machine: TurnMachine
  readonly #host: Host
  readonly #options: RestateTurnOptions
  readonly #hooks: RunHooks | undefined
  readonly #controller = new AbortController()
  /** What the turn waits for, in the order in which it began. */
  readonly #open = new Map<string, Open>()
  /** The effect that is being performed. */
  #effectId = 0
  #effects = 0
  #effectController = new AbortController()
  /** The failed attempts of the effect, a model call, as the last failure with the tokens of all. */
  #failed: Response | undefined
  #queue: QueuedCall[] = []
  #running = 0
  #entries = 0
  #mayDecide = true
  #isCancelled = false
  #isStored = false
  #hasLeft = false
  /** What came after the cancellation. */
  readonly #late: { readonly response: Response | undefined; readonly cutOff: StoredAnswer["cutOff"]; readonly callId: string | undefined }[] = []
  /** Events that no live step has emitted yet. */
  #events: { readonly number: number; readonly event: TurnEvent }[] = []
  #emitted = 0

  constructor(sdk: RestateSdk, ctx: RestateContext, machine: TurnMachine, host: Host, options: RestateTurnOptions, hooks?: RunHooks) {
    this.#hooks = hooks
    this.#sdk = sdk
    this.#ctx = ctx
    this.#machine = machine
    this.#host = host
    this.#options = options
  }

  /** Whether the turn was cancelled, with the invocation or by a hook. */
  get isCancelled(): boolean {
    return this.#isCancelled
  }

  /** Whether the run ended because its segment did. */
  get isStored(): boolean {
    return this.#isStored
  }

  async run(): Promise<Done | Suspended> {
    const { toolConcurrency, cancelGraceMs = DEFAULT_CANCEL_GRACE_MS, segment, maxResultBytes } = this.#options
    checkTurnId(this.#sdk, this.#options.turnId)
    checkHost(this.#host)
    checkToolConcurrency(toolConcurrency)
    checkGrace(cancelGraceMs)
    if (maxResultBytes !== undefined && !(maxResultBytes >= 1)) throw new RangeError(`maxResultBytes must be at least 1, not ${maxResultBytes}.`)
    this.#checkSegment(segment)
    const stopWaiting = onAbort(this.#ctx.request().attemptCompletedSignal, () => this.#controller.abort(new RunInterrupted()))
    try {
      return await this.#loop()
    } finally {
      stopWaiting()
      // Of an attempt that failed, other work may still run.
      this.#controller.abort(new RunInterrupted())
    }
  }

  async #loop(): Promise<Done | Suspended> {
    const machine = this.#machine
    const code = codeOf(machine, this.#options.turnId)
    checkCode(await this.#wait(this.#step(`turn ${code["turnId"]}`, async () => code)), code)
    const host: Host = { ...this.#host, progress: (effect) => this.#progress(effect) }
    for (;;) {
      if (this.#hooks?.signal?.aborted === true && !this.#isCancelled && !machine.done) this.#cancel(this.#hooks.signal.reason)
      if (this.#isCancelled && !machine.done) await this.#leave()
      const done = await report(machine, host, { onEvent: (event) => this.#emit(event) }, ({ id, calls }) => {
        if (id === this.#effectId) this.#enqueue(calls)
      })
      if (done !== undefined) {
        if (hasState(this.#ctx)) clearSegment(this.#ctx, machine, this.#options.turnId)
        await this.#flush()
        return done
      }
      const { outstanding } = machine
      if (this.#isCancelled && !machine.done && !this.#hasLeft) continue
      // Without it, a fault in the machine would keep the process busy for ever.
      if (outstanding === undefined || this.#hasLeft) throw new Error(`Turn ${quoted(this.#options.turnId)} neither ends nor waits for an answer.`)
      if (outstanding.id !== this.#effectId) {
        if (this.#isSegmentOver(outstanding)) return this.#store()
        await this.#hooks?.onEffect(machine)
        if (this.#hooks?.signal?.aborted === true) continue
        this.#begin(outstanding)
        if (this.#hooks !== undefined && outstanding.type === "checkpoint") {
          await this.#deliver(outstanding, this.#hooks)
          continue
        }
      }
      this.#startCalls()
      await this.#watch()
      if (this.#hooks !== undefined && !this.#isCancelled) {
        if (this.#isIdle) {
          await this.#flush()
          return suspended(machine)
        }
        this.#listen(this.#hooks)
      }
      if (!this.#isCancelled) await this.#next()
    }
  }

  async #deliver(effect: Checkpoint, { checkpoint, signal }: RunHooks): Promise<void> {
    const response = await checkpoint(effect)
    // Nothing is delivered to a turn that is cancelled.
    if (signal?.aborted !== true) await this.#handle(effect, response, response.type === "checkpoint_delivery" ? (response.at ?? 0) : 0)
  }

  /** Whether only people, or work outside, can continue the turn. */
  get #isIdle(): boolean {
    return this.#queue.length === 0 && [...this.#open.keys()].every((key) => key === MAIL)
  }

  #listen({ mail, onMail }: RunHooks): void {
    if (!this.#open.has(MAIL)) this.#add(MAIL, mail(), onMail)
  }

  #checkSegment(segment: RestateTurnOptions["segment"]): void {
    if (segment === undefined) return
    if (!(segment.effects >= 1)) throw new RangeError(`segment.effects must be at least 1, not ${segment.effects}.`)
    if (!hasState(this.#ctx))
      throw turnError(
        this.#sdk,
        "segment_without_state",
        "A service has no state in which a turn could continue. Run the turn in an exclusive handler of a virtual object, or without segment.",
      )
  }

  /** A request contains the whole prompt, so a turn is stored before other effects, unless there are none. */
  #isSegmentOver({ type }: AnswerableEffect): boolean {
    const most = this.#options.segment?.effects
    if (most === undefined || this.#isCancelled) return false
    return this.#effects >= most && (type !== "llm_call" || this.#effects >= 2 * most)
  }

  async #store(): Promise<Suspended> {
    this.#isStored = true
    if (hasState(this.#ctx)) storeSegment(this.#ctx, this.#machine, this.#options.turnId, this.#hooks?.history)
    await this.#flush()
    return suspended(this.#machine)
  }

  // --- steps -------------------------------------------------------------------------------------------------------------------------

  /** A step of the journal. Events from before it are emitted when it runs, and dropped if it ran in an earlier attempt. */
  #step<Value>(name: string, action: () => Promise<Value>): DurablePromise<Value> {
    const before = this.#emitted
    let isLive = false
    const promise = this.#ctx.run(name, async () => {
      isLive = true
      await this.#flush()
      return action()
    })
    return promise.map((value, failure) => {
      if (failure !== undefined) throw failure
      if (!isLive) this.#events = this.#events.filter(({ number }) => number > before)
      return value as Value
    })
  }

  /** Awaits one step, also when the invocation is cancelled in the meantime. */
  #wait<Value>(promise: DurablePromise<Value>): Promise<Value> {
    return throughCancellation(this.#sdk, promise, () => this.#cancel())
  }

  /** Adds something that the turn waits for. */
  #add<Value>(
    key: string,
    promise: DurablePromise<Value>,
    settle: (value: Value) => Promise<void> | void,
    { isWork = false, fail }: { readonly isWork?: boolean; readonly fail?: Open["fail"] } = {},
  ): void {
    const tagged = promise.map((value, failure): Settled => ({ key, value, ...(failure !== undefined && { failure }) }))
    this.#open.set(key, { promise: tagged, isWork, settle: (value) => settle(value as Value), ...(fail !== undefined && { fail }) })
  }

  /** Waits for the next thing that is recorded. All attempts see the same order. */
  async #next(): Promise<void> {
    let settled: Settled
    try {
      settled = await this.#sdk.RestatePromise.race([...this.#open.values()].map(({ promise }) => promise))
    } catch (error) {
      if (!isCancellation(error)) throw error
      return this.#cancel()
    }
    const { key, value, failure } = settled
    const open = this.#open.get(key)
    this.#open.delete(key)
    if (failure === undefined) return open?.settle(value)
    if (open?.fail === undefined) throw failure
    return open.fail(failure)
  }

  // --- work --------------------------------------------------------------------------------------------------------------------------

  /** Begins to perform an effect. What the last one left running is aborted, and its results do not count. */
  #begin(effect: AnswerableEffect): void {
    this.#effectController.abort(new RunInterrupted())
    this.#effectController = new AbortController()
    this.#open.clear()
    this.#effectId = effect.id
    this.#effects += 1
    this.#failed = undefined
    this.#queue = []
    this.#running = 0
    this.#mayDecide = true
    if (effect.type !== "tool_calls") {
      if (effect.type === "exec_code" && this.#host.code?.effects === "once")
        this.#recordStart(`${effect.id} exec_code`, (past) => this.#perform(effect, past))
      else this.#perform(effect, "first")
    } else if (effect.calls.length > 0) this.#enqueue(effect.calls)
    else if (effect.held === undefined && effect.pending === undefined) this.#perform(effect, "first")
  }

  #enqueue(calls: readonly PendingToolCall[]): void {
    for (const call of calls) this.#queue.push({ call, isOnce: isOnce(this.#host, call), start: "unknown" })
  }

  /** Starts calls in their order, as many as may run at once. The start of a `once` call is recorded before. */
  #startCalls(): void {
    const places = (this.#options.toolConcurrency ?? DEFAULT_TOOL_CONCURRENCY) - this.#running
    const id = this.#effectId
    for (const queued of this.#queue.slice(0, Math.min(places, this.#queue.length))) {
      if (!queued.isOnce || queued.start !== "unknown") continue
      queued.start = "recording"
      this.#recordStart(`${id} ${queued.call.toolName} ${queued.call.callId}`, (past) => {
        queued.start = past
      })
    }
    for (let started = 0; started < places; started += 1) {
      const [next] = this.#queue
      if (next === undefined || (next.isOnce && (next.start === "unknown" || next.start === "recording"))) return
      this.#queue.shift()
      this.#running += 1
      this.#perform({ type: "tool_calls", id, calls: [next.call] }, next.start === "again" ? "again" : "first")
    }
  }

  /** Records that a `once` call begins. A record that an earlier attempt made means that the call may have run. */
  #recordStart(name: string, begin: (past: Past) => void): void {
    let past: Past = "again"
    const recorded = this.#step(`${name} started`, async () => {
      past = "first"
      return null
    })
    this.#add(
      `start ${this.#nextEntry()}`,
      recorded,
      () => {
        if (!this.#isCancelled) begin(past)
      },
      { isWork: true },
    )
  }

  #nextEntry(): number {
    this.#entries += 1
    return this.#entries
  }

  /** Performs an effect, or one call, as a step. `attempt`: of a model call. */
  #perform(effect: AnswerableEffect, past: Past, attempt = 1): void {
    const [call] = effect.type === "tool_calls" ? effect.calls : []
    const what = call === undefined ? effect.type : `${call.toolName} ${call.callId}`
    const name = `${effect.id} ${what}${attempt === 1 ? "" : ` (attempt ${attempt})`}`
    let known = past
    const { signal } = this.#effectController
    const stored = this.#step(name, async () => {
      const earlier = known
      // Another execution in the same attempt may have begun the call.
      known = "again"
      return this.#execute(effect, earlier, signal)
    })
    this.#add(`work ${this.#nextEntry()}`, stored, (value) => this.#performed(effect, value, name, attempt), { isWork: true })
  }

  async #execute(effect: AnswerableEffect, past: Past, effectSignal: AbortSignal): Promise<StoredAnswer> {
    const { turnId, cancelGraceMs, toolConcurrency } = this.#options
    const stored = (answer: Response | undefined, cutOff?: StoredAnswer["cutOff"]): StoredAnswer => ({
      at: this.#clock(),
      fingerprint: fingerprintOf(effect),
      ...(answer !== undefined && { answer: packed(answer) }),
      ...(cutOff !== undefined && { cutOff }),
    })
    const controller = new AbortController()
    const abort = (signal: AbortSignal) => () => controller.abort(signal.reason)
    const stops = [this.#controller.signal, effectSignal].map((signal) => onAbort(signal, abort(signal)))
    const { signal } = controller
    let partial: LlmResponse | undefined
    try {
      if (signal.aborted) {
        // Cancelled before this attempt began it. An earlier one may have.
        const [unknown] = past === "again" ? cancelledResponses(effect, () => true) : []
        return stored(unknown, { begun: past === "again" })
      }
      const answer = await performEffect(this.#host, effect, {
        turnId,
        signal,
        check: (response) => this.#checkedSize(this.#machine.check(response)),
        isFatal: (error) => this.#isFatal(error),
        callStarted: async () => past,
        onEvent: (event) => this.#options.onEvent?.(event),
        now: () => this.#clock(),
        onCutOff: (said) => {
          partial = said
        },
        ...(cancelGraceMs !== undefined && { cancelGraceMs }),
        ...(toolConcurrency !== undefined && { toolConcurrency }),
      })
      return stored(answer)
    } catch (error) {
      if (!signal.aborted || error !== signal.reason) throw error
      return stored(undefined, { begun: true, ...(partial !== undefined && { partial }) })
    } finally {
      for (const stop of stops) stop()
    }
  }

  /** The response, unless the server would refuse its size. */
  #checkedSize(response: Response): Response {
    const { maxResultBytes = DEFAULT_MAX_RESULT_BYTES } = this.#options
    const bytes = jsonBytes(packed(response))
    if (bytes <= maxResultBytes) return response
    throw new RangeError(
      `The result has ${bytes} bytes as JSON, and ${maxResultBytes} are allowed (maxResultBytes). Store it elsewhere, and return where.`,
    )
  }

  async #performed(effect: AnswerableEffect, stored: StoredAnswer, name: string, attempt: number): Promise<void> {
    const [call] = effect.type === "tool_calls" ? effect.calls : []
    if (call !== undefined) this.#running -= 1
    checkFingerprint(effect, name, stored)
    const response = stored.answer && failedAgain(unpacked(stored.answer, effect), this.#failed)
    if (this.#isCancelled) {
      this.#late.push({ response, cutOff: stored.cutOff, callId: call?.callId })
      return
    }
    // Work that was cut off without a cancellation is that of an earlier effect.
    if (response === undefined) return
    const delay = retryDelay(this.#options.retry, response, attempt, stored.at)
    if (delay === undefined) return void (await this.#handle(effect, response, stored.at))
    this.#failed = response
    this.#add(`retry ${effect.id}`, this.#ctx.sleep(delay), () => this.#perform(effect, "first", attempt + 1))
  }

  async #handle(effect: AnswerableEffect, response: Response, at: number): Promise<boolean> {
    const facts = { at, durationMs: 0, textStreamed: false, partial: () => undefined, show: (event: TurnEvent) => this.#emit(event) }
    const instead = (error: unknown): Response => {
      if (effect.type !== "tool_calls") return taskOf(this.#host, effect).refusal(error, facts)
      const [call] = effect.calls
      return call === undefined ? response : toolTask(this.#host, effect.id, call).refusal(error, facts)
    }
    return handleAnswer(this.#machine, { response, instead }, undefined, async (event) => this.#emit(event))
  }

  #isFatal(error: unknown): boolean {
    return error instanceof this.#sdk.RestateError || this.#options.isFatal?.(error) === true
  }

  // --- people, and work outside ------------------------------------------------------------------------------------------------------

  /** Waits for decisions about held calls, and for results of calls that continue outside. */
  async #watch(): Promise<void> {
    const { outstanding } = this.#machine
    const { held = [], pending = [] } = outstanding?.type === "tool_calls" ? outstanding : {}
    if (this.#hooks !== undefined) {
      if (outstanding !== undefined && held.length > 0) this.#askHost(outstanding.id, held)
      return
    }
    const wanted = new Set([
      ...held.flatMap(({ requestId }) => [`held ${requestId}`, `expiry ${requestId}`]),
      ...pending.map(({ token }) => `outside ${token}`),
    ])
    for (const [key, { isWork }] of this.#open)
      if (!isWork && !key.startsWith("retry ") && !wanted.has(key) && !(key === "decide" && held.length > 0)) this.#open.delete(key)
    if (outstanding?.type !== "tool_calls" || held.length + pending.length === 0) return
    const newHeld = held.filter(({ requestId }) => !this.#open.has(`held ${requestId}`))
    const newPending = pending.filter(({ token }) => !this.#open.has(`outside ${token}`))
    if (newHeld.length + newPending.length > 0) await this.#beginToWait(outstanding, newHeld, newPending)
    if (held.length > 0) this.#askHost(outstanding.id, held)
  }

  #askHost(id: number, held: readonly HeldCall[]): void {
    if (this.#host.decide !== undefined && this.#mayDecide && !this.#isCancelled) this.#decide(id, held)
  }

  async #beginToWait({ id }: ToolCalls, held: readonly HeldCall[], pending: readonly ExternalCall[]): Promise<void> {
    // A token may be "__proto__".
    const awakeables = new Map<string, string>()
    const wait = (name: string): DurablePromise<unknown> => {
      if (hasSignals(this.#ctx)) return this.#ctx.signal(name)
      const awakeable = this.#ctx.awakeable<unknown>()
      awakeables.set(name, awakeable.id)
      return awakeable.promise
    }
    for (const call of held) this.#waitForDecision(id, call, wait)
    for (const call of pending) this.#waitForResult(id, call, wait)
    const now = await this.#wait(
      this.#step(`${id} waits`, async () => {
        const invocationId = this.#ctx.request().id
        await this.#options.onWaiting?.({ invocationId, held, pending, ...(awakeables.size > 0 && { awakeables: Object.fromEntries(awakeables) }) })
        return this.#clock()
      }),
    )
    for (const { requestId, digest, ask } of held) {
      if (ask.expiresAt === undefined) continue
      this.#add(`expiry ${requestId}`, this.#ctx.sleep(Math.max(0, ask.expiresAt - now)), async () => {
        const at = ask.expiresAt
        await this.#decided({ type: "tool_decisions", id, ...(at !== undefined && { at }), decisions: [{ requestId, digest, decision: "expired" }] })
      })
    }
  }

  #waitForDecision(id: number, { requestId, digest }: HeldCall, wait: (name: string) => DurablePromise<unknown>): void {
    const again = (): void => this.#waitForDecision(id, { requestId, digest } as HeldCall, wait)
    const key = `held ${requestId}`
    this.#add(
      key,
      wait(requestId),
      async (value) => {
        const at = await this.#now(id)
        const given = typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined
        if (given === undefined)
          this.#diagnose(`The signal ${JSON.stringify(requestId)} is not a decision: its value must be an object with a decision.`)
        else await this.#decided({ type: "tool_decisions", id, at, decisions: [{ requestId, digest, ...given } as never] })
        if (this.#isHeld(requestId)) again()
      },
      {
        fail: (failure) => {
          this.#diagnose(
            `The signal ${JSON.stringify(requestId)} was rejected: ${failure.message}. To reject the call, resolve it with { decision: "reject" }.`,
          )
          again()
        },
      },
    )
  }

  #isHeld(requestId: string): boolean {
    const { outstanding } = this.#machine
    return outstanding?.type === "tool_calls" && outstanding.held?.some((call) => call.requestId === requestId) === true
  }

  /** Waits for the result of a call that continues outside: a `ToolAnswer`. A signal that is rejected fails the call. */
  #waitForResult(id: number, call: ExternalCall, wait: (name: string) => DurablePromise<unknown>): void {
    const { token, note: _note, ...own } = call
    const effect: ToolCalls = { type: "tool_calls", id, calls: [own] }
    const complete = async (answer: unknown): Promise<void> => {
      const at = await this.#now(id)
      const { output, modelReturn, usage } = (answer ?? {}) as Partial<ToolAnswer>
      const facts = { output, ...(modelReturn !== undefined && { modelReturn }), ...(usage !== undefined && { usage }) }
      await this.#handle(effect, { type: "tool_results", id, at, results: [{ ...own, ...facts, durationMs: 0 } as never] }, at)
    }
    this.#add(`outside ${token}`, wait(token), complete, {
      fail: ({ message }) =>
        complete({ output: { status: "failure", failure: toolFailureOf(new ToolError({ class: "execution", code: "failed_outside", message })) } }),
    })
  }

  #clock(): number {
    return Math.floor((this.#options.now ?? Date.now)())
  }

  /** The engine's time. */
  #now(id: number): Promise<number> {
    return this.#wait(this.#step(`${id} time`, async () => this.#clock()))
  }

  /** Returns whether a decision is new. */
  #decided(response: Response): Promise<boolean> {
    return handleAnswer(this.#machine, { response, instead: () => response }, undefined, async (event) => this.#emit(event))
  }

  #diagnose(text: string): void {
    this.#emit(Object.freeze({ type: "message", kind: "diagnostic", text }))
  }

  /** Asks the host about held calls, beside what runs and those who are asked elsewhere. */
  #decide(id: number, held: readonly HeldCall[]): void {
    this.#mayDecide = false
    const { signal } = this.#effectController
    const decided = this.#step(`${id} decide`, async () => {
      const now = (): number => this.#clock()
      const context = { effectId: id, idempotencyKey: undefined, signal, isFatal: (error: unknown) => this.#isFatal(error), said: undefined, now }
      const emit: EffectContext["emit"] = (event) => void this.#options.onEvent?.(event)
      return (await (await execute(decideTask(this.#host, id, held), now(), { ...context, emit })).answer()).response
    })
    this.#add("decide", decided, async (response) => {
      if (response.type !== "tool_decisions") return
      for (const decision of response.decisions) if (await this.#decided({ ...response, decisions: [decision] })) this.#mayDecide = true
    })
  }

  // --- cancellation ------------------------------------------------------------------------------------------------------------------

  #cancel(reason: unknown = new DOMException("The invocation was cancelled.", "AbortError")): void {
    this.#isCancelled = true
    if (!this.#controller.signal.aborted) this.#controller.abort(reason)
  }

  /** Ends a cancelled turn in order: running work has its grace time, and what it reports is recorded before the turn is cancelled. */
  async #leave(): Promise<void> {
    if (this.#hasLeft) return
    this.#hasLeft = true
    const machine = this.#machine
    const { outstanding } = machine
    this.#queue = []
    // What runs may belong to an earlier effect, whose results do not count.
    const isCurrent = outstanding?.id === this.#effectId
    for (const [key, { isWork }] of this.#open) if (!isWork || !isCurrent) this.#open.delete(key)
    while (this.#open.size > 0) await this.#next()
    const open = new OpenCalls(outstanding)
    let answer: Response | undefined
    const said = this.#late.find(({ cutOff }) => cutOff?.partial !== undefined)?.cutOff?.partial
    // A late answer has the tokens of the failed attempts already.
    const partial = isCurrent && this.#late.every(({ response }) => response === undefined) ? cutOffAgain(said, this.#failed) : said
    const hand = async (response: Response): Promise<void> => {
      const isWork = response.type === "tool_results" || response.type === "exec_result"
      if (isWork && open.completedBy(response)) answer = response
      else if (outstanding !== undefined) await this.#handle(outstanding, response, response.at ?? 0)
    }
    for (const { response } of this.#late) if (response !== undefined) await hand(response)
    if (answer === undefined && outstanding?.type === "tool_calls") for (const response of await this.#endLeft(outstanding)) await hand(response)
    const reason = reasonOf(this.#controller.signal)
    machine.command({
      type: "cancel",
      ...(reason !== undefined && { reason }),
      ...(partial !== undefined && { partial }),
      ...(answer !== undefined && { answer }),
    })
  }

  /** What is known of the calls that this invocation does not run: their results from the host's tools, and of `once` calls that they may have run. */
  async #endLeft({ id }: ToolCalls): Promise<readonly Response[]> {
    const { outstanding } = this.#machine
    if (outstanding?.type !== "tool_calls" || outstanding.id !== id) return []
    const begun = new Set(this.#late.flatMap(({ callId, cutOff }) => (cutOff?.begun === true && callId !== undefined ? [callId] : [])))
    const left: ToolCalls = { ...outstanding, calls: outstanding.calls.filter(({ callId }) => !begun.has(callId)) }
    const { turnId, cancelGraceMs = DEFAULT_CANCEL_GRACE_MS } = this.#options
    const ended =
      this.#host.tools?.cancel === undefined
        ? []
        : await this.#wait(
            this.#step(`${id} cancel`, async () => {
              const signal = AbortSignal.abort(this.#controller.signal.reason)
              const calls = new LeftCalls(this.#host, undefined, signal, cancelGraceMs, {
                keyIds: [turnId],
                isFatal: (error) => this.#isFatal(error),
              })
              return (await calls.end(left)).map(({ response }) => response)
            }),
          )
    const known = new Set(ended.flatMap((response) => (response.type === "tool_results" ? response.results.map(({ callId }) => callId) : [])))
    const unknown = cancelledResponses({ ...outstanding, calls: [] }, (callId) => {
      const call = outstanding.pending?.find((one) => one.callId === callId)
      return call !== undefined && !known.has(call.callId) && isOnce(this.#host, call)
    })
    // One by one: the last of all belongs to the cancellation.
    const single = unknown.flatMap((response) =>
      response.type === "tool_results" ? response.results.map((result): Response => ({ ...response, results: [result] })) : [response],
    )
    return [...ended, ...single]
  }

  // --- reports -----------------------------------------------------------------------------------------------------------------------

  async #progress(effect: Parameters<NonNullable<Host["progress"]>>[0]): Promise<void> {
    if (this.#hooks !== undefined) return this.#hooks.progress(effect)
    const host = this.#host
    if (host.progress === undefined) return
    await this.#wait(
      this.#step(`${effect.type} ${effect.recordsFrom}`, async () => {
        await host.progress?.(effect)
        return null
      }),
    )
  }

  #emit(event: TurnEvent): void {
    if (this.#options.onEvent === undefined) return
    this.#emitted += 1
    this.#events.push({ number: this.#emitted, event })
  }

  async #flush(): Promise<void> {
    const events = this.#events
    this.#events = []
    for (const { event } of events) await this.#options.onEvent?.(event)
  }
}

const DEFAULT_TOOL_CONCURRENCY = 8
const DEFAULT_MAX_RESULT_BYTES = 16_000_000

/** The key of what is open while a hook listens. */
const MAIL = "mail"
