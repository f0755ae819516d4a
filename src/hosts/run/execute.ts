import type { TurnEvent } from "../../wire/event.ts"
import type { Response } from "../../wire/response.ts"
import type { EffectContext, PerformOptions } from "../host.ts"
import { partialOf } from "./failures.ts"
import { endsRun } from "./interrupted.ts"
import { type SignalSource, withSignal } from "./lazy-signal.ts"
import type { PartialAnswer } from "./partial-answer.ts"
import type { Ended, Facts, Task } from "./task.ts"

/** The result of an executor: the response for the turn, and the response to use if the turn refuses it. */
export interface Answer {
  readonly response: Response
  instead(error: unknown): Response
}

/** The response of an answer, or the one to use instead if `check` refuses it. */
export function checkedAnswer({ response, instead }: Answer, check: (response: Response) => Response): Response {
  try {
    return check(response)
  } catch (error) {
    return check(instead(error))
  }
}

/** An executor's end as the run loop may use it. */
export interface Execution {
  /** Whether the result counts although its effect was cancelled before. */
  countsLate(): boolean
  /** What the executor of a model call says that the model said. */
  readonly reported: unknown
  /** A promise where the clock is async. */
  answer(): Answer | Promise<Answer>
}

/** What one execution needs of its run. */
export interface Surroundings {
  readonly effectId: number
  readonly idempotencyKey: string | undefined
  /** Where the executor's signal is read from. */
  readonly abort: SignalSource
  readonly isFatal: PerformOptions["isFatal"]
  readonly pause?: AbortSignal | undefined
  readonly child?: EffectContext["child"]
  readonly turn?: EffectContext["turn"]
  /** What a model call has said. */
  readonly said: PartialAnswer | undefined
  now(): number | Promise<number>
  /** Passes on an event of an executor that has not ended. Must not throw. */
  emit(event: TurnEvent): void
}

/** Calls an executor at once and waits for its end. Rejects only with a fatal error. */
export function execute(task: Task, startedAt: number, surroundings: Surroundings): Promise<Execution> {
  return new Promise((resolve, reject) => startExecutor(task, startedAt, surroundings, resolve, reject))
}

/**
 * Calls an executor at once, and calls back at its end: always later, also if the executor returns at once. `onFatal`: called with a fatal error
 * instead, and with what `onEnd` throws. Callbacks, because each promise between an executor and its turn costs as much as a step of the machine.
 */
export function startExecutor(
  task: Task,
  startedAt: number,
  surroundings: Surroundings,
  onEnd: (execution: Execution) => void,
  onFatal: (error: unknown) => void,
): void {
  const { abort, emit, isFatal, pause, child, turn } = surroundings
  const stream = { hasEnded: false, hasText: false }
  const members: Mutable<Omit<EffectContext, "signal">> = {
    effectId: surroundings.effectId,
    idempotencyKey: surroundings.idempotencyKey,
    emit: (event: TurnEvent) => {
      if (stream.hasEnded) return
      if (event.type === "text_delta" && event.content !== "") stream.hasText = true
      emit(event)
    },
  }
  if (isFatal !== undefined) members.isFatal = isFatal
  if (pause !== undefined) members.pause = pause
  if (child !== undefined) members.child = child
  if (turn !== undefined) members.turn = turn
  const context: EffectContext = withSignal(members, abort)
  const end = (returned: boolean, value: unknown): void => {
    stream.hasEnded = true
    try {
      if (!returned && (isFatal?.(value) === true || endsRun(value))) throw value
      onEnd(executionOf(task, { returned, value }, stream.hasText, startedAt, surroundings))
    } catch (error) {
      onFatal(error)
    }
  }
  started(task, context).then(
    (value) => end(true, value),
    (error) => end(false, error),
  )
}

type Mutable<Members> = { -readonly [Key in keyof Members]: Members[Key] }

function started(task: Task, context: EffectContext): Promise<unknown> {
  try {
    return Promise.resolve(task.execute(context))
  } catch (error) {
    return Promise.reject(error)
  }
}

/** Reads the clock when the answer is made. */
function executionOf(task: Task, ended: Ended, textStreamed: boolean, startedAt: number, { said, now, emit }: Surroundings): Execution {
  const { returned, value } = ended
  const answerAt = (at: number): Answer => {
    const facts: Facts = {
      at,
      durationMs: Math.max(0, at - startedAt),
      textStreamed,
      partial: (reported, terminalReason) => said?.response(reported, terminalReason),
      show: emit,
    }
    const instead = (error: unknown): Response => task.refusal(error, facts)
    try {
      return { response: returned ? task.answer(value, facts) : task.failure(value, facts), instead }
    } catch (error) {
      return { response: instead(error), instead }
    }
  }
  return {
    reported: returned ? value : partialOf(value),
    countsLate: () => task.countsLate?.(ended, said) === true,
    answer() {
      const time = now()
      return typeof time === "number" ? answerAt(time) : time.then(answerAt)
    },
  }
}
