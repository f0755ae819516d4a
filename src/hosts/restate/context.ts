/** What the adapter uses of Restate, as structural types: any version of the SDK that has these members fits. */

/** A promise whose result Restate records. As `RestatePromise` of the SDK. */
export interface DurablePromise<Value> extends Promise<Value> {
  /** Maps the result, or the failure, when the promise is awaited. */
  map<Mapped>(mapper: (value?: Value, failure?: Error) => Mapped): DurablePromise<Mapped>
}

/** The context of a handler. As `Context` of the SDK; an `ObjectContext` and a `WorkflowContext` are ones. */
export interface RestateContext {
  run<Value>(name: string, action: () => Promise<Value>): DurablePromise<Value>
  sleep(millis: number): DurablePromise<void>
  awakeable<Value>(): { readonly id: string; readonly promise: DurablePromise<Value> }
  request(): { readonly id: string; readonly attemptCompletedSignal?: AbortSignal }
}

/** A context with named signals: public from SDK 1.16, and present in 1.12 and later. */
export interface SignalContext extends RestateContext {
  signal<Value>(name: string): DurablePromise<Value>
}

/** The context of an exclusive handler of a virtual object, or of a workflow: it has state. As `ObjectContext` of the SDK. */
export interface RestateObjectContext extends RestateContext {
  readonly key: string
  get<Value>(name: string): Promise<Value | null>
  set<Value>(name: string, value: Value): void
  clear(name: string): void
}

/** The parts of the SDK's module that the adapter uses. */
export interface RestateSdk {
  readonly RestatePromise: { race<Value>(promises: readonly DurablePromise<Value>[]): DurablePromise<Value> }
  readonly TerminalError: new (message: string, options?: { readonly errorCode?: number; readonly metadata?: Record<string, string> }) => Error
  /** The base of all errors of the SDK. */
  readonly RestateError: abstract new (
    ...given: never[]
  ) => Error
}

export function hasSignals(ctx: RestateContext): ctx is SignalContext {
  return typeof (ctx as Partial<SignalContext>).signal === "function"
}

/** Whether a handler may change state. The SDK's contexts all have the methods; only those with a key have state. */
export function hasState(ctx: RestateContext): ctx is RestateObjectContext {
  const { get, set } = ctx as Partial<RestateObjectContext>
  if (typeof get !== "function" || typeof set !== "function") return false
  try {
    return typeof (ctx as Partial<RestateObjectContext>).key === "string"
  } catch {
    return false
  }
}

/** Whether an await rejected because the invocation was cancelled. */
export function isCancellation(error: unknown): boolean {
  const { name, code } = (error ?? {}) as { readonly name?: unknown; readonly code?: unknown }
  return name === "CancelledError" && code === 409
}

/**
 * Awaits a step of the journal, also when the invocation is cancelled in the meantime: the cancellation rejects what is awaited then, and the step
 * continues. `cancelled` is called each time.
 */
export async function throughCancellation<Value>(sdk: RestateSdk, step: DurablePromise<Value>, cancelled: () => void): Promise<Value> {
  for (;;) {
    try {
      // Each await of a promise of its own: one that was rejected by the cancellation stays so.
      return await sdk.RestatePromise.race([step])
    } catch (error) {
      if (!isCancellation(error)) throw error
      cancelled()
    }
  }
}
