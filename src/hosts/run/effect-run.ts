import type { AnswerableEffect, ToolCalls } from "../../schemas/effect.ts"
import type { TurnEvent } from "../../schemas/event.ts"
import type { Response } from "../../schemas/response.ts"
import type { PendingToolCall } from "../../schemas/tool.ts"
import type { EffectContext, Host, RunOptions } from "../host.ts"
import { type Facts, type Task, taskOf, toolTask } from "./perform-effect.ts"

const DEFAULT_TOOL_CONCURRENCY = 8

/** What came of a piece of work: the response to hand in, and the one to hand in should the turn refuse it. */
export interface Answer {
  readonly response: Response
  instead(error: unknown): Response
}

/**
 * What a host's executors do for one effect. Answers come out one at a time, as they come in; of a tool batch, one for
 * each call. Once the run's signal is aborted, or the work is left, executors get their signal aborted and what they
 * answer or emit is dropped.
 */
export class Work {
  readonly effectId: number
  readonly #host: Host
  readonly #options: RunOptions
  readonly #redelivered: boolean
  readonly #running = new Set<AbortController>()
  #answers: Answer[] = []
  #over = false
  #broken: { readonly error: unknown } | undefined
  #wake: () => void = () => {}

  /** Starts at once. `redelivered`: the effect may have been performed before, in part. */
  constructor(effect: AnswerableEffect, host: Host, options: RunOptions, redelivered: boolean) {
    this.effectId = effect.id
    this.#host = host
    this.#options = options
    this.#redelivered = redelivered
    options.signal?.addEventListener("abort", this.#stop)
    const started = effect.type === "tool_calls" ? this.#runBatch(effect) : this.#run(taskOf(host, effect))
    started.catch(this.#break)
  }

  /**
   * The next answer, waited for; `undefined` once the run's signal is aborted.
   * @throws what the host's `onEvent` or `now` threw
   */
  async next(): Promise<Answer | undefined> {
    while (this.#answers.length === 0 && !this.#over && this.#broken === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    if (this.#broken !== undefined) throw this.#broken.error
    return this.#answers.shift()
  }

  /** Stops what still runs, and gives the answers that came but were not asked for. */
  leave(): readonly Answer[] {
    this.#stop()
    this.#options.signal?.removeEventListener("abort", this.#stop)
    const answers = this.#answers
    this.#answers = []
    return answers
  }

  readonly #stop = (): void => {
    this.#over = true
    for (const controller of this.#running) controller.abort(this.#options.signal?.reason)
    this.#wake()
  }

  readonly #break = (error: unknown): void => {
    this.#broken ??= { error }
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

  /** What keeps `once` calls from happening twice; a failure to keep their beginning ends the run. */
  async #toolTask(call: PendingToolCall): Promise<Task> {
    const { effectId } = this
    const { journal } = this.#options
    if (this.#over || this.#host.tools?.effects(call) !== "once") return toolTask(this.#host, effectId, call)
    // Without a journal nobody knows how far a batch came that was handed out before.
    if (journal?.mayHaveRun(effectId, call.callId) ?? this.#redelivered) return toolTask(this.#host, effectId, call, "may_have_run")
    await journal?.callStarted(effectId, call.callId)
    return toolTask(this.#host, effectId, call)
  }

  async #run(task: Task, callId?: string): Promise<void> {
    if (this.#over) return
    const controller = new AbortController()
    const startedAt = this.#now()
    let ended = false
    let textStreamed = false
    const context: EffectContext = {
      effectId: this.effectId,
      idempotencyKey: this.#keyOf(callId),
      signal: controller.signal,
      emit: (event) => {
        if (ended || this.#over) return
        if (event.type === "text_delta" && event.content !== "") textStreamed = true
        this.#show(event)
      },
    }

    this.#running.add(controller)
    let respond: (facts: Facts) => Response
    try {
      const value = await task.execute(context)
      respond = (facts) => task.answer(value, facts)
    } catch (error) {
      respond = (facts) => task.failure(error, facts)
    }
    ended = true
    this.#running.delete(controller)
    if (this.#over) return

    const at = this.#now()
    const facts: Facts = { at, durationMs: Math.max(0, at - startedAt), textStreamed, show: (event) => this.#show(event) }
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

  /** What `onEvent` throws is not the executor's fault: it ends the run. */
  #show(event: TurnEvent): void {
    try {
      this.#options.onEvent?.(event)
    } catch (error) {
      this.#break(error)
    }
  }

  /** On the wire, times are whole milliseconds; some clocks give fractions. */
  #now(): number {
    return Math.floor((this.#options.now ?? Date.now)())
  }
}
