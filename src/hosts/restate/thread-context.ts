/** What a thread uses of Restate beyond a turn, as structural types: any version of the SDK that has these members fits. */

import { type DurablePromise, isCancellation, type RestateContext, type RestateObjectContext, type RestateSdk } from "./context.ts"

/** Reads the state of a virtual object. */
export interface StateReader {
  get<Value>(name: string): Promise<Value | null>
  stateKeys(): Promise<string[]>
}

/** Changes the state of a virtual object. */
export interface StateWriter {
  set<Value>(name: string, value: Value): void
  clear(name: string): void
}

/** A handler of an object, called by its name. */
export type ObjectClient = { readonly [handler: string]: (parameter: unknown) => DurablePromise<unknown> }

/** The context of a shared handler of a virtual object. As `ObjectSharedContext` of the SDK. */
export interface SharedThreadContext extends RestateContext, StateReader {
  readonly key: string
  readonly date: { now(): Promise<number> }
  objectClient(definition: { readonly name: string }, key: string): unknown
  objectSendClient(definition: { readonly name: string }, key: string): unknown
  resolveAwakeable<Value>(id: string, payload?: Value): void
}

/** The context of an exclusive handler of a virtual object. As `ObjectContext` of the SDK. */
export interface ThreadContext extends SharedThreadContext, RestateObjectContext, StateReader, StateWriter {}

/** The parts of the SDK's module that define a virtual object. */
export interface ObjectSdk extends RestateSdk {
  object(definition: { readonly name: string; readonly handlers: object; readonly options?: object }): unknown
  readonly handlers: {
    readonly object: {
      exclusive(options: object, handler: (ctx: never, parameter: never) => Promise<unknown>): unknown
      shared(options: object, handler: (ctx: never, parameter: never) => Promise<unknown>): unknown
    }
  }
  readonly rpc: { sendOpts(options: { readonly delay?: number }): unknown }
}

/**
 * Reads also when the invocation is cancelled in the meantime: the cancellation rejects what is awaited then, and the read is repeated. `cancelled` is
 * called each time.
 */
export async function readThroughCancellation<Value>(read: () => Promise<Value>, cancelled: () => void): Promise<Value> {
  for (;;) {
    try {
      return await read()
    } catch (error) {
      if (!isCancellation(error)) throw error
      cancelled()
    }
  }
}

/** The state of an object for a run that ends in order when its invocation is cancelled: a cancellation does not reject its reads. */
export function stateOf(ctx: ThreadContext, cancelled: () => void): StateReader & StateWriter {
  return {
    get: <Value>(name: string) => readThroughCancellation(() => ctx.get<Value>(name), cancelled),
    stateKeys: () => readThroughCancellation(() => ctx.stateKeys(), cancelled),
    set: (name, value) => ctx.set(name, value),
    clear: (name) => ctx.clear(name),
  }
}
