import { type RestateThreadOptions, type ThreadHandlers, threadHandlers } from "../../../src/hosts/restate/thread.ts"
import type { ObjectSdk } from "../../../src/hosts/restate/thread-context.ts"

import { RestateError, TerminalError } from "./fake-errors.ts"
import { Attempt, CANCEL, type Completion, Context, Durable, type EngineCalls, EXCLUSIVE, type Invocation } from "./thread-engine-context.ts"

type Handler = (ctx: never, parameter: never) => Promise<unknown>

/** The steps at which an engine may be killed. */
export type Step = string

/**
 * Restate in memory, for the objects of threads: exclusive and shared handlers, journals, replays, timers. A replay that does other things than the
 * journal says fails the test. The service, the state and the journals survive `crash`; attempts do not.
 */
export class FakeEngine implements EngineCalls {
  readonly state = new Map<string, Map<string, string>>()
  readonly invocations: Invocation[] = []
  readonly faults: Error[] = []
  /** Every step so far; a step is before a command is recorded, and around the work of a `run`. */
  readonly steps: Step[] = []
  /** Called at each step. Returning true kills all attempts there. */
  killsAt: ((step: Step, number: number) => boolean) | undefined
  /** False: time stands still, until `fire`. */
  timersFire = true
  kills = 0
  /** After more steps, the engine stops with a fault: something never ends. */
  mostSteps = 1_000_000
  /** The clock of the server. */
  now: () => number = Date.now
  /** Called around the work of each step. A test that kills the service there never resolves. */
  reached: (place: string) => Promise<void> = async () => {}
  #isDown = false
  readonly #onFault = new Set<(fault: Error) => void>()
  readonly #handlers = new Map<string, ThreadHandlers>()
  readonly #locks = new Map<string, Promise<unknown>>()
  readonly #timers: { readonly at: number; fire(): void }[] = []

  readonly sdk: ObjectSdk = {
    RestatePromise: { race: (promises) => Durable.race(promises as never) as never },
    TerminalError,
    RestateError: RestateError as never,
    object: (definition) => definition,
    handlers: { object: { exclusive: (_options, handler) => handler, shared: (_options, handler) => handler } },
    rpc: { sendOpts: (options) => options },
  }

  /** Deploys a thread object, or another version of it. */
  deploy(options: RestateThreadOptions): void {
    this.#handlers.set(options.name, threadHandlers(this.sdk, options))
  }

  /** Calls a handler as a client does. */
  async call<Result>(name: string, key: string, method: keyof ThreadHandlers, parameter?: unknown): Promise<Result> {
    return this.resultOf(this.invoke(name, key, method, parameter))
  }

  invoke(name: string, key: string, method: keyof ThreadHandlers, parameter?: unknown): Invocation {
    return this.#invoke(name, key, method, JSON.stringify(parameter))
  }

  async resultOf<Result>(invocation: Invocation): Promise<Result> {
    const [known] = this.faults
    if (known !== undefined) throw known
    const { promise: fault, resolve: fail } = deferred<Error>()
    this.#onFault.add(fail)
    const completion = await Promise.race([invocation.settled, fault])
    this.#onFault.delete(fail)
    if (completion instanceof Error) throw completion
    if (completion.ok) return (completion.text === undefined ? undefined : JSON.parse(completion.text)) as Result
    throw completion.error
  }

