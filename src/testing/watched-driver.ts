import type { DriverContext, ProtocolDriver } from "../machine/driver.ts"
import type { DriverAction } from "../wire/action.ts"
import { jsonText } from "./difference.ts"

/** One call to a driver, as JSON text: the callback, its arguments, and what it returned or threw. */
export type Asked = string

/** Wraps a driver, under the same name, and reports every call and its result to `asked`. */
export function watchDriver(driver: ProtocolDriver, asked: (asked: Asked) => void): ProtocolDriver {
  const watch = <Answer extends readonly DriverAction[] | undefined>(
    callback: string,
    context: DriverContext,
    shown: { readonly [key: string]: unknown },
    ask: () => Answer,
  ): Answer => {
    const { iteration, iterationOffset, maxIterations, usage, at, messages, events, turnCauses, tools } = context
    const view = { iteration, iterationOffset, maxIterations, usage, at, turnCauses, tools: tools.map((tool) => tool.name), ...shown }
    const question = {
      callback,
      messageCount: messages.length,
      lastMessage: messages.at(-1),
      eventCount: events.length,
      lastEvent: events.at(-1),
      ...view,
    }
    const tell = (answer: { readonly actions?: Answer; readonly threw?: string }): void => asked(jsonText({ ...question, ...answer }) as string)
    try {
      const actions = ask()
      tell({ actions })
      return actions
    } catch (error) {
      tell({ threw: String(error) })
      throw error
    }
  }

  return {
    name: driver.name,
    version: driver.version,
    prepareIteration: (context) => watch("prepareIteration", context, {}, () => driver.prepareIteration(context)),
    onLlmComplete: (context, waiting, response, textStreamed) =>
      watch("onLlmComplete", context, { waiting, response, textStreamed }, () => driver.onLlmComplete(context, waiting, response, textStreamed)),
    onToolResults: (context, results) => watch("onToolResults", context, { results }, () => driver.onToolResults(context, results)),
    ...(driver.onExecResult !== undefined && {
      onExecResult: (context, waiting, result) =>
        watch("onExecResult", context, { waiting, result }, () => driver.onExecResult?.(context, waiting, result) ?? []),
    }),
    ...(driver.onLlmFailed !== undefined && {
      onLlmFailed: (context, waiting, error) =>
        watch("onLlmFailed", context, { waiting, error }, () => driver.onLlmFailed?.(context, waiting, error)),
    }),
    ...(driver.onDelivery !== undefined && {
      onDelivery: (context, checkpoint, delivery) =>
        watch("onDelivery", context, { checkpoint, delivery }, () => driver.onDelivery?.(context, checkpoint, delivery) ?? []),
    }),
  }
}
