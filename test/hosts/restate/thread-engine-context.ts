import type { DurablePromise } from "../../../src/hosts/restate/context.ts"
import type { ThreadContext } from "../../../src/hosts/restate/thread-context.ts"
import { CancelledError, TerminalError } from "./fake-errors.ts"

export type Completion = { readonly ok: true; readonly text: string } | { readonly ok: false; readonly error: TerminalError }

export interface Notification {
  /** The command that is completed; `CANCEL`: the invocation was cancelled. */
  readonly index: number
  readonly completion: Completion
}

export const CANCEL: number = -1

/** An invocation with its journal, which outlives its attempts. */
export interface Invocation {
  readonly id: string
  readonly place: string
  readonly key: string
  readonly method: string
  readonly parameter: string
  readonly commands: string[]
  readonly notifications: Notification[]
  readonly settled: Promise<Completion>
  settle(completion: Completion): void
  attempt: Attempt | undefined
  failures: number
  isDone: boolean
  /** Wakes what waits for a notification. */
  readonly waiting: Set<() => void>
}

export class Attempt {
  readonly controller = new AbortController()
  isDead = false
  cursor = 0
  commands = 0
  /** How many steps are at work. */
  working = 0
  readonly processed = new Map<number, Completion>()
}

/** Handlers that run alone. */
export const EXCLUSIVE: ReadonlySet<string> = new Set(["run", "put", "take"])

/** What a context asks of the engine. */
export interface EngineCalls {
  readonly now: () => number
  readonly reached: (place: string) => Promise<void>
  /** Whether the attempt was killed at this step. */
  step(step: string, attempt: Attempt): boolean
  complete(invocation: Invocation, index: number, value: unknown): void
  fail(invocation: Invocation, index: number, error: TerminalError): void
  fault(error: Error): void
  retry(invocation: Invocation, attempt: Attempt, error: unknown): void
  after(ms: number, act: () => void): void
  child(name: string, key: string, method: string, parameter: string, delay?: number): Promise<Completion>
  resolveAwakeable(id: string, payload: unknown): void
  stateOf(place: string): Map<string, string>
}

/** The context of one attempt. */
export class Context implements Omit<ThreadContext, "run" | "sleep" | "awakeable"> {
  readonly key: string
  readonly #engine: EngineCalls
  readonly #invocation: Invocation
  readonly #attempt: Attempt
  readonly #name: string

  constructor(engine: EngineCalls, invocation: Invocation, attempt: Attempt, name: string) {
    this.#engine = engine
    this.#invocation = invocation
    this.#attempt = attempt
    this.#name = name
    this.key = invocation.key
  }

  readonly date = { now: (): Promise<number> => this.run("now", async () => this.#engine.now()) }

  request(): { readonly id: string; readonly attemptCompletedSignal: AbortSignal } {
    return { id: this.#invocation.id, attemptCompletedSignal: this.#attempt.controller.signal }
  }

  run<Value>(name: string, action: () => Promise<Value>): DurablePromise<Value> {
    const { index } = this.#command(`run ${name}`)
    if (!this.#isKnown(index)) void this.#execute(name, index, action)
    return this.#promise(index)
  }

  sleep(ms: number): DurablePromise<void> {
    const { index, isNew } = this.#command("sleep")
    if (isNew) this.#engine.after(ms, () => this.#engine.complete(this.#invocation, index, null))
    return this.#promise(index)
  }

  awakeable<Value>(): { readonly id: string; readonly promise: DurablePromise<Value> } {
    const { index } = this.#command("awakeable")
    return { id: `${this.#invocation.id}:${index}`, promise: this.#promise(index) }
  }

  resolveAwakeable<Value>(id: string, payload?: Value): void {
    const { isNew } = this.#command(`resolve ${id} ${JSON.stringify(payload)}`)
    if (isNew) this.#engine.resolveAwakeable(id, payload ?? null)
  }

  get<Value>(name: string): DurablePromise<Value | null> {
    const { index, isNew } = this.#command(`get ${name}`)
    const text = this.#state.get(name)
    if (isNew) this.#engine.complete(this.#invocation, index, text === undefined ? null : JSON.parse(text))
    return this.#promise(index)
  }

  stateKeys(): DurablePromise<string[]> {
    const { index, isNew } = this.#command("keys")
    if (isNew) this.#engine.complete(this.#invocation, index, [...this.#state.keys()])
    return this.#promise(index)
  }

  set<Value>(name: string, value: Value): void {
    const text = JSON.stringify(value)
    const { isNew } = this.#command(`set ${name} ${text}`)
    if (!isNew) return
    if (!EXCLUSIVE.has(this.#invocation.method)) this.#engine.fault(new Error("A shared handler changed the state."))
    this.#state.set(name, text)
  }

  clear(name: string): void {
    const { isNew } = this.#command(`clear ${name}`)
    if (isNew) this.#state.delete(name)
  }

  objectClient({ name }: { readonly name: string }, key: string): unknown {
    return this.#client((method, parameter) => {
      const text = JSON.stringify(parameter)
      const { index, isNew } = this.#command(`call ${name} ${key} ${method} ${text}`)
      if (isNew)
        void this.#engine.child(name, key, method, text).then((completion) => {
          if (completion.ok) this.#engine.complete(this.#invocation, index, completion.text === undefined ? null : JSON.parse(completion.text))
          else this.#engine.fail(this.#invocation, index, completion.error)
        })
      return this.#promise(index)
    })
  }

  objectSendClient({ name }: { readonly name: string }, key: string): unknown {
    return this.#client((method, parameter, { delay } = {}) => {
      const text = JSON.stringify(parameter)
      const { isNew } = this.#command(`send ${name} ${key} ${method} ${text} ${delay ?? 0}`)
      if (isNew) void this.#engine.child(name, key, method, text, delay)
      return undefined
    })
  }

  #client(call: (method: string, parameter: unknown, options?: { readonly delay?: number }) => unknown): unknown {
    return new Proxy(
      {},
      { get: (_target, method) => (parameter: unknown, options?: { readonly delay?: number }) => call(String(method), parameter, options) },
    )
  }

