import type { AnswerableEffect, ToolCalls } from "../../wire/effect.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { LlmResponse } from "../../wire/llm.ts"
import type { Response } from "../../wire/response.ts"
import type { PendingToolCall } from "../../wire/tool.ts"
import type { Host, PerformOptions, RunOptions, TurnLog } from "../host.ts"
import { onAbort, timerMs } from "../timers.ts"
import { isOnce } from "./checks.ts"
import { type Answer, execute } from "./execute.ts"
import { idempotencyKey } from "./idempotency-key.ts"
import { type CheckPartial, checkLoosely, PartialAnswer } from "./partial-answer.ts"
import { type Past, type Task, taskOf, toolTask } from "./task.ts"

const DEFAULT_TOOL_CONCURRENCY = 8

/** The options of a run that its work needs. `keyIds`: the ids before the effect's in an idempotency key. */
export interface WorkOptions extends Omit<PerformOptions, "turnId">, Pick<RunOptions, "toolConcurrency"> {
  readonly keyIds?: readonly (string | number)[] | undefined
  readonly callStarted?: TurnLog["callStarted"]
}

/**
 * Runs a host's executors for one effect. Answers are returned one at a time as they arrive; a tool batch has one for each call. When
 * the run's signal is aborted, or {@link Work.stop} is called, the executors' signals are aborted, nothing more is started, and later
 * events are dropped. Results that still arrive count until `stop`, if they say what happened.
 */
export class Work {
  readonly effectId: number
  readonly #host: Host
  readonly #options: WorkOptions
  readonly #isModelCall: boolean
  readonly #hasGrace: boolean
  readonly #running = new Set<AbortController>()
  readonly #stopWaiting: () => void
  readonly #ended: Promise<void>
  readonly #said: PartialAnswer
  /** The `once` calls whose start was recorded and that were stopped before they began. */
  readonly #notBegun = new Set<string | undefined>()
  #answers: Answer[] = []
  #isOver = false
  #isStopped = false
  #failure: { readonly error: unknown } | undefined
  /** What the executor of a model call returned, or threw as its partial answer. */
  #late: unknown
  /** Resolves when all events so far were received; `undefined` while no receiver is async. */
  #received: Promise<unknown> | undefined
  #wake: () => void = () => {}

