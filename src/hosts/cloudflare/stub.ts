import type { TurnObject } from "./turn-object.ts"

/** What a Worker calls of an object. All methods return promises there. */
export type TurnObjectStub<Object extends TurnObject = TurnObject> = {
  readonly [Name in Exclude<
    keyof Object,
    "__DURABLE_OBJECT_BRAND" | "threadId" | "alarm" | "webSocketMessage" | "webSocketClose" | "webSocketError"
  >]: Object[Name] extends (...args: infer Args) => infer Result ? (...args: Args) => Promise<Awaited<Result>> : never
}

/**
 * The binding of a class of objects in `env`. The types of `@cloudflare/workers-types` work as well, but TypeScript finds those of methods too deep
 * whose arguments or results contain any JSON, such as `status`.
 *
 *     interface Env { readonly SUPPORT: TurnObjectNamespace<Support> }
 */
export interface TurnObjectNamespace<Object extends TurnObject = TurnObject> {
  getByName(name: string): TurnObjectStub<Object>
}
