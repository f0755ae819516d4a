import type { DurablePromise, RestateObjectContext, RestateSdk, SignalContext } from "../../../src/hosts/restate/context.ts"
import type { Json } from "../../../src/json.ts"
import { CancelledError, RestateError, TerminalError } from "./fake-errors.ts"

// A durable engine in memory, with the rules of Restate that a handler can see:
// - Commands of a handler are recorded in their order; a replay that issues another one fails the attempt.
// - Closures of `run` begin when they are awaited, in parallel, and their results are delivered in the order in which they were recorded.
// - A cancellation rejects what is awaited, once. Signals wait until their name is awaited, in their order.
// - An attempt that waits for nothing of its own process is suspended: its promises never settle, and the next attempt replays.

/** A replay issued another command than the attempt before. Restate retries such an attempt until the code is put right. */
export class JournalMismatch extends RestateError {}

type Outcome =
  | { readonly value?: Json }
  | { readonly failure: { readonly message: string; readonly code: number; readonly metadata: Record<string, string> } }

interface Notification {
  readonly id: string
  readonly outcome: Outcome
}

/** The end of an attempt. `suspended`: with the names of the signals that are waited for, and the waits for timers. */
export type AttemptEnd =
  | { readonly type: "ended"; readonly value: Json }
  | { readonly type: "failed"; readonly error: unknown }
  | { readonly type: "suspended"; readonly signals: readonly string[]; readonly timers: number }

/** Where a test looks at an attempt, and may stop it for ever. */
export interface AttemptHooks {
  reached(place: string, details?: { readonly chars?: number }): Promise<void>
  /** Whether commands that the engine has not acknowledged are lost when the attempt is killed. */
  readonly losesCommands?: boolean
}

const NO_HOOKS: AttemptHooks = { reached: async () => {} }

/** One invocation of a handler, as the engine stores it. */
export class Invocation {
  readonly id: string
  readonly key: string | undefined
  commands: string[] = []
  /** How many of the commands survive a crash. */
  durable = 0
  notifications: Notification[] = []
  output: Outcome | undefined
  attempt: FakeContext | undefined
  /** The waits that were begun, and did not end: their ids with the wanted time. */
  readonly timers = new Map<string, number>()
  onChange: () => void = () => {}

  constructor(id: string, key: string | undefined) {
    this.id = id
    this.key = key
  }

  /** The characters that the journal holds. */
  get chars(): number {
    return JSON.stringify([this.commands, this.notifications]).length
  }

  add(id: string, outcome: Outcome): void {
    this.notifications.push({ id, outcome })
    this.onChange()
  }

  signal(name: string, value: Json): void {
    this.add(`signal ${name}`, { value })
  }

  rejectSignal(name: string, message: string): void {
    this.add(`signal ${name}`, { failure: { message, code: 500, metadata: {} } })
  }

  cancel(): void {
    if (this.output === undefined) this.add("cancel", {})
  }

  /** Ends all waits for timers. */
  fireTimers(): void {
    for (const id of this.timers.keys()) this.add(id, {})
    this.timers.clear()
  }
}

/** The engine: invocations, and the state of objects. */
export class FakeRestate {
  readonly invocations = new Map<string, Invocation>()
  readonly states = new Map<string, Map<string, string>>()
  #kills = 0

  invocation(id: string, key?: string): Invocation {
    const known = this.invocations.get(id) ?? new Invocation(id, key)
    this.invocations.set(id, known)
    return known
  }

  stateOf(key: string): Map<string, string> {
    const known = this.states.get(key) ?? new Map<string, string>()
    this.states.set(key, known)
    return known
  }

