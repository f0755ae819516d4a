import type { TurnEvent } from "../../wire/event.ts"
import type { Response } from "../../wire/response.ts"
import type { EffectContext, PerformOptions } from "../host.ts"
import { partialOf } from "./failures.ts"
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
  answer(): Promise<Answer>
}

/** What one execution needs of its run. */
export interface Surroundings {
  readonly effectId: number
  readonly idempotencyKey: string | undefined
  readonly signal: AbortSignal
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
export async function execute(task: Task, startedAt: number, { now, emit, said, ...given }: Surroundings): Promise<Execution> {
  let hasEnded = false
  let textStreamed = false
  const context: EffectContext = {
    effectId: given.effectId,
    idempotencyKey: given.idempotencyKey,
    signal: given.signal,
    ...(given.isFatal !== undefined && { isFatal: given.isFatal }),
    ...(given.pause !== undefined && { pause: given.pause }),
    ...(given.child !== undefined && { child: given.child }),
    ...(given.turn !== undefined && { turn: given.turn }),
    emit: (event) => {
      if (hasEnded) return
      if (event.type === "text_delta" && event.content !== "") textStreamed = true
      emit(event)
    },
  }
  const ended = await settled(task, context)
  hasEnded = true
  const { returned, value } = ended
  if (!returned && given.isFatal?.(value) === true) throw value

  const answer = async (): Promise<Answer> => {
    const time = now()
    const at = typeof time === "number" ? time : await time
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
  return { reported: returned ? value : partialOf(value), countsLate: () => task.countsLate?.(ended, said) === true, answer }
}

async function settled(task: Task, context: EffectContext): Promise<Ended> {
  try {
    return { returned: true, value: await task.execute(context) }
  } catch (value) {
    return { returned: false, value }
  }
}
