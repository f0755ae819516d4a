import type { AnswerableEffect } from "../../wire/effect.ts"
import type { LlmResponse } from "../../wire/llm.ts"
import type { Response } from "../../wire/response.ts"
import type { PendingToolCall } from "../../wire/tool.ts"
import { isOnce } from "../run/checks.ts"
import { RunInterrupted } from "../run/interrupted.ts"
import { performEffect } from "../run/perform-effect.ts"
import { cancelledResponses, type Past } from "../run/task.ts"
import { onAbort } from "../timers.ts"
import { checkFingerprint, fingerprintOf, jsonBytes, packed, type StoredAnswer, unpacked } from "./entries.ts"
import { failedAgain, retryDelay } from "./retry.ts"
import type { RunContext } from "./run-context.ts"

/** A call of the outstanding batch that has no result. */
interface QueuedCall {
  readonly call: PendingToolCall
  readonly isOnce: boolean
  /** Whether the start of a `once` call is recorded. */
  start: "unknown" | "recording" | Past
}

/** The result of work that ended after the turn was cancelled. */
export interface LateAnswer {
  readonly response: Response | undefined
  readonly cutOff: StoredAnswer["cutOff"]
  readonly callId: string | undefined
}

/** Performs the effect that the turn waits for, as steps of the journal: each call of a batch is one of its own. */
export class EffectWork {
  readonly #run: RunContext
  /** What came after the cancellation of the turn. */
  readonly late: LateAnswer[] = []
  /** The failed attempts of the effect, a model call, as the last failure with the tokens of all. */
  #failed: Response | undefined
  #effectId = 0
  #effects = 0
  #controller = new AbortController()
  #queue: QueuedCall[] = []
  #running = 0
  #entries = 0

  constructor(run: RunContext) {
    this.#run = run
  }

  /** The effect that is being performed. 0: none yet. */
  get effectId(): number {
    return this.#effectId
  }

  /** How many effects have begun. */
  get effects(): number {
    return this.#effects
  }

  get failed(): Response | undefined {
    return this.#failed
  }

  /** Aborted when the effect is no longer the one that the turn waits for. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Whether calls wait for others to end, or for the record of their start. */
  get isQueued(): boolean {
    return this.#queue.length > 0
  }

  /** Begins to perform an effect. What the last one left running is aborted, and its results do not count. */
  begin(effect: AnswerableEffect): void {
    this.#controller.abort(new RunInterrupted())
    this.#controller = new AbortController()
    this.#run.waits.clear()
    this.#effectId = effect.id
    this.#effects += 1
    this.#failed = undefined
    this.#queue = []
    this.#running = 0
    if (effect.type !== "tool_calls") {
      if (effect.type === "exec_code" && this.#run.host.code?.effects === "once")
        this.#recordStart(`${effect.id} exec_code`, (past) => this.#perform(effect, past))
      else this.#perform(effect, "first")
    } else if (effect.calls.length > 0) this.enqueue(effect.calls)
    else if (effect.held === undefined && effect.pending === undefined) this.#perform(effect, "first")
  }

  /** Begins no other call. */
  dropQueue(): void {
    this.#queue = []
  }

  /** Adds calls of the effect that may run. */
  enqueue(calls: readonly PendingToolCall[]): void {
    for (const call of calls) this.#queue.push({ call, isOnce: isOnce(this.#run.host, call), start: "unknown" })
  }

  /** Starts calls in their order, as many as may run at once. The start of a `once` call is recorded before. */
  startCalls(): void {
    const places = (this.#run.options.toolConcurrency ?? DEFAULT_TOOL_CONCURRENCY) - this.#running
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
    const recorded = this.#run.steps.step(`${name} started`, async () => {
      past = "first"
      return null
    })
    this.#run.waits.add(
      `start ${this.#nextEntry()}`,
      recorded,
      () => {
        if (!this.#run.isCancelled) begin(past)
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
    const { signal } = this.#controller
    const stored = this.#run.steps.step(name, async () => {
      const earlier = known
      // Another execution in the same attempt may have begun the call.
      known = "again"
      return this.#execute(effect, earlier, signal)
    })
    this.#run.waits.add(`work ${this.#nextEntry()}`, stored, (value) => this.#performed(effect, value, name, attempt), { isWork: true })
  }

  async #execute(effect: AnswerableEffect, past: Past, effectSignal: AbortSignal): Promise<StoredAnswer> {
    const { turnId, cancelGraceMs, toolConcurrency } = this.#run.options
    const stored = (answer: Response | undefined, cutOff?: StoredAnswer["cutOff"]): StoredAnswer => ({
      at: this.#run.clock(),
      fingerprint: fingerprintOf(effect),
      ...(answer !== undefined && { answer: packed(answer) }),
      ...(cutOff !== undefined && { cutOff }),
    })
    const controller = new AbortController()
    const abort = (signal: AbortSignal) => () => controller.abort(signal.reason)
    const stops = [this.#run.controller.signal, effectSignal].map((signal) => onAbort(signal, abort(signal)))
    const { signal } = controller
    let partial: LlmResponse | undefined
    try {
      if (signal.aborted) {
        // Cancelled before this attempt began it. An earlier one may have.
        const [unknown] = past === "again" ? cancelledResponses(effect, () => true) : []
        return stored(unknown, { begun: past === "again" })
      }
      const answer = await performEffect(this.#run.host, effect, {
        turnId,
        signal,
        check: (response) => this.#checkedSize(this.#run.machine.check(response)),
        isFatal: (error) => this.#run.isFatal(error),
        callStarted: async () => past,
        onEvent: (event) => this.#run.options.onEvent?.(event),
        now: () => this.#run.clock(),
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
    const { maxResultBytes = DEFAULT_MAX_RESULT_BYTES } = this.#run.options
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
    if (this.#run.isCancelled) {
      this.late.push({ response, cutOff: stored.cutOff, callId: call?.callId })
      return
    }
    // Work that was cut off without a cancellation is that of an earlier effect.
    if (response === undefined) return
    const delay = retryDelay(this.#run.options.retry, response, attempt, stored.at)
    if (delay === undefined) return void (await this.#run.handle(effect, response, stored.at))
    this.#failed = response
    this.#run.waits.add(`retry ${effect.id}`, this.#run.ctx.sleep(delay), () => this.#perform(effect, "first", attempt + 1))
  }
}

const DEFAULT_TOOL_CONCURRENCY = 8
const DEFAULT_MAX_RESULT_BYTES = 16_000_000
