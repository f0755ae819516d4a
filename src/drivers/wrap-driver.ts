import type { Json } from "../json.ts"
import { checkDriver } from "../machine/config.ts"
import type { DriverContext, ProtocolDriver } from "../machine/driver.ts"
import type { DriverAction } from "../wire/action.ts"
import { type Change, wrapMembers } from "../wrap.ts"

/**
 * The changes of {@link wrapDriver}. A callback gets the inner driver's callback as `next`, followed by the callback's arguments.
 * `name` and `version` replace those of the inner driver.
 */
export type DriverPatch = { readonly [Name in keyof ProtocolDriver]?: Change<NonNullable<ProtocolDriver[Name]>> } & {
  /**
   * Returns the wrapper's state for a piece of work that is about to start. If given, the `driverState` of that work is
   * `{ own, inner }`: the wrapper's callbacks get both, `next` gets the inner driver's part.
   */
  readonly ownState?: (context: DriverContext, start: StartWithState) => Json
}

/** The actions that carry a `driverState`. */
export type StartWithState = Extract<DriverAction, { type: "start_llm" | "start_exec" }>

/** The `driverState` of work that a driver with `ownState` started. `inner` is absent if the inner driver set none. */
export type NestedState = {
  readonly own: Json
  readonly inner?: Json
}

/** The default of each optional callback. Without `onExecResult` no code may start, and without `onToolDecisions` no call be held, so these have none. */
const ABSENT = { onExecCancelled: () => undefined, onLlmCutOff: () => undefined, onLlmFailed: () => undefined, onDelivery: () => [] }

/**
 * Wraps a driver. The patch changes some members; all others pass through, including those of a later version of this interface.
 *
 *     const counting = wrapDriver(chatDriver(), {
 *       name: "counting(chat)",
 *       onToolResults: (next, context, results) => [countRecord(results), ...next(context, results)],
 *     })
 *
 * If the inner driver lacks `onExecCancelled`, `onLlmCutOff`, `onLlmFailed` or `onDelivery`, `next` is the default, which decides nothing. If it lacks `onExecResult`
 * or `onToolDecisions`, a patch for it is ignored. The name is the inner driver's unless the patch has one; with `ownState` it is `wrapped(<name>)`.
 * @throws {SchemaError} `invalid_config`: `inner` is not a driver
 */
export function wrapDriver(inner: ProtocolDriver, { ownState, ...patch }: DriverPatch): ProtocolDriver {
  checkDriver(inner)
  if (ownState === undefined) return wrapMembers(inner, patch, ABSENT)
  if (typeof ownState !== "function") throw new TypeError("ownState is a function of the context and the action: (context, start) => state.")
  const unnested = wrapMembers(inner, {
    onLlmComplete: (next, context, waiting, ...rest) => next(context, innerState(waiting), ...rest),
    onLlmCutOff: (next, context, waiting, response) => next(context, innerState(waiting), response),
    onLlmFailed: (next, context, waiting, error) => next(context, innerState(waiting), error),
    onExecResult: (next, context, waiting, result) =>
      next(context, { ...innerState(waiting), driverState: innerState(waiting).driverState ?? null }, result),
    onExecCancelled: (next, context, waiting, reason) =>
      next(context, { ...innerState(waiting), driverState: innerState(waiting).driverState ?? null }, reason),
  } satisfies DriverPatch)
  const nest = (context: DriverContext, actions: readonly DriverAction[]): readonly DriverAction[] =>
    actions.map((action) => (action.type === "start_llm" || action.type === "start_exec" ? nested(action, ownState(context, action)) : action))
  return wrapMembers(
    wrapMembers(unnested, patch, ABSENT),
    {
      // Another name, because the inner driver's checkpoints have no nested state.
      name: patch.name ?? `wrapped(${inner.name})`,
      prepareIteration: (next, context) => nest(context, next(context)),
      onLlmComplete: (next, context, ...rest) => nest(context, next(context, ...rest)),
      onToolResults: (next, context, results) => nest(context, next(context, results)),
      onExecResult: (next, context, ...rest) => nest(context, next(context, ...rest)),
      onLlmCutOff: (next, context, ...rest) => {
        const actions = next(context, ...rest)
        return actions && nest(context, actions)
      },
      onLlmFailed: (next, context, ...rest) => {
        const actions = next(context, ...rest)
        return actions && nest(context, actions)
      },
      onDelivery: (next, context, ...rest) => nest(context, next(context, ...rest)),
    } satisfies DriverPatch,
    ABSENT,
  )
}

function nested(action: StartWithState, own: Json): DriverAction {
  return { ...action, driverState: { own, ...(action.driverState !== undefined && { inner: action.driverState }) } }
}

/** @throws {TypeError} the state was not nested by {@link wrapDriver} */
function innerState<Waiting extends { readonly driverState?: Json }>({ driverState, ...waiting }: Waiting): Waiting {
  if (typeof driverState !== "object" || driverState === null || !("own" in driverState))
    throw new TypeError("This driverState was saved by a driver without ownState.")
  const { inner } = driverState as NestedState
  return { ...waiting, ...(inner !== undefined && { driverState: inner }) } as Waiting
}
