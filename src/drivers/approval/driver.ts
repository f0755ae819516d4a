import { checkDriver } from "../../machine/config.ts"
import type { DriverContext, ProtocolDriver } from "../../machine/driver.ts"
import type { DriverAction } from "../../wire/action.ts"
import { wrapMembers } from "../../wrap.ts"
import { checkOptions, invalidOption } from "../options.ts"
import { type DriverPatch, wrapDriver } from "../wrap-driver.ts"
import { decideCalls } from "./decide-calls.ts"
import { endedGrants, grantsOf } from "./grants.ts"
import { holdCalls } from "./hold-calls.ts"
import type { ApprovalPolicy } from "./policy.ts"

/** Options of {@link approvalDriver}. */
export interface ApprovalDriverOptions {
  /** Decides which calls run, which a person is asked about, and which fail. */
  readonly policy: ApprovalPolicy
  /**
   * Milliseconds after which an approval counts as `expired`. They count from the `at` of the response that led to the call; without an `at`
   * the call does not expire. Default: no limit.
   */
  readonly ttlMs?: number
}

/** Every callback of a driver. One that a later version adds does not compile here until its actions are checked. */
type Callbacks = Required<Omit<DriverPatch, "name" | "version" | "ownState">>

/**
 * Wraps a driver: the policy decides about each tool call that the driver starts, unless it is answered already. A held call waits for a
 * person's decision, for as long as that takes: the turn can be saved, and continue in another process. Decisions and grants are stored in
 * the history as `protocol` records.
 *
 * Calls that a wrapper outside this one adds are not asked about. Neither is code (`exec_code`).
 * @throws {SchemaError} `invalid_config`: an unknown or invalid option, or an inner driver that holds calls itself
 */
export function approvalDriver(inner: ProtocolDriver, options: ApprovalDriverOptions): ProtocolDriver {
  checkDriver(inner)
  const { policy, ttlMs } = checkedOptions(options)
  if (inner.onToolDecisions !== undefined)
    throw invalidOption("approvalDriver", "inner", `the driver "${inner.name}" holds calls itself; combine the policies in one approvalDriver`)
  const settings = { policy, ttlMs }

  const checked = (context: DriverContext, actions: readonly DriverAction[], isFirst = false): readonly DriverAction[] => {
    if (!actions.some(({ type }) => type === "start_tools")) return actions
    const grants = grantsOf(context.events, isFirst ? undefined : context.iterationOffset)
    return actions.map((action) => (action.type === "start_tools" ? holdCalls(settings, context, action, grants) : action))
  }
  const checkedIfAny = (context: DriverContext, actions: readonly DriverAction[] | undefined): readonly DriverAction[] | undefined =>
    actions && checked(context, actions)

  return wrapDriver(wrapMembers(inner, {}, { onToolDecisions: () => [] }), {
    name: `approval(${inner.name})`,
    prepareIteration(next, context) {
      const { events, iteration, iterationOffset } = context
      const isFirst = iteration === iterationOffset
      const actions = checked(context, next(context), isFirst)
      const ended = isFirst ? endedGrants(events, iterationOffset) : []
      return ended.length === 0 ? actions : [{ type: "append_events", events: ended }, ...actions]
    },
    onLlmComplete: (next, context, ...given) => checked(context, next(context, ...given)),
    onToolResults: (next, context, results) => checked(context, next(context, results)),
    onToolDecisions: (_next, context, { held }, decisions) => decideCalls(settings, context, held, decisions),
    onExecResult: (next, context, ...given) => checked(context, next(context, ...given)),
    onExecCancelled: (next, context, ...given) => checkedIfAny(context, next(context, ...given)),
    onLlmCutOff: (next, context, ...given) => checkedIfAny(context, next(context, ...given)),
    onLlmFailed: (next, context, ...given) => checkedIfAny(context, next(context, ...given)),
    onDelivery: (next, context, ...given) => checked(context, next(context, ...given)),
  } satisfies Callbacks & { readonly name: string })
}

function checkedOptions(options: ApprovalDriverOptions): ApprovalDriverOptions {
  if (typeof options !== "object" || options === null) throw invalidOption("approvalDriver", "policy", "it is missing")
  checkOptions("approvalDriver", options, ["policy", "ttlMs"])
  const { policy, ttlMs } = options
  if (typeof policy !== "function")
    throw invalidOption("approvalDriver", "policy", 'it must be a function: (call, facts) => "run" | { hold } | { deny }')
  if (ttlMs !== undefined && !(Number.isSafeInteger(ttlMs) && ttlMs > 0))
    throw invalidOption("approvalDriver", "ttlMs", "it must be a whole number of milliseconds above 0")
  return options
}