  /** The test is wrong, or what it tests: every request fails. */
  fault(error: Error): void {
    this.faults.push(error)
    for (const fail of this.#onFault) fail(error)
  }

  /** Kills the service: every attempt is lost, and begins again from its journal. */
  crash(): void {
    this.kills += 1
    for (const invocation of this.invocations) if (invocation.attempt !== undefined && !invocation.isDone) this.#restart(invocation)
  }

  /** Ends the service. Nothing runs until it is started again. */
  stop(): void {
    this.#isDown = true
    for (const invocation of this.invocations) this.#die(invocation)
  }

  /** Starts the service again: every invocation that has not ended continues. */
  start(): void {
    if (!this.#isDown) return
    this.#isDown = false
    for (const invocation of this.invocations) if (invocation.attempt !== undefined && !invocation.isDone) this.#restart(invocation)
  }

  cancel(invocation: Invocation): void {
    this.#notify(invocation, CANCEL, { ok: true, text: "null" })
  }

  /** Ends an invocation at once, as an operator can. Its state stays. */
  kill(invocation: Invocation): void {
    this.#finish(invocation, { ok: false, error: new TerminalError("killed", { errorCode: 409 }) })
  }

  /** Whether an invocation waits for something that is not in its process. */
  isIdle({ attempt, waiting }: Invocation): boolean {
    return attempt !== undefined && !attempt.isDead && attempt.working === 0 && waiting.size > 0
  }

  /** Whether the work of any step runs. */
  get isWorking(): boolean {
    return this.invocations.some(({ attempt }) => attempt !== undefined && !attempt.isDead && attempt.working > 0)
  }

  /** The invocations that have not ended, with the last thing that each has done, for messages. */
  get waits(): string {
    return this.invocations
      .filter(({ isDone }) => !isDone)
      .map(({ id, place, method, commands }) => `  ${id} ${place} ${method}, after ${commands.at(-1) ?? "nothing"}`)
      .join("\n")
  }

  /** Fires the next timer. */
  fire(): number {
    this.#timers.sort((one, other) => one.at - other.at)
    const next = this.#timers.shift()
    if (next === undefined) throw new Error("No timer is set.")
    moveTo(next.at)
    next.fire()
    return next.at
  }

  get timers(): number {
    return this.#timers.length
  }

  /** The keys of the state of an object with the lengths of their values. */
  sizes(name: string, key: string): Record<string, number> {
    return Object.fromEntries([...(this.state.get(`${name}/${key}`) ?? [])].map(([own, text]) => [own, text.length]))
  }

  /** The bytes of the journals of a handler's invocations. */
  journalBytes(method: keyof ThreadHandlers): number {
    const journals = this.invocations.filter((invocation) => invocation.method === method)
    return journals.reduce(
      (sum, { commands, notifications }) =>
        sum + commands.join("").length + notifications.reduce((own, { completion }) => own + (completion.ok ? (completion.text ?? "").length : 0), 0),
      0,
    )
  }

  #invoke(name: string, key: string, method: string, parameter: string): Invocation {
    const { promise, resolve } = deferred<Completion>()
    const place = `${name}/${key}`
    const invocation: Invocation = {
      id: `inv_${this.invocations.length + 1}`,
      place,
      key,
      method,
      parameter,
      commands: [],
      notifications: [],
      settled: promise,
      settle: resolve,
      attempt: undefined,
      failures: 0,
      isDone: false,
      waiting: new Set(),
    }
    this.invocations.push(invocation)
    const begin = async (): Promise<void> => {
      await tick()
      if (invocation.isDone) return
      this.#attempt(invocation, name)
      if (EXCLUSIVE.has(method)) await promise
    }
    if (EXCLUSIVE.has(method)) this.#locks.set(place, (this.#locks.get(place) ?? Promise.resolve()).then(begin))
    else void begin()
    return invocation
  }

  #attempt(invocation: Invocation, name: string): void {
    const attempt = new Attempt()
    invocation.attempt = attempt
    if (this.#isDown) {
      attempt.isDead = true
      return
    }
    const handler = this.#handlers.get(name)?.[invocation.method as keyof ThreadHandlers] as unknown as Handler
    const parameter = invocation.parameter === undefined ? undefined : JSON.parse(invocation.parameter)
    const ctx = new Context(this, invocation, attempt, name)
    /** As on a server: a handler cannot end in the middle of a replay. What it says is lost, and it is called again. */
    const isReplaying = (): boolean => attempt.commands < invocation.commands.length
    const failed = (error: unknown): void => {
      if (attempt.isDead) return
      if (error instanceof TerminalError && isReplaying())
        this.retry(invocation, attempt, new RestateError("The handler ended, and the journal has more commands.", { errorCode: 570 }))
      else if (error instanceof TerminalError) this.#finish(invocation, { ok: false, error })
      else this.retry(invocation, attempt, error)
    }
    handler(ctx as never, parameter as never).then((value) => {
      if (attempt.isDead) return
      if (isReplaying()) this.fault(new Error(`The replay of ${invocation.method} (${name}) ended at command ${attempt.commands}.`))
      this.#finish(invocation, { ok: true, text: JSON.stringify(value) })
    }, failed)
  }

