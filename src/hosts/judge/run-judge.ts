import type { ChecklistJudge } from "../../drivers/checklist/judge.ts"
import type { Judgement } from "../../schemas/checklist.ts"
import type { Host, RunOptions } from "../host.ts"
import { type Answer, Work } from "../run/effect-run.ts"

/**
 * How {@link runJudge} is to run. Aborting `signal` stops the call that is open. `turnId` names the turn that is judged; an
 * idempotency key is then `turnId:judge:goalId:revision:effectId`.
 */
export interface JudgeOptions extends Pick<RunOptions, "signal" | "onEvent" | "now" | "turnId"> {
  /** Called with the judge before a call is made and after each answer was taken: the moment to save `judge.checkpoint()`. Awaited. */
  readonly save?: (judge: ChecklistJudge) => Promise<void> | void
}

/**
 * Runs a judge to its judgement: makes the calls that it asks for, hands the answers in. `host` may be that of the turns; the same
 * rules hold. Takes a judge at any point: new, restored, in the middle, finished.
 *
 * A call that fails, an answer that cannot be used, an executor that throws: all are failures that the judge rules on, and never
 * reject. It rejects with what `save`, `onEvent` or `now` threw. `undefined`: `signal` was aborted before there was a judgement.
 * Nothing is judged or counted then; the judge is as it was before the call that was stopped, and can be run again.
 *
 * Run a judge once at a time.
 */
export async function runJudge(judge: ChecklistJudge, host: Pick<Host, "llmCall">, options: JudgeOptions = {}): Promise<Judgement | undefined> {
  const { save, turnId, ...rest } = options
  const runOptions: RunOptions = { ...rest, ...(turnId !== undefined && { turnId: nameOf(judge, turnId) }) }
  await save?.(judge)
  for (let { outstanding } = judge; outstanding !== undefined; { outstanding } = judge) {
    if (options.signal?.aborted === true) return undefined
    const work = new Work(outstanding, host, runOptions, false)
    try {
      const answer = await work.next()
      if (answer === undefined) return undefined
      take(judge, answer)
    } finally {
      work.leave()
    }
    await save?.(judge)
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
