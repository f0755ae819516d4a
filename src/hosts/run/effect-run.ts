import type { ExternalCall, HeldCall } from "../../wire/approval.ts"
import type { AnswerableEffect, ExecCode, ToolCalls, ToolCallsReleased } from "../../wire/effect.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { LlmResponse } from "../../wire/llm.ts"
import type { Response } from "../../wire/response.ts"
import type { PendingToolCall } from "../../wire/tool.ts"
import type { EffectContext, Host, PerformOptions, RunOptions, SuspendOptions, TurnChildren, TurnLog, TurnView } from "../host.ts"
import { onAbort, timerMs } from "../timers.ts"
import { CallQueue } from "./call-queue.ts"
import { isOnce } from "./checks.ts"
import { childPlace } from "./child-place.ts"
import { Decider } from "./decider.ts"
import { type Answer, type Execution, type Surroundings, startExecutor } from "./execute.ts"
import { idempotencyKey } from "./idempotency-key.ts"
import { RunInterrupted } from "./interrupted.ts"
import { type CheckPartial, checkLoosely, PartialAnswer } from "./partial-answer.ts"
import { askTask, decideTask, type Past, type Task, taskOf, toolTask } from "./task.ts"

const DEFAULT_TOOL_CONCURRENCY = 8

/** The options of a run that its work needs. `keyIds`: the ids before the effect's in an idempotency key. */
export interface WorkOptions extends Omit<PerformOptions, "turnId">, Pick<RunOptions, "toolConcurrency">, Pick<SuspendOptions, "pause"> {
  readonly keyIds?: readonly (string | number)[] | undefined
  readonly callStarted?: TurnLog["callStarted"]
  readonly children?: TurnChildren
  readonly turn?: TurnView
  /** Whether calls that continue outside are resumed, where the host's tools can. */
  readonly resumesCalls?: true
}

/** The calls of a batch. */
interface Batch {
  readonly queue: CallQueue
  /** The ids of the calls that were given to the queue. A turn may name a held one again. */
  readonly released: Set<string>
}

const NONE: readonly (() => void)[] = []

/** One call of an executor. `controller`: aborts it alone. */
interface Executing {
  readonly callId?: string | undefined
  readonly controller?: AbortController
  readonly isOver?: () => boolean
  readonly end: (answer?: Answer) => void
}

/**
 * Runs a host's executors for one effect. Answers are returned one at a time as they arrive; a tool batch has one for each call. When
 * the run's signal is aborted, or {@link Work.stop} is called, the executors' signals are aborted, nothing more is started, and later
 * events are dropped. Results that still arrive count until `stop`, if they say what happened.
 *
 * When `pause` is aborted, running calls end and no more begin; the host is not asked for decisions any more.
 */
export class Work {
  readonly effectId: number
  readonly #host: Host
  readonly #options: WorkOptions
  readonly #isSideCall: boolean
  readonly #hasGrace: boolean
  readonly #running = new Set<AbortController>()
  readonly #stopWaiting: readonly (() => void)[]
  /** What a model call has said; `undefined` for other work. */
  readonly #said: PartialAnswer | undefined
  /** The `once` calls whose start was recorded and that were stopped before they began; `undefined` while there is none. */
  #notBegun: Set<string | undefined> | undefined
  /** The calls whose executor was called. */
  readonly #begun = new Set<string | undefined>()
  /** The calls of a batch; `undefined` for other work. */
  readonly #batch: Batch | undefined
  #answers: Answer[] = []
  /** How many executors have not ended or are about to begin. */
  #active = 0
  #isWoken = false
  #isPaused = false
  readonly #decider = new Decider()
  #isOver = false
  #isStopped = false
  #left: { readonly reason: unknown } | undefined
  #failure: { readonly error: unknown } | undefined
  /** What the executor of a model call returned, or threw as its partial answer. */
  #late: unknown
  /** Resolves when all events so far were received; `undefined` while no receiver is async. */
  #received: Promise<unknown> | undefined
  #wake: () => void = () => {}
  /** Ends the wait for receivers of events. */
  #leaveReceivers: () => void = () => {}
  /** Ends the wait for the executors of a cancelled effect. */
  #ended: () => void = () => {}