  #finish(invocation: Invocation, completion: Completion): void {
    if (invocation.isDone) return
    invocation.isDone = true
    this.#die(invocation)
    invocation.settle(completion)
  }

  #die({ attempt }: Invocation): void {
    if (attempt === undefined) return
    attempt.isDead = true
    attempt.controller.abort(new Error("The attempt has ended."))
  }

  #restart(invocation: Invocation): void {
    this.#die(invocation)
    const [name = ""] = invocation.place.split("/")
    void tick().then(() => {
      if (!invocation.isDone && invocation.attempt?.isDead === true) this.#attempt(invocation, name)
    })
  }

  #notify(invocation: Invocation, index: number, completion: Completion): void {
    if (invocation.isDone || (index !== CANCEL && invocation.notifications.some((known) => known.index === index))) return
    invocation.notifications.push({ index, completion })
    for (const wake of invocation.waiting) wake()
    invocation.waiting.clear()
  }

  // --- what a context needs ----------------------------------------------------------------------------------------------------------

  /** Whether the attempt was killed at this step. */
  step(step: Step, attempt: Attempt): boolean {
    if (attempt.isDead) return true
    this.steps.push(step)
    if (this.steps.length > this.mostSteps) {
      this.fault(new Error(`There are more than ${this.mostSteps} steps. The last ones:\n  ${this.steps.slice(-10).join("\n  ")}\n${this.waits}`))
      this.stop()
    }
    if (this.killsAt?.(step, this.steps.length) === true) this.crash()
    return attempt.isDead
  }

  complete(invocation: Invocation, index: number, value: unknown): void {
    this.#notify(invocation, index, { ok: true, text: JSON.stringify(value) })
  }

  fail(invocation: Invocation, index: number, error: TerminalError): void {
    this.#notify(invocation, index, { ok: false, error })
  }

  retry(invocation: Invocation, attempt: Attempt, error: unknown): void {
    if (attempt.isDead) return
    invocation.failures += 1
    if (invocation.failures > 5) this.fault(error as Error)
    else this.#restart(invocation)
  }

  after(ms: number, act: () => void): void {
    const timer = { at: this.now() + ms, fire: act }
    this.#timers.push(timer)
    if (!this.timersFire) return
    setImmediate(() => {
      const index = this.#timers.indexOf(timer)
      if (index < 0) return
      this.#timers.splice(index, 1)
      moveTo(timer.at)
      act()
    })
  }

  child(name: string, key: string, method: string, parameter: string, delay = 0): Promise<Completion> {
    if (delay === 0) return this.#invoke(name, key, method, parameter).settled
    const { promise, resolve } = deferred<Completion>()
    this.after(delay, () => void this.#invoke(name, key, method, parameter).settled.then(resolve))
    return promise
  }

  resolveAwakeable(id: string, payload: unknown): void {
    const [invocation, index] = id.split(":")
    const found = this.invocations.find((known) => known.id === invocation)
    if (found !== undefined) this.complete(found, Number(index), payload)
  }

  stateOf(place: string): Map<string, string> {
    const state = this.state.get(place) ?? new Map<string, string>()
    this.state.set(place, state)
    return state
  }
}

function deferred<Value>(): { readonly promise: Promise<Value>; resolve(value: Value): void } {
  let resolve: (value: Value) => void = () => {}
  const promise = new Promise<Value>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

function tick(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** Moves the clock of the test forward. */
let moveTo: (at: number) => void = () => {}

/** Sets how the clock of the test is moved. */
export function onClock(move: (at: number) => void): void {
  moveTo = move
}
