import type { DriverPatch } from "../drivers/wrap-driver.ts"
import type { DriverContext, ProtocolDriver } from "../machine/driver.ts"
import { wrapMembers } from "../wrap.ts"
import { jsonText } from "./difference.ts"

/** One call to a driver, as JSON text: the callback, its arguments, and what it returned or threw. */
export type DriverCall = string

/** Wraps a driver, under the same name, and reports every call and its result. Callbacks that the driver lacks stay absent. */
export function watchDriver(driver: ProtocolDriver, report: (call: DriverCall) => void): ProtocolDriver {
  // Unlike wrapDriver, wrapMembers gives an absent callback no default, so the machine handles its absence as it does without a watch.
  return wrapMembers(driver, {
    prepareIteration: watched(report, "prepareIteration"),
    onLlmComplete: watched(report, "onLlmComplete", "waiting", "response", "textStreamed"),
    onToolResults: watched(report, "onToolResults", "results"),
    onToolDecisions: watched(report, "onToolDecisions", "waiting", "decisions"),
    onExecResult: watched(report, "onExecResult", "waiting", "result"),
    onExecCancelled: watched(report, "onExecCancelled", "waiting", "reason"),
    onLlmCutOff: watched(report, "onLlmCutOff", "waiting", "response"),
    onLlmFailed: watched(report, "onLlmFailed", "waiting", "error"),
    onDelivery: watched(report, "onDelivery", "checkpoint", "delivery"),
  } satisfies Callbacks)
}

/** All callbacks, so that one which a later version adds does not compile until it is watched. */
type Callbacks = Required<Omit<DriverPatch, "name" | "version" | "ownState">>

/** Wraps one callback. `names`: the names of its arguments after the context, for the report. */
function watched(report: (call: DriverCall) => void, callback: keyof Callbacks, ...names: readonly string[]) {
  return <Given extends readonly unknown[], Actions>(
    next: (context: DriverContext, ...given: Given) => Actions,
    context: DriverContext,
    ...given: Given
  ): Actions => {
    const { messages, events, iteration, iterationOffset, maxIterations, turnLimitScheduled, surfaceChanged, usage, at, turnCauses, tools } = context
    const call = {
      callback,
      messageCount: messages.length,
      lastMessage: messages.at(-1),
      eventCount: events.length,
      lastEvent: events.at(-1),
      ...{ iteration, iterationOffset, maxIterations, turnLimitScheduled, surfaceChanged, usage, at, turnCauses },
      tools: tools.map((tool) => tool.name),
      ...Object.fromEntries(names.map((name, index) => [name, given[index]])),
    }
    const reportWith = (result: { readonly actions: Actions } | { readonly threw: string }): void =>
      report(jsonText({ ...call, ...result }) as string)
    try {
      const actions = next(context, ...given)
      reportWith({ actions })
      return actions
    } catch (error) {
      reportWith({ threw: String(error) })
      throw error
    }
  }
}
