import type { ChecklistJudge } from "../drivers/checklist/judge.ts"
import type { Judgement } from "../schemas/checklist.ts"
import type { Host, RunOptions } from "./host.ts"
import { type Answer, Work } from "./work.ts"

/** The I/O of a judge: the same `llmCall` as a turn's {@link Host} has, under the same rules. */
export interface JudgeHost extends Pick<Host, "llmCall"> {
  /** Called with the judge before a call is made and after each answer was taken: the moment to save `judge.checkpoint()`. Awaited. */
  save?(judge: ChecklistJudge): Promise<void> | void
}

/**
 * How {@link runJudge} is to run. Aborting `signal` stops the call that is open. `turnId` names the turn that is judged; an
 * idempotency key is then `turnId:judge:goalId:revision:effectId`.
 */
export type JudgeOptions = Pick<RunOptions, "signal" | "onEvent" | "now" | "turnId">

/**
 * Runs a judge to its judgement: makes the calls that it asks for, hands the answers in. Takes a judge at any point: new, restored,
 * in the middle, finished.
 *
 * A call that fails, an answer that cannot be used, an executor that throws: all are failures that the judge rules on, and never
 * reject. It rejects with what `save`, `onEvent` or `now` threw. `undefined`: `signal` was aborted before there was a judgement.
 * Nothing is judged or counted then; the judge is as it was before the call that was stopped, and can be run again.
 *
 * Run a judge once at a time.
 */
export async function runJudge(judge: ChecklistJudge, host: JudgeHost, options: JudgeOptions = {}): Promise<Judgement | undefined> {
  const caller: Host = { llmCall: (effect, context) => host.llmCall(effect, context) }
  const named = { ...options, ...(options.turnId !== undefined && { turnId: nameOf(judge, options.turnId) }) }
  await host.save?.(judge)
  for (let { outstanding } = judge; outstanding !== undefined; { outstanding } = judge) {
    if (options.signal?.aborted === true) return undefined
    const work = new Work(outstanding, caller, named, false)
    try {
      const answer = await work.next()
      if (answer === undefined) return undefined
      take(judge, answer)
    } finally {
      work.leave()
    }
    await host.save?.(judge)
  }
  return judge.judgement
}

/** Not the turn's own name, whose effects have ids of their own; and a turn may be judged again, after its goal was changed. */
function nameOf(judge: ChecklistJudge, turnId: string): string {
  const { goalId, revision } = judge.checkpoint().evaluation
  return `${turnId}:judge:${goalId}:${revision}`
}

/** Hands an answer in; one that the judge refuses becomes a failure of its call. */
function take(judge: ChecklistJudge, answer: Answer): void {
  try {
    judge.handle(answer.response)
  } catch (error) {
    judge.handle(answer.instead(error))
  }
}
