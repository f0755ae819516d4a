import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { AnswerableEffect } from "../../wire/effect.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { Response } from "../../wire/response.ts"
import type { Host } from "../host.ts"
import { handleAnswer } from "../run/answers.ts"
import { taskOf, toolTask } from "../run/task.ts"
import { type DurablePromise, type RestateContext, type RestateSdk, throughCancellation } from "./context.ts"
import { OpenWaits } from "./open-waits.ts"
import { Steps } from "./steps.ts"
import type { RestateTurnOptions } from "./turn-options.ts"

/** What the parts of a run share: the turn, its host, its journal, and whether it is cancelled. */
export class RunContext {
  readonly sdk: RestateSdk
  readonly ctx: RestateContext
  readonly machine: TurnMachine
  readonly host: Host
  readonly options: RestateTurnOptions
  readonly steps: Steps
  readonly waits: OpenWaits
  /** Aborted when the turn is cancelled, and when its attempt ends. */
  readonly controller: AbortController = new AbortController()
  #isCancelled = false

  constructor(sdk: RestateSdk, ctx: RestateContext, machine: TurnMachine, host: Host, options: RestateTurnOptions) {
    this.sdk = sdk
    this.ctx = ctx
    this.machine = machine
    this.host = host
    this.options = options
    this.steps = new Steps(ctx, options.onEvent)
    this.waits = new OpenWaits(sdk)
  }

  /** Whether the turn was cancelled, with the invocation or by a hook. */
  get isCancelled(): boolean {
    return this.#isCancelled
  }

  cancel(reason: unknown = new DOMException("The invocation was cancelled.", "AbortError")): void {
    this.#isCancelled = true
    if (!this.controller.signal.aborted) this.controller.abort(reason)
  }

  /** Awaits one step, also when the invocation is cancelled in the meantime. */
  wait<Value>(step: DurablePromise<Value>): Promise<Value> {
    return throughCancellation(this.sdk, step, () => this.cancel())
  }

  /** Waits for the next thing that the turn waits for, or until it is cancelled. */
  async next(): Promise<void> {
    if ((await this.waits.next()) === "cancelled") this.cancel()
  }

  /** Hands an answer to the turn. One that the turn refuses becomes a failure of the work. */
  async handle(effect: AnswerableEffect, response: Response, at: number): Promise<boolean> {
    const facts = { at, durationMs: 0, textStreamed: false, partial: () => undefined, show: (event: TurnEvent) => this.steps.emit(event) }
    const instead = (error: unknown): Response => {
      if (effect.type !== "tool_calls") return taskOf(this.host, effect).refusal(error, facts)
      const [call] = effect.calls
      return call === undefined ? response : toolTask(this.host, effect.id, call).refusal(error, facts)
    }
    return handleAnswer(this.machine, { response, instead }, undefined, async (event) => this.steps.emit(event))
  }

  /** Whether an error is not the result of the work: the invocation, or its attempt, ends with it. */
  isFatal(error: unknown): boolean {
    return error instanceof this.sdk.RestateError || this.options.isFatal?.(error) === true
  }

  /** The time of this process, for what is recorded in a step. */
  clock(): number {
    return Math.floor((this.options.now ?? Date.now)())
  }

  /** The time as a step of the journal. */
  now(id: number): Promise<number> {
    return this.wait(this.steps.step(`${id} time`, async () => this.clock()))
  }
}
