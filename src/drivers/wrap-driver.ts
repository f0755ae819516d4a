import type { Json } from "../json.ts"
import type { DriverContext, ProtocolDriver } from "../machine/driver.ts"
import type { DriverAction } from "../schemas/action.ts"
import { type Change, wrapMembers } from "../wrap.ts"

/**
 * What {@link wrapDriver} changes: for each callback, a function that gets the inner driver's own as `next`, then the callback's
 * arguments; a name and a version of its own.
 */
export type DriverPatch = { readonly [Name in keyof ProtocolDriver]?: Change<NonNullable<ProtocolDriver[Name]>> } & {
  /**
   * State of the wrapping driver's own for a piece of work that is about to start. Given, the `driverState` of that work is
   * `{ own, inner }`: the wrapper's callbacks get it whole, `next` gets the inner driver's part.
   */
  readonly ownState?: (context: DriverContext, start: StartWithState) => Json
}

/** The actions that carry a `driverState`. */
export type StartWithState = Extract<DriverAction, { type: "start_llm" | "start_exec" }>

/** The `driverState` of work that a driver with `ownState` started. `inner` is missing where the inner driver gave none. */
export interface NestedState {
  readonly own: Json
  readonly inner?: Json
}

/** What a driver does that lacks an optional callback. Without `onExecResult` no code may start, so it has no entry. */
const ABSENT = { onLlmFailed: () => undefined, onDelivery: () => [] }

/**
 * Wraps a driver: the patch changes some members, all others pass through, also those of a later version of this interface.
 *
 *     const counting = wrapDriver(chatDriver(), {
 *       name: "counting(chat)",
 *       onToolResults: (next, context, results) => [countRecord(results), ...next(context, results)],
 *     })
 *
 * A wrapper of `onLlmFailed` or `onDelivery` that the inner driver lacks gets a `next` that decides nothing; one of `onExecResult` is
 * left out then.
 */
export function wrapDriver(inner: ProtocolDriver, { ownState, ...patch }: DriverPatch): ProtocolDriver {
  if (ownState === undefined) return wrapMembers(inner, patch, ABSENT)
  const unnested = wrapMembers(inner, {
    onLlmComplete: (next, context, waiting, ...rest) => next(context, innerState(waiting), ...rest),
    onLlmFailed: (next, context, waiting, error) => next(context, innerState(waiting), error),
    onExecResult: (next, context, waiting, result) =>
      next(context, { ...innerState(waiting), driverState: innerState(waiting).driverState ?? null }, result),
  } satisfies DriverPatch)
  const nest = (context: DriverContext, actions: readonly DriverAction[]): readonly DriverAction[] =>
    actions.map((action) => (action.type === "start_llm" || action.type === "start_exec" ? nested(action, ownState(context, action)) : action))
  return wrapMembers(
    wrapMembers(unnested, patch, ABSENT),
    {
      prepareIteration: (next, context) => nest(context, next(context)),
      onLlmComplete: (next, context, ...rest) => nest(context, next(context, ...rest)),
      onToolResults: (next, context, results) => nest(context, next(context, results)),
      onExecResult: (next, context, ...rest) => nest(context, next(context, ...rest)),
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

function innerState<Waiting extends { readonly driverState?: Json }>({ driverState, ...waiting }: Waiting): Waiting {
  const { inner } = (driverState ?? {}) as Partial<NestedState>
  return { ...waiting, ...(inner !== undefined && { driverState: inner }) } as Waiting
}
