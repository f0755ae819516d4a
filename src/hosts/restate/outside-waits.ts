import type { ExternalCall, HeldCall } from "../../wire/approval.ts"
import type { ToolCalls } from "../../wire/effect.ts"
import type { Response } from "../../wire/response.ts"
import { type EffectContext, type ToolAnswer, ToolError } from "../host.ts"
import { handleAnswer } from "../run/answers.ts"
import { execute } from "../run/execute.ts"
import { toolFailureOf } from "../run/failures.ts"
import { decideTask } from "../run/task.ts"
import { type DurablePromise, hasSignals } from "./context.ts"
import type { RunContext } from "./run-context.ts"

/** Waits for decisions of people, and for results of work outside: signals to the invocation. */
export class OutsideWaits {
  readonly #run: RunContext
  #signal: AbortSignal = new AbortController().signal
  /** Whether the host may decide about held calls. Once it has decided nothing, it is asked again with the next effect. */
  #mayDecide = true

  constructor(run: RunContext) {
    this.#run = run
  }

  /** Another effect begins. `signal`: aborted when the turn no longer waits for it. */
  begin(signal: AbortSignal): void {
    this.#signal = signal
    this.#mayDecide = true
  }

  /** Asks the host alone about held calls: the decisions of others reach the turn in another way. */
  askHost(): void {
    const { outstanding } = this.#run.machine
    const { held = [] } = outstanding?.type === "tool_calls" ? outstanding : {}
    if (outstanding !== undefined && held.length > 0) this.#ask(outstanding.id, held)
  }

