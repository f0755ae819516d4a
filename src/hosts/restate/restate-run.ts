import type { TurnMachine } from "../../machine/turn-machine.ts"
import { quoted } from "../../text.ts"
import type { AnswerableEffect, Checkpoint, Done } from "../../wire/effect.ts"
import type { Host, Suspended } from "../host.ts"
import { checkGrace, checkHost, checkToolConcurrency, DEFAULT_CANCEL_GRACE_MS, refuseUnasked } from "../run/checks.ts"
import { RunInterrupted } from "../run/interrupted.ts"
import { report } from "../run/report.ts"
import { suspended } from "../run/suspend.ts"
import { onAbort } from "../timers.ts"
import { cancelTurn } from "./cancel-turn.ts"
import { hasState, type RestateContext, type RestateSdk } from "./context.ts"
import { EffectWork } from "./effect-work.ts"
import { checkCode, codeOf, turnError } from "./entries.ts"
import { checkTurnId } from "./ids.ts"
import { OutsideWaits } from "./outside-waits.ts"
import { RunContext } from "./run-context.ts"
import { clearSegment, storeSegment } from "./segments.ts"
import type { RestateTurnOptions, RunHooks } from "./turn-options.ts"

/** One invocation that runs a turn, or a part of it. Begin to read with its loop. */
export class RestateRun {
  readonly #run: RunContext
  readonly #hooks: RunHooks | undefined
  readonly #work: EffectWork
  readonly #outside: OutsideWaits
  #isStored = false
  #hasLeft = false

  constructor(sdk: RestateSdk, ctx: RestateContext, machine: TurnMachine, host: Host, options: RestateTurnOptions, hooks?: RunHooks) {
    this.#run = new RunContext(sdk, ctx, machine, host, options)
    this.#work = new EffectWork(this.#run)
    this.#outside = new OutsideWaits(this.#run)
    this.#hooks = hooks
  }

  /** Whether the turn was cancelled, with the invocation or by a hook. */
  get isCancelled(): boolean {
    return this.#run.isCancelled
  }

  /** Whether the run ended because its segment did. */
  get isStored(): boolean {
    return this.#isStored
  }

