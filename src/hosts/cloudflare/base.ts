import type { TurnObjectContext } from "./platform.ts"

/** What a Durable Object class extends, as far as this folder needs it. */
export type DurableObjectClass = new (ctx: TurnObjectContext, env: unknown) => object

/** A base class for tests outside of Workers. */
class PlainObject {}

/**
 * `DurableObject` of `cloudflare:workers`, which a class must extend for its methods to be called from Workers. The module exists only there, so
 * it is not imported elsewhere: this folder can be loaded anywhere.
 */
export const DurableObjectBase: DurableObjectClass = isWorkers() ? (await import(workersModule())).DurableObject : PlainObject

function isWorkers(): boolean {
  return globalThis.navigator?.userAgent === "Cloudflare-Workers"
}

/** A name that bundlers do not try to resolve. */
function workersModule(): string {
  return "cloudflare:workers"
}
