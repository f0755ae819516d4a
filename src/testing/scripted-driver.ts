import type { DriverContext, ProtocolDriver } from "../machine/driver.ts"
import type { DriverAction } from "../wire/action.ts"
import { followDecisions } from "./follow-decisions.ts"

export type DriverCallback = "prepareIteration" | "onLlmComplete" | "onToolResults" | "onExecResult" | "onLlmCutOff" | "onLlmFailed" | "onDelivery"
export type OptionalCallback = Extract<DriverCallback, "onExecResult" | "onLlmCutOff" | "onLlmFailed" | "onDelivery"> | "onToolDecisions"

/** One answer of a scripted driver. Without `actions` it is `undefined` to `onLlmCutOff` and `onLlmFailed`, and an empty list otherwise. */
export interface ScriptedAnswer {
  readonly actions?: readonly DriverAction[]
  /** Throws an error with this message instead. */
  readonly throws?: string
  /** The callback that the answer is for. A call to another one is an error. Absent: any. */
  readonly callback?: DriverCallback
}

export interface ScriptedDriverOptions {
  readonly name?: string
  readonly version?: number
  /**
   * The optional callbacks that the driver has. Default: `onExecResult`. Every call to one uses an answer of the script, except
   * `onToolDecisions`: decisions come in any split, so it does what was decided, and records it.
   */
  readonly callbacks?: readonly OptionalCallback[]
}

/** The number of message numbers reserved for each answer. A turn must draw fewer between two answers, and begin with fewer messages. */
export const NUMBERS_PER_ANSWER = 100

/**
 * Makes a driver whose answers are data: the first call gets the first answer, and so on, for any callback. A call
 * after the last answer throws, which ends the turn as `runtime_error`.
 *
 * The driver keeps no count of its own, because a restored turn has only its checkpoint, and one driver may serve many
 * turns. It counts in the message numbers, which a turn saves and never uses twice: with every answer it draws all up to
 * the next hundred. So answer 0 draws up to 99, answer 1 up to 199, and the number drawn determines the answer, in a
 * replay and after any cut. A turn that itself draws a hundred numbers between two answers skips an answer.
 */
export function scriptedDriver(answers: readonly ScriptedAnswer[], options: ScriptedDriverOptions = {}): ProtocolDriver {
  const { name = "scripted", version = 1, callbacks = ["onExecResult"] } = options
  const answer = (callback: DriverCallback, context: DriverContext): readonly DriverAction[] | undefined => {
    const place = drawPlace(context)
    const due = answers[place]
    if (due === undefined) throw new Error(`The script has ${answers.length} answers; ${callback} was called once more.`)
    if (due.callback !== undefined && due.callback !== callback)
      throw new Error(`Answer ${place} of the script is for ${due.callback}; ${callback} was called.`)
    if (due.throws !== undefined) throw new Error(due.throws)
    return due.actions
  }
  const list = (callback: DriverCallback, context: DriverContext): readonly DriverAction[] => answer(callback, context) ?? []
  const optional = {
    onExecResult: (context: DriverContext) => list("onExecResult", context),
    onLlmCutOff: (context: DriverContext) => answer("onLlmCutOff", context),
    onLlmFailed: (context: DriverContext) => answer("onLlmFailed", context),
    onDelivery: (context: DriverContext) => list("onDelivery", context),
    onToolDecisions: followDecisions,
  }
  return {
    name,
    version,
    prepareIteration: (context) => list("prepareIteration", context),
    onLlmComplete: (context) => list("onLlmComplete", context),
    onToolResults: (context) => list("onToolResults", context),
    ...Object.fromEntries(callbacks.map((callback) => [callback, optional[callback]])),
  }
}

/** Draws numbers up to the next hundred, and returns which hundred that is. */
function drawPlace(context: DriverContext): number {
  for (;;) {
    const id = context.newMessageId("script")
    const number = Number(id.slice(id.lastIndexOf("_") + 1))
    if (number % NUMBERS_PER_ANSWER === NUMBERS_PER_ANSWER - 1) return Math.floor(number / NUMBERS_PER_ANSWER)
  }
}