  /** Makes one attempt to run a handler. An earlier attempt that still runs is fenced off. */
  async attempt(invocation: Invocation, handler: (ctx: FakeContext) => Promise<unknown>, hooks: AttemptHooks = NO_HOOKS): Promise<AttemptEnd> {
    if (invocation.output !== undefined) return endOf(invocation.output)
    invocation.attempt?.fail(new Error("Another attempt of the invocation began."))
    // What an earlier attempt sent last may have been lost with it.
    this.#kills += 1
    if (hooks.losesCommands ?? this.#kills % 2 === 0) invocation.commands = invocation.commands.slice(0, invocation.durable)
    else invocation.durable = invocation.commands.length
    const ctx = new FakeContext(this, invocation, hooks)
    invocation.attempt = ctx
    const handled = handler(ctx).then(
      async (value): Promise<AttemptEnd> => ctx.finish({ value: toJson(value) }),
      async (error): Promise<AttemptEnd> => (error instanceof TerminalError ? ctx.finish(failureOf(error)) : { type: "failed", error }),
    )
    const end = await Promise.race([handled, ctx.over])
    ctx.close()
    return end
  }
}

function endOf(output: Outcome): AttemptEnd {
  if (!("failure" in output)) return { type: "ended", value: output.value ?? null }
  return { type: "failed", error: errorOf(output.failure) }
}

function errorOf({ message, code, metadata }: Extract<Outcome, { failure: unknown }>["failure"]): TerminalError {
  return new TerminalError(message, { errorCode: code, metadata })
}

function failureOf({ message, code, metadata }: TerminalError): Outcome {
  return { failure: { message, code, metadata } }
}

function toJson(value: unknown): Json {
  return JSON.parse(JSON.stringify(value ?? null)) as Json
}

/** The context of one attempt, with the members of an object's context. */
export class FakeContext implements SignalContext, RestateObjectContext {
  readonly #engine: FakeRestate
  readonly #invocation: Invocation
  readonly #hooks: AttemptHooks
  readonly #completed = new AbortController()
  readonly over: Promise<AttemptEnd>
  #end: (end: AttemptEnd) => void = () => {}
  #isClosed = false
  #command = 0
  #seen = 0
  #running = 0
  /** Notifications that were read and not awaited yet. */
  readonly #ready = new Map<string, Outcome[]>()

  constructor(engine: FakeRestate, invocation: Invocation, hooks: AttemptHooks) {
    this.#engine = engine
    this.#invocation = invocation
    this.#hooks = hooks
    this.over = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Nothing that this attempt does counts from here on, and none of its promises settles. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#completed.abort()
  }