  /** Starts at once. `checked`: returns a partial answer in the form of the wire, or `undefined` if the machine would refuse it. */
  constructor(effect: AnswerableEffect, host: Host, options: WorkOptions, checked: CheckPartial = checkLoosely) {
    this.effectId = effect.id
    this.#host = host
    this.#options = options
    this.#said = effect.type === "llm_call" ? new PartialAnswer(checked) : undefined
    this.#isSideCall = effect.type === "llm_call" && effect.purpose !== undefined
    this.#hasGrace = effect.type === "llm_call" || effect.type === "tool_calls" || effect.type === "exec_code"
    this.#batch = effect.type === "tool_calls" ? { queue: this.#queue(), released: new Set() } : undefined
    this.#stopWaiting = this.#waitForSignals(options)
    // Counted while it begins, so that it does not end before all of it has begun.
    this.#take()
    try {
      const begun = effect.type === "tool_calls" ? this.#runBatch(effect) : this.#runOne(effect)
      if (begun === undefined) this.#free()
      else begun.catch(this.#fail).then(this.#free)
    } catch (error) {
      this.#fail(error)
      this.#free()
    }
  }

  #queue(): CallQueue {
    const host = this.#host
    return new CallQueue(this.#options.toolConcurrency ?? DEFAULT_TOOL_CONCURRENCY, {
      isOver: () => this.#isOver || this.#failure !== undefined,
      mustRecord: (call) => !isExternal(call) && isOnce(host, call),
      recordStart: (callId) => this.#recordStart(callId),
      skip: (past, callId) => this.#skip(past, callId),
      now: () => this.#now(),
      take: () => this.#take(),
      free: this.#free,
      run: (call, past, startedAt, end) =>
        isExternal(call) ? this.#resume(call, startedAt, end) : this.#run(toolTask(host, this.effectId, call, past), startedAt, end, call.callId),
      fail: this.#fail,
    })
  }

  #waitForSignals({ signal, pause }: WorkOptions): readonly (() => void)[] {
    if (signal === undefined && pause === undefined) return NONE
    return [onAbort(signal, () => this.#abort()), onAbort(pause, () => this.#pause())]
  }

  /** Runs held calls of the batch that a decision released. */
  release({ id, calls }: Pick<ToolCallsReleased, "id" | "calls">): void {
    if (id !== this.effectId || this.#batch === undefined) return
    const { queue, released } = this.#batch
    const added = calls.filter(({ callId }) => !released.has(callId))
    for (const { callId } of added) released.add(callId)
    queue.add(added)
  }

  /** Whether `Host.decide` may decide about calls that are held. */
  get mayDecide(): boolean {
    return this.#host.decide !== undefined && this.#decider.isFree && !this.#isOver && !this.#isPaused
  }

  /** Asks `Host.decide`, beside the calls that run. Each of its decisions is an answer. */
  decide(held: readonly HeldCall[]): void {
    this.#take()
    this.#decide(held).catch(this.#fail).then(this.#free)
  }

  /** Called for each of these answers: whether it was a new decision. Where none was, the host is not asked again. */
  countDecision(isNew: boolean): void {
    this.#decider.count(isNew)
  }

  /** Whether nothing runs, and no answer is left to read. */
  get isIdle(): boolean {
    return this.#active === 0 && this.#answers.length === 0
  }

  /** Lets {@link Work.next} return, so that the run looks at its turn again. */
  wake(): void {
    this.#isWoken = true
    this.#wake()
  }

  /**
   * Waits until the executors of a cancelled model call, of tools or of code have ended, and until their events were received; at most as
   * long as given.
   * @throws as {@link Work.next}
   */
  async finish(graceMs: number): Promise<void> {
    if (this.#hasGrace) {
      let timer: ReturnType<typeof setTimeout> | undefined
      const grace = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, timerMs(graceMs))
      })
      await Promise.race([this.#allEnded().then(() => this.#received), grace])
      clearTimeout(timer)
    }
    if (this.#failure !== undefined) throw this.#failure.error
  }

  #allEnded(): Promise<void> {
    if (this.#active === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#ended = resolve
    })
  }

  /** What an aborted model call said and used: what its executor reported, otherwise what it emitted. `undefined`: nothing, or it has an answer. */
  get partial(): LlmResponse | undefined {
    return this.#answers.length === 0 ? this.#said?.response(this.#late, "cancelled") : undefined
  }

  /** Whether the executor of a call was called. */
  hasBegun(callId: string): boolean {
    return this.#begun.has(callId)
  }

  /** Whether a call was recorded as started and then not begun. */
  isNotBegun(callId?: string): boolean {
    return this.#notBegun?.has(callId) === true
  }

  /**
   * Waits for the next answer. Returns `undefined` once the run's signal is aborted, when nothing runs any more, or after `wake`.
   * @throws an error of the host's `onEvent`, `now` or `journal`, or a fatal one of an executor
   */
  async next(): Promise<Answer | undefined> {
    while (this.#answers.length === 0 && this.#active > 0 && !this.#isOver && !this.#isWoken && this.#failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    this.#isWoken = false
    if (this.#received !== undefined && !this.#isOver) {
      // After an abort, `finish` waits for it, and not without end.
      const aborted = new Promise<void>((resolve) => {
        this.#leaveReceivers = resolve
      })
      await Promise.race([this.#received, aborted])
    }
    if (this.#failure !== undefined) throw this.#failure.error
    return this.#answers.shift()
  }

  /** Aborts running executors, and starts nothing more. What they report until {@link Work.stop} counts as after an abort of the run. */
  leave(reason: unknown): void {
    this.#left = { reason }
    this.#abort()
  }

  /**
   * Stops running executors. Returns the answers that arrived but were not read. `isOpen`: the effect is still outstanding, and another run
   * performs it again.
   */
  stop(isOpen = false): readonly Answer[] {
    this.#isStopped = true
    this.#abort(isOpen)
    for (const stopWaiting of this.#stopWaiting) stopWaiting()
    const answers = this.#answers
    this.#answers = []
    return answers
  }

  #abort(isOpen = false): void {
    this.#isOver = true
    const { signal } = this.#options
    const reason = isOpen && signal?.aborted !== true ? new RunInterrupted() : this.#left === undefined ? signal?.reason : this.#left.reason
    for (const controller of this.#running) controller.abort(reason)
    this.#wake()
    this.#leaveReceivers()
  }

  #pause(): void {
    this.#isPaused = true
    this.#batch?.queue.pause()
    this.#decider.abort(this.#options.pause?.reason)
    this.#wake()
  }

  readonly #fail = (error: unknown): void => {
    this.#failure ??= { error }
    this.#wake()
  }

  /** Starts the executor of an effect that is not a batch, at once if nothing has to be recorded or asked before. */
  #runOne(effect: Exclude<AnswerableEffect, ToolCalls>): Promise<void> | undefined {
    if (effect.type === "exec_code" && this.#host.code?.effects === "once") return this.#runRecorded(effect)
    const start = (startedAt: number): void => {
      if (this.#isOver) return
      this.#take()
      this.#run(taskOf(this.#host, effect), startedAt, this.#free)
    }
    const now = this.#now()
    if (typeof now !== "number") return now.then(start)
    start(now)
    return undefined
  }

  async #runRecorded(effect: ExecCode): Promise<void> {
    const past = await this.#recordStart()
    const startedAt = this.#isOver ? 0 : await this.#now()
    if (this.#isOver) return this.#skip(past)
    this.#take()
    this.#run(taskOf(this.#host, effect, past), startedAt, this.#free)
  }

  #runBatch({ id, calls, held, pending }: ToolCalls): Promise<void> | undefined {
    const outside = this.#options.resumesCalls === true && this.#host.tools?.resume !== undefined ? (pending ?? []) : []
    for (const { callId } of calls) this.#batch?.released.add(callId)
    if (calls.length + outside.length > 0) {
      this.#batch?.queue.add(outside.length === 0 ? calls : [...calls, ...outside])
      return undefined
    }
    return held === undefined && pending === undefined ? this.#answerNothing(id) : undefined
  }

  async #answerNothing(id: number): Promise<void> {
    const response: Response = { type: "tool_results", id, at: await this.#now(), results: [] }
    this.#put({ response, instead: () => response })
  }

  /** A decider that ignores that it is aborted is not waited for: what it decides then does not count. */
  #decide(held: readonly HeldCall[]): Promise<void> {
    const controller = this.#decider.begin()
    return new Promise((resolve, reject) => {
      const stopWaiting = onAbort(controller.signal, resolve)
      this.#putDecisions(held, controller).then(resolve, reject).finally(stopWaiting)
    })
  }

  async #putDecisions(held: readonly HeldCall[], controller: AbortController): Promise<void> {
    const now = this.#now()
    const startedAt = typeof now === "number" ? now : await now
    const isOver = (): boolean => this.#isOver || controller.signal.aborted
    if (isOver()) return
    const task = decideTask(this.#host, this.effectId, held)
    const answer = await new Promise<Answer | undefined>((end) => this.#execute(task, startedAt, { controller, isOver, end }))
    if (answer?.response.type !== "tool_decisions" || this.#isStopped) return
    const { response } = answer
    const { decisions } = response
    this.#decider.expect(decisions.length)
    // One by one: a decision that the turn refuses takes no other with it.
    for (const decision of decisions) this.#put({ ...answer, response: { ...response, decisions: [decision] } })
  }

  /** Counts what runs or is about to begin, until {@link #free}. */
  #take(): void {
    this.#active += 1
  }

  readonly #free = (): void => {
    this.#active -= 1
    if (this.#active > 0) return
    this.#wake()
    this.#ended()
  }

  /** Work that records no starts is refused before it begins. */
  async #recordStart(callId?: string): Promise<Past> {
    return (await this.#options.callStarted?.(this.effectId, callId)) ?? "again"
  }

  /** Keeps in mind that a call has not begun, although its start was recorded. */
  #skip(past: Past | undefined, callId?: string): void {
    if (past !== "first") return
    this.#notBegun ??= new Set()
    this.#notBegun.add(callId)
  }

  #run(task: Task, startedAt: number, end: () => void, callId?: string): void {
    this.#begun.add(callId)
    this.#execute(task, startedAt, {
      callId,
      end: (answer) => {
        if (answer !== undefined && !this.#isStopped) this.#put(answer)
        end()
      },
    })
  }

  /** Resumes the work of a call that continues outside. Without a result, nothing is handed in. */
  #resume(call: ExternalCall, startedAt: number, end: () => void): void {
    const { token: _token, note: _note, ...rest } = call
    let isOutside = false
    const ask = async (_own: PendingToolCall, context: EffectContext) => this.#host.tools?.resume?.(call, context)
    const task = askTask(this.#host, this.effectId, rest, ask, () => {
      isOutside = true
    })
    this.#begun.add(call.callId)
    this.#execute(task, startedAt, {
      callId: call.callId,
      end: (answer) => {
        if (answer !== undefined && !isOutside && !this.#isStopped) this.#put(answer)
        end()
      },
    })
  }

  /** Calls an executor. `end` is called once: without an answer if the executor was aborted and its result does not count, or if the run ends with its error. */
  #execute(task: Task, startedAt: number, { end, callId, controller = new AbortController(), isOver = this.#over }: Executing): void {
    const { keyIds = [], isFatal, pause, children, turn } = this.#options
    const [turnId] = keyIds
    this.#running.add(controller)
    const fail = (error: unknown): void => {
      this.#running.delete(controller)
      this.#fail(error)
      end()
    }
    const answered = (execution: Execution): void => {
      this.#running.delete(controller)
      this.#late = execution.reported
      const answer = isOver() && !execution.countsLate() ? undefined : execution.answer()
      if (isThenable(answer)) answer.then(end, fail)
      else end(answer)
    }
    const surroundings: Surroundings = {
      effectId: this.effectId,
      idempotencyKey: turnId === undefined ? undefined : idempotencyKey(...keyIds, this.effectId, ...(callId === undefined ? [] : [callId])),
      pause,
      ...(turn !== undefined && { turn }),
      ...(children !== undefined &&
        turnId !== undefined &&
        callId !== undefined && {
          child: (name) => childPlace(children, { turnId, effectId: this.effectId, callId, signal: controller.signal }, name),
        }),
      abort: controller,
      isFatal,
      said: this.#said,
      now: () => this.#now(),
      emit: (event) => {
        if (isOver()) return
        this.#said?.add(event)
        // The text of a side call is not an answer to the user.
        if (this.#isSideCall && (event.type === "text_delta" || event.type === "reasoning_delta")) return
        this.#emit(event)
      },
    }
    startExecutor(task, startedAt, surroundings, answered, fail)
  }

  readonly #over = (): boolean => this.#isOver

  #put(answer: Answer): void {
    this.#answers.push(answer)
    this.#wake()
  }

  /** An error of `onEvent` is not the executor's failure: it ends the run. */
  #emit(event: TurnEvent): void {
    try {
      const received: unknown = this.#options.onEvent?.(event)
      if (isThenable(received)) this.#received = Promise.all([this.#received, Promise.resolve(received).catch(this.#fail)])
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Times on the wire are whole milliseconds; some clocks return fractions. */
  #now(): number | Promise<number> {
    const time = (this.#options.now ?? Date.now)()
    return typeof time === "number" ? Math.floor(time) : time.then(Math.floor)
  }
}

function isExternal(call: PendingToolCall): call is ExternalCall {
  return "token" in call
}

/** Whether a callback that may be async has to be waited for. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { readonly then?: unknown } | undefined)?.then === "function"
}