  get #state(): Map<string, string> {
    return this.#engine.stateOf(this.#invocation.place)
  }

  #isKnown(index: number): boolean {
    return this.#invocation.notifications.some((notification) => notification.index === index)
  }

  /** The next command of the handler. In a replay it must be the one that the journal has. */
  #command(command: string): { readonly index: number; readonly isNew: boolean } {
    const attempt = this.#attempt
    const index = attempt.commands
    const { commands } = this.#invocation
    if (attempt.isDead || (commands.length <= index && this.#engine.step(`${this.#invocation.method} ${command}`, attempt))) {
      attempt.commands += 1
      return { index, isNew: false }
    }
    attempt.commands += 1
    const known = commands[index]
    if (known === undefined) commands.push(command)
    else if (known !== command) {
      this.#engine.fault(
        new Error(`The replay of ${this.#invocation.method} (${this.#name}) differs at command ${index}:\n  was ${known}\n  now ${command}`),
      )
    }
    return { index, isNew: known === undefined }
  }

  async #execute(name: string, index: number, action: () => Promise<unknown>): Promise<void> {
    this.#attempt.working += 1
    await Promise.resolve()
    const step = `${this.#invocation.method} ${name}`
    if (this.#engine.step(`begin ${step}`, this.#attempt)) return
    try {
      const value = await action()
      if (name !== "now") await this.#engine.reached(`the result of ${step} is stored`)
      if (this.#engine.step(`end ${step}`, this.#attempt)) return
      this.#engine.complete(this.#invocation, index, value ?? null)
    } catch (error) {
      if (this.#attempt.isDead) return
      if (error instanceof TerminalError) this.#engine.fail(this.#invocation, index, error)
      else this.#engine.retry(this.#invocation, this.#attempt, error)
    } finally {
      this.#attempt.working -= 1
    }
  }

  #promise<Value>(index: number): DurablePromise<Value> {
    return new Durable<Value>(this, [index], (completion) => {
      if (completion.ok) return (completion.text === undefined ? undefined : JSON.parse(completion.text)) as Value
      throw completion.error
    }) as unknown as DurablePromise<Value>
  }

  /** Waits until one of these commands is completed, in the order of the journal. */
  async waitFor(indexes: readonly number[]): Promise<readonly [number, Completion]> {
    const attempt = this.#attempt
    const { notifications } = this.#invocation
    for (;;) {
      if (attempt.isDead) await new Promise(() => {})
      for (const index of indexes) {
        const completion = attempt.processed.get(index)
        if (completion !== undefined) return [index, completion]
      }
      const next = notifications[attempt.cursor]
      if (next === undefined) {
        await new Promise<void>((resolve) => {
          this.#invocation.waiting.add(resolve)
        })
        continue
      }
      attempt.cursor += 1
      if (next.index === CANCEL) throw new CancelledError()
      attempt.processed.set(next.index, next.completion)
    }
  }
}

/** A promise of the SDK: it asks the journal when it is awaited. */
export class Durable<Value> implements PromiseLike<Value> {
  readonly #context: Context
  readonly #indexes: readonly number[]
  readonly #value: (completion: Completion, index: number) => Value

  constructor(context: Context, indexes: readonly number[], value: (completion: Completion, index: number) => Value) {
    this.#context = context
    this.#indexes = indexes
    this.#value = value
  }

  // biome-ignore lint/suspicious/noThenProperty: the SDK's promises are thenables, too
  then<Result = Value, Other = never>(
    onValue?: ((value: Value) => Result | PromiseLike<Result>) | null,
    onError?: ((error: unknown) => Other | PromiseLike<Other>) | null,
  ): Promise<Result | Other> {
    return this.#settled().then(onValue, onError)
  }

  catch<Other>(onError: (error: unknown) => Other): Promise<Value | Other> {
    return this.#settled().catch(onError)
  }

  finally(act: () => void): Promise<Value> {
    return this.#settled().finally(act)
  }

  map<Mapped>(mapper: (value?: Value, failure?: Error) => Mapped): Durable<Mapped> {
    return new Durable(this.#context, this.#indexes, (completion, index) => {
      let value: Value
      try {
        value = this.#value(completion, index)
      } catch (error) {
        return mapper(undefined, error as Error)
      }
      return mapper(value)
    })
  }

  async #settled(): Promise<Value> {
    const [index, completion] = await this.#context.waitFor(this.#indexes)
    return this.#value(completion, index)
  }

  static race<Value>(promises: readonly Durable<Value>[]): Durable<Value> {
    const [first] = promises
    if (first === undefined) throw new Error("A race of nothing.")
    return new Durable(
      first.#context,
      promises.flatMap((promise) => promise.#indexes),
      (completion, index) => {
        const winner = promises.find((promise) => promise.#indexes.includes(index)) ?? first
        return winner.#value(completion, index)
      },
    )
  }
}