  fail(error: unknown): void {
    if (this.#isClosed) return
    this.#end({ type: "failed", error })
    this.close()
  }

  async finish(output: Outcome): Promise<AttemptEnd> {
    await this.#hooks.reached("before the output is stored")
    if (this.#isClosed) return new Promise(() => {})
    // As on a server: the end is a command, too, and a handler cannot end in the middle of a replay.
    const next = this.#invocation.commands[this.#command]
    if (next !== undefined)
      return { type: "failed", error: new JournalMismatch(`The handler returned. The journal has ${JSON.stringify(next)}.`, { errorCode: 570 }) }
    this.#makeDurable()
    this.#invocation.output = output
    await this.#hooks.reached("after the output was stored", { chars: JSON.stringify(output).length })
    return endOf(output)
  }

  get key(): string {
    const { key } = this.#invocation
    if (key === undefined) throw new TerminalError("this handler type doesn't support key()")
    return key
  }

  request(): { readonly id: string; readonly attemptCompletedSignal: AbortSignal } {
    return { id: this.#invocation.id, attemptCompletedSignal: this.#completed.signal }
  }

  run<Value>(name: string, action: () => Promise<Value>): DurablePromise<Value> {
    const id = this.#issue("run", name)
    return new Leaf<Value>(this, id, async () => {
      let outcome: Outcome
      try {
        outcome = { value: toJson(await action()) }
      } catch (error) {
        if (!(error instanceof TerminalError)) return this.fail(error)
        outcome = failureOf(error)
      }
      await this.#hooks.reached(`before ${name} is stored`)
      if (this.#isClosed) return
      this.#makeDurable()
      this.#invocation.add(id, outcome)
      await this.#hooks.reached(`after ${name} was stored, before the process knows`, { chars: JSON.stringify([name, outcome]).length })
    })
  }

  sleep(millis: number): DurablePromise<void> {
    const id = this.#issue("sleep", "")
    if (!this.#invocation.timers.has(id) && !this.#invocation.notifications.some((known) => known.id === id)) this.#invocation.timers.set(id, millis)
    return new Leaf<void>(this, id)
  }

  signal<Value>(name: string): DurablePromise<Value> {
    return new Leaf<Value>(this, `signal ${name}`)
  }

  awakeable<Value>(): { readonly id: string; readonly promise: DurablePromise<Value> } {
    const id = this.#issue("awakeable", "")
    return { id, promise: new Leaf<Value>(this, `signal ${id}`) }
  }

  get<Value>(name: string): Promise<Value | null> {
    const { notifications, commands } = this.#invocation
    const isNew = this.#command >= commands.length
    const id = this.#issue("get", name)
    if (isNew && !notifications.some((known) => known.id === id)) {
      const text = this.#engine.stateOf(this.key).get(name)
      this.#makeDurable()
      this.#invocation.add(id, { value: text === undefined ? null : (JSON.parse(text) as Json) })
    }
    return new Leaf<Value | null>(this, id)
  }

  set<Value>(name: string, value: Value): void {
    const text = JSON.stringify(value)
    this.#change(`set ${text.length}`, name, (state) => state.set(name, text))
  }

  clear(name: string): void {
    this.#change("clear", name, (state) => state.delete(name))
  }

  #change(type: string, name: string, change: (state: Map<string, string>) => void): void {
    const state = this.#engine.stateOf(this.key)
    const isNew = this.#command >= this.#invocation.commands.length
    this.#issue(type, name)
    if (!isNew || this.#isClosed) return
    this.#makeDurable()
    change(state)
  }

  #makeDurable(): void {
    this.#invocation.durable = this.#invocation.commands.length
  }

  #issue(type: string, name: string): string {
    const index = this.#command
    this.#command += 1
    const command = `${type} ${name}`
    const { commands } = this.#invocation
    if (this.#isClosed) return `${index}`
    const known = commands[index]
    if (known === undefined) commands.push(command)
    else if (known !== command)
      this.fail(new JournalMismatch(`Command ${index} is ${JSON.stringify(command)}. The journal has ${JSON.stringify(known)}.`, { errorCode: 570 }))
    return `${index}`
  }

  /** Reads notifications and runs closures until the promise can settle. */
  async progress(promise: FakePromise<unknown>): Promise<void> {
    const { notifications } = this.#invocation
    for (;;) {
      await undefined
      if (this.#isClosed) return
      const leaves = promise.leaves()
      if (leaves.some((leaf) => this.#take(leaf))) return
      const next = notifications[this.#seen]
      if (next !== undefined) {
        this.#seen += 1
        if (next.id === "cancel") return promise.reject(new CancelledError())
        this.#ready.set(next.id, [...(this.#ready.get(next.id) ?? []), next.outcome])
        continue
      }
      const begins = leaves.filter((leaf) => leaf.begin !== undefined)
      for (const leaf of begins) {
        const { begin } = leaf
        leaf.begin = undefined
        this.#running += 1
        leaf.isRunning = true
        void begin?.()
          .catch((error: unknown) => this.fail(error))
          .finally(() => {
            this.#running -= 1
          })
      }
      if (begins.length > 0) continue
      if (!leaves.some(({ isRunning }) => isRunning)) return this.#suspend(leaves)
      await new Promise<void>((resolve) => {
        this.#invocation.onChange = resolve
      })
    }
  }

  #suspend(leaves: readonly Leaf<unknown>[]): void {
    const signals = leaves.flatMap(({ id }) => (id.startsWith("signal ") ? [id.slice("signal ".length)] : []))
    const { timers } = this.#invocation
    this.#makeDurable()
    this.#end({ type: "suspended", signals, timers: leaves.filter(({ id }) => timers.has(id)).length })
    this.close()
  }

  #take(leaf: Leaf<unknown>): boolean {
    if (leaf.isDone) return true
    const outcome = this.#ready.get(leaf.id)?.shift()
    if (outcome === undefined) return false
    if ("failure" in outcome) leaf.complete(undefined, errorOf(outcome.failure))
    else leaf.complete(outcome.value)
    return true
  }
}

/** A promise that makes progress when it is awaited. */
abstract class FakePromise<Value> implements DurablePromise<Value> {
  readonly [Symbol.toStringTag] = "FakePromise"
  readonly ctx: FakeContext
  readonly #cancelled: Promise<never>
  reject: (error: Error) => void = () => {}
  #progress: Promise<void> | undefined

  constructor(ctx: FakeContext) {
    this.ctx = ctx
    this.#cancelled = new Promise((_resolve, reject) => {
      this.reject = reject
    })
    this.#cancelled.catch(() => {})
  }

  /** Settles with the result, but not with a cancellation. */
  abstract result(): Promise<Value>

  abstract leaves(): readonly Leaf<unknown>[]

  map<Mapped>(mapper: (value?: Value, failure?: Error) => Mapped): DurablePromise<Mapped> {
    return new MappedPromise(this, mapper)
  }

  #settled(): Promise<Value> {
    this.#progress ??= this.ctx.progress(this as FakePromise<unknown>)
    return Promise.race([this.#cancelled, this.result()])
  }

  // biome-ignore lint/suspicious/noThenProperty: it is a promise
  then<Fulfilled = Value, Rejected = never>(
    onFulfilled?: ((value: Value) => Fulfilled | PromiseLike<Fulfilled>) | null,
    onRejected?: ((reason: unknown) => Rejected | PromiseLike<Rejected>) | null,
  ): Promise<Fulfilled | Rejected> {
    return this.#settled().then(onFulfilled, onRejected)
  }

  catch<Rejected = never>(onRejected?: ((reason: unknown) => Rejected | PromiseLike<Rejected>) | null): Promise<Value | Rejected> {
    return this.#settled().catch(onRejected)
  }

  finally(onFinally?: (() => void) | null): Promise<Value> {
    return this.#settled().finally(onFinally)
  }
}

class Leaf<Value> extends FakePromise<Value> {
  readonly id: string
  begin: (() => Promise<void>) | undefined
  isRunning = false
  isDone = false
  readonly #result: Promise<Value>
  #resolve: (value: Value) => void = () => {}
  #fail: (error: Error) => void = () => {}

  constructor(ctx: FakeContext, id: string, begin?: () => Promise<void>) {
    super(ctx)
    this.id = id
    this.begin = begin
    this.#result = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#fail = reject
    })
    this.#result.catch(() => {})
  }

  complete(value: unknown, failure?: Error): void {
    this.isDone = true
    if (failure === undefined) this.#resolve(value as Value)
    else this.#fail(failure)
  }

  result(): Promise<Value> {
    return this.#result
  }

  leaves(): readonly Leaf<unknown>[] {
    return [this as Leaf<unknown>]
  }
}

class MappedPromise<Value, Mapped> extends FakePromise<Mapped> {
  readonly #inner: FakePromise<Value>
  readonly #mapper: (value?: Value, failure?: Error) => Mapped

  constructor(inner: FakePromise<Value>, mapper: (value?: Value, failure?: Error) => Mapped) {
    super(inner.ctx)
    this.#inner = inner
    this.#mapper = mapper
  }

  result(): Promise<Mapped> {
    return this.#inner.result().then(
      (value) => this.#mapper(value),
      (failure: Error) => this.#mapper(undefined, failure),
    )
  }

  leaves(): readonly Leaf<unknown>[] {
    return this.#inner.leaves()
  }
}

class RacePromise<Value> extends FakePromise<Value> {
  readonly #children: readonly FakePromise<Value>[]
  readonly #result: Promise<Value>

  constructor(children: readonly FakePromise<Value>[]) {
    super((children[0] as FakePromise<Value>).ctx)
    this.#children = children
    this.#result = Promise.race(children.map((child) => child.result()))
    this.#result.catch(() => {})
  }

  result(): Promise<Value> {
    return this.#result
  }

  leaves(): readonly Leaf<unknown>[] {
    return this.#children.flatMap((child) => child.leaves())
  }
}

/** What the adapter uses of the SDK's module. */
export const fakeSdk: RestateSdk = {
  RestatePromise: {
    race: <Value>(promises: readonly DurablePromise<Value>[]): DurablePromise<Value> =>
      new RacePromise(promises as unknown as readonly FakePromise<Value>[]),
  },
  TerminalError,
  RestateError,
}