  /** Waits for decisions about held calls, and for results of calls that continue outside. */
  async watch(): Promise<void> {
    const { outstanding } = this.#run.machine
    const { held = [], pending = [] } = outstanding?.type === "tool_calls" ? outstanding : {}
    const wanted = new Set([
      ...held.flatMap(({ requestId }) => [`held ${requestId}`, `expiry ${requestId}`]),
      ...pending.map(({ token }) => `outside ${token}`),
    ])
    this.#run.waits.keep((key, isWork) => isWork || key.startsWith("retry ") || wanted.has(key) || (key === "decide" && held.length > 0))
    if (outstanding?.type !== "tool_calls" || held.length + pending.length === 0) return
    const newHeld = held.filter(({ requestId }) => !this.#run.waits.has(`held ${requestId}`))
    const newPending = pending.filter(({ token }) => !this.#run.waits.has(`outside ${token}`))
    if (newHeld.length + newPending.length > 0) await this.#beginToWait(outstanding, newHeld, newPending)
    if (held.length > 0) this.#ask(outstanding.id, held)
  }

  /** Asks the host about held calls, unless it has no answer any more. */
  #ask(id: number, held: readonly HeldCall[]): void {
    if (this.#run.host.decide !== undefined && this.#mayDecide && !this.#run.isCancelled) this.#decide(id, held)
  }

  async #beginToWait({ id }: ToolCalls, held: readonly HeldCall[], pending: readonly ExternalCall[]): Promise<void> {
    // A token may be "__proto__".
    const awakeables = new Map<string, string>()
    const wait = (name: string): DurablePromise<unknown> => {
      if (hasSignals(this.#run.ctx)) return this.#run.ctx.signal(name)
      const awakeable = this.#run.ctx.awakeable<unknown>()
      awakeables.set(name, awakeable.id)
      return awakeable.promise
    }
    for (const call of held) this.#waitForDecision(id, call, wait)
    for (const call of pending) this.#waitForResult(id, call, wait)
    const now = await this.#run.wait(
      this.#run.steps.step(`${id} waits`, async () => {
        const invocationId = this.#run.ctx.request().id
        await this.#run.options.onWaiting?.({
          invocationId,
          held,
          pending,
          ...(awakeables.size > 0 && { awakeables: Object.fromEntries(awakeables) }),
        })
        return this.#run.clock()
      }),
    )
    for (const { requestId, digest, ask } of held) {
      if (ask.expiresAt === undefined) continue
      this.#run.waits.add(`expiry ${requestId}`, this.#run.ctx.sleep(Math.max(0, ask.expiresAt - now)), async () => {
        const at = ask.expiresAt
        await this.#decided({ type: "tool_decisions", id, ...(at !== undefined && { at }), decisions: [{ requestId, digest, decision: "expired" }] })
      })
    }
  }

  #waitForDecision(id: number, { requestId, digest }: HeldCall, wait: (name: string) => DurablePromise<unknown>): void {
    const again = (): void => this.#waitForDecision(id, { requestId, digest } as HeldCall, wait)
    const key = `held ${requestId}`
    this.#run.waits.add(
      key,
      wait(requestId),
      async (value) => {
        const at = await this.#run.now(id)
        const given = typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined
        if (given === undefined)
          this.#run.steps.diagnose(`The signal ${JSON.stringify(requestId)} is not a decision: its value must be an object with a decision.`)
        else await this.#decided({ type: "tool_decisions", id, at, decisions: [{ requestId, digest, ...given } as never] })
        if (this.#isHeld(requestId)) again()
      },
      {
        fail: (failure) => {
          this.#run.steps.diagnose(
            `The signal ${JSON.stringify(requestId)} was rejected: ${failure.message}. To reject the call, resolve it with { decision: "reject" }.`,
          )
          again()
        },
      },
    )
  }

  #isHeld(requestId: string): boolean {
    const { outstanding } = this.#run.machine
    return outstanding?.type === "tool_calls" && outstanding.held?.some((call) => call.requestId === requestId) === true
  }

  /** Waits for the result of a call that continues outside: a `ToolAnswer`. A signal that is rejected fails the call. */
  #waitForResult(id: number, call: ExternalCall, wait: (name: string) => DurablePromise<unknown>): void {
    const { token, note: _note, ...own } = call
    const effect: ToolCalls = { type: "tool_calls", id, calls: [own] }
    const complete = async (answer: unknown): Promise<void> => {
      const at = await this.#run.now(id)
      const { output, modelReturn, usage } = (answer ?? {}) as Partial<ToolAnswer>
      const facts = { output, ...(modelReturn !== undefined && { modelReturn }), ...(usage !== undefined && { usage }) }
      await this.#run.handle(effect, { type: "tool_results", id, at, results: [{ ...own, ...facts, durationMs: 0 } as never] }, at)
    }
    this.#run.waits.add(`outside ${token}`, wait(token), complete, {
      fail: ({ message }) =>
        complete({ output: { status: "failure", failure: toolFailureOf(new ToolError({ class: "execution", code: "failed_outside", message })) } }),
    })
  }

  /** Returns whether a decision is new. */
  async #decided(response: Response): Promise<boolean> {
    return handleAnswer(this.#run.machine, { response, instead: () => response }, undefined, async (event) => this.#run.steps.emit(event))
  }

  /** Asks the host about held calls, beside what runs and those who are asked elsewhere. */
  #decide(id: number, held: readonly HeldCall[]): void {
    this.#mayDecide = false
    const signal = this.#signal
    const decided = this.#run.steps.step(`${id} decide`, async () => {
      const now = (): number => this.#run.clock()
      const context = {
        effectId: id,
        idempotencyKey: undefined,
        abort: { signal },
        isFatal: (error: unknown) => this.#run.isFatal(error),
        said: undefined,
        now,
      }
      const emit: EffectContext["emit"] = (event) => void this.#run.options.onEvent?.(event)
      return (await (await execute(decideTask(this.#run.host, id, held), now(), { ...context, emit })).answer()).response
    })
    this.#run.waits.add("decide", decided, async (response) => {
      if (response.type !== "tool_decisions") return
      for (const decision of response.decisions) if (await this.#decided({ ...response, decisions: [decision] })) this.#mayDecide = true
    })
  }
}