  /** Starts at once. `checked`: returns a partial answer in the form of the wire, or `undefined` if the machine would refuse it. */
  constructor(effect: AnswerableEffect, host: Host, options: WorkOptions, checked: CheckPartial = checkLoosely) {
    this.effectId = effect.id
    this.#said = new PartialAnswer(checked)
    this.#host = host
    this.#options = options
    this.#isModelCall = effect.type === "llm_call"
    this.#hasGrace = this.#isModelCall || effect.type === "tool_calls" || effect.type === "exec_code"
    this.#stopWaiting = onAbort(options.signal, this.#abort)
    const ended = effect.type === "tool_calls" ? this.#runBatch(effect) : this.#runOne(effect)
    this.#ended = ended.catch(this.#fail)
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
      await Promise.race([this.#ended.then(() => this.#received), grace])
      clearTimeout(timer)
    }
    if (this.#failure !== undefined) throw this.#failure.error
  }

  /** What an aborted model call said and used: what its executor reported, otherwise what it emitted. `undefined`: nothing, or it has an answer. */
  get partial(): LlmResponse | undefined {
    return this.#isModelCall && this.#answers.length === 0 ? this.#said.response(this.#late, "cancelled") : undefined
  }

  /** Whether a call was recorded as started and then not begun. */
  isNotBegun(callId?: string): boolean {
    return this.#notBegun.has(callId)
  }

  /**
   * Waits for the next answer. Returns `undefined` once the run's signal is aborted.
   * @throws an error of the host's `onEvent`, `now` or `journal`, or a fatal one of an executor
   */
  async next(): Promise<Answer | undefined> {
    while (this.#answers.length === 0 && !this.#isOver && this.#failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    if (this.#received !== undefined && !this.#isOver) {
      // After an abort, `finish` waits for it, and not without end.
      const aborted = new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      await Promise.race([this.#received, aborted])
    }
    if (this.#failure !== undefined) throw this.#failure.error
    return this.#answers.shift()
  }

  /** Stops running executors. Returns the answers that arrived but were not read. */
  stop(): readonly Answer[] {
    this.#isStopped = true
    this.#abort()
    this.#stopWaiting()
    const answers = this.#answers
    this.#answers = []
    return answers
  }

  readonly #abort = (): void => {
    this.#isOver = true
    for (const controller of this.#running) controller.abort(this.#options.signal?.reason)
    this.#wake()
  }

  readonly #fail = (error: unknown): void => {
    this.#failure ??= { error }
    this.#wake()
  }

  async #runOne(effect: Exclude<AnswerableEffect, ToolCalls>): Promise<void> {
    const mustRecord = effect.type === "exec_code" && this.#host.code?.effects === "once"
    const past = mustRecord ? await this.#recordStart() : undefined
    const now = this.#isOver ? 0 : this.#now()
    const startedAt = typeof now === "number" ? now : await now
    if (this.#isOver) return this.#skip(past)
    await this.#run(taskOf(this.#host, effect, past), startedAt)
  }

  /** Starts the calls in their order, each as soon as a place is free. */
  async #runBatch({ id, calls }: ToolCalls): Promise<void> {
    if (calls.length === 0) {
      const response: Response = { type: "tool_results", id, at: await this.#now(), results: [] }
      this.#put({ response, instead: () => response })
      return
    }
    const places = new Places(this.#options.toolConcurrency ?? DEFAULT_TOOL_CONCURRENCY)
    const running: Promise<void>[] = []
    const start = (call: PendingToolCall, past: Past, startedAt: number): void => {
      running.push(
        this.#run(toolTask(this.#host, this.effectId, call, past), startedAt, call.callId)
          .catch(this.#fail)
          .then(places.free),
      )
    }
    /** Resolves when the calls before have begun; `undefined` while none has to wait. */
    let begun: Promise<void> | undefined
    const begin = async (
      call: PendingToolCall,
      recorded: Promise<Past> | undefined,
      before: Promise<void> | undefined,
      time: Promise<number> | undefined,
    ): Promise<void> => {
      // All at once: each may fail while another still waits.
      const [past = "first", , known] = await Promise.all([recorded, before, time])
      const startedAt = known ?? (this.#isOver ? 0 : await this.#now())
      if (!this.#isOver) return start(call, past, startedAt)
      this.#skip(recorded && past, call.callId)
      places.free()
    }
    for (const call of calls) {
      if (places.isFull) await places.freed()
      if (this.#isOver) break
      places.take()
      const mustRecord = isOnce(this.#host, call)
      const startedAt = mustRecord || begun !== undefined ? undefined : this.#now()
      if (typeof startedAt === "number") {
        start(call, "first", startedAt)
        continue
      }
      // Not awaited: a journal stores the starts of several calls with one write.
      begun = begin(call, mustRecord ? this.#recordStart(call.callId) : undefined, begun, startedAt)
      begun.catch(this.#fail)
    }
    await begun
    await Promise.all(running)
  }

  /** Work that records no starts is refused before it begins. */
  async #recordStart(callId?: string): Promise<Past> {
    return (await this.#options.callStarted?.(this.effectId, callId)) ?? "again"
  }

  /** Keeps in mind that a call has not begun, although its start was recorded. */
  #skip(past: Past | undefined, callId?: string): void {
    if (past === "first") this.#notBegun.add(callId)
  }

  async #run(task: Task, startedAt: number, callId?: string): Promise<void> {
    if (this.#isOver) return
    const controller = new AbortController()
    const { keyIds, isFatal } = this.#options
    this.#running.add(controller)
    const execution = await execute(task, startedAt, {
      effectId: this.effectId,
      idempotencyKey: keyIds && idempotencyKey(...keyIds, this.effectId, ...(callId === undefined ? [] : [callId])),
      signal: controller.signal,
      isFatal,
      said: this.#isModelCall ? this.#said : undefined,
      now: () => this.#now(),
      emit: (event) => {
        if (this.#isOver) return
        if (this.#isModelCall) this.#said.add(event)
        this.#emit(event)
      },
    })
    this.#running.delete(controller)
    this.#late = execution.reported
    if (this.#isOver && !execution.countsLate) return
    const answer = await execution.answer()
    if (!this.#isStopped) this.#put(answer)
  }

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

/** Whether a callback that may be async has to be waited for. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { readonly then?: unknown } | undefined)?.then === "function"
}

/** Lets a number of calls run at the same time. One caller at a time may wait for a place. */
class Places {
  #left: number
  #waiting: (() => void) | undefined

  constructor(count: number) {
    this.#left = count
  }

  get isFull(): boolean {
    return this.#left < 1
  }

  take(): void {
    this.#left -= 1
  }

  /** Waits until there is a place. */
  freed(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting = resolve
    })
  }

  readonly free = (): void => {
    this.#left += 1
    this.#waiting?.()
    this.#waiting = undefined
  }
}