  async run(): Promise<Done | Suspended> {
    const { toolConcurrency, cancelGraceMs = DEFAULT_CANCEL_GRACE_MS, segment, maxResultBytes } = this.#run.options
    checkTurnId(this.#run.sdk, this.#run.options.turnId)
    checkHost(this.#run.host)
    checkToolConcurrency(toolConcurrency)
    checkGrace(cancelGraceMs)
    if (maxResultBytes !== undefined && !(maxResultBytes >= 1)) throw new RangeError(`maxResultBytes must be at least 1, not ${maxResultBytes}.`)
    this.#checkSegment(segment)
    if (!this.#run.machine.done) refuseUnasked(this.#run.machine, this.#run.host)
    const stopWaiting = onAbort(this.#run.ctx.request().attemptCompletedSignal, () => this.#run.controller.abort(new RunInterrupted()))
    try {
      return await this.#loop()
    } finally {
      stopWaiting()
      // Of an attempt that failed, other work may still run.
      this.#run.controller.abort(new RunInterrupted())
    }
  }

  async #loop(): Promise<Done | Suspended> {
    const run = this.#run
    const { machine, steps, ctx } = run
    const { turnId } = run.options
    const code = codeOf(machine, turnId)
    checkCode(await run.wait(steps.step(`turn ${turnId}`, async () => code)), code)
    const host: Host = { ...run.host, progress: (effect) => this.#progress(effect) }
    for (;;) {
      if (this.#hooks?.signal?.aborted === true && !run.isCancelled && !machine.done) run.cancel(this.#hooks.signal.reason)
      if (run.isCancelled && !machine.done) await this.#leave()
      const done = await report(machine, host, { onEvent: (event) => steps.emit(event) }, ({ id, calls }) => {
        if (id === this.#work.effectId) this.#work.enqueue(calls)
      })
      if (done !== undefined) {
        if (hasState(ctx)) clearSegment(ctx, machine, turnId)
        await steps.flush()
        return done
      }
      const { outstanding } = machine
      if (run.isCancelled && !machine.done && !this.#hasLeft) continue
      // Without it, a fault in the machine would keep the process busy for ever.
      if (outstanding === undefined || this.#hasLeft) throw new Error(`Turn ${quoted(turnId)} neither ends nor waits for an answer.`)
      if (outstanding.id !== this.#work.effectId) {
        if (this.#isSegmentOver(outstanding)) return this.#store()
        await this.#hooks?.onEffect(machine)
        if (this.#hooks?.signal?.aborted === true) continue
        // Tools may have changed since the run began.
        if (outstanding.type === "tool_calls") refuseUnasked(machine, host)
        this.#work.begin(outstanding)
        this.#outside.begin(this.#work.signal)
        if (this.#hooks !== undefined && outstanding.type === "checkpoint") {
          await this.#deliver(outstanding, this.#hooks)
          continue
        }
      }
      this.#work.startCalls()
      if (this.#hooks === undefined) await this.#outside.watch()
      else this.#outside.askHost()
      if (this.#hooks !== undefined && !run.isCancelled) {
        if (this.#isIdle) {
          await steps.flush()
          return suspended(machine)
        }
        this.#listen(this.#hooks)
      }
      if (!run.isCancelled) await run.next()
    }
  }

  async #deliver(effect: Checkpoint, { checkpoint, signal }: RunHooks): Promise<void> {
    const response = await checkpoint(effect)
    // Nothing is delivered to a turn that is cancelled.
    if (signal?.aborted !== true) await this.#run.handle(effect, response, response.type === "checkpoint_delivery" ? (response.at ?? 0) : 0)
  }

  /** Whether only people, or work outside, can continue the turn. */
  get #isIdle(): boolean {
    return !this.#work.isQueued && this.#run.waits.keys().every((key) => key === MAIL)
  }

  #listen({ mail, onMail }: RunHooks): void {
    if (!this.#run.waits.has(MAIL)) this.#run.waits.add(MAIL, mail(), onMail)
  }

  #checkSegment(segment: RestateTurnOptions["segment"]): void {
    if (segment === undefined) return
    if (!(segment.effects >= 1)) throw new RangeError(`segment.effects must be at least 1, not ${segment.effects}.`)
    if (!hasState(this.#run.ctx))
      throw turnError(
        this.#run.sdk,
        "segment_without_state",
        "A service has no state in which a turn could continue. Run the turn in an exclusive handler of a virtual object, or without segment.",
      )
  }

  /** A request contains the whole prompt, so a turn is stored before other effects, unless there are none. */
  #isSegmentOver({ type }: AnswerableEffect): boolean {
    const most = this.#run.options.segment?.effects
    if (most === undefined || this.#run.isCancelled) return false
    return this.#work.effects >= most && (type !== "llm_call" || this.#work.effects >= 2 * most)
  }

  async #store(): Promise<Suspended> {
    this.#isStored = true
    if (hasState(this.#run.ctx)) storeSegment(this.#run.ctx, this.#run.machine, this.#run.options.turnId, this.#hooks?.history)
    await this.#run.steps.flush()
    return suspended(this.#run.machine)
  }

  async #leave(): Promise<void> {
    if (this.#hasLeft) return
    this.#hasLeft = true
    await cancelTurn(this.#run, this.#work)
  }

  async #progress(effect: Parameters<NonNullable<Host["progress"]>>[0]): Promise<void> {
    if (this.#hooks !== undefined) return this.#hooks.progress(effect)
    const host = this.#run.host
    if (host.progress === undefined) return
    await this.#run.wait(
      this.#run.steps.step(`${effect.type} ${effect.recordsFrom}`, async () => {
        await host.progress?.(effect)
        return null
      }),
    )
  }
}

/** The key of what is open while a hook listens. */
const MAIL = "mail"
