import type { AnswerableEffect, ToolCalls } from "../../wire/effect.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { LlmResponse } from "../../wire/llm.ts"
import type { Response } from "../../wire/response.ts"
import type { PendingToolCall } from "../../wire/tool.ts"
import type { EffectContext, Host, RunOptions } from "../host.ts"
import { timerMs } from "../timers.ts"
import { partialOf } from "./failures.ts"
import { type CheckPartial, checkLoosely, PartialAnswer } from "./partial-answer.ts"
import { type Facts, type Task, taskOf, toolTask } from "./perform-effect.ts"

const DEFAULT_TOOL_CONCURRENCY = 8

/** The result of an executor: the response for the turn, and the response to use if the turn refuses it. */
export interface Answer {
  readonly response: Response
  instead(error: unknown): Response
}

/**
 * Runs a host's executors for one effect. Answers are returned one at a time as they arrive; a tool batch has one for each call. When
 * the run's signal is aborted, or {@link Work.stop} is called, the executors' signals are aborted, and later answers and events are
 * dropped.
 */
export class Work {
  readonly effectId: number
  readonly #host: Host
  readonly #options: RunOptions
  readonly #redelivered: boolean
  readonly #running = new Set<AbortController>()
  #answers: Answer[] = []
  #over = false
  #failure: { readonly error: unknown } | undefined
  readonly #isModelCall: boolean
  readonly #ended: Promise<void>
  readonly #said: PartialAnswer
  /** What the executor of a model call returned, or threw as its partial answer. */
  #late: unknown
  #wake: () => void = () => {}

  /**
   * Starts at once. `redelivered`: an earlier process may have performed a part of the effect. `checked`: returns a partial answer in the
   * form of the wire, or `undefined` if the machine would refuse it.
   */
  constructor(effect: AnswerableEffect, host: Host, options: RunOptions, redelivered: boolean, checked: CheckPartial = checkLoosely) {
    this.effectId = effect.id
    this.#said = new PartialAnswer(checked)
    this.#host = host
    this.#options = options
    this.#redelivered = redelivered
    options.signal?.addEventListener("abort", this.#abort)
    this.#isModelCall = effect.type === "llm_call"
    const started = effect.type === "tool_calls" ? this.#runBatch(effect) : this.#run(taskOf(host, effect))
    this.#ended = started.catch(this.#fail)
  }

  /**
   * Returns what an aborted model call said and used: what its executor reports within the time, otherwise what it emitted. `undefined` if
   * the work is another effect, has an answer that was not read yet, or said nothing.
   */
  async partial(graceMs: number): Promise<LlmResponse | undefined> {
    if (!this.#isModelCall || this.#answers.length > 0) return undefined
    let timer: ReturnType<typeof setTimeout> | undefined
    const grace = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timerMs(graceMs))
    })
    await Promise.race([this.#ended, grace])
    clearTimeout(timer)
    if (this.#answers.length > 0) return undefined
    return this.#said.response(this.#late, "cancelled")
  }

  /**
   * Waits for the next answer. Returns `undefined` once the run's signal is aborted.
   * @throws an error of the host's `onEvent`, `now` or `journal`
   */
  async next(): Promise<Answer | undefined> {
    while (this.#answers.length === 0 && !this.#over && this.#failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    if (this.#failure !== undefined) throw this.#failure.error
    return this.#answers.shift()
  }

  /** Stops running executors. Returns the answers that arrived but were not read. */
  stop(): readonly Answer[] {
    this.#abort()
    this.#options.signal?.removeEventListener("abort", this.#abort)
    const answers = this.#answers
    this.#answers = []
    return answers
  }

  readonly #abort = (): void => {
    this.#over = true
    for (const controller of this.#running) controller.abort(this.#options.signal?.reason)
    this.#wake()
  }

  readonly #fail = (error: unknown): void => {
    this.#failure ??= { error }
    this.#wake()
  }

  async #runBatch({ id, calls }: ToolCalls): Promise<void> {
    if (calls.length === 0) {
      const response: Response = { type: "tool_results", id, at: this.#now(), results: [] }
      this.#put({ response, instead: () => response })
      return
    }
    const queue = calls.values()
    const runner = async (): Promise<void> => {
      for (const call of queue) await this.#run(await this.#toolTask(call), call.callId)
    }
    const count = Math.min(this.#options.toolConcurrency ?? DEFAULT_TOOL_CONCURRENCY, calls.length)
    await Promise.all(Array.from({ length: count }, runner))
  }

  /** Prevents a second run of `once` calls. If their start cannot be recorded, the run ends. */
  async #toolTask(call: PendingToolCall): Promise<Task> {
    const { effectId } = this
    const { journal } = this.#options
    if (this.#over || this.#host.tools?.effects(call) !== "once") return toolTask(this.#host, effectId, call)
    // Without a journal it is unknown which calls of a redelivered batch have started.
    if (journal?.mayHaveRun(effectId, call.callId) ?? this.#redelivered) return toolTask(this.#host, effectId, call, "may_have_run")
    await journal?.callStarted(effectId, call.callId)
    return toolTask(this.#host, effectId, call)
  }

  async #run(task: Task, callId?: string): Promise<void> {
    if (this.#over) return
    const controller = new AbortController()
    const startedAt = this.#now()
    let ended = false
    let returned = false
    let textStreamed = false
    const context: EffectContext = {
      effectId: this.effectId,
      idempotencyKey: this.#keyOf(callId),
      signal: controller.signal,
      emit: (event) => {
        if (ended || this.#over) return
        if (event.type === "text_delta" && event.content !== "") textStreamed = true
        if (this.#isModelCall) this.#said.add(event)
        this.#emit(event)
      },
    }

    this.#running.add(controller)
    let respond: (facts: Facts) => Response
    try {
      const value = await task.execute(context)
      this.#late = value
      returned = true
      respond = (facts) => task.answer(value, facts)
    } catch (error) {
      this.#late = partialOf(error)
      respond = (facts) => task.failure(error, facts)
    }
    ended = true
    this.#running.delete(controller)
    // A whole answer that comes just after the abort is taken as it is. Anything else that an aborted call said is a partial answer.
    if (this.#over && !(this.#isModelCall && returned && this.#said.accepts(this.#late))) return

    const at = this.#now()
    const facts: Facts = {
      at,
      durationMs: Math.max(0, at - startedAt),
      textStreamed,
      partial: (said, terminalReason) => this.#said.response(said, terminalReason),
      show: (event) => this.#emit(event),
    }
    const instead = (error: unknown): Response => task.refusal(error, facts)
    try {
      this.#put({ response: respond(facts), instead })
    } catch (error) {
      this.#put({ response: instead(error), instead })
    }
  }

  #keyOf(callId: string | undefined): string | undefined {
    const turnId = this.#options.turnId ?? this.#options.journal?.turnId
    return turnId === undefined ? undefined : `${turnId}:${this.effectId}${callId === undefined ? "" : `:${callId}`}`
  }

  #put(answer: Answer): void {
    this.#answers.push(answer)
    this.#wake()
  }

  /** An error of `onEvent` is not the executor's failure: it ends the run. */
  #emit(event: TurnEvent): void {
    try {
      this.#options.onEvent?.(event)
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Times on the wire are whole milliseconds; some clocks return fractions. */
  #now(): number {
    return Math.floor((this.#options.now ?? Date.now)())
  }
}
